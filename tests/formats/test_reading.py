"""One table in every format, separator, encoding and packing is read as the same rows."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from contextlib import suppress

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.core.addresses import Address
from isoloss.core.problems import IsolossError, TableError
from isoloss.core.sources import Limits, Source
from isoloss.formats.read import rows

RUNS = pd.DataFrame(
    {
        "params": [22500000, 36000000, 7000000000],
        "tokens": [7407407407, 4629629630, 140000000000],
        "loss": [3.79772, 3.63637, 2.1],
        "optimizer": ["adam", "muon", "adam"],
    }
)
CSV = RUNS.to_csv(index=False)


def read(content: bytes | str, max_mib: float = 8):
    content = content.encode() if isinstance(content, str) else content
    return rows(Source(Address.given("runs"), (content,), limits=Limits(max_mib=max_mib)))


def refused(content: bytes | str) -> str:
    with pytest.raises(TableError) as error:
        read(content)
    return str(error.value)


def written(method: str, **options) -> bytes:
    """What pandas writes, as bytes."""
    file = io.BytesIO()
    getattr(RUNS, method)(file, **options)
    return file.getvalue()


def archive(members: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file.getvalue()


def tar(members: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for name, content in members.items():
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            packed.addfile(facts, io.BytesIO(content.encode()))
    return file.getvalue()


def by_arrow(codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(CSV.encode())
    return sink.getvalue().to_pybytes()


def arrow_stream() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(RUNS)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def workbook(*above: list, **sheets: str) -> bytes:
    """A workbook whose first sheets hold one text each, and the last one the runs."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, note in sheets.items():
        book.create_sheet(name).append([note])
    sheet = book.create_sheet("Runs")
    for row in (*above, list(RUNS), *RUNS.to_numpy().tolist()):
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def as_r() -> str:
    """As `write.table(runs, sep=",")` of R."""
    lines = [",".join(f'"{name}"' for name in RUNS)]
    lines += [f'"{i + 1}",{n},{d},{loss},"{o}"' for i, n, d, loss, o in RUNS.itertuples()]
    return "\n".join(lines)


MARKDOWN = """# Runs

Some words above | with a line.

| **params** | tokens | loss | `optimizer` |
| ---: | :---: | --- | :--- |
| 22500000 | 7407407407 | 3.79772 | adam |
| 36000000 | 4629629630 | **3.63637** | muon |
| 7000000000 | 140000000000 | 2.1 | adam |

And below.
"""
DRAWN = """+------------+--------------+---------+-----------+
| params     | tokens       | loss    | optimizer |
+============+==============+=========+===========+
| 22500000   | 7407407407   | 3.79772 | adam      |
+------------+--------------+---------+-----------+
| 36000000   | 4629629630   | 3.63637 | muon      |
| 7000000000 | 140000000000 | 2.1     | adam      |
+------------+--------------+---------+-----------+
"""
LATEX = r"""
\begin{table}[t] % a comment & more \\
\caption{Runs} \centering
\begin{tabular}{@{}l r{2cm} S[table-format=1.2] l@{}}
\toprule
\textbf{params} & $\mathrm{tokens}$ & loss & optimizer \\ \midrule
22500000 & \num{7407407407} & 3.79772 & adam \\
36000000 & 4629629630 & $\mathbf{3.63637}$ & muon \\[2pt]
\hline $7 \times 10^{9}$ & $140000000000$
  & 2.1 & \emph{adam} \\
\bottomrule
\end{tabular}
\end{table}
"""
SPLIT = RUNS.to_json(orient="split")
RECORDS = RUNS.to_dict("records")
NESTED = [
    {"params": r["params"], "tokens": r["tokens"], "loss": r["loss"], "optimizer": r["optimizer"]}
    for r in RECORDS
]

