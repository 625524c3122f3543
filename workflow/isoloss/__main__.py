"""The command line: one command a stage, and a few for people (argparse lives only here)."""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from isoloss.core import command_words, extras, registry
from isoloss.core.command_words import Form, Option
from isoloss.core.ending import TRY_AGAIN, TerminatedError, told_to_end
from isoloss.core.escape import print_anything, say, shows, visible
from isoloss.core.paths import real
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.stages import Argument, Stage, stages

# arguments that are not paths
WORDS = {
    "columns",
    "where",
    "option",
    "bounds",
    "shared",
    "baseline",
    "keep",
    "scale",
    "best_of",
    "loss_unit",
    "fix",
    "tie",
    "cluster",
    "reason",
    "named",
    "dataset",
    "weighting",
    "at",
    "group",
    "minimize",
    "over",
    "subject_to",
    "given",
    "within",
    "integers",
    "formula",
}
Command = Callable[[argparse.Namespace], int | None]


# what people use, in the order of the overview; a command that stands in no list is one of these
FOR_PEOPLE = ("law", "discover", "predict", "import", "init", "check", "run", "cards", "csv")
OF_RESULTS = (
    "sweep", "status", "retry", "verify", "adopt", "accept", "gc", "leftovers", "export",
)  # fmt: skip
OF_DEVELOPERS = ("digest", "docs")
# choices that the help shows without importing what computes; a test compares them
LOSS_UNITS = ("nats", "bits", "bits_per_byte", "nats_per_byte", "perplexity", "error", "accuracy")
OBJECTIVES = (
    "auto",
    "huber_log",
    "huber_scaled",
    "log_mse",
    "mse",
    "huber",
    "mae",
    "asymmetric_mae",
)
INTERVALS = ("bootstrap", "residual", "parametric", "profile", "none")
_OF_ONE_VALUE = {"--bounds": "--fix", "--within": "--given"}  # in the place of two equal limits
HOLDOUTS = ("largest_compute", "largest", "roll_out", "leave_one_out", "random", "none")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help with an option's several words written once: `--columns LETTER=NAME ...`."""

    def __init__(self, prog: str):
        columns = min(100, shutil.get_terminal_size().columns - 2)
        super().__init__(prog, max_help_position=30, width=columns)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs not in ("+", "*"):
            return super()._format_args(action, default_metavar)
        (metavar,) = self._metavar_formatter(action, default_metavar)(1)
        return f"{metavar} ..."


class _Parser(argparse.ArgumentParser):
    """The arguments of a command.

    Attributes:
        about: a sentence about it.
        commands: its commands by name.
        forms: of the words of options that take several: where a word has another form, the
            option ends. An option without one takes all words up to the next option.
    """

    def __init__(self, **settings):
        super().__init__(formatter_class=_Help, **settings)
        self.about = ""
        self.commands: Mapping[str, _Parser] = {}
        self.forms: dict[str, Form] = {}

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and what is wrong in a line."""
        command = self.prog.removeprefix("python -m ")
        say(f"{command}: {message.removeprefix('argument ')}; see {self.prog} --help", sys.stderr)
        raise SystemExit(2)

    def arranged(self, words: Sequence[str]) -> list[str]:
        """The words of the command so that no option takes what belongs to the command."""
        options, needs = {}, 0
        for action in self._actions:
            takes = None if action.nargs in ("+", "*") else 0 if action.nargs == 0 else 1
            for name in action.option_strings:
                options[name] = Option(name, takes, self.forms.get(name))
            needs += not action.option_strings and action.nargs != "*"
        if any(action.nargs == argparse.REMAINDER for action in self._actions):
            return list(words)
        for name in command_words.unknown(words, options):
            do = command_words.instead(name, words, options)
            self.error(f"{name}: unknown option" + (f"; {do}" if do else ""))
        for option, pair, word in command_words.cut_off(words, options):
            if not os.path.exists(word):
                do = f"write several values with commas between them: {pair},{word}"
                self.error(f"{option} {pair}: {word!r} stands apart; {do}")
        for name in command_words.twice(words, options):
            self.error(f"{name} is given twice; give it once")
        return command_words.arranged(words, options, needs)


class _Version(argparse.Action):
    """Print the version and end."""

    def __call__(self, parser, *_) -> None:
        """Print it."""
        from isoloss.records import environment

        say(f"isoloss {environment.versions()['isoloss']}")
        parser.exit()


def parser(program: str = "isoloss") -> _Parser:
    """The whole command line.

    Args:
        program: what the user typed: isoloss, or python -m isoloss.
    """
    top = _Parser(prog=program, usage=f"{program} COMMAND ...", add_help=False)
    commands = top.add_subparsers(
        dest="command", metavar="COMMAND", prog=program, help=argparse.SUPPRESS
    )
    top.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    top.add_argument("--version", action=_Version, nargs=0, help=argparse.SUPPRESS)
    for stage in stages().values():
        _add_stage(commands, stage)
    of_tables = (_add_law, _add_discover, _add_predict, _add_init, _add_import)
    of_studies = (_add_check, _add_run, _add_results, _add_canary, _add_leftovers, _add_export)
    for add in (*of_tables, *of_studies, _add_cards, _add_digest, _add_csv, _add_docs):
        add(commands)
    top.commands = commands.choices
    top.description = _all_commands(program, top.commands)
    return top


def _overview(program: str) -> str:
    """What is printed where no command is given: the usual ways in."""
    ways = {
        "Fit a law to a table of your runs (CSV, JSON, Parquet, Excel, ...):": [
            "law runs.csv",
        ],
        "Make a study of such a table, with every table and figure, to edit and keep:": [
            "init runs.csv --out study.yaml",
            "run study.yaml",
        ],
        "Train a sweep of small models, and fit laws to it (minutes on a laptop):": [
            "init --sweep --out sweep.yaml",
            "run sweep.yaml",
        ],
    }
    lines = ["isoloss: a laboratory for neural scaling laws", ""]
    for title, typed in ways.items():
        lines += [title, *(f"  {program} {words}" for words in typed), ""]
    lines.append(f"All commands: {program} --help; one of them: {program} COMMAND --help")
    return "\n".join(lines)


def _all_commands(program: str, commands: Mapping[str, _Parser]) -> str:
    """Every command with its first sentence, in groups."""
    about = {name: made.about for name, made in commands.items()}
    of_stages = [*stages(), "canary"]
    listed = {*FOR_PEOPLE, *OF_RESULTS, *OF_DEVELOPERS, *of_stages}
    people = [*FOR_PEOPLE, *(name for name in about if name not in listed)]
    groups = {
        "For people": people,
        "About the results of a study": OF_RESULTS,
        "For developers": OF_DEVELOPERS,
        "Stages of a study, which the workflow calls": of_stages,
    }
    lines = ["isoloss: a laboratory for neural scaling laws"]
    for title, names in groups.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:11s} {about[name]}" for name in names if name in about]
    more = f"{program} COMMAND --help explains a command; {program} --version prints the version."
    return "\n".join([*lines, "", more])


def _command(commands, name: str, run: Command, help: str, more: str = "", **settings):
    """A command.

    Args:
        commands: of the command line.
        name: of it.
        run: what it does.
        help: a sentence about it, for the list of commands.
        more: what else its own help says.
        **settings: of its parser.
    """
    filled = textwrap.fill(f"{help} {more}".strip(), 98)
    made = commands.add_parser(name, description=filled, **settings)
    made.set_defaults(run=run)
    made.about = help
    return made


def _add_list(made, group, option: str, form: Form | None, metavar: str, help: str) -> None:
    """Add an option of several words, of a form, that may be given again to add further ones."""
    group.add_argument(option, nargs="+", action="extend", default=[], metavar=metavar, help=help)
    if form is not None:
        made.forms[option] = form


def _add_stage(commands, stage: Stage) -> None:
    made = _command(commands, stage.name, _stage, stage.about, stage.more)
    _add_job(made, stage.out)
    for argument in stage.arguments:
        _add_argument(made, argument)


def _add_job(made: argparse.ArgumentParser, out: str) -> None:
    made.add_argument("--study", required=True, metavar="FILE", help="the study (YAML)")
    made.add_argument("--out", required=True, type=Path, metavar="PATH", help=out)
    made.add_argument(
        "--expects", metavar="DIGEST", help="make nothing but what snakemake started (optional)"
    )


def _add_argument(made: argparse.ArgumentParser, argument: Argument) -> None:
    several = {"nargs": "+" if argument.required else "*"} if argument.many else {}
    default = {"default": []} if argument.many and not argument.required else {}
    made.add_argument(
        f"--{argument.name}",
        required=argument.required,
        metavar=argument.metavar,
        help=argument.about,
        **several,
        **default,
    )


def _add_law(commands) -> None:
    law = _command(
        commands,
        "law",
        _law,
        "Fit a law to a table of runs, without a study.",
        "Prints a verdict, the parameters with intervals, the evidence for them, the error on runs "
        "held out and the best division of budgets; writes tables, a figure, law.py and texts.",
        usage="%(prog)s TABLE ... [options]",
        add_help=False,
        epilog=_EXAMPLES_OF_LAW,
    )
    _add_table_of_law(law, law.add_argument_group("of the table"))
    _add_fit_of_law(law, law.add_argument_group("of the fit"))
    _add_intervals(law.add_argument_group("intervals"))
    _add_decisions(law, law.add_argument_group("decisions"))
    _add_output_of_law(law.add_argument_group("output"))


_FORMULA = (
    "in place of a card a law that you type, such as 'loss = E + A / N**alpha'; names that are "
    "columns are variables, the others parameters; @FILE reads it from a file (docs/formulas.md)"
)
_EXAMPLES_OF_LAW = """examples:
  %(prog)s runs.csv
  %(prog)s --columns N=params D=tokens loss=val_loss --keep "loss < 3.5" runs.csv
  %(prog)s runs.csv --best-of N,D --law chinchilla --tie alpha,beta --bounds E=1.5:2
  %(prog)s runs.csv --columns group=optimizer --shared E,alpha --flops 1e21 1e22
  %(prog)s runs.csv --holdout roll_out --interval profile
  %(prog)s moe.csv --formula "loss = E + A / (N**alpha * experts**gamma) + B / D**beta"
  %(prog)s runs.csv --json > answer.json

