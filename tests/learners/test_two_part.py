"""Amounts in two parts: what they are, whom they know of, and what they are for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.learners import EnsembleLearner, ensemble, expectations, load, save, scores_in_parts
from uplift.learners._arm_scores import effect_scores
from uplift.learners._two_part import INCIDENCE, incidence_of
from uplift.learners.base import prepare

FAST = {"n_estimators": 30, "learning_rate": 0.1, "num_leaves": 6, "random_state": 0}
SPEND = make_world(4000, outcome="spend", scale=0.2, categorical=1, missing=0.02, random_state=0)


def training_of(world, **params):
    learner = EnsembleLearner(**FAST, **params)
    return learner, prepare(learner, world.X, world.y, world.treatment, world.propensity)[1]


def gain(world, effects):
    """Of giving each the arm with the best predicted effect, per row."""
    best = effects.argmax(axis=1)
    return float(np.where(effects.max(axis=1) > 0, world.effects[np.arange(len(best)), best], 0.0).mean())


def test_incidence_is_the_amount_without_its_luck():
    _, training = training_of(SPEND)
    incidence = incidence_of(training).y
    nothing = SPEND.y == 0
    assert (incidence[nothing] == 0).all()
    usual, found = incidence[~nothing], SPEND.y[~nothing]
    assert found.min() <= usual.min() < usual.max() <= found.max()
    assert usual.mean() == pytest.approx(found.mean())
    assert usual.std() < 0.5 * found.std()  # the luck is gone …
    assert np.corrcoef(usual, SPEND.baseline[~nothing])[0, 1] > 0.6  # … and what the features say has stayed


def test_a_fold_does_not_know_of_anothers_outcomes():
    _, training = training_of(SPEND)
    first = training.folds == 0
    changed = replace(training.refolded(training.folds, training.folds), y=np.where(first, 3 * SPEND.y, SPEND.y))
    before, after = (incidence_of(one).y for one in (training, changed))
    np.testing.assert_array_equal(before[~first], after[~first])
    assert (before[first] != after[first]).any()


@pytest.mark.parametrize(
    "y",
    [
        pytest.param(np.where(SPEND.y > 0, 1.0, 0.0), id="a rate"),
        pytest.param(np.where(SPEND.y > 0, 7.0, 0.0), id="always the same amount"),
        pytest.param(SPEND.y + 1, id="no zeros"),
        pytest.param(np.where(np.arange(4000) < 120, SPEND.y, 0.0), id="too few amounts"),
    ],
)
def test_other_outcomes_have_no_parts(y):
    learner, training = training_of(replace(SPEND, y=y))
    assert incidence_of(training) is None
    assert [(one.name, one.part) for one in learner.members_on(training)] == [(name, "") for name in learner.members]


def test_a_fold_with_hardly_an_amount_does_without_a_regression():
    _, training = training_of(SPEND)
    first = training.folds == 0
    for left in (0, 1):
        kept = ~first | (np.cumsum(first & (SPEND.y != 0)) <= left)
        alone = replace(training.refolded(training.folds, training.folds), y=np.where(kept, SPEND.y, 0.0))
        incidence = incidence_of(alone).y
        assert np.isfinite(incidence).all()
        np.testing.assert_array_equal(incidence[first], alone.y[first])


def test_what_was_fitted_on_incidence_is_fitted_once():
    learner, training = training_of(SPEND)
    once, again = (incidence_of(training.restricted(training.folds != 1)) for _ in range(2))
    assert once.cache is again.cache is not training.cache
    assert once.bins is training.bins
    (rows,) = np.nonzero((training.folds != 1) & (training.arms.codes == 0))
    fit = learner.outcome_fitter(training)
    assert once.fitted(rows, fit) is again.fitted(rows, fit)
    assert once.fitted(rows, fit) is not training.fitted(rows, fit)


def test_scores_of_the_parts_add_up():
    learner, training = training_of(SPEND)
    fit = learner.outcome_fitter(training)
    gamma = effect_scores(training, expectations(training, fit))
    incidence, amount = scores_in_parts(training, gamma, fit)
    np.testing.assert_allclose(incidence + amount, gamma)
    assert incidence.var() < 0.7 * gamma.var()
    mean = incidence.mean(axis=0)
    assert np.abs(mean - SPEND.effects.mean(axis=0)).max() < 4 * incidence.std() / np.sqrt(len(gamma))


def fitted(world, **params):
    learner = EnsembleLearner(**FAST, **params)
    return learner.fit(world.X, world.y, world.treatment, propensity=world.propensity)


def test_effects_on_how_often_are_not_drowned_by_how_much(monkeypatch):
    train, new = (make_world(8000, outcome="spend", effect="step", random_state=seed) for seed in (1, 2))
    gains = {}
    for name in ("parts", "whole"):
        if name == "whole":
            monkeypatch.setattr(ensemble, "incidence_of", lambda training: None)
        gains[name] = gain(new, fitted(train).predict(new.X))
    assert gains["parts"] > 1.2 * gains["whole"]
    assert gains["parts"] > 0.7 * gain(new, new.effects)


def test_effects_on_how_much_are_found_too():
    """Whoever spends, spends more or less by the arm; nobody spends oftener."""
    train, new = (make_world(8000, arms=("a",), outcome="spend", effect="none", random_state=seed) for seed in (3, 4))
    factor, of_new = (np.where(world.X["x3"] > 0, 1.8, 0.6) for world in (train, new))
    train = replace(train, y=np.where(train.treatment == "a", factor, 1.0) * train.y)
    new = replace(new, effects=((of_new - 1) * new.baseline)[:, None])
    model = fitted(train)
    kept = {name: sum(one[name] for one in model.weights_.values()) for name in model.weights_["S"]}
    assert kept["level"] > 0.5 > kept["incidence_level"]
    assert gain(new, model.predict(new.X)) > 0.8 * gain(new, new.effects)


def test_files_and_explanations_know_both_parts(tmp_path):
    model = fitted(SPEND)
    assert sum(kept[f"{INCIDENCE}_level"] for kept in model.weights_.values()) > 0.3
    assert set(model.weights_["X"]) == {"level", "between_arms", f"{INCIDENCE}_level", f"{INCIDENCE}_between_arms"}
    again = load(save(model, tmp_path / "model"))
    assert again.weights_ == model.weights_
    effects = model.predict(SPEND.X)
    np.testing.assert_array_equal(again.predict(SPEND.X), effects)
    told = model.explain(SPEND.X.head(50))
    np.testing.assert_allclose(told.values.sum(axis=2) + told.baseline, effects[:50], atol=1e-9)
