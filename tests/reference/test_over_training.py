"""Gadre et al., arXiv:2403.08540: the runs that its law was fitted to, and the law.

C4 eval losses of the repository mlfoundations/scaling, five runs a training set.
"""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.core import registry
from isoloss.fitted.presets import preset

N = np.array([10569312, 78914048, 153677376, 411616256, 10569312])
RUNS = {"N": N, "D": N * np.array([20, 20, 20, 20, 320])}
LOSS = {
    "c4": (5.2206763131, 3.8002844124, 3.4326457499, 3.0417367343, 4.5064035297),
    "redpajama": (5.3870209151, 3.8999429902, 3.5311474085, 3.1497694567, 4.5722926135),
    "refinedweb": (5.2718923801, 3.8609163607, 3.5178937691, 3.1305160505, 4.5160447188),
}
PRINTED = {  # E, a / 6^eta, b, 2 eta: as a version of the paper has them
    "c4": (1.51, 114, 190, 0.242),
    "redpajama": (1.84, 166, 367, 0.272),
    "refinedweb": (1.73, 125, 246, 0.254),
}


@pytest.mark.parametrize("trained_on", LOSS)
def test_the_presets_are_the_least_squares_that_are_printed(trained_on):
    card = registry.card("law", "over_training")
    law, values = card.make(), card.PRESETS[trained_on]["values"]
    theta = np.array([term.coordinate(values[term.name]) for term in law.terms])
    left = law.loss(theta, RUNS) - LOSS[trained_on]
    slopes = law.gradient(theta, RUNS)
    assert np.abs(left).max() < 0.017
    cosines = left @ slopes / np.linalg.norm(left) / np.linalg.norm(slopes, axis=0)
    assert np.abs(cosines).max() < 1e-5
    e, a, b, twice = PRINTED[trained_on]
    assert values["E"] == pytest.approx(e, abs=0.005)
    assert values["a"] / 6 ** values["eta"] == pytest.approx(a, abs=0.5)
    assert values["b"] == pytest.approx(b, abs=0.5)
    assert 2 * values["eta"] == pytest.approx(twice, abs=0.001)  # twice what is rounded


def test_the_best_tokens_per_parameter_are_those_printed():
    """Appendix F, equation 10: 3.36, 7.42 and 5.85, whatever the budget is."""
    for trained_on, printed in {"c4": 3.36, "redpajama": 7.42, "refinedweb": 5.85}.items():
        best = preset(f"over_training:{trained_on}").allocate([1e19, 1e21])
        assert (best["D"] / best["N"]).to_numpy() == pytest.approx(printed, abs=0.005)
