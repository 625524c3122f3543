"""The command line of a run: a template whose {names} are filled in, word by word.

A template is cut into words as a shell does it (quotes, backslashes), and only then are values put
into the words: a value is always one argument, or a part of one, whatever characters it has. No
shell runs the words.
"""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from isoloss.core.problems import IsolossError, Problem, nearest

RESUME = "{resume}"  # the word in whose place the words of `resume` stand
OF_SHELLS = {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>", "(", ")"}
_SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACES = "write a name in braces, such as {seed}, and {{ or }} for a brace itself"


def words_of(template: str, place: str) -> list[str]:
    """The words of a template, values not filled in.

    Raises:
        IsolossError: a quote is not closed, or braces do not hold a name.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        reason = f"cannot be cut into words ({error})"
        raise IsolossError(Problem(place, reason, "close the quote")) from error
    for word in words:
        for _, name in _pieces(word, place):
            if name is not None and not _NAME.fullmatch(name):
                raise IsolossError(Problem(place, f"found {{{name}}}", _BRACES))
    return words


def _pieces(word: str, place: str) -> list[tuple[str, str | None]]:
    """The parts of a word: a text, and the name that follows it or None."""
    try:
        parts = list(string.Formatter().parse(word))
    except ValueError as error:
        raise IsolossError(Problem(place, f"{word!r}: {error}", _BRACES)) from error
    plain = [(text, name, (form or "", how)) for text, name, form, how in parts]
    if any(more != ("", None) for _, name, more in plain if name is not None):
        raise IsolossError(Problem(place, f"found {word!r}", _BRACES))
    return [(text, name) for text, name, _ in plain]


def names_of(template: str, place: str) -> list[str]:
    """The names that a template has in braces, each once.

    Example:
        >>> names_of("train.py --width {width} '{width} {seed}' {{}}", "run")
        ['width', 'seed']
    """
    words = words_of(template, place)
    names = (name for word in words for _, name in _pieces(word, place) if name is not None)
    return list(dict.fromkeys(names))


def fixed_words(template: str, place: str) -> list[str]:
    """The words of a template that have no name in them: those are the same in every run."""
    pieces = [_pieces(word, place) for word in words_of(template, place)]
    return ["".join(t for t, _ in word) for word in pieces if all(n is None for _, n in word)]


def arguments(
    template: str, values: Mapping[str, Any], resume: Sequence[str] = (), place: str = "run"
) -> list[str]:
    """The arguments of a run, the program first.

    Args:
        template: the command line with names in braces.
        values: of all names.
        resume: stands in the place of the word {resume}.
        place: of the template, for errors.

    Example:
        >>> arguments("./train --name={name} '{{x}}' {resume}", {"name": "a b; $(c)"}, ["--go-on"])
        ['./train', '--name=a b; $(c)', '{x}', '--go-on']
    """

    def filled(word: str) -> Iterator[str]:
        for text, name in _pieces(word, place):
            yield text if name is None else text + spelled(values[name])

    parts = words_of(template, place)
    each = [resume if word == RESUME else ["".join(filled(word))] for word in parts]
    return [word for words in each for word in words]


def spelled(value: Any) -> str:
    """A value as it stands on a command line: a whole number without a point, `true`, `false`.

    Example:
        >>> [spelled(value) for value in (1e6, 1e-3, 12, True, "a b")]
        ['1000000', '0.001', '12', 'true', 'a b']
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def problems(template: str, known: Iterable[str], place: str) -> list[Problem]:
    """What is wrong with a template.

    Args:
        template: the command line.
        known: the names that it may have.
        place: where it stands in the study.
    """
    try:
        words, names = words_of(template, place), names_of(template, place)
    except IsolossError as error:
        return error.problems
    known = list(known)
    wrong = [
        Problem(place, f"{{{name}}} is neither a setting nor a folder", nearest(name, known))
        for name in names
        if name not in known
    ]
    if not words:
        return [Problem(place, "the command is empty", "write the program and its arguments")]
    for word in OF_SHELLS & set(words):
        reason = f"{word!r} is of a shell, and no shell runs the command"
        remedy = "put it into a script, or write bash -c '... \"$1\" ...' - {name}"
        wrong.append(Problem(place, reason, remedy))
    if any(RESUME in word and word != RESUME for word in words):
        wrong.append(Problem(place, "{resume} is a part of a word", "put spaces around it"))
    return wrong + _script_problems(words, place)


def _script_problems(words: Sequence[str], place: str) -> list[Problem]:
    """A problem if values would become code of a shell: `bash -c "train {name}"`."""
    if words[0].rpartition("/")[2] not in _SHELLS:
        return []
    scripts = [two for one, two in pairwise(words) if re.match(r"-\w*c$", one)]
    if not any(name is not None for script in scripts for _, name in _pieces(script, place)):
        return []
    reason = "a value would become code of the shell"
    return [Problem(place, reason, "give it as an argument: bash -c 'train \"$1\"' - {name}")]
