"""Numbers as people write them in tables: `7B`, `22,500,000`, `6.7 × 10^20`, `1e21 FLOPs`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

# What people write in place of a number, in small letters.
_WITHOUT = """
- -- --- – — − . .. ... … / * ? ?? x na n/a n.a. n/d nan nat <na> none null nil missing unknown
undefined tbd tba todo pending running diverged diverge diverges divergence unstable oom failed fail
failure crashed crash error killed timeout aborted cancelled canceled
#n/a #na #num! #value! #div/0! #ref! #name?
"""
_PHRASES = ("", "out of memory", "timed out", "not reported", "not available")
MISSING = frozenset((*_WITHOUT.split(), *_PHRASES))
_INFINITE = {"inf": 1, "infinity": 1, "∞": 1, "\\infty": 1}
_SCALES = {
    **dict.fromkeys(("k", "thousand"), 1e3),
    **dict.fromkeys(("m", "mn", "mio", "million", "millions"), 1e6),
    **dict.fromkeys(("b", "bn", "g", "billion", "billions"), 1e9),
    **dict.fromkeys(("t", "tn", "trillion", "trillions"), 1e12),
    **dict.fromkeys(("quadrillion",), 1e15),
}
_PREFIXES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21}
_PREFIXES |= {"y": 1e24, "kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12, "peta": 1e15}
_PREFIXES |= {"exa": 1e18, "zetta": 1e21, "yotta": 1e24}
IN_PERCENT = "the column is in percent"
DAY = 86400.0  # seconds, of FLOP/s-days
_WORDS = {
    "%": "%",
    **dict.fromkeys(("percent", "per cent"), "%"),
    **dict.fromkeys(("token", "tokens", "tok", "toks"), "tokens"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "params"),
    **dict.fromkeys(("example", "examples", "sample", "samples"), "samples"),
    **dict.fromkeys(("image", "images"), "images"),
    **dict.fromkeys(("byte", "bytes"), "bytes"),
    **dict.fromkeys(("step", "steps"), "steps"),
    **{f"{word}{per}": f"{unit}{per}" for word, unit in (
        ("nat", "nats"), ("nats", "nats"), ("bit", "bits"), ("bits", "bits")
    ) for per in ("", "/token", "/byte", "/char")},
}  # fmt: skip
_FLOP = re.compile(
    r"([a-z]*?)(?:flops?|floating[ -]point operations)(?:(?:/s|s)?[ -·*]?(days?))?"
    r"|([a-z]+?)f-?(days?)"
)
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\ ?"
    r"(?P<mantissa>(?:\d[\d.,'_ ]*)?\d\.?|\.\d+)"
    r"(?:e(?P<exponent>[+-]?\d+)|\ ?(?:x|\*)\ ?10\ ?\^\ ?(?P<power>[+-]?\d+)"
    r"|\ ?\^\ ?(?P<raised>[+-]?\d+))?"
    r"(?P<rest>\ ?[^\d+-].*)?"
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u00a0\u2007\u2009\u202f\u2002\u2003\t\n", " "),
        **dict.fromkeys("−–‒﹣－", "-"),
        **dict.fromkeys("×⋅·✕", "x"),
        **dict.fromkeys("’‘ʼ`´", "'"),
        **dict.fromkeys("{}$", None),
        "％": "%",
    }
)


@dataclass(frozen=True)
class Numbers:
    """A column read as numbers.

    Attributes:
        values: float64 (n,); NaN where missing or unread.
        missing: bool (n,); cells that are empty or hold a word instead (`-`, `diverged`).
        unread: bool (n,); cells that hold something else than a number.
        unit: what was read off the numbers behind which it stood, such as `%`, `FLOP`, `tokens`.
        factors: whether a factor stood behind some of the numbers, as in `7B`.
        reason: why cells that look like numbers were not read, if it is because of other cells.
    """

    values: np.ndarray
    missing: np.ndarray
    unread: np.ndarray
    unit: str = ""
    factors: bool = False
    reason: str = ""

    @property
    def readable(self) -> bool:
        """Whether there are numbers and nothing else but cells without one."""
        return not self.unread.any() and not self.missing.all()

    @property
    def mostly(self) -> bool:
        """Whether there are numbers, and at least as many as cells that hold something else."""
        count = len(self.values) - np.count_nonzero(np.isnan(self.values))
        return bool(count > 0 and count >= np.count_nonzero(self.unread))


@dataclass(frozen=True)
class _Cell:
    """A cell taken apart: its digits with their separators, a factor and a unit."""

    mantissa: str
    base: float | None = None  # raised to the power instead of ten to the exponent
    power: int = 0
    factor: float = 1.0
    unit: str = ""

    def value(self, decimal: str) -> float:
        """The number, with `.` or `,` as the decimal separator; NaN if its groups do not fit."""
        number = _grouped(self.mantissa, decimal)
        if number is None:
            return np.nan
        if self.base is not None:
            return float(self.base) ** self.power * self.factor
        return float(f"{number}e{self.power}") * self.factor


def read_numbers(column: pd.Series) -> Numbers:
    """Numbers of a column whose cells are written as people write them.

    Read are plain numbers, separators of thousands, a decimal comma, factors (`7B`, `22.5M`,
    `1.3 billion`), powers (`10^21`, `6.7 × 10^20`, `$10^{21}$`), a unit behind the number
    (`1e21 FLOPs`, `300B tokens`, `6.7%`: the value stays 6.7 and the unit is `%`), `~3.1`, and
    `3.1 ± 0.02` without what follows the sign. Whether a comma separates thousands or decimals is
    decided by the whole column; if it does not say, the cells are not read. A unit that only some
    cells have is read; two units in a column are not.

    Args:
        column: (n,) of any type.

    Returns:
        The numbers, and which cells have none.

    Example:
        >>> import pandas as pd
        >>> numbers = read_numbers(pd.Series(["7B", "22,500,000", "diverged", "7B-chat"]))
        >>> numbers.values.tolist()
        [7000000000.0, 22500000.0, nan, nan]
        >>> numbers.missing.tolist(), numbers.unread.tolist()
        ([False, False, True, False], [False, False, False, True])
    """
    types = pd.api.types
    missing = column.isna().to_numpy(bool)
    if types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype):
        values = column.to_numpy(np.float64, na_value=np.nan)
        return Numbers(values, np.isnan(values), np.zeros(len(column), bool))
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if not (types.is_object_dtype(column.dtype) or types.is_string_dtype(column.dtype)):
        return Numbers(np.full(len(column), np.nan), missing, ~missing)
    return _read_objects(column.to_numpy(object), missing)


def _read_objects(cells: np.ndarray, missing: np.ndarray) -> Numbers:
    """Numbers of a column of texts and other Python objects."""
    values = np.full(len(cells), np.nan)
    unread = np.zeros(len(cells), bool)
    kinds = [type(cell) for cell in cells]
    texts = np.array([issubclass(kind, str) for kind in kinds], bool) & ~missing
    for at in np.flatnonzero(~texts & ~missing):
        values[at] = _of_object(cells[at])
        unread[at] = np.isnan(values[at])
    codes, distinct = pd.factorize(cells[texts])
    answer = _read_texts(distinct)
    values[texts] = answer.values[codes]
    missing = missing.copy()
    missing[texts] = answer.missing[codes]
    unread[texts] = answer.unread[codes]
    return replace(answer, values=values, missing=missing, unread=unread)


def _of_object(cell: Any) -> float:
    """The value of a cell that is not text; NaN if it is not a number."""
    if isinstance(cell, bool | np.bool_) or not isinstance(
        cell, int | float | Decimal | np.integer | np.floating
    ):
        return np.nan
    try:
        return float(cell)
    except OverflowError:
        return np.nan


def _read_texts(texts: Iterable[str]) -> Numbers:
    """Numbers of distinct texts, which decide together what their commas and units mean."""
    texts = list(texts)
    plain = [_plain(text) for text in texts]
    missing = np.array([text.casefold() in MISSING for text in plain], bool)
    infinite = [_INFINITE.get(text.lstrip("+-").casefold()) for text in plain]
    cells = [
        None if gone or endless else _taken_apart(text)
        for text, gone, endless in zip(plain, missing, infinite, strict=True)
    ]
    decimal, reason = _decimal([cell.mantissa for cell in cells if cell])
    unit, refused = _common_unit([cell for cell in cells if cell])
    if refused and not reason:
        units = " and ".join(f"{one or 'no unit'}" for one in (unit, *sorted(refused)))
        reason = f"some of its numbers have {units}"
    values = np.full(len(texts), np.nan)
    for at, cell in enumerate(cells):
        if infinite[at]:
            values[at] = -np.inf if plain[at].startswith("-") else np.inf
        elif cell is not None and cell.unit not in refused:
            value = cell.value(decimal)
            values[at] = value if np.isfinite(value) else np.nan
    factors = any(cell is not None and abs(cell.factor) != 1 for cell in cells)
    return Numbers(values, missing, ~missing & np.isnan(values), unit, factors, reason)


def _plain(text: str) -> str:
    """The text without what only changes its look: TeX, typographic signs, `~`, `± 0.02`."""
    text = re.sub(r"\\(?:textbf|mathbf|textit|mathrm|text|num|bm|underline)\b", "", text.strip())
    text = re.sub(r"\\(?:times|cdot)\b", "x", text)
    text = re.sub(r"\\(?:approx|sim)\b", "~", text)
    text = re.sub(r"\s*(?:±|\\pm\b|\+/-|\+-).*$", "", text)
    text = re.sub("([⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+)", lambda m: "^" + m[1].translate(_SUPERSCRIPTS), text)
    text = text.replace("\\%", "%").replace("\\,", " ").replace("**", "^").translate(_ALIKE)
    text = text.strip("^*'\"†‡§ ")
    return re.sub(r"^(?:~|≈|ca\.|approx\.)\s*", "", text)


def _taken_apart(text: str) -> _Cell | None:
    """The parts of a number, or None if the text is not one."""
    match = _NUMBER.fullmatch(text.lower())
    if match is None:
        return None
    ending = _ending((match["rest"] or "").strip())
    mantissa = match["mantissa"].strip()
    if ending is None:
        return None
    factor, unit = ending
    factor *= -1.0 if match["sign"] == "-" else 1.0
    if match["raised"] is not None:
        power = int(match["raised"])
        if mantissa not in ("10", "2") or abs(power) > 1000:
            return None
        return _Cell(mantissa, float(mantissa), min(power, 308), factor, unit)
    power = int(match["exponent"] or match["power"] or 0)
    return _Cell(mantissa, None, power, factor, unit) if abs(power) < 1000 else None


def _ending(text: str) -> tuple[float, str] | None:
    """Factor and unit of what stands behind a number, or None if it is neither."""
    if not text:
        return 1.0, ""
    if text in _WORDS:
        return 1.0, _WORDS[text]
    if text in _SCALES:
        return _SCALES[text], ""
    match = _FLOP.fullmatch(text)
    if match and (match[1] or match[3] or "") in _PREFIXES:
        days = match[2] or match[4]
        return _PREFIXES[match[1] or match[3] or ""] * (DAY if days else 1.0), "FLOP"
    word, _, unit = text.partition(" ")
    if word in _SCALES and (unit in _WORDS or _FLOP.fullmatch(unit)):
        scale, (factor, unit) = _SCALES[word], _ending(unit) or (np.nan, "")
        return scale * factor, unit
    return None


def named_per_cent(column: str) -> bool:
    """Whether the name of a column says that its numbers are per cent.

    >>> named_per_cent("Top-1 accuracy (%)"), named_per_cent("acc_pct"), named_per_cent("top1")
    (True, True, False)
    """
    words = re.findall(r"[^\W_]+", column.lower())
    return "%" in column or bool({"percent", "pct", "percentage"} & set(words))


def as_shares(numbers: Numbers, column: str, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The numbers of a column, those of per cent divided by 100.

    Args:
        numbers: that were read.
        column: its name: per cent are those whose cells, or whose name, say so.
        name: what it is called in the note.

    Returns:
        The numbers (n,), and what to say of it.
    """
    if numbers.unit != "%" and not (numbers.unit == "" and named_per_cent(column)):
        return numbers.values, ()
    told = f"{name} = {column} / 100" if name != column else f"{column} is divided by 100"
    return numbers.values / 100, (f"{told}: {IN_PERCENT}",)


