"""The meta-learners: causalml's numbers where it is right, other ones where it is wrong."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.evaluation.scores import training_of
from uplift.learners import DRLearner, ResponseModel, RLearner, SLearner, TLearner, XLearner, make_learner, save
from uplift.learners._causalml_import import causalml_module
from uplift.learners._training import Training
from uplift.learners.meta import BoostedOutcome
from uplift.metrics.trial import read_trial

META = [SLearner, TLearner, XLearner, RLearner, DRLearner]
SMALL = {"n_estimators": 20, "num_leaves": 4, "min_child_samples": 20, "control": "control", "random_state": 0}


def fitted(cls, world, X=None, propensity=None, **more):
    settings = {**SMALL, **{k: v for k, v in more.items() if k not in ("sample_weight", "groups")}}
    given = {k: v for k, v in more.items() if k in ("sample_weight", "groups")}
    chances = world.propensity if propensity is None else propensity
    return cls(**settings).fit(world.X if X is None else X, world.y, world.treatment, propensity=chances, **given)


def lightgbm_model(world, binary):
    lightgbm = pytest.importorskip("lightgbm")
    kind = lightgbm.LGBMClassifier if binary else lightgbm.LGBMRegressor
    return kind(
        n_estimators=20,
        num_leaves=4,
        learning_rate=0.05,
        min_child_samples=20,
        reg_lambda=1.0,
        n_jobs=1,
        verbose=-1,
        deterministic=True,
        force_row_wise=True,
        random_state=0,
    )


def steps(world):
    """Features of 40 values each, so that bins made of all rows and of one arm's rows are the same."""
    ranks = world.X.rank(pct=True)
    return np.floor(ranks.to_numpy() * 39.99)


@pytest.mark.parametrize("outcome", ["binary", "continuous"])
@pytest.mark.parametrize("kind", ["S", "T"])
def test_s_and_t_agree_with_causalml_called_plainly(kind, outcome):
    world = make_world(1500, arms=("a", "b"), outcome=outcome, random_state=2)
    binary = outcome == "binary"
    plain = getattr(causalml_module("causalml.inference.meta"), f"Base{kind}{'Classifier' if binary else 'Regressor'}")(
        learner=lightgbm_model(world, binary), control_name="control"
    )
    X = steps(world)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM's wrapper on feature names that causalml drops
        plain.fit(X=X, treatment=world.treatment, y=world.y)
        expected = plain.predict(X=X)
    ours = fitted({"S": SLearner, "T": TLearner}[kind], world, X=X).predict(X)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize(("threads", "shares"), [(1, [1, 1, 1]), (2, [1, 1, 2]), (3, [1, 1, 1]), (8, [2, 2, 2])])
def test_threads_are_shared_out_and_the_last_ones_get_more(threads, shares):
    world = make_world(300, random_state=0)
    trial = read_trial(world.y, world.treatment, world.propensity, control="control")
    training, _ = training_of(world.X, trial, np.arange(300) % 3, False, random_state=0, n_jobs=threads)
    assert training.each("abc", lambda alone, one: (one, alone.threads)) == list(zip("abc", shares, strict=True))


@pytest.mark.parametrize(("name", "models"), [("T", 3), ("DR", 9)])
def test_outcome_models_of_all_sides_are_fitted_before_the_first_arm(monkeypatch, name, models):
    """Side by side, so that no thread waits; the arms find them made."""
    happened = []
    learner = make_learner(name, control="control", n_estimators=3, random_state=0)
    original, arm = BoostedOutcome.__call__, type(learner)._fit_arm
    monkeypatch.setattr(BoostedOutcome, "__call__", lambda *given: happened.append("model") or original(*given))
    monkeypatch.setattr(type(learner), "_fit_arm", lambda *given: happened.append("arm") or arm(*given))
    world = make_world(900, arms=("a", "b"), outcome="continuous", random_state=3)
    learner.fit(world.X, world.y, world.treatment, propensity=world.propensity)
    assert happened == ["model"] * models + ["arm"] * 2


