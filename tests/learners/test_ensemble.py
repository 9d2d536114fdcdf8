"""The ensemble: its members, its weights, and what is left of them."""

from __future__ import annotations

import numpy as np
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.learners import EnsembleLearner, load, make_learner, save
from uplift.learners.ensemble import MEMBERS

FAST = {"n_estimators": 15, "learning_rate": 0.2, "num_leaves": 4}
WORLD = make_world(3000, outcome="continuous", categorical=1, missing=0.02, random_state=0)


def fit(world=WORLD, **params):
    learner = EnsembleLearner(**{"random_state": 0, **FAST, **params})
    return learner.fit(world.X, world.y, world.treatment, propensity=world.propensity)


@pytest.fixture(scope="module")
def fitted():
    return fit()


def test_effects_are_the_weighted_members_around_the_mean_effect(fitted):
    weights = fitted.weights_
    assert set(weights) == set(MEMBERS)
    assert sum(kept["level"] for kept in weights.values()) > 0.5
    effects = fitted.predict(WORLD.X)
    expected = np.zeros_like(effects)
    for name, kept in weights.items():
        member = make_learner(name, random_state=0, **FAST)
        predicted = member.fit(WORLD.X, WORLD.y, WORLD.treatment, propensity=WORLD.propensity).predict(WORLD.X)
        away = predicted - predicted.mean(axis=0)
        level = away.mean(axis=1, keepdims=True)
        expected += kept["level"] * level + kept["between_arms"] * (away - level)
    np.testing.assert_allclose(effects - effects.mean(axis=0), expected, atol=1e-6)


def test_weights_come_from_rows_that_the_members_did_not_see():
    """A member that learns its rows by heart is worth nothing to others, however well it fits its own."""
    world = make_world(1500, effect="none", outcome="continuous", n_features=4, random_state=3)
    by_heart = {"n_estimators": 200, "learning_rate": 0.3, "min_child_samples": 2, "num_leaves": 31}
    seen = make_learner("T", random_state=0, **by_heart)
    seen = seen.fit(world.X, world.y, world.treatment, propensity=world.propensity).predict(world.X)
    assert seen.std(axis=0).min() > 0.5
    assert fit(world, members=("T",), **by_heart).predict(world.X).std(axis=0).max() < 0.1


def test_where_members_see_nothing_it_is_one_effect_for_all():
    world = make_world(3000, effect="constant", outcome="continuous", random_state=4)
    effects = fit(world).predict(world.X)
    assert effects.std(axis=0).max() < 0.1
    np.testing.assert_allclose(effects.mean(axis=0), world.effects.mean(axis=0), atol=0.15)


def test_members_that_get_no_weight_are_not_scored(tmp_path):
    world = make_world(3000, effect="linear", outcome="continuous", random_state=5)
    model = fit(world, members=("none", "logistic_T"))
    assert model.weights_["none"] == {"level": 0.0, "between_arms": 0.0}
    again = load(save(model, tmp_path / "model"))
    assert again.weights_ == model.weights_
    assert len(list((tmp_path / "model").iterdir())) == 1  # no booster was kept
    np.testing.assert_array_equal(again.predict(world.X), model.predict(world.X))


def test_too_few_rows_to_hold_any_out_give_the_constant_effect():
    few = make_world(60, outcome="continuous", random_state=6)
    constant = make_learner("constant").fit(few.X, few.y, few.treatment, propensity=few.propensity)
    model = fit(few)
    np.testing.assert_array_equal(model.predict(few.X), constant.predict(few.X))
    assert all(not any(kept.values()) for kept in model.weights_.values())


def test_explanations_add_up(fitted):
    told = fitted.explain(WORLD.X.head(200))
    np.testing.assert_allclose(told.values.sum(axis=2) + told.baseline, fitted.predict(WORLD.X.head(200)), atol=1e-9)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"members": ()}, "members must be a list"),
        ({"members": "X"}, "members must be a list"),
        ({"members": ("X", "response")}, "members cannot be 'response': choose among S, T, X"),
        ({"members": ("X", "ensemble")}, "members cannot be 'ensemble'"),
        ({"members": ("X", "X")}, "members must differ"),
        ({"folds": 2}, "folds must be at least 3"),
    ],
)
def test_what_is_wrong_is_said(params, message):
    with pytest.raises(InputError, match=message):
        fit(**params)
