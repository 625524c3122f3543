"""The contract of every table: columns, types, keys; and Parquet files that keep it.

`workflow/schemas/tables.yaml` is the one place where tables are described. `write` refuses a table
that breaks its contract; files are deterministic and appear under their name only when whole.

pandas and PyArrow are imported by the functions that need them: a start of the workflow reads
contracts and writes text, and tables only where something is due.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatchcase
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from isoloss.core import home, paths
from isoloss.core.problems import Problem, TableError, nearest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

METADATA = b"isoloss"
WHOLE = "all"  # group of runs that are not divided into groups
_SHORT = 1 << 16  # bytes of a row that is not compressed
BATCH_ROWS = 1 << 16  # rows of a table that are in memory at once where it is read or written so
ROLES = ("identity", "setting", "outcome", "bookkeeping")  # of columns; see tables.yaml
SET_ASIDE = "_given"  # end of the names of a user's columns that `runs` needs for others
# columns of many rows whose values do not repeat: a dictionary of them is a second copy
_ENCODINGS = {
    ("row", "int64"): "DELTA_BINARY_PACKED",
    ("row_id", "string"): "DELTA_LENGTH_BYTE_ARRAY",
    ("text", "binary"): "DELTA_LENGTH_BYTE_ARRAY",
}
_ROLE_KEYS = ("role", "role_given")
# the loader in C where there is one: ten times faster
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _damage() -> tuple[type[Exception], ...]:
    """The errors that PyArrow raises for a damaged file; broken text and JSON are ValueErrors."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, ValueError, OverflowError, RecursionError)


def _unreadable(path: str | Path, error: Exception) -> TableError:
    """The error of a file whose content PyArrow does not read."""
    import pyarrow as pa

    if isinstance(error, pa.ArrowNotImplementedError):
        reason = f"cannot be read by PyArrow {pa.__version__} ({error})"
        remedy = "make it again by the PyArrow of the lock; if it stays so, report it"
        return TableError(Problem(str(path), reason, remedy))
    return TableError(Problem(str(path), f"is damaged ({error})", "make it again"))


def schemas() -> Path:
    """The folder of schemas."""
    return home.project() / "workflow" / "schemas"


def contract_file() -> Path:
    """`tables.yaml`, where every table is described."""
    return schemas() / "tables.yaml"


def read_schema(name: str) -> dict[str, Any]:
    """A file of the folder of schemas, such as `tables.yaml`."""
    return yaml.load((schemas() / name).read_text(encoding="utf-8"), Loader=_LOADER)


@cache
def contract() -> dict[str, Any]:
    """The content of `tables.yaml`."""
    return read_schema("tables.yaml")


def contract_digest(name: str) -> str:
    """Digest of the contract of a table: all that its files must keep, without words and roles."""
    spec = contract()["tables"][name]
    aside = {"about", "path", "further", *_ROLE_KEYS}
    columns = [
        (column, {key: value for key, value in facts.items() if key not in aside})
        for column, facts in spec["columns"].items()
    ]
    kept = {key: value for key, value in spec.items() if key not in aside}
    return _digest({**kept, "columns": columns, "version": contract()["version"]})


def roles_digest(name: str) -> str:
    """Digest of the roles of a table's columns, which count as code of the stages that use them."""
    spec = contract()["tables"][name]
    parts = [
        [(column, *map(facts.get, _ROLE_KEYS)) for column, facts in spec.get(part, {}).items()]
        for part in ("columns", "further")
    ]
    return _digest(parts)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


@cache
def role(name: str, column: str, given: bool = False) -> str:
    """The role of a column: one of ROLES.

    Args:
        name: a table whose columns have roles, `plan` or `runs`.
        column: any name; one that is not in the contract has the role of its pattern there.
        given: whether the runs were made elsewhere, so that nobody said what a column is for.

    Example:
        >>> role("runs", "loss"), role("runs", "weight_decay")
        ('outcome', 'setting')
        >>> role("runs", "weight_decay", given=True)
        'bookkeeping'
    """
    spec = contract()["tables"][name]
    facts = spec["columns"].get(column)
    if facts is None:
        facts = next(f for pattern, f in spec["further"].items() if fnmatchcase(column, pattern))
    return facts.get("role_given", facts["role"]) if given else facts["role"]


def roles_of_runs(runs: pd.DataFrame) -> dict[str, str]:
    """Column to role, of a `runs` table or of points along runs, in the order of the columns.

    The runs were made elsewhere where one of them has no run digest.
    """
    given = "run_digest" not in runs or bool(runs["run_digest"].isna().any())
    return {column: role("runs", str(column), given) for column in runs.columns}


