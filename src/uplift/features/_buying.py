"""Features of what members buy: recency, frequency, money, rhythm, habits, channels, prices, refunds, categories."""

# fmt: off

from __future__ import annotations

from collections.abc import Iterator

from uplift.features._feature import WINDOWS, Feature, Kind, Unit, span, within

_MEAN_GAP = "sum(gap) FILTER (WHERE gap >= 1) / nullif(count(*) FILTER (WHERE gap >= 1), 0)"
_GAPS = "CAST(count(*) FILTER (WHERE gap >= 1) AS DOUBLE)"
_SINCE_LAST = "min(age_days) FILTER (WHERE bought)"
_COUNT = "CAST(count(*) FILTER (WHERE bought) AS DOUBLE)"


def _spread(value: str, count: str, test: str) -> str:
    """Sample standard deviation from sums of whole numbers, which no order of rows can change."""
    total = f"CAST(sum({value}) FILTER (WHERE {test}) AS DOUBLE)"
    squares = f"CAST(sum({value} * {value}) FILTER (WHERE {test}) AS DOUBLE)"
    variance = f"({count} * {squares} - {total} * {total}) / ({count} * ({count} - 1))"
    return f"CASE WHEN {count} > 1 THEN sqrt(greatest({variance}, 0)) END"


_SD_GAP = _spread("gap", _GAPS, "gap >= 1")
_SD_AMOUNT = f"({_spread('amount', _COUNT, 'bought')}) / 1e2"
# a usual month before this one
_BEFORE = "count(*) FILTER (WHERE bought AND age_days > 30e0 AND age_days <= 120e0) / 3e0"
_QUARTER_BEFORE = "sum(amount) FILTER (WHERE bought AND age_days > 90e0 AND age_days <= 180e0)"
_YEAR_LINES = "FILTER (WHERE age_days <= 365e0)"
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = (("night", 0, 5), ("morning", 6, 10), ("noon", 11, 13), ("afternoon", 14, 17), ("evening", 18, 23))


def _bought(what: str, days: int | None, also: str = "true") -> str:
    return f"{what} FILTER (WHERE bought AND {within(days)} AND {also})"


def _counted(test: str) -> str:
    return f"count(*) FILTER (WHERE {test} AND {within(365)})"


def _share(part: str, whole: str) -> str:
    return f"{part} / nullif(CAST({whole} AS DOUBLE), 0)"


def _most_frequent(names_and_tests: list[tuple[str, str]]) -> str:
    """The name whose test holds most often; the first of equals; null when none ever holds."""
    counts = [(name, f"count(*) FILTER (WHERE bought AND {test})") for name, test in names_and_tests]
    top = f"nullif(greatest({', '.join(count for _, count in counts)}), 0)"
    return f"CASE {top} " + " ".join(f"WHEN {count} THEN '{name}'" for name, count in counts) + " END"


