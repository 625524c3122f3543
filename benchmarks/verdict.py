"""Is the verdict on a fit right? Simulated tables of users, sound ones and faulty ones.

A case is a way in which a table of runs can come about. Every table of a case has a true law, of
Chinchilla's form or of an error rate, and noise of its own. It is read and fitted by the calls of
`python -m isoloss law`, and its verdict is compared with how far the fit is from the truth.

Run `python benchmarks/verdict.py`, with `--quick` for a look that is over within a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
from coverage import GRIDS, LAW, NOISES, SD, TRUTH, Design, grid, markdown, noise, targets, truths
from coverage_rates import FAR, KINDS, QUESTIONS, drawn
from coverage_rates import LIMITS as RANGE
from coverage_rates import SD as RATE_SD

import isoloss
from isoloss.core.problems import IsolossError
from isoloss.core.seeds import generator
from isoloss.core.tables import facts, frame, write_free
from isoloss.fit.coordinates import scale_of
from isoloss.fitted import quantiles

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "verdict.parquet"
PAGE = ROOT / "docs" / "verdict.md"
VERDICTS = ("sound", "with care", "do not use")
REFUSED = "refused"
AHEAD = 10.0  # the budget that is asked for, over the largest of the table
LOSS_OFF = 0.02  # relative error of the loss there with which a fit still serves
N_OFF = 2.0  # factor by which the best N there may be off
LEVEL = 1 - 0.05 / 3  # of each of three intervals, so that all hold the truth in 95 %
RATE_OFF = 0.02  # error of an error rate at three times the largest N with which a fit serves
HELD = (1, 2, 3)  # alpha, beta and the loss among coverage.TARGETS
CLEAN_TIMES = 4  # as many tables of a clean case as of another: what is rare there counts
CLEAN, FAULTY, HARD = "clean", "misleading", "hard"
HEAD = """<!-- made by `python benchmarks/verdict.py` -->
# Is the verdict right?

Every fit is given a verdict ([fitting.md](fitting.md)). Here is how often, in {clean} simulated
tables of each clean case and {studies} of each other one, and how often it was right. A table has
a true Chinchilla law near E 1.8, A 480, B 2100, alpha .347, beta .367, another one for every table;
it is read and fitted with all defaults but {draws} replicates, and asked for the loss and the best
N of ten times its largest budget.

A fit is **good** if it serves and is honest. It serves if the loss there is within {loss:.0f} % and
the best N within a factor of {n:g} of the truth. It is honest if the intervals of alpha, beta and
that loss hold the truth, each at {level:.1f} %, so that all three do in 95 % of the tables of a
sound experiment. `sound` is right where the fit is good, `do not use` where it is not; `with care`
claims neither, and its column says how many of those fits were good. `refused`: the table was not
fitted, with a message.

Of an error rate, fitted as a typed formula with the range 0 to 1, a fit serves if the rate at three
times the largest N is within {rate:g} of the truth, and is honest if the intervals of all
parameters and of that rate hold the truth, together in 95 %.

- *clean* cases follow the law: `sound` should be the rule, `do not use` the exception.
- *misleading* cases do not, and a fit of them looks as good as any: `sound` is the error.
- *hard* cases follow the law but say little of it, or nearly follow it: what counts is that
  `sound` is right where it is given.
