"""Reason codes: short, stable, written beside every decision; and their words for people."""

from __future__ import annotations

from collections.abc import Mapping

ELIGIBLE = ""
NOT_VALID_NOW = "not_valid_now"
NO_CONSENT = "no_consent"
FORBIDDEN = "forbidden"
NOT_ELIGIBLE = "not_eligible"
UNKNOWN = "unknown:"
COOLDOWN = "cooldown"
QUOTA = "quota"

HOLDOUT = "holdout"
EXPLORATION = "exploration"
BEST_VALUE = "best_value"
BEST_WITHIN_LIMITS = "best_within_limits"
NO_FEASIBLE_OFFER = "no_feasible_offer"
NO_GAIN = "no_gain"
LOWER_VALUE = "lower_value"
BUDGET = "budget"

WORDS: Mapping[str, tuple[str, str]] = {
    NOT_VALID_NOW: ("不在有效期", "not valid now"),
    NO_CONSENT: ("未同意接收营销信息", "no consent to marketing"),
    FORBIDDEN: ("有禁忌", "contraindicated"),
    NOT_ELIGIBLE: ("不符合条件", "conditions not met"),
    UNKNOWN: ("资料缺失", "information missing"),
    COOLDOWN: ("冷却期内", "too soon after the last purchase or message"),
    QUOTA: ("名额已满", "quota used up"),
    HOLDOUT: ("长期对照组", "held out"),
    EXPLORATION: ("随机探索", "drawn at random"),
    BEST_VALUE: ("预期净值最高", "the highest expected value"),
    BEST_WITHIN_LIMITS: ("在预算和名额之内最合适", "the best within budget and quotas"),
    NO_FEASIBLE_OFFER: ("没有可发放的优惠", "no offer is open to this member"),
    NO_GAIN: ("预计抵不上成本", "not expected to be worth its cost"),
    LOWER_VALUE: ("预期净值较低", "a lower expected value"),
    BUDGET: ("预算有限", "limited budget"),
}
"""Code → Chinese, English. A code that begins with ``unknown:`` has the words of ``unknown:``."""
