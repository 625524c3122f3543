"""Cards of a user's files: every format gives the same rows, every fault is told with its place."""

from __future__ import annotations

import gzip
import json
import math
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import Site, answer

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.core.schema import complete_options
from isoloss.datasets import _files, _json_lines
from isoloss.load import job


@pytest.fixture
def load(tmp_path):
    """The rows that a card gives, as dicts; its files are relative to the test's folder."""

    def rows(card: str, files="a.*", **options) -> list[dict]:
        place = {"folder": str(tmp_path)} if card == "text_folder" else {}
        if card != "text_folder":
            named = [files] if isinstance(files, str) else files
            place = {"files": [f if "://" in f else str(tmp_path / f) for f in named]}
            place["fetched"] = tmp_path / "fetched"
        given = registry.defaults("dataset", card) | place | options
        each = registry.card("dataset", card)
        assert each.sources(**given)
        tables = list(each.pieces(**given))
        assert len({table.schema for table in tables}) <= 1
        return [row | {"tags": dict(row["tags"])} for t in tables for row in t.to_pylist()]

    return rows


def problems(rows: list[dict]) -> dict[int, str]:
    """Line to the problem of each row that cannot be used."""
    return {row["line"]: row["problem"] for row in rows if row["problem"]}


def write_as(kind: str, rows: list[dict], path: Path) -> None:
    """Rows as a file of a format, with `text`, `doc` and `lang`."""
    table = pa.Table.from_pylist(
        rows, pa.schema({name: pa.string() for name in ("text", "doc", "lang")})
    )
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=2)
    elif kind == "csv":
        pc.write_csv(table, path, pc.WriteOptions(quoting_style="all_valid"))
    else:
        path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
ROWS = st.lists(
    st.fixed_dictionaries({"text": WORDS, "doc": WORDS, "lang": st.none() | WORDS}), min_size=1
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_every_format_gives_the_same_rows(load, tmp_path, rows):
    options = {"tags": {"lang": "lang"}, "group": "doc"}
    expected = None
    for kind in ("parquet", "jsonl", "csv"):
        path = tmp_path / f"a.{kind}"
        write_as(kind, rows, path)
        packed = {"gz": gzip.compress(path.read_bytes())}
        packed["zst"] = pa.compress(path.read_bytes(), "zstd", asbytes=True)
        for ending, content in packed.items() if kind != "parquet" else ():
            (tmp_path / f"a.{kind}.{ending}").write_bytes(content)
        for file in sorted(path.parent.glob(f"a.{kind}*")):
            read = load(kind, file.name, **options)
            assert not problems(read)
            read = [(row["text"], row["group"], row["tags"]) for row in read]
            expected = expected or read
            assert read == expected
    assert [text for text, _, _ in expected] == [row["text"] for row in rows]


# JSON Lines


def jsonl(tmp_path, *lines: str | bytes) -> None:
    lines = [line.encode() if isinstance(line, str) else line for line in lines]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")


GOOD = '{"text": "good"}'
BAD_LINES = [
    ('{"text": "a"', "not JSON (Expecting ',' delimiter, column 13)"),
    ("plain words", "not JSON (Expecting value, column 1)"),
    ('["a"]', "a list, not an object"),
    ("7", "a number or null, not an object"),
    ('{"text": NaN}', "column 'text' is a number, not text"),
    ('{"text": 7}', "column 'text' is a number, not text"),
    ('{"text": ["a"]}', "column 'text' is a list, not text"),
    ('{"text": {"a": 1}}', "column 'text' is an object, not text"),
    ('{"text": true}', "column 'text' is true or false, not text"),
    ('{"text": "a", "text": "b"}', "the key 'text' appears twice in the object"),
    ('{"text": "a", "text": "b", "text": "c"}', "the key 'text' appears twice in the object"),
    (b'{"text": "M\xfcnchen"}', "column 'text' is not UTF-8 (byte 2)"),
    ('{"text": "\\ud800"}', "column 'text' has half of a surrogate pair"),
    ('{"text": "a", "k": NaN}', "column 'k' is NaN or infinite"),
    ('{"text": "a", "k": [1]}', "column 'k' is a list, not text or a number"),
    ('{"text": "a", "k": 1e999}', "column 'k' is NaN or infinite"),
    ('{"text": "a", "k": 9223372036854775808}', "column 'k' is a number beyond 64 bits"),
    ('{"text": "a", "x": ' + "[" * 100000 + "}", "not JSON (nested too deep)"),
]


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=[r for _, r in BAD_LINES])
def test_a_bad_line_of_json_is_a_row_with_a_reason(load, tmp_path, line, reason, first):
    jsonl(tmp_path, *([line, "", GOOD, GOOD] if first else [GOOD, GOOD, "", line]))
    rows = load("jsonl", tags={"k": "k"}) if '"k"' in str(line) else load("jsonl")
    assert [row["line"] for row in rows] == ([1, 3, 4] if first else [1, 2, 4])
    (told,) = problems(rows).items()
    assert told[0] == (1 if first else 4)
    assert told[1].startswith(reason)
    assert [row["text"] for row in rows if not row["problem"]] == ["good", "good"]


