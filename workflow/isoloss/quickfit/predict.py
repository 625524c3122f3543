"""What a published law or a saved fit predicts, for a terminal or as JSON.

`python -m isoloss predict chinchilla:epoch --N 7B --D 1.4T`
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss.aggregate.numbers import read_numbers
from isoloss.core import registry, units
from isoloss.core.escape import columns, listed, visible
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted import Fit, load_fit
from isoloss.fitted.chain import Chain, asked_of, chain
from isoloss.fitted.decisions import INSIDE, FitDecisions
from isoloss.fitted.facts import record
from isoloss.fitted.names import AT_END, PREDICTED, equation
from isoloss.fitted.optima import Optimum, optima, text_of
from isoloss.fitted.optimum import asked_question
from isoloss.fitted.paper_tables import interval
from isoloss.fitted.presets import NO_INTERVAL, SEPARATOR, Preset, names, preset
from isoloss.fitted.reach import of_row
from isoloss.quickfit.answer import plain

_LINE = 110  # characters of a line of text
_MOST = 100_000  # points at once
_OFF = 1e-3  # of the sum of proportions from 1
_LOSS = "{:.4g}"
_SIZES = "NDCU"  # variables that are above 0
ENDS = ("", "_low", "_high")  # of the columns of a quantity and its interval
_OWN = "its losses are those of its own tokeniser and text: differences carry over, levels need not"


@dataclass(frozen=True)
class Asked:
    """Where a law is evaluated.

    Attributes:
        values: variable (N, D, C, U, p_<domain>) to its values.
        paired: whether the values of the variables belong together; else all are crossed.
        group, response, level: as for `Fit.predict`.
    """

    values: Mapping[str, Sequence[float]]
    paired: bool = False
    group: str | None = None
    response: str | None = None
    level: float | None = None


@dataclass(frozen=True)
class Source:
    """A law to predict with.

    Attributes:
        name: of the preset, or the folder of the fit.
        law: it.
        head: what it is, a line each.
        notes: what to know about its numbers.
        facts: about it, for JSON.
    """

    name: str
    law: FitDecisions | Chain
    head: Sequence[str]
    notes: Sequence[str]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a law says at the points that were asked for.

    Attributes:
        source: the law.
        table: a row a point, as of `predict` or `allocate`.
        divides: whether budgets are divided.
        notes: what to know about the numbers, a sentence each.
        group: that the numbers are of; None of a law without groups.
    """

    source: Source
    table: pd.DataFrame
    divides: bool
    notes: Sequence[str]
    group: str | None = None


def opened(name: str) -> Source:
    """A published law by its name, or a fit from its folder.

    Raises:
        IsolossError: it is neither.
    """
    if Path(name).is_dir():
        return _of_fit(name, load_fit(name))
    if SEPARATOR in name or name in registry.names("law"):
        return _of_preset(preset(name))
    own = [known for known in names() if name in known.split(SEPARATOR)]
    near = f"name it {own[0]}" if own else nearest(name, names())
    remedy = f"{near}; `isoloss predict --list` lists the published laws"
    raise IsolossError(Problem(name, "neither a published law nor a folder of a fit", remedy))


def _of_preset(law: Preset) -> Source:
    facts = {"law": law.name, "formula": law.law.formula, "parameters": law.values}
    facts |= {"source": law.source, "fitted_to": law.of, "domain": law.domain}
    notes = [NO_INTERVAL, _OWN] if law.of_loss else [NO_INTERVAL]
    valid = registry.facts("law", law.name.split(SEPARATOR)[0])["DOMAIN"]
    head = [repr(law), *([f"holds for: {valid}"] if valid else [])]
    return Source(law.name, law, head, notes, facts)


def _of_fit(folder: str, fit: Fit) -> Source:
    about = record(fit)
    formula = equation(fit.law.formula, fit.quantity)
    facts = {"law": fit.facts["card"], "formula": formula, "folder": folder}
    facts |= {"groups": fit.groups, "verdict": about.judgement}
    head = [f"{folder}: {formula}", f"verdict: {visible(about.judgement)}"]
    notes = [] if len(fit.replicate_thetas()) else ["no intervals: the fit has no replicates"]
    return Source(folder, fit, head, notes, facts)


