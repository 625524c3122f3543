"""How errors are counted: as shares of what was observed, or as differences in its size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Errors:
    """What turns predicted and observed values into errors without a unit.

    Values above 0, as losses are, differ by a factor: the logarithm of observed over predicted. Of
    values of any sign, and of those with a greatest value, such as an error rate, the difference is
    counted in their size.

    Attributes:
        size: that differences are counted in, the root mean square of what was observed; None where
            errors are logarithms.
    """

    size: float | None

    @property
    def relative(self) -> bool:
        """Whether an error is a share of the value itself."""
        return self.size is None

    def of(self, observed: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """The errors, in the shape of what is given; not finite where there is none."""
        with np.errstate(all="ignore"):
            if self.size is None:
                return np.log(observed / predicted)
            return (observed - predicted) / self.size

    def added(self, predicted: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """What is observed where a prediction errs by this much."""
        if self.size is None:
            return predicted * np.exp(errors)
        return predicted + errors * self.size

    def slopes(self, gradient: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Derivatives (n, p) of the predicted values (n,) as derivatives of the errors, negated."""
        with np.errstate(all="ignore"):
            return gradient / (predicted[:, None] if self.size is None else self.size)

    def levels(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale on which errors are differences, (n,)."""
        with np.errstate(all="ignore"):
            return np.log(values) if self.size is None else values / self.size

    def share(self, error: float) -> float:
        """An error as a share of a value, or of the size of the values."""
        return float(np.expm1(error) if self.size is None else error)


def errors_of(
    observed: np.ndarray, predicted: np.ndarray | None = None, additive: bool = False
) -> Errors:
    """How errors of some values are counted: as shares where all of them are above 0.

    Args:
        observed: (n,).
        predicted: (n,), or None where there are no predictions.
        additive: whether they are differences whatever the sign is (`Law.additive`).

    Example:
        >>> errors_of(np.array([2.0, 3.0]), np.array([2.1, 2.9])).relative
        True
        >>> round(errors_of(np.array([-3.0, 4.0, 0.0])).size, 3)
        2.887
        >>> errors_of(np.array([0.03, 0.04]), additive=True).relative
        False
    """
    positive = (observed > 0).all() and (predicted is None or not (predicted <= 0).any())
    if positive and not additive:
        return Errors(None)
    size = float(np.sqrt(np.mean(np.square(observed)))) if len(observed) else 1.0
    return Errors(size if size > 0 else 1.0)
