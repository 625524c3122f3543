"""Checkpoints of a run are recognised; runs of their own are left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.aggregate.table import Rules, read_table

COLUMNS = {"N": "params", "D": "tokens", "loss": "loss"}


def points(steps=(1000, 2000, 3000, 4000, 5000), sizes=(7e7, 1.6e8, 4.1e8, 1e9)):
    """Checkpoints of runs, a million tokens a step."""
    step = np.tile(steps, len(sizes))
    n = np.repeat(sizes, len(steps))
    d = step * 1e6
    loss = 1.8 + 480 / n**0.34 + 2100 / d**0.37
    return pd.DataFrame({"params": n, "step": step, "tokens": d, "loss": loss})


def named(table, column="model"):
    return table.assign(**{column: [f"py-{n / 1e6:.0f}m" for n in table["params"]]})


@pytest.mark.parametrize("column", ["name", "model", "Run", "whatever"])
def test_checkpoints_are_recognised_by_any_label_and_said(column):
    reading = read_table(named(points(), column), Rules(COLUMNS))
    assert reading.runs["of_run"].nunique() == 4
    (note,) = reading.notes
    assert note.startswith(f"20 rows are checkpoints of 4 runs (alike in {column}, along step)")
    assert "--columns of_run=" in note


@pytest.mark.parametrize(
    "step", ["step", "global_step", "train/iter", "Iteration", "ckpt", "update"]
)
def test_checkpoints_are_recognised_without_a_label(step):
    reading = read_table(points().rename(columns={"step": step}), Rules(COLUMNS))
    assert reading.runs["of_run"].nunique() == 4


def test_the_order_of_rows_does_not_matter():
    shuffled = points().sample(frac=1, random_state=0).reset_index(drop=True)
    runs = read_table(shuffled, Rules(COLUMNS)).runs
    assert (runs.groupby("of_run")["n_params"].nunique() == 1).all()
    assert runs["of_run"].nunique() == 4


def test_mixtures_that_are_seen_several_times_are_checkpoints():
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 6).repeat(4, axis=0)
    table = pd.DataFrame(shares, columns=["p_web", "p_code", "p_wiki"])
    table["step"] = np.tile([1000, 2000, 5000, 10000], 6)
    table["loss_web"] = 3 - shares[:, 0]
    runs = read_table(table, Rules({})).runs
    assert runs["of_run"].nunique() == 6


OWN_RUNS = {
    "a name each": (named(points()).assign(id=[f"r{i}" for i in range(20)]), {"run_id": "id"}),
    "a number of steps": (points().rename(columns={"step": "n_steps"}), {}),
    "the last step": (points().rename(columns={"step": "_step"}), {}),
    "no step": (named(points()).drop(columns="step"), {}),
    "other paces": (
        points().assign(tokens=lambda t: t["tokens"] * np.tile([1, 2, 1, 3, 1], 4)),
        {},
    ),
    "said so": (points(), {"of_run": ""}),
}


@pytest.mark.parametrize("name", OWN_RUNS)
def test_runs_of_their_own_are_no_checkpoints(name):
    table, more = OWN_RUNS[name]
    reading = read_table(table, Rules({**COLUMNS, **more}))
    assert "of_run" not in reading.runs
    assert not any("checkpoints" in note for note in reading.notes)


def test_seeds_of_one_size_are_runs_of_their_own():
    both = pd.concat([points().assign(seed=seed) for seed in (0, 1)], ignore_index=True)
    assert read_table(both, Rules(COLUMNS)).runs["of_run"].nunique() == 8
