"""Write a commented study for a user's table of runs, or for a sweep of small models.

`python -m isoloss init runs.csv --out study.yaml`
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from isoloss.aggregate.table import COLUMNS, WORDS, Rules
from isoloss.core import registry, schema, tables, yaml_text
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.sources import open_source
from isoloss.fit.formula import CARD, LOSS
from isoloss.fitted.names import RESPONSE
from isoloss.formulas import read_formula
from isoloss.laws._law import Law
from isoloss.laws._make import made_law
from isoloss.quickfit import law as quickfit
from isoloss.quickfit.proposal import name_of
from isoloss.quickfit.report import Meaning
from isoloss.study import check, launch

_FACTORS = (1, 10, 100)  # budgets over that of the largest run
_UNFIT = re.compile(r"[^a-z0-9_-]+")
_SWEEP = """\
{head}
# A sweep of small models: every budget C is spent at several sizes, a law is fitted to all budgets
# but the largest, and predicts that one. Minutes on a laptop.
#
#   python -m isoloss check {file}
#   python -m isoloss sweep {file}     # how long it will take
#   {run}
#
# Every key, its unit and its default: docs/config.md. Results: results/{study}/, summary.md first.

study: {study}
seed: 0                          # every draw of the study comes from it

load:                            # datasets by name; `isoloss cards dataset` lists the cards
  {dataset}:
    card: {dataset}
{options}    valid_fraction: 0.1          # held out for validation

train:                           # sweeps by name
  sizes:
    dataset: {dataset}
{model}
fit:                             # laws by name; `isoloss cards law` lists the cards
{fits}
plot:                            # figures by name; `isoloss cards figure` lists the cards
{figures}"""
_OF_TEXT = """\
    model: transformer           # `isoloss cards model` lists the cards
    shards: 4                    # jobs; no result depends on it
    valid_tokens: 65536          # on which every run is measured
    settings:                    # of every run
      n_layers: 2
      context: 32
      batch_size: 8              # windows of `context` a step where D is 5e5 ...
      batch_exponent: 0.5        # ... growing as the square root of D
      peak_learning_rate: 0.0125 # at d_model 16, falling as 1 / d_model
      warmup_fraction: 0.1       # then a cosine that ends at the run's own D
    cells:                       # lists are crossed; D = C / 6N; n_flops in FLOP
      - {n_flops: [1.0e9, 2.5e9], d_model: [4, 6, 8, 12, 16]}
      - {n_flops: [6.3e9, 1.6e10], d_model: [6, 8, 12, 16, 24]}
      - {n_flops: 4.0e10, d_model: [12, 16, 24, 32, 40]}
      - {n_flops: [2.5e9, 6.3e9], d_model: 12, seed: [1, 2]}   # their spread is the noise of a run
"""
_OF_IMAGES = """\
    model: mlp                   # `isoloss cards model` lists the cards
    shards: 4                    # jobs; no result depends on it
    n_params: total
    valid_tokens: 2000           # images on which every run is measured
    settings: {batch_size: 64, peak_learning_rate: 0.003}
    cells:                       # lists are crossed; n_samples: images seen
      - {n_samples: [8000, 16000, 32000], width: [4, 8, 16, 32]}
      - {n_samples: 16000, width: 16, seed: [1, 2]}    # their spread is the noise of a run
"""
_SIGNED = "    signed: true                 # losses may be 0 or below\n"
_TABLE = """\
{head}
# A law fitted to a table of runs: what `isoloss law` guessed, to be corrected and kept.
#
#   python -m isoloss check {file}
#   {run}
#
# Every key, its unit and its default: docs/config.md. Results: results/{study}/, summary.md first.

study: {study}
seed: 0                          # every draw of the study comes from it

aggregate:                       # tables of runs by name
  {sweep}:
{table}
    columns: {columns}
{signed}{notes}    # keep: [loss < 3.5]           # filters; runs that are dropped are counted
    # best_of: [N, D]              # of the runs alike in these the one of least loss is fitted