An option of several words ends at the first word of another form (KEY=VALUE, a comparison, a
number, TERM,TERM), so the TABLE may stand anywhere; a table named a=b is written ./a=b."""


def _add_table_of_law(law: _Parser, group) -> None:
    group.add_argument(
        "table",
        metavar="TABLE",
        nargs="+",
        help="CSV, JSON, Parquet, Excel, ...: path, pattern, folder or http(s) address",
    )
    _add_list(
        law, group, "--columns", command_words.is_pair, "LETTER=NAME",
        "the columns of N, D, C, U, ratio, loss, group, run_id, of_run, fit_weight (guessed), or "
        "of a variable of the law",
    )  # fmt: skip
    _add_list(
        law, group, "--scale", command_words.is_pair, "LETTER=SCALE",
        "N=1e9 for a column in billions, D=log10 for logarithms (by the column's name)",
    )  # fmt: skip
    _add_list(
        law, group, "--keep", command_words.is_comparison, "EXPR",
        "fit the rows that a filter keeps, such as 'loss < 3.5' (docs/filters.md)",
    )  # fmt: skip
    group.add_argument(
        "--best-of",
        metavar="N,D",
        help="fit the run of least loss of each N and D, or other columns",
    )
    group.add_argument(
        "--loss-unit",
        metavar="UNIT",
        help=f"{', '.join(LOSS_UNITS)} (by the column's name, or nats)",
    )
    group.add_argument(
        "--response", metavar="COLUMN", help="fit this column, such as llc_mean, and not the loss"
    )
    group.add_argument("--max-seconds", type=float, metavar="S", help="for a download (120)")
    group.add_argument(
        "--max-mib", type=float, metavar="MIB", help="of the table, unpacked and in memory (256)"
    )


def _add_fit_of_law(law: _Parser, group) -> None:
    laws = ", ".join(registry.names("law"))
    group.add_argument("--law", metavar="CARD", help=f"{laws} (by the columns)")
    group.add_argument("--formula", metavar="TEXT", help=_FORMULA)
    _add_list(
        law, group, "--option", command_words.is_pair, "KEY=VALUE",
        "options of the law, such as variable=D (docs/cards.md)",
    )  # fmt: skip
    _add_list(
        law, group, "--fix", command_words.is_pair, "TERM=VALUE", "parameters that are not fitted"
    )  # fmt: skip
    _add_list(
        law, group, "--bounds", command_words.is_pair, "TERM=LOW:HIGH",
        "limits of parameters; either side may be empty: alpha=0.1:0.5, E=1.5:",
    )  # fmt: skip
    _add_list(
        law, group, "--tie", command_words.is_names, "TERM,TERM", "parameters of one value"
    )  # fmt: skip
    _add_list(
        law, group, "--shared", command_words.is_names, "TERM,TERM",
        "parameters that all groups have in common",
    )  # fmt: skip
    group.add_argument(
        "--objective",
        default="auto",
        metavar="NAME",
        help=f"what is minimised: {', '.join(OBJECTIVES)} (auto)",
    )
    group.add_argument("--delta", type=float, metavar="X", help="of Huber objectives (0.001)")
    group.add_argument(
        "--holdout",
        metavar="RULE",
        help="runs that are predicted from the others: "
        f"{', '.join(HOLDOUTS)} (largest_compute; random of mixtures); largest:V of a variable V",
    )


def _add_intervals(group) -> None:
    group.add_argument(
        "--interval",
        default="bootstrap",
        metavar="NAME",
        help=f"how intervals are made: {', '.join(INTERVALS)} (bootstrap)",
    )
    group.add_argument("--cluster", metavar="COLUMN", help="draw runs alike in it together")
    group.add_argument(
        "--bootstrap", type=int, metavar="COUNT", help="replicates (4000; 200 of mixtures)"
    )
    group.add_argument("--level", type=float, metavar="X", help="of the intervals (0.95)")
    group.add_argument(
        "--seed", type=int, default=0, metavar="COUNT", help="of replicates and random folds (0)"
    )


def _add_decisions(law: _Parser, group) -> None:
    group.add_argument(
        "--flops",
        nargs="+",
        action="extend",
        type=float,
        default=[],
        metavar="C",
        help="budgets to decide about, FLOP: their division or loss, and the gains of groups (1, "
        "10 and 100 times the largest run)",
    )
    group.add_argument(
        "--baseline", metavar="GROUP", help="group that the others are compared with (the first)"
    )
    law.forms["--flops"] = command_words.is_number
    _add_list(
        law, group, "--compare", command_words.is_preset, "LAW:PRESET",
        "published laws beside the fit, such as chinchilla:epoch (predict --list)",
    )  # fmt: skip
    _add_question(law, group)


def _add_question(command: _Parser, group) -> None:
    """The options of a question to a fit: what is to be least, over which variables."""
    group.add_argument(
        "--then", metavar="LAW", help="a law by the loss, chained: error or accuracy of N and D"
    )
    group.add_argument(
        "--minimize",
        metavar="EXPR",
        help="where an expression is least, such as loss or '6*N*D + 2*N*1e12' (docs/decisions.md)",
    )
    _add_list(
        command, group, "--over", command_words.is_name, "NAME",
        "variables to choose (those that EXPR and limits name)",
    )  # fmt: skip
    _add_list(
        command, group, "--subject-to", command_words.is_comparison, "LIMIT",
        "such as '6*N*D <= 1e22' or 'loss <= 2.1'",
    )  # fmt: skip
    _add_list(
        command, group, "--given", command_words.is_pair, "NAME=VALUE", "values of other names"
    )  # fmt: skip
    _add_list(
        command, group, "--within", command_words.is_pair, "NAME=LOW:HIGH",
        "where a variable is searched; either side may be empty (up to a factor of 1e8 beyond the "
        "runs)",
    )  # fmt: skip
    _add_list(
        command, group, "--integers", command_words.is_name, "NAME", "those that are whole numbers"
    )  # fmt: skip


def _question(given: argparse.Namespace) -> dict[str, Any] | None:
    """The question that the options ask, as `Fit.optimize` takes it; None without one."""
    names = ("minimize", "over", "subject_to", "given", "within", "integers")
    if not any(getattr(given, name) for name in names):
        return None
    pairs = _pairs(given.given, "--given")
    values = {name: _numbers(text, f"--given {name}") for name, text in pairs.items()}
    pairs = _pairs(given.within, "--within")
    within = {name: _limits(text, f"--within {name}") for name, text in pairs.items()}
    asked = {name: getattr(given, name) for name in ("minimize", "over", "subject_to", "integers")}
    return {**asked, "given": values, "within": within}


def _add_output_of_law(group) -> None:
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the tables, the figure, law.py and explain.md (TABLE-law)",
    )
    group.add_argument(
        "--figure-width",
        type=float,
        metavar="INCHES",
        help="draw the figures for a paper, such as 3.25 for a column (for a screen)",
    )
    group.add_argument(
        "--json", action="store_true", help="print one JSON object (docs/fitting.md) and no text"
    )
    group.add_argument("-h", "--help", action="help", help="print this")


def _add_discover(commands) -> None:
    search = _command(
        commands,
        "discover",
        _discover,
        "Search a table of runs for its law: a formula in its columns, with the runners-up.",
        "Forms from terms of the field are fitted to the table without its largest values and "
        "ranked by what they miss of these. Prints the best, the simplest that is as good, where "
        "the best five disagree, and the command that fits the law with intervals. With formulas "
        "of yours it says which of them extrapolates best, and how sure that is.",
        epilog="examples:\n  %(prog)s moe.csv\n"
        "  %(prog)s runs.csv --columns V=vocab_size --response val_loss --variables N D V\n"
        "  %(prog)s moe.csv --formula 'E + A / (N**a * experts**b)' "
        "'E + A / N**a + B / experts**b'",
    )
    search.add_argument("table", metavar="TABLE", nargs="+", help="as of `law`")
    _add_list(
        search, search, "--columns", command_words.is_pair, "NAME=COLUMN",
        "what a formula calls a column (as the table does)",
    )  # fmt: skip
    search.add_argument("--response", metavar="COLUMN", help="to predict (the one like a loss)")
    _add_list(
        search, search, "--variables", None, "COLUMN", "to predict it from (all that vary)"
    )  # fmt: skip
    _add_list(
        search, search, "--formula", None, "TEXT", "two or more laws to choose among; no search"
    )  # fmt: skip
    search.add_argument(
        "--groups", metavar="COLUMN", help="groups with constants of their own (group)"
    )
    search.add_argument("--seed", type=int, default=0, metavar="COUNT", help="of the starts (0)")
    search.add_argument(
        "--residual-process",
        action="store_true",
        help="try a process of what the best law leaves, and say what it is worth",
    )
    search.add_argument("--out", type=Path, metavar="DIR", help="folder for the whole ranking")
    search.add_argument("--json", action="store_true", help="print one JSON object and no text")


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    """A check that a word is one of those known; else the error names the nearest."""

    def checked(word: str) -> str:
        if word not in known:
            raise argparse.ArgumentTypeError(f"unknown {word!r}; {nearest(word, known)}")
        return word

    return checked


def _add_init(commands) -> None:
    init = _command(
        commands,
        "init",
        _init,
        "Write a commented study for a table of runs, or for a sweep of models.",
        "Of a table it has the columns that `law` guesses, fits with a hold-out, figures and "
        "budgets; with --sweep it trains small models, in minutes. It is checked before it is "
        "written, and no file is overwritten.",
        usage="%(prog)s (TABLE ... | --sweep) --out FILE [options]",
        epilog="examples:\n  %(prog)s runs.csv --out study.yaml\n"
        "  %(prog)s --sweep --dataset jsonl --option files='data/*.jsonl' --out sweep.yaml",
    )
    init.add_argument("table", metavar="TABLE", nargs="*", help="as of `law`")
    init.add_argument("--out", required=True, type=Path, metavar="FILE", help="the study (YAML)")
    _add_list(
        init, init, "--columns", command_words.is_pair, "LETTER=NAME",
        "the columns of N, D, C, U, ratio, loss, group, run_id, of_run, fit_weight (guessed)",
    )  # fmt: skip
    laws = ", ".join(registry.names("law"))
    init.add_argument("--law", metavar="CARD", help=f"of a table: {laws} (by the columns)")
    init.add_argument("--formula", metavar="TEXT", help=_FORMULA)
    init.add_argument("--sweep", action="store_true", help="a study that trains models")
    datasets = ", ".join(registry.names("dataset"))
    init.add_argument("--dataset", metavar="CARD", help=f"of a sweep: {datasets} (python_stdlib)")
    init.add_argument(
        "--response", metavar="COLUMN", help="of a table: fit this column, and not the loss"
    )
    _add_list(
        init, init, "--option", command_words.is_pair, "KEY=VALUE",
        "options of the law, such as breaks=2, or of the dataset, such as files='data/*.jsonl' "
        "(docs/cards.md)",
    )  # fmt: skip


def _add_predict(commands) -> None:
    predict = _command(
        commands,
        "predict",
        _predict,
        "Predict losses, or the best N and D of a budget, by a published law or a saved fit.",
        "Values of several variables are crossed. Numbers may be written 7B, 1.4T or 10^21; with "
        "C alone the budget is divided, with C and N or D the other is C / 6 over it.",
        epilog="examples:\n  %(prog)s chinchilla:epoch --N 7B --D 1.4T\n"
        "  %(prog)s chinchilla:epoch --C 5.76e23\n  %(prog)s runs-law --C 1e21 1e22 --group muon",
    )
    predict.add_argument(
        "source", metavar="LAW", nargs="?", help="LAW:PRESET (--list), or the folder of a fit"
    )
    variables = {"N": "parameters", "D": "tokens", "C": "budgets, FLOP", "U": "distinct tokens"}
    for letter, what in variables.items():
        _add_list(predict, predict, f"--{letter}", command_words.is_size, letter, what)
    _add_list(
        predict, predict, "--at", command_words.is_pair, "NAME=VALUE,VALUE",
        "other variables, such as p_web=0.2,0.3",
    )  # fmt: skip
    predict.add_argument("--pairs", action="store_true", help="do not cross the values")
    predict.add_argument("--group", metavar="NAME", help="group of a fit (the first)")
    predict.add_argument("--response", metavar="NAME", help="loss of a fit (the first)")
    predict.add_argument(
        "--level", type=float, metavar="X", help="of the intervals (that of the fit)"
    )
    _add_question(predict, predict)
    predict.add_argument("--json", action="store_true", help="print one JSON object and no text")
    predict.add_argument("--list", action="store_true", help="list the published laws")


def _add_import(commands) -> None:
    logs = _command(
        commands,
        "import",
        _import,
        "Make a table of runs, and of the points along them, from a folder of training logs.",
        "JSON, CSV, Parquet, trainer_state.json, TensorBoard, exports of W&B and MLflow. Files "
        "that cannot be read are listed; the exit code is 2 if no run can be read.",
    )
    logs.add_argument("logs", metavar="LOGS", help="the folder, or a file of it")
    logs.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE.parquet",
        help="where the runs go; FILE.curves.parquet, beside it, has the points along them",
    )
    logs.add_argument("--max-mib", type=float, metavar="MIB", help="of all logs together (256)")


def _add_run(commands) -> None:
    run = _command(
        commands,
        "run",
        _run,
        "Run a study: what is due of it, with results/ in this folder, by snakemake and with its "
        "exit code.",
    )
    run.add_argument("study", metavar="STUDY", help="the study (YAML)")
    run.add_argument(
        "arguments",
        metavar="...",
        nargs=argparse.REMAINDER,
        help="of snakemake: targets (runs, fits, figures), -n, --cores 4, --profile slurm, ...",
    )


def _add_check(commands) -> None:
    check = _command(
        commands, "check", _check, "Check a study before anything runs, all problems at once."
    )
    check.add_argument("study", metavar="FILE", help="the study (YAML)")
    check.add_argument("--effective", action="store_true", help="print it with every default")


def _add_cards(commands) -> None:
    cards = _command(commands, "cards", _cards, "List the cards of a kind: what a study can name.")
    kinds = list(registry.FOLDERS)
    cards.add_argument("kind", metavar="KIND", type=_one_of(kinds), help=", ".join(kinds))


def _add_digest(commands) -> None:
    digest = _command(
        commands,
        "digest",
        _digest,
        "Print the files whose code a stage's results depend on, each with its digest.",
        "And the contracts of the tables that it writes; `run` is what makes a run's identity.",
    )
    names = ["run", *stages()]
    digest.add_argument("stage", metavar="STAGE", type=_one_of(names), help=", ".join(names))
    digest.add_argument(
        "--cards", nargs="*", default=[], metavar="KIND/NAME", help="cards that it uses"
    )
    digest.forms["--cards"] = command_words.is_card


def _of_results(
    commands, name: str, run: Command, help: str, more: str = "", several: bool = False
) -> argparse.ArgumentParser:
    made = _command(commands, name, run, help, more)
    made.add_argument(
        "study", metavar="FILE", nargs="+" if several else None, help="the study (YAML)"
    )
    made.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where results/ is and the study's paths begin, as for snakemake (here)",
    )
    made.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="the folder of the results in it, where a module names another (results)",
    )
    return made


def _add_results(commands) -> None:
    sweep = _of_results(
        commands,
        "sweep",
        _sweep,
        "Print what every sweep of a study will take: runs, N, D, FLOP, time.",
        "The time is predicted from finished runs, or from a few steps that are measured now.",
    )
    sweep.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="at once (all cores)"
    )
    _of_results(
        commands,
        "status",
        _status,
        "Print the state of a study's runs: done, running, failed, diverged, damaged, missing.",
        "With the time spent and left, and the log of every failure.",
    )
    retry = _of_results(
        commands, "retry", _retry, "Train failed runs again, also beyond `max_attempts`."
    )
    retry.add_argument(
        "--run",
        dest="named",
        nargs="+",
        default=[],
        metavar="ID",
        help="these runs only, by id or digest",
    )
    retry.add_argument("--diverged", action="store_true", help="also those that diverged")
    _of_results(
        commands,
        "verify",
        _verify,
        "Compare every result with study and code: file, reason, fix; exit code 1 if one is wrong.",
    )
    _of_results(
        commands,
        "adopt",
        _adopt,
        "Set the times of copied results in the order of their jobs, after verifying them.",
        "For a copy that lost its times and has no .snakemake.",
    )
    accept = _of_results(
        commands,
        "accept",
        _accept,
        "Declare that an edit of code changes no number: results made before it stay valid.",
        "Logged in results/<study>/accepted.jsonl.",
    )
    accept.add_argument(
        "--reason", required=True, metavar="TEXT", help="why no number can have changed"
    )
    gc = _of_results(
        commands,
        "gc",
        _gc,
        "List runs and files in the store that no study refers to.",
        "Give every study of these results.",
        several=True,
    )
    gc.add_argument("--remove", action="store_true", help="remove what is listed")


def _add_canary(commands) -> None:
    canary = _command(
        commands,
        "canary",
        _canary,
        "Train the cheapest run of a sweep, before the others; exit code 2 if it fails.",
        "It is kept in the store, so that it is not trained again. `snakemake canary` calls this.",
    )
    train = stages()["train"]
    _add_job(canary, "a line on how it ended")
    for argument in train.arguments:
        if argument.name not in ("shard", "plan"):
            _add_argument(canary, argument)


def _add_leftovers(commands) -> None:
    leftovers = _of_results(
        commands,
        "leftovers",
        _leftovers,
        "List the jobs of a study that are in the queue of SLURM, as after a snakemake was killed.",
        "Those that profiles/slurm has sent from this folder. With --results they are all jobs of "
        "the workflow that uses the study as a module, also those of its other rules.",
    )
    leftovers.add_argument("--cancel", action="store_true", help="cancel them")


def _add_export(commands) -> None:
    export = _of_results(
        commands,
        "export",
        _export,
        "Write the rows of a weighting, copies written out, for other programs.",
        "As Parquet files, or a dataset that `load_from_disk` of the package `datasets` reads.",
    )
    export.add_argument(
        "--dataset", required=True, metavar="NAME", help="one of the study's `load`"
    )
    export.add_argument("--weighting", required=True, metavar="NAME", help="one of its `expand`")
    export.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="a folder that is not there"
    )
    export.add_argument(
        "--format", choices=["parquet", "datasets"], default="parquet", help="parquet (default)"
    )


def _add_csv(commands) -> None:
    csv = _command(commands, "csv", _csv, "Print a table of a study (Parquet) as CSV.")
    csv.add_argument("table", type=Path, metavar="TABLE", help="such as plot/NAME.parquet")
    csv.add_argument("--where", default="", metavar="EXPR", help="a filter that selects rows")
    csv.add_argument("--columns", nargs="+", default=[], metavar="NAME", help="these columns only")
    csv.add_argument("--out", type=Path, metavar="FILE", help="write it here")


def _add_docs(commands) -> None:
    docs = _command(commands, "docs", _docs, "Write the generated pages of the documentation.")
    docs.add_argument(
        "--out", type=Path, default=Path("docs"), metavar="DIR", help="where to (docs)"
    )
    docs.add_argument("--check", action="store_true", help="write nothing; exit 1 if one is stale")


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    The exit code is 0; 1 where results were found wrong; 2 where the user has to fix something;
    75 after SIGTERM, 130 after Ctrl-C.
    """
    print_anything()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        say(_overview(_program()))
        return 0
    try:
        given = _words(_parsed(words))
    except SystemExit:  # the output of --help may go to a closed pipe or a full disk
        with suppress(OSError):
            say("", end="")
        raise
    try:
        return given.run(given) or 0
    except IsolossError as error:
        say(f"isoloss {given.command}: {error}", sys.stderr)
    except ModuleNotFoundError as error:
        if (lacking := extras.lacking_in(error)) is None:
            raise
        say(f"isoloss {given.command}: {lacking}", sys.stderr)
    except OSError as error:  # a full or read-only disk; what has its final name is complete
        say(f"isoloss {given.command}: {error}; fix it and run again", sys.stderr)
    except KeyboardInterrupt:
        say(f"isoloss {given.command}: interrupted; run again to go on", sys.stderr)
        return 130
    except TerminatedError as told:
        kept = f"; {told}" if str(told) else ""
        again = "run again to go on from there" if kept else "run again"
        say(f"isoloss {given.command}: told to end (SIGTERM){kept}; {again}", sys.stderr)
        return TRY_AGAIN
    return 2


