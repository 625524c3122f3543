"""A user's table as what a search works on: a response, variables, groups."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from isoloss.aggregate.guess import guess_columns, holds_numbers
from isoloss.aggregate.numbers import read_numbers
from isoloss.aggregate.proportions import MixtureColumns, mixture_columns
from isoloss.aggregate.table import COLUMNS, OWN, named
from isoloss.core import tables
from isoloss.core.escape import listed
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.sources import Source, open_source
from isoloss.discovery.outliers import note
from isoloss.formats.names import meanings
from isoloss.formats.read import rows
from isoloss.formulas import read_expression

LEAST = 8  # runs that a search needs
WIDE = 100.0  # ratio of the largest and least value of a column that is a size
FEW_ZEROS = 0.1  # of the rows at most, so that zeros are taken for a slip
MOST_VARIABLES = 8
FOLLOWS = 1e-6  # what is left of a variable's logarithm that others give, as a share of its spread
RESPONSE = re.compile(
    r"loss|error|perplexity|ppl|accuracy|(^|_)acc($|_)|score|brier|bpb|response|metric",
    re.IGNORECASE,
)
RATE = re.compile(r"accuracy|(^|_)acc($|_)|rate$|exact_?match|pass_?at|share|win", re.IGNORECASE)
BOOKKEEPING = re.compile(
    r"^(run_?id|id|index|idx|seed|unnamed.*|row|step|n_?seeds?|status|run_digest|fit_weight)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SearchTable:
    """The runs of a search.

    Attributes:
        label: what the table is called.
        response: column of what is predicted, as a formula calls it.
        y: its values, (n,).
        variables: column to values, (n,), as a formula calls them.
        group: number of the group of every run, (n,).
        groups: their names.
        names: all names that a parameter must not have.
        renamed: name in formulas to column of the table, where they differ; also `group`, where
            the user named the column of groups.
        gaps: columns, as the table calls them, that lack a number in a row that was left out.
        notes: what was decided, a sentence each.
        rows: of every run its number in the table that was read, from 0, (n,).
    """

    label: str
    response: str
    y: np.ndarray
    variables: dict[str, np.ndarray]
    group: np.ndarray
    groups: tuple[str, ...]
    names: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))

    def without(self, far: np.ndarray) -> SearchTable:
        """The table without some of its runs, bool (n,), and a note of them."""
        told = note(self.rows[far])
        kept = ~far
        return replace(
            self,
            y=self.y[kept],
            variables={name: x[kept] for name, x in self.variables.items()},
            group=self.group[kept],
            notes=(*self.notes, told),
            rows=self.rows[kept],
        )

    @property
    def positive(self) -> bool:
        """Whether the response is above 0 throughout."""
        return bool((self.y > 0).all())

    @property
    def within(self) -> bool:
        """Whether the response lies from 0 to 1."""
        return bool((self.y >= 0).all() and (self.y <= 1).all())

    @property
    def bounded(self) -> bool:
        """Whether it cannot leave 0 to 1: an accuracy or a rate by its name."""
        return self.within and RATE.search(self.response) is not None


@dataclass(frozen=True)
class Asked:
    """What the user says of a table.

    Attributes:
        columns: name in formulas (N, D, V, ..., also loss and group) to column.
        response: column to predict; by its name if None.
        variables: columns to predict it from; all that vary if empty.
        groups: column of groups; one called group if None.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    response: str | None = None
    variables: Sequence[str] = ()
    groups: str | None = None


def opened(source: str | Path | Sequence[str | Path] | Source | pd.DataFrame) -> tuple:
    """The rows of a table (pandas) and what it is called in messages."""
    if isinstance(source, pd.DataFrame):
        return named(source.reset_index(drop=True), "the table"), "the table"
    one = open_source(source)
    return named(rows(one).rows, one.label), one.label


def mixture_of(raw: pd.DataFrame, label: str, asked: Asked) -> MixtureColumns | None:
    """The columns of a table of mixtures; None of another, or where variables are named.

    Of a table in which nothing else varies the loss of the whole run will do.
    """
    if asked.variables or asked.columns:
        return None
    if asked.response is not None and asked.response not in raw:
        return None
    mixture = mixture_columns(raw, label, strict=False)
    if mixture is None:
        mixture = mixture_columns(raw, label, strict=False, whole=True)
        if mixture is None or _others_vary(raw, asked, mixture):
            return None
    if asked.response is None or asked.response in mixture.losses:
        return mixture
    of_all = {asked.response: "loss_all"}
    return replace(mixture, losses=of_all) if "loss" in meanings(asked.response) else None


