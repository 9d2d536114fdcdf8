"""How much of what effect predictions say is kept, and which of several predictions to believe: by held-out scores.

Reference: best linear predictor of effects, Chernozhukov, Demirer, Duflo & Fernández-Val (2018); Bayesian model
averaging over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

NOTHING, ALIKE, APART = 0.45, 0.4, 0.15
"""Prior: the predictions tell nothing; one factor for all that they tell; one for "who", another for "which arm"."""
EQUAL_ARMS = 0.5
"""Prior: the arms' mean effects do not differ from each other."""
LEAST, FEWEST = 0.2, 0.01
"""Where less than the first would be kept of all predictions together, or than the second of one of them, nothing is:
what is hardly there would only cost scoring, and toss between arms whose mean effects are close."""
MOST_SUBSETS = 6
"""Up to so many predictions every subset of them may be averaged; of more only single ones, and all together."""
_SLOPES = np.linspace(0.0, 1.0, 401)
_SHARES = np.linspace(0.0, 1.0, 1001)[1:]


@dataclass(frozen=True, eq=False)
class Shrinkage:
    """What to do with predicted effects: ``constant + Σ (prediction − its mean) × weight``.

    Attributes
    ----------
    constant
        Mean effect of each arm, ``(n_arms,)``; differences between arms are shrunk too.
    weights
        How much is kept of each prediction, ``(2, n_predictions)``: of what it says about who gains at all (the mean
        over arms), and about which arm is better for whom (differences between arms).
    """

    constant: Floats
    weights: Floats

    @property
    def factors(self) -> tuple[float, float]:
        """Kept of all predictions together, each of both kinds."""
        level, between = self.weights.sum(axis=1)
        return float(level), float(between)

    @property
    def matrices(self) -> Floats:
        """The weights as ``(n_predictions, n_arms, n_arms)``, from what an arm is predicted to what it is given."""
        arms = len(self.constant)
        mean = np.full((arms, arms), 1 / arms)
        return np.asarray(
            self.weights[0][:, None, None] * mean + self.weights[1][:, None, None] * (np.eye(arms) - mean)
        )

    def apply(self, predicted: Floats, weight: Floats) -> Floats:
        """Shrink predictions, ``(n_predictions, m, n_arms)``, to effects ``(m, n_arms)``."""
        result = np.tile(self.constant, (predicted.shape[1], 1))
        for one, matrix in zip(predicted, self.matrices, strict=True):
            if matrix.any():
                result += (one - np.average(one, axis=0, weights=weight)) @ matrix
        return result


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Out-of-fold effects after shrinkage, and what to do with new predictions.

    Attributes
    ----------
    effects
        ``(n, n_arms)``, each fold by what the other folds say; NaN outside the folds in question.
    shrinkage
        From all these folds: for rows that are in none of them.
    sums
        What it was found from, for every part of the outcome: which predictions tell of it, and sums over rows.
    """

    effects: Floats
    shrinkage: Shrinkage
    sums: Sequence[_Part] = ()


def shrink(
    predicted: Floats,
    gamma: Floats,
    weight: Floats,
    fold: npt.NDArray[np.integer[Any]],
    among: Sequence[int],
    groups: Ints | None = None,
    telling: Mask | None = None,
) -> Shrunk:
    """Shrink predictions towards one effect for all by as much as held-out scores say.

    A prediction is multiplied by what is to be expected of the slope of the scores on it within folds (the best linear
    predictor), given its estimate and standard error. Before the data, the predictions tell nothing at all with
    probability 0.45, so that the slope is 0; else every slope from 0 to 1 is equally likely. A prediction says who
    gains at all (the mean over arms), and which arm is better for whom (differences between arms); the first may be
    real where the second is noise, so that each may have a slope of its own, but nearly three times as likely they
    share one. Of several predictions each, and each average of some of them, may be the one to go by, equally likely
    before.

    The arms' mean effects are shrunk towards each other in the same way: which arm is better on average is measured no
    less noisily than for whom.

    Where the outcome is a sum of parts, predictions are shrunk by the scores of each part, and what is kept added up.
    The arms' means are shrunk part by part too, which is better where they differ in one part only, and as one, which
    is better where they differ in all: the average of both is taken.

    Parameters
    ----------
    predicted
        Effects by each of some models that did not see the row, ``(n_predictions, n, n_arms)``.
    gamma
        Effect scores, ``(n, n_arms)``, or of each part, ``(n_parts, n, n_arms)``; NaN where an arm was not offered.
    weight, fold
        ``(n,)``.
    among
        The folds in question.
    groups
        Number of each row's group, ``(n,)``: rows of one group are not independent; None: every row is its own.
    telling
        Which predictions may tell of which part of the outcome, ``(n_parts, n_predictions)``; None: all of all.
    """
    scores = gamma.reshape(-1, *gamma.shape[-2:])
    telling = np.ones((len(scores), len(predicted)), dtype=bool) if telling is None else telling
    if len(scores) > 1:  # and the outcome as it is, of which the arms' means alone are looked at
        scores = np.concatenate([scores, scores.sum(axis=0, keepdims=True)])
        telling = np.vstack([telling, np.zeros(len(predicted), dtype=bool)])
    effects = np.full(scores.shape[1:], np.nan)
    rows_of = [np.flatnonzero(fold == number) for number in among]
    by_fold = [
        [
            _Part(
                of,
                _Moments.of(
                    predicted[of][:, rows], score[rows], weight[rows], None if groups is None else groups[rows]
                ),
            )
            for of, score in zip(telling, scores, strict=True)
        ]
        for rows in rows_of
    ]
    for i, rows in enumerate(rows_of):
        others = [parts for j, parts in enumerate(by_fold) if j != i]
        effects[rows] = _shrinkage(_added(others)).apply(predicted[:, rows], weight[rows])
    sums = _added(by_fold)
    return Shrunk(effects, _shrinkage(sums), sums)


def pooled(repeated: Sequence[Shrunk]) -> Shrunk:
    """One shrinkage from several partitions of the same rows into folds; effects of the first partition.

    Sums are averaged, so that the chance of who was kept from which model cancels, and the rows' own remains.
    """
    first = repeated[0]
    known = [one.sums for one in repeated if one.sums]
    if len(known) < 2:
        return first
    means = [_Part(part.telling, part.moments.scaled(1 / len(known))) for part in _added(known)]
    return Shrunk(first.effects, _shrinkage(means))


@dataclass(frozen=True, eq=False)
class _Part:
    """Of one part of the outcome: which predictions tell of it, ``(n_predictions,)``, and the sums over rows."""

    telling: Mask
    moments: _Moments


def _added(several: Sequence[Sequence[_Part]]) -> list[_Part]:
    """Sums over folds or partitions, part by part."""
    return [
        _Part(parts[0].telling, reduce(_Moments.__add__, [part.moments for part in parts]))
        for parts in zip(*several, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over rows, which add up over folds.

    ``total`` and ``mass`` are Σwγ and Σw per arm; ``squares``, ``firsts`` and ``counts`` are sums over groups of the
    cross products of their Σwγ and Σw between arms. Of the two kinds (level, between): ``xx`` and ``xy`` are the
    predictions' cross products with each other and with the scores, ``noise`` the variance of ``xy``.
    """

    total: Floats
    mass: Floats
    squares: Floats
    firsts: Floats
    counts: Floats
    xx: Floats
    xy: Floats
    noise: Floats

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def scaled(self, factor: float) -> _Moments:
        """All sums times a factor."""
        return _Moments(*(factor * getattr(self, name) for name in self.__dataclass_fields__))

    @classmethod
    def of(cls, predicted: Floats, gamma: Floats, weight: Floats, groups: Ints | None) -> Self:
        """Of one fold, within which predictions and scores are taken from their means."""
        known = np.isfinite(gamma) & (weight > 0)[:, None]
        mass = np.where(known, weight[:, None], 0.0)
        per_arm = np.maximum(mass.sum(axis=0), np.finfo(float).tiny)
        y = np.where(known, gamma, 0.0)
        total = (mass * y).sum(axis=0)
        values, masses = (_by_group(each.T, groups) for each in (mass * y, mass))
        arms = total, mass.sum(axis=0), values @ values.T, values @ masses.T, masses @ masses.T
        y = np.where(known, y - total / per_arm, 0.0)
        x = predicted - predicted[:, :1]  # so that what is the same for all is zero, not the rounding of its mean
        x = np.where(known, x - (mass * x).sum(axis=1, keepdims=True) / per_arm, 0.0)
        count = np.maximum(known.sum(axis=1), 1)
        x_mean, y_mean = x.sum(axis=2) / count, y.sum(axis=1) / count
        x_rest = np.where(known, x - x_mean[:, :, None], 0.0)
        y_rest = np.where(known, y - y_mean[:, None], 0.0)
        level = _by_group(weight * x_mean * y_mean, groups)
        between = _by_group(weight * (x_rest * y_rest).sum(axis=2), groups)
        flat = (np.sqrt(weight)[:, None] * x_rest).reshape(len(predicted), y.size)
        xx = np.stack([(weight * x_mean) @ x_mean.T, flat @ flat.T])
        xy = np.stack([level.sum(axis=1), between.sum(axis=1)])
        return cls(*arms, xx, xy, np.stack([level @ level.T, between @ between.T]))