"""


@dataclass(frozen=True)
class Simulated:
    """A user's table and the law behind it.

    Attributes:
        rows: what the user has; columns `params`, `tokens` and `loss` among them.
        truth: theta, (5,).
        flops: the budget that the fit is asked about, in FLOP.
    """

    rows: pd.DataFrame
    truth: np.ndarray
    flops: float


@dataclass(frozen=True)
class SimulatedRate:
    """A user's table of error rates and the law behind it.

    Attributes:
        rows: what the user has; columns `N` and `error` among them.
        truth: parameters by name.
        far: the error rate at FAR parameters.
    """

    rows: pd.DataFrame
    truth: dict[str, float]
    far: float


@dataclass(frozen=True)
class Case:
    """A way in which tables come about.

    Attributes:
        name: of the case.
        family: CLEAN, FAULTY or HARD.
        make: a table from a generator.
        columns: further columns that the user names to `read_runs`.
        formula: that the user types, of an error rate; Chinchilla's law where empty.
    """

    name: str
    family: str
    make: Callable[[np.random.Generator], Simulated | SimulatedRate]
    columns: dict[str, str] = field(default_factory=dict)
    formula: str = ""


# --- tables ---------------------------------------------------------------------------------------


def simulated(
    design: Design, rng, kind: str = "normal", sd: float = SD, ahead: float = AHEAD
) -> Simulated:
    """Runs of a design with a law and noise of their own."""
    scale = scale_of(LAW, design.data, LAW.loss(TRUTH, design.data))
    theta = truths(1, scale, rng)[0]
    error = noise(kind, design.cluster, 1, rng)[0] * (sd / SD)
    loss = LAW.loss(theta, design.data) * np.exp(error)
    n, d = design.data["N"], design.data["D"]
    rows = pd.DataFrame({"params": n, "tokens": d, "loss": loss})
    return Simulated(rows, theta, ahead * float((6 * n * d).max()))


def changed(table: Simulated, **columns) -> Simulated:
    """The table with columns set."""
    return Simulated(table.rows.assign(**columns), table.truth, table.flops)


def of(rows: pd.DataFrame, table: Simulated) -> Simulated:
    """Other rows that come of the same law."""
    return Simulated(rows.reset_index(drop=True), table.truth, table.flops)


def clean(name: str, kind: str):
    """The designs of the coverage study."""
    return lambda rng: simulated(grid(*GRIDS[name]), rng, kind)


def ordinary(rng) -> Simulated:
    """60 runs with independent noise, which most faults are done to."""
    return simulated(grid(*GRIDS["60"]), rng)


def points(n: np.ndarray, d: np.ndarray) -> Design:
    """A design of given N and D, every run a seed of its own."""
    return Design({"N": n, "D": d}, np.arange(len(n)))


def two_optimisers(labelled: bool, twice: bool):
    """Runs of two optimisers, one 8 % worse, in one table; the truth is the better one's law."""

    def make(rng) -> Simulated:
        table = ordinary(rng)
        count = len(table.rows)
        rows, worse = table.rows, rng.random(count) < 0.5
        if twice:
            again = rows["loss"] * np.exp(SD * rng.standard_normal(count))
            rows, worse = (
                pd.concat([rows, rows.assign(loss=again)]),
                np.repeat([False, True], count),
            )
        rows = rows.assign(loss=rows["loss"] * np.where(worse, 1.08, 1.0))
        if labelled:
            rows["optimizer"] = np.where(worse, "adamw", "muon")
        return of(rows, table)

    return make


def sweep_of_rates(labelled: bool):
    """Every cell of 24 at five learning rates; the truth is the law of the best of each."""

    def make(rng) -> Simulated:
        table = simulated(grid(*GRIDS["24"]), rng)
        steps = np.tile(np.arange(-2.0, 3.0), len(table.rows))
        rows = table.rows.loc[table.rows.index.repeat(5)].reset_index(drop=True)
        best = np.repeat(rng.uniform(-0.5, 0.5, len(table.rows)), 5)
        rows["loss"] *= np.exp(0.02 * (steps - best) ** 2 + SD / 2 * rng.standard_normal(len(rows)))
        return of(rows.assign(lr=3e-4 * 2.0**steps) if labelled else rows, table)

    return make


