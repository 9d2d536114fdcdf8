"""Arrays of a chunk as Arrow tables of the contract, and their streaming to Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from uplift.data.contract import TABLES

EFFECTS_SCHEMA = pa.schema(
    [
        ("member_id", pa.string()),
        ("experiment_id", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("offer_id", pa.string()),
        ("window_days", pa.int64()),
        ("effect_conversion", pa.float64()),
        ("effect_spend", pa.float64()),
        ("effect_margin", pa.float64()),
        ("life", pa.string()),
    ]
)
UNIQUE = frozenset({"order_id", "event_id", "touch_id", "contract_id", "source_id"})
"""Columns whose values hardly repeat: a dictionary would only cost time."""


def numbered(prefix: str, numbers: npt.NDArray[np.int64], width: int) -> pa.Array:
    """Strings such as ``M0000042``: a prefix and a number padded with zeros, without a loop over rows."""
    head = np.frombuffer(prefix.encode("ascii"), dtype=np.uint8)
    characters = np.empty((len(numbers), len(head) + width), dtype=np.uint8)
    characters[:, : len(head)] = head
    rest = numbers.astype(np.int64)
    for place in range(len(head) + width - 1, len(head) - 1, -1):
        rest, digit = np.divmod(rest, 10)
        characters[:, place] = digit + ord("0")
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * characters.shape[1]
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(characters))


def coded(names: Sequence[str] | pa.Array, codes: npt.NDArray[np.int64]) -> pa.Array:
    """``names[codes]`` as strings, null where the code is −1."""
    values = names if isinstance(names, pa.Array) else pa.array(list(names), pa.string())
    return values.take(pa.array(codes, mask=codes < 0))


def instants(us: npt.NDArray[np.int64], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Microseconds since 1970 as Arrow instants."""
    return pa.array(us, mask=missing).cast(pa.timestamp("us", tz="UTC"))


def contract_table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """A table of the contract; columns that are not given are null."""
    return arrow_table(TABLES[name].arrow_schema, columns)


def arrow_table(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
    """A table of that schema; columns that are not given are null."""
    rows = len(next(iter(columns.values())))
    arrays = []
    for column in schema:
        values = columns.get(column.name)
        if values is None:
            arrays.append(pa.nulls(rows, column.type))
        else:
            array = values if isinstance(values, pa.Array) else pa.array(values)
            arrays.append(array if array.type == column.type else array.cast(column.type))
    return pa.Table.from_arrays(arrays, schema=schema)


class Streams:
    """Parquet files that grow by one row group a chunk.

    They are written beside where they belong, and moved there by :meth:`finish` once all are complete.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.rows: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        """Append tables; names are paths without the ending, such as ``data/orders``. No rows, no file."""
        for name, table in tables.items():
            self.rows.setdefault(name, 0)
            if not table.num_rows:
                continue
            if name not in self._writers:
                path = self._folder / f"{name}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                texts = [c.name for c in table.schema if pa.types.is_string(c.type) and c.name not in UNIQUE]
                self._writers[name] = pq.ParquetWriter(
                    path, table.schema, compression="zstd", compression_level=1, use_dictionary=texts
                )
            self._writers[name].write_table(table, row_group_size=table.num_rows)
            self.rows[name] += table.num_rows
