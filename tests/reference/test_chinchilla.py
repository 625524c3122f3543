"""The published points of Hoffmann et al., Figure 4, and the optimum recomputed from them.

Points: Epoch AI, arXiv:2404.10102; the drop rule leaves 240 of 245.
"""

from __future__ import annotations

import pytest

from isoloss.aggregate import read_runs
from isoloss.fit import fit_law

COLUMNS = {"N": "n_params", "D": "tokens", "C": "flops", "loss": "loss"}
DROP_RULE = "loss < loss.nlargest(5).min()"
# estimate, and half a unit of its last digit
KEPT = {
    "E": (1.817218, 5e-7),
    "A": (477.826, 5e-4),
    "B": (2143.42, 5e-3),
    "alpha": (0.347310, 5e-7),
    "beta": (0.367172, 5e-7),
}
ALL = {
    "E": (1.89134, 5e-6),
    "A": (495.726, 5e-4),
    "B": (12845.61, 5e-3),
    "alpha": (0.349313, 5e-7),
    "beta": (0.453049, 5e-7),
}


@pytest.fixture
def fit_points(reference_data):
    """Fit the points, with or without the drop rule."""

    def fit(keep):
        path = reference_data / "chinchilla_epoch" / "chinchilla_points.csv"
        runs = read_runs(str(path), COLUMNS, keep)
        return runs, fit_law(runs, "chinchilla", bootstrap=0)

    return fit


@pytest.mark.parametrize(
    ("keep", "count", "published", "objective"),
    [([DROP_RULE], 240, KEPT, 0.0010182740179), ([], 245, ALL, 0.00182601055)],
    ids=["240 points", "245 points"],
)
def test_the_plain_huber_optimum_is_the_published_one(
    fit_points, keep, count, published, objective
):
    runs, fit = fit_points(keep)
    summary = fit.summary.loc[0]
    assert summary["n_runs"] == count
    assert summary["status"] == "converged"
    assert summary["objective_value"] <= objective
    for row in fit.params.itertuples():
        value, half_a_digit = published[row.term]
        assert row.estimate == pytest.approx(value, abs=half_a_digit), row.term
    if keep:
        assert list(runs["status"] == "done") == list(runs["kept_240"] == 1)
        best = fit.allocate(5.76e23).iloc[0]
        assert best["tokens_per_parameter"] == pytest.approx(17.9, abs=0.05)
