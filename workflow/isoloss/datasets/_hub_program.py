"""The program that asks a Hugging Face hub, through the package `datasets`.

A process of its own, because the package reads its settings (the host, folders, offline) when it is
imported, and keeps files where they say: the caller gives it an environment in which all of that
is below the folder of what was fetched. Run as `python -m isoloss.datasets._hub_program`, the
request on standard input as JSON. `keep` answers in JSON on standard output, `stream` with rows as
an Arrow stream; what is wrong is JSON on the last line of standard error.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss.core.saved import saved_files

TOLD = 3  # exit code: the problem is on standard error
AWAY, UNKNOWN, OTHER = "away", "unknown", "other"  # kinds of problems
FACTS = "dataset.json"  # beside what is kept of a commit: how it is kept, and its splits
_SECONDS = 10.0  # to wait for an answer about a dataset
_BATCH = 1000  # rows of a batch of a stream
_LONGEST = 500  # characters of a message of the package that are shown


class RefusedError(Exception):
    """Why a hub does not give a dataset.

    Args:
        kind: AWAY, UNKNOWN or OTHER.
        reason: what is wrong.
    """

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind, self.reason = kind, reason


def keep(
    name: str, config: str, revision: str, streaming: bool | str, most_bytes: int, folder: str
):
    """Fetch a dataset at the commit that a revision is now, unless it is kept already.

    Args:
        name: of the dataset.
        config: of it; empty for the only one.
        revision: commit, branch or tag; empty for the main branch.
        streaming: True: nothing is fetched but the names of the splits; False; or `auto`: True
            where its files have more than `most_bytes`.
        most_bytes: see there.
        folder: in which a folder is made for every commit.

    Returns:
        `commit`; the facts of the dataset are in the file FACTS of the folder of that name.
    """
    commit, size = _commit(name, revision)
    place = Path(folder, commit)
    if not (place / FACTS).is_file():
        stream = size > most_bytes if streaming == "auto" else streaming
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetching-") as temporary:
            whole = Path(temporary, commit)
            whole.mkdir()
            splits = (_names if stream else _fetched)(name, config, commit, whole)
            facts = {"commit": commit, "streaming": stream, "splits": splits}
            (whole / FACTS).write_text(json.dumps(facts), encoding="utf-8")
            shutil.rmtree(place, ignore_errors=True)
            os.replace(whole, place)
    return {"commit": commit}


def _commit(name: str, revision: str) -> tuple[str, int]:
    """The commit of a revision, and the bytes of all files of the dataset."""
    from huggingface_hub import HfApi

    about = HfApi().dataset_info(
        name, revision=revision or None, timeout=_SECONDS, files_metadata=True
    )
    return about.sha, sum(file.size or 0 for file in about.siblings or ())


def _names(name: str, config: str, commit: str, place: Path) -> dict[str, list[str]]:
    """The splits of a dataset, without files."""
    import datasets

    splits = datasets.get_dataset_split_names(name, config or None, revision=commit)
    return {str(split): [] for split in splits}


def _fetched(name: str, config: str, commit: str, place: Path) -> dict[str, list[str]]:
    """Split to its Arrow files, which are put into a folder."""
    import datasets

    cache, rows = place.parent / "cache", place / "rows"
    loaded = datasets.load_dataset(name, config or None, revision=commit, cache_dir=str(cache))
    loaded.save_to_disk(str(rows))  # images that are files of their own come into the rows
    return {
        split: [file.relative_to(place).as_posix() for file in files]
        for split, files in saved_files(rows).items()
    }


def stream(name: str, config: str, commit: str, split: str) -> None:
    """Write the rows of a split as an Arrow stream, while they are fetched."""
    _commit(name, commit)  # a hub that cannot be reached is told at once, without retries
    import datasets
    import pyarrow as pa

    rows = datasets.load_dataset(
        name, config or None, revision=commit, split=split, streaming=True
    ).with_format("arrow")
    writer = None
    for table in rows.iter(_BATCH):
        if writer is None:
            schema = table.schema
            if rows.features is not None:  # the names of classes are in its metadata
                schema = rows.features.arrow_schema
            writer = pa.ipc.new_stream(sys.stdout.buffer, schema)
        writer.write_table(table.cast(schema))
    if writer is None:
        raise RefusedError(OTHER, f"its split {split!r} has no rows")
    writer.close()
    sys.stdout.buffer.flush()


def _refused(error: Exception) -> RefusedError:
    """Why a call of the package failed."""
    from huggingface_hub import errors

    text = str(error).strip()
    first = text.splitlines()[0][:_LONGEST] if text else type(error).__name__
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if isinstance(error, errors.RevisionNotFoundError):
        return RefusedError(UNKNOWN, "has no such revision")
    if isinstance(error, errors.GatedRepoError):
        return RefusedError(OTHER, "is open only to those whom its owners let in")
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
        return RefusedError(UNKNOWN, "is not there, or is private")
    away = (errors.OfflineModeIsEnabled, ConnectionError, TimeoutError)
    named = {one.__name__ for one in type(error).__mro__}
    if isinstance(error, away) or "TransportError" in named or status >= 500:
        return RefusedError(AWAY, first)
    return RefusedError(OTHER, first)


def main() -> int:
    """Do what the request on standard input asks for."""
    request: Mapping[str, Any] = json.load(sys.stdin)
    arguments = {key: value for key, value in request.items() if key != "do"}
    try:
        if request["do"] == "stream":
            stream(**arguments)
        else:
            print(json.dumps(keep(**arguments)))
    except RefusedError as error:
        return _told(error)
    except Exception as error:  # whatever the package raises is told to the user
        return _told(_refused(error))
    return 0


def _told(error: RefusedError) -> int:
    """Write why it failed; the exit code."""
    print(f"\n{json.dumps({'kind': error.kind, 'reason': error.reason})}", file=sys.stderr)
    return TOLD


if __name__ == "__main__":
    sys.exit(main())
