"""What the workflow asks of the library before a job runs: what matters to it, what it reads.

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

from isoloss import environment, manifest, provenance, registry, tables
from isoloss.canonical import canonical
from isoloss.escape import json_text
from isoloss.fitted import TABLES as FIT_TABLES
from isoloss.load import identity as _identity
from isoloss.problems import StudyError, TableError, nearest, problem
from isoloss.sources import KEPT, Sources
from isoloss.store import Store, tries
from isoloss.study import sweeps, weightings
from isoloss.train.identity import VERSIONS
from isoloss.train.plan import plan_sweep, runs_digest, shard_names, shard_runs

# Where each stage's code begins: the module whose `run` is the stage.
STAGES = {
    "load": "isoloss.load.stage",
    "expand": "isoloss.expand.stage",
    "plan": "isoloss.train.plan",
    "train": "isoloss.train.stage",
    "aggregate": "isoloss.aggregate.stage",
    "fit": "isoloss.fit.stage",
    "plot": "isoloss.plot.stage",
    "summarize": "isoloss.summary",
}
# The tables that a stage writes under a contract (tables.yaml).
WRITES = {
    "load": ("rows", "audit"),
    "expand": ("index", "audit"),
    "plan": ("plan",),
    "train": ("shard",),
    "aggregate": ("runs", "losses", "curves", "mixtures", "timing"),
    "fit": FIT_TABLES,
}
# The tables by whose roles of columns a stage knows settings from what was measured.
USES_ROLES = {"train": ("plan",), "fit": ("runs",), "plot": ("runs",)}
# The packages besides Python whose versions can change what a stage computes. Of a training run
# they are recorded with the run.
PACKAGES = {"fit": ("numpy", "scipy"), "plot": ("matplotlib", "numpy")}
# Which section of a study names what a job is called by.
_SECTIONS = {
    "dataset": "load",
    "weighting": "expand",
    "sweep": "train or aggregate",
    "shard": "shards",
    "law": "fit",
    "figure": "plot",
}
# What of a specification no study says: the content of what lies outside the results, and how often
# runs that failed are tried again.
OUTSIDE = ("content", "tries")
# What of a sweep spells it out; the rest says how its runs are trained and kept.
_PLANNED = ("model", "shards", "n_params", "n_flops", "settings", "cells")
_ACCEPT_AGAIN = (
    "delete the line, or the file, and `python -m isoloss accept STUDY --reason TEXT` again before "
    "the next run: without it, what was accepted is made again, runs included"
)
_MANIFEST = {"job", "specification", "code", "inputs", "files"}
_MANIFEST |= {"versions", "machine", "commit"}
__all__ = [
    "FIT_TABLES",
    "STAGES",
    "Flow",
    "Job",
    "differences",
    "entries",
    "put_this_python_first",
    "shard_names",
]


def put_this_python_first() -> None:
    """Make `python` in a job the Python that runs the workflow, its environment active or not."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@dataclass(frozen=True)
class Job:
    """One job of a study.

    Attributes:
        stage: its stage.
        names: its wildcards.
        out: the folder that it fills or the file that it writes, below results/<study>.
    """

    stage: str
    names: Mapping[str, str]
    out: str

    @property
    def label(self) -> str:
        """What it is called: its path without a suffix."""
        return str(Path(self.out).with_suffix("")) if self.one_file else self.out

    @property
    def one_file(self) -> bool:
        """Whether it writes a file, or files of one name, and not a folder."""
        return self.stage in ("train", "plot", "summarize")

    @property
    def manifest(self) -> str:
        """Its manifest, below results/<study>."""
        return f"{self.label}.json" if self.one_file else f"{self.out}/{manifest.NAME}"


@cache
def _identity_of(card: str, options: str) -> str:
    return _identity(card, json.loads(options))


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
    return [STAGES[stage], *(f"isoloss.{registry.FOLDERS[kind]}.{name}" for kind, name in cards)]


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
    raise TableError(problem(place, "is damaged: it is not as `accept` wrote it", _ACCEPT_AGAIN))


