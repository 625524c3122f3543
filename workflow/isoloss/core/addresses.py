"""The path or web address of a table; an address is never shown with its secrets.

A study's address may contain environment variables ($NAME, ${NAME}). They are kept as they are
written, and expanded once, here, when the address is read.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from isoloss.core.escape import visible
from isoloss.core.problems import Problem, TableError

GIVE = "give a readable CSV or Parquet table"
_VARIABLE = re.compile(r"\$(?:\{([^{}]+)\}|([A-Za-z_][A-Za-z0-9_]*))")
_SCHEME = re.compile(r"\s*(?:([A-Za-z][A-Za-z0-9+.-]*)://|(data|file|ftp|https?):)", re.IGNORECASE)
_PORT = r"(?::(?:\d*|\$\w+|\$\{\w+\}))?"
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:@\[\]]+)" + _PORT)
_NAMED = re.compile(r"([^?&;#=]+)=([^?&;#]*)")
# parts of the names that secrets have, and short words that such a name can consist of
_SECRET = re.compile(
    r"token|secret|passw|passphrase|signature|credential|session|bearer|authoriz|private|jwt"
    r"|key(?:id)?$|(?:^|[^a-z])(?:keys?|auth|oauth|pass|pwd?|pw|sig|sas|sid|otp|pin|hmac)(?:[^a-z]|$)"
)
# the first letters of well-known kinds of tokens
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[a-z]_|github_pat_|glpat-|hf_|sk-|xox[a-z]-|AKIA|eyJ)[A-Za-z0-9_-]{16,}[A-Za-z0-9_.-]*"
)
_TEXT_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


class UnsetError(TableError):
    """An environment variable that an address needs is not set."""


def is_web(text: str) -> bool:
    """Whether a text is an address and not a path; `C:/runs.csv` is a path."""
    return _SCHEME.match(text) is not None


def _may_be_web(written: str) -> bool:
    """Whether it is a web address, or may be one when its variables are known."""
    return is_web(written) or "://" in written or written.startswith("$")


def shown(written: str) -> str:
    """An address without user, password, values of its query and fragment; a path as it is.

    Variables are shown by name, as they are written.
    """
    if not _may_be_web(written):
        return visible(written)
    head, mark, query = written.partition("#")[0].partition("?")
    scheme, slashes, rest = head.partition("://")
    if slashes:
        authority, slash, path = rest.partition("/")
        host = authority.rpartition("@")[2]
        local = scheme.lower() == "file" and not host
        if not (local or _HOST.fullmatch(host)):  # such as a password that contains a slash
            return f"{visible(scheme)}://***"
        head = f"{scheme}://{host}{slash}{path}"
    elif is_web(written) and _SCHEME.match(written)[2].lower() != "file":
        return f"{_SCHEME.match(written)[2]}:***"
    values = [f"{p.split('=')[0]}=***" if "=" in p else "***" for p in re.split("[&;]", query) if p]
    return visible(_TOKEN.sub("***", head + mark + "&".join(values)))


def masked(value: Any) -> Any:
    """A value, such as a part of a study, in whose texts addresses are shown without secrets."""
    if isinstance(value, str):
        if is_web(value):
            return shown(value)
        return _TEXT_ADDRESS.sub(lambda match: shown(match[0]), value)
    if isinstance(value, list):
        return [masked(part) for part in value]
    if isinstance(value, dict):
        return {masked(key): masked(part) for key, part in value.items()}
    return value


def literal_secret(written: str) -> str | None:
    """What secret an address spells out, in words that do not repeat it; None if there is none.

    A part that consists of environment variables alone is no secret.
    """
    if not _may_be_web(written):
        return None
    if (token := _TOKEN.search(written)) is not None:
        return f"something that looks like a token ({token[0][:3]}...)"
    head = re.split(r"[?#]", written, maxsplit=1)[0]
    userinfo, at, _ = head.partition("://")[2].partition("/")[0].rpartition("@")
    user, _, password = userinfo.partition(":")
    if at and (_literal(password) or (not password and _literal(user))):
        return "a password" if password else "a user (or token)"
    behind = unquote(unquote(written[len(head) :]))
    for name, value in _NAMED.findall(behind):
        if _is_secret(name) and _literal(value):
            return f"the value of {visible(name)!r}"
    return None


def token_in(text: str) -> str | None:
    """The first letters of what looks like a token of a service in any text; None if nothing does.

    Other than in an address, words joined by dashes are common: a token has a long part of letters
    and digits.

    Example:
        >>> token_in("python train.py --hub hf_" + 5 * "a1B2")
        'hf_'
        >>> token_in("data/sk-learn-random-forest-2024.csv"), token_in("disk-" + 5 * "a1B2")
        (None, None)
    """
    for token in _TOKEN.finditer(text):
        parts = re.findall(r"[A-Za-z0-9]{12,}", token[0][3:])
        if any(re.search(r"\d", part) and re.search(r"[A-Za-z]", part) for part in parts):
            return token[0][:3]
    return None


def _literal(part: str) -> bool:
    """Whether a part of the text is not an environment variable."""
    return bool(_VARIABLE.sub("", part))


def _is_secret(name: str) -> bool:
    """Whether the name of a query value is one that secrets have, such as `token`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return bool(_SECRET.search(words) or _SECRET.search(words.replace("_", "").replace("-", "")))


