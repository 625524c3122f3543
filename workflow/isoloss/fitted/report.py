"""A fit as a short report in a shell, and as a small table in a notebook."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoloss.core import units
from isoloss.core.escape import CELL, columns, short, terminal, visible
from isoloss.core.escape import html as literal
from isoloss.core.tables import WHOLE
from isoloss.fitted.facts import OneFit, Record, record
from isoloss.fitted.names import equation

if TYPE_CHECKING:
    from isoloss.fitted.result import Fit

MOST = 10  # rows of a report
MESSAGE, LINE = 250, 100  # characters of a message, and of a line below the table, at most


def text(fit: Fit) -> str:
    """The report as text, fewer than 20 lines of at most 200 characters or so."""
    facts = record(fit)
    lines = [f"{name(facts.fits[0].card)}: {_equation(facts)}"]
    if len(facts.fits) == 1:
        head, rows, notes = _of_one(facts.fits[0])
    else:
        head, rows, notes = _of_many(facts)
    lines.append(textwrap.fill(f"verdict: {judgement(facts)}", LINE, subsequent_indent="  "))
    table = columns(("", *head[1:]), [(f"  {cells[0]}", *cells[1:]) for cells in rows])
    below = [textwrap.fill(note, LINE, subsequent_indent="  ") for note in notes]
    return terminal("\n".join([*lines, table.rstrip("\n"), *below]))


def html(fit: Fit) -> str:
    """The report as HTML: a paragraph, a table, and what to know about the fit."""
    facts = record(fit)
    if len(facts.fits) == 1:
        head, rows, notes = _of_one(facts.fits[0])
    else:
        head, rows, notes = _of_many(facts)
    cells = [f"<tr>{''.join(f'<th>{_cell(cell)}</th>' for cell in head)}</tr>"]
    cells += [f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows]
    title = f"<b>{literal(name(facts.fits[0].card))}</b>: {literal(_equation(facts))}"
    title += f"<br>verdict: <b>{literal(facts.worst.loud_verdict)}</b>: {literal(_why(facts))}"
    below = "<br>".join(literal(note) for note in notes)
    table = "\n".join(["<table>", *cells, "</table>"])
    return f"<p>{title}</p>\n{table}\n<p>{below}</p>"


def _cell(content: str) -> str:
    return literal(content) if content else ""


def name(label: object) -> str:
    """A name from a table of runs, visible and not too long."""
    return short(visible(label), CELL)


def _equation(facts: Record) -> str:
    return equation(facts.formula, name(facts.quantity))


def runs_used(one: OneFit) -> str:
    """How many runs were fitted, held out and left out."""
    more = [f"{one.n_held_out} held out"] if one.n_held_out else []
    more += [f"{one.n_dropped} left out"] if one.n_dropped else []
    return one.fitted_rows + (f" ({', '.join(more)})" if more else "")


def _of_one(one: OneFit) -> tuple[Sequence[str], list[Sequence[str]], list[str]]:
    """Head, rows and notes of the report on a single fit: a row a parameter."""
    interval = [f"{100 * one.level:.4g} % interval"] if one.has_intervals else []
    head = ("parameter", "estimate", *interval, "unit", "")
    rows = [
        (
            name(p.symbol),
            units.count(p.estimate, 4),
            *[p.interval() for _ in interval],
            p.unit,
            one.remark(p),
        )
        for p in one.parameters[:MOST]
    ]
    more = len(one.parameters) - len(rows)
    notes = [f"... and {more} more parameters in fit.params"] if more else []
    if one.n_replicates:
        intervals = f"intervals: {one.method}, {one.n_replicates_converged} refits"
    else:
        intervals = f"intervals: {one.method}"
    whose = "" if one.group == WHOLE else f"group {name(one.group)}; "
    notes.append(f"{whose}{runs_used(one)}; {intervals}")
    scores = f"R2 {units.decimals(one.r2)}, RMSE {units.loss(one.rmse, one.loss_unit)}"
    if math.isfinite(one.held_out_rmse):
        scores += f", held out {units.plain(one.held_out_rmse)}"
    notes.append(scores)
    message = short(visible(one.message), MESSAGE) if one.message else ""
    notes.append("; ".join(filter(None, [_status(one), message])))
    return head, rows, notes


def _of_many(facts: Record) -> tuple[Sequence[str], list[Sequence[str]], list[str]]:
    """Head, rows and notes of the report on several fits: a row a fit."""
    head = ("group", "response", "runs", "R2", "RMSE", "verdict", "status")
    rows = [
        (
            name(one.group),
            name(one.response),
            str(one.n_runs),
            units.decimals(one.r2),
            units.plain(one.rmse),
            one.loud_verdict,
            _status(one),
        )
        for one in facts.fits[:MOST]
    ]
    more = len(facts.fits) - len(rows)
    notes = [f"... and {more} more fits in fit.summary"] if more else []
    return head, rows, [*notes, "parameters of all fits: fit.params; doubts: fit.findings"]


def judgement(facts: Record) -> str:
    """The verdict on all fits in a sentence, names from the table visible and not too long."""
    return short(visible(facts.judgement), MESSAGE)


def _why(facts: Record) -> str:
    return judgement(facts).partition(": ")[2]


def _status(one: OneFit) -> str:
    return one.status if one.converged else one.loud_status
