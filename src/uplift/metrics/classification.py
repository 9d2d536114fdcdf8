"""Does a risk rank? Numbers for churn and other yes-or-no predictions, with intervals.

References: DeLong, DeLong & Clarke-Pearson (1988) on the area under the ROC curve; the draws are those of the ranking
metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError, unknown_name
from uplift.metrics._ranking import CELLS
from uplift.metrics._results import Metric, metric
from uplift.metrics._risks import ClassificationOptions, Sample, read_risks
from uplift.metrics.probability import brier_score, calibration_error
from uplift.metrics.value import standard_error
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]


def _sorted_sums(s: Sample) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats] | None]:
    """Cumulative weight of churners and of others, highest risk first, at every tie; and the same per draw."""
    order = np.argsort(-s.p, kind="stable")
    ordered = s.p[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    positive, negative = (s.weight * s.y)[order], (s.weight * (1 - s.y))[order]
    whole = (np.cumsum(positive)[last], np.cumsum(negative)[last])
    if s.draws is None:
        return whole, None
    if len(last) > CELLS:
        wanted = np.linspace(0, len(order), CELLS + 1)[1:]
        last = last[np.unique(np.clip(np.searchsorted(last + 1, wanted), 0, len(last) - 1))]
    cells = np.repeat(np.arange(len(last)), np.diff(last, prepend=-1))
    drawn = [np.cumsum(s.draws.sums(cells, len(last), v, order), axis=1) for v in (positive, negative)]
    return whole, (drawn[0], drawn[1])


def _with_origin(a: Floats) -> Floats:
    return np.concatenate([np.zeros((*a.shape[:-1], 1)), a], axis=-1)


def _auc(positive: Floats, negative: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr = _with_origin(positive / positive[..., -1:])
        fpr = _with_origin(negative / negative[..., -1:])
    return np.asarray(np.sum((tpr[..., 1:] + tpr[..., :-1]) * np.diff(fpr, axis=-1), axis=-1) / 2)


def _average_precision(positive: Floats, negative: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = _with_origin(positive / positive[..., -1:])
        taken = positive + negative
        precision = np.where(taken > 0, positive / taken, 0.0)
    return np.asarray(np.sum(np.diff(recall, axis=-1) * precision, axis=-1))


def _lift(k: float) -> Callable[[Floats, Floats], Floats]:
    def lift(positive: Floats, negative: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.atleast_2d(_with_origin(positive / positive[..., -1:]))
            taken = np.atleast_2d(_with_origin((positive + negative) / (positive + negative)[..., -1:]))
        values = np.array([np.interp(k, t, f) / k for t, f in zip(taken, found, strict=True)])
        return values if positive.ndim > 1 else np.asarray(values[0])

    return lift


@dataclass(frozen=True)
class _Ranker:
    name: str
    unit: str
    of: Callable[[Floats, Floats], Floats]
    null: float | None
    bounds: tuple[float, float] = (0.0, 1.0)
    logit: bool = False


_AUC = _Ranker("auc", "probability", _auc, 0.5, logit=True)


def _lift_ranker(k: float) -> _Ranker:
    if isinstance(k, bool) or not 0 < k <= 1:
        raise InputError(f"k is the share of members looked at and lies within (0, 1], found {k}")
    return _Ranker(f"lift_at_{100 * k:g}", "times the mean rate", _lift(k), 1.0, (0.0, 1 / k))


def _ap_ranker(sample: Sample) -> _Ranker:
    rate = float(np.average(sample.y, weights=sample.weight))
    return _Ranker("average_precision", "share", _average_precision, rate, logit=True)


def _rank_metric(ranker: _Ranker, s: Sample) -> Metric:
    whole, drawn = _sorted_sums(s)
    se = None
    if drawn is not None and s.draws is not None:
        se = float(s.draws.standard_error(ranker.of(*drawn)))
    return metric(
        ranker.name,
        float(ranker.of(*whole)),
        se,
        n=len(s.y),
        unit=ranker.unit,
        null=ranker.null,
        alpha=s.alpha,
        bounds=ranker.bounds,
        draws=s.n_draws,
        logit=ranker.logit,
    )


def roc_auc(y: npt.ArrayLike, p: npt.ArrayLike, **options: Unpack[ClassificationOptions]) -> Metric:
    """Probability that a row with y = 1 is ranked above one with y = 0, ties counting half; p-value against ½.

    Parameters
    ----------
    y
        0 or 1, ``(n,)``.
    p
        Risk or any score that grows with it, ``(n,)``.
    **options
        See :class:`ClassificationOptions`.

    Examples
    --------
    >>> float(roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    return _rank_metric(_AUC, read_risks(y, p, **options))


def average_precision(y: npt.ArrayLike, p: npt.ArrayLike, **options: Unpack[ClassificationOptions]) -> Metric:
    """Mean precision over recall; p-value against the share of y = 1. Parameters as in :func:`roc_auc`."""
    sample = read_risks(y, p, **options)
    return _rank_metric(_ap_ranker(sample), sample)


def lift_at_k(
    y: npt.ArrayLike, p: npt.ArrayLike, *, k: float = 0.1, **options: Unpack[ClassificationOptions]
) -> Metric:
    """How many times the mean rate is found among the share ``k`` with the highest risk; ties are shared out.

    Other parameters as in :func:`roc_auc`; p-value against 1.
    """
    return _rank_metric(_lift_ranker(k), read_risks(y, p, **options))


def compare_classifiers(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    other: npt.ArrayLike,
    *,
    metric_name: str = "roc_auc",
    k: float = 0.1,
    **options: Unpack[ClassificationOptions],
) -> Metric:
    """How much better ``p`` ranks than ``other`` on the same rows and the same draws.

    Parameters
    ----------
    p, other
        Two scores of the same rows; they need not be probabilities.
    metric_name
        ``roc_auc``, ``average_precision`` or ``lift_at_k`` (with ``k``).

    Returns
    -------
    Metric
        Value of ``p`` minus value of ``other``, with one-sided p-value for ``p`` being better.
    """
    first = read_risks(y, p, **options)
    second = read_risks(y, other, resample=False, **options)
    second = replace(second, draws=first.draws)
    rankers = {"roc_auc": _AUC, "average_precision": _ap_ranker(first), "lift_at_k": _lift_ranker(k)}
    if metric_name not in rankers:
        raise unknown_name("metric", metric_name, rankers)
    ranker = rankers[metric_name]
    (whole, drawn), (other_whole, other_drawn) = _sorted_sums(first), _sorted_sums(second)
    value = float(ranker.of(*whole) - ranker.of(*other_whole))
    se = None
    if drawn is not None and other_drawn is not None and first.draws is not None:
        se = float(first.draws.standard_error(ranker.of(*drawn) - ranker.of(*other_drawn)))
    return metric(
        f"{ranker.name} difference",
        value,
        se,
        n=len(first.y),
        unit=ranker.unit,
        alpha=first.alpha,
        draws=first.n_draws,
    )


@dataclass(frozen=True)
class ChurnMetrics(Rendered):
    """What a risk is worth, in the numbers that a retention team reads.

    Attributes
    ----------
    auc, average_precision, lift, ece, brier
        As the functions give them; ``lift`` in the tenth with the highest risk. ``ece`` and ``brier`` are None for a
        score that is no probability.
    base_rate
        Share that churned.
    """

    auc: Metric
    average_precision: Metric
    lift: Metric
    ece: Metric | None
    brier: Metric | None
    base_rate: Metric

    @property
    def scalars(self) -> tuple[Metric, ...]:
        """Those that are known, each under its own name."""
        values = (self.auc, self.average_precision, self.lift, self.ece, self.brier, self.base_rate)
        return tuple(value for value in values if value is not None)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a metric."""
        return [row for value in self.scalars for row in value.to_dicts()]


def churn_metrics(y: npt.ArrayLike, p: npt.ArrayLike, **options: Unpack[ClassificationOptions]) -> ChurnMetrics:
    """All classification metrics of one risk. Parameters as in :func:`roc_auc`."""
    s = read_risks(y, p, resample=False, **options)
    rate = float(np.average(s.y, weights=s.weight))
    base = metric(
        "base_rate", rate, standard_error(s.y - rate, s.weight, s.clusters), n=len(s.y), unit="share", null=None,
        alpha=s.alpha, bounds=(0.0, 1.0),
    )  # fmt: skip
    probability = bool(((s.p >= 0) & (s.p <= 1)).all())
    return ChurnMetrics(
        auc=roc_auc(y, p, **options),
        average_precision=average_precision(y, p, **options),
        lift=lift_at_k(y, p, **options),
        ece=calibration_error(y, p, **options) if probability else None,
        brier=brier_score(y, p, **options) if probability else None,
        base_rate=base,
    )
