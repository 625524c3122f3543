"""Products and sums over the tags of many rows, compiled by numba; `core/tag_codes.py` uses them.

Every tag is read once, where NumPy needs a pass for each tag of a row and each amount.
"""

from __future__ import annotations

from isoloss.core.compiled import compiled, given


def _products(codes, ends, factors, out):
    """Multiply the factors of every row's tags from the left into `out`.

    Args:
        codes: pair of every tag, int32 or int64 (t,).
        ends: where the tags of each row begin, and the last ones end, int32 (n + 1,).
        factors: of every pair, float64 (p,).
        out: float64 (n,).
    """
    for row in range(len(out)):
        product = 1.0
        for tag in range(ends[row], ends[row + 1]):
            product *= factors[codes[tag]]
        out[row] = product


def _sums(codes, ends, counted, n_tokens, copies, out):
    """Add what `TagCodes.sums` tells of every row to its tags' pairs.

    Args:
        codes: pair of every tag, int32 or int64 (t,).
        ends: where the tags of each row begin, and the last ones end, int32 (n + 1,).
        counted: which rows count, bool (n,).
        n_tokens: of every row, int64 (n,).
        copies: of every row, int64 (n,).
        out: float64 (p, 5), changed in place.
    """
    for row in range(len(counted)):
        once = 1.0 if counted[row] else 0.0
        before, after = once * n_tokens[row], once * copies[row]
        for tag in range(ends[row], ends[row + 1]):
            sums = out[codes[tag]]
            sums[0] += 1.0
            sums[1] += once
            sums[2] += after
            sums[3] += before
            sums[4] += after * n_tokens[row]


def _for_both(arguments: str) -> list[str]:
    """The signatures for codes of 32 and of 64 bits."""
    return [
        f"void({given('int32' if small else 'int64')}, {given('int32')}, {arguments})"
        for small in (True, False)
    ]


products = compiled(_products, *_for_both(f"{given('float64')}, float64[::1]"))
sums = compiled(
    _sums,
    *_for_both(f"{given('boolean')}, {given('int64')}, {given('int64')}, float64[:, ::1]"),
)
