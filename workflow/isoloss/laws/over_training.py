"""Loss of runs with more data than is best for their compute: one exponent for both."""

from __future__ import annotations

import numpy as np

from isoloss.laws._law import Data, Term
from isoloss.laws._posynomial import Part, Posynomial

TITLE = "Over-training law in compute and tokens per parameter"
FORMULA = "L = E + (a M^η + b M^-η) / C^η with M = D/N, C = 6 N D"
LATEX = r"L = E + \left(a M^{\eta} + b M^{-\eta}\right) C^{-\eta}, \quad M = D/N, \; C = 6ND"
SOURCE = "Gadre et al. 2024, arXiv:2403.08540, equation 4 and table 6, read in its text"
BIBTEX = """\
@misc{gadre2024language,
  title = {Language Models Scale Reliably with Over-Training and on Downstream Tasks},
  author = {Gadre, Samir Yitzhak and Smyrnis, Georgios and Shankar, Vaishaal and others},
  year = {2024},
  eprint = {2403.08540},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "Runs of one recipe with the best number of tokens per parameter or more; N with embeddings in"
    " its source; it is the Chinchilla law with α = β = 2η"
)
KIND = "joint"
OPTIONS = {}
# Least squares of the loss on the five runs that the paper fits for each training set; N has the
# embeddings. In more digits than its table of fits: three of them move the loss by 0.03. A version
# of that table prints a / 6^η and 2η in place of a and η (C4: 114 and 0.242).
PRESETS = {
    "c4": {
        "values": {"E": 1.50826057, "a": 141.277261, "b": 189.515531, "eta": 0.121236121},
        "source": "arXiv:2403.08540, table 6, C4; more digits from runs of its repository",
        "of": "5 runs on C4, their loss on C4, and their ranges",
        "ranges": {"N": (1.06e7, 4.12e8), "D": (2.1e8, 8.3e9)},
    },
    "redpajama": {
        "values": {"E": 1.83664833, "a": 212.236093, "b": 366.687137, "eta": 0.136425348},
        "source": "arXiv:2403.08540, table 6, RedPajama; more digits from runs of its repository",
        "of": "5 runs on RedPajama, their loss on C4, and their ranges",
        "ranges": {"N": (1.06e7, 4.12e8), "D": (2.1e8, 8.3e9)},
    },
    "refinedweb": {
        "values": {"E": 1.7344621, "a": 157.116286, "b": 246.20669, "eta": 0.127197423},
        "source": "arXiv:2403.08540, table 6, RefinedWeb; more digits from runs of its repository",
        "of": "5 runs on RefinedWeb, their loss on C4, and their ranges",
        "ranges": {"N": (1.06e7, 4.12e8), "D": (2.1e8, 8.3e9)},
    },
}


class _OfCompute(Part):
    """A part whose exponent acts on 6 times the product, as in C = 6 N D."""

    def feature(self, exponent: str, data: Data) -> np.ndarray:
        """-ln(6 v^2), (..., n)."""
        return super().feature(exponent, data) - np.log(6.0)


class OverTraining(Posynomial):
    """theta = (ln E, ln a, ln b, eta); M^η / C^η is 1 / (6 N²)^η and M^-η / C^η is 1 / (6 D²)^η."""

    kind = KIND
    variables = ("N", "D")
    formula = FORMULA
    python = "E + (a * (D / N) ** eta + b * (D / N) ** -eta) / (6 * N * D) ** eta"
    parts = (
        Part("E"),
        _OfCompute("a", {"eta": {"N": 2}}),
        _OfCompute("b", {"eta": {"D": 2}}),
    )
    terms = (
        Term("E", "E", "nats/token", True, -9.0, 3.0, (-0.5,)),
        Term("a", "a", "nats/token", True, -14.0, 9.0, (-1.0,)),
        Term("b", "b", "nats/token", True, -14.0, 9.0, (-1.0,)),
        Term("eta", "η", "1", False, -0.5, 2.5, (0.025, 0.075, 0.15, 0.25, 0.35, 0.5, 0.8)),
    )

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """N and D of least loss for C = 6 N D: M = (b/a)^(1/2η) at every C; (...), (...)."""
        log_m = (theta[..., 2] - theta[..., 1]) / (2 * theta[..., 3])
        n = np.exp((np.log(flops / 6.0) - log_m) / 2)
        return n, flops / 6.0 / n


def make() -> OverTraining:
    """The law; it has no options."""
    return OverTraining()
