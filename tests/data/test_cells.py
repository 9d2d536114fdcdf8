"""Cells: every source type as the contract's, exactly or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from uplift.data._cells import accepts, can_fail, given_sql, is_cheap, value_sql
from uplift.data.contract import Kind
from uplift.data.engine import connect, normalized

MISSING, BAD = object(), object()


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect("Asia/Shanghai") as made:
        yield made


def read(connection: duckdb.DuckDBPyConnection, kind: Kind, cell: pa.Array) -> Any:
    connection.register("t", pa.table({"c": cell}))
    sql_type = str(connection.sql("DESCRIBE t").to_arrow_table()["column_type"][0].as_py())
    assert accepts(kind, sql_type)
    found = connection.sql(
        f"SELECT {given_sql('c', kind, sql_type)} AS given, {value_sql('c', kind, sql_type)} AS v FROM t"
    )
    row = normalized(found.to_arrow_table()).to_pylist()[0]
    if row["v"] is None and row["given"]:
        assert can_fail(kind, sql_type), "the check would not look at this cell"
        return BAD
    if row["v"] is None:
        return MISSING
    assert row["given"]
    return row["v"]


SHANGHAI_NOON = datetime(2024, 7, 1, 4, tzinfo=UTC)
CASES: list[tuple[Kind, Any, Any]] = [
    # whole numbers: nothing is rounded, no separators, no other bases
    *(("money", text, BAD) for text in ("12.5", "1,000", "1e3", "1_000", "0x10", "ten", "--1", "1 0", "9" * 20, "nan")),
    *(("money", text, number) for text, number in (("12", 12), (" 12 ", 12), ("-12", -12), ("+12", 12), ("12.0", 12))),
    ("money", "-0", 0),
    ("money", "007", 7),
    ("integer", str(2**63 - 1), 2**63 - 1),
    ("integer", "", MISSING),
    ("integer", "  ", MISSING),
    # numbers
    *(("number", text, BAD) for text in ("1,5", "abc", "inf", "nan", "NaN", "1e", "0x1", "1_0", "1e999")),
    *(("number", text, 0.5) for text in ("0.5", ".5", "5e-1", "+0.5", " 0.5")),
    ("share", "50%", BAD),
    # times
    *(("time", text, SHANGHAI_NOON) for text in ("2024-07-01 12:00", "2024/7/1 12:00:00", "2024-07-01T12:00:00.000")),
    *(
        ("time", text, SHANGHAI_NOON)
        for text in ("2024-07-01T04:00:00Z", "2024-07-01 06:00:00+02:00", "20240701120000")
    ),
    ("time", "2024年7月1日 12:00", SHANGHAI_NOON),
    *(("time", text, datetime(2024, 6, 30, 16, tzinfo=UTC)) for text in ("2024-07-01", "2024/7/1", "20240701")),
    *(
        ("time", text, BAD)
        for text in ("01/02/2024", "2024-13-01", "2024-02-30", "12:00", "45000", "2024", "now", "epoch")
    ),
    *(("time", text, BAD) for text in ("infinity", "2024-07-01 25:00", "Jul 1 2024", "2024071")),
    # dates
    *(("date", text, date(2024, 7, 1)) for text in ("2024-07-01", "2024/7/1", "20240701", "2024年7月1日")),
    ("date", "2024-07-01 00:00:00", date(2024, 7, 1)),
    *(("date", text, BAD) for text in ("2024-07-01 10:00 PM", "2024-02-30", "1/7/2024", "07-01", "infinity")),
    # flags
    *(("flag", text, True) for text in ("true", "TRUE", "1", "yes", "是", "Y", "1.0")),
    *(("flag", text, False) for text in ("false", "0", "No", "否", "0.0")),
    *(("flag", text, BAD) for text in ("2", "maybe", "on")),
    # text stays as it is
    ("text", " x ", " x "),
    ("text", "=1+1", "=1+1"),
    ("id", "", MISSING),
    ("id", "0012", "0012"),
]


@pytest.mark.parametrize(("kind", "text", "wanted"), CASES)
def test_text(connection: duckdb.DuckDBPyConnection, kind: Kind, text: str, wanted: Any) -> None:
    assert read(connection, kind, pa.array([text])) == wanted


@pytest.mark.parametrize(
    ("kind", "cell", "wanted"),
    [
        ("money", pa.array([12.0]), 12),
        ("money", pa.array([12.5]), BAD),
        ("money", pa.array([float("nan")]), MISSING),
        ("money", pa.array([float("inf")]), BAD),
        ("money", pa.array([1e300]), BAD),
        ("money", pa.array([7], pa.int8()), 7),
        ("money", pa.array([2**64 - 1], pa.uint64()), BAD),
        ("money", pa.array([Decimal("3.00")]), 3),
        ("money", pa.array([Decimal("3.50")]), BAD),
        ("id", pa.array([12]), "12"),
        ("id", pa.array([12.0]), "12"),
        ("id", pa.array([12.5]), BAD),
        ("id", pa.array(["a"]).dictionary_encode(), "a"),
        ("text", pa.array([True]), "true"),
        ("text", pa.array([float("inf")]), BAD),
        ("text", pa.nulls(1), MISSING),
        ("number", pa.array([float("-inf")]), BAD),
        ("number", pa.array([1.5], pa.float32()), 1.5),
        ("number", pa.array([Decimal("1.5")]), 1.5),
        ("flag", pa.array([1]), True),
        ("flag", pa.array([0.0]), False),
        ("flag", pa.array([2]), BAD),
        ("time", pa.array([datetime(2024, 7, 1, 12)], pa.timestamp("ns")), SHANGHAI_NOON),
        ("time", pa.array([date(2024, 7, 1)]), datetime(2024, 6, 30, 16, tzinfo=UTC)),
        ("date", pa.array([datetime(2024, 7, 1)]), date(2024, 7, 1)),
        ("date", pa.array([date(2024, 7, 1)], pa.date64()), date(2024, 7, 1)),
    ],
)
def test_typed(connection: duckdb.DuckDBPyConnection, kind: Kind, cell: pa.Array, wanted: Any) -> None:
    assert read(connection, kind, cell) == wanted


@pytest.mark.parametrize(
    ("kind", "sql_type"),
    [
        ("time", "BIGINT"),
        ("date", "INTEGER"),
        ("money", "BOOLEAN"),
        ("id", "BLOB"),
        ("text", "VARCHAR[]"),
        ("flag", "DATE"),
    ],
)
def test_types_that_say_nothing_are_not_guessed(kind: Kind, sql_type: str) -> None:
    assert not accepts(kind, sql_type)


def test_what_a_view_may_do_in_every_query() -> None:
    assert is_cheap("money", "INTEGER")
    assert is_cheap("time", "TIMESTAMP WITH TIME ZONE")
    assert not is_cheap("time", "TIMESTAMP")
    assert not is_cheap("money", "VARCHAR")
    assert not is_cheap("money", "DOUBLE")
