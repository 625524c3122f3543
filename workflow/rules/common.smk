# The checked study, and the few functions that rules need.
import sys
import time
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from isoloss import check, flow, study
from isoloss.problems import StudyError

flow.put_this_python_first()
STARTED = time.time()

RUN_FILES = [f"{t}.parquet" for t in ("runs", "losses", "curves", "mixtures", "timing")]
FIT_FILES = [f"{t}.parquet" for t in flow.FIT_TABLES]


def checked_study():
    """The study with every default; all its problems at once, before any job runs."""
    source = ", ".join(map(str, workflow.configfiles)) or "--config"
    try:
        for file in workflow.configfiles:
            study.read(file)  # finds keys that stand twice, which snakemake does not
        return check.check(config, source)
    except StudyError as error:
        raise WorkflowError(str(error)) from None


STUDY = checked_study()
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


def spec(stage):
    """What matters to a job, as one canonical string: the trigger in its params."""
    return lambda wildcards: flow.specification(
        STUDY, stage, **{k: v for k, v in wildcards.items() if k != "study"}
    )


def code(stage):
    """The digest of the code that a job's results depend on: the other trigger in its params."""
    return lambda wildcards: flow.code(
        STUDY, stage, **{k: v for k, v in wildcards.items() if k != "study"}
    )


def below(*patterns):
    """Input function: paths below results/{study} that hold wildcards of the rule."""
    return lambda wildcards: [f"results/{STUDY['study']}/{p.format(**wildcards)}" for p in patterns]


def of_sweep(pattern):
    """Input function: one path a weighting and shard of the job's sweep."""

    def paths(wildcards):
        sweep = STUDY["train"][wildcards.sweep]
        return collect(
            pattern,
            study=STUDY["study"],
            sweep=wildcards.sweep,
            dataset=sweep["dataset"],
            weighting=study.weightings(STUDY, wildcards.sweep),
            shard=flow.shard_names(sweep["shards"]),
        )

    return paths


def figure_inputs(wildcards):
    """The tables that a figure reads."""
    return below(*flow.figure_inputs(STUDY, wildcards.figure))(wildcards)


def save_study():
    """Write the effective study, for the jobs and for the record; only when it changed."""
    text = yaml.safe_dump(STUDY, sort_keys=False, allow_unicode=True)
    path = Path(f"results/{STUDY['study']}/config.yaml")
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".yaml.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def show_summary():
    """Print what was found, if this run wrote it."""
    path = Path(f"results/{STUDY['study']}/summary.md")
    if path.is_file() and path.stat().st_mtime >= STARTED:
        print(f"\n{path.read_text(encoding='utf-8')}", file=sys.stderr)
