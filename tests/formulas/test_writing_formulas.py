"""Formulas written as text, as Python and as LaTeX."""

from __future__ import annotations

import numpy as np
import pytest
from formula_trees import trees
from hypothesis import assume, given, settings
from matplotlib.mathtext import MathTextParser

from isoloss.core.problems import IsolossError
from isoloss.formulas import Evaluator, as_latex, as_python, as_text, latex_name, read_expression

NAMES = {
    "np": np, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "where": np.where,
    "maximum": np.maximum, "minimum": np.minimum,
}  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(trees)
def test_text_reads_back_to_the_same_tree_and_python_to_the_same_values(tree):
    try:
        again = read_expression(as_text(tree))
    except IsolossError as error:
        refusals = ("not a finite number", "too large", "divides by 0")
        assume(not any(words in str(error) for words in refusals))
        raise
    assert again == tree
    values = {"A": 0.7, "alpha": 0.3, "k": 1.4, "N": np.array([1.5, 3.0]), "D": 2.5}
    values = {name: np.asarray(value)[()] for name, value in values.items()}
    with np.errstate(all="ignore"):
        python = eval(as_python(tree), {**NAMES, **values})
        python = np.broadcast_to(np.asarray(python, dtype=float), (2,))
    value = np.broadcast_to(Evaluator(tree, ["A"]).value(values), (2,))
    finite = np.isfinite(python) & np.isfinite(value) & (np.abs(python) < 1e100)
    np.testing.assert_allclose(value[finite], python[finite], rtol=1e-6, atol=1e-6)


LATEX = {
    "E + A / (N**alpha * experts**gamma)": r"E + \frac{A}{N^{\alpha} \, \mathrm{experts}^{\gamma}}",
    "-(a - b) * 3 * x**2**k": r"-\left(a - b\right) \cdot 3 \, x^{2^{k}}",
    "A * (N / 1e9)**-a": r"A \, \left(\frac{N}{10^{9}}\right)^{-a}",
    "2.5e8 * (x - -y)": r"2.5 \cdot 10^{8} \, \left(x - \left(-y\right)\right)",
    "log(N)**2 - sqrt(D_0)": r"\left(\log\left(N\right)\right)^{2} - \sqrt{D_{0}}",
    "sigmoid(k * log10(D)) + Δ": r"\sigma\left(k \, \log_{10}\left(D\right)\right) + \Delta",
    "where(N < 3, a, abs(b - c))": (
        r"\left(a\ \mathrm{if}\ N < 3\ \mathrm{else}\ \left|b - c\right|\right)"
    ),
    "max(a, softplus(b1))": r"\max\left(a, \mathrm{softplus}\left(b_{1}\right)\right)",
}


@pytest.mark.parametrize("text", LATEX)
def test_latex_and_that_mathtext_reads_it(text):
    latex = as_latex(read_expression(text))
    assert latex == LATEX[text]
    assert MathTextParser("path").parse(f"${latex}$").width > 0


def test_symbols_may_be_given():
    assert as_latex(read_expression("lr * E"), {"lr": r"\eta"}) == r"\eta \, E"
    names = ("lambda_", "R_D", "batch_size", "x_2", "_k", "alpha1", "μ")
    assert list(map(latex_name, names)) == [
        r"\lambda",
        "R_{D}",
        r"\mathrm{batch}_{\mathrm{size}}",
        "x_{2}",
        r"\mathrm{\_k}",
        r"\alpha_{1}",
        r"\mu",
    ]
