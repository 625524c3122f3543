"""Tables under contract: what is refused, what is kept, and files that are whole or absent."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isoloss.core import tables
from isoloss.core.problems import TableError

NAMES = list(tables.contract()["tables"])


@pytest.fixture
def index() -> pd.DataFrame:
    """A small table under the contract `index`."""
    return pd.DataFrame({"row": [0, 2, 5], "row_id": ["a", "b", "c"], "copies": [1, 2, 1]})


REFUSED = {
    "missing": (lambda t: t.drop(columns="copies"), r"table index.*'copies' is missing"),
    "extra": (lambda t: t.assign(copie=1), r"'copie' is not in it; did you mean 'copies'"),
    "repeated key": (lambda t: t.assign(row=[0, 2, 2]), r"key \{'row': 2\} appears twice"),
    "wrong type": (lambda t: t.assign(copies=["1", "two", "1"]), r"table index.*'copies'"),
}


@pytest.mark.parametrize("kind", ["pandas", "Arrow"])
@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_table_against_its_contract_is_refused_and_nothing_is_left(
    index, tmp_path, change, message, kind
):
    table = change(index)
    if kind == "Arrow":
        table = pa.Table.from_pandas(table, preserve_index=False)
    with pytest.raises(TableError, match=message):
        tables.write("index", table, tmp_path / "index.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_table_leaves_the_one_before_it(index, tmp_path):
    path = tmp_path / "index.parquet"
    tables.write("index", index, path)
    before = path.read_bytes()
    with pytest.raises(TableError):
        tables.write("index", index.drop(columns="copies"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["index.parquet"]


def test_tables_written_together_are_all_there_or_none(index, tmp_path):
    good, bad = index, index.assign(copies=[1, 2, 10**30])
    facts = {"study": "mine"}
    with pytest.raises(TableError, match="column 'copies': has integers of more than 64 bits"):
        tables.write_all({"index": bad}, tmp_path / "new", facts)
    with pytest.raises(TableError, match="table rows: column 'text' is missing"):
        tables.write_all({"index": good, "rows": good}, tmp_path / "new", facts)
    assert list(tmp_path.iterdir()) == []

    (file,) = tables.write_all({"index": good}, tmp_path / "new", facts)
    pd.testing.assert_frame_equal(tables.frame(file, "index"), good)
    assert tables.facts(file)["study"] == "mine"
    one = tmp_path / "one.parquet"
    tables.write("index", good, one, facts)
    assert one.read_bytes() == file.read_bytes()


def test_a_disk_that_is_full_at_the_second_of_two_tables_leaves_neither(
    index, tmp_path, monkeypatch
):
    writes = []
    own = pq.ParquetWriter.write_table

    def full_at_second(self, table):
        writes.append(table)
        if len(writes) == 2:
            raise OSError("No space left on device")
        own(self, table)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full_at_second)
    empty = tables.empty("mixtures")
    with pytest.raises(OSError, match="No space left"):
        tables.write_all({"index": index, "mixtures": empty}, tmp_path, {})
    assert len(writes) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_contract_has_known_types_its_key_and_descriptions(name):
    spec = tables.contract()["tables"][name]
    assert set(spec["key"]) <= set(spec["columns"])
    assert spec["about"]
    for column, facts in spec["columns"].items():
        assert facts["about"], column
        assert isinstance(tables.arrow_type(facts["type"]), pa.DataType), column
    assert tables.schema(name).names == list(spec["columns"])


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_table_is_written_and_read_back(name, tmp_path):
    tables.write(name, tables.empty(name), tmp_path / "t.parquet")
    assert tables.read(tmp_path / "t.parquet", name).schema.equals(tables.schema(name))


def test_open_tables_keep_further_columns_behind_their_own(make_runs):
    runs = make_runs([1e6, 2e6], [1e8, 1e8], [3.0, 2.9])
    table = tables.conform("runs", runs.assign(d_model=[8, 16])[[*runs.columns[::-1], "d_model"]])
    assert table.column_names == [*tables.schema("runs").names, "d_model"]
    assert table["d_model"].to_pylist() == [8, 16]


def test_columns_are_put_in_order_and_cast(index):
    table = tables.conform("index", index[["copies", "row_id", "row"]].astype({"row": "int8"}))
    assert table.schema.equals(tables.schema("index"))


def test_the_same_table_is_the_same_bytes_with_its_facts(index, tmp_path):
    paths = [tmp_path / name / "t.parquet" for name in ("a", "b")]
    facts = {"study": "s", "seed": 7, "options": {"b": [1, 2], "a": None}}
    tables.write("index", index, paths[0], facts)
    tables.write("index", index.copy(), paths[1], dict(reversed(facts.items())))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    version = tables.contract()["version"]
    assert tables.facts(paths[0]) == {"table": "index", "schema_version": version, **facts}
    pd.testing.assert_frame_equal(tables.frame(paths[0], "index"), index)


@pytest.mark.parametrize("name", ["index", "rows"])
def test_values_that_do_not_repeat_have_no_dictionary_and_others_have(tmp_path, name):
    columns = {field.name: pa.nulls(3, field.type) for field in tables.schema(name)}
    columns["row_id"] = pa.array(["b", "", "é"])
    columns["row" if name == "index" else "n_tokens"] = pa.array([-5, 2**62, 0])
    columns |= (
        {"tags": pa.array([[("k", "v")]] * 3, columns["tags"].type)} if name == "rows" else {}
    )
    tables.write(name, pa.table(columns), tmp_path / "t.parquet")
    assert tables.read(tmp_path / "t.parquet", name).equals(pa.table(columns))
    group = pq.read_metadata(tmp_path / "t.parquet").row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    plain = {c.path_in_schema for c in chunks if not c.has_dictionary_page}
    assert plain == {"row", "row_id", "text"} & set(columns)


def written_by_others(path):
    pq.write_table(pa.table({"x": [1]}), path)


def another_table(path):
    tables.write("index", tables.empty("index"), path)


UNREADABLE = {
    "missing": (lambda path: None, r"no such file; run the stage that makes it"),
    "a folder": (lambda path: path.mkdir(), r"no such file"),
    "not Parquet": (lambda path: path.write_text("a,b\n1,2\n"), r"not a Parquet file.*make it"),
    "empty": (lambda path: path.write_bytes(b""), r"not a Parquet file"),
    "by others": (written_by_others, r"not written by isoloss; give the table 'rows'"),
    "another table": (another_table, r"it is the table 'index'; give the table 'rows'"),
}


@pytest.mark.parametrize(("make", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_reading_what_is_not_the_table_says_what_to_do(tmp_path, make, message):
    path = tmp_path / "rows.parquet"
    make(path)
    with pytest.raises(TableError, match=message) as error:
        tables.read(path, "rows")
    assert str(path) in str(error.value)


def test_a_damaged_page_is_told(index, tmp_path):
    path = tmp_path / "index.parquet"
    tables.write("index", index, path)
    whole = path.read_bytes()
    start = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    size = pq.ParquetFile(path).metadata.row_group(0).column(1).total_compressed_size
    for at in range(start + size // 2, start + size):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(TableError, match=r"(?s)index\.parquet.*make it again"):
            tables.read(path, "index")


def test_columns_of_any_name_are_set_in_a_copy():
    table = pd.DataFrame({"a": [1, 2], "self": [3, 4]}, index=[7, 7])
    other = tables.with_columns(table, {"self": [5, 6], "index": 0, "": None, "a b": ["x", "y"]})
    assert list(other.columns) == ["a", "self", "index", "", "a b"]
    assert list(other["self"]) == [5, 6] and list(other["index"]) == [0, 0]
    assert list(other.index) == [7, 7]
    assert list(table.columns) == ["a", "self"] and list(table["self"]) == [3, 4]


@pytest.mark.parametrize("name", ["plan", "runs"])
def test_every_column_of_a_table_of_runs_has_a_role(name):
    spec = tables.contract()["tables"][name]
    for facts in [*spec["columns"].values(), *spec["further"].values()]:
        assert facts["role"] in tables.ROLES
        assert facts.get("role_given", facts["role"]) in tables.ROLES
    assert list(spec["further"])[-1] == "*", "a column of any name has a role"


@pytest.mark.parametrize("column", ["d_model", "\udc80[*]", "", "of_run_of_mine"])
def test_a_column_that_is_not_in_the_contract_is_a_setting_only_where_the_sweep_was_made_here(
    column,
):
    assert tables.role("plan", column) == tables.role("runs", column) == "setting"
    assert tables.role("runs", column, given=True) == "bookkeeping"


def test_runs_alike_in_their_settings_are_a_cell_and_measured_columns_are_none(make_runs):
    given = make_runs([1e6], [1e8], [3.0], p_web=0.5, loss_web=3.1, note="x", step=9, of_run="r")
    of_both = ["n_params", "n_samples", "n_flops", "group", "p_web"]
    here = given.assign(run_digest="0" * 32)
    assert set(tables.cell_columns(given)) == {*of_both, "model", "weighting", "n_unique"}
    assert set(tables.cell_columns(here)) == {*of_both, "model", "weighting", "note"}
    assert tables.roles_of_runs(here)["of_run"] == "identity"


def test_a_planned_run_is_identified_by_what_it_is_given_and_not_by_how_it_is_counted():
    columns = tables.schema("plan").names
    settings = [column for column in columns if tables.role("plan", column) == "setting"]
    assert settings == [
        "model",
        "trainer",
        "weighting",
        "seed",
        "n_samples",
        "n_steps",
        "batch_items",
    ]


GROUPS = {"larger than a batch": [25], "uneven": [3, 25, 1, 10, 11, 4], "none": []}


@pytest.mark.parametrize("rows", GROUPS.values(), ids=GROUPS)
def test_tags_are_read_as_categories_whatever_the_row_groups_of_the_file(rows, tmp_path):
    file, tags = tmp_path / "rows.parquet", []
    with tables.batch_writer("rows", file) as write:
        for n in rows:
            of_group = [[("kind", f"k{i % 3}"), ("n", str(i))][: i % 3] for i in range(n)]
            columns = {name: pa.nulls(n, kind) for name, kind in schema_of("rows").items()}
            columns["tags"] = pa.array(of_group, schema_of("rows")["tags"])
            columns["row_id"] = pa.array([f"{len(tags) + i}" for i in range(n)])
            write(pa.table(columns))
            tags += of_group
    assert pq.ParquetFile(file).num_row_groups == len(rows)
    names = ["tags.key_value.key", "tags.key_value.value"]
    batches = list(tables.batches(file, "rows", ["tags"], size=10, categories=names))
    assert [row for batch in batches for row in batch["tags"].to_pylist()] == tags
    assert all(0 < len(batch) <= 10 for batch in batches)
    assert all(pa.types.is_dictionary(batch["tags"].items.type) for batch in batches)


def schema_of(name: str) -> dict[str, pa.DataType]:
    """Column to type."""
    return {field.name: field.type for field in tables.schema(name)}


def test_what_pyarrow_cannot_read_is_not_called_damaged(index, tmp_path, monkeypatch):
    tables.write("index", index, tmp_path / "index.parquet")

    def refuse(*args, **options):
        raise pa.ArrowNotImplementedError("nested data")

    monkeypatch.setattr(pq.ParquetFile, "read", refuse)
    with pytest.raises(TableError, match=r"cannot be read by PyArrow .*nested data"):
        tables.read(tmp_path / "index.parquet", "index")
