"""Features of every row of a spine: chunks of the spine, one statement per source, back into the spine's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uplift.data import Engine
from uplift.features._compile import SPINE, statements
from uplift.features._feature import Feature
from uplift.features._sources import SOURCES
from uplift.features._spine import Table, checked_spine
from uplift.features.catalogue import catalogue_for, choose

ARROW_TYPES: Mapping[str, pa.DataType] = {"number": pa.float64(), "text": pa.string(), "flag": pa.bool_()}
PAIRS_PER_CHUNK = 12_000_000
_SMALLEST, _LARGEST = 20_000, 500_000


def build(
    engine: Engine, spine: Table, names: Iterable[str] | None = None, *, catalogue: Mapping[str, Feature] | None = None
) -> pa.Table:
    """Features of every row of a spine, from what was known strictly before that row's as-of time.

    Parameters
    ----------
    spine
        ``member_id`` (text), ``as_of`` (with a zone) and any further columns, which pass through. A member may stand
        in it many times, at many times; a member without any row in the tables is kept.
    names
        Features in the order wanted; None: all of ``catalogue``.
    catalogue
        None: :func:`uplift.features.catalogue_for` of the engine.

    Returns
    -------
    pyarrow.Table
        The spine's columns, then the features: float64 (null: unknown), text, or booleans; the spine's rows in its
        order.

    Raises
    ------
    InputError
        If the spine or a name is wrong.

    Examples
    --------
    >>> engine = Engine.from_tables({})
    >>> spine = pa.table({"member_id": ["a"], "as_of": pa.array([0], pa.timestamp("us", "UTC"))})
    >>> build(engine, spine, ["orders_total", "days_since_last_order"]).to_pylist()[0]["orders_total"]
    0.0
    """
    features = choose(names, catalogue_for(engine) if catalogue is None else catalogue)
    table = checked_spine(spine, [feature.name for feature in features])
    columns: dict[str, list[pa.Array]] = {feature.name: [] for feature in features}
    composed = statements(features)
    by_source = {name: [feature for feature in features if feature.source == name] for name in composed}
    for source, sql in composed.items():
        mine = by_source[source]
        for first, size in spine_chunks(engine, SOURCES[source].table, table.num_rows):
            found = run_on_spine(engine, sql, table.slice(first, size))
            for feature in mine:
                columns[feature.name].append(_aligned(found, feature, size))
    for feature in features:
        kind = ARROW_TYPES[feature.kind]
        table = table.append_column(pa.field(feature.name, kind), pa.chunked_array(columns[feature.name], kind))
    return table


def run_on_spine(engine: Engine, sql: str, spine: pa.Table) -> pa.Table:
    """The result of a statement that reads the spine, ordered by nothing; the spine is registered for its time."""
    rows = pa.table(
        {
            "spine_row": pa.array(np.arange(spine.num_rows, dtype=np.int64)),
            "member_id": spine.column("member_id"),
            "as_of": spine.column("as_of"),
        }
    )
    engine.register(SPINE, rows)
    try:
        return engine.query(sql)
    finally:
        engine.unregister(SPINE)


def positions(found: pa.Table, size: int) -> pa.Array:
    """For every spine row, the row of ``found`` that is about it; null where there is none."""
    where = np.full(size, -1, dtype=np.int64)
    where[found.column("spine_row").to_numpy()] = np.arange(found.num_rows)
    return pa.array(where, mask=where < 0)


def _aligned(found: pa.Table, feature: Feature, size: int) -> pa.Array:
    column = found.column(feature.name).combine_chunks().take(positions(found, size))
    column = column.cast(ARROW_TYPES[feature.kind])
    return column if feature.empty is None else pc.fill_null(column, feature.empty)


def spine_chunks(engine: Engine, table: str, rows: int) -> Iterator[tuple[int, int]]:
    """Slices (first, size) of the spine whose pairs with a table's rows fit in memory, judged by rows per member."""
    if rows <= _SMALLEST:
        yield 0, rows
        return
    counts = engine.query(
        f"SELECT (SELECT count(*) FROM {table}) AS n, (SELECT count(*) FROM members) AS members"
    ).to_pylist()[0]
    per_member = max(1.0, counts["n"] / max(counts["members"], 1))
    size = int(min(max(PAIRS_PER_CHUNK / per_member, _SMALLEST), _LARGEST))
    for first in range(0, rows, size):
        yield first, min(size, rows - first)
