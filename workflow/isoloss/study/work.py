"""A job while it runs: it checks its inputs, and its outputs get their names if still valid.

A facade. A job can outlive the snakemake that started it: the study is changed, the code is edited,
or the job is started once more, and then the old one ends. Its outputs would replace newer ones. So
a job writes into a temporary folder, and at the end it looks again: the study on disk and the code
must still be those that it started with, and no other process may have started the same job since.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from isoloss.core import locks, schema, tables
from isoloss.core.problems import IsolossError, Problem, StudyError, TableError
from isoloss.load.stage import CACHE
from isoloss.records import manifest, provenance
from isoloss.records.store import CLAIM
from isoloss.study.flow import OUTSIDE, STAGES, Flow, Job, differences

Stamp = tuple[int, int, int]  # of a file: inode, size, time of its last change in nanoseconds


def read_study(file: str | Path) -> dict[str, Any]:
    """A study with every default.

    Raises:
        StudyError: with every problem of it.
    """
    config, problems = schema.complete(schema.read(file))
    if problems:
        raise StudyError(problems, str(file))
    return config


class RunningJob:
    """One job of a study, from its start until its outputs are in place; used with `with`.

    Args:
        study_file: the study.
        out: the folder that the job fills or the file that it writes.
        stage: its stage.
        names: its wildcards, or those of them that tell it from the others.
        root: the folder of the study's results; by default what `out` is in, or the folder of the
            study's file where `out` is elsewhere.
        expects: what the workflow expects of the job (`Flow.expectation`); None for anything.

    Raises:
        StudyError: the study has problems, or no such job.
        IsolossError: it is not what the workflow expects.
    """

    def __init__(
        self,
        study_file: str | Path,
        out: str | Path,
        stage: str,
        names: Mapping[str, str],
        root: str | Path | None = None,
        expects: str | None = None,
    ):
        self.study_file, self.out = Path(study_file), Path(out)
        self._study_bytes = self.study_file.read_bytes()
        config = read_study(study_file)
        self.job: Job = Flow(config, self.study_file.parent).find(stage, **names)
        self.flow = Flow(config, Path(root or self._root()))
        self.stage, self.names = stage, dict(self.job.names)
        provenance.recall_unchanged(self.flow.root.parent / CACHE / provenance.KEPT)
        self._code_here = self.flow.code_here(stage, **self.names)
        self._code_stamps = _stamps(self.flow.code_files(stage, **self.names))
        self._input_stamps: dict[Path, Stamp] = {}
        self._token = uuid.uuid4().hex
        one_file = self.job.one_file
        self._manifest = self.out.with_suffix(".json") if one_file else self.out / manifest.NAME
        about = {"job": self.job.label, "specification": {}, "code": ""}
        self._record = manifest.Draft(about, self._manifest)
        self.specification: dict[str, Any] = json.loads(
            self.flow.specification(stage, **self.names)
        )
        if expects and self.flow.expectation(stage, **self.names) != expects:
            raise IsolossError(
                f"{self.job.label}: the study, what it reads or its code is not what it was when "
                "snakemake started; run the study again (typed by hand: without --expects)"
            )

    def facts(self, *names: str, seed: bool = False) -> dict[str, Any]:
        """The facts in every table of the job: the study, some of the job's names, a seed.

        Args:
            names: wildcards of the job.
            seed: whether the seed of the study is among them.
        """
        facts = {"study": self.flow.config["study"]} | {name: self.names[name] for name in names}
        return facts | ({"seed": self.specification["seed"]} if seed else {})

    def _root(self) -> Path:
        """The folder of results that `out` is in; that of the study's file if it is in none."""
        depth = len(Path(self.job.out).parts)
        inside = Path(*self.out.parts[-depth:]) == Path(self.job.out)
        return self.out.parents[depth - 1] if inside else self.study_file.parent

    def __enter__(self) -> RunningJob:
        """Claim the place of the outputs: one that claimed it earlier writes nothing."""
        folder = self._manifest.parent
        self._new_folder = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with locks.locked(folder / CLAIM):
            tables.write_text(self._owner_file, self._token)
        return self

    def __exit__(self, *_: object) -> None:
        """Release the place; outputs of a job that failed are removed."""
        if self._owner() == self._token:
            self._owner_file.unlink(missing_ok=True)
        if self._new_folder:
            with suppress(OSError):  # there are outputs in it
                self._manifest.parent.rmdir()

    def takes(self, *files: str | Path) -> None:
        """Note files that the job reads.

        Args:
            files: all that the job reads.

        Raises:
            TableError: a file differs from what its job wrote, is not an input of this job, or was
                made for another study: by other settings, or from files that were made again since.
        """
        # before they are read: what is replaced from here on is seen at the end
        self._input_stamps |= _stamps(map(Path, files))
        self._record.takes(*files)
        self._check_inputs(list(map(Path, files)))
        for file in map(Path, files):
            reason = self._outdated(file)
            if reason:
                remedy = "make it again: `python -m isoloss verify STUDY` says how"
                raise TableError(Problem(str(file), reason, remedy))

    def _check_inputs(self, files: Sequence[Path]) -> None:
        """Whether the files are the inputs of this job, by what their manifests say they are."""
        expected = self.flow.inputs(self.job)
        known = [name for name in map(self._known_as, files) if name]
        for file, name in zip(files, map(self._known_as, files), strict=True):
            if name and name not in expected:
                reason = f"is {name}, which {self.job.label} does not read"
                raise TableError(Problem(str(file), reason, f"give {', '.join(expected)}"))
        lacking = [name for name in expected if name not in known]
        if len(known) == len(files) and lacking:
            reason = f"{lacking[0]} is missing from its inputs"
            raise TableError(Problem(self.job.label, reason, f"give {', '.join(expected)}"))

    def _known_as(self, file: Path) -> str:
        """A file's path below results/<study>, by its manifest; empty if it has none."""
        place = manifest.place_of(file)
        label = (manifest.read(place) or {}).get("job") if place else None
        if not isinstance(label, str):
            return ""
        folder = label if place.name == manifest.NAME else str(Path(label).parent)
        return f"{folder}/{file.name}"

    def makes(
        self,
        write: Callable[[Path], Sequence[Path]],
        more: Callable[[Sequence[Path]], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        """Write the outputs under a temporary name, then rename them.

        The files get their names one by one and the manifest last, so that a job which is killed
        between them leaves files that no stage takes.

        Args:
            write: called with the folder, or the file, to write instead of `out`; returns the
                files that it wrote, the main one first.
            more: further entries of the manifest, from these files.

        Raises:
            IsolossError: the outputs are not wanted any more; nothing was put in place.
        """
        folder = self._manifest.parent
        staging = folder / f".{self.out.name}.{self._token[:8]}.tmp"
        try:
            staging.mkdir(parents=True)
            files = write(staging / self.out.name if self.job.one_file else staging)
            self._place(files, more(files))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _place(self, files: Sequence[Path], more: Mapping[str, Any]) -> None:
        # nobody claims the place between the look and the move
        with locks.locked(self._manifest.parent / CLAIM) as claim:
            self._place_now(files, more, claim)

    def _place_now(
        self, files: Sequence[Path], more: Mapping[str, Any], claim: locks.Claim
    ) -> None:
        reason = self._unwanted()
        if reason:
            raise IsolossError(
                f"{self.job.label}: {reason}; the output of this job is discarded. Run the "
                "study again: runs that are finished stay finished"
            )
        claim.renew(now=True)
        self._manifest.unlink(missing_ok=True)  # from here on the files are nobody's until the end
        placed = [self._manifest.parent / file.name for file in files]
        for file, place in zip(files, placed, strict=True):
            os.replace(file, place)
        self._record.about |= {"specification": self.specification, "code": self._code()}
        self._record.makes(placed, **more)

    def _code(self) -> str:
        return self.flow.accepted_as(self.job.label, self._code_here)

    def _unwanted(self) -> str:
        """Why the outputs are no longer valid; empty if they are."""
        if self._owner() != self._token:
            return "another process has started the same job since"
        if self.study_file.read_bytes() != self._study_bytes:
            reason = self._changed_study()
            if reason:
                return reason
        if _stamps(self._code_stamps) != self._code_stamps:
            provenance.forget()
            if self.flow.code_here(self.stage, **self.names) != self._code_here:
                return "its code has changed since it started"
        for file, stamp in self._input_stamps.items():
            taken = self._record.inputs[self._record.name_of(file)]
            if _stamp(file) != stamp and manifest.digest_if_there(file) != taken:
                return f"its input {file} has changed since it started"
        return ""

    def _changed_study(self) -> str:
        now = Flow(read_study(self.study_file), self.flow.root)
        if self.job.label not in now.by_label:
            return "the study has no such job any more"
        changes = differences(
            self.flow.settings(self.stage, **self.names), now.settings(self.stage, **self.names)
        )
        changed = "; ".join(list(changes)[:3])
        return f"the study has changed since it started ({changed})" if changed else ""

    @property
    def _owner_file(self) -> Path:
        """The file that names the process that started this job last; only its outputs count."""
        return self._manifest.with_name(f".{self._manifest.name}.owner")

    def _owner(self) -> str:
        try:
            return self._owner_file.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def _outdated(self, file: Path) -> str:
        """Why a file is not what the study would make; empty if it is, or has no manifest."""
        place = manifest.place_of(file)
        return self._outdated_job(place) if place else ""

    def _outdated_job(self, place: Path) -> str:
        if place not in self._reasons:
            self._reasons[place] = ""  # of a job that is looked at: manifests are no cycle
            self._reasons[place] = self._look_at(place)
        return self._reasons[place]

    @cached_property
    def _reasons(self) -> dict[Path, str]:
        """Manifest to why its job's outputs are outdated."""
        return {}

    def _look_at(self, place: Path) -> str:
        made = manifest.read(place) or {}
        if not isinstance(made.get("specification"), dict):
            return ""
        job = self.flow.by_label.get(made.get("job"))
        if job is None:
            return f"is of the job {made.get('job')}, which the study does not have"
        then = {k: v for k, v in made["specification"].items() if k not in OUTSIDE}
        now = json.loads(json.dumps(self.flow.settings(job.stage, **job.names)))
        changes = "; ".join(list(differences(then, now))[:3])
        if changes:
            return f"was made for another study ({changes})"
        for name, digest in made.get("inputs", {}).items():
            file = Path(os.path.normpath(place.parent / name))
            above = manifest.place_of(file)
            if above is None:
                continue
            if (manifest.read(above) or {}).get("files", {}).get(file.name) != digest:
                return f"was made from another {file}"
            reason = self._outdated_job(above)
            if reason:
                return f"was made from {file}, which {reason}"
        return ""


def do(stage: str, given: Mapping[str, Any]) -> None:
    """Do a job as the command line names it.

    Args:
        stage: its stage.
        given: every argument of the stage's command, besides `study`, `out` and `expects`.

    Raises:
        IsolossError: what is wrong with the study, the job, or what it reads.
    """
    # in a command typed by hand the study's file may be anywhere; the store is among the results
    root = Path(given["store"]).parent if "store" in given else None
    names = STAGES[stage].named(given)
    with RunningJob(given["study"], given["out"], stage, names, root, given["expects"]) as job:
        STAGES[stage].run(job, given)


def _stamp(file: Path) -> Stamp:
    try:
        about = file.stat()
    except OSError:
        return (0, 0, 0)
    return (about.st_ino, about.st_size, about.st_mtime_ns)


def _stamps(files: Iterable[Path]) -> dict[Path, Stamp]:
    return {file: _stamp(file) for file in files}
