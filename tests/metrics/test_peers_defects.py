"""Defects measured in other libraries; none of them may come back here."""

from __future__ import annotations

import numpy as np
import pytest

from uplift import metrics


def data(n=5000, seed=0):
    rng = np.random.default_rng(seed)
    treatment = rng.integers(0, 2, n)
    effect = rng.normal(size=n)
    return effect, effect * treatment + rng.normal(size=n), treatment


def test_constant_score_is_zero_whatever_the_row_order():
    """Elsewhere a constant score gets 4.48 when rows are ordered by outcome."""
    _, y, treatment = data()
    for order in (np.arange(len(y)), np.argsort(y), np.argsort(-y), np.argsort(treatment * y)):
        for name in ("qini", "autoc", "qini_rate"):
            value = metrics.METRICS[name].function(np.full(len(y), 0.3), y[order], treatment[order])
            assert (value.value, value.low, value.high) == (0.0, 0.0, 0.0)
            assert value.p_value == 1.0


def test_autoc_weights_toc_by_one():
    """Elsewhere TOC is weighted by 1/q, which gives 2.447 for τ ~ N(0, 1)."""
    effect, y, treatment = data(100_000)
    curve = metrics.toc(effect, y, treatment, 0.5)
    assert curve.area.value == pytest.approx(0.903, abs=0.05)
    assert curve.area.value == pytest.approx(np.trapezoid(curve.value, curve.q), abs=0.03)


def test_nothing_is_normalised_by_a_total_near_zero():
    """Elsewhere an effect near zero makes AUUC 6.0 and Qini 6.5."""
    effect, y, treatment = data()
    curve = metrics.qini_curve(effect, y, treatment, 0.5)
    assert abs(curve.total.value) < 3 * curve.total.se
    assert curve.normalised is None
    assert curve.area.value == pytest.approx(282, abs=60)
    clear = metrics.qini_curve(effect, y + treatment, treatment, 0.5)
    assert clear.normalised == pytest.approx(clear.area.value / clear.total.value)


def test_an_anti_ranked_model_is_not_significant():
    """Elsewhere the p-value ignores the sign: 1.6e-16."""
    effect, y, treatment = data()
    for name in ("qini", "autoc", "qini_rate"):
        function = metrics.METRICS[name].function
        assert function(-effect, y, treatment, 0.5).p_value > 0.999
        assert function(effect, y, treatment, 0.5).p_value < 1e-6


def test_standard_error_of_uplift_at_k_is_that_of_the_top():
    """Elsewhere the standard error of a total adds up the deviations of its bins."""
    effect, y, treatment = data(20_000)
    top = effect >= np.quantile(effect, 0.8)
    classic = np.sqrt(sum(y[top & (treatment == t)].var() / (top & (treatment == t)).sum() for t in (0, 1)))
    assert metrics.uplift_at_k(effect, y, treatment, 0.5, k=0.2).se == pytest.approx(classic, rel=0.2)
