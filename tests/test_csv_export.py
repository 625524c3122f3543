"""`python -m isoloss csv`: a table of a study for programs that do not read Parquet."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from isoloss.__main__ import main
from isoloss.core import tables


@pytest.fixture
def table(tmp_path):
    """A table as a figure leaves it."""
    data = {"kind": ["run", "run", "line"], "N": [795, 12, None], "loss": [1 / 3, np.nan, 2.0]}
    data["name, with comma"] = ['a"b', "ü", None]
    tables.write_free(pa.table(data), path := tmp_path / "figure.parquet", {"table": "figure"})
    return path


def test_a_table_is_printed_in_full_precision(table, capsys):
    assert main(["csv", str(table)]) == 0
    text = capsys.readouterr().out
    read = pd.read_csv(io.StringIO(text))
    assert list(read) == ["kind", "N", "loss", "name, with comma"]
    assert read["loss"][0] == 1 / 3 and np.isnan(read["loss"][1])
    assert read["name, with comma"].tolist()[:2] == ['a"b', "ü"]


def test_rows_and_columns_are_chosen_and_written_to_a_file(table, tmp_path, capsys):
    out = tmp_path / "seed.csv"
    choice = ["--where", 'kind == "run" and loss > 0', "--columns", "loss", "kind"]
    assert main(["csv", str(table), *choice, "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == f"loss,kind\n{1 / 3!r},run\n"
    assert capsys.readouterr().out == ""


def test_what_is_wrong_is_told_and_nothing_is_written(table, tmp_path, capsys):
    out = ["--out", str(tmp_path / "seed.csv")]
    assert main(["csv", str(table), "--columns", "los", *out]) == 2
    assert "--columns los: is not in" in (error := capsys.readouterr().err)
    assert "did you mean 'loss'" in error
    assert main(["csv", str(table), "--where", "los > 1", *out]) == 2
    assert "--where" in capsys.readouterr().err
    assert main(["csv", str(tmp_path / "none.parquet"), *out]) == 2
    assert "no such file" in capsys.readouterr().err
    nested = tmp_path / "nested.parquet"
    tables.write_free(pa.table({"a": [1], "curve": [[1, 2]]}), nested, {"table": "x"})
    assert main(["csv", str(nested), *out]) == 2
    assert "curve: not a number or text; name others with --columns, such as a" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "seed.csv").exists()
