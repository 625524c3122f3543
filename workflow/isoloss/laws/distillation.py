"""A law of distilled students: N, D, and the losses of teacher and of an undistilled student."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law of distillation in N, D and the teacher's loss"
FORMULA = "L = L_T + L_T^-c_0 (1 + (L_T / (d_1 L_S))^(1/f_1))^(-c_1 f_1) (A / N^α + B / D^β)^γ"
LATEX = (
    r"L = L_T + L_T^{-c_0} \left(1 + \left(\frac{L_T}{d_1 L_S}\right)^{1/f_1}\right)^{-c_1 f_1}"
    r" \left(\frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}\right)^{\gamma}"
)
SOURCE = (
    "Busbridge et al. 2025, arXiv:2502.08606, equation 8, equations 1 and 48 and table 6, read in"
    " its text"
)
BIBTEX = """\
@misc{busbridge2025distillation,
  title = {Distillation Scaling Laws},
  author = {Busbridge, Dan and Shidani, Amitis and Weers, Floris and others},
  year = {2025},
  eprint = {2502.08606},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "N without embeddings and D of the student, L_T the loss of the teacher (`teacher_loss`), L_S"
    " that of a student of this N and D that was not distilled (`student_loss`), all losses on the"
    " data and not on the teacher's words; few starts reach the optimum, so see how many agree"
)
KIND = "joint"
OPTIONS = {
    "supervised": {
        "type": "string",
        "enum": ["column", "published"],
        "default": "column",
        "description": "Where L_S is from: the column student_loss, or the law that its source "
        "fitted to its own runs.",
    },
}
PRESETS = {
    "busbridge": {
        "values": {
            "d_1": 1.315,
            "f_1": 0.090,
            "c_1": 522.6,
            "A": 2243.0,
            "alpha": 0.321,
            "B": 24181.0,
            "beta": 0.637,
            "gamma": 0.764,
            "c_0": 2.549,
        },
        "options": {"supervised": "published"},
        "source": "arXiv:2502.08606, table 6, distillation; L_S by the law of supervised runs"
        " there",
        "of": "697 students on C4, and the range of their N; those of D and of the teacher's loss"
        " could not be read",
        "ranges": {"N": (1.43e8, 7.75e9)},
    },
}

_PUBLISHED = "1.220 + (3355 / N**0.408 + 18186 / D**0.431)**0.452"
TEXT = (
    "loss = teacher_loss + (1 + (teacher_loss / (d_1 * S))**(1 / f_1))**(-c_1 * f_1)"
    " * (A / N**alpha + B / D**beta)**gamma / teacher_loss**c_0; S = {supervised};"
    " 0.1 < d_1 < 10; 0.01 < f_1 < 10; c_1 > 0; 0.01 < gamma < 3; 0 < alpha < 2; 0 < beta < 2"
)


def make(supervised: str) -> Law:
    """The law in N, D, `teacher_loss` and, where it is a column, `student_loss`.

    Args:
        supervised: "column" or "published", where the loss of an undistilled student is from.
    """
    own = supervised == "column"
    variables = ("N", "D", "teacher_loss", *(["student_loss"] if own else []))
    text = TEXT.format(supervised="student_loss" if own else _PUBLISHED)
    return formula_law(text, variables, kind=KIND, shown=FORMULA)