def test_fields_may_differ_from_line_to_line_and_block_to_block(load, tmp_path, monkeypatch):
    values = ["3", "1.5", "true", "null", '"w"', "3.0", '""', '"caf\\u00e9"']
    lines = [f'{{"text": "t{i}", "k": {value}}}' for i, value in enumerate(values)]
    lines.insert(0, '{"text": "first"}')
    jsonl(tmp_path, *lines)
    expected = [{}, *({"k": v} for v in ("3", "1.5", "true")), {}, {"k": "w"}, {"k": "3"}, {}]
    expected.append({"k": "café"})
    for size in (1, 64, 1 << 20):
        monkeypatch.setattr(_files.File.blocks, "__defaults__", (size,))
        rows = load("jsonl", tags={"k": "k"})
        assert [row["tags"] for row in rows] == expected
        assert [row["line"] for row in rows] == list(range(1, 10))


def test_both_ways_of_reading_json_give_the_same(load, tmp_path, monkeypatch):
    jsonl(
        tmp_path,
        '{"x": [1, {"y": "z"}], "meta": {"k": 1, "u": 2}, "text": "a\\u0000\\ud83d\\ude42"}',
        '{"text": "b", "meta": null, "x": 1}\r',
        '{"text": "c", "meta": {}, "x": ' + "1" * 5000 + "}",
        '   {"text": "2024-01-01 00:00:00", "meta": {"k": -7}, "x": 1e999, "x": 2}',
        "",
        '{"meta": {"k": 9223372036854775807}, "text": "\\"\\n"}',
    )
    by_arrow = load("jsonl", tags={"k": "meta.k"})
    monkeypatch.setattr(_json_lines, "_by_arrow", lambda *_: None)
    assert load("jsonl", tags={"k": "meta.k"}) == by_arrow
    assert [row["text"] for row in by_arrow][-2:] == ["2024-01-01 00:00:00", '"\n']
    assert [row["line"] for row in by_arrow] == [1, 2, 3, 4, 6]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=True).filter(lambda x: x % 1 or abs(x) < 1e15),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
