"""How fast is a fit? The Chinchilla law on Epoch's 240 points, by isoloss and by others.

Three works, log-Huber loss of delta 1e-3, summed: the published grid of 4500 starts; 4000
bootstrap replicates from the optimum; 4000 replicates, each optimised globally. A contender that
would take longer than minutes does a random sample of its work, and its seconds are scaled up in
proportion; its note says so. Every contender has a process of its own.

Run `python benchmarks/fit.py`, with `--quick` for a look that is over within 50 seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.optimize

from isoloss.core.seeds import generator
from isoloss.core.tables import write_free
from isoloss.fit import resample
from isoloss.fit.descent import AGREE, FitProblem, minimise
from isoloss.fit.objectives import Objective
from isoloss.fit.optimize import optimise
from isoloss.fit.solve import Constraints, Optimum
from isoloss.laws import chinchilla

HERE = Path(__file__).parent
LAW = chinchilla.make()
OBJECTIVE = Objective("huber_log", 1e-3)
STARTS = chinchilla.published_starts()
REPLICATES = 4000
SEARCHED = 50  # replicates compared with an exhaustive search
CORES = os.cpu_count() or 1
TIGHT = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 100_000, "maxfun": 1_000_000}
GRID, LOCAL, GLOBAL = "4500 starts", "4000 replicates, local", "4000 replicates, global"


@dataclass(frozen=True)
class Task:
    """What all contenders get.

    Attributes:
        data: N and D, each (n,).
        loss: (n,).
        optimum: of all points, theta, (p,); None before it is known.
        quick: whether to do little.
    """

    data: dict[str, np.ndarray]
    loss: np.ndarray
    optimum: np.ndarray | None
    quick: bool

    def weights(self) -> np.ndarray:
        """How often each replicate holds each run, (r, n)."""
        n = len(self.loss)
        rng = generator(0, "bench", "fit")
        return resample.weights(np.ones(n), np.arange(n), REPLICATES, rng)

    def objective(self, theta: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """At thetas (k, p) for weights (k, n), (k,)."""
        with np.errstate(all="ignore"):
            return np.sum(weight * OBJECTIVE.values(LAW.loss(theta, self.data), self.loss), axis=-1)

    def sample(self, of: int, full: int, quick: int) -> np.ndarray:
        """Positions of a random part of a work, in their order."""
        count = min(of, quick if self.quick else full)
        return np.sort(generator(1, "bench", f"{of}").choice(of, count, replace=False))


@dataclass(frozen=True)
class Found:
    """What a contender did.

    Attributes:
        seconds: for the whole work.
        theta: ends, (k, p).
        which: the replicate of each end, (k,); nothing for the grid.
        note: how.
        peak_mib: of its largest process.
    """

    seconds: float
    theta: np.ndarray
    which: np.ndarray | None = None
    note: str = ""
    peak_mib: float = np.nan


def scaled(seconds: float, count: int, of: int, what: str) -> tuple[float, str]:
    """Seconds for all, and how they were found."""
    note = "" if count == of else f"measured on {count} random {what} of {of}, scaled up"
    return seconds * of / count, note


def timed(call: Callable, times: int = 1):
    """Median seconds of some calls, and what the last one gave."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)), result


# --- isoloss --------------------------------------------------------------------------------


def fitted(task: Task) -> Optimum:
    """The points, from the published grid."""
    weight = np.ones(len(task.loss))
    return Optimum(LAW, task.data, task.loss, weight, OBJECTIVE, Constraints(), STARTS)


def our_grid(task: Task) -> Found:
    """`optimise`: starts are moved to their best scales, those that meet are one."""
    seconds, result = timed(lambda: fitted(task), 5)
    return Found(
        seconds, result.theta[None], note=f"median of 5; {len(result.begin)} distinct starts"
    )


