"""Where each table comes from (Parquet, CSV, a DuckDB file), and flat tables as frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from uplift.data._cells import literal, quote
from uplift.data._csv import CsvText, MalformedRow, UnreadableError
from uplift.data.contract import TABLES
from uplift.errors import InputError, Problem, did_you_mean

SourceKind = Literal["parquet", "csv", "duckdb"]
FILE, ROW = "_uplift_file", "_uplift_row"
ATTACHED = "_uplift_source"
_MISSING_NUMBERS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "#N/A")


@dataclass(frozen=True)
class Source:
    """Where one table comes from.

    Attributes
    ----------
    kind
        How it is read.
    files
        Its parts in order; one for CSV and DuckDB.
    """

    table: str
    kind: SourceKind
    files: tuple[Path, ...]


@dataclass
class Raw:
    """A source loaded as a relation of DuckDB, with the columns :data:`FILE` and :data:`ROW` (from 1) before its own.

    Attributes
    ----------
    relation
        Its name.
    types
        DuckDB types of the source's columns by name.
    rows
        Records in the source, malformed ones included.
    malformed
        Records of a CSV that do not fit its header.
    """

    relation: str
    types: dict[str, str]
    rows: int
    malformed: list[MalformedRow] = field(default_factory=list)


def find_sources(data: Path, *, shown_as: str) -> tuple[dict[str, Source], list[Problem]]:
    """Which table comes from which file.

    Parameters
    ----------
    data
        A folder of ``<table>.parquet``, ``<table>.csv`` or ``<table>/*.parquet``; or a DuckDB file.
    shown_as
        How messages name it.

    Returns
    -------
    sources : dict
        By table, in the contract's order.
    problems : list of Problem
        A table given twice, a folder without parts (fatal); a name that is no table (not fatal).

    Raises
    ------
    InputError
        If ``data`` is absent, or a file that is not a DuckDB database.
    """
    if "://" in shown_as:
        raise InputError(f"data: {shown_as}: only folders and DuckDB files can be read; export the tables to Parquet")
    if data.is_file():
        return _in_database(data, shown_as), []
    if not data.is_dir():
        raise InputError(f"data: {shown_as}: no such folder or file; put <table>.parquet or <table>.csv files there")
    found: dict[str, list[Source]] = {}
    problems: list[Problem] = []
    for path in sorted(data.iterdir()):
        name, suffix = path.stem, path.suffix.lower()
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            parts = tuple(sorted(part for part in path.glob("*.parquet") if not part.name.startswith(".")))
            if path.name not in TABLES:
                if parts:
                    problems.append(_no_table(path.name, path.name + "/"))
            elif parts:
                found.setdefault(path.name, []).append(Source(path.name, "parquet", parts))
            else:
                problems.append(Problem(path.name, None, "no_files", f"the folder {path.name}/ holds no .parquet file"))
        elif suffix in (".parquet", ".csv", ".tsv"):
            kind: SourceKind = "parquet" if suffix == ".parquet" else "csv"
            if name in TABLES:
                found.setdefault(name, []).append(Source(name, kind, (path,)))
            else:
                problems.append(_no_table(name, path.name))
        elif suffix in (".xlsx", ".xls", ".duckdb", ".db"):
            problems.append(_no_table(name, path.name))
    for name, sources in found.items():
        if len(sources) > 1:
            where = " and ".join(_shown(source) for source in sources)
            problems.append(
                Problem(
                    name, None, "given_twice", f"found in {where}", remedy="keep one of them and move the other away"
                )
            )
    return {name: found[name][0] for name in TABLES if name in found}, problems


def load(connection: duckdb.DuckDBPyConnection, source: Source) -> Raw:
    """Make a source a relation named ``raw_<table>``; a DuckDB file must have been attached by :func:`attach`.

    Raises
    ------
    UnreadableError
        If it is empty or cannot be read.
    """
    relation = f"raw_{source.table}"
    for path in source.files:
        if path.stat().st_size == 0:
            raise UnreadableError(f"{path.name} is empty (0 bytes)")
    if source.kind == "csv":
        return _load_csv(connection, source.files[0], relation, source.table)
    rows = sum(_parquet_rows(path) for path in source.files) if source.kind == "parquet" else 0
    try:
        if source.kind == "duckdb":
            select = f"SELECT '' AS {FILE}, row_number() OVER () AS {ROW}, * FROM {ATTACHED}.main.{quote(source.table)}"
            connection.execute(f"CREATE TABLE {relation} AS {select}")
        else:
            files = ", ".join(literal(str(path)) for path in source.files)
            options = f"filename = '{FILE}', file_row_number = true, union_by_name = {len(source.files) > 1}"
            columns = f"parse_filename({FILE}) AS {FILE}, file_row_number + 1 AS {ROW}"
            select = f"SELECT {columns}, * EXCLUDE ({FILE}, file_row_number) FROM read_parquet([{files}], {options})"
            connection.execute(f"CREATE VIEW {relation} AS {select}")
    except duckdb.Error as error:
        raise UnreadableError(f"{source.files[0].name} cannot be read: {_first_line(error)}") from None
    types = _types(connection, relation)
    if source.kind != "parquet":
        rows = int(connection.sql(f"SELECT count(*) AS n FROM {relation}").to_arrow_table()["n"][0].as_py())
    return Raw(relation, types, rows)


def attach(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    """Attach a DuckDB file, read only.

    Raises
    ------
    InputError
        If it is locked by another program or is of a newer version.
    """
    try:
        connection.execute(f"ATTACH {literal(str(database))} AS {ATTACHED} (READ_ONLY)")
    except duckdb.Error as error:
        raise InputError(
            f"{database.name} cannot be opened: {_first_line(error)}; "
            "close the program that is writing to it, or export its tables to Parquet"
        ) from None


def read_flat(path: str | Path) -> pd.DataFrame:
    """A flat table, from CSV (UTF-8 with or without BOM, GB18030, UTF-16) or Parquet.

    A CSV column becomes numbers only if every cell is one (``NA``, ``NaN`` and ``NULL`` then count as missing), and
    stays text where a number begins with a superfluous zero, as identifiers do. A word such as ``None`` stays a word.

    Raises
    ------
    InputError
        If the file is absent, empty, has no rows, names a column twice, or holds a row that does not fit its header.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes)")
    try:
        table = _flat_parquet(path) if path.suffix.lower() == ".parquet" else _flat_csv(path)
    except UnreadableError as error:
        raise InputError(f"{path}: {error}") from None
    doubled = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if doubled:
        raise InputError(f"{path}: column names given twice: {', '.join(map(repr, doubled))}; rename one of them")
    if table.num_rows == 0:
        raise InputError(f"{path}: the table has columns ({', '.join(table.column_names)}) but no rows")
    return table.to_pandas()


def _in_database(database: Path, shown_as: str) -> dict[str, Source]:
    with database.open("rb") as handle:
        head = handle.read(12)
    if not head:
        raise InputError(f"data: {shown_as}: the file is empty (0 bytes)")
    if head[8:12] != b"DUCK":
        raise InputError(
            f"data: {shown_as}: not a DuckDB database; name a folder of tables or a DuckDB file in uplift.yaml"
        )
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        attach(connection, database)
        rows = connection.sql(
            f"SELECT table_name AS t FROM information_schema.tables WHERE table_catalog = '{ATTACHED}' "
            "AND table_schema = 'main'"
        ).to_arrow_table()
    present = set(rows["t"].to_pylist())
    if not present & set(TABLES):
        known = ", ".join(TABLES)
        raise InputError(f"data: {shown_as}: none of its tables is one of the contract's: {known}")
    return {name: Source(name, "duckdb", (database,)) for name in TABLES if name in present}


def _load_csv(connection: duckdb.DuckDBPyConnection, path: Path, relation: str, table: str) -> Raw:
    text = CsvText.open(path, TABLES[table].names)
    header = [name or f"(column {i})" for i, name in enumerate(text.header, 1)]
    lower = [name.lower() for name in header]
    doubled = sorted({name for name in header if lower.count(name.lower()) > 1})
    if doubled:
        raise UnreadableError(f"{path.name} names a column twice: {', '.join(map(repr, doubled))}; rename one of them")
    names = [FILE, ROW, *header]
    schema = pa.schema([(FILE, pa.string()), (ROW, pa.int64()), *((name, pa.string()) for name in header)])
    rows = 0

    def stream() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for numbers, batch in text.batches():
            rows += batch.num_rows
            file = pa.repeat(pa.scalar(path.name), batch.num_rows)
            yield pa.RecordBatch.from_arrays([file, pa.array(numbers, pa.int64()), *batch.columns], schema=schema)

    connection.execute(f"CREATE TABLE {relation} ({', '.join(f'{quote(n)} {_csv_type(n)}' for n in names)})")
    for batch in stream():
        connection.register("_batch", pa.Table.from_batches([batch]))
        connection.execute(f"INSERT INTO {relation} SELECT * FROM _batch")
        connection.unregister("_batch")
    types = dict.fromkeys(header, "VARCHAR")
    return Raw(relation, types, rows + len(text.malformed), text.malformed)


def _csv_type(name: str) -> str:
    return "BIGINT" if name == ROW else "VARCHAR"


def _types(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    described = connection.sql(f"DESCRIBE {relation}").to_arrow_table().to_pylist()
    return {
        str(row["column_name"]): str(row["column_type"]) for row in described if row["column_name"] not in (FILE, ROW)
    }


def _parquet_rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except pa.ArrowInvalid:
        raise UnreadableError(
            f"{path.name} cannot be read: it is no complete Parquet file ({path.stat().st_size:,} bytes; its end is "
            "missing or damaged, as when writing or copying was interrupted); write or copy it again"
        ) from None
    except OSError as error:
        raise UnreadableError(f"{path.name} cannot be read: {error}") from None


def _flat_parquet(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableError(f"not a Parquet file: {error}") from None


def _flat_csv(path: Path) -> pa.Table:
    text = CsvText.open(path)
    schema = pa.schema([(f"f{i}", pa.string()) for i in range(len(text.header))])
    table = pa.Table.from_batches([batch for _, batch in text.batches()], schema=schema)
    if text.malformed:
        numbers = ", ".join(str(row.number) for row in text.malformed[:5])
        raise UnreadableError(
            f"{len(text.malformed)} row(s) do not fit the header of {len(text.header)} columns (row {numbers}); "
            "a cell that holds the delimiter or a line break must stand in quotes"
        )
    return pa.table([_inferred(column) for column in table.columns], names=list(text.header))


def _inferred(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as whole numbers, numbers or flags where every cell is one."""
    cells = pc.if_else(pc.is_in(column, pa.array(_MISSING_NUMBERS)), pa.scalar(None, pa.string()), column)
    given = cells.drop_null()
    if len(given) == 0:
        return column if len(column.drop_null()) else column.cast(pa.float64())
    if pc.all(pc.match_substring_regex(given, r"^[+-]?(0|[1-9][0-9]{0,17})$")).as_py():
        return pc.replace_substring_regex(cells, r"^\+", "").cast(pa.int64())
    if pc.all(
        pc.match_substring_regex(given, r"^[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$")
    ).as_py():
        return pc.replace_substring_regex(cells, r"^\+", "").cast(pa.float64())
    lower = pc.utf8_lower(column.drop_null())
    if pc.all(pc.is_in(lower, pa.array(["true", "false"]))).as_py():
        return pc.equal(pc.utf8_lower(column), "true")
    return column


def _no_table(name: str, file: str) -> Problem:
    if file.lower().endswith((".xlsx", ".xls")):
        hint = "export its sheets as <table>.csv"
    elif file.lower().endswith((".duckdb", ".db")):
        hint = "name this file itself as data: in uplift.yaml"
    else:
        hint = did_you_mean(name.lower(), TABLES)
    return Problem(
        name, None, "unknown_table", f"{file} is not a table of the contract and is not read", remedy=hint, fatal=False
    )


def _shown(source: Source) -> str:
    return source.files[0].name if len(source.files) == 1 else f"{source.table}/"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
