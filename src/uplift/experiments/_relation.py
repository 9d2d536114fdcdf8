"""A table that is not read into memory: files seen through DuckDB, and what is known of their columns."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from uplift.data.engine import connect, harden
from uplift.errors import DesignError, InputError

Family = Literal["flag", "integer", "decimal", "float", "text", "date", "time", "other"]
SAMPLE = 65_536
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"}


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest value of a numeric column, and how many rows have none; NaN without any value."""

    low: float
    high: float
    empty: int

    @property
    def constant(self) -> bool:
        """Whether all values are the same."""
        return not self.high > self.low


class Relation:
    """Rows that DuckDB reads, in one pass a question.

    Attributes
    ----------
    sql
        What stands after FROM.
    types
        Column → DuckDB type.
    files
        Parquet parts whose footers may be asked; empty otherwise.
    rows
        Rows in all.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, sql: str, files: Sequence[Path] = ()) -> None:
        self.connection, self.sql, self.files = connection, sql, tuple(files)
        described = self.records(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {sql})")
        self.types = {str(row["column_name"]): str(row["column_type"]) for row in described}
        self._footers = [pq.read_metadata(file) for file in self.files]
        self.rows = (
            sum(footer.num_rows for footer in self._footers)
            if self.files
            else int(self.one(f"SELECT count(*) FROM {sql}"))
        )

    def records(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query as mappings.

        Raises
        ------
        InputError
            If the rows cannot be read.
        """
        try:
            result = self.connection.execute(sql)
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        except (duckdb.ConversionException, duckdb.OutOfRangeException):
            raise
        except duckdb.Error as error:
            raise InputError(f"the table cannot be read: {str(error).splitlines()[0]}") from None

    def one(self, sql: str) -> Any:
        """The only value of a query."""
        return next(iter(self.records(sql)[0].values()))

    def family(self, column: str) -> Family:
        """What kind of values a column holds."""
        kind = self.types[column]
        if kind == "BOOLEAN":
            return "flag"
        if kind in _INTEGERS:
            return "integer"
        if kind.startswith("DECIMAL"):
            return "decimal"
        if kind in ("DOUBLE", "FLOAT"):
            return "float"
        if kind == "VARCHAR" or kind.startswith("ENUM"):
            return "text"
        if kind == "DATE":
            return "date"
        return "time" if kind.startswith("TIME") else "other"

    def is_number(self, column: str) -> bool:
        """Whether it holds numbers or flags."""
        return self.family(column) in ("flag", "integer", "decimal", "float")

    def bounds(self, columns: Sequence[str], *, scan: bool = False) -> dict[str, Bounds]:
        """Bounds of numeric columns: from footers of Parquet parts, at no cost, else (or with ``scan``) from values."""
        known: dict[str, Bounds] = {}
        if self.files and not scan:
            known = {name: found for name in columns if (found := self._from_footers(name)) is not None}
        rest = [name for name in columns if name not in known]
        if rest:
            parts = []
            for i, name in enumerate(rest):
                value, given = quote(name), given_sql(quote(name), self.family(name))
                parts.append(
                    f"min({value}) FILTER (WHERE {given})::DOUBLE AS low{i}, "
                    f"max({value}) FILTER (WHERE {given})::DOUBLE AS high{i}, "
                    f"count(*) FILTER (WHERE NOT ({given})) AS e{i}"
                )
            row = self.records(f"SELECT {', '.join(parts)} FROM {self.sql}")[0]
            for i, name in enumerate(rest):
                low, high = row[f"low{i}"], row[f"high{i}"]
                known[name] = Bounds(math.nan if low is None else low, math.nan if high is None else high, row[f"e{i}"])
        return {name: known[name] for name in columns}

    def _from_footers(self, column: str) -> Bounds | None:
        low, high, empty = math.inf, -math.inf, 0
        for footer in self._footers:
            places = [i for i in range(footer.num_columns) if footer.schema.column(i).path == column]
            if len(places) != 1:
                return None
            for group in range(footer.num_row_groups):
                chunk = footer.row_group(group).column(places[0])
                stats = chunk.statistics
                if stats is None or not stats.has_null_count:
                    return None
                empty += stats.null_count
                if stats.null_count == footer.row_group(group).num_rows:
                    continue
                if not stats.has_min_max or not isinstance(stats.min, bool | int | float | Decimal):
                    return None
                if stats.min != stats.min or stats.max != stats.max:
                    return None  # NaN
                low, high = min(low, float(stats.min)), max(high, float(stats.max))
        return Bounds(low, high, empty) if low <= high else Bounds(math.nan, math.nan, empty)

    def head(self) -> Relation:
        """The first rows, for what need not be exact."""
        return Relation(self.connection, f"(SELECT * FROM {self.sql} LIMIT {SAMPLE})")

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """The first rows, for what need not be exact."""
        chosen = ", ".join(quote(name) for name in columns)
        return self.connection.sql(f"SELECT {chosen} FROM {self.sql} LIMIT {SAMPLE}").to_arrow_table()


