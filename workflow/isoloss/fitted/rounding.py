"""How many digits of an estimate are shown: those that its uncertainty leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence

DIGITS = 4  # of a number whose uncertainty is not known
_OF_ERROR = 2  # digits that the uncertainty itself has
_LARGE, _SMALL = 1e6, 1e-4  # beyond which powers of ten are written


def places(estimate: float, uncertainties: Sequence[float], more: int = 0) -> int:
    """Digits after the decimal point of an estimate; negative before it.

    The smallest of the uncertainties has two digits then, and the estimate at least two.

    Args:
        estimate: the number.
        uncertainties: its standard error, and how far the ends of its interval are; those that
            are not finite, or 0, do not count.
        more: digits that are added.

    >>> places(1.88175, [0.035, 0.08, 0.06]), places(713.49, [116.0])
    (3, -1)
    """
    known = [abs(u) for u in uncertainties if math.isfinite(u) and u]
    if not math.isfinite(estimate):
        return DIGITS
    own = _first(estimate)
    if not known:
        return DIGITS - 1 - own + more
    return max(_OF_ERROR - 1 - _first(min(known)), _OF_ERROR - 1 - own) + more


def _first(value: float) -> int:
    """The power of ten of a number's first digit; 0 of 0."""
    return math.floor(math.log10(abs(value))) if value else 0


def shown(value: float, after: int) -> str:
    """A number with so many digits after the point; powers of ten where it is large or small.

    >>> shown(713.49, -1), shown(1.88175, 3), shown(6.4e13, -12), shown(0.0, 2)
    ('710', '1.882', '6.4e13', '0.00')
    """
    rounded = round(value, after)
    if rounded and not _SMALL <= abs(rounded) < _LARGE:
        mantissa, exponent = f"{rounded:.{max(0, after + _first(rounded))}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{rounded:.{max(0, after)}f}"


def error(value: float) -> str:
    """A standard error: two digits.

    >>> error(0.04891), error(459010.0)
    ('0.049', '460000')
    """
    return shown(value, _OF_ERROR - 1 - _first(value))


def end(value: float, after: int) -> str:
    """An end of an interval: the places of its estimate, but two digits at least, DIGITS at most.

    >>> end(1.71497, 3), end(455390.0, 0), end(0.00043, 2)
    ('1.715', '455400', '0.00043')
    """
    first = _first(value)
    return shown(value, min(max(after, _OF_ERROR - 1 - first), DIGITS - 1 - first))
