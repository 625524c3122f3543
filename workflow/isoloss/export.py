"""A fit for others to use: law.py (NumPy alone), explain.md, params.tex."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from isoloss import registry, tables, units
from isoloss.fitted import Fit

START, END = "<!-- PARAMS START -->", "<!-- PARAMS END -->"

_TEMPLATE = '''"""{title}: {formula}

Fitted by isoloss. {status}
Needs NumPy alone: `from law import law; law([{{...}}], "{group}")`.
"""

import json

import numpy as np
from numpy import exp, log, maximum, minimum, sqrt, where  # noqa: F401

# group -> predicted column -> parameters by name
FITTED = json.loads(r"""
{fitted}
""")
VARIABLES = {variables}
PROPORTIONS = {flat}  # a proportion that is not given is 0


def predict(t, x):
    """Loss from parameters `t` and variables `x` (arrays by name)."""
{body}


def law(input_data, group):
    """Predictions for a list of points.

    input_data: a dict for each point, of the variables by name.
    group: which fit; "{fallback}" or the only one answers for a group that was not fitted.
    Returns a dict for each point, of what was predicted by name.
    """
    if group not in FITTED:
        group = "{fallback}" if "{fallback}" in FITTED or len(FITTED) > 1 else next(iter(FITTED))
    if group not in FITTED:
        raise KeyError("no such group; there are " + ", ".join(FITTED))
    points = [_aligned(point) for point in input_data]
    x = {{name: np.array([point[name] for point in points], dtype=float) for name in VARIABLES}}
    found = [{{}} for _ in points]
    with np.errstate(all="ignore"):
        for response, t in FITTED[group].items():
            values = np.broadcast_to(predict(t, x), (len(points),))
            for point, value in zip(found, values):
                point[response] = float(value)
    return found


def _aligned(point):
    """A point's variables by their names here: other columns match by what follows the last _."""
    if PROPORTIONS and not any(name in point for name in VARIABLES):
        ends = {{str(key).rsplit("_", 1)[-1]: key for key in point}}
        names = {{name: ends.get(name.rsplit("_", 1)[-1]) for name in VARIABLES}}
        return {{name: point.get(key, 0.0) if key else 0.0 for name, key in names.items()}}
    if PROPORTIONS:
        return {{name: point.get(name, 0.0) for name in VARIABLES}}
    missing = [name for name in VARIABLES if name not in point]
    if missing:
        raise KeyError("a point lacks " + ", ".join(missing))
    return point
