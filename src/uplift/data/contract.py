"""The contract of the twelve tables: columns, types, keys, references, ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Kind = Literal["id", "text", "rule", "time", "date", "money", "integer", "number", "share", "flag"]

ARROW_TYPES: Mapping[Kind, pa.DataType] = {
    "id": pa.string(),
    "text": pa.string(),
    "rule": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "money": pa.int64(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "share": pa.float64(),
    "flag": pa.bool_(),
}
SQL_TYPES: Mapping[Kind, str] = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "rule": "VARCHAR",
    "time": "TIMESTAMPTZ",
    "date": "DATE",
    "money": "BIGINT",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "share": "DOUBLE",
    "flag": "BOOLEAN",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    kind
        ``id`` and ``text`` are strings; ``rule`` a boolean expression; ``time`` an instant with a zone; ``date`` a
        calendar day; ``money`` an integer number of cents; ``share`` a number in [0, 1]; ``flag`` true or false.
    required
        The table is refused without this column, and a row without a value goes to quarantine.
    low, high
        Inclusive range.
    values
        The only values allowed; empty: any.
    references
        The table whose key this value must be found in; missing values are allowed.
    """

    name: str
    kind: Kind
    required: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    references: str | None = None


@dataclass(frozen=True)
class TableSchema:
    """One table: its key, its columns in order, and the column that says when a row happened (None: no time)."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    event_time: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order, ``known_at`` included where the table has a time."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The table as Arrow types."""
        return pa.schema([pa.field(column.name, ARROW_TYPES[column.kind]) for column in self.columns])


ORDER_STATUSES = ("paid", "confirmed", "refunded", "cancelled")
EVENT_NAMES = ("view", "open", "click", "sign_in", "book", "check_in", "share", "refer", "answer", "visit")


def _table(name: str, key: tuple[str, ...], event_time: str | None, *columns: Column) -> TableSchema:
    known_at = (Column("known_at", "time"),) if event_time is not None else ()
    return TableSchema(name, key, (*columns, *known_at), event_time)


def _key(name: str, references: str | None = None) -> Column:
    return Column(name, "id", required=True, references=references)


_MEMBER = Column("member_id", "id", required=True, references="members")

TABLES: Mapping[str, TableSchema] = {
    table.name: table
    for table in (
        _table(
            "members",
            ("member_id",),
            "registered_at",
            _key("member_id"),
            Column("registered_at", "time", required=True),
            Column("birth_date", "date"),
            Column("gender", "text", values=("F", "M", "O")),
            Column("city", "text"),
            Column("join_channel", "text"),
            Column("tier", "text"),
            Column("referrer_id", "id", references="members"),
            Column("consent_marketing", "flag"),
        ),
        _table(
            "identities",
            ("source", "source_id"),
            None,
            _key("source"),
            _key("source_id"),
            _MEMBER,
        ),
        _table(
            "attributes",
            ("member_id", "name", "observed_at"),
            "observed_at",
            _MEMBER,
            Column("name", "text", required=True),
            Column("observed_at", "time", required=True),
            Column("value", "text"),
            Column("source", "text"),
        ),
        _table(
            "orders",
            ("order_id",),
            "ordered_at",
            _key("order_id"),
            _MEMBER,
            Column("ordered_at", "time", required=True),
            Column("store_id", "id"),
            Column("channel", "text"),
            Column("amount", "money", required=True),
            Column("discount", "money", low=0),
            Column("cost", "money"),
            Column("status", "text", values=ORDER_STATUSES),
            Column("points_earned", "integer", low=0),
            Column("points_spent", "integer", low=0),
        ),
        _table(
            "order_lines",
            ("order_id", "line"),
            None,
            _key("order_id", references="orders"),
            Column("line", "integer", required=True, low=0),
            Column("sku", "id"),
            Column("category", "text"),
            Column("quantity", "number"),
            Column("amount", "money"),
        ),
        _table(
            "events",
            ("event_id",),
            "event_at",
            _key("event_id"),
            _MEMBER,
            Column("event_at", "time", required=True),
            Column("event", "text", required=True),
            Column("topic", "text"),
            Column("form", "text"),
            Column("duration_s", "number", low=0),
            Column("offer_id", "id", references="offers"),
        ),
        _table(
            "balances",
            ("member_id", "account", "at"),
            "at",
            _MEMBER,
            Column("account", "text", required=True, values=("stored_value", "points", "sessions")),
            Column("at", "time", required=True),
            Column("change", "integer", required=True),
            Column("balance", "integer"),
        ),
        _table(
            "contracts",
            ("contract_id",),
            "starts_at",
            _key("contract_id"),
            _MEMBER,
            Column("product", "text"),
            Column("starts_at", "time", required=True),
            Column("ends_at", "time"),
            Column("sessions_total", "integer", low=0),
            Column("sessions_used", "integer", low=0),
            Column("status", "text"),
        ),
        _table(
            "offers",
            ("offer_id",),
            None,
            _key("offer_id"),
            Column("name_zh", "text"),
            Column("name_en", "text"),
            Column("kind", "text"),
            Column("valid_from", "time"),
            Column("valid_to", "time"),
            Column("eligible", "rule"),
            Column("forbidden", "rule"),
            Column("cost_contact", "money", low=0),
            Column("cost_redeem", "money"),
            Column("quota", "integer", low=0),
            Column("channel", "text"),
            Column("form", "text"),
            Column("cooldown_days", "number", low=0),
        ),
        _table(
            "assignments",
            ("experiment_id", "member_id"),
            "assigned_at",
            _key("experiment_id"),
            _MEMBER,
            Column("arm", "text", required=True),
            Column("propensity", "share", low=0, high=1),
            Column("assigned_at", "time", required=True),
        ),
        _table(
            "touches",
            ("touch_id",),
            "sent_at",
            _key("touch_id"),
            _MEMBER,
            Column("experiment_id", "id"),
            Column("offer_id", "id", references="offers"),
            Column("channel", "text"),
            Column("sent_at", "time", required=True),
            Column("delivered_at", "time"),
            Column("opened_at", "time"),
            Column("clicked_at", "time"),
            Column("redeemed_at", "time"),
        ),
        _table(
            "decisions",
            ("run_id", "member_id"),
            "as_of",
            _key("run_id"),
            _MEMBER,
            Column("as_of", "time", required=True),
            Column("offer_id", "id", references="offers"),
            Column("source", "text", values=("policy", "explore", "holdout", "none")),
            Column("propensity", "share", low=0, high=1),
        ),
    )
}
