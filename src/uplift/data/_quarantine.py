"""Rows that break the contract, as they were given, with their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from uplift.data._cells import quote
from uplift.data.readers import FILE, ROW, Raw
from uplift.data.writers import write_parquet_atomic
from uplift.errors import UpliftError

COLUMNS = ("reasons", "reason_columns", "source_file", "source_row", "source_text")


def write_quarantine(
    connection: duckdb.DuckDBPyConnection, path: Path, raw: Raw, bad: str, expected: int, file: str
) -> None:
    """Write ``path``: every column of the source as text, then :data:`COLUMNS`; no rows, no file.

    Parameters
    ----------
    bad
        Relation of the bad rows' ``FILE``, ``ROW``, ``reasons`` and ``reason_columns``, aligned lists.
    expected
        Rows that must arrive.
    file
        Name of the file that malformed records come from.

    Raises
    ------
    UpliftError
        If another number of rows arrives.
    """
    if not expected:
        path.unlink(missing_ok=True)
        return
    shown = {column: f"{column}_given" if column in COLUMNS else column for column in raw.types}
    cells = ", ".join(f"r.{quote(column)}::VARCHAR AS {quote(shown[column])}" for column in raw.types)
    reader = connection.sql(
        f"SELECT {cells}, b.reasons, b.reason_columns, {FILE} AS source_file, {ROW} AS source_row, "
        f"NULL::VARCHAR AS source_text FROM {raw.relation} r JOIN {bad} b USING ({FILE}, {ROW}) ORDER BY {FILE}, {ROW}"
    ).to_arrow_reader()
    written = write_parquet_atomic(path, _with_malformed(reader, raw, file), reader.schema)
    if written != expected:
        raise UpliftError(f"{path.name}: {expected} rows to quarantine, {written} written")


def _with_malformed(reader: pa.RecordBatchReader, raw: Raw, file: str) -> Iterator[pa.RecordBatch]:
    """The quarantined rows, and then those that could not even be cut into cells, as text."""
    yield from reader
    if raw.malformed:
        n = len(raw.malformed)
        cells = {
            "reasons": [["malformed_row"]] * n,
            "reason_columns": [[None]] * n,
            "source_file": [file] * n,
            "source_row": [row.number for row in raw.malformed],
            "source_text": [row.text for row in raw.malformed],
        }
        arrays = [pa.array(cells.get(field.name, [None] * n), field.type) for field in reader.schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=reader.schema)