class Flow:
    """A study and its results, as the workflow and those who look after results see them.

    Args:
        config: a complete study.
        root: the folder of its results, `results/<study>`.
        sources: its tables of runs, as whoever checked it read them; by default what was kept of
            them below `root`, else they are read when they are needed.
    """

    def __init__(self, config: Mapping[str, Any], root: str | Path, sources: Sources | None = None):
        self.config = config
        self.root = Path(root)
        self.sources = sources or Sources(kept=self.root / KEPT)
        self.store = Store(self.root / "store")

    @cached_property
    def jobs(self) -> list[Job]:
        """Every job of the study, each behind those it needs."""
        config = self.config
        found = [Job("load", {"dataset": name}, f"load/{name}") for name in config["load"]]
        pairs = {(config["train"][s]["dataset"], w) for s in config["train"] for w in self.used(s)}
        for dataset, weighting in sorted(pairs):
            names = {"dataset": dataset, "weighting": weighting}
            found.append(Job("expand", names, f"expand/{dataset}/{weighting}"))
        for sweep, spec in config["train"].items():
            found.append(Job("plan", {"sweep": sweep}, f"plan/{sweep}"))
            for shard in shard_names(spec["shards"]):
                names = {"sweep": sweep, "shard": shard}
                found.append(Job("train", names, f"train/{sweep}/{shard}.parquet"))
        for sweep in sweeps(config):
            found.append(Job("aggregate", {"sweep": sweep}, f"aggregate/{sweep}"))
        for law, fit in config["fit"].items():
            names = {"sweep": fit["sweep"], "law": law}
            found.append(Job("fit", names, f"fit/{fit['sweep']}/{law}"))
        found += [Job("plot", {"figure": name}, f"plot/{name}.png") for name in config["plot"]]
        return [*found, Job("summarize", {}, "summary.md")]

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
                raise StudyError([problem(_SECTIONS[key], reason, nearest(name, known))])
            jobs = [job for job in jobs if job.names[key] == name]
        return jobs[0]

    @cached_property
    def by_label(self) -> dict[str, Job]:
        """What a job is called to the job."""
        return {job.label: job for job in self.jobs}

    @cached_property
    def _by_name(self) -> dict[Any, Job]:
        return {(job.stage, frozenset(job.names.items())): job for job in self.jobs}

    @cache  # noqa: B019 - a process looks at one study
    def planned(self, sweep: str) -> dict[str, list[dict[str, Any]]]:
        """Shard to its runs, as `plan` writes them."""
        return shard_runs(
            plan_sweep(self.config["train"][sweep]), self.config["train"][sweep]["shards"]
        )

    def among(self, sweep: str) -> dict[str, frozenset[str]]:
        """Which finished runs of the store count for a sweep: column to its possible values."""
        wanted = {"code": self.run_codes(sweep)}
        if self.config["strict_environment"]:
            versions = environment.versions()
            wanted |= {column: frozenset({versions[n]}) for column, n in VERSIONS.items()}
        return wanted

    def used(self, sweep: str, shard: str | None = None) -> list[str]:
        """The weightings of a sweep, or of one of its shards, sorted."""
        if shard is None:
            return sorted(weightings(self.config, sweep))
        return sorted({run["weighting"] for run in self.planned(sweep)[shard]})

    @cached_property
    def journal(self) -> list[dict[str, Any]]:
        """The journal of the store, read once."""
        return self.store.journal()

    def tries(self, sweep: str, shard: str) -> int:
        """How often a shard is to be run for the sake of runs that failed."""
        counts = self._tries(self.config["train"][sweep]["max_attempts"])
        return sum(counts.get(run["run_id"], 0) for run in self.planned(sweep)[shard])

    @cache  # noqa: B019
    def _tries(self, max_attempts: int) -> dict[str, int]:
        return tries(self.journal, max_attempts)

    def specification(self, stage: str, **names: str) -> str:
        """What matters to a job, as canonical JSON: only a change of it makes the job new.

        What lies outside the results (a dataset's files, a table of runs) enters by its content.

        Args:
            stage: the job's stage.
            names: the job's wildcards.
        """
        config = self.config
        outside: dict[str, Any] = {}
        if stage == "load":
            dataset = config["load"][names["dataset"]]
            outside["content"] = _identity_of(dataset["card"], canonical(dataset["options"]))
        elif stage == "train":
            outside["tries"] = self.tries(**names)
        elif stage == "aggregate" and names["sweep"] in config["aggregate"]:
            table = config["aggregate"][names["sweep"]]
            outside["content"] = self.sources.digest(names["sweep"], table)
        return canonical(self.settings(stage, **names) | outside)

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
        """What the study says that matters to a job: its specification without what is OUTSIDE.

        Args:
            stage: the job's stage.
            names: the job's wildcards.
        """
        config = self.config
        parts: dict[str, Any] = {"stage": stage, **names}
        if stage in ("load", "expand", "train", "fit"):
            parts["seed"] = config["seed"]
        if stage == "load":
            parts["dataset"] = config["load"][names["dataset"]]
        elif stage == "expand":
            parts["weights"] = config["expand"][names["weighting"]]
        elif stage == "plan":
            sweep = config["train"][names["sweep"]]
            parts["sweep"] = {key: sweep[key] for key in _PLANNED}
        elif stage == "train":
            parts["valid_tokens"] = config["train"][names["sweep"]]["valid_tokens"]
            parts["runs"] = runs_digest(self.planned(names["sweep"])[names["shard"]])
        elif stage == "aggregate" and names["sweep"] in config["aggregate"]:
            table = config["aggregate"][names["sweep"]]
            parts |= {key: table[key] for key in ("columns", "keep")}
        elif stage == "aggregate":
            parts["token"] = self.token(names["sweep"])
        elif stage == "fit":
            parts["fit"] = config["fit"][names["law"]]
        elif stage == "plot":
            parts["plot"] = config["plot"][names["figure"]]
        elif stage == "summarize":
            figures = list(config["plot"])
            parts |= {"summary": config["summary"], "study": config["study"], "figures": figures}
        return parts | self._strict_versions(stage)

    def _strict_versions(self, stage: str) -> dict[str, Any]:
        """The versions that a job's results depend on, where the study is strict about them."""
        packages = tuple(VERSIONS.values()) if stage == "train" else PACKAGES.get(stage, ())
        if not (packages and self.config["strict_environment"]):
            return {}
        versions = environment.versions()
        return {"versions": {name: versions[name] for name in packages}}

    def token(self, sweep: str) -> str:
        """What a token of a sweep is, such as `byte`: tables and figures show it as a unit."""
        if sweep in self.config["aggregate"]:
            return "token"
        card = self.config["load"][self.config["train"][sweep]["dataset"]]["card"]
        return registry.facts("dataset", card).get("TOKEN", "token")

    def code(self, stage: str, **names: str) -> str:
        """Digest of the code that a job's results depend on: its stage's, and that of its cards.

        Code that was accepted (accepted.jsonl) has the digest of the code that it stands for.
        """
        return self.accepted_as(self.job(stage, **names).label, self.code_here(stage, **names))

    def code_here(self, stage: str, **names: str) -> str:
        """Digest of a job's code as it stands here, accepted or not.

        The contracts of the tables that it writes count as code, and the roles of columns by
        which it knows settings from what was measured.
        """
        modules = provenance.closure(entries(stage, self._cards(stage, **names)))
        contracts = [tables.contract_digest(table) for table in WRITES.get(stage, ())]
        contracts += [tables.roles_digest(table) for table in USES_ROLES.get(stage, ())]
        return provenance.code_digest(modules, contracts=contracts)

    def _cards(self, stage: str, **names: str) -> list[tuple[str, str]]:
        """The cards (kind, name) that a job uses."""
        config = self.config
        cards: list[tuple[str, str]] = []
        if stage == "load":
            cards = [("dataset", config["load"][names["dataset"]]["card"])]
        elif stage in ("plan", "train"):
            cards = [("model", config["train"][names["sweep"]]["model"])]
        elif stage == "fit":
            cards = [("law", config["fit"][names["law"]]["card"])]
        elif stage == "plot":
            figure = config["plot"][names["figure"]]
            laws = [("law", config["fit"][law]["card"]) for law in figure["laws"]]
            cards = [("figure", figure["card"]), *laws]
        elif stage == "summarize":
            cards = [("law", fit["card"]) for fit in config["fit"].values()]
        return cards

    def code_files(self, stage: str, **names: str) -> list[Path]:
        """The files that the digest of a job's code is made of."""
        modules = provenance.closure(entries(stage, self._cards(stage, **names)))
        return [*map(provenance.file_of, modules), tables.contract_file()]

    def run_code(self, sweep: str) -> str:
        """Digest of the code that can change the numbers of a sweep's runs, accepted or not."""
        return self.accepted_as(self.run_label(sweep), self.run_code_here(sweep))

    def run_codes(self, sweep: str) -> frozenset[str]:
        """All digests of code by which a sweep's runs may have been trained, to count."""
        stands_for = self.run_code(sweep)
        mine = [line for line in self.accepted if line["job"] == self.run_label(sweep)]
        here = {stands_for, self.run_code_here(sweep)}
        return frozenset(here | {line["to"] for line in mine if line["from"] == stands_for})

    def run_label(self, sweep: str) -> str:
        """What the code of a sweep's runs is called where code is accepted."""
        return f"run/{self.config['train'][sweep]['model']}"

    def run_code_here(self, sweep: str) -> str:
        """The same for the code as it stands here."""
        modules = provenance.run_code(self.config["train"][sweep]["model"])
        return provenance.code_digest(modules, words=False)

    def trained_codes(self) -> dict[str, tuple[str, set[str]]]:
        """Model (run/<model>) to a sweep of it, and the codes in the identities of its runs."""
        found: dict[str, tuple[str, set[str]]] = {}
        for job in self.jobs:
            table = self.root / job.out
            if job.stage == "train" and table.is_file():
                sweep = job.names["sweep"]
                _, codes = found.setdefault(self.run_label(sweep), (sweep, set()))
                for run_digest in tables.frame(table, "shard")["run_digest"]:
                    with suppress(TableError):  # lost or damaged: `verify` says so
                        codes.add(self.store.identity(run_digest)["code"])
        return found

    @property
    def accepted_file(self) -> Path:
        """Where accepted code is logged."""
        return self.root / "accepted.jsonl"

    @cached_property
    def accepted(self) -> list[dict[str, str]]:
        """What was accepted: job (or run/<model>), the digest `to` that stands for `from`.

        Raises:
            TableError: a line of the log is damaged.
        """
        if not self.accepted_file.is_file():
            return []
        content = self.accepted_file.read_bytes()
        if not content.endswith(b"\n"):
            place, reason = str(self.accepted_file), "is cut off: its last line has no end"
            raise TableError(problem(place, reason, _ACCEPT_AGAIN))
        lines = enumerate(content.split(b"\n"), 1)
        return [acceptance(t, f"{self.accepted_file}, line {i}") for i, t in lines if t.strip()]

    @cached_property
    def _accepted(self) -> dict[tuple[str, str], str]:
        return {(line["job"], line["to"]): line["from"] for line in self.accepted}

    def accepted_as(self, label: str, digest: str) -> str:
        """The digest of code that another one stands for; itself if it stands for none."""
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
                raise TableError(problem(place, "is damaged (no files)", "make it again"))
            return None
        if made.get("job", job.label) != job.label:
            raise TableError(problem(place, f"is that of {made['job']}", "make it again"))
        lacking = sorted(_MANIFEST - set(made)) if made["files"] else ["files"]
        if lacking:
            raise TableError(problem(place, f"is damaged (no {lacking[0]})", "make it again"))
        return made

    def changed(self) -> list[str]:
        """The jobs whose results are there, but of other settings or code, by their manifests.

        Snakemake knows the same by its own records, and nothing where these are lost.
        """
        return [job.label for job in self.jobs if self._has_changed(job)]

    def _has_changed(self, job: Job) -> bool:
        try:
            made = self.made(job)
        except TableError:
            return True
        if made is None:
            out = self.root / job.out
            return out.is_file() or any(out.glob("*.parquet"))
        wanted = json.loads(self.specification(job.stage, **job.names))
        code = self.code(job.stage, **job.names)
        return (made["specification"], made["code"]) != (wanted, code)

    def other_versions(self) -> list[str]:
        """Runs, fits and figures that were made under other versions, a line each."""
        here = environment.versions()
        lines = {}
        for job in self.jobs:
            if job.stage != "train" and job.stage not in PACKAGES:
                continue
            try:
                made = self.made(job) or {}
            except TableError:  # `verify` says so
                continue
            if job.stage == "train":
                what, many = f"{job.names['sweep']}: runs trained", made.get("trained_with", [])
            else:
                then, packages = made.get("versions", {}), PACKAGES[job.stage]
                what, many = f"{job.label}: made", [{p: then[p] for p in packages if p in then}]
            for then in many:
                unlike = [
                    f"{k} {v} (here {here[k]})" for k, v in then.items() if here.get(k, v) != v
                ]
                if unlike:
                    lines[f"{what} with {', '.join(unlike)}"] = None
        return list(lines)

    def inputs(self, job: Job) -> list[str]:
        """All files of the study that a job reads, as paths below results/<study>."""
        names = job.names
        if job.stage == "expand":
            return [f"load/{names['dataset']}/rows.parquet"]
        if job.stage == "train":
            dataset = self.config["train"][names["sweep"]]["dataset"]
            used = self.used(names["sweep"], names["shard"])
            indices = [f"expand/{dataset}/{weighting}/index.parquet" for weighting in used]
            return [f"load/{dataset}/rows.parquet", *indices]
        if job.stage == "aggregate" and names["sweep"] in self.config["train"]:
            return self._sweep_inputs(names["sweep"])
        if job.stage == "fit":
            return self.fit_inputs(names["law"])
        if job.stage == "plot":
            return self.figure_inputs(names["figure"])
        return self.summary_inputs() if job.stage == "summarize" else []

    def _sweep_inputs(self, sweep: str) -> list[str]:
        spec = self.config["train"][sweep]
        audits = [f"expand/{spec['dataset']}/{w}/audit.parquet" for w in self.used(sweep)]
        shards = [f"train/{sweep}/{shard}.parquet" for shard in shard_names(spec["shards"])]
        return [f"plan/{sweep}/runs.parquet", *shards, *audits]

    def fit_inputs(self, law: str) -> list[str]:
        """The tables that a fit reads, as paths below results/<study>."""
        fit = self.config["fit"][law]
        wanted = ["runs"]
        if fit["points"] != "runs":
            wanted.append("curves")
        mixture = registry.facts("law", fit["card"]).get("NEEDS") == "mixture"
        if mixture and fit["sweep"] in self.config["train"]:
            wanted += ["mixtures", "losses"]
        return [f"aggregate/{fit['sweep']}/{table}.parquet" for table in wanted]

    def figure_inputs(self, figure: str) -> list[str]:
        """The tables that a figure reads, as paths below results/<study>."""
        section = self.config["plot"][figure]
        sweep, laws = section["sweep"], section["laws"]
        paths = []
        for table in registry.inputs(section["card"]):
            stage, name = table.split("/")
            if stage == "fit":
                paths += [f"fit/{sweep}/{law}/{name}.parquet" for law in laws]
            else:
                paths.append(f"{stage}/{sweep}/{name}.parquet")
        return paths

    def summary_inputs(self) -> list[str]:
        """The tables that the summary reads, as paths below results/<study>."""
        wanted = ("runs", "losses", "timing")
        runs = [f"aggregate/{s}/{t}.parquet" for s in sweeps(self.config) for t in wanted]
        fits = [
            f"fit/{fit['sweep']}/{law}/{table}.parquet"
            for law, fit in self.config["fit"].items()
            for table in FIT_TABLES
        ]
        return runs + fits
