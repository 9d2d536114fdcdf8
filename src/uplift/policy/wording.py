"""Decisions in sentences that a shop manager understands, Chinese and English with the same numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from uplift.config import with_currency
from uplift.policy import codes

Unit = Literal["share", "money", "count", "days"]


@dataclass(frozen=True)
class Outcome:
    """An outcome as sentences name it: its words, its unit, the window in days."""

    text_zh: str
    text_en: str
    unit: Unit
    window_days: int


@dataclass(frozen=True)
class Case:
    """What one sentence is about.

    Attributes
    ----------
    reason
        The member's code, from :class:`uplift.policy.decisions.Reasoned`.
    segment
        (Chinese, English) name.
    churn_risk
        Share, or None where it is not known.
    offer
        (Chinese, English) name, or None for no offer.
    effects
        Expected change of each outcome (shares, money units or counts), in the order of the speaker's outcomes.
    value, cost
        Money, units.
    propensity
        Share.
    options
        How many offers were open to the member.
    obstacles
        Codes of the offers that were not.
    """

    reason: str
    segment: tuple[str, str]
    churn_risk: float | None = None
    offer: tuple[str, str] | None = None
    effects: Sequence[float] = ()
    value: float = 0.0
    cost: float = 0.0
    propensity: float = 1.0
    options: int = 0
    obstacles: Sequence[str] = field(default=())


class Speaker:
    """Turns cases into sentences.

    Parameters
    ----------
    outcomes
        In the order of every case's effects.
    currency
        ISO 4217 code.
    """

    def __init__(self, outcomes: Sequence[Outcome], currency: str) -> None:
        self.outcomes = tuple(outcomes)
        self.currency = currency

    def why(self, case: Case) -> tuple[str, str]:
        """The sentence in Chinese and in English."""
        risk = "" if case.churn_risk is None else f"{case.churn_risk:.0%}"
        zh = f"{case.segment[0]}会员" + (f"，流失风险{risk}" if risk else "") + "。"
        en = f"Segment: {case.segment[1].lower()}" + (f", churn risk {risk}" if risk else "") + ". "
        body_zh, body_en = self._body(case)
        return zh + body_zh, en + body_en

    def money(self, amount: float) -> str:
        """An amount with its currency, e.g. ``-¥1.20``."""
        return with_currency(f"{_cents(amount):,.2f}", self.currency)

    def _body(self, case: Case) -> tuple[str, str]:
        if case.reason == codes.HOLDOUT:
            return (
                "属于长期对照组：不发放任何优惠，用来衡量优惠的真实效果。",
                "Held out: receives no offer, so that the true effect of offers can be measured.",
            )
        if case.reason == codes.EXPLORATION:
            return self._explored(case)
        if case.offer is not None:
            return self._given(case)
        return self._nothing(case)

    def _given(self, case: Case) -> tuple[str, str]:
        effects_zh, effects_en = self._effects(case)
        value, cost = self.money(case.value), self.money(case.cost)
        zh, en = case.offer or ("", "")
        why = codes.WORDS[case.reason]
        return (
            f"发放「{zh}」({why[0]})：{effects_zh}；扣除成本{cost}后，预期净值{value}。",
            f"Give “{en}” ({why[1]}): {effects_en}; expected to be worth {value} after {cost} of cost.",
        )

    def _explored(self, case: Case) -> tuple[str, str]:
        chance = f"{case.propensity:.1%}"
        if case.offer is None:
            return (
                f"随机探索(概率{chance})：这次不发放，用来比较优惠有没有用。",
                f"Drawn at random (probability {chance}): no offer this time, to learn whether offers help.",
            )
        effects_zh, effects_en = self._effects(case)
        return (
            f"随机探索(概率{chance})：发放「{case.offer[0]}」，用来学习它对谁有用；目前估计：{effects_zh}。",
            f"Drawn at random (probability {chance}): “{case.offer[1]}”, to learn whom it helps; present estimate: "
            f"{effects_en}.",
        )

    def _nothing(self, case: Case) -> tuple[str, str]:
        if case.reason == codes.NO_FEASIBLE_OFFER:
            zh, en = _obstacles(case.obstacles)
            return f"不发放：没有可发放的优惠({zh})。", f"No offer: none is open to this member ({en})."
        if case.reason in (codes.BUDGET, codes.QUOTA):
            zh, en = {
                codes.BUDGET: ("预算", "the budget is"),
                codes.QUOTA: ("名额", "the quotas are"),
            }[case.reason]
            return (
                f"不发放：{zh}有限，优先给了预期回报更高的会员。",
                f"No offer: {en} limited and went to members with a higher expected return.",
            )
        return (
            f"不发放：可发放的{case.options}种优惠，预计都抵不上成本。",
            f"No offer: of the {case.options} open to this member, none is expected to be worth its cost.",
        )

    def _effects(self, case: Case) -> tuple[str, str]:
        zh, en = [], []
        for outcome, effect in zip(self.outcomes, case.effects, strict=True):
            amount_zh, amount_en = self._amount(outcome.unit, effect)
            zh.append(f"{outcome.window_days}天内{outcome.text_zh}{amount_zh}")
            en.append(f"{outcome.text_en.lower()} within {outcome.window_days} days {amount_en}")
        return "，".join(zh), ", ".join(en)

    def _amount(self, unit: Unit, effect: float) -> tuple[str, str]:
        if unit == "share":
            points = f"{100 * effect:+.1f}"
            return f"的比例{points}个百分点", f"{points} points"
        if unit == "money":
            return (with_currency(f"{_cents(effect):+,.2f}", self.currency),) * 2
        return f"{effect:+.2f}", f"{effect:+.2f}"


def _cents(amount: float) -> float:
    """Two digits after the point, and nothing is never less than nothing."""
    return round(amount, 2) + 0.0


def _obstacles(found: Sequence[str]) -> tuple[str, str]:
    """How often each kind of obstacle, most frequent first."""
    counts = Counter(codes.UNKNOWN if code.startswith(codes.UNKNOWN) else code for code in found)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    words = [(codes.WORDS.get(code, (code, code)), count) for code, count in ordered]
    return "，".join(f"{zh} {n}" for (zh, _), n in words), ", ".join(f"{en} {n}" for (_, en), n in words)
