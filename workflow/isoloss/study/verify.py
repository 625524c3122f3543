"""Compare results with study and code: `verify`, `adopt`, `accept`, and the provenance.

A facade. Snakemake decides by its own records, which a copy of the results does not have; here the
manifests decide.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isoloss.core import tables, yaml_text
from isoloss.core.canonical import canonical
from isoloss.core.escape import columns, json_text, listed
from isoloss.core.problems import IsolossError, StudyError, TableError
from isoloss.records import environment, manifest
from isoloss.study import launch, status
from isoloss.study.flow import Flow, Job, differences, sealed
from isoloss.train.programs import files_of

CONFIG, PROVENANCE = "config.yaml", "provenance.json"  # below the folder of results
_FILES = 3  # files of a program that are named


@dataclass(frozen=True)
class Finding:
    """A fault of a result, or (`wrong` false) a remark about it.

    Attributes:
        file: below the folder of results.
        reason: what is wrong with it.
        fix: what to do: "make it again", or a command.
        wrong: whether something is wrong; else it is only said.
    """

    file: str
    reason: str
    fix: str = "make it again"
    wrong: bool = True


def findings(flow: Flow) -> list[Finding]:
    """All faults of a study's results, in the order of its jobs."""
    digests: dict[Path, str | None] = {}

    def digest(path: Path) -> str | None:
        if path not in digests:
            digests[path] = manifest.file_digest(path) if path.is_file() else None
        return digests[path]

    collected = [one for job in flow.jobs for one in _of_job(flow, job, digest)]
    collected += _of_store(flow)
    collected += _of_records(flow, whole=not any(one.wrong for one in collected))
    collected += [
        Finding("versions", line, _versions_fix(flow), wrong=False)
        for line in flow.other_versions()
    ]
    collected += [
        Finding(line["job"], f"code accepted on {line['time'][:10]}: {line['reason']}", "", False)
        for line in flow.accepted
        if line["to"] == _code_here(flow, line["job"])
    ]
    return collected


def _versions_fix(flow: Flow) -> str:
    strict = flow.config["strict_environment"]
    return "they are made again" if strict else "none, or `strict_environment: true`"


def _code_here(flow: Flow, label: str) -> str | None:
    for sweep in flow.config["train"]:
        if flow.run_label(sweep) == label:
            return flow.run_code_here(sweep)
    jobs = [job for job in flow.jobs if job.label == label]
    return flow.code_here(jobs[0].stage, **jobs[0].names) if jobs else None


def _of_job(flow: Flow, job: Job, digest) -> Iterator[Finding]:
    place = flow.root / job.manifest
    try:
        made = flow.made(job)
    except TableError as error:
        yield Finding(job.manifest, error.problems[0].found)
        return
    if made is None:
        there = (flow.root / job.out).exists() and not (flow.root / job.out).is_dir()
        yield Finding(job.out if there else job.manifest, "has no manifest" if there else "missing")
        return
    for name, kept_digest in made["files"].items():
        path = place.parent / name
        file = path.relative_to(flow.root).as_posix()
        if digest(path) is None:
            yield Finding(file, "missing")
        elif digest(path) != kept_digest:
            yield Finding(file, _damage(path))
    main = (place.parent / next(iter(made["files"]))).relative_to(flow.root).as_posix()
    specification = json.loads(flow.specification(job.stage, **job.names))
    program = _changed_program(flow, job, made["specification"], specification)
    if program:
        yield Finding(main, program)
        specification["content"] = made["specification"]["content"]
    changes = list(differences(made["specification"], specification))
    if changes:
        yield Finding(main, f"the study has other settings: {'; '.join(changes[:3])}")
    if made["code"] != flow.code(job.stage, **job.names):
        yield Finding(main, "its code has changed", "make it again, or `accept` the code")
    if digest(flow.root / job.out) == made["files"].get(Path(job.out).name):
        for reason in job.of.outdated(flow, flow.root / job.out):
            yield Finding(job.out, reason)
    taken = set()
    for name, kept_digest in made["inputs"].items():
        path = Path(os.path.normpath(place.parent / name))
        other = Path(os.path.relpath(path, flow.root)).as_posix()
        taken.add(other)
        if digest(path) != kept_digest:
            yield Finding(main, f"was made from another {other}")
    expected = set(flow.inputs(job))
    for other in sorted(taken - expected):
        yield Finding(main, f"was made from {other}, which is not among its inputs")
    for other in sorted(expected - taken):
        yield Finding(main, f"was made without {other}")