OBJECTS = st.lists(
    st.dictionaries(st.sampled_from(["text", "k", "m"]), SCALARS | st.dictionaries(WORDS, SCALARS))
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OBJECTS, st.booleans())
def test_any_objects_are_the_same_rows_in_both_ways(load, tmp_path, objects, alike):
    objects = [{"text": "a", "k": 1}] + (objects[:1] * 4 if alike else objects)
    jsonl(tmp_path, *[json.dumps(each) for each in objects])
    by_arrow = load("jsonl", tags={"k": "k"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json_lines, "_by_arrow", lambda *_: None)
        assert load("jsonl", tags={"k": "k"}) == by_arrow
    assert len(by_arrow) == len(objects)


def test_where_all_is_well_arrow_reads_json(load, tmp_path, monkeypatch):
    jsonl(tmp_path, *[f'{{"text": "t{i}", "k": {i}, "x": [{i}]}}' for i in range(9)])
    monkeypatch.setattr(_json_lines, "_object_in", json.loads)  # of the first line of a block
    monkeypatch.delattr(_json_lines.Reader, "_line_by_line")
    assert len(load("jsonl", tags={"k": "k"})) == 9


def test_a_line_that_is_longer_than_a_block_is_read(load, tmp_path, monkeypatch):
    monkeypatch.setattr(_files.File.blocks, "__defaults__", (64,))
    texts = ["a" * 1000, "b", "c" * 63]
    jsonl(tmp_path, *[json.dumps({"text": text}) for text in texts])
    assert [row["text"] for row in load("jsonl")] == texts


def test_a_field_that_no_row_has_is_told_with_the_nearest(load, tmp_path):
    jsonl(tmp_path, '{"text": "a", "meta": {"lang": "en"}}', '{"text": "b", "late": 1}')
    message = r"a\.jsonl: no row has the field 'meta.lamg'; did you mean 'meta.lang'\?"
    with pytest.raises(IsolossError, match=message):
        load("jsonl", tags={"lang": "meta.lamg"})
    assert load("jsonl", tags={"k": "late"})[1]["tags"] == {"k": "1"}


def test_a_file_that_is_one_json_array_is_told(load, tmp_path):
    (tmp_path / "a.jsonl").write_text('[\n{"text": "a"},\n{"text": "b"}\n]\n')
    with pytest.raises(
        IsolossError, match=r"a\.jsonl: is one JSON array and not JSON Lines; write"
    ):
        load("jsonl")


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_of_no_lines_has_no_rows(load, tmp_path, content):
    (tmp_path / "a.jsonl").write_bytes(content)
    assert load("jsonl") == []


# CSV


def csv_rows(load, tmp_path, content: str | bytes, **options) -> list[dict]:
    (tmp_path / "a.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return load("csv", **options)


def test_cells_have_quotes_separators_and_line_ends(load, tmp_path):
    content = 'k;text\r\nx;"a;""b""\r\nc"\r\n\r\n;d\ry;"\xef"\n'
    rows = csv_rows(load, tmp_path, content, separator=";", tags={"k": "k"})
    assert [row["text"] for row in rows] == ['a;"b"\r\nc', "d", "\xef"]
    assert [row["line"] for row in rows] == [2, 5, 6]
    assert [row["tags"] for row in rows] == [{"k": "x"}, {}, {"k": "y"}]


def test_files_without_a_header_have_columns_by_the_option(load, tmp_path):
    rows = csv_rows(load, tmp_path, "1,a\n2,b\n", header=["i", "text"], id="i")
    assert [(row["row_id"], row["text"], row["line"]) for row in rows] == [
        ("1", "a", 1),
        ("2", "b", 2),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a,b,c", "not as many cells as the header has (3, not 2)"),
        (b"a", "not as many cells as the header has (1, not 2)"),
        (b'"a"b,c', "not CSV ("),
        (b"M\xfcnchen,c", "column 'text' is not UTF-8 (byte 2)"),
    ],
)
def test_a_bad_row_of_csv_has_its_line_and_the_reason(load, tmp_path, line, reason):
    rows = csv_rows(load, tmp_path, b'text,k\n"x\ny",1\n' + line + b"\nz,1\n")
    assert [row["line"] for row in rows] == [2, 4, 5]
    (told,) = problems(rows).items()
    assert told[0] == 4
    assert told[1].startswith(reason)


def test_an_empty_cell_is_a_missing_text(load, tmp_path):
    assert [row["text"] for row in csv_rows(load, tmp_path, "text,k\n,1\nNaN,2\n")] == [None, "NaN"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no header line (it is empty)"),
        ("txt,k\na,1\n", "no column 'text'; did you mean 'txt'?"),
        ("text,text\na,1\n", "two columns are called 'text'; rename"),
        ('text,k\na,1\n"b,2\nc,3\n', "a cell that begins in line 3 is never closed"),
        ('{"text": "a"}\n', "looks like JSON, and not like CSV; load it by the card jsonl"),
        ("text;k\na;1\n", "its first line has no ',', but ';'; set separator: \";\""),
        ("text\tk\na\t1\n", "its first line has no ',', but '\\t'; set separator: \"\\t\""),
        ("a secret " * 9 + ",b\n", "its first line has none of the columns, and does not look"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_told(load, tmp_path, content, message):
    with pytest.raises(IsolossError) as refusal:
        csv_rows(load, tmp_path, content)
    assert f"a.csv: {message}" in str(refusal.value).replace("the quote of ", "")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("card", "content", "message"),
    [
        ("jsonl", b"text,k\na,1\n", "is not JSON Lines: none of its first 2 lines is; load a"),
        ("parquet", b"text,k\na,1\n", "is text, and not a Parquet file; load it by the card csv"),
        ("parquet", b'{"text": "a"}\n', "is text, and not a Parquet file; .* the card jsonl"),
        ("parquet", gzip.compress(b"a,b\n"), "is packed, and not a Parquet file; unpack it"),
        ("jsonl", b"ARROW1\0\0", "is an Arrow file; write it as Parquet"),
    ],
)
def test_a_file_for_another_card_is_told_with_that_card(load, tmp_path, card, content, message):
    (tmp_path / "a.x").write_bytes(content)
    with pytest.raises(IsolossError, match=f"a.x: {message}"):
        load(card)


# Parquet


def parquet(tmp_path, content: dict, name="a.parquet", **options) -> Path:
    path = tmp_path / name
    pq.write_table(pa.table(content), path, **options)
    return path


def test_rows_of_parquet_are_numbered_through_row_groups(load, tmp_path):
    texts = [f"t{i}" for i in range(10)]
    nested = [{"k": i, "other": "x"} for i in range(10)]
    parquet(tmp_path, {"text": texts, "m": nested}, row_group_size=3)
    rows = load("parquet", tags={"k": "m.k"})
    assert [(row["text"], row["line"]) for row in rows] == [(f"t{i}", i + 1) for i in range(10)]
    assert [row["tags"] for row in rows] == [{"k": str(i)} for i in range(10)]


def test_a_batch_of_long_texts_is_given_in_parts(load, tmp_path, monkeypatch):
    from isoloss.datasets import parquet as card

    monkeypatch.setattr(card, "_MOST_BYTES", 1000)
    parquet(tmp_path, {"text": ["a" * 400] * 9})
    assert [row["line"] for row in load("parquet")] == list(range(1, 10))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"text": [1, 2]}, {}, "column 'text' is of type int64, not text"),
        ({"text": [["a"]]}, {}, "column 'text' is of type list<"),
        ({"text": [math.nan]}, {}, "column 'text' is of type double, not text"),
        (
            {"text": ["a"], "i": [1.5]},
            {"id": "i"},
            "column 'i' is of type double, not text",
        ),
        ({"txt": ["a"]}, {}, "no column 'text'; did you mean 'txt'?"),
    ],
)
def test_a_parquet_file_with_other_columns_is_told(load, tmp_path, content, options, message):
    parquet(tmp_path, content)
    with pytest.raises(IsolossError) as refusal:
        load("parquet", **options)
    assert f"a.parquet: {message}" in str(refusal.value)


