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


def plain(value: float, digits: int = 3) -> str:
    """A number of some digits; powers of ten from 100000 up and below 0.0001.

    >>> plain(0.0123), plain(1234.5), plain(99.99), plain(3.21e9), plain(4e-7)
    ('0.0123', '1230', '100', '3.21e9', '4e-7')
    """
    rounded = float(f"{value:.{digits}g}")
    if not math.isfinite(value) or rounded == 0 or 1e-4 <= abs(rounded) < 1e5:
        return f"{rounded:g}"
    return power(rounded, digits)


def percent(share: float, digits: int = 2) -> str:
    """A share as a percentage.

    >>> percent(0.0123), percent(0.999), percent(7.12), percent(4e9)
    ('1.2 %', '100 %', '710 %', '4e11 %')
    """
    return f"{plain(100 * share, digits)} %"


def decimals(value: float, after: int = 4) -> str:
    """A score with some digits after the point; powers of ten from 1000 up, such as a huge R2.

    >>> decimals(0.99954), decimals(-12.0), decimals(-180_000_000.0)
    ('0.9995', '-12.0000', '-1.8e8')
    """
    return f"{value:.{after}f}" if abs(value) < 1000 else power(value)


def loss(value: float, unit: str, digits: int = 3) -> str:
    """A difference of losses with its unit, such as an RMSE.

    >>> loss(0.0123, "nats/byte"), loss(0.0123, "error")
    ('0.0123 nats', '0.0123')
    """
    word, per, _ = unit.partition("/")
    return f"{plain(value, digits)} {word}" if per else plain(value, digits)


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
