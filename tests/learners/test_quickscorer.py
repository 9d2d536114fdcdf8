"""The compiled trees: LightGBM's numbers to the bit, or none."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from uplift.learners import _scorers
from uplift.learners._quickscorer import BLOCK, compile_trees
from uplift.learners._scorers import BoosterScorer, ConstantScorer, values_at


def table(n, seed=0):
    """Numbers with and without gaps, huge and tiny ones, whole ones that are thresholds too, and a category."""
    rng = np.random.default_rng(seed)
    columns = [
        rng.integers(0, 30, n),
        rng.normal(size=n),
        np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
        rng.integers(-3, 4, n),
        rng.normal(size=n) * 1e30,
        rng.normal(size=n) * 1e-30,
    ]
    X = np.column_stack(columns).astype(np.float32)
    y = np.isin(X[:, 0], (1, 4, 9, 22)) + X[:, 1] * (X[:, 3] > 0) + np.nan_to_num(X[:, 2], nan=1.0) + X[:, 4] / 1e30
    return X, y + rng.normal(size=n)


def booster(X, y, rounds=40, **params):
    settings = {"objective": "regression", "num_leaves": 15, "verbosity": -1, "num_threads": 1, "seed": 0, **params}
    made = lightgbm.train(settings, lightgbm.Dataset(X, y, categorical_feature=[0], params=settings), rounds)
    return lightgbm.Booster(model_str=made.model_to_string())


@pytest.mark.parametrize("leaves", [2, 7, 32])
@pytest.mark.parametrize("objective", ["regression", "binary"])
def test_the_same_to_the_bit(leaves, objective):
    X, y = table(4000)
    model = booster(X, y > y.mean() if objective == "binary" else y, num_leaves=leaves, objective=objective)
    odd, _ = table(3 * BLOCK + 17, seed=1)
    odd[::7, 1] = np.nan  # where nothing was missing in training
    odd[::11, 0] = np.nan
    odd[::13, 0] = 77  # a category never seen
    odd[::17, 0] = -1
    odd[::19, 3] = np.inf
    odd[::23, 4] = -np.inf
    compiled = compile_trees(model.model_to_string())
    expected = model.predict(odd, raw_score=True)
    for threads in (1, 2, 5):
        np.testing.assert_array_equal(compiled.scores(odd, threads), expected)
        none = np.zeros(0, dtype=np.intp)
        for rows in (np.arange(5, len(odd), 3), np.array([2, 700]), np.arange(len(odd)), none):  # where they lie
            np.testing.assert_array_equal(compiled.scores(odd, threads, rows), expected[rows])
            np.testing.assert_array_equal(compiled.places(odd, rows, threads), compiled.places(odd, rows, 1))
    for few in (odd[:1], odd[:BLOCK], odd[:0]):
        np.testing.assert_array_equal(compiled.scores(few, 2), expected[: len(few)])


def test_however_the_table_lies_in_memory():
    X, y = table(3 * BLOCK + 7)
    trees = compile_trees(booster(X, y, rounds=15).model_to_string())
    wanted, rows = trees.scores(X, 1), np.arange(2, len(X), 3)
    places = trees.places(X, rows, 1)
    assert places.shape == (15, len(rows))
    by_column = np.asfortranarray(X)
    for other in (by_column, by_column[BLOCK + 5 :], np.hstack([X, X])[:, : X.shape[1]]):
        some = rows[rows < len(other)]
        np.testing.assert_array_equal(trees.scores(other, 2), wanted[len(X) - len(other) :])
        np.testing.assert_array_equal(trees.scores(other, 2, some), trees.scores(other, 1)[some])
        np.testing.assert_array_equal(trees.places(other, some, 2), trees.places(other.copy(), some, 1))
    np.testing.assert_array_equal(trees.places(by_column, rows, 2), places)


def test_thresholds_that_are_no_single_precision_numbers():
    """Just above and just below a threshold in double precision: the side must be LightGBM's."""
    X = np.repeat(np.float32([0.1, np.nextafter(np.float32(0.1), np.float32(1))]), 200)[:, None]
    y = np.repeat([0.0, 1.0], 200)
    model = booster(np.column_stack([np.zeros(400, np.float32), X]), y, rounds=3, min_data_in_leaf=5)
    rows = np.column_stack([np.zeros(400, np.float32), X])
    scores = compile_trees(model.model_to_string()).scores(rows, 1)
    np.testing.assert_array_equal(scores, model.predict(rows, raw_score=True))
    assert scores[0] != scores[-1]


