"""Features of what members do besides buying: visits, content, bookings, referrals, answers to campaigns."""

# fmt: off

from __future__ import annotations

from collections.abc import Iterator

from uplift.features._feature import Feature, Kind, Unit, span, within
from uplift.features._sources import VISITS


def _share(part: str, whole: str) -> str:
    return f"{part} / nullif(CAST({whole} AS DOUBLE), 0)"


def event_features() -> Iterator[Feature]:
    """From ``events``."""

    def one(
        name: str, aggregate: str, unit: Unit, zh: str, en: str, days: int | None = None, *,
        empty: float | None = None, kind: Kind = "number", by: str | None = None,
    ) -> Feature:
        return Feature(name, "events", aggregate, days, kind, unit, zh, en, empty, by)

    def count(stem: str, test: str, zh: str, en: str, *windows: int | None) -> Iterator[Feature]:
        for days in windows:
            suffix, when_zh, when_en = span(days)
            aggregate = f"count(*) FILTER (WHERE {test} AND {within(days)})"
            yield one(f"{stem}_{suffix}", aggregate, "count", f"{when_zh}{zh}", f"{en} {when_en}", days, empty=0)

    def since(what: str, test: str, zh: str, en: str) -> Feature:
        return one(
            f"days_since_last_{what}",
            f"min(age_days) FILTER (WHERE {test})",
            "days",
            f"距上次{zh}天数",
            f"Days since the last {en}",
        )

    def content(days: int, also: str = "true") -> str:
        return f"FILTER (WHERE event IN ('view', 'open') AND {within(days)} AND {also})"

    yield from count("events", "true", "行为次数", "Recorded actions", 7, 30, 90)
    yield since("event", "true", "行为", "recorded action")
    yield from count("views", "event = 'view'", "浏览次数", "Views", 30, 90)
    yield from count("opens", "event = 'open'", "打开次数", "Opens", 30, 90)
    yield from count("clicks", "event = 'click'", "点击次数", "Clicks", 30, 90)
    yield from count("visits", f"event IN {VISITS}", "到店次数", "Visits to a store", 30, 90, 365)
    yield since("visit", f"event IN {VISITS}", "到店", "visit to a store")
    yield from count("bookings", "event = 'book'", "预约次数", "Bookings", 30, 90)
    yield since("booking", "event = 'book'", "预约", "booking")
    yield from count("sign_ins", "event = 'sign_in'", "签到次数", "Sign-ins", 30, 90)
    yield from count("shares", "event = 'share'", "分享次数", "Shares", 90, None)
    yield from count("refers", "event = 'refer'", "推荐次数", "Recommendations to others", 90, None)
    yield from count("answers", "event = 'answer'", "填写问卷次数", "Survey answers", None)
    yield one(
        "visit_trend_30d",
        f"count(*) FILTER (WHERE event IN {VISITS} AND age_days <= 30e0) "
        f"/ nullif(count(*) FILTER (WHERE event IN {VISITS} AND age_days > 30e0 AND age_days <= 120e0) / 3e0, 0)",
        "ratio", "近30天到店次数与此前月均之比", "Visits in the last 30 days over a usual month of the three before",
        120,
    )
    videos = "count(*) " + content(365, "form = 'video'")
    pieces = "count(*) " + content(365, "form IN ('video', 'article')")
    yield one(
        "video_share_365d", _share(videos, pieces), "share", "近365天短视频占比",
        "Share of videos among videos and articles opened in the last 365 days", 365,
    )
    yield one(
        "content_minutes_90d", f"sum(milliseconds) {content(90)} / 6e4", "minutes", "近90天内容停留分钟数",
        "Minutes spent with content in the last 90 days", 90, empty=0,
    )
    yield one(
        "view_seconds_mean_90d",
        f"sum(milliseconds) {content(90)} / 1e3 / nullif(count(milliseconds) {content(90)}, 0)", "seconds",
        "近90天平均停留秒数", "Mean seconds per piece of content in the last 90 days", 90,
    )
    yield one(
        "evening_view_share_90d", _share("count(*) " + content(90, "hour_of_day >= 18"), "count(*) " + content(90)),
        "share", "近90天晚间浏览占比", "Share of content opened after 18 o'clock in the last 90 days", 90,
    )
    yield one(
        "favourite_topic", "max(choice) FILTER (WHERE place = 1)", "name", "最常看的主题", "Topic of most views",
        kind="text", by="topic",
    )
    yield one(
        "favourite_topic_share", _share("sum(n) FILTER (WHERE place = 1)", "sum(n)"), "share", "最常看主题占比",
        "Share of views in the topic of most views", by="topic",
    )
    yield one(
        "topics_90d", "count(*) FILTER (WHERE n_90d > 0)", "count", "近90天浏览主题数",
        "Topics viewed in the last 90 days", 90, empty=0, by="topic",
    )


