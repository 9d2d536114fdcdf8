"""Small random tables that exercise every feature; the doubles that the tests of features and segments build on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from uplift.data import TABLES, Engine

DAY = 86_400_000_000
T = 1_750_000_000_000_000  # 2025-06-15T15:06:40Z
VOCABULARY: Mapping[tuple[str, str], list[Any]] = {
    ("members", "gender"): ["F", "M", "O", None],
    ("members", "city"): ["上海", "杭州", None],
    ("members", "join_channel"): ["store", "wechat", None],
    ("members", "tier"): ["gold", "silver", None],
    ("orders", "status"): ["paid", "paid", "confirmed", "refunded", "cancelled", None],
    ("orders", "channel"): ["store", "online", "小程序", None],
    ("orders", "store_id"): ["s1", "s2", None],
    ("order_lines", "category"): ["生鲜", "日化", "零食", None],
    ("order_lines", "sku"): ["k1", "k2", "k3", "k4"],
    ("events", "event"): [
        "view", "view", "open", "open", "click", "sign_in", "book", "check_in", "share", "refer", "answer", "visit",
    ],
    ("events", "topic"): ["skin", "food", None],
    ("events", "form"): ["video", "article", None],
    ("balances", "account"): ["stored_value", "points", "sessions"],
    ("contracts", "product"): ["annual", "ten", None],
    ("contracts", "status"): ["active", "active", "cancelled", None],
    ("touches", "channel"): ["sms", "wechat"],
    ("attributes", "name"): ["skin", "age_band", "child_birth", "score"],
}  # fmt: skip
PER_MEMBER = {"orders": 9, "events": 40, "balances": 12, "contracts": 2, "touches": 6, "attributes": 4}


def cell(rng: np.random.Generator, table: str, column: str, members: int) -> Any:
    """A value for a column that is neither a key nor a time."""
    if (table, column) in VOCABULARY:
        options = VOCABULARY[table, column]
        return options[rng.integers(len(options))]
    kind = TABLES[table].column(column).kind
    if column in ("member_id", "referrer_id"):
        skewed = f"m{int(members * rng.random() ** 2)}"
        return skewed if column == "member_id" or rng.random() < 0.5 else None
    if column == "offer_id":
        return rng.choice(["o1", "o2", None])
    if column in ("experiment_id", "arm", "order_id", "run_id", "source", "source_id"):
        return f"{column}{rng.integers(4)}"
    if kind == "money":
        return (
            int(rng.integers(-500, 30_000)) if column == "amount" else int(rng.integers(0, 3) * rng.integers(0, 5_000))
        )
    if kind == "integer":
        return int(rng.integers(-300, 900)) if column == "change" else int(rng.integers(0, 40))
    if kind in ("number", "share"):
        return None if rng.random() < 0.1 else round(float(rng.random() * 90), 2)
    if kind == "flag":
        return [True, False, None][rng.integers(3)]
    if kind == "date":
        return None if rng.random() < 0.1 else date(1960, 1, 1) + timedelta(days=int(rng.integers(0, 18_000)))
    return f"x{rng.integers(5)}"


def row(rng: np.random.Generator, table: str, at: int, known_at: int | None, serial: str, members: int = 40) -> dict:
    """One row of a table that happened ``at`` (microseconds) and became known ``known_at``."""
    schema = TABLES[table]
    values: dict[str, Any] = {}
    for column in schema.columns:
        name = column.name
        if name == "known_at":
            values[name] = known_at
        elif name == schema.event_time:
            values[name] = at
        elif column.kind == "time":
            values[name] = at + int(rng.integers(1, 120 * DAY)) if rng.random() < 0.7 else None
        elif name in schema.key and column.kind == "id" and name not in ("member_id", "experiment_id", "run_id"):
            values[name] = serial
        else:
            values[name] = cell(rng, table, name, members)
    if table == "attributes":
        values["value"] = {
            "skin": ["敏感", "干性"][rng.integers(2)], "age_band": ["20-29", "41", "52"][rng.integers(3)],
            "child_birth": f"2024-0{rng.integers(1, 9)}-11", "score": str(rng.integers(1, 90)),
        }[values["name"]]  # fmt: skip
    if table == "contracts":
        values["sessions_total"], values["ends_at"] = 30, at + int(rng.integers(5, 400)) * DAY
    return values


def world(seed: int = 0, members: int = 40) -> dict[str, list[dict]]:
    """Rows of every table before :data:`T` (a few after), so that every feature has something to say."""
    rng = np.random.default_rng(seed)
    tables: dict[str, list[dict]] = {
        "members": [
            row(rng, "members", T - int(rng.integers(5, 900)) * DAY, None, f"m{i}", members) for i in range(members)
        ]
    }
    for table, each in PER_MEMBER.items():
        tables[table] = []
        for i in range(members * each):
            at = T - int(rng.gamma(1.0, 120.0) * DAY) - 1 + (200 * DAY if rng.random() < 0.03 else 0)
            tables[table].append(row(rng, table, at, None, f"{table}{i}", members))
    tables["orders"] = [  # m0 buys no more as often as before
        order for order in tables["orders"] if order["member_id"] != "m0" or order["ordered_at"] < T - 30 * DAY
    ]
    for table in ("assignments", "decisions"):
        tables[table] = [
            row(rng, table, T - int(rng.integers(1, 200 * DAY)), None, f"{table}{i}", members)
            for i in range(members * 2)
        ]
    orders = [order["order_id"] for order in tables["orders"]]
    tables["order_lines"] = [line(rng, order, n) for order in orders for n in range(rng.integers(1, 4))]
    return tables


def line(rng: np.random.Generator, order_id: str, n: int) -> dict:
    """One line of an order."""
    values = {column.name: cell(rng, "order_lines", column.name, 1) for column in TABLES["order_lines"].columns}
    return values | {"order_id": order_id, "line": n}


def engine_of(tables: Mapping[str, list[dict]], timezone: str = "Asia/Shanghai") -> Engine:
    """An engine over rows."""
    return Engine.from_tables(
        {name: pa.Table.from_pylist(rows, TABLES[name].arrow_schema) for name, rows in tables.items() if rows},
        timezone=timezone, threads=1,
    )  # fmt: skip


def spine_of(ids: list[str], *times: int) -> pa.Table:
    """Every id at every time."""
    return pa.table(
        {
            "member_id": [member for _ in times for member in ids],
            "as_of": pa.array([at for at in times for _ in ids], pa.timestamp("us", "UTC")),
        }
    )
