"""The fingerprint sees every cell, row, name and type, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift.data import as_arrow, fingerprint

N = 25_000


def table(n: int = N) -> pa.Table:
    rng = np.random.default_rng(0)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "id": [f"M{i}" for i in range(n)],
            "x": rng.normal(size=n),
            "n": rng.integers(0, 9, n),
            "flag": rng.random(n) < 0.5,
            "at": pa.array([start + timedelta(seconds=i) for i in range(n)], pa.timestamp("us", tz="UTC")),
            "day": pa.array([(start + timedelta(days=i % 900)).date() for i in range(n)]),
            "kinds": [["a"] * (i % 3) for i in range(n)],
        }
    )


def changed(original: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = original[column].to_pylist()
    assert values[row] != value
    values[row] = value
    index = original.column_names.index(column)
    return original.set_column(index, column, pa.array(values, original[column].type))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "other"),
        ("x", 1e-300),
        ("n", 99),
        ("flag", None),
        ("at", datetime(2031, 1, 1, tzinfo=UTC)),
        ("day", datetime(2031, 1, 1, tzinfo=UTC).date()),
        ("kinds", ["b", "c"]),
        ("x", None),
    ],
)
@pytest.mark.parametrize("row", [0, 10_001, N - 1])
def test_any_cell_in_any_row(column: str, value: object, row: int) -> None:
    original = table()
    assert fingerprint(original) != fingerprint(changed(original, column, row, value))


def test_rows_names_order_and_types() -> None:
    original = table(100)
    others = {
        "a row less": original.slice(0, 99),
        "two rows swapped": original.take([1, 0, *range(2, 100)]),
        "a column renamed": original.rename_columns(["ID", *original.column_names[1:]]),
        "columns in another order": original.select(original.column_names[::-1]),
        "another type": original.set_column(2, "n", original["n"].cast(pa.int32())),
        "another zone": original.set_column(4, "at", original["at"].cast(pa.timestamp("us", tz="Asia/Shanghai"))),
    }
    prints = {name: fingerprint(other) for name, other in others.items()} | {"original": fingerprint(original)}
    assert len(set(prints.values())) == len(prints)


def test_chunks_dictionaries_and_what_lies_under_nulls_leave_no_trace() -> None:
    original = table(1000)
    pieces = pa.concat_tables([original.slice(0, 333), original.slice(333, 1), original.slice(334)])
    coded = original.set_column(0, "id", original["id"].dictionary_encode())
    assert fingerprint(original) == fingerprint(pieces) == fingerprint(coded)
    mask = np.array([False, True, False])
    one, two = (pa.array(np.array([1, under, 3]), mask=mask) for under in (7, 8))
    assert fingerprint(pa.table({"x": one})) == fingerprint(pa.table({"x": two}))


def test_a_frame_and_its_arrow_table_agree() -> None:
    frame = pd.DataFrame({"a": ["x", None], "t": pd.to_datetime(["2024-01-01", None]).tz_localize("UTC")})
    assert fingerprint(frame) == fingerprint(as_arrow(frame)) == fingerprint(as_arrow(as_arrow(frame).to_pandas()))


def test_text_cannot_move_between_cells() -> None:
    assert fingerprint(pa.table({"a": ["ab", "c"]})) != fingerprint(pa.table({"a": ["a", "bc"]}))
    assert fingerprint(pa.table({"a": [["x"], []]})) != fingerprint(pa.table({"a": [[], ["x"]]}))
    assert fingerprint(pa.table({"a": [None, "x"]})) != fingerprint(pa.table({"a": ["x", None]}))
    assert fingerprint(pa.table({"a": [None]}, schema=pa.schema([("a", pa.string())]))) != fingerprint(
        pa.table({"a": [""]})
    )


def test_every_arrow_type_we_meet() -> None:
    exotic = pa.table(
        {
            "struct": [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
            "decimal": [Decimal("1.50"), None],
            "null": pa.nulls(2),
            "bytes": [b"\x00", b"\x01"],
            "f4": pa.array([1.0, float("nan")], pa.float32()),
            "time": pa.array([1, 2], pa.time64("us")),
        }
    )
    assert fingerprint(exotic) == fingerprint(exotic.slice(0))
    for name in exotic.column_names:
        if name != "null":
            swapped = exotic.set_column(exotic.column_names.index(name), name, exotic[name].take(pa.array([1, 0])))
            assert fingerprint(exotic) != fingerprint(swapped), name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=3) | st.none(), st.integers(-5, 5)), min_size=1, max_size=12), st.data())
def test_equal_exactly_when_the_data_is(rows: list[tuple[str | None, int]], data: st.DataObject) -> None:
    other = data.draw(st.permutations(rows))
    one, two = (
        pa.table({"a": pa.array([r[0] for r in r_], pa.string()), "b": [r[1] for r in r_]}) for r_ in (rows, other)
    )
    assert (fingerprint(one) == fingerprint(two)) == (rows == other)
