"""What does the workflow itself cost, at 100, 1 000 and 10 000 runs that cost nothing?

The trainer of these runs is a card that this script adds to a copy of the checkout, as anybody adds
one: a file in `workflow/isoloss/trainers/`. It computes the loss by a formula of the model's width
and the run's examples, so that all the time that a study takes is overhead. Beside it stands the
plain way: a Snakefile with one job a run, whose shell writes one line and starts no Python,

- under Snakemake's default scheduler, and
- under the greedy one with `scheduler-subsample: 100`, which this project's profile sets.

Steps, in this order: a dry run from nothing, the first run, a run with nothing to do, a dry run
with nothing to do, `status`, `verify`, and one more run: a cell is added to the study, and by the
journal exactly one run was started, and by the tables one shard was made again. Where the default
scheduler would take an hour its first run is cut off, and its seconds are scaled up, as `note`
says.

`seconds` and `cpu_seconds` (processor time) are of a whole command and of all processes that it
starts; `peak_mib` is the most memory of any one of them, `main_mib` that of the command's own
process. Files and MiB (on the disk) are those below `results` and `.snakemake` after the step.

Run `python benchmarks/workflow.py`, with `--quick` for a look that is over within 50 seconds. Each
part is written when it is measured: `--only` and `--runs` repeat a part, and leave the others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa

from isoloss.core.tables import write_free

HERE = Path(__file__).parent
ROOT = HERE.parent
WRITTEN = HERE / "results/workflow.parquet"
SHARDS = {100: 4, 1_000: 8, 10_000: 32}  # runs to shards, as a user would choose them
WIDTHS = (8, 16, 24, 32)
LIMIT = 120.0  # seconds of the default scheduler's first run
WHOLE = 1_000  # runs up to which the default scheduler ends its first run
CORES = os.cpu_count() or 1
OURS = "isoloss"
CONTENDERS = {
    "one job a run, default scheduler": (),
    "one job a run, greedy": ("--scheduler", "greedy", "--scheduler-subsample", "100"),
}
PARTS = (OURS, "one job a run")
FROM_NOTHING, FIRST, NO_OP, DRY, MORE = (
    "dry run from nothing",
    "first run",
    "no-op",
    "dry run of a no-op",
    "one more run",
)

TRAINER = '''"""A trainer that costs nothing: the loss is a formula of width and examples."""

from isoloss.trainers._trainer import Trained

TITLE = "Free"
ABOUT = "Trains nothing: the loss is 1.7 + d_model^-0.6 + n_samples^-0.3, and 1e-6 times the seed."
SOURCE = "benchmarks/workflow.py"
OPTIONS = {}


def plan(n_examples, per_item, settings):
    """Whole items, one a step."""
    items = max(1, round(n_examples / per_item))
    return {"n_samples": items * per_item, "n_steps": items, "batch_items": 1}


def warm_up():
    """Nothing to import."""


def device(settings):
    """The processor."""
    return "cpu"


def train(settings, seed, model, task, ticks, checkpoint):
    """The loss, without a step."""
    width, n_samples = settings["d_model"], settings["n_samples"]
    loss = 1.7 + width**-0.6 + n_samples**-0.3 + 1e-6 * settings["seed"]
    return Trained({"loss_nats": loss, "n_unique": 1000, "curve": [], "losses": []}, None)
'''

PLAIN = """rule all:
    input:
        expand("results/{run}.txt", run=range(int(config["runs"]))),


rule one:
    output:
        "results/{run}.txt",
    shell:
        "echo {wildcards.run} 1.7 > {output}"
"""


# The work


def study(runs: int, shards: int, extra: int = 0) -> str:
    """A study of that many runs of the free trainer, a multiple of four, as YAML.

    Args:
        runs: of four widths, each with a quarter of the seeds.
        shards: into which they are divided.
        extra: cells of one run that are added, with seeds of their own.
    """
    seeds = runs // len(WIDTHS)
    more = [f"\n      - {{d_model: 8, seed: {runs + number}}}" for number in range(extra)]
    return f"""study: free
load: {{text: {{card: markov_chain, options: {{documents: 20}}}}}}
train:
  sweep:
    dataset: text
    model: transformer
    trainer: free
    shards: {shards}
    valid_tokens: 256
    settings: {{context: 16, n_samples: 1024}}
    cells:
      - d_model: {list(WIDTHS)}
        seed: {{from: 0, to: {seeds - 1}, points: {seeds}, spacing: linear}}{"".join(more)}
