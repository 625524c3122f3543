"""Manifests: what a job made, from which inputs, and with which code and versions.

A job that writes one file, or files of one name, has its manifest beside them under that name. The
digests of settings, code, inputs and outputs stand here and not in the files themselves, so that a
file that comes out the same is the same file, and what hangs below it need not be made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.core.problems import Problem, TableError
from isoloss.records import environment

NAME = "manifest.json"


def file_digest(path: str | Path) -> str:
    """BLAKE2b of a file's bytes, 16 bytes, hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest_of(content: bytes) -> str:
    """`file_digest` of bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


# what the fields of a manifest are, where they are there
_FIELDS = {
    "job": str,
    "code": str,
    "specification": dict,
    "inputs": dict,
    "files": dict,
    "versions": dict,
    "trained_with": list,
}
# further fields, of a job, of a run in the store, and of the provenance of a study
_OTHERS = {"machine", "commit", "run", "study", "seeds", "environments", "accepted"}


def read(path: str | Path) -> dict[str, Any] | None:
    """Read a manifest; None if there is none, or if it is JSON of another kind.

    Raises:
        TableError: it cannot be read, or a field of it is not what it should be.
    """
    try:
        made = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(Problem(str(path), f"is damaged ({error})", "make it again")) from error
    if not isinstance(made, dict) or "files" not in made:
        return None
    if (wrong := _damaged_field(made)) is not None:
        raise TableError(Problem(str(path), f"is damaged ({wrong})", "make it again"))
    return made


def _damaged_field(made: Mapping[str, Any]) -> str | None:
    """The fault of a manifest's fields; None if they are sound."""
    for key in made:
        if key not in _FIELDS and key not in _OTHERS:
            return f"it has {key!a:.80}"
    for key, kind in _FIELDS.items():
        if key in made and not isinstance(made[key], kind):
            return f"{key} is not a {kind.__name__}"
    for key in ("files", "inputs"):
        for name, digest in made.get(key, {}).items():
            elsewhere = key == "files" and Path(name).name != name
            if elsewhere or "\0" in name or not isinstance(digest, str):
                return f"{key} has {name!a:.80}"
    if not all(isinstance(versions, dict) for versions in made.get("trained_with", [])):
        return "trained_with is not a list of mappings"
    return None


def digest_if_there(path: str | Path) -> str | None:
    """Digest of a file; None if there is none."""
    return file_digest(path) if Path(path).is_file() else None


def labels_of(file: Path) -> list[Path]:
    """What a job that writes files of one name may call itself, by the path of one of them.

    Example:
        >>> [label.as_posix() for label in labels_of(Path("sizes/0.llc.parquet"))]
        ['sizes/0.llc', 'sizes/0']
    """
    return [file.with_suffix(""), file.with_suffix("").with_suffix("")]


def place_of(file: str | Path) -> Path | None:
    """The path of the manifest that lists a file; None if there is none.

    Raises:
        TableError: a manifest that could be it cannot be read.
    """
    return _listed(Path(file))[0]


def _listed(file: Path) -> tuple[Path | None, str | None]:
    """The path of the manifest that lists a file, and its digest there."""
    beside = [label.with_name(f"{label.name}.json") for label in labels_of(file)]
    for place in (file.with_name(NAME), *beside):
        files = (read(place) or {"files": {}})["files"]
        if file.name in files:
            return place, files[file.name]
    return None, None


def check(file: str | Path, content: bytes | None = None) -> str:
    """Check that a file is what its job wrote, and return its digest; without manifest any file is.

    Args:
        file: its path.
        content: its bytes, where they have been read.

    Raises:
        TableError: there is no such file, or it is another one.
    """
    file = Path(file)
    if content is None and not file.is_file():
        raise TableError(Problem(str(file), "no such file", "run the stage that makes it"))
    digest = file_digest(file) if content is None else digest_of(content)
    left = _listed(file)[1] or digest
    if left != digest:
        raise TableError(other(file, digest, left))
    return digest


def other(file: Path, digest: str, left: str) -> Problem:
    """A file is another one than its job wrote.

    Args:
        file: its path.
        digest: of it as it is.
        left: of what the job wrote.
    """
    reason = f"differs from what its job wrote (digest {digest}, expected {left})"
    return Problem(str(file), reason, "make it again: `python -m isoloss verify STUDY` says how")


class Draft:
    """A manifest in the making: the files that a job has read so far, and those that it makes.

    Args:
        about: its stage, names, specification and code digest.
        path: where its manifest goes.
    """

    def __init__(self, about: Mapping[str, Any], path: Path):
        self.about, self.path = dict(about), path
        self.inputs: dict[str, str] = {}

    def takes(self, *files: str | Path) -> None:
        """Note files that the job reads; each must be what its own job wrote."""
        for file in files:
            self.inputs[self.name_of(file)] = check(file)

    def name_of(self, file: str | Path) -> str:
        """What an input is called in the manifest: its path from the manifest's folder."""
        return Path(os.path.relpath(file, self.path.parent)).as_posix()

    def makes(self, files: Iterable[str | Path], **more: Any) -> None:
        """Write the manifest: the job has made these files, and they are whole."""
        text = json.dumps(
            {
                **self.about,
                "inputs": dict(sorted(self.inputs.items())),
                "files": {Path(file).name: file_digest(file) for file in files},
                "versions": environment.versions(),
                "machine": environment.machine(),
                "commit": environment.commit(),
                **more,
            },
            indent=1,
            ensure_ascii=False,
        )
        tables.write_text(self.path, text + "\n")
