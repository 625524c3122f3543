"""The command line: one command a stage, and a few for people (argparse lives only here)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from isoloss.escape import print_anything, say, shows, visible
from isoloss.problems import IsolossError, problem

STAGES = ["load", "expand", "plan", "train", "aggregate", "fit", "plot", "summarize"]
# arguments that are no path
WORDS = {"columns", "option", "keep", "fix", "tie", "cluster", "reason", "named"}
Command = Callable[[argparse.Namespace], int | None]


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="python -m isoloss", description=__doc__.split("\n")[0])
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Command, help: str, more: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=help,
            description=f"{help} {more}".strip(),
        )
        made.set_defaults(run=run)
        return made

    def stage(name: str, run: Command, help: str, out: str, more: str = ""):
        made = command(name, run, help, more)
        made.add_argument("--study", required=True, metavar="FILE", help="the study (YAML)")
        made.add_argument("--out", required=True, type=Path, metavar="PATH", help=out)
        made.add_argument(
            "--expects", metavar="DIGEST", help="make nothing but what snakemake started (optional)"
        )
        return made

    load = stage(
        "load", _load, "Cut a dataset into rows with tags and sides.", "folder for rows and audit"
    )
    load.add_argument("--dataset", required=True, metavar="NAME", help="one of the study's `load`")

    expand = stage(
        "expand",
        _expand,
        "Repeat or drop training rows by the weights of their tags.",
        "folder for index and audit",
    )
    expand.add_argument("--weighting", required=True, metavar="NAME", help="one of `expand`")
    expand.add_argument("--rows", required=True, metavar="FILE", help="rows.parquet of the dataset")

    plan = stage(
        "plan",
        _plan,
        "Spell a sweep out, before anything is trained.",
        "folder for runs.parquet",
    )
    plan.add_argument("--sweep", required=True, metavar="NAME", help="one of the study's `train`")

    train = stage(
        "train",
        _train,
        "Train the runs of one shard, on one thread.",
        "the shard's table",
        "A run that diverges or fails is a row with its reason; the others go on.",
    )
    train.add_argument("--sweep", required=True, metavar="NAME", help="one of the study's `train`")
    train.add_argument("--shard", required=True, metavar="NAME", help="which shard of the plan")
    train.add_argument("--rows", required=True, metavar="FILE", help="rows.parquet of the dataset")
    train.add_argument(
        "--index",
        default=[],
        nargs="*",
        metavar="FILE",
        help="index.parquet of every weighting that the shard uses",
    )

    train.add_argument(
        "--store", required=True, metavar="DIR", help="finished runs, never trained again"
    )

    aggregate = stage(
        "aggregate",
        _aggregate,
        "Gather runs into one table: of a sweep, or of a table made elsewhere.",
        "folder for runs, losses, curves, mixtures and timing",
    )
    aggregate.add_argument(
        "--sweep", required=True, metavar="NAME", help="one of the study's `train` or `aggregate`"
    )
    aggregate.add_argument("--plan", metavar="FILE", help="runs.parquet of the plan (sweeps)")
    aggregate.add_argument(
        "--shards", nargs="*", default=[], metavar="FILE", help="tables of all shards (sweeps)"
    )
    aggregate.add_argument(
        "--audits", nargs="*", default=[], metavar="FILE", help="audits of its weightings (sweeps)"
    )

    fit = stage("fit", _fit, "Fit a law to runs.", "folder for the fit's tables")
    fit.add_argument("--law", required=True, metavar="NAME", help="one of the study's `fit`")
    fit.add_argument(
        "--tables",
        required=True,
        nargs="+",
        metavar="FILE",
        help="runs of its sweep; curves, or losses and mixtures, where it is fitted to them",
    )

    plot = stage("plot", _plot, "Draw a figure.", "the PNG; PDF and table go beside it")
    plot.add_argument("--figure", required=True, metavar="NAME", help="one of the study's `plot`")
    plot.add_argument(
        "--tables", required=True, nargs="+", metavar="FILE", help="the tables that its card needs"
    )

    summarize = stage(
        "summarize", _summarize, "Say in a few lines what was found.", "the Markdown file"
    )
    summarize.add_argument(
        "--tables",
        nargs="*",
        default=[],
        metavar="FILE",
        help="all runs, losses, curves, mixtures and tables of fits",
    )

    law = command(
        "law",
        _law,
        "Fit a law to a table of runs, without a study: its parameters with intervals, the",
        "evidence for it, its error on runs held out, the best division of budgets, a figure.",
    )
    law.add_argument("table", metavar="TABLE", help="CSV or Parquet, path or http(s) address")
    law.add_argument("--law", metavar="CARD", help="law card (guessed from the columns)")
    law.add_argument(
        "--columns",
        nargs="+",
        action="extend",
        default=[],
        metavar="LETTER=NAME",
        help="columns for N, D, C, U, loss, group, run_id, of_run, fit_weight (guessed)",
    )
    law.add_argument(
        "--option",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="options of the law card",
    )
    law.add_argument(
        "--keep", nargs="+", action="extend", default=[], metavar="EXPR", help="filters: loss < 3.5"
    )
    law.add_argument(
        "--fix",
        nargs="+",
        action="extend",
        default=[],
        metavar="TERM=VALUE",
        help="parameters not fitted",
    )
    law.add_argument(
        "--tie",
        nargs="+",
        action="extend",
        default=[],
        metavar="TERM,TERM",
        help="parameters of one value",
    )
    law.add_argument("--objective", default="huber_log", help="what is minimised (huber_log)")
    law.add_argument("--delta", type=float, default=1e-3, help="of Huber objectives (0.001)")
    law.add_argument("--interval", default="bootstrap", help="how intervals are made (bootstrap)")
    law.add_argument("--cluster", metavar="COLUMN", help="column to draw runs together by")
    law.add_argument("--bootstrap", type=int, help="replicates (4000; 200 of mixtures)")
    law.add_argument("--level", type=float, default=0.95, help="of the intervals (0.95)")
    law.add_argument("--seed", type=int, default=0, help="of the bootstrap (0)")
    law.add_argument(
        "--flops",
        nargs="+",
        action="extend",
        type=float,
        default=[],
        metavar="C",
        help="budgets to divide",
    )
    law.add_argument("--max-seconds", type=float, metavar="S", help="for all of a download (120)")
    law.add_argument(
        "--max-mib",
        type=float,
        metavar="MIB",
        help="of the table as it comes, unpacked and in memory (256)",
    )
    law.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="for the tables, the figure, law.py and explain.md (the table's name and -law)",
    )

    check = command("check", _check, "Check a study before anything runs, all problems at once.")
    check.add_argument("study", metavar="FILE", help="the study (YAML)")
    check.add_argument("--effective", action="store_true", help="print it with every default")

    cards = command("cards", _cards, "List the cards of a kind: what a study can name.")
    cards.add_argument("kind", choices=["dataset", "model", "law", "figure"], help="which cards")

    digest = command(
        "digest",
        _digest,
        "Print the files whose code a stage's results depend on, and the contracts of the tables "
        "that it writes, each with its digest.",
        "`run` is the part that is a run's identity.",
    )
    digest.add_argument("stage", choices=["run", *STAGES], help="which stage")
    digest.add_argument(
        "--cards", nargs="*", default=[], metavar="KIND/NAME", help="cards that it uses"
    )

    def of_results(name: str, run: Command, help: str, more: str = "", several: bool = False):
        made = command(name, run, help, more)
        made.add_argument(
            "study", metavar="FILE", nargs="+" if several else None, help="the study (YAML)"
        )
        made.add_argument(
            "--directory",
            type=Path,
            default=Path(),
            metavar="DIR",
            help="where results/ is, as for snakemake (here)",
        )
        return made

    of_results(
        "status",
        _status,
        "Say how the runs of a study stand: done, running, failed, diverged, missing.",
        "With the seconds spent and left, and the log of every failure.",
    )
    retry = of_results("retry", _retry, "Have runs that failed trained again, however often.")
    retry.add_argument(
        "--run",
        dest="named",
        nargs="+",
        default=[],
        metavar="ID",
        help="these runs only, by id or digest",
    )
    retry.add_argument("--diverged", action="store_true", help="also those that diverged")

    of_results(
        "verify",
        _verify,
        "Compare every result with study and code: file, reason, fix; exit code 1 if one is wrong.",
    )
    of_results(
        "adopt",
        _adopt,
        "Set the times of copied results in the order of their jobs, after verifying them.",
        "For a copy that lost its times and has no .snakemake.",
    )
    accept = of_results(
        "accept",
        _accept,
        "Declare that an edit of code changes no number: results made before it stand.",
        "Logged in results/<study>/accepted.jsonl.",
    )
    accept.add_argument(
        "--reason", required=True, metavar="TEXT", help="why no number can have changed"
    )
    gc = of_results(
        "gc",
        _gc,
        "List what is kept of runs that no study refers to.",
        "Give every study of these results.",
        several=True,
    )
    gc.add_argument("--remove", action="store_true", help="remove what is listed")

    docs = command("docs", _docs, "Write the generated pages of the documentation.")
    docs.add_argument(
        "--out", type=Path, default=Path("docs"), metavar="DIR", help="where to (docs)"
    )
    docs.add_argument("--check", action="store_true", help="write nothing; exit 1 if one is stale")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    The exit code is 0; 1 where results were found wrong; 2 where the user must mend something;
    130 after Ctrl-C.
    """
    print_anything()
    try:
        given = _words(parser().parse_args(arguments))
    except SystemExit:  # what --help printed may go to a pipe that is closed, or to a full disk
        with suppress(OSError):
            say("", end="")
        raise
    try:
        return given.run(given) or 0
    except IsolossError as error:
        say(f"isoloss {given.command}: {error}", sys.stderr)
    except OSError as error:  # a full disk, no leave to write: nothing has its name half-written
        say(f"isoloss {given.command}: {error}; mend it and run again", sys.stderr)
    except KeyboardInterrupt:
        say(f"isoloss {given.command}: interrupted; run again to go on", sys.stderr)
        return 130
    return 2


