"""The sources of features: one per table of the contract, each as rows of a member with a time."""

from __future__ import annotations

from collections.abc import Mapping

from uplift.features._feature import Group, Source

ONLINE = (
    "('online', 'web', 'app', 'mini_program', 'miniprogram', 'wechat', 'h5', 'ecommerce', '线上', '小程序', '网店')"
)
PURCHASE = "coalesce(status, 'paid') NOT IN ('cancelled', 'refunded') AND amount >= 0"
VISITS = "('visit', 'check_in')"

_DAY_NUMBER = "date_diff('day', DATE '1970-01-05', CAST({time} AS DATE))"  # a Monday, so that modulo 7 is the weekday

_ORDERS = Source(
    name="orders",
    table="orders",
    relation=f"""
        SELECT member_id, ordered_at AS happened_at, known_at, order_id, store_id, channel,
               CAST(amount AS DOUBLE) AS amount,
               CAST(discount AS DOUBLE) AS discount,
               CAST(cost AS DOUBLE) AS cost,
               CAST(points_earned AS DOUBLE) AS points_earned,
               CAST(points_spent AS DOUBLE) AS points_spent,
               {PURCHASE} AS bought,
               coalesce(status, 'paid') <> 'cancelled' AND NOT ({PURCHASE}) AS refunded,
               coalesce(status, 'paid') = 'cancelled' AS cancelled,
               {_DAY_NUMBER.format(time="ordered_at")} AS day,
               {_DAY_NUMBER.format(time="ordered_at")} % 7 AS weekday,
               hour(ordered_at) AS hour_of_day,
               CASE WHEN channel IS NOT NULL THEN lower(channel) IN {ONLINE} END AS online
        FROM orders""",
    columns=(
        "order_id", "store_id", "channel", "amount", "discount", "cost", "points_earned", "points_spent",
        "bought", "refunded", "cancelled", "day", "weekday", "hour_of_day", "online",
    ),
    stepped={"gap": "CASE WHEN bought THEN day - lag(day) OVER (PARTITION BY spine_row, bought ORDER BY day) END"},
    groups={
        "channel": Group("channel", {"n": "count(*)"}, "n DESC", "bought"),
        "store": Group("store_id", {"n": "count(*)"}, "n DESC", "bought"),
    },
)  # fmt: skip

_ORDER_LINES = Source(
    name="order_lines",
    table="order_lines",
    relation=f"""
        SELECT o.member_id, o.ordered_at AS happened_at, o.known_at, l.order_id, l.sku, l.category,
               CAST(coalesce(l.amount, 0) AS DOUBLE) AS amount,
               round(coalesce(l.quantity, 1) * 1e3) AS thousandths,
               {_DAY_NUMBER.format(time="o.ordered_at")} AS day
        FROM order_lines l JOIN (SELECT * FROM orders WHERE {PURCHASE}) o ON o.order_id = l.order_id""",
    columns=("order_id", "sku", "category", "amount", "thousandths", "day"),
    groups={
        "category": Group(
            "category",
            {
                "n": "count(DISTINCT order_id)",
                "n_90d": "count(*) FILTER (WHERE age_days <= 90e0)",
                "n_365d": "count(*) FILTER (WHERE age_days <= 365e0)",
                "spent": "sum(amount)",
                "last_age": "min(age_days)",
                "days": "count(DISTINCT day)",
                "first_day": "min(day)",
                "last_day": "max(day)",
            },
            "n DESC, spent DESC",
        ),
    },
)

_EVENTS = Source(
    name="events",
    table="events",
    relation="""
        SELECT member_id, event_at AS happened_at, known_at, lower(event) AS event, topic, lower(form) AS form,
               offer_id, round(duration_s * 1e3) AS milliseconds, hour(event_at) AS hour_of_day
        FROM events""",
    columns=("event", "topic", "form", "offer_id", "milliseconds", "hour_of_day"),
    groups={
        "topic": Group(
            "topic", {"n": "count(*)", "n_90d": "count(*) FILTER (WHERE age_days <= 90e0)"}, "n DESC",
            "event IN ('view', 'open', 'click')",
        ),
    },
)  # fmt: skip

_BALANCES = Source(
    name="balances",
    table="balances",
    relation="""
        SELECT member_id, "at" AS happened_at, known_at, account,
               CAST(change AS DOUBLE) AS change, CAST(balance AS DOUBLE) AS balance
        FROM balances""",
    columns=("account", "change", "balance"),
)

