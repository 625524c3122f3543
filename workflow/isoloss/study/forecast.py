"""How long the runs of a study will take, predicted before they start; no result depends on it.

A facade.
"""

from __future__ import annotations

import heapq
import json
import math
import socket
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from statistics import median
from typing import Any

from isoloss.core import rounds, tables
from isoloss.core.canonical import canonical
from isoloss.core.escape import columns
from isoloss.core.problems import IsolossError, Problem
from isoloss.load.stage import CACHE as FOLDER
from isoloss.records import environment
from isoloss.records.store import FINAL
from isoloss.study.flow import Flow
from isoloss.study.status import duration
from isoloss.train import speed
from isoloss.train.settings import cards_of

CACHE = Path(FOLDER, "speeds.json")  # among all results; can be deleted at any time
MOST_FLOPS = 2e11  # of a step that is measured: seconds on a slow processor
QUICK = 60.0  # seconds; where all runs of a study need less on a slow machine, nothing is measured
# of a planned run, what does not change how long a step takes
_NOT_OF_A_STEP = {
    *("run_id", "shard", "weighting", "seed", "n_samples", "n_steps", "n_available", "budget"),
    *("n_flops", "n_flops_6nd", "n_flops_model"),
}
Run = Mapping[str, Any]


@dataclass(frozen=True)
class SweepForecast:
    """What a sweep will take.

    Attributes:
        name: of the sweep.
        runs: all planned.
        left: those of them that the store does not hold.
        seconds: of each that is left, on one device, by run id; None if nothing is known.
        source: what the seconds were predicted from.
        at_most: of rounds whose runs are not known yet, what is left of their budget: FLOP (6 N D),
            and device-seconds at the pace of the largest run known; None if the runs are known.
    """

    name: str
    runs: Sequence[Run]
    left: Sequence[Run]
    seconds: Mapping[str, float | None]
    source: str
    at_most: tuple[float, float] | None = None

    @property
    def total(self) -> float | None:
        """Device-seconds of all that is left; None if those of a run are not known."""
        if self.at_most is not None:
            return self.at_most[1] if math.isfinite(self.at_most[1]) else None
        return None if None in self.seconds.values() else math.fsum(self.seconds.values())

    def shards(self) -> list[float]:
        """Seconds of every job that trains runs that are left; unknown ones count 0."""
        by_shard: dict[str, float] = defaultdict(float)
        for run in self.left:
            by_shard[run["shard"]] += self.seconds[run["run_id"]] or 0.0
        return list(by_shard.values())


@dataclass(frozen=True)
class _Basis:
    """What the seconds of a run are predicted from.

    Attributes:
        source: in words.
        of_step: seconds of a step by its FLOP, if they are known.
        of_run: seconds of a run whose FLOP the plan does not know, if they are known.
    """

    source: str
    of_step: Callable[[float], float] | None = None
    of_run: float | None = None

    def seconds(self, run: Run, valid_tokens: int) -> float | None:
        """Seconds of a run on one device; None if they are not known."""
        flops = _flops_of_step(run)
        if flops is None or self.of_step is None:
            return self.of_run
        return _steps(run, valid_tokens) * self.of_step(flops)


_SLOW = _Basis("what a slow machine needs at most", lambda flops: 0.005 + flops / 1e9)


