"""A fit for others to use: law.py (NumPy alone), explain.md, params.tex, paper.md."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import escape, registry, tables, units
from isoloss.core.arguments import checked
from isoloss.core.problems import IsolossError, Problem
from isoloss.fitted import FALLBACK, Fit, paper_tables
from isoloss.fitted.facts import record
from isoloss.fitted.growth import growth
from isoloss.fitted.markup import TEXT, Column, Latex, Markdown, filled
from isoloss.fitted.names import FORMULA, RESPONSE, equation
from isoloss.fitted.optima import Optimum, sentences_of
from isoloss.fitted.paper import paper, verdict
from isoloss.fitted.sentences import Context, formula
from isoloss.laws._law import Law

START, END = "<!-- PARAMS START -->", "<!-- PARAMS END -->"

_HOW_TO_READ = """\
How to read the numbers below: the search began at several starts; those that agree ended in the
same optimum, where the objective, such as `huber_log`, a sum over runs of how far predictions are
off, is least. RMSE is the root mean square error of predictions, in the unit of what is predicted;
R2 is the share of the variance between runs that the law explains. Runs held out were not fitted,
so that the error on them says how well the law predicts.
"""
_OF_INTERVALS = """\
An interval of 95 % is a range that should hold the true value in 95 of 100 such tables, if the law
is right. A parameter is not identified where that range spans more than a factor of 10.
"""

# What is filled in is source that `escape` wrote, or that of a law card.
_TEMPLATE = '''"""{about}"""

import numpy as np
from numpy import exp, inf, log, maximum, minimum, nan, sqrt, where  # noqa: F401

# group -> predicted column -> parameters by name
FITTED = {fitted}
VARIABLES = {variables}
PROPORTIONS = {flat}  # a proportion that is not given is 0


def predict(t, x):
    """{what} from parameters `t` and variables `x` (arrays by name)."""
{body}


def law(input_data, group):
    """Predictions for a list of points.

    input_data: a dict for each point, of the variables by name.
    group: which fit; {fallback} or the only one answers for a group that was not fitted.
    Returns a dict for each point, of what was predicted by name.
    """
    if group not in FITTED:
        group = {fallback} if {fallback} in FITTED or len(FITTED) > 1 else next(iter(FITTED))
    if group not in FITTED:
        raise KeyError("no such group; there are " + ", ".join(FITTED))
    points = [_aligned(point) for point in input_data]
    x = {{name: np.array([point[name] for point in points], dtype=float) for name in VARIABLES}}
    losses = [{{}} for _ in points]
    with np.errstate(all="ignore"):
        for response, t in FITTED[group].items():
            values = np.broadcast_to(predict(t, x), (len(points),))
            for point, value in zip(losses, values):
                point[response] = float(value)
    return losses


def _aligned(point):
    """A point's variables by their names here: other columns match by what follows an _."""
    if PROPORTIONS and not any(name in point for name in VARIABLES):
        return {{name: point.get(_column(name, point), 0.0) for name in VARIABLES}}
    if PROPORTIONS:
        return {{name: point.get(name, 0.0) for name in VARIABLES}}
    missing = [name for name in VARIABLES if name not in point]
    if missing:
        raise KeyError("a point lacks " + ", ".join(missing))
    return point


def _column(name, point):
    """The column that ends as a name does, after the first _ of the name or a later one."""
    while "_" in name:
        name = name.partition("_")[2]
        ends = [key for key in point if str(key) == name or str(key).endswith("_" + name)]
        if ends:
            return min(ends, key=lambda key: len(str(key)))
    return None
