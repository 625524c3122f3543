# The checked study, and the functions that rules need.
import re
import sys
import time
from pathlib import Path

from snakemake.checkpoints import Checkpoint
from snakemake.exceptions import WorkflowError
from snakemake.io import PeriodicityDetector

from isoloss.core import escape, paths, registry, sources, schema as study
from isoloss.study import cluster, flow, start
from isoloss.core.problems import IsolossError, StudyError, TableError
from isoloss.train.plans import Plans

escape.print_anything()
flow.put_this_python_first()
STARTED = time.time()

# The folder of all results: another workflow gives its own (`pathvars: results="laws"`)
RESULTS = workflow.pathvars.apply("<results>")
if not paths.is_plain(RESULTS):
    raise WorkflowError(
        f"pathvars: results: {RESULTS!r} is not a folder that the commands of jobs can name: use "
        "letters, digits, `_`, `-`, `.` and `/`, without `..` and without a `/` at the end"
    )

if not isinstance(config, dict):
    raise WorkflowError(
        "the `config` of the module is not a study: give a mapping of the study's keys, such as "
        'config["laws"]'
    )
# Tables of runs, each read once for check and triggers. A process that runs a job of this
# invocation, perhaps on another machine, reads what the main process fetched.
FETCHED = Path(RESULTS, str(config.get("study")), sources.KEPT)
SOURCES = (
    sources.Sources(copies=FETCHED) if workflow.is_main_process else sources.Sources(kept=FETCHED)
)

# whether another Snakefile uses this workflow as a module
IN_MODULE = not workflow.modifier.is_main_snakefile()
PATHS = workflow.modifier.path_modifier
if PATHS.prefix is not None or PATHS.modifies_prefixes:
    raise WorkflowError(
        "the module has a prefix, which jobs do not follow: omit `prefix` and `replace_prefix`, "
        'and name the folder of the results by `pathvars: results="laws"` in the module statement'
    )

PLANS = Plans()  # each sweep is spelled out once for check and triggers


def checked_study():
    """The study with every default; an error with all its problems before any job runs."""
    try:
        return start.checked(
            config, workflow.configfiles, SOURCES, PLANS, Path(RESULTS, start.FOLDER)
        )
    except StudyError as error:
        reader = f" (read for the module {workflow.modifier.namespace})" if IN_MODULE else ""
        raise WorkflowError(f"{escape.terminal(error)}{reader}") from None


def results_of(config):
    """The study with its results; an error if something is damaged that cannot be made again."""
    results = flow.Flow(config, f"{RESULTS}/{config['study']}", SOURCES, PLANS)
    try:
        results.accepted
    except (TableError, OSError) as error:
        raise WorkflowError(escape.terminal(error)) from None
    return results


STUDY = checked_study()
BLOCKED = start.blocks_folder(Path(RESULTS, STUDY["study"]))
if BLOCKED:
    raise WorkflowError(
        f"{escape.visible(BLOCKED)}: results would be written below it, and it is not a folder "
        "(a file, a link to nothing, or a name that is too long); rename or remove it"
    )
FLOW = results_of(STUDY)
PLANNED = [name for name, entry in STUDY["train"].items() if "round" not in entry]
# a wildcard matches the names in this study and nothing else
ANY = lambda names: "|".join(map(re.escape, names)) or "(?!)"


CONSTRAINTS = {name: ANY(values) for name, values in FLOW.wildcards().items()}


wildcard_constraints:
    **CONSTRAINTS | {"study": re.escape(STUDY["study"]), "shard": r"\d+"},


# anchored, so that matching is fast also for names such as `aaaaaaaaaaaaaaaaaaaaaaaa`
PeriodicityDetector.is_periodic = lambda detector, value: None


def spec(stage):
    """The specification of a job as canonical text: one trigger in its params."""

    def text(wildcards):
        add_hooks()
        names = {k: v for k, v in wildcards.items() if k != "study"}
        return FLOW.specification(stage, **names)

    return text