def _changed_program(flow: Flow, job: Job, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is said of a shard whose program has changed since; empty for any other job."""
    if "shard" not in job.of.writes or then.get("content") == now.get("content"):
        return ""
    command = flow.config["train"][job.names["sweep"]]["command"]
    files = listed([str(path) for path in files_of(command)], _FILES)
    return f"the files of its program changed ({files or 'none now'}): its runs are trained again"


def _damage(path: Path) -> str:
    """How a file that differs from what its job wrote is damaged."""
    if path.stat().st_size == 0:
        return "is empty"
    if path.suffix == ".parquet":
        try:
            tables.read(path)
        except TableError as error:
            return f"is damaged ({_short(str(error))})"
    return "differs from what its job wrote"


def _short(text: str) -> str:
    """An error's own words, without the path in front and the advice behind."""
    inner = text.split("(", 1)[-1].split("\n")[0].rsplit(")", 1)[0]
    return inner if len(inner) < 90 else inner[:87] + "..."


def _of_store(flow: Flow) -> Iterator[Finding]:
    kept = flow.store.kept()
    damaged = [(d, *one) for d in kept for one in flow.store.damage(d)]
    lost = sorted(status.gone(flow) - set(kept))
    if not (damaged or lost):
        return
    try:
        referred = set(status.runs(flow)["run_digest"])
    except TableError:  # of rows, which is said above
        referred = {*lost, *(d for d, *_ in damaged)}
    gone = "is gone, and the table of its shard has the run"
    damaged += [(d, flow.store.folder(d), gone) for d in lost if d in referred]
    for run_digest, path, reason in damaged:
        remedy = f"isoloss retry STUDY --run {run_digest}"
        fix = remedy if run_digest in referred else "isoloss gc STUDY --remove"
        yield Finding(path.relative_to(flow.root).as_posix(), reason or _damage(path), fix)


def report(flow: Flow, findings: Sequence[Finding], study: str, directory: str = ".") -> str:
    """Findings as text: file, reason, fix, and the command that fixes most of them.

    Args:
        flow: the study with its results.
        findings: about them.
        study: its file, for the command.
        directory: where results/ is, for the command.
    """
    wrong = sum(one.wrong for one in findings)
    text = columns(["file", "reason", "fix"], [[f.file, f.reason, f.fix] for f in findings])
    text = f"{text}\n" if findings else ""
    if wrong:
        command = remedy(flow, findings, study, directory)
        text += f"{wrong} wrong{'; make them again with' if command else ''}\n"
        return text + (f"  {command}\n" if command else "")
    jobs = sum(flow.made(job) is not None for job in flow.jobs)
    count = f"{jobs} jobs, {len(flow.store.kept())} runs"
    return f"{text}{count}: all results match the study and the code\n"


def remedy(flow: Flow, findings: Sequence[Finding], study: str, directory: str = ".") -> str:
    """The command that makes damaged and outdated files again; empty if there are none."""
    files = dict.fromkeys(f.file for f in findings if f.wrong and f.fix.startswith("make it again"))
    if not files:
        return ""
    root = Path(os.path.relpath(flow.root, directory))
    forced = ["--forcerun", *(f"{root.as_posix()}/{file}" for file in files)]
    if root.parent == Path("results"):
        return shlex.join(launch.again(study, directory, forced))
    # a module has its study from the Snakefile that uses it, whose config a file would change
    where = [] if directory == "." else ["--directory", directory]
    return shlex.join(["snakemake", *where, *forced])


def adopt(flow: Flow) -> int:
    """Set the times of all files in the order of their jobs, for results copied without them.

    The effective study and the provenance are written anew where they are not what they should be.

    Returns:
        The number of files whose times were set.
    """
    write_study(flow)
    write_provenance(flow)
    ranks: dict[str, int] = {}  # label -> how many jobs, one after the other, come before it
    for job in flow.jobs:
        ranks[job.label] = 1 + max((ranks[needed.label] for needed in flow.needs(job)), default=-1)
    begun = int(time.time()) - 1 - max(ranks.values(), default=0)
    count = 0
    for job in flow.jobs:
        try:
            made = flow.made(job)
        except TableError:  # `verify` says so
            continue
        place = flow.root / job.manifest
        for path in [place.parent / name for name in made["files"]] + [place] if made else []:
            if path.is_file():
                os.utime(path, (begun + ranks[job.label],) * 2)
                count += 1
    return count


def accept(flow: Flow, reason: str) -> list[dict[str, str]]:
    """Declare that an edit of code changes no number: results of the code before stand for it.

    From then on the new code has the digest of the old one, for the jobs of this study and for the
    identities of its runs. Nothing is computed and no result is written; the log says it all.

    Args:
        flow: the study with its results.
        reason: why the numbers cannot have changed, for the log.

    Returns:
        The lines added to the log `accepted.jsonl`.

    Raises:
        IsolossError: the runs of a model card were trained by several codes.
    """
    lines = []
    for job in flow.jobs:
        made = flow.made(job)
        if made and made["code"] != flow.code(job.stage, **job.names):
            here = flow.code_here(job.stage, **job.names)
            lines.append({"job": job.label, "from": made["code"], "to": here})
    for label, (sweep, then) in flow.trained_codes().items():
        if len(then) > 1:
            raise IsolossError(
                f"{label}: its runs were trained by {len(then)} codes, so that none can stand for "
                "the present code; run the study first"
            )
        if then and then != {flow.run_code(sweep)}:
            here = flow.run_code_here(sweep)
            lines.append({"job": label, "from": then.pop(), "to": here})
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    about = {"reason": reason, "time": when, "commit": environment.commit()}
    lines = [line | about for line in lines]
    if lines:
        log = [sealed(line) for line in (*flow.accepted, *lines)]
        tables.write_text(flow.accepted_file, "\n".join(log) + "\n")
        write_provenance(Flow(flow.config, flow.root))
    return lines


def provenance(flow: Flow) -> dict[str, Any]:
    """How every result was made, from the manifests; without times, so that it can be compared.

    Returns:
        study; seeds of study and runs; environments (versions, machine, commit) and the jobs made
        in each; code digests by job; digests of all files; what was accepted; jobs whose manifest
        is damaged, if there are any.
    """
    environments: dict[str, dict[str, Any]] = {}
    code, files = {}, {}
    damaged = []
    for job in flow.jobs:
        try:
            made = flow.made(job)
        except TableError:  # `verify` says what is wrong with it
            damaged.append(job.label)
            continue
        if made is None:
            continue
        about = {key: made[key] for key in ("versions", "machine", "commit")}
        entry = environments.setdefault(json.dumps(about, sort_keys=True), {**about, "jobs": []})
        entry["jobs"].append(job.label)
        code[job.label] = made["code"]
        folder = Path(job.manifest).parent
        files |= {(folder / name).as_posix(): value for name, value in made["files"].items()}
    runs = {
        sweep: sorted({run["seed"] for shard in flow.planned(sweep).values() for run in shard})
        for sweep in flow.config["train"]
    }
    return {
        "study": flow.config["study"],
        "seeds": {"study": flow.config["seed"], "runs": runs},
        "environments": list(environments.values()),
        "code": code,
        "files": files,
        "accepted": flow.accepted,
        **({"damaged": damaged} if damaged else {}),
    }


def write_provenance(flow: Flow) -> None:
    """Write `provenance.json` into the folder of results, if it says anything new."""
    tables.write_if_new(flow.root / PROVENANCE, _provenance_text(flow))


def _provenance_text(flow: Flow) -> str:
    return json_text(provenance(flow), 1) + "\n"


def write_study(flow: Flow) -> None:
    """Write the effective study, for the jobs and for the record; only where it changed."""
    text = yaml.safe_dump(flow.config, sort_keys=False, allow_unicode=True)
    tables.write_if_new(flow.root / CONFIG, text)


def _of_records(flow: Flow, whole: bool) -> Iterator[Finding]:
    """The effective study and the provenance, which no job makes.

    Args:
        flow: the study with its results.
        whole: whether every job's result is as it should be; if not, the provenance is still that
            of the last run that ended well.
    """
    fix = "`python -m isoloss adopt STUDY` writes it again, as does a run that makes something"
    path = flow.root / CONFIG
    if path.is_file():
        try:
            then = yaml_text.read(path)
        except StudyError as error:
            first = error.problems[0]
            yield Finding(CONFIG, f"is damaged ({first.place}: {first.found})", fix)
        else:
            if canonical(then) != canonical(flow.config):
                yield Finding(CONFIG, _other_study(then, flow.config), fix)
    elif whole:
        yield Finding(CONFIG, "missing", fix)
    path = flow.root / PROVENANCE
    if path.is_file():
        try:
            json.loads(path.read_bytes().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            yield Finding(PROVENANCE, f"is damaged ({_short(str(error))})", fix)
            return
        if whole and path.read_bytes() != _provenance_text(flow).encode():
            yield Finding(PROVENANCE, "is not what the manifests say", fix)
    elif whole:
        yield Finding(PROVENANCE, "missing", fix)


def _other_study(then: Any, now: Mapping[str, Any]) -> str:
    changes = "; ".join(list(differences(then, now))[:3])
    return f"is not the effective study: {changes}"
