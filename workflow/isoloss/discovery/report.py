"""What a search tells: formulas with numbers, the text, and the record for programs."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from isoloss.core import escape

if TYPE_CHECKING:
    from isoloss.discovery.discovery import Discovery, FoundLaw
    from isoloss.discovery.table import SearchTable
    from isoloss.discovery.typed import Typed

DISAGREE = 0.1  # spread of the best laws over the response's own, above which they disagree
SCREENED, FINAL = 400, 1000  # runs at most on which forms are compared, and the best ones again
HARDLY = 0.8  # share of what the mean of the other runs misses, above which a law hardly helps
LOOSE = "loose: combinations of parameters that these runs do not determine"
NAME = re.compile(r"[^\W\d]\w*")


def formula(response: str, text: str) -> str:
    """A formula of a response; without it where its name cannot stand in one."""
    return f"{response} = {text}" if response.isidentifier() else text


def with_numbers(law: Typed, group: str) -> str:
    """The expression of a law with rounded numbers for its parameters."""
    params = law.fit.params
    own = params[params["group"] == group]
    numbers = zip(own["term"], own["estimate"], strict=True)
    values = {name: f"{x:.6g}" if x >= 0 else f"({x:.6g})" for name, x in numbers}
    text = law.fit.law.asked.formula.text
    return NAME.sub(lambda match: values.get(match[0], match[0]), text.split(" = ")[-1])


def command(answer: Discovery, law: FoundLaw) -> str:
    """The command that fits a law with intervals."""
    return law_command(answer.table, answer.source, law.formula)


def law_command(table: SearchTable, label: str, text: str) -> str:
    """The command that fits a formula to a table with intervals."""
    source = "TABLE" if label == "the table" else shlex.quote(label)
    words = ["python -m isoloss law", source, "--formula", shlex.quote(text)]
    if table.renamed:
        pairs = [shlex.quote(f"{new}={old}") for new, old in table.renamed.items()]
        words += ["--columns", *pairs]
    if table.gaps:
        words += ["--keep", *(shlex.quote(f"-1e300 < {name} < 1e300") for name in table.gaps)]
    if not table.response.isidentifier():
        words += ["--response", shlex.quote(table.response)]
    return " ".join(words)


def text(answer: Discovery) -> str:
    """What the command prints."""
    table, best = answer.table, answer.best
    lines = [_head(answer), *table.notes, ""]
    lines += [f"best law: {best.formula}", *_constants(answer), _fit(best)]
    lines += [f"  {answer.residual}"] if answer.residual is not None else []
    lines += [""]
    lines += [
        _ranking(answer),
        *_least(answer),
        _simplest(answer),
        *_warnings(answer),
        "",
        f"next: {answer.command}",
        *([f"or the simplest: {command(answer, answer.simplest)}"] if _two(answer) else []),
    ]
    return "\n".join(lines)


def _head(answer: Discovery) -> str:
    table = answer.table
    groups = f" in {len(table.groups)} groups" if len(table.groups) > 1 else ""
    held = escape.listed(
        [f"{name} ({count} run{'s' * (count != 1)})" for name, count in answer.holdouts], 12
    )
    count = len(answer.ranking)
    best = "" if count == answer.screened else f" on {SCREENED} runs, the best {count} on more,"
    return (
        f"{len(table.y)} runs{groups}: {table.response} by {', '.join(table.variables)}\n"
        f"{answer.screened} forms{best or ','} ranked by what they miss of the largest values held "
        "out:\n"
        f"  {held}"
    )


def _constants(answer: Discovery) -> list[str]:
    constants = list(answer.best.constants.items())
    shown = [f"  {group + ': ' if group else ''}{numbers}" for group, numbers in constants[:3]]
    more = len(constants) - len(shown)
    return shown + ([f"  and {more} more group{'s' if more > 1 else ''}"] if more else [])


def _fit(law: FoundLaw) -> str:
    """What was minimised, and whether the search for its least value ended in one."""
    summary = law.fit.summary
    objective, value = summary["objective"].iloc[0], summary["objective_value"].sum()
    if len(summary) == 1:
        first = summary.iloc[0]
        return f"  {objective} is {value:.6g}; {first['status']}, {first['message']}"
    good = int((summary["status"] == "converged").sum())
    return f"  {objective} is {value:.6g}, all groups; converged in {good} of {len(summary)} groups"


def _ranking(answer: Discovery) -> str:
    head = ("", "error held out", "parameters", "formula")
    laws = enumerate(answer.laws, 1)
    lines = [
        (str(at), f"{law.error:.3g}", sized(law.parameters, law.loose), law.formula)
        for at, law in laws
    ]
    more = f"\n{LOOSE}" if any(law.loose for law in answer.laws) else ""
    return escape.columns(head, lines).rstrip() + more


def sized(parameters: int, loose: int) -> str:
    """How many parameters a law has, and how many combinations of them are not determined.

    >>> sized(4, 1)
    '4 (1 loose)'
    """
    return f"{parameters} ({loose} loose)" if loose else str(parameters)


def _least(answer: Discovery) -> list[str]:
    """Which law has the least score, where the best is another."""
    least = min(answer.laws, key=lambda law: law.score)
    if least is answer.best:
        return []
    return [
        "the best law is the one nearest to the median of the five beyond the table; the least "
        f"score has {least.formula}"
    ]


def _two(answer: Discovery) -> bool:
    """Whether the simplest law is another than the best."""
    return answer.simplest.formula != answer.best.formula


def _simplest(answer: Discovery) -> str:
    plain = answer.simplest
    if not _two(answer):
        return "the best law is also the simplest within one standard error"
    return (
        f"simplest within one standard error: {plain.formula}\n"
        f"  {plain.parameters} parameters, error held out {plain.error:.3g}"
    )


def _warnings(answer: Discovery) -> list[str]:
    lines = []
    if answer.best.error > HARDLY * answer.guess:
        lines.append(
            f"warning: the best law misses the runs held out by {answer.best.error:.3g}, the mean "
            f"of the other runs by {answer.guess:.3g}: this table may show no law"
        )
    for where, spread in (
        ("at the largest values of the table", answer.edge),
        ("at ten times the largest values", answer.beyond),
    ):
        if spread > DISAGREE:
            lines.append(
                f"warning: {where} the best laws disagree by {spread:.0%} of the response's range: "
                "take their median, or measure runs there"
            )
    if answer.best.loose:
        lines.append(
            f"warning: combinations of the best law's parameters that these runs do not "
            f"determine: {answer.best.loose}"
        )
    return lines


def record(answer: Discovery) -> dict[str, Any]:
    """The answer as plain values."""
    table = answer.table
    return {
        "table": answer.source,
        "response": table.response,
        "variables": list(table.variables),
        "groups": list(table.groups),
        "n_runs": len(table.y),
        "n_forms": answer.screened,
        "holdouts": [{"name": name, "n_runs": count} for name, count in answer.holdouts],
        "noise": answer.noise,
        "guess": answer.guess,
        "best": answer.best.formula,
        "simplest": answer.simplest.formula,
        "laws": [
            {
                "formula": law.formula,
                "parameters": law.parameters,
                "error": law.error,
                "score": law.score,
                "loose": law.loose,
                "constants": dict(law.constants),
                "fits": _fits(law),
            }
            for law in answer.laws
        ],
        "spread_at_edge": answer.edge,
        "spread_beyond": answer.beyond,
        **({} if answer.residual is None else {"residual_process": answer.residual.record()}),
        "notes": list(table.notes),
        "command": answer.command,
    }


def _fits(law: FoundLaw) -> list[dict[str, Any]]:
    """Of every group what was minimised, its value, the status, and the parameters."""
    params, fits = law.fit.params, []
    for name, row in zip(law.constants, _by_group(law), strict=True):
        own = params[params["group"] == row["group"]]
        fits.append(
            {
                "group": name,
                "objective": row["objective"],
                "objective_value": float(row["objective_value"]),
                "status": row["status"],
                "parameters": dict(zip(own["term"], map(float, own["estimate"]), strict=True)),
            }
        )
    return fits


def _by_group(law: FoundLaw) -> list[dict[str, Any]]:
    """The summary of the fit, in the order of the groups of the table."""
    rows = law.fit.summary.to_dict("records")
    if len(rows) == 1:
        return rows
    own = {row["group"]: row for row in rows}
    return [own[name] for name in law.constants]
