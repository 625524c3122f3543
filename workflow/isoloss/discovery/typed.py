"""The laws that a search tells: written as a user types them, and fitted as `isoloss law` does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from isoloss.aggregate.table import read_runs
from isoloss.core.filters import LETTERS
from isoloss.discovery import fitting
from isoloss.discovery.fitting import FormOnBlocks
from isoloss.discovery.roles import Columns
from isoloss.discovery.scaled import Scale
from isoloss.discovery.search import Edge, Fitted
from isoloss.discovery.table import SearchTable
from isoloss.fit.law import fit_law
from isoloss.fitted import Fit
from isoloss.formulas import Evaluator, read_formula
from isoloss.laws._formula import formula_law

REACHED = 0.02  # by which the objective of a typed law may be higher than the search's
WORSE = 0.5  # the same, of a law that is still told, at a cost
ADRIFT = 0.5  # of a law with parameters at bounds or not determined, in 2 ln(error)
ROUNDED = 1e-12  # of an objective, for each run, that is rounding
PLACES = 64  # random values of the variables, at which the units of a form are looked at
STARTS = 32  # of the search, of which the first is taken where all effects are finite
ABSORBED = 1e-6  # share of the effect of a unit that parameters may leave


@dataclass(frozen=True)
class Typed:
    """A form as a formula, and its fit.

    Attributes:
        found: the form with what it missed of the runs held out.
        formula: as `fit_law` and `isoloss law --formula` take it.
        fit: of the formula to all runs, by `fit_law`.
        higher: logarithm of its objective over that of the search, from 0; 0 of less than 2 %.
        groups: of the fit, in the order of the table.
    """

    found: Fitted
    formula: str
    fit: Fit
    higher: float
    groups: tuple[str, ...]

    @property
    def reached(self) -> bool:
        """Whether its objective is not much higher than that of the search."""
        return self.higher <= np.log1p(WORSE)

    @cached_property
    def adrift(self) -> bool:
        """Whether parameters of most groups lie at bounds or are not determined by the runs."""
        params = self.fit.params
        return bool(
            (params["at_bound"] | params["free"]).groupby(params["group"]).any().mean() > 0.5
        )

    def score(self, noise: float) -> float:
        """That of the form, with what its typed fit costs.

        Twice the logarithm of an error is that of an objective of squares: what the typed fit has
        more of it counts in full. So do parameters at bounds or not determined, by `ADRIFT`.
        """
        return self.found.score(noise) + self.higher + ADRIFT * self.adrift

    def at(self, number: np.ndarray, data: dict[str, np.ndarray]) -> np.ndarray:
        """What the law predicts, (n,).

        Args:
            number: of the group of every value, in the order of `groups`, (n,).
            data: variables as in the table, (n,) each.
        """
        made = np.empty(number.shape)
        for g in np.unique(number):
            here = number == g
            own = {name: data[name][here] for name in self.fit.law.variables}
            made[here] = self.fit.loss(group=self.groups[g], **own)
        return made


class Typist:
    """Writes the forms of a search as formulas and fits these.

    Args:
        table: the runs.
        columns: what the variables are.
        scale: of the variables in the search.
        whole: all runs in it.
    """

    def __init__(self, table: SearchTable, columns: Columns, scale: Scale, whole: Edge):
        self.table, self.columns, self.scale, self.whole = table, columns, scale, whole
        self._known: dict[str, Typed] = {}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The table `runs` of the table that is searched."""
        table = self.table
        frame = pd.DataFrame({table.response: table.y, **table.variables})
        columns = {name: name for name in (*LETTERS, "loss") if name in frame}
        if len(table.groups) > 1:
            frame["group"] = np.array(table.groups)[table.group]
            columns["group"] = "group"
        return read_runs(frame, columns, need=0, signed=True)

    def typed(self, one: Fitted) -> Typed:
        """The law of a form."""
        known = self._known.get(one.form.text)
        if known is None:
            known = self._known[one.form.text] = self._typed(one)
        return known

    def _typed(self, one: Fitted) -> Typed:
        model = self.whole.model(one.form)
        text = self.formula(one, model)
        fit = fit_law(self.runs, formula=text, bootstrap=0, interval="none")
        searched = objective_of(model, one.theta)
        slack = ROUNDED * len(self.table.y)
        typed = float(fit.summary["objective_value"].sum())
        groups = self.table.groups if len(self.table.groups) > 1 else tuple(fit.params["group"][:1])
        higher = float(np.log(max(1.0, typed / (searched + slack))))
        return Typed(one, text, fit, higher if higher > np.log1p(REACHED) else 0.0, groups)

    def formula(self, one: Fitted, model: FormOnBlocks) -> str:
        """A form with its response, signs, and the units that its parameters do not absorb.

        The response is left out where its name cannot stand in a formula.
        """
        text = with_signs(one.form.text, self._below(one, model))
        for name in kept_units(model, self.columns, self.scale):
            unit, shift = self.scale.divisor[name], self.scale.shift[name]
            moved = f"({name} - {shift:.4g})" if shift else name
            text = in_units(text, name, f"{moved}/{unit:.4g}")
        return f"{self.table.response} = {text}" if self.table.response.isidentifier() else text

    def _below(self, one: Fitted, model: FormOnBlocks) -> list[str]:
        """Amplitudes that are below 0 in all groups, and would be above 0 as they are typed."""
        law = formula_law(one.form.text, model.law.variables)
        law = law.settled(self.table.variables, self.table.y)
        above = {term.name for term in law.terms if term.log}
        return [
            term.name
            for i, term in enumerate(model.law.terms)
            if term.name in above and not term.log and (one.theta[:, i] < 0).all()
        ]


