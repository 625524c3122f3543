"""The fit that the README of the package chinchilla 0.2.0 publishes, and the package itself.

Runs: those of that package's example, 234 language models; they are in the folder kyo_chinchilla.
"""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

from isoloss.chinchilla import _metrics
from isoloss.chinchilla._fitting import fitted

GRID = {
    "E": np.linspace(1, 2, 5),
    "a": np.linspace(1, 10, 5),
    "b": np.linspace(1, 10, 5),
    "alpha": np.linspace(0.1, 0.7, 5),
    "beta": np.linspace(0.1, 0.7, 5),
}
PUBLISHED = {
    "E": 1.7004437920205586,
    "A": 185.388090185727,
    "B": 1627.0012474587165,
    "alpha": 0.28923265350161337,
    "beta": 0.3556020928031086,
}


@pytest.fixture(scope="module")
def df(reference_data):
    """The runs with the package's names of columns."""
    table = pd.read_csv(reference_data / "kyo_chinchilla" / "runs.csv")
    return table.rename(columns={"n_params": "N", "tokens": "D", "flops": "C"})


@pytest.fixture(scope="module")
def fit(df):
    """The README's fit by this library."""
    return fitted(df, GRID, _metrics.asymmetric_mae)


def mean_penalty(df, params, loss_fn=_metrics.asymmetric_mae) -> float:
    """What the package minimises: the mean of loss_fn over the runs."""
    E, A, B, alpha, beta = (params[name] for name in PUBLISHED)
    predicted = E + A / df["N"] ** alpha + B / df["D"] ** beta
    return float(np.mean(loss_fn(df["loss"].to_numpy(), predicted.to_numpy())))


def test_the_published_fit_is_undercut_by_a_little(df, fit):
    published = mean_penalty(df, PUBLISHED)
    assert published == pytest.approx(0.0227822276, rel=1e-8)
    assert fit.objective == pytest.approx(mean_penalty(df, fit.params), rel=1e-12)
    assert fit.objective == pytest.approx(0.0227818608, rel=1e-7)
    assert 1e-5 < 1 - fit.objective / published < 2e-5


def test_the_parameters_are_near_the_published_ones(fit):
    for name, near in {"E": 2e-4, "A": 4e-3, "B": 4e-3, "alpha": 1e-3, "beta": 1e-3}.items():
        assert fit.params[name] == pytest.approx(PUBLISHED[name], rel=near)
    summary = fit.result(bootstrap=0).summary.loc[0]
    assert summary["status"] == "converged"
    assert summary["n_agree"] > summary["n_starts"] / 2


SMALL = {
    "E": [1.0, 2.0],
    "a": [5.0, 7.0],
    "b": [5.0, 7.5],
    "alpha": [0.25, 0.4],
    "beta": [0.3, 0.4],
}
EXPONENTIAL = {"C": (1e18, 1e21), "N_to_D": (5, 100)}


def package(folder, grid, df, loss_fn):
    """The package's parameters of a fit of some runs."""
    module = pytest.importorskip("chinchilla")
    df[["C", "N", "D", "loss"]].to_csv(folder / "df.csv", index=False)
    cc = module.Chinchilla(str(folder), param_grid=grid, loss_fn=loss_fn, log_level=40)
    cc.fit(parallel=False)
    return cc.params


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_package_itself_ends_no_lower_on_its_runs(df, tmp_path):
    theirs = package(tmp_path, SMALL, df, _metrics.asymmetric_mae)
    ours = fitted(df, SMALL, _metrics.asymmetric_mae)
    assert ours.objective <= mean_penalty(df, theirs) * (1 + 1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "loss_fn",
    [_metrics.asymmetric_mae, functools.partial(_metrics.log_huber, delta=1e-2)],
    ids=["asymmetric_mae", "log_huber"],
)
def test_the_package_ends_no_lower_on_simulated_runs(seed, loss_fn, tmp_path):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(15, 40))
    C, ratio = (np.exp(rng.uniform(*np.log(EXPONENTIAL[k]), count)) for k in ("C", "N_to_D"))
    df = pd.DataFrame({"C": C, "N": np.sqrt(C / (6 * ratio)), "D": np.sqrt(C * ratio / 6)})
    df["loss"] = 1.69337368 + 406.401018 / df["N"] ** 0.33917084 + 410.722827 / df["D"] ** 0.2849083
    df["loss"] += rng.exponential(0.1, count)
    theirs = package(tmp_path, {k: v[-1:] for k, v in SMALL.items()}, df, loss_fn)
    ours = fitted(df, SMALL, loss_fn)
    assert ours.objective <= mean_penalty(df, theirs, loss_fn) * (1 + 1e-6)
