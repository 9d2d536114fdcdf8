"""Features of the membership itself: who the member is, balances, contracts, whom they brought."""

# fmt: off

from __future__ import annotations

from collections.abc import Iterator

from uplift.features._feature import Feature, Kind, Unit, within


def member_features() -> Iterator[Feature]:
    """From ``members``, and from the members whom a member referred."""

    def one(
        name: str, aggregate: str, unit: Unit, zh: str, en: str, *, kind: Kind = "number", source: str = "members",
        days: int | None = None, empty: float | None = None, as_stored: bool = True,
    ) -> Feature:
        return Feature(name, source, aggregate, days, kind, unit, zh, en, empty, None, as_stored)

    yield one("tenure_days", "max(age_days)", "days", "入会天数", "Days since registration", as_stored=False)
    yield one("age_years", "max(age)", "years", "年龄", "Age in years", as_stored=False)
    yield one(
        "days_to_birthday", "min(to_birthday)", "days", "距下次生日天数", "Days to the next birthday", as_stored=False,
    )
    yield one("gender", "max(gender)", "name", "性别", "Gender (F, M, O)", kind="text", as_stored=False)
    yield one("city", "max(city)", "name", "城市", "City", kind="text")
    yield one(
        "join_channel", "max(join_channel)", "name", "入会渠道", "Channel through which the member joined", kind="text",
        as_stored=False,
    )
    yield one("tier", "max(tier)", "name", "会员等级", "Tier", kind="text")
    yield one(
        "consent_marketing", "bool_or(consent_marketing)", "flag", "同意接收营销", "Agreed to receive marketing",
        kind="flag",
    )
    yield one(
        "was_referred", "bool_or(referrer_id IS NOT NULL)", "flag", "由他人推荐入会", "Was referred by another member",
        kind="flag", as_stored=False,
    )
    yield one(
        "referrals_total", "count(*)", "count", "累计推荐入会人数", "Members ever referred", source="referrals",
        empty=0, as_stored=False,
    )
    yield one(
        "referrals_90d", f"count(*) FILTER (WHERE {within(90)})", "count", "近90天推荐入会人数",
        "Members referred in the last 90 days", source="referrals", days=90, empty=0, as_stored=False,
    )


def balance_features() -> Iterator[Feature]:
    """From ``balances``. A balance is the latest one stated, or the sum of changes where the latest row states none."""

    def one(
        name: str, aggregate: str, unit: Unit, zh: str, en: str, days: int | None = None, *,
        empty: float | bool | None = None, kind: Kind = "number",
    ) -> Feature:
        return Feature(name, "balances", aggregate, days, kind, unit, zh, en, empty)

    def balance(account: str) -> str:
        mine = f"account = '{account}'"
        stated = f"{mine} AND balance IS NOT NULL"
        return (
            f"CASE WHEN max(happened_at) FILTER (WHERE {stated}) = max(happened_at) FILTER (WHERE {mine}) "
            f"THEN arg_max(balance, happened_at) FILTER (WHERE {stated}) ELSE sum(change) FILTER (WHERE {mine}) END"
        )

    def moved(account: str, sign: str, days: int) -> str:
        return f"sum(abs(change)) FILTER (WHERE account = '{account}' AND change {sign} 0 AND {within(days)})"

    earned, burnt = moved("points", ">", 365), moved("points", "<", 365)
    topped = "account = 'stored_value' AND change > 0"
    yield one(
        "stored_value_balance", f"({balance('stored_value')}) / 1e2", "money", "储值余额", "Stored value left", empty=0,
    )
    yield one(
        "has_stored_value", f"coalesce(({balance('stored_value')}) > 0, false)", "flag", "有储值余额",
        "Has stored value", kind="flag", empty=False,
    )
    yield one(
        "top_ups_365d", f"count(*) FILTER (WHERE {topped} AND {within(365)})", "count", "近365天充值次数",
        "Top-ups of stored value in the last 365 days", 365, empty=0,
    )
    yield one(
        "topped_up_365d", moved("stored_value", ">", 365) + " / 1e2", "money", "近365天充值金额",
        "Money topped up in the last 365 days", 365, empty=0,
    )
    yield one(
        "days_since_last_top_up", f"min(age_days) FILTER (WHERE {topped})", "days", "距上次充值天数",
        "Days since the last top-up",
    )
    yield one(
        "stored_value_spent_90d", moved("stored_value", "<", 90) + " / 1e2", "money", "近90天储值消费",
        "Stored value spent in the last 90 days", 90, empty=0,
    )
    yield one("points_balance", balance("points"), "count", "积分余额", "Points left", empty=0)
    yield one(
        "points_earned_365d", earned, "count", "近365天获得积分", "Points earned in the last 365 days", 365, empty=0,
    )
    yield one("points_spent_365d", burnt, "count", "近365天使用积分", "Points spent in the last 365 days", 365, empty=0)
    yield one(
        "points_burn_rate_365d", f"coalesce({burnt}, 0) / nullif({earned}, 0)", "ratio", "近365天积分消耗率",
        "Points spent over points earned in the last 365 days", 365,
    )
    yield one(
        "days_since_points_spent", "min(age_days) FILTER (WHERE account = 'points' AND change < 0)", "days",
        "距上次用积分天数", "Days since points were last spent",
    )
    yield one("sessions_balance", balance("sessions"), "count", "次卡剩余次数", "Sessions left on account", empty=0)


def contract_features() -> Iterator[Feature]:
    """From ``contracts``. Active: started before the as-of time, not ended, not cancelled, refunded or void."""

    def one(
        name: str, aggregate: str, unit: Unit, zh: str, en: str, *, empty: float | bool | None = None,
        kind: Kind = "number", by: str | None = None, as_stored: bool = False,
    ) -> Feature:
        return Feature(name, "contracts", aggregate, None, kind, unit, zh, en, empty, by, as_stored)

    left = "sum(sessions_total - sessions_used) FILTER (WHERE active)"
    yield one(
        "contracts_total", "count(*) FILTER (WHERE NOT annulled)", "count", "累计合约数", "Contracts ever signed",
        empty=0,
    )
    yield one("contracts_active", "count(*) FILTER (WHERE active)", "count", "有效合约数", "Contracts running", empty=0)
    yield one(
        "has_contract", "coalesce(bool_or(active), false)", "flag", "有有效合约", "Has a running contract", kind="flag",
        empty=False,
    )
    yield one(
        "contract_days_to_end", "max(days_left) FILTER (WHERE active)", "days", "距合约到期天数",
        "Days to the end of the last running contract",
    )
    yield one(
        "contract_days_since_start", "min(age_days) FILTER (WHERE NOT annulled)", "days", "距最近一次签约天数",
        "Days since the latest contract began",
    )
    yield one(
        "contract_days_since_end", "-(max(days_left) FILTER (WHERE NOT annulled AND days_left < 0))", "days",
        "距合约结束天数", "Days since a contract last ended",
    )
    yield one(
        "contract_sessions_left", left, "count", "合约剩余次数", "Sessions left in running contracts", as_stored=True,
    )
    yield one(
        "contract_sessions_left_share", f"{left} / nullif(sum(sessions_total) FILTER (WHERE active), 0)", "share",
        "合约剩余次数占比", "Share of sessions left in running contracts", as_stored=True,
    )
    yield one(
        "contract_product", "max(choice) FILTER (WHERE place = 1)", "name", "合约产品",
        "Product of the latest running contract", kind="text", by="product",
    )