def our_starts(task: Task) -> Found:
    """Every start descends from where it stands, nothing merged and nothing bounded."""
    result = fitted(task)
    affine = result.problem.affine
    nowhere = np.full(len(affine.low), np.inf)
    affine = replace(affine, low=-nowhere, high=nowhere)
    problem = FitProblem(
        result.problem.law_on_runs, result.problem.loss, result.problem.objective, affine
    )
    which = task.sample(len(STARTS), len(STARTS), 600)
    starts = affine.free(result.scale.inner(STARTS[which]))
    seconds, ends = timed(lambda: minimise(problem, starts, result.weight))
    seconds, note = scaled(seconds, len(which), len(STARTS), "starts")
    return Found(seconds, result.outer(ends.free), note=note)


def our_local(task: Task) -> Found:
    """`minimise`, all replicates at once."""
    result, weight = fitted(task), task.weights()
    begin = np.repeat(result.ends.free[:1], len(weight), axis=0)
    seconds, ends = timed(lambda: minimise(result.problem, begin, weight), 3)
    return Found(seconds, result.outer(ends.free), np.arange(len(weight)), "median of 3")


def our_global(task: Task) -> Found:
    """`refit`: from every basin that is better for a replicate, then from each other's ends."""
    result, weight = fitted(task), task.weights()
    seconds, replicates = timed(lambda: result.replicates(weight), 3)
    return Found(seconds, replicates.estimates.theta, np.arange(len(weight)), "median of 3")


def our_search(task: Task) -> Found:
    """Every distinct start of the published grid and of the law's own, replicate by replicate."""
    result, weight = fitted(task), task.weights()
    which = task.sample(REPLICATES, SEARCHED, 8)
    starts = result.scale.inner(np.concatenate([STARTS, result.scale.outer(LAW.starts())]))
    starts = result.problem.affine.free(starts)
    seconds, free = timed(
        lambda: [optimise(result.problem, starts, weight[i])[1].free[0] for i in which]
    )
    seconds, note = scaled(seconds, len(which), REPLICATES, "replicates")
    return Found(seconds, result.outer(np.array(free)), which, note)


# --- SciPy, one start after another ------------------------------------------------------------


def huber(x: np.ndarray, log_n, log_d, log_loss, weight) -> tuple[float, np.ndarray]:
    """The objective and its gradient."""
    e, a, b = np.exp(x[0]), np.exp(x[1] - x[3] * log_n), np.exp(x[2] - x[4] * log_d)
    predicted = e + a + b
    residual = np.log(predicted) - log_loss
    slope = np.clip(residual, -OBJECTIVE.delta, OBJECTIVE.delta)
    g = weight * slope / predicted
    gradient = np.array([g.sum() * e, g @ a, g @ b, -(g * a) @ log_n, -(g * b) @ log_d])
    return float(weight @ (slope * (residual - 0.5 * slope))), gradient


def descend(job: tuple[np.ndarray, np.ndarray], task: Task, options: dict) -> np.ndarray:
    """One start, one weighting."""
    start, weight = job
    args = (np.log(task.data["N"]), np.log(task.data["D"]), np.log(task.loss), weight)
    with np.errstate(all="ignore"):
        return scipy.optimize.minimize(
            huber, start, args, method="L-BFGS-B", jac=True, options=options
        ).x


def loop(jobs: Sequence, task: Task, options: dict, cores: int) -> tuple[float, np.ndarray]:
    """Seconds and ends of all jobs."""
    one = partial(descend, task=task, options=options)

    def call() -> list[np.ndarray]:
        if cores == 1:
            return [one(job) for job in jobs]
        with multiprocessing.Pool(cores) as pool:
            return pool.map(one, jobs, chunksize=4)

    seconds, ends = timed(call)
    return seconds, np.array(ends)


def scipy_grid(task: Task, options: dict, cores: int) -> Found:
    """From a part of the published grid."""
    which = task.sample(len(STARTS), 450, 40)
    jobs = [(STARTS[i], np.ones(len(task.loss))) for i in which]
    seconds, ends = loop(jobs, task, options, cores)
    seconds, note = scaled(seconds, len(which), len(STARTS), "starts")
    return Found(seconds, ends, note=note)