fit:                             # laws by name; `isoloss cards law` lists the cards
{fits}
plot:                            # figures by name; `isoloss cards figure` lists the cards
{figures}"""


def study_of_table(
    out: Path,
    table: str | Path | Sequence[str | Path],
    columns: Mapping[str, str] | None = None,
    law: str | None = None,
    formula: str | None = None,
    options: Mapping[str, Any] | None = None,
    response: str | None = None,
) -> None:
    r"""Write a study that fits a law to a table of runs, with the columns that a quick fit guesses.

    Args:
        out: the file, which must not be there.
        table: a path, pattern, folder or address, or several paths.
        columns: letter or word to column, instead of guesses.
        law: law card; guessed from the columns if None.
        formula: a law as text (docs/formulas.md), and no law card.
        options: of the law card.
        response: column that is fitted in the place of the loss; None for the loss, or for what the
            law card is of, such as an accuracy.

    Raises:
        IsolossError: the file is there, or the table does not say what its columns are.

    Example:
        >>> import pathlib, tempfile
        >>> table = "params,tokens,loss" + "".join(
        ...     f"\n{n}e6,{d}e8,{1 + 1 / n + 1 / d}" for n in (1, 2, 4, 8) for d in (1, 3, 9, 27)
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     runs, out = pathlib.Path(folder, "runs.csv"), pathlib.Path(folder, "study.yaml")
        ...     _ = runs.write_text(table)
        ...     study_of_table(out, runs)
        ...     print(out.read_text().split("columns: ")[1].splitlines()[0])
        {N: params, D: tokens, loss: loss}
    """
    _refuse_overwriting(out)
    source = open_source(table)
    if law == CARD and formula is None:
        reason = "the card is of a law that you type"
        raise IsolossError(Problem(f"--law {CARD}", reason, "give --formula in its place"))
    formula = quickfit.checked_formula(formula, law, options)
    _check_options(law, options)
    quickfit.check_asked(source.label, columns or {}, (), formula, law, options)
    again = f"init --out {shlex.quote(str(out))}"
    rules = Rules({}, response=response)
    runs, meaning = quickfit.runs_of(source, rules, law, columns or {}, options, again, formula)
    _check_sizes(meaning)
    if meaning.response is not None and not meaning.formula:
        meaning = quickfit.with_law(meaning, runs, law)
    files = [str(table)] if isinstance(table, str | Path) else [str(one) for one in table]
    written = files[0] if len(files) == 1 else files
    fits, budgets = _fits_of_table(runs, meaning)
    sweep = _name(source.address.stem)
    text = _TABLE.format(
        head=_head(out),
        file=shlex.quote(str(out)),
        run=run_command(out),
        study=sweep,
        sweep=sweep,
        table=_noted(f"    table: {_inline(written)}", "from where snakemake is started"),
        columns=_inline(_columns(meaning)),
        signed=_SIGNED if meaning.signed else "",
        notes="".join(f"    # {note}\n" for note in _one_line(meaning.notes)),
        fits="".join(
            _fit(name, sweep, noted=name == meaning.law, **fit) for name, fit in fits.items()
        ),
        figures=_figures(sweep, meaning, list(fits)) + _gains(runs, meaning, sweep),
    )
    _write(out, text + budgets)


def _check_options(law: str | None, options: Mapping[str, Any] | None) -> None:
    """Refuse options that the law card does not have, and options without a card."""
    if not options:
        return
    if law is None:
        reason = f"found {', '.join(options)}, and no law card"
        raise IsolossError(Problem("--option", reason, "name the card: --law CARD"))
    if wrong := schema.complete_options(
        dict(options), registry.options("law", law), f"options of {law}", fill=False
    ):
        raise IsolossError(*wrong)


def _check_sizes(meaning: Meaning) -> None:
    """Refuse a table with fewer sizes than a study reads, unless its law has other variables."""
    sizes = sorted({"N", "D", "C", "ratio"} & set(meaning.columns))
    further = meaning.mixture or meaning.formula or set(meaning.columns) - set(COLUMNS)
    further = further or _without_sizes(meaning)
    if further or len(sizes) > 1:
        return
    there = f"{sizes[0]} alone" if sizes else "none"
    reason = f"a study needs two of N, D and C, and the table has {there}"
    do = "give it another (`--columns`), or fit it without a study: `isoloss law`"
    raise IsolossError(Problem(meaning.source, reason, do))


def study_of_sweep(out: Path, dataset: str, options: Mapping[str, Any] | None = None) -> None:
    """Write a study that trains small models of several sizes, and fits laws to their losses.

    Args:
        out: the file, which must not be there.
        dataset: dataset card.
        options: of the card.

    Raises:
        IsolossError: the file is there, or the card or its options are wrong.
    """
    _refuse_overwriting(out)
    if dataset not in registry.names("dataset"):
        known = nearest(dataset, registry.names("dataset"))
        raise IsolossError(Problem("--dataset", f"unknown {dataset!r}", known))
    options = dict(options or {})
    images = registry.facts("dataset", dataset)["TOKEN"] == "example" or options.get("image")
    fits = {
        "chinchilla": {"card": "chinchilla", "holdout": "largest_compute", "delta": 0.01},
        "power_law": {
            "card": "power_law",
            "options": {"variable": "C"},
            "holdout": "largest_compute",
            "delta": 0.01,
        },
    }
    text = _SWEEP.format(
        head=_head(out),
        file=shlex.quote(str(out)),
        run=run_command(out),
        study=_name(out.stem),
        dataset=dataset,
        options=f"    options: {_inline(options)}\n" if options else "",
        model=_OF_IMAGES if images else _OF_TEXT,
        fits="".join(_fit(name, "sizes", **fit) for name, fit in fits.items()),
        figures="  learning_curves: {card: learning_curves, sweep: sizes}\n"
        + ("" if images else _figure("isoflop_profiles", "sizes", ["chinchilla"]))
        + _figures_of("sizes", "joint", list(fits)),
    )
    _write(out, text)


def run_command(study: Path) -> str:
    """What a person types to run a study, here."""
    return shlex.join(launch.again(str(study)))


def _refuse_overwriting(out: Path) -> None:
    """Refuse a file that is there, or whose folder is not."""
    if out.exists() or out.is_symlink():
        raise IsolossError(Problem(f"--out {out}", "the file is there", "name another file"))
    if not out.absolute().parent.is_dir():
        raise IsolossError(Problem(f"--out {out}", "its folder is not there", "make the folder"))


def _write(out: Path, text: str) -> None:
    """Write a study if nothing is wrong with it."""
    check.check(yaml_text.load(text, str(out)), str(out))
    tables.write_text(out, text)


def _head(out: Path) -> str:
    """The line by which an editor finds the schema of studies."""
    schema = tables.schemas() / "config.schema.yaml"
    project, folder = tables.schemas().parent.parent, out.resolve().parent
    if folder.is_relative_to(project):
        schema = Path(os.path.relpath(schema, folder))
    return f"# yaml-language-server: $schema={schema}"


def _name(text: str) -> str:
    """A text as a name in a study: small letters, digits, - and _."""
    return _UNFIT.sub("-", text.lower()).strip("-_")[:40] or "runs"


def _inline(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _one_line(notes: Sequence[str]) -> list[str]:
    return [" ".join(note.split()) for note in notes]


def _without_sizes(meaning: Meaning) -> bool:
    """Whether a column is fitted by others than N, D and C, of which the table has none."""
    return meaning.response is not None and set(meaning.columns) <= {RESPONSE, *WORDS}


def _response(meaning: Meaning) -> str:
    """What the study calls the column that is fitted."""
    own = meaning.response
    return own if RESPONSE in meaning.columns and not _without_sizes(meaning) else name_of(own)


def _columns(meaning: Meaning) -> dict[str, str]:
    """Letters and words with their columns, and what the user says is not there."""
    absent = {key: "" for key, column in meaning.given.items() if column == "" and key == "of_run"}
    of_other = meaning.response is not None and RESPONSE not in meaning.columns
    alone = of_other or _without_sizes(meaning)
    own = _response(meaning) if alone else None
    fitted = {own: meaning.response} if alone and own not in meaning.columns else {}
    return {**meaning.columns, **fitted, **absent}


def _fits_of_table(runs: pd.DataFrame, meaning: Meaning) -> tuple[dict[str, dict[str, Any]], str]:
    """The fits of a study of a table, and the budgets of its summary as YAML."""
    if meaning.mixture:
        rule = {"rule": "random", "repeats": 10}
        return {meaning.law: {"card": meaning.law, "bootstrap": 200, "holdout": rule}}, ""
    complete = _options_of(meaning)
    options: dict[str, Any] = {"options": complete} if complete else {}
    if meaning.formula:
        options = {"options": {"formula": _formula_of_study(meaning)}}
    if meaning.response is not None:
        options["response"] = _response(meaning)
    if meaning.signed:
        options["signed"] = True
    fits = {meaning.law: {"card": meaning.law, **options}}
    finished = runs[runs["status"] == "done"]
    rule = quickfit.largest_budgets(finished, meaning.law, complete)
    if rule is not None:
        fits[f"{meaning.law}_held_out"] = {"card": meaning.law, **options, "holdout": rule}
    largest = finished["n_flops_6nd"].max()
    divided = meaning.response is None and _law_of(meaning).has_least_loss
    if not np.isfinite(largest) or not divided:
        return fits, ""
    budgets = ", ".join(f"{largest * factor:.2e}" for factor in _FACTORS)
    return (
        fits,
        f"""
summary:
  budgets: [{budgets}]  # FLOP: 1, 10 and 100 times the largest run
""",
    )


def _options_of(meaning: Meaning) -> dict[str, Any]:
    """All options of the law, those that nobody gave at their defaults."""
    own = dict(meaning.options)
    if meaning.formula:
        return own
    if meaning.law in quickfit.OF_ONE_SIZE:
        own = {"variable": quickfit.variable(meaning), **own}
    return {**registry.defaults("law", meaning.law), **own}


def _formula_of_study(meaning: Meaning) -> str:
    """The formula as typed; with the loss on its left side where that is what the column is."""
    left = read_formula(meaning.formula).response
    if meaning.response is not None or left is None or left in LOSS:
        return meaning.formula
    own = re.compile(rf"(^|[;\n])(\s*){re.escape(left)}(\s*=(?!=))")
    return own.sub(rf"\1\2{RESPONSE}\3", meaning.formula, count=1)


def _fit(name: str, sweep: str, card: str, noted: bool = True, **settings: Any) -> str:
    """A fit of a study as YAML, with what its options are where that is to be noted."""
    of_runs = registry.facts("law", card)["KIND"] != "mixture"
    lines = [f"  {name}:", f"    card: {card}", f"    sweep: {sweep}"]
    lines += _written_options(card, settings.get("options", {}), noted)
    if "response" in settings:
        lines.append(f"    response: {_inline(settings['response'])}")
    if of_runs and card != CARD and not settings.get("signed"):
        lines.append("    objective: huber_log")
        lines.append(_noted(f"    delta: {settings.get('delta', 0.001)}", "in log loss"))
    if "holdout" in settings:
        rule = _inline(settings["holdout"])
        lines.append(_noted(f"    holdout: {rule}", "runs that are predicted from the others"))
    count = settings.get("bootstrap", 4000)
    lines.append(_noted(f"    bootstrap: {count}", "replicates, for intervals"))
    return "\n".join(lines) + "\n"


def _written_options(card: str, options: Mapping[str, Any], noted: bool) -> list[str]:
    """The options of a law as YAML; each with what it is, where that is to be noted."""
    if not options or card == CARD or not noted:
        return [f"    options: {_inline(options)}"] if options else []
    known = registry.options("law", card)
    lines = ["    options:"]
    for key, value in options.items():
        choices = f"{' or '.join(map(str, known[key]['enum']))}; " if "enum" in known[key] else ""
        about = known[key]["description"].rstrip(".")
        note = choices + about[:1].lower() + about[1:]
        lines.append(_noted(f"      {key}: {_inline(value)}", " ".join(note.split())))
    return lines


def _noted(line: str, note: str) -> str:
    """A line of YAML with a comment."""
    return f"{line:<32} # {note}"


def _figures(sweep: str, meaning: Meaning, fits: Sequence[str]) -> str:
    """The figures of fits of a table, as YAML."""
    kind = registry.facts("law", meaning.law)["KIND"]
    if kind != "joint" or (_law_of(meaning).allocates and meaning.response is None):
        return _figures_of(sweep, kind, fits)
    own = "scaling_curve" if len(meaning.variables) == 1 else "variable_curves"
    cards = [(own, fits[:1]), ("predicted_observed", fits), ("fit_residuals", fits[:1])]
    return "".join(_figure(card, sweep, of) for card, of in cards)


def _law_of(meaning: Meaning) -> Law:
    """The law in sizes of a table, with the options that its columns give it."""
    return made_law(meaning.law, {**registry.defaults("law", meaning.law), **_options_of(meaning)})


def _figures_of(sweep: str, kind: str, fits: Sequence[str]) -> str:
    """The figures of fits of a kind of law, as YAML."""
    if kind == "mixture":
        return _figure("mixture_response", sweep, fits) + _figure("predicted_observed", sweep, fits)
    first = [fits[0]]
    own = {"joint": "isoloss", "curve": "scaling_curve", "frontier": "optimal_frontier"}[kind]
    cards = [(own, first), ("predicted_observed", fits)]
    cards += [("fit_residuals", first)] if kind != "frontier" else []
    return "".join(_figure(card, sweep, of) for card, of in cards)


def _gains(runs: pd.DataFrame, meaning: Meaning, sweep: str) -> str:
    """The figure of the gains of groups, as YAML; none where there are none to compare."""
    if meaning.mixture or runs.loc[runs["status"] == "done", "group"].nunique() < 2:
        return ""
    if not _law_of(meaning).has_least_loss:
        return ""
    return _figure("compute_gain", sweep, [meaning.law])


def _figure(card: str, sweep: str, fits: Sequence[str]) -> str:
    return f"  {card}: {{card: {card}, sweep: {sweep}, fits: [{', '.join(fits)}]}}\n"