def forecast(
    flow: Flow, always: bool = False, cache: Path | None = None, measure: bool = True
) -> list[SweepForecast]:
    """What every sweep of a study will take.

    The seconds come from the study's finished runs of the same model and trainer, on this machine
    if there are any, else on others; without any, from steps that are measured here once.

    Args:
        flow: the study with its results.
        always: whether steps are measured also for a study that is quick on any machine.
        cache: file in which measurements are kept; by default one beside the study's results.
        measure: False if only what was measured before counts.
    """
    cache = cache or flow.root.parent / CACHE
    names = list(flow.config["train"])
    valid = {name: flow.config["train"][name]["valid_tokens"] for name in names}
    plans = {name: _planned(flow, name) for name in names}
    ended = _ended(flow.journal)
    left = {name: _left(flow, name, plans[name], ended) for name in names}
    slow = [_SLOW.seconds(run, valid[name]) or math.inf for name in names for run in left[name]]
    measures = always or math.fsum(slow) > QUICK or cap_of(flow) is not None
    forecasts = []
    for name in names:
        alike = [n for n in names if _trained_by(flow, n) == _trained_by(flow, name)]
        basis = _from_runs([(run, valid[n]) for n in alike for run in plans[n]], ended)
        if basis is None:
            of = name if flow.is_planned(name) else rounds.so_far(flow.config, name)[0]
            basis = _from_steps(flow, of, left[of], cache, measure) if measures else _SLOW
        if flow.is_planned(name):
            seconds = {run["run_id"]: basis.seconds(run, valid[name]) for run in left[name]}
            one = SweepForecast(name, plans[name], left[name], seconds, basis.source)
        else:
            one = _of_round(flow, name, plans, basis)
        forecasts.append(one)
    return forecasts


def _of_round(
    flow: Flow, name: str, plans: Mapping[str, Sequence[Run]], basis: _Basis
) -> SweepForecast:
    """What a round will take at most whose runs are not chosen yet, by the budget of the rounds.

    Rounds share a budget: what is left of it counts for the first of them.
    """
    entry = flow.config["train"][name]
    about, known = entry["round"], rounds.so_far(flow.config, name)
    source = f"nothing: its runs are chosen when {about['before']} is fitted"
    if not flow.is_planned(about["before"]):
        return SweepForecast(name, [], [], {}, source, (0.0, 0.0))
    if about.get("budget") is None:
        return SweepForecast(name, [], [], {}, source, (math.inf, math.inf))
    runs = [run for sweep in known for run in plans[sweep]]
    flops = [run.get("n_flops_6nd", 0.0) for run in runs]
    left, largest = max(0.0, about["budget"] - math.fsum(flops)), max(flops)
    seconds = basis.seconds(runs[flops.index(largest)], entry["valid_tokens"])
    pace = math.inf if seconds is None or not largest else seconds / largest
    source = f"the budget of the rounds: runs are chosen when {about['before']} is fitted"
    return SweepForecast(name, [], [], {}, source, (left, left * pace))


def cap_of(flow: Flow) -> float | None:
    """The device-hours that a start may need at most; None without a limit."""
    return flow.config.get("max_device_hours")


def _trained_by(flow: Flow, name: str) -> tuple[Any, Any]:
    """What trains the runs of a sweep: its cards, and the command of a user's program."""
    sweep = flow.config["train"][name]
    return cards_of(sweep), sweep.get("command")


def _planned(flow: Flow, name: str) -> list[Run]:
    """The planned runs of a sweep, each with the name of its shard."""
    by_shard = flow.planned(name).items()
    return [{**run, "shard": shard} for shard, runs in by_shard for run in runs]


def _ended(journal: Iterable[Run]) -> dict[str, Run]:
    """Of every run that ended for good, by its id, the line of the journal that says so."""
    last: dict[str, Run] = {}
    digests: dict[str, str] = {}
    for line in journal:
        digests[line["run_id"]] = line["run_digest"]
        if line["event"] in ("end", "retry"):
            last[line["run_digest"]] = line
    lines = {run_id: last[digest] for run_id, digest in digests.items() if digest in last}
    return {run_id: line for run_id, line in lines.items() if line.get("status") in FINAL}


def _left(flow: Flow, name: str, runs: Sequence[Run], ended: Mapping[str, Run]) -> list[Run]:
    """The runs that have not ended for good with code that counts, or are in the store no more."""
    codes = flow.run_codes(name)
    in_store = {
        run_id
        for run_id, line in ended.items()
        if line.get("code") in codes and flow.store.path(line["run_digest"]).is_file()
    }
    return [run for run in runs if run["run_id"] not in in_store]


def _flops_of_step(run: Run) -> float | None:
    """FLOP of a step of a run; None if the plan does not know it, as of a user's program."""
    flops, steps = run.get("n_flops_model"), run.get("n_steps")
    return flops / steps if flops and steps else None