def checkpoints(*kept: str):
    """Forty checkpoints of each of five runs, whose noise is its run's; some columns are kept."""

    def make(rng) -> Simulated:
        n = np.repeat(np.geomspace(7e7, 1.2e10, 5), 40)
        step = np.tile(np.geomspace(500, 143_000, 40).round(), 5)
        table = simulated(points(n, 2_097_152 * step), rng, sd=SD / 10)
        own = np.repeat(0.01 * rng.standard_normal(5), 40)
        rows = table.rows.assign(loss=table.rows["loss"] * np.exp(own), step=step.astype(int))
        rows["name"] = [f"model-{size:.3g}" for size in n]
        return of(rows[["params", "tokens", "loss", *kept]], table)

    return make


def outliers(share: float):
    """Some of 60 runs, one at least, with a gross error of a factor of 1.2 to 3 in the loss."""

    def make(rng) -> Simulated:
        table = ordinary(rng)
        count = max(1, round(share * len(table.rows)))
        factor = np.ones(len(table.rows))
        factor[rng.choice(len(factor), count, replace=False)] = rng.uniform(1.2, 3.0, count)
        return changed(table, loss=table.rows["loss"] * factor)

    return make


def in_units(column: str, change: Callable[[pd.Series], pd.Series], share: float = 1.0):
    """A column in other units, of all runs or of a share of them."""

    def make(rng) -> Simulated:
        table = ordinary(rng)
        values = table.rows[column]
        chosen = rng.random(len(values)) < share
        return changed(table, **{column: values.where(~chosen, change(values))})

    return make


def on_a_line(jitter: float):
    """24 runs with D = 20 N, but for a factor of a log-normal jitter."""

    def make(rng) -> Simulated:
        n = np.geomspace(1e8, 1e10, 24)
        return simulated(points(n, 20 * n * np.exp(jitter * rng.standard_normal(24))), rng)

    return make


def narrow(size: float, tokens: float):
    """60 runs over a factor in N and one in D, drawn evenly in logarithms."""

    def make(rng) -> Simulated:
        n = 1e9 * size ** rng.uniform(-0.5, 0.5, 60)
        return simulated(points(n, 2e10 * tokens ** rng.uniform(-0.5, 0.5, 60)), rng)

    return make


def over_trained(rng) -> Simulated:
    """60 runs of 100 to 3000 tokens a parameter: the best N of a budget lies outside."""
    n, ratio = np.meshgrid(np.geomspace(3e7, 3e9, 10), np.geomspace(100, 3000, 6))
    return simulated(points(n.ravel(), (n * ratio).ravel()), rng)


def noisy(sd: float):
    """60 runs with much noise."""
    return lambda rng: simulated(grid(*GRIDS["60"]), rng, sd=sd)


def shuffled(rng) -> Simulated:
    """Losses that depend on nothing: those of other runs."""
    table = ordinary(rng)
    return changed(table, loss=rng.permutation(table.rows["loss"]))


def few(rng) -> Simulated:
    """Nine runs."""
    return simulated(grid(3, 3), rng)


def far(rng) -> Simulated:
    """60 runs, asked about a budget that is 1000 times the largest."""
    return simulated(grid(*GRIDS["60"]), rng, ahead=1000.0)


def another_law(rng) -> Simulated:
    """Losses that stop to fall with N: beyond a size, models were under-tuned."""
    table = ordinary(rng)
    n = table.rows["params"]
    worse = np.maximum(np.log(n / np.median(n)), 0.0) * 0.02
    return changed(table, loss=table.rows["loss"] * np.exp(worse))


def rate(
    kind: str, noise: str, count: int, ends: tuple[float, float] = (1e7, 1e11), shift: float = 0.0
):
    """Error rates of a law along N; half of the runs of another evaluation, by a shift."""

    def make(rng) -> SimulatedRate:
        sizes, law = np.geomspace(*ends, count), KINDS[kind]
        truth = drawn(law, rng)
        other = (rng.random(count) < 0.5) & (shift != 0.0)
        error = np.clip(law.error(sizes, **truth) + shift * other, 0, 1)
        if noise == "normal":
            seen = np.clip(error + RATE_SD * rng.standard_normal(count), 0, 1)
        else:
            seen = rng.binomial(QUESTIONS, error) / QUESTIONS
        rows = pd.DataFrame({"N": sizes, "error": seen})
        if shift:
            rows["evaluation"] = np.where(other, "zero-shot", "five-shot")
        return SimulatedRate(rows, truth, float(law.error(FAR, **truth)))

    return make