def _program() -> str:
    """What the user typed to start it."""
    return "python -m isoloss" if Path(sys.argv[0]).name == "__main__.py" else "isoloss"


def _parsed(words: list[str]) -> argparse.Namespace:
    """The command line; exits with a message where it is wrong."""
    top = parser(_program())
    first = words[0]
    if not first.startswith("-"):
        if first not in top.commands:
            top.error(f"no command is called {first!r}; {nearest(first, top.commands)}")
        words = [first, *top.commands[first].arranged(words[1:])]
    return top.parse_args(words)


def refuse_bombs(arguments: Sequence[str] | None = None) -> None:
    """End the process with a message if a study on Snakemake's command line must not be read.

    Snakemake reads `--configfile` and `--config` before the Snakefile, with a loader that follows
    aliases without end. `profiles/default` calls this before that.

    Args:
        arguments: of Snakemake; those of this process if None.
    """
    from isoloss.core import yaml_text

    given = _given_to_snakemake(arguments)
    if given is None:
        return
    try:
        for file in filter(os.path.exists, given.configfile):  # Snakemake says what is missing
            yaml_text.read(file)
        for entry in given.config:
            key, _, text = entry.partition("=")
            yaml_text.look_at_value(text, f"--config {key[: yaml_text.KEY]}")
    except IsolossError as error:
        say(error, sys.stderr)
        raise SystemExit(1) from None