'''


def export_fit(fit: Fit, folder: str | Path) -> list[Path]:
    """Write law.py, explain.md and params.tex into a folder; their paths.

    An explain.md that is there keeps its text: only the block of parameters is replaced.
    """
    folder = Path(folder)
    explain = folder / "explain.md"
    old = explain.read_text(encoding="utf-8") if explain.exists() else None
    texts = {
        "law.py": law_file(fit),
        "explain.md": explanation(fit, old),
        "params.tex": latex(fit),
    }
    for name, text in texts.items():
        tables.write_text(folder / name, text)
    return [folder / name for name in texts]


def law_file(fit: Fit) -> str:
    """A Python file that predicts as the fit does."""
    law = fit.law_of()
    body = law.python if "\n" in law.python else f"return {law.python}"
    names = [term.name for term in law.terms] if not law.flat else []
    words = set(re.findall(r"[A-Za-z_]\w*", body))
    bound = [f'{n} = t["{n}"]' for n in names if n in words]
    bound += [f'{v} = x["{v}"]' for v in law.variables if v in words and not law.flat]
    lines = [*bound, *body.splitlines()]
    first = fit.groups[0]
    return _TEMPLATE.format(
        title=registry.facts("law", fit.facts["card"])["TITLE"],
        formula=law.formula,
        status=_state(fit).rstrip(".") + ".",
        group=first,
        fitted=json.dumps(_fitted(fit), indent=1, ensure_ascii=False),
        variables=tuple(law.variables),
        flat=bool(law.flat),
        fallback="ALL",
        body="\n".join(f"    {line}" if line else "" for line in lines),
    )


def _fitted(fit: Fit) -> dict[str, dict[str, Any]]:
    """Group -> response -> values of the terms (and what the law remembers of its runs)."""
    found: dict[str, dict[str, Any]] = {}
    for row in fit.summary.itertuples():
        law, theta = fit.law_of(row.response), fit.theta(row.group, row.response)
        values = {t.name: float(t.value(theta[i])) for i, t in enumerate(law.terms)}
        memory = theta[len(law.terms) :]
        if len(memory):
            values["memory"] = [float(v) for v in memory]
        found.setdefault(row.group, {})[row.response] = values
    return found


def _state(fit: Fit) -> str:
    bad = fit.summary[fit.summary["status"] != "converged"]
    if bad.empty:
        return "Every fit converged."
    said = [
        f"{row.group}, {row.response}: {row.status.replace('_', ' ').upper()} ({row.message})"
        for row in bad.itertuples()
    ]
    return "NOT TO BE RELIED ON AS IT STANDS: " + "; ".join(said)


def explanation(fit: Fit, old: str | None = None) -> str:
    """A Markdown page of the law; the user's text of an old one is kept."""
    block = f"{START}\n{_block(fit)}{END}"
    if old is None:
        facts = registry.facts("law", fit.facts["card"])
        head = (
            f"# {facts['TITLE']}\n\n{fit.law.formula}\n\n"
            f"Source: {facts['SOURCE']}.\n\nWhere it may be believed: {facts['DOMAIN']}.\n"
        )
        return f"{head}\n{block}\n"
    if START in old and END in old:
        before, rest = old.split(START, 1)
        return before + block + rest.split(END, 1)[1]
    return old.rstrip() + f"\n\n{block}\n"


def _block(fit: Fit) -> str:
    said = [f"{_state(fit)}\n"]
    for row in fit.summary.itertuples():
        said.append(f"\n## {row.group}, {row.response}\n")
        held = f"; RMSE held out {row.held_out_rmse:.4g}" if np.isfinite(row.held_out_rmse) else ""
        starts = f", {row.n_agree} of {row.n_starts} starts agree" if row.n_starts else ""
        said.append(
            f"\n{row.n_runs} runs, {row.n_dropped} left out; {row.objective}; {row.status}{starts};"
            f" R2 {row.r2:.4f}, RMSE {row.rmse:.4g}{held}.\n"
        )
        said.append("\n| parameter | estimate | interval | unit |\n| --- | --- | --- | --- |\n")
        said += [
            f"| {p.symbol} | {p.estimate:.6g} | {units.interval(p.ci_low, p.ci_high)} "
            f"| {p.unit} |\n"
            for p in fit.mine("params", row.group, row.response).itertuples()
        ]
    values = {
        group: {
            response: {k: v for k, v in terms.items() if k != "memory"}
            for response, terms in mine.items()
        }
        for group, mine in _fitted(fit).items()
    }
    return "".join(
        [*said, "\n```json\n", json.dumps(values, indent=1, ensure_ascii=False), "\n```\n"]
    )


def latex(fit: Fit) -> str:
    """A table of the parameters for a paper (booktabs)."""
    facts = registry.facts("law", fit.facts["card"])
    several = len(fit.summary) > 1
    lines = [
        f"% {facts['TITLE']}; {_state(fit)}".replace("\n", " "),
        r"\begin{tabular}{" + ("ll" if several else "") + "lrrl}",
        r"\toprule",
        ("group & response & " if several else "")
        + rf"parameter & estimate & {100 * fit.level:.4g}\,\% interval & unit \\",
        r"\midrule",
    ]
    for p in fit.params.itertuples():
        whose = f"{_plain(p.group)} & {_plain(p.response)} & " if several else ""
        interval = units.interval(p.ci_low, p.ci_high, _number)
        lines.append(
            f"{whose}${_symbol(p.symbol)}$ & ${_number(p.estimate)}$ & ${interval}$"
            rf" & {_plain(p.unit)} \\"
        )
    formula = facts["LATEX"]
    lines += [r"\bottomrule", r"\end{tabular}", f"% \\[ {formula} \\]"]
    return "\n".join(lines) + "\n"


_GREEK = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "η": r"\eta", "κ": r"\kappa", "σ": r"\sigma",
    "θ": r"\theta", "λ": r"\lambda", "τ": r"\tau", "ρ": r"\rho",
}  # fmt: skip


def _symbol(symbol: str) -> str:
    """A term's symbol in LaTeX: Greek by name, indices in braces."""
    base, _, index = symbol.partition("_")
    star = "^*" if index.endswith("*") else ""
    for letter, name in _GREEK.items():
        base, index = base.replace(letter, name), index.replace(letter, name)
    return base + (f"_{{{_plain(index.rstrip('*'))}}}" if index else "") + star


def _plain(text: str) -> str:
    return str(text).replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")


def _number(value: float) -> str:
    """Four digits; powers of ten as such from 1e5 on."""
    if not np.isfinite(value):
        return r"\infty" if value > 0 else r"-\infty" if value < 0 else "?"
    text = f"{value:.4g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}"