def _steps(run: Run, valid_tokens: int) -> float:
    """The steps of a run, and for how many more its validation counts: a third of their FLOP."""
    return run["n_steps"] * (1 + valid_tokens / (3 * run["n_samples"]))


def _from_runs(known: Iterable[tuple[Run, int]], ended: Mapping[str, Run]) -> _Basis | None:
    """The seconds of finished runs, on this machine if there are any; None if there are none.

    Args:
        known: planned runs, each with the validation examples of its sweep.
        ended: lines of the journal, by run id.
    """
    by_host = defaultdict(list)
    for run, valid_tokens in known:
        line = ended.get(run["run_id"], {})
        took, host = line.get("seconds"), line.get("host")
        if line.get("status") == "done" and _positive(took) and isinstance(host, str):
            by_host[host].append((run, valid_tokens, took))
    if not by_host:
        return None
    here = socket.gethostname()
    host = here if here in by_host else max(by_host, key=lambda name: len(by_host[name]))
    times = defaultdict(list)
    for run, valid_tokens, took in by_host[host]:
        if (flops := _flops_of_step(run)) is not None:
            times[flops].append(took / _steps(run, valid_tokens))
    points = sorted((flops, median(several)) for flops, several in times.items())
    count = len(by_host[host])
    where = "here" if host == here else f"on {host}"
    source = f"{count} finished {'run' if count == 1 else 'runs'} {where}"
    of_run = median(took for _, _, took in by_host[host])
    return _Basis(source, partial(step_seconds, points) if points else None, of_run)


def of_shards(flow: Flow, measure: bool) -> dict[tuple[str, str], float]:
    """Seconds that the runs will take which each shard still has to train.

    Args:
        flow: the study with its results.
        measure: False if only what was measured before counts.

    Returns:
        Sweep and shard to seconds; infinite where nothing is known of a run. Shards without runs
        that are left are not in it, nor are those of rounds whose runs are not chosen.
    """
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for one in forecast(flow, measure=measure):
        for run in one.left:
            known = one.seconds[run["run_id"]]
            seconds[one.name, run["shard"]] += math.inf if known is None else known
    return dict(seconds)