# Whole files


def test_a_file_that_is_cut_off_or_damaged_is_told(load, tmp_path):
    # zstd as Arrow writes it has no checksum: damage can also unpack to other text. These do not.
    noise = random.Random(0)
    texts = [f"text {i} {noise.randbytes(20).hex()}" for i in range(500)]
    whole = parquet(tmp_path, {"text": texts}, "whole.parquet").read_bytes()
    lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
    zst = pa.compress(lines, "zstd", asbytes=True)
    middle = len(zst) // 2
    damaged = {
        "half.parquet": whole[: len(whole) // 2],
        "page.parquet": whole[:200] + b"\xff" * 4000 + whole[4200:],
        "none.parquet": b"",
        "half.jsonl.gz": gzip.compress(lines)[:middle],
        "tail.jsonl.gz": gzip.compress(lines)[:-4],
        "half.jsonl.zst": zst[:middle],
        "page.jsonl.zst": zst[:middle] + b"\0" * 40 + zst[middle + 40 :],
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(IsolossError) as refusal:
            load(name.split(".")[1], name)
        assert f"{name}: is damaged or cut off (" in str(refusal.value)
        assert "fetch or write the file again, whole" in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1 and so on", "is a Parquet file; load it by the card parquet"),
        (b"BZh91AY", "is packed by bzip2; unpack it, or pack it by gzip or zstd"),
        (b"\xfd7zXZ\x00\x00", "is packed by xz"),
        ("{}".encode("utf-16"), "is UTF-16; write it as UTF-8"),
    ],
)
def test_files_of_another_kind_are_told(load, tmp_path, content, message):
    for packed in (content, gzip.compress(content)):
        (tmp_path / "a.csv").write_bytes(packed)
        with pytest.raises(IsolossError, match=f"a.csv: {message}"):
            load("csv")


