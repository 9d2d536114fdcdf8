"""scikit-learn's tools drive our learners: metadata routing, pipelines, cross-validation, grids, tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from uplift.data.simulator.worlds import make_world
from uplift.learners import LEARNERS, make_learner
from uplift.metrics import autoc

WORLD = make_world(600, arms=("a",), outcome="binary", scale=0.2, categorical=1, missing=0.05, random_state=0)
SMALL = {"control": "control", "n_estimators": 8, "min_child_samples": 20, "random_state": 0}
METADATA = {"treatment": True, "propensity": True, "sample_weight": True, "groups": True}
WEIGHT = np.random.default_rng(0).uniform(0.5, 2, 600)
MEMBER = np.arange(600) // 2
GIVEN = {"treatment": WORLD.treatment, "propensity": WORLD.propensity, "sample_weight": WEIGHT, "groups": MEMBER}
# the class transformation needs one half; weights and groups do not stand in its way
NAMES = list(LEARNERS)


@pytest.fixture(autouse=True)
def _routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def requested(name):
    return make_learner(name, **SMALL).set_fit_request(**METADATA)


def rank(y, effects, treatment, propensity):
    return float(autoc(effects[:, 0], y, treatment, propensity, control="control"))


def scorer():
    return make_scorer(rank).set_score_request(treatment=True, propensity=True)


@pytest.mark.parametrize("name", NAMES)
def test_what_fit_is_given_passes_through_a_pipeline(name):
    alone = make_learner(name, **SMALL).fit(WORLD.X, WORLD.y, **GIVEN)
    pipeline = Pipeline([("same", FunctionTransformer()), ("learner", requested(name))])
    effects = pipeline.fit(WORLD.X, WORLD.y, **GIVEN).predict(WORLD.X)
    np.testing.assert_array_equal(effects, alone.predict(WORLD.X))


def test_what_is_not_asked_for_is_refused():
    """So that a propensity is never lost on the way without a word."""
    pipeline = Pipeline([("same", FunctionTransformer()), ("learner", make_learner("constant", **SMALL))])
    with pytest.raises(ValueError, match="treatment"):
        pipeline.fit(WORLD.X, WORLD.y, **GIVEN)


@pytest.mark.parametrize("name", ["constant", "DR", "linear_DR", "causal_forest"])
def test_cross_validation_splits_what_it_routes(name):
    found = cross_validate(
        requested(name), WORLD.X, WORLD.y, cv=GroupKFold(3), scoring=scorer(), params=GIVEN,
        return_estimator=True, return_indices=True, error_score="raise",
    )  # fmt: skip
    for model, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        mine = {key: value[train] for key, value in GIVEN.items()}
        alone = make_learner(name, **SMALL).fit(WORLD.X.iloc[train], WORLD.y[train], **mine)
        np.testing.assert_array_equal(model.predict(WORLD.X), alone.predict(WORLD.X))
    assert np.isfinite(found["test_score"]).all()


def test_a_mapping_of_shares_is_routed_as_it_is():
    given = {"treatment": WORLD.treatment, "propensity": {"control": 0.5, "a": 0.5}}
    learner = make_learner("constant", **SMALL).set_fit_request(treatment=True, propensity=True)
    found = cross_validate(
        learner, WORLD.X, WORLD.y, cv=KFold(3), scoring=scorer(), params=given, return_estimator=True,
        error_score="raise",
    )  # fmt: skip
    assert all(model.arms_ == ("a",) for model in found["estimator"])


def test_grid_search_over_a_pipeline():
    pipeline = Pipeline([("same", FunctionTransformer()), ("learner", requested("T"))])
    grid = GridSearchCV(
        pipeline, {"learner__num_leaves": [2, 8]}, cv=GroupKFold(3), scoring=scorer(), error_score="raise"
    )
    grid.fit(WORLD.X, WORLD.y, **GIVEN)
    assert grid.best_params_["learner__num_leaves"] in (2, 8)
    assert grid.predict(WORLD.X).shape == (600, 1)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_can_be_set_after_cloning(name):
    learner = make_learner(name, **SMALL)
    other = clone(learner).set_params(random_state=7, n_jobs=2)
    assert (other.random_state, other.n_jobs, learner.random_state) == (7, 2, 0)
    with pytest.raises(ValueError, match="nonsense"):
        learner.set_params(nonsense=1)


@pytest.mark.parametrize("name", NAMES)
def test_tables_as_pandas_makes_them(name):
    """Categories, booleans, nullable numbers, texts and missing values; what is unknown when scoring is missing."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "city": pd.Categorical(rng.choice(["x", "y", "z"], 400)),
            "flag": pd.array(rng.choice([True, False, None], 400), dtype="boolean"),
            "orders": pd.array(rng.choice([1, 2, None], 400), dtype="Int64"),
            "text": rng.choice(["p", "q", None], 400),
            "amount": rng.normal(size=400).astype(np.float32),
        },
        index=pd.Index(rng.permutation(400), name="member"),
    )
    treated = rng.integers(0, 2, 400)
    y = (rng.random(400) < 0.3 + 0.2 * treated).astype(int)
    learner = make_learner(name, **{**SMALL, "control": 0}).fit(X, y, treated, propensity={0: 0.5, 1: 0.5})
    new = X.assign(city="never seen", text=None)
    assert np.isfinite(learner.predict(new)).all()
    assert list(learner.feature_names_in_) == list(X.columns)