'''


@checked()
def export_fit(fit: Fit, folder: str | Path, context: Context | None = None) -> list[Path]:
    """Write law.py, explain.md, params.tex and paper.md into a folder; their paths.

    An explain.md that is there keeps its text: only the block of parameters is replaced. law.py
    predicts as the fit does, and needs NumPy alone.

    Args:
        fit: of any law.
        folder: it is made if it is not there.
        context: what paper.md says beside the fit's tables (`paper.context_of`); what the fit
            knows itself if None.

    Returns:
        The paths of the four files.

    Raises:
        IsolossError: the explain.md that is there is not UTF-8.

    Example:
        >>> import isoloss, numpy as np, pandas as pd, runpy, tempfile
        >>> N = np.geomspace(1e7, 1e9, 8)
        >>> table = pd.DataFrame({"N": N, "D": 1e9, "loss": 2 + 400 / N**0.34})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = isoloss.export_fit(fit, folder)
        ...     law = runpy.run_path(files[0])["law"]
        >>> [file.name for file in files]
        ['law.py', 'explain.md', 'params.tex', 'paper.md']
        >>> bool(np.isclose(law([{"N": 1e10}], "all")[0]["loss"], 2 + 400 / 1e10**0.34))
        True
    """
    folder = Path(folder)
    explain = folder / "explain.md"
    old = _text_of(explain) if explain.exists() else None
    texts = {
        "law.py": law_file(fit),
        "explain.md": explanation(fit, old, () if context is None else context.optima),
        "params.tex": latex(fit),
        "paper.md": paper(fit, context),
    }
    for name, text in texts.items():
        tables.write_text(folder / name, text)
    return [folder / name for name in texts]


def _text_of(file: Path) -> str:
    """A text file to the letter, its line ends too."""
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 ({error.reason} at byte {error.start})"
        raise IsolossError(Problem(str(file), reason, "save it as UTF-8, or move it")) from error


def law_file(fit: Fit) -> str:
    """A Python file that predicts as the fit does."""
    law = fit.law_of()
    _check_names(law)
    body = law.python if "\n" in law.python else f"return {_within(law)}"
    lines = [*_bindings(law, body), *body.splitlines()]
    return _TEMPLATE.format(
        about=escape.docstring(_about(fit, law)),
        what="Loss" if fit.of_loss else "What is predicted",
        fitted=escape.python(_fitted(fit)),
        variables=repr(tuple(map(str, law.variables))),
        flat=law.proportions,
        fallback=escape.python(FALLBACK),
        body="\n".join(f"    {line}" if line else "" for line in lines),
    )


def _bindings(law: Law, body: str) -> list[str]:
    """The lines that give the names in a law's source their values, from `t` and `x`.

    Names of a user may be t or x themselves: all are then bound at once.
    """
    if law.proportions:
        return []
    words = set(re.findall(r"[^\W\d]\w*", body))
    values = {term.name: f't["{term.name}"]' for term in law.terms if term.name in words}
    values |= {name: f'x["{name}"]' for name in law.variables if name in words}
    if {"t", "x"} & set(values):
        return [f"{', '.join(values)}, = {', '.join(values.values())},"]
    return [f"{name} = {value}" for name, value in values.items()]


def _within(law: Law) -> str:
    """The expression of a law; what lies outside the range of its response is put on its end."""
    if law.response_range is None:
        return law.python
    low, high = (None if end is None else float(end) for end in law.response_range)
    return f"np.clip({law.python}, {low!r}, {high!r})"


def _check_names(law: Law) -> None:
    """Names that stand in a law's source are names; those of proportions never stand there.

    Raises:
        IsolossError: one is none, as of a fit whose file was tampered with.
    """
    for name in () if law.proportions else (*law.variables, *(term.name for term in law.terms)):
        if not re.fullmatch(r"[^\W\d]\w*", name) or keyword.iskeyword(name):
            place = f"law {law.formula}"
            raise IsolossError(Problem(place, f"{name!r} is not a name", "fit the law again"))


def _about(fit: Fit, law: Law) -> str:
    title, formula = registry.facts("law", fit.facts["card"])["TITLE"], _formula(fit, law)
    example = f"from law import law; law([{{...}}], {escape.python(fit.groups[0])})"
    return (
        f"{title}: {formula}\n\nFitted by isoloss. {verdict(record(fit)).rstrip('.')}.\n"
        f"Needs NumPy alone: `{example}`.\n"
    )


def _formula(fit: Fit, law: Law, shown: Callable[[object], str] = escape.visible) -> str:
    """The formula of a law for what was fitted, whose name is written as `shown` does it."""
    return equation(law.formula, shown(fit.quantity))


def _fitted(fit: Fit) -> dict[str, dict[str, Any]]:
    """Group -> response -> values of the terms (and the state of the law, if it has one)."""
    fitted: dict[str, dict[str, Any]] = {}
    for row in fit.summary.itertuples():
        law, estimate = fit.law_of(row.response), fit.estimate(row.group, row.response)
        values = {name: float(value) for name, value in law.values(estimate.theta).items()}
        state = law.to_numbers(estimate)[len(law.terms) :]
        if len(state):
            values["state"] = [float(v) for v in state]
        fitted.setdefault(row.group, {})[row.response] = values
    return fitted


def explanation(fit: Fit, old: str | None = None, optima: Sequence[Optimum] = ()) -> str:
    """A Markdown page of the law, with optima; the user's text of an old one is kept."""
    block = f"{START}\n{_block(fit, optima)}{END}"
    if old is None:
        facts = registry.facts("law", fit.facts["card"])
        about = (
            f"{_formula(fit, fit.law, escape.markdown)}\n\nSource: {facts['SOURCE']}.\n\n"
            f"Where it may be believed: {facts['DOMAIN']}.\n"
        )
        about = _typed(fit) if fit.facts["card"] == FORMULA else about
        head = f"# {facts['TITLE']}\n\n{about}"
        intervals = any(one.has_intervals for one in record(fit).fits)
        return f"{head}\n{_HOW_TO_READ}{_OF_INTERVALS if intervals else ''}\n{block}\n"
    before, start, rest = old.partition(START)
    _, end, after = rest.partition(END)
    if start and end:
        return before + block + after
    return old.rstrip() + f"\n\n{block}\n"


def _typed(fit: Fit) -> str:
    """What a page says of a formula: the text as it was typed, LaTeX, and where it was fitted."""
    text = fit.facts["options"][FORMULA]
    typed = "".join(f"    {escape.visible(line)}\n" for line in text.splitlines())
    ranges = fit.tables["ranges"].groupby("variable", sort=False).agg({"low": "min", "high": "max"})
    return (
        f"As it was typed (the language: docs/formulas.md of isoloss):\n\n{typed}\n"
        f"In LaTeX: `{formula(fit)}`\n\nFitted to runs with {_listed(ranges)}; beyond them it is "
        "extrapolated.\n"
    )


def _listed(ranges: pd.DataFrame) -> str:
    """The ranges of variables in words."""
    return ", ".join(
        f"{escape.markdown(row.Index)} {units.count(row.low)} to {units.count(row.high)}"
        for row in ranges.itertuples()
    )


def _block(fit: Fit, optima: Sequence[Optimum]) -> str:
    shown, facts = escape.markdown, record(fit)
    parts = [f"{shown(verdict(facts))}\n"]
    for one in facts.fits:
        parts.append(f"\n## {shown(one.group)}, {shown(one.response)}\n")
        unseen = one.held_out_rmse
        held = f"; RMSE held out {units.plain(unseen, 4)}" if np.isfinite(unseen) else ""
        starts = f", {one.agreement}" if one.agreement else ""
        status = shown(one.status if one.converged else one.loud_status)
        parts.append(
            f"\n{one.n_runs} runs, {one.n_dropped} left out; {shown(one.objective)};"
            f" {status}{starts}; R2 {units.decimals(one.r2)},"
            f" RMSE {units.plain(one.rmse, 4)}{held}.\n"
        )
        rows, interval = one.parameters, f"{100 * one.level:.4g} % interval"
        columns = [
            Column("parameter", TEXT, [p.symbol for p in rows]),
            Column("estimate", TEXT, [f"{p.estimate:.6g}" for p in rows]),
            Column(
                interval, TEXT, [p.interval(paper_tables.times) * one.has_intervals for p in rows]
            ),
            Column("unit", TEXT, [p.unit for p in rows]),
            Column("remark", TEXT, [one.remark(p) for p in rows]),
        ]
        parts += ["\n", Markdown().table(filled(columns))]
        if one.has_intervals:
            refits = f", {one.n_replicates_converged} refits" if one.n_replicates else ""
            parts.append(f"\nIntervals: {shown(one.method)}{refits}.\n")
        if one.quantity == RESPONSE and (grows := growth(fit, one.group)) is not None:
            parts.append(f"\nThe best N and D of a budget: {shown(grows.text)}.\n")
    parts += [f"\n{sentence}\n" for sentence in sentences_of(optima, Markdown())]
    values = {
        group: {
            response: {k: v for k, v in terms.items() if k != "state"}
            for response, terms in responses.items()
        }
        for group, responses in _fitted(fit).items()
    }
    return "".join([*parts, "\n```json\n", escape.json_block(values), "\n```\n"])


def latex(fit: Fit) -> str:
    """A table of the parameters for a paper (booktabs)."""
    card, facts = registry.facts("law", fit.facts["card"]), record(fit)
    what = "" if fit.of_loss else f", L: {escape.visible(fit.quantity)}"
    table = Latex().table(paper_tables.parameters(fit, facts))
    about = f"% {card['TITLE']}; {verdict(facts)}"
    return f"{about}\n{table}% \\[ {formula(fit)} \\]{what}\n"
