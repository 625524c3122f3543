"""Columns that hold logarithms, thousands, millions or billions of what is meant."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from isoloss.aggregate.loss_units import words_of
from isoloss.aggregate.numbers import DAY, factor_of
from isoloss.core.problems import Problem, TableError
from isoloss.core.units import power

SCALED = ("N", "D", "C", "U")
LOGARITHMS = {"log10": 10.0, "log2": 2.0, "ln": math.e}
SAME_FACTOR = 0.02  # C / 6ND counts as one factor if it varies by at most this share
# What a size may be: outside, a column is not taken to be in millions because of its name.
_PLAUSIBLE = {"N": (1e2, 1e13), "D": (1e3, 1e14), "U": (1e3, 1e14), "C": (1e6, 1e30)}
_SMALL = {"N": 1e3, "D": 1e5, "C": 1e8}  # sizes below which all runs are suspicious
_RATIOS = (0.01, 1e5)  # tokens per parameter, to tell which column C / 6ND speaks of
_FACTORS = (1.0, 1e3, 1e6, 1e9, 1e12)
_POWER = re.compile(r"(?:^|[^a-z0-9])(?:x|\*)?(?:1?e|10\^)(\d{1,2})(?:[^a-z0-9]|$)")


@dataclass(frozen=True)
class Scale:
    """How a column's values become the quantity itself.

    Attributes:
        factor: of the values.
        base: of the logarithm that the values are, if they are one.
    """

    factor: float = 1.0
    base: float | None = None

    def of(self, values: np.ndarray) -> np.ndarray:
        """The quantity, of the column's values (n,)."""
        with np.errstate(all="ignore"):
            return values * self.factor if self.base is None else self.base**values

    def __str__(self) -> str:
        """As a user gives it."""
        logarithms = {base: name for name, base in LOGARITHMS.items()}
        return power(self.factor) if self.base is None else logarithms[self.base]

    def described(self, column: str) -> str:
        """The quantity in terms of the column, for a note."""
        if self.base is None:
            return f"{column} x {power(self.factor)}"
        return f"{'e' if self.base == math.e else f'{self.base:g}'} ^ {column}"


def given_scale(letter: str, scale: object, place: str) -> Scale:
    """The scale that a user gives: a factor or the name of a logarithm.

    Raises:
        TableError: it is neither, or the letter has none.
    """
    at = f"{place}, scale.{letter}"
    if letter not in SCALED:
        raise TableError(Problem(at, "has no scale", f"only {', '.join(SCALED)} have one"))
    if str(scale) in LOGARITHMS:
        return Scale(base=LOGARITHMS[str(scale)])
    try:
        factor = float(str(scale))
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        remedy = f"give a factor such as 1e9, or {', '.join(LOGARITHMS)}"
        raise TableError(Problem(at, f"{str(scale)!r} is not a scale", remedy))
    return Scale(factor)


def scale_of(letter: str, column: str, values: np.ndarray) -> Scale | None:
    """The scale that a column's name says; None if it says none.

    Args:
        letter: the quantity.
        column: its name in the table.
        values: (n,), NaN where there is none.

    Example:
        >>> import numpy as np
        >>> scale_of("N", "params (M)", np.array([70.0, 160.0]))
        Scale(factor=1000000.0, base=None)
        >>> scale_of("D", "log_tokens", np.array([9.3, 11.5]))
        Scale(factor=1.0, base=10.0)
        >>> scale_of("N", "params", np.array([7e7, 1.6e8])) is None
        True
    """
    if letter not in SCALED:
        return None
    return _logarithm(letter, column, values) or _factor(letter, column)


def is_plausible(letter: str, sizes: np.ndarray) -> bool:
    """Whether runs have such sizes, (n,); NaN where there is none."""
    sizes = sizes[~np.isnan(sizes)]
    low, high = _PLAUSIBLE[letter]
    return bool(len(sizes) and low <= sizes.min() and sizes.max() <= high)


def _logarithm(letter: str, column: str, values: np.ndarray) -> Scale | None:
    """The logarithm that a name says; `log` is the common one where sizes can be meant by it."""
    name = column.lower()
    match = re.match(r"[^a-z]*(log_?10|log_?2|lg|ln|log)(?=[^a-z]|[ndc]$|[A-Z])", name)
    match = match or re.search(r"[^a-z](log_?10|log_?2|lg|ln|log)(?=[^a-z]|$)", name)
    if match is None:
        return None
    word = match[1].replace("_", "")
    base = {"log10": 10.0, "lg": 10.0, "log2": 2.0, "ln": math.e}.get(word)
    if base is not None:
        return Scale(base=base)
    bases = (10.0, math.e)
    fits = [base for base in bases if is_plausible(letter, Scale(base=base).of(values))]
    return Scale(base=(*fits, 10.0)[0])


def _factor(letter: str, column: str) -> Scale | None:
    """The factor that a name says: a word, a letter in brackets or behind the rest, or a power."""
    words = words_of(column)
    power = _POWER.search(column.lower())
    if power:
        return Scale(10.0 ** int(power[1]))
    if letter == "C":
        return _factor_of_compute(column.lower(), words)
    long = [factor_of(word, unit="") for word in words if len(word) > 1]
    if any(long):
        return Scale(next(factor for factor in long if factor))
    last = factor_of(words[-1], unit="") if len(words) > 1 else None
    return Scale(last) if last else None


