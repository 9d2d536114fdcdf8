"""As-of features of the whole catalogue, against one bare aggregation of the orders."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa

from benchmarks._measure import Ratio, in_turn
from uplift.config import Workspace
from uplift.data import Engine
from uplift.data.simulator import simulate
from uplift.features import build, parse_as_of, spine_of_members

FLOOR = """
    SELECT s.member_id, count(*), sum(o.amount), max(o.ordered_at), avg(o.discount), count(DISTINCT o.store_id)
    FROM bench_spine AS s JOIN orders AS o ON o.member_id = s.member_id AND o.ordered_at < s.as_of
    GROUP BY s.member_id
"""


def run() -> list[Ratio]:
    """Ratio at 20,000 members × 12 months."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        simulate(folder, members=20_000, months=12, seed=0)
        workspace = Workspace.open(folder)
        with Engine.open(workspace) as engine:
            last = engine.query("SELECT max(ordered_at) AS t FROM orders").column("t")[0].as_py()
            spine = spine_of_members(engine, parse_as_of(last.date().isoformat(), workspace.zone))
            engine.register("bench_spine", spine)

            def ours() -> pa.Table:
                return build(engine, spine)

            columns = ours().num_columns
            note = f"one aggregation of five columns over orders alone; ours gives {columns} columns from eight tables"
            return [in_turn("features.build, 20,000 members", ours, lambda: engine.query(FLOOR), note, 3)]