def refuse_bombs(arguments: Sequence[str] | None = None) -> None:
    """End the process with a message if a study on Snakemake's command line must not be read.

    Snakemake reads `--configfile` and `--config` before the Snakefile, with a loader that follows
    aliases without end. `profiles/default` calls this before that.

    Args:
        arguments: of Snakemake; those of this process if None.
    """
    from isoloss import yaml_text

    options = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    options.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[])
    options.add_argument("--config", "-C", nargs="*", action="extend", default=[])
    try:
        given, _ = options.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    except argparse.ArgumentError:
        return  # Snakemake says what is wrong with them
    try:
        for file in filter(os.path.exists, given.configfile):  # Snakemake says what is missing
            yaml_text.read(file)
        for entry in given.config:
            key, _, text = entry.partition("=")
            yaml_text.look_at_value(text, f"--config {key[: yaml_text.KEY]}")
    except IsolossError as error:
        say(error, sys.stderr)
        raise SystemExit(1) from None


def _words(given: argparse.Namespace) -> argparse.Namespace:
    """What was given, its words as UTF-8 whatever the locale; paths keep their bytes."""
    for name in WORDS & set(vars(given)):
        value = getattr(given, name)
        if isinstance(value, str):
            setattr(given, name, _word(value))
        elif value is not None:
            setattr(given, name, [_word(word) for word in value])
    return given


