"""What a search found, in a word and in sentences of both languages with the same numbers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from uplift.evaluation.units import PLAIN, GainUnit, Text
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
    by_member: bool,
    unit: GainUnit = PLAIN,
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
    by_member
        Whether the candidate chosen, fitted on all rows, does not do the same for everybody. It may, without evidence
        that this pays: it is kept as long as it is not worse by more than the search's tolerance.
    unit
        Of the outcome.
    """
    works = _bound(single_gain, alpha / (2 * arms)) > 0
    targeting = _bound(over_single, alpha / 2) > 0 and _bound(gain, alpha / 2) > 0
    versus, alone = unit.per_1000(over_single), unit.per_1000(single_gain)
    if not over_single.value and not over_single.se:
        versus = Text(
            f"找到的最佳策略就是全员发放 {single}，+0", f"the best policy found is {single}-for-all itself, +0"
        )
    if targeting:
        return Verdict(
            "targeting",
            f"evidence that targeting ({name}) beats {single}-for-all: {versus.en} per 1,000 members",
            f"有证据表明按人选择（{name}）优于全员发放 {single}：每千人 {versus.zh}",
        )
    if works:
        still = Text(f"；所选模型（{name}）仍会按人选择", f"; the model kept ({name}) still chooses by member")
        return Verdict(
            "one_for_all",
            f"no evidence that targeting beats {single}-for-all: {versus.en} per 1,000 members; "
            f"{single}-for-all brings {alone.en}" + (still.en if by_member else ""),
            f"没有证据表明按人选择优于全员发放 {single}：每千人 {versus.zh}；全员发放 {single} 带来每千人 {alone.zh}"
            + (still.zh if by_member else ""),
        )
    return Verdict(
        "no_evidence",
        f"no evidence that any arm has an effect, nor that targeting beats {single}-for-all: "
        f"{single}-for-all brings {alone.en} per 1,000 members",
        f"没有证据表明任何方案有效，也没有证据表明按人选择优于全员发放 {single}："
        f"全员发放 {single} 带来每千人 {alone.zh}",
    )


def _bound(number: Metric, alpha: float) -> float:
    """Lower end of a one-sided interval; minus infinity without a standard error."""
    if number.se is None:
        return -np.inf
    return float(number.value - norm.ppf(1 - alpha) * number.se)
