"""Features against values worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from uplift.data import Engine
from uplift.features import build

AS_OF = datetime(2025, 6, 15, 16, tzinfo=UTC)  # midnight of Monday 16 June in Shanghai
DAY = timedelta(days=1)


def ago(days: float) -> datetime:
    return AS_OF - days * DAY


def features(tables: dict[str, list[dict[str, Any]]], *names: str, timezone: str = "Asia/Shanghai") -> dict[str, Any]:
    """Features of member ``a``; keys and members are filled in."""
    keys = {"orders": "order_id", "events": "event_id", "touches": "touch_id", "contracts": "contract_id"}
    frames = {}
    for table, rows in tables.items():
        filled = [{"member_id": "a"} | row if table != "order_lines" else row for row in rows]
        if table in keys:
            filled = [{keys[table]: f"{table}{n}"} | row for n, row in enumerate(filled)]
        frames[table] = pd.DataFrame(filled)
    with Engine.from_tables(frames, timezone=timezone, threads=1) as engine:
        spine = pd.DataFrame({"member_id": ["a"], "as_of": [AS_OF]})
        return build(engine, spine, names).to_pylist()[0]


def order(days: float, amount: int = 10_000, **more: Any) -> dict[str, Any]:
    return {"ordered_at": ago(days), "amount": amount} | more


def close(found: dict[str, Any], **expected: Any) -> None:
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_recency_frequency_money() -> None:
    orders = [order(1, 1_250), order(29, 20_000), order(31, 5_000), order(400, 7_000)]
    names = ("orders_7d", "orders_30d", "orders_90d", "orders_365d", "orders_total", "spend_30d", "spend_total")
    found = features({"orders": orders}, *names, "days_since_last_order", "days_since_first_order", "max_order_value")
    close(found, orders_7d=1.0, orders_30d=2.0, orders_90d=3.0, orders_365d=3.0, orders_total=4.0)
    close(found, spend_30d=212.5, spend_total=332.5, days_since_last_order=1.0, days_since_first_order=400.0)
    close(found, max_order_value=200.0)


def test_windows_hold_their_first_moment_and_not_the_as_of_time() -> None:
    tick = timedelta(microseconds=1)
    times = (ago(30), ago(30) - tick, AS_OF, AS_OF - tick)
    found = features({"orders": [{"ordered_at": at, "amount": 1} for at in times]}, "orders_30d", "orders_90d")
    close(found, orders_30d=2.0, orders_90d=3.0)


def test_cancelled_and_refunded_orders_are_no_purchases() -> None:
    orders = [
        order(1, status="paid"), order(2, status="confirmed"), order(3, status=None), order(4, status="cancelled"),
        order(5, 3_000, status="refunded"), order(6, -2_000, status="refunded"), order(7, -500, status="paid"),
    ]  # fmt: skip
    names = ("orders_total", "spend_total", "refunds_365d", "refund_share_365d", "refunded_amount_365d")
    found = features({"orders": orders}, *names, "cancellations_365d", "days_since_last_refund")
    close(
        found, orders_total=3.0, spend_total=300.0, refunds_365d=3.0, refund_share_365d=0.5, refunded_amount_365d=55.0
    )
    close(found, cancellations_365d=1.0, days_since_last_refund=5.0)


def test_the_rhythm_of_purchase_days() -> None:
    orders = [order(40), order(40), order(30), order(16), order(4)]  # days 0, 10, 24, 36: gaps 10, 14, 12
    names = ("order_interval_mean_days", "order_interval_sd_days", "order_interval_cv", "days_to_expected_order")
    found = features({"orders": orders}, *names, "overdue_ratio", "order_days_90d")
    close(found, order_interval_mean_days=12.0, order_interval_sd_days=2.0, order_interval_cv=1 / 6, order_days_90d=4.0)
    close(found, days_to_expected_order=8.0, overdue_ratio=1 / 3)


def test_one_purchase_has_no_rhythm() -> None:
    found = features({"orders": [order(4)]}, "order_interval_mean_days", "order_interval_sd_days", "overdue_ratio")
    close(found, order_interval_mean_days=None, order_interval_sd_days=None, overdue_ratio=None)


def test_three_visits_a_month_fell_to_one() -> None:
    before = [order(35 + 9.5 * n) for n in range(9)]  # three a month from day 31 to 120
    names = ("orders_31_120d_monthly", "order_trend_30d", "frequency_dropped")
    close(features({"orders": [*before, order(5)]}, *names), order_trend_30d=1 / 3, frequency_dropped=True)
    close(features({"orders": [*before, order(5), order(6), order(7)]}, *names), frequency_dropped=False)
    close(features({"orders": [order(5)]}, *names), order_trend_30d=None, frequency_dropped=False)


def test_habits_are_local() -> None:
    saturday_evening = datetime(2025, 6, 14, 12, tzinfo=UTC)  # 20 o'clock in Shanghai, 8 in New York
    friday_night = datetime(2025, 6, 13, 17, tzinfo=UTC)  # Saturday 1 o'clock in Shanghai, Friday 13 in New York
    orders = [{"ordered_at": at, "amount": 1} for at in (saturday_evening, friday_night)]
    names = ("weekend_share_365d", "evening_share_365d", "morning_share_365d", "favourite_weekday", "favourite_daypart")
    shanghai = features({"orders": orders}, *names)
    close(shanghai, weekend_share_365d=1.0, evening_share_365d=0.5, morning_share_365d=0.0, favourite_weekday="sat")
    new_york = features({"orders": orders}, *names, timezone="America/New_York")
    close(new_york, weekend_share_365d=0.5, evening_share_365d=0.0, morning_share_365d=0.5, favourite_weekday="fri")


def test_channels_stores_and_ties() -> None:
    orders = [
        order(1, channel="store", store_id="s2"), order(2, channel="online", store_id="s1"), order(3, channel="小程序"),
        order(4, channel="store", store_id="s1"), order(5, channel=None, store_id="s2"), order(6, channel="online"),
    ]  # fmt: skip
    names = ("favourite_channel", "favourite_channel_share", "channels_total", "online_share_365d", "favourite_store")
    close(
        features({"orders": orders}, *names),
        favourite_channel="online", favourite_channel_share=0.4, channels_total=3.0, favourite_store="s1",
        online_share_365d=0.5,
    )  # fmt: skip


def test_discounts_and_margin() -> None:
    orders = [
        order(1, 8_000, discount=2_000, cost=6_000),
        order(2, 10_000, cost=None),
        order(3, 10_000, discount=0, cost=5_000),
    ]
    names = ("discount_share_365d", "discounted_order_share_365d", "full_price_spend_365d", "margin_share_365d")
    found = features({"orders": orders}, *names, "average_order_value", "order_value_sd")
    close(found, discount_share_365d=2_000 / 30_000, discounted_order_share_365d=1 / 3, full_price_spend_365d=200.0)
    close(found, margin_share_365d=7_000 / 18_000, average_order_value=280 / 3, order_value_sd=11.547005)


def test_categories() -> None:
    orders = [
        order(30, order_id="o1"),
        order(20, order_id="o2"),
        order(10, order_id="o3"),
        order(5, order_id="o4", status="cancelled"),
    ]
    lines = [
        {"order_id": "o1", "line": 1, "sku": "k1", "category": "生鲜", "quantity": 1.5, "amount": 1_000},
        {"order_id": "o1", "line": 2, "sku": "k2", "category": "日化", "quantity": 1.0, "amount": 9_000},
        {"order_id": "o2", "line": 1, "sku": "k1", "category": "生鲜", "quantity": 2.0, "amount": 2_000},
        {"order_id": "o3", "line": 1, "sku": "k3", "category": "生鲜", "quantity": None, "amount": None},
        {"order_id": "o4", "line": 1, "sku": "k4", "category": "零食", "quantity": 9.0, "amount": 9_000},
    ]  # fmt: skip
    names = ("favourite_category", "favourite_category_share", "second_category", "categories_total", "items_365d")
    more = (
        "favourite_category_interval_days",
        "favourite_category_overdue_ratio",
        "products_365d",
        "items_per_order_365d",
    )
    found = features({"orders": orders, "order_lines": lines}, *names, *more)
    close(found, favourite_category="生鲜", favourite_category_share=0.25, second_category="日化", categories_total=2.0)
    close(found, items_365d=5.5, favourite_category_interval_days=10.0, favourite_category_overdue_ratio=1.0)
    close(found, products_365d=3.0, items_per_order_365d=5.5 / 3)


def test_content_and_visits() -> None:
    def event(days: float, name: str, **more: Any) -> dict[str, Any]:
        return {"event_at": ago(days), "event": name} | more

    events = [
        event(1, "view", form="video", duration_s=60.0, topic="skin"), event(2, "open", form="video", topic="skin"),
        event(3, "view", form="article", duration_s=30.5, topic="food"), event(4, "check_in"), event(5, "visit"),
        event(200, "view", form="article", duration_s=600.0, topic="hair"), event(6, "click", topic="food"),
        event(7, "book"),
    ]  # fmt: skip
    names = ("views_90d", "opens_90d", "clicks_30d", "visits_30d", "bookings_30d", "video_share_365d", "topics_90d")
    more = ("content_minutes_90d", "view_seconds_mean_90d", "favourite_topic", "days_since_last_visit", "events_7d")
    found = features({"events": events}, *names, *more)
    close(found, views_90d=2.0, opens_90d=1.0, clicks_30d=1.0, visits_30d=2.0, bookings_30d=1.0, video_share_365d=0.5)
    close(found, topics_90d=2.0, content_minutes_90d=90.5 / 60, view_seconds_mean_90d=45.25, days_since_last_visit=4.0)
    close(found, favourite_topic="food", events_7d=7.0)


def test_balances_are_the_latest_stated_or_the_sum_of_changes() -> None:
    def row(days: float, account: str, change: int, balance: int | None) -> dict[str, Any]:
        return {"at": ago(days), "account": account, "change": change, "balance": balance}

    balances = [
        row(50, "stored_value", 50_000, 60_000), row(20, "stored_value", -15_000, 45_000),
        row(60, "points", 300, None), row(10, "points", -100, None), row(400, "points", 500, 500),
    ]  # fmt: skip
    names = ("stored_value_balance", "has_stored_value", "topped_up_365d", "top_ups_365d", "stored_value_spent_90d")
    more = ("points_balance", "points_earned_365d", "points_spent_365d", "points_burn_rate_365d", "sessions_balance")
    found = features({"balances": balances}, *names, *more)
    close(found, stored_value_balance=450.0, has_stored_value=True, topped_up_365d=500.0, top_ups_365d=1.0)
    close(found, stored_value_spent_90d=150.0, points_balance=700.0, points_earned_365d=300.0, points_spent_365d=100.0)
    close(found, points_burn_rate_365d=1 / 3, sessions_balance=0.0)


def test_contracts() -> None:
    contracts = [
        {"product": "annual", "starts_at": ago(300), "ends_at": ago(-65), "sessions_total": 50, "sessions_used": 20},
        {"product": "ten", "starts_at": ago(100), "ends_at": ago(10), "sessions_total": 10, "sessions_used": 10},
        {"product": "vip", "starts_at": ago(5), "ends_at": ago(-900), "status": "cancelled", "sessions_total": 9},
    ]
    names = ("contracts_total", "contracts_active", "has_contract", "contract_days_to_end", "contract_days_since_end")
    more = ("contract_sessions_left", "contract_sessions_left_share", "contract_product", "contract_days_since_start")
    found = features({"contracts": contracts}, *names, *more)
    close(found, contracts_total=2.0, contracts_active=1.0, has_contract=True, contract_days_to_end=65.0)
    close(found, contract_days_since_end=10.0, contract_sessions_left=30.0, contract_sessions_left_share=0.6)
    close(found, contract_product="annual", contract_days_since_start=100.0)


def test_responses_count_once_they_happened() -> None:
    touches = [
        {"sent_at": ago(10), "opened_at": ago(9), "redeemed_at": ago(-1), "channel": "sms"},
        {"sent_at": ago(20), "opened_at": ago(-2), "redeemed_at": ago(8), "channel": "wechat"},
    ]
    names = ("touches_30d", "open_rate_365d", "redeem_rate_365d", "redemptions_total", "days_since_last_redemption")
    found = features({"touches": touches}, *names, "best_touch_channel", "click_rate_365d")
    close(found, touches_30d=2.0, open_rate_365d=0.5, redeem_rate_365d=0.5, redemptions_total=1.0)
    close(found, days_since_last_redemption=8.0, best_touch_channel="sms", click_rate_365d=0.0)


@pytest.mark.parametrize(
    ("birth", "years", "days"),
    [
        (date(1990, 6, 16), 35.0, 0.0),
        (date(1990, 6, 15), 35.0, 364.0),
        (date(1992, 2, 29), 33.3, 257.0),  # kept on 28 February
        (date(1990, 12, 31), 34.45, 198.0),
    ],
)
def test_age_and_birthday_are_local(birth: date, years: float, days: float) -> None:
    member = {"registered_at": ago(100), "birth_date": birth, "tier": "gold", "consent_marketing": None}
    found = features({"members": [member]}, "age_years", "days_to_birthday", "tenure_days", "tier", "consent_marketing")
    assert found["age_years"] == pytest.approx(years, abs=0.05)
    close(found, days_to_birthday=days, tenure_days=100.0, tier="gold", consent_marketing=None)


def test_referrals_are_the_members_one_brought() -> None:
    members = [
        {"member_id": "a", "registered_at": ago(100), "referrer_id": "z"},
        {"member_id": "b", "registered_at": ago(95), "referrer_id": "a"},
        {"member_id": "c", "registered_at": ago(5), "referrer_id": "a"},
        {"member_id": "d", "registered_at": ago(-5), "referrer_id": "a"},
    ]
    close(
        features({"members": members}, "referrals_total", "referrals_90d", "was_referred"),
        referrals_total=2.0, referrals_90d=1.0, was_referred=True,
    )  # fmt: skip
