"""Differences of differences: who responds more, experiments that meet, effects that change with time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, fdtrc

from uplift.errors import InputError
from uplift.experiments.estimators import ArmMeans, ArmRegression, Difference, Ratio, difference, fieller
from uplift.experiments.multiplicity import holm
from uplift.results import Rendered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def contrast(means: ArmMeans, weights: ArrayLike, alpha: float = 0.05) -> Difference:
    """A weighted sum of means with its interval; NaN where a mean with a weight is not known.

    Parameters
    ----------
    means
        From :class:`uplift.experiments.ArmRegression`, of arms or of any cells.
    weights : array of shape (n_arms,)
    """
    w = np.asarray(weights, dtype=np.float64)
    used = w != 0
    value = float(w[used] @ means.mean[used])
    covariance = means.covariance[np.ix_(used, used)]
    variance = float(w[used] @ covariance @ w[used])
    own = w[used] ** 2 * np.diag(covariance)
    parts = float((own**2 / means.df[used]).sum())
    df = float(own.sum()) ** 2 / parts if parts > 0 else math.nan
    return difference(value, variance, df, alpha)


@dataclass(frozen=True)
class TagEffect(Rendered):
    """How much more members with a tag respond than all others.

    Attributes
    ----------
    effect_tagged, effect_others
        Effects of the arm, each with its interval.
    gap
        Their difference, with its interval.
    times
        Their ratio minus 1 (2 is "three times"), by Fieller; NaN where the others' effect is not clearly above zero.
    p_adjusted
        Of the gap, Holm over all tags and arms.
    """

    tag: str
    arm: str
    n_tagged: int
    n_others: int
    effect_tagged: Difference
    effect_others: Difference
    gap: Difference
    times: Ratio
    p_adjusted: float


def tag_effects(
    outcome: ArrayLike,
    arm: ArrayLike,
    arms: Sequence[str],
    tags: Mapping[str, tuple[ArrayLike, Sequence[str]]],
    *,
    covariates: Floats | None = None,
    clusters: Ints | None = None,
    alpha: float = 0.05,
) -> list[TagEffect]:
    """Effects among members with a tag against all others, for tags declared before the start.

    Parameters
    ----------
    outcome : array of shape (n_members,)
    arm : array of shape (n_members,)
        Place in ``arms``, the control 0.
    tags
        Name → whether each member has it, ``(n_members,)``, and the arms that it is declared for.
    covariates : ndarray of shape (n_members, n_covariates), optional

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tagged, arm = rng.random(4000) < 0.3, rng.integers(0, 2, 4000)
    >>> spend = rng.normal(10, 2, 4000) + arm * np.where(tagged, 3.0, 1.0)
    >>> found = tag_effects(spend, arm, ["control", "weekend"], {"周末到店": (tagged, ["weekend"])})[0]
    >>> round(found.gap.value, 1), round(1 + found.times.value, 1), found.p_adjusted < 0.001
    (2.2, 3.1, True)
    """
    y, codes = np.asarray(outcome, dtype=np.float64), np.asarray(arm, dtype=np.int64)
    k = len(arms)
    found = []
    for name, (has, meant) in tags.items():
        tagged = np.asarray(has, dtype=bool)
        means = ArmRegression(covariates, codes + k * tagged, 2 * k, clusters).estimate(y)
        for a in (arms.index(one) for one in meant):
            inside, outside = np.zeros(2 * k), np.zeros(2 * k)
            inside[[k + a, k]] = outside[[a, 0]] = 1.0, -1.0
            here, there = contrast(means, inside, alpha), contrast(means, outside, alpha)
            gap = contrast(means, inside - outside, alpha)
            shared = float(inside @ np.nan_to_num(means.covariance) @ outside)
            times = fieller(here.value, there.value, here.se**2, there.se**2, shared, alpha=alpha, df=gap.df)
            own = np.isin(codes, (0, a))
            sizes = int((tagged & own).sum()), int((~tagged & own).sum())
            found.append(TagEffect(name, arms[a], *sizes, here, there, gap, times, math.nan))
    p = holm([one.gap.p_value for one in found])
    return [TagEffect(**{**vars(one), "p_adjusted": float(value)}) for one, value in zip(found, p, strict=True)]


@dataclass(frozen=True)
class Meeting(Rendered):
    """Two experiments that share members.

    Attributes
    ----------
    members
        Shared.
    table : ndarray of shape (n_arms, n_other_arms)
        Members by arm of the one and arm of the other.
    p_independent
        χ² that assignment in the one is independent of the other; a small one says that assignment is broken.
    p_interaction
        That every effect is the same in all arms of the other experiment; a small one says that effects are those of
        the mixture of arms that members met.
    """

    members: int
    table: Ints
    p_independent: float
    p_interaction: float


def meeting(
    outcome: ArrayLike,
    arm: ArrayLike,
    other: ArrayLike,
    n_arms: int,
    n_other: int,
    *,
    covariates: Floats | None = None,
    clusters: Ints | None = None,
    other_clusters: Ints | None = None,
) -> Meeting:
    """Whether two experiments that met in the same members disturbed each other.

    Parameters
    ----------
    outcome, arm, other : arrays of shape (n_members,)
        Of the members whom both assigned; arms as places, the controls 0.
    clusters, other_clusters : arrays of shape (n_members,), optional
        For the interaction, where the one or the other assigned whole clusters: effects that differ by store differ by
        the arm of the store too. Where both did, it is tested with either, and the larger p-value counts. The test of
        independence holds as long as one of them assigned members one by one.

    Raises
    ------
    InputError
        If the arrays differ in length.
    """
    y, a, b = np.asarray(outcome, dtype=np.float64), np.asarray(arm), np.asarray(other)
    if not len(y) == len(a) == len(b):
        raise InputError("outcome, arm and other must have the same members")
    table = np.bincount(a * n_other + b, minlength=n_arms * n_other).reshape(n_arms, n_other)
    rows, columns = table.sum(axis=1) > 0, table.sum(axis=0) > 0
    filled = table[np.ix_(rows, columns)]
    expected = filled.sum(axis=1, keepdims=True) * filled.sum(axis=0, keepdims=True) / max(filled.sum(), 1)
    df = (filled.shape[0] - 1) * (filled.shape[1] - 1)
    independent = float(chdtrc(df, float(((filled - expected) ** 2 / expected).sum()))) if df > 0 else math.nan
    weights = []
    for i in range(1, n_arms):
        for j in range(1, n_other):
            w = np.zeros((n_arms, n_other))
            w[i, j], w[0, j], w[i, 0], w[0, 0] = 1, -1, -1, 1
            if (table[w != 0] >= 2).all():
                weights.append(w.ravel())
    apart: list[Ints | None] = [units for units in (clusters, other_clusters) if units is not None]
    fits = [
        ArmRegression(covariates, a * n_other + b, n_arms * n_other, units).estimate(y) for units in apart or [None]
    ]
    return Meeting(len(y), table, independent, max(_joint(means, np.array(weights)) for means in fits))


def _joint(means: ArmMeans, weights: Floats) -> float:
    """p-value that all contrasts are zero: Wald's statistic against F with the smallest degrees of freedom."""
    if not len(weights):
        return math.nan
    value = weights @ np.nan_to_num(means.mean)
    covariance = weights @ np.nan_to_num(means.covariance) @ weights.T
    used = (weights != 0).any(axis=0)
    statistic = float(value @ np.linalg.pinv(covariance, hermitian=True) @ value)
    return float(fdtrc(len(weights), float(np.nanmin(means.df[used])), max(statistic, 0.0) / len(weights)))


