"""Runs of one's own: any table with its columns named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.aggregate import read_runs, read_runs_table
from isoloss.aggregate.table import Rules
from isoloss.core import tables
from isoloss.core.problems import TableError

COLUMNS = {"N": "size", "D": "seen", "loss": "val_loss"}


@pytest.fixture
def own() -> pd.DataFrame:
    """Five runs under names of their own."""
    return pd.DataFrame(
        {
            "size": [1e6, 2e6, 4e6, 8e6, 1.6e7],
            "seen": [1e8, 2e8, 1e8, 4e8, 1e9],
            "val_loss": [3.5, 3.3, 3.2, 3.0, 2.8],
            "compute": [6.1e14, 2.4e15, 2.4e15, 1.9e16, 9.6e16],
            "lr": [0.1, 0.2, 0.1, 0.2, 0.1],
        }
    )


@pytest.mark.parametrize("known", ["ND", "NC", "DC"])
def test_two_of_n_d_and_c_give_the_third(own, known):
    own["compute"] = 6 * own["size"] * own["seen"]
    names = {"N": "size", "D": "seen", "C": "compute"}
    runs = read_runs(own, {k: names[k] for k in known} | {"loss": "val_loss"})
    for column, name in (("n_params", "size"), ("n_samples", "seen"), ("n_flops", "compute")):
        np.testing.assert_allclose(runs[column], own[name], rtol=1e-14)


def test_all_three_stay_as_given_beside_6nd(own):
    runs = read_runs(own, COLUMNS | {"C": "compute"})
    assert runs["n_flops"].equals(own["compute"].rename("n_flops"))
    np.testing.assert_allclose(runs["n_flops_6nd"], 6 * own["size"] * own["seen"], rtol=1e-14)


def test_the_table_keeps_the_contract_and_the_columns_that_were_not_named(own):
    runs = read_runs(own, COLUMNS)
    assert tables.conform("runs", runs).num_rows == 5
    assert list(runs["lr"]) == list(own["lr"])
    assert list(runs["run_id"]) == [f"row-{i}" for i in range(1, 6)]
    assert set(runs["status"]) == {"done"}
    assert set(runs["group"]) == {"all"}
    assert set(runs["fit_weight"]) == {1.0}
    assert "size" not in runs


def test_run_id_group_and_weight_are_taken_where_named(own):
    own = own.assign(name=list("vwxyz"), arm=[1, 1, 2, 2, 2], w=[1, 0, 2, 0.5, 1])
    runs = read_runs(own, COLUMNS | {"run_id": "name", "group": "arm", "fit_weight": "w"})
    assert list(runs["run_id"]) == list("vwxyz")
    assert list(runs["group"]) == ["1", "1", "2", "2", "2"]
    assert list(runs["fit_weight"]) == [1, 0, 2, 0.5, 1]


def test_filtered_runs_stay_as_dropped_with_the_filter_that_did_it(own):
    runs = read_runs(own, COLUMNS, ["lr < 0.15", "loss < loss.nlargest(1).min()"])
    assert list(runs["status"]) == ["dropped", "dropped", "done", "dropped", "done"]
    reasons = list(runs["status_reason"])
    assert reasons[1] == reasons[3] == "not: lr < 0.15"
    assert reasons[0] == "not: loss < loss.nlargest(1).min()"
    assert pd.isna(reasons[2]) and pd.isna(reasons[4])
    assert list(runs["loss"]) == list(own["val_loss"])


@pytest.mark.parametrize("name", ["val_loss < 3.1", "loss < 3.1", "loss < 3.1"])
def test_a_filter_may_use_the_tables_own_names_and_the_letters(own, name):
    assert (read_runs(own, COLUMNS, [name])["status"] == "done").sum() == 2


def test_columns_that_clash_with_the_contract_are_kept_under_another_name(own):
    own = own.assign(status="finished", seed=[1, 2, 3, 4, 5], status_reason="many", n_flops=1.0)
    runs = read_runs(own, COLUMNS)
    assert set(runs["status"]) == {"done"}
    assert set(runs["status_given"]) == {"finished"}
    assert set(runs["status_reason_given"]) == {"many"}
    assert list(runs["seed"]) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(runs["n_flops"], runs["n_flops_6nd"])
    assert tables.conform("runs", runs).num_rows == 5


def test_the_index_of_a_frame_does_not_matter(own):
    shuffled = own.set_axis([3, 3, 0, 9, 1])
    pd.testing.assert_frame_equal(read_runs(shuffled, COLUMNS), read_runs(own, COLUMNS))


NAMES = ["self", "index", "", "a\nb", "columns", "data", "name", "status", "run_id", "n_params"]
NAMES += ["loss", "group", "n_flops_6nd", "status_given", "val loss", "`", "x" * 5000, 3]
NAMES += [("a", "b"), 2.5]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:20])
@pytest.mark.parametrize("letter", ["N", "D", "loss", "group", "fit_weight", None])
def test_a_column_of_any_name_is_read_mapped_or_not(own, name, letter):
    old = {**COLUMNS, "group": "lr", "fit_weight": "compute", None: "lr"}[letter]
    named = own.set_axis([name if column == old else column for column in own.columns], axis=1)
    columns = COLUMNS if letter is None else COLUMNS | {letter: name}
    runs = read_runs(named, columns, ["loss > 0"])
    expected = read_runs(own, COLUMNS if letter is None else COLUMNS | {letter: old})
    assert set(runs["status"]) == {"done"}
    same = ["n_params", "n_samples", "loss", "group", "fit_weight", "n_flops", "run_id"]
    pd.testing.assert_frame_equal(runs[same], expected[same])
    assert tables.conform("runs", runs).num_rows == 5


def test_a_column_that_takes_our_name_and_its_stand_in_are_both_kept(own):
    runs = read_runs(own.assign(status="old", status_given="older", n_unique=3), COLUMNS)
    assert set(runs["status"]) == {"done"}
    assert set(runs["status_given"]) == {"older"}
    assert set(runs["status_given_given"]) == {"old"}


def test_models_and_weightings_that_are_numbered_are_texts(own):
    runs = read_runs(own.assign(model=[1, 2, 3, 4, 5], weighting=[0.5, 1, 2, None, 3]), COLUMNS)
    assert list(runs["model"]) == ["1", "2", "3", "4", "5"]
    assert tables.conform("runs", runs).num_rows == 5


def test_columns_of_one_name_are_told(own):
    for first, second in (("lr", "lr"), (1, "1")):
        table = pd.concat([own.assign(**{str(first): 1}), pd.DataFrame({second: [1] * 5})], axis=1)
        with pytest.raises(TableError, match=f"column '{second}' appears twice"):
            read_runs(table, COLUMNS)


def test_one_filter_may_stand_without_a_list(own):
    assert (read_runs(own, COLUMNS, "loss < 3.1")["status"] == "done").sum() == 2


WRITERS = {
    "t.csv": lambda table, path: table.to_csv(path, index=False),
    "t.csv.gz": lambda table, path: table.to_csv(path, index=False),
    "t.parquet": lambda table, path: table.to_parquet(path),
}


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_csv_gzip_and_parquet_are_read_from_paths_and_urls(own, tmp_path, name, write, scheme):
    write(own, tmp_path / name)
    runs = read_runs(f"{scheme}{tmp_path / name}", COLUMNS)
    pd.testing.assert_frame_equal(runs, read_runs(own, COLUMNS))


BAD = {
    "text": ("seen", "many", "'many' is not a number"),
    "missing": ("seen", None, "is empty"),
    "zero": ("size", 0.0, "found 0"),
    "negative": ("val_loss", -1.0, "found -1"),
    "infinite": ("size", np.inf, "found inf"),
    "text as loss": ("val_loss", "low", "'low' is not a number"),
    "negative weight": ("w", -0.5, "found -0.5"),
}


@pytest.mark.parametrize(("column", "value", "message"), BAD.values(), ids=BAD)
def test_a_bad_value_is_named_by_row_and_column(own, column, value, message):
    own = own.assign(w=1.0).astype(object)
    own.loc[2, column] = value
    with pytest.raises(TableError, match=f"row 3, column '{column}'") as error:
        read_runs(own, COLUMNS | {"fit_weight": "w"})
    assert message in str(error.value)


def test_bad_values_in_several_columns_are_told_at_once(own):
    own.loc[[0, 3], "seen"] = 0
    own.loc[4, "val_loss"] = -1.0
    with pytest.raises(TableError) as error:
        read_runs(own, COLUMNS)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert "rows 1, 4, column 'seen'" in lines[0]
    assert "row 5, column 'val_loss'" in lines[1]


def test_a_bad_row_that_a_filter_drops_is_no_error(own):
    own.loc[2, "val_loss"] = np.nan
    runs = read_runs(own, COLUMNS, ["loss == loss"])
    assert list(runs["status"]) == ["done", "done", "dropped", "done", "done"]


WRONG = {
    "unknown column": ({"N": "sise"}, r"columns.N: no column 'sise'; did you mean 'size'"),
    "no loss": ({"loss": None}, "loss and two of N, D, C are needed"),
    "one size": ({"D": None}, "loss and two of N, D, C are needed"),
    "a word in capitals": ({"Loss": "lr"}, r"columns.Loss: is not a known quantity; did you mean"),
    "not a name": ({"peak lr": "lr"}, r"such as peak_lr: peak_lr='peak lr'"),
    "a name of ours": ({"n_flops": "lr"}, r"columns.n_flops: has a meaning of its own"),
    "no variable": ({"V": "vocab"}, r"columns.V: no column 'vocab'"),
    "no name": ({"N": " "}, r"columns.N: no column ' '"),
    "two letters of one column": ({"D": "size"}, r"columns.D: column 'size' is also N"),
    "repeated run_id": ({"run_id": "lr"}, "columns.run_id: '?0.1'? appears twice"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_columns_that_do_not_do_are_told(own, change, message):
    columns = {k: v for k, v in (COLUMNS | change).items() if v}
    with pytest.raises(TableError, match=message):
        read_runs(own, columns)


UNREADABLE = {"empty.csv": "", "no_rows.csv": "size,seen,val_loss\n", "x.csv.gz": "no gzip"}


@pytest.mark.parametrize(("name", "content"), UNREADABLE.items(), ids=UNREADABLE)
def test_what_is_no_table_is_told_with_its_name(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(TableError, match=rf"{name}: "):
        read_runs(str(tmp_path / name), COLUMNS)


@pytest.mark.parametrize("source", ["nowhere.csv", "file:///nowhere/at/all.csv", "none://x"])
def test_a_source_that_is_not_there_is_told(source):
    with pytest.raises(TableError, match=r"cannot be read.*give a readable"):
        read_runs(source, COLUMNS)


def test_a_table_stands_where_a_sweep_could_with_runs_only(own, tmp_path):
    own.to_csv(tmp_path / "own.csv", index=False)
    tables_read, reading = read_runs_table(str(tmp_path / "own.csv"), Rules(COLUMNS))
    assert (reading.loss_unit, reading.notes) == ("nats/token", ())
    assert {n: len(tables.conform(n, t)) for n, t in tables_read.items()} == {
        "runs": 5,
        **dict.fromkeys(["losses", "curves", "mixtures", "timing"], 0),
    }


def test_an_empty_group_is_named_by_its_row(own):
    own = own.assign(family=["a", "a", None, "b", "b"])
    with pytest.raises(TableError, match="row 3, column 'family': is empty"):
        read_runs(own, {**COLUMNS, "group": "family"})


def test_a_csv_whose_lines_end_in_a_comma_is_read(own, tmp_path):
    lines = own[list(COLUMNS.values())].to_csv(index=False).splitlines()
    (tmp_path / "r.csv").write_text("\n".join([lines[0], *(f"{line}," for line in lines[1:])]))
    runs = read_runs(tmp_path / "r.csv", COLUMNS)
    assert list(runs["loss"]) == list(own["val_loss"])


def test_a_bad_value_of_a_parquet_with_an_index_of_its_own_is_shown(own, tmp_path):
    own["val_loss"] = own["val_loss"].where(own.index != 2, -2.5)
    own.iloc[1:].to_parquet(tmp_path / "r.parquet")
    with pytest.raises(TableError, match=r"row 2, column 'val_loss': found -2.5"):
        read_runs(str(tmp_path / "r.parquet"), COLUMNS)
