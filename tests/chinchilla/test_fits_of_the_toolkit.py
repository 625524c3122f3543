"""The toolkit's fit ends where no slow search finds a lower objective, whatever the penalty."""

from __future__ import annotations

import functools
import random

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from isoloss.chinchilla import _metrics
from isoloss.chinchilla._fitting import KNOWN, fitted, known

GRID = {
    "E": np.linspace(1, 2, 5),
    "a": np.linspace(1, 10, 5),
    "b": np.linspace(1, 10, 5),
    "alpha": np.linspace(0.1, 0.7, 5),
    "beta": np.linspace(0.1, 0.7, 5),
}
TRUTH = {"E": 1.69337368, "A": 406.401018, "B": 410.722827, "alpha": 0.33917084, "beta": 0.2849083}


def simulated(seed: int, count: int | None = None, E: float = TRUTH["E"], rate: float = 10.0):
    """Runs drawn from a range of C and D/N, whose losses have exponential noise."""
    random.seed(seed)
    rows = []
    for _ in range(count or random.randint(15, 60)):
        C = np.exp(random.uniform(np.log(1e18), np.log(1e21)))
        N = np.sqrt(C / (6 * np.exp(random.uniform(np.log(5), np.log(100)))))
        D = C / (6 * N)
        law = E + TRUTH["A"] / N ** TRUTH["alpha"] + TRUTH["B"] / D ** TRUTH["beta"]
        rows.append((C, N, D, law + random.expovariate(rate)))
    return pd.DataFrame(rows, columns=["C", "N", "D", "loss"])


def asymmetric(observed, predicted):
    """A user's own asymmetric error, in the numbers and the manner of the package's."""
    error = (observed - predicted).astype(np.longdouble)
    error[error < 0] *= -10.0
    return error


def in_place(observed, predicted):
    observed -= predicted
    return np.abs(observed, out=observed)


def pinball(observed, predicted):
    error = observed - predicted
    return np.maximum(0.2 * error, -0.8 * error)


def as_a_series(observed, predicted):
    return pd.Series(np.square(observed - predicted))


PENALTIES = {
    "asymmetric_mae": _metrics.asymmetric_mae,
    "log_huber": _metrics.log_huber,
    "asymmetric_mae(w=3)": functools.partial(_metrics.asymmetric_mae, w=3),
    "a user's asymmetric error": asymmetric,
    "in place": in_place,
    "pinball": pinball,
    "a Series": as_a_series,
}


def mean_penalty(loss_fn, df, theta, weight=1.0) -> float:
    """What the package minimises, at E, ln A, ln B, alpha, beta."""
    E, a, b, alpha, beta = theta
    n, d, observed = (df[column].to_numpy() for column in ("N", "D", "loss"))
    predicted = E + np.exp(a - alpha * np.log(n)) + np.exp(b - beta * np.log(d))
    return float(np.mean(loss_fn(observed.copy(), predicted) * weight))


def polished(loss_fn, df, params) -> float:
    """The least mean penalty that a simplex finds around an end, begun anew three times."""
    log_n, log_d = np.log(df["N"]).mean(), np.log(df["D"]).mean()

    def value(z):
        with np.errstate(all="ignore"):
            theta = (z[0], z[1] + z[3] * log_n, z[2] + z[4] * log_d, z[3], z[4])
            return mean_penalty(loss_fn, df, theta)

    E, A, B, alpha, beta = params.values()
    z = np.array([E, np.log(A) - alpha * log_n, np.log(B) - beta * log_d, alpha, beta])
    best = value(z)
    for size in (1e-1, 1e-2, 1e-4):
        simplex = z + np.vstack([np.zeros(5), size * np.eye(5)])
        options = {"maxfev": 500, "xatol": 1e-12, "fatol": 1e-15, "initial_simplex": simplex}
        end = minimize(value, z, method="Nelder-Mead", options=options)
        z, best = (end.x, end.fun) if end.fun < best else (z, best)
    return best


@pytest.mark.parametrize("name", PENALTIES)
def test_a_slow_polish_finds_nothing_below(name):
    loss_fn, df = PENALTIES[name], simulated(1, 20)
    fit = fitted(df, GRID, loss_fn)
    theta = [fit.params[key] for key in TRUTH]
    theta[1:3] = np.log(theta[1:3])
    assert fit.objective == pytest.approx(mean_penalty(loss_fn, df, theta), rel=1e-9)
    assert fit.objective <= polished(loss_fn, df, fit.params) * (1 + 1e-6)


def test_runs_that_leave_the_law_open_end_low_all_the_same():
    df = simulated(0, 15)  # E falls without end in a valley, exponents of B with it
    fit = fitted(df, GRID, _metrics.asymmetric_mae)
    assert fit.params["E"] < -1
    assert fit.objective <= 0.0809183 * (1 + 2e-4)  # the lowest that any search ended at


