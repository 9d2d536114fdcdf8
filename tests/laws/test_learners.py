"""What must hold of every learner, whatever the data; and that no learner is forgotten."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import uplift.learners
from uplift.data.simulator.worlds import World, make_world
from uplift.errors import InputError
from uplift.learners import LEARNERS, BaseUpliftLearner, make_learner

SMALL = {"n_estimators": 12, "num_leaves": 6, "min_child_samples": 20, "random_state": 0}
SMALL |= {"min_samples_leaf": 15, "min_samples_arm": 5}  # of forests
EFFECTS = [name for name, cls in LEARNERS.items() if cls.is_effect]
WORLDS = {
    outcome: make_world(900, arms=("a", "b"), outcome=outcome, categorical=1, missing=0.05, random_state=11)
    for outcome in ("binary", "continuous", "spend")
}
RATES_ONLY = [name for name, cls in LEARNERS.items() if getattr(cls, "binary_only", False)]
ARM_BY_ARM = [name for name, cls in LEARNERS.items() if cls.arm_by_arm]
AMOUNTS = [name for name in LEARNERS if name not in RATES_ONLY]
SUITED = [(name, outcome) for name in LEARNERS for outcome in WORLDS if name in AMOUNTS or outcome == "binary"]


def world_for(name, outcome):
    """The world of that outcome, or of rates for learners that know nothing else."""
    return WORLDS["binary" if name in RATES_ONLY else outcome]


def fit(name, world, *, X=None, y=None, treatment=None, propensity=None, control="control", **more):
    learner = make_learner(name, control=control, **{**SMALL, **more})
    return learner.fit(
        world.X if X is None else X,
        world.y if y is None else y,
        world.treatment if treatment is None else treatment,
        propensity=world.propensity if propensity is None else propensity,
    )


def _abstract(cls):
    return any(getattr(getattr(cls, name, None), "__isabstractmethod__", False) for name in dir(cls))


def test_every_learner_is_registered():
    """A concrete learner in any module of the room must be public and in LEARNERS."""
    found = set()
    for module in pkgutil.iter_modules(uplift.learners.__path__, "uplift.learners."):
        for cls in vars(import_module(module.name)).values():
            if inspect.isclass(cls) and issubclass(cls, BaseUpliftLearner) and not _abstract(cls):
                found.add(cls)
    assert found == set(LEARNERS.values())
    assert all(cls.__name__ in uplift.learners.__all__ for cls in found)


@pytest.mark.parametrize("name", RATES_ONLY)
def test_learners_of_rates_refuse_amounts(name):
    with pytest.raises(InputError, match="0 or 1"):
        fit(name, WORLDS["continuous"])
    with pytest.raises(InputError, match="0 or 1"):
        fit(name, WORLDS["binary"], outcome="continuous")


@pytest.mark.parametrize("name", LEARNERS)
def test_a_row_is_predicted_by_itself(name):
    """Neither order nor company of the rows changes what is predicted."""
    world = WORLDS["binary"]
    model = fit(name, world)
    effects = model.predict(world.X)
    order = np.random.default_rng(0).permutation(len(world.X))
    np.testing.assert_array_equal(model.predict(world.X.iloc[order]), effects[order])
    np.testing.assert_array_equal(model.predict(world.X.iloc[7:9]), effects[7:9])


@pytest.mark.parametrize(("name", "outcome"), SUITED)
def test_names_of_arms_do_not_matter(name, outcome):
    """Renaming arms so that their order turns round only turns the columns round."""
    world = WORLDS[outcome]
    names = {"control": "m", "a": "z", "b": "c"}
    renamed = fit(
        name,
        world,
        treatment=np.array([names[arm] for arm in world.treatment]),
        propensity=world.propensity[:, [0, 2, 1]],
        control="m",
    )
    assert renamed.arms_ == ("c", "z")
    tolerance = 0 if LEARNERS[name].arm_by_arm else 1e-12  # sums over arms are made in another order
    np.testing.assert_allclose(renamed.predict(world.X)[:, ::-1], fit(name, world).predict(world.X), atol=tolerance)


@pytest.mark.parametrize("name", ARM_BY_ARM)
def test_an_arm_does_not_depend_on_other_arms(name):
    """What another arm's members did changes nothing; a learner that pools outcomes over arms fails here."""
    world = world_for(name, "continuous")
    y = world.y.copy()
    other = world.treatment == "b"
    y[other] = 1 - y[other] if name in RATES_ONLY else y[other] + 1e4
    np.testing.assert_array_equal(fit(name, world, y=y).predict(world.X)[:, 0], fit(name, world).predict(world.X)[:, 0])