@dataclass(frozen=True)
class Address:
    """A path or a web address.

    Attributes:
        real: what is read; never shown.
        label: how it is shown, in errors and in results.
    """

    real: str = field(repr=False)
    label: str

    @classmethod
    def given(cls, text: str) -> Address:
        """An address as a person gives it on a command line or in Python: nothing is expanded."""
        return cls(text, shown(text))

    @classmethod
    def of_study(cls, written: str) -> Address:
        """An address of a study, its environment variables and a leading ~ expanded once.

        Raises:
            UnsetError: a variable is not set, or is empty.
        """
        label = shown(written)
        lacking = [n for n in _names(written) if not os.environ.get(n)]
        if lacking:
            state = "is empty" if lacking[0] in os.environ else "is not set"
            reason = f"environment variable {lacking[0]} {state}"
            raise UnsetError(Problem(label, reason, "set it"))
        pieces = _VARIABLE.split(written)
        start = pieces[0]
        if start.startswith("~") and ("/" in start or len(pieces) == 1):
            start = os.path.expanduser(start)
        values = zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True)
        real = start + "".join(os.environ[a or b] + text for a, b, text in values)
        if _scheme(real) not in ("", "http", "https"):
            reason = f"cannot be read ({_scheme(real)} is not supported, only http and https are)"
            raise TableError(Problem(label, reason, "give the path itself, or an https address"))
        return cls(real, label)

    @property
    def path(self) -> Path | None:
        """The file or folder that it names; None if it is on the web.

        Raises:
            TableError: it is neither a path nor an http or https address.
        """
        scheme = _scheme(self.real)
        if scheme in ("http", "https"):
            return None
        if not scheme:
            return Path(self.real)
        split = urlsplit(self.real)
        if scheme == "file" and split.netloc in ("", "localhost"):
            from urllib.request import url2pathname  # here: it imports http and ssl

            return Path(url2pathname(split.path))
        raise self.error(
            f"cannot be read ({scheme} is not supported, only http and https are)", GIVE
        )

    def error(self, reason: str, remedy: str) -> TableError:
        """A TableError about this address."""
        return TableError(Problem(self.label, reason, remedy))

    @property
    def stem(self) -> str:
        """The last part of the path without its suffix; results are named by it."""
        path = self.path
        if path is None:
            path = Path(shown(self.real).partition("?")[0].partition("://")[2].partition("/")[2])
        while "*" in path.name:  # of a pattern: its folder
            path = path.parent
        return path.stem or "table"

    @property
    def secrets(self) -> list[str]:
        """The parts that must not appear in any output.

        That is its password, or its user if there is none, and values of its query that have a
        secret's name.
        """
        if self.path is not None:
            return []
        query = self.real.partition("#")[0].partition("?")[2]
        values = [value for name, value in _NAMED.findall(query) if _is_secret(unquote(name))]
        user, _, password = _userinfo(self.real).partition(":")
        texts = [*values, password or user]
        texts += [unquote(text) for text in texts]
        return [text for text in dict.fromkeys(texts) if len(text) >= 6]


def _names(written: str) -> list[str]:
    """The environment variables in an address."""
    return [a or b for a, b in _VARIABLE.findall(written)]


def _scheme(real: str) -> str:
    """The scheme of a web address in small letters; empty of a path."""
    match = _SCHEME.match(real)
    return (match[1] or match[2]).lower() if match else ""


def _userinfo(url: str) -> str:
    """The text before the @ of a host; empty if there is none."""
    return urlsplit(url).netloc.rpartition("@")[0]


def target(url: str) -> tuple[str, str, dict[str, str]]:
    """The host, the request and the credentials of a web address.

    Args:
        url: an http or https address, with user and password or without.

    Returns:
        The address without user, password and fragment, in ASCII; its origin (scheme, host and
        port); the headers that prove who asks.

    Raises:
        ValueError: it is not an address. The text of the error may contain it.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("a space or control character")
    split = urlsplit(url)
    if split.scheme.lower() not in ("http", "https") or not split.hostname:
        raise ValueError("not an http or https address")
    host = split.hostname if ":" in split.hostname else split.hostname.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    port = split.port or {"http": 80, "https": 443}[split.scheme.lower()]
    headers = {}
    user, _, password = _userinfo(url).partition(":")
    if user or password:
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
    authority = host if split.port is None else f"{host}:{split.port}"
    path = quote(split.path or "/", safe="%/:=&?~+!$,;'@()*[]")
    query = "?" + quote(split.query, safe="%/:=&?~+!$,;'@()*[]") if split.query else ""
    origin = f"{split.scheme.lower()}://{host}:{port}"
    return f"{split.scheme.lower()}://{authority}{path}{query}", origin, headers