def _given_to_snakemake(arguments: Sequence[str] | None) -> argparse.Namespace | None:
    """What Snakemake was told of the study and its folder; None if Snakemake will refuse it."""
    options = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    options.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[])
    options.add_argument("--config", "-C", nargs="*", action="extend", default=[])
    options.add_argument("--directory", "-d", default=".")
    try:
        return options.parse_known_args(sys.argv[1:] if arguments is None else arguments)[0]
    except argparse.ArgumentError:
        return None


def name_of_jobs(arguments: Sequence[str] | None = None) -> str:
    """What the names of jobs on a cluster begin with, for `profiles/slurm`.

    Args:
        arguments: of Snakemake; those of this process if None.
    """
    from isoloss.core import yaml_text
    from isoloss.study import cluster

    given = _given_to_snakemake(arguments) or argparse.Namespace(configfile=[], directory=".")
    file = given.configfile[-1] if given.configfile else "config.yaml"
    try:
        study = yaml_text.read(file)
    except (IsolossError, OSError):
        study = None  # Snakemake says what is wrong with it
    name = study.get("study") if isinstance(study, dict) else None
    return cluster.job_name(name if isinstance(name, str) else cluster.UNNAMED, given.directory)


def _words(given: argparse.Namespace) -> argparse.Namespace:
    """The arguments given, as UTF-8 whatever the locale; paths keep their bytes."""
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