def scipy_local(task: Task, options: dict, cores: int) -> Found:
    """From the optimum, for a part of the replicates."""
    which, weight = task.sample(REPLICATES, 400, 40), task.weights()
    seconds, ends = loop([(task.optimum, weight[i]) for i in which], task, options, cores)
    seconds, note = scaled(seconds, len(which), REPLICATES, "replicates")
    return Found(seconds, ends, which, note)


def scipy_global(task: Task, options: dict, cores: int) -> Found:
    """From a part of the published grid, for a few replicates."""
    which, starts = task.sample(REPLICATES, 6, 2), task.sample(len(STARTS), 75, 20)
    weight = task.weights()
    jobs = [(STARTS[s], weight[i]) for i in which for s in starts]
    seconds, ends = loop(jobs, task, options, cores)
    value = task.objective(ends, np.repeat(weight[which], len(starts), axis=0))
    best = np.nanargmin(value.reshape(len(which), -1), axis=1) + np.arange(len(which)) * len(starts)
    return part_of_all(seconds, ends[best], which, starts)


def part_of_all(seconds: float, theta: np.ndarray, which, starts) -> Found:
    """A few replicates from a few starts, scaled up to all of both."""
    times = REPLICATES / len(which) * len(STARTS) / len(starts)
    note = f"measured on {len(which)} replicates x {len(starts)} starts of 4000 x 4500, scaled up"
    return Found(seconds * times, theta, which, note)


# --- chinchilla 0.2.0 ---------------------------------------------------------------------------


def theirs(task: Task, total: bool):
    """Its project on the points; `total` makes its mean a sum, which its tolerance is meant for."""
    from chinchilla import Chinchilla
    from chinchilla._metrics import log_huber

    def loss_fn(observed, predicted):
        return log_huber(observed, predicted, OBJECTIVE.delta) * (len(observed) if total else 1)

    axes = [tuple(np.unique(column)) for column in STARTS.T]
    grid_ = dict(zip(("e", "a", "b", "alpha", "beta"), axes, strict=True))
    project = Chinchilla(tempfile.mkdtemp(), grid_, loss_fn=loss_fn, log_level=50)
    project.visualizer.optim = lambda *args, **kwargs: None  # it would draw a figure a fit
    project.database.df = pd.DataFrame({"C": 0.0, **task.data, "loss": task.loss})
    return project


def their_fit(project, starts: np.ndarray | None = None) -> np.ndarray:
    """`fit` on all cores, from its grid or, in its stead, from some starts of it; theta (p,)."""
    import chinchilla.core

    if starts is not None:
        chinchilla.core.itertools = SimpleNamespace(product=lambda *axes: starts)
    project.fit()
    p = project
    return np.array([np.log(p.E), np.log(p.A), np.log(p.B), p.alpha, p.beta], dtype=float)


def their_grid(task: Task, total: bool) -> Found:
    """From the published grid."""
    project = theirs(task, total)
    which = task.sample(len(STARTS), len(STARTS), 120)
    some = None if len(which) == len(STARTS) else STARTS[which]
    seconds, theta = timed(lambda: their_fit(project, some))
    seconds, note = scaled(seconds, len(which), len(STARTS), "starts")
    return Found(seconds, theta[None], note=note)


def their_local(task: Task) -> Found:
    """A `fit` from the optimum for every replicate."""
    project, weight = theirs(task, total=True), task.weights()
    which = task.sample(REPLICATES, 60, 8)
    frame = project.database.df

    def one(i: int) -> np.ndarray:
        project.database.df = frame.loc[frame.index.repeat(weight[i].astype(int))]
        return their_fit(project, task.optimum[None])

    seconds, theta = timed(lambda: [one(i) for i in which])
    seconds, note = scaled(seconds, len(which), REPLICATES, "replicates")
    return Found(seconds, np.array(theta), which, note)