@pytest.mark.parametrize("card", ["jsonl", "csv", "text_folder"])
def test_a_mark_of_byte_order_is_not_part_of_the_text(load, tmp_path, card):
    content = {"jsonl": '{"text": "a"}\n', "csv": "text\na\n", "text_folder": "a"}[card]
    for packed in (b"\xef\xbb\xbf" + content.encode(), content.encode()):
        (tmp_path / "a.txt").write_bytes(packed)
        assert [row["text"] for row in load(card, "a.txt")] == ["a"]
        (tmp_path / "a.txt").write_bytes(gzip.compress(packed))
        assert [row["text"] for row in load(card, "a.txt")] == ["a"]


def test_patterns_give_each_file_once_sorted_and_paths_may_have_any_name(load, tmp_path):
    names = ["web/b b.jsonl", "web/ä#.jsonl", "code/a%20.jsonl", "code/deep/[1].jsonl"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"text": name}))
    rows = load("jsonl", ["web/b b.jsonl", "**/*.jsonl"], path_tags="{domain}/**/*.jsonl")
    assert [row["text"] for row in rows] == [names[0], names[2], names[3], names[1]]
    assert [row["file"] for row in rows] == [(tmp_path / row["text"]).as_posix() for row in rows]
    assert load("jsonl", "code/deep/[1].jsonl")[0]["text"] == names[3]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "files: names no file; give a path or a list of paths"),
        ("b.jsonl", "b.jsonl: there is no such file; did you mean 'a.jsonl'?"),
        ("*.json", "*.json: no file matches it; check the pattern and the folder"),
        ("below", "below: is a folder, not a file; name the files in it, such as"),
        ("ftp://host/a.jsonl", "cannot be read (ftp is not supported"),
        ("https://$NOT_SET_HERE@host/a.jsonl", "variable NOT_SET_HERE is not set; set it"),
    ],
)
def test_files_that_are_not_there_are_told(load, tmp_path, files, message):
    (tmp_path / "below").mkdir()
    jsonl(tmp_path, GOOD)
    with pytest.raises(IsolossError) as refusal:
        load("jsonl", files)
    assert message in str(refusal.value)


def test_a_file_that_vanishes_while_a_dataset_is_read_is_told(tmp_path):
    options = registry.defaults("dataset", "jsonl") | {"files": str(tmp_path / "*.jsonl")}
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(GOOD)
    tables = registry.card("dataset", "jsonl").pieces(**options, fetched=tmp_path)
    next(tables)
    (tmp_path / "b.jsonl").unlink()
    with pytest.raises(IsolossError, match=r"b\.jsonl: cannot be read \(No such file"):
        next(tables)


def test_files_without_rows_and_damaged_ones_leave_no_table(tmp_path):
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("text,k\n")
    (tmp_path / "a.jsonl").write_bytes(b"")
    (tmp_path / "half.jsonl").write_bytes(gzip.compress(GOOD.encode() * 100)[:30])
    for name, message in {"a": "no rows", "half": "is damaged or cut off"}.items():
        for file in sorted(tmp_path.glob(f"{name}.*")):
            card = file.suffix[1:]
            options = registry.defaults("dataset", card) | {"files": str(file)}
            dataset = {"card": card, "options": options, "valid_fraction": 0.1}
            specification = {"dataset": dataset | {"on_bad_row": "drop"}, "seed": 0}
            with pytest.raises(IsolossError, match=message):
                job.run(specification | {"content": None}, tmp_path / "out", {}, tmp_path)
            assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


# Addresses


def test_an_address_is_fetched_once_and_read_from_its_copy(load, tmp_path, monkeypatch):
    monkeypatch.setenv("PART_OF_ADDRESS", "sesame-42")
    packed = gzip.compress(GOOD.encode())
    with Site({"/web/a.jsonl.gz": answer(packed)}) as site:
        address = f"{site.url}/web/a.jsonl.gz?token=$PART_OF_ADDRESS"
        rows = load("jsonl", address, path_tags="{domain}/*.jsonl.gz")
        assert len(site.requests) == 1
        assert "token=sesame-42" in site.requests[0]
    assert rows[0]["tags"] == {"domain": "web"}
    assert rows[0]["file"] == f"{site.url}/web/a.jsonl.gz"
    (copy,) = (tmp_path / "fetched").iterdir()
    assert copy.read_bytes() == packed
    assert load("jsonl", address) == [rows[0] | {"tags": {}}]  # without the site