def _stage(given: argparse.Namespace) -> None:
    from isoloss.study import work

    with told_to_end():
        work.do(given.command, vars(given))


def _law(given: argparse.Namespace) -> None:
    from isoloss.core import progress, sources
    from isoloss.quickfit import law

    settings = _settings_of_law(given)
    _check_figure_width(given.figure_width)
    limits = {"max_seconds": given.max_seconds, "max_mib": given.max_mib}
    limits = sources.Limits(**{key: value for key, value in limits.items() if value is not None})
    table = sources.open_source(given.table, limits)
    out = given.out or Path(f"{table.address.stem}-law")
    _check_folder(out, given.table)
    with closing(progress.Steps("fits and folds")) as steps:
        quick_fit = law.law_of_table(
            table,
            given.law,
            _pairs(given.columns, "--columns"),
            _options_of_law(given.law, _pairs(given.option, "--option")),
            given.keep,
            given.flops,
            formula=given.formula,
            best_of=given.best_of.split(",") if given.best_of else (),
            scale=_pairs(given.scale, "--scale"),
            loss_unit=given.loss_unit,
            response=given.response,
            compare=given.compare,
            optimize=_question(given),
            then=given.then,
            progress=steps,
            baseline=given.baseline,
            **settings,
        )
    files = []
    try:
        files = law.save(quick_fit, out, given.figure_width)
    finally:  # the fit is printed even if it cannot be saved
        say(quick_fit.json(files) if given.json else quick_fit.text)
    if not given.json:
        figures = [visible(file) for file in files if file.suffix == ".png"]
        title = "figures" if len(figures) > 1 else "figure"
        it = "them" if len(figures) > 1 else "it"
        texts = "law.py, explain.md, params.tex, paper.md and tables"
        say(f"{title}: {', '.join(figures)}; {texts} beside {it}")


