"""The command line: one command a stage, and a few for people (argparse lives only here)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isoloss.problems import IsolossError

STAGES = ["load", "expand", "plan", "train", "aggregate", "fit", "plot", "summarize"]
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
    law.add_argument("table", metavar="TABLE", help="CSV or Parquet, path or URL")
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
        "Print the files whose code a stage's results depend on, each with its digest.",
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
    given = parser().parse_args(arguments)
    try:
        return given.run(given) or 0
    except IsolossError as error:
        print(f"isoloss {given.command}: {error}", file=sys.stderr)
    except OSError as error:  # a full disk, no leave to write: nothing has its name half-written
        print(f"isoloss {given.command}: {error}; mend it and run again", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"isoloss {given.command}: interrupted; run again to go on", file=sys.stderr)
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
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


def _study(given: argparse.Namespace, section: str | None = None, name: str = ""):
    """The study of a job and the section that it is about."""
    from isoloss import study
    from isoloss.problems import StudyError, nearest, problem

    config, wrong = study.complete(study.read(given.study))
    if wrong:
        raise StudyError(wrong, given.study)
    if section is None:
        return config, None
    if name not in config[section]:
        found = f"{name!r} is not in it"
        raise StudyError([problem(section, found, nearest(name, config[section]))], given.study)
    return config, config[section][name]


def _record(given: argparse.Namespace, config: dict[str, Any], stage: str, **names: str):
    """The study with its results, beside its file or its store, and the record of a job of it."""
    from isoloss import flow, manifest

    # typed by hand, a study's file may stand anywhere: the store is among the results
    store = getattr(given, "store", None)
    whole = flow.Flow(config, Path(store or given.study).parent)
    job = whole.job(stage, **names)
    place = given.out.with_suffix(".json") if job.one_file else given.out / manifest.NAME
    about = {
        "job": job.label,
        "specification": json.loads(whole.specification(stage, **names)),
        "code": whole.code(stage, **names),
    }
    return whole, manifest.Record(about, place)


def _load(given: argparse.Namespace) -> None:
    from isoloss import load, tables

    config, dataset = _study(given, "load", given.dataset)
    _, record = _record(given, config, "load", dataset=given.dataset)
    rows, audit = load.load_rows(
        dataset["card"], dataset["options"], dataset["valid_fraction"], config["seed"]
    )
    facts = {"study": config["study"], "dataset": given.dataset, "seed": config["seed"]}
    made = {"rows": rows, "audit": audit}
    record.makes(tables.write_all(made, given.out, facts))


def _expand(given: argparse.Namespace) -> None:
    from isoloss import expand, manifest, tables

    config, weights = _study(given, "expand", given.weighting)
    manifest.check(given.rows)
    record_of = {"dataset": tables.facts(given.rows)["dataset"], "weighting": given.weighting}
    _, record = _record(given, config, "expand", **record_of)
    record.takes(given.rows)
    rows = tables.frame(given.rows, "rows")
    index, audit = expand.expand_table(rows, weights, config["seed"])
    facts = {"study": config["study"], "seed": config["seed"], **record_of}
    made = {"index": index, "audit": audit}
    record.makes(tables.write_all(made, given.out, facts))


def _plan(given: argparse.Namespace) -> None:
    from isoloss import tables
    from isoloss.train.plan import plan_sweep

    config, sweep = _study(given, "train", given.sweep)
    _, record = _record(given, config, "plan", sweep=given.sweep)
    facts = {"study": config["study"], "sweep": given.sweep}
    tables.write("plan", plan_sweep(sweep), given.out / "runs.parquet", facts)
    record.makes([given.out / "runs.parquet"])


def _train(given: argparse.Namespace) -> None:
    from isoloss import tables
    from isoloss.problems import nearest
    from isoloss.store import Store
    from isoloss.train.identity import VERSIONS, Content
    from isoloss.train.plan import shard_names
    from isoloss.train.shard import Job, train_shard

    config, sweep = _study(given, "train", given.sweep)
    where = {"sweep": given.sweep, "shard": given.shard}
    if given.shard not in (known := shard_names(sweep["shards"])):
        raise IsolossError(f"no shard is called {given.shard!r}; {nearest(given.shard, known)}")
    whole, record = _record(given, config, "train", **where)
    record.takes(given.rows, *given.index)
    runs = whole.planned(given.sweep)[given.shard]
    rows = tables.frame(given.rows, "rows")
    indices = {tables.facts(f)["weighting"]: tables.frame(f, "index") for f in given.index}
    lacking = sorted({run["weighting"] for run in runs} - set(indices))
    if lacking:
        raise IsolossError(f"--index lacks the weighting {lacking[0]!r}")
    settings = ("valid_tokens", "max_attempts", "checkpoint_minutes", "keep_weights")
    job = Job(
        content=Content(rows, indices),
        store=Store(given.store),
        seed=config["seed"],
        code=whole.run_code(given.sweep),
        code_here=whole.run_code_here(given.sweep),
        among=whole.among(given.sweep),
        where=where,
        **{key: sweep[key] for key in settings},
    )
    shard = train_shard(runs, job)
    facts = {"study": config["study"], "sweep": given.sweep, "seed": config["seed"]}
    tables.write("shard", shard, given.out, facts)
    versions = shard[list(VERSIONS)].rename(columns=VERSIONS).drop_duplicates()
    record.makes([given.out], trained_with=versions.to_dict("records"))


def _aggregate(given: argparse.Namespace) -> None:
    from isoloss import aggregate, registry, tables

    config, _ = _study(given)
    _, record = _record(given, config, "aggregate", sweep=given.sweep)
    facts = {"study": config["study"], "sweep": given.sweep}
    if given.sweep in config["aggregate"]:
        _, table = _study(given, "aggregate", given.sweep)
        facts["token"] = "token"
        found = aggregate.read_runs_table(table["table"], table["columns"], table["keep"])
    else:
        _, sweep = _study(given, "train", given.sweep)
        dataset = config["load"][sweep["dataset"]]["card"]
        facts["token"] = registry.facts("dataset", dataset).get("TOKEN", "token")
        if not (given.plan and given.shards and given.audits):
            raise IsolossError("a sweep needs --plan, --shards and --audits")
        record.takes(given.plan, *given.shards, *given.audits)
        plan = tables.frame(given.plan, "plan")
        shards = [tables.frame(f, "shard") for f in given.shards]
        audits = {tables.facts(f)["weighting"]: tables.frame(f, "audit") for f in given.audits}
        found = aggregate.gather_sweep(plan, shards, audits)
    record.makes(tables.write_all(found, given.out, facts))


def _law(given: argparse.Namespace) -> None:
    from isoloss import law

    found = law.law_of_table(
        given.table,
        given.law,
        _pairs(given.columns, "--columns"),
        {k: _value(v) for k, v in _pairs(given.option, "--option").items()},
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
    print(found.text)
    out = given.out or Path(f"{Path(given.table.split('?')[0]).stem}-law")
    law.save(found, out)
    print(f"figure: {out / 'law.png'}; law.py, explain.md, params.tex and tables beside it")


def _pairs(words: list[str], place: str) -> dict[str, str]:
    """KEY=VALUE words as a mapping."""
    from isoloss.problems import problem

    for word in words:
        if "=" not in word:
            raise IsolossError(problem(place, f"found {word!r}", "write KEY=VALUE"))
    return dict(word.split("=", 1) for word in words)


def _value(text: str):
    """An option's value as YAML reads it."""
    from isoloss import yaml_text

    return yaml_text.load(text, "--option")


