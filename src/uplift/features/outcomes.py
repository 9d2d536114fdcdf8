"""Outcomes: what a member did after a time, within a window. Never part of the feature catalogue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from uplift.config import WorkspaceConfig
from uplift.data import TABLES, Engine
from uplift.errors import InputError, unknown_name
from uplift.features._build import positions, run_on_spine, spine_chunks
from uplift.features._compile import SPINE
from uplift.features._feature import double
from uplift.features._sources import SOURCES
from uplift.features._spine import INSTANT, Table, checked_spine

LONGEST_WINDOW = 3_660


@dataclass(frozen=True)
class Outcome:
    """Something that a member may do after an as-of time.

    Attributes
    ----------
    kind
        ``rate`` (0 or 1 a member) or ``mean`` (a number a member).
    unit
        ``share``, ``money`` (integer cents, as in the tables) or ``count``.
    parts
        Source → SQL aggregate over the rows inside the window. Parts are added; a rate is 1 where any is positive.
    text_zh, text_en
        What it says, for people.
    negated
        True for a rate that is 1 where none of its parts is positive.
    """

    name: str
    kind: Literal["rate", "mean"]
    unit: Literal["share", "money", "count"]
    parts: Mapping[str, str]
    text_zh: str
    text_en: str
    negated: bool = False


_VISIT = "event IN ('visit', 'check_in', 'book', 'sign_in')"
_MARGIN = "amount - coalesce(cost, amount - round(amount * {margin}))"

_RELATIONS: Mapping[str, str] = {
    "orders": SOURCES["orders"].relation,
    "events": SOURCES["events"].relation,
    "balances": SOURCES["balances"].relation,
    "referrals": SOURCES["referrals"].relation,
    "responses": """
        SELECT member_id, opened_at AS happened_at, 'opened' AS response FROM touches WHERE opened_at IS NOT NULL
        UNION ALL SELECT member_id, clicked_at, 'clicked' FROM touches WHERE clicked_at IS NOT NULL
        UNION ALL SELECT member_id, redeemed_at, 'redeemed' FROM touches WHERE redeemed_at IS NOT NULL""",
    "contracts": """
        SELECT member_id, starts_at AS happened_at, starts_at > min(starts_at) OVER (PARTITION BY member_id) AS renewal
        FROM contracts WHERE lower(coalesce(status, 'active')) NOT IN ('cancelled', 'refunded', 'void')""",
}
_TABLES = {"responses": "touches", "referrals": "members"}


def _outcomes() -> list[Outcome]:
    def counted(source: str, test: str) -> dict[str, str]:
        return {source: f"count(*) FILTER (WHERE {{inside}} AND {test})"}

    bought = counted("orders", "bought")
    spent = "sum({what}) FILTER (WHERE {{inside}} AND {test})"
    topped = "account = 'stored_value' AND change > 0"
    return [
        Outcome("ordered", "rate", "share", bought, "有购买", "Bought"),
        Outcome("orders", "mean", "count", bought, "购买次数", "Purchases"),
        Outcome(
            "spend", "mean", "money", {"orders": spent.format(what="amount", test="bought")}, "消费金额", "Money spent",
        ),
        Outcome(
            "net_spend", "mean", "money",
            {"orders": spent.format(what="amount", test="(bought OR (refunded AND amount < 0))")}, "消费金额(扣除退款)",
            "Money spent, less what was paid back",
        ),
        Outcome(
            "margin", "mean", "money", {"orders": spent.format(what=_MARGIN, test="bought")}, "毛利", "Gross margin",
        ),
        Outcome(
            "discount", "mean", "money", {"orders": spent.format(what="discount", test="bought")}, "优惠金额",
            "Discount given",
        ),
        Outcome(
            "visited", "rate", "share", bought | counted("events", _VISIT), "到店、预约、签到或购买",
            "Visited, booked, signed in or bought",
        ),
        Outcome(
            "visits", "mean", "count", counted("events", "event IN ('visit', 'check_in')"), "到店次数",
            "Visits to a store",
        ),
        Outcome(
            "opened", "rate", "share",
            counted("responses", "response = 'opened'") | counted("events", "event = 'open'"), "打开", "Opened",
        ),
        Outcome(
            "clicked", "rate", "share",
            counted("responses", "response = 'clicked'") | counted("events", "event = 'click'"), "点击", "Clicked",
        ),
        Outcome("viewed", "rate", "share", counted("events", "event = 'view'"), "浏览", "Viewed"),
        Outcome(
            "redeemed", "rate", "share", counted("responses", "response = 'redeemed'"), "核销", "Redeemed an offer",
        ),
        Outcome("refunded", "rate", "share", counted("orders", "refunded"), "退款", "Was refunded"),
        Outcome("topped_up", "rate", "share", counted("balances", topped), "充值", "Topped up stored value"),
        Outcome(
            "top_up", "mean", "money", {"balances": spent.format(what="change", test=topped)}, "充值金额",
            "Money topped up",
        ),
        Outcome(
            "points_spent", "mean", "count",
            {"balances": spent.format(what="-change", test="account = 'points' AND change < 0")}, "使用积分",
            "Points spent",
        ),
        Outcome("booked", "rate", "share", counted("events", "event = 'book'"), "预约", "Booked"),
        Outcome(
            "shared", "rate", "share", counted("events", "event IN ('share', 'refer')"), "分享",
            "Shared or recommended",
        ),
        Outcome("referred", "rate", "share", counted("referrals", "true"), "推荐新会员", "Brought a new member"),
        Outcome("referrals", "mean", "count", counted("referrals", "true"), "推荐新会员人数", "New members brought"),
        Outcome("renewed", "rate", "share", counted("contracts", "renewal"), "续约", "Began a further contract"),
        Outcome("churned", "rate", "share", bought, "未购买", "Did not buy", negated=True),
    ]  # fmt: skip


OUTCOMES: Mapping[str, Outcome] = {outcome.name: outcome for outcome in _outcomes()}
"""Every outcome by name."""


def outcomes(
    engine: Engine,
    spine: Table,
    wanted: Mapping[str, tuple[str, float]],
    *,
    margin: float | None = None,
    until: datetime | None = None,
) -> pa.Table:
    """What members did after each row's as-of time: event time > as_of and <= as_of + window.

    Whatever is known when it is measured counts, so ``known_at`` plays no part.

    Parameters
    ----------
    spine
        ``member_id``, ``as_of`` and any further columns, which pass through.
    wanted
        Column name → (outcome, window in days of 24 hours), e.g. ``{"conversion": ("ordered", 14)}``.
    margin
        Gross margin assumed for orders without a cost; None: the workspace's.
    until
        Until when the data is complete (see :func:`observed_until`): a row whose window ends later is null, since
        its outcome is not yet known. None: every row is measured with what there is.

    Returns
    -------
    pyarrow.Table
        The spine's columns, then one float64 column for each of ``wanted``: 0.0 or 1.0 for rates, cents for money.

    Raises
    ------
    InputError
        If the spine, an outcome or a window is wrong.
    """
    problems = [str(unknown_name("outcome", name, OUTCOMES)) for name, _ in wanted.values() if name not in OUTCOMES]
    problems += [
        f"{column!r}: a window lies between 0 and {LONGEST_WINDOW} days, found {days!r}"
        for column, (_, days) in wanted.items()
        if isinstance(days, bool) or not (isinstance(days, int | float) and 0 < days <= LONGEST_WINDOW)
    ]
    if margin is None:
        margin = engine.workspace.config.margin if engine.workspace is not None else WorkspaceConfig(data="data").margin
    if not 0 <= margin <= 1:
        problems.append(f"a margin lies between 0 and 1, found {margin!r}")
    if problems:
        raise InputError("; ".join(problems))
    table = checked_spine(spine, wanted)
    totals = {column: np.zeros(table.num_rows) for column in wanted}
    sources = {source for name, _ in wanted.values() for source in OUTCOMES[name].parts}
    for source in sorted(sources):
        mine = {column: request for column, request in wanted.items() if source in OUTCOMES[request[0]].parts}
        sql = _statement(source, mine, margin)
        for first, size in spine_chunks(engine, _TABLES.get(source, source), table.num_rows):
            found = run_on_spine(engine, sql, table.slice(first, size))
            rows = positions(found, size)
            for column in mine:
                values = found.column(column).combine_chunks().take(rows).fill_null(0.0)
                totals[column][first : first + size] += values.to_numpy(zero_copy_only=False)
    late = _late(table, wanted, until)
    for column, (name, _) in wanted.items():
        outcome, values = OUTCOMES[name], totals[column]
        if outcome.kind == "rate":
            values = ((values > 0) != outcome.negated).astype(np.float64)
        table = table.append_column(pa.field(column, pa.float64()), pa.array(values, mask=late[column]))
    return table


def observed_until(engine: Engine) -> datetime | None:
    """The latest event time in any table but ``members``, ``contracts`` and ``decisions``; None without events.

    Windows that end later are not complete yet.
    """
    tables = [
        schema
        for schema in TABLES.values()
        if schema.event_time is not None and schema.name not in ("members", "contracts", "decisions")
    ]
    union = " UNION ALL ".join(f'SELECT max("{schema.event_time}") AS latest FROM {schema.name}' for schema in tables)
    latest = engine.query(f"SELECT max(latest) AS latest FROM ({union})").column("latest")[0].as_py()
    return latest if isinstance(latest, datetime) else None


def observed_since(engine: Engine) -> datetime | None:
    """The time of the earliest order; None without orders.

    Before it, that nothing was recorded does not say that nothing was bought.
    """
    first = engine.query("SELECT min(ordered_at) AS first FROM orders").column("first")[0].as_py()
    return first if isinstance(first, datetime) else None


def refuse_beyond_data(engine: Engine, as_of: datetime, days: float = 366) -> None:
    """Refuse an as-of time long after the last recorded event: everyone would look gone.

    Raises
    ------
    InputError
        If ``as_of`` is more than ``days`` later than :func:`observed_until`.
    """
    latest = observed_until(engine)
    if latest is not None and as_of - latest > timedelta(days=days):
        zone = ZoneInfo(engine.timezone)
        raise InputError(
            f"as-of {as_of.astimezone(zone):%Y-%m-%d} is more than {days:g} days after the last recorded event "
            f"({latest.astimezone(zone):%Y-%m-%d}), so that every member would look gone; choose an earlier date"
        )


def _statement(source: str, wanted: Mapping[str, tuple[str, float]], margin: float) -> str:
    longest = max(days for _, days in wanted.values())
    selected = ""
    for column, (name, days) in wanted.items():
        aggregate = OUTCOMES[name].parts[source].format(inside=f"ahead_days <= {double(days)}", margin=double(margin))
        quoted = '"' + column.replace('"', '""') + '"'
        selected += f",\n  CAST(coalesce({aggregate}, 0) AS DOUBLE) AS {quoted}"
    return f"""
WITH ahead AS (
  SELECT s.spine_row, r.*, (epoch_us(r.happened_at) - epoch_us(s.as_of)) / 8.64e10 AS ahead_days
  FROM {SPINE} s JOIN ({_RELATIONS[source]}
  ) r ON r.member_id = s.member_id
  WHERE r.happened_at > s.as_of
)
SELECT spine_row{selected}
FROM ahead WHERE ahead_days <= {double(longest)} GROUP BY spine_row"""


def _late(
    table: pa.Table, wanted: Mapping[str, tuple[str, float]], until: datetime | None
) -> Mapping[str, np.ndarray | None]:
    if until is None:
        return dict.fromkeys(wanted)
    if until.tzinfo is None:
        raise InputError("until must be a time with a zone")
    starts = table.column("as_of").cast(pa.int64()).to_numpy()
    end = pa.scalar(until, INSTANT).cast(pa.int64()).as_py()
    return {column: starts + math.ceil(days * 86_400e6) > end for column, (_, days) in wanted.items()}
