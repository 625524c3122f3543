"""Check a study at a start of the workflow, with a cache of studies found sound.

A facade. Checking a study imports pandas and SciPy and takes longer than all else that a start
does. A study that was found sound is sound as long as it, the code, the schemas, the versions of
packages and the content of all that it reads are what they were.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss.core import tables, weightings
from isoloss.core.canonical import canonical
from isoloss.core.problems import IsolossError
from isoloss.core.sources import Sources
from isoloss.load.stage import CACHE as FOLDER
from isoloss.load.stage import FETCHED, content_of
from isoloss.records import environment, provenance
from isoloss.study.folder_weights import folder_weights
from isoloss.train.plans import Plans
from isoloss.train.programs import files_digest

CACHE = Path("results") / FOLDER  # of a start; can be deleted at any time


def checked(
    config: Mapping[str, Any],
    files: Sequence[str | Path],
    sources: Sources,
    plans: Plans,
    cache: Path = CACHE,
) -> dict[str, Any]:
    """A complete study without problems.

    Args:
        config: the study as it was read.
        files: that it was read from.
        sources: by which tables of runs are read.
        plans: by which sweeps are spelled out.
        cache: folder in which it is kept that the study is sound, and what the code says.

    Raises:
        StudyError: with every problem of the study.
    """
    code, readings = provenance.recall(cache / provenance.KEPT)
    key = _key(config, files, code)
    name = blake2b(repr(config.get("study")).encode("utf-8", "surrogatepass"), digest_size=8)
    kept = cache / f"checked-{name.hexdigest()}.json"
    sound = _read(kept)
    if sound.get("key") == key and sound["contents"] == _contents(sound["config"], sources, cache):
        readings.save()
        return sound["config"]
    from isoloss.core import schema
    from isoloss.study import check

    for file in files:
        schema.read(file)  # finds keys that appear twice, which Snakemake does not
    label = ", ".join(map(str, files)) or "--config"
    complete = check.check(config, label, sources=sources, plans=plans, fetched=cache / FETCHED)
    readings.save()  # only now: a study with problems leaves no cache
    contents = _contents(complete, sources, cache)
    if contents is not None:
        with suppress(OSError):  # full or read-only disk: checked again next time
            sound = {"key": key, "contents": contents, "config": complete}
            tables.write_text(kept, json.dumps({**sound, "checksum": _checksum(sound)}))
    return complete


def blocks_folder(folder: str | Path) -> Path | None:
    """The uppermost part of a path because of which it is not a folder and cannot become one.

    Returns:
        A file, a device, a link to nothing, or a name that is too long; None if nothing is wrong.

    Example:
        >>> blocks_folder("/dev/null/results"), blocks_folder("/not there/results")
        (PosixPath('/dev/null'), None)
    """
    for part in [*reversed(Path(folder).parents), Path(folder)]:
        try:
            if not part.is_dir() and os.path.lexists(part):
                return part
        except OSError:
            return part
    return None


def _key(config: Mapping[str, Any], files: Sequence[str | Path], code: str) -> str:
    """Digest of all that decides whether a study is sound, without the content of its tables."""
    digest = blake2b(digest_size=16)
    # the order of keys counts, and their types: 1 is no name, and "1" is one
    about = (_plain(config), code, environment.versions(), sys.version)
    digest.update(repr(about).encode("utf-8", "surrogatepass"))
    for file in [*files, *sorted(tables.schemas().iterdir())]:
        digest.update(b"\0" + Path(file).read_bytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [(key, _plain(below)) for key, below in value.items()]
    return list(map(_plain, value)) if isinstance(value, list) else value


def _contents(config: Mapping[str, Any], sources: Sources, cache: Path) -> dict[str, str] | None:
    """Digests of what a study reads, by its place in it; None if something cannot be read."""
    try:
        read = {
            f"load.{name}": content_of(
                entry["card"],
                canonical(entry["options"]),
                entry["tokenizer"],
                cache,
                cache / FETCHED,
            )
            for name, entry in config["load"].items()
        }
        for name, entry in config["expand"].items():
            if weightings.beside(entry):
                for dataset in config["load"].values():
                    folders = folder_weights(dataset, entry["files"], cache / FETCHED)
                    read[f"expand.{name}"] = read.get(f"expand.{name}", "") + canonical(folders)
        for name, table in config["aggregate"].items():
            read[f"aggregate.{name}"] = sources.digest(name, table)
        for name, sweep in config["train"].items():
            if "command" in sweep:
                read[f"train.{name}"] = files_digest(sweep["command"])
    except (IsolossError, OSError):
        return None
    return read


def _read(kept: Path) -> dict[str, Any]:
    """The cached result of a check; empty if there is none, or if it is damaged."""
    try:
        sound = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(sound, dict) or sound.pop("checksum", None) != _checksum(sound):
        return {}
    return sound


def _checksum(sound: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(sound).encode(), digest_size=16).hexdigest()
