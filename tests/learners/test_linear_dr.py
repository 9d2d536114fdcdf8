"""The linear projection of the effect and its intervals; that they cover is proved in tests/truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.learners import LinearDRLearner, load, save
from uplift.learners._projection import independent, project

WORLD = make_world(3000, arms=("a", "b"), outcome="continuous", categorical=1, missing=0.05, random_state=0)
SMALL = {"control": "control", "n_estimators": 20, "random_state": 0}


def fit(world=WORLD, **more):
    return LinearDRLearner(**{**SMALL, **more}).fit(world.X, world.y, world.treatment, propensity=world.propensity)


@pytest.mark.parametrize("weighted", [False, True])
def test_hc3_is_what_statsmodels_gives(weighted):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(120, 3))
    y = Z @ [1.0, 0.0, -2.0] + rng.normal(size=120) * (1 + Z[:, 0] ** 2)
    weight = rng.uniform(0.5, 2, 120) if weighted else np.ones(120)
    ours = project(Z, y, weight)
    model = sm.WLS(y, np.column_stack([Z, np.ones(120)]), weights=weight).fit(cov_type="HC3", use_t=True)
    np.testing.assert_allclose(ours.coefficients, model.params, rtol=1e-9)
    np.testing.assert_allclose(ours.covariance, model.cov_params(), rtol=1e-9)
    assert ours.freedom == model.df_resid


def test_clusters_of_one_row_are_rows():
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(80, 2)), rng.normal(size=80)
    alone, one = project(Z, y, np.ones(80)), project(Z, y, np.ones(80), np.arange(80))
    np.testing.assert_allclose(one.covariance, alone.covariance * 80 / 79)
    five = project(np.repeat(Z, 5, axis=0), np.repeat(y, 5), np.ones(400), np.repeat(np.arange(80), 5))
    np.testing.assert_allclose(five.coefficients, alone.coefficients)
    np.testing.assert_allclose(np.diag(five.covariance), np.diag(alone.covariance), rtol=0.15)
    assert five.freedom == 77


def test_what_follows_from_other_regressors_is_left_out():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    Z = np.column_stack([a, 2 * a, np.ones(50), b, a - b, 1e-9 * rng.normal(size=50)])
    assert independent(Z).tolist() == [0, 3, 5]


def test_more_coefficients_than_rows_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"name fewer features="):
        project(rng.normal(size=(5, 5)), rng.normal(size=5), np.ones(5))
    with pytest.raises(InputError, match="3 groups"):
        project(rng.normal(size=(30, 3)), rng.normal(size=30), np.ones(30), np.arange(30) % 3)


def test_the_effect_is_found_and_its_regression_read():
    model = fit()
    table = model.regression().to_pandas().set_index(["arm", "term"])
    for arm, feature in (("a", "x0"), ("b", "x1")):
        assert table.loc[(arm, feature), "effect"] == pytest.approx(1.0, abs=3 * table.loc[(arm, feature), "se"])
        assert table.loc[(arm, feature), "p_value"] < 1e-6
    assert table.loc[("a", "at the mean"), "effect"] == pytest.approx(0.3, abs=0.2)
    terms = [term for arm, term in table.index if arm == "a"]
    assert {"x0 is missing", "c0 = red"} <= set(terms)
    assert (
        len([term for term in terms if term.startswith("c0 =")]) == 3
    )  # the fourth, missing, is what they differ from


def test_a_full_category_has_a_reference():
    world = make_world(2000, arms=("a",), outcome="continuous", categorical=1, random_state=1)
    terms = [row["term"] for row in fit(world).regression().to_dicts()]
    most = world.X["c0"].value_counts().idxmax()
    assert sorted(t for t in terms if t.startswith("c0")) == sorted(
        f"c0 = {level}" for level in ("red", "green", "blue") if level != most
    )


def test_units_of_a_feature_scale_its_coefficient():
    table = fit().regression().to_pandas().set_index(["arm", "term"])
    cents = WORLD.X.assign(x0=100 * WORLD.X["x0"])
    other = LinearDRLearner(**SMALL).fit(cents, WORLD.y, WORLD.treatment, propensity=WORLD.propensity)
    again = other.regression().to_pandas().set_index(["arm", "term"])
    assert again.loc[("a", "x0"), "effect"] == pytest.approx(table.loc[("a", "x0"), "effect"] / 100, rel=1e-4)
    assert again.loc[("a", "x0"), "se"] == pytest.approx(table.loc[("a", "x0"), "se"] / 100, rel=1e-4)


def test_intervals_hold_the_prediction_and_narrow_with_alpha():
    model = fit()
    middle = model.predict(WORLD.X)
    wide, narrow = (model.predict_interval(WORLD.X, alpha=alpha) for alpha in (0.05, 0.5))
    assert wide.low.shape == wide.high.shape == (3000, 2)
    assert (wide.low < narrow.low).all()
    assert (narrow.low < middle).all()
    assert (middle < narrow.high).all()
    assert (narrow.high < wide.high).all()
    np.testing.assert_allclose((wide.low + wide.high) / 2, middle, atol=1e-9)
    for alpha in (0, 1, -0.1):
        with pytest.raises(InputError, match="alpha"):
            model.predict_interval(WORLD.X, alpha=alpha)


def test_each_row_has_its_own_interval(tmp_path):
    model = fit()
    low, high = model.predict_interval(WORLD.X)
    again = load(save(model, tmp_path / "model"))
    for other in (model, again):
        part = other.predict_interval(WORLD.X.iloc[7:9])
        np.testing.assert_array_equal(part.low, low[7:9])
        np.testing.assert_array_equal(part.high, high[7:9])
    pd.testing.assert_frame_equal(again.regression().to_pandas(), model.regression().to_pandas())


def test_the_effect_may_depend_on_named_features_only():
    model = fit(features=["x0", "c0"])
    told = model.explain(WORLD.X[:50])
    used = np.abs(told.values).max(axis=(0, 1)) > 0
    assert {feature for feature, flag in zip(told.features, used, strict=True) if flag} == {"x0", "c0"}
    assert told.exact
    everything = fit()
    widths = [np.subtract(*m.predict_interval(WORLD.X)[::-1]).mean() for m in (model, everything)]
    assert widths[0] < 0.7 * widths[1]
    with pytest.raises(InputError, match="x0"):
        fit(features=["xO"])
    array = WORLD.X.drop(columns="c0").to_numpy()
    by_place = LinearDRLearner(**SMALL, features=[0]).fit(array, WORLD.y, WORLD.treatment, propensity=WORLD.propensity)
    assert (by_place.feature_importance().to_numpy()[1:] == 0).all()


def test_without_features_it_is_the_mean_effect():
    world = make_world(4000, arms=("a",), effect="constant", outcome="continuous", random_state=1)
    model = fit(world, features=[])
    low, high = model.predict_interval(world.X[:3])
    assert np.ptp(model.predict(world.X)) == 0
    assert low[0, 0] < 1.0 < high[0, 0]
    assert high[0, 0] - low[0, 0] == pytest.approx(4 * 1.0 / np.sqrt(4000) * 1.96, rel=0.25)


def test_effects_that_were_shrunk_have_no_such_intervals():
    from copy import copy
    from dataclasses import replace

    model = copy(fit())
    model.program_ = replace(
        model.program_, arms=tuple((replace(terms[0], weight=0.5),) for terms in model.program_.arms)
    )
    with pytest.raises(InputError, match="shrunk"):
        model.predict_interval(WORLD.X)


def test_shared_arm_intervals():
    """Another arm's noise widens nobody else's interval: each arm has its own."""
    noisy = WORLD.y.copy()
    other = WORLD.treatment == "b"
    noisy[other] += 50 * np.random.default_rng(0).normal(size=other.sum())
    calm = fit().predict_interval(WORLD.X)
    wild = (
        LinearDRLearner(**SMALL)
        .fit(WORLD.X, noisy, WORLD.treatment, propensity=WORLD.propensity)
        .predict_interval(WORLD.X)
    )
    np.testing.assert_array_equal(wild.low[:, 0], calm.low[:, 0])
    np.testing.assert_array_equal(wild.high[:, 0], calm.high[:, 0])
    assert ((wild.high - wild.low)[:, 1] > 5 * (calm.high - calm.low)[:, 1]).all()


def test_combinations_are_left_out_and_nothing_else():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    alone = np.eye(50)[1]  # a column that a direction taken in place of a combination may fall on
    columns = np.column_stack([a, 2 * a + 3, b, a - b, np.zeros(50), np.ones(50), 1e-9 * alone, alone])
    assert independent(columns).tolist() == [0, 2, 6]
    for _ in range(50):
        mixed = rng.permutation(8)
        kept = independent(columns[:, mixed])
        assert np.linalg.matrix_rank(np.column_stack([np.ones(50), columns[:, mixed[kept]] * 1.0]), tol=1e-12) == 4
    assert independent(rng.normal(size=(5, 9))).tolist() == [0, 1, 2, 3]  # no more than rows