def kept_units(model: FormOnBlocks, columns: Columns, scale: Scale) -> list[str]:
    """Variables whose unit no change of the parameters makes up for.

    The effects of small changes of a unit, and of a shift where the search has one, are compared
    with those of all parameters.
    """
    draws = np.random.default_rng(0)
    data = {name: np.exp(draws.normal(size=PLACES)) for name in model.law.variables}
    pair = [name for name in (columns.unique, columns.data) if name in data]
    if len(pair) == 2:
        data[columns.data] = data[columns.unique] * (1 + data[columns.data])
    place = _slopes_at_a_start(model, data)
    if place is None:
        return [name for name in data if scale.divisor[name] != 1 or scale.shift[name] != 0]
    span, slopes = place
    kept = []
    for name in data:
        together = pair if name in pair else [name]  # distinct and all data have one unit
        effects = []
        if scale.divisor[name] != 1:
            effects.append(sum(slopes[one] * data[one] for one in together))
        if scale.shift[name] != 0:
            effects.append(slopes[name])
        if not all(_within(effect, span) for effect in effects):
            kept.append(name)
    return kept


def _slopes_at_a_start(
    model: FormOnBlocks, data: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    """Derivatives by the parameters, (n, p), and by every variable, (n,), at a start of the search.

    The first start is taken where all of them are finite, as a power of a power may not be; None
    where there is no such start.
    """
    linear = [p.role == "linear" for p in model.parameters]
    by_variables = Evaluator(read_formula(model.form.text).tree, list(data))
    for start in fitting.starts_of(model, STARTS, 0):
        theta = np.where(linear, 0.3, start)
        with np.errstate(all="ignore"):
            span = model.law.gradient(theta, data)
            slopes = by_variables.gradient({**model.law.values(theta), **data})[1]
        if np.isfinite(span).all() and np.isfinite(slopes).all():
            return span, dict(zip(data, slopes.T, strict=True))
    return None


def _within(effect: np.ndarray, span: np.ndarray) -> bool:
    """Whether an effect (n,) is a sum of those of the parameters, (n, p)."""
    size = np.linalg.norm(span, axis=0)
    span = span / np.where(size > 0, size, 1.0)
    left = effect - span @ np.linalg.lstsq(span, effect, rcond=1e-12)[0]
    return bool(np.linalg.norm(left) <= ABSORBED * np.linalg.norm(effect))


def objective_of(model: FormOnBlocks, theta: np.ndarray) -> float:
    """The objective of all groups together at theta, (g, p)."""
    sides = zip(model.problems, theta, strict=True)
    return float(sum(problem.penalties(own[None]).sum() for problem, own in sides))


def in_units(text: str, name: str, value: str) -> str:
    """An expression with a quotient in the place of a variable.

    >>> in_units("A*log(N) + B / N**alpha", "N", "N/1e+08")
    'A*log(N/1e+08) + B / (N/1e+08)**alpha'
    """
    return re.sub(
        rf"(\()?\b{name}\b(?(1)(?=\)))",
        lambda match: f"({value}" if match[1] else f"({value})",
        text,
    )


def with_signs(text: str, below: Sequence[str]) -> str:
    """An expression with a minus before some of the amplitudes that lead its terms.

    >>> with_signs("E + A / N**alpha + B*log(D)", ["A"])
    'E - A / N**alpha + B*log(D)'
    >>> with_signs("A * exp(-N)", ["A"])
    '-A * exp(-N)'
    """
    for name in below:
        text = re.sub(rf"^{name}\b", f"-{name}", text)
        text = re.sub(rf"\+ {name}\b", f"- {name}", text)
    return text