def response_features() -> Iterator[Feature]:
    """From ``touches``, ``assignments`` and ``decisions``: what was tried on a member, and what came of it."""

    def one(
        source: str, name: str, aggregate: str, unit: Unit, zh: str, en: str, days: int | None = None, *,
        empty: float | None = None, kind: Kind = "number", by: str | None = None,
    ) -> Feature:
        return Feature(name, source, aggregate, days, kind, unit, zh, en, empty, by)

    for days in (7, 30, 90, 365):
        suffix, zh, en = span(days)
        yield one(
            "touches", f"touches_{suffix}", f"count(*) FILTER (WHERE {within(days)})", "count", f"{zh}触达次数",
            f"Messages received {en}", days, empty=0,
        )
    yield one(
        "touches", "days_since_last_touch", "min(age_days)", "days", "距上次触达天数", "Days since the last message",
    )
    for stem, zh, en in (
        ("opened", "打开率", "opened"),
        ("clicked", "点击率", "clicked"),
        ("redeemed", "核销率", "redeemed"),
    ):
        name = {"opened": "open_rate", "clicked": "click_rate", "redeemed": "redeem_rate"}[stem]
        share = _share(f"count(*) FILTER (WHERE {stem} AND {within(365)})", f"count(*) FILTER (WHERE {within(365)})")
        yield one(
            "touches", f"{name}_365d", share, "share", f"近365天{zh}",
            f"Share of messages {en}, of those of the last 365 days", 365,
        )
    yield one(
        "touches", "redemptions_total", "count(*) FILTER (WHERE redeemed)", "count", "累计核销次数",
        "Offers ever redeemed", empty=0,
    )
    yield one(
        "touches", "redemptions_90d", "count(*) FILTER (WHERE redeemed_age <= 90e0)", "count", "近90天核销次数",
        "Offers redeemed in the last 90 days", 90, empty=0,
    )
    yield one(
        "touches", "days_since_last_redemption", "min(redeemed_age)", "days", "距上次核销天数",
        "Days since an offer was last redeemed",
    )
    yield one(
        "touches", "best_touch_channel", "max(choice) FILTER (WHERE place = 1)", "name", "打开最多的触达渠道",
        "Channel whose messages are opened most", kind="text", by="channel",
    )
    for window in (90, None):
        suffix, zh, en = span(window)
        yield one(
            "assignments", f"experiments_{suffix}", f"count(*) FILTER (WHERE {within(window)})", "count",
            f"{zh}参与实验数", f"Experiments assigned to {en}", window, empty=0,
        )
    yield one(
        "assignments", "days_since_last_assignment", "min(age_days)", "days", "距上次分组天数",
        "Days since the last assignment in an experiment",
    )
    yield one(
        "decisions", "offers_decided_90d", "count(*) FILTER (WHERE offer_id IS NOT NULL AND age_days <= 90e0)", "count",
        "近90天获配优惠次数", "Offers decided for the member in the last 90 days", 90, empty=0,
    )
    yield one(
        "decisions", "days_since_last_offer", "min(age_days) FILTER (WHERE offer_id IS NOT NULL)", "days",
        "距上次获配优惠天数", "Days since an offer was last decided for the member",
    )
