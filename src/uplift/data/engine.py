"""The engine: every table of the contract as a view in a hardened DuckDB."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
import pyarrow as pa

from uplift.config import Workspace
from uplift.data._cells import EXPECTED, accepts, given_sql, literal, quote, value_sql
from uplift.data._frames import Table, as_arrow
from uplift.data.contract import SQL_TYPES, TABLES, TableSchema
from uplift.errors import ConfigError, ContractError, InputError, Problem, did_you_mean, unknown_name

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

_UTC = pa.timestamp("us", tz="UTC")


class Engine:
    """The twelve tables, ready to query.

    Every table of :data:`uplift.data.contract.TABLES` is a relation with all of the contract's columns in order: an
    absent column is NULL, an absent table is empty, and ``known_at`` is the event time where it was not given. The
    session's time zone is the workspace's, so that ``hour(ordered_at)`` is the local hour.

    Make one with :meth:`open` or :meth:`from_tables`; close it, or use it as a context manager.

    Attributes
    ----------
    connection
        The DuckDB connection, its configuration locked.
    timezone
        IANA name of the session's zone.
    workspace
        Where the tables come from; None for tables in memory.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, *, timezone: str, workspace: Workspace | None = None
    ) -> None:
        self.connection = connection
        self.timezone = timezone
        self.workspace = workspace
        self._registered: dict[str, pa.Table] = {}

    @classmethod
    def open(
        cls, workspace: Workspace | str | Path, *, threads: int | None = None, memory_limit: str | None = None
    ) -> Engine:
        """An engine over a workspace's tables, checked.

        The record of the last ``uplift check`` is used unless a file has changed since; then the check runs again. Rows
        in quarantine are left out.

        Parameters
        ----------
        workspace
            An opened workspace, or its folder.
        threads
            At most so many; None is one per core.
        memory_limit
            Such as ``"4GB"``; None is DuckDB's own, most of the machine's memory.

        Raises
        ------
        ContractError
            If a table is refused; it lists everything that is wrong.
        ConfigError
            If the workspace cannot be opened.
        """
        from uplift.data.check import current_check

        if not isinstance(workspace, Workspace):
            workspace = Workspace.open(workspace)
        report = current_check(workspace, threads=threads)
        refuse(report.problems)
        temporary = workspace.root / ".uplift" / "tmp"
        timezone = workspace.config.timezone
        connection = connect(timezone, threads=threads, memory_limit=memory_limit, temporary=temporary)
        try:
            for name, schema in TABLES.items():
                table = report.tables.get(name)
                if table is None:
                    select = empty_sql(schema)
                elif table.clean is not None:
                    select = complete_sql(schema, schema.names, parquet_sql([workspace.checked / table.clean]))
                else:
                    parts = [(workspace.root / file["path"]).resolve() for file in table.files]
                    select = complete_sql(schema, table.given, parquet_sql(parts))
                connection.execute(f"CREATE VIEW {name} AS {select}")
            data = workspace.data.resolve()
            harden(connection, [workspace.root, data if data.is_dir() else data.parent])
        except BaseException:
            connection.close()
            raise
        return cls(connection, timezone=timezone, workspace=workspace)

    @classmethod
    def from_tables(
        cls,
        tables: Mapping[str, Table],
        *,
        timezone: str = "Asia/Shanghai",
        threads: int | None = None,
        memory_limit: str | None = None,
    ) -> Engine:
        """An engine over tables in memory, for notebooks and tests.

        Columns are read as the contract's types; keys, references and ranges are not looked at (``uplift check`` does).

        Raises
        ------
        ContractError
            If a table or a column is not the contract's, a required column is absent, or a cell cannot be read.
        """
        connection = connect(timezone, threads=threads, memory_limit=memory_limit)
        try:
            problems: list[Problem] = []
            for name in tables:
                if name not in TABLES:
                    problems.append(Problem(name, None, "unknown_table", did_you_mean(name, TABLES)))
            for name, schema in TABLES.items():
                if name not in tables:
                    connection.execute(f"CREATE VIEW {name} AS {empty_sql(schema)}")
                    continue
                problems += _load(connection, schema, as_arrow(tables[name]))
            refuse(problems)
            harden(connection, ())
        except BaseException:
            connection.close()
            raise
        return cls(connection, timezone=timezone)

    def query(self, sql: str, parameters: Parameters | None = None) -> pa.Table:
        """The result of a statement.

        Parameters
        ----------
        parameters
            A list for ``?``, a mapping for ``$name``.

        Returns
        -------
        pyarrow.Table
            Times are ``timestamp[us, tz=UTC]``; sums of integers are ``int64``.
        """
        relation = self.connection.sql(sql, params=parameters)
        return normalized(relation.to_arrow_table()) if relation is not None else pa.table({})

    def batches(self, sql: str, rows: int = 65_536, parameters: Parameters | None = None) -> Iterator[pa.RecordBatch]:
        """The result of a statement as record batches of at most ``rows`` rows, without holding it whole.

        Other queries may run while the batches are read. Registered tables are seen; temporary ones are not.
        """
        cursor = self.connection.cursor()
        try:
            for name, table in self._registered.items():
                cursor.register(name, table)
            relation = cursor.sql(sql, params=parameters)
            for batch in relation.to_arrow_reader(rows):
                if batch.num_rows:
                    yield normalized(pa.Table.from_batches([batch])).combine_chunks().to_batches()[0]
        finally:
            cursor.close()

    def register(self, name: str, table: Table) -> None:
        """Let statements see ``table`` as ``name``; a table of that name registered before is replaced.

        Raises
        ------
        InputError
            If ``name`` is one of the contract's tables.
        """
        if name in TABLES:
            raise InputError(f"{name!r} is a table of the contract; register under another name")
        arrow = as_arrow(table)
        self.connection.register(name, arrow)
        self._registered[name] = arrow

    def unregister(self, name: str) -> None:
        """Forget a registered table."""
        if name not in self._registered:
            raise unknown_name("registered table", name, self._registered)
        self.connection.unregister(name)
        del self._registered[name]

    def rows(self, name: str) -> int:
        """How many rows a table of the contract has."""
        if name not in TABLES:
            raise unknown_name("table", name, TABLES)
        return int(self.query(f"SELECT count(*) AS n FROM {name}")["n"][0].as_py())

    def close(self) -> None:
        """Release the connection; the engine cannot be used afterwards."""
        self._registered.clear()
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "in memory" if self.workspace is None else f"workspace {self.workspace.root.name!r}"
        return f"Engine({where}, timezone={self.timezone!r})"


