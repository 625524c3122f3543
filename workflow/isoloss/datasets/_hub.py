"""Datasets of a Hugging Face hub: fetched once at a commit, and read from what was kept.

What is kept of a dataset is in a folder of its own, with a folder for every commit; nothing is
written elsewhere. The package `datasets` runs in a process of its own (`_hub_program`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from isoloss.core import extras, tables
from isoloss.core.addresses import shown
from isoloss.core.escape import say, visible
from isoloss.core.problems import IsolossError, Problem
from isoloss.datasets import _hub_program
from isoloss.datasets._splits import Part, parts_of, reading, sides_of

if TYPE_CHECKING:
    import pyarrow as pa

MOST_BYTES = 1 << 32  # of the files of a dataset that is fetched whole where a study leaves it open
_NAME = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HOST = "https://huggingface.co"


@dataclass(frozen=True)
class HubDataset:
    """A dataset of a hub as a study names it.

    Attributes:
        name: such as `owner/name`.
        config: of it; empty for the only one.
        revision: commit, branch or tag; empty for the main branch.
        streaming: True, False or `auto`: whether its rows are read while they are fetched.

    Raises:
        IsolossError: a name or revision cannot be one of a hub.
    """

    name: str
    config: str = ""
    revision: str = ""
    streaming: bool | str = "auto"

    def __post_init__(self):
        wrong = []
        if not _NAME.fullmatch(self.name) or ".." in self.name or "--" in self.name:
            remedy = "give a name such as owner/name"
            reason = (
                f"{self.name!r} is not a name of a dataset" if self.name else "names no dataset"
            )
            wrong.append(Problem("hub_dataset, name", reason, remedy))
        for key, text in {"config": self.config, "revision": self.revision}.items():
            if not re.fullmatch(r"[\w./ +-]*", text) or ".." in text or text.startswith("/"):
                reason, remedy = f"{text!r} is not one of a hub", f"give the name of a {key}"
                wrong.append(Problem(f"hub_dataset, {key}", reason, remedy))
        if wrong:
            raise IsolossError(*wrong)

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"dataset {self.name}"

    def folder(self, fetched: Path) -> Path:
        """The folder of all that is kept of it."""
        about = json.dumps([host(), self.name, self.config, self.streaming])
        key = blake2b(about.encode(), digest_size=8).hexdigest()
        return fetched / "hub" / f"{self.name.replace('/', '--')}-{key}"

    def _last(self, fetched: Path) -> Path:
        """The file that says which commit the revision was when the hub was asked last."""
        key = blake2b(self.revision.encode(), digest_size=8).hexdigest()
        return self.folder(fetched) / f"revision-{key}.json"

    def _last_commit(self, fetched: Path) -> str:
        """The commit that is kept of the revision; empty if there is none."""
        if _COMMIT.fullmatch(self.revision):
            return self.revision
        with suppress(OSError, ValueError, KeyError, TypeError):
            commit = json.loads(self._last(fetched).read_text(encoding="utf-8"))["commit"]
            return commit if _COMMIT.fullmatch(commit) else ""
        return ""

    def kept(self, fetched: Path) -> KeptDataset:
        """What is kept of it; it is fetched where nothing is kept.

        Args:
            fetched: folder of what was fetched.

        Raises:
            IsolossError: the hub does not give it, with what to do.
        """
        folder = self.folder(fetched) / (self._last_commit(fetched) or "none")
        try:
            facts = json.loads((folder / _hub_program.FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return self.fetch(fetched)
        splits = {
            split: [folder / file for file in files] for split, files in facts["splits"].items()
        }
        return KeptDataset(self, facts["commit"], facts["streaming"], splits)

    def fetch(self, fetched: Path) -> KeptDataset:
        """Ask the hub which commit the revision is, and fetch that unless it is kept.

        Raises:
            IsolossError: the hub does not give it, with what to do.
        """
        pinned = bool(_COMMIT.fullmatch(self.revision))
        if pinned and (self.folder(fetched) / self.revision / _hub_program.FACTS).is_file():
            return self.kept(fetched)
        request = {"name": self.name, "config": self.config, "revision": self.revision}
        request |= {"streaming": self.streaming, "most_bytes": MOST_BYTES}
        folder = str(self.folder(fetched).resolve())
        with _asked({"do": "keep", **request, "folder": folder}, fetched) as (process, errors):
            answer = process.stdout.read()
            if process.wait():
                raise self.refused(errors, fetched)
        commit = json.loads(answer.splitlines()[-1])["commit"]
        if not pinned and commit != self._last_commit(fetched):
            tables.write_text(self._last(fetched), json.dumps({"commit": commit}) + "\n")
            revision = self.revision or "its main branch"
            say(f"{self.label}: {visible(revision)} is now commit {commit}", sys.stderr)
        return self.kept(fetched)

    def refused(self, errors: IO[bytes], fetched: Path) -> IsolossError:
        """Why the program failed, and what to do, by the last line of what it wrote."""
        errors.seek(0)
        lines = errors.read().decode(errors="replace").splitlines()
        facts = {"kind": _hub_program.OTHER, "reason": "the process that asks it ended early"}
        with suppress(ValueError, IndexError):
            facts = json.loads(lines[-1])
        reason, place = visible(facts["reason"]), f"{self.label}, at {shown(host())}"
        if facts["kind"] == _hub_program.UNKNOWN:
            remedy = "check the name, config and revision; for a private one set HF_TOKEN"
            return IsolossError(Problem(place, reason, remedy))
        if facts["kind"] == _hub_program.AWAY:
            remedy = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and run again"
            last = self._last_commit(fetched)
            if (self.folder(fetched) / (last or "none") / _hub_program.FACTS).is_file():
                remedy += f"; `revision: {last}` goes on with the commit that is kept"
            return IsolossError(Problem(place, f"cannot be reached ({reason})", remedy))
        return IsolossError(Problem(place, f"cannot be loaded ({reason})", "check what it names"))


@dataclass(frozen=True)
class KeptDataset:
    """A dataset of a hub at a commit.

    Attributes:
        dataset: as a study names it.
        commit: 40 hexadecimal digits.
        streaming: whether its rows are read while they are fetched, and no files are kept.
        splits: split to its Arrow files.
    """

    dataset: HubDataset
    commit: str
    streaming: bool
    splits: Mapping[str, Sequence[Path]]

    def sides(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Split to its side, see `sides_of`."""
        return sides_of(list(self.splits), chosen, self.dataset.label)

    def sources(self, chosen: Mapping[str, str], fetched: Path) -> list[tuple[str, Path]]:
        """The files by which it is known: its Arrow files, or the one that names its commit."""
        sides = self.sides(chosen)
        if self.streaming:
            folder = self.dataset.folder(fetched) / self.commit
            return [(f"{self.dataset.name} {' '.join(sides)}", folder / _hub_program.FACTS)]
        return [(f"{split}/{file.name}", file) for split in sides for file in self.splits[split]]

    def parts(self, chosen: Mapping[str, str], fetched: Path) -> Iterator[Part]:
        """The rows of the splits that are read."""
        sides = self.sides(chosen)
        for split, side in sides.items():
            if self.streaming:
                batches = self._streamed(split, fetched)
            else:
                files = parts_of({split: self.splits[split]}, {split: side})
                batches = chain.from_iterable(file.batches for file in files)
            yield Part(self._label(split), side, batches)

    def _label(self, split: str) -> str:
        return f"{self.dataset.name}, split {split}, commit {self.commit[:10]}"

    def _streamed(self, split: str, fetched: Path) -> Iterator[pa.RecordBatch]:
        """The batches of a split while they are fetched."""
        import pyarrow as pa

        request = {"do": "stream", "name": self.dataset.name, "config": self.dataset.config}
        request |= {"commit": self.commit, "split": split}
        with _asked(request, fetched) as (process, errors):
            try:
                with pa.ipc.open_stream(process.stdout) as stream:
                    yield from stream
            except (OSError, pa.ArrowException):
                if process.wait():
                    raise self.dataset.refused(errors, fetched) from None
                with reading(self._label(split)):
                    raise
            if process.wait():
                raise self.dataset.refused(errors, fetched)