def _discover(given: argparse.Namespace) -> None:
    from isoloss.core import escape, progress
    from isoloss.discovery import choice, discovery
    from isoloss.discovery.saved import save

    asked = {"columns": _pairs(given.columns, "--columns"), "response": given.response}
    asked |= {"groups": given.groups, "seed": given.seed}
    further = {"variables": given.variables, "residual_process": given.residual_process}
    if given.formula and any(further.values()):
        reason = "a search has --variables and --residual-process; typed laws name their variables"
        raise IsolossError(Problem("--formula", reason, "leave the others or --formula out"))
    with closing(progress.Steps("laws" if given.formula else "forms")) as steps:
        asked["progress"] = steps.of_one
        if given.formula:
            answer = choice.choose_law(given.table, given.formula, **asked)
        else:
            answer = discovery.discover(given.table, **asked, **further)
    say(escape.json_text(answer.record(), 2) if given.json else answer)
    if given.out is not None:
        _check_folder(given.out, given.table)
        files = save(answer, given.out)
        if not given.json:
            say(f"written: {', '.join(visible(file) for file in files)}")


def _predict(given: argparse.Namespace) -> None:
    from isoloss.quickfit import predict

    if given.list:
        say(predict.listing_json() if given.json else predict.listing())
        return
    if given.source is None:
        do = "name a law such as chinchilla:epoch, the folder of a fit, or --list"
        raise IsolossError(Problem("predict", "no law is named", do))
    if (question := _question(given)) is not None:
        _say_optimum(given, question)
        return
    texts = {letter: getattr(given, letter) for letter in "NDCU" if getattr(given, letter)}
    texts |= {name: text.split(",") for name, text in _pairs(given.at, "--at").items()}
    values = {name: predict.numbers(text, name) for name, text in texts.items()}
    asked = predict.Asked(values, given.pairs, given.group, given.response, given.level)
    answer = predict.predicted(given.source, asked, given.then)
    say(predict.as_json(answer) if given.json else predict.text(answer))


def _say_optimum(given: argparse.Namespace, question: Mapping[str, Any]) -> None:
    """Print where a published law or a fit has an expression least."""
    from isoloss.quickfit import predict

    if not any(question[name] for name in ("minimize", "over", "subject_to", "within", "integers")):
        reason = "belongs to a question, and none is asked (--minimize, --over, --subject-to)"
        do = f"give the value of a point as --at {' '.join(given.given)}"
        raise IsolossError(Problem(f"--given {' '.join(given.given)}", reason, do))
    points = {letter: getattr(given, letter) for letter in "NDCU"} | {"at": given.at}
    for name in (name for name, words in points.items() if words):
        reason = "points are predicted, and a question is answered"
        raise IsolossError(Problem(f"--{name}", reason, "give values of a question with --given"))
    source, ones = predict.optimum(given.source, question, given.group, given.level, given.then)
    shown = predict.json_of_optimum if given.json else predict.text_of_optimum
    say(shown(source, ones))


def _check_folder(out: Path, tables: Sequence[str]) -> None:
    """Refuse a folder for results that is that of a table, or a file, before anything is fitted."""
    if real(out) in {real(table).parent for table in tables}:
        reason = f"{visible(out)!r} is the folder of the table, which could be overwritten"
        raise IsolossError(Problem("--out", reason, "name another folder"))
    if out.exists() and not out.is_dir():
        raise IsolossError(Problem("--out", f"{visible(out)!r} is a file", "name a folder"))


def _settings_of_law(given: argparse.Namespace) -> dict[str, Any]:
    """How the law is fitted, as `fit_law` takes it."""
    fixed = {k: _number(v, f"--fix {k}") for k, v in _pairs(given.fix, "--fix").items()}
    bounds = {k: _limits(v, f"--bounds {k}") for k, v in _pairs(given.bounds, "--bounds").items()}
    tied = [group.split(",") for group in given.tie]
    wrong = [*_conflicts(given), *_conflicting_terms(fixed, bounds, tied)]
    if wrong:
        raise IsolossError(*wrong)
    return {
        "fixed": fixed,
        "bounds": bounds,
        "tied": tied,
        "shared": [term for group in given.shared for term in group.split(",")],
        "objective": given.objective,
        "delta": given.delta,
        "holdout": given.holdout,
        "interval": given.interval,
        "cluster": given.cluster,
        "bootstrap": given.bootstrap,
        "ci_level": given.level,
        "seed": given.seed,
    }


def _check_figure_width(width: float | None) -> None:
    """Refuse a width that no figure has, before anything is fitted."""
    if width is not None:
        from isoloss.figures._figure import check_width

        check_width(width)


def _limits(text: str, place: str) -> tuple[float | None, float | None]:
    """LOW:HIGH as two numbers, None for a side that is empty."""
    low, colon, high = text.partition(":")
    if not colon or not (low or high):
        raise IsolossError(Problem(place, f"found {text!r}", "write LOW:HIGH, LOW: or :HIGH"))
    least, most = (_number(side, place) if side else None for side in (low, high))
    if least is not None and most is not None and not least < most:
        do = "give the lower limit first"
        if least == most:
            option, _, name = place.partition(" ")
            do = f"both limits are the same; for one value: {_OF_ONE_VALUE[option]} {name}={low}"
        raise IsolossError(Problem(place, f"found {text!r}", do))
    return least, most


def _conflicts(given: argparse.Namespace) -> Iterator[Problem]:
    """Options that cannot be given together."""
    if given.interval == "none" and given.bootstrap:
        yield Problem(
            f"--interval none and --bootstrap {given.bootstrap}",
            "replicates are drawn for intervals alone",
            "leave one of the two out",
        )
    if given.interval == "none" and given.cluster:
        yield Problem(
            f"--interval none and --cluster {given.cluster}",
            "runs are drawn together for intervals alone",
            "leave one of the two out",
        )
    if given.interval == "none" and given.level is not None:
        yield Problem(
            f"--interval none and --level {given.level:g}",
            "there is no interval that it is the level of",
            "leave one of the two out",
        )
    if given.delta is not None and not (given.objective == "auto" or "huber" in given.objective):
        yield Problem(
            f"--objective {given.objective} and --delta {given.delta:g}",
            "Huber objectives alone have a delta",
            "leave one of the two out",
        )
    if given.shared and given.holdout in ("roll_out", "leave_one_out", "random"):
        yield Problem(
            f"--shared and --holdout {given.holdout}",
            "groups that share parameters are fitted together, and have no folds",
            "take --holdout largest_compute or none",
        )


def _conflicting_terms(fixed, bounds, tied) -> Iterator[Problem]:
    """Parameters of which two options say different things."""
    for term in sorted(set(fixed) & set(bounds)):
        reason = f"{term} is fixed at {fixed[term]:g}, so that nothing is left to bound"
        yield Problem(f"--fix {term} and --bounds {term}", reason, "leave one of the two out")
    for group in tied:
        for term in group[1:]:
            for option, terms in (("--fix", fixed), ("--bounds", bounds)):
                if term in terms:
                    reason = f"{term} has the value of {group[0]}"
                    remedy = f"give {option} {group[0]}=... in its place"
                    yield Problem(f"--tie {','.join(group)} and {option} {term}", reason, remedy)


