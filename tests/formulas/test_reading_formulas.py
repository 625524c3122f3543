"""Formulas that users type: what they are read as, and errors that point at the place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.core.problems import IsolossError
from isoloss.formulas import (
    Limit,
    as_text,
    divide,
    read_expression,
    read_formula,
    read_relation,
)


def text_of(formula: str) -> str:
    return as_text(read_formula(formula).tree)


def test_a_law_with_limits_and_a_range_of_its_response():
    formula = read_formula("acc = 1 - A / N^alpha; 0 < alpha <= 1\nA > 0; 2 > A; 0 <= acc <= 1")
    assert formula.response == "acc"
    assert formula.names == ("A", "N", "alpha")
    assert formula.limits == (
        Limit("alpha", 0.0, 1.0),
        Limit("A", 0.0, 2.0),
        Limit("acc", 0.0, 1.0),
    )


@pytest.mark.parametrize(
    ("formula", "law"),
    [
        ("R = D / U - 1; loss = E + A * R**k", "E + A * (D / U - 1)**k"),
        ("loss = E + c * T\nT = R + 1\nR = D / U", "E + c * (D / U + 1)"),
        ("E +\n A * (N\n * D)\n - B", "E + A * (N * D) - B"),
        ("-N^2^k", "-N**2**k"),
        ("(-N)**-k", "(-N)**-k"),
        ("a − b·N × 2", "a - b * N * 2"),
        ("α * µ", "α * μ"),
        ("+N / 1_000 * a", "N / 1000 * a"),
        ("where(N ≤ 1e9, a, min(b, c, d))", "where(N <= 1e9, a, min(b, c, d))"),
    ],
)
def test_what_a_formula_is_read_as(formula, law):
    assert text_of(formula) == law


ERRORS = {
    "E + A * (N": (8, "this bracket is not closed"),
    "E + A) * N": (5, "closes nothing"),
    "E + 2N": (5, "follows a value without a sign"),
    "E (N + 1)": (0, "'E' is not a function"),
    "ln(N)": (0, "write log"),
    "E + lambda * N": (4, "word of Python"),
    "E + A * N.real": (9, "is not part of a formula"),
    "E + [N]": (4, "write ( )"),
    "E + A *": (7, "a value is missing"),
    "E + * N": (4, "cannot be read"),
    "E + A, N": (0, "commas"),
    "N**1000 * A": (3, "too large"),
    "E + 9**9**9": (7, "too large"),
    "E + N / (2 - 2)": (9, "divides by 0"),
    "E + (2 - 9)**0.5": (13, "not a finite number"),
    "E + log(0)": (4, "not a finite number"),
    "E + 1e999": (4, "too large"),
    "exp": (0, "exp is a function"),
    "min(N)": (0, "min with 1 value"),
    "exp(N, k)": (0, "exp with 2 values"),
    "where(N, a, b)": (6, "begins with a comparison"),
    "where(1 < N < 3, a, b)": (6, "one comparison"),
    "a * (N < 3)": (5, "a comparison is the first value"),
    "exp(x=3)": (5, "within brackets"),
    "L = E; L = N": (7, "defined twice"),
    "a = b; b = a": (0, "used by another"),
    "E + A * a; a = b; b = a": (11, "defined by itself"),
    "E + N; A + N": (7, "is used by nothing"),
    "L = E + N; k = 3": (11, "is used by nothing"),
    "log(L) = N": (0, "is not a name"),
    "L = N = 3": (6, "a second ="),
    "A > 0": (0, "no law"),
    "A * N; A > 0 > B": (15, "one name with numbers"),
    "A * N; A == 3": (7, "not a limit"),
    "A * N; A < 1; A > 2": (14, "leave nothing"),
    "A * N; alpha > 0": (7, "not in the law"),
    "A * N**2²": (8, "'²' is not a name"),
    "maximum(A, N)": (0, "write max"),
    "E + 'a'": (4, "no texts"),
    "E * N; E > wrong": (11, "a limit compares one name with numbers"),
    "E * N; E > 0, E < 1": (7, "limits are separated by ;"),
    "E * N; E > 0 and N > 0": (13, "separate limits by ;"),
}


@pytest.mark.parametrize("formula", ERRORS)
def test_an_error_points_at_its_place(formula):
    at, words = ERRORS[formula]
    with pytest.raises(IsolossError) as error:
        read_formula(formula, "card.formula")
    message = str(error.value)
    head, shown, caret = message.rsplit("\n", 2)
    assert message.startswith("card.formula: ") and words in head
    statement = formula[: at + 1].rfind(";") + 1
    assert shown.strip() in formula
    assert caret == " " * (4 + at - statement) + "^"


@pytest.mark.parametrize("text", ["", "  \n", None, 3, "N" * 5000, "A * N\0", "A * \ud800"])
def test_what_is_not_a_formula_is_refused(text):
    with pytest.raises(IsolossError):
        read_formula(text)


def test_definitions_that_double_each_other_are_too_large():
    lines = [f"x{i} = x{i + 1} * x{i + 1}" for i in range(40)]
    with pytest.raises(IsolossError, match="simplify it"):
        read_formula("; ".join(["L = x0", *lines]))


def test_a_long_sum_and_deep_brackets():
    assert read_formula(" + ".join(f"a{i} * N" for i in range(60))).names[-1] == "a59"
    for text in ("(" * 300 + "N" + ")" * 300, "-" * 300 + "N", "+".join("N" * 300)):
        with pytest.raises(IsolossError, match="simplify it"):
            read_formula(text)


ALPHABET = ["E", "N", "k", "1", "2.", "(", ")", "+", "-", "*", "**", "/", "^", "=", ";", "<", ","]
ALPHABET += ["exp", "where", "\n", " ", "0", ">", "==", "lambda", "α", "!", "\\", "'", "[", "if"]


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join), st.text(max_size=8))
)
def test_any_text_is_read_or_refused(text):
    for read in (read_formula, read_expression, read_relation):
        try:
            read(text)
        except IsolossError as error:
            assert str(error)


def test_relations():
    left, sign, right = read_relation("6 * N * D <= 1e22")
    assert (as_text(left), sign, as_text(right)) == ("6 * N * D", "<=", "1e22")
    assert read_relation("N = 2 * D")[1] == read_relation("N == 2 * D")[1] == "=="
    for text in ("N * D", "1 < N < 2", "N != 3", "N = D = 2", "= 3"):
        with pytest.raises(IsolossError):
            read_relation(text)


def test_names_are_divided_into_variables_and_parameters():
    formula = read_formula("loss = E + A / (N**alpha * experts**gamma)")
    columns = ["N", "D", "experts", "loss"]
    assert divide(formula, columns) == (("N", "experts"), ("E", "A", "alpha", "gamma"))
    columns = ["N", "num_expert_blocks"]  # one that is declared may resemble a column
    assert divide(formula, columns, ["experts"])[1] == ("E", "A", "alpha", "experts", "gamma")


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("E + A / expert**g", "write 'experts'"),
        ("E + A / Experts**g", "write 'experts'"),
        ("2 + 3", "numbers alone"),
        ("N * D", "no parameter"),
        ("E + A", "no variable"),
        ("loss = E + A * loss", "on both sides"),
        ("E + A * N; N > 3", "is of a column"),
        ("E + A * N; N > 3", "\n     N > 3\n     \\^"),
    ],
)
def test_names_that_cannot_be_divided(formula, words):
    with pytest.raises(IsolossError, match=words):
        divide(read_formula(formula), ["N", "D", "experts", "loss"])


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("sqr", "write sqrt;"),
        ("Exp", "write exp;"),
        ("lgo", "write log;"),
        ("sin", "functions are exp, log,"),
        ("tan", "functions are exp, log,"),
        ("f", "functions are exp, log,"),
    ],
)
def test_a_function_is_named_where_a_letter_is_wrong_and_else_all_are(name, remedy):
    """`sin` was answered by `min`."""
    with pytest.raises(IsolossError, match=f"'{name}' is not a function; {remedy}"):
        read_formula(f"loss = E + {name}(N)")
