"""Doubly robust scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.evaluation import aipw_scores, fold_ids


@pytest.fixture(scope="module")
def world():
    return make_world(4000, propensity="confounded", outcome="continuous", categorical=1, missing=0.05, random_state=1)


@pytest.fixture(scope="module")
def scores(world):
    return aipw_scores(world.X, world.y, world.treatment, world.propensity, random_state=0)


def test_shape_order_and_truth(world, scores):
    assert scores.values.shape == scores.expected.shape == (4000, 3)
    assert (scores.control, scores.arms) == ("control", ("a", "b"))
    table = scores.to_pandas()
    for arm, true in (("a", world.effects[:, 0].mean()), ("b", world.effects[:, 1].mean())):
        row = table[table["arm"] == arm].iloc[0]
        assert abs(row["effect"] - true) < 4 * row["effect_se"]
        assert row["effect_se"] < 0.2
    assert table["n"].sum() == 4000


def test_scores_explain_the_effect_of_each_row(world, scores):
    slope = np.polyfit(world.effects[:, 0], scores.effects[:, 0], 1)[0]
    assert slope == pytest.approx(1.0, abs=0.25)


def test_each_row_is_expected_by_models_that_did_not_see_it(world):
    """A model that remembers its rows cannot lower their residual."""
    from sklearn.neighbors import KNeighborsRegressor

    X = world.X[["x0", "x1"]].fillna(0.0)
    memory = aipw_scores(
        X, world.y, world.treatment, world.propensity, outcome_model=KNeighborsRegressor(1), random_state=0
    )
    received = memory.expected[np.arange(4000), memory.assigned]
    assert np.mean((world.y - received) ** 2) > 1.0  # the noise alone is 1; a model that saw the row would have 0


def test_same_seed_same_scores_whatever_the_threads(world):
    part = slice(0, 300)
    given = (world.X[part], world.y[part], world.treatment[part], world.propensity[part])
    first, second = (aipw_scores(*given, folds=2, random_state=0, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(first.values, second.values)


def test_given_folds_are_used(world):
    fold = fold_ids(4000, 2, stratify=world.treatment)
    scores = aipw_scores(world.X, world.y, world.treatment, world.propensity, fold=fold)
    assert (scores.fold == fold).all()
    with pytest.raises(InputError, match="at least two folds"):
        aipw_scores(world.X, world.y, world.treatment, world.propensity, fold=np.zeros(4000))


def test_groups_share_folds_and_become_the_clusters(world):
    groups = np.arange(4000) // 4
    scores = aipw_scores(world.X, world.y, world.treatment, world.propensity, groups=groups)
    assert all(len(set(scores.fold[groups == g])) == 1 for g in range(0, 1000, 50))
    assert (scores.clusters == groups).all()
    part = scores.take(np.arange(10))
    assert len(part) == 10
    assert len(part.clusters) == 10


def test_an_arm_that_was_not_offered_is_unknown_there(world):
    chance = world.propensity.copy()
    barred = (world.treatment != "b") & (np.arange(4000) < 1500)
    chance[barred] = np.column_stack([np.full(4000, 0.5)] * 2 + [np.zeros(4000)])[barred]
    scores = aipw_scores(world.X, world.y, world.treatment, chance)
    assert np.isnan(scores.values[barred, 2]).all()
    assert np.isfinite(scores.values[~barred]).all()
    assert np.isfinite(scores.values[barred, :2]).all()
    assert np.isfinite(scores.expected).all()


def test_estimated_propensities_are_refused_without_overlap():
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000)
    treatment = (x > 0).astype(int)
    with pytest.raises(InputError, match="overlap"):
        aipw_scores(pd.DataFrame({"x": x}), x + rng.normal(size=1000), treatment)


def test_estimated_propensities_repair_confounding():
    world = make_world(8000, arms=("a",), effect="constant", outcome="continuous", propensity="confounded")
    estimated = aipw_scores(world.X, world.y, world.treatment).to_dicts()[1]
    naive = world.y[world.treatment == "a"].mean() - world.y[world.treatment == "control"].mean()
    assert abs(estimated["effect"] - 1.0) < 4 * estimated["effect_se"]
    assert abs(naive - 1.0) > 0.3


def test_sample_weights_count(world):
    weight = np.where(world.X["x0"] > 0, 3.0, 1.0)
    scores = aipw_scores(world.X, world.y, world.treatment, world.propensity, sample_weight=weight)
    row = scores.to_dicts()[1]
    assert abs(row["effect"] - np.average(world.effects[:, 0], weights=weight)) < 4 * row["effect_se"]


def test_an_outcome_that_never_varies_in_an_arm():
    world = make_world(600, random_state=3)
    y = np.where(world.treatment == "a", 0.0, world.y)
    assert np.isfinite(aipw_scores(world.X, y, world.treatment, world.propensity).values).all()


def test_too_few_rows_of_an_arm_are_named():
    world = make_world(200, propensity={"control": 0.48, "a": 0.48, "b": 0.04})
    with pytest.raises(InputError, match="arm 'b' has"):
        aipw_scores(world.X, world.y, world.treatment, world.propensity)
    with pytest.raises(InputError, match="X has 100 rows, y has 200"):
        aipw_scores(world.X[:100], world.y, world.treatment, world.propensity)
