"""Cards by kind and name: one file for each, whose stem is its name.

Names and facts (`TITLE`, `OPTIONS`, ...) are read from the source without importing it, so that
listing cards costs nothing and only the card that is used is ever imported.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from isoloss.core.problems import IsolossError, Problem, nearest

FOLDERS = {
    "dataset": "datasets",
    "model": "models",
    "task": "tasks",
    "trainer": "trainers",
    "observable": "observables",
    "law": "laws",
    "planner": "planners",
    "figure": "figures",
}
# what a card of a kind must define; a method with its class
CONTRACTS = {
    "dataset": "TITLE ABOUT SOURCE TAGS TOKEN sources pieces",
    "model": (
        "TITLE FORMULA SOURCE TASK sizes Model Model.count Model.flops_by_layer Model.activations "
        "Model.nominal_width Model.build"
    ),
    "task": (
        "TITLE ABOUT SOURCE EXAMPLE ITEM shapes examples_per_item training validation made_up task"
    ),
    "trainer": "TITLE ABOUT SOURCE plan warm_up device train",
    "observable": "TITLE ABOUT FORMULA SOURCE QUANTITIES observe",
    "law": "TITLE FORMULA LATEX SOURCE DOMAIN KIND make",
    "planner": "TITLE ABOUT SOURCE choose",
    "figure": "TITLE ABOUT problems draw",
}
HOME = Path(__file__).parent.parent
# options that several cards have; a card writes their name in the place of their facts
COMMON = {
    "path_tags": {
        "type": "string",
        "default": "",
        "description": "Tags from the end of a file's path, such as {domain}/*.jsonl: a name in "
        "braces is a tag key, * is any text without /, **/ any folders.",
    },
    "maps": {
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}},
        "default": {},
        "description": "Tag key to a map of values to new values, such as a site to its domain. "
        "Values that it does not list stay as they are.",
    },
    "group": {
        "type": "string",
        "default": "",
        "description": "Group of runs whose fits are shown; the first if empty.",
    },
    "response": {
        "type": "string",
        "default": "",
        "description": "Loss whose fit is shown, such as loss_web; the first if empty.",
    },
    "width": {
        "type": "integer",
        "minimum": 1,
        "maximum": 65536,
        "default": 32,
        "unit": "units",
        "description": "Width of the first hidden layer of the perceptron.",
    },
    "depth": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1024,
        "default": 2,
        "unit": "layers",
        "description": "Hidden layers of the perceptron.",
    },
    "taper": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "default": 0.5,
        "description": "Width of a hidden layer over that of the one before, rounded, at least 1.",
    },
    "splits": {
        "type": "object",
        "additionalProperties": {"type": "string", "enum": ["train", "valid", "test"]},
        "default": {},
        "description": "Split of the dataset to its side, train, valid or test; only these are "
        "read. Empty: all that are called train, valid, validation or test, and test is the "
        "validation side where there is none; of a single split a hash of the group decides.",
    },
    "image": {
        "type": "string",
        "default": "",
        "description": "Column of images, which are read in the place of texts; empty for texts.",
    },
    "label": {
        "type": "string",
        "minLength": 1,
        "default": "label",
        "description": "Column of the labels of images, whole numbers; the name of a label, or the "
        "label, is the tag class.",
    },
    "setting": {
        "type": "integer",
        "minimum": 0,
        "maximum": 1000000,
        "default": 0,
        "description": "Number of the setting of the sampler that is shown, from 0.",
    },
    "variable": {
        "type": "string",
        "enum": ["N", "D", "C"],
        "default": "C",
        "description": "The variable x: parameters N, tokens D or compute C.",
    },
}

# what a law is a law of: the `KIND` of its card
LAW_KINDS = {
    "joint": "the loss of a run by its size and data, and what limits it beside them",
    "curve": "the loss by one variable, the others held or at their best",
    "frontier": "the best loss and size of every budget, from the runs near it",
    "mixture": "the loss of every domain by the proportions of the domains in the data",
}

# the tables of a fit, in the order in which they are written
FIT_TABLES = (
    "params",
    "summary",
    "findings",
    "residuals",
    "starts",
    "replicates",
    "scores",
    "profiles",
    "ranges",
    "best_mixture",
    "points",
)
# tables that every figure of fits reads: the runs fitted, and what its notes say of the fit
OF_FITS = ("fit/params", "fit/summary", "fit/residuals", "fit/points")


def path(kind: str, name: str) -> Path:
    """The file of a card; raises IsolossError with the nearest known name if there is none."""
    if name not in names(kind):
        near = nearest(name, names(kind))
        if kind == "law" and set(name) & set("=+*/("):
            near = 'a formula is given by its key: formula="...", or {"formula": "..."} in a list'
        raise IsolossError(f"no {kind} is called {name!r}; {near}")
    return HOME / FOLDERS[kind] / f"{name}.py"


@cache
def names(kind: str) -> tuple[str, ...]:
    """All cards of a kind, sorted; a leading underscore marks what is not a card."""
    files = (HOME / FOLDERS[kind]).glob("[!_]*.py")
    return tuple(sorted(file.stem for file in files))


def tree_of(file: Path) -> ast.Module:
    """The syntax tree of a source file.

    Raises:
        IsolossError: it is not Python, with the line.
    """
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        place = f"{file}, line {error.lineno}"
        raise IsolossError(
            Problem(place, f"is not Python ({error.msg})", "fix the line")
        ) from error


def facts(kind: str, name: str) -> dict[str, Any]:
    """The literal upper-case constants of a card, without importing it."""
    return _constants(path(kind, name))


@cache
def _constants(file: Path) -> dict[str, Any]:
    """The literal upper-case constants of a source file."""
    tree = tree_of(file)
    constants: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            constant = node.targets[0].id
            if constant.isupper() and not constant.startswith("_"):
                try:
                    constants[constant] = ast.literal_eval(node.value)
                except ValueError:  # computed, not literal: only the imported card knows it
                    continue
    return constants


@cache
def lacking(kind: str, name: str) -> tuple[str, ...]:
    """What a card would have to define to keep the contract of its kind; read without importing."""
    return tuple(part for part in CONTRACTS[kind].split() if part not in defined(kind, name))


@cache
def defined(kind: str, name: str) -> frozenset[str]:
    """The names that a card defines, methods with their class; read without importing it."""
    tree = tree_of(path(kind, name))
    return frozenset(named for node in tree.body for named in _defines(node))


def _defines(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a card defines; methods and fields with their class."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for inner in node.body for name in _defines(inner))
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        stored = (inner for target in targets for inner in ast.walk(target))
        yield from (name.id for name in stored if isinstance(name, ast.Name))


def inputs(figure: str) -> list[str]:
    """The tables (`stage/table`) that a figure card reads: those of every such one, and INPUTS.

    A figure of a simulation reads no others: it has neither runs nor fits.
    """
    card = facts("figure", figure)
    if of_simulation(figure):
        return list(card["INPUTS"])
    of_fits = () if card.get("MAX_FITS") == 0 else OF_FITS
    return ["aggregate/runs", *of_fits, *card.get("INPUTS", [])]


def of_simulation(figure: str) -> bool:
    """Whether a figure card shows a simulation, and not runs of a sweep."""
    given = facts("figure", figure).get("INPUTS", [])
    return any(table.startswith("simulate/") for table in given)


def reads_data(observable: str) -> bool:
    """Whether an observable card is given the training data besides the weights."""
    return facts("observable", observable).get("READS") == "data"


def tables_of(observable: str) -> list[str]:
    """The tables that an observable card gives: `observations`, and its own."""
    return ["observations", *facts("observable", observable).get("TABLES", ())]


def of_mixtures(law: str) -> bool:
    """Whether a law card is one of mixtures: it reads proportions and has a law for each loss.

    Raises:
        IsolossError: there is no such card, or it does not say of which kind it is.
    """
    kind = facts("law", law).get("KIND")
    if kind not in LAW_KINDS:
        remedy = f"give the card one of {', '.join(LAW_KINDS)}"
        raise IsolossError(Problem(f"law card {law}, KIND", f"found {kind!r}", remedy))
    return kind == "mixture"


def options(kind: str, name: str) -> dict[str, Any]:
    """The options of a card as JSON Schema properties (description, unit, default each).

    A card can have those of its neighbours too, whose stems are its OPTIONS_OF.
    """
    card = facts(kind, name)
    given = dict(card.get("OPTIONS", {}))
    for stem in card.get("OPTIONS_OF", "").split():
        given |= _constants(HOME / FOLDERS[kind] / f"{stem}.py")["OPTIONS"]
    return {key: COMMON[spec] if isinstance(spec, str) else spec for key, spec in given.items()}


def defaults(kind: str, name: str) -> dict[str, Any]:
    """The options of a card at their defaults."""
    return {k: spec["default"] for k, spec in options(kind, name).items() if "default" in spec}


def tag_keys(dataset: str, given: Mapping[str, Any]) -> list[str]:
    """The keys of the tags that a dataset's rows have: those of its TAGS, or as its options say.

    Args:
        dataset: its card.
        given: the card's options, complete.
    """
    if "tag_keys" in defined("dataset", dataset):
        return list(card("dataset", dataset).tag_keys(**given))
    return list(facts("dataset", dataset)["TAGS"])


def token(dataset: str, given: Mapping[str, Any]) -> str:
    """What a dataset counts: its TOKEN, or as its options say; `byte` of texts.

    Args:
        dataset: its card.
        given: the card's options, complete.
    """
    if "token" in defined("dataset", dataset):
        return card("dataset", dataset).token(**given)
    return facts("dataset", dataset)["TOKEN"]


def card(kind: str, name: str) -> ModuleType:
    """Import a card and return its module."""
    path(kind, name)
    return importlib.import_module(f"isoloss.{FOLDERS[kind]}.{name}")
