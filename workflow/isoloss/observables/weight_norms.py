"""The size of every weight matrix, or of every layer, of a trained model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

TITLE = "Weight norms"
ABOUT = (
    "The Frobenius norm of every weight matrix, or of all weights of a layer together, and the"
    " root mean square of its elements, which can be compared between models of different width."
)
FORMULA = "‖W‖ = (sum of w²)^(1/2); rms = ‖W‖ / (number of elements)^(1/2)"
SOURCE = "Golub and Van Loan, Matrix Computations, section 2.3"
QUANTITIES = {
    "root_mean_square": {"title": "Root mean square of the weights", "unit": "1"},
    "frobenius_norm": {"title": "Frobenius norm of the weights", "unit": "1"},
}
OPTIONS = {
    "parts": {
        "type": "string",
        "enum": ["matrices", "layers"],
        "default": "matrices",
        "description": (
            "What is measured: every weight matrix, or all weights of a layer (a module) together."
        ),
    },
}


def observe(weights: Mapping[str, np.ndarray], parts: str = "matrices") -> pd.DataFrame:
    """Measure one model.

    Args:
        weights: name of a tensor, such as `blocks.0.read`, to its values.
        parts: `matrices` (tensors with two dimensions or more) or `layers`: the tensors whose names
            are alike up to the last dot. A tensor without a dot in its name is a layer.

    Returns:
        One row a part and quantity: `part`, `quantity`, `value` (dimensionless, float64).

    Example:
        >>> observe({"a.w": np.full((2, 8), 0.5)})["value"].tolist()
        [0.5, 2.0]
    """
    groups: dict[str, list[np.ndarray]] = {}
    for name, values in weights.items():
        if parts == "layers":
            groups.setdefault(name.rpartition(".")[0] or name, []).append(values)
        elif values.ndim >= 2:
            groups[name] = [values]
    rows = []
    for part, tensors in groups.items():
        norm = math.sqrt(sum(float(np.square(t, dtype=np.float64).sum()) for t in tensors))
        size = sum(tensor.size for tensor in tensors)
        rows.append((part, "root_mean_square", norm / math.sqrt(size)))
        rows.append((part, "frobenius_norm", norm))
    return pd.DataFrame(rows, columns=["part", "quantity", "value"])