def numbers(texts: Sequence[str], variable: str) -> list[float]:
    """Numbers as people write them: 7e9, 7B, 1.4T, 10^21.

    Raises:
        IsolossError: one is not finite, or a size not above 0, or a proportion below 0.

    >>> numbers(["7B", "1e10"], "N"), numbers(["0", "0.3"], "p_web"), numbers(["-2"], "shift")
    ([7000000000.0, 10000000000.0], [0.0, 0.3], [-2.0])
    """
    size, share = variable in _SIZES, variable.startswith("p_")
    do = "give numbers from 0, such as 0.3" if share else "give finite numbers, such as 0.3"
    do = "give numbers above 0, such as 7e9 or 7B" if size else do
    values = [read_numbers(pd.Series([text])).values[0] for text in texts]
    for text, value in zip(texts, values, strict=True):
        low = (size and value <= 0) or (share and value < 0)
        if low or not math.isfinite(value):
            raise IsolossError(Problem(f"--{variable}", f"found {text!r}", do))
    return [float(value) for value in values]


def predicted(source: str, asked: Asked, then: str | None = None) -> Answer:
    """What a published law or a fit says: losses at points, or the best division of budgets.

    Args:
        source: such as "chinchilla:epoch", or the folder of a fit.
        asked: where. C alone, of a law that divides budgets, gives the best N and D; of a law in N
            and D two of N, D and C say the third (C = 6 N D).
        then: a law or fit that reads what the first predicts, such as "downstream_error:gadre":
            what follows from the loss, at the best N and D of budgets too.

    Raises:
        IsolossError: no such law or fit, a variable that the law lacks or does not have, or too
            many points.
    """
    opened_law = opened(source)
    if then is not None:
        return _chained(opened_law, opened(then), asked)
    law, points = opened_law.law, _points(asked)
    divides = set(points) == {"C"} and law.allocates
    if divides:
        table = law.allocate(points["C"], asked.group, asked.level)
    else:
        points = _completed(law, points)
        _check_given(law, law.law.variables, points)
        table = law.predict(asked.group, asked.response, asked.level, **points)
    notes = [*opened_law.notes, *_outside(law, table)]
    unread = [name for name in points if name not in (*law.law.variables, "C")]
    if unread:
        notes.append(f"{listed(unread)}: not in the law, so its answer does not depend on it")
    groups = opened_law.facts.get("groups", ())
    group = groups[0] if asked.group is None and len(groups) > 1 else asked.group
    if asked.group is None and group is not None:
        notes.append(
            f"of group {visible(group)}, the first; of others: --group {listed(groups[1:])}"
        )
    return Answer(opened_law, table, divides, notes, group if group in groups else None)


def optimum(
    source: str,
    asked: Mapping[str, Any],
    group: str | None = None,
    level: float | None = None,
    then: str | None = None,
) -> tuple[Source, list[Optimum]]:
    """Where a published law or a fit has an expression least; of a fit's groups all if None.

    Args:
        source: such as "chinchilla:epoch", or the folder of a fit.
        asked: a question, as `Fit.optimize` takes its arguments.
        group: one alone.
        level: of the intervals; that of the fit if None.
        then: a law or fit that reads what the first predicts; what it predicts is best then, unless
            the question says what is least.

    Raises:
        IsolossError: no such law or fit, or the question cannot be asked of it.
    """
    opened_law = opened(source)
    if then is None:
        return opened_law, optima(opened_law.law, asked_question(asked), group, level)
    second = opened(then)
    groups = opened_law.law.groups if group is None else [group]
    chains = [chain(opened_law.law, second.law, one) for one in groups]
    both = _one_source(opened_law, second, chains[0])
    return both, [one for own in chains for one in optima(own, asked_of(own, asked), level=level)]


def text_of_optimum(source: Source, ones: Sequence[Optimum]) -> str:
    """Optima for a terminal: the law, each optimum, and what to know."""
    lines = [textwrap.fill(line, _LINE, subsequent_indent="  ") for line in source.head[1:]]
    notes = [textwrap.fill(note, _LINE, subsequent_indent="  ") for note in source.notes]
    return "\n".join([source.head[0], *lines, "", text_of(ones) + "\n".join(notes)])


def json_of_optimum(source: Source, ones: Sequence[Optimum]) -> str:
    """The same as one JSON object."""
    law, notes = source.law, list(source.notes)
    facts = {**source.facts, "quantity": law.quantity, "unit": law.loss_unit, "level": law.level}
    return _json({**facts, "optima": [asdict(one) for one in ones], "notes": notes})


