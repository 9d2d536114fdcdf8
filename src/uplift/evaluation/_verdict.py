"""What a search found, in a word and in sentences of both languages with the same numbers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from uplift.metrics import Metric


@dataclass(frozen=True)
class Verdict:
    """What the search found, in a word and in sentences with the same numbers.

    ``status`` is ``targeting`` (it beats the best single arm for all), ``one_for_all`` (an arm works, targeting does
    not beat it) or ``no_evidence``.
    """

    status: str
    en: str
    zh: str


def verdict(
    name: str,
    gain: Metric,
    over_single: Metric,
    single: Hashable,
    single_gain: Metric,
    arms: int,
    alpha: float,
) -> Verdict:
    """Say what the numbers allow.

    Parameters
    ----------
    name
        The candidate chosen.
    gain, over_single
        Of the policy: against nobody, and against the best single arm for all, neither seen by the choosing.
    single, single_gain
        The best single arm on all rows and its gain against nobody; among ``arms`` arms, so its bound is adjusted for
        having been picked (Bonferroni).
    alpha
        Each claim is made at one-sided ``alpha / 2``.
    """
    works = _bound(single_gain, alpha / (2 * arms)) > 0
    targeting = _bound(over_single, alpha / 2) > 0 and _bound(gain, alpha / 2) > 0
    versus = _per_1000(over_single)
    if not over_single.value and not over_single.se:
        versus = (f"the best policy found is {single}-for-all itself, +0", f"找到的最佳策略就是全员发放 {single}，+0")
    alone = _per_1000(single_gain)
    if targeting:
        return Verdict(
            "targeting",
            f"evidence that targeting ({name}) beats {single}-for-all: {versus[0]} per 1,000 members",
            f"有证据表明按人选择（{name}）优于全员发放 {single}：每千人 {versus[1]}",
        )
    if works:
        return Verdict(
            "one_for_all",
            f"no evidence that targeting beats {single}-for-all: {versus[0]} per 1,000 members; "
            f"{single}-for-all brings {alone[0]}",
            f"没有证据表明按人选择优于全员发放 {single}：每千人 {versus[1]}；全员发放 {single} 带来每千人 {alone[1]}",
        )
    return Verdict(
        "no_evidence",
        f"no evidence that any arm has an effect, nor that targeting beats {single}-for-all: "
        f"{single}-for-all brings {alone[0]} per 1,000 members",
        f"没有证据表明任何方案有效，也没有证据表明按人选择优于全员发放 {single}："
        f"全员发放 {single} 带来每千人 {alone[1]}",
    )


def _bound(number: Metric, alpha: float) -> float:
    """Lower end of a one-sided interval; minus infinity without a standard error."""
    if number.se is None:
        return -np.inf
    return float(number.value - norm.ppf(1 - alpha) * number.se)


def _per_1000(number: Metric) -> tuple[str, str]:
    low, high = number.low, number.high
    value = f"{1000 * number.value:+.4g}"
    if low is None or high is None:
        return f"{value} extra", f"{value}"
    return f"{value} extra ({1000 * low:.4g} to {1000 * high:.4g})", f"{value}（{1000 * low:.4g} 至 {1000 * high:.4g}）"