# content, and what is said of how it was read
FORMATS = {
    "plain": (CSV, ()),
    "a mark of UTF-8": (CSV.encode("utf-8-sig"), ()),
    "Windows lines": (CSV.replace("\n", "\r\n"), ()),
    "old Mac lines": (CSV.replace("\n", "\r"), ()),
    "blank lines": (CSV.replace("\n", "\n\n"), ()),
    "empty lines of a spreadsheet": (CSV + ",,,\n,,,\n", ()),
    "empty columns of a spreadsheet": (
        CSV.replace("\n", ",,\n"),
        tuple(f"column {i}, without name and values, left out" for i in (5, 6)),
    ),
    "all in quotes": (RUNS.to_csv(index=False, quoting=1), ()),
    "spaces behind commas": (CSV.replace(",", ", "), ()),
    "semicolons": (RUNS.to_csv(index=False, sep=";"), ("fields separated by ;",)),
    "German": (
        RUNS.to_csv(index=False, sep=";", decimal=","),
        ("fields separated by ;", "decimal comma"),
    ),
    "sep=; of a spreadsheet": (
        "sep=;\n" + RUNS.to_csv(index=False, sep=";"),
        ("fields separated by ;",),
    ),
    "tabs": (RUNS.to_csv(index=False, sep="\t"), ("fields separated by tabs",)),
    "tabs and decimal commas": (
        RUNS.to_csv(index=False, sep="\t", decimal=","),
        ("fields separated by tabs", "decimal comma"),
    ),
    "decimal commas in quotes": (RUNS.to_csv(index=False, decimal=","), ("decimal comma",)),
    "bars": (RUNS.to_csv(index=False, sep="|"), ("fields separated by |",)),
    "spaces": (RUNS.to_csv(index=False, sep=" "), ("fields separated by spaces",)),
    "aligned": (RUNS.to_string(index=False), ("fields separated by spaces",)),
    "aligned, row names": (
        RUNS.to_string(),
        ("fields separated by spaces", "first field is row names, left out"),
    ),
    "comments": ("# made by me\n# twice\n" + CSV, ("2 comment lines",)),
    "names in a comment": ("# " + CSV, ("names of columns in a comment",)),
    "a title": ("Runs of May\n\n" + CSV, ("1 line above the header skipped",)),
    "R": (as_r(), ("first field is row names, left out",)),
    "pandas with its index": (RUNS.to_csv(), ("first field is row names, left out",)),
    "commas at line ends": (
        CSV.replace("\n", ",\n").replace(",\n", "\n", 1),
        ("an empty last field of every line left out",),
    ),
    "UTF-16": (CSV.encode("utf-16"), ("UTF-16",)),
    "UTF-16 without a mark": (CSV.encode("utf-16-le"), ("UTF-16",)),
    "UTF-16, the other way": (CSV.encode("utf-16-be"), ("UTF-16",)),
    "UTF-32": (CSV.encode("utf-32"), ("UTF-32",)),
    "UTF-32 without a mark": (CSV.encode("utf-32-be"), ("UTF-32",)),
    "gzip": (gzip.compress(CSV.encode()), ("gzip",)),
    "bzip2": (bz2.compress(CSV.encode()), ("bzip2",)),
    "bzip2 twice behind each other": (
        bz2.compress(CSV[:30].encode()) + bz2.compress(CSV[30:].encode()),
        ("bzip2",),
    ),
    "xz": (lzma.compress(CSV.encode()), ("xz",)),
    "zstd": (by_arrow("zstd"), ("zstd",)),
    "LZ4": (by_arrow("lz4"), ("LZ4",)),
    "zip": (archive({"runs.csv": CSV}), ("zip",)),
    "a zip of a Mac": (
        archive({"deep/runs.csv": CSV, "__MACOSX/x.csv": "no", "README": "read me"}),
        ("zip",),
    ),
    "a zip of a packed table": (
        archive({"runs.csv.gz": gzip.compress(CSV.encode())}),
        ("zip", "gzip"),
    ),
    "tar.gz": (tar({"runs.csv": CSV}), ("gzip", "tar")),
    "JSON": (json.dumps(RECORDS, indent=1), ("JSON",)),
    "JSON Lines": ("\n".join(map(json.dumps, RECORDS)), ("JSON Lines",)),
    "JSON of columns": (RUNS.to_json(), ("JSON",)),
    "JSON of lists": (json.dumps(RUNS.to_dict("list")), ("JSON",)),
    "JSON of rows": (RUNS.to_json(orient="index"), ("JSON",)),
    "JSON in parts": (SPLIT, ("JSON",)),
    "JSON with a schema": (RUNS.to_json(orient="table", index=False), ("JSON", "the list 'data'")),
    "JSON in an object": (json.dumps({"n": 3, "runs": RECORDS}), ("JSON", "the list 'runs'")),
    "JSON of lists under names": (
        json.dumps([list(RUNS), *(list(r.values()) for r in RECORDS)]),
        ("JSON",),
    ),
    "Parquet": (written("to_parquet"), ("Parquet",)),
    "Feather": (written("to_feather"), ("Arrow",)),
    "an Arrow stream": (arrow_stream(), ("Arrow",)),
    "Excel": (written("to_excel", index=False), ("sheet 'Sheet1'",)),
    "Excel with notes and a title": (
        workbook(["Runs of May"], [], Notes="a note"),
        ("sheet 'Runs'", "1 row above the header skipped"),
    ),
    "Markdown": (MARKDOWN, ("a Markdown table",)),
    "Markdown of pandas": (MARKDOWN.replace("| ---: |", "|---:|"), ("a Markdown table",)),
    "drawn with lines": (DRAWN, ("a Markdown table",)),
    "LaTeX": (LATEX, ("a LaTeX table",)),
    "LaTeX of pandas": (RUNS.style.hide().to_latex(), ("a LaTeX table",)),
    "rows of LaTeX": (
        "params & tokens & loss & optimizer \\\\\n\\hline\n"
        + "".join(f"{' & '.join(map(str, r.values()))} \\\\\n" for r in RECORDS),
        ("a LaTeX table",),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "took"), FORMATS.values(), ids=FORMATS)
