"""Intervals for members by what happened to members like them: those whose predicted effect is similar.

The spread of a booster's predictions says nothing about their error. What can be measured is how large the effect
truly was among members with a similar prediction, provided that neither the prediction nor the score of a member was
made with that member's outcome (sorted group average effects: Chernozhukov, Demirer, Duflo & Fernández-Val 2018).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student

from uplift.errors import InputError
from uplift.evaluation.scores import Scores
from uplift.learners.linear_dr import EffectInterval
from uplift.metrics.value import standard_error
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EffectBand:
    """Members whose predicted effect of one arm is similar.

    Attributes
    ----------
    arm
        Against the control.
    above, upto
        Predictions in this band, above the one and up to the other; infinite at either end.
    n, n_arm, n_control
        Rows, and how many of them received the arm and the control.
    predicted
        Mean prediction.
    effect, se, low, high
        Mean effect by doubly robust scores, its (cluster-robust) standard error and interval.
    """

    arm: Hashable
    above: float
    upto: float
    n: int
    n_arm: int
    n_control: int
    predicted: float
    effect: float
    se: float
    low: float
    high: float


@dataclass(frozen=True, repr=False)
class EffectBands(Rendered):
    """Bands of predictions, for each arm from the lowest to the highest.

    Attributes
    ----------
    arms
        In the order of the predictions' columns.
    bands
        All of them, arm by arm.
    alpha
        1 − level of the intervals, each by itself.
    """

    arms: tuple[Hashable, ...]
    bands: tuple[EffectBand, ...]
    alpha: float

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a band."""
        return [asdict(band) for band in self.bands]

    def of(self, arm: Hashable) -> tuple[EffectBand, ...]:
        """The bands of one arm."""
        return tuple(band for band in self.bands if band.arm == arm)

    def interval(self, effects: npt.ArrayLike) -> EffectInterval:
        """Interval of the mean effect among members with similar predictions, for every prediction.

        Parameters
        ----------
        effects
            Predictions, ``(n, n_arms)``. Those beyond all that was seen belong to the outermost bands.

        Returns
        -------
        EffectInterval
            ``low`` and ``high``, each ``(n, n_arms)``; NaN where the prediction is.
        """
        predicted = np.asarray(effects, dtype=np.float64)
        if predicted.ndim != 2 or predicted.shape[1] != len(self.arms):
            raise InputError(f"effects has shape {predicted.shape}, expected (n, {len(self.arms)}), one column per arm")
        low, high = np.empty_like(predicted), np.empty_like(predicted)
        for k, arm in enumerate(self.arms):
            own = self.of(arm)
            place = np.searchsorted([band.upto for band in own[:-1]], predicted[:, k], side="left")
            unknown = np.isnan(predicted[:, k])
            place[unknown] = 0
            for ends, name in ((low, "low"), (high, "high")):
                ends[:, k] = np.array([getattr(band, name) for band in own])[place]
                ends[unknown, k] = np.nan
        return EffectInterval(low, high)


