"""What every learner has to beat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.learners import ConstantEffect, LogisticTLearner, NoEffect, ResponseModel
from uplift.learners._linear import MAX_ONE_HOT, LinearDesign, fit_logistic, fit_platt, fit_ridge
from uplift.learners._scorers import ConstantScorer


def fitted(learner, world):
    return learner.fit(world.X, world.y, world.treatment, propensity=world.propensity)


def test_no_effect_is_zero():
    world = make_world(300, arms=("a", "b"))
    np.testing.assert_array_equal(fitted(NoEffect("control"), world).predict(world.X), np.zeros((300, 2)))


def test_constant_effect_is_the_difference_of_means_under_equal_probabilities():
    world = make_world(900, arms=("a", "b"), outcome="spend", random_state=1)
    effects = fitted(ConstantEffect("control"), world).predict(world.X)
    mean = {arm: world.y[world.treatment == arm].mean() for arm in ("control", "a", "b")}
    np.testing.assert_allclose(effects, np.tile([mean["a"] - mean["control"], mean["b"] - mean["control"]], (900, 1)))


def test_constant_effect_weights_rows_by_hand():
    y = np.array([1.0, 3.0] * 10 + [0.0, 2.0] * 10)
    treatment = np.repeat([1, 0], 20)
    weight = np.tile([3.0, 1.0], 20)
    learner = ConstantEffect(0).fit(np.zeros((40, 1)), y, treatment, propensity={0: 0.5, 1: 0.5}, sample_weight=weight)
    assert learner.predict([[0]])[0, 0] == pytest.approx((3 * 1 + 3) / 4 - 2 / 4)


def test_response_model_predicts_levels_and_says_that_it_is_no_effect():
    world = make_world(4000, arms=("a", "b"), random_state=2)
    model = fitted(ResponseModel("control", random_state=0), world)
    levels = world.baseline[:, None] + world.effects
    assert np.corrcoef(model.predict(world.X)[:, 0], levels[:, 0])[0, 1] > 0.6
    assert model.predict(world.X).mean() == pytest.approx(levels.mean(), abs=0.03)
    assert not ResponseModel.is_effect
    assert NoEffect.is_effect


def test_logistic_t_learner_is_calibrated_on_new_members():
    """Few rows and many useless features: without calibration the spread of the effects would be far too wide."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 40))
    treatment = rng.integers(0, 2, 400)
    y = (rng.random(400) < 0.3).astype(float)
    noise = LogisticTLearner(0, random_state=0).fit(X, y, treatment, propensity={0: 0.5, 1: 0.5})
    assert noise.predict(rng.normal(size=(500, 40))).std() < 0.05

    from sklearn.linear_model import LogisticRegression

    plain = [LogisticRegression().fit(X[treatment == w], y[treatment == w]) for w in (0, 1)]
    new = rng.normal(size=(500, 40))
    assert (plain[1].predict_proba(new)[:, 1] - plain[0].predict_proba(new)[:, 1]).std() > 0.2


def test_logistic_t_learner_recovers_a_logistic_world():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(20_000, 3))
    treatment = rng.integers(0, 2, 20_000)
    logit = -1 + X[:, 0] + treatment * (0.5 + 0.5 * X[:, 1])
    y = (rng.random(20_000) < 1 / (1 + np.exp(-logit))).astype(float)
    learner = LogisticTLearner(0, random_state=0).fit(X, y, treatment, propensity={0: 0.5, 1: 0.5})
    base = -1 + X[:, 0]
    truth = 1 / (1 + np.exp(-base - 0.5 - 0.5 * X[:, 1])) - 1 / (1 + np.exp(-base))
    assert np.sqrt(np.mean((learner.predict(X)[:, 0] - truth) ** 2)) < 0.02


def test_linear_learner_for_amounts():
    world = make_world(8000, arms=("a",), effect="linear", outcome="continuous", random_state=3)
    effects = fitted(LogisticTLearner("control", random_state=0), world).predict(world.X)
    assert np.sqrt(np.mean((effects - world.effects) ** 2)) < 0.2