def cell_columns(runs: pd.DataFrame) -> list[str]:
    """The columns that make a cell: runs alike in them differ in nothing known but their seed.

    Example:
        >>> runs = empty("runs").assign(d_model=[], loss_web=[], p_web=[])
        >>> cell_columns(runs)
        ['model', 'weighting', 'group', 'n_params', 'n_samples', 'n_flops', 'd_model', 'p_web']
    """
    return [c for c, role in roles_of_runs(runs).items() if role == "setting" and c != "seed"]


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a type's name in `tables.yaml`."""
    import pyarrow as pa

    if name.startswith("list<struct<"):
        fields = [field.split(": ") for field in name[len("list<struct<") : -2].split(", ")]
        plain = {"double": pa.float64(), "int64": pa.int64(), "string": pa.string()}
        return pa.list_(pa.struct([(label, plain[kind]) for label, kind in fields]))
    types = {
        "string": pa.string(),
        "binary": pa.binary(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "list<double>": pa.list_(pa.float64()),
        "map<string, string>": pa.map_(pa.string(), pa.string()),
    }
    return types[name]


@cache
def schema(name: str) -> pa.Schema:
    """The Arrow schema of a table's named columns."""
    import pyarrow as pa

    columns = contract()["tables"][name]["columns"]
    return pa.schema([(column, arrow_type(spec["type"])) for column, spec in columns.items()])


def conform(name: str, table: pd.DataFrame | pa.Table) -> pa.Table:
    """Cast a table to its contract.

    Named columns come in the order of the contract; an open table keeps further columns behind
    them. A column that is missing is an error, as are a column too many and a repeated key.
    """
    import pandas as pd
    import pyarrow as pa

    if isinstance(table, pd.DataFrame):
        arrays = {str(column): _array(name, column, table[column]) for column in table.columns}
        table = pa.table(arrays)
    spec = contract()["tables"][name]
    have, want = list(table.column_names), schema(name).names
    missing = [c for c in want if c not in have]
    extra = [c for c in have if c not in want]
    if missing:
        raise TableError(Problem(f"table {name}", f"column {missing[0]!r} is missing", "add it"))
    if extra and not spec.get("open"):
        hint = nearest(extra[0], want)
        raise TableError(Problem(f"table {name}", f"column {extra[0]!r} is not in it", hint))
    table = table.select(want + extra)
    for i, field in enumerate(schema(name)):
        try:
            table = table.set_column(i, field, table.column(i).cast(field.type))
        except pa.ArrowException as error:
            place = f"table {name}, column {field.name!r}"
            reason = f"is {table.schema.field(i).type}, not {field.type} ({error})"
            raise TableError(Problem(place, reason, "fix its values")) from error
    keys = table.select(spec["key"]).to_pandas()
    twice = keys.duplicated()
    if twice.any():
        first = keys[twice].iloc[0].to_dict()
        raise TableError(
            Problem(f"table {name}", f"key {first} appears twice", "give each key one row")
        )
    return table


def _array(name: str, column: str, values: pd.Series) -> pa.Array:
    """A pandas column in the type of the contract of table `name`, if the contract names it."""
    import pyarrow as pa

    known = schema(name)
    expected = known.field(column).type if column in known.names else None
    if expected is not None and values.isna().all():
        return pa.nulls(len(values), expected)
    place = f"table {name}, column {column!r}"
    try:
        return pa.Array.from_pandas(values, type=expected)
    except OverflowError as error:
        reason = f"has integers of more than 64 bits ({error})"
        remedy = "make it a column of text, or of numbers with a decimal point"
        raise TableError(Problem(place, reason, remedy)) from error
    except pa.ArrowException as error:
        kind = "has values of several types" if expected is None else f"is not of type {expected}"
        raise TableError(Problem(place, f"{kind} ({error})", "fix its values")) from error


def empty(name: str) -> pd.DataFrame:
    """A table without rows, with all its columns."""
    return schema(name).empty_table().to_pandas()


def with_columns(table: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """A copy of a table with columns set, whatever they are called.

    `DataFrame.assign` takes names as keywords: it cannot set a column called `self`.
    """
    import pandas as pd

    new = pd.DataFrame({k: v for k, v in columns.items() if k not in table}, index=table.index)
    both = pd.concat([table, new], axis=1)
    for name in columns:
        if name in table:
            both[name] = columns[name]
    return both


def write(
    name: str, table: pd.DataFrame | pa.Table, path: str | Path, facts: Mapping[str, Any] = {}
) -> None:
    """Write a table under its contract, whole or not at all; the same table, the same bytes.

    Args:
        name: the table's name in `tables.yaml`.
        table: pandas or Arrow.
        path: where it goes; folders are made.
        facts: small JSON facts kept in the file (study, sweep, law, ...).
    """
    write_free(conform(name, table), path, _facts_of(name, facts))


def write_row(
    name: str, row: Mapping[str, Any], path: str | Path, facts: Mapping[str, Any] = {}
) -> None:
    """Write a table of one row under its contract, as `write` would, in a fifth of the time.

    A short row is not compressed, which would take longer than all else and save nothing.

    Args:
        name: the table's name in `tables.yaml`; not an open one.
        row: column to value; empty where there is none.
        path: where it goes; folders are made.
        facts: small JSON facts kept in the file.
    """
    import pandas as pd
    import pyarrow as pa

    columns = schema(name)
    try:
        arrays = [pa.array([row.get(c.name)], c.type, from_pandas=True) for c in columns]
        table = pa.table(arrays, columns)
    except (pa.ArrowException, OverflowError):  # said with the column's name
        table = conform(name, pd.DataFrame([row], columns=columns.names))
    compression = "none" if table.nbytes < _SHORT else "zstd"
    with (
        whole(path) as temporary,
        _parquet(table.schema, temporary, _facts_of(name, facts), compression) as file,
    ):
        file.write_table(table)


def _facts_of(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts in the file of a table under a contract."""
    return {"table": name, "schema_version": contract()["version"], **facts}


def write_all(
    tables: Mapping[str, pd.DataFrame | pa.Table], folder: str | Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Write tables into a folder, each under its contract, all of them or none.

    Every table is checked before the first is written, and the files get their names when all are.

    Returns:
        The files.
    """
    files = {name: Path(folder) / f"{name}.parquet" for name in tables}
    checked = {name: conform(name, table) for name, table in tables.items()}
    with ExitStack() as names_given:
        for name, table in checked.items():
            temporary = names_given.enter_context(whole(files[name]))
            with _parquet(table.schema, temporary, _facts_of(name, facts)) as file:
                file.write_table(table)
    return list(files.values())


def write_free(table: pa.Table, path: str | Path, facts: Mapping[str, Any]) -> None:
    """Write a table that has no contract (what a figure draws) in the same fixed way."""
    with whole(path) as temporary, _parquet(table.schema, temporary, facts) as file:
        file.write_table(table)


@contextmanager
def batch_writer(
    name: str, path: str | Path, facts: Mapping[str, Any] = {}
) -> Iterator[Callable[[pa.Table], None]]:
    """A table under its contract, written batch by batch: memory is needed for one only.

    The same batches give the same bytes, and one batch those of `write`. The table has its name
    when all of it is written; after an error nothing is left. That keys are unique is checked
    within each batch: across batches the caller sees to it.

    Args:
        name: the table's name in `tables.yaml`; not an open one.
        path: where it goes; folders are made.
        facts: small JSON facts kept in the file.
    """
    with (
        whole(path) as temporary,
        _parquet(schema(name), temporary, _facts_of(name, facts)) as file,
    ):

        def write_batch(batch: pa.Table) -> None:
            if len(batch):
                file.write_table(conform(name, batch))

        yield write_batch


@contextmanager
def _parquet(
    columns: pa.Schema, path: Path, facts: Mapping[str, Any], compression: str = "zstd"
) -> Iterator[pq.ParquetWriter]:
    """A writer of a Parquet file with fixed options."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {METADATA: json.dumps(facts, sort_keys=True).encode()}
    # the least and greatest of long contents, which nobody asks for, would take five copies of one
    has_content = any(pa.types.is_binary(kind) for kind in columns.types)
    # Arrow takes a path with bytes that are not UTF-8 as bytes alone
    with (
        pa.OSFile(os.fsencode(path), "wb") as file,
        pq.ParquetWriter(
            file,
            columns.with_metadata(about),
            compression=compression,
            write_page_checksum=True,
            write_statistics=not has_content,
            **_encodings(columns),
        ) as writer,
    ):
        yield writer


def _encodings(columns: pa.Schema) -> dict[str, Any]:
    """Options of a writer: how columns are encoded that have no dictionary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = {(field.name, str(field.type)): field.name for field in columns}
    plain = {names[key]: encoding for key, encoding in _ENCODINGS.items() if key in names}
    if not plain:
        return {}
    sink = pa.BufferOutputStream()
    pq.ParquetWriter(sink, columns).close()  # an empty file tells the paths of nested columns
    leaves = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    named = [leaves.column(i).path for i in range(len(leaves))]
    return {"use_dictionary": [p for p in named if p not in plain], "column_encoding": plain}


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    What is written is on the disk before it has its name; after an error nothing is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with paths.writing(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # the first error is more informative
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_if_new(path: str | Path, text: str) -> None:
    """Write a text file if it is not there with this content, byte for byte."""
    path = Path(path)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)


def facts(path: str | Path) -> dict[str, Any]:
    """The facts that `write` kept in a file."""
    return _facts(_open(path), path)


def read(
    path: str | Path,
    name: str | None = None,
    content: bytes | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read a table; with `name`, only if the file says that it is that table.

    Args:
        path: the file.
        name: the table that it must be.
        content: the file's bytes, where they have been read.
        columns: which columns; None for all.

    Raises:
        TableError: there is no such file, it is another table, or it is damaged.
    """
    file = _open(path, content=content)
    if name is not None:
        _check_name(file, name, path)
    try:
        return file.read(
            columns, use_threads=content is None
        )  # a small one is read sooner than shared out
    except _damage() as error:
        raise _unreadable(path, error) from error


def batches(
    path: str | Path,
    name: str,
    columns: Sequence[str],
    size: int = BATCH_ROWS,
    categories: Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Read some columns of a table batch by batch: memory is needed for one batch only.

    Args:
        path: the file.
        name: the table that it must be.
        columns: which columns, in the order of the file.
        size: rows of a batch, the last one may have fewer; with categories the last of every row
            group.
        categories: columns of texts that repeat, which are read as dictionaries; of a map
            `<name>.key_value.key` and `<name>.key_value.value`.

    Raises:
        TableError: there is no such file, it is another table, or it is damaged.
    """
    file = _open(path)
    _check_name(file, name, path)
    groups = [range(file.num_row_groups)]
    if categories:  # Arrow gives a map of dictionaries only where a batch is of one row group
        file = _open(path, categories)
        groups = [[group] for group in range(file.num_row_groups)]
    try:
        for group in groups:
            # not in threads: they read ahead, and hold what they have read
            yield from file.iter_batches(
                size, row_groups=group, columns=list(columns), use_threads=False
            )
    except _damage() as error:
        raise _unreadable(path, error) from error


def n_rows(path: str | Path) -> int:
    """How many rows a table has, without reading them.

    Raises:
        TableError: there is no such file, or it is not a Parquet file.
    """
    return _open(path).metadata.num_rows


def _check_name(file: pq.ParquetFile, name: str, path: str | Path) -> None:
    """A file that is read as a table says that it is that table."""
    stored_name = _facts(file, path).get("table")
    if stored_name != name:
        reason = (
            f"it is the table {stored_name!r}" if stored_name else "it was not written by isoloss"
        )
        raise TableError(Problem(str(path), reason, f"give the table {name!r}"))
    _check_types(file.schema_arrow, name, path)


def _check_types(have: pa.Schema, name: str, path: str | Path) -> None:
    """A table that `write` made has the columns of its contract, with their types."""
    for field in schema(name):
        kind = have.field(field.name).type if field.name in have.names else None
        if kind != field.type:
            reason = f"column {field.name!r} is {kind or 'missing'}, not {field.type}"
            raise TableError(Problem(str(path), reason, "make it again"))


def _facts(file: pq.ParquetFile, path: str | Path) -> dict[str, Any]:
    try:
        metadata = json.loads((file.schema_arrow.metadata or {}).get(METADATA, b"{}"))
    except _damage() as error:
        raise _unreadable(path, error) from error
    return metadata if isinstance(metadata, dict) else {}


def frame(path: str | Path, name: str | None = None) -> pd.DataFrame:
    """Read a table into pandas."""
    table = read(path, name)
    try:
        return table.to_pandas()
    except _damage() as error:  # text that is not UTF-8
        raise _unreadable(path, error) from error


def rows(
    path: str | Path,
    name: str | None = None,
    content: bytes | None = None,
    columns: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Read a table as rows of plain values, None where there is none: for few rows, 5 times faster.

    Args:
        path: the file.
        name: the table that it must be.
        content: the file's bytes, where they have been read.
        columns: which columns; None for all.

    Raises:
        TableError: there is no such file, it is another table, or it is damaged.
    """
    table = read(path, name, content, columns)
    try:
        return table.to_pylist()
    except _damage() as error:  # text that is not UTF-8
        raise _unreadable(path, error) from error


def _open(
    path: str | Path, categories: Sequence[str] = (), content: bytes | None = None
) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if content is None and not Path(path).is_file():
        raise TableError(Problem(str(path), "no such file", "run the stage that makes it"))
    try:
        return pq.ParquetFile(
            pa.OSFile(os.fsencode(path)) if content is None else pa.BufferReader(content),
            page_checksum_verification=True,
            read_dictionary=list(categories),
        )
    except _damage() as error:
        raise TableError(
            Problem(str(path), f"not a Parquet file ({error})", "make it again")
        ) from error