def order_features() -> Iterator[Feature]:
    """From ``orders``. A purchase is an order that was neither cancelled nor refunded, of an amount of at least 0."""

    def one(
        name: str, aggregate: str, unit: Unit, zh: str, en: str, days: int | None = None, *,
        empty: float | bool | None = None, kind: Kind = "number", by: str | None = None,
    ) -> Feature:
        return Feature(name, "orders", aggregate, days, kind, unit, zh, en, empty, by)

    for days in (*WINDOWS, None):
        suffix, zh, en = span(days)
        yield one(
            f"orders_{suffix}", _bought("count(*)", days), "count", f"{zh}购买次数", f"Purchases {en}", days, empty=0,
        )
    for days in (*WINDOWS, None):
        suffix, zh, en = span(days)
        spent = _bought("sum(amount)", days) + " / 1e2"
        yield one(f"spend_{suffix}", spent, "money", f"{zh}消费金额", f"Money spent {en}", days, empty=0)

    yield one("days_since_last_order", _SINCE_LAST, "days", "距上次购买天数", "Days since the last purchase")
    yield one(
        "days_since_first_order", "max(age_days) FILTER (WHERE bought)", "days", "距首次购买天数",
        "Days since the first purchase",
    )
    for days in (90, 365):
        suffix, zh, en = span(days)
        yield one(
            f"order_days_{suffix}", _bought("count(DISTINCT day)", days), "days", f"{zh}购买的天数",
            f"Days with a purchase {en}", days, empty=0,
        )

    yield one("order_interval_mean_days", _MEAN_GAP, "days", "平均复购周期", "Mean days between purchase days")
    yield one(
        "order_interval_sd_days", _SD_GAP, "days", "复购周期标准差", "Standard deviation of days between purchase days",
    )
    yield one(
        "order_interval_cv", f"({_SD_GAP}) / nullif({_MEAN_GAP}, 0)", "ratio", "复购周期变异系数",
        "Irregularity: standard deviation of the interval over its mean",
    )
    yield one(
        "days_to_expected_order", f"{_MEAN_GAP} - {_SINCE_LAST}", "days", "距预计下次购买天数(负数为已逾期)",
        "Days to the next purchase expected from the member's own interval; negative when overdue",
    )
    yield one(
        "overdue_ratio", f"{_SINCE_LAST} / nullif({_MEAN_GAP}, 0)", "ratio", "逾期比(距上次购买÷平均复购周期)",
        "Days since the last purchase over the member's own mean interval",
    )

    yield one(
        "orders_31_120d_monthly", _BEFORE, "count", "此前三个月的月均购买次数",
        "Purchases a month in the three months before the last 30 days", 120, empty=0,
    )
    yield one(
        "order_trend_30d", f"{_bought('count(*)', 30)} / nullif({_BEFORE}, 0)", "ratio", "近30天购买次数与此前月均之比",
        "Purchases in the last 30 days over a usual month of the three before", 120,
    )
    yield one(
        "spend_trend_90d", f"{_bought('sum(amount)', 90)} / nullif({_QUARTER_BEFORE}, 0)", "ratio",
        "近90天消费与此前90天之比", "Money spent in the last 90 days over the 90 before", 180,
    )
    yield one(
        "frequency_dropped", f"{_BEFORE} >= 2 AND {_bought('count(*)', 30)} <= {_BEFORE} / 2e0", "flag",
        "频次下滑(此前月均≥2次, 近30天不足一半)",
        "Bought twice a month or more before, at most half of it in the last 30 days", 120, kind="flag", empty=False,
    )

    yield one(
        "average_order_value", f"{_bought('sum(amount)', None)} / nullif({_COUNT}, 0) / 1e2", "money", "平均客单价",
        "Average order value",
    )
    yield one(
        "average_order_value_90d", _share(_bought("sum(amount)", 90), _bought("count(*)", 90)) + " / 1e2", "money",
        "近90天客单价", "Average order value in the last 90 days", 90,
    )
    yield one("max_order_value", _bought("max(amount)", None) + " / 1e2", "money", "最高单笔消费", "Largest order")
    yield one("order_value_sd", _SD_AMOUNT, "money", "客单价标准差", "Standard deviation of order values")
    yield one(
        "margin_share_365d",
        _share(_bought("sum(amount - cost)", 365, "cost IS NOT NULL"), _bought("sum(amount)", 365, "cost IS NOT NULL")),
        "share", "近365天毛利率", "Gross margin of orders of the last 365 days whose cost is known", 365,
    )

    def habit(name: str, test: str, zh: str, en: str) -> Feature:
        share = _share(_bought("count(*)", 365, test), _bought("count(*)", 365))
        return one(name, share, "share", f"近365天{zh}", f"{en} in the last 365 days", 365)

    yield habit("weekend_share_365d", "weekday >= 5", "周末购买占比", "Share of purchases on Saturday and Sunday")
    yield habit(
        "morning_share_365d", "hour_of_day BETWEEN 6 AND 10", "早晨购买占比(6–10点)",
        "Share of purchases from 6 to 11 o'clock",
    )
    yield habit(
        "evening_share_365d", "hour_of_day >= 18", "晚间购买占比(18点后)", "Share of purchases after 18 o'clock",
    )
    yield one(
        "favourite_weekday", _most_frequent([(name, f"weekday = {n}") for n, name in enumerate(_WEEKDAYS)]), "name",
        "最常购买的星期", "Weekday of most purchases (mon to sun)", kind="text",
    )
    yield one(
        "favourite_daypart", _most_frequent([(name, f"hour_of_day BETWEEN {a} AND {b}") for name, a, b in _HOURS]),
        "name", "最常购买的时段", "Time of day of most purchases (night, morning, noon, afternoon, evening)",
        kind="text",
    )

    yield habit("online_share_365d", "online", "线上购买占比", "Share of purchases through an online channel")
    yield one(
        "favourite_channel", "max(choice) FILTER (WHERE place = 1)", "name", "最常用渠道", "Channel of most purchases",
        kind="text", by="channel",
    )
    yield one(
        "favourite_channel_share", _share("sum(n) FILTER (WHERE place = 1)", "sum(n)"), "share", "最常用渠道占比",
        "Share of purchases in the most used channel", by="channel",
    )
    yield one(
        "channels_total", "count(*)", "count", "使用过的渠道数", "Channels ever bought through", empty=0, by="channel",
    )
    yield one(
        "favourite_store", "max(choice) FILTER (WHERE place = 1)", "name", "最常去的门店", "Store of most purchases",
        kind="text", by="store",
    )
    yield one("stores_total", "count(*)", "count", "去过的门店数", "Stores ever bought in", empty=0, by="store")

    yield one(
        "discount_share_365d",
        _share(_bought("sum(discount)", 365), f"{_bought('sum(amount)', 365)} + {_bought('sum(discount)', 365)}"),
        "share", "近365天优惠占原价比", "Discount as a share of the full price in the last 365 days", 365,
    )
    for days in (90, 365):
        suffix, zh, en = span(days)
        yield one(
            f"discounted_order_share_{suffix}",
            _share(_bought("count(*)", days, "discount > 0"), _bought("count(*)", days)), "share",
            f"{zh}用优惠的订单占比", f"Share of purchases with a discount {en}", days,
        )
    yield one(
        "full_price_spend_365d", _bought("sum(amount)", 365, "coalesce(discount, 0) = 0") + " / 1e2", "money",
        "近365天原价消费", "Money spent at full price in the last 365 days", 365, empty=0,
    )

    yield one(
        "refunds_365d", _counted("refunded"), "count", "近365天退款次数", "Refunds in the last 365 days", 365, empty=0,
    )
    yield one(
        "refund_share_365d", _share(_counted("refunded"), _counted("NOT cancelled")), "share", "近365天退款率",
        "Refunds as a share of orders in the last 365 days", 365,
    )
    yield one(
        "refunded_amount_365d", f"sum(abs(amount)) FILTER (WHERE refunded AND {within(365)}) / 1e2", "money",
        "近365天退款金额", "Money refunded in the last 365 days", 365, empty=0,
    )
    yield one(
        "days_since_last_refund", "min(age_days) FILTER (WHERE refunded)", "days", "距上次退款天数",
        "Days since the last refund",
    )
    yield one(
        "cancellations_365d", _counted("cancelled"), "count", "近365天取消次数",
        "Orders cancelled in the last 365 days", 365, empty=0,
    )
    yield one(
        "order_points_earned_365d", _bought("sum(points_earned)", 365), "count", "近365天购买得分",
        "Points earned with purchases in the last 365 days", 365, empty=0,
    )
    yield one(
        "order_points_spent_365d", _bought("sum(points_spent)", 365), "count", "近365天购买用分",
        "Points spent on purchases in the last 365 days", 365, empty=0,
    )


