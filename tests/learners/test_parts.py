"""Many rows: parts of them take turns in finding splits, all of them value the leaves."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.learners import DRLearner, SLearner, TLearner, XLearner, _parts, load, save
from uplift.learners._bins import Bins
from uplift.learners._booster import booster_settings, fit_classifier, fit_regressor
from uplift.learners._quickscorer import compile_trees

ROUNDS, RATE, L2, PARTS = 25, 0.2, 3.0, 3


def settings(threads=1, parts=PARTS, rows=1000, rounds=ROUNDS, **changes):
    problems = []
    given = {
        "num_leaves": 7, "learning_rate": RATE, "min_child_samples": 30, "reg_lambda": L2, "extra_params": None,
        "rows_per_tree": rows, "most_parts": parts, **changes,
    }  # fmt: skip
    made = booster_settings(n_estimators=rounds, seed=3, threads=threads, problems=problems, **given)
    assert not problems
    return made


def data(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.integers(0, 12, n),
            rng.normal(size=n),
            np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            rng.normal(size=n),
        ]
    ).astype(np.float32)
    score = np.isin(X[:, 0], (1, 4, 9)) + X[:, 1] * (X[:, 3] > 0) + np.nan_to_num(X[:, 2], nan=1.0)
    return X, score, rng


def fitted(fit, X, y, weight=None, chosen=None, **changes):
    rows = np.arange(len(X)) if chosen is None else chosen
    weight = np.ones(len(rows)) if weight is None else weight
    return fit(settings(**changes), Bins(X, [0]), rows, y[rows], weight)


def test_rows_are_cut_into_parts_of_equal_size():
    parts = _parts.cut(1001, 4, seed=1)
    assert sorted(len(part) for part in parts) == [250, 250, 250, 251]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(1001))
    assert all((np.diff(part) > 0).all() for part in parts)
    assert any((one != other[: len(one)]).any() for one, other in zip(parts, _parts.cut(1001, 4, seed=2), strict=True))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("logistic", [False, True])
def test_every_leaf_has_the_value_that_all_rows_give_it(logistic, weighted):
    """Tree by tree, with LightGBM telling who is in which leaf."""
    X, score, rng = data()
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-score))).astype(float) if logistic else score + rng.normal(size=len(X))
    rows = np.flatnonzero(rng.random(len(X)) < 0.9)
    weight = rng.uniform(0.5, 2.0, len(rows)) if weighted else np.ones(len(rows))
    scorer = fitted(fit_classifier if logistic else fit_regressor, X, y, weight, rows)
    booster = scorer.booster
    leaf = booster.predict(X[rows], pred_leaf=True)
    table = booster.trees_to_dataframe()
    target = y[rows] if logistic else (y[rows] - scorer.offset) / scorer.scale
    w = weight / weight.mean()
    mean = np.average(target, weights=w)
    base = np.log(mean / (1 - mean)) if logistic else mean
    now = np.full(len(rows), base)
    assert booster.num_trees() == ROUNDS
    for tree in range(ROUNDS):
        leaves = table[(table.tree_index == tree) & table.left_child.isna()]
        expected = 1 / (1 + np.exp(-now)) if logistic else now
        pull, curve = w * (target - expected), w * expected * (1 - expected) if logistic else w
        values = {}
        for _, one in leaves.iterrows():
            number = int(one.node_index.split("L")[1])
            inside = leaf[:, tree] == number
            values[number] = RATE * pull[inside].sum() / (curve[inside].sum() + L2)
            assert one["count"] == inside.sum()
            assert one["value"] - (base if tree == 0 else 0.0) == pytest.approx(values[number], rel=1e-4, abs=1e-6)
        now += np.array([values[number] for number in leaf[:, tree]])


@pytest.mark.parametrize("fit", [fit_regressor, fit_classifier])
def test_what_growing_has_compiled_is_what_is_written(fit):
    """Categories, missing values and trees without a split among them; so no text is read again before scoring."""
    X, score, rng = data()
    y = (score > 0.5).astype(float) if fit is fit_classifier else score + rng.normal(size=len(X))
    scorer = fit(settings(min_child_samples=150), Bins(X, [0]), np.arange(len(X)), y, np.ones(len(X)))
    grown, read = scorer._cache["grown"], compile_trees(scorer.text)
    assert (read.table >= 0).any()
    for name in ("feature", "tree", "threshold", "missing_left", "mask", "leaves", "number"):
        np.testing.assert_array_equal(getattr(grown, name), getattr(read, name), err_msg=name)
        assert getattr(grown, name).dtype == getattr(read, name).dtype
    coded = read.table >= 0
    np.testing.assert_array_equal(grown.table >= 0, coded)
    np.testing.assert_array_equal(grown.codes[grown.table[coded]], read.codes[read.table[coded]])
    np.testing.assert_array_equal(grown.scores(X, 1), read.scores(X, 1))


def test_what_is_written_is_a_model_like_any_other():
    X, score, rng = data()
    scorer = fitted(fit_regressor, X, score + rng.normal(size=len(X)))
    raw = scorer.booster.predict(X, raw_score=True)
    np.testing.assert_array_equal(compile_trees(scorer.text).scores(X, 1), raw)
    shap = scorer.booster.predict(X, pred_contrib=True)
    np.testing.assert_allclose(shap.sum(axis=1), raw, atol=1e-6)
    assert shap[0, -1] == pytest.approx(raw.mean(), abs=1e-6)  # counts and values of all rows
    again = lightgbm.Booster(model_str=scorer.booster.model_to_string())
    np.testing.assert_array_equal(again.predict(X, raw_score=True), raw)


@pytest.mark.parametrize("fit", [fit_regressor, fit_classifier])
def test_the_same_whatever_the_threads(fit):
    X, score, rng = data(9000)
    y = score + rng.normal(size=len(X))
    y = (y > 0).astype(float) if fit is fit_classifier else y
    first = fitted(fit, X, y)
    assert all(fitted(fit, X, y, threads=threads).text == first.text for threads in (2, 3))
    assert fitted(fit, X, y, parts=1).text != first.text


def test_bins_are_the_same_however_the_features_lie_in_memory():
    """Column after column they go to LightGBM as Arrow's, without a copy; categories and missing values among them."""
    X, score, rng = data(9000)
    y = score + rng.normal(size=len(X))
    assert X.flags.c_contiguous
    assert fitted(fit_regressor, np.asfortranarray(X), y).text == fitted(fit_regressor, X, y).text