@contextmanager
def opened(
    source: str | Path | Sequence[str | Path], *, threads: int | None, memory_limit: str | None
) -> Iterator[Relation]:
    """Parquet parts (a file, a folder, a pattern, a list) or CSV files, through a hardened DuckDB that may spill.

    Raises
    ------
    InputError
        If nothing is there, or it cannot be read.
    """
    files = list(_files(source))
    suffixes = {file.suffix.lower() for file in files}
    if len(suffixes) > 1:
        raise InputError(f"{_shown(source)}: parts of one kind only, found {', '.join(sorted(suffixes))}")
    paths = ", ".join(literal(str(file.resolve())) for file in files)
    parquet = suffixes == {".parquet"}
    if not parquet and suffixes != {".csv"}:
        raise InputError(
            f"{_shown(source)}: Parquet or CSV files can be summed in the engine, found {suffixes.pop()!r}"
        )
    sql = f"read_parquet([{paths}], union_by_name = {len(files) > 1})" if parquet else f"read_csv([{paths}])"
    with tempfile.TemporaryDirectory(prefix="uplift-") as temporary:
        connection = connect("UTC", threads=threads, memory_limit=memory_limit, temporary=Path(temporary))
        try:
            connection.execute("SET preserve_insertion_order = false")
            # from footers that leave NaN out it would conclude that a column holds none
            connection.execute("SET disabled_optimizers = 'statistics_propagation'")
            harden(connection, sorted({file.resolve().parent for file in files} | {Path(temporary).resolve()}))
            yield Relation(connection, sql, files if parquet else ())
        except pa.ArrowInvalid as error:
            raise InputError(f"{_shown(source)}: not Parquet: {str(error).splitlines()[0]}") from None
        finally:
            connection.close()


def _files(source: str | Path | Sequence[str | Path]) -> Iterable[Path]:
    if not isinstance(source, str | Path):
        for one in source:
            yield from _files(one)
        return
    path = Path(source)
    if path.is_dir():
        found = sorted(part for part in path.glob("*.parquet") if not part.name.startswith((".", "_")))
        if not found:
            raise InputError(f"{path}: the folder holds no .parquet file")
        yield from found
    elif path.is_file():
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes)")
        yield path
    else:
        matched = sorted(path.parent.glob(path.name)) if "*" in path.name else []
        if not matched:
            raise InputError(f"{path}: no such file")
        yield from matched


def _shown(source: str | Path | Sequence[str | Path]) -> str:
    return str(source) if isinstance(source, str | Path) else ", ".join(map(str, source))


def quote(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def given_sql(value: str, family: Family) -> str:
    """Whether a cell holds a value; NaN is none."""
    return f"({value} IS NOT NULL AND NOT isnan({value}))" if family == "float" else f"({value} IS NOT NULL)"


def numbers_only(relation: Relation, columns: Mapping[str, str]) -> None:
    """Refuse columns that hold no numbers; ``columns`` says what each is wanted for.

    Raises
    ------
    DesignError
        Listing them.
    """
    wrong = [
        f"{role} {name!r} holds {relation.types[name]} in the file → numbers are summed: write it as numbers"
        for name, role in columns.items()
        if not relation.is_number(name)
    ]
    if wrong:
        raise DesignError("; ".join(wrong))