def test_what_cannot_be_fetched_is_told_without_secrets_and_leaves_nothing(load, tmp_path):
    with Site({"/big": answer(b"x" * 3000)}) as site:
        faults = {
            "/none?key=$HOME": "cannot be fetched (the server answers 404",
            "/big": "has more",
        }
        for path, message in faults.items():
            with pytest.raises(IsolossError) as refusal:
                load("jsonl", site.url + path, max_mib=0.001)
            assert message in str(refusal.value)
            assert str(Path.home()) not in str(refusal.value)
    assert list((tmp_path / "fetched").iterdir()) == []


# Folders of text


def folder(tmp_path, **files: str) -> None:
    for name, text in files.items():
        path = tmp_path / (name.replace("__", "/") + ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def test_every_file_below_a_folder_is_a_row_and_a_group(load, tmp_path):
    folder(tmp_path, web__b="b\n", web__a__c="c", code__d="d")
    (tmp_path / "web" / "e.md").write_text("not this")
    rows = load("text_folder", path_tags="{domain}/**/*.txt", maps={"domain": {"code": "source"}})
    assert [(r["text"], r["group"], r["tags"]["domain"]) for r in rows] == [
        ("d", "code/d.txt", "source"),
        ("c", "web/a/c.txt", "web"),
        ("b\n", "web/b.txt", "web"),
    ]
    assert [row["text"] for row in load("text_folder", pattern="web/*.txt")] == ["b\n"]


def test_a_file_is_cut_into_lines_or_paragraphs(load, tmp_path, monkeypatch):
    monkeypatch.setattr(_files.File.blocks, "__defaults__", (8,))
    folder(tmp_path, a="one\r\n two\n\n \nthree\nfour\nfive\n\nsix")
    lines = [(row["line"], row["text"]) for row in load("text_folder", cut="line")]
    assert lines == [(1, "one"), (2, " two"), (5, "three"), (6, "four"), (7, "five"), (9, "six")]
    paragraphs = [(row["line"], row["text"]) for row in load("text_folder", cut="paragraph")]
    assert paragraphs == [(1, "one\n two"), (5, "three\nfour\nfive"), (9, "six")]
    assert {row["group"] for row in load("text_folder", cut="line")} == {"a.txt"}


def test_links_out_of_the_folder_are_not_followed(load, tmp_path):
    top = tmp_path / "top"
    folder(tmp_path, outside="x", top__a="a", elsewhere__b="b")
    (top / "link.txt").symlink_to(tmp_path / "outside.txt")
    (top / "below").symlink_to(tmp_path / "elsewhere")
    (top / "inside.txt").symlink_to(top / "a.txt")
    rows = load("text_folder", folder=str(top))
    assert [row["group"] for row in rows] == ["a.txt", "inside.txt"]


def test_a_file_that_is_not_utf8_is_a_bad_row(load, tmp_path):
    (tmp_path / "a.txt").write_bytes("München".encode("latin-1"))
    assert problems(load("text_folder")) == {1: "column 'text' is not UTF-8 (byte 2)"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "*.md"}, r"no file in it matches '\*\.md'; check `pattern`"),
        ({"folder": "nowhere"}, "nowhere: there is no such folder"),
        ({"folder": __file__}, "is a file, not a folder"),
        ({"path_tags": "{domain}/x/*.txt"}, r"a\.txt: its path does not end in path_tags"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told(load, tmp_path, options, message):
    folder(tmp_path, a="a")
    with pytest.raises(IsolossError, match=message):
        load("text_folder", **options)


@pytest.mark.parametrize("several", [False, True])
def test_an_address_that_spells_a_secret_out_is_refused(several):
    address = "https://user:sesame-42@host/a.jsonl"
    options = {"files": ["a.jsonl", address] if several else address}
    known = registry.options("dataset", "jsonl")
    (problem,) = complete_options(options, known, "load.notes.options")
    assert problem.place == "load.notes.options.files"
    assert "contains a password; put it into an environment variable" in str(problem)
    assert "sesame-42" not in str(problem)
    assert complete_options({"files": address.replace("sesame-42", "$PW")}, known, "") == []