def _from_steps(flow: Flow, name: str, runs: Sequence[Run], cache: Path, measure: bool) -> _Basis:
    """The seconds of measured steps: the smallest, the largest and one between, by their FLOP."""
    by_flops = {flops: run for run in runs if (flops := _flops_of_step(run)) is not None}
    measurable = [flops for flops in sorted(by_flops) if flops <= MOST_FLOPS]
    if not measurable:
        return _Basis("nothing yet: the first finished runs will tell")
    last = len(measurable) - 1
    keys = {measurable[i]: _key(flow, name, by_flops[measurable[i]]) for i in (0, last // 2, last)}
    kept = _read(cache)
    lacking = [flops for flops, key in keys.items() if key not in kept]
    lacking = lacking if measure else []
    times = speed.measured([by_flops[flops] for flops in lacking]) if lacking else []
    new = zip(lacking, times, strict=True)
    kept |= {keys[flops]: time.seconds for flops, time in new if time.seconds is not None}
    if times:
        with suppress(OSError):  # full or read-only disk: measured again next time
            tables.write_text(cache, json.dumps(kept))
    points = [(flops, kept[key]) for flops, key in keys.items() if key in kept]
    if not points:
        reason = f"a step cannot be measured here ({times[0].reason})" if times else "none measured"
        return _Basis(f"nothing: {reason}")
    count = "a step" if len(points) == 1 else f"steps of {len(points)} runs"
    return _Basis(f"{count} measured here", partial(step_seconds, points))


def step_seconds(points: Sequence[tuple[float, float]], flops: float) -> float:
    """Seconds of a step of so many FLOP, from those of others.

    Between two of them a power law; above the largest its FLOP a second; below the smallest its
    seconds, since there the time goes into what every step needs, however small.

    Args:
        points: FLOP and seconds of steps, in rising order of FLOP; one at least.
        flops: of the step.

    Example:
        >>> points = [(1e6, 0.001), (1e8, 0.01)]
        >>> [round(step_seconds(points, flops), 5) for flops in (1e5, 1e7, 1e9)]
        [0.001, 0.00316, 0.1]
    """
    above = bisect_left(points, (flops, 0.0))
    if above == 0:
        return points[0][1]
    low, seconds = points[above - 1]
    if above == len(points):
        return seconds * flops / low
    high, more = points[above]
    return seconds * (more / seconds) ** (math.log(flops / low) / math.log(high / low))


def _key(flow: Flow, name: str, run: Run) -> str:
    """Digest of all that decides how long a step of a run takes."""
    step = {key: value for key, value in run.items() if key not in _NOT_OF_A_STEP}
    about = [socket.gethostname(), environment.machine(), environment.versions()]
    text = canonical([step, flow.run_code_here(name), *about])
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _read(cache: Path) -> dict[str, float]:
    """The measurements kept; none if there are none, or if they are damaged."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    kept = kept if isinstance(kept, dict) else {}
    return {key: seconds for key, seconds in kept.items() if _positive(seconds)}


def _positive(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and 0 < seconds < math.inf


def in_parallel(seconds: Iterable[float], jobs: int) -> float:
    """When the last of some jobs ends, so many at once, each begun when another ends.

    Example:
        >>> in_parallel([3.0, 3.0, 4.0], 2)
        7.0
    """
    ends = [0.0] * max(1, jobs)
    for took in seconds:
        heapq.heapreplace(ends, ends[0] + took)
    return max(ends)


def table(forecasts: Sequence[SweepForecast], jobs: int) -> str:
    """Every sweep with its runs, N, D and FLOP, and the time that it will take.

    Args:
        forecasts: of the sweeps.
        jobs: that run at once.
    """
    head = [
        "sweep",
        "runs",
        "left",
        "N",
        "D",
        "FLOP left",
        "device time",
        f"{jobs} at once",
        "predicted from",
    ]
    return columns(head, [_line(one, jobs) for one in forecasts])


def _line(one: SweepForecast, jobs: int) -> list[str]:
    if one.at_most is not None:
        return _line_of_round(one)
    flops = [run.get("n_flops_model") for run in one.left]
    flops_left = "unknown" if None in flops else f"{math.fsum(flops):.3g}"
    times = ["unknown"] * 2
    if one.total is not None:
        times = [duration(one.total), duration(in_parallel(one.shards(), jobs))]
    source = one.source if one.left else "nothing: all runs are in the store"
    counts = [str(len(one.runs)), str(len(one.left))]
    spans = [_span(run.get(key) for run in one.runs) for key in ("n_params", "n_samples")]
    return [one.name, *counts, *spans, flops_left, *times, source]


def _line_of_round(one: SweepForecast) -> list[str]:
    """The line of a round whose runs are not chosen yet."""
    flops, seconds = one.at_most
    most = f"at most {flops:.3g}" if math.isfinite(flops) else "unknown"
    time = f"about {duration(seconds)} at most" if math.isfinite(seconds) else "unknown"
    if not flops:
        most, time = ("in that above",) * 2
    return [one.name, "?", "?", "", "", most, time, "", one.source]


def _span(values: Iterable[float | None]) -> str:
    """The least and the greatest of some numbers."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def check_cap(forecasts: Sequence[SweepForecast], cap: float | None) -> None:
    """Refuse to start what needs more device-hours than the study allows.

    Args:
        forecasts: of all sweeps.
        cap: device-hours; None for any number.

    Raises:
        IsolossError: with the predicted hours, by sweep.
    """
    if cap is None:
        return
    hours = {one.name: (one.total or 0.0) / 3600 for one in forecasts}
    if (total := math.fsum(hours.values())) > cap:
        most = max(hours, key=lambda name: hours[name])
        parts = ", ".join(f"train.{name} {h:.3g}" for name, h in hours.items() if h > 0)
        reason = f"the runs that are left need {total:.3g} device-hours ({parts})"
        remedy = f"at most {cap:g} are allowed: raise it, or cut train.{most}"
        raise IsolossError(Problem("max_device_hours", reason, remedy))