def _chained(first: Source, second: Source, asked: Asked) -> Answer:
    """What follows from the loss at the points."""
    law, points = first.law, _points(asked)
    both = chain(law, second.law, asked.group)
    if set(points) == {"C"} and law.allocates:
        best = law.allocate(points["C"], asked.group)
        points = {name: best[name].to_numpy() for name in law.law.variables}
    beside = {k: v for k, v in points.items() if k not in (*law.law.variables, "C")}
    own = {k: v for k, v in points.items() if k not in beside}
    own = _completed(law, own)
    further = [name for name in second.law.law.variables if name != law.quantity]
    _check_given(law, [*law.law.variables, *further], {**own, **beside})
    table = both.predict(asked.level, **own, **beside)
    source = _one_source(first, second, both)
    return Answer(source, table, False, [*source.notes, *_outside(both, table)], asked.group)


def _one_source(first: Source, second: Source, both: Chain) -> Source:
    """Two laws one after the other as one, with what to know about its intervals."""
    pairing = "paired by their number (the same runs)" if both.paired else "crossed"
    notes = [f"replicates of the two fits are {pairing}"]
    lacking = [one.name for one in (first, second) if not len(one.law.replicate_estimates())]
    if len(lacking) == 2:
        notes = ["no intervals: neither law has replicates"]
    elif lacking:
        notes = [f"the interval leaves out the uncertainty of {lacking[0]}: it has no replicates"]
    notes += [_OWN] if _OWN in first.notes else []
    heads = [*first.head, *f"then {second.head[0]}".split("\n"), *second.head[1:]]
    return Source(first.name, both, heads, notes, {**first.facts, "then": second.facts})


def _points(asked: Asked) -> dict[str, np.ndarray]:
    """The points: pairs as they are given, or all combinations."""
    sizes = [len(values) for values in asked.values.values()]
    if not sizes:
        raise IsolossError(Problem("predict", "no point is given", "give --N, --D, --C or --at"))
    if math.prod(sizes) > _MOST and not asked.paired:
        raise IsolossError(Problem("predict", f"{math.prod(sizes)} points", f"at most {_MOST}"))
    if asked.paired:
        if len({size for size in sizes if size > 1}) > 1:
            counts = ", ".join(
                f"{n} of {name}" for name, n in zip(asked.values, sizes, strict=True)
            )
            raise IsolossError(Problem("--pairs", f"found {counts}", "give as many of each, or 1"))
        arrays = np.broadcast_arrays(*asked.values.values())
    else:
        arrays = [axis.ravel() for axis in np.meshgrid(*asked.values.values(), indexing="ij")]
    return dict(zip(asked.values, map(np.asarray, arrays), strict=True))


