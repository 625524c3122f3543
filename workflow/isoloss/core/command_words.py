"""The words of a command put in order: which belong to an option, and which to the command itself.

An option of several words, such as `--columns N=params D=tokens`, ends where a word does not have
its form, so that it never takes the table that follows it.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Form = Callable[[str], bool]

_PAIR = re.compile(r"[^\s/\\.?*:=]*=.*", re.DOTALL)  # no path: the key has none of / \ . ? * :
_COMPARED = re.compile(r"[<>]|[=!]=")
_NAMES = re.compile(r"[^/\\.?*:,]+(,[^/\\.?*:,]+)+")
_PRESET = re.compile(r"\w+:\w+")
_SIZE = re.compile(r"~?[\d.,]*\d(e[+-]?\d+|\^\d+)?[a-zA-Z]*")
_CARD = re.compile(r"[a-z]+/\w+")
_OF_COLUMNS = ("N", "D", "C", "U", "ratio", "loss", "group", "run_id", "of_run", "fit_weight")
_WITH_COMMAS = ("--given", "--at")  # NAME=VALUE,VALUE
_NEGATIVE = re.compile(r"-(\d|\.\d|inf|\w*[(*/+<>])")  # a number or an expression: not an option


def is_pair(word: str) -> bool:
    """Whether a word is KEY=VALUE.

    >>> is_pair("N=params"), is_pair("group="), is_pair("./a=b.csv"), is_pair("http://a/b?c=d")
    (True, True, False, False)
    """
    return _PAIR.fullmatch(word) is not None


def is_number(word: str) -> bool:
    """Whether a word is a number.

    >>> is_number("1e21"), is_number("-3"), is_number("runs.csv")
    (True, True, False)
    """
    try:
        float(word)
    except ValueError:
        return False
    return True


def is_size(word: str) -> bool:
    """Whether a word begins as a number does, as sizes that people write: 7B, 1.4T, 10^21.

    >>> is_size("7B"), is_size("1.4e12"), is_size("chinchilla:epoch"), is_size("7.csv")
    (True, True, False, False)
    """
    return _SIZE.fullmatch(word) is not None


def is_name(word: str) -> bool:
    """Whether a word is a name, as a variable has one.

    >>> is_name("experts"), is_name("runs.csv"), is_name("N=params")
    (True, False, False)
    """
    return word.isidentifier()


def is_preset(word: str) -> bool:
    """Whether a word is LAW:PRESET.

    >>> is_preset("chinchilla:epoch"), is_preset("runs.csv"), is_preset("http://a/b")
    (True, False, False)
    """
    return _PRESET.fullmatch(word) is not None


def is_comparison(word: str) -> bool:
    """Whether a word compares, as most filters do.

    >>> is_comparison("loss < 3"), is_comparison("state == 'done'"), is_comparison("runs.csv")
    (True, True, False)
    """
    return _COMPARED.search(word) is not None


def is_names(word: str) -> bool:
    """Whether a word is several names, with commas between them.

    >>> is_names("alpha,beta"), is_names("alpha"), is_names("a,b.csv")
    (True, False, False)
    """
    return _NAMES.fullmatch(word) is not None


def is_card(word: str) -> bool:
    """Whether a word is KIND/NAME.

    >>> is_card("model/mlp"), is_card("run"), is_card("./study.yaml")
    (True, False, False)
    """
    return _CARD.fullmatch(word) is not None


@dataclass(frozen=True)
class Option:
    """How many words an option has.

    Attributes:
        name: with its dashes.
        takes: 0, 1, or None for several.
        form: of the second and further words of several; None where any word will do.
    """

    name: str
    takes: int | None
    form: Form | None = None


@dataclass
class _Given:
    """An option as it was given, with its words; one that can have none has no `option`."""

    text: str
    option: Option | None
    words: list[str] = field(default_factory=list)


def arranged(words: Sequence[str], options: Mapping[str, Option], needs: int = 0) -> list[str]:
    """The words of a command with its own first, then every option with the words that it has.

    The first word after an option is always its own. If the option takes several, so are further
    words, as long as they have its form; if any word will do, up to the next option, but for the
    words that the command cannot do without and that stand nowhere else.

    Args:
        words: of the command, without its name.
        options: of the command, by name.
        needs: how many words of its own the command needs.

    Example:
        >>> columns = Option("--columns", None, is_pair)
        >>> arranged(["--columns", "N=a", "D=b", "runs.csv"], {"--columns": columns}, needs=1)
        ['runs.csv', '--columns', 'N=a', 'D=b']
        >>> names = Option("--names", None)
        >>> arranged(["--names", "a", "b", "table"], {"--names": names}, needs=1)
        ['table', '--names', 'a', 'b']
        >>> arranged(["table", "--names", "a", "b"], {"--names": names}, needs=1)
        ['table', '--names', 'a', 'b']
    """
    before = _before(words)
    own, given = _divided(before, options)
    after = list(words[len(before) + 1 :])
    free = [one for one in given if one.option and one.option.takes is None and not one.option.form]
    for one in reversed(free):
        while len(own) + len(after) < needs and len(one.words) > 1:
            own.append(one.words.pop())
    own += [word for word in after if not _is_option(word)]
    dashed = [word for word in after if _is_option(word)]  # only after `--`
    written = [word for one in given for word in _written(one)]
    if dashed:
        return [*written, "--", *own, *dashed]
    return [*own, *written]


def unknown(words: Sequence[str], options: Mapping[str, Option]) -> list[str]:
    """Words that look like an option and are not the beginning of any, before a `--`.

    >>> unknown(["t.csv", "--colum", "a", "--law", "x"], {"--law": Option("--law", 1)})
    ['--colum']
    """
    names = [word.partition("=")[0] for word in _before(words) if _is_option(word)]
    return [name for name in names if not any(full.startswith(name) for full in options)]


def instead(name: str, words: Sequence[str], options: Mapping[str, Option]) -> str:
    """What to write in the place of a word that looks like an option and is none; or nothing.

    Args:
        name: the word, as of `unknown`.
        words: of the command.
        options: of the command, by name.

    Example:
        >>> one = {"--minimize": Option("--minimize", 1), "--columns": Option("--columns", None)}
        >>> instead("-loss", ["--minimize", "-loss"], one)
        'a value that begins with a minus is written --minimize=-loss'
        >>> instead("--group", ["t.csv", "--group", "domain"], one)
        'write --columns group=domain'
        >>> instead("--minimise", ["--minimise", "loss"], one)
        "did you mean '--minimize'?"
    """
    at = next(i for i, word in enumerate(words) if word.partition("=")[0] == name)
    before = _named(words[at - 1], options) if at and _is_option(words[at - 1]) else None
    if not name.startswith("--") and before is not None and before.takes != 0:
        return f"a value that begins with a minus is written {before.name}={shlex.quote(words[at])}"
    key, value = name.lstrip("-"), words[at].partition("=")[2]
    if not value and at + 1 < len(words) and not _is_option(words[at + 1]):
        value = words[at + 1]
    pair = shlex.quote(f"{key}={value}") if value else f"{key}=VALUE"
    if "--columns" in options and key in _OF_COLUMNS:
        return f"write --columns {pair if value else f'{key}=COLUMN'}"
    bare = {option.lstrip("-"): option for option in options}
    near = difflib.get_close_matches(key, bare, n=1, cutoff=0.6)
    if near:
        return f"did you mean {bare[near[0]]!r}?"
    at_point = "--at" in options and key.isidentifier()
    return f"a variable of the law is given as --at {pair}" if at_point else ""


def cut_off(words: Sequence[str], options: Mapping[str, Option]) -> list[tuple[str, str, str]]:
    """Numbers that follow NAME=VALUE after a blank, where a comma is meant.

    Returns:
        The option, the pair before the number, and the number, of each.

    Example:
        >>> cut_off(["--given", "N=1B", "100M"], {"--given": Option("--given", None, is_pair)})
        [('--given', 'N=1B', '100M')]
    """
    apart = []
    option: Option | None = None
    for last, word in pairwise(_before(words)):
        if _is_option(last):
            option = None if "=" in last else _named(last, options)
        elif not is_pair(last):
            option = None
        if option is not None and option.name in _WITH_COMMAS and is_pair(last) and is_size(word):
            apart.append((option.name, last, word))
    return apart


def twice(words: Sequence[str], options: Mapping[str, Option]) -> list[str]:
    """Options of one word that are given more than once, before a `--`.

    >>> twice(["--law", "a", "--law=b"], {"--law": Option("--law", 1)})
    ['--law']
    """
    named = [_named(word.partition("=")[0], options) for word in _before(words) if _is_option(word)]
    names = [option.name for option in named if option is not None and option.takes == 1]
    return sorted({name for name in names if names.count(name) > 1})


def _before(words: Sequence[str]) -> list[str]:
    """The words before a `--`, after which no word is an option."""
    words = list(words)
    return words[: words.index("--")] if "--" in words else words


def _divided(words: Sequence[str], options: Mapping[str, Option]) -> tuple[list[str], list[_Given]]:
    """The words that belong to no option, and the options with theirs."""
    own: list[str] = []
    given: list[_Given] = []
    open_: _Given | None = None  # the option that the next word may belong to
    for word in words:
        if _is_option(word):
            name, equals, _ = word.partition("=")
            option = _named(name, options)
            closed = bool(equals) or option is None or option.takes == 0
            given.append(_Given(word if closed else option.name, None if closed else option))
            open_ = None if closed else given[-1]
        elif open_ is not None and _belongs(word, open_):
            open_.words.append(word)
        else:
            own.append(word)
            open_ = None
    return own, given


def _belongs(word: str, given: _Given) -> bool:
    """Whether a word belongs to the option before it."""
    option = given.option
    if not given.words:
        return True
    return option.takes is None and (option.form is None or option.form(word))


def _named(name: str, options: Mapping[str, Option]) -> Option | None:
    """The option of a name or of its beginning, if it is the beginning of one alone."""
    if name in options:
        return options[name]
    begun = [option for full, option in options.items() if full.startswith(name)]
    return begun[0] if len(begun) == 1 else None


def _is_option(word: str) -> bool:
    """Whether a word is an option, not a number, text or expression that begins with a dash.

    >>> _is_option("--law"), _is_option("-h"), _is_option("-3"), _is_option("-log(loss)")
    (True, True, False, False)
    """
    name = word.partition("=")[0]
    dashed = name.startswith("-") and name != "-" and " " not in name
    return dashed and not _NEGATIVE.match(name)


def _written(given: _Given) -> list[str]:
    """An option as argparse reads it, also where a word begins with a dash."""
    if any(word.startswith("-") for word in given.words):
        return [f"{given.text}={word}" for word in given.words]
    return [given.text, *given.words]