def test_the_same_table_in_any_format_is_the_same(content, took):
    parsed = read(content)
    numbers = {"params": float, "tokens": float}
    pd.testing.assert_frame_equal(parsed.rows.astype(numbers), RUNS.astype(numbers))
    assert parsed.took == took


# --- never shift or drop a field -----------------------------------------------------------------

LONGER = "params,tokens,loss\n" + "".join(f"{n}000,{n}0000,3.{n},ok\n" for n in range(11, 20))
UNEVEN = {
    "an extra last field": (
        LONGER,
        "every line has 4 fields (such as line 2), the header 3; give every line one field for "
        "each name in the header, or a name to the first field; row names would be unique texts",
    ),
    "texts first, a text too many": (
        "arch,params,loss\na,1,3.5,ok\nb,2,3.4,ok\n",
        "every line has 4 fields (such as line 2), the header 3",
    ),
    "texts first, a number too many": (
        "model,params,loss\na,1,3.5,60\nb,2,3.4,61\n",
        "every line has 4 fields (such as line 2), the header 3",
    ),
    "quoted texts first, a text too many": (
        'model,params,loss\n"a",1,3.5,"ok"\n"b",2,3.4,"no"\n',
        "every line has 4 fields (such as line 2), the header 3",
    ),
    "numbers of runs first, a field too many": (
        "run_id,params,loss\n1,10,3.5,3.6\n2,20,3.4,3.5\n",
        "every line has 4 fields (such as line 2), the header 3",
    ),
    "one line is longer": ("a,b\n1,2\n\n3,4,5\n", "line 4 has 3 fields, the header 2; give every"),
    "one line is shorter": ("a,b,c\n1,2,3\n1,2\n", "line 3 has 2 fields, the header 3"),
    "row names, then none": (
        'a,b\n"x",1,2\n"y",1\n',
        "line 2 has 3 fields, line 3 2, the header 2",
    ),
    "below a comment": ("# runs\na,b,c\n1,2,3\n1,2\n", "line 4 has 2 fields, the header 3"),
    "in quotes over lines": ('a,b\n"x\ny",2\n1\n', "line 4 has 1 field, the header 2"),
    "separators of thousands": (
        "loss,params,tokens\n2.8798,201,246,118,16,563,466,498\n2.8492,281,744,565,11,831,047,507\n",
        "line 2 has 8 fields, the header 3; numbers seem to have separators of thousands: write "
        "them without, or in quotes, or separate fields by ;",
    ),
    "a row of Markdown": (
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |\n",
        "line 4 has 1 field, the hea",
    ),
    "a row of LaTeX": (
        "\\begin{tabular}{ll}\na & b \\\\\n1 & 2 \\\\\n3 \\\\\n\\end{tabular}",
        "line 4 has 1 field, the header 2",
    ),
    "a row of JSON": (
        '{"columns": ["a", "b"], "data": [[1, 2], [3]]}',
        "row 2 has 1 values, the n",
    ),
    "columns of JSON": ('{"a": [1, 2], "b": [1]}', "'a' has 2 values, 'b' 1; give every column"),
    "no names": (
        "1e6,2e8,3.5\n2e6,2e8,3.3\n",
        "line 1 has numbers (1e6, 2e8, 3.5, ...), not names",
    ),
    "names twice": (
        "loss,a,loss,a,loss\n1,2,3,4,5\n",
        "repeats the column 'loss' (1 and 3 and 5), 'a' (2 and 4); give each",
    ),
    "too many columns of LaTeX": (
        "\\begin{tabular}{l}" + ("a & " * 10_001 + "a \\\\\n") * 2 + "\\end{tabular}",
        "line 2 has more than 10000 columns",
    ),
    "names twice in JSON": (
        '[{"loss": 1, "loss": 2}]',
        "an object repeats 'loss' (1 and 2); give each",
    ),
    "a quotation mark that stays open": ('a,b\n1,"2\n3,4\n', "cannot be divided into fields"),
}