def _init(given: argparse.Namespace) -> None:
    if given.sweep == bool(given.table):
        both = "found a table and --sweep" if given.sweep else "found neither a table nor --sweep"
        raise IsolossError(Problem("what the study is of", both, "give a TABLE, or --sweep"))
    of_sweep = {"--dataset": given.dataset}
    of_table = {"--columns": given.columns, "--law": given.law, "--formula": given.formula}
    of_table["--response"] = given.response
    for option, value in (of_table if given.sweep else of_sweep).items():
        if value:
            other, about = ("--sweep", "a table") if given.sweep else ("TABLE", "a sweep")
            reason = f"{option} is about {about}"
            raise IsolossError(Problem(f"{option} and {other}", reason, "leave one of the two out"))

    from isoloss.quickfit import init

    if given.sweep:
        options = _pairs(given.option, "--option")
        values = {key: _value(text, f"--option {key}") for key, text in options.items()}
        init.study_of_sweep(given.out, given.dataset or "python_stdlib", values)
    else:
        columns = _pairs(given.columns, "--columns")
        options = _options_of_law(given.law, _pairs(given.option, "--option"))
        init.study_of_table(
            given.out,
            given.table,
            columns,
            given.law,
            given.formula,
            options=options,
            response=given.response,
        )
    say(f"{given.out}: a study, nothing wrong; run it: {init.run_command(given.out)}")


def _run(given: argparse.Namespace) -> None:
    from isoloss.study import launch

    told = _given_to_snakemake(given.arguments)
    directory = told.directory if told else "."
    command = launch.command(given.study, given.arguments, sys.stderr.isatty(), directory)
    sys.stdout.flush()
    os.execve(command[0], command, launch.environment(os.environ))  # signals go to snakemake


def _import(given: argparse.Namespace) -> None:
    from isoloss.core import sources
    from isoloss.logs import read

    limits = sources.Limits() if given.max_mib is None else sources.Limits(max_mib=given.max_mib)
    imported = read.import_runs(given.logs, given.out, limits)
    for note in imported.notes:
        say(note)
    points = f"{len(imported.curves)} points along them beside it"
    say(f"{len(imported.runs)} runs: {given.out}; {points}")
    for problem in imported.unread:
        say(f"not read: {problem}", sys.stderr)


def _pairs(words: list[str], place: str) -> dict[str, str]:
    """KEY=VALUE words as a mapping."""
    for word in words:
        if "=" not in word:
            raise IsolossError(Problem(place, f"found {word!r}", "write KEY=VALUE"))
    pairs = [word.split("=", 1) for word in words]
    keys = [key for key, _ in pairs]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise IsolossError(Problem(place, f"{twice[0]!r} appears twice", "give it once"))
    return dict(pairs)


def _options_of_law(card: str | None, given: dict[str, str]) -> dict:
    """The values of a law's options; a list may be written with commas alone: p_web,p_code."""
    from isoloss.core import registry

    known = registry.options("law", card) if card in registry.names("law") else {}
    options = {key: _value(text, f"--option {key}") for key, text in given.items()}
    for key, value in options.items():
        if isinstance(value, str) and known.get(key, {}).get("type") == "array":
            options[key] = [one.strip() for one in value.split(",")]
    return options


def _value(text: str, place: str):
    """An option's value as YAML reads it."""
    from isoloss.core import yaml_text

    return yaml_text.load(text, place)


