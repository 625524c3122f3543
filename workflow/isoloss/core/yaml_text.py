"""Refuse YAML that was written to do harm before anything is built from it.

A pass over the parser's events, which builds nothing, bounds the size, the depth and the number of
values with aliases followed; only then is the text made into mappings and lists. Nothing heavy is
imported: `profiles/default` has a study looked at before Snakemake reads it with its own loader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isoloss.core.paths import kind_of
from isoloss.core.problems import Problem, StudyError

SIZE = 1 << 22  # bytes of a study
DEPTH = 32  # lists and mappings inside each other
NODES = 100_000  # values and keys, aliases followed
TEXT = 10_000  # characters of one value
LINE = 64  # characters that count as one more value
KEY = 1_000  # characters of a key
DIGITS = 100  # characters of a number
TEMPLATE = "__use_yte__"  # with this key Snakemake runs the expressions of a study as Python

_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
_NUMBERS = (_TAG + "int", _TAG + "float")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
# the parser in C where there is one: forty times faster
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_PARSER):
    """Safe YAML in which a key that appears twice is an error."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Refused(line, "a key is not text", "put it in quotes")
            if key_node.value in seen:
                raise _Refused(line, f"key {key_node.value!r} appears twice", "remove one")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Refused(yaml.YAMLError):
    """Reading stopped: the text is not allowed.

    Args:
        line: where, from 1.
        reason: what is wrong there.
        remedy: what to do.
    """

    def __init__(self, line: int, reason: str, remedy: str):
        super().__init__(reason)
        self.line, self.reason, self.remedy = line, reason, remedy