def _word(text: str) -> str:
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        return text


def _job(given: argparse.Namespace, stage: str, **names: str):
    """A job of the study that was given, at work."""
    from isoloss.work import RunningJob

    # typed by hand, a study's file may stand anywhere: the store is among the results
    store = getattr(given, "store", None)
    root = Path(store).parent if store else None
    return RunningJob(given.study, given.out, stage, names, root, given.expects)


def _facts(job, *names: str) -> dict[str, Any]:
    """What every table of a job says of itself: the study, and some of the job's names."""
    return {"study": job.flow.config["study"]} | {name: job.names[name] for name in names}


def _load(given: argparse.Namespace) -> None:
    from isoloss.load import stage

    with _job(given, "load", dataset=given.dataset) as job:
        facts = _facts(job, "dataset") | {"seed": job.specification["seed"]}
        job.makes(lambda out: stage.run(job.specification, out, facts))


def _expand(given: argparse.Namespace) -> None:
    from isoloss import manifest, tables
    from isoloss.expand import stage

    manifest.check(given.rows)
    dataset = tables.facts(given.rows).get("dataset", "")
    with _job(given, "expand", dataset=dataset, weighting=given.weighting) as job:
        job.takes(given.rows)
        facts = _facts(job, "dataset", "weighting") | {"seed": job.specification["seed"]}
        job.makes(lambda out: stage.run(job.specification, given.rows, out, facts))


def _plan(given: argparse.Namespace) -> None:
    from isoloss.train import plan

    with _job(given, "plan", sweep=given.sweep) as job:
        sweep, facts = job.flow.config["train"][given.sweep], _facts(job, "sweep")
        job.makes(lambda out: plan.run(sweep, out, facts))