def _number(text: str, place: str) -> float:
    """A number as people write them: 0.5, 7B."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        (value,) = _numbers(text, place)
    except (ValueError, IsolossError):
        do = "give a number, such as 0.5 or 7B"
        raise IsolossError(Problem(place, f"found {text!r}", do)) from None
    return value


def _numbers(text: str, place: str) -> list[float]:
    """Numbers with commas between them, as people write them: 7B, 1.4T, 1e22."""
    import pandas as pd

    from isoloss.aggregate.numbers import read_numbers

    values = [float(read_numbers(pd.Series([one])).values[0]) for one in text.split(",")]
    if not all(abs(value) < float("inf") for value in values):
        raise IsolossError(Problem(place, f"found {text!r}", "give numbers, such as 7B or 1e22"))
    return values


def _csv(given: argparse.Namespace) -> None:
    from isoloss.core import tables
    from isoloss.study.csv_export import csv_of

    text = csv_of(given.table, given.where, given.columns)
    if given.out is None:
        say(text, end="")
    else:
        tables.write_text(given.out, text)


def _check(given: argparse.Namespace) -> None:
    import yaml

    from isoloss.core import yaml_text

    yaml_text.read(given.study)  # before the imports, so that a harmful study is refused at once

    from isoloss.core import schema
    from isoloss.study import check

    config = check.checked(given.study)
    for message in schema.renamed(schema.read(given.study))[1]:
        say(message, sys.stderr)
    if given.effective:
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        if not shows(text):  # YAML has escapes of its own
            text = yaml.safe_dump(config, sort_keys=False)
        say(text, end="")
    else:
        say(f"{given.study}: nothing wrong")


def _cards(given: argparse.Namespace) -> None:
    for name in registry.names(given.kind):
        facts = registry.facts(given.kind, name)
        say(
            f"{name:20s} {facts['TITLE']}" + (f": {facts['FORMULA']}" if "FORMULA" in facts else "")
        )


def _digest(given: argparse.Namespace) -> None:
    from isoloss.core import tables
    from isoloss.records import provenance
    from isoloss.study import flow
    from isoloss.train.settings import cards_of

    cards = [tuple(card.partition("/")[::2]) for card in given.cards]
    for kind, name in cards:
        if kind not in registry.FOLDERS:
            raise IsolossError(
                f"no kind of card is called {kind!r}; {nearest(kind, registry.FOLDERS)}"
            )
        registry.path(kind, name)
    if given.stage == "run":
        kinds = [kind for kind, _ in cards]
        if sorted(kinds) not in (["model"], ["model", "trainer"]):
            raise IsolossError("a run's code has one model card: --cards model/NAME [trainer/NAME]")
        sweep = {"trainer": "builtin", **dict(cards)}
        modules = provenance.run_code(cards_of(sweep))
    else:
        modules = provenance.closure(flow.entries(given.stage, cards))
    for module in modules:
        digest = provenance.module_digest(module, words=given.stage != "run")
        say(f"{digest}  {provenance.file_of(module).relative_to(provenance.HOME.parent)}")
    written = [] if given.stage == "run" else list(stages()[given.stage].writes)
    if given.stage == "observe":
        observables = [name for kind, name in cards if kind == "observable"]
        written += [table for name in observables for table in registry.tables_of(name)[1:]]
    for table in written:
        say(f"{tables.contract_digest(table)}  schemas/tables.yaml, {table}")
    for table in () if given.stage == "run" else stages()[given.stage].uses_roles:
        say(f"{tables.roles_digest(table)}  schemas/tables.yaml, roles of {table}")


@contextmanager
def _in_its_folder(given: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """Work in --directory, where paths of the study begin, as snakemake does.

    Returns:
        The command line, with paths that are the same files there.
    """
    if given.directory == Path() or not given.directory.is_dir():
        yield given
        return
    several = isinstance(given.study, list)
    study = [os.path.abspath(file) for file in given.study] if several else None
    there = argparse.Namespace(**vars(given))
    there.study = study or os.path.abspath(given.study)
    there.directory = Path(os.path.abspath(given.directory))
    if "out" in given:
        there.out = Path(os.path.abspath(given.out))
    with chdir(there.directory):
        yield there


def _flow(
    given: argparse.Namespace,
    file: str | None = None,
    fetch: bool = False,
    results: bool = True,
    writes: bool = False,
):
    """The study named on the command line, with its results.

    Args:
        given: the command line.
        file: of the study, if it is another one.
        fetch: whether its tables of runs are read.
        results: whether there must be some.
        writes: whether they are written.

    Raises:
        IsolossError: it is not sound, there are no results, or a link leads out of those that are
            written.
    """
    from isoloss.core import schema
    from isoloss.core.sources import KEPT, Sources
    from isoloss.study import check, flow, links

    file = file or given.study
    config = schema.read(file)
    root = given.directory / given.results / str(config.get("study"))
    tables_of_runs = Sources(kept=Path(file).parent / KEPT, copies=root / KEPT)
    config = check.check(config, file, fetch, tables_of_runs)
    if results and not root.is_dir():
        raise IsolossError(
            f"{root}: no results of this study; run it, or give --directory or --results"
        )
    if writes:
        links.refuse_links(root)
    return flow.Flow(config, root, tables_of_runs)


def _export(given: argparse.Namespace) -> None:
    from isoloss.study import rows_export

    with _in_its_folder(given) as there:
        flow = _flow(there)
        counts = rows_export.export(flow, given.dataset, given.weighting, there.out, given.format)
    rows = ", ".join(f"{count} rows {split}" for split, count in counts.items())
    say(f"{given.out}: {rows}")


def _status(given: argparse.Namespace) -> None:
    from isoloss.study import status

    with _in_its_folder(given) as there:
        say(status.report(_flow(there)), end="")


def _canary(given: argparse.Namespace) -> None:
    from isoloss.core import tables
    from isoloss.study import canary

    with told_to_end():
        run = canary.train(vars(given))
    line = f"train.{given.sweep}: {run['run_id']} is {run['status']}, {run['seconds']:.1f} s"
    say(line, sys.stderr)
    tables.write_text(given.out, f"{line}\n")


def _leftovers(given: argparse.Namespace) -> None:
    from isoloss.core import schema
    from isoloss.study import cluster

    study = str(schema.read(given.study).get("study"))
    if given.results != Path("results"):  # a module: its jobs have the name of the outer workflow
        study = cluster.UNNAMED
    jobs = cluster.leftovers(cluster.job_name(study, given.directory))
    if given.cancel:
        cluster.cancel([number for number, *_ in jobs])
    for words in jobs:
        say("  ".join(words))
    state = "cancelled" if given.cancel else "in the queue; --cancel cancels them"
    count = f"{len(jobs)} {'job' if len(jobs) == 1 else 'jobs'}"
    say(f"{count} {state}" if jobs else "no jobs of this study are in the queue")


def _sweep(given: argparse.Namespace) -> None:
    from isoloss.study import forecast

    if given.jobs < 1:
        raise IsolossError(Problem("--jobs", f"found {given.jobs}", "give 1 or more"))
    with _in_its_folder(given) as there:
        flow = _flow(there, results=False)
        forecasts = forecast.forecast(flow, always=True)
    if not forecasts:
        say("the study has no runs to train")
        return
    say(forecast.table(forecasts, given.jobs), end="")
    forecast.check_cap(forecasts, forecast.cap_of(flow))


def _retry(given: argparse.Namespace) -> None:
    from isoloss.study import launch, status

    with _in_its_folder(given) as there:
        runs = status.retry(_flow(there, writes=True), given.named, given.diverged)
    for run in runs:
        say(run)
    # a module has its study from the Snakefile that uses it
    of_module = given.results != Path("results")
    command = ["snakemake"] if of_module else launch.again(given.study, str(given.directory))
    state = f"to be trained at the next `{shlex.join(command)}`"
    say(f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} {state if runs else 'failed'}")


def _verify(given: argparse.Namespace) -> int:
    from isoloss.study import verify

    with _in_its_folder(given) as there:
        flow = _flow(there, fetch=True)
        findings = verify.findings(flow)
    say(verify.report(flow, findings, given.study, str(given.directory)), end="")
    return int(any(one.wrong for one in findings))


def _adopt(given: argparse.Namespace) -> int:
    from isoloss.study import verify

    with _in_its_folder(given) as there:
        flow = _flow(there, fetch=True, writes=True)
        count = verify.adopt(flow)
        findings = verify.findings(flow)
    say(f"the times of {count} files are now in the order of their jobs")
    say(verify.report(flow, findings, given.study, str(given.directory)), end="")
    return int(any(one.wrong for one in findings))


def _accept(given: argparse.Namespace) -> None:
    from isoloss.study import verify

    with _in_its_folder(given) as there:
        flow = _flow(there, fetch=True, writes=True)
        lines = verify.accept(flow, given.reason)
    for line in lines:
        say(f"{line['job']}: the present code is accepted as {line['from']}")
    say(f"{len(lines)} accepted; see {flow.accepted_file}" if lines else "no code has changed")


def _gc(given: argparse.Namespace) -> None:
    from isoloss.study import status

    with _in_its_folder(given) as there:
        flows = [_flow(there, file, writes=given.remove) for file in there.study]
        if len({flow.root for flow in flows}) > 1:
            raise IsolossError(
                "these studies have different names, so their results are in different folders; "
                "give studies of one name"
            )
        unused = status.unused(flows)
    total = 0
    for path, what in unused:
        size = status.size(path)
        total += size
        say(f"{path}  {size / 1e6:.2f} MB  {what}")
        if given.remove:
            status.remove(path)
    state = "removed" if given.remove else "that no study refers to; --remove removes them"
    say(f"{len(unused)} entries, {total / 1e6:.2f} MB {state}" if unused else "no entry is unused")


def _docs(given: argparse.Namespace) -> None:
    from isoloss.core import tables
    from isoloss.study import docs

    stale = []
    for name, text in docs.pages().items():
        file = given.out / name
        if given.check:
            stale += [] if file.is_file() and file.read_text(encoding="utf-8") == text else [name]
        else:
            tables.write_text(file, text)
    if stale:
        raise IsolossError(f"stale: {', '.join(stale)}; run `python -m isoloss docs`")


def program() -> int:
    """Run a command as a process of its own."""
    # loading libraries makes many objects and few cycles: looking for them often costs a tenth
    gc.set_threshold(100_000)
    return main()


if __name__ == "__main__":
    sys.exit(program())