@dataclass(frozen=True)
class Novelty(Rendered):
    """An arm's effect by time since assignment.

    Attributes
    ----------
    effects
        One difference a period.
    trend
        Change of the effect a period, with its interval: below zero for a novelty that wears off.
    """

    effects: tuple[Difference, ...]
    trend: Difference


def novelty(
    outcomes: ArrayLike,
    arm: ArrayLike,
    n_arms: int,
    *,
    covariates: Floats | None = None,
    clusters: Ints | None = None,
    alpha: float = 0.05,
) -> list[Novelty]:
    """Effects by period and a test of their trend, which counts that a member's periods hang together.

    The trend is the effect on each member's own least-squares slope over the periods.

    Parameters
    ----------
    outcomes : array of shape (n_members, n_periods)
        What happened in each period after assignment, complete for everybody.

    Returns
    -------
    list of Novelty
        One an arm after the control.

    Raises
    ------
    InputError
        With fewer than two periods.
    """
    y = np.asarray(outcomes, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] < 2:
        raise InputError(f"novelty needs at least two periods, found an array of shape {y.shape}")
    codes = np.asarray(arm, dtype=np.int64)
    fitted = ArmRegression(covariates, codes, n_arms, clusters)
    time = np.arange(y.shape[1]) - (y.shape[1] - 1) / 2
    slope = fitted.estimate(y @ (time / (time @ time)))
    periods = [fitted.estimate(y[:, period]) for period in range(y.shape[1])]
    return [
        Novelty(tuple(one.difference(a, 0, alpha) for one in periods), slope.difference(a, 0, alpha))
        for a in range(1, n_arms)
    ]