def _factor_of_compute(name: str, words: list[str]) -> Scale | None:
    """The factor of a column of FLOP: PFLOP/s-days, ExaFLOPs, or a letter behind the rest."""
    if re.search(r"(?:^|[^a-z])(?:p|peta)(?:flops?|f)?[ _/-]*s?[ _-]*days?(?:[^a-z]|$)", name):
        return Scale(1e15 * DAY)
    for text in (name, *words):
        factor = factor_of(text.strip(" ()[]"), unit="FLOP")
        if factor not in (None, 1.0):
            return Scale(factor)
    return None


def evident_scales(sizes: Mapping[str, np.ndarray], place: str) -> dict[str, Scale]:
    """The scales that C against 6 N D shows, where their ratio is one power of a thousand.

    Args:
        sizes: N, D and C of the runs, (n,) each.
        place: the table, for errors.

    Returns:
        Letter to scale, for what has one; empty if C is not a power of a thousand off.

    Raises:
        TableError: the ratio is such a power, and the sizes do not show which column is meant.
    """
    ratio = _ratio(sizes)
    if not len(ratio) or ratio.max() / ratio.min() > 1 + SAME_FACTOR:
        return {}
    factor = float(np.exp(np.log(ratio).mean()))
    exponent = 3 * round(math.log10(factor) / 3)
    if exponent == 0 or abs(factor / 10.0**exponent - 1) > SAME_FACTOR:
        return {}
    plausible = [choice for choice in _choices(exponent) if _fits(choice, sizes)]
    if len(plausible) == 1:
        return {letter: Scale(f) for letter, f in plausible[0].items() if f != 1}
    reason = f"C is 1e{exponent} x 6 N D in every run, and it is not clear which has another unit"
    example = " or ".join(_flags(choice) for choice in (plausible or _choices(exponent))[:3])
    raise TableError(Problem(place, reason, f"say it: {example}"))


def _ratio(sizes: Mapping[str, np.ndarray]) -> np.ndarray:
    """C / 6ND of the runs that have all three."""
    with np.errstate(all="ignore"):
        ratio = sizes["C"] / (6.0 * sizes["N"] * sizes["D"])
    return ratio[np.isfinite(ratio) & (ratio > 0)]


def _choices(exponent: int) -> list[dict[str, float]]:
    """The ways in which scales of N and D, or of C, make up a power of ten between C and 6ND."""
    if exponent < 0:
        return [{"C": 10.0**-exponent}]
    pairs = product(_FACTORS, repeat=2)
    return [{"N": n, "D": d} for n, d in pairs if abs(n * d / 10.0**exponent - 1) < 1e-9]


def _fits(choice: Mapping[str, float], sizes: Mapping[str, np.ndarray]) -> bool:
    """Whether all sizes are what runs have, if the columns have these scales."""
    scaled = {k: v * choice.get(k, 1.0) for k, v in sizes.items()}
    if not all(is_plausible(letter, values) for letter, values in scaled.items()):
        return False
    low, high = _RATIOS
    ratio = sizes["D"] * choice.get("D", 1.0) / (sizes["N"] * choice.get("N", 1.0))
    middle = float(np.nanmedian(ratio))
    small = any(np.nanmax(scaled[letter]) < least for letter, least in _SMALL.items())
    return low <= middle <= high and not small


def _flags(choice: Mapping[str, float]) -> str:
    """The scales as arguments of the command line."""
    return "--scale " + " ".join(f"{letter}={power(f)}" for letter, f in choice.items() if f != 1)


def is_six_nd(sizes: Mapping[str, np.ndarray]) -> bool:
    """Whether C is 6 N D in every run."""
    ratio = _ratio(sizes)
    return bool(len(ratio) and np.abs(ratio - 1).max() <= SAME_FACTOR)


def factor_note(sizes: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """What C is in terms of 6 N D, if it is something else, as a note."""
    ratio = _ratio(sizes)
    if not len(ratio) or is_six_nd(sizes):
        return ()
    low, high = float(ratio.min()), float(ratio.max())
    if high / low <= 1 + SAME_FACTOR:
        return (f"C is {math.sqrt(low * high):.3g} x 6 N D in every run",)
    return (f"C is {low:.3g} to {high:.3g} x 6 N D",)


def small_note(letter: str, column: str, sizes: np.ndarray) -> tuple[str, ...]:
    """A note about sizes that no run has, which may be in millions or billions."""
    sizes = sizes[np.isfinite(sizes)]
    if letter not in _SMALL or not len(sizes) or sizes.max() >= _SMALL[letter]:
        return ()
    values = f"{sizes.min():g} to {sizes.max():g}"
    units = {"C": "C=1e18 or C=1e21"}.get(letter, f"{letter}=1e6 or {letter}=1e9")
    flag = f"--scale {units}"
    return (f"{letter} = {column} is {values} in all runs; if that is in another unit: {flag}",)
