"""From the columns of a user's table to rows with text, id, tags, group and side."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from isoloss.core.problems import IsolossError
from isoloss.datasets._columns import Columns


def pieces(rows: list[dict] | pa.Table, file="d/web/a.jsonl", line=1, **options) -> list[dict]:
    table = pa.Table.from_pylist(rows) if isinstance(rows, list) else rows
    return Columns(**options).pieces(table, file, line).to_pylist()


def tags(rows, **options) -> list[dict]:
    return [dict(row["tags"]) for row in pieces(rows, **options)]


def problems(rows, **options) -> list[str | None]:
    return [row["problem"] for row in pieces(rows, **options)]


def test_a_row_has_text_file_and_line_and_what_the_options_name():
    rows = [{"text": "a", "meta": {"id": 7, "doc": "x"}, "part": "validation"}]
    (row,) = pieces(rows, line=5, id="meta.id", group="meta.doc", split="part")
    assert row == {
        "row_id": "7",
        "text": "a",
        "tags": [],
        "group": "x",
        "split": "valid",
        "file": "d/web/a.jsonl",
        "line": 5,
        "problem": None,
    }
    assert list(pieces(rows)[0]) == ["text", "tags", "group", "file", "line", "problem"]
    assert pieces(rows)[0]["group"] is None


@pytest.mark.parametrize(
    ("value", "text"),
    [("ü,\"'\n🙂", "ü,\"'\n🙂"), (True, "true"), (3, "3"), (3.0, "3"), (1.5, "1.5"), (b"x", "x")],
)
def test_tag_values_become_text(value, text):
    assert tags([{"text": "a", "t": value}], tags={"k": "t"}) == [{"k": text}]


KINDS = ["large_string", "string_view", "binary", "large_binary", "binary_view"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_text_is_read(kind):
    values = pa.array([b"a", None, b"c"], pa.binary())
    values = (values.cast(pa.string()) if "string" in kind else values).cast(getattr(pa, kind)())
    table = pa.table({"text": values, "t": values})
    Columns(tags={"k": "t"}, id="t").check(table.schema, "a")
    rows = pieces(table, tags={"k": "t"}, id="t", group="t")
    assert [row["text"] for row in rows] == ["a", None, "c"]
    assert [row["row_id"] for row in rows] == [row["group"] for row in rows] == ["a", None, "c"]
    assert tags(table, tags={"k": "t"}) == [{"k": "a"}, {}, {"k": "c"}]


def test_times_and_decimals_become_text():
    row = {"text": "a", "d": date(2024, 1, 2), "e": Decimal("1.50")}
    assert tags([row], tags={"d": "d", "e": "e"}) == [{"d": "2024-01-02", "e": "1.50"}]


def test_a_row_without_a_value_does_not_have_the_tag():
    rows = [{"text": "a", "t": None, "u": "b"}, {"text": "a", "t": "", "u": None}]
    assert tags(rows, tags={"k": "t", "l": "u"}) == [{"l": "b"}, {}]
    assert tags(rows, tags={"k": "nowhere"}) == [{}, {}]


def test_a_column_whose_name_has_a_dot_comes_before_a_struct():
    rows = [{"text": "a", "m": {"t": "inside"}, "m.t": "flat"}, {"text": "a", "m": None}]
    assert tags(rows, tags={"k": "m.t"}) == [{"k": "flat"}, {}]
    del rows[0]["m.t"]
    assert tags(rows, tags={"k": "m.t"}) == [{"k": "inside"}, {}]


def test_paths_give_tags_and_maps_rename_values():
    options = {"path_tags": "{domain}/*.jsonl", "tags": {"site": "s"}}
    maps = {"domain": {"web": "internet"}, "site": {"x.org": "x"}}
    rows = [{"text": "a", "s": "x.org"}, {"text": "b", "s": "y.org"}, {"text": "b", "s": None}]
    assert tags(rows, **options, maps=maps) == [
        {"site": "x", "domain": "internet"},
        {"site": "y.org", "domain": "internet"},
        {"domain": "internet"},
    ]
    assert Columns(**options).tag_keys == ["site", "domain"]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{a}/*.txt", "x/y/z.txt", {"a": "y"}),
        ("{a}.txt", "x/y+(z).txt", {"a": "y+(z)"}),
        ("{a}-{b}/**/*.txt", "r/en-web/1/2/z.txt", {"a": "en", "b": "web"}),
        ("{a}/**/*.txt", "web/z.txt", {"a": "web"}),
        ("**/{a}/*.txt", "r/web/z.txt", {"a": "web"}),
        ("{a}.txt", "x/y\nz.txt", {"a": "y\nz"}),
    ],
)
def test_a_pattern_is_of_the_end_of_a_path(pattern, path, expected):
    assert Columns(path_tags=pattern).of_path(path) == expected


def test_a_file_that_does_not_have_the_pattern_is_told():
    with pytest.raises(IsolossError, match=r"a\.txt: its path does not end in path_tags"):
        pieces([{"text": "a"}], file="a.txt", path_tags="{domain}/*.jsonl")


@pytest.mark.parametrize(
    ("column", "values", "options", "reason"),
    [
        ("text", pa.array([b"ok", b"M\xfcnchen"]), {}, "column 'text' is not UTF-8 (byte 2)"),
        ("text", pa.array(["ok", None]).dictionary_encode(), {}, None),
        ("t", pa.array([1.0, math.nan]), {"tags": {"k": "t"}}, "column 't' is NaN or infinite"),
        ("t", pa.array([None, ["a"]]), {"tags": {"k": "t"}}, "a list, not text or a number"),
        ("t", pa.array([None, {"a": 1}]), {"group": "t"}, "an object, not text or a number"),
        ("t", pa.array([None, 1.5]), {"id": "t"}, "a number, not text or a whole number"),
        ("t", pa.array(["test", "dev"]), {"split": "t"}, "'t' is not train, valid or test (dev)"),
        ("t", pa.array(["train", None]), {"split": "t"}, "is not train, valid or test (null)"),
    ],
)
def test_a_row_that_cannot_be_used_has_the_reason(column, values, options, reason):
    table = pa.table({"text": ["a", "b"]} | {column: values})
    first, second = problems(table, **options)
    assert first is None
    assert (second is None) if reason is None else (reason in second)
    if column == "text":
        assert [row["text"] for row in pieces(table, **options)] == ["ok", None]


def test_rows_that_were_not_read_have_their_lines_and_reasons():
    columns = Columns(id="i", split="s")
    table = columns.unusable("a.csv", {3: "too long", 9: "too short"})
    assert table.column_names == columns.fields
    assert table.schema == columns.pieces(pa.table({"i": ["1"]}), "a.csv").schema
    assert table["line"].to_pylist() == [3, 9]
    assert table["problem"].to_pylist() == ["too long", "too short"]


@pytest.mark.parametrize("name", ["text", "meta.lang", "m.k"])
def test_two_columns_of_one_name_are_told(name):
    lang = pa.field("lang", pa.string())
    fields = [("text", pa.string())] * 2 + [("meta", pa.struct([lang, lang]))]
    fields += [("m", pa.struct([("k", pa.string())]))] * 2
    text = "text" if name == "text" else "body"
    columns = Columns(text=text, tags={"k": name})
    with pytest.raises(IsolossError, match=f"a.parquet: two columns are called '{name}'; rename"):
        columns.check(pa.schema([*fields, ("body", pa.string())]), "a.parquet")
    other = Columns(text="body")
    other.check(pa.schema([*fields, ("body", pa.string())]), "a.parquet")


def test_all_faults_of_a_schema_are_told_at_once():
    schema = pa.schema(
        {"text": pa.list_(pa.string()), "i": pa.float64(), "meta": pa.struct({"lang": "string"})}
    )
    with pytest.raises(IsolossError) as refusal:
        Columns(id="i", tags={"k": "meta.lamg"}).check(schema, "a.parquet")
    lines = str(refusal.value).splitlines()
    assert lines[0] == "a.parquet: no column 'meta.lamg'; did you mean 'meta.lang'?"
    assert "a.parquet: column 'text' is of type list<" in lines[1]
    assert "column 'i' is of type double, not text or whole numbers" in lines[2]
    Columns(tags={"k": "meta.lang"}, text="meta.lang").check(schema, "a.parquet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": {"lamg": {}}, "tags": {"lang": "l"}}, "maps.lamg: no tag has this key; did you"),
        ({"path_tags": "{a}/*", "tags": {"a": "b"}}, "`tags` has this key too"),
        ({"path_tags": "*.txt"}, "names no tag"),
        ({"path_tags": "{a}/{a}"}, "name each tag once"),
        ({"path_tags": "{a b}"}, "by letters, digits and _"),
        ({"path_tags": "{}/*"}, r"^path_tags: '\{\}/\*' cannot be used .missing group name"),
        ({"path_tags": "{a/*.txt"}, "has a brace without its other half; write"),
        ({"path_tags": "{a}}/*.txt"}, "has a brace without its other half"),
        ({"path_tags": "{a}{b}.txt"}, r"has nothing between \{a\} and \{b\}; put"),
        ({"path_tags": "{a}*.txt"}, r"has nothing between \{a\} and \*; put"),
        ({"path_tags": "*{a}.txt"}, r"has nothing between \* and \{a\}; put"),
        ({"path_tags": "**web/{a}.txt"}, r"has \*\* beside web/; write it as a folder"),
        ({"path_tags": "a**/{a}.txt"}, r"has \*\* beside a; write it as a folder"),
        ({"tags": {"": "lang"}}, "tags: a tag key is empty"),
    ],
)
def test_options_that_contradict_each_other_are_told(options, message):
    with pytest.raises(IsolossError, match=message):
        Columns(**options)