def their_pool(task: Task) -> Found:
    """Its objective and optimiser, the replicates shared among all cores in place of the starts."""
    project, weight = theirs(task, total=True), task.weights()
    their_fit(project, task.optimum[None])
    which = task.sample(REPLICATES, 200, 24)
    frame, width = project.database.df, project._autoscale_range

    def one(i: int) -> np.ndarray:
        sample = frame.loc[frame.index.repeat(weight[i].astype(int))]
        columns = {"log_N": np.log(sample.N), "log_D": np.log(sample.D), "y_true": sample.loss}
        project._const = {k: v.to_numpy().astype(np.longdouble) for k, v in columns.items()}
        begin = task.optimum / width
        return scipy.optimize.minimize(project._evaluate_params, begin, method="BFGS").x * width

    def call() -> list[np.ndarray]:
        _INHERITED[:] = [one]  # by the forks of the pool
        with multiprocessing.Pool(CORES) as pool:
            return pool.map(_call_inherited, which, chunksize=4)

    seconds, theta = timed(call)
    seconds, note = scaled(seconds, len(which), REPLICATES, "replicates")
    return Found(seconds, np.array(theta), which, note)


_INHERITED: list[Callable] = []


def _call_inherited(i: int) -> np.ndarray:
    return _INHERITED[0](i)


def their_global(task: Task) -> Found:
    """From a part of the published grid, for a few replicates."""
    project, weight = theirs(task, total=True), task.weights()
    which, starts = task.sample(REPLICATES, 4, 2), task.sample(len(STARTS), 150, 30)
    frame = project.database.df

    def one(i: int) -> np.ndarray:
        project.database.df = frame.loc[frame.index.repeat(weight[i].astype(int))]
        return their_fit(project, STARTS[starts])

    seconds, theta = timed(lambda: [one(i) for i in which])
    return part_of_all(seconds, np.array(theta), which, starts)


# --- the table ----------------------------------------------------------------------------------

EVERY = "isoloss, every start"
SEARCH = "isoloss, exhaustive"
THEIRS = "chinchilla 0.2.0"
Contender = Callable[[Task], Found]


def contenders() -> dict[str, dict[str, Contender]]:
    """By work and name; the first one of a work is ours."""
    works: dict[str, dict[str, Contender]] = {
        GRID: {
            "isoloss": our_grid,
            EVERY: our_starts,
            THEIRS: partial(their_grid, total=True),
            f"{THEIRS}, its mean": partial(their_grid, total=False),
        },
        LOCAL: {
            "isoloss": our_local,
            THEIRS: their_local,
            f"{THEIRS}, pooled": their_pool,
        },
        GLOBAL: {"isoloss": our_global, SEARCH: our_search, THEIRS: their_global},
    }
    calls = {GRID: scipy_grid, LOCAL: scipy_local, GLOBAL: scipy_global}
    for work, call in calls.items():
        for label, options in (("", {}), (", tight", TIGHT)):
            for cores in sorted({1, CORES}):
                name = f"scipy L-BFGS-B{label}, {cores} core{'s' * (cores > 1)}"
                works[work][name] = partial(call, options=options, cores=cores)
    return works


