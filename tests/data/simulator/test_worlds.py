"""Worlds draw outcomes from exactly the truth that they state."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import EFFECTS, make_world
from uplift.errors import InputError

OUTCOMES = ("binary", "spend", "continuous")


def effect_errors(world, effects) -> np.ndarray:
    """Horvitz–Thompson difference minus the stated mean effect, in standard errors, per arm."""
    z = []
    for j, arm in enumerate(world.arms):
        weighted = np.where(world.treatment == arm, world.y / world.propensity[:, j + 1], 0.0) - np.where(
            world.treatment == world.control, world.y / world.propensity[:, 0], 0.0
        )
        difference = weighted - effects[:, j]
        z.append(difference.mean() / (difference.std() / np.sqrt(len(difference))))
    return np.asarray(z)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("effect", list(EFFECTS))
@pytest.mark.parametrize("propensity", ["equal", "confounded", {"control": 0.5, "a": 0.3, "b": 0.2}])
def test_stated_effects_are_the_drawn_ones(outcome, effect, propensity):
    world = make_world(40_000, outcome=outcome, effect=effect, propensity=propensity, random_state=3)
    assert np.abs(effect_errors(world, world.effects)).max() < 4
    assert np.abs(effect_errors(world, world.effects + 0.1 * world.y.std())).min() > 4, "a shifted truth must be caught"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_baseline_is_the_mean_under_control(outcome):
    world = make_world(50_000, outcome=outcome, random_state=4)
    rest = world.treatment == world.control
    gap = (world.y - world.baseline)[rest]
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))


def test_effect_follows_its_shape():
    world = make_world(2_000, outcome="continuous", effect="linear", scale=2.0)
    np.testing.assert_allclose(world.effects[:, 1], 2 * (0.3 + world.X["x1"]), rtol=0, atol=1e-12)
    assert (make_world(500, effect="none").effects == 0).all()
    sparse = make_world(20_000, outcome="continuous", effect="sparse").effects
    assert 0.08 < (sparse[:, 0] > 0).mean() < 0.12


def test_same_seed_same_world_and_shapes():
    first, again, other = (make_world(300, categorical=2, missing=0.1, random_state=s) for s in (5, 5, 6))
    pd.testing.assert_frame_equal(first.X, again.X)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.y, other.y)
    assert first.effects.shape == (300, 2)
    assert first.propensity.shape == (300, 3)
    assert isinstance(first.X["c1"].dtype, pd.CategoricalDtype)
    assert 0.05 < first.X.isna().to_numpy().mean() < 0.15
    assert len(first.to_pandas()) == 3


def test_policies_are_valued_by_the_truth():
    world = make_world(5_000, effect="step", random_state=7)
    assert world.value(-1) == pytest.approx(world.baseline.mean())
    assert world.value(0) == pytest.approx((world.baseline + world.effects[:, 0]).mean())
    assert world.value(world.oracle) > max(world.value(0), world.value(1)) + 0.02


def test_an_arm_of_share_zero_is_never_drawn():
    world = make_world(20_000, arms=("a", "b", "c"), propensity={"control": 0.5, "a": 0.5})
    assert set(world.treatment) == {"control", "a"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "at least one row"),
        ({"effect": "liner"}, "did you mean 'linear'"),
        ({"outcome": "money"}, "unknown outcome"),
        ({"arms": ("a", "a")}, "differ"),
        ({"propensity": {"control": 0.5, "z": 0.5}}, "unknown arm 'z'"),
        ({"propensity": {"control": 0.5, "a": 0.1}}, "add up to 1"),
        ({"missing": 1.5}, "missing lies in"),
    ],
)
def test_bad_arguments_are_messages(arguments, message):
    with pytest.raises(InputError, match=message):
        make_world(**{"n": 10, **arguments})
