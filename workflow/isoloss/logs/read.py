"""Read logs of training runs: of one run, or of all runs in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from isoloss.core import tables
from isoloss.core.addresses import Address
from isoloss.core.arguments import checked
from isoloss.core.escape import listed, visible
from isoloss.core.paths import real
from isoloss.core.problems import Problem, TableError
from isoloss.core.sources import Limits, Source, open_source, read_logs
from isoloss.formats.table import Parsed
from isoloss.logs.file import log_of
from isoloss.logs.folder import gathered
from isoloss.logs.log import Log
from isoloss.logs.tables import curves_table, runs_table, statements

_SHOWN = 10  # files that cannot be read, in the notes of a study's table


@dataclass(frozen=True)
class Runs:
    """The runs in a folder of logs.

    Attributes:
        runs: a row a run: `run_id`, from the path; `status`; the last value of every metric; every
            setting.
        curves: a row a step of a run: `run_id`, `step`, `n_samples`, metrics, and the settings that
            are numbers.
        unread: the files that could not be read, and texts among numbers, with the reasons.
        notes: what was decided, a sentence each.
    """

    runs: pd.DataFrame
    curves: pd.DataFrame
    unread: tuple[Problem, ...]
    notes: tuple[str, ...]


@checked()
def read_log(path: str | Path, limits: Limits | None = None) -> Log:
    r"""The log of one run.

    Args:
        path: a file of JSON (an object a line, or a list of objects), CSV, Parquet or Arrow with a
            row a step, `trainer_state.json` of a Hugging Face Trainer, or an event file of
            TensorBoard; or a folder with the log of one run, and its configuration beside it.
        limits: of the file's size.

    Returns:
        Points along the run, last values, and settings as far as the file has them.

    Raises:
        TableError: it cannot be read: file, line, what was found.

    Example:
        >>> import isoloss, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "metrics.jsonl")
        >>> lines = ['{"step": 1, "tokens": 64, "loss": 3.5}']
        >>> lines += ['{"step": 2, "tokens": 128, "loss": 3}']
        >>> _ = path.write_text("\n".join(lines))
        >>> log = isoloss.read_log(path)
        >>> log.curve
           step  n_samples  loss
        0     1         64   3.5
        1     2        128   3.0
        >>> log.final
        {'step': 2, 'tokens': 128, 'loss': 3}
    """
    if not os.path.isdir(path):
        return log_of(open_source(path, limits))
    source = read_logs(Address.given(str(path)), limits or Limits())
    logs, unread = gathered(source)
    if not logs:
        raise TableError(*unread, _no_run(source))
    if len(logs) > 1:
        reason = f"has {len(logs)} runs ({listed(list(logs))})"
        raise source.error(reason, "give the log of one run")
    (log,) = logs.values()
    return replace(log, notes=(*log.notes, *(f"not read: {problem}" for problem in unread)))


@checked()
def import_runs(
    logs: str | Path, out: str | Path | None = None, limits: Limits | None = None
) -> Runs:
    r"""The runs in a folder of logs, also written into Parquet files if `out` is given.

    Args:
        logs: the folder, or a file; nothing in it is changed.
        out: the file of the runs, `NAME.parquet`; the points along them go into
            `NAME.curves.parquet` beside it.
        limits: of all logs together.

    Raises:
        TableError: no run can be read, with the reason of every file; or `out` is in the folder.

    Example:
        >>> import isoloss, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for width, loss in ((8, 3.5), (16, 3.25)):
        ...     run = folder / f"width-{width}"
        ...     run.mkdir()
        ...     _ = (run / "config.yaml").write_text(f"width: {width}")
        ...     _ = (run / "metrics.csv").write_text(f"step,val_loss\n0,5.5\n10,{loss}")
        >>> imported = isoloss.import_runs(folder)
        >>> imported.runs
             run_id   status  step  val_loss  width
        0  width-16  unknown    10      3.25     16
        1   width-8  unknown    10      3.50      8
        >>> imported.curves["val_loss"].tolist()
        [5.5, 3.25, 5.5, 3.5]
    """
    source = read_logs(Address.given(str(logs)), limits or Limits())
    if out is None:
        return read_runs_of(source)
    out = Path(out)
    if out.suffix != ".parquet":
        raise TableError(Problem("--out", f"found {visible(out)!r}", "name a file NAME.parquet"))
    if real(out).is_relative_to(real(source.address.path)):
        reason = f"{visible(out)!r} is in the folder of the logs, and would be read as one of them"
        raise TableError(Problem("--out", reason, "name a file elsewhere"))
    imported = read_runs_of(source)
    with tables.whole(out.with_suffix(".curves.parquet")) as curves, tables.whole(out) as runs:
        _write(imported.curves, curves)
        _write(imported.runs, runs)
    return imported


def _write(table: pd.DataFrame, path: Path) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
    pq.write_table(arrow, path, compression="zstd")


def read_runs_of(source: Source) -> Runs:
    """The runs in a folder of logs that `sources.read_logs` read.

    Raises:
        TableError: no run can be read; all files with the reasons.
    """
    logs, unread = gathered(source)
    if not logs:
        raise TableError(*unread, _no_run(source))
    runs, clashes, texts = runs_table(logs)
    notes = (*statements(logs), *clashes, *_ignored(source))
    return Runs(runs, curves_table(logs, runs), (*unread, *texts), notes)


def _no_run(source: Source) -> Problem:
    remedy = "give a folder with JSON, CSV, Parquet or TensorBoard files of metrics"
    return Problem(source.label, "has no run that can be read", remedy)


def table_of_runs(source: Source) -> Parsed:
    """The runs in a folder of logs as a table, and what was decided.

    Raises:
        TableError: no run can be read.
    """
    read = read_runs_of(source)
    unread = [f"not read: {str(one).removeprefix(source.label).lstrip('/')}" for one in read.unread]
    if len(unread) > _SHOWN:
        more = f"{len(unread) - _SHOWN} more files not read: `python -m isoloss import` lists them"
        unread[_SHOWN:] = [more]
    return Parsed(read.runs, (f"logs of {len(read.runs)} runs", *read.notes, *unread))


def _ignored(source: Source) -> list[str]:
    """What is said of files that are not logs."""
    counts = sorted(source.others.items(), key=lambda one: (-one[1], one[0]))
    if not counts:
        return []
    kinds = listed([f"{count} {ending}" for ending, count in counts])
    return [f"files that are not logs by name and first bytes: {kinds}"]
