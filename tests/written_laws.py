"""Laws that tests write as text, with a fit of known parameters and replicates around them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.tables import WHOLE
from isoloss.fitted import Fit
from isoloss.fitted.names import TABLES
from isoloss.formulas import Evaluator, names_of, read_expression
from isoloss.laws._law import Law, Term


class Written(Law):
    """A law by its text; parameters in `logs` enter by their logarithm."""

    kind = "joint"

    def __init__(self, text, variables, logs=()):
        self.python = self.formula = text
        self.variables = tuple(variables)
        names = [name for name in names_of(read_expression(text)) if name not in variables]
        self.terms = tuple(Term(n, n, "1", n in logs, -50.0, 50.0, (1.0,)) for n in names)
        self.evaluator = Evaluator(read_expression(text), names)

    def _given(self, theta, data):
        values = {
            t.name: np.asarray(t.value(theta[..., i, None])) for i, t in enumerate(self.terms)
        }
        return values | {name: np.asarray(data[name], dtype=float) for name in self.variables}

    def loss(self, theta, data):
        return self.evaluator.value(self._given(np.asarray(theta), data))

    def gradient(self, theta, data):
        given = self._given(np.asarray(theta), data)
        slopes = self.evaluator.gradient(given)[1]
        units = [given[t.name] if t.log else np.ones_like(given[t.name]) for t in self.terms]
        return slopes * np.stack(units, axis=-1)


def fit_of(law, values, ranges, spread=0.02, replicates=30):
    """A fit of a law with parameters that are given, and replicates around them."""
    theta = law.theta(values)
    noise = np.random.default_rng(0).standard_normal((replicates, len(theta)))
    units = [1.0 if t.log else abs(v) for t, v in zip(law.terms, theta, strict=True)]
    drawn = theta + spread * noise * units
    key = {"group": WHOLE, "response": "loss"}
    params = pd.DataFrame(
        [
            {"term": t.name, "symbol": t.name, "unit": "1", "estimate": values[t.name]}
            for t in law.terms
        ]
    ).assign(std_error=0.1, ci_low=0.0, ci_high=1.0, ci_level=0.95, ci_method="bootstrap", **key)
    reach = pd.DataFrame(
        [{"variable": name, "low": low, "high": high} for name, (low, high) in ranges.items()]
    ).assign(**key)
    copies = pd.DataFrame(
        {"replicate": np.arange(replicates), "theta": list(drawn), "converged": True}
    ).assign(**key)
    filled = {"params": params, "summary": pd.DataFrame([key]), "ranges": reach}
    filled["replicates"] = copies
    return Fit(law, {**{t: tables.empty(t) for t in TABLES}, **filled}, {"card": "written"})