def _number(text: str, place: str) -> float:
    from isoloss.problems import problem

    try:
        return float(text)
    except ValueError:
        raise IsolossError(problem(place, f"found {text!r}", "give a number")) from None


def _fit(given: argparse.Namespace) -> None:
    from isoloss import fit, tables
    from isoloss.fit import points

    config, law = _study(given, "fit", given.law)
    _, record = _record(given, config, "fit", sweep=law["sweep"], law=given.law)
    record.takes(*given.tables)
    found = {tables.facts(file)["table"]: tables.frame(file) for file in given.tables}
    if "runs" not in found:
        raise IsolossError("--tables lacks runs.parquet")
    runs = points.points(found["runs"], law["points"], found.get("curves"))
    if "mixtures" in found:
        runs = points.by_domain(runs, found["mixtures"], found["losses"], law.get("tag_key"))
    rows = ("card", "options", "sweep", "points", "tag_key")
    settings = {k: v for k, v in law.items() if k not in rows}
    found = fit.fit_law(runs, law["card"], law["options"], seed=config["seed"], **settings)
    facts = {"study": config["study"], "sweep": law["sweep"]}
    record.makes(found.save(given.out, law=given.law, **facts))


def _plot(given: argparse.Namespace) -> None:
    from isoloss import plot

    config, figure = _study(given, "plot", given.figure)
    _, record = _record(given, config, "plot", figure=given.figure)
    record.takes(*given.tables)
    record.makes(plot.draw(figure["card"], figure["options"], given.tables, given.out))


