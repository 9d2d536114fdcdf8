"""Values of policies, against the truth of simulated worlds and hand-worked weights."""

from __future__ import annotations

import numpy as np
import pytest

from uplift import metrics
from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError


@pytest.fixture(scope="module")
def world():
    return make_world(40_000, propensity="confounded", random_state=2)


@pytest.mark.parametrize("method", ["ipw", "snips", "dr"])
def test_the_true_value_is_inside(world, method):
    expected = np.column_stack([world.baseline, world.baseline[:, None] + world.effects])
    given = {"method": method, "expected": expected if method == "dr" else None}
    value = metrics.policy_value(world.oracle + 1, world.y, world.treatment, world.propensity, **given)
    assert abs(value.value - world.value(world.oracle)) < 3.5 * value.se
    assert value.p_value is None
    gain = metrics.policy_value(world.oracle + 1, world.y, world.treatment, world.propensity, against="a", **given)
    assert abs(gain.value - (world.value(world.oracle) - world.value(0))) < 3.5 * gain.se
    assert gain.p_value < 1e-4


def test_forms_of_a_policy_agree(world):
    given = (world.y, world.treatment, world.propensity)
    names = np.array(["control", "a", "b"])[world.oracle + 1]
    certain = np.eye(3)[world.oracle + 1]
    values = [metrics.policy_value(p, *given).value for p in (world.oracle + 1, names, certain)]
    assert values[0] == values[1] == values[2]
    one = metrics.policy_value("b", *given)
    assert one.value == metrics.policy_value(np.full(len(world.y), "b"), *given).value


def test_hand_worked_weights():
    y, treatment = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 1, 1])
    chance = np.array([[0.5, 0.5], [0.75, 0.25], [0.5, 0.5], [0.2, 0.8]])
    policy = [1, 0, 1, 1]
    # matching rows: 1 (weight 4/3), 2 (weight 2), 3 (weight 5/4)
    ipw = (2 * 4 / 3 + 3 * 2 + 4 * 5 / 4) / 4
    snips = (2 * 4 / 3 + 3 * 2 + 4 * 5 / 4) / (4 / 3 + 2 + 5 / 4)
    assert metrics.policy_value(policy, y, treatment, chance, method="ipw") == pytest.approx(ipw)
    assert metrics.policy_value(policy, y, treatment, chance) == pytest.approx(snips)
    expected = np.column_stack([np.ones(4), 2 * np.ones(4)])
    dr = (2 + 1 + 2 + 2) / 4 + (4 / 3 * (2 - 1) + 2 * (3 - 2) + 5 / 4 * (4 - 2)) / 4
    assert metrics.policy_value(policy, y, treatment, chance, method="dr", expected=expected) == pytest.approx(dr)


def test_a_random_policy_mixes(world):
    half = np.tile([0.5, 0.5, 0.0], (len(world.y), 1))
    given = (world.y, world.treatment, world.propensity)
    mixed = metrics.policy_value(half, *given, method="ipw")
    ends = [metrics.policy_value(p, *given, method="ipw").value for p in ("control", "a")]
    assert mixed.value == pytest.approx(np.mean(ends))


def test_snips_is_blind_to_a_shift_of_the_outcome(world):
    given = (world.treatment, world.propensity)
    first = metrics.policy_value("a", world.y, *given)
    second = metrics.policy_value("a", world.y + 100, *given)
    assert second.value == pytest.approx(first.value + 100)
    assert second.se == pytest.approx(first.se)


def test_clusters_widen(world):
    rows = np.repeat(np.arange(3000), 4)
    given = ("a", world.y[rows], world.treatment[rows], world.propensity[rows])
    naive, honest = metrics.policy_value(*given), metrics.policy_value(*given, clusters=rows)
    assert honest.se == pytest.approx(2 * naive.se, rel=0.02)


@pytest.mark.parametrize(
    ("policy", "more", "message"),
    [
        ("c", {}, "unknown arm 'c'"),
        (["a", "b", "zz", "a"], {}, "unknown arm in the policy 'zz'"),
        ([0, 1, 2, 5], {}, "unknown arm in the policy '5'"),
        (["a", "b", None, "a"], {}, "policy is missing in 1"),
        (np.full((4, 3), 0.5), {}, "add up to 1"),
        (np.full((4, 2), 0.5), {}, r"\(4, 2\), not \(4, 3\)"),
        ([1, 2], {}, r"policy has shape \(2,\)"),
        ("a", {"method": "magic"}, "unknown method 'magic'"),
        ("a", {"method": "dr"}, "needs expected="),
    ],
)
def test_bad_policies(policy, more, message):
    y, treatment = [0.0, 1.0, 2.0, 3.0], ["control", "a", "b", "a"]
    with pytest.raises(InputError, match=message):
        metrics.policy_value(policy, y, treatment, **more)


def test_an_arm_that_is_never_given_has_no_value():
    chance = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0.4, 0.3, 0.3], [0.4, 0.3, 0.3]])
    with pytest.raises(InputError, match="propensity is 0 in 2 rows"):
        metrics.policy_value("b", [0, 1, 2, 3], ["control", "a", "b", "a"], chance)