@pytest.mark.parametrize(("content", "reason"), UNEVEN.values(), ids=UNEVEN)
def test_a_field_without_a_name_or_a_name_without_a_field_is_told(content, reason):
    assert reason in refused(content)


ROW_NUMBERS = {
    "of R after a choice of rows": 'params,loss\n"3",10,3.5\n"17",20,3.2\n"4",30,3.1\n',
    "of pandas after a choice of rows": ",params,loss\n3,10,3.5\n17,20,3.2\n4,30,3.1\n",
}


@pytest.mark.parametrize("content", ROW_NUMBERS.values(), ids=ROW_NUMBERS)
def test_row_names_that_are_numbers_are_left_out(content):
    parsed = read(content)
    assert parsed.rows.to_dict("list") == {"params": [10, 20, 30], "loss": [3.5, 3.2, 3.1]}
    assert parsed.took == ("first field is row names, left out",)


def test_row_names_are_kept_if_they_say_more_than_their_number():
    content = 'params loss\n"gpt 1" 10 3.5\n"gpt 2" 20 3.2\n'
    parsed = read(content)
    assert parsed.rows.to_dict("list") == {
        "row": ["gpt 1", "gpt 2"],
        "params": [10, 20],
        "loss": [3.5, 3.2],
    }
    assert parsed.took == ("fields separated by spaces", "first field is row names")


@given(st.integers(2, 6), st.integers(1, 12), st.data())
@settings(max_examples=40)
def test_a_line_of_another_length_is_never_read(width, lines, data):
    """Lines of numbers, one of which has a field too many or too few."""
    cells = [[f"{i}.{j}5" for j in range(width)] for i in range(lines + 1)]
    uneven = data.draw(st.integers(0, lines))
    if data.draw(st.booleans()):
        cells[uneven].append("7.5")
    else:
        cells[uneven].pop()
    separator = data.draw(st.sampled_from(",;\t|"))
    names = [f"c{j}" for j in range(width)]
    text = "\n".join(separator.join(line) for line in [names, *cells])
    assert f"line {uneven + 2}" in refused(text) or f"line {lines + 2}" in refused(text)


# --- numbers and texts ---------------------------------------------------------------------------

CELLS = {
    "whole": (["1", "22", "+3"], [1, 22, 3]),
    "with a point": (["1", "2.5", ".5"], [1, 2.5, 0.5]),
    "with an exponent": (["1e9", "2E+8", "3.5e-3"], [1e9, 2e8, 3.5e-3]),
    "infinite": (["1", "inf", "-Infinity"], [1, np.inf, -np.inf]),
    "with gaps": (["1", "", "nan"], [1, np.nan, np.nan]),
    "empty": (["", "NA", "null"], [np.nan] * 3),
    "beyond 64 bits": (["1", "9223372036854775808", "3"], ["1", "9223372036854775808", "3"]),
    "far beyond": (["1", "1" + "0" * 40, ""], ["1", "1" + "0" * 40, None]),
    "labels of digits": (["007", "12", "0"], ["007", "12", "0"]),
    "labels with gaps": (["9007199254740993", "", "1"], ["9007199254740993", None, "1"]),
    "words": (["3.5", "-", "OOM"], ["3.5", "-", "OOM"]),
    "units": (["7B", "1.4T", "22.5M"], ["7B", "1.4T", "22.5M"]),
    "thousands": (["22,500,000", "1,000", "3"], ["22,500,000", "1,000", "3"]),
    "percent": (["6.7%", "1 %", "2"], ["6.7%", "1 %", "2"]),
    "spaces": ([" 1", "2 ", " x "], [" 1", "2 ", " x "]),
    "truth": (["True", "False", "True"], [True, False, True]),
}


