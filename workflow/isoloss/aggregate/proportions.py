"""Find the columns of a table that are proportions of a mixture and losses by domain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from isoloss.aggregate.guess import holds_numbers
from isoloss.aggregate.loss_units import unit_of
from isoloss.aggregate.numbers import read_numbers
from isoloss.core import tables
from isoloss.core.escape import listed
from isoloss.core.problems import Problem, TableError
from isoloss.formats.names import SPLITS, WEAK, bare, meanings

SAME_SUM = 0.05  # how far the sums of rows may be from each other, as a part of them
_MOST = 0.9  # of the rows, whose sums have to agree
_ENOUGH = 2  # domains whose names match losses, where the sums alone do not say enough
_OMITTED = 2  # columns that are called like proportions and are none, at most
_LOOKED_AT = 200  # rows, to choose the columns that sum to one number
_LONGEST = 300  # characters of the name of a loss, at most
_SEP = r"[_./ :-]"
_KINDS = "p|props?|proportions?|mix|mixture|shares?|weights?|frac|fractions?|pct|percent"
_ANY_NAME = re.IGNORECASE | re.DOTALL
_PREFIX = re.compile(rf"({_KINDS}){_SEP}(.+)", _ANY_NAME)
_SUFFIX = re.compile(rf"(.+?)(?:{_SEP}({_KINDS})| ?\(?%\)?)", _ANY_NAME)
_SPLIT = "|".join((*sorted(SPLITS), "final"))
_HEADS = "loss|nll|bpb|bpc|xent|cross_?entropy"
_LOSS = re.compile(
    rf"(?:(?:{_SPLIT}){_SEP})*"
    rf"(?:(?:{_HEADS}){_SEP}(.+)|(.+?)(?:{_SEP}(?:{_SPLIT}))*{_SEP}(?:{_HEADS}))",
    _ANY_NAME,
)
_NAMES_LOSS = re.compile(rf"({_HEADS})", re.IGNORECASE)
_OF_ALL = "all"  # the domain of a loss that is of the whole run


@dataclass(frozen=True)
class MixtureColumns:
    """The columns of a table of mixtures.

    Attributes:
        shares: column to p_<domain>.
        losses: column to loss_<domain>.
        divisor: what every proportion is divided by; None: by the sum of its row.
        notes: what was decided, a sentence each.
        loss_unit: of the loss of the whole run, where its name says one that is not fitted as it
            is, such as perplexity.
    """

    shares: Mapping[str, str]
    losses: Mapping[str, str]
    divisor: float | None
    notes: Sequence[str]
    loss_unit: str | None = None

    @property
    def renamed(self) -> dict[str, str]:
        """Column to its new name."""
        return {**self.shares, **self.losses}

    def applied(self, raw: pd.DataFrame) -> pd.DataFrame:
        """The table with the new names, and with proportions that sum to 1.

        Columns that are none, but called as they are then, get `_given` behind their name.
        """
        if self.divisor != 1.0:
            shares = _matrix(raw, list(self.shares))
            sums = np.where(np.isfinite(shares), shares, 0.0).sum(axis=1)
            total = sums if self.divisor is None else self.divisor
            with np.errstate(invalid="ignore", divide="ignore"):
                shares = (shares.T / total).T
            parts = {c: _kept(raw[c], shares[:, i]) for i, c in enumerate(self.shares)}
            raw = raw.assign(**parts)
        others = [c for c in raw if c not in self.renamed and str(c).startswith(("p_", "loss_"))]
        return raw.rename(columns={**{c: f"{c}{tables.SET_ASIDE}" for c in others}, **self.renamed})


def mixture_columns(
    raw: pd.DataFrame, label: str, strict: bool = True, whole: bool = False
) -> MixtureColumns | None:
    """The columns of proportions and of losses by domain, if it is a table of mixtures.

    Proportions are columns with a common word in their names (`p_web`, `web_share`, `mix/web`), or
    called as the domains of the losses are. Their sum is nearly the same in all rows, and they
    vary. Counts and percentages are divided by their sum.

    Args:
        raw: the table.
        label: what it is called in errors.
        strict: whether columns that are called as proportions of the losses' domains must be it.
        whole: whether, of a table without losses by domain, a loss of the whole run will do; it
            becomes `loss_all`.

    Returns:
        The columns, or None: fewer than two proportions, or no loss.

    Raises:
        TableError: columns are called after the domains of losses and do not sum to 1.

    Example:
        >>> import pandas as pd
        >>> table = {"web %": [10, 40, 60], "code %": [90, 60, 40], "web_loss": [3, 2.9, 2.8]}
        >>> mixture = mixture_columns(pd.DataFrame(table), "runs.csv")
        >>> mixture.shares, mixture.divisor
        ({'web %': 'p_web', 'code %': 'p_code'}, 100.0)
        >>> mixture.notes
        ('proportions sum to 100: divided by it', 'without a loss of their own: code')
    """
    losses, unit = _losses(raw), None
    if not losses and whole:
        names, unit = _whole_losses(raw)
        losses = dict.fromkeys(names, _OF_ALL)
    if not losses:
        return None
    families = _families(raw, {_key(domain) for domain in losses.values()})
    ranked = sorted(families, key=lambda one: (-len(one.matched), -len(one.domains)))
    for family in ranked:
        columns = _summing(raw, family)
        if columns is not None:
            return replace(_named(family, *columns, losses), loss_unit=unit)
    for family in ranked:
        if len(family.matched) >= _ENOUGH:
            shares = _matrix(raw, list(family.domains))
            if _are_counts(shares):
                mixture = _named(family, list(family.domains), None, losses)
                return replace(mixture, loss_unit=unit)
            if strict:
                raise TableError(_no_mixture(family, _sums(shares), label))
    return None


def shares_of(raw: pd.DataFrame) -> list[str]:
    """The columns of proportions that sum to 1, under their own names; empty where there are none.

    Those that begin with p_ go before others.

    Example:
        >>> shares_of(pd.DataFrame({"p_web": [0.1, 0.4], "p_code": [0.9, 0.6], "lr": [1, 2]}))
        ['p_web', 'p_code']
    """
    families = sorted(_families(raw, set()), key=lambda one: not _begin_with_p(one.domains))
    for family in families:
        columns = _summing(raw, family)
        if columns is not None and columns[1] == 1.0:
            return list(columns[0])
    return []


def _begin_with_p(columns: Iterable[str]) -> bool:
    return all(column.startswith("p_") for column in columns)


@dataclass(frozen=True)
class _Family:
    """Columns whose names have one pattern: column to domain, and the domains that have a loss."""

    domains: Mapping[str, str]
    matched: frozenset[str]


def _key(domain: str) -> str:
    """A domain without case and separators, to compare names."""
    return re.sub(r"[\W_]", "", domain).lower() or domain


def _loss(column: str) -> re.Match[str] | None:
    """What the name of a loss by domain is made of."""
    name = bare(column)
    if len(name) > _LONGEST or not _NAMES_LOSS.search(name):
        return None
    match = _LOSS.fullmatch(name)
    domain = match and (match[1] or match[2])
    return match if domain and "loss" not in meanings(domain) else None


def _losses(raw: pd.DataFrame) -> dict[str, str]:
    """Columns of losses, each with its domain."""
    matches = {column: _loss(column) for column in raw.columns}
    domains = {c: match[1] or match[2] for c, match in matches.items() if match}
    return {column: domain for column, domain in domains.items() if holds_numbers(raw[column])}


def _whole_losses(raw: pd.DataFrame) -> tuple[list[str], str | None]:
    """The column that is the loss of a run by its name, and its unit if that is to be changed."""
    points = {column: meanings(str(column)).get("loss", 0.0) for column in raw.columns}
    best = max(points.values(), default=0.0)
    names = [column for column, one in points.items() if one == best > WEAK]
    if len(names) != 1 or not holds_numbers(raw[names[0]]):
        return [], None
    numbers = read_numbers(raw[names[0]])
    unit = unit_of(numbers.values, numbers.unit, names[0])
    return names, unit.name if unit.change else None


def _families(raw: pd.DataFrame, of_losses: set[str]) -> list[_Family]:
    """Columns of numbers that are called as proportions are, by the pattern of their names."""
    patterns: dict[str, dict[str, str]] = {}
    for column in raw.columns:
        name = bare(column)
        if _loss(column):
            continue
        if match := _PREFIX.fullmatch(name):
            patterns.setdefault(f"{match[1].lower()} before", {})[column] = match[2]
        elif match := _SUFFIX.fullmatch(name):
            patterns.setdefault(f"{(match[2] or '%').lower()} behind", {})[column] = match[1]
        elif _key(name) in of_losses:
            patterns.setdefault("as the domains", {})[column] = name
    families = []
    for domains in patterns.values():
        read = (
            {c: d for c, d in domains.items() if holds_numbers(raw[c])} if len(domains) > 1 else {}
        )
        if len(read) > 1:
            families.append(_Family(read, frozenset(map(_key, read.values())) & of_losses))
    return families


def _matrix(raw: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """The numbers of columns, (n, k): NaN where a cell is missing, -inf where it is unread."""
    read = [read_numbers(raw[column]) for column in columns]
    return np.stack([np.where(one.unread, -np.inf, one.values) for one in read], axis=1)


def _kept(column: pd.Series, shares: np.ndarray) -> pd.Series:
    """The shares; a cell that could not be read stays, so that its row is counted as dropped."""
    unread = read_numbers(column).unread
    if not unread.any():
        return pd.Series(shares, index=column.index)
    return pd.Series(np.where(unread, column.astype(object), shares), index=column.index)


def _sums(shares: np.ndarray) -> np.ndarray:
    """The sums of the rows whose proportions are sound."""
    values = np.nan_to_num(shares, nan=0.0, posinf=-1.0)  # a proportion that is missing counts 0
    sums = values.sum(axis=1)
    return sums[(values >= 0).all(axis=1) & (sums > 0)]


def _common(shares: np.ndarray) -> float | None:
    """The sum that nearly all rows have, if two columns vary."""
    sums = _sums(shares)
    if not len(sums):
        return None
    middle = float(np.median(sums))
    agree = np.abs(sums - middle) <= SAME_SUM * middle
    known = np.isfinite(shares)
    least = np.where(known, shares, np.inf).min(axis=0)
    most = np.where(known, shares, -np.inf).max(axis=0)
    vary = np.count_nonzero(most - least > 1e-9) >= 2
    return middle if vary and agree.mean() >= _MOST else None


def _choices(columns: Sequence[str]) -> Iterator[list[int]]:
    """All columns; then all but one, all but two."""
    yield list(range(len(columns)))
    for omitted in range(1, _OMITTED + 1):
        if len(columns) - omitted >= 2:
            yield from ([*c] for c in combinations(range(len(columns)), len(columns) - omitted))


def _summing(raw: pd.DataFrame, family: _Family) -> tuple[list[str], float] | None:
    """The most columns of a family that sum to 1 or 100 (or, named after losses, to any total)."""
    columns = list(family.domains)
    shares = _matrix(raw, columns)
    some = shares[np.unique(np.linspace(0, len(shares) - 1, _LOOKED_AT).astype(int))]
    for choice in _choices(columns):
        for divisor in (1.0, 100.0):
            if _sums_to(some[:, choice], divisor) and _sums_to(shares[:, choice], divisor):
                return [columns[i] for i in choice], divisor
    total = _common(shares)
    if total is not None and total > 1 and len(family.matched) >= _ENOUGH:
        return columns, total
    return None


def _sums_to(shares: np.ndarray, divisor: float) -> bool:
    """Whether nearly all rows have this sum."""
    total = _common(shares)
    return total is not None and abs(total / divisor - 1) <= SAME_SUM


def _are_counts(shares: np.ndarray) -> bool:
    """Whether they are whole numbers: each row has a total of its own."""
    numbers = shares[np.isfinite(shares)]
    return bool((numbers == np.round(numbers)).all() and numbers.max(initial=0) > 1)


def _no_mixture(family: _Family, sums: np.ndarray, label: str) -> Problem:
    """What is wrong with proportions of no common sum."""
    names = listed(list(family.domains))
    low, high = (sums.min(), sums.max()) if len(sums) else (0.0, 0.0)
    reason = f"the proportions {names} of a row sum to {low:.3g} to {high:.3g}"
    if high <= 1 + SAME_SUM:
        reason += ", so a domain is missing"
        remedy = "add its column"
    else:
        remedy = "make the proportions of each row sum to 1"
    remedy += ", or name the columns of another law: --columns N=NAME D=NAME loss=NAME"
    return Problem(label, reason, remedy)


def _named(
    family: _Family, columns: Sequence[str], divisor: float | None, losses: Mapping[str, str]
) -> MixtureColumns:
    """The columns under their new names, and what is to be said of them."""
    domains = {column: family.domains[column] for column in columns}
    spelled = {_key(domain): domain for domain in domains.values()}
    of_losses = {column: spelled.get(_key(domain), domain) for column, domain in losses.items()}
    notes = []
    if divisor is None:
        notes.append("proportions are counts, each row with its own total: divided by it")
    elif divisor != 1.0:
        notes.append(f"proportions sum to {divisor:.4g}: divided by it")
    omitted = [column for column in family.domains if column not in domains]
    without = [d for d in domains.values() if d not in of_losses.values()]
    further = [d for d in of_losses.values() if d not in domains.values()]
    if list(losses.values()) == [_OF_ALL]:
        notes.append(f"{next(iter(losses))} is the loss of the whole run, of no domain alone")
        without, further = [], []
    for names, what in (
        (omitted, "no proportions"),
        (without, "without a loss of their own"),
        (further, "losses of no domain"),
    ):
        if names:
            notes.append(f"{what}: {listed(names)}")
    return MixtureColumns(
        {column: f"p_{domain}" for column, domain in domains.items()},
        {column: f"loss_{domain}" for column, domain in of_losses.items()},
        divisor,
        tuple(notes),
    )
