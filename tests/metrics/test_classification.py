"""Numbers for a risk, against scikit-learn and hand-worked tables."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from uplift import metrics
from uplift.errors import InputError


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    p = rng.beta(2, 6, 8000)
    return (rng.random(8000) < p).astype(int), p, rng.integers(1, 4, 8000).astype(float)


@pytest.mark.parametrize("digits", [10, 1])
def test_values_equal_scikit_learn_with_ties_and_weights(sample, digits):
    y, p, weight = sample
    score = np.round(p, digits)
    for mine, theirs in (
        (metrics.roc_auc, roc_auc_score),
        (metrics.average_precision, average_precision_score),
        (metrics.brier_score, brier_score_loss),
    ):
        assert mine(y, score) == pytest.approx(theirs(y, score))
        assert mine(y, score, sample_weight=weight) == pytest.approx(theirs(y, score, sample_weight=weight))


def test_lift_by_hand():
    y = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 1])
    p = np.arange(10)[::-1].astype(float)
    assert metrics.lift_at_k(y, p, k=0.2, n_bootstrap=0) == pytest.approx(1 / 0.3)
    tied = np.array([1.0, 1, 1, 1, 0, 0, 0, 0, 0, 0])  # two of four tied rows at the top are churners
    assert metrics.lift_at_k(y, tied, k=0.2, n_bootstrap=0) == pytest.approx(0.5 / 0.3)
    assert metrics.lift_at_k(y, np.zeros(10), k=0.3, n_bootstrap=0) == pytest.approx(1.0)


def test_delong_agrees_with_the_standard_error(sample):
    y, p, _ = sample
    pos, neg = p[y == 1], p[y == 0]
    order = np.sort(neg)
    v10 = np.searchsorted(order, pos) / len(neg)
    v01 = 1 - np.searchsorted(np.sort(pos), neg) / len(pos)
    delong = np.sqrt(v10.var(ddof=1) / len(pos) + v01.var(ddof=1) / len(neg))
    assert metrics.roc_auc(y, p, n_bootstrap=400).se == pytest.approx(delong, rel=0.12)


def test_calibration_error_by_hand_and_when_planted(sample):
    y, p, _ = sample
    assert metrics.calibration_error([0, 0, 1, 1], [0.2, 0.2, 0.7, 0.7], bins=2) == pytest.approx(0.25)
    assert metrics.calibration_error(y, p) < 0.02
    assert metrics.calibration_error(y, np.clip(p + 0.1, 0, 1)) == pytest.approx(0.1, abs=0.02)


def test_reliability_points(sample):
    y, p, _ = sample
    result = metrics.reliability(y, p)
    assert len(result) == len(result.points) == 10
    assert sum(point.n for point in result) == len(y)
    inside = [point.low <= point.predicted <= point.high for point in result]
    assert sum(inside) >= 8
    assert result.error == metrics.calibration_error(y, p)
    assert list(result.to_pandas()) == ["predicted", "observed", "low", "high", "n"]
    assert len(metrics.reliability(y, np.round(p))) <= 2  # ties are never split


def test_p_values_are_one_sided(sample):
    y, p, _ = sample
    assert metrics.roc_auc(y, p).p_value < 1e-6
    assert metrics.roc_auc(y, -p).p_value > 0.999
    assert metrics.average_precision(y, p).p_value < 1e-6
    assert metrics.lift_at_k(y, p).p_value < 1e-6
    assert metrics.brier_score(y, p).p_value is None


def test_paired_comparison(sample):
    y, p, _ = sample
    worse = p + 0.05 * np.random.default_rng(1).normal(size=len(p))
    difference = metrics.compare_classifiers(y, p, worse)
    apart = np.hypot(metrics.roc_auc(y, p).se, metrics.roc_auc(y, worse).se)
    assert difference == pytest.approx(metrics.roc_auc(y, p) - metrics.roc_auc(y, worse))
    assert difference.se < 0.6 * apart
    assert difference.p_value < 0.01
    assert metrics.compare_classifiers(y, p, worse, metric_name="average_precision") > 0
    assert metrics.compare_classifiers(y, p, p, metric_name="lift_at_k") == 0
    with pytest.raises(InputError, match="unknown metric"):
        metrics.compare_classifiers(y, p, worse, metric_name="f1")


def test_churn_metrics_hold_them_all(sample):
    y, p, _ = sample
    result = metrics.churn_metrics(y, p)
    assert [m.name for m in result.scalars] == ["auc", "average_precision", "lift_at_10", "ece", "brier", "base_rate"]
    assert result.base_rate == pytest.approx(y.mean())
    assert len(result.to_pandas()) == 6
    days = metrics.churn_metrics(y, 100 * p)
    assert (days.ece, days.brier) == (None, None)
    assert len(days.scalars) == 4


def test_clusters_widen(sample):
    y, p, _ = sample
    rows = np.repeat(np.arange(2000), 4)
    for function in (metrics.roc_auc, metrics.brier_score, metrics.calibration_error):
        naive, honest = function(y[rows], p[rows]), function(y[rows], p[rows], clusters=rows)
        assert honest.se > 1.5 * naive.se


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1, 2], [0.1, 0.2, 0.3], "y must be 0 or 1"),
        ([0, 0, 0], [0.1, 0.2, 0.3], "must hold both 0 and 1"),
        ([0, 1], [0.1, np.nan], "p is missing or infinite in 1 of 2"),
        ([0, 1], [0.1, 0.2, 0.3], "2, 3 and 2 rows"),
    ],
)
def test_bad_input(y, p, message):
    with pytest.raises(InputError, match=message):
        metrics.roc_auc(y, p)


def test_bad_probabilities_bins_and_shares():
    with pytest.raises(InputError, match="must be a probability"):
        metrics.brier_score([0, 1], [0.5, 1.5])
    with pytest.raises(InputError, match="bins"):
        metrics.calibration_error([0, 1], [0.5, 0.5], bins=0)
    with pytest.raises(InputError, match="share of members"):
        metrics.lift_at_k([0, 1], [0.5, 0.5], k=2)