_CONTRACTS = Source(
    name="contracts",
    table="contracts",
    relation="""
        SELECT member_id, starts_at AS happened_at, known_at, product, ends_at,
               CAST(sessions_total AS DOUBLE) AS sessions_total,
               least(CAST(coalesce(sessions_used, 0) AS DOUBLE), CAST(sessions_total AS DOUBLE)) AS sessions_used,
               lower(coalesce(status, 'active')) IN ('cancelled', 'refunded', 'void') AS annulled
        FROM contracts""",
    columns=("product", "ends_at", "sessions_total", "sessions_used", "annulled"),
    derived={
        "days_left": "(epoch_us(r.ends_at) - epoch_us(s.as_of)) / 8.64e10",
        "active": "NOT r.annulled AND (r.ends_at IS NULL OR r.ends_at >= s.as_of)",
    },
    groups={"product": Group("product", {"last_age": "min(age_days)"}, "last_age", "active")},
)

_TOUCHES = Source(
    name="touches",
    table="touches",
    relation="""
        SELECT member_id, sent_at AS happened_at, known_at, channel, offer_id,
               delivered_at, opened_at, clicked_at, redeemed_at
        FROM touches""",
    columns=("channel", "offer_id", "delivered_at", "opened_at", "clicked_at", "redeemed_at"),
    derived={  # what came of a touch counts only once it has happened
        "opened": "coalesce(r.opened_at < s.as_of, false)",
        "clicked": "coalesce(r.clicked_at < s.as_of, false)",
        "redeemed": "coalesce(r.redeemed_at < s.as_of, false)",
        "redeemed_age":
            "CASE WHEN r.redeemed_at < s.as_of THEN (epoch_us(s.as_of) - epoch_us(r.redeemed_at)) / 8.64e10 END",
    },
    groups={
        "channel": Group(
            "channel",
            {"n": "count(*)", "opens": "count(*) FILTER (WHERE opened)"},
            "opens DESC, n DESC",
        ),
    },
)  # fmt: skip

_ASSIGNMENTS = Source(
    name="assignments",
    table="assignments",
    relation="SELECT member_id, assigned_at AS happened_at, known_at, experiment_id, arm FROM assignments",
    columns=("experiment_id", "arm"),
)

_DECISIONS = Source(
    name="decisions",
    table="decisions",
    relation="SELECT member_id, as_of AS happened_at, known_at, offer_id FROM decisions",
    columns=("offer_id",),
)

_BIRTHDAY = "make_date(year(CAST(s.as_of AS DATE)) + {n}, month(r.birth_date), {day})"
_BIRTH_DAY_OF_MONTH = "CASE WHEN month(r.birth_date) = 2 THEN least(day(r.birth_date), 28) ELSE day(r.birth_date) END"
_TO_BIRTHDAY = "date_diff('day', CAST(s.as_of AS DATE), " + _BIRTHDAY + ")"

_MEMBERS = Source(
    name="members",
    table="members",
    relation="""
        SELECT member_id, registered_at AS happened_at, known_at, birth_date, gender, city, join_channel, tier,
               referrer_id, consent_marketing
        FROM members""",
    columns=("birth_date", "gender", "city", "join_channel", "tier", "referrer_id", "consent_marketing"),
    derived={
        "age": "date_diff('day', r.birth_date, CAST(s.as_of AS DATE)) / 365.25e0",
        "to_birthday": (
            f"CASE WHEN {_TO_BIRTHDAY.format(n=0, day=_BIRTH_DAY_OF_MONTH)} >= 0 "
            f"THEN {_TO_BIRTHDAY.format(n=0, day=_BIRTH_DAY_OF_MONTH)} "
            f"ELSE {_TO_BIRTHDAY.format(n=1, day=_BIRTH_DAY_OF_MONTH)} END"
        ),
    },
)

_REFERRALS = Source(
    name="referrals",
    table="members",
    relation="""
        SELECT referrer_id AS member_id, registered_at AS happened_at, known_at FROM members
        WHERE referrer_id IS NOT NULL""",
)

_ATTRIBUTES = Source(
    name="attributes",
    table="attributes",
    relation="SELECT member_id, observed_at AS happened_at, known_at, name, value FROM attributes",
    columns=("name", "value"),
    derived={"today": "CAST(s.as_of AS DATE)"},
)

SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        _MEMBERS, _REFERRALS, _ORDERS, _ORDER_LINES, _EVENTS, _BALANCES, _CONTRACTS, _TOUCHES, _ASSIGNMENTS,
        _DECISIONS, _ATTRIBUTES,
    )
}  # fmt: skip