"""


def copy_of_checkout(folder: Path) -> Path:
    """The project in a folder of its own, with the trainer; nothing is left to compile."""
    home = folder / "project"
    home.mkdir(parents=True)
    leave = shutil.ignore_patterns("__pycache__", "results", ".*")
    for name in ("Snakefile", "config.yaml"):
        shutil.copyfile(ROOT / name, home / name)
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, home / name, ignore=leave)
    (home / "workflow/isoloss/trainers/free.py").write_text(TRAINER, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "workflow"], cwd=home, check=True)
    return home


def journal(home: Path) -> list[dict[str, Any]]:
    """The lines of the store's journal."""
    text = (home / "results/free/store/journal.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def check_first(lines: Iterable[Mapping[str, Any]], runs: int) -> str:
    """That every run was started once and is done; else an AssertionError that says what came."""
    lines = list(lines)
    starts = Counter(line["run_digest"] for line in lines if line["event"] == "start")
    ends = Counter(line.get("status") for line in lines if line["event"] == "end")
    assert len(starts) == runs, f"{len(starts)} runs were started, not {runs}"
    assert set(starts.values()) == {1}, "runs were started more than once"
    assert ends == {"done": runs}, f"ends by the journal: {dict(ends)}"
    return f"yes: {runs} runs were started once each and are done"


def check_more(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    shards: Mapping[str, tuple[int, int]],
) -> str:
    """That one run was started, and one shard made again; else an AssertionError.

    Args:
        before: lines of the journal before the cell was added.
        after: all lines since then.
        shards: a shard's name to the times of its table before and after.
    """
    known = {line["run_digest"] for line in before}
    added = after[len(before) :]
    starts = [line["run_digest"] for line in added if line["event"] == "start"]
    assert len(starts) == 1, f"{len(starts)} runs were started, not one"
    assert starts[0] not in known, "a run that was finished was started again"
    again = sorted(name for name, (old, new) in shards.items() if old != new)
    assert len(again) == 1, f"{len(again)} shards were made again, not one"
    return "yes: by the journal one run was started, and one shard was made again"


def check_verify(home: Path) -> str:
    """That nothing but the summary, which the target `runs` does not ask for, is missing."""
    lines = (home / "output.txt").read_text(encoding="utf-8").splitlines()
    wrong = [line for line in lines if line.endswith("make it again")]
    assert all(line.startswith("summary") for line in wrong), wrong
    return "yes: all is right but for the summary, which was not asked for"


def shard_times(home: Path) -> dict[str, int]:
    """The time of every shard's table, ns, by its name."""
    return {
        path.name: path.stat().st_mtime_ns
        for path in (home / "results/free/train/sweep").glob("*.parquet")
    }


# Measuring


def peak(process: int) -> float:
    """The most memory that a process has had since its program began, MiB; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    values = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(values[0]) / 1024 if values else 0.0


def family(process: int) -> list[int]:
    """The processes below a process."""
    try:
        return [child.pid for child in psutil.Process(process).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def begin(words: Sequence[str], folder: Path) -> subprocess.Popen:
    """Start a command in a folder and a session of its own; its output is `output.txt` there."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "workflow")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a job would compile what it imports anew
    with (folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def command(
    words: Sequence[str],
    folder: Path,
    stop: Callable[[float], bool] | None = None,
    codes: Sequence[int] = (0,),
) -> dict[str, Any]:
    """Run a command to its end, or until `stop` says so of its seconds; what it cost.

    A command that ends with an exit code that is not among `codes` ends the benchmark.
    """
    load, began, stopped = os.getloadavg()[0], time.perf_counter(), False
    process = begin(words, folder)
    main = most = 0.0
    looked = began  # when the processes below were looked at, which costs more than a wait
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds = time.perf_counter() - began
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            main = max(main, peak(process.pid))
            if time.perf_counter() - looked > 0.5:
                looked = time.perf_counter()
                most = max(most, *map(peak, family(process.pid)), 0.0)
            if stop and not stopped and stop(seconds):
                os.killpg(process.pid, signal.SIGKILL)
                stopped = True
            time.sleep(0.1)
    finally:
        if process.returncode is None:  # this script was interrupted
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode not in codes and not stopped:
        text = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{text[-3000:]}")
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": max(main, most),
        "main_mib": main,
        "load_average": load,
    }


def usage_of(folder: Path) -> dict[str, float]:
    """Files and MiB on the disk below `results` and `.snakemake` of a folder."""
    usage: dict[str, float] = {}
    for name, column in (("results", "results"), (".snakemake", "records")):
        sizes = [
            (Path(at) / file).lstat().st_blocks * 512
            for at, _, files in os.walk(folder / name)
            for file in files
        ]
        usage |= {f"{column}_files": len(sizes), f"{column}_mib": sum(sizes) / 2**20}
    return usage


class Rows:
    """The rows of a part: what each step cost, in the order in which they were made."""

    def __init__(self, runs: int, shards: int | None) -> None:
        self.runs, self.shards, self.rows = runs, shards, []

    def add(
        self,
        contender: str,
        step: str,
        measured: Mapping[str, Any],
        folder: Path,
        same: str = "",
        note: str = "",
    ) -> None:
        """Keep and print a step's row."""
        row = {"work": f"{self.runs} runs, {step}", "contender": contender, "runs": self.runs}
        row |= {"shards": self.shards, "step": step, **measured, **usage_of(folder)}
        self.rows.append(row | {"same_result": same or "not compared", "note": note})
        about = f"{row['seconds']:.1f} s, processor {row['cpu_seconds']:.1f} s"
        about += f", {row['main_mib']:.0f} and {row['peak_mib']:.0f} MiB"
        about += f", {row['results_files']} files, load average {row['load_average']:.1f}"
        print(f"{row['work']}, {contender}: {about} {note}", flush=True)


def isoloss(runs: int, shards: int, folder: Path) -> list[dict[str, Any]]:
    """The rows of this project."""
    home, rows = copy_of_checkout(folder), Rows(runs, shards)
    given = home / "study.yaml"
    given.write_text(study(runs, shards), encoding="utf-8")
    # the configfile comes before an option that is not a list of files, the target after it
    snakemake = [sys.executable, "-m", "snakemake", "--configfile", str(given), "--cores"]
    snakemake += [str(CORES), "runs"]
    rows.add(OURS, FROM_NOTHING, command([*snakemake, "--dry-run"], home), home)
    rows.add(OURS, FIRST, first := command(snakemake, home), home, check_first(journal(home), runs))
    rows.add(OURS, NO_OP, command(snakemake, home), home)
    rows.add(OURS, DRY, command([*snakemake, "--dry-run"], home), home)
    state = [sys.executable, "-m", "isoloss"]
    rows.add(OURS, "status", command([*state, "status", str(given)], home), home)
    measured = command([*state, "verify", str(given)], home, codes=(0, 1))
    rows.add(OURS, "verify", measured, home, check_verify(home))
    before, times = journal(home), shard_times(home)
    given.write_text(study(runs, shards, extra=1), encoding="utf-8")
    measured, after = command(snakemake, home), shard_times(home)
    shard_pairs = {name: (times[name], after[name]) for name in times}
    same = check_more(before, journal(home), shard_pairs)
    rows.add(OURS, MORE, measured, home, same)
    print(f"  overhead of the first run: {1000 * first['seconds'] / runs:.1f} ms a run", flush=True)
    return rows.rows


def one_job_a_run(runs: int, limit: float, folder: Path) -> list[dict[str, Any]]:
    """The rows of both contenders; the default scheduler's later steps begin with all outputs."""
    rows, whole = Rows(runs, None), folder / "whole"
    for contender, options in reversed(CONTENDERS.items()):
        home = folder / contender.replace(" ", "-")
        home.mkdir(parents=True)
        (home / "Snakefile").write_text(PLAIN, encoding="utf-8")
        snakemake = [sys.executable, "-m", "snakemake", "--cores", str(CORES), *options]
        here = [*snakemake, "--config", f"runs={runs}"]
        dry = command([*here, "--dry-run"], home)
        rows.add(contender, FROM_NOTHING, dry, home)
        if options or runs <= WHOLE:
            measured, note = command(here, home), ""
            same = outputs(home, runs)
        else:
            measured, note = cut_off(here, home, runs, limit, dry["cpu_seconds"])
            same = ""
            shutil.rmtree(home)
            shutil.copytree(whole, home)
        rows.add(contender, FIRST, measured, home, same, note)
        rows.add(contender, NO_OP, command(here, home), home)
        rows.add(contender, DRY, command([*here, "--dry-run"], home), home)
        if options:  # what the other contender goes on with, where it would take an hour
            shutil.copytree(home, whole)
        more = [*snakemake, "--config", f"runs={runs + 1}"]
        rows.add(contender, MORE, command(more, home), home, outputs(home, runs + 1))
    return rows.rows


def outputs(home: Path, runs: int) -> str:
    """How many of the runs have an output."""
    made = sum(1 for _ in (home / "results").glob("*.txt"))
    assert made == runs, f"{made} outputs, not {runs}"
    return f"yes: {made} runs have an output"


def cut_off(
    words: Sequence[str], home: Path, runs: int, limit: float, graph: float
) -> tuple[dict[str, Any], str]:
    """A first run that is cut off some seconds after its first output, scaled to all runs.

    What it took before is not scaled: of processor time that is `graph`, what a dry run takes.
    """
    began: list[float] = []

    def made() -> int:
        return len(os.listdir(home / "results")) if (home / "results").is_dir() else 0

    def stop(seconds: float) -> bool:
        if not began and made():
            began.append(seconds)
        return bool(began) and seconds - began[0] > limit

    measured, ended = command(words, home, stop), made()
    for name, before in (("seconds", began[0]), ("cpu_seconds", graph)):
        measured[name] = before + (measured[name] - before) * runs / ended
    note = f"cut off {limit:.0f} s after its first job, {ended} jobs were done: scaled up"
    return measured, note


# The table


def merged(rows: Sequence[Mapping[str, Any]], before: pd.DataFrame | None) -> pd.DataFrame:
    """The table with these rows in place of those of the same work and contender, with ratios."""
    table = pd.DataFrame(rows)
    if before is not None:
        table = pd.concat([before, table], ignore_index=True)
    table = table.drop_duplicates(["work", "contender"], keep="last", ignore_index=True)
    ours = table[table["contender"] == OURS].set_index("work")
    for ratio, column in (("ratio", "seconds"), ("cpu_ratio", "cpu_seconds")):
        table[ratio] = table[column] / table["work"].map(ours[column])
    return table.sort_values(["runs", "contender"], kind="stable", ignore_index=True)


def slopes(table: pd.DataFrame, low: int = 1_000, high: int = 10_000) -> pd.DataFrame:
    """What each figure grows by, and its value at more runs, by a line through two sizes.

    Seconds, processor seconds and memory of each step, and the files and MiB after the first run:
    their values at `low` and `high` runs, `per 1000 runs` the slope between them, and what the line
    gives for 100 000 and 1 000 000 runs.
    """
    ours = table[table["contender"] == OURS]
    at = {runs: ours[ours["runs"] == runs].set_index("step") for runs in (low, high)}
    steps = [step for step in at[high].index if step in at[low].index]
    columns = {"seconds": "s", "cpu_seconds": "s of processor", "main_mib": "MiB of memory"}
    figures = [(f"{step}, {columns[column]}", step, column) for column in columns for step in steps]
    disk = ("results_files", "results_mib", "records_files", "records_mib")
    figures += [(column, FIRST, column) for column in disk if FIRST in steps]
    lines = pd.DataFrame({"figure": [name for name, _, _ in figures]})
    for runs in (low, high):
        lines[f"at {runs}"] = [float(at[runs].loc[step, column]) for _, step, column in figures]
    slope = (lines[f"at {high}"] - lines[f"at {low}"]) / (high - low)
    lines["per 1000 runs"] = 1000 * slope
    for runs in (100_000, 1_000_000):
        lines[f"at {runs}"] = lines[f"at {high}"] + slope * (runs - high)
    return lines


def show(table: pd.DataFrame) -> None:
    """Print the table, and the slopes where both sizes are in it."""
    columns = ["work", "contender", "seconds", "cpu_seconds", "main_mib", "peak_mib"]
    columns += ["results_files", "results_mib", "records_files", "records_mib", "ratio"]
    print(table[columns].to_string(index=False, float_format="{:.3g}".format))
    if {1_000, 10_000} <= set(table.loc[table["contender"] == OURS, "runs"]):
        print(slopes(table).to_string(index=False, float_format="{:.3g}".format))


def main() -> None:
    """Measure, print, and write the table, part by part."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="100 runs; writes nothing")
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    parser.add_argument("--runs", type=int, help=f"only so many, for {', '.join(map(str, SHARDS))}")
    parser.add_argument("--shards", type=int, help="of every study, for 4, 8, 32 by its runs")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds before a cut-off")
    parser.add_argument("--no-write", action="store_true", help="print the table alone")
    parser.add_argument(
        "--show", action="store_true", help="print the written table; measure nothing"
    )
    given = parser.parse_args()
    if given.show:
        show(pd.read_parquet(WRITTEN))
        return
    if given.runs is not None and (given.runs < len(WIDTHS) or given.runs % len(WIDTHS)):
        parser.error(f"--runs {given.runs}: give a multiple of {len(WIDTHS)}, above 0")
    write = not given.quick and not given.no_write
    table = pd.read_parquet(WRITTEN) if write and WRITTEN.is_file() else None
    for runs in [given.runs] if given.runs else [100] if given.quick else SHARDS:
        shards = given.shards or SHARDS.get(runs, max(4, runs // 300))
        for part in [given.only] if given.only else PARTS:
            folder = Path(tempfile.mkdtemp())
            try:
                if part == OURS:
                    rows = isoloss(runs, shards, folder)
                else:
                    rows = one_job_a_run(runs, given.limit, folder)
            finally:
                shutil.rmtree(folder)
            table = merged(rows, table)
            if write:
                write_free(pa.Table.from_pandas(table, preserve_index=False), WRITTEN, {})
    assert table is not None
    show(table)


if __name__ == "__main__":
    main()
