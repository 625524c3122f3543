"""Scores against their definitions and another library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from isoloss.fit.scores import SCORES, rank_correlation, scores

OBSERVED, PREDICTED = np.array([2.0, 2.5, 3.0, 4.0]), np.array([2.1, 2.4, 3.3, 3.8])


def test_scores_are_those_of_their_formulas():
    found = scores(OBSERVED, PREDICTED, (PREDICTED - 0.15, PREDICTED + 0.15))
    error = PREDICTED - OBSERVED
    assert list(found) == list(SCORES)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert found["mape"] == pytest.approx(np.mean(np.abs(error) / OBSERVED))
    assert found["log_error"] == pytest.approx(np.sqrt(np.mean(np.log(PREDICTED / OBSERVED) ** 2)))
    assert found["r2"] == pytest.approx(1 - np.sum(error**2) / (3 * np.var(OBSERVED, ddof=1)))
    assert found["spearman"] == 1.0
    assert found["coverage"] == 0.5
    assert np.isnan(found["run_coverage"])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_rank_correlation_is_that_of_scipy(pairs):
    one, other = np.array(pairs, dtype=float).T
    found = rank_correlation(one, other)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_points_have_no_score_and_no_warning(count):
    found = scores(OBSERVED[:count], PREDICTED[:count])
    assert np.isnan(found["spearman"])
    assert np.isnan(found["rmse"]) == (count == 0)
