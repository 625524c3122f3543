"""Muennighoff et al., arXiv:2305.16264: the 182 runs on repeated data, and the published law."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.aggregate import read_runs
from isoloss.core import registry
from isoloss.fit import fit_law
from isoloss.fit.scores import scores

COLUMNS = {"N": "n_params", "D": "tokens", "U": "unique_tokens", "loss": "loss"}
# of C4 runs seen once; only the two limits of repetition are fitted on the 182
HELD = {"E": np.exp(0.6254804), "A": np.exp(6.255414), "B": np.exp(7.3049974)}
HELD |= {"alpha": 0.3526596, "beta": 0.3526596}


@pytest.fixture(scope="module")
def runs(reference_data):
    """The 182 runs."""
    return read_runs(str(reference_data / "data_constrained" / "runs_182_fit.csv"), COLUMNS)


def predicted(runs, card, values, options=None):
    law = registry.card("law", card).make(**(options or {}))
    theta = np.array([t.coordinate(values[t.name]) for t in law.terms])
    columns = {"N": "n_params", "D": "n_samples", "U": "n_unique"}
    return law.loss(theta, {v: runs[columns[v]].to_numpy(float) for v in law.variables})


@pytest.mark.parametrize(
    ("card", "options", "r2"),
    [
        ("chinchilla", {}, 0.4451684378759986),
        ("data_constrained", {"decay": "both"}, 0.7722046084968408),
    ],
)
def test_published_parameters_have_their_published_r2(runs, card, options, r2):
    values = {**HELD, "R_D": 15.387756, "R_N": 5.309743}
    computed = scores(runs["loss"].to_numpy(), predicted(runs, card, values, options))["r2"]
    assert computed == pytest.approx(r2, abs=1e-8)


def test_the_decay_of_data_alone_reaches_its_published_r2(runs):
    fit = fit_law(runs, "data_constrained", {"decay": "data"}, fixed=HELD, bootstrap=0)
    assert fit.summary.loc[0, "r2"] == pytest.approx(0.7354468934623781, abs=1e-4)


def test_a_fit_of_the_limits_is_no_worse_than_the_published_ones(runs):
    values = {**HELD, "R_D": 15.387756, "R_N": 5.309743}
    residual = np.log(predicted(runs, "data_constrained", values, {"decay": "both"}))
    residual -= np.log(runs["loss"].to_numpy())
    slope = np.clip(residual, -1e-3, 1e-3)
    published = float(np.sum(slope * (residual - slope / 2)))
    fit = fit_law(runs, "data_constrained", fixed=HELD, bootstrap=0)
    assert fit.summary.loc[0, "objective_value"] <= published
