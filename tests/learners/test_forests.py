"""Forests grown by causalml: the same trees as theirs, kept as text, without what is wrong around them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.learners import CausalForest, UpliftForest, load, save
from uplift.learners._causalml_import import causalml_module
from uplift.learners._scorers import BoosterScorer
from uplift.learners._trees import Tree, TreeDesign, inherited, lightgbm_text, summed_up

SMALL = {"control": "control", "n_estimators": 12, "min_samples_leaf": 20, "random_state": 0}
FORESTS = (CausalForest, UpliftForest)
WORLD = make_world(3000, arms=("a", "b"), outcome="binary", scale=0.2, categorical=1, missing=0.1, random_state=0)


def fit(cls, world=WORLD, **more):
    given = {name: more.pop(name) for name in ("propensity", "sample_weight", "groups") if name in more}
    given.setdefault("propensity", world.propensity)
    return cls(**{**SMALL, **more}).fit(world.X, world.y, world.treatment, **given)


def grown(X, treatment, y, **params):
    """causalml's own tree, and the same as ours."""
    tree = causalml_module("causalml.inference.tree").CausalTreeRegressor(
        criterion="causal_mse", control_name=0, groups_cnt=False, min_samples_leaf=20, random_state=0, **params
    )
    tree.fit(X=X, treatment=treatment, y=y)
    theirs = tree.tree_
    means = theirs.value[:, :, 0]
    ours = Tree(
        left=theirs.children_left,
        right=theirs.children_right,
        column=theirs.feature,
        threshold=theirs.threshold,
        missing_left=theirs.missing_go_to_left.astype(bool),
        rows=theirs.n_node_samples.astype(float),
        value=means[:, 1] - means[:, 0],
    )
    return tree, ours


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_text_says_what_causalmls_tree_says(missing):
    """On numbers, categories and missing values, for rows that the tree has not seen either."""
    world = make_world(3000, arms=("a",), outcome="continuous", categorical=1, random_state=1)
    rng = np.random.default_rng(0)
    matrix = np.column_stack([world.X.iloc[:, :8], world.X["c0"].cat.codes]).astype(np.float32)
    matrix[rng.random(matrix.shape) < missing] = np.nan
    y = world.y + (matrix[:, 8] == 1) * (world.treatment == "a") + 2 * np.isnan(matrix[:, 1]) * (world.treatment == "a")
    design = TreeDesign.learn(matrix, [8])
    assert design.levels[-3:] == (0, 1, 2)
    columns = design.transform(matrix)
    tree, ours = grown(columns[:2000], (world.treatment == "a").astype(int)[:2000], y[:2000], honesty=False)
    assert ours.left[0] > 0
    scorer = BoosterScorer(lightgbm_text([ours], design, 9), "identity", 0.0, 1.0, 9)
    for rows in (slice(None, 2000), slice(2000, None)):
        np.testing.assert_allclose(scorer.values(matrix[rows], 1), tree.predict(columns[rows]), atol=1e-12)
    used = set(np.flatnonzero(scorer.gain(9)))
    assert used == {design.features[c] for c in ours.column[ours.left >= 0]}


def test_a_split_that_tells_missing_from_present():
    """Growers write an infinite threshold there, which LightGBM's format has no word for."""
    split = Tree(
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        column=np.array([0, -1, -1]),
        threshold=np.array([np.inf, 0, 0]),
        missing_left=np.array([False] * 3),
        rows=np.array([3.0, 2, 1]),
        value=np.array([0.0, 1, 2]),
    )
    scorer = BoosterScorer(lightgbm_text([split], TreeDesign((0,), (-1,)), 1), "identity", 0.0, 1.0, 1)
    assert scorer.values(np.array([[-1e30], [1e30], [np.nan]], dtype=np.float32), 1).tolist() == [1, 1, 2]


def test_a_tree_that_never_splits():
    scorer = BoosterScorer(lightgbm_text([Tree.leaf(0.25)] * 2, TreeDesign((), ()), 3), "identity", 0.0, 0.5, 3)
    matrix = np.zeros((4, 3), dtype=np.float32)
    np.testing.assert_array_equal(scorer.values(matrix, 1), 0.25)
    np.testing.assert_allclose(scorer.contributions(matrix, 1), [[0, 0, 0, 0.25]] * 4)


def test_sums_go_up_and_values_come_down():
    left, right = np.array([1, -1, 3, -1, -1]), np.array([2, -1, 4, -1, -1])
    sums = summed_up(left, right, np.array([0.0, 1, 0, 2, 4])[:, None])
    assert sums.ravel().tolist() == [7, 1, 6, 2, 4]
    known = np.array([True, False, False, True, False])
    assert inherited(left, right, np.array([9.0, 1, 2, 3, 4]), known).tolist() == [9, 9, 9, 3, 9]


