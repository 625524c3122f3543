"""How fast is a formula fitted? A law with experts, from 1000 starts and for 1000 replicates.

221 simulated runs of `loss = E + A / (N**alpha * experts**gamma) + B / D**beta`, which is a sum of
power terms, and of the same law with experts that saturate, which is not. The objective of all
contenders is log-Huber loss of delta 1e-3, summed; all get the same starts, and logarithms of
sizes as parameters. Contenders fit one start after the other, a random sample of them, and their
seconds are scaled up in proportion. All run on one core.

Run `python benchmarks/formula.py`, with `--quick` for a look that is over within 50 seconds.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.optimize

from isoloss.core.seeds import generator
from isoloss.core.tables import write_free
from isoloss.fit import resample
from isoloss.fit.objectives import Objective
from isoloss.fit.solve import Constraints, Optimum
from isoloss.formulas import Evaluator, read_formula
from isoloss.laws._formula import formula_law

HERE = Path(__file__).parent
OBJECTIVE = Objective("huber_log", 1e-3)
ROWS, COUNT = 221, 1000
VARIABLES = ("N", "D", "experts")
TRUTH = {
    "E": 1.7, "A": 400.0, "alpha": 0.34, "gamma": 0.12, "B": 410.0, "beta": 0.28, "S": 24.0,
}  # fmt: skip
RANGES = {  # of starts: logarithms of sizes, and exponents
    "E": (-1.0, 1.0), "A": (0.0, 20.0), "B": (0.0, 20.0), "S": (0.0, 6.0),
    "alpha": (0.05, 1.0), "gamma": (0.0, 0.5), "beta": (0.05, 1.0),
}  # fmt: skip
FORMULAS = {
    "sum of power terms": "loss = E + A / (N**alpha * experts**gamma) + B / D**beta",
    "saturating experts": "loss = E + A / (N**alpha * (experts / (1 + experts / S))**gamma)"
    " + B / D**beta; S > 0",
}


@dataclass(frozen=True)
class Task:
    """A law, its runs, and where to begin.

    Attributes:
        name: of the law.
        law: as isoloss has it.
        tree: of the formula.
        names: of the parameters, in the order of theta.
        sizes: whether theta holds a parameter's logarithm, bool (p,).
        data: variables, (n,) each.
        loss: (n,).
        starts: (1000, p).
        weights: how often each replicate holds each run, (1000, n).
    """

    name: str
    law: object
    tree: object
    names: tuple[str, ...]
    sizes: np.ndarray
    data: dict[str, np.ndarray]
    loss: np.ndarray
    starts: np.ndarray
    weights: np.ndarray

    def values(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters by name, of theta (k, p)."""
        theta = np.atleast_2d(theta)
        own = np.where(self.sizes, np.exp(np.where(self.sizes, theta, 0.0)), theta)
        return {name: own[:, i, None] for i, name in enumerate(self.names)}

    def objective(self, theta: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """At thetas (k, p) for weights (n,) or (k, n), (k,)."""
        predicted = Evaluator(self.tree, ()).value({**self.values(theta), **self.data})
        with np.errstate(all="ignore"):
            return np.sum(weight * OBJECTIVE.values(predicted, self.loss), axis=-1)


def task(name: str) -> Task:
    """The simulated runs of a law."""
    rng = generator(0, "bench", f"formula {name}")
    formula = read_formula(FORMULAS[name])
    data = {
        "N": np.exp(rng.uniform(*np.log([1e7, 3e9]), ROWS)),
        "D": np.exp(rng.uniform(*np.log([1e9, 1e11]), ROWS)),
        "experts": 2.0 ** rng.integers(0, 9, ROWS),
    }
    law = formula_law(FORMULAS[name], VARIABLES)
    names = tuple(term.name for term in law.terms)
    exact = Evaluator(formula.tree, ()).value({**{k: TRUTH[k] for k in names}, **data})
    loss = exact * np.exp(0.004 * rng.standard_t(4, ROWS))
    low, high = np.array([RANGES[k] for k in names]).T
    return Task(
        name, law, formula.tree, names, np.array([term.log for term in law.terms]), data, loss,
        rng.uniform(low, high, (COUNT, len(names))),
        resample.weights(np.ones(ROWS), np.arange(ROWS), COUNT, rng),
    )  # fmt: skip


def timed(call: Callable):
    """Processor seconds of a call, and its result."""
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


# --- the laws by hand, as a user of the others writes them -----------------------------------


def log_loss(x: tuple, *theta: float) -> np.ndarray:
    """The logarithm of the loss; six parameters, or seven with S."""
    log_n, log_d, experts = x
    e, a, alpha, *rest = theta
    if len(theta) == 7:
        s, gamma, b, beta = rest
        experts = experts / (1 + experts * np.exp(-s))
    else:
        gamma, b, beta = rest
    first = np.exp(a - alpha * log_n - gamma * np.log(experts))
    return np.log(np.exp(e) + first + np.exp(b - beta * log_d))


def huber(theta: np.ndarray, x: tuple, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The objective and its gradient."""
    log_n, log_d, experts = x
    e, a, alpha, *rest = theta
    log_x, inner = np.log(experts), None
    if len(theta) == 7:
        s, gamma, b, beta = rest
        inner = experts * np.exp(-s) / (1 + experts * np.exp(-s))
        log_x = log_x - np.log1p(experts * np.exp(-s))
    else:
        gamma, b, beta = rest
    parts = np.exp(e), np.exp(a - alpha * log_n - gamma * log_x), np.exp(b - beta * log_d)
    predicted = sum(parts)
    residual = np.log(predicted) - y
    slope = np.clip(residual, -OBJECTIVE.delta, OBJECTIVE.delta)
    g = slope / predicted
    first, last = g * parts[1], g * parts[2]
    gradient = [g.sum() * parts[0], first.sum(), -first @ log_n]
    gradient += [] if inner is None else [-gamma * (first @ inner)]
    gradient += [-first @ log_x, last.sum(), -last @ log_d]
    return float(slope @ (residual - 0.5 * slope)), np.array(gradient)


def lbfgs(theta: np.ndarray, x: tuple, y: np.ndarray) -> np.ndarray:
    """`scipy.optimize.minimize` at its defaults: differences, and tolerances that end it early."""
    return scipy.optimize.minimize(lambda *at: huber(*at)[0], theta, (x, y), "L-BFGS-B").x


def lbfgs_by_hand(theta: np.ndarray, x: tuple, y: np.ndarray) -> np.ndarray:
    """The same with the gradient by hand, and tight tolerances."""
    tight = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 10_000, "maxfun": 100_000}
    return scipy.optimize.minimize(huber, theta, (x, y), "L-BFGS-B", jac=True, options=tight).x


def curve_fit(theta: np.ndarray, x: tuple, y: np.ndarray) -> np.ndarray:
    """`scipy.optimize.curve_fit` with its own derivatives."""
    robust = {"method": "trf", "loss": "huber", "f_scale": OBJECTIVE.delta}
    return scipy.optimize.curve_fit(log_loss, x, y, theta, **robust)[0]


def lmfit_model(theta: np.ndarray, x: tuple, y: np.ndarray) -> np.ndarray:
    """A `Model` of lmfit, by its `least_squares`."""
    import lmfit

    names = [f"p{i}" for i in range(len(theta))]
    function = f"lambda x, {', '.join(names)}: f(x, {', '.join(names)})"
    model = lmfit.Model(eval(function, {"f": log_loss}), independent_vars=["x"])
    robust = {"loss": "huber", "f_scale": OBJECTIVE.delta}
    parameters = model.make_params(**dict(zip(names, theta, strict=True)))
    fit = model.fit(y, parameters, x=x, method="least_squares", fit_kws=robust)
    return np.array([fit.params[name].value for name in names])


CONTENDERS = {
    "scipy curve_fit": curve_fit,
    "scipy L-BFGS-B": lbfgs,
    "scipy L-BFGS-B, gradient by hand": lbfgs_by_hand,
    "lmfit": lmfit_model,
}


def loop(one: Callable, runs: Task, begins: np.ndarray, weights: np.ndarray | None):
    """Seconds and ends of a contender, one start (or replicate) after the other."""
    order = [
        runs.names.index(n)
        for n in ("E", "A", "alpha", "S", "gamma", "B", "beta")
        if n in runs.names
    ]
    x = np.log(runs.data["N"]), np.log(runs.data["D"]), runs.data["experts"]
    y, ends, failures = np.log(runs.loss), [], 0

    def call() -> None:
        nonlocal failures
        for i, begin in enumerate(begins):
            rows = (
                slice(None)
                if weights is None
                else np.repeat(np.arange(ROWS), weights[i].astype(int))
            )
            end = np.full(len(begin), np.nan)
            try:
                end[order] = one(begin[order], tuple(v[rows] for v in x), y[rows])
            except (RuntimeError, ValueError):  # a start that does not end
                failures += 1
            ends.append(end)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        seconds, _ = timed(call)
    return seconds, np.array(ends), failures


# --- the two works -----------------------------------------------------------------------------


def row(work: str, contender: str, seconds: float, ours: float, same: str, note: str) -> dict:
    """A row of the table."""
    return {
        "work": work, "contender": contender, "seconds": seconds, "peak_mib": np.nan,
        "ratio": seconds / ours, "same_result": same, "note": note,
    }  # fmt: skip


def our_fit(runs: Task) -> Optimum:
    """The runs, from all starts."""
    weight = np.ones(ROWS)
    return Optimum(runs.law, runs.data, runs.loss, weight, OBJECTIVE, Constraints(), runs.starts)


def both(rows: list[dict], name: str) -> list[dict]:
    """The two works together, of each contender."""
    table = pd.DataFrame(rows).groupby("contender", sort=False)["seconds"].sum()
    work = f"{name}: both"
    return [row(work, k, v, table["isoloss"], "", "the sum of the two") for k, v in table.items()]


def starts(runs: Task, count: int, contenders: dict[str, Callable]) -> list[dict]:
    """1000 starts."""
    our_fit(runs)
    work, weight = f"{runs.name}: {COUNT} starts", np.ones(ROWS)
    ours, fit = timed(lambda: our_fit(runs))
    least = runs.objective(fit.theta, weight)[0]
    facts = fit.search()
    note = f"{facts['n_agree']} of {facts['n_starts']} that were descended from agree"
    rows = [row(work, "isoloss", ours, ours, f"objective {least:.10g}", note)]
    which = np.sort(generator(1, "bench", "formula").choice(COUNT, count, replace=False))
    for name, one in contenders.items():
        seconds, ends, failures = loop(one, runs, runs.starts[which], None)
        value = runs.objective(ends, weight)
        same = f"lowest {np.nanmin(value) / least - 1:+.1e} of ours,"
        same += f" {np.mean(value / least - 1 < 1e-4):.0%} of starts within 1e-4"
        note = f"measured from {count} random starts, scaled up; {failures} failed"
        rows.append(row(work, name, seconds * COUNT / count, ours, same, note))
    return rows


def replicates(runs: Task, count: int, contenders: dict[str, Callable]) -> list[dict]:
    """1000 replicates, from the optimum."""
    work, fit = f"{runs.name}: {COUNT} replicates", our_fit(runs)
    ours, result = timed(lambda: fit.replicates(runs.weights))
    least = runs.objective(result.estimates.theta, runs.weights)
    rows = [row(work, "isoloss", ours, ours, "each restarted from better ends of others", "")]
    which = np.sort(generator(2, "bench", "formula").choice(COUNT, count, replace=False))
    begins = np.repeat(fit.theta[None], count, axis=0)
    for name, one in contenders.items():
        seconds, ends, failures = loop(one, runs, begins, runs.weights[which])
        value = runs.objective(ends, runs.weights[which]) / least[which] - 1
        same = f"median {np.nanmedian(value):+.1e} of ours, lowest {np.nanmin(value):+.1e}"
        note = f"measured on {count} random replicates, scaled up; {failures} failed"
        rows.append(row(work, name, seconds * COUNT / count, ours, same, note))
    return rows


def main() -> None:
    """Fit both laws, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small samples; writes nothing")
    chosen = parser.parse_args()
    contenders = dict(CONTENDERS)
    try:
        import lmfit

        versions = {"lmfit": lmfit.__version__}
    except ImportError as error:
        print(f"lmfit did not run: {error}; pip install lmfit")
        versions = {"lmfit": "-"}
        del contenders["lmfit"]
    rows = []
    for name in FORMULAS:
        runs = task(name)
        parts = starts(runs, 6 if chosen.quick else 100, contenders)
        parts += replicates(runs, 4 if chosen.quick else 60, contenders)
        rows += [*parts, *both(parts, name)]
    table = pd.DataFrame(rows)
    with pd.option_context("display.width", 250, "display.max_colwidth", 90):
        print(table.drop(columns="peak_mib").to_string(index=False))
    if not chosen.quick:
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        facts = {"numpy": np.__version__, "scipy": scipy.__version__, **versions}
        write_free(arrow, HERE / "results" / "formula.parquet", facts)


if __name__ == "__main__":
    main()