@pytest.mark.parametrize(("cells", "values"), CELLS.values(), ids=CELLS)
def test_a_column_is_numbers_or_stays_as_it_is_written(cells, values):
    table = pd.DataFrame({"n": [1.5, 2.5, 3.5], "cells": cells})
    expected = pd.Series(values, name="cells")
    for content in (table.to_csv(index=False), table.to_json(orient="records")):
        column = read(content).rows["cells"]
        pd.testing.assert_series_equal(column, expected, check_dtype=False)
        assert (column.dtype == "str") == any(isinstance(value, str) for value in values)


def test_whole_numbers_of_json_beyond_64_bits_stay_as_they_are_written():
    parsed = read('[{"C": 1200000000000000000000, "n": 1}, {"C": 5, "n": 2.5}]')
    assert parsed.rows.to_dict("list") == {"C": ["1200000000000000000000", "5"], "n": [1.0, 2.5]}


COMMAS = {
    "three digits behind a comma, ;": ("N;loss\n1000;3,798\n2000;3,636\n", [3.798, 3.636]),
    "German thousands": ("N;loss\n1.000.000;3,79\n22.500.000;1.003,5\n", [3.79, 1003.5]),
    "thousands beside points": ('N\tloss\n1.5\t3,798\n2.5\t3,636\n', ["3,798", "3,636"]),
    "thousands in quotes": ('N,loss\n1.5,"3,798"\n2.5,"3,636"\n', ["3,798", "3,636"]),
    "beside words": ("N;loss\n1;3,7\n2;diverged\n3;-\n4;\n", ["3.7", "diverged", "-", np.nan]),
    "beside nan": ("N;loss\n1;3,7\n2;nan\n3;inf\n", [3.7, np.nan, np.inf]),
    "beside points elsewhere": ("lr;loss\n0.01;3,7\n0.02;3,6\n", [3.7, 3.6]),
    "thousands of many": ('N\tloss\n"1,234,567"\t3,798\n', ["3,798"]),
    "a leading zero": ("N\tloss\n1\t0,798\n2\t3,636\n", [0.798, 3.636]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "values"), COMMAS.values(), ids=COMMAS)
def test_a_comma_is_a_decimal_comma_where_the_table_says_so(content, values):
    expected = pd.Series(values, name="loss")
    pd.testing.assert_series_equal(read(content).rows["loss"], expected)


def test_a_comma_that_can_be_read_in_two_ways_is_asked_about():
    reason = "column 'loss' has numbers such as 3,798, which can be read as 3.798 or as 3798"
    assert f"runs: {reason}; write numbers with a decimal point" in refused("N\tloss\n1\t3,798\n")
    reason = "column 'D' has numbers such as 1.500, which can be read as 1.500 or as 1500"
    assert reason in refused("D;loss\n1.500;3,79\n2.500;3,6\n")


def test_german_thousands_are_numbers():
    table = read("N;D;loss\n1.000.000;22.500.000;3,79\n2.000.000;1.500;3,6\n").rows
    assert table["N"].tolist() == [1_000_000, 2_000_000]
    assert table["D"].tolist() == [22_500_000, 1500]


# --- JSON, Parquet, LaTeX ------------------------------------------------------------------------


def test_objects_inside_a_run_are_columns_with_joined_names():
    runs = [
        {"config": {"model": {"n_params": 7}, "lr": [1, 2]}, "summary": {"eval/loss": 3.5}},
        {"config": {"model": {"n_params": 8}}, "summary": {"eval/loss": 3.25}, "tags": "a"},
    ]
    table = read("\n".join(map(json.dumps, runs))).rows
    assert table.astype(object).where(table.notna(), None).to_dict("list") == {
        "config.model.n_params": [7, 8],
        "config.lr": ["[1, 2]", None],
        "summary.eval/loss": [3.5, 3.25],
        "tags": [None, "a"],
    }


def test_the_runs_of_mlflow_have_a_column_a_metric():
    run = {
        "info": {"run_id": "0a"},
        "data": {"metrics": [{"key": "loss", "value": 3.5, "step": 1}]},
    }
    table = read(json.dumps({"runs": [run], "next_page_token": ""})).rows
    assert table.to_dict("list") == {"info.run_id": ["0a"], "data.metrics.loss": [3.5]}