def code(stage):
    """The digest of the code that a job's results depend on: the other trigger in its params."""
    return lambda wildcards: FLOW.code(
        stage, **{k: v for k, v in wildcards.items() if k != "study"}
    )


def expects(stage):
    """A digest of both without retries, for the job: it stops if it finds anything else."""
    return lambda wildcards: FLOW.expectation(
        stage, **{k: v for k, v in wildcards.items() if k != "study"}
    )


def files_of(stage):
    """The tables that a stage writes, as files, and its manifest."""
    return [
        *(f"{table}.parquet" for table in flow.STAGES[stage].writes),
        "manifest.json",
    ]


def of_study(paths):
    """Paths below results/{study}."""
    return [f"{RESULTS}/{STUDY['study']}/{path}" for path in paths]


def checkpoint_of_rows():
    """The checkpoint `load_rows`, also where another Snakefile changes a rule of the module.

    For `use rule ... with` Snakemake reads the workflow once more and keeps one rule of it. The
    checkpoint is then known from the first reading only.
    """
    here = getattr(checkpoints, "load_rows", None)
    if here is not None:
        return here
    rows = f"{RESULTS}/{STUDY['study']}/load/"
    for one in workflow.rules:
        if one.is_checkpoint and any(
            re.sub(r"\{study[^{}]*\}", STUDY["study"], str(path)).startswith(rows)
            for path in one.output
        ):
            return Checkpoint(one, checkpoints)
    raise WorkflowError(
        "the module is used without its `load_rows`; write `use rule * from ...` first"
    )


def inputs(stage, argument):
    """Input function: what a job reads by an argument of its command.

    What is due below a dataset is decided only when its rows are there. Rows that come out the same
    then leave everything as it is, in the same invocation; for that every job below them has to ask.
    """

    def paths(wildcards):
        names = {k: v for k, v in wildcards.items() if k != "study"}
        definition = flow.STAGES[stage]
        for dataset in definition.datasets(FLOW, **names):
            checkpoint_of_rows().get(study=STUDY["study"], dataset=dataset)
        return of_study(definition.inputs(FLOW, **names)[argument])

    return paths


def of_canary(function):
    """A function of the wildcards of a shard, of the shard in which a sweep's canary is."""

    def of_shard(wildcards):
        from isoloss.study import canary

        shard, _ = canary.cheapest(FLOW, wildcards.sweep)
        return function({"sweep": wildcards.sweep, "shard": shard})

    return of_shard


def of_command(wildcards, key, otherwise):
    """What a sweep's command says of the resources of a run; `otherwise` for other sweeps."""
    return STUDY["train"][wildcards.sweep].get("command", {}).get(key, otherwise)


def memory_of_sweep(wildcards, attempt):
    """The memory of a job that trains or measures runs of a sweep, in MB: more at each attempt."""
    return cluster.memory_mb(STUDY, wildcards.sweep, attempt)


def minutes_of_shard(wildcards, attempt):
    """The time limit of a job that trains; None where nobody ends jobs by the clock."""
    if workflow.local_exec or workflow.dryrun or not workflow.is_main_process:
        return None
    return TIMES.minutes(wildcards.sweep, wildcards.shard, attempt)


def asks(resource):
    """Function of a resource of a cluster: what the sweep says, else the default of the profile."""
    defaults = workflow.resource_settings.default_resources
    otherwise = defaults[resource].value if defaults and resource in defaults else None

    def said(wildcards):
        known = cluster.asked(STUDY, wildcards.sweep, resource)
        return otherwise if known is None else known

    return said


# resources of a cluster that some sweep asks for; of the others nothing is said
ASKED = {
    resource: asks(resource)
    for resource in cluster.ASKED
    if any(cluster.asked(STUDY, sweep, resource) is not None for sweep in STUDY["train"])
}
TIMES = cluster.Times(FLOW, measures=True)