def in_percent(rng) -> SimulatedRate:
    """Error rates in percent, of which the user says that they are between 0 and 1."""
    table = rate("late", "normal", 36)(rng)
    return SimulatedRate(table.rows.assign(error=100 * table.rows["error"]), table.truth, table.far)


def cases_of_rates() -> list[Case]:
    """Tables of error rates, which are fitted by typed formulas."""
    late, power = (f"{KINDS[name].formula}; {RANGE}" for name in ("late", "power"))
    twins = late.replace("top", "top * scale")
    made = [
        ("error rate, late, 36 runs, normal noise", CLEAN, rate("late", "normal", 36), late),
        ("error rate, late, 36 runs, 1000 questions", CLEAN, rate("late", "", 36), late),
        ("error rate, power, 60 runs, normal noise", CLEAN, rate("power", "normal", 60), power),
        ("error rate, power, 60 runs, 1000 questions", CLEAN, rate("power", "", 60), power),
        (
            "error rate, two evaluations, unused label",
            FAULTY,
            rate("late", "normal", 36, shift=0.1),
            late,
        ),
        ("error rate in percent", FAULTY, in_percent, late),
        (
            "error rate that has not begun to fall",
            FAULTY,
            rate("late", "", 36, (1e4, 1e6)),
            late,
        ),
        ("error rate, a product of two parameters", FAULTY, rate("late", "", 36), twins),
        ("error rate, 8 runs", HARD, rate("late", "", 8), late),
        ("error rate, power typed, late true", HARD, rate("late", "", 36), power),
    ]
    return [Case(name, family, make, {}, formula) for name, family, make, formula in made]


def cases() -> list[Case]:
    """All cases, the clean ones first."""
    tidy = [
        Case(f"{name} runs, {kind} noise", CLEAN, clean(name, kind))
        for name in GRIDS
        for kind in NOISES
    ]
    faulty = {
        "two optimisers, every cell twice": two_optimisers(False, True),
        "two optimisers, every cell twice, unused label": two_optimisers(True, True),
        "two optimisers, a cell one of them": two_optimisers(False, False),
        "two optimisers, a cell one of them, unused label": two_optimisers(True, False),
        "a learning-rate sweep": sweep_of_rates(False),
        "a learning-rate sweep, unused column": sweep_of_rates(True),
        "checkpoints as runs": checkpoints(),
        "checkpoints as runs, with steps": checkpoints("step"),
        "checkpoints as runs, with names": checkpoints("name"),
        "checkpoints as runs, with names and steps": checkpoints("name", "step"),
        "tokens in millions": in_units("tokens", lambda v: v / 1e6),
        "tokens in millions in a third of the rows": in_units("tokens", lambda v: v / 1e6, 1 / 3),
        "perplexity as loss": in_units("loss", np.exp),
        "bits in half of the rows": in_units("loss", lambda v: v / np.log(2), 0.5),
        "D = 20 N": on_a_line(0.0),
        "D = 20 N within 10 %": on_a_line(0.1),
        "a factor of 1.5 in N": narrow(1.5, 100.0),
        "a factor of 1.5 in D": narrow(100.0, 1.5),
        "noise of 50 % (R2 near 0)": noisy(0.5),
        "losses of other runs (no dependence)": shuffled,
    }
    hard = {
        "1 % gross outliers": outliers(0.01),
        "3 % gross outliers": outliers(0.03),
        "10 % gross outliers": outliers(0.1),
        "large models under-tuned": another_law,
        "noise of 3 %": noisy(0.03),
        "9 runs": few,
        "all runs over-trained": over_trained,
        "asked at 1000 times the largest budget": far,
    }
    rates = cases_of_rates()
    return [
        *tidy,
        *(case for case in rates if case.family == CLEAN),
        *(Case(name, FAULTY, make) for name, make in faulty.items()),
        *(case for case in rates if case.family == FAULTY),
        *(Case(name, HARD, make) for name, make in hard.items()),
        *(case for case in rates if case.family == HARD),
    ]


