"""A study: read, filled with defaults, and checked against the schema, all problems at once.

What needs more than the schema (cards, tables, counts of runs) is in `study/check.py`.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core import registry, rounds, tables, tokenizer, weightings, yaml_text
from isoloss.core.addresses import literal_secret, masked, shown, token_in
from isoloss.core.problems import IsolossError, Problem, StudyError, nearest

if TYPE_CHECKING:
    import jsonschema

_OF_TABLE = re.compile(r"aggregate\..*\.table(?:\[\d+\])?", re.DOTALL)  # an address
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_BITS = 1023  # of an integer that is a number in floating point too


def read(path: str | Path) -> dict[str, Any]:
    """The content of a study's YAML file, without defaults.

    Raises:
        StudyError: no such file, not a YAML mapping, or one that is too large to be a study.
    """
    config = yaml_text.read(path)
    if not isinstance(config, dict):
        raise StudyError([Problem("file", "is not a mapping", "write `study: NAME`")], str(path))
    return config


# section -> earlier name of a key of its entries -> its name today
RENAMED = {"plot": {"laws": "fits"}}


@cache
def schema() -> dict[str, Any]:
    """The content of `config.schema.yaml`."""
    return tables.read_schema("config.schema.yaml")


def resolve(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the schema with its `$ref` followed."""
    return schema()["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part


def complete(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """A study with every default filled in, and all that is wrong with it by the schema.

    Numbers that YAML 1.1 reads as text (`1e10`) become numbers, keys of weightings that it reads as
    booleans or numbers (`true`) become text, and the options of cards are completed from the cards.
    Runs on a dataset with a tokenizer's file that say no `vocabulary` get the tokenizer's.
    Environment variables in tables' addresses stay as they are written.
    Keys under an earlier name have the name of today (`renamed` says which); rounds of sweeps and
    designs of mixtures are spelled out.
    """
    import jsonschema

    config = weightings.with_text_keys(config)
    wrong = list(unsound(config))
    if wrong:
        return config, wrong
    config, _ = renamed(_apart(config))
    _fill(config, schema(), "", wrong)
    wrong += _tokens(config, "", {problem.place for problem in wrong})
    _fill_vocabularies(config, wrong)
    wrong += unsound(config)  # defaults count too, and numbers that text spelled
    validator = jsonschema.Draft202012Validator(schema())
    wrong += [line for error in validator.iter_errors(config) for line in explain(error)]
    if not wrong:
        entries = config["expand"].items()
        wrong = [p for k, v in entries for p in weightings.together_problems(v, f"expand.{k}")]
        entries = config["train"].items()
        wrong += [p for k, v in entries for p in rounds.together_problems(v, f"train.{k}")]
    if wrong:
        return config, wrong
    config, wrong = rounds.spelled_out(config)
    return (config, wrong) if wrong else weightings.spelled_out(config)


def renamed(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """A study with earlier names of keys replaced, and a problem for each that was.

    A key that stands under both names is left as it is: the earlier name is then unknown.

    >>> config, (message,) = renamed({"plot": {"p": {"laws": ["f"]}}})
    >>> config, str(message)
    ({'plot': {'p': {'fits': ['f']}}}, 'plot.p.laws: this key is called `fits` now; rename it')
    """
    config, messages = dict(config), []
    for section, names in RENAMED.items():
        entries = config.get(section)
        if not isinstance(entries, Mapping):
            continue
        config[section] = dict(entries)
        for entry, keys in entries.items():
            for earlier, now in names.items():
                if isinstance(keys, Mapping) and earlier in keys and now not in keys:
                    keys = {now if key == earlier else key: keys[key] for key in keys}
                    config[section][entry] = keys
                    place = f"{section}.{entry}.{earlier}"
                    messages.append(Problem(place, f"this key is called `{now}` now", "rename it"))
    return config, messages


def unsound(study: Any) -> list[Problem]:
    """Problems of a study's values: keys that are not text, numbers beyond floating point, size.

    Texts with NUL or half of a surrogate pair are among them.
    """
    try:
        yaml_text.measure(study, {})
    except ValueError as error:
        return [Problem("study", f"found {error}", "make it smaller")]
    return list(_unsound(study, ""))


def _unsound(value: Any, place: str) -> Iterator[Problem]:
    if isinstance(value, dict):
        for key, below in value.items():
            if isinstance(key, str):
                yield from _unsound_text(key, place or "study")
                yield from _unsound(below, f"{place}.{key}".lstrip("."))
            else:
                reason = f"the key {_short(key)} is not text"
                yield Problem(place or "study", reason, "put it in quotes")
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from _unsound(below, f"{place}[{i}]")
    elif isinstance(value, str):
        yield from _unsound_text(value, place)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(place, f"found {value}", "a finite number is needed")
    elif isinstance(value, int) and value.bit_length() > _BITS:
        digits = round(value.bit_length() * math.log10(2))
        yield Problem(place, f"found a number of {digits} digits", "a smaller number is needed")


def _unsound_text(text: str, place: str) -> Iterator[Problem]:
    """Characters that no path, argument or file of text can have."""
    if (strange := _NO_TEXT.search(text)) is not None:
        yield Problem(place, f"found text with the character {strange[0]!a}", "remove it")


def _apart(value: Any) -> Any:
    """A copy in which nothing is shared, so that defaults filled in at one place stay there."""
    if isinstance(value, dict):
        return {key: _apart(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_apart(below) for below in value]
    return copy.deepcopy(value)


def _fill(value: Any, part: Mapping[str, Any], place: str, wrong: list[Problem]) -> Any:
    """Fill defaults in place, below `place`; returns the value, a number where text spells one."""
    part = resolve(part)
    if "anyOf" in part:
        kind = "object" if isinstance(value, dict) else "string"
        part = next((choice for choice in part["anyOf"] if choice.get("type") == kind), part)
    if {"number", "integer"} & _types(part):
        return number(value)
    if isinstance(value, dict):
        properties = part.get("properties", {})
        for key, spec in properties.items():
            default = resolve(spec).get("default")
            if key not in value and default is not None:
                value[key] = copy.deepcopy(default)
        others = part.get("additionalProperties")
        for key in value:
            below = properties.get(key, others if isinstance(others, dict) else None)
            if below is not None:
                value[key] = _fill(value[key], below, f"{place}.{key}".lstrip("."), wrong)
        _fill_cards(value, properties, place, wrong)
    elif isinstance(value, list) and isinstance(part.get("items"), dict):
        value[:] = [_fill(v, part["items"], f"{place}[{i}]", wrong) for i, v in enumerate(value)]
    elif isinstance(value, str) and _OF_TABLE.fullmatch(place):
        wrong += _secrets([value], place)
    return value


def _secrets(texts: Iterable[Any], place: str) -> list[Problem]:
    """A problem for every address among some values that spells a secret out."""
    remedy = "put it into an environment variable and write $NAME"
    return [
        Problem(place, f"{shown(text)} contains {secret}", remedy)
        for text in texts
        if isinstance(text, str) and (secret := literal_secret(text)) is not None
    ]


def _tokens(value: Any, place: str, known: Collection[str]) -> list[Problem]:
    """A problem for every text of a study that contains what looks like a token of a service.

    Args:
        value: of the study.
        place: where it is.
        known: places that have a problem already.
    """
    if isinstance(value, dict):
        parts = [(f"{place}.{key}".lstrip("."), below) for key, below in value.items()]
    elif isinstance(value, list):
        parts = [(f"{place}[{i}]", below) for i, below in enumerate(value)]
    else:
        start = token_in(value) if isinstance(value, str) and place not in known else None
        reason = f"contains something that looks like a token ({start}...)"
        remedy = "put it into an environment variable, which programs of the study have too"
        return [] if start is None else [Problem(place, reason, remedy)]
    return [problem for at, below in parts for problem in _tokens(below, at, known)]


def _types(part: Mapping[str, Any]) -> set[str]:
    named = part.get("type", [])
    return {named} if isinstance(named, str) else set(named)


def number(value: Any) -> Any:
    """A number if a text spells one, such as 1e9, which YAML reads as text; else the value itself.

    A whole number below 2^63 is an integer, whatever way it is written; a larger one is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    if isinstance(value, str):
        if len(value) > yaml_text.DIGITS or not _NUMBER.fullmatch(value):
            return value
        whole = value.lstrip("+-").isdecimal()
        value = int(value) if whole else float(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    return value if abs(value) < 2**63 or value.bit_length() > _BITS else float(value)


def _fill_vocabularies(config: Mapping[str, Any], wrong: list[Problem]) -> None:
    """Fill in the `vocabulary` of sweeps whose dataset has a tokenizer's file, in place."""
    for name, dataset in _entries(config, "load"):
        file = dataset.get("tokenizer")
        if not isinstance(file, str) or file in ("", tokenizer.BYTES):
            continue
        try:
            size = tokenizer.of(file).vocabulary
        except IsolossError as error:
            wrong += [problem.within(f"load.{name}", ".") for problem in error.problems]
            continue
        for _, sweep in _entries(config, "train"):
            settings, model = sweep.get("settings"), sweep.get("model")
            if sweep.get("dataset") == name and isinstance(settings, dict) and _has_words(model):
                settings.setdefault("vocabulary", size)


def _has_words(model: Any) -> bool:
    """Whether a model card of this name is trained at a task that has a vocabulary."""
    if model not in registry.names("model"):
        return False
    task = registry.facts("model", model).get("TASK")
    return task in registry.names("task") and "vocabulary" in registry.options("task", task)


def _entries(config: Mapping[str, Any], section: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and entries of a section, those that are mappings."""
    entries = config.get(section)
    named = entries.items() if isinstance(entries, dict) else ()
    return [(name, entry) for name, entry in named if isinstance(entry, dict)]


def _fill_cards(value: dict, properties: Mapping, place: str, wrong: list[Problem]) -> None:
    """Check the card that a key names, and complete the options that it takes."""
    for key, spec in properties.items():
        kind, name = resolve(spec).get("card"), value.get(key)
        if kind is None or not isinstance(name, str):
            continue
        problems = _card_problems(kind, name, f"{place}.{key}")
        wrong += problems
        if not problems and "options" in properties and isinstance(value.get("options"), dict):
            options = registry.options(kind, name)
            wrong += lacking_options(kind, name, value["options"], f"{place}.options")
            wrong += complete_options(value["options"], options, f"{place}.options")


def _card_problems(kind: str, name: str, place: str) -> list[Problem]:
    """There is such a card, and it keeps the contract of its kind."""
    if name not in registry.names(kind):
        known = nearest(name, registry.names(kind))
        return [Problem(place, f"no {kind} card is called {name!r}", known)]
    lacking, remedy = registry.lacking(kind, name), f"change {registry.path(kind, name)}"
    if lacking:
        reason = f"the {kind} card {name!r} does not define {', '.join(lacking)}"
        return [Problem(place, reason, remedy)]
    task = registry.facts(kind, name).get("TASK")
    if kind == "model" and task not in registry.names("task"):
        reason = f"the TASK of the model card {name!r} is {task!r}, which is no task card"
        return [Problem(place, reason, f"{nearest(str(task), registry.names('task'))}; {remedy}")]
    return []


def lacking_options(kind: str, name: str, given: Mapping[str, Any], place: str) -> list[Problem]:
    """Problems of options that a card has a default of for its own page alone: its REQUIRED."""
    required = registry.facts(kind, name).get("REQUIRED", {})
    return [
        Problem(f"{place}.{option}", "is missing", do)
        for option, do in required.items()
        if option not in given
    ]


def complete_options(
    given: dict[str, Any], properties: Mapping[str, Any], place: str, fill: bool = True
) -> list[Problem]:
    """Fill a card's options in place; all that is wrong with them.

    Args:
        given: option to value.
        properties: option to its JSON Schema.
        place: where they stand in the study.
        fill: whether to add defaults.
    """
    import jsonschema

    for key, spec in properties.items():
        if key in given and {"number", "integer"} & _types(spec):
            several = isinstance(given[key], list)
            given[key] = list(map(number, given[key])) if several else number(given[key])
        elif fill and "default" in spec and key not in given:
            given[key] = copy.deepcopy(spec["default"])
    shape = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    errors = jsonschema.Draft202012Validator(shape).iter_errors(given)
    wrong = [line for error in errors for line in explain(error, place)]
    for key, value in given.items():
        wrong += _secrets(value if isinstance(value, list) else [value], f"{place}.{key}")
    return wrong


def explain(error: jsonschema.ValidationError, below: str = "") -> list[Problem]:
    """The problems that a schema error stands for."""
    place = below
    for step in error.absolute_path:
        place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else str(step)
    value, rule = error.validator_value, error.validator
    if rule == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = [key for key in error.instance if key not in known]
        return [
            Problem(f"{place}.{k}".lstrip("."), "unknown key", nearest(k, known)) for k in unknown
        ]
    place = place or "study"
    if rule == "anyOf":  # what is wrong by the choice of the same type is to the point
        other = {e.schema_path[0] for e in error.context if e.validator == "type" and not e.path}
        inner = [e for e in error.context if e.schema_path[0] not in other]
        if inner:
            return [line for e in inner for line in explain(e, below)]
        needed = _needed(sorted({resolve(part).get("type", "object") for part in value}))
        return [Problem(place, f"found {_short(error.instance)}", f"{needed}, or leave it out")]
    if rule == "required":
        lacking = [key for key in value if key not in error.instance]
        return list(dict.fromkeys(Problem(place, f"{k!r} is missing", "add it") for k in lacking))
    reason = f"found {_short(error.instance)}"
    remedies = {
        "type": _needed([value] if isinstance(value, str) else value),
        "enum": f"one of {', '.join(map(str, value)) if isinstance(value, list) else value}; "
        + nearest(error.instance, value if isinstance(value, list) else []),
        "minimum": f"needs at least {value}",
        "maximum": f"needs at most {value}",
        "exclusiveMinimum": f"needs more than {value}",
        "exclusiveMaximum": f"needs less than {value}",
        "minItems": "needs at least one entry" if value == 1 else f"needs {value} entries",
        "minProperties": "needs at least one entry",
        "maxItems": f"needs at most {value} entries",
        "maxProperties": f"needs at most {value} entries",
        "pattern": "letters, digits, _ . and - only, a letter or digit first",
        "maxLength": f"a name has at most {value} characters",
    }
    return [Problem(place, reason, remedies.get(rule, error.message))]


def _needed(types: Any) -> str:
    if not (isinstance(types, list) and all(isinstance(name, str) for name in types)):
        return ""  # of another rule
    return "needs " + " or ".join(f"{'an' if t[0] in 'aeiou' else 'a'} {t}" for t in types)


def _short(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > _BITS:
        return "a number of very many digits"
    text = json.dumps(masked(value), default=str)
    return text if len(text) < 60 else text[:57] + "..."


def sweeps(config: Mapping[str, Any]) -> list[str]:
    """The names of all sweeps and tables of runs."""
    return [*config["train"], *config["aggregate"]]
