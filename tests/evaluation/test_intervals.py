"""Bands of members with similar predictions; that their intervals cover is proved in tests/truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from uplift.errors import InputError
from uplift.evaluation import aipw_scores, effect_bands
from uplift.evaluation.scores import Scores, score_rows
from uplift.metrics.trial import read_trial

N = 2000


@pytest.fixture(scope="module")
def given() -> tuple[np.ndarray, Scores]:
    """Two arms; predictions of the first are right, of the second noise."""
    rng = np.random.default_rng(0)
    effects = np.column_stack([rng.normal(size=N), np.zeros(N)])
    arm = rng.integers(0, 3, N)
    y = rng.normal(size=N) + np.where(arm == 1, effects[:, 0], 0.0)
    trial = read_trial(y, arm, dict.fromkeys((0, 1, 2), 1 / 3), control=0)
    scores = score_rows(trial, np.zeros((N, 3)), np.arange(N) % 2, None)
    return np.column_stack([effects[:, 0], rng.normal(size=N)]), scores


def test_bands_are_even_ordered_and_end_nowhere(given):
    effects, scores = given
    found = effect_bands(effects, scores, bands=5)
    for arm in scores.arms:
        own = found.of(arm)
        assert [band.n for band in own] == [N // 5] * 5
        assert (own[0].above, own[-1].upto) == (-np.inf, np.inf)
        assert [band.upto for band in own[:-1]] == [band.above for band in own[1:]]
        assert [band.predicted for band in own] == sorted(band.predicted for band in own)
    rising = [band.effect for band in found.of(1)]
    assert rising == sorted(rising)
    assert all(band.low < 0 < band.high for band in found.of(2))
    assert found.to_pandas().shape == (10, 11)


def test_a_band_is_the_mean_score_and_its_standard_error(given):
    effects, scores = given
    whole = effect_bands(effects, scores, bands=1).of(1)[0]
    values = scores.effects[:, 0]
    assert whole.effect == pytest.approx(values.mean())
    assert whole.se == pytest.approx(values.std(ddof=1) / np.sqrt(N))
    assert whole.high - whole.effect == pytest.approx(1.961 * whole.se, rel=1e-3)


def test_every_prediction_has_the_interval_of_its_band(given):
    effects, scores = given
    found = effect_bands(effects, scores, bands=4)
    new = np.array([[-99.0, np.nan], [found.of(1)[0].upto, 0.0], [99.0, 99.0]])
    low, high = found.interval(new)
    assert low[:, 0].tolist() == [found.of(1)[0].low, found.of(1)[0].low, found.of(1)[-1].low]
    assert high[2].tolist() == [found.of(1)[-1].high, found.of(2)[-1].high]
    assert np.isnan([low[0, 1], high[0, 1]]).all()
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_array_equal(found.interval(effects[order]).low, found.interval(effects).low[order])


def test_equal_predictions_share_a_band(given):
    _, scores = given
    constant = effect_bands(np.ones((N, 2)), scores)
    assert [len(constant.of(arm)) for arm in scores.arms] == [1, 1]
    coarse = np.column_stack([np.arange(N) % 3, np.zeros(N)])
    assert [band.n for band in effect_bands(coarse, scores).of(1)] == np.bincount(np.arange(N) % 3).tolist()


def test_bands_with_too_few_rows_are_joined(given):
    effects, scores = given
    for least in (30, 200, 300):
        bands = effect_bands(effects, scores, bands=40, min_rows=least).bands
        assert min(min(band.n_arm, band.n_control) for band in bands) >= least
        assert sum(band.n for band in bands if band.arm == 1) == N
    with pytest.raises(InputError, match="fewer than 700 rows"):
        effect_bands(effects, scores, min_rows=700)


def test_rows_that_were_not_offered_an_arm_are_not_in_its_bands(given):
    effects, scores = given
    values = scores.values.copy()
    values[:500, 1] = np.nan
    found = effect_bands(effects, replace(scores, values=values), bands=4)
    assert sum(band.n for band in found.of(1)) == N - 500
    assert sum(band.n for band in found.of(2)) == N


def test_members_seen_several_times_widen_the_intervals(given):
    effects, scores = given
    twice = scores.take(np.repeat(np.arange(N), 2))
    member = np.repeat(np.arange(N), 2)
    blind = effect_bands(np.repeat(effects, 2, axis=0), twice, bands=3)
    told = effect_bands(np.repeat(effects, 2, axis=0), twice, clusters=member, bands=3)
    for one, other in zip(blind.bands, told.bands, strict=True):
        assert other.se == pytest.approx(np.sqrt(2) * one.se, rel=0.01)
    kept = effect_bands(np.repeat(effects, 2, axis=0), replace(twice, clusters=member), bands=3)
    assert [band.se for band in kept.bands] == [band.se for band in told.bands]


def test_weights_count(given):
    effects, scores = given
    weight = np.random.default_rng(0).integers(0, 3, N).astype(float)
    weighted = effect_bands(effects, replace(scores, weight=weight), bands=1).of(1)[0]
    assert weighted.effect == pytest.approx(np.average(scores.effects[:, 0], weights=weight))
    assert weighted.n == (weight > 0).sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": 0}, "bands"),
        ({"alpha": 1.0}, "alpha"),
        ({"min_rows": 1}, "min_rows"),
        ({"clusters": [1]}, "clusters"),
    ],
)
def test_what_is_wrong_is_said(given, change, message):
    effects, scores = given
    with pytest.raises(InputError, match=message):
        effect_bands(effects, scores, **change)
    with pytest.raises(InputError, match="shape"):
        effect_bands(effects[:, :1], scores)
    with pytest.raises(InputError, match="one column per arm"):
        effect_bands(effects, scores).interval(effects[:, :1])


def test_with_scores_as_they_are_made():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2))
    arm = rng.choice(["control", "mail"], 600)
    y = X[:, 0] + (arm == "mail") * X[:, 1] + rng.normal(size=600)
    scores = aipw_scores(X, y, arm, {"control": 0.5, "mail": 0.5}, groups=np.arange(600) // 2)
    found = effect_bands(X[:, 1:], scores, bands=3)
    assert found.of("mail")[0].high < found.of("mail")[-1].low