@pytest.mark.parametrize("cls", FORESTS)
def test_shap_values_add_up(cls):
    model = fit(cls)
    told = model.explain(WORLD.X[:200])
    np.testing.assert_allclose(told.values.sum(axis=-1) + told.baseline, model.predict(WORLD.X[:200]), atol=1e-12)
    assert told.exact
    assert model.feature_importance()["a"].idxmax() == "x0"
    assert model.feature_importance()["b"].idxmax() == "x1"


@pytest.mark.parametrize("cls", FORESTS)
def test_the_same_from_any_number_of_threads_and_after_reload(cls, tmp_path):
    model = fit(cls)
    effects = model.predict(WORLD.X)
    two = fit(cls, n_jobs=2)
    assert [t[0].scorer.text for t in two.program_.arms] == [t[0].scorer.text for t in model.program_.arms]
    again = load(save(model, tmp_path / "forest"))
    np.testing.assert_array_equal(again.set_params(n_jobs=2).predict(WORLD.X), effects)
    assert {path.suffix for path in (tmp_path / "forest").iterdir()} == {".json", ".txt"}


@pytest.mark.parametrize("cls", FORESTS)
def test_texts_and_missing_values_as_they_are(cls):
    rng = np.random.default_rng(0)
    city = rng.choice(["wuhan", "beijing", "lhasa", None], 6000)
    X = pd.DataFrame({"city": city, "x": rng.normal(size=6000)})
    treated = rng.integers(0, 2, 6000)
    y = (rng.random(6000) < 0.3 + 0.4 * treated * (city == "wuhan")).astype(int)
    model = cls(control=0, n_estimators=30, random_state=0).fit(X, y, treated, propensity={0: 0.5, 1: 0.5})
    effects = model.predict(X)[:, 0]
    assert effects[city == "wuhan"].mean() == pytest.approx(0.4, abs=0.07)
    assert np.abs(effects[city != "wuhan"].mean()) < 0.05


def hidden_driver(n: int, seed: int = 0):
    """Who is chosen depends on something that drives the outcome and is not among the features."""
    rng = np.random.default_rng(seed)
    driver = rng.random(n) < 0.5
    chance = np.where(driver, 0.8, 0.2)
    treated = (rng.random(n) < chance).astype(int)
    X = rng.normal(size=(n, 3))
    y = (rng.random(n) < 0.2 + 0.4 * driver + 0.2 * treated * (X[:, 0] > 0)).astype(int)
    return X, y, treated, np.column_stack([1 - chance, chance])


@pytest.mark.parametrize("cls", FORESTS)
def test_known_propensities_count_in_splits_and_leaves(cls):
    X, y, treated, chances = hidden_driver(8000)
    model = cls(control=0, n_estimators=30, random_state=0)
    right = model.fit(X, y, treated, propensity=chances).predict(X)[:, 0]
    assert right[X[:, 0] > 0.2].mean() == pytest.approx(0.2, abs=0.05)
    assert right[X[:, 0] < -0.2].mean() == pytest.approx(0.0, abs=0.05)
    ignored = model.fit(X, y, treated, propensity={0: 0.5, 1: 0.5}).predict(X)[:, 0]
    assert ignored.mean() > right.mean() + 0.15


@pytest.mark.parametrize("cls", FORESTS)
def test_weights_of_zero_are_rows_that_are_not_there(cls):
    keep = np.random.default_rng(0).random(3000) < 0.5
    model = fit(cls, sample_weight=keep.astype(float))
    wild = WORLD.y.copy()
    wild[~keep] = 1 - wild[~keep]
    other = cls(**SMALL).fit(
        WORLD.X, wild, WORLD.treatment, propensity=WORLD.propensity, sample_weight=keep.astype(float)
    )
    np.testing.assert_array_equal(model.predict(WORLD.X), other.predict(WORLD.X))


def test_honest_leaves_are_not_flattered(proof):
    """Without any effect, a leaf that was chosen for its effect shows one unless other rows speak for it."""
    world = make_world(3000, arms=("a",), effect="none", outcome="continuous", random_state=2)
    settings = {"control": "control", "n_estimators": 20, "min_samples_leaf": 20, "max_depth": 8, "random_state": 0}
    honest, same = (
        CausalForest(**settings, honest=flag).fit(world.X, world.y, world.treatment, propensity=world.propensity)
        for flag in (True, False)
    )
    spread, flattered = (model.predict(world.X).std() for model in (honest, same))
    assert proof(
        "learners/forests", "spread of effects where there are none, splits and leaves from the same rows over honest",
        method="causal_forest, honest=False", target="above 2", figure=f"{flattered / spread:.1f}",
        holds=flattered > 2 * spread, planted=True,
    )  # fmt: skip


