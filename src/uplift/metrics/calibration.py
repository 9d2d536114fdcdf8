"""Are predicted effects the right size? The best linear predictor of the true effect, and groups by prediction.

References: Chernozhukov, Demirer, Duflo & Fernández-Val (2018), BLP and GATES; Athey & Wager (2019), calibration test.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from uplift.errors import InputError
from uplift.metrics._functionals import PER_MEMBER
from uplift.metrics._results import Metric, metric
from uplift.metrics.trial import Comparison, Propensity, compare_with_control, read_trial
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
ROUNDING = 1e-9  # so that sums in another order do not move a group across an edge


@dataclass(frozen=True)
class CalibrationGroup:
    """Members with similar predictions.

    Attributes
    ----------
    group
        1 for the lowest predictions.
    share
        Share of members in it.
    predicted, observed
        Mean predicted and mean observed effect, in outcomes per member.
    se, low, high
        Of ``observed``; None when an arm has fewer than two rows in the group.
    n
        Rows.
    """

    group: int
    share: float
    predicted: float
    observed: float | None
    se: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Calibration(Rendered):
    """Observed effect = intercept + slope × predicted effect.

    Attributes
    ----------
    slope
        1 when predictions are the right size, 0 when they say nothing; its one-sided p-value is the test for any
        heterogeneity that the predictions catch. None for a constant prediction.
    intercept
        0 when predictions are the right size; two-sided reading by its interval. None for a constant prediction.
    observed, predicted
        Mean effect of all members as observed, with its interval, and as predicted.
    groups
        From the lowest predictions to the highest; equal predictions are never split.
    """

    slope: Metric | None
    intercept: Metric | None
    observed: Metric
    predicted: float
    groups: tuple[CalibrationGroup, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a group."""
        return [dict(vars(group)) for group in self.groups]


def effect_calibration(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    groups: int = 10,
    control: Hashable = None,
    arm: Hashable = None,
    sample_weight: npt.ArrayLike | None = None,
    expected: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Calibration:
    """Compare predicted effects with observed ones.

    With several arms and no ``arm``, the effect in question is the best predicted one of each member: the number on
    which decisions are made, and the one that the winner's curse inflates.

    Parameters
    ----------
    groups
        How many groups of about equal size, by prediction.
    effect, y, treatment, propensity, control, arm, sample_weight, expected, clusters, alpha
        As in :func:`uplift.metrics.qini_curve`. Standard errors are robust (HC1), by cluster where given.
    """
    if groups < 1:
        raise InputError(f"groups must be at least 1, found {groups}")
    trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
    comparison = compare_with_control(effect, trial, arm=arm, expected=expected)
    unit = _units(clusters, trial.y, comparison)
    gains = comparison.gains()
    weight, score, n = comparison.weight, comparison.score, len(comparison)
    mean, mean_se = _weighted_mean(gains, weight, unit)
    observed = metric("mean effect", mean, mean_se, n=n, unit=PER_MEMBER, alpha=alpha)
    predicted = float(np.average(score, weights=weight))
    slope = intercept = None
    if np.ptp(score) > 0:
        coefficients, covariance = _least_squares(gains, score, weight, unit)
        errors = np.sqrt(np.diag(covariance))
        slope = metric("slope", coefficients[1], errors[1], n=n, unit="", alpha=alpha)
        intercept = metric("intercept", coefficients[0], errors[0], n=n, unit=PER_MEMBER, null=None, alpha=alpha)
    parts = tuple(_groups(comparison, gains, unit, groups, alpha))
    return Calibration(slope, intercept, observed, predicted, parts)


def _units(clusters: npt.ArrayLike | None, y: Floats, comparison: Comparison) -> npt.NDArray[np.intp]:
    if clusters is None:
        return np.arange(len(comparison))
    unit, _ = pd.factorize(np.asarray(clusters))
    if len(unit) != len(y):
        raise InputError(f"clusters has {len(unit):,} rows, y has {len(y):,}")
    return unit if comparison.row is None else unit[comparison.row]


def _sum_by(unit: npt.NDArray[np.intp], values: Floats) -> Floats:
    return np.bincount(unit, weights=values).astype(np.float64)


def _weighted_mean(values: Floats, weight: Floats, unit: npt.NDArray[np.intp]) -> tuple[float, float | None]:
    mean = float(np.average(values, weights=weight))
    n_units = len(np.unique(unit))
    if n_units < 2:
        return mean, None
    residual = _sum_by(unit, weight * (values - mean))
    return mean, float(np.sqrt(n_units / (n_units - 1) * np.dot(residual, residual)) / weight.sum())


def _least_squares(y: Floats, x: Floats, weight: Floats, unit: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Weighted least squares of y on (1, x), with a covariance robust to variance and cluster."""
    middle, spread = float(np.average(x, weights=weight)), float(np.std(x))
    design = np.column_stack([np.ones(len(x)), (x - middle) / spread])
    bread = np.linalg.inv(design.T @ (design * weight[:, None]))
    beta = bread @ (design.T @ (weight * y))
    residual = weight * (y - design @ beta)
    by_unit = np.column_stack([_sum_by(unit, design[:, j] * residual) for j in range(2)])
    n_units = len(np.unique(unit))
    factor = n_units / max(n_units - 2, 1)
    covariance = factor * bread @ (by_unit.T @ by_unit) @ bread
    back = np.array([[1.0, -middle / spread], [0.0, 1.0 / spread]])
    return back @ beta, back @ covariance @ back.T


def _groups(c: Comparison, gains: Floats, unit: npt.NDArray[np.intp], groups: int, alpha: float) -> Any:
    """Groups of equal weight by prediction; the share of rows strictly below decides, so ties stay together."""
    order = np.argsort(c.score, kind="stable")
    score, weight = c.score[order], c.weight[order]
    first = np.flatnonzero(np.append(True, score[1:] != score[:-1]))
    sizes = np.diff(np.append(first, len(score)))
    below = np.cumsum(weight) - weight
    middle = below[first] + np.add.reduceat(weight, first) / 2
    bin_of_tie = np.minimum((groups * middle / weight.sum() + ROUNDING).astype(np.intp), groups - 1)
    label = np.empty(len(score), dtype=np.intp)
    label[order] = np.repeat(bin_of_tie, sizes)
    z = float(norm.ppf(1 - alpha / 2))
    for number, bin_label in enumerate(np.unique(label), start=1):
        rows = np.flatnonzero(label == bin_label)
        share = float(c.weight[rows].sum() / c.weight.sum())
        predicted = float(np.average(c.score[rows], weights=c.weight[rows]))
        treated = int(c.treated[rows].sum())
        if min(treated, len(rows) - treated) < 2:
            yield CalibrationGroup(number, share, predicted, None, None, None, None, len(rows))
            continue
        part = _centred(c.take(rows))
        observed, se = _weighted_mean(part.gains(), part.weight, unit[rows])
        low, high = (None, None) if se is None else (observed - z * se, observed + z * se)
        yield CalibrationGroup(number, share, predicted, observed, se, low, high, len(rows))


def _centred(c: Comparison) -> Comparison:
    """The same rows, each arm centred on its own mean among them."""
    treated, control = c.totals
    weighted = c.inverse * c.rest
    up = float(weighted[c.treated].sum()) / treated
    down = float(weighted[~c.treated].sum()) / control
    expected = np.full(len(c), up - down) if c.expected is None else c.expected + (up - down)
    return replace(c, rest=c.rest - np.where(c.treated, up, down), expected=expected)