def alone(contender: Contender, task: Task) -> Found:
    """Run a contender in a process of its own."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def child() -> None:
        try:
            result = contender(task)
        except ImportError as error:
            result = Found(np.nan, np.empty((0, 5)), note=f"did not run: {error}")
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        kib = [resource.getrusage(who).ru_maxrss for who in whose]
        there.send(replace(result, peak_mib=max(kib) / 1024))

    process = context.Process(target=child)
    process.start()
    there.close()
    try:
        return here.recv()
    finally:
        process.join()


def compared(task: Task, result: Found, ours: Found) -> tuple[str, float]:
    """How a result was checked against ours, and its largest relative excess of the objective."""
    if not len(result.theta):
        return "", np.nan
    if result.which is None:
        weight = np.ones_like(task.loss)
        value, best = (task.objective(f.theta, weight) for f in (result, ours))
        excess = np.nanmin(value) / best.min() - 1
        text = f"objective {np.nanmin(value):.13g}, {excess:+.1e} of ours"
        if len(value) > 1:
            agree = np.mean(value <= np.nanmin(value) * (1 + AGREE))
            text += f"; {agree:.1%} of its starts end there"
        return text, excess
    weight = task.weights()[result.which]
    value = task.objective(result.theta, weight)
    excess = value / task.objective(ours.theta[result.which], weight) - 1
    text = f"objectives of {len(excess)} replicates, mean {value.mean():.13g}; over ours: "
    return f"{text}least {excess.min():+.1e}, most {excess.max():+.1e}", excess.min()


def main() -> None:
    """Run all contenders, print and write the table, say which goals were reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small samples; writes nothing")
    parser.add_argument("--data", type=Path, default=os.environ.get("ISOLOSS_REFERENCE_DATA"))
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("name the folder of chinchilla_epoch/: --data, or ISOLOSS_REFERENCE_DATA")
    points = pd.read_csv(Path(chosen.data) / "chinchilla_epoch" / "chinchilla_points.csv")
    points = points[points["kept_240"] == 1]
    data = {"N": points["n_params"].to_numpy(float), "D": points["tokens"].to_numpy(float)}
    task = Task(data, points["loss"].to_numpy(float), None, chosen.quick)
    task = replace(task, optimum=fitted(task).theta)
    rows, excess = [], {}
    for work, named in contenders().items():
        ours = None
        for name, contender in named.items():
            load = os.getloadavg()[0]
            result = alone(contender, task)
            ours = ours or result
            same, excess[work, name] = compared(task, result, ours)
            rows.append(
                {
                    "work": work,
                    "contender": name,
                    "seconds": result.seconds,
                    "peak_mib": result.peak_mib,
                    "ratio": result.seconds / ours.seconds,
                    "same_result": same,
                    "note": "; ".join([result.note] * bool(result.note) + [f"load {load:.1f}"]),
                }
            )
            row = rows[-1]
            print(
                f"{work} | {name} | {result.seconds:.3g} s | {result.peak_mib:.0f} MiB | "
                f"ratio {row['ratio']:.3g} | {same} | {row['note']}",
                flush=True,
            )
    table = pd.DataFrame(rows)
    goals(table.set_index(["work", "contender"]), excess)
    if not chosen.quick:
        facts = {"cores": CORES, "numpy": np.__version__, "scipy": scipy.__version__}
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        write_free(arrow, HERE / "results" / "fit.parquet", facts)


def goals(table: pd.DataFrame, excess: dict[tuple[str, str], float]) -> None:
    """Say which goals were reached."""
    for work in (GRID, LOCAL):
        for name in [n for w, n in table.index if w == work and n.startswith(THEIRS)]:
            ratio = table.loc[(work, name), "ratio"]
            reached = ratio >= 100 and excess[work, name] >= -1e-12
            print(f"{work}: {ratio:.0f} times faster than {name} (goal 100): {verdict(reached)}")
    times = table.loc[(GRID, THEIRS), "seconds"] / table.loc[(GRID, EVERY), "seconds"]
    print(f"{GRID}: {times:.0f} times faster than {THEIRS} where no start is moved or merged")
    seconds = table.loc[(GLOBAL, "isoloss"), "seconds"]
    print(f"{GLOBAL}: {seconds:.2f} s (goal 5): {verdict(seconds < 5)}")
    lower = max(0.0, -excess[GLOBAL, SEARCH])
    print(f"{GLOBAL}: above an exhaustive search by {lower:.1e} (goal 1e-9): ", end="")
    print(verdict(lower <= 1e-9))


def verdict(reached: bool) -> str:
    """In a word."""
    return "reached" if reached else "missed"


if __name__ == "__main__":
    main()
