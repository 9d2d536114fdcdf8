"""What an arm is expected to gain, net of costs, and how sure that is: on everybody, and within segments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from uplift.experiments._posterior import expect
from uplift.experiments._situation import Situation
from uplift.experiments.estimators import ArmMeans
from uplift.experiments.shrinkage import shrink

Z95 = 1.959964
FLAT = "flat prior on the whole population"
ARMS = "normal prior over the arms: centre unknown, spread integrated over"
SEGMENTS = (
    "normal prior over the segments of the column: centre unknown, spread integrated over, given that they differ for "
    "certain"
)


@dataclass(frozen=True)
class Gain:
    """What is expected to be gained a member, net of costs, in the direction in which more is better.

    Attributes
    ----------
    mean, sd
        What may be promised, and what is not known about it.
    expected
        Mean of the posterior, by which arms are put in order: promises may be alike where arms are.
    low, high
        95 % interval: the posterior's under a flat prior, else the robust empirical-Bayes interval, which does not
        trust that true values scatter normally.
    basis
        The prior.
    """

    mean: float
    sd: float
    expected: float
    low: float
    high: float
    basis: str

    @property
    def probability(self) -> float:
        """That the gain is above zero."""
        return float(ndtr(self.mean / self.sd))


def gains(situation: Situation) -> dict[str, Gain]:
    """Arm → its gain over the control on everybody.

    The means of three arms or more are drawn towards each other, so that the one that looks best is not promised what
    it owes to luck; the control is not one of them.
    """
    means = situation.means(None, None)
    if means is None:
        return {}
    variance = np.diag(means.covariance)
    usable = [i for i in range(1, len(situation.arms)) if math.isfinite(means.mean[i]) and variance[i] > 0]
    if not usable or not (math.isfinite(means.mean[0]) and variance[0] > 0):
        return {}
    crossed = any(means.covariance[i, 0] != 0 for i in usable)  # clusters that span arms: leave them as they are
    se = np.sqrt(variance)
    mean, sd, basis = means.mean, se, FLAT
    expected, centre, half = mean, mean, Z95 * se
    if len(usable) >= 3 and not crossed:
        found, robust = expect(mean[usable], se[usable]), shrink(mean[usable], se[usable])
        mean, sd, centre, half, basis = mean.copy(), se.copy(), mean.copy(), half.copy(), ARMS
        expected = mean.copy()
        mean[usable], expected[usable], sd[usable] = found.promise, found.mean, found.sd
        centre[usable], half[usable] = robust.value, (robust.high - robust.low) / 2
    told = {}
    for i in usable:
        arm = situation.arms[i]
        together = variance[0] - 2 * means.covariance[i, 0]
        width = math.sqrt(half[i] ** 2 + Z95**2 * together)
        gap = math.sqrt(sd[i] ** 2 + together)
        told[arm] = _gain(
            situation, situation.cost(arm), basis, sd=gap, half=width,
            mean=mean[i] - means.mean[0], expected=expected[i] - means.mean[0], centre=centre[i] - means.mean[0],
        )  # fmt: skip
    return told


def contrasts(situation: Situation, cells: Mapping[int, ArmMeans], arm: int, other: int) -> dict[int, Gain]:
    """Segment → what the arm gains over another one there; segments are drawn towards each other.

    A segment is given another arm because that is probably better, not because it looks best of all: hence the mean
    over all spreads. Only columns whose effects differ for certain are looked at, which the spread's likelihood knows.
    """
    gaps = {v: means.difference(arm, other) for v, means in cells.items()}
    gaps = {v: gap for v, gap in gaps.items() if math.isfinite(gap.value) and gap.se > 0}
    if len(gaps) < 2:
        return {}
    values, se = [gap.value for gap in gaps.values()], [gap.se for gap in gaps.values()]
    found, robust = expect(values, se, screened=situation.look.alpha), shrink(values, se)
    cost = situation.cost(situation.arms[arm], situation.arms[other])
    half = (robust.high - robust.low) / 2
    return {
        v: _gain(
            situation, cost, SEGMENTS, sd=float(found.sd[i]), half=float(half[i]), mean=found.mean[i],
            expected=found.mean[i], centre=robust.value[i],
        )
        for i, v in enumerate(gaps)
    }  # fmt: skip


def _gain(
    situation: Situation,
    cost: float,
    basis: str,
    *,
    sd: float,
    half: float,
    mean: float,
    expected: float,
    centre: float,
) -> Gain:
    """From effects to gains: in the wanted direction, and net of costs."""
    promised, known, middle = (situation.sign * float(value) - cost for value in (mean, expected, centre))
    return Gain(promised, sd, known, min(middle - half, promised), max(middle + half, promised), basis)