def host() -> str:
    """The hub that is asked: HF_ENDPOINT, or Hugging Face's."""
    return os.environ.get("HF_ENDPOINT", _HOST).rstrip("/")


@contextmanager
def _asked(
    request: Mapping[str, Any], fetched: Path
) -> Iterator[tuple[subprocess.Popen, IO[bytes]]]:
    """The program at work on a request, and the file of what it writes to standard error.

    What the package keeps beside the rows is in a temporary folder.

    Raises:
        IsolossError: the package is not installed.
    """
    extras.need("datasets")
    fetched.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=fetched, prefix=".hub-") as home,
        tempfile.TemporaryFile() as errors,
    ):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _hub_program.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(Path(home).resolve()),
        )
        with process:
            try:
                with suppress(BrokenPipeError), process.stdin:
                    process.stdin.write(json.dumps(request).encode())
                yield process, errors
            finally:
                process.kill()  # whoever reads no further does not wait for the rest


def _environment(home: Path) -> dict[str, str]:
    """The environment of the program: every folder of the package is below `home`."""
    theirs = {**os.environ}
    of_user = Path(theirs.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    theirs.setdefault("HF_TOKEN_PATH", str(of_user / "token"))  # for private datasets
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_DATASETS_CACHE", "HF_XET_CACHE",
                 "HF_ASSETS_CACHE", "HUGGINGFACE_ASSETS_CACHE", "HF_MODULES_CACHE"):  # fmt: skip
        theirs.pop(name, None)
    package = str(Path(__file__).parents[2])
    path = [package, *filter(None, [theirs.get("PYTHONPATH")])]
    return theirs | {
        "HF_HOME": str(home),
        "TMPDIR": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": os.pathsep.join(path),
    }
