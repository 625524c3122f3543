"""A canary: the cheapest run of a sweep, trained before all others to see that they can be trained.

A facade. It is trained into the store, so that the job of its shard finds it there.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.core.problems import IsolossError, Problem
from isoloss.study.flow import STAGES, Flow
from isoloss.study.work import RunningJob, read_study
from isoloss.train.plan import runs_digest

Run = Mapping[str, Any]


def sweeps(config: Mapping[str, Any]) -> list[str]:
    """The sweeps of a study that have a canary: all but rounds, whose runs are chosen later."""
    return [name for name, entry in config["train"].items() if "round" not in entry]


def cheapest(flow: Flow, sweep: str) -> tuple[str, Run]:
    """The shard and the run of a sweep that takes the fewest FLOP.

    Where the plan does not know them, as of some programs of a user, it is the run with the fewest
    examples, else the first by its id.

    Raises:
        IsolossError: the sweep is a round.
    """
    if sweep not in sweeps(flow.config):
        reason = "has no canary: it is a round, or not in the study"
        raise IsolossError(Problem(f"train.{sweep}", reason, f"one of {sweeps(flow.config)}"))
    runs = [(shard, run) for shard, several in flow.planned(sweep).items() for run in several]
    return min(runs, key=lambda pair: (*_cost(pair[1]), pair[1]["run_id"]))


def _cost(run: Run) -> tuple[float, ...]:
    costs = (run.get(key) for key in ("n_flops_model", "n_flops_6nd", "n_samples"))
    return tuple(math.inf if cost is None or math.isnan(cost) else cost for cost in costs)


def train(given: Mapping[str, Any]) -> Run:
    """Train the canary of a sweep, or find it in the store.

    Args:
        given: the arguments of the command: `study`, `sweep`, `rows`, `tokens`, `index`, `store`,
            `out` and `expects`, as those of the stage train.

    Returns:
        Its row in the `shard` table.

    Raises:
        IsolossError: it did not end well, with its reason and its log.
    """
    root, sweep = Path(given["store"]).parent, given["sweep"]
    flow = Flow(read_study(given["study"]), root)
    shard, run = cheapest(flow, sweep)
    names = {"sweep": sweep, "shard": shard}
    with RunningJob(given["study"], given["out"], "train", names, root, given["expects"]) as job:
        row = _row(job, run, given)
    if row["status"] != "done":
        reason = f"{row['run_id']}: {row['status']}: {row['status_reason']}"
        log = job.flow.store.failures(row["run_digest"])
        remedy = f"see {log}" if log.is_file() else "change its settings"
        again = (
            "then the same command again (`python -m isoloss retry STUDY` first, if it was tried "
            "`max_attempts` times)"
        )
        raise IsolossError(Problem(f"train.{sweep}", reason, f"{remedy}; {again}"))
    return row


def _row(job: RunningJob, run: Run, given: Mapping[str, Any]) -> Run:
    """Train one run of a shard as the job of the shard does; its row."""
    train_stage, one = STAGES["train"], _OneRun(job, run)
    with tempfile.TemporaryDirectory() as folder:
        one.out = Path(folder, "canary.parquet")
        train_stage.run(one, {"plan": [], **given})
        return tables.frame(one.out, "shard").iloc[0].to_dict()


class _OneRun:
    """A job of the stage train with one run of its shard.

    Args:
        job: that of the shard.
        run: of the plan.
    """

    def __init__(self, job: RunningJob, run: Run):
        self.names, self.takes, self.facts = job.names, job.takes, job.facts
        self.flow = _PlanOfOne(job.flow, job.names["shard"], run)
        digest = {"runs": runs_digest([run])} if "runs" in job.specification else {}
        self.specification = job.specification | digest
        self.out = Path()

    def makes(self, write, more=None) -> None:
        """Write the table of the run; it is no result of the study, and has no manifest."""
        write(self.out)


class _PlanOfOne(Flow):
    """A study in which a shard has one run, and of which no other shard is looked at.

    Args:
        flow: the study with its results.
        shard: that of the run.
        run: of the plan.
    """

    def __init__(self, flow: Flow, shard: str, run: Run):
        super().__init__(flow.config, flow.root, flow.sources, flow.plans)
        self._one = {shard: [dict(run)]}

    def planned(self, sweep: str) -> dict[str, list[dict[str, Any]]]:
        """That run, by shard."""
        return self._one

    def runs(self, sweep: str, shard: str) -> list[dict[str, Any]]:
        """That run."""
        return self._one[shard]
