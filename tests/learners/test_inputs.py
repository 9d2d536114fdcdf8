"""Bad input: one error that says everything that is wrong, and never a number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.learners import LEARNERS, ConstantEffect, NoEffect, TLearner, make_learner
from uplift.learners._inputs import assign_folds, seed_of, threads_of

WORLD = make_world(300, arms=("a", "b"), random_state=0)
SHARES = {"control": 1 / 3, "a": 1 / 3, "b": 1 / 3}


def refusal(learner=None, *, X=WORLD.X, y=WORLD.y, treatment=WORLD.treatment, **more) -> str:
    learner = NoEffect(control="control", random_state=0) if learner is None else learner
    with pytest.raises(InputError) as error:
        learner.fit(X, y, treatment, **{"propensity": SHARES, **more})
    return str(error.value)


def altered(values, **changes):
    result = np.array(values, dtype=object if any(v is None for v in changes.values()) else None)
    for position, value in changes.items():
        result[int(position[1:])] = value
    return result


def test_all_problems_come_in_one_message():
    message = refusal(
        y=altered(WORLD.y, _0=np.nan),
        treatment=altered(WORLD.treatment, _0=None),
        sample_weight=-np.ones(300),
        groups=np.arange(7),
    )
    for part in ("cannot fit NoEffect", "y is missing (NaN) in 1 of 300", "treatment is missing in 1", "negative"):
        assert part in message
    assert "groups has 7 values but X has 300 rows" in message


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (np.full(300, np.nan), "missing in every row"),
        (np.zeros(300), "y is 0 in all 300 rows"),
        (np.array(["yes"] * 300), "found text"),
        (np.ones((300, 2)), "one-dimensional"),
        (np.ones(299), "299 values but X has 300"),
        (altered(WORLD.y, _5=np.inf), "infinite"),
        (WORLD.y + 0j, "Complex data"),
    ],
)
def test_outcomes(y, message):
    assert message in refusal(y=y)


def test_outcome_in_nullable_types_is_understood():
    y = pd.Series(WORLD.y).astype("Int64")
    learner = NoEffect(control="control", random_state=0).fit(WORLD.X, y, WORLD.treatment, propensity=SHARES)
    assert learner.outcome_ == "binary"


def test_kind_of_outcome():
    amounts = NoEffect(control="control", outcome="continuous", random_state=0)
    assert amounts.fit(WORLD.X, WORLD.y, WORLD.treatment, propensity=SHARES).outcome_ == "continuous"
    assert "must be 0 or 1" in refusal(NoEffect("control", outcome="binary"), y=WORLD.y * 2)
    assert "did you mean 'binary'" in refusal(NoEffect("control", outcome="bianry"))


@pytest.mark.parametrize(
    ("control", "treatment", "message"),
    [
        ("contrl", WORLD.treatment, "did you mean 'control'?"),
        ("control", np.full(300, "control"), "one arm only, 'control'"),
        (None, np.where(WORLD.treatment == "control", "no", WORLD.treatment), "which arm is the control?"),
        ("control", WORLD.treatment[:-1], "299 values"),
        ("control", None, "requires treatment"),
    ],
)
def test_treatments(control, treatment, message):
    assert message in refusal(NoEffect(control), treatment=treatment)


def test_control_is_found_by_its_usual_names():
    assert NoEffect().fit(WORLD.X, WORLD.y, WORLD.treatment, propensity=SHARES).control_ == "control"
    codes = (WORLD.treatment == "a").astype(int)
    learner = NoEffect().fit(WORLD.X, WORLD.y, codes, propensity={0: 2 / 3, 1: 1 / 3})
    assert (learner.control_, learner.arms_) == (0, (1,))
    assert type(learner.arms_[0]) is int


def test_arms_are_sorted_as_numbers_or_texts():
    numbers = np.array([0, 2, 10, 0, 2, 10] * 10)
    learner = NoEffect(control=0).fit(
        np.zeros((60, 1)), np.arange(60) % 7, numbers, propensity={0: 0.4, 2: 0.3, 10: 0.3}
    )
    assert learner.arms_ == (2, 10)


def test_too_few_rows_of_an_arm():
    treatment = WORLD.treatment.copy()
    treatment[treatment == "b"] = "a"
    treatment[:4] = "b"
    message = refusal(treatment=treatment)
    assert "arm 'b' has 4 comparable rows" in message
    assert "at least 10" in message


def test_weights_that_are_all_zero():
    assert "zero in every row" in refusal(sample_weight=np.zeros(300))


def test_parameters_of_the_booster_are_checked():
    message = refusal(TLearner("control", num_leaves=1, learning_rate=2.0, folds=1, extra_params={"seed": 3}))
    for part in ("num_leaves must be at least 2", "learning_rate must be", "folds must be", "must not set seed"):
        assert part in message


def test_a_parameter_that_lightgbm_refuses_is_an_input_error():
    assert "LightGBM refused" in refusal(TLearner("control", extra_params={"max_bin": 1}, min_child_samples=5))


def test_empty_table():
    assert "no rows" in refusal(X=WORLD.X.iloc[:0])


def test_groups_that_leave_nothing_to_cross_fit():
    message = refusal(ConstantEffect("control", random_state=0), groups=np.zeros(300))
    assert "too few groups" in message


def test_no_member_ids_in_messages():
    groups = altered(np.array([f"member-{j}" for j in range(300)], dtype=object), _3=None)
    assert "member-" not in refusal(groups=groups)


def test_folds_keep_groups_together_and_strata_even():
    strata = np.repeat([0, 1], [300, 30])
    folds = assign_folds(strata, 3, None, 0)
    assert np.bincount(folds[strata == 1]).tolist() == [10, 10, 10]
    groups = np.arange(330) // 3
    grouped = assign_folds(strata, 3, groups, 0)
    assert all(len(set(grouped[groups == g])) == 1 for g in range(110))
    assert set(grouped) == {0, 1, 2}


def test_seeds_and_threads():
    assert seed_of(5) == 5
    assert seed_of(np.random.RandomState(1)) == seed_of(np.random.RandomState(1))
    assert threads_of(None) == 1
    assert threads_of(3) == 3
    assert threads_of(-1) >= 1
    with pytest.raises(InputError, match="n_jobs"):
        threads_of(0)


def test_make_learner_gives_each_kind_its_own_parameters():
    settings = {"control": "none", "num_leaves": 4, "random_state": 1}
    assert make_learner("DR", **settings).num_leaves == 4
    assert not hasattr(make_learner("constant", **settings), "num_leaves")
    assert all(make_learner(name, **settings).control == "none" for name in LEARNERS)
    with pytest.raises(InputError, match="unknown learner 'DRR': did you mean"):
        make_learner("DRR")
    with pytest.raises(InputError, match="did you mean 'num_leaves'"):
        make_learner("DR", num_leafs=4)
