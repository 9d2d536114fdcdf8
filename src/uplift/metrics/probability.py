"""Is a risk a probability? Squared error, calibration error and the reliability diagram's points.

References: Brier (1950); Naeini, Cooper & Hauskrecht (2015), expected calibration error; Wilson (1927).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from uplift.errors import InputError
from uplift.metrics._results import Metric, metric
from uplift.metrics._risks import ClassificationOptions, Sample, read_risks
from uplift.metrics.calibration import ROUNDING
from uplift.metrics.value import standard_error
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


def brier_score(y: npt.ArrayLike, p: npt.ArrayLike, **options: Unpack[ClassificationOptions]) -> Metric:
    """Mean squared error of a probability; analytic standard error. Parameters as in :func:`uplift.metrics.roc_auc`."""
    s = read_risks(y, p, probability=True, resample=False, **options)
    errors = (s.p - s.y) ** 2
    value = float(np.average(errors, weights=s.weight))
    se = standard_error(errors - value, s.weight, s.clusters)
    return metric("brier", value, se, n=len(s.y), unit="share²", null=None, alpha=s.alpha, bounds=(0.0, 1.0))


def calibration_error(
    y: npt.ArrayLike, p: npt.ArrayLike, *, bins: int = 10, **options: Unpack[ClassificationOptions]
) -> Metric:
    """Expected calibration error: mean distance between predicted and observed rate over bins of equal size.

    Parameters
    ----------
    bins
        Bins by rank, so that each holds about the same number of rows; equal predictions are never split.
    y, p, **options
        As in :func:`uplift.metrics.roc_auc`; ``p`` must be a probability.
    """
    s = read_risks(y, p, probability=True, **options)
    label, count = _equal_bins(s, bins)
    vectors = (s.weight * s.y, s.weight * s.p, s.weight)
    happened, predicted, weight = (np.bincount(label, weights=v, minlength=count) for v in vectors)
    value = float(_gap(happened, predicted, weight))
    se = None
    if s.draws is not None:
        rows = np.arange(len(s.y))
        drawn = [s.draws.sums(label, count, v, rows) for v in vectors]
        se = float(s.draws.standard_error(_gap(*drawn)))
    return metric(
        "ece",
        value,
        se,
        n=len(s.y),
        unit="share",
        null=None,
        alpha=s.alpha,
        bounds=(0.0, 1.0),
        draws=s.n_draws,
    )


def _gap(happened: npt.NDArray, predicted: npt.NDArray, weight: npt.NDArray) -> Floats:
    return np.asarray(np.abs(happened - predicted).sum(axis=-1) / weight.sum(axis=-1))


def _equal_bins(s: Sample, bins: int) -> tuple[Ints, int]:
    if bins < 1:
        raise InputError(f"bins must be at least 1, found {bins}")
    order = np.argsort(s.p, kind="stable")
    score, weight = s.p[order], s.weight[order]
    first = np.flatnonzero(np.append(True, score[1:] != score[:-1]))
    sizes = np.diff(np.append(first, len(score)))
    tied = np.add.reduceat(weight, first)
    middle = np.cumsum(tied) - tied / 2
    of_tie = np.minimum((bins * middle / weight.sum() + ROUNDING).astype(np.intp), bins - 1)
    _, of_tie = np.unique(of_tie, return_inverse=True)
    label = np.empty(len(score), dtype=np.intp)
    label[order] = np.repeat(of_tie, sizes)
    return label, int(of_tie.max()) + 1


class ReliabilityPoint(NamedTuple):
    """Rows with similar predictions: mean prediction, observed rate with its Wilson interval, rows."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Reliability(Rendered):
    """The reliability diagram's points, lowest predictions first, and the calibration error.

    Attributes
    ----------
    points
        One per bin of about equal size.
    error
        The :func:`calibration_error` over the same bins.
    """

    points: tuple[ReliabilityPoint, ...]
    error: Metric

    def __iter__(self) -> Iterator[ReliabilityPoint]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a point."""
        return [point._asdict() for point in self.points]


def reliability(
    y: npt.ArrayLike, p: npt.ArrayLike, *, bins: int = 10, **options: Unpack[ClassificationOptions]
) -> Reliability:
    """Predicted against observed rates in bins of equal size. Parameters as in :func:`calibration_error`."""
    error = calibration_error(y, p, bins=bins, **options)
    s = read_risks(y, p, probability=True, resample=False, **options)
    label, count = _equal_bins(s, bins)
    z = float(norm.ppf(1 - s.alpha / 2))
    points = []
    for number in range(count):
        rows = label == number
        weight = s.weight[rows]
        if weight.sum() <= 0:
            continue
        rate = float(np.average(s.y[rows], weights=weight))
        size = float(weight.sum() ** 2 / (weight @ weight))
        middle = (rate + z * z / (2 * size)) / (1 + z * z / size)
        half = z / (1 + z * z / size) * np.sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
        predicted = float(np.average(s.p[rows], weights=weight))
        points.append(ReliabilityPoint(predicted, rate, float(middle - half), float(middle + half), int(rows.sum())))
    return Reliability(tuple(points), error)
