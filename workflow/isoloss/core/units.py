"""Numbers as people read them: in text, on axes, in summaries."""

from __future__ import annotations

import math

NATS = "nats/token"  # the unit of a loss, unless a table says otherwise
_PREFIXES = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")]


def count(value: float, digits: int = 3) -> str:
    """A count of parameters or tokens: 1536 -> '1.54k', 7e10 -> '70B'; 1e15 and up as powers."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1e15:
        return power(value, digits)
    value = float(f"{value:.{digits}g}")  # first, so that 999999 is 1M and not 1000k
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{float(f'{value / size:.{digits}g}'):g}{prefix}"
    return f"{float(f'{value:.{digits}g}'):g}"


def power(value: float, digits: int = 3) -> str:
    """Scientific notation without padding: 5.76e23 -> '5.76e23'."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def loss(value: float, unit: str, digits: int = 3) -> str:
    """A difference of losses with its unit, such as an RMSE.

    >>> loss(0.0123, "nats/byte"), loss(0.0123, "error")
    ('0.0123 nats', '0.0123')
    """
    word, per, _ = unit.partition("/")
    return f"{value:.{digits}g} {word}" if per else f"{value:.{digits}g}"


def interval(low: float, high: float, form=lambda v: f"{v:.3g}") -> str:
    """An interval in brackets; empty where there is none.

    >>> interval(1.0, 2.5), interval(1.0, math.inf), interval(math.nan, math.nan)
    ('[1, 2.5]', '[1, inf]', '')
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{form(low)}, {form(high)}]"


def estimate(value: float, low: float, high: float, form=lambda v: f"{v:.3g}") -> str:
    """A value with its interval in brackets; alone where there is none.

    >>> estimate(2.0, 1.0, 2.5), estimate(2.0, math.nan, math.nan)
    ('2 [1, 2.5]', '2')
    """
    return f"{form(value)} {interval(low, high, form)}".rstrip()
