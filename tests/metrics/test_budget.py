"""The several-arm curve over a budget, against brute force over thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from uplift import metrics
from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError


def value_at_price(price, effects, costs, y, assigned, shares):
    """Spend and gain of "the arm with the best effect less price × cost", by normalised inverse weights."""
    net = np.column_stack([np.zeros(len(y)), effects - price * costs])
    choice = np.argmax(net, axis=1)
    spend = np.where(choice > 0, costs[np.arange(len(y)), choice - 1], 0).mean()
    gain = 0.0
    inverse = 1 / shares[assigned]
    mean = np.average(y, weights=inverse)
    for arm in range(effects.shape[1] + 1):
        mine = assigned == arm
        scale = inverse[mine].sum()
        gain += ((choice[mine] == arm) * inverse[mine] * (y[mine] - mean)).sum() / scale
        gain -= 0.0 if arm else (inverse[mine] * (y[mine] - mean)).sum() / scale
    return spend, 1000 * gain


@pytest.mark.parametrize("costs", [[1.0, 2.0], [0.0, 1.0], [-1.0, 0.5], [0.0, 0.0]])
def test_every_price_lies_on_the_curve(costs):
    rng = np.random.default_rng(0)
    n = 3000
    effects = rng.normal(size=(n, 2)) + 0.2
    assigned = rng.integers(0, 3, n)
    y = np.column_stack([np.zeros(n), effects])[np.arange(n), assigned] + rng.normal(size=n)
    shares = np.full(3, 1 / 3)
    table = np.broadcast_to(costs, (n, 2))
    curve = metrics.multi_arm_qini(effects, costs, y, assigned, dict(enumerate(shares)), n_bootstrap=0)
    for price in (1e-9, 0.2, 0.5, 1.0, 3.0, 1e9):
        spend, gain = value_at_price(price, effects, table, y, assigned, shares)
        if max(costs) > 0 or price < 1:
            assert curve.at(spend).value == pytest.approx(gain, abs=8)  # the curve is kept at 201 points
    assert curve.spend[0] == pytest.approx(np.minimum(0, np.min(costs)))


def test_unit_costs_and_one_arm_are_the_qini_curve():
    world = make_world(8000, arms=("a",), outcome="continuous", effect=lambda x, a, k: np.abs(x[:, 0]), random_state=1)
    budget = metrics.multi_arm_qini(world.effects, 1.0, world.y, world.treatment, world.propensity)
    qini = metrics.qini(world.effects, world.y, world.treatment, world.propensity)
    assert budget.area.value == pytest.approx(qini.value, rel=0.01)
    assert budget.area.se == pytest.approx(qini.se, rel=0.15)


def test_the_gain_of_the_true_effects_is_covered_at_every_budget():
    world = make_world(30_000, outcome="continuous", propensity={"control": 0.5, "a": 0.3, "b": 0.2}, random_state=4)
    curve = metrics.multi_arm_qini(
        world.effects, {"a": 1.0, "b": 2.0}, world.y, world.treatment, {"control": 0.5, "a": 0.3, "b": 0.2}
    )
    oracle = 1000 * np.maximum(world.effects.max(axis=1), 0).mean()
    assert abs(curve.value[-1] - oracle) < 4 * curve.se[-1]
    assert (np.diff(curve.random) >= -1e-9).all()
    assert curve.area.low > 0
    assert list(curve.to_pandas()) == ["spend", "value", "low", "high", "random"]


def test_arms_that_are_not_offered_are_not_bought():
    world = make_world(6000, outcome="continuous", random_state=5)
    chance = world.propensity.copy()
    barred = (np.arange(6000) % 2 == 0) & (world.treatment != "b")
    chance[barred] = [0.5, 0.5, 0.0]
    curve = metrics.multi_arm_qini(
        np.column_stack([np.zeros(6000), np.ones(6000)]), [1.0, 1.0], world.y, world.treatment, chance, n_bootstrap=0
    )
    assert curve.spend[-1] == pytest.approx(1 - barred.mean())


def test_nothing_worth_buying_is_a_point():
    world = make_world(600, random_state=6)
    curve = metrics.multi_arm_qini(-np.ones((600, 2)), [1.0, 1.0], world.y, world.treatment, world.propensity)
    assert curve.spend.tolist() == [0.0]
    assert curve.value.tolist() == [0.0]


@pytest.mark.parametrize(
    ("cost", "message"),
    [({"a": 1}, "nothing about the arm"), ([1.0], "cost has shape"), ([np.nan, 1.0], "missing or infinite")],
)
def test_bad_costs(cost, message):
    world = make_world(300, random_state=6)
    with pytest.raises(InputError, match=message):
        metrics.multi_arm_qini(world.effects, cost, world.y, world.treatment, world.propensity)


def test_less_than_the_least_cannot_be_spent():
    world = make_world(600, random_state=6)
    curve = metrics.multi_arm_qini(np.ones((600, 2)), [1.0, 1.0], world.y, world.treatment, world.propensity)
    with pytest.raises(InputError, match="least that can be spent"):
        curve.at(-1)


def test_two_models_over_a_budget_are_compared_on_the_same_draws():
    world = make_world(6000, outcome="continuous", random_state=8)
    shares, costs = dict.fromkeys(("control", "a", "b"), 1 / 3), {"a": 1.0, "b": 2.0}
    given = (costs, world.y, world.treatment, shares)
    noise = world.effects + np.random.default_rng(0).normal(size=world.effects.shape)
    same = metrics.compare_budgets(world.effects, world.effects, *given)
    assert (same.value, same.se, same.p_value) == (0.0, 0.0, 1.0)
    better = metrics.compare_budgets(world.effects, noise, *given)
    worse = metrics.compare_budgets(noise, world.effects, *given)
    assert better.value == -worse.value
    assert better.p_value < 0.001 < 0.999 < worse.p_value
    curves = [metrics.multi_arm_qini(effect, *given) for effect in (world.effects, noise)]
    at = metrics.compare_budgets(world.effects, noise, *given, budget=0.5)
    first, second = (curve.at(0.5) for curve in curves)
    assert at.value == pytest.approx(first.value - second.value, abs=3)  # curves are kept at 201 points
    assert at.se < 0.9 * np.hypot(first.se, second.se)  # pairing pays
    with pytest.raises(InputError, match="least that can be spent"):
        metrics.compare_budgets(world.effects, noise, *given, budget=-1.0)