def test_rare_outcomes_fall_back_to_rates():
    world = make_world(300, arms=("a",), random_state=0)
    y = np.zeros(300)
    y[np.flatnonzero(world.treatment == "a")[:1]] = 1
    learner = LogisticTLearner("control", random_state=0).fit(
        world.X, y, world.treatment, propensity={"control": 0.5, "a": 0.5}
    )
    assert isinstance(learner.program_.arms[0][0].scorer, ConstantScorer)
    assert learner.predict(world.X)[0, 0] == pytest.approx(1 / (world.treatment == "a").sum())


def test_explanations_of_the_logistic_learner_add_up():
    world = make_world(900, arms=("a",), categorical=1, missing=0.1, random_state=4)
    model = fitted(LogisticTLearner("control", random_state=0), world)
    explanation = model.explain(world.X)
    np.testing.assert_allclose(explanation.values.sum(2) + explanation.baseline, model.predict(world.X), atol=1e-9)
    assert not explanation.exact
    assert model.feature_importance().shape == (9, 1)


def test_linear_design_keeps_frequent_levels_and_flags_missing_values():
    rng = np.random.default_rng(0)
    codes = np.concatenate([np.repeat(np.arange(25), 4), np.full(20, 7)]).astype(float)
    number = rng.normal(size=120)
    number[:10] = np.nan
    matrix = np.column_stack([number, codes, np.ones(120)])
    design = LinearDesign.learn(matrix, [1])
    assert design.levels.count(-2) == 1
    assert sum(level >= 0 for level in design.levels) == MAX_ONE_HOT
    assert 2 not in design.features
    regressors = design.transform(matrix)
    np.testing.assert_allclose(regressors.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(
        regressors.std(axis=0), [np.sqrt(110 / 120)] + [1] * (regressors.shape[1] - 1), atol=1e-9
    )
    assert np.isfinite(design.transform(np.full((1, 3), np.nan))).all()


def test_regressions_agree_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression, Ridge

    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(500, 6)), rng.uniform(0.5, 2, 500)
    y = (rng.random(500) < 1 / (1 + np.exp(-X[:, 0]))).astype(float)
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(X, y, sample_weight=weight)
    coefficients, intercept = fit_logistic(X, y, weight)
    np.testing.assert_allclose(coefficients, expected.coef_[0], atol=1e-5)
    assert intercept == pytest.approx(expected.intercept_[0], abs=1e-5)
    separated = fit_logistic(X, (X[:, 0] > 0).astype(float), weight)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(X, X[:, 0] > 0, sample_weight=weight)
    np.testing.assert_allclose(separated[0], reference.coef_[0], atol=1e-4)

    expected = Ridge(alpha=1.0).fit(X, X[:, 1] + y, sample_weight=weight)
    coefficients, intercept = fit_ridge(X, X[:, 1] + y, weight)
    np.testing.assert_allclose(coefficients, expected.coef_, atol=1e-9)
    assert intercept == pytest.approx(expected.intercept_)


def test_platt_scaling():
    rng = np.random.default_rng(0)
    score = rng.normal(size=20_000) * 3
    y = (rng.random(20_000) < 1 / (1 + np.exp(-(0.4 * score - 1)))).astype(float)
    slope, intercept = fit_platt(score, y, np.ones(20_000))
    assert (slope, intercept) == (pytest.approx(0.4, abs=0.02), pytest.approx(-1, abs=0.05))
    assert fit_platt(-score, y, np.ones(20_000))[0] == 0.0  # a score that ranks backwards counts for nothing
    slope, _ = fit_platt(np.array([-1.0, -1.0, 1.0, 1.0]), np.array([0.0, 0, 1, 1]), np.ones(4))
    assert np.isfinite(slope)


def test_features_that_never_vary():
    y = np.arange(60) % 2
    learner = LogisticTLearner(0, random_state=0).fit(
        pd.DataFrame({"same": np.ones(60)}), y, np.repeat([0, 1], 30), propensity={0: 0.5, 1: 0.5}
    )
    np.testing.assert_allclose(learner.predict(pd.DataFrame({"same": [1.0]})), 0, atol=0.05)