def test_trees_without_a_split():
    X, _ = table(300)
    model = booster(X, np.arange(300.0), rounds=4, min_data_in_leaf=290)
    np.testing.assert_array_equal(compile_trees(model.model_to_string()).scores(X, 1), model.predict(X))


@pytest.mark.parametrize(
    "params",
    [
        {"num_leaves": 40, "min_data_in_leaf": 5},
        {"linear_tree": True},
        {"zero_as_missing": True},
        {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
        {"objective": "multiclass", "num_class": 3},
    ],
)
def test_what_cannot_be_scored_is_left_to_lightgbm(params):
    X, y = table(2000)
    model = booster(X, np.digitize(y, [-1, 1]) if "num_class" in params else y, rounds=5, **params)
    assert compile_trees(model.model_to_string()) is None


def test_a_scorer_compiles_for_many_rows_only_and_checks_itself(monkeypatch):
    X, y = table(3000)
    scorer = BoosterScorer(booster(X, y).model_to_string(), "identity", 1.0, 2.0, 6)
    monkeypatch.setattr(_scorers, "_worth_compiling", _scorers._Worth())
    plain = scorer.raw(X, 1)
    assert "compiled" not in scorer._cache
    monkeypatch.setattr(_scorers, "WORTH_COMPILING", 1)
    scorer.raw(X, 1)
    assert "compiled" not in scorer._cache, "loading is not worth it yet"
    monkeypatch.setattr(_scorers, "WORTH_LOADING", 2 * 3000 * scorer.booster.num_trees())
    np.testing.assert_array_equal(scorer.raw(X, 1), plain)
    assert scorer._cache["compiled"] is not None

    wrong = compile_trees(scorer.text)
    wrong.leaves[0] += 1.0
    monkeypatch.setattr(_scorers, "compile_trees", lambda text: wrong)
    again = BoosterScorer(scorer.text, "identity", 1.0, 2.0, 6)
    np.testing.assert_array_equal(again.raw(X, 1), plain)
    assert again._cache["compiled"] is None


def test_some_rows_where_they_lie_or_copied(monkeypatch):
    """The same numbers either way; a scorer that knows nothing of rows gets copies."""
    monkeypatch.setattr(_scorers, "BLOCK", 100)
    monkeypatch.setattr(_scorers, "WORTH_LOADING", 1)
    X, y = table(2000)
    rows = np.arange(3, 2000, 4)
    scorer = BoosterScorer(booster(X, y).model_to_string(), "logistic", 0.5, 2.0, X.shape[1])
    expected = scorer.values(X, 1)[rows]
    assert scorer.values_at(X, rows, 2) is None  # too few rows to compile for
    np.testing.assert_array_equal(values_at(scorer, X, rows, 2), expected)
    monkeypatch.setattr(_scorers, "WORTH_COMPILING", 1)
    assert scorer.values_at(X, rows, 2) is not None
    np.testing.assert_array_equal(values_at(scorer, X, rows, 2), expected)
    np.testing.assert_array_equal(values_at(ConstantScorer(3.0), X, rows, 2), np.full(len(rows), 3.0))
    assert len(values_at(scorer, X, rows[:0], 2)) == 0


def test_where_machine_code_cannot_be_kept(monkeypatch):
    """A read-only installation without a home: numba refuses to cache, and scoring goes on."""
    import numba

    from uplift.learners import _quickscorer

    original, asked = numba.njit, []

    def refusing(**options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'score': no locator available")
        return original(**options)

    monkeypatch.setattr(numba, "njit", refusing)
    _quickscorer._kernel.cache_clear()
    try:
        X, y = table(2000)
        model = booster(X, y, rounds=5)
        scores = compile_trees(model.model_to_string()).scores(X, 1)
    finally:
        _quickscorer._kernel.cache_clear()
    assert asked == [True, False]
    np.testing.assert_array_equal(scores, model.predict(X, raw_score=True))