def test_an_index_that_names_runs_and_levels_of_columns_are_kept():
    levels = pd.MultiIndex.from_tuples([("loss", "web"), ("loss", "code"), ("params", "")])
    table = pd.DataFrame([[3.5, 2.5, 7], [3.0, 2.0, 8]], pd.Index(["a", "b"], name="run"), levels)
    file = io.BytesIO()
    table.to_parquet(file)
    parsed = read(file.getvalue())
    assert parsed.rows.to_dict("list") == {
        "run": ["a", "b"],
        "loss/web": [3.5, 3.0],
        "loss/code": [2.5, 2.0],
        "params": [7, 8],
    }
    assert parsed.took == ("Parquet", "index 'run' as a column", "levels of columns joined by /")


def test_cells_of_latex_over_rows_and_columns_are_repeated():
    text = r"""\begin{tabular}{lrrr}
    & & \multicolumn{2}{c}{Loss} \\ \cmidrule(lr){3-4}
    Model & $N$ & C4 & Pile\_CC \\ \midrule
    \multirow{2}{*}{\textsc{gpt}} & 1.5B & 3.21 & $2.9 \times 10^{0}$ \\
    & 22{,}500{,}000 & 3.05 & -- \\
    opt & 7\,000 & \underline{3.1} & 2.7\% \\
    \end{tabular}"""
    assert read(text).rows.to_dict("list") == {
        "Model": ["gpt", "gpt", "opt"],
        "N": ["1.5B", "22,500,000", "7000"],
        "Loss/C4": [3.21, 3.05, 3.1],
        "Loss/Pile_CC": ["2.9e0", "-", "2.7%"],
    }


# --- several tables ------------------------------------------------------------------------------


def test_the_tables_of_a_zip_are_put_below_each_other():
    parsed = read(
        archive({"b.csv": "N,loss\n2,3.5\n", "a.jsonl": '{"N": 1, "loss": "oom", "lr": 1}'})
    )
    table = parsed.rows.astype(object).where(parsed.rows.notna(), None)
    assert table.to_dict("list") == {
        "N": [1, 2],
        "loss": ["oom", "3.5"],
        "lr": [1.0, None],
        "file": ["a", "b"],
    }
    assert parsed.took == ("zip", "2 files", "no column 'lr' in b", "JSON")


def test_tables_without_a_column_in_common_are_told():
    message = refused(archive({"a.csv": "N,loss\n2,3.5\n", "b.csv": "x,y\n1,2\n"}))
    assert message == (
        "runs: b has no column of a (N, loss); give tables that have columns in common"
    )


# --- what is not read ----------------------------------------------------------------------------

