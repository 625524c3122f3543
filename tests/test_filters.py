"""Filters: what they select, what they refuse, and that nothing of their text is ever run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import isoloss
from isoloss.__main__ import main
from isoloss.core import filters
from isoloss.core.problems import StudyError, TableError
from isoloss.study import check

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """Columns of every type that a table of runs has had."""
    return pd.DataFrame(
        {
            "n_params": [1e6, 2e6, 1e6, np.nan],
            "loss": [3.0, 2.5, np.nan, 2.0],
            "step": [1, 2, 3, 4],
            "run": ["a", "a", None, "b"],
            "weighting": ["natural", "half", "natural", "double"],
            "converged": [True, False, True, True],
            "checked": pd.array([True, None, False, True], dtype="boolean"),
            "large": [2**62 + 1, 2**62, 2**63 - 1, -(2**63)],
            "rank": pd.array([2**62 + 1, None, 3, 4], dtype="Int64"),
            "short": np.array([0.1, 0.2, 0.3, 0.4], "float32"),
            "mixed": pd.Series([1, "1", None, 2.5], dtype=object),
            "when": pd.to_datetime(["2020-01-01", "2021-01-01", None, "2022-05-05"]),
            "path": [[1], [2], None, [3]],
            "nothing": [None] * 4,
            "size": pd.Categorical(["S", "L", "S", None]),
            "val loss": [1, 2, 3, 4],
            "a`b.c": [1, 2, 3, 4],
            "lambda": [1, 2, 3, 4],
            "count": [1, 2, 3, 4],
            "µ": [1, 2, 3, 4],
        }
    )


def rows(runs: pd.DataFrame, expression: str) -> str:
    """The numbers of the rows that a filter selects."""
    answer = filters.evaluate(runs, expression, "keep")
    assert answer.dtype == bool and answer.index.equals(runs.index)
    return "".join(str(i + 1) for i in np.flatnonzero(answer))


SELECTED = {
    "loss < 3": "24",
    "loss<3 and N > 1e6": "2",
    "2 <= loss < 3": "24",
    "not loss < 3": "13",
    "loss < 3 or step == 1": "124",
    "step + 1 == 3 | step * 2 == 8 & loss < 3": "24",
    "~(step > 1) | -step < -3": "14",
    "~converged": "2",
    "converged & step > 1": "34",
    "converged": "134",
    "converged == True": "134",
    "checked": "14",
    "not checked": "23",
    "weighting == 'natural'": "13",
    'weighting in ["half", "double"]': "24",
    "step not in (1, 4)": "23",
    "step in [-1, 2.0, 3.5]": "2",
    "weighting < 'n'": "24",
    "startswith(weighting, 'na') or endswith(weighting, 'le')": "134",
    "contains(weighting, 'a')": "123",
    "contains(run, '.*')": "",
    "isna(run)": "3",
    "isna(nothing) and isna(path)": "3",
    "loss == loss": "124",
    "loss != 2.5": "134",
    "run != 'a'": "34",
    "nothing == 3 or nothing < 'x'": "",
    "step / 2 == step // 2": "24",
    "step % 2 == 1": "13",
    "-step ** 2 == -4": "2",
    "2 * N ** -0.5 < 0.002": "2",
    "abs(step - 2) < 2": "123",
    "log(step) > 1 and exp(step) < 30": "3",
    "round(loss / 3, 1) == 0.8": "2",
    "round(loss) == 2": "24",
    "large == 4611686018427387905": "1",
    "large == 9223372036854775807 or large == -9223372036854775808": "34",
    "large in [4611686018427387904]": "2",
    "rank == 4611686018427387905": "1",
    "large + large > 1": "123",
    "short == 0.1 or short in [0.3]": "13",
    "mixed == 1": "1",
    "mixed in ['1', 2.5]": "24",
    "step == 'a' or run == 3": "",
    "when > '2020-06-01'": "24",
    "when in ['2020-01-01']": "1",
    "size == 'S'": "13",
    "index < 2": "12",
    "`val loss` == 2": "2",
    "`a``b.c` == 3": "3",
    "`lambda` == 1 or µ == 4": "14",
    "count == 2 and count(step) == 4": "2",
    "run == '`' or step == 1": "1",
    "run == 'N' or loss == min(loss)": "4",
    "step == max(step, by=run)": "234",
    "step == last(step, by=run)": "234",
    "loss == min(loss, by=[N, weighting])": "124",
    "loss == min(loss, by=[n_params, `val loss`])": "124",
    "loss <= mean(loss)": "24",
    "count(loss, by=run) == 2": "12",
    "count(loss, by=run) == 0": "3",
    "max(weighting) == weighting": "13",
    "max(when) == when": "4",
    "mean(converged) > 0.7 and step == 1": "1",
    "loss >= largest(loss, 2)": "12",
    "loss < loss.nlargest(2).min()": "4",
    "loss <= smallest(loss, 1, by=run)": "24",
    "loss <= quantile(loss, 0.5)": "24",
    "loss <= quantile(loss, 0.5, by=run)": "24",
    "loss - min(loss - min(loss, by=run)) < 3 \n and step > 1": "24",
    "run in []": "",
}


@pytest.mark.parametrize(("expression", "selected"), SELECTED.items(), ids=SELECTED)
def test_a_filter_selects_the_rows_for_which_it_holds(runs, expression, selected):
    assert rows(runs, expression) == selected


@pytest.mark.parametrize("expression", SELECTED)
def test_a_filter_of_no_rows_selects_none(runs, expression):
    assert rows(runs.iloc[:0], expression) == ""


@pytest.mark.parametrize(
    "dtypes",
    [
        {"step": "Int64", "loss": "Float64", "run": "string"},
        {"step": "int64[pyarrow]", "loss": "double[pyarrow]", "run": "string[pyarrow]"},
        {"step": "uint8", "loss": object, "run": object, "converged": object},
        {"weighting": "category", "run": "category", "converged": "bool[pyarrow]"},
    ],
)
def test_it_does_not_matter_in_what_a_table_keeps_its_values(runs, dtypes):
    other = runs.astype(dtypes)
    for expression, selected in SELECTED.items():
        assert rows(other, expression) == selected, expression


# What a filter refuses, where (the character), and what the error says besides.
REFUSED = {
    '@pd.io.common.os.system("touch PWNED") == 0': (1, "write the value"),
    'loss.to_csv("PWNED")': (1, "'loss.to_csv'"),
    'loss.pipe(@pd.Series.to_csv, "PWNED")': (11, "write the value"),
    'loss.values.tofile("PWNED")': (1, "'loss.values.tofile'"),
    '@scope.to_pickle("PWNED")': (1, "write the value"),
    '@pd.read_pickle("PWNED") == 0': (1, "write the value"),
    '__import__("os").system("touch PWNED") == 0': (1, "allowed are"),
    "loss.__class__.__mro__ == 0": (1, "'.__mro__'"),
    "().__class__ == 0": (1, "'.__class__'"),
    "open('PWNED', 'w') == 0": (1, "the call of 'open'"),
    "eval('1') == 1": (1, "the call of 'eval'"),
    "exec('1') or step > 1": (1, "the call of 'exec'"),
    "loss.plot == 0": (1, "'.plot'"),
    "loss[0] > 1": (1, "[...] after a value"),
    "(lambda: 1)() == 1": (2, "'lambda'"),
    "[x for x in loss] == 1": (4, "'for'"),
    "{1: 2} == 1": (1, "[ ]"),
    "(y := 3) == 3": (4, "':'"),
    "1 if loss else 2": (3, "'if'"),
    'f"{loss}" == "x"': (2, "no letters are allowed before a text"),
    'b"x" == run': (2, "no letters are allowed before a text"),
    "min(*loss) == 1": (1, "write min(x)"),
    "min(loss, **run) == 1": (11, "only by="),
    "min(loss, key=run) == 1": (11, "only by="),
    "min(loss, step) == 1": (1, "write min(x)"),
    "loss == 1; step == 1": (10, "`and`"),
    "import os": (1, "'import'"),
    "loss = 3": (6, "write =="),
    "loss < 3, step": (1, "a list without `in`"),
    "await_ and yield": (12, "'yield'"),
    "9**9**9 > 1": (4, "between -100 and 100"),
    "2**step > 1": (4, "between -100 and 100"),
    "step ** 1000 > 1": (9, "between -100 and 100"),
    "step ** 1e9 > 1": (9, "between -100 and 100"),
    "N ** 60 > 1": (1, "infinite in row 1"),
    "0 * step ** -1 + (step - step) ** -1 > 1": (18, "infinite in row 1"),
    "exp(N) > 1": (1, "infinite in row 1"),
    "1e308 * step * 10 > 1": (1, "infinite"),
    "run * 1000000000 == 'a'": (1, "column 'run' is text"),
    "'a' * 1000000000 == run": (1, "is text"),
    "'%1000000000d' % step == 'a'": (1, "is text"),
    "run + 'x' == 'ax'": (1, "column 'run' is text"),
    "1" * 5000 + " == step": (1, "64 bits"),
    "step == 9223372036854775808": (9, "64 bits"),
    "step == 1e999": (9, "too large"),
    "(" * 3000 + "step" + ")" * 3000: (61, "nested"),
    "not " * 500 + "converged": (241, "nested"),
    "-" * 500 + "step > 1": (61, "nested"),
    "step" + " + step" * 300 + " > 1": (1, "nested"),
    "val loss < 3": (5, "backticks"),
    "a`b.c < 3": (2, "not closed"),
    "lambda == 1": (1, "`lambda`"),
    "step == 'a": (9, "not closed"),
    "step == 'a' 'b'": (13, "a comma"),
    "step ==": (6, "cannot be read"),
    "status.isna()": (1, "write isna(status)"),
    "run.notna()": (1, "write not isna(run)"),
    "step.isin([1, 2])": (1, "write step in [1, 2]"),
    'run.str.contains("x")': (1, 'write contains(run, "x")'),
    "step == step.max()": (9, "max(step, by=NAME)"),
    'loss == loss.groupby(N).transform("min")': (9, "write min(loss, by=N)"),
    "step == step.groupby([N, run]).max()": (9, "write max(step, by=[N, run])"),
    "loss <= loss.quantile(0.98)": (9, "write quantile(loss, 0.98)"),
    "step.between(1, 2)": (1, "write 1 <= step <= 2"),
    "np.log(step) > 1": (1, "write log(step)"),
    "sqrt(step) > 1": (1, "write step ** 0.5"),
    "step == [1, 2]": (9, "write step in [...]"),
    "step != [1, 2]": (9, "write step not in [...]"),
    "run == None": (1, "write isna(run)"),
    "run is not None": (1, "write not isna(run)"),
    "run in ['a', None]": (14, "isna(run)"),
    "run is 'a'": (1, "write =="),
    "'a' in run": (8, "write contains(run, 'a')"),
    "step in count": (9, "list of values"),
    "step in [count]": (10, "compare columns"),
    "step && count": (7, "write `and`"),
    "!converged": (1, "write `not`"),
    "step ^ 2": (6, "**"),
    "step <> 2": (6, "write !="),
    "run < 3": (1, "column 'run' is text, '3' is a number"),
    "mixed < 3": (1, "column 'mixed' is values of several types"),
    "path == 3": (1, "column 'path' is neither number nor text"),
    "when > 'now'": (8, "is not a time"),
    "when > 3": (1, "column 'when' is a time"),
    "contains(step, 'x')": (10, "column 'step' is a number"),
    "contains(run, weighting)": (15, "looks for a text"),
    "converged + 1 > 1": (1, "column 'converged' is yes or no"),
    "loss": (1, "is not a yes-or-no value"),
    "step + 1": (1, "is not a yes-or-no value"),
    "run and step > 1": (1, "is not a yes-or-no value"),
    "1 < 2": (1, "names no column"),
    "True": (1, "names no column"),
    "los < 3": (1, "did you mean 'loss'?"),
    "max(loss, by=rum) > 1": (1, "did you mean 'run'?"),
    "max(loss, by=3) > 1": (11, "names no column"),
    "max(loss, by=[]) > 1": (11, "names no column"),
    "isna(loss, by=run)": (12, "takes no by="),
    "abs() > 1": (1, "write abs(x)"),
    "round(loss, 10**9) > 1": (13, "whole number"),
    "round(loss, 400) > 1": (13, "whole number"),
    "largest(loss, 0) < 1": (15, "a rank"),
    "quantile(loss, 2) < 1": (16, "from 0 to 1"),
    "startswith(run)": (1, "with 1 values"),
}


@pytest.mark.parametrize(
    ("expression", "refusal"), REFUSED.items(), ids=[text[:40] for text in REFUSED]
)
def test_what_is_no_filter_is_refused_with_its_place_and_a_way_out(
    runs, expression, refusal, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    character, message = refusal
    started = time.process_time()
    with pytest.raises(TableError) as error:
        filters.evaluate(runs, expression, "keep")
    assert time.process_time() - started < 2
    assert f", character {character}: " in str(error.value)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "expression", ["", "  \n ", None, 3, ["loss < 3"], "step > 1\0", "'\ud800'"]
)
def test_what_is_no_text_or_empty_is_refused(runs, expression):
    with pytest.raises(TableError, match=r"the filter .*; (write|remove)"):
        filters.evaluate(runs, expression, "keep")


def test_a_filter_that_is_too_long_is_refused_at_once(runs):
    with pytest.raises(TableError, match="at most 10000 are read"):
        filters.evaluate(runs, "step in [" + "1, " * 100_000 + "1]", "keep")
    assert rows(runs, "step in [" + "1, " * 3000 + "1]") == "1"


def test_a_column_that_appears_twice_cannot_be_meant(runs):
    twice = pd.concat([runs, runs[["step"]]], axis=1)
    with pytest.raises(TableError, match="'step' appears twice"):
        filters.evaluate(twice, "step > 1", "keep")


@pytest.mark.parametrize("name", ["val-loss", "val.loss", "val loss", "2nd"])
def test_a_name_with_signs_is_told_to_stand_in_backticks(name):
    table = pd.DataFrame({name: [1.0, 3.0]})
    assert rows(table, f"`{name}` < 2") == "1"
    with pytest.raises(TableError, match="backticks"):
        filters.evaluate(table, f"{name} < 2", "keep")


@settings(max_examples=100)
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
@example("self")
@example("index")
@example("``")
@example("a\nb")
@example("other")
def test_a_column_of_any_name_can_be_asked_for(name):
    quoted = "`" + name.replace("`", "``") + "`"
    table = pd.DataFrame({name: [1, 2, 3], f"{name} 2": [3, 2, 1]})
    assert rows(table, f"{quoted} == min({quoted}, by={quoted}) and {quoted} < 3") == "12"
    assert name in filters.names(f"{quoted} == 3")


@settings(max_examples=100)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_any_text_can_be_asked_for(text):
    table = pd.DataFrame({"a": [text, text + "x", None]})
    spelled = text.replace("\\", "\\\\").replace('"', '\\"')
    assert rows(table, f'a == "{spelled}"') == "1"
    assert rows(table, f'startswith(a, "{spelled}")') == "12"


def test_names_are_those_written_and_those_that_letters_stand_for():
    read = filters.names("loss < min(`my loss`, by=[N, run]) and isna(x) or 'y' == z")
    assert read == {"loss", "my loss", "N", "n_params", "run", "x", "z"}
    with pytest.raises(TableError):
        filters.names("loss.max() < 3")


# Random texts and random trees: an answer or a TableError, quickly, and nothing else.

PIECES = [
    *"()[],.=<>+-*/%&|~@:;!`'\"\\ \n{}#$?^",
    "**", "//", "==", "!=", "and", "or", "not", "in", "is", "None", "True", "by=", "by", "lambda",
    "if", "else", "for", "await", "loss", "N", "step", "run", "when", "mixed", "path", "min", "max",
    "count", "last", "isna", "round", "contains", "quantile", "0", "1", "9", "1e308", "0.5", "'a'",
    "`val loss`", "str", "groupby", "nlargest", "transform", "__class__", "9" * 30, "é", "\0", "١",
]  # fmt: skip


def answers_or_refuses(runs: pd.DataFrame, expression: str) -> None:
    started = time.process_time()
    try:
        answer = filters.evaluate(runs, expression, "keep")
    except TableError as error:
        assert str(error).startswith("keep: ")
        assert len(str(error).splitlines()) == 1
    else:
        assert answer.dtype == bool and len(answer) == len(runs)
    assert time.process_time() - started < 5


@settings(max_examples=400, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=25), gap=st.sampled_from(["", " "]))
@example(pieces=["None", "`", "\n", "`"], gap="")
@example(pieces=["a", "`", "`"], gap="")
@example(pieces=["`(`", "+"] * 100 + ["1"], gap="")
def test_pieces_of_filters_in_any_order_are_answered_or_refused(runs, pieces, gap):
    answers_or_refuses(runs, gap.join(pieces))


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_answered_or_refused(runs, text):
    answers_or_refuses(runs, text)


COLUMNS = ["loss", "N", "step", "run", "checked", "large", "rank", "short", "mixed", "when", "path"]
COLUMNS += ["nothing", "size", "converged", "`val loss`", "index"]
CONSTANTS = ["0", "1", "-2.5", "1e300", "9223372036854775807", "'a'", "'2020-01-01'", "True"]
LEAVES = st.sampled_from(COLUMNS + CONSTANTS)


def grown(below: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Terms one level above those given."""
    two = st.tuples(below, below)
    signs = ["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "&"]
    sign = st.sampled_from(signs)
    one = st.sampled_from(
        ["isna({})", "abs({})", "log({})", "exp({})", "round({}, 2)", "contains({}, 'a')", "-{}",
         "not {}", "~{}", "{} in [1, 'a', 2.5]", "{} ** 3", "{} ** -0.5", "min({}, by=run)",
         "max({})", "mean({}, by=[N, when])", "count({}, by=mixed)", "last({}, by=size)",
         "quantile({}, 0.3, by=checked)", "largest({}, 2, by=run)", "smallest({}, 9)"]
    )  # fmt: skip
    return st.one_of(
        st.tuples(sign, two).map(lambda p: f"({p[1][0]} {p[0]} {p[1][1]})"),
        st.tuples(one, below).map(lambda p: "(" + p[0].format(p[1]) + ")"),
    )


@settings(max_examples=400, deadline=None)
@given(expression=st.recursive(LEAVES, grown, max_leaves=12))
def test_any_tree_of_terms_is_answered_or_refused(runs, expression):
    answers_or_refuses(runs, expression)
    answers_or_refuses(runs.iloc[:0], expression)


NUMBERS = st.floats(-1e3, 1e3) | st.sampled_from([np.nan, 0.0, 1.0, -1.0])
LIKE_PANDAS = st.recursive(
    st.sampled_from(["a < 0", "b >= 1", "c == 'x'", "a != b", "a == a", "0 <= b < 5", "c != 'y'",
                     "i > 1", "i == 2", "c in ['x', 'z']", "i not in [1, 3]", "a + b * 2 > i",
                     "a / 2 - b ** 2 < 1", "i % 2 == 1", "abs(a) > 2"]),
    lambda t: st.tuples(t, st.sampled_from(["and", "or", "&", "|"]), t).map(
        lambda p: f"({p[0]}) {p[1]} ({p[2]})"
    ) | t.map("~({})".format) | t.map("not ({})".format),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    cells=st.lists(
        st.tuples(NUMBERS, NUMBERS, st.sampled_from(["x", "y", "z"]), st.integers(-3, 3)),
        min_size=1,
        max_size=6,
    ),
    expression=LIKE_PANDAS,
)
def test_a_filter_selects_what_pandas_selects(cells, expression):
    table = pd.DataFrame(cells, columns=["a", "b", "c", "i"])
    expected = table.eval(expression, engine="python")
    assert list(filters.evaluate(table, expression, "keep")) == list(expected)


@settings(max_examples=100, deadline=None)
@given(
    cells=st.lists(
        st.tuples(NUMBERS, st.sampled_from(["x", "y"]), st.integers(1, 2)), min_size=1, max_size=9
    ),
    name=st.sampled_from(["min", "max", "mean", "count", "last"]),
)
def test_aggregates_are_those_of_pandas(cells, name):
    table = pd.DataFrame(cells, columns=["a", "c", "i"])
    for by, text in ((["c"], "c"), (["c", "i"], "[c, i]")):
        expected = table.groupby(by)["a"].transform(name)
        for sign, compared in (("==", expected.eq), ("<=", expected.ge), (">=", expected.le)):
            selected = filters.evaluate(table, f"a {sign} {name}(a, by={text})", "keep")
            assert list(selected) == list(compared(table["a"]))


# The doors through which a filter comes.

ATTACKS = [text for text in REFUSED if "PWNED" in text]


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    """A CSV of runs in an empty folder, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    d = np.geomspace(1e8, 1e10, 12)
    frame = pd.DataFrame({"size": 1e7, "tokens": d, "val_loss": 2 + 1e4 / d**0.5})
    frame.to_csv("own.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_door_runs_what_stands_in_a_filter(table, attack, capsys):
    columns = {"N": "size", "D": "tokens", "loss": "val_loss"}
    own = {"table": "own.csv", "columns": columns, "keep": [attack]}
    fit = {"card": "power_law", "options": {"variable": "D"}, "sweep": "own"}
    with pytest.raises(StudyError, match=r"aggregate\.own, keep: "):
        check.check({"study": "s", "aggregate": {"own": own}})
    with pytest.raises(StudyError, match=r"fit\.f\.where: "):
        check.check(
            {
                "study": "s",
                "aggregate": {"own": {**own, "keep": []}},
                "fit": {"f": {**fit, "where": attack}},
            }
        )
    with pytest.raises(TableError):
        isoloss.read_runs("own.csv", columns, keep=[attack])
    runs = isoloss.read_runs("own.csv", columns)
    for call in (
        lambda: isoloss.fit_law(runs, "power_law", {"variable": "D"}, where=attack),
        lambda: isoloss.sensitivity(runs, "power_law", keep={"x": attack}, conventions={}),
    ):
        with pytest.raises(TableError):
            call()
    assert main(["law", "own.csv", "--keep", attack]) == 2
    assert "character" in capsys.readouterr().err
    assert [path.name for path in table.iterdir()] == ["own.csv"]


def test_filters_are_checked_where_there_is_no_table_to_look_at(table):
    own = {"table": "nowhere.csv", "columns": {"N": "a", "D": "b", "loss": "c"}, "keep": ["c <"]}
    cells = [{"n_flops": 1e9, "d_model": [8, 12, 16, 20, 24, 28]}]
    sweep = {"dataset": "stdlib", "model": "transformer", "cells": cells}
    fit = {"card": "chinchilla", "sweep": "sizes"}
    study = {
        "study": "s",
        "load": {"stdlib": {"card": "python_stdlib"}},
        "train": {"sizes": sweep},
        "aggregate": {"own": own},
        "fit": {
            "a": {**fit, "where": "loss.max() < 3"},
            "b": {**fit, "points": "curves", "where": "step > step.min()"},
            "c": {**fit, "where": "weighting < 3"},
            "d": {**fit, "points": "curves", "where": "step > 10 and n_flops ** -1 < 1"},
            "e": {**fit, "where": "(loss - 1) ** -1 < 3"},  # infinite only of what is not measured
            "f": {**fit, "sweep": "unknown", "where": "x.y"},
        },
    }
    with pytest.raises(StudyError) as error:
        check.check(study, fetch=False)
    places = [one.place.split(": ")[0].split(",")[0] for one in error.value.problems]
    assert sorted(places) == ["aggregate.own", "fit.a.where", "fit.b.where", "fit.c.where",
                              "fit.f.sweep", "fit.f.where"]  # fmt: skip


def test_the_filters_of_the_page_are_filters(runs):
    page = (ROOT / "docs" / "filters.md").read_text(encoding="utf-8")
    shown = re.findall(r"```\n(.*?)```", page, flags=re.S)
    lines = [line.split("#")[0].strip() for block in shown for line in block.splitlines()]
    assert len(lines) > 10
    for line in lines:
        filters.evaluate(runs.assign(n_samples=1e9), line, "page")
