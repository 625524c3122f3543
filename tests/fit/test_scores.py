"""Scores against their definitions and another library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.fit.scores import SCORES, rank_correlation, scores

OBSERVED, PREDICTED = np.array([2.0, 2.5, 3.0, 4.0]), np.array([2.1, 2.4, 3.3, 3.8])


def test_scores_are_those_of_their_formulas():
    values = scores(OBSERVED, PREDICTED, (PREDICTED - 0.15, PREDICTED + 0.15))
    error = PREDICTED - OBSERVED
    assert list(values) == list(SCORES)
    assert values["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert values["mape"] == pytest.approx(np.mean(np.abs(error) / OBSERVED))
    assert values["log_error"] == pytest.approx(np.sqrt(np.mean(np.log(PREDICTED / OBSERVED) ** 2)))
    assert values["r2"] == pytest.approx(1 - np.sum(error**2) / (3 * np.var(OBSERVED, ddof=1)))
    assert values["spearman"] == 1.0
    assert values["coverage"] == 0.5
    assert np.isnan(values["run_coverage"])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_rank_correlation_is_that_of_scipy(pairs):
    from scipy.stats import spearmanr  # here: it imports slowly, in every worker

    one, other = np.array(pairs, dtype=float).T
    correlation = rank_correlation(one, other)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert np.isnan(correlation)
    else:
        assert correlation == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_points_have_no_score_and_no_warning(count):
    values = scores(OBSERVED[:count], PREDICTED[:count])
    assert np.isnan(values["spearman"])
    assert np.isnan(values["rmse"]) == (count == 0)
