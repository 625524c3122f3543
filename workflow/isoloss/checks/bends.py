"""Bends that a formula has and the runs do not show: the simpler formula that does as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from isoloss.checks.evidence import CARE, NOTE, Evidence, Finding
from isoloss.core.escape import short, visible
from isoloss.fitted.errors import Errors
from isoloss.fitted.facts import identified
from isoloss.formulas import as_text, names_of, number
from isoloss.laws._formula_limits import Unseen, unseen_bends
from isoloss.laws._law import Data, Law
from isoloss.laws._tree import tree_of

_MAD = 1.4826  # standard deviations of a normal in its median absolute deviation
_LONGEST = 60  # characters of a part that is shown


def unseen(
    law: Law,
    theta: np.ndarray,
    data: Data,
    errors: Errors,
    residuals: np.ndarray,
    held: Sequence[str] = (),
) -> list[Unseen]:
    """The bends of a law that its runs do not show.

    Args:
        law: the law.
        theta: the estimate, (p,).
        data: variables of the runs fitted, (n,) each.
        errors: how they are counted.
        residuals: errors of the runs, (n,).
        held: parameters that are not estimated.

    Example:
        >>> from isoloss.laws._formula import formula_law
        >>> law = formula_law("loss = E + A * (1 + x / S)**-g", ["x"])
        >>> theta = law.theta({"E": 1.0, "A": 9.0, "S": 1e-6, "g": 0.3})
        >>> noise = np.array([0.01, -0.01, 0.02, -0.01, -0.02])
        >>> [one] = unseen(law, theta, {"x": np.geomspace(1, 64, 5)}, Errors(None), noise)
        >>> told(one)
        'the runs show no bend in x at S: (1 + x / S)**-g does no better than x**-g'
    """
    tree = None if law.proportions else tree_of(law)
    if tree is None or len(residuals) <= len(law.terms):
        return []
    with np.errstate(all="ignore"):
        predicted = law.loss(theta, data)
        unit = predicted if errors.relative else np.full_like(predicted, errors.size)
        spread = _MAD * float(np.median(np.abs(residuals)))
        if not np.isfinite(predicted).all():
            return []
        every = unseen_bends(law, tree, theta, data, unit, spread, held)
        return [one for one in every if {*names_of(one.part)} & {*law.variables}]


def told(one: Unseen) -> str:
    """A bend that the runs do not show, in words."""
    inside = [name for name in names_of(one.part) if name in one.variables]
    shape = f"no bend in {', '.join(inside)} at {' and '.join(one.at)}"
    return f"the runs show {shape}: {_text(one.part)} does no better than {_text(one.simple)}"


def _text(tree) -> str:
    return short(visible(as_text(tree)), _LONGEST)


def check(evidence: Evidence) -> Iterator[Finding]:
    """Bends that the runs do not show, with what to write in their place."""
    rows: Mapping = {one.term: one for one in evidence.params.itertuples()}
    for one in evidence.bends:
        own = [rows[name] for name in one.at]
        loose = any(row.at_bound or not identified(row.ci_low, row.ci_high) for row in own)
        grave = loose or evidence.summary["status"] != "converged"
        yield Finding("bend", CARE if grave else NOTE, told(one), _remedy(one))


def _remedy(one: Unseen) -> str:
    """What to do about a bend that the runs do not show, in words."""
    inside = [name for name in names_of(one.part) if name in one.variables]
    do = f"write {_text(one.simple)} in the place of {_text(one.part)}"
    if one.simple == number(1.0):
        do = f"leave {_text(one.part)} out"
    return f"{do}, or add runs of other {short(visible(inside[0]), 40)}"


def first_remedy(bends: Sequence[Unseen], term: str = "") -> str:
    """What helps a search in the valley of a bend that the runs do not show; else empty.

    Args:
        bends: those that the runs do not show.
        term: a parameter that the bend is to have; any bend if empty.
    """
    own = [one for one in bends if not term or term in names_of(one.part)]
    return _remedy(own[0]) if own else ""