OTHERS = {
    "a pickle": (b"\x80\x04\x95\x00", "is a pickle, which is code, not a table; save the table as"),
    "a PDF": (b"%PDF-1.7\n%", "is a PDF, not a table; copy its table into a text file"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save it as .xlsx or CSV"),
    "bytes": (b"a,b\n1,\x00\x01\n", "is not a table (line 2 has the control character '\\x00')"),
    "a zip of arrays": (archive({"a.npy": b"1", "b.npy": b"2"}), "has no table among its 2 files"),
    "broken JSON": ('[{"a": 1},\n {"a": }]', "line 2 is not JSON (Expecting value, character 8)"),
    "numbers of JSON": ("[[1, 2], [3, 4]]", "is lists without names; make the first list"),
    "LaTeX without an end": (r"\begin{tabular}{l} a & b \\", r"has \begin{tabular} and no \end{ta"),
    "cut xz": (lzma.compress(CSV.encode())[:-8], "is not a table (its compressed stream ends"),
    "cut zstd": (by_arrow("zstd")[:-8], "is not a table"),
    "cut bzip2": (bz2.compress(CSV.encode())[:-8], "is not a table (its compressed stream ends"),
    "two kinds of packing": (gzip.compress(lzma.compress(b"a")), "is compressed twice with gzip"),
    "a workbook of nothing": (written("to_excel")[:200], "is not a table"),
    "no lines below": ("a,b\n", "has no rows; give a table with at least one run"),
    "no lines of Excel": (archive({"xl/workbook.xml": "<a/>"}), "is not a table"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "reason"), OTHERS.values(), ids=OTHERS)
def test_what_is_not_a_table_is_told(content, reason):
    assert reason in refused(content)


def test_a_workbook_names_the_package_that_reads_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    reason = (
        "is an Excel workbook, for which a reader is not installed; pip install 'isoloss[excel]'"
    )
    assert reason in refused(workbook())


ZEROS = "a,b\n" + "1,1\n" * 3_000_000
# made by the test that needs it, for it takes seconds
BOMBS = {
    "bzip2": lambda: bz2.compress(ZEROS.encode(), 1),
    "xz": lambda: lzma.compress(ZEROS.encode(), preset=0),
    "zip": lambda: archive({"a.csv": ZEROS}),
    "zip of several": lambda: archive({f"{i}.csv": ZEROS[:4_000_000] for i in range(3)}),
    "tar": lambda: tar({"a.csv": ZEROS}),
    "JSON": lambda: "[" + "[]," * 3_000_000 + "[]]",
    "many cells of JSON": lambda: json.dumps([{f"c{i}": 1} for i in range(5_000)]),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_what_unpacks_to_more_than_the_limit_is_refused_by_its_name(make):
    message = refused(make())
    assert "max_mib = 8 MiB" in message and "raise max_mib" in message


def test_files_whose_columns_are_too_many_together_are_told():
    names = [[f"c{i}x{j}" for j in range(900)] for i in range(12)]
    files = {f"{i}.csv": f"a,{','.join(c)}\n1{',1' * 900}\n" for i, c in enumerate(names)}
    assert "its files have more than 10000 columns together" in refused(archive(files))


# --- any table, any bytes ------------------------------------------------------------------------

WORDS = st.text(st.sampled_from('abcß"x y;,|#&\n\t'), min_size=1, max_size=6).map(
    lambda text: f"w{text}w"
)
TABLES = st.integers(1, 5).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "n": st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n),
            "x": st.lists(st.floats(allow_nan=False, width=64), min_size=n, max_size=n),
            "word": st.lists(WORDS, min_size=n, max_size=n),
        }
    )
)
PACKINGS = {
    "": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zip": lambda content: archive({"runs.csv": content}),
}


@settings(max_examples=150)
@given(
    TABLES,
    st.sampled_from(",;\t|"),
    st.sampled_from(".,"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"]),
    st.sampled_from(list(PACKINGS)),
)
def test_any_table_comes_back_as_it_was_written(table, separator, decimal, encoding, packing):
    frame = pd.DataFrame(table)
    text = frame.to_csv(index=False, sep=separator, decimal=decimal)
    parsed = read(PACKINGS[packing](text.encode(encoding)))
    pd.testing.assert_frame_equal(parsed.rows, frame, check_dtype=False)


TEXT_STARTS = (b"", b"\xff\xfe", b'[{"', b"| a |\n|---|\n", b"\\begin{tabular}{l}", b"a\tb\n")
STREAM_STARTS = (b"PK\x03\x04", b"\xfd7zXZ\0", b"BZh91AY&SY", b"\x28\xb5\x2f\xfd")
ARROW_STARTS = (b"\xff\xff\xff\xff", b"ARROW1\0\0")  # each read is a process: few examples


@settings(max_examples=60)
@given(st.binary(max_size=120), st.sampled_from([*TEXT_STARTS, *STREAM_STARTS]))
def test_any_bytes_are_a_table_or_an_error_of_a_table(content, start):
    with suppress(IsolossError):
        assert len(read(start + content).rows)


@settings(max_examples=4)
@given(st.binary(max_size=120), st.sampled_from(ARROW_STARTS))
def test_any_bytes_of_arrow_are_a_table_or_an_error_of_a_table(content, start):
    with suppress(IsolossError):
        assert len(read(start + content).rows)


def test_a_cell_over_very_many_columns_is_refused_at_once():
    table = "\\begin{tabular}{ll}\nN & loss \\\\\n\\multicolumn{999999999}{c}{1} & 2 \\\\\n"
    assert "more than 10000 columns" in refused(table + "\\end{tabular}\n")


def test_thousands_with_points_beside_a_decimal_comma_that_may_be_none_are_asked_about():
    reason = refused("N;D;loss\n1.000;2.000;3,798\n2.000;4.000;3,100\n")
    assert "1.000, which can be read as 1.000 or as 1000" in reason


def test_spaces_in_names_and_cells_do_not_separate_fields():
    lines = ["Model size,Training tokens,Loss", '"7,102M","1,050,208",3.0 ± 0.1']
    assert list(read("\n".join([*lines, *lines[1:]])).rows) == [
        "Model size",
        "Training tokens",
        "Loss",
    ]