def _others_vary(raw: pd.DataFrame, asked: Asked, mixture: MixtureColumns) -> bool:
    """Whether a column beside proportions, the loss and groups may be a variable."""
    known = {*mixture.renamed, asked.groups or "group"}
    others = [name for name in raw if name not in known and not BOOKKEEPING.match(str(name))]
    return any(holds_numbers(raw[name]) and raw[name].nunique() > 1 for name in others)


def search_table(raw: pd.DataFrame, label: str, asked: Asked) -> SearchTable:
    """The runs of a search, of a table as it was read.

    Raises:
        IsolossError: there is no such column, no response, no variable, or too few runs.
    """
    _check_columns(raw, label, asked)
    asked = _named_apart(raw, asked)
    raw = raw.rename(columns={old: new for new, old in asked.columns.items()})
    group = _group_column(raw, label, asked)
    numeric = [name for name in raw if name != group and holds_numbers(raw[name])]
    response = _response(raw, label, asked, numeric)
    notes: list[str] = []
    chosen = _chosen(raw, label, asked, [n for n in numeric if n != response], notes)
    values = {name: read_numbers(raw[name]).values for name in (response, *chosen)}
    whole = np.all([np.isfinite(x) for x in values.values()], axis=0)
    if whole.sum() < LEAST:
        reason = f"{int(whole.sum())} rows have numbers in {listed([response, *chosen])}"
        do = f"a search needs at least {LEAST} runs; name fewer columns with --variables"
        raise IsolossError(Problem(label, reason, do))
    if not whole.all():
        at = listed([int(i) + 1 for i in np.flatnonzero(~whole)], 6)
        notes.append(f"{int((~whole).sum())} rows without a number in a column are left out: {at}")
    gaps = [asked.columns.get(name, name) for name, x in values.items() if not np.isfinite(x).all()]
    values = {name: x[whole] for name, x in values.items()}
    labels = raw[group].astype(str).to_numpy()[whole] if group else np.full(whole.sum(), "")
    number, groups = pd.factorize(labels)
    y = values.pop(response)
    if np.ptp(y) == 0:
        raise IsolossError(Problem(f"{label}, {response}", "has one value", "name another column"))
    rows = np.flatnonzero(whole)
    variables = _varying(values, label, asked, notes)
    notes += _zeros(variables, rows)
    renamed = dict(asked.columns) | ({"group": asked.groups} if asked.groups else {})
    return SearchTable(
        label,
        response,
        y,
        variables,
        number,
        tuple(map(str, groups)),
        (*map(str, raw.columns), response),
        {new: old for new, old in renamed.items() if new != old},
        tuple(gaps),
        tuple(notes),
        rows,
    )


def _check_columns(raw: pd.DataFrame, label: str, asked: Asked) -> None:
    wrong = [
        Problem(f"{label}, columns.{new}", f"no column {old!r}", nearest(old, raw.columns))
        for new, old in asked.columns.items()
        if old not in raw
    ]
    wrong += [
        Problem(f"{label}, columns.{new}", "is not a name that a formula can have", "give another")
        for new in asked.columns
        if not usable(new)
    ]
    known = {*raw.columns, *asked.columns}
    for place, names in (
        ("response", [asked.response]),
        ("variables", asked.variables),
        ("groups", [asked.groups]),
    ):
        wrong += [
            Problem(f"{label}, {place}", f"no column {name!r}", nearest(name, known))
            for name in names
            if name is not None and name not in known
        ]
    if wrong:
        raise IsolossError(*wrong)


def usable(name: str) -> bool:
    """Whether a column can be called so in a formula."""
    if not name.isidentifier() or keyword.iskeyword(name):
        return False
    try:
        read_expression(f"1 + {name}")
    except IsolossError:
        return False
    return True


def _named_apart(raw: pd.DataFrame, asked: Asked) -> Asked:
    """Other names for columns whose own have a meaning in the table of runs: N for n_params.

    A formula could not be fitted by `law` under their own names.
    """
    letters = {column: letter for letter, column in COLUMNS.items()}
    taken = {*raw.columns, *asked.columns}
    own = {*tables.schema("runs").names, *OWN}
    given = {*asked.columns.values(), asked.response, asked.groups}
    apart = {}
    for name in sorted(own & set(raw.columns) - given):
        new = letters.get(name, f"{name}_")
        if name.startswith("n_") or name in ("budget", "low", "high", "distance", "repeats"):
            apart[new if new not in taken else f"{name}_"] = name
    return replace(asked, columns={**asked.columns, **apart})


def _spoken(name: str | None, asked: Asked) -> str | None:
    """What a column that the user names is called after `columns`."""
    renamed = {old: new for new, old in asked.columns.items()}
    return renamed.get(name, name)


