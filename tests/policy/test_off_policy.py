from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uplift.errors import InputError
from uplift.policy import off_policy_value

ARMS = np.array(["none", "a", "b"])


def log(n: int, seed: int, repeats: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A log by a known, uneven policy, and the true mean reward of every arm in every row."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=n), repeats)
    probability = np.column_stack([np.full(n * repeats, 0.5), 0.2 + 0.2 * (x > 0), 0.3 - 0.2 * (x > 0)])
    drawn = (rng.random(n * repeats)[:, None] > probability.cumsum(axis=1)).sum(axis=1)
    means = np.column_stack([x, x + 1, 2 * x + 0.5])
    reward = means[np.arange(len(x)), drawn] + rng.normal(size=len(x)) + np.repeat(rng.normal(size=n), repeats)
    frame = pd.DataFrame(
        {
            "member_id": np.repeat([f"m{i}" for i in range(n)], repeats),
            "offer_id": pd.Series(ARMS[drawn]).where(drawn > 0),
            "propensity": probability[np.arange(len(x)), drawn],
            "reward": reward,
            "x": x,
        }
    )
    return frame, pd.DataFrame(means, columns=ARMS)


def best(means: pd.DataFrame) -> np.ndarray:
    return ARMS[means.to_numpy().argmax(axis=1)]


@pytest.mark.parametrize("method", ["ipw", "snips", "dr"])
def test_estimates_agree_with_the_truth(method: str) -> None:
    frame, means = log(4_000, 0)
    found = off_policy_value(best(means), frame, method=method, features=["x"])
    truth = means.max(axis=1).mean()
    assert abs(found.value - truth) < 4 * found.se
    assert found.low < found.value < found.high
    assert abs(found.mean_weight - 1) < 4 * found.mean_weight_se


def test_doubly_robust_is_narrower_with_good_expectations() -> None:
    frame, means = log(4_000, 1)
    ipw = off_policy_value(best(means), frame, method="ipw")
    dr = off_policy_value(best(means), frame, method="dr", expected=means)
    assert dr.se < 0.8 * ipw.se


def test_probabilities_and_labels_say_the_same() -> None:
    frame, means = log(500, 2)
    labels = pd.Series(best(means)).replace("none", None)
    table = pd.get_dummies(pd.Series(best(means)), dtype=float)
    logged = frame["offer_id"].fillna("none").to_numpy()
    of_logged = (logged == best(means)).astype(float)
    a, b, c = (off_policy_value(policy, frame) for policy in (labels, table, of_logged))
    assert a.value == b.value == c.value


def test_members_decided_on_several_times_are_one_cluster() -> None:
    frame, means = log(500, 3, repeats=4)
    clustered = off_policy_value(best(means), frame)
    naive = off_policy_value(best(means), frame, cluster=None)
    assert clustered.clusters == 500
    assert clustered.value == naive.value
    assert clustered.se > 1.05 * naive.se


def test_refuses_below_ten_percent_effective_sample_size() -> None:
    n = 2_000
    frame = pd.DataFrame({"offer_id": ["a"] * 100 + [None] * 1_900, "propensity": [0.05] * 100 + [0.95] * 1_900})
    frame["reward"] = 1.0
    found = off_policy_value(["a"] * n, frame)
    assert (found.value, found.se, found.low, found.high) == (None, None, None, None)
    assert "effective sample size is 5.0%" in found.refused
    assert off_policy_value(["a"] * n, frame, min_effective=0.01).value == pytest.approx(1.0)


def test_refuses_when_weights_do_not_average_one() -> None:
    frame, _ = log(2_000, 4)
    wrong = frame.assign(propensity=frame["propensity"] * 0.7)
    found = off_policy_value(["a"] * 2_000, wrong)
    assert found.value is None
    assert "where 1 is expected" in found.refused
    never_logged = off_policy_value(["c"] * 2_000, frame)
    assert never_logged.value is None


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        ({"propensity": [0.0, 0.5]}, {}, "1 row.s. without a probability"),
        ({"propensity": [np.nan, 0.5]}, {}, "without a probability"),
        ({"propensity": [1.5, 0.5]}, {}, "without a probability"),
        ({"reward": [np.nan, 1.0]}, {}, "without a number"),
        ({}, {"reward": "rewards"}, "did you mean 'reward'"),
        ({}, {"cluster": "member"}, "no column 'member'"),
        ({}, {"method": "dm"}, "unknown method"),
        ({}, {"method": "dr"}, "expected="),
        ({}, {"policy": ["a"]}, "one entry a logged row"),
        ({}, {"policy": [0.2, 1.2]}, "between 0 and 1"),
        ({}, {"policy": pd.DataFrame({"a": [0.5, 1.0]})}, "add up to 1"),
    ],
)
def test_bad_input_is_refused_in_words(change, arguments, words: str) -> None:
    frame = pd.DataFrame({"offer_id": ["a", None], "propensity": [0.5, 0.5], "reward": [1.0, 0.0]}).assign(**change)
    policy = arguments.pop("policy", ["a", "a"])
    with pytest.raises(InputError, match=words):
        off_policy_value(policy, frame, **arguments)


def test_no_rows() -> None:
    with pytest.raises(InputError, match="no rows"):
        off_policy_value([], pd.DataFrame({"offer_id": [], "propensity": [], "reward": []}))


def test_one_member_has_a_value_but_no_standard_error() -> None:
    frame = pd.DataFrame({"member_id": ["m"] * 2, "offer_id": ["a", None], "propensity": 0.5, "reward": [3.0, 0.0]})
    found = off_policy_value(["a", "a"], frame)
    assert (found.value, found.se, found.low, found.high) == (3.0, None, None, None)
    assert "3" in repr(found)