def read(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises:
        StudyError: it cannot be read, with the line where that is known.
    """
    if kind := kind_of(path):  # a pipe would be waited for
        problem = Problem("file", f"is {kind}, not a file", "give a file")
        raise StudyError([problem], str(path))
    try:
        with Path(path).open("rb") as file:
            content = file.read(SIZE + 1)
    except (OSError, ValueError) as error:
        raise StudyError(
            [Problem("file", f"cannot be read ({error})", "give a readable file")], str(path)
        ) from error
    return load(content, str(path))


def load(content: bytes | str, source: str, misread: bool = False) -> Any:
    """The content of a YAML text.

    Args:
        content: the text.
        source: what it is called in errors.
        misread: whether values such as `no` and 1:30 are read as YAML 1.1 does, as false and 90; by
            default they are refused.

    Raises:
        StudyError: it is not YAML, or larger or deeper than a study can be, or of other values.
    """
    try:
        text = _decoded(content)
        look(text, misread)
        return yaml.load(text, Loader=_Loader)
    except _Refused as error:
        lines = [Problem(f"line {error.line}", error.reason, error.remedy)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"is not YAML ({error.problem or error.context})"
        lines = [Problem(f"line {mark.line + 1}" if mark else "file", reason, "fix it")]
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        first = str(error).split("\n")[0]
        lines = [Problem("file", f"is not YAML ({first})", "fix it")]
    raise StudyError(lines, source) from None


def _decoded(content: bytes | str) -> str:
    if len(content) > SIZE:
        line = content.count(b"\n" if isinstance(content, bytes) else "\n") + 1
        raise _Refused(line, f"the file has more than {SIZE} bytes", "make it smaller")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        reason = f"byte {error.start} (0x{content[error.start]:02x}) is not UTF-8"
        raise _Refused(line, reason, "save the file as UTF-8") from None
    if strange := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, strange.start()) + 1
        raise _Refused(line, f"the character {strange.group()!a} is not allowed", "remove it")
    return text


@dataclass
class _Open:
    """A list or mapping that is not closed yet, with the values and the height seen so far."""

    anchor: str | None
    mapping: bool
    values: int = 1
    height: int = 1
    children: int = 0


class _Look:
    """The state of a scan: open lists and mappings, and anchors.

    Args:
        misread: whether values such as `no` are allowed.
    """

    def __init__(self, misread: bool):
        self.misread = misread
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[int, int]] = {}  # to values and height, aliases followed
        self.resolver = yaml.SafeLoader("")

    def add(self, values: int, height: int, line: int) -> None:
        """Add a child, with all that it contains, to the innermost list or mapping."""
        if len(self.stack) + height > DEPTH:
            reason = f"lists or mappings more than {DEPTH} deep, aliases followed"
            raise _Refused(line, reason, "use fewer levels of lists and mappings")
        if not self.stack:
            return
        top = self.stack[-1]
        top.children += 1
        top.values += values
        top.height = max(top.height, 1 + height)
        # those around it grow too: what is open in them is added when it is closed
        if sum(one.values for one in self.stack) > NODES:
            reason = f"more than {NODES} values, aliases followed"
            raise _Refused(line, reason, "make it smaller")

    def alias(self, name: str, line: int) -> None:
        """Count all values of the anchor for an alias."""
        if any(one.anchor == name for one in self.stack):
            raise _Refused(line, f"*{name} refers to a value that contains it", "write it out")
        if name not in self.anchors:
            raise _Refused(line, f"*{name} has no anchor &{name} before it", "add one")
        self.add(*self.anchors[name], line)

    def scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        """Check a text or number: its length, and that it is of a kind that studies have."""
        is_key = bool(self.stack) and self.stack[-1].mapping and self.stack[-1].children % 2 == 0
        length, most = len(event.value), KEY if is_key else TEXT
        if length > most:
            what = "key" if is_key else "text"
            raise _Refused(line, f"a {what} of {length} characters", f"at most {most} are allowed")
        tag = event.tag
        if tag in (None, "!"):
            tag = self.resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag in _NUMBERS and length > DIGITS:
            raise _Refused(
                line, f"a number of {length} characters", f"at most {DIGITS} are allowed"
            )
        plain = event.implicit[0] and not self.misread
        if plain and (meaning := _meaning(tag, event.value)) is not None:
            remedy = f"write {meaning}, or put it in quotes if it is text"
            raise _Refused(line, f"found {event.value}, which YAML reads as {meaning}", remedy)
        if tag == _TAG + "timestamp":
            raise _Refused(line, f"found the date {event.value}", "put it in quotes if it is text")
        if is_key and len(self.stack) == 1 and event.value == TEMPLATE:
            reason = f"{TEMPLATE!r} would have Snakemake run the study as a program"
            raise _Refused(line, reason, "remove it: a study is data")
        values = 1 + length // LINE
        if event.anchor is not None:
            self.anchors[event.anchor] = (values, 0)
        self.add(values, 0, line)


def _meaning(tag: str, value: str) -> str | None:
    """What YAML 1.1 takes a plain value for that people write for something else; None if nothing.

    Example:
        >>> [_meaning(_TAG + "bool", value) for value in ("no", "On", "true")]
        ['false', 'true', None]
        >>> [_meaning(_TAG + "int", value) for value in ("017", "1:30", "17", "0")]
        ['15', '90', None, None]
    """
    if tag == _TAG + "bool" and value.lower() not in ("true", "false"):
        return "true" if value.lower() in ("yes", "on") else "false"
    if tag in _NUMBERS and (":" in value or (tag == _TAG + "int" and _OCTAL.fullmatch(value))):
        kind = "construct_yaml_int" if tag == _TAG + "int" else "construct_yaml_float"
        node = yaml.ScalarNode(tag, value)
        return str(getattr(yaml.SafeLoader(""), kind)(node))
    return None


def look(text: str, misread: bool = False) -> None:
    """Refuse a text of YAML that is too large or too deep, or has what no study has.

    Nothing is built: the time taken grows with the length of the text and the limits alone.

    Args:
        text: the text.
        misread: whether values are allowed that YAML 1.1 takes for something else than people mean.

    Raises:
        YAMLError: with the line.
    """
    seen, documents = _Look(misread), 0
    for event in yaml.parse(text, Loader=_PARSER):
        line = event.start_mark.line + 1
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in _TAGS:
            shown = tag.replace(_TAG, "!!")[:KEY]
            raise _Refused(line, f"the tag {shown!r} is not allowed", "write a plain value")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Refused(line, "a second document begins", "write one study in a file")
        elif isinstance(event, yaml.AliasEvent):
            seen.alias(event.anchor, line)
        elif isinstance(event, yaml.ScalarEvent):
            seen.scalar(event, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            seen.stack.append(_Open(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            if len(seen.stack) > DEPTH:
                raise _Refused(
                    line,
                    f"lists or mappings more than {DEPTH} deep",
                    "use fewer levels of lists and mappings",
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = seen.stack.pop()
            if closed.anchor is not None:
                seen.anchors[closed.anchor] = (closed.values, closed.height)
            seen.add(closed.values, closed.height, line)


def measure(value: Any, sizes: dict[int, tuple[int, int]], depth: int = 1) -> tuple[int, int]:
    """Values in a mapping or list, shared ones counted every time, and its height.

    Each part is looked at once, however often it is used.

    Args:
        value: of a study that is a Python object.
        sizes: what is known already, by the identity of the object; (0, 0) of one that is open.
        depth: of `value`.

    Raises:
        ValueError: it is too large, too deep, or part of itself.
    """
    if isinstance(value, str) and len(value) > TEXT:
        raise ValueError(f"a text of {len(value)} characters")
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return 1 + len(value) // LINE if isinstance(value, str) else 1, 0
    if id(value) not in sizes:
        if depth > DEPTH:
            raise ValueError(f"lists or mappings more than {DEPTH} deep")
        sizes[id(value)] = (0, 0)
        inner = value.values() if isinstance(value, dict) else value
        values, height = 1 + len(value) * isinstance(value, dict), 0
        for part in inner:
            more, tall = measure(part, sizes, depth + 1)
            values, height = values + more, max(height, tall)
            if values > NODES:
                raise ValueError(f"more than {NODES} values")
        sizes[id(value)] = (values, height + 1)
    values, height = sizes[id(value)]
    if not values:
        raise ValueError("a value that is part of itself")
    if depth + height - 1 > DEPTH:
        raise ValueError(f"lists or mappings more than {DEPTH} deep")
    return values, height


def look_at_value(text: str, source: str) -> None:
    """Refuse a value of Snakemake's `--config` that expands without bound; other text is allowed.

    Raises:
        StudyError: it is larger or deeper than a study can be, or of other values.
    """
    try:
        look(_decoded(text))
    except _Refused as error:
        lines = [Problem(f"line {error.line}", error.reason, error.remedy)]
        raise StudyError(lines, source) from None
    except yaml.YAMLError:
        return