def _train(given: argparse.Namespace) -> None:
    from isoloss.train import stage

    with _job(given, "train", sweep=given.sweep, shard=given.shard) as job:
        job.takes(given.rows, *given.index)
        flow, sweep = job.flow, job.flow.config["train"][given.sweep]
        settings = {
            "code": flow.run_code(given.sweep),
            "code_here": flow.run_code_here(given.sweep),
            "among": flow.among(given.sweep),
            "where": job.names,
            **{key: sweep[key] for key in ("max_attempts", "checkpoint_minutes", "keep_weights")},
        }
        runs, files = flow.planned(given.sweep)[given.shard], (given.rows, given.index, given.store)
        facts = _facts(job, "sweep") | {"seed": job.specification["seed"]}
        job.makes(
            lambda out: stage.run(job.specification, runs, *files, settings, out, facts),
            lambda files: {"trained_with": stage.versions(files[0])},
        )


def _aggregate(given: argparse.Namespace) -> None:
    from isoloss.aggregate import stage

    with _job(given, "aggregate", sweep=given.sweep) as job:
        facts, table = _facts(job, "sweep"), job.flow.config["aggregate"].get(given.sweep)
        if table is not None:
            source = job.flow.sources.read(given.sweep, table)
            job.makes(lambda out: stage.run_table(job.specification, source, out, facts))
            return
        if not (given.plan and given.shards and given.audits):
            raise IsolossError("a sweep needs --plan, --shards and --audits")
        job.takes(given.plan, *given.shards, *given.audits)
        files = given.plan, given.shards, given.audits
        job.makes(lambda out: stage.run(job.specification, *files, out, facts))


def _fit(given: argparse.Namespace) -> None:
    from isoloss.fit import stage

    with _job(given, "fit", law=given.law) as job:
        job.takes(*given.tables)
        facts = _facts(job, "sweep", "law")
        job.makes(lambda out: stage.run(job.specification, given.tables, out, facts))


def _plot(given: argparse.Namespace) -> None:
    from isoloss.plot import stage

    with _job(given, "plot", figure=given.figure) as job:
        job.takes(*given.tables)
        job.makes(lambda out: stage.run(job.specification, given.tables, out))


def _summarize(given: argparse.Namespace) -> None:
    from isoloss import summary

    with _job(given, "summarize") as job:
        job.takes(*given.tables)
        job.makes(lambda out: summary.run(job.specification, given.tables, out))


def _law(given: argparse.Namespace) -> None:
    from isoloss import law, sources

    out = given.out
    if out is not None and out.resolve() == Path(given.table).resolve().parent:
        found = f"{visible(out)!r} is the folder of the table, which could be overwritten"
        raise IsolossError(problem("--out", found, "name a folder of its own"))
    limits = {"max_seconds": given.max_seconds, "max_mib": given.max_mib}
    limits = sources.Limits(**{key: value for key, value in limits.items() if value is not None})
    table = sources.open_source(given.table, limits)
    found = law.law_of_table(
        table,
        given.law,
        _pairs(given.columns, "--columns"),
        {k: _value(v, f"--option {k}") for k, v in _pairs(given.option, "--option").items()},
        given.keep,
        given.flops,
        fixed={k: _number(v, f"--fix {k}") for k, v in _pairs(given.fix, "--fix").items()},
        tied=[group.split(",") for group in given.tie],
        objective=given.objective,
        delta=given.delta,
        interval=given.interval,
        cluster=given.cluster,
        bootstrap=given.bootstrap,
        ci_level=given.level,
        seed=given.seed,
    )
    out = out or Path(f"{table.address.stem}-law")
    try:
        law.save(found, out)
    finally:  # what was fitted is said even where it cannot be saved
        say(found.text)
    say(f"figure: {out / 'law.png'}; law.py, explain.md, params.tex and tables beside it")


def _pairs(words: list[str], place: str) -> dict[str, str]:
    """KEY=VALUE words as a mapping."""
    for word in words:
        if "=" not in word:
            raise IsolossError(problem(place, f"found {word!r}", "write KEY=VALUE"))
    pairs = [word.split("=", 1) for word in words]
    keys = [key for key, _ in pairs]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise IsolossError(problem(place, f"{twice[0]!r} appears twice", "give it once"))
    return dict(pairs)


def _value(text: str, place: str):
    """An option's value as YAML reads it."""
    from isoloss import yaml_text

    return yaml_text.load(text, place)


