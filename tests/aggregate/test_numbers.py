"""Numbers are read as people write them; a column decides what its commas and units mean."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.aggregate.numbers import MISSING, read_numbers


def numbers_of(*cells):
    return read_numbers(pd.Series(list(cells), dtype=object))


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("7B", 7e9, ""),
        ("7 B", 7e9, ""),
        ("7b", 7e9, ""),
        ("1.3bn", 1.3e9, ""),
        ("1.3 billion", 1.3e9, ""),
        ("1.4T", 1.4e12, ""),
        ("22.5M", 2.25e7, ""),
        ("300k", 3e5, ""),
        ("1.", 1.0, ""),
        (".5", 0.5, ""),
        ("+3", 3.0, ""),
        ("22,500,000", 2.25e7, ""),
        ("22 500 000", 2.25e7, ""),
        ("22\u202f500\u202f000", 2.25e7, ""),
        ("22_500_000", 2.25e7, ""),
        ("22'500'000", 2.25e7, ""),
        ("22.500.000", 2.25e7, ""),
        ("22 500 000,5", 22500000.5, ""),
        ("1,234.5", 1234.5, ""),
        ("1.234,5", 1234.5, ""),
        ("3,14", 3.14, ""),
        ("1,2345", 1.2345, ""),
        ("0,123", 0.123, ""),
        ("1e21 FLOPs", 1e21, "FLOP"),
        ("5.76e23 FLOP", 5.76e23, "FLOP"),
        ("1.2 ZFLOPs", 1.2e21, "FLOP"),
        ("3 PF-days", 3 * 8.64e19, "FLOP"),
        ("3 PFLOP/s-days", 3 * 8.64e19, "FLOP"),
        ("300B tokens", 3e11, "tokens"),
        ("70M params", 7e7, "params"),
        ("2.9 nats/token", 2.9, "nats/token"),
        ("6.7%", 6.7, "%"),
        ("6.7 \\%", 6.7, "%"),
        ("10^21", 1e21, ""),
        ("10**21", 1e21, ""),
        ("10²¹", 1e21, ""),
        ("$10^{21}$", 1e21, ""),
        ("6.7 × 10^20", 6.7e20, ""),
        ("6.7·10²⁰", 6.7e20, ""),
        ("$6.7 \\times 10^{20}$", 6.7e20, ""),
        ("1.2x10^21", 1.2e21, ""),
        ("2.5 × 10^−3", 2.5e-3, ""),
        ("1{,}234{,}567", 1234567.0, ""),
        ("~3.1", 3.1, ""),
        ("≈ 3.1", 3.1, ""),
        ("3.1±0.02", 3.1, ""),
        ("$3.1 \\pm 0.02$", 3.1, ""),
        ("**3.1**", 3.1, ""),
        ("\\textbf{3.21}", 3.21, ""),
        ("3.1†", 3.1, ""),
        ("−3.5", -3.5, ""),
        ("inf", np.inf, ""),
    ],
)
def test_a_number_is_read_as_it_is_meant(text, value, unit):
    numbers = numbers_of(text)
    assert numbers.values[0] == pytest.approx(value, rel=1e-14)
    assert (numbers.unit, numbers.reason) == (unit, "")
    assert numbers.readable


@pytest.mark.parametrize(
    "text",
    ["7B-chat", "8x7B", "1/2", "1-2", "<3", "2026-01-01", "1e400", "0x10", "1 23", "12,34,5", "v2"],
)
def test_what_is_no_number_is_not_read(text):
    numbers = numbers_of("3", text)
    assert numbers.unread.tolist() == [False, True]
    assert np.isnan(numbers.values[1])


@pytest.mark.parametrize("text", sorted(MISSING))
def test_cells_that_say_there_is_no_number_are_missing(text):
    numbers = numbers_of(f" {text.upper()} ", "3.5")
    assert numbers.missing.tolist() == [True, False]
    assert not numbers.unread.any()


def test_a_column_decides_whether_a_comma_separates_thousands():
    assert numbers_of("1,234", "22,500,000").values.tolist() == [1234, 2.25e7]
    assert numbers_of("1,234", "2.5").values.tolist() == [1234, 2.5]
    assert numbers_of("1,024", "512").values.tolist() == [1024, 512]


def test_a_column_decides_whether_a_comma_is_a_decimal_comma():
    assert numbers_of("1,234", "2,5").values.tolist() == [1.234, 2.5]
    assert numbers_of("1.234", "1.234,5").values.tolist() == [1234, 1234.5]
    assert numbers_of("1.234", "2.5").values.tolist() == [1.234, 2.5]


def test_a_comma_that_nothing_decides_is_not_read():
    numbers = numbers_of("1,234", "3,141", "7")
    assert numbers.values.tolist() == [1234, 3141, 7]
    numbers = numbers_of("1,234", "3,141")
    assert numbers.unread.all()
    assert numbers.reason == "the comma of '1,234' may separate thousands or decimals"
    contradiction = numbers_of("1,5", "1.5")
    assert contradiction.unread.tolist() == [True, False]
    assert contradiction.reason


def test_one_column_has_one_unit():
    numbers = numbers_of("1e21 FLOPs", "2e21", "3B tokens")
    assert numbers.unit == "FLOP"
    assert numbers.unread.tolist() == [False, False, True]
    assert numbers_of("0", "5%").unit == "%"
    assert numbers_of("0.07", "5%").unread.tolist() == [False, True]


def test_a_numeric_column_is_taken_as_it_is():
    column = pd.Series([1, None, 3], dtype="Int64")
    numbers = read_numbers(column)
    assert numbers.missing.tolist() == [False, True, False]
    assert numbers.values[[0, 2]].tolist() == [1, 3]


def test_yes_and_no_and_times_are_no_numbers():
    assert read_numbers(pd.Series([True, False])).unread.all()
    assert read_numbers(pd.Series(pd.to_datetime(["2026-01-01"]))).unread.all()
    assert numbers_of(True, 2).unread.tolist() == [True, False]
    assert numbers_of(10**400, 10**30).values[1] == 1e30


@given(st.lists(st.integers(10**6, 10**15), min_size=1, max_size=5))
def test_whole_numbers_with_separators_come_back(numbers):
    for separator in (",", "_", " ", "'"):
        texts = [f"{number:,}".replace(",", separator) for number in numbers]
        assert numbers_of(*texts).values.tolist() == numbers


@given(st.lists(st.floats(1e-200, 1e200), min_size=1, max_size=5))
def test_floats_as_python_writes_them_come_back_exactly(numbers):
    assert numbers_of(*map(repr, numbers)).values.tolist() == numbers


@given(st.floats(1, 999), st.sampled_from([("k", 1e3), ("M", 1e6), ("B", 1e9), ("T", 1e12)]))
def test_a_factor_multiplies(number, factor):
    letter, scale = factor
    assert numbers_of(f"{number:.3f}{letter}").values[0] == pytest.approx(
        float(f"{number:.3f}") * scale, rel=1e-14
    )


@given(st.lists(st.one_of(st.text(), st.none(), st.integers(), st.floats(), st.booleans())))
def test_every_cell_is_a_number_or_missing_or_unread(cells):
    numbers = read_numbers(pd.Series(cells, dtype=object))
    number = ~np.isnan(numbers.values)
    assert (number.astype(int) + numbers.missing + numbers.unread == 1).all()