def line_features() -> Iterator[Feature]:
    """From ``order_lines`` of purchases, dated by their order."""

    def one(
        name: str, aggregate: str, unit: Unit, zh: str, en: str, days: int | None = None, *,
        empty: float | None = None, kind: Kind = "number", by: str | None = "category",
    ) -> Feature:
        return Feature(name, "order_lines", aggregate, days, kind, unit, zh, en, empty, by)

    top = "FILTER (WHERE place = 1)"
    interval = f"(max(last_day) {top} - max(first_day) {top}) / nullif(CAST(max(days) {top} AS DOUBLE) - 1, 0)"
    yield one(
        "favourite_category", f"max(choice) {top}", "name", "最常购买品类", "Category of most purchases", kind="text",
    )
    yield one(
        "favourite_category_share", _share(f"sum(spent) {top}", "sum(spent)"), "share", "最常购买品类的消费占比",
        "Share of money spent in the category of most purchases",
    )
    yield one(
        "second_category", "max(choice) FILTER (WHERE place = 2)", "name", "次常购买品类",
        "Category of second most purchases", kind="text",
    )
    yield one(
        "days_since_favourite_category", f"min(last_age) {top}", "days", "距上次购买最常购品类天数",
        "Days since the last purchase in the category of most purchases",
    )
    yield one(
        "favourite_category_interval_days", interval, "days", "最常购品类的复购周期",
        "Mean days between purchase days in the category of most purchases",
    )
    yield one(
        "favourite_category_overdue_ratio", f"min(last_age) {top} / nullif({interval}, 0)", "ratio",
        "最常购品类的逾期比", "Days since the last purchase in the category of most purchases, over its own interval",
    )
    yield one(
        "categories_90d", "count(*) FILTER (WHERE n_90d > 0)", "count", "近90天购买品类数",
        "Categories bought in the last 90 days", 90, empty=0,
    )
    yield one(
        "categories_365d", "count(*) FILTER (WHERE n_365d > 0)", "count", "近365天购买品类数",
        "Categories bought in the last 365 days", 365, empty=0,
    )
    yield one("categories_total", "count(*)", "count", "累计购买品类数", "Categories ever bought", empty=0)
    yield one(
        "items_365d", f"sum(thousandths) {_YEAR_LINES} / 1e3", "count", "近365天购买件数",
        "Items bought in the last 365 days", 365, empty=0, by=None,
    )
    yield one(
        "items_per_order_365d",
        f"sum(thousandths) {_YEAR_LINES} / 1e3 / nullif(count(DISTINCT order_id) {_YEAR_LINES}, 0)", "count",
        "近365天每单件数", "Items per order in the last 365 days", 365, by=None,
    )
    yield one(
        "products_365d", f"count(DISTINCT sku) {_YEAR_LINES}", "count", "近365天购买商品种数",
        "Different products bought in the last 365 days", 365, empty=0, by=None,
    )