def test_s_keeps_only_trees_that_can_make_a_difference(monkeypatch):
    """Amounts: trees without a split on the treatment cancel, so they are neither kept nor scored."""
    from uplift.learners._model_text import split_columns, split_text
    from uplift.learners._scorers import BoosterScorer, ConstantScorer

    world = make_world(3000, arms=("a",), outcome="continuous", random_state=4)
    kept = fitted(SLearner, world)
    monkeypatch.setattr(BoosterScorer, "splitting_on", lambda self, column: self)
    whole = fitted(SLearner, world)
    of_kept, of_whole = (split_text(model.program_.arms[0][0].scorer.text)[1] for model in (kept, whole))
    column = world.X.shape[1]
    assert 0 < len(of_kept) < len(of_whole)
    assert all(column in split_columns(tree) for tree in of_kept)
    np.testing.assert_allclose(kept.predict(world.X), whole.predict(world.X), atol=1e-12)
    np.testing.assert_allclose(kept.explain(world.X[:50]).values, whole.explain(world.X[:50]).values, atol=1e-9)
    monkeypatch.undo()
    scorer = whole.program_.arms[0][0].scorer
    assert scorer.splitting_on(column + 5) == ConstantScorer(0.0)


def test_x_learner_agrees_with_causalml_given_the_same_nuisances(monkeypatch):
    """The arithmetic of pseudo-outcomes and of combining is the same; only the outcome models differ."""
    world = make_world(1500, arms=("a",), outcome="continuous", random_state=2)
    X, w = steps(world), (world.treatment == "a").astype(int)
    plain = causalml_module("causalml.inference.meta").BaseXRegressor(
        learner=lightgbm_model(world, False), control_name=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain.fit(X=X, treatment=w, y=world.y, p=world.propensity[:, 1])
        expected = plain.predict(X=X, p=world.propensity[:, 1])
        mu = {side: plain.models_mu_t[1] if side else plain.model_mu_c for side in (0, 1)}
        known = {side: mu[side].predict(X) for side in (0, 1)}
    monkeypatch.setattr(Training, "outcome_of_others", lambda self, pair, side, fit: known[side][pair.rows])
    ours = XLearner(**{**SMALL, "control": 0}).fit(X, world.y, w, propensity=world.propensity)
    np.testing.assert_allclose(ours.predict(X), expected, atol=1e-5)
    assert ours.program_.arms[0][0].weight == pytest.approx(world.propensity[:, 1].mean())


@pytest.mark.parametrize("cls", META)
def test_probabilities_for_rates_and_amounts_for_money(cls):
    rates = make_world(1500, arms=("a", "b"), random_state=3)
    assert np.abs(fitted(cls, rates).predict(rates.X)).max() < 1
    money = make_world(1500, arms=("a", "b"), outcome="spend", random_state=3)
    assert fitted(cls, money).outcome_ == "continuous"


def test_dr_learner_takes_probabilities_not_labels():
    """causalml's DR classifier puts class labels into the pseudo-outcomes; the mean effect shows it."""
    world = make_world(6000, arms=("a",), effect="constant", propensity={"control": 0.2, "a": 0.8}, random_state=5)
    effect = fitted(DRLearner, world).predict(world.X).mean()
    assert effect == pytest.approx(world.effects.mean(), abs=0.03)


@pytest.mark.parametrize("cls", [*META, ResponseModel])
def test_rows_that_were_not_offered_an_arm_do_not_inform_it(cls):
    world = make_world(1500, arms=("a", "b"), outcome="continuous", random_state=6)
    shares = world.propensity.copy()
    barred = (np.arange(1500) % 3 == 0) & (world.treatment != "b")
    shares[barred] = [0.5, 0.5, 0.0]
    one = fitted(cls, world, propensity=shares).predict(world.X)
    wild = world.y.copy()
    wild[barred] += 1000 * world.X["x2"].to_numpy()[barred]
    object.__setattr__(world, "y", wild)
    two = fitted(cls, world, propensity=shares).predict(world.X)
    np.testing.assert_array_equal(one[:, 1], two[:, 1])
    assert not np.allclose(one[:, 0], two[:, 0])


@pytest.mark.parametrize("cls", [*META, ResponseModel])
def test_sample_weights_count_in_every_learner(cls):
    """causalml takes weights in the R-learner only."""
    world = make_world(1500, arms=("a",), outcome="continuous", random_state=7)
    weight = np.where(world.X["x0"] > 0, 3.0, 0.5)
    one, two = fitted(cls, world), fitted(cls, world, sample_weight=weight)
    assert not np.allclose(one.predict(world.X), two.predict(world.X))
    same = fitted(cls, world, sample_weight=np.full(1500, 7.0))
    np.testing.assert_allclose(one.predict(world.X), same.predict(world.X), atol=1e-12)


@pytest.mark.parametrize("cls", META)
def test_rows_of_weight_zero_do_not_count(cls):
    world = make_world(1500, arms=("a",), outcome="continuous", random_state=7)
    weight = (np.arange(1500) % 5 > 0).astype(float)
    wild = np.where(weight > 0, world.y, 1e6)
    one = fitted(cls, world, sample_weight=weight).predict(world.X)
    object.__setattr__(world, "y", wild)
    np.testing.assert_array_equal(one, fitted(cls, world, sample_weight=weight).predict(world.X))


def test_the_control_is_modelled_once_for_all_arms():
    world = make_world(1500, arms=("a", "b", "c"), random_state=8)
    program = fitted(TLearner, world).program_
    assert len({id(terms[1].scorer) for terms in program.arms}) == 1
    assert len({id(terms[0].scorer) for terms in program.arms}) == 3


def test_an_arm_in_which_nobody_converted():
    world = make_world(1500, arms=("a", "b"), random_state=9)
    object.__setattr__(world, "y", np.where(world.treatment == "b", 0.0, world.y))
    for cls in META:
        effects = fitted(cls, world).predict(world.X)
        assert np.isfinite(effects).all()
        assert effects[:, 1].mean() < -0.2


def test_nothing_of_causalml_or_the_data_stays_behind():
    world = make_world(3000, arms=("a",), outcome="continuous", random_state=1)
    model = fitted(DRLearner, world)
    blob = pickle.dumps(model)
    assert b"causalml" not in blob
    assert world.y.tobytes()[:800] not in blob
    assert len(blob) < 200_000


def test_predicting_does_not_need_causalml_and_importing_it_changes_nothing_else(tmp_path):
    world = make_world(600, arms=("a",), random_state=1)
    save(fitted(XLearner, world), tmp_path / "model")
    world.X.to_pickle(tmp_path / "X.pkl")
    code = f"""
import sys, warnings
import pandas as pd
from uplift.learners import load
model = load({str(tmp_path / "model")!r})
assert model.predict(pd.read_pickle({str(tmp_path / "X.pkl")!r})).shape == (600, 1)
assert "causalml" not in sys.modules, "causalml was imported to predict"
import matplotlib
style = dict(matplotlib.rcParams)
from uplift.learners._causalml_import import causalml_module
filters = list(warnings.filters)
causalml_module("causalml.inference.meta")
assert dict(matplotlib.rcParams) == style, "charts were restyled"
assert warnings.filters == filters, "warning filters were changed"
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_metadata_routing_through_a_pipeline():
    import sklearn
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    world = make_world(600, arms=("a",), random_state=1)
    with sklearn.config_context(enable_metadata_routing=True):
        learner = TLearner(**SMALL).set_fit_request(treatment=True, propensity=True)
        pipeline = Pipeline([("same", FunctionTransformer()), ("uplift", learner)])
        pipeline.fit(world.X, world.y, treatment=world.treatment, propensity=world.propensity)
        effects = pipeline.predict(world.X)
    np.testing.assert_array_equal(effects, fitted(TLearner, world).predict(world.X))


def test_feature_importance_finds_what_moves_the_effect():
    world = make_world(6000, arms=("a", "b"), effect="linear", outcome="continuous", random_state=2)
    table = fitted(DRLearner, world).feature_importance()
    assert list(table.columns) == ["a", "b"]
    assert table.index.name == "feature"
    assert table["a"].idxmax() == "x0"
    assert table["b"].idxmax() == "x1"


@pytest.mark.parametrize("outcome", ["binary", "continuous"])
@pytest.mark.parametrize("cls", META)
def test_explanations_add_up_to_the_effect(cls, outcome):
    world = make_world(1500, arms=("a", "b"), outcome=outcome, categorical=1, missing=0.05, random_state=3)
    model = fitted(cls, world)
    explanation = model.explain(world.X)
    assert explanation.values.shape == (1500, 2, 9)
    total = explanation.values.sum(axis=2) + explanation.baseline
    np.testing.assert_allclose(total, model.predict(world.X), atol=1e-9)
    assert explanation.exact == (outcome == "continuous" or cls in (XLearner, RLearner, DRLearner))
    assert explanation.to_pandas().columns.tolist() == ["arm", "feature", "mean_absolute"]


def test_explanations_name_the_feature_that_moves_the_effect():
    world = make_world(6000, arms=("a",), effect="linear", outcome="binary", scale=0.15, random_state=3)
    for cls in (TLearner, DRLearner):
        assert fitted(cls, world).explain(world.X).to_pandas().iloc[0]["feature"] == "x0"


def test_no_rows_give_no_effects():
    world = make_world(600, arms=("a", "b"), random_state=1)
    assert fitted(TLearner, world).predict(world.X.iloc[:0]).shape == (0, 2)
    assert fitted(TLearner, world).explain(world.X.iloc[:0]).values.shape == (0, 2, 8)


def test_text_columns_need_no_preparation():
    world = make_world(900, arms=("a",), categorical=1, random_state=1)
    as_text = world.X.assign(c0=world.X["c0"].astype(str))
    assert isinstance(as_text, pd.DataFrame)
    np.testing.assert_array_equal(
        fitted(TLearner, world).predict(world.X), fitted(TLearner, world, X=as_text).predict(as_text)
    )


def test_effects_as_a_table_with_names_and_index():
    world = make_world(600, arms=("a", "b"), random_state=1)
    model = fitted(TLearner, world)
    some = world.X.iloc[[5, 3]]
    table = model.effects(some)
    assert list(table.columns) == ["a", "b"]
    assert list(table.index) == [5, 3]
    np.testing.assert_array_equal(table, model.predict(some))


def test_x_asks_of_each_row_the_other_sides_outcome_only():
    from uplift.learners.base import prepare

    world = make_world(600, outcome="continuous", random_state=2)
    learner = XLearner(n_estimators=5, min_child_samples=20, random_state=0)
    _, training = prepare(learner, world.X, world.y, world.treatment, world.propensity)
    pair, fit = training.pair(1), learner.outcome_fitter(training)
    for side in (0, 1):
        alone = training.outcome_of_others(pair, side, fit)
        others = pair.w != side
        assert np.isnan(alone[~others]).all()
        both = training.crossfitted_outcome(pair, side, fit)
        np.testing.assert_array_equal(alone[others], both[others])
        np.testing.assert_array_equal(training.outcome_of_others(pair, side, fit), both)  # known by now


def test_outcome_models_are_handed_out_once():
    """Who asks again needs none; other folds, other rows and other settings are asked for anew."""
    from uplift.learners.base import prepare

    world = make_world(600, outcome="continuous", random_state=2)
    learner = XLearner(n_estimators=5, min_child_samples=20, random_state=0)
    _, training = prepare(learner, world.X, world.y, world.treatment, world.propensity)
    fit = learner.outcome_fitter(training)
    assert len(training.outcome_models(fit, cross_fitted=True)) == 3 * 3  # sides and folds
    assert training.outcome_models(fit, cross_fitted=True) == {}
    assert len(training.outcome_models(fit, cross_fitted=False)) == 3
    part = training.restricted(np.arange(600) < 400)
    assert len(part.outcome_models(fit, cross_fitted=True)) == 3 * 3
    other = XLearner(n_estimators=6, min_child_samples=20, random_state=0).outcome_fitter(training)
    assert len(training.outcome_models(other, cross_fitted=True)) == 3 * 3


def test_what_is_wrong_with_the_rows_is_said_each_time():
    from uplift.learners.base import prepare

    world = make_world(600, random_state=2)
    _, training = prepare(XLearner(random_state=0), world.X, world.y, world.treatment, world.propensity)
    few = training.restricted(np.arange(600) < 20)
    for _ in range(2):
        with pytest.raises(InputError, match="comparable rows"):
            few.pairs()
    assert len(list(training.pairs())) == 2
