"""Numbers as people read them, and progress on a terminal and off it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import isoloss
from isoloss.core import units
from isoloss.core.progress import track
from isoloss.fitted import report


@pytest.mark.parametrize(
    ("value", "text"),
    [(1536, "1.54k"), (7e10, "70B"), (1.4e12, "1.4T"), (0.3473, "0.347"), (5.76e23, "5.76e23")],
)
def test_counts_are_short(value, text):
    assert units.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(2.2e11, "2.2e11"), (1e10, "1e10"), (0, "0"), (1.2345e-3, "1.23e-3")]
)
def test_powers_have_no_padding(value, text):
    assert units.power(value) == text


@given(st.floats(1e-6, 1e20))
def test_a_power_is_the_value_to_its_digits(value):
    assert float(units.power(value, 6)) == pytest.approx(value, rel=1e-5)


def test_an_interval_that_was_not_made_leaves_the_value_alone():
    assert units.interval(math.nan, 1.0) == units.interval(math.nan, math.nan) == ""
    assert units.estimate(2.0, math.nan, math.nan) == "2"
    assert units.estimate(2.0, 1.0, 2.5) == "2 [1, 2.5]"
    assert units.estimate(2.0, 1.0, math.inf, units.count) == "2 [1, inf]"


def test_progress_counts_to_its_end_and_says_nothing_in_the_first_minute(capsys):
    ticks = track(3, "steps")
    assert [next(ticks) for _ in range(3)] == [None] * 3
    with pytest.raises(StopIteration):
        next(ticks)
    assert capsys.readouterr().err == ""


def test_progress_says_a_line_a_minute_off_a_terminal(capsys, monkeypatch):
    seconds = iter(range(0, 10_000, 25))
    monkeypatch.setattr("isoloss.core.progress.time.monotonic", lambda: next(seconds))
    list(track(7, "steps"))
    lines = capsys.readouterr().err.splitlines()
    assert 1 < len(lines) < 7
    assert lines[0].startswith("steps: 2 of 7, ")


def test_a_huge_r2_and_errors_above_100_percent_can_be_read_in_reports(chinchilla_runs):
    fit = isoloss.fit_law(chinchilla_runs(noise=0.01), "chinchilla", bootstrap=0)
    summary = fit.summary.assign(r2=-1.8e8, rmse=12345.6)
    text = report.text(replace(fit, tables={**fit.tables, "summary": summary}))
    assert "R2 -1.8e8, RMSE 12300 nats" in text
    assert units.percent(7.12) == "710 %" and units.percent(0.999) == "100 %"