def _group_column(raw: pd.DataFrame, label: str, asked: Asked) -> str | None:
    if asked.groups is not None:
        return _spoken(asked.groups, asked)
    return next((name for name in raw if str(name).lower() == "group"), None)


def _response(raw: pd.DataFrame, label: str, asked: Asked, numeric: Sequence[str]) -> str:
    """The column to predict."""
    if asked.response is not None:
        name = _spoken(asked.response, asked)
        if name not in numeric:
            reason = f"column {name!r} does not hold numbers"
            raise IsolossError(Problem(f"{label}, response", reason, "name another column"))
        return name
    if not numeric:
        reason = "no column holds numbers"
        raise IsolossError(Problem(label, reason, "give a table with a response and variables"))
    if "loss" in numeric:
        return "loss"
    free = [name for name in numeric if name not in asked.variables]
    guessed = guess_columns(raw[free]).columns.get("loss") if free else None
    like = [guessed] if guessed else [name for name in free if RESPONSE.search(name)]
    if len(like) != 1:
        which = f"{listed(like)} could be it" if like else f"numeric columns: {listed(numeric)}"
        do = "name it: --response COLUMN"
        raise IsolossError(Problem(f"{label}, response", f"which column is it? {which}", do))
    return like[0]


def _chosen(
    raw: pd.DataFrame, label: str, asked: Asked, numeric: Sequence[str], notes: list[str]
) -> list[str]:
    """The columns to predict from."""
    if asked.variables:
        chosen = [str(_spoken(name, asked)) for name in asked.variables]
        texts = [name for name in chosen if name not in numeric]
        if texts:
            reason = f"column {texts[0]!r} does not hold numbers"
            raise IsolossError(Problem(f"{label}, variables", reason, "name others"))
    else:
        others = [n for n in numeric if BOOKKEEPING.match(n) or RESPONSE.search(n)]
        others = [name for name in others if name not in asked.columns]
        chosen = [name for name in numeric if name not in others]
        if others:
            notes.append(f"not looked at: {listed(others)} (name them with --variables)")
    odd = [name for name in chosen if not usable(name)]
    if odd:
        reason = f"a formula cannot call a column {odd[0]!r}"
        do = f"give it a name: --columns x={odd[0]!r}"
        raise IsolossError(Problem(f"{label}, columns", reason, do))
    return chosen


def _varying(
    values: dict[str, np.ndarray], label: str, asked: Asked, notes: list[str]
) -> dict[str, np.ndarray]:
    """Variables of more than one level, none of which the others give."""
    constant = [name for name, x in values.items() if np.ptp(x) == 0]
    variables = {name: x for name, x in values.items() if name not in constant}
    if constant:
        notes.append(f"the same in all runs: {listed(constant)}")
    if not variables:
        reason = f"no column varies beside the response ({listed(list(values)) or 'no other'})"
        raise IsolossError(Problem(label, reason, "a law needs a variable of several levels"))
    for name in [] if asked.variables else list(variables)[::-1]:
        others = [x for other, x in variables.items() if other != name]
        if others and _follows(variables[name], others):
            del variables[name]
            notes.append(f"{name} follows from the other columns and is left out")
    if len(variables) > MOST_VARIABLES:
        reason = f"{len(variables)} columns vary: {listed(list(variables), 12)}"
        do = f"name at most {MOST_VARIABLES} of them: --variables A B C"
        raise IsolossError(Problem(label, reason, do))
    return variables


def _zeros(variables: Mapping[str, np.ndarray], rows: np.ndarray) -> list[str]:
    """Columns that are sizes but for a few zeros, which take powers and logarithms from them."""
    notes = []
    for name, x in variables.items():
        zero, above = x == 0, x[x > 0]
        few = 0 < zero.sum() <= max(1, FEW_ZEROS * len(x))
        if few and (x >= 0).all() and above.max() > WIDE * above.min():
            at = f"row{'s' * int(zero.sum() > 1)} {listed([int(i) + 1 for i in rows[zero]], 6)}"
            notes.append(
                f"warning: {name} is 0 in {at}: laws with powers or logarithms of it are not "
                "looked at; to look at them, empty those cells or leave the rows out"
            )
    return notes


def _follows(x: np.ndarray, others: list[np.ndarray]) -> bool:
    """Whether a size is a product of powers of others, as C = 6 N D is."""
    if not all((each > 0).all() for each in (x, *others)) or len(x) < len(others) + 3:
        return False
    design = np.stack([np.ones(len(x)), *map(np.log, others)], axis=1)
    aim = np.log(x)
    left = aim - design @ np.linalg.lstsq(design, aim, rcond=None)[0]
    return bool(np.abs(left).max() < FOLLOWS * max(1.0, np.ptp(aim)))
