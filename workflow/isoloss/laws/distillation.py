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
    "Busbridge et al. 2025, arXiv:2502.08606, equation 8; the form, and the law of L_S of option"
    " supervised, were read on a secondary page and in code of others; the coefficients of"
    " equation 8 were not found there, so that there is no preset"
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
    "N and D of the student, L_T the loss of the teacher (`teacher_loss`), L_S that of a student of"
    " this N and D that was not distilled (`student_loss`); few starts reach the optimum, so see"
    " how many agree"
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
PRESETS = {}

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
