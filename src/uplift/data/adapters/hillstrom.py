"""MineThatData e-mail test (K. Hillstrom, 2008): 64,000 customers, two e-mails against none, two weeks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from uplift.config import ArmSpec, ExperimentSpec, MetricSpec, WorkspaceConfig
from uplift.data.adapters._base import (
    Adapter,
    Imported,
    attributes,
    cents,
    contract_table,
    locate,
    plain_number,
    read_text,
    utc,
)

COLUMNS = (
    "recency",
    "history_segment",
    "history",
    "mens",
    "womens",
    "zip_code",
    "newbie",
    "channel",
    "segment",
    "visit",
    "conversion",
    "spend",
)
CONTROL = "No E-Mail"
ARMS = (CONTROL, "Mens E-Mail", "Womens E-Mail")
ZONE = "America/New_York"
ASSIGNED = utc("2008-02-04", ZONE)  # no clock change in the two weeks, so that a day is 24 hours
WINDOW_DAYS = 14
MONTH_DAYS = 30

_EXPECTED = "hillstrom.csv, or the folder that holds it"


def experiment() -> ExperimentSpec:
    """The definition of the e-mail test."""
    return ExperimentSpec(
        id="hillstrom",
        name_zh="男装与女装邮件测试",
        name_en="Men's and women's merchandise e-mail test",
        hypothesis="An e-mail with men's or with women's merchandise brings more visits, orders and spend than none.",
        control=CONTROL,
        arms=(
            ArmSpec(name=CONTROL, share=1 / 3),
            ArmSpec(name="Mens E-Mail", share=1 / 3, offer_id="Mens E-Mail"),
            ArmSpec(name="Womens E-Mail", share=1 / 3, offer_id="Womens E-Mail"),
        ),
        starts_at=ASSIGNED.to_pydatetime(),
        ends_at=(ASSIGNED + pd.Timedelta(days=WINDOW_DAYS)).to_pydatetime(),
        metrics=(
            MetricSpec(name="visit", outcome="visited", window_days=WINDOW_DAYS),
            MetricSpec(name="conversion", outcome="ordered", window_days=WINDOW_DAYS),
            MetricSpec(name="spend", outcome="spend", kind="mean", window_days=WINDOW_DAYS, unit="money"),
        ),
        covariates=("attr_recency_num", "attr_history_num"),
        segments=("attr_channel", "attr_newbie_num", "attr_zip_code"),
    )


def convert(source: Path) -> Imported:
    """``hillstrom.csv`` as members, a past order, attributes, assignments, e-mails sent, visits and orders."""
    path = locate(source, "hillstrom", ("hillstrom.csv", "hillstrom/hillstrom.csv"), _EXPECTED)
    given = read_text(path, "hillstrom", COLUMNS)
    recency = given.integer("recency", 1, 12)
    history = given.number("history", 0)
    flags = {name: given.integer(name, 0, 1) for name in ("mens", "womens", "newbie", "visit", "conversion")}
    spend = given.number("spend", 0)
    texts = {name: given.text(name) for name in ("history_segment", "zip_code", "channel")}
    arm = given.text("segment", ARMS)
    given.reject(
        "spend", "contradiction", "is money spent without `conversion`", (spend > 0) & (flags["conversion"] == 0)
    )
    given.reject("conversion", "contradiction", "is an order without a visit", flags["conversion"] > flags["visit"])
    given.refuse()

    n = len(given)
    member = pd.Series([f"H{i:06d}" for i in range(1, n + 1)])
    last_order = ASSIGNED - pd.Series(pd.to_timedelta(recency * MONTH_DAYS, unit="D"))
    registered = last_order.where(flags["newbie"] == 1, ASSIGNED - pd.Timedelta(days=730))
    after = ASSIGNED + pd.Timedelta(days=WINDOW_DAYS)
    bought = flags["conversion"] == 1
    visited = flags["visit"] == 1
    mailed = (arm != CONTROL).to_numpy()
    past = {
        "order_id": "past-" + member,
        "member_id": member,
        "ordered_at": last_order,
        "channel": texts["channel"],
        "amount": cents(history),
        "status": "paid",
    }
    new = {
        "order_id": "test-" + member[bought],
        "member_id": member[bought],
        "ordered_at": after,
        "amount": cents(spend)[bought],
        "status": "paid",
    }
    lines = pd.concat(
        pd.DataFrame({"order_id": "past-" + member[flags[name] == 1], "line": i, "category": name})
        for i, name in enumerate(("mens", "womens"))
    ).sort_values(["order_id", "line"])
    numbers = {"recency": recency, "history": history, **{k: flags[k] for k in ("mens", "womens", "newbie")}}
    facts = {**{k: plain_number(v) for k, v in numbers.items()}, **texts}
    past_orders, new_orders = contract_table("orders", past, n), contract_table("orders", new, int(bought.sum()))
    tables = {
        "members": contract_table("members", {"member_id": member, "registered_at": registered}, n),
        "attributes": attributes(member, facts, ASSIGNED - pd.Timedelta(days=1)),
        "orders": _stack(past_orders, new_orders),
        "order_lines": contract_table("order_lines", {k: lines[k] for k in lines}, len(lines)),
        "events": contract_table(
            "events",
            {"event_id": "visit-" + member[visited], "member_id": member[visited], "event_at": after, "event": "visit"},
            int(visited.sum()),
        ),
        "offers": contract_table(
            "offers",
            {
                "offer_id": list(ARMS[1:]),
                "name_zh": ["男装邮件", "女装邮件"],
                "name_en": ["E-mail with men's merchandise", "E-mail with women's merchandise"],
                "kind": "email",
                "channel": "email",
            },
            2,
        ),
        "assignments": contract_table(
            "assignments",
            {
                "experiment_id": "hillstrom",
                "member_id": member,
                "arm": arm,
                "propensity": 1 / 3,
                "assigned_at": ASSIGNED,
            },
            n,
        ),
        "touches": contract_table(
            "touches",
            {
                "touch_id": "email-" + member[mailed],
                "member_id": member[mailed],
                "experiment_id": "hillstrom",
                "offer_id": arm[mailed],
                "channel": "email",
                "sent_at": ASSIGNED,
            },
            int(mailed.sum()),
        ),
    }
    notes = (
        "The file has no customer ids and no dates. Members are numbered by row (H000001 …); the assignment is put at "
        f"{ASSIGNED.tz_convert(ZONE):%Y-%m-%d %H:%M} {ZONE}, visits and orders of the test at the end of the two "
        "weeks, within which they lie: more is not known, and so the window is complete.",
        "`history` (dollars of the past year) and `recency` (months since the last purchase) became one past order a "
        f"member, of {MONTH_DAYS}-day months before the assignment, with `channel` as its channel; so recency and "
        "spend features hold, and order counts do not. `mens` and `womens` became its lines, without amounts.",
        "registered_at: `newbie` = 1, the time of that past order; 0, two years before the test (the file says only "
        "'more than twelve months').",
        "Every column known before the test is also an attribute, observed a day before it. `visit`, `conversion` and "
        "`spend` became events and orders after the assignment; they are outcomes, never features.",
        "Propensities are the designed thirds. The e-mails' costs, margins, openings and clicks are not in the file.",
    )
    config = WorkspaceConfig(data="data/", timezone=ZONE, currency="USD", language="en")
    return Imported(tables, config, (experiment(),), notes, {path.name: path})


def _stack(*tables: pa.Table) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()


ADAPTER = Adapter("hillstrom", "MineThatData e-mail test: 64,000 customers, three arms, two weeks", _EXPECTED, convert)