def _by_group(values: Floats, groups: Ints | None) -> Floats:
    """Sums over groups, ``(k, n_groups)`` of ``(k, n)``."""
    if groups is None:
        return values
    numbers = np.unique(groups, return_inverse=True)[1]
    sums = np.empty((len(values), numbers.max() + 1))
    for row, one in zip(sums, values, strict=True):
        row[:] = np.bincount(numbers, weights=one)
    return sums


def _shrinkage(parts: Sequence[_Part]) -> Shrinkage:
    """Of all parts of the outcome; where there are several, the last is the outcome as it is."""
    weights = np.zeros((2, len(parts[0].telling)))
    for part in parts:
        if part.telling.any():
            weights[:, part.telling] += _worth_keeping(part.moments)
    *of_parts, of_all = (_constant(part.moments) for part in parts)
    return Shrinkage((np.sum(of_parts, axis=0) + of_all) / 2 if of_parts else of_all, weights)


def _worth_keeping(sums: _Moments) -> Floats:
    """The expected slopes, but for predictions that are the same for all, and those that are hardly there."""
    varies = np.diagonal(sums.xx, axis1=1, axis2=2) > 0
    weights = np.where(varies, _weights(sums), 0.0)
    few = weights.max(axis=0) < FEWEST
    return np.where(few | (weights.sum(axis=1).max() < LEAST), 0.0, weights)


