"""The parts of a search that are arithmetic: shrinkage, the one-standard-error rule, ranks in folds, the verdict."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from uplift.evaluation.gain import best_arm
from uplift.evaluation.scores import weighted_mean
from uplift.metrics import Metric

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
_SLOPES = np.linspace(0.0, 1.0, 2001)


@dataclass(frozen=True)
class Shrunk:
    """Out-of-fold effects after shrinkage towards the constant effect, and what to do with new predictions.

    Attributes
    ----------
    effects
        ``(n, n_arms)``: constant + (prediction − its mean in the fold) @ matrix, the constant and the matrix from the
        other folds. NaN outside the folds in question.
    constant, matrix
        From all these folds, ``(n_arms,)`` and ``(n_arms, n_arms)``: for rows that are in none of them.
    factors
        How much is kept of what predictions say about who gains at all, and about which arm is better for whom.
    """

    effects: Floats
    constant: Floats
    matrix: Floats
    factors: tuple[float, float]

    def apply(self, predicted: Floats, weight: Floats) -> Floats:
        """Shrink predictions for rows in none of the folds, ``(m, n_arms)``."""
        return self.constant + (predicted - np.average(predicted, axis=0, weights=weight)) @ self.matrix


def shrink(predicted: Floats, gamma: Floats, weight: Floats, fold: Ints, among: Sequence[int]) -> Shrunk:
    """Shrink predictions towards one effect for all by as much as held-out scores say.

    A prediction says two things: how much a member gains from being treated at all (the mean over arms), and which arm
    is better for this member (differences between arms); the first is often real where the second is noise, and only
    the second tells arms apart. Each is multiplied by its own factor: what is to be expected of the slope of the scores
    on the predictions within folds (the best linear predictor), given its estimate and standard error, when any slope
    from 0 to 1 was equally likely before. Noise comes close to the constant effect, what holds up stays.

    Parameters
    ----------
    predicted, gamma
        Predicted effects and effect scores, ``(n, n_arms)``; scores are NaN where an arm was not offered.
    weight, fold
        ``(n,)``.
    among
        The folds in question.
    """
    effects = np.full(predicted.shape, np.nan)
    rows_of = [np.flatnonzero(fold == number) for number in among]
    parts = [_moments(predicted[rows], gamma[rows], weight[rows]) for rows in rows_of]
    for i, rows in enumerate(rows_of):
        constant, matrix, _ = _fit([part for j, part in enumerate(parts) if j != i], predicted.shape[1])
        centred = predicted[rows] - np.average(predicted[rows], axis=0, weights=weight[rows])
        effects[rows] = constant + centred @ matrix
    return Shrunk(effects, *_fit(parts, predicted.shape[1]))


def _moments(x: Floats, g: Floats, w: Floats) -> tuple[Floats, Floats, Floats]:
    """Of one fold: Σw and Σw·g per arm, and (Sxx, Sxy, noise of Sxy) of the mean over arms and of the differences."""
    known = np.isfinite(g) & (w > 0)[:, None]
    mass = np.where(known, w[:, None], 0.0)
    total = np.maximum(mass.sum(axis=0), np.finfo(float).tiny)
    filled = np.where(known, g, 0.0)
    x = np.where(known, x - (mass * x).sum(axis=0) / total, 0.0)
    y = np.where(known, filled - (mass * filled).sum(axis=0) / total, 0.0)
    count = np.maximum(known.sum(axis=1), 1)
    x_mean, y_mean = x.sum(axis=1) / count, y.sum(axis=1) / count
    x_rest, y_rest = (np.where(known, a - b[:, None], 0.0) for a, b in ((x, x_mean), (y, y_mean)))
    level, between = w * x_mean * y_mean, w * (x_rest * y_rest).sum(axis=1)
    slopes = np.array(
        [
            [w @ x_mean**2, level.sum(), level @ level],
            [w @ (x_rest**2).sum(axis=1), between.sum(), between @ between],
        ]
    )
    return mass.sum(axis=0), (mass * filled).sum(axis=0), slopes


def _fit(parts: Sequence[tuple[Floats, Floats, Floats]], arms: int) -> tuple[Floats, Floats, tuple[float, float]]:
    """Constant effects, the matrix that shrinks, and its two factors."""
    mass, total, slopes = (sum(part[i] for part in parts) for i in range(3))
    constant = np.asarray(total) / np.maximum(mass, np.finfo(float).tiny)
    level, between = (_factor(*row) for row in np.asarray(slopes))
    mean = np.full((arms, arms), 1 / arms)
    return constant, level * mean + between * (np.eye(arms) - mean), (level, between)


def _factor(sxx: float, sxy: float, noise: float) -> float:
    """Mean of the slope given its estimate and its standard error, all slopes from 0 to 1 being equally likely before.

    Never 0 where there is anything to see: policies depend on the order of effects, which a small factor keeps.
    """
    if sxx <= 0 or noise <= 0:
        return 0.0
    distance = (_SLOPES - sxy / sxx) * sxx / np.sqrt(noise)
    likelihood = np.exp((np.square(distance).min() - np.square(distance)) / 2)
    return float(np.average(_SLOPES, weights=likelihood))


def row_gains(effects: Floats, gamma: Floats, offered: npt.NDArray[np.bool_]) -> tuple[Floats, Ints]:
    """Score of what the effects would choose, per row, and the choice; NaN where the control was never possible."""
    filled = np.nan_to_num(effects, nan=-np.inf)
    choice = best_arm(filled, offered)
    known = np.isfinite(gamma).any(axis=1) & np.isfinite(effects).all(axis=1)
    taken = np.where(choice > 0, gamma[np.arange(len(gamma)), np.maximum(choice - 1, 0)], 0.0)
    return np.where(known, taken, np.nan), choice


def single_gains(arm: int, gamma: Floats, offered: npt.NDArray[np.bool_]) -> Floats:
    """Score of one arm for all, per row; nothing where it was not offered."""
    known = np.isfinite(gamma).any(axis=1)
    return np.where(known, np.where(offered[:, arm], gamma[:, arm], 0.0), np.nan)


def one_standard_error(
    gains: Sequence[Floats],
    weight: Floats,
    clusters: npt.NDArray[Any] | None,
    tolerance: float,
    alike: Sequence[bool] = (),
) -> int:
    """Position of the simplest candidate that is within ``tolerance`` standard errors of the best one.

    Candidates stand from simple to complex; the standard error is that of the paired difference from the best.
    Candidates that treat everybody alike (no effect, one effect for all) are chosen where no other one gains more, not
    where a gain is merely uncertain: every prediction was shrunk towards the constant effect as far as held-out scores
    demand, so caution has had its say, and giving up an uncertain gain costs its expectation.

    Parameters
    ----------
    alike
        Which candidates treat everybody alike; default: none of them.
    """
    same = list(alike) or [False] * len(gains)
    values = [weighted_mean(gain, weight, clusters)[0] for gain in gains]
    best = max(range(len(gains)), key=lambda position: (values[position], same[position], -position))
    if same[best]:
        return best
    for position in range(len(gains)):
        difference, se = weighted_mean(gains[best] - gains[position], weight, clusters)
        if not same[position] and difference <= tolerance * (se or 0.0):
            return position
    return best


def ranks_within(score: Floats, fold: Ints) -> Floats:
    """Mid-rank of each score among those of its fold, in (0, 1): models of different folds need not share a scale."""
    ranks = np.empty(len(score))
    for number in np.unique(fold):
        rows = np.flatnonzero(fold == number)
        order = np.sort(score[rows])
        below = np.searchsorted(order, score[rows], side="left")
        upto = np.searchsorted(order, score[rows], side="right")
        ranks[rows] = (below + upto) / 2 / len(rows)
    return ranks


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
