"""A folder, a pattern or a list of files is one table: in Python, in a command, in a study."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from isoloss.__main__ import main
from isoloss.aggregate import read_runs
from isoloss.aggregate.job import run_table
from isoloss.core import tables
from isoloss.core.problems import IsolossError, StudyError, TableError
from isoloss.core.sources import Limits, Sources, open_source
from isoloss.formats.read import rows
from isoloss.quickfit.law import law_of_table
from isoloss.study import check
from isoloss.study.flow import Flow

COLUMNS = {"N": "params", "D": "tokens", "loss": "val_loss"}
N, D = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
RUNS = pd.DataFrame(
    {"params": N, "tokens": D, "val_loss": 1.827 + 494.9 / N**0.3423 + 2668 / D**0.3826}
)


@pytest.fixture
def folder(tmp_path):
    """Twenty-five runs of one law in three files, beside a file that is no table."""
    runs = tmp_path / "runs"
    runs.mkdir()
    RUNS[:10].to_csv(runs / "a.csv", index=False)
    RUNS[10:20].to_csv(runs / "b.tsv", index=False, sep="\t")
    RUNS[20:].to_json(runs / "c.jsonl", orient="records", lines=True)
    (runs / "notes").write_text("no table")
    (runs / ".hidden.csv").write_text("no,table\n1,2\n")
    return runs


def test_a_folder_a_pattern_and_a_list_are_the_same_rows(folder):
    expected = RUNS.assign(file=["a"] * 10 + ["b"] * 10 + ["c"] * 5)
    a, b, c = (str(folder / name) for name in ("a.csv", "b.tsv", "c.jsonl"))
    for given in (folder, str(folder / "?.*"), str(folder.parent / "**" / "?.*"), [a, b, c]):
        parsed = rows(open_source(given))
        table = parsed.rows.assign(file=[name[-1] for name in parsed.rows["file"]])
        pd.testing.assert_frame_equal(table, expected)
        assert parsed.took == ("3 files", "fields separated by tabs", "JSON Lines")


def test_what_a_file_lacks_is_said(folder):
    RUNS[:2].drop(columns="tokens").to_csv(folder / "d.csv", index=False)
    parsed = rows(open_source(folder))
    assert "no column 'tokens' in d" in parsed.took
    assert parsed.rows["tokens"].isna().sum() == 2


def test_an_error_names_the_file_and_its_line(folder):
    (folder / "a.csv").write_text("params,tokens,val_loss\n1,2,3\n1,2\n")
    with pytest.raises(TableError, match=r"runs, a\.csv: line 3 has 2 fields, the header 3"):
        rows(open_source(folder))


def test_several_files_keep_one_limit(folder):
    (folder / "d.csv").write_bytes(b"params,tokens,val_loss\n" + b"1,1,1\n" * 150_000)
    (folder / "e.csv").write_bytes(b"params,tokens,val_loss\n" + b"1,1,1\n" * 150_000)
    for given in (folder, [folder / "d.csv", folder / "e.csv"]):
        with pytest.raises(TableError, match="max_mib"):
            open_source(given, Limits(max_mib=1))


NOTHING = {
    "*.parquet": r"runs/\*\.parquet: cannot be read \(no file matches the pattern\)",
    "none": r"cannot be read \(No such file or directory\)",
}


@pytest.mark.parametrize(("name", "message"), NOTHING.items(), ids=NOTHING)
def test_nothing_to_read_is_told(folder, name, message):
    with pytest.raises(TableError, match=message):
        open_source(folder / name)


def test_a_folder_without_tables_is_told(tmp_path):
    (tmp_path / "notes").write_text("no table")
    with pytest.raises(TableError, match="is a folder without"):
        open_source(tmp_path)
    with pytest.raises(TableError, match="table: an empty list; name at least one table"):
        open_source([])


def test_the_digest_of_several_files_is_of_their_names_too(folder):
    before = open_source(folder).digest
    (folder / "a.csv").rename(folder / "aa.csv")
    assert open_source(folder).digest != before


TRUTH = {"E": 1.827, "A": 494.9, "B": 2668, "alpha": 0.3423, "beta": 0.3826}
WRITERS = {
    "German": lambda file: RUNS.to_csv(file, sep=";", decimal=",", index=False),
    "R": lambda file: file.write_text(RUNS.to_csv().removeprefix(","), encoding="utf-8"),
    "UTF-16": lambda file: RUNS.to_csv(file, sep="\t", encoding="utf-16", index=False),
    "gzip": lambda file: RUNS.to_csv(file, compression="gzip", index=False),
    "JSON": lambda file: RUNS.to_json(file, orient="split", double_precision=15),
    "Feather": lambda file: RUNS.to_feather(file),
    "LaTeX": lambda file: RUNS.style.hide().to_latex(file),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_the_law_of_a_table_is_the_law_whatever_it_is_written_in(tmp_path, write):
    write(tmp_path / "runs.csv")
    result = law_of_table(tmp_path / "runs.csv", bootstrap=20)
    assert "\n  read as: " in result.text
    for name, value in TRUTH.items():
        assert result.fit.values[name] == pytest.approx(value, rel=1e-3)


def test_a_law_of_several_files_is_the_law_of_their_rows(folder, capsys, tmp_path):
    files = [str(folder / name) for name in ("a.csv", "b.tsv", "c.jsonl")]
    main(["law", *files, "--bootstrap", "20", "--out", str(tmp_path / "out")])
    text = capsys.readouterr().out
    assert "read as: 3 files, fields separated by tabs, JSON Lines" in text
    values = law_of_table(files, bootstrap=20).fit.values
    for name, value in TRUTH.items():
        assert values[name] == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    "table", ["runs/*.*", "runs", ["runs/a.csv", "runs/b.tsv", "runs/c.jsonl"]]
)
def test_a_study_reads_several_files_and_its_tables_say_how(folder, monkeypatch, tmp_path, table):
    monkeypatch.chdir(tmp_path)
    sources = Sources()
    config = check.check(
        {"study": "own", "aggregate": {"mine": {"table": table, "columns": COLUMNS}}},
        sources=sources,
    )
    flow = Flow(config, tmp_path / "results", sources)
    section = config["aggregate"]["mine"]
    specification = json.loads(flow.specification("aggregate", sweep="mine"))
    source = flow.sources.read("mine", section)
    run_table(specification, source, tmp_path / "out", {"sweep": "mine", "study": "own"})
    assert len(tables.frame(tmp_path / "out" / "runs.parquet", "runs")) == 25
    facts = tables.facts(tmp_path / "out" / "runs.parquet")
    assert facts["notes"] == ["read as: 3 files, fields separated by tabs, JSON Lines"]


def test_a_list_in_a_study_has_files_only_and_no_secrets(folder):
    columns = {"columns": COLUMNS}
    listed = {"table": [str(folder / "a.csv"), "https://host/b.csv"], **columns}
    with pytest.raises(StudyError, match="is a web address in a list of tables; fetch its table"):
        check.check({"study": "own", "aggregate": {"mine": listed}})
    secret = {"table": ["https://me:sesame@host/b.csv"], **columns}
    with pytest.raises(StudyError, match="contains a password") as error:
        check.check({"study": "own", "aggregate": {"mine": secret}})
    assert "sesame" not in str(error.value)
    for wrong in ([], [7], 7):
        with pytest.raises(IsolossError, match="table"):
            check.check({"study": "own", "aggregate": {"mine": {"table": wrong, **columns}}})


def test_whole_numbers_beyond_64_bits_of_a_column_that_is_not_used_do_no_harm(tmp_path):
    table = RUNS.assign(flops_no_emb=[f"{i}00000000000000000000" for i in range(1, 26)])
    table.to_csv(tmp_path / "r.csv", index=False)
    runs = read_runs(tmp_path / "r.csv", COLUMNS)
    tables.write("runs", runs, tmp_path / "runs.parquet", {})
    kept = pd.read_parquet(tmp_path / "runs.parquet")["flops_no_emb"]
    assert kept.tolist() == table["flops_no_emb"].tolist()