# --- one table ------------------------------------------------------------------------------------


def judged(case: Case, table: Simulated, draws: int, seed: int) -> dict:
    """The verdict on the fit of a table, the checks that spoke, and whether the fit is good."""
    columns = {"N": "params", "D": "tokens", "loss": "loss", **case.columns}
    try:
        if case.formula:
            runs = isoloss.read_runs(table.rows, {"N": "N"}, need=0)
            fit = isoloss.fit_law(runs, formula=case.formula, bootstrap=draws, seed=seed)
        else:
            runs = isoloss.read_runs(table.rows, columns)
            fit = isoloss.fit_law(runs, "chinchilla", bootstrap=draws, seed=seed)
    except IsolossError:
        return {"verdict": REFUSED, "good": False, "checks": ""}
    speaking = fit.tables["findings"]
    speaking = speaking.loc[speaking["grade"] != "note", "check"]
    serves, honest = (against_rate if case.formula else against_truth)(fit, table)
    return {
        "verdict": fit.summary.loc[0, "verdict"],
        "good": serves and honest,
        "serves": serves,
        "honest": honest,
        "checks": ", ".join(dict.fromkeys(speaking)),
    }


def against_truth(fit: isoloss.Fit, table: Simulated) -> tuple[bool, bool]:
    """Whether a fit serves, and whether its intervals hold the truth."""
    n, d = LAW.allocate(table.truth, table.flops)
    there = {"N": np.array([n]), "D": np.array([d])}
    truth = targets(table.truth, there, table.flops)
    estimate = targets(fit.theta(), there, table.flops)
    serves = abs(np.log(estimate[3] / truth[3])) <= np.log1p(LOSS_OFF)
    serves &= abs(estimate[4] - truth[4]) <= np.log(N_OFF)
    replicates = targets(fit.replicate_thetas()[:, None], _beside(there), table.flops)[:, 0]
    if not len(replicates):
        return bool(serves), False
    ends = [quantiles(replicates[:, k], LEVEL, estimate[k]) for k in HELD]
    honest = all(low <= truth[k] <= high for k, (low, high) in zip(HELD, ends, strict=True))
    return bool(serves), bool(honest)


def against_rate(fit: isoloss.Fit, table: SimulatedRate) -> tuple[bool, bool]:
    """The same of a typed law of an error rate; it has the parameters of the true one, or fails."""
    if set(fit.values) != set(table.truth):
        there = fit.predict(N=FAR)[fit.quantity].item()
        return abs(there - table.far) <= RATE_OFF, False
    level = 1 - 0.05 / (len(table.truth) + 1)
    there = fit.predict(N=FAR, level=level).iloc[0]
    held = [there["low"] <= table.far <= there["high"]]
    replicates = fit.law.values(fit.replicate_thetas())
    for name, truth in table.truth.items():
        low, high = quantiles(replicates[name], level, fit.values[name])
        held.append(low <= truth <= high)
    return abs(there[fit.quantity] - table.far) <= RATE_OFF, bool(np.all(held))


