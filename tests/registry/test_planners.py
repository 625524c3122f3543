"""One contract over every planner card."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isoloss.choose.choices import choices_of
from isoloss.core import registry
from isoloss.fit import fit_law
from isoloss.planners._planner import State

PLANNERS = registry.names("planner")


@pytest.fixture(scope="module")
def runs(chinchilla_runs) -> pd.DataFrame:
    """Runs of five budgets, with noise."""
    return chinchilla_runs(noise=0.01, seed=3)


@pytest.fixture(scope="module")
def fit(runs):
    return fit_law(runs, "chinchilla", bootstrap=40)


def state_of(fit, runs, **changes) -> State:
    flops = runs["n_flops_6nd"]
    known = {"spent": flops.sum(), "largest": flops.max(), "left": None, "target": None}
    return State(fit, runs, **{**known, "seed": 0, **changes})


@pytest.mark.parametrize("name", PLANNERS)
def test_a_planner_chooses_runs_and_says_why(name, fit, runs):
    card, options = registry.card("planner", name), registry.defaults("planner", name)
    before, state = runs.copy(), state_of(fit, runs)
    chosen = card.choose(state, **options)
    assert len(chosen)
    for choice in chosen:
        assert choice.n_params > 1 and choice.n_samples > 1
        assert choice.flops == pytest.approx(6 * choice.n_params * choice.n_samples)
        assert len(choice.reason.split()) > 5 and not choice.reason.endswith(".")
    assert list(chosen) == list(card.choose(state_of(fit, runs), **options))
    pd.testing.assert_frame_equal(runs, before)


@pytest.mark.parametrize("name", PLANNERS)
def test_no_planner_goes_beyond_the_target(name, fit, runs):
    card, options = registry.card("planner", name), registry.defaults("planner", name)
    target = 1.3 * runs["n_flops_6nd"].max()
    chosen = card.choose(state_of(fit, runs, target=target), **options)
    assert all(choice.flops <= target * (1 + 1e-9) for choice in chosen)


@pytest.mark.parametrize("name", PLANNERS)
def test_the_runs_chosen_are_rows_with_intervals_of_optimum_and_loss(name, fit, runs):
    choices = choices_of(fit, runs, {"planner": name}, round_number=2, seed=1)
    numbered = choices[choices["choice"].notna()]
    assert len(numbered)
    assert (choices["round"] == 2).all() and (choices["planner"] == name).all()
    assert list(numbered["choice"]) == list(range(len(numbered)))
    best = fit.allocate(numbered["n_flops"])
    np.testing.assert_allclose(numbered["n_low"], best["N_low"])
    np.testing.assert_allclose(numbered["d_high"], best["D_high"])
    assert (numbered["loss_low"] <= numbered["loss_predicted"]).all()
    assert (numbered["loss_predicted"] <= numbered["loss_high"]).all()
    assert (numbered["ci_level"] == 0.95).all()


def test_the_planner_of_the_documentation_keeps_the_contract(fit, runs):
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    (source,) = [block for block in blocks if "def choose" in block]
    card = {}
    exec(compile(source, "running.md", "exec"), card)
    assert set(registry.CONTRACTS["planner"].split()) <= set(card)
    options = {key: spec["default"] for key, spec in card["OPTIONS"].items()}
    (choice,) = card["choose"](state_of(fit, runs), **options)
    assert choice.flops == pytest.approx(4 * runs["n_flops_6nd"].max())
