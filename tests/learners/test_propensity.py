"""Known propensities are used as given; estimated ones are cross-fitted, and refused where overlap fails."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.learners import ConstantEffect, DRLearner, FrameEncoder, NoEffect
from uplift.learners._inputs import Arms, assign_folds
from uplift.learners._propensity import effective_rows, estimated_propensity

WORLD = make_world(400, arms=("a", "b"), random_state=0)


def fit(propensity, learner=None, world=WORLD, **more):
    learner = NoEffect("control", random_state=0) if learner is None else learner
    return learner.fit(world.X, world.y, world.treatment, propensity=propensity, **more)


@pytest.mark.parametrize(
    ("propensity", "message"),
    [
        ({"control": 0.5, "a": 0.5}, "lacks 'b'"),
        ({"control": 0.5, "a": 0.25, "b": 0.25, "c": 0.0}, "names 'c', which nobody"),
        ({"control": 0.5, "a": 0.5, "b": 0.5}, "add up to 1"),
        ({"control": "half", "a": 0.25, "b": 0.25}, "must be numbers"),
        ({"control": 1.5, "a": -0.25, "b": -0.25}, "outside 0"),
        ({"control": 0.5, "a": 0.5, "b": 0.0}, "0 for the arm that was received"),
        (np.full(400, 0.5), "shape (400,), expected (400, 3)"),
        (np.full((400, 3), np.nan), "missing or outside"),
        ("half", "mapping arm"),
        (pd.DataFrame({"control": [0.5] * 400, "a": [0.5] * 400}), "no column 'b'"),
    ],
)
def test_refusals(propensity, message):
    with pytest.raises(InputError) as error:
        fit(propensity)
    assert message in str(error.value)


def test_columns_of_a_table_are_found_by_name():
    shares = WORLD.propensity
    table = pd.DataFrame(shares, columns=["control", "a", "b"])[["b", "control", "a"]]
    learner = ConstantEffect("control", random_state=0)
    np.testing.assert_array_equal(
        fit(table, learner).predict(WORLD.X), fit(shares, ConstantEffect("control")).predict(WORLD.X)
    )


def test_mapping_and_array_agree():
    one = fit({"control": 1 / 3, "a": 1 / 3, "b": 1 / 3}, DRLearner("control", random_state=0, min_child_samples=20))
    two = fit(np.full((400, 3), 1 / 3), DRLearner("control", random_state=0, min_child_samples=20))
    np.testing.assert_array_equal(one.predict(WORLD.X), two.predict(WORLD.X))


def test_uneven_probabilities_that_leave_nothing_are_refused():
    shares = np.tile([0.9998, 0.0001, 0.0001], (400, 1))
    shares[0] = [0.5, 0.25, 0.25]
    given = np.argmax(WORLD.treatment[:, None] == np.array(["control", "a", "b"]), axis=1)
    shares[given > 0] = [0.2, 0.4, 0.4]
    shares[np.flatnonzero(given == 1)[0]] = [0.9998, 0.0001, 0.0001]
    with pytest.raises(InputError, match=r"'a': its .* rows are worth .* very small chance"):
        fit(shares)


def test_estimated_propensities_find_the_true_ones():
    world = make_world(8000, arms=("a", "b"), propensity="confounded", random_state=1, categorical=1)
    codes = np.argmax(world.treatment[:, None] == np.array(["control", "a", "b"]), axis=1)
    arms = Arms(("a", "b"), "control", codes)
    folds = assign_folds(codes, 3, None, 0)
    encoder = FrameEncoder.learn(world.X)
    found, problems = estimated_propensity(encoder.transform(world.X), encoder.categorical, arms, np.ones(8000), folds)
    assert problems == []
    assert np.abs(found - world.propensity).mean() < 0.02
    assert np.abs(world.propensity.mean(axis=0) - world.propensity).mean() > 0.06  # what one share for all would miss
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_estimation_is_cross_fitted():
    """A row's own assignment must not move its own estimate (peers estimate and calibrate on the rows they predict)."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(60, 15))
    codes = rng.integers(0, 2, 60)
    folds = assign_folds(codes, 3, None, 0)
    one, _ = estimated_propensity(matrix, (), Arms(("a",), "c", codes), np.ones(60), folds)
    mine = np.flatnonzero(folds == folds[0])
    swapped = codes.copy()
    swapped[mine] = 1 - swapped[mine]
    two, _ = estimated_propensity(matrix, (), Arms(("a",), "c", swapped), np.ones(60), folds)
    np.testing.assert_array_equal(one[mine], two[mine])
    others = folds != folds[0]
    assert not np.allclose(one[others], two[others])


def test_estimation_is_refused_without_overlap():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2))
    treatment = np.where(X[:, 0] > 0, "mail", "none")
    with pytest.raises(InputError, match=r"no overlap: \d+% of the rows"):
        ConstantEffect("none", random_state=0).fit(X, X[:, 1], treatment)


def test_effective_rows():
    assert effective_rows(np.ones(50)) == pytest.approx(50)
    assert effective_rows(np.array([1.0, 0, 0, 0])) == pytest.approx(1)


def test_constant_effect_is_unbiased_when_probabilities_follow_the_outcome():
    """Pairwise weights alone would answer for the members of the pair, not for all: a bias of 0.3 here."""
    world = make_world(40_000, arms=("a", "b"), outcome="continuous", propensity="confounded", random_state=4)
    effects = fit(world.propensity, ConstantEffect("control"), world).predict(world.X)[0]
    np.testing.assert_allclose(effects, world.effects.mean(axis=0), atol=0.06)
    plain = [world.y[world.treatment == arm].mean() - world.y[world.treatment == "control"].mean() for arm in "ab"]
    assert np.abs(np.array(plain) - world.effects.mean(axis=0)).max() > 0.3