def _summarize(given: argparse.Namespace) -> None:
    from isoloss import summary, tables

    config, _ = _study(given)
    _, record = _record(given, config, "summarize")
    record.takes(*given.tables)
    text = summary.summarize(config["study"], config["summary"], given.tables, list(config["plot"]))
    tables.write_text(given.out, text)
    record.makes([given.out])


def _check(given: argparse.Namespace) -> None:
    import yaml

    from isoloss import yaml_text

    yaml_text.read(given.study)  # before much is imported: a bomb is refused at once

    from isoloss import check

    config = check.checked(given.study)
    if given.effective:
        print(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), end="")
    else:
        print(f"{given.study}: nothing wrong")


def _cards(given: argparse.Namespace) -> None:
    from isoloss import registry

    for name in registry.names(given.kind):
        facts = registry.facts(given.kind, name)
        print(
            f"{name:20s} {facts['TITLE']}" + (f": {facts['FORMULA']}" if "FORMULA" in facts else "")
        )


def _digest(given: argparse.Namespace) -> None:
    from isoloss import flow, provenance

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
        print(f"{digest}  {provenance.file_of(module).relative_to(provenance.HOME.parent)}")


def _flow(given: argparse.Namespace, file: str | None = None, fetch: bool = False):
    """A study with its results, as people name it; `fetch` looks into tables made elsewhere."""
    from isoloss import check, flow

    config = check.checked(file or given.study, fetch=fetch)
    root = given.directory / "results" / config["study"]
    if not root.is_dir():
        raise IsolossError(f"{root}: no results of this study; run it, or give --directory")
    return flow.Flow(config, root)


def _status(given: argparse.Namespace) -> None:
    from isoloss import status

    print(status.report(_flow(given)), end="")


def _retry(given: argparse.Namespace) -> None:
    from isoloss import status

    for run in (found := status.retry(_flow(given), given.named, given.diverged)):
        print(run)
    said = f"to be trained at the next `snakemake --configfile {given.study}`"
    print(f"{len(found)} {'run' if len(found) == 1 else 'runs'} {said if found else 'failed'}")


def _verify(given: argparse.Namespace) -> int:
    from isoloss import verify

    flow = _flow(given, fetch=True)
    found = verify.findings(flow)
    print(verify.report(flow, found, given.study, str(given.directory)), end="")
    return int(any(one.wrong for one in found))


def _adopt(given: argparse.Namespace) -> int:
    from isoloss import verify

    flow = _flow(given, fetch=True)
    count = verify.adopt(flow)
    found = verify.findings(flow)
    print(f"{count} files have the times of their order")
    print(verify.report(flow, found, given.study, str(given.directory)), end="")
    return int(any(one.wrong for one in found))


def _accept(given: argparse.Namespace) -> None:
    from isoloss import verify

    flow = _flow(given, fetch=True)
    lines = verify.accept(flow, given.reason)
    for line in lines:
        print(f"{line['job']}: the code here stands for {line['from']}")
    print(f"{len(lines)} accepted; see {flow.accepted_file}" if lines else "no code has changed")


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
        print(f"{path}  {size / 1e6:.2f} MB  {what}")
        if given.remove:
            status.remove(path)
    said = "removed" if given.remove else "that no study refers to; --remove removes them"
    print(f"{len(found)} entries, {total / 1e6:.2f} MB {said}" if found else "nothing is unused")


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