def factor_of(text: str, unit: str) -> float | None:
    """The factor that a word or a unit of FLOP says; None if it says none.

    Example:
        >>> factor_of("billions", ""), factor_of("exaflops", "FLOP"), factor_of("loss", "")
        (1000000000.0, 1e+18, None)
    """
    ending = _ending(text)
    return ending[0] if ending is not None and ending[1] == unit else None


def _common_unit(cells: list[_Cell]) -> tuple[str, set[str]]:
    """The unit of a column, and those of cells that are not read because the column has another.

    A percentage among plain numbers is not read: nobody can say whether the others are too.
    """
    units = Counter(cell.unit for cell in cells)
    bare = any(not cell.unit and cell.mantissa.strip("0.,") for cell in cells)
    named = [unit for unit, _ in units.most_common() if unit]
    if not named:
        return "", set()
    if bare and "%" in named:
        return "", set(named)
    return named[0], set(named[1:])


def _decimal(mantissas: list[str]) -> tuple[str, str]:
    """The decimal separator of a column; and a reason if its commas cannot be told apart."""
    commas = [text for text in mantissas if "," in text]
    if not commas and not any(text.count(".") > 1 for text in mantissas):
        return ".", ""
    point = {_separates(text, ".") for text in mantissas}
    comma = {_separates(text, ",") for text in mantissas}
    is_comma = "decimals" in comma or "thousands" in point
    is_point = "decimals" in point or "thousands" in comma
    if is_comma != is_point:
        return ("," if is_comma else "."), ""
    small = any(text.isdigit() and len(text) < 4 for text in mantissas)
    if not is_comma and small and "either" not in point:
        return ".", ""  # 1,024 beside 512
    example = (commas or mantissas)[0]
    return "", f"the comma of {example!r} may separate thousands or decimals"