def their_forest(X, treated, y, **params):
    forest = causalml_module("causalml.inference.tree").CausalRandomForestRegressor(
        n_estimators=20, min_samples_leaf=40, control_name=0, groups_cnt=False, random_state=0, **params
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer warns of its own future signature: not ours to mend
        return forest.fit(X=X, treatment=treated, y=y)


def test_a_constant_added_to_the_outcome(proof):
    """causalml's forest bags by weights and counts rows, so a constant changes its splits; ours is the same."""
    world = make_world(2000, arms=("a",), outcome="continuous", random_state=3)
    treated = (world.treatment == "a").astype(int)
    X = world.X.to_numpy()

    def error(effects):
        return np.sqrt(np.mean((np.ravel(effects) - world.effects[:, 0]) ** 2))

    before, after = (error(their_forest(X, treated, y, groups_penalty=0).predict(X)) for y in (world.y, world.y + 64))
    caught = proof(
        "learners/forests", "RMSE of the effects, and after 64 is added to every outcome",
        method="causalml's causal forest (bags by weights, counts rows)", target="1.3 times as large",
        figure=f"{before:.2f}, then {after:.2f}", holds=after > 1.3 * before, planted=True,
    )  # fmt: skip
    ours = [
        CausalForest(control="control", n_estimators=20, min_samples_leaf=20, random_state=0)
        .fit(X, y, world.treatment, propensity=world.propensity)
        .predict(X)
        for y in (world.y, world.y + 64)
    ]
    moved = np.abs(ours[0] - ours[1]).max()
    assert proof(
        "learners/forests", "the same", method="causal_forest", target="the same effects to 1e-6",
        figure=f"{error(ours[0]):.2f}, then {error(ours[1]):.2f}", holds=moved < 1e-6,
    )  # fmt: skip
    assert caught


def test_counts_are_not_weighed_against_effects(proof):
    """causalml's default penalty makes its first splits balance the arms' counts, however plain the effect is."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4))
    treated = rng.integers(0, 2, 3000)
    y = 0.01 * (rng.normal(size=3000) + 2.0 * treated * (X[:, 0] > 0))  # the smaller the unit, the heavier the counts
    roots = [tree.tree_.feature[0] for tree in their_forest(X, treated, y).estimators_]
    share = np.mean(np.array(roots) == 0)
    caught = proof(
        "learners/forests", "first splits on the one feature that the effect depends on",
        method="causalml's causal forest as it comes (groups_penalty = .5)", target="below half of the trees",
        figure=f"{share:.0%}", holds=share < 0.5, planted=True,
    )  # fmt: skip
    ours = CausalForest(control=0, n_estimators=20, random_state=0).fit(X, y, treated, propensity={0: 0.5, 1: 0.5})
    gain = ours.feature_importance()[1].to_numpy()
    assert proof(
        "learners/forests", "gain on the one feature that the effect depends on", method="causal_forest",
        target="above 90 %", figure=f"{gain[0] / gain.sum():.1%}", holds=gain[0] > 0.9 * gain.sum(),
    )  # fmt: skip
    assert caught
    assert np.abs(ours.predict(X)[:, 0] - 0.02 * (X[:, 0] > 0)).mean() < 0.0015


def test_importing_causalml_changes_nothing_for_others(tmp_path, monkeypatch, caplog):
    """Shown on a module that does what causalml and its packages do when they are imported."""
    import matplotlib

    (tmp_path / "restyling.py").write_text(
        "import logging, matplotlib, warnings\n"
        "matplotlib.rcParams['axes.grid'] = not matplotlib.rcParams['axes.grid']\n"
        "warnings.warn('deprecated', DeprecationWarning)\n"
        "warnings.simplefilter('always')\n"
        "logging.getLogger('duecredit').error('Failed to import duecredit')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    style, filters = matplotlib.rcParams["axes.grid"], list(warnings.filters)
    causalml_module("restyling")
    assert matplotlib.rcParams["axes.grid"] == style
    assert list(warnings.filters) == filters
    assert not caplog.records
    assert causalml_module("restyling").__name__ == "restyling"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_estimators": 0}, "n_estimators"),
        ({"subsample": 1.5}, "subsample"),
        ({"max_features": 0}, "max_features"),
        ({"max_features": 1.5}, "max_features"),
        ({"max_depth": 0, "min_samples_arm": 0}, "(?s)max_depth.*min_samples_arm"),
    ],
)
def test_wrong_parameters_are_said_at_once(params, message):
    with pytest.raises(InputError, match=message):
        fit(CausalForest, **params)


def test_uplift_forests_own_parameters():
    for params in ({"criterion": "CTS"}, {"n_reg": -1}):
        with pytest.raises(InputError, match=next(iter(params))):
            fit(UpliftForest, **params)
    effects = [fit(UpliftForest, criterion=one).predict(WORLD.X) for one in ("KL", "ED", "Chi")]
    assert not np.allclose(effects[0], effects[1])
    assert all(np.corrcoef(one[:, 0], WORLD.effects[:, 0])[0, 1] > 0.5 for one in effects)