def connect(
    timezone: str,
    *,
    threads: int | None = None,
    memory_limit: str | None = None,
    temporary: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB in a time zone that downloads nothing and sees no Python variables; not yet locked.

    Parameters
    ----------
    threads
        At most so many; None is one per core.
    memory_limit
        Such as ``"4GB"``; None is DuckDB's own.
    temporary
        Where it may spill; None forbids spilling.

    Raises
    ------
    ConfigError
        If the zone is not known.
    """
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"timezone {timezone!r}: not an IANA name such as Asia/Shanghai") from None
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "temp_directory": "" if temporary is None else str(temporary),
    }
    if threads is not None:
        settings["threads"] = str(threads)
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    if temporary is not None:
        temporary.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(":memory:", config=settings)
    except (duckdb.InvalidInputException, duckdb.ParserException, duckdb.SyntaxException) as error:
        raise ConfigError(f"threads={threads!r}, memory_limit={memory_limit!r}: {error}") from None
    connection.execute(f"SET GLOBAL TimeZone = '{timezone}'")
    with suppress(duckdb.InvalidInputException):  # a notebook without ipywidgets has no bar, and none to switch off
        connection.execute("SET enable_progress_bar = false")  # it would write into what is printed for machines
    return connection


def harden(connection: duckdb.DuckDBPyConnection, folders: Sequence[Path]) -> None:
    """Allow files in ``folders`` only, forbid everything else outside, and lock the settings."""
    allowed = ", ".join(literal(f"{folder}/") for folder in folders)
    if folders:
        connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def refuse(problems: Sequence[Problem]) -> None:
    """Raise :class:`ContractError` if any problem is fatal, listing those that are."""
    fatal = [problem for problem in problems if problem.fatal]
    if fatal:
        raise ContractError(fatal)


def empty_sql(schema: TableSchema) -> str:
    """A table of the contract without rows."""
    columns = ", ".join(f"NULL::{SQL_TYPES[column.kind]} AS {quote(column.name)}" for column in schema.columns)
    return f"SELECT {columns} WHERE false"


def parquet_sql(files: Sequence[Path]) -> str:
    """The rows of Parquet parts; a column that one part lacks is NULL there."""
    paths = ", ".join(literal(str(path)) for path in files)
    return f"read_parquet([{paths}], union_by_name = {len(files) > 1})"


def complete_sql(schema: TableSchema, given: Collection[str], relation: str) -> str:
    """A relation with all of the contract's columns, in order and of its types.

    Parameters
    ----------
    given
        The columns that ``relation`` has; the others become NULL, and ``known_at`` the event time.
    """
    columns = []
    for column in schema.columns:
        kind = SQL_TYPES[column.kind]
        value = f"{quote(column.name)}::{kind}" if column.name in given else f"NULL::{kind}"
        if column.name == "known_at" and schema.event_time is not None:
            event_time = quote(schema.event_time)
            value = f"coalesce({value}, {event_time})" if column.name in given else event_time
        columns.append(f"{value} AS {quote(column.name)}")
    return f"SELECT {', '.join(columns)} FROM {relation}"


def normalized(table: pa.Table) -> pa.Table:
    """Times in UTC microseconds, and DuckDB's 128-bit sums of integers as ``int64``."""
    fields = [pa.field(field.name, _plain_type(field.type), field.nullable) for field in table.schema]
    schema = pa.schema(fields)
    return table if schema.equals(table.schema) else table.cast(schema)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return _UTC
    if pa.types.is_decimal(kind) and kind.precision == 38 and kind.scale == 0:
        return pa.int64()
    return kind


def _load(connection: duckdb.DuckDBPyConnection, schema: TableSchema, table: pa.Table) -> list[Problem]:
    """Create the contract's table from Arrow, or say what is wrong with it."""
    name = schema.name
    connection.register("_given", table)
    types = {
        str(row["column_name"]): str(row["column_type"])
        for row in connection.sql("DESCRIBE _given").to_arrow_table().to_pylist()
    }
    problems = [
        Problem(name, column, "unknown_column", f"not a column of this table; {did_you_mean(column, schema.names)}")
        for column in types
        if column not in schema.names
    ]
    given = {}
    bad = {}
    for column in schema.columns:
        if column.name not in types:
            if column.required:
                problems.append(Problem(name, column.name, "missing_column", "this column is required and absent"))
            continue
        kind, sql_type, cell = column.kind, types[column.name], quote(column.name)
        if not accepts(kind, sql_type):
            problems.append(
                Problem(name, column.name, "wrong_type", f"expected {EXPECTED[kind]}, found the type {sql_type}")
            )
            continue
        given[column.name] = value_sql(cell, kind, sql_type)
        bad[column.name] = f"{given_sql(cell, kind, sql_type)} AND ({given[column.name]}) IS NULL"
    if not problems and bad:
        counts = ", ".join(f"count(*) FILTER ({test}) AS {quote(column)}" for column, test in bad.items())
        found = connection.sql(f"SELECT {counts} FROM _given").to_arrow_table().to_pylist()[0]
        problems += [
            Problem(name, column, "bad_cell", f"expected {EXPECTED[schema.column(column).kind]}", count=int(count))
            for column, count in found.items()
            if count
        ]
    if not problems:
        values = ", ".join(f"{value} AS {quote(column)}" for column, value in given.items())
        connection.execute(f"CREATE TABLE {name} AS {complete_sql(schema, given, f'(SELECT {values} FROM _given)')}")
    connection.unregister("_given")
    return problems
