"""The loss around the best learning rate and batch size of every size and amount of data."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law in N, D, learning rate and batch size around their best"
FORMULA = (
    "L = E + A / N^α + B / D^β + k_η ln(η / η*)^2 + k_b ln(b / b*)^2,"
    " η* = η_0 (N / 10^9)^a_η (D / 10^10)^d_η, b* = b_0 (D / 10^10)^d_b"
)
LATEX = (
    r"L = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}} + k_\eta \ln^2 \frac{\eta}{\eta^*}"
    r" + k_b \ln^2 \frac{b}{b^*}, \quad"
    r" \eta^* = \eta_0 (N / 10^9)^{a_\eta} (D / 10^{10})^{d_\eta},"
    r" \quad b^* = b_0 (D / 10^{10})^{d_b}"
)
SOURCE = (
    "the best learning rate and batch size by Li et al. 2025, arXiv:2503.04715 (Step Law), equation"
    " 1, read in quotations of its text; the parabolas around them are this project's: its source"
    " prints no loss beside the optimum, so that this card has no preset"
)
BIBTEX = """\
@misc{li2025predictable,
  title = {Predictable Scale: Part {I}, Step Law -- Optimal Hyperparameter Scaling Law in Large Language Model Pretraining},
  author = {Li, Houyi and Zheng, Wenzhen and Hu, Jingcheng and others},
  year = {2025},
  eprint = {2503.04715},
  archivePrefix = {arXiv},
}
"""  # noqa: E501
DOMAIN = (
    "η_0 and b_0 are the best for 1e9 parameters and 1e10 tokens; peak learning rates (`lr`) and"
    " batch sizes (`batch`) within a factor of about 4 of the best; runs that diverged are not of"
    " it; the published optimum (preset of `best_setting`) is --fix lr_0=8.05e-4 a_lr=-0.713"
    " d_lr=0.307 b_0=2.97e5 d_b=0.571, with batch sizes in tokens and N without embeddings"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {}

TEXT = (
    "loss = E + A / N**alpha + B / D**beta"
    " + k_lr * log(lr / (lr_0 * (N / 1e9)**a_lr * (D / 1e10)**d_lr))**2"
    " + k_b * log(batch / (b_0 * (D / 1e10)**d_b))**2; E > 0; k_lr > 0; k_b > 0"
)
TERMS = {
    "k_lr": {"symbol": "k_η", "unit": "nats/token"},
    "k_b": {"symbol": "k_b", "unit": "nats/token"},
    "lr_0": {"symbol": "η_0"},
    "b_0": {"unit": "tokens"},
    "a_lr": {"symbol": "a_η"},
    "d_lr": {"symbol": "d_η"},
}


def make() -> Law:
    """The law in N, D, `lr` and `batch`."""
    variables = ("N", "D", "lr", "batch")
    return formula_law(TEXT, variables, terms=TERMS, kind=KIND, shown=FORMULA)
