# The checked study, and the few functions that rules need.
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import PeriodicityDetector

from isoloss import check, escape, flow, sources, study
from isoloss.problems import StudyError, TableError
from isoloss.train.plans import Plans

escape.print_anything()
flow.put_this_python_first()
STARTED = time.time()

RUN_FILES = [f"{t}.parquet" for t in ("runs", "losses", "curves", "mixtures", "timing")]
FIT_FILES = [f"{t}.parquet" for t in flow.FIT_TABLES]


# Tables of runs, each read once for check and triggers. A process that runs a job of this
# invocation, on another machine say, reads what its main process fetched.
FETCHED = Path("results", str(config.get("study")), sources.KEPT)
SOURCES = (
    sources.Sources(copies=FETCHED) if workflow.is_main_process else sources.Sources(kept=FETCHED)
)

PLANS = Plans()  # each sweep is spelled out once for check and triggers


def checked_study():
    """The study with every default; all its problems at once, before any job runs."""
    source = ", ".join(map(str, workflow.configfiles)) or "--config"
    try:
        for file in workflow.configfiles:
            study.read(file)  # finds keys that stand twice, which snakemake does not
        return check.check(config, source, sources=SOURCES, plans=PLANS)
    except StudyError as error:
        raise WorkflowError(escape.terminal(error)) from None


def results_of(config):
    """The study with its results; what is damaged there and cannot be made again is said."""
    results = flow.Flow(config, f"results/{config['study']}", SOURCES, PLANS)
    try:
        results.accepted
    except (TableError, OSError) as error:
        raise WorkflowError(escape.terminal(error)) from None
    return results


STUDY = checked_study()
FLOW = results_of(STUDY)
NAMES = {
    "study": STUDY["study"],
    "sweep": study.sweeps(STUDY),
    "figure": list(STUDY["plot"]),
}
FITS = [f"fit/{fit['sweep']}/{law}/params.parquet" for law, fit in STUDY["fit"].items()]
# every study has its own names: a wildcard is one of them and nothing else
ANY = lambda names: "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    study=re.escape(STUDY["study"]),
    dataset=ANY(STUDY["load"]),
    weighting=ANY(STUDY["expand"]),
    sweep=ANY(study.sweeps(STUDY)),
    law=ANY(STUDY["fit"]),
    figure=ANY(STUDY["plot"]),
    shard=r"\d+",


# no wildcard can grow without end then: `aaaaaaaaaaaaaaaaaaaaaaaa` may be a name
PeriodicityDetector.is_periodic = lambda detector, value: None


def spec(stage):
    """What matters to a job, as one canonical string: the trigger in its params."""
    return lambda wildcards: FLOW.specification(
        stage, **{k: v for k, v in wildcards.items() if k != "study"}
    )


def code(stage):
    """The digest of the code that a job's results depend on: the other trigger in its params."""
    return lambda wildcards: FLOW.code(
        stage, **{k: v for k, v in wildcards.items() if k != "study"}
    )


def expects(stage):
    """A digest of both but retries, handed to the job: it makes what is recorded of it, or stops."""
    return lambda wildcards: FLOW.expectation(
        stage, **{k: v for k, v in wildcards.items() if k != "study"}
    )


def of_study(paths):
    """Paths below results/{study}."""
    return [f"results/{STUDY['study']}/{path}" for path in paths]


def of_sweep(pattern):
    """Input function: one path a weighting that the job's shard, or sweep, uses, and a shard."""

    def paths(wildcards):
        sweep = STUDY["train"][wildcards.sweep]
        after_load(wildcards.sweep)
        return collect(
            pattern,
            study=STUDY["study"],
            sweep=wildcards.sweep,
            dataset=sweep["dataset"],
            weighting=FLOW.used(wildcards.sweep, wildcards.get("shard")),
            shard=flow.shard_names(sweep["shards"]),
        )

    return paths


def plan_of_shard(wildcards):
    """The plan of a shard's sweep, where the shard's runs are read.

    A plan that is made again makes only those shards due whose runs changed: for the others, which
    are as study and code make them, it is `ancient`.
    """
    names = {k: v for k, v in wildcards.items() if k != "study"}
    path = f"results/{wildcards.study}/plan/{wildcards.sweep}/runs.parquet"
    return ancient(path) if FLOW.is_current("train", **names) else path


def after_load(*sweeps):
    """Decide what is due below a dataset only when its rows are there.

    Rows that come out the same then leave everything as it is, in the same invocation; for that
    every job below them has to ask.
    """
    for sweep in sweeps:
        if sweep in STUDY["train"]:
            checkpoints.load_rows.get(
                study=STUDY["study"], dataset=STUDY["train"][sweep]["dataset"]
            )


def rows_of_dataset(wildcards):
    """The rows of the job's dataset."""
    return checkpoints.load_rows.get(study=wildcards.study, dataset=wildcards.dataset).output.rows


def fit_inputs(wildcards):
    """The tables that a fit reads."""
    after_load(wildcards.sweep)
    return of_study(FLOW.fit_inputs(wildcards.law))


def figure_inputs(wildcards):
    """The tables that a figure reads."""
    after_load(STUDY["plot"][wildcards.figure]["sweep"])
    return of_study(FLOW.figure_inputs(wildcards.figure))


def summary_inputs(wildcards):
    """The tables that the summary reads."""
    after_load(*study.sweeps(STUDY))
    return of_study(FLOW.summary_inputs())


def save_study():
    """Write the effective study, and what was fetched for it; only when it changed."""
    from isoloss import verify

    verify.write_study(FLOW)
    SOURCES.keep(FETCHED, STUDY["aggregate"])


def save_provenance():
    """Write down how the results came about."""
    from isoloss import verify

    verify.write_provenance(FLOW)


def show_state():
    """Say what the manifests know and Snakemake does not."""
    if not any(Path(".snakemake/metadata").glob("*")):  # its records are lost, or never were
        changed = FLOW.changed()
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            logger.warning(
                f"results of other settings or code: {', '.join(changed[:3])}{more}. Snakemake has "
                "no records here and goes by the files' times: `python -m isoloss verify STUDY` "
                "says how they are made again."
            )
    advice = "" if STUDY["strict_environment"] else "; strict_environment: true trains them again"
    for line in FLOW.other_versions():
        logger.warning(escape.terminal(line) + advice)


def show_summary():
    """Print what was found, if this run wrote it."""
    path = FLOW.root / "summary.md"
    if path.is_file() and path.stat().st_mtime >= STARTED:
        text = path.read_text(encoding="utf-8", errors="replace")
        escape.say(f"\n{text}", sys.stderr)


if workflow.is_main_process:
    show_state()
