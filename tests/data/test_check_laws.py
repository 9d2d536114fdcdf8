"""Whatever the tables hold: rows in = kept + quarantined, and no bad row is kept."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift.config import Workspace
from uplift.data import Engine, check

IDS = st.sampled_from(["M1", "M2", "M3", "M4", "W1", "", "会员", 'a"b', "=1"])
TIMES = st.sampled_from(["2024-01-01", "2024/1/2 3:04", "2099-01-01", "1960-01-01", "x", "", "2024-01-01T00:00:00Z"])
NUMBERS = st.sampled_from(["1", "2.0", "2.5", "-3", "", "abc", "1,000", "99999999999999999999", "nan"])
MEMBERS = st.lists(st.tuples(IDS, TIMES, st.sampled_from(["F", "M", "X", ""])), max_size=12)
ORDERS = st.lists(st.tuples(st.sampled_from(["O1", "O2", "O3", ""]), IDS, TIMES, NUMBERS), max_size=12)
LINES = st.lists(st.tuples(st.sampled_from(["O1", "O2", "O9", ""]), NUMBERS), max_size=8)
IDENTITIES = st.lists(st.tuples(st.sampled_from(["wx", "pos"]), st.sampled_from(["W1", "M1"]), IDS), max_size=4)

HEADERS = {
    "members": ("member_id", "registered_at", "gender"),
    "orders": ("order_id", "member_id", "ordered_at", "amount"),
    "order_lines": ("order_id", "line"),
    "identities": ("source", "source_id", "member_id"),
}


@settings(max_examples=20, deadline=None)
@given(MEMBERS, ORDERS, LINES, IDENTITIES, st.booleans(), st.integers(0, 3))
def test_rows_in_are_rows_kept_and_rows_quarantined(
    members: list[tuple[str, ...]],
    orders: list[tuple[str, ...]],
    lines: list[tuple[str, ...]],
    identities: list[tuple[str, ...]],
    as_csv: bool,
    malformed: int,
) -> None:
    members = [("M1", "2024-01-01", "F"), *members]
    given_rows = {"members": members, "orders": orders, "order_lines": lines, "identities": identities}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "data").mkdir()
        (root / "uplift.yaml").write_text("data: data/\n")
        wanted = {}
        for table, rows in given_rows.items():
            if not rows:
                continue
            wanted[table] = len(rows)
            if as_csv:
                text = io.StringIO()
                csv.writer(text).writerows([HEADERS[table], *rows])
                broken = malformed if table == "orders" else 0
                wanted[table] += broken
                path = root / "data" / f"{table}.csv"
                path.write_text(text.getvalue() + "one,two,three,four,five\n" * broken, encoding="utf-8", newline="")
            else:
                columns = [pa.array([cell or None for cell in column]) for column in zip(*rows, strict=True)]
                pq.write_table(
                    pa.table(dict(zip(HEADERS[table], columns, strict=True))), root / "data" / f"{table}.parquet"
                )
        workspace = Workspace.open(root)
        report = check(workspace, threads=1)
        for table, rows_in in wanted.items():
            found = report.tables[table]
            assert found.rows == rows_in
            path = workspace.quarantine / f"{table}.parquet"
            aside = pq.read_table(path).to_pylist() if path.exists() else []
            assert len(aside) == found.quarantined
            assert all(row["reasons"] for row in aside), "every row aside says why"
            numbers = [(row["source_file"], row["source_row"]) for row in aside]
            assert len(set(numbers)) == len(numbers), "no row is aside twice"
            assert found.kept + found.quarantined == rows_in
        if report.refused:
            return
        with Engine.open(workspace) as engine:
            for table in wanted:
                assert engine.rows(table) == report.tables[table].kept
            orphans = "order_id NOT IN (SELECT order_id FROM orders)" if orders else "false"  # else: not checked
            broken = engine.query(
                f"""SELECT
                (SELECT count(*) FROM orders WHERE amount IS NULL OR ordered_at IS NULL OR order_id IS NULL
                    OR ordered_at > now() + INTERVAL 1 DAY OR member_id NOT IN (SELECT member_id FROM members))
                + (SELECT count(*) - count(DISTINCT order_id) FROM orders)
                + (SELECT count(*) - count(DISTINCT member_id) FROM members)
                + (SELECT count(*) FROM members WHERE gender NOT IN ('F', 'M', 'O') OR registered_at IS NULL)
                + (SELECT count(*) FROM order_lines WHERE {orphans}) AS n"""
            )
            assert broken["n"].to_pylist() == [0]
