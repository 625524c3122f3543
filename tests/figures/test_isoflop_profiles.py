"""IsoFLOP profiles at the budgets and the compute that a table itself has."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.core import registry
from isoloss.figures._figure import Inputs
from isoloss.fit import fit_law

LAW = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.34, "beta": 0.28}


def own_compute(make_runs, budgets):
    """Runs at budgets of C, of which small models give a part to other work than 6 N D."""
    budget, ratio = (a.ravel() for a in np.meshgrid(budgets, np.geomspace(0.2, 5, 7)))
    n = 0.06 * budget**0.5 * ratio
    d = budget / 6 / n / (1 + 3e7 / n)
    loss = LAW["E"] + LAW["A"] / n ** LAW["alpha"] + LAW["B"] / d ** LAW["beta"]
    return make_runs(n, d, loss).assign(n_flops=budget)


def drawn(runs):
    fit = fit_law(runs, "chinchilla", bootstrap=0)
    shown = Inputs(tables={"runs": runs}, fits={"plane": fit})
    return registry.card("figure", "isoflop_profiles").draw(shown, group="")


@pytest.mark.parametrize("count", [4, 14])
def test_profiles_are_drawn_at_the_budgets_of_the_table_through_its_runs(make_runs, count):
    budgets = np.geomspace(1e18, 1e21, count)
    runs = own_compute(make_runs, budgets)
    figure, table = drawn(runs)
    law = table[table["what"] == "law"]
    levels = np.unique(law["budget"])
    assert len(levels) == min(count, 12)
    assert {f"{level:.6e}" for level in levels} <= {f"{budget:.6e}" for budget in budgets}
    for level, line in law.groupby("budget"):
        near = runs[np.isclose(runs["n_flops"], level)]
        between = np.interp(np.log(near["n_params"]), np.log(line["n_params"]), line["loss"])
        np.testing.assert_allclose(between, near["loss"], rtol=2e-3)
        best = table[(table["what"] == "optimum of the law") & (table["budget"] == level)]
        assert best["loss"].item() == pytest.approx(line["loss"].min(), rel=1e-4)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert ("Training compute C (FLOP)" in labels) == (count > 8)  # a bar, and not a legend


def test_optima_of_compute_that_is_6nd_are_those_of_the_allocation(chinchilla_runs):
    runs = chinchilla_runs(noise=0.003, seed=1)
    _, table = drawn(runs)
    best = table[table["what"] == "optimum of the law"]
    fit = fit_law(runs, "chinchilla", bootstrap=0)
    np.testing.assert_allclose(best["n_params"], fit.allocate(best["budget"])["N"], rtol=1e-6)
