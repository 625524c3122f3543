"""The jobs of a study: what each reads, and the specification and code that make it due.

A facade: it may import every room. Snakemake is not imported here either.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss.core import registry, tables, weightings
from isoloss.core.canonical import canonical
from isoloss.core.escape import json_text
from isoloss.core.phases import Phases, parts, phases_of
from isoloss.core.problems import Problem, StudyError, TableError, nearest
from isoloss.core.safe_path import keep_to_the_path
from isoloss.core.sources import KEPT, Sources
from isoloss.core.stages import Stage, stages
from isoloss.load.stage import fetched_of
from isoloss.records import environment, manifest, provenance
from isoloss.records.store import Store, tries
from isoloss.study.folder_weights import folder_weights
from isoloss.train import outline as outlines
from isoloss.train.identity import VERSIONS
from isoloss.train.outline import Outline, key_of, outline_of
from isoloss.train.plan import runs_digest, shard_names, shard_runs
from isoloss.train.plans import Plans, ids_of, planned_by, rows_of
from isoloss.train.programs import NO_CODE, reading_digest
from isoloss.train.settings import cards_of, commanded

STAGES = stages()
# Parts of a specification that are not in the study: the content of files outside the results,
# and how often runs that failed are tried again.
OUTSIDE = ("content", "tries")
_ACCEPT_AGAIN = (
    "delete the line, or the file, and `python -m isoloss accept STUDY --reason TEXT` again before "
    "the next run: without it, what was accepted is made again, runs included"
)
_MANIFEST = {"job", "specification", "code", "inputs", "files"}
_MANIFEST |= {"versions", "machine", "commit"}


def put_this_python_first() -> None:
    """Let `python` in a job be the Python that runs the workflow, activated or not.

    It does not import from the folder in which it works, where files may be somebody else's.
    """
    keep_to_the_path(os.environ)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@dataclass(frozen=True)
class Job:
    """One job of a study.

    Attributes:
        stage: the name of its stage.
        names: its wildcards.
    """

    stage: str
    names: Mapping[str, str]

    @property
    def of(self) -> Stage:
        """Its stage."""
        return STAGES[self.stage]

    @property
    def out(self) -> str:
        """The folder that it fills or the file that it writes, below results/<study>."""
        return self.of.path.format(**self.names)

    @property
    def target(self) -> str:
        """The file by which snakemake requests its results, below results/<study>."""
        return self.out if self.one_file else f"{self.out}/{self.of.main}"

    @property
    def label(self) -> str:
        """The name of the job: its path without a suffix."""
        return str(Path(self.out).with_suffix("")) if self.one_file else self.out

    @property
    def one_file(self) -> bool:
        """Whether it writes a file, or files of one name, and not a folder."""
        return self.of.one_file

    @property
    def manifest(self) -> str:
        """Its manifest, below results/<study>."""
        return f"{self.label}.json" if self.one_file else f"{self.out}/{manifest.NAME}"


def differences(then: Any, now: Any, place: str = "") -> Iterator[str]:
    """Where two specifications differ: `place: was 1, is 2`."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted({*then, *now}):
            yield from differences(then.get(key), now.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for i, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from differences(one, other, f"{place}[{i}]")
    elif then != now:
        if place == "tries":
            yield "runs that failed are to be tried again"
        elif place in ("content", "runs"):
            yield f"{'its runs' if place == 'runs' else 'what is read'} changed"
        else:
            yield f"{place}: was {_brief(then)}, is {_brief(now)}"


def _brief(value: Any) -> str:
    text = json_text(value)
    return text if len(text) < 40 else text[:37] + "..."


def entries(stage: str, cards: Iterable[tuple[str, str]]) -> list[str]:
    """The modules at which a stage's code begins: its own, and the cards it uses (kind, name)."""
    return [
        STAGES[stage].entry,
        *(f"isoloss.{registry.FOLDERS[kind]}.{name}" for kind, name in cards),
    ]


def sealed(line: Mapping[str, Any]) -> str:
    """A line of accepted.jsonl: with a checksum of what it says."""
    content = {key: value for key, value in line.items() if key != "checksum"}
    digest = blake2b(canonical(content).encode(), digest_size=16).hexdigest()
    return json_text({**content, "checksum": digest})


def acceptance(text: bytes, place: str) -> dict[str, str]:
    """What a line of accepted.jsonl says.

    Raises:
        TableError: the line is not what `accept` wrote.
    """
    try:
        line = json.loads(text.decode("utf-8"))
        whole = isinstance(line, dict) and json.loads(sealed(line)) == line
    except (ValueError, RecursionError):
        whole = False
    fields = ("job", "from", "to", "reason", "time")
    if whole and all(isinstance(line.get(key), str) for key in fields):
        return line
    raise TableError(Problem(place, "is damaged: it is not as `accept` wrote it", _ACCEPT_AGAIN))


class Flow:
    """A study with its results: its jobs, their files, specifications and digests of code.

    Args:
        config: a complete study.
        root: the folder of its results, `results/<study>`.
        sources: its tables of runs, as whoever checked it read them; by default what was kept of
            them below `root`, else they are read when they are needed.
        plans: its planned runs, as whoever checked it spelled them out; by default they are read
            from the plans below `root`, and spelled out where one is not there or out of date.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        root: str | Path,
        sources: Sources | None = None,
        plans: Plans | None = None,
    ):
        self.config = config
        self.plans = plans or Plans()
        self._read_plans = plans is None
        self.root = Path(root)
        self.sources = sources or Sources(kept=self.root / KEPT)
        self.store = Store(self.root / "store")

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs of the study, each after those that it needs.

        They are in the order of the stages; those below a job that reads results of a later stage
        come after all others, in the same order.
        """
        if not any(self._reads_later(job) for job in self._listed):
            return self._listed
        ranks: dict[str, int] = {}

        def rank_of(job: Job) -> int:
            if job.label not in ranks:
                ranks[job.label] = 0  # while it is looked at: `check` refuses circles
                ends = [rank_of(other) + self._is_later(other, job) for other in self.needs(job)]
                ranks[job.label] = max(ends, default=0)
            return ranks[job.label]

        return sorted(self._listed, key=rank_of)

    def _reads_later(self, job: Job) -> bool:
        """Whether a job reads results of a stage that comes later in the order of stages."""
        return bool(job.of.sometimes_after) and any(
            self._is_later(other, job) for other in self.needs(job)
        )

    @staticmethod
    def _is_later(other: Job, job: Job) -> bool:
        """Whether the stage of another job comes later than that of a job."""
        return other.stage in job.of.sometimes_after

    @cached_property
    def _listed(self) -> list[Job]:
        """All jobs of the study in the order of the stages."""
        return [Job(name, names) for name, stage in STAGES.items() for names in stage.jobs(self)]

    def needs(self, job: Job) -> list[Job]:
        """The jobs whose results a job reads."""
        makers = map(self.maker_of, self.inputs(job))
        return list({maker.label: maker for maker in makers}.values())

    def maker_of(self, file: str) -> Job:
        """The job that makes a file, by the file's path below results/<study>."""
        labels = [*manifest.labels_of(Path(file)), Path(file).parent]
        return next(self.by_label[str(one)] for one in labels if str(one) in self.by_label)

    def job(self, stage: str, **names: str) -> Job:
        """The job of a stage with these names."""
        return self._by_name[stage, frozenset(names.items())]

    def find(self, stage: str, **names: str) -> Job:
        """The one job of a stage that has these names, and perhaps others.

        Raises:
            StudyError: the study has no such job.
        """
        jobs = [job for job in self.jobs if job.stage == stage]
        for key, name in names.items():
            known = sorted({job.names[key] for job in jobs})
            if name not in known:
                reason = f"{name!r} is not in it, or nothing uses it"
                sections = dict(pair for one in STAGES.values() for pair in one.sections)
                raise StudyError([Problem(sections[key], reason, nearest(name, known))])
            jobs = [job for job in jobs if job.names[key] == name]
        return jobs[0]

    def wildcards(self) -> dict[str, list[str]]:
        """Every wildcard of the jobs, and its values."""
        known: dict[str, dict[str, None]] = {
            name: {} for stage in STAGES.values() for name in stage.wildcards
        }
        for job in self.jobs:
            for key, name in job.names.items():
                known[key][name] = None
        return {key: list(values) for key, values in known.items()}

    @cached_property
    def by_label(self) -> dict[str, Job]:
        """The jobs by label."""
        return {job.label: job for job in self._listed}

    @cached_property
    def _by_name(self) -> dict[Any, Job]:
        return {(job.stage, frozenset(job.names.items())): job for job in self._listed}

    def planned(self, sweep: str) -> dict[str, list[dict[str, Any]]]:
        """The planned runs of a sweep by shard, as the stage `plan` writes them.

        Those of a round are known when its plan is there.
        """
        if "round" not in self.config["train"][sweep]:
            return self._spelled_out(sweep)
        plan = self.root / self.job("plan", sweep=sweep).manifest
        return self._chosen(sweep, plan.stat().st_mtime_ns if plan.is_file() else None)

    def is_planned(self, sweep: str) -> bool:
        """Whether the runs of a sweep are known: those of a round are when its plan is there."""
        return "round" not in self.config["train"][sweep] or self._has_plan(sweep)

    @cache  # noqa: B019 - a process looks at one study
    def _chosen(self, sweep: str, made: int | None) -> dict[str, list[dict[str, Any]]]:
        """The planned runs of a round by shard; none if its plan was never made (at a time)."""
        runs: list[dict[str, Any]] = []
        if made is not None and self._has_plan(sweep):
            file = self.root / "plan" / sweep / "runs.parquet"
            runs = tables.frame(file, "plan").to_dict("records")
        return shard_runs(runs, self.config["train"][sweep]["shards"])

    def runs(self, sweep: str, shard: str) -> list[dict[str, Any]]:
        """The planned runs of a shard, as `planned` has them.

        Where the plan is read, only the rows of the shard are taken from it.
        """
        entry = self.config["train"][sweep]
        if "round" in entry or not self._read_plans or self.plans.known(entry):
            return self.planned(sweep)[shard]
        return self._read_shard(sweep, shard)

    @cache  # noqa: B019
    def _read_shard(self, sweep: str, shard: str) -> list[dict[str, Any]]:
        """The planned runs of a shard, not of a round: from the plan, if it can be used."""
        if not self._has_plan(sweep):
            return self._spelled_out(sweep)[shard]
        entry = self.config["train"][sweep]
        rows = rows_of(self.root / "plan" / sweep / "runs.parquet", shard)
        runs = shard_runs(rows, entry["shards"])[shard]
        if runs_digest(runs) != self.runs_digest(sweep, shard):
            # the keys of a cell are in another order, which is that of the runs: no plan is due
            return shard_runs(self.plans.runs(entry), entry["shards"])[shard]
        return runs

    def runs_digest(self, sweep: str, shard: str) -> str:
        """Digest of the planned runs of a shard."""
        return self._outline(sweep)[shard].digest

    def _outline(self, sweep: str) -> Outline:
        """The planned runs of a sweep in short: their digest and weightings, by shard."""
        if "round" in self.config["train"][sweep]:
            return outline_of(self.planned(sweep))
        return self._kept_outline(sweep)

    @cache  # noqa: B019
    def _kept_outline(self, sweep: str) -> Outline:
        """The outline of a sweep that is no round, from the cache of a start if it is of this one.

        Only a start writes the cache, which knows the runs of all sweeps when it has none.
        """
        label = canonical([self.config["study"], sweep]).encode("utf-8", "surrogatepass")
        name = blake2b(label, digest_size=8).hexdigest()
        kept = fetched_of(self.root).with_name(f"outline-{name}.json")
        about = planned_by(self.config["train"][sweep]), self.code_here("plan", sweep=sweep)
        key = key_of(*about, environment.versions(), sys.version)
        if (outline := outlines.read(kept, key)) is None:
            outline = outline_of(self.planned(sweep))
            if not self._read_plans:
                outlines.save(kept, key, outline)
        return outline

    @cache  # noqa: B019
    def _spelled_out(self, sweep: str) -> dict[str, list[dict[str, Any]]]:
        """The planned runs of a sweep that is no round, by shard."""
        entry = self.config["train"][sweep]
        if self._read_plans and not self.plans.known(entry) and self._has_plan(sweep):
            self.plans.read(entry, self.root / "plan" / sweep / "runs.parquet")
        return shard_runs(self.plans.runs(entry), entry["shards"])

    def _has_plan(self, sweep: str) -> bool:
        """Whether the plan of a sweep exists, undamaged, and made by the present study and code."""
        job = self.job("plan", sweep=sweep)
        try:
            made = self.made(job)
            if made is None or made["code"] != self.code("plan", sweep=sweep):
                return False
            if made["specification"] != json.loads(self.specification("plan", sweep=sweep)):
                return False
            manifest.check(self.root / job.out / "runs.parquet")
        except TableError:  # a plan that is damaged is not used; `verify` says so
            return False
        return True

    def shards(self, sweep: str) -> list[str]:
        """The names of the shards of a sweep."""
        return shard_names(self.config["train"][sweep]["shards"])

    def among(self, sweep: str) -> dict[str, frozenset[str]]:
        """Which finished runs count for a sweep: the accepted values of some columns."""
        accepted_values = {"code": self.run_codes(sweep)}
        if (reading := self.reading(sweep)) is not None:
            accepted_values["reading"] = frozenset({reading})
        if self.config["strict_environment"]:
            versions = environment.versions()
            accepted_values |= {column: frozenset({versions[n]}) for column, n in VERSIONS.items()}
        return accepted_values

    def reading(self, sweep: str) -> str | None:
        """Digest of how the output of a user's program is read; None for other sweeps."""
        entry = self.config["train"][sweep]
        if not commanded(entry):
            return None
        code = provenance.code_digest(provenance.run_code(cards_of(entry)), words=False)
        return reading_digest(entry["command"], code)

    def used(self, sweep: str, shard: str | None = None) -> list[str]:
        """The weightings whose rows a sweep, or one of its shards, is trained on, sorted."""
        return parts(self.config["expand"], self._named(sweep, shard))

    def schedules(self, sweep: str, shard: str | None = None) -> dict[str, Phases]:
        """The schedules of weightings of a sweep, or of one of its shards: name to phases."""
        named = {name: self.config["expand"][name] for name in self._named(sweep, shard)}
        each = {name: phases_of(entry) for name, entry in named.items()}
        return {name: phases for name, phases in each.items() if phases is not None}

    def _named(self, sweep: str, shard: str | None) -> list[str]:
        """The entries of `expand` that a sweep, or one of its shards, names, sorted."""
        if commanded(self.config["train"][sweep]):
            return []
        if shard is None or "round" in self.config["train"][sweep]:
            return weightings.of_sweep(self.config, sweep)
        return list(self._outline(sweep)[shard].weightings)

    @cached_property
    def journal(self) -> list[dict[str, Any]]:
        """The journal of the store, read once."""
        return self.store.journal()

    @cached_property
    def ends(self) -> dict[str, str]:
        """How the runs ended that did, by run digest, as the journal says."""
        return {e["run_digest"]: e["status"] for e in self.journal if e["event"] == "end"}

    def tries(self, sweep: str, shard: str) -> int:
        """The number of retries owed to the failed runs of a shard."""
        counts = self._tries(self.config["train"][sweep]["max_attempts"])
        return sum(counts.get(run_id, 0) for run_id in self._ids(sweep, shard)) if counts else 0

    def _ids(self, sweep: str, shard: str) -> list[str]:
        """The ids of the planned runs of a shard."""
        entry = self.config["train"][sweep]
        if "round" in entry or self.plans.known(entry) or (ids := self._ids_of_plan(sweep)) is None:
            return [run["run_id"] for run in self.runs(sweep, shard)]
        return ids.get(shard, [])

    @cache  # noqa: B019
    def _ids_of_plan(self, sweep: str) -> dict[str, list[str]] | None:
        """The ids of planned runs by shard, from the plan; None if it cannot be used."""
        if not self._has_plan(sweep):
            return None
        return ids_of(self.root / "plan" / sweep / "runs.parquet")

    @cache  # noqa: B019
    def _tries(self, max_attempts: int) -> dict[str, int]:
        """The retries owed, by id of the runs that any are owed to."""
        counts = tries(self.store.setbacks(), max_attempts)
        return {run_id: count for run_id, count in counts.items() if count}

    def specification(self, stage: str, **names: str) -> str:
        """The specification of a job: what matters to it, as canonical JSON.

        What lies outside the results (a dataset's files, a table of runs) enters by its content.

        Args:
            stage: the job's stage.
            names: the job's wildcards.
        """
        outside = STAGES[stage].outside(self, **names)
        return canonical(self.settings(stage, **names) | outside)

    def folder_weights(self, dataset: str, weighting: str) -> Mapping[str, Any]:
        """Folder to the weights in it, of a dataset and a weighting with `files`."""
        key = dataset, self.config["expand"][weighting]["files"]
        if key not in self._folder_weights:
            entry, fetched = self.config["load"][dataset], fetched_of(self.root)
            self._folder_weights[key] = folder_weights(entry, key[1], fetched)
        return self._folder_weights[key]

    @cached_property
    def _folder_weights(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        """The weights of folders that were read, by dataset and name of the files."""
        return {}

    def expectation(self, stage: str, **names: str) -> str:
        """Digest of what a job is expected to run: settings, content and code, without retries.

        The workflow hands it to the job, which refuses to make anything else: what is recorded of a
        job at its start is then what it did.
        """
        specification = json.loads(self.specification(stage, **names))
        specification.pop("tries", None)
        text = canonical({"specification": specification, "code": self.code(stage, **names)})
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def settings(self, stage: str, **names: str) -> dict[str, Any]:
        """The settings that matter to a job: its specification without what is OUTSIDE the study.

        Args:
            stage: the job's stage.
            names: the job's wildcards.
        """
        parts: dict[str, Any] = {"stage": stage, **names}
        if STAGES[stage].seeded:
            parts["seed"] = self.config["seed"]
        return parts | STAGES[stage].settings(self, **names) | self._strict_versions(stage)

    def _strict_versions(self, stage: str) -> dict[str, Any]:
        """The versions that a job's results depend on, if the study has `strict_environment`."""
        packages = STAGES[stage].packages
        if not (packages and self.config["strict_environment"]):
            return {}
        versions = environment.versions()
        return {"versions": {name: versions[name] for name in packages}}

    def code(self, stage: str, **names: str) -> str:
        """Digest of the code that a job's results depend on: its stage's, and that of its cards.

        Code that was accepted (accepted.jsonl) has the digest of the code that it stands for.
        """
        return self.accepted_as(self.job(stage, **names).label, self.code_here(stage, **names))

    def code_here(self, stage: str, **names: str) -> str:
        """Digest of a job's present code, without what was accepted.

        The contracts of the tables that it writes count as code, and the roles of columns by
        which it knows settings from what was measured.
        """
        modules = provenance.closure(entries(stage, STAGES[stage].cards(self, **names)))
        written = STAGES[stage].tables(self, **names)
        contracts = [tables.contract_digest(table) for table in written]
        contracts += [tables.roles_digest(table) for table in STAGES[stage].uses_roles]
        return provenance.code_digest(modules, contracts=contracts)

    def code_files(self, stage: str, **names: str) -> list[Path]:
        """The files that the digest of a job's code is made of."""
        modules = provenance.closure(entries(stage, STAGES[stage].cards(self, **names)))
        return [*map(provenance.file_of, modules), tables.contract_file()]

    def run_code(self, sweep: str) -> str:
        """Digest of the code that can change the numbers of a sweep's runs, accepted or not."""
        return self.accepted_as(self.run_label(sweep), self.run_code_here(sweep))

    def run_codes(self, sweep: str) -> frozenset[str]:
        """The digests of code whose runs count for a sweep: the present one and accepted ones."""
        stands_for = self.run_code(sweep)
        acceptances = [line for line in self.accepted if line["job"] == self.run_label(sweep)]
        here = {stands_for, self.run_code_here(sweep)}
        return frozenset(here | {line["to"] for line in acceptances if line["from"] == stands_for})

    def run_label(self, sweep: str) -> str:
        """The name of the code of a sweep's runs in accepted.jsonl."""
        entry = self.config["train"][sweep]
        return "/".join(["run", *(entry[key] for key in ("model", "trainer") if key in entry)])

    def run_code_here(self, sweep: str) -> str:
        """Digest of the present code of a sweep's runs, without what was accepted.

        The runs of a user's program have none: no code of this package changes them, and its own
        files are in their identity by content.
        """
        if commanded(self.config["train"][sweep]):
            return NO_CODE
        modules = provenance.run_code(cards_of(self.config["train"][sweep]))
        return provenance.code_digest(modules, words=False)

    def trained_codes(self) -> dict[str, tuple[str, set[str]]]:
        """By label of runs, a sweep of them and the code digests in the identities of its runs."""
        codes_of: dict[str, tuple[str, set[str]]] = {}
        for job in self.jobs:
            table = self.root / job.out
            if "shard" in job.of.writes and table.is_file():
                sweep = job.names["sweep"]
                _, codes = codes_of.setdefault(self.run_label(sweep), (sweep, set()))
                for run_digest in tables.frame(table, "shard")["run_digest"]:
                    with suppress(TableError):  # lost or damaged: `verify` says so
                        codes.add(self.store.identity(run_digest)["code"])
        return codes_of

    @property
    def accepted_file(self) -> Path:
        """The file in which accepted code is logged."""
        return self.root / "accepted.jsonl"

    @cached_property
    def accepted(self) -> list[dict[str, str]]:
        """Accepted code: job (or run/<model>/<trainer>), and the digest `to` that counts as `from`.

        Raises:
            TableError: a line of the log is damaged.
        """
        if not self.accepted_file.is_file():
            return []
        content = self.accepted_file.read_bytes()
        if not content.endswith(b"\n"):
            place, reason = str(self.accepted_file), "is truncated: its last line is incomplete"
            raise TableError(Problem(place, reason, _ACCEPT_AGAIN))
        lines = enumerate(content.split(b"\n"), 1)
        return [acceptance(t, f"{self.accepted_file}, line {i}") for i, t in lines if t.strip()]

    @cached_property
    def _accepted(self) -> dict[tuple[str, str], str]:
        return {(line["job"], line["to"]): line["from"] for line in self.accepted}

    def accepted_as(self, label: str, digest: str) -> str:
        """The digest that a digest of code was accepted as; itself if it was not accepted."""
        return self._accepted.get((label, digest), digest)

    def made(self, job: Job) -> dict[str, Any] | None:
        """The manifest of a job; None if it left none.

        Raises:
            TableError: it is damaged.
        """
        place = str(self.root / job.manifest)
        made = manifest.read(place)
        if made is None:
            if Path(place).is_file():
                raise TableError(Problem(place, "is damaged (no files)", "make it again"))
            return None
        if made.get("job", job.label) != job.label:
            raise TableError(Problem(place, f"is the manifest of {made['job']}", "make it again"))
        lacking = sorted(_MANIFEST - set(made)) if made["files"] else ["files"]
        if lacking:
            raise TableError(Problem(place, f"is damaged (no {lacking[0]})", "make it again"))
        return made

    def changed(self) -> list[str]:
        """The jobs whose results were made with other settings or code, by their manifests.

        Snakemake knows the same by its own records, and nothing where these are lost.
        """
        return [job.label for job in self.jobs if self._has_changed(job)]

    def is_current(self, stage: str, **names: str) -> bool:
        """Whether a job's results exist, and were made with the present settings and code."""
        job = self.job(stage, **names)
        return (self.root / job.manifest).is_file() and not self._has_changed(job)

    def _has_changed(self, job: Job) -> bool:
        try:
            made = self.made(job)
        except TableError:
            return True
        if made is None:
            out = self.root / job.out
            return out.is_file() or any(out.glob("*.parquet"))
        specification = json.loads(self.specification(job.stage, **job.names))
        code = self.code(job.stage, **job.names)
        return (made["specification"], made["code"]) != (specification, code)

    def other_versions(self) -> list[str]:
        """Runs, fits and figures that were made under other versions, a line each."""
        here = environment.versions()
        lines = {}
        for job in self.jobs:
            if not job.of.packages:
                continue
            try:
                made = self.made(job) or {}
            except TableError:  # `verify` says so
                continue
            for then in job.of.made_with(made):
                unlike = [
                    f"{k} {v} (here {here[k]})" for k, v in then.items() if here.get(k, v) != v
                ]
                if unlike:
                    what = job.of.subject(job.names, job.label)
                    lines[f"{what} with {', '.join(unlike)}"] = None
        return list(lines)

    def inputs(self, job: Job) -> list[str]:
        """All files of the study that a job reads, as paths below results/<study>."""
        return [file for files in job.of.inputs(self, **job.names).values() for file in files]

    def targets(self, *stages: str) -> list[str]:
        """The files by which snakemake requests the results of some stages, below results/<study>.

        Args:
            stages: by name; by default those whose results are made for their own sake.
        """
        names = stages or [name for name, stage in STAGES.items() if stage.target]
        return [job.target for job in self.jobs if job.stage in names]
