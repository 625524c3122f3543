"""Which columns of a table are taken for which quantity, by names and values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.aggregate.guess import guess_columns, holds_numbers, run_ids

N = np.repeat([1e7, 1e8, 1e9], 4)
D = np.tile([1e9, 3e9, 1e10, 3e10], 3)
LOSS = 1.8 + 480 / N**0.35 + 2100 / D**0.37


def table(**columns):
    return pd.DataFrame({"params": N, "tokens": D, "val_loss": LOSS, **columns})


def test_the_quantities_of_a_table_are_guessed_by_their_names():
    raw = pd.DataFrame(
        {
            "run_id": range(12), "config/model.n_params": N, "throughput/total_tokens": D,
            "throughput/device/tokens_per_second": 1e5, "train/CrossEntropyLoss": LOSS - 0.1,
            "eval/c4-validation/CrossEntropyLoss": LOSS, "optim/total_grad_norm": 0.3,
        }
    )  # fmt: skip
    guess = guess_columns(raw)
    assert guess.columns == {
        "N": "config/model.n_params",
        "D": "throughput/total_tokens",
        "loss": "eval/c4-validation/CrossEntropyLoss",
        "run_id": "run_id",
    }
    assert guess.others == {"loss": ("train/CrossEntropyLoss",)}
    assert guess.unused == ("throughput/device/tokens_per_second", "optim/total_grad_norm")


@pytest.mark.parametrize(
    ("column", "numeric"),
    [
        ([1.0, 2.0], True),
        (["7B", "1.4T", "22.5M"], True),
        (["3.1", "diverged", "2.9", "-"], True),
        ([np.nan, np.nan], False),
        ([None, None], False),
        ([True, False], False),
        (["web", "code"], False),
        (["7B", "web", "code"], False),
        (["-", "diverged"], False),
        (pd.to_datetime(["2026-01-01"]), False),
        ([], False),
    ],
)
def test_a_column_holds_numbers_if_nearly_all_of_its_cells_do(column, numeric):
    assert holds_numbers(pd.Series(column)) is numeric


def test_a_column_of_text_is_no_quantity_and_is_remembered():
    raw = table(dataset=["c4", "web"] * 6, n_tokens="many").rename(columns={"tokens": "x"})
    guess = guess_columns(raw)
    assert "D" not in guess.columns and guess.texts == {"D": "n_tokens"}
    assert guess.labels == ("dataset",) and guess.unused == ("x",)


@pytest.mark.parametrize(
    "group",
    [[None] * 12, ["a"] * 11 + [None], [f"run {i}" for i in range(12)]],
    ids=["empty", "a name is missing", "a name a run"],
)
def test_a_group_has_a_name_in_every_row_and_fewer_names_than_rows(group):
    assert "group" not in guess_columns(table(Group=group)).columns
    assert guess_columns(table(Group=["a", "b"] * 6)).columns["group"] == "Group"


def test_of_names_that_are_equally_good_none_is_taken_unless_their_numbers_are_the_same():
    raw = table(C4_val_loss=LOSS, pile_val_loss=LOSS + 0.1, best_loss=2.0).drop(columns="val_loss")
    guess = guess_columns(raw)
    assert "loss" not in guess.columns
    assert guess.tied == {"loss": ("C4_val_loss", "pile_val_loss")} and guess.unused == (
        "best_loss",
    )
    same = guess_columns(raw.assign(pile_val_loss=LOSS))
    assert same.columns["loss"] == "C4_val_loss"
    assert same.others["loss"] == ("pile_val_loss", "best_loss")


def test_nothing_is_guessed_for_what_is_given_or_denied():
    guess = guess_columns(table(n_params=N * 2), {"N": "n_params", "D": ""})
    assert guess.columns == {"loss": "val_loss"}
    assert guess.unused == ("params", "tokens")


def test_tokens_per_parameter_are_used_where_one_size_is_known_alone():
    raw = pd.DataFrame({"params": N, "tokens_per_param": D / N, "loss": LOSS})
    assert guess_columns(raw).columns["ratio"] == "tokens_per_param"
    more = guess_columns(raw.assign(tokens=D))
    assert "ratio" not in more.columns and more.unused == ("tokens_per_param",)


@pytest.mark.parametrize(
    ("labels", "crossed"),
    [(["web", "code"], True), (["web", "web"], False)],
    ids=["every size with each", "one label"],
)
def test_labels_that_every_size_has_are_groups(labels, crossed):
    raw = pd.concat([table(dataset=label) for label in labels], ignore_index=True)
    guess = guess_columns(raw)
    assert (guess.columns.get("group") == "dataset") is crossed is guess.crossed


def test_a_wide_export_is_guessed_and_its_order_of_rows_does_not_matter():
    metrics = {f"eval/task_{i}/acc_norm_stderr": np.arange(12.0) for i in range(200)}
    raw = pd.concat([table(), pd.DataFrame(metrics)], axis=1)
    guess = guess_columns(raw)
    assert guess.columns == {"N": "params", "D": "tokens", "loss": "val_loss"}
    assert len(guess.unused) == 200
    assert guess_columns(raw.iloc[::-1]) == guess


def test_cells_that_are_lists_are_neither_numbers_nor_labels_that_break():
    lists = [[1, 2], [3]] * 6
    guess = guess_columns(table(data=lists, group=lists, run_id=lists))
    assert guess.columns["group"] == "group" and guess.unused == ()
    assert run_ids(table(name=lists), {"run_id": "name"}) == {}
