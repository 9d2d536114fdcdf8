"""Predicted against observed effects."""

from __future__ import annotations

import numpy as np
import pytest

from uplift import metrics
from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError


@pytest.fixture(scope="module")
def world():
    return make_world(20_000, arms=("a",), outcome="continuous", propensity={"control": 0.7, "a": 0.3}, random_state=1)


def test_true_effects_have_slope_one_and_intercept_zero(world):
    result = metrics.effect_calibration(world.effects, world.y, world.treatment, world.propensity)
    assert abs(result.slope.value - 1) < 3 * result.slope.se < 0.2
    assert abs(result.intercept.value) < 3 * result.intercept.se < 0.1
    assert abs(result.observed.value - world.effects.mean()) < 3 * result.observed.se
    assert result.predicted == pytest.approx(world.effects.mean(), abs=0.05)


def test_exaggerated_and_shifted_predictions_are_seen(world):
    result = metrics.effect_calibration(3 * world.effects + 2, world.y, world.treatment, world.propensity)
    assert result.slope.value == pytest.approx(1 / 3, abs=0.05)
    assert result.intercept.value == pytest.approx(-2 / 3, abs=0.15)
    wrong_way = metrics.effect_calibration(-world.effects, world.y, world.treatment, world.propensity)
    assert wrong_way.slope.p_value > 0.999


def test_groups_follow_the_truth(world):
    result = metrics.effect_calibration(world.effects, world.y, world.treatment, world.propensity, groups=5)
    assert [g.group for g in result.groups] == [1, 2, 3, 4, 5]
    assert sum(g.n for g in result.groups) == len(world.y)
    for group in result.groups:
        assert group.share == pytest.approx(0.2, abs=0.01)
        assert abs(group.observed - group.predicted) < 4 * group.se
    assert result.groups[-1].observed - result.groups[0].observed > 2
    assert len(result.to_pandas()) == 5


def test_ties_are_never_split(world):
    score = np.sign(world.effects[:, 0])
    result = metrics.effect_calibration(score, world.y, world.treatment, world.propensity, groups=10)
    assert len(result.groups) == 2


def test_a_constant_prediction_has_no_slope(world):
    result = metrics.effect_calibration(np.ones(len(world.y)), world.y, world.treatment, world.propensity)
    assert result.slope is None
    assert result.intercept is None
    assert len(result.groups) == 1
    assert result.groups[0].observed == pytest.approx(result.observed.value)


def test_a_group_without_an_arm_has_no_number():
    score = np.array([0.0] * 10 + [1.0] * 10)
    treatment = np.array([0] * 10 + [0, 1] * 5)
    result = metrics.effect_calibration(score, np.arange(20.0), treatment, groups=2)
    assert result.groups[0].observed is None
    assert result.groups[1].observed is not None


def test_the_best_of_noisy_predictions_is_inflated():
    """The winner's curse, as the calibration of each member's best predicted effect shows it."""
    world = make_world(20_000, effect="constant", outcome="continuous", random_state=3)
    noise = np.random.default_rng(0).normal(scale=1.0, size=world.effects.shape)
    result = metrics.effect_calibration(world.effects + noise, world.y, world.treatment, world.propensity)
    assert result.predicted > result.observed.high + 0.2
    assert result.slope.value < 0.5


def test_clusters_widen(world):
    rows = np.repeat(np.arange(2000), 5)
    given = (world.effects[rows], world.y[rows], world.treatment[rows], world.propensity[rows])
    naive, honest = metrics.effect_calibration(*given), metrics.effect_calibration(*given, clusters=rows)
    assert honest.slope.se == pytest.approx(naive.slope.se * 5**0.5, rel=0.1)
    assert honest.observed.se == pytest.approx(naive.observed.se * 5**0.5, rel=0.1)


def test_bad_input(world):
    with pytest.raises(InputError, match="at least 1"):
        metrics.effect_calibration(world.effects, world.y, world.treatment, world.propensity, groups=0)
    with pytest.raises(InputError, match="clusters has 3"):
        metrics.effect_calibration(world.effects, world.y, world.treatment, world.propensity, clusters=[1, 2, 3])