def test_e_below_zero_is_reached():
    df = simulated(3, 40, E=-0.2, rate=1e6)
    assert (df["loss"] > 0).all()
    fit = fitted(df, GRID, _metrics.log_huber)
    assert fit.params["E"] == pytest.approx(-0.2, abs=1e-3)
    logarithm = {("e" if name == "E" else name): axis for name, axis in GRID.items()}
    assert fitted(df, logarithm, _metrics.log_huber).params["E"] > 0


def test_sizes_and_their_logarithms_are_the_same_starts():
    df = simulated(5)
    exponents = {name: GRID[name] for name in ("E", "alpha", "beta")}
    sizes = {"A": np.exp(GRID["a"]), "B": np.exp(GRID["b"]), **exponents}
    either = [fitted(df, grid, _metrics.mse) for grid in (GRID, sizes)]
    assert either[0].objective == pytest.approx(either[1].objective, rel=1e-9)
    zero = {**sizes, "A": [0.0, 1.0], "B": [-1.0]}
    assert fitted(df, zero, _metrics.mse).objective == pytest.approx(either[0].objective, rel=1e-9)


def test_weights_count_relative_to_their_mean():
    df = simulated(1)
    fit = fitted(df, GRID, _metrics.mse, np.sqrt)
    assert fitted(df, GRID, _metrics.mse, lambda C: 5 * np.sqrt(C)).params == pytest.approx(
        fit.params, rel=1e-6
    )
    weight = np.sqrt(df["C"].to_numpy()) / np.sqrt(df["C"]).mean()
    theta = [fit.params[key] for key in TRUTH]
    theta[1:3] = np.log(theta[1:3])
    expected = mean_penalty(_metrics.mse, df, theta, weight)
    assert fit.objective == pytest.approx(expected, rel=1e-9)
    some = fitted(df, GRID, _metrics.mse, lambda C: np.arange(len(C)) >= 3)
    assert some.params == pytest.approx(fitted(df[3:], GRID, _metrics.mse).params, rel=1e-6)


@pytest.mark.parametrize(
    ("loss_fn", "reason"),
    [
        (lambda y, p: np.full(len(y), np.nan), "`loss_fn` returned NaN for run 1"),
        (lambda y, p: np.full(len(y), np.inf), "no start leads to a finite objective"),
        (lambda y, p: y @ [1, 2], "it failed with ValueError"),
        (lambda y, p: (y - p)[1:], r"array of shape \(19,\) for 20 runs"),
    ],
    ids=["NaN", "infinite", "an error", "one too few"],
)
def test_a_penalty_that_cannot_be_minimised_is_a_value_error(loss_fn, reason):
    with pytest.raises(ValueError, match=reason):
        fitted(simulated(1, 20), GRID, loss_fn)


@pytest.mark.parametrize(
    "weights", [[1.0], np.nan, -1.0, 0.0], ids=["too few", "NaN", "negative", "zero"]
)
def test_weights_that_are_none_are_a_value_error(weights):
    with pytest.raises(ValueError, match="`weight_fn` returned"):
        fitted(
            simulated(1),
            GRID,
            _metrics.mse,
            lambda C: np.resize(weights, np.size(weights) if np.ndim(weights) else len(C)),
        )


def test_functions_of_the_toolkit_are_known_to_the_engine():
    assert all(known(function) for function in KNOWN)
    assert known(functools.partial(_metrics.huber, delta=0.1))["delta"] == 0.1
    assert known(functools.partial(_metrics.asymmetric_mae, w=3))["above"] == 3
    others = [asymmetric, functools.partial(_metrics.huber, delta=0), functools.partial(asymmetric)]
    assert [known(function) for function in others] == [None] * 3


def test_the_result_is_the_same_fit_with_intervals():
    fit = fitted(simulated(4), GRID, _metrics.asymmetric_mae)
    result = fit.result(bootstrap=10)
    assert result.values == fit.params
    assert fit.result(bootstrap=10) is result
    again = fitted(simulated(4), GRID, _metrics.asymmetric_mae).result(bootstrap=10)
    pd.testing.assert_frame_equal(result.replicates, again.replicates, check_exact=True)
    summary = result.summary.loc[0]
    assert summary["n_starts"] == fit.starts_tried
    assert summary["objective_value"] / fit.runs.count == pytest.approx(fit.objective, rel=1e-5)
    best = result.allocate(1e22)
    assert (best["N_low"] < best["N"]).all() and (best["N"] < best["N_high"]).all()


def test_few_runs_and_losses_below_zero_are_fitted_but_have_no_intervals():
    few = fitted(simulated(2, 3), GRID, _metrics.mse)
    assert few.objective < 1e-6
    with pytest.raises(ValueError, match="3 runs for 5 parameters"):
        few.result()
    negative = fitted(simulated(2, 30, E=-3.0), GRID, _metrics.mse)
    assert negative.params["E"] < -1
    with pytest.raises(ValueError, match="loss"):
        negative.result()