def plan_of_shard(wildcards):
    """The plan of a shard's sweep, where the shard's runs are read; none of a round.

    A plan that is made again makes only those shards due whose runs changed: for the others, which
    are as study and code make them, it is `ancient`.
    """
    if "round" in STUDY["train"][wildcards.sweep]:
        return []
    names = {k: v for k, v in wildcards.items() if k != "study"}
    path = f"{RESULTS}/{wildcards.study}/plan/{wildcards.sweep}/runs.parquet"
    return ancient(path) if FLOW.is_current("train", **names) else path


def add_hooks():
    """Have the hooks of this workflow run before those of a Snakefile that uses it as a module.

    Snakemake runs the hooks of the main Snakefile alone, and jobs need the study that is written at
    the start. Params ask for this: they are evaluated when every Snakefile has been read, and
    before jobs start.
    """
    execution = workflow.execution_settings
    if workflow.is_main_process and execution and execution.no_hooks and not workflow.dryrun:
        raise WorkflowError(
            "--no-hooks: jobs need the study that a hook writes at the start; omit the option"
        )
    while OWN_HOOKS:
        name, run = OWN_HOOKS.popitem()
        later = getattr(workflow, name)
        setattr(workflow, name, lambda log, run=run, later=later: (run(), later(log)))


def begin():
    """Show what the sweeps will take, refuse what is too much, and write the study."""
    refuse_links()
    show_forecast()
    save_study()


def refuse_links():
    """An error if a link leads out of the results, to where the jobs would write."""
    from isoloss.study import links

    try:
        links.refuse_links(FLOW.root)
    except IsolossError as error:
        raise WorkflowError(escape.terminal(error)) from None


def show_forecast():
    """Print what the sweeps will take; an error if that is more than the study allows."""
    from isoloss.study import forecast

    forecasts = forecast.forecast(FLOW)
    if not any(one.left or one.at_most for one in forecasts):
        return
    given = workflow.resource_settings
    jobs = given.nodes or given.cores or 1
    escape.say(f"\n{forecast.table(forecasts, jobs)}", sys.stderr)
    try:
        forecast.check_cap(forecasts, forecast.cap_of(FLOW))
    except IsolossError as error:
        raise WorkflowError(escape.terminal(error)) from None


def save_study():
    """Write the effective study, and the tables fetched for it, if they changed."""
    from isoloss.study import verify

    verify.write_study(FLOW)
    SOURCES.keep(FETCHED, STUDY["aggregate"])


def save_provenance():
    """Write provenance.json: how the results were made."""
    from isoloss.study import verify

    verify.write_provenance(FLOW)


def show_state():
    """Print what the manifests record and Snakemake does not know."""
    if not any(Path(".snakemake/metadata").glob("*")):  # its records are missing
        changed = FLOW.changed()
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            logger.warning(
                f"results of other settings or code: {', '.join(changed[:3])}{more}. Snakemake has "
                "no records here and goes by the files' times: `python -m isoloss verify STUDY` "
                "prints how to make them again."
            )
    advice = "" if STUDY["strict_environment"] else "; strict_environment: true trains them again"
    for line in study.renamed(config)[1]:
        logger.warning(escape.terminal(line))
    for line in FLOW.other_versions():
        logger.warning(escape.terminal(line) + advice)


def show_summary():
    """Print the summary, if this invocation wrote it."""
    path = FLOW.root / "summary.md"
    if path.is_file() and path.stat().st_mtime >= STARTED:
        text = path.read_text(encoding="utf-8", errors="replace")
        escape.say(f"\n{text}", sys.stderr)


def finish():
    """Write how the results were made, and print the summary."""
    save_provenance()
    show_summary()


OWN_HOOKS = {"_onstart": begin, "_onsuccess": finish} if IN_MODULE else {}

if workflow.is_main_process:
    show_state()
