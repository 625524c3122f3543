"""The command line: one command a stage, and a few for people (argparse lives only here)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from isoloss.problems import IsolossError

STAGES = ["load", "expand", "plan", "train", "aggregate", "fit", "plot", "summarize"]
Command = Callable[[argparse.Namespace], None]


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
        "folder for runs.parquet and one JSON a shard",
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
    train.add_argument("--shard", required=True, metavar="FILE", help="the shard's JSON")
    train.add_argument("--rows", required=True, metavar="FILE", help="rows.parquet of the dataset")
    train.add_argument(
        "--index",
        required=True,
        nargs="+",
        metavar="FILE",
        help="index.parquet of every weighting that the sweep uses",
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
    fit.add_argument("--runs", required=True, metavar="FILE", help="runs.parquet")

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

    docs = command("docs", _docs, "Write the generated pages of the documentation.")
    docs.add_argument(
        "--out", type=Path, default=Path("docs"), metavar="DIR", help="where to (docs)"
    )
    docs.add_argument("--check", action="store_true", help="write nothing; exit 1 if one is stale")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit code is 0, or 2 where the user must mend something."""
    given = parser().parse_args(arguments)
    try:
        given.run(given)
    except IsolossError as error:
        print(f"isoloss {given.command}: {error}", file=sys.stderr)
        return 2
    return 0


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


def _load(given: argparse.Namespace) -> None:
    from isoloss import load, tables

    config, dataset = _study(given, "load", given.dataset)
    rows, audit = load.load_rows(
        dataset["card"], dataset["options"], dataset["valid_fraction"], config["seed"]
    )
    facts = {"study": config["study"], "dataset": given.dataset, "seed": config["seed"]}
    tables.write("rows", rows, given.out / "rows.parquet", facts)
    tables.write("audit", audit, given.out / "audit.parquet", facts)


def _expand(given: argparse.Namespace) -> None:
    from isoloss import expand, tables

    config, weights = _study(given, "expand", given.weighting)
    rows = tables.frame(given.rows, "rows")
    index, audit = expand.expand_table(rows, weights, config["seed"])
    facts = {"study": config["study"], "weighting": given.weighting, "seed": config["seed"]}
    facts["dataset"] = tables.facts(given.rows)["dataset"]
    tables.write("index", index, given.out / "index.parquet", facts)
    tables.write("audit", audit, given.out / "audit.parquet", facts)


def _plan(given: argparse.Namespace) -> None:
    from isoloss import tables
    from isoloss.train.plan import plan_sweep, shard_names

    config, sweep = _study(given, "train", given.sweep)
    plan = plan_sweep(sweep)
    for shard in shard_names(sweep["shards"]):
        mine = plan[plan["shard"] == shard].drop(columns="shard")
        runs = [{k: v for k, v in run.items() if v == v} for run in mine.to_dict("records")]
        text = json.dumps(runs, indent=1)
        _write_text(given.out / f"{shard}.json", text + "\n")
    facts = {"study": config["study"], "sweep": given.sweep}
    tables.write("plan", plan, given.out / "runs.parquet", facts)


def _train(given: argparse.Namespace) -> None:
    from isoloss import tables
    from isoloss.store import Store
    from isoloss.train.shard import train_shard

    config, sweep = _study(given, "train", given.sweep)
    try:
        runs = json.loads(Path(given.shard).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise IsolossError(f"{given.shard}: no plan of a shard ({error}); run `plan`") from error
    rows = tables.frame(given.rows, "rows")
    indices = {tables.facts(f)["weighting"]: tables.frame(f, "index") for f in given.index}
    lacking = sorted({run["weighting"] for run in runs} - set(indices))
    if lacking:
        raise IsolossError(f"--index lacks the weighting {lacking[0]!r}")
    limits = {key: sweep[key] for key in ("valid_tokens", "max_attempts")}
    shard = train_shard(runs, rows, indices, Store(given.store), seed=config["seed"], **limits)
    facts = {"study": config["study"], "sweep": given.sweep, "seed": config["seed"]}
    tables.write("shard", shard, given.out, facts)


def _aggregate(given: argparse.Namespace) -> None:
    from isoloss import aggregate, registry, tables

    config, _ = _study(given)
    facts = {"study": config["study"], "sweep": given.sweep, "token": "token"}
    if given.sweep in config["aggregate"]:
        table = config["aggregate"][given.sweep]
        found = aggregate.read_runs_table(table["table"], table["columns"], table["keep"])
    else:
        _, sweep = _study(given, "train", given.sweep)
        dataset = config["load"][sweep["dataset"]]
        facts["token"] = registry.facts("dataset", dataset["card"])["TOKEN"]
        if not (given.plan and given.shards and given.audits):
            raise IsolossError("a sweep needs --plan, --shards and --audits")
        plan = tables.frame(given.plan, "plan")
        shards = [tables.frame(f, "shard") for f in given.shards]
        audits = {tables.facts(f)["weighting"]: tables.frame(f, "audit") for f in given.audits}
        found = aggregate.gather_sweep(plan, shards, audits)
    for name, table in found.items():
        tables.write(name, table, given.out / f"{name}.parquet", facts)


def _fit(given: argparse.Namespace) -> None:
    from isoloss import fit, tables

    config, law = _study(given, "fit", given.law)
    runs = tables.frame(given.runs, "runs")
    settings = {k: v for k, v in law.items() if k not in ("card", "options", "sweep")}
    found = fit.fit_law(runs, law["card"], law["options"], seed=config["seed"], **settings)
    found.save(given.out, study=config["study"], sweep=law["sweep"], law=given.law)


def _plot(given: argparse.Namespace) -> None:
    from isoloss import plot

    _, figure = _study(given, "plot", given.figure)
    plot.draw(figure["card"], figure["options"], given.tables, given.out)


def _summarize(given: argparse.Namespace) -> None:
    from isoloss import summary

    config, _ = _study(given)
    text = summary.summarize(config["study"], config["summary"], given.tables, list(config["plot"]))
    _write_text(given.out, text)


def _check(given: argparse.Namespace) -> None:
    import yaml

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


def _docs(given: argparse.Namespace) -> None:
    from isoloss import docs

    stale = []
    for name, text in docs.pages().items():
        file = given.out / name
        if given.check:
            stale += [] if file.is_file() and file.read_text(encoding="utf-8") == text else [name]
        else:
            _write_text(file, text)
    if stale:
        raise IsolossError(f"stale: {', '.join(stale)}; run `python -m isoloss docs`")


def _write_text(path: Path, text: str) -> None:
    from isoloss.tables import prepare

    temporary = prepare(path)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