def effect_bands(
    effects: npt.ArrayLike,
    scores: Scores,
    clusters: npt.ArrayLike | None = None,
    *,
    bands: int = 10,
    min_rows: int = 30,
    alpha: float = 0.05,
) -> EffectBands:
    """How large the effect was among members with similar predictions.

    Rows are sorted by their prediction, within each fold of the scores, into ``bands`` groups of equal size (equal
    predictions stay together, groups with too few rows of the arm or the control are joined with the next). The mean
    of the doubly robust scores in a group is its mean effect. Intervals hold for that mean, not for each single member
    of the group.

    Sorting within folds matters: a fold whose members did well by chance is predicted less, by models that did not see
    it, than the others are. Sorted all together, low predictions would go with good luck, and intervals would be off.

    Parameters
    ----------
    effects
        Predictions made without the outcome of the row or of its cluster: out of fold, as ``UpliftSearchCV.effects_``,
        or by a model from other data, ``(n, n_arms)``. With predictions on the rows that a model was fitted on, the
        outermost intervals are too far out, and nothing here can tell.
    scores
        Of the same rows, from :func:`aipw_scores`.
    clusters
        Rows with the same value are not independent; default: the groups that the scores were made with.
    bands
        How many at most.
    min_rows
        Rows of the arm, and of the control, in each band at least.
    alpha
        1 − level of each interval.

    Raises
    ------
    InputError
        If shapes differ, or an arm has fewer than ``min_rows`` rows.
    """
    predicted = np.asarray(effects, dtype=np.float64)
    if predicted.shape != scores.effects.shape:
        raise InputError(f"effects has shape {predicted.shape}, expected {scores.effects.shape} as the scores")
    if bands < 1 or min_rows < 2 or not 0 < alpha < 1:
        raise InputError(
            f"bands must be at least 1, min_rows at least 2 and alpha between 0 and 1; found {bands}, {min_rows} and "
            f"{alpha}"
        )
    units = scores.clusters if clusters is None else np.asarray(clusters)
    if units is not None and len(units) != len(scores):
        raise InputError(f"clusters has {len(units):,} rows, expected {len(scores):,}")
    found: list[EffectBand] = []
    for k, arm in enumerate(scores.arms):
        known = np.isfinite(scores.effects[:, k]) & np.isfinite(predicted[:, k]) & (scores.weight > 0)
        rows = np.flatnonzero(known)
        given = scores.assigned[rows]
        if min((given == k + 1).sum(), (given == 0).sum()) < min_rows:
            raise InputError(f"arm {arm!r} or its control has fewer than {min_rows} rows: there is nothing to compare")
        place, upto = _places(predicted[rows, k], scores.fold[rows], given == k + 1, given == 0, bands, min_rows)
        above = [-np.inf, *upto[:-1]]
        for number in range(len(upto)):
            mine = rows[place == number]
            inside = None if units is None else units[mine]
            band = _band(scores, predicted[mine, k], mine, k, inside, alpha)
            found.append(EffectBand(arm, above[number], upto[number], **band))
    return EffectBands(tuple(scores.arms), tuple(found), alpha)


def _places(
    predicted: Floats, fold: Ints, treated: Mask, control: Mask, bands: int, least: int
) -> tuple[Ints, list[float]]:
    """Band of each row by its rank within its fold, and the bands' upper edges, the last one infinite."""
    levels = np.arange(1, bands) / bands
    place = np.zeros(len(predicted), dtype=np.intp)
    edges = np.zeros(len(levels))
    for number in np.unique(fold):
        held = fold == number
        own = np.quantile(predicted[held], levels, method="inverted_cdf")
        place[held] = np.searchsorted(own, predicted[held], side="left")
        edges += own * held.mean()
    sizes = [np.bincount(place[side], minlength=bands) for side in (treated, control)]
    joined = np.zeros(bands, dtype=np.intp)
    upto: list[float] = []
    sums = np.zeros(2)
    for number in range(bands):
        joined[number] = len(upto)
        sums += [size[number] for size in sizes]
        rest = [size[number + 1 :].sum() for size in sizes]
        if number == bands - 1:
            upto.append(np.inf)
        elif min(sums) >= least and min(rest) >= least:
            upto.append(float(edges[number]))
            sums = np.zeros(2)
    return joined[place], upto


def _band(
    scores: Scores, predicted: Floats, rows: Ints, k: int, units: npt.NDArray[Any] | None, alpha: float
) -> dict[str, Any]:
    values, weight, given = scores.effects[rows, k], scores.weight[rows], scores.assigned[rows]
    mean = float(np.average(values, weights=weight))
    se = standard_error(values - mean, weight, units)
    freedom = (len(rows) if units is None else len(pd.unique(units))) - 1
    half = float("inf") if se is None else float(student.ppf(1 - alpha / 2, freedom)) * se
    return {
        "n": len(rows),
        "n_arm": int((given == k + 1).sum()),
        "n_control": int((given == 0).sum()),
        "predicted": float(np.average(predicted, weights=weight)),
        "effect": mean,
        "se": float("inf") if se is None else se,
        "low": mean - half,
        "high": mean + half,
    }
