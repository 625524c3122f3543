"""Problems keep their fields until people read them."""

from __future__ import annotations

import doctest

import pytest

from isoloss.core import problems
from isoloss.core.problems import IsolossError, Problem, StudyError, TableError
from isoloss.study import check

ODD = Problem("a: b; c", "found: this; and that", "do x; or y")


@pytest.mark.parametrize("kind", [IsolossError, TableError])
def test_an_error_keeps_every_problem_and_shows_a_line_each(kind):
    error = kind(ODD, ODD.within("study"))
    assert error.problems == [ODD, Problem("study: a: b; c", ODD.found, ODD.remedy)]
    assert str(error).splitlines() == [str(ODD), f"study: {ODD}"]


def test_a_text_is_a_problem_without_a_place():
    error = IsolossError("no network")
    assert error.problems == [Problem("", "no network", "")]
    assert str(error) == str(error.problems[0]) == "no network"


def test_all_that_is_wrong_with_a_study_is_counted_and_kept():
    error = StudyError([ODD, ODD.within("x")], "mine.yaml")
    assert error.problems == [ODD, ODD.within("x")]
    assert str(error).startswith("mine.yaml: 2 problems\n  - a: b; c: found: this; and that; do x")


def test_what_is_wrong_with_a_table_made_elsewhere_is_placed_in_the_study(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("n,d\n1,2\n")
    columns = {"N": "n", "D": "d: the tokens; all", "loss": "l"}
    study = {"study": "s", "aggregate": {"mine": {"table": str(table), "columns": columns}}}
    with pytest.raises(StudyError) as error:
        check.check(study)
    reasons = {one.place.split(", ")[-1]: one.found for one in error.value.problems}
    assert reasons["columns.D"] == "no column 'd: the tokens; all'"
    assert all(one.place.startswith("aggregate.mine: ") for one in error.value.problems)


def test_the_example_is_true():
    assert doctest.testmod(problems).failed == 0