def _beside(there: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same points for many laws, (1, 1)."""
    return {name: values[None] for name, values in there.items()}


# --- all of them ----------------------------------------------------------------------------------


def survey(case: Case, count: int, draws: int, seed: int) -> dict:
    """One row of the result: how often each verdict was given to a case, and was right."""
    began, rows = time.perf_counter(), []
    for number in range(count):
        rng = generator(seed, "verdict", f"{case.name} {number}")
        rows.append(judged(case, case.make(rng), draws, seed))
    table = pd.DataFrame(rows)
    row = {"family": case.family, "case": case.name, "tables": count}
    row["good"] = int(table["good"].sum())
    for verdict in (*VERDICTS, REFUSED):
        given = table["verdict"] == verdict
        row[verdict] = int(given.sum())
        row[f"{verdict}, good"] = int((given & table["good"]).sum())
    spoken = table["checks"].str.split(", ").explode()
    often = spoken[spoken != ""].value_counts()
    row["checks"] = ", ".join(f"{name} {times}" for name, times in often.head(4).items())
    row["seconds"] = round(time.perf_counter() - began, 1)
    print(f"{case.name}: {row['seconds']:.0f} s", file=sys.stderr, flush=True)
    return row


def share(part: float, whole: float) -> str:
    """A share in percent; empty of nothing."""
    return f"{100 * part / whole:.0f}" if whole else ""


def cells(row: pd.Series) -> list[str]:
    """A row of the page."""
    count = row["tables"]
    right = {"sound": row["sound, good"], "with care": row["with care, good"]}
    right["do not use"] = row["do not use"] - row["do not use, good"]
    return [
        row["case"],
        share(row["good"], count),
        *(f"{share(row[v], count)} ({share(right[v], row[v]) or '–'})" for v in VERDICTS),
        share(row[REFUSED], count),
        row["checks"],
    ]


COLUMNS = (
    "case",
    "good",
    "`sound` (right)",
    "`with care` (good)",
    "`do not use` (right)",
    "refused",
    "checks that spoke most (of the tables)",
)


def total(table: pd.DataFrame, family: str) -> pd.Series:
    """The cases of a family together."""
    members = table[table["family"] == family]
    numbers = members.select_dtypes("number").sum()
    return pd.concat([numbers, pd.Series({"case": f"**all {family}**", "checks": ""})])


def page(table: pd.DataFrame, draws: int) -> str:
    """docs/verdict.md."""
    head = HEAD.format(
        clean=int(table["tables"].iloc[0]),
        studies=int(table["tables"].iloc[-1]),
        draws=draws,
        loss=100 * LOSS_OFF,
        rate=RATE_OFF,
        n=N_OFF,
        level=100 * LEVEL,
    )
    parts = [head.strip(), "All numbers are percent."]
    for family in (CLEAN, FAULTY, HARD):
        members = table[table["family"] == family]
        rows = [cells(row) for _, row in members.iterrows()]
        rows.append(cells(total(table, family)))
        parts += [f"## {family.capitalize()}", markdown(COLUMNS, rows)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run the cases, print and write the table, and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=50, help="a case")
    parser.add_argument("--replicates", type=int, default=200, help="a fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="few tables; writes nothing")
    parser.add_argument("--page", action="store_true", help="only write the page of the last run")
    chosen = parser.parse_args()
    if chosen.page:
        PAGE.write_text(page(frame(RESULT), int(facts(RESULT)["replicates"])), "utf-8")
        return
    count = 2 if chosen.quick else chosen.tables
    picked = [case for case in cases() if chosen.case in case.name]
    rows = []
    for case in picked:
        some = count * CLEAN_TIMES if case.family == CLEAN and not chosen.quick else count
        rows.append(survey(case, some, chosen.replicates, chosen.seed))
    table = pd.DataFrame(rows)
    for family, members in table.groupby("family", sort=False):
        print(f"\n{family}, {members['tables'].iloc[0]} tables a case, percent")
        lines = pd.DataFrame([cells(row) for _, row in members.iterrows()], columns=COLUMNS)
        print(lines.to_string(index=False))
    if not chosen.quick and not chosen.case:
        settings = {"replicates": chosen.replicates, "seed": chosen.seed}
        kept = table.drop(columns="seconds")
        write_free(pa.Table.from_pandas(kept, preserve_index=False), RESULT, settings)
        PAGE.write_text(page(table, chosen.replicates), "utf-8")


if __name__ == "__main__":
    main()