def _completed(law: FitDecisions, points: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The points with the N or D that C = 6 N D gives; without a C that the law does not read."""
    points, needs = dict(points), law.law.variables
    if "C" in points and "C" not in needs:
        known = [letter for letter in "ND" if letter in points]
        if len(known) != 1 or not {"N", "D"} <= set(needs):
            do = f"the law is {law.law.formula}: give {', '.join(needs)}"
            do += ", or C alone" if law.allocates else _how_to_divide(needs)
            raise IsolossError(Problem("C", "does not go together with what is given", do))
        (other,) = {"N", "D"} - set(known)
        points[other] = points.pop("C") / 6 / points[known[0]]
    return points


def _check_given(law: FitDecisions, variables: Sequence[str], points: Mapping) -> None:
    """Refuse points without a variable of a law, with the option that gives it.

    Raises:
        IsolossError: one is not given.
    """
    if law.law.proportions:  # one that is not given is 0
        return
    for name in (name for name in variables if name not in points):
        option = f"--{name} VALUE" if name in _SIZES else f"--at {name}=VALUE"
        do = f"the law is {law.law.formula}: give {option}"
        raise IsolossError(Problem(f"variable {name}", "not given", do))


def _how_to_divide(variables: Sequence[str]) -> str:
    """How the best N and D of a budget are asked for, of a law that has no form for them."""
    if not {"N", "D"} <= set(variables):
        return ""
    others = " ".join(f"{name}=VALUE" for name in variables if name not in ("N", "D"))
    given = f" --given {others}" if others else ""
    return f'; the best N and D of a budget: --subject-to "6*N*D <= 1e21"{given}'


def _outside(law: FitDecisions | Chain, table: pd.DataFrame) -> list[str]:
    """How many points lie outside the runs, and where these are."""
    if law.law.proportions:
        sums = table[list(law.law.variables)].sum(axis=1)
        off = int((abs(sums - 1) > _OFF).sum())
        if off:
            return [f"WARNING: the proportions of {off} of {len(table)} points do not sum to 1"]
    notes = []
    if nothing := int((~np.isfinite(table[law.quantity])).sum()):
        notes.append(f"WARNING: the law has no finite value at {nothing} of {len(table)} points")
    notes += _cut(law, table)
    count = int((table["distance"] > INSIDE).sum())
    if not count:
        return notes
    limits = [
        f"{visible(row.variable)} {units.count(row.low)} to {units.count(row.high)}"
        for row in law.rows_of("ranges").itertuples()
    ]
    where = f"({', '.join(limits)})" if limits else ""
    return [*notes, f"WARNING: outside the runs {where}: {count} of {len(table)} points"]


def _cut(law: FitDecisions | Chain, table: pd.DataFrame) -> list[str]:
    """That a prediction is an end of the range of its response, which the law leaves there."""
    known = [end for end in law.response_range or () if end is not None]
    count = int(table[law.quantity].isin(known).sum()) if known else 0
    if not count:
        return []
    low, high = ("open" if end is None else f"{end:g}" for end in law.response_range)
    text = (
        f"WARNING: at {count} of {len(table)} points the law leaves the range of "
        f"{visible(law.quantity)}, {low} to {high}: the end of the range stands there"
    )
    if AT_END in table and (table[law.first.quantity] <= 0).any():
        text += f"; it is a law by a {visible(law.first.quantity)} above 0, and the first gives"
        text += " one that is not"
    return [text]


def text(answer: Answer) -> str:
    """The answer for a terminal: the law, a row a point, and what to know."""
    law, table = answer.source.law, answer.table
    unit = f", {law.loss_unit}" if law.loss_unit != "1" else ""
    what = f"{visible(law.quantity)}{unit}"
    if answer.divides:
        head = ("C, FLOP", "N", "D", "D/N", what, "outside the runs")
        rows = [_budget(row) for row in table.to_dict("records")]
    else:
        given = [name for name in table if name not in (law.quantity, *PREDICTED)]
        head = (*map(visible, given), what, "outside the runs")
        rows = [_point(row, given, law.quantity) for row in table.to_dict("records")]
    heads = list(answer.source.head[1:])
    heads += [f"group: {visible(answer.group)}"] if answer.group is not None else []
    lines = [textwrap.fill(line, _LINE, subsequent_indent="  ") for line in heads]
    notes = [textwrap.fill(note, _LINE, subsequent_indent="  ") for note in answer.notes]
    return "\n".join([answer.source.head[0], *lines, "", columns(head, rows) + "\n".join(notes)])


def _point(row: Mapping[str, Any], given: Sequence[str], quantity: str) -> tuple[str, ...]:
    sizes = [_size(name, row[name]) for name in given]
    return (
        *sizes,
        _with_interval(row[quantity], row["low"], row["high"]),
        visible(of_row(row).text),
    )


def _budget(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("N", "D", "tokens_per_parameter")
    if not row["N"] > 0:
        nothing = ("none: an exponent is not positive", "", "", "", "")
        return (units.power(row["C"]), *nothing)
    sizes = [_with_interval(*(row[n + end] for end in ENDS), units.count) for n in names]
    loss = _with_interval(*(row["loss" + end] for end in ENDS))
    return (units.power(row["C"]), *sizes, loss, of_row(row).text)


def _size(name: str, value: float) -> str:
    if name == "C":
        return units.power(value)
    return units.count(value, 4) if name in ("N", "D", "U") else f"{value:.6g}"


def _with_interval(value: float, low: float, high: float, form=_LOSS.format) -> str:
    return f"{form(value)} {interval(low, high, form)}".rstrip()


def as_json(answer: Answer) -> str:
    """The answer as one JSON object; null for what is not known."""
    law = answer.source.law
    rows = "allocations" if answer.divides else "predictions"
    facts = {
        **answer.source.facts,
        "group": answer.group,
        "quantity": law.quantity,
        "unit": law.loss_unit,
        "level": law.level,
        rows: answer.table.to_dict("records"),
        "notes": list(answer.notes),
    }
    return _json(facts)


def listing() -> str:
    """All published laws, each with its parameters, source, unit and the range of its runs."""
    return "\n\n".join(repr(preset(name)) for name in names())


def listing_json() -> str:
    """The same as JSON: a list of objects."""
    facts = [{**_of_preset(law).facts, "unit": law.loss_unit} for law in map(preset, names())]
    return _json(facts)


def _json(value: Any) -> str:
    return json.dumps(plain(value), indent=2, allow_nan=False)  # ASCII: any terminal shows it