def _separates(text: str, sign: str) -> str:
    """What a sign of a number separates: `thousands`, `decimals`, `either`, or nothing."""
    other = "," if sign == "." else "."
    if sign not in text:
        return ""
    if other in text:
        return "decimals" if text.rindex(sign) > text.rindex(other) else "thousands"
    if text.count(sign) > 1:
        return "thousands"
    before, after = text.split(sign)
    grouped = len(after) == 3 and 1 <= len(before) <= 3 and not before.startswith("0")
    return "either" if grouped else "decimals"


def _grouped(text: str, decimal: str) -> str | None:
    """The digits without separators of groups, with a decimal point; None if it is not a number."""
    if not decimal and ("," in text or text.count(".") > 1):
        return None
    decimal = decimal or "."
    other = "," if decimal == "." else "."
    whole, *fraction = text.split(decimal)
    decimals = "".join(fraction).replace(" ", "")
    if len(fraction) > 1 or (decimals and not decimals.isdigit()):
        return None
    separators = {c for c in whole if not c.isdigit()}
    if len(separators) > 1 or not separators <= {other, " ", "_", "'"}:
        return None
    if separators and not re.fullmatch(r"\d{1,3}(?:\D\d{2,3})*\D\d{3}", whole):
        return None
    digits = re.sub(r"\D", "", whole)
    return f"{digits or '0'}.{decimals or '0'}"