def test_only_the_ensemble_lets_one_arm_speak_for_another():
    """It weighs its members, and shrinks mean effects, by what all arms say together."""
    assert set(LEARNERS) - set(ARM_BY_ARM) == {"ensemble"}


@pytest.mark.parametrize("name", LEARNERS)
def test_fits_are_identical_whatever_the_threads(name, proof):
    world = world_for(name, "spend")
    model = fit(name, world)
    effects = model.predict(world.X)
    np.testing.assert_array_equal(fit(name, world).predict(world.X), effects)
    again = clone(model).fit(world.X, world.y, world.treatment, propensity=world.propensity)
    np.testing.assert_array_equal(again.predict(world.X), effects)
    refit = model.fit(world.X, world.y, world.treatment, propensity=world.propensity)
    np.testing.assert_array_equal(refit.predict(world.X), effects)
    few = {"n_estimators": 2, "num_leaves": 3}  # threads wait long for one another where others use the machine
    alone, together = (fit(name, world, n_jobs=n, **few).predict(world.X) for n in (1, 2))
    np.testing.assert_array_equal(alone, together)
    proof(
        "learners/clone-and-seed", "predictions of a second fit, a clone, a refit, another thread count", method=name,
        target="identical", figure="identical", holds=True,
    )  # fmt: skip


def test_seeds_matter_where_there_is_chance():
    """So that the test above could fail: other folds give other effects."""
    world = WORLDS["spend"]
    for name in ("X", "R", "DR"):
        assert not np.allclose(fit(name, world, random_state=1).predict(world.X), fit(name, world).predict(world.X))


@pytest.mark.parametrize("name", LEARNERS)
def test_tables_and_arrays_are_the_same(name):
    world = WORLDS["binary"]
    table = world.X.drop(columns="c0")
    by_array = fit(name, world, X=table.to_numpy()).predict(table.to_numpy())
    np.testing.assert_array_equal(fit(name, world, X=table).predict(table), by_array)
    shuffled = table[table.columns[::-1]]
    np.testing.assert_array_equal(fit(name, world, X=table).predict(shuffled), by_array)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_index_of_the_table_does_not_matter(name):
    world = WORLDS["binary"]
    index = np.random.default_rng(0).permutation(len(world.X)) + 17
    y = pd.Series(world.y, index=index[::-1])
    odd = fit(name, world, X=world.X.set_axis(index), y=y, treatment=pd.Series(world.treatment, index=index))
    np.testing.assert_array_equal(odd.predict(world.X), fit(name, world).predict(world.X))


@pytest.mark.parametrize("name", [name for name in EFFECTS if name in AMOUNTS])
def test_a_constant_added_to_the_outcome_changes_no_effect(name):
    world = WORLDS["continuous"]
    np.testing.assert_allclose(
        fit(name, world, y=world.y + 64).predict(world.X), fit(name, world).predict(world.X), atol=1e-6
    )