def _constant(sums: _Moments) -> Floats:
    """Mean effects, as far apart as they are to be expected."""
    mass = np.maximum(sums.mass, np.finfo(float).tiny)
    effect = sums.total / mass
    arms = len(effect)
    if arms == 1:
        return effect
    crossed = sums.firsts * effect  # (a, b): Σw²γ_a of the rows that know b, times the mean of b
    covariance = sums.squares - crossed - crossed.T + np.outer(effect, effect) * sums.counts
    apart = effect - effect.mean()
    centring = np.eye(arms) - 1 / arms
    precision = np.linalg.pinv(centring @ (covariance / np.outer(mass, mass)) @ centring, hermitian=True)
    return effect.mean() + _kept(float(apart @ precision @ apart), arms - 1) * apart


def _kept(statistic: float, freedom: int) -> float:
    """Share of differences to keep whose χ² statistic is given: the mean of τ² / (τ² + σ²).

    They are nothing with probability ``EQUAL_ARMS``; else every share is equally likely before.
    """
    logs = freedom / 2 * np.log(_SHARES) - _SHARES * statistic / 2
    null = -statistic / 2
    top = max(float(logs.max()), null)
    likelihood = (1 - EQUAL_ARMS) * np.exp(logs - top) / len(_SHARES)
    return float(likelihood @ (1 - _SHARES) / (likelihood.sum() + EQUAL_ARMS * np.exp(null - top)))


def _weights(sums: _Moments) -> Floats:
    """Expected slope of each prediction, ``(2, n_predictions)``."""
    predictions = sums.xx.shape[1]
    found = [(np.log(NOTHING), np.zeros((2, predictions)))]
    subsets = list(_subsets(predictions))
    for members in subsets:
        level, between = (_likelihood(*(_average(matrix[kind], members) for matrix in (sums.xx, sums.xy, sums.noise)))
                          for kind in (0, 1))  # fmt: skip
        shared, slope = _expected(level + between)
        found.append((np.log(ALIKE / len(subsets)) + shared, np.outer([slope, slope], members)))
        (one, who), (two, which) = _expected(level), _expected(between)
        found.append((np.log(APART / len(subsets)) + one + two, np.outer([who, which], members)))
    logs = np.array([log for log, _ in found])
    chance = np.exp(logs - logs.max())
    return np.tensordot(chance / chance.sum(), np.array([weights for _, weights in found]), 1)


def _subsets(count: int) -> Iterator[Floats]:
    """Each average that may be the one to go by, as shares of the predictions in it."""
    sizes = range(1, count + 1) if count <= MOST_SUBSETS else (1, count)
    for size in sizes:
        for members in combinations(range(count), size):
            shares = np.zeros(count)
            shares[list(members)] = 1 / size
            yield shares


def _average(sums: Floats, members: Floats) -> float:
    """A sum of the predictions' average: ``sums`` is ``(n_predictions,)``, or that twice."""
    return float(members @ sums @ members) if sums.ndim == 2 else float(members @ sums)


def _likelihood(xx: float, xy: float, noise: float) -> Floats:
    """Logarithm of the likelihood of every slope; its variance is the sandwich's, whatever the scores' tails."""
    if xx <= 0 or noise <= 0:
        return np.zeros(len(_SLOPES))
    return (2 * xy * _SLOPES - xx * np.square(_SLOPES)) * xx / (2 * noise)


def _expected(logs: Floats) -> tuple[float, float]:
    """Logarithm of the mean likelihood, and the mean slope, all slopes being equally likely before."""
    top = float(logs.max())
    likelihood = np.exp(logs - top)
    return top + float(np.log(likelihood.mean())), float(np.average(_SLOPES, weights=likelihood))
