"""The loss around the best learning rate and batch size of every size and amount of data."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law in N, D, learning rate and batch size around their best"
FORMULA = (
    "L = E + A / N^α + B / D^β + k_η ln(η / η*)^2 + k_b ln(b / b*)^2,"
    " η* = c_η N^a_η D^d_η, b* = c_b D^d_b"
)
LATEX = (
    r"L = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}} + k_\eta \ln^2 \frac{\eta}{\eta^*}"
    r" + k_b \ln^2 \frac{b}{b^*}, \quad \eta^* = c_\eta N^{a_\eta} D^{d_\eta},"
    r" \quad b^* = c_b D^{d_b}"
)
SOURCE = (
    "the best learning rate and batch size by Li et al. 2025, arXiv:2503.04715 (Step Law); the"
    " parabolas around them are this project's: its source prints no loss beside the optimum"
)
BIBTEX = """\
@misc{li2025predictable,
  title = {Predictable Scale: Part {I}, Step Law -- Optimal Hyperparameter Scaling Law in Large Language Model Pretraining},
  author = {Li, Houyi and Zheng, Wenzhen and Hu, Jingcheng and others},
  year = {2025},
  eprint = {2503.04715},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "peak learning rates (`lr`) and batch sizes (`batch`) within a factor of about 4 of the best;"
    " runs that diverged are not of it; `best_setting` has the published optimum"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {}

TEXT = (
    "loss = E + A / N**alpha + B / D**beta"
    " + k_lr * log(lr / (c_lr * N**a_lr * D**d_lr))**2 + k_b * log(batch / (c_b * D**d_b))**2;"
    " E > 0; k_lr > 0; k_b > 0; c_lr > 0; c_b > 0; -3 < a_lr < 3; -3 < d_lr < 3; -3 < d_b < 3"
)
TERMS = {
    "k_lr": {"symbol": "k_η", "unit": "nats/token"},
    "k_b": {"symbol": "k_b", "unit": "nats/token"},
    "c_lr": {"symbol": "c_η"},
    "a_lr": {"symbol": "a_η"},
    "d_lr": {"symbol": "d_η"},
}


def make() -> Law:
    """The law in N, D, `lr` and `batch`."""
    variables = ("N", "D", "lr", "batch")
    return formula_law(TEXT, variables, terms=TERMS, kind=KIND, shown=FORMULA)