def _number(text: str, place: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise IsolossError(problem(place, f"found {text!r}", "give a number")) from None


def _check(given: argparse.Namespace) -> None:
    import yaml

    from isoloss import yaml_text

    yaml_text.read(given.study)  # before much is imported: a bomb is refused at once

    from isoloss import check

    config = check.checked(given.study)
    if given.effective:
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        if not shows(text):  # YAML has escapes of its own
            text = yaml.safe_dump(config, sort_keys=False)
        say(text, end="")
    else:
        say(f"{given.study}: nothing wrong")


def _cards(given: argparse.Namespace) -> None:
    from isoloss import registry

    for name in registry.names(given.kind):
        facts = registry.facts(given.kind, name)
        say(
            f"{name:20s} {facts['TITLE']}" + (f": {facts['FORMULA']}" if "FORMULA" in facts else "")
        )


def _digest(given: argparse.Namespace) -> None:
    from isoloss import flow, provenance, tables

    cards = [tuple(card.partition("/")[::2]) for card in given.cards]
    if given.stage == "run":
        models = [name for kind, name in cards if kind == "model"]
        if len(models) != 1:
            raise IsolossError("a run's code has one model card: --cards model/NAME")
        modules = provenance.run_code(models[0])
    else:
        modules = provenance.closure(flow.entries(given.stage, cards))
    for module in modules:
        digest = provenance.module_digest(module, words=given.stage != "run")
        say(f"{digest}  {provenance.file_of(module).relative_to(provenance.HOME.parent)}")
    for table in flow.WRITES.get(given.stage, ()):
        say(f"{tables.contract_digest(table)}  schemas/tables.yaml, {table}")
    for table in flow.USES_ROLES.get(given.stage, ()):
        say(f"{tables.roles_digest(table)}  schemas/tables.yaml, roles of {table}")


def _flow(given: argparse.Namespace, file: str | None = None, fetch: bool = False):
    """A study with its results, as people name it; `fetch` looks into tables made elsewhere."""
    from isoloss import check, flow, study
    from isoloss.sources import KEPT, Sources

    file = file or given.study
    config = study.read(file)
    root = given.directory / "results" / str(config.get("study"))
    tables_of_runs = Sources(kept=Path(file).parent / KEPT, copies=root / KEPT)
    config = check.check(config, file, fetch, tables_of_runs)
    if not root.is_dir():
        raise IsolossError(f"{root}: no results of this study; run it, or give --directory")
    return flow.Flow(config, root, tables_of_runs)


def _status(given: argparse.Namespace) -> None:
    from isoloss import status

    say(status.report(_flow(given)), end="")


def _retry(given: argparse.Namespace) -> None:
    from isoloss import status

    for run in (found := status.retry(_flow(given), given.named, given.diverged)):
        say(run)
    said = f"to be trained at the next `snakemake --configfile {given.study}`"
    say(f"{len(found)} {'run' if len(found) == 1 else 'runs'} {said if found else 'failed'}")


def _verify(given: argparse.Namespace) -> int:
    from isoloss import verify

    flow = _flow(given, fetch=True)
    found = verify.findings(flow)
    say(verify.report(flow, found, given.study, str(given.directory)), end="")
    return int(any(one.wrong for one in found))


def _adopt(given: argparse.Namespace) -> int:
    from isoloss import verify

    flow = _flow(given, fetch=True)
    count = verify.adopt(flow)
    found = verify.findings(flow)
    say(f"{count} files have the times of their order")
    say(verify.report(flow, found, given.study, str(given.directory)), end="")
    return int(any(one.wrong for one in found))


def _accept(given: argparse.Namespace) -> None:
    from isoloss import verify

    flow = _flow(given, fetch=True)
    lines = verify.accept(flow, given.reason)
    for line in lines:
        say(f"{line['job']}: the code here stands for {line['from']}")
    say(f"{len(lines)} accepted; see {flow.accepted_file}" if lines else "no code has changed")


def _gc(given: argparse.Namespace) -> None:
    from isoloss import status

    flows = [_flow(given, file) for file in given.study]
    if len({flow.root for flow in flows}) > 1:
        raise IsolossError("studies of several names have results of their own; one at a time")
    total = 0
    found = status.unused(flows)
    for path, what in found:
        size = status.size(path)
        total += size
        say(f"{path}  {size / 1e6:.2f} MB  {what}")
        if given.remove:
            status.remove(path)
    said = "removed" if given.remove else "that no study refers to; --remove removes them"
    say(f"{len(found)} entries, {total / 1e6:.2f} MB {said}" if found else "nothing is unused")


def _docs(given: argparse.Namespace) -> None:
    from isoloss import docs, tables

    stale = []
    for name, text in docs.pages().items():
        file = given.out / name
        if given.check:
            stale += [] if file.is_file() and file.read_text(encoding="utf-8") == text else [name]
        else:
            tables.write_text(file, text)
    if stale:
        raise IsolossError(f"stale: {', '.join(stale)}; run `python -m isoloss docs`")


if __name__ == "__main__":
    sys.exit(main())