@pytest.mark.parametrize("name", AMOUNTS)
def test_units_of_the_outcome(name):
    """Money in cents gives effects in cents; a change of sign changes the sign."""
    world = WORLDS["spend"]
    effects = fit(name, world).predict(world.X)
    np.testing.assert_allclose(fit(name, world, y=100 * world.y).predict(world.X), 100 * effects, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(fit(name, world, y=-world.y).predict(world.X), -effects, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", EFFECTS)
def test_failing_instead_of_succeeding_changes_the_sign(name):
    world = WORLDS["binary"]
    np.testing.assert_allclose(
        fit(name, world, y=1 - world.y).predict(world.X), -fit(name, world).predict(world.X), atol=1e-6
    )


@pytest.mark.parametrize("name", [n for n in EFFECTS if n in AMOUNTS and n != "S"])
def test_swapping_arm_and_control_changes_the_sign(name):
    """The S-learner is left out: which of two equal splits on its treatment column wins depends on the coding."""
    world = make_world(1500, arms=("a",), outcome="continuous", propensity={"control": 0.3, "a": 0.7}, random_state=3)
    forth = fit(name, world).predict(world.X)
    back = fit(name, world, control="a", propensity=world.propensity[:, ::-1]).predict(world.X)
    np.testing.assert_allclose(back, -forth, atol=1e-6)


@pytest.mark.parametrize("name", LEARNERS)
def test_whole_weights_scale_out(name):
    world = world_for(name, "continuous")
    learner = make_learner(name, control="control", **SMALL)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(world.y))
    one, ten = (
        clone(learner)
        .fit(world.X, world.y, world.treatment, propensity=world.propensity, sample_weight=scale * weight)
        .predict(world.X)
        for scale in (1, 8)
    )
    np.testing.assert_allclose(one, ten, atol=1e-9)


def test_repeating_a_row_is_doubling_its_weight():
    """Of the constant effect; for boosters LightGBM's counts of rows stand in the way."""
    world = make_world(400, arms=("a",), outcome="continuous", random_state=3)
    weight = np.random.default_rng(0).integers(0, 3, 400)
    learner = make_learner("constant", control="control")
    rows = np.repeat(np.arange(400), weight)
    weighted = learner.fit(world.X, world.y, world.treatment, propensity=world.propensity, sample_weight=weight)
    effect = weighted.predict(world.X)[0, 0]
    repeated = clone(learner).fit(
        world.X.iloc[rows], world.y[rows], world.treatment[rows], propensity=world.propensity[rows]
    )
    assert repeated.predict(world.X)[0, 0] == pytest.approx(effect)


@pytest.mark.parametrize("name", LEARNERS)
def test_one_share_for_all_is_the_same_as_one_for_each(name):
    """A mapping arm → share says what an array of equal rows says."""
    world = world_for(name, "continuous")
    mapping = dict(zip(("control", "a", "b"), (1 / 3, 1 / 3, 1 / 3), strict=True))
    array = np.full((len(world.y), 3), 1 / 3)
    np.testing.assert_array_equal(
        fit(name, world, propensity=mapping).predict(world.X), fit(name, world, propensity=array).predict(world.X)
    )


@pytest.mark.parametrize("name", [name for name in ARM_BY_ARM if not LEARNERS[name].needs_half])
def test_rows_that_were_not_offered_an_arm_say_nothing_about_it(name):
    """Whatever happened to members who could not have received arm b, its effect stays."""
    world = partly_offered(outcome="binary" if name in RATES_ONLY else "continuous")
    y = world.y.copy()
    never = world.propensity[:, 2] == 0
    y[never] = 1 - y[never] if name in RATES_ONLY else y[never] + np.linspace(-50, 50, never.sum())
    before, after = (fit(name, world, y=values).predict(world.X) for values in (world.y, y))
    np.testing.assert_array_equal(before[:, 1], after[:, 1])
    if name != "none":
        assert not np.allclose(before[:, 0], after[:, 0])


def partly_offered(outcome: str) -> World:
    """Arm b was never given to the half of the members whose x0 is above 0."""
    settings = {"arms": ("a", "b"), "outcome": outcome, "random_state": 12}
    first = make_world(1200, **settings)
    without = (first.X["x0"] > 0).to_numpy()
    shares = np.where(without[:, None], [0.5, 0.5, 0.0], [0.3, 0.3, 0.4])
    return make_world(1200, propensity=shares, **settings)


@pytest.mark.parametrize("name", ["constant", "none", "logistic_T"])
def test_the_order_of_features_does_not_matter_when_learning(name):
    """Exactly so for linear models; boosters and forests break ties between equal splits by position."""
    world = WORLDS["continuous"]
    turned = world.X[world.X.columns[::-1]]
    np.testing.assert_allclose(
        fit(name, world, X=turned).predict(world.X), fit(name, world).predict(world.X), atol=1e-9
    )


@pytest.mark.parametrize("name", LEARNERS)
def test_what_never_varies_changes_nothing(name):
    world = world_for(name, "continuous")
    more = world.X.assign(always=3.0, never=np.nan)
    np.testing.assert_array_equal(fit(name, world, X=more).predict(more), fit(name, world).predict(world.X))