def test_a_turn_may_be_longer():
    """Other trees, valued the same way; and settings that grow other trees are told apart."""
    X, score, rng = data()
    y = score + rng.normal(size=len(X))
    short, long = (fitted(fit_regressor, X, y, turn=turn) for turn in (5, ROUNDS))
    assert short.booster.num_trees() == long.booster.num_trees() == ROUNDS
    assert short.text != long.text
    assert settings(turn=5).key(3000) != settings(turn=ROUNDS).key(3000)
    assert settings(turn=5).key(500) == settings(turn=ROUNDS).key(500)  # one part takes all turns


def test_few_rows_and_what_bears_on_leaves_are_left_as_they_are():
    assert [settings().parts(m) for m in (500, 1999, 2000, 3000, 10**6)] == [1, 1, 2, 3, 3]
    assert settings(rows=None).parts(10**6) == 1
    assert settings(num_leaves=33).parts(10**6) == 1
    assert settings(extra_params={"linear_tree": True}).parts(10**6) == 1
    assert settings(extra_params={"max_depth": 3}).parts(10**6) == PARTS
    X, score, _ = data(1500)
    assert fitted(fit_regressor, X, score).text == fitted(fit_regressor, X, score, rows=None).text


def test_nothing_to_split():
    X, _, rng = data()
    X[:] = 1.0
    scorer = fitted(fit_regressor, X, rng.normal(size=len(X)))
    np.testing.assert_allclose(scorer.values(X[:3], 1), scorer.offset, atol=1e-6)


def world(n=16_000, seed=0, effect="linear"):
    return make_world(n, n_features=10, arms=("a",), effect=effect, outcome="continuous", random_state=seed)


def learner(cls, rows, **more):
    more = {"n_estimators": 80, "num_leaves": 15, "learning_rate": 0.1, "min_child_samples": 50, **more}
    return cls(rows_per_tree=rows, random_state=0, **more)


def error(cls, rows, effect, seed):
    one, new = world(seed=seed, effect=effect), world(seed=seed + 100, effect=effect)
    model = learner(cls, rows).fit(one.X, one.y, one.treatment, propensity=one.propensity)
    return float(np.sqrt(np.mean((model.predict(new.X) - new.effects) ** 2)))


@pytest.mark.parametrize("effect", ["linear", "step"])
@pytest.mark.parametrize("cls", [XLearner, DRLearner])
def test_effects_are_at_least_as_close_to_the_truth(cls, effect):
    errors = np.array([[error(cls, rows, effect, seed) for rows in (2000, None)] for seed in range(2)])
    assert errors[:, 0].mean() < errors[:, 1].mean()


@pytest.mark.parametrize("cls", [TLearner, XLearner])
def test_saved_and_loaded_to_the_bit(cls, tmp_path):
    one = world()
    model = learner(cls, 2000).fit(one.X, one.y, one.treatment, propensity=one.propensity)
    plain = learner(cls, None).fit(one.X, one.y, one.treatment, propensity=one.propensity)
    assert (model.predict(one.X) != plain.predict(one.X)).any()
    save(model, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").predict(one.X), model.predict(one.X))
    again = learner(cls, 2000, n_jobs=2).fit(one.X, one.y, one.treatment, propensity=one.propensity)
    np.testing.assert_array_equal(again.predict(one.X), model.predict(one.X))
    explained = model.explain(one.X.iloc[:50])
    np.testing.assert_allclose(
        explained.values.sum(axis=2) + explained.baseline, model.predict(one.X.iloc[:50]), atol=1e-6
    )


def test_s_needs_all_rows():
    one = world(6000)
    few, all_rows = (
        learner(SLearner, rows).fit(one.X, one.y, one.treatment, propensity=one.propensity) for rows in (500, None)
    )
    np.testing.assert_array_equal(few.predict(one.X), all_rows.predict(one.X))


def test_rows_per_tree_is_checked():
    from uplift.errors import InputError

    one = world(600)
    with pytest.raises(InputError, match="rows_per_tree must be at least 1, or None, found 0"):
        learner(DRLearner, 0).fit(one.X, one.y, one.treatment, propensity=one.propensity)
