import math

import numpy as np
import pytest
from scipy.special import nctdtrinc, ndtri, stdtrit
from scipy.stats import norm

from uplift.errors import DesignError
from uplift.experiments import design_effect, explained_variance, linearised_ratio, power, simulate_power

HALVES = {"control": 0.5, "gift": 0.5}


def test_the_closed_form():
    plan = power(HALVES, control="control", kind="mean", sd=20.0, size=4000, rho2=0.36, deff=1.5)
    z = norm.ppf(0.975) + norm.ppf(0.8)
    expected = z * 20 * math.sqrt((1 - 0.36) * 2 / 2000) * math.sqrt(1.5)
    assert plan.arms[0].smallest_effect == pytest.approx(expected)


def test_size_and_effect_are_inverse():
    needed = power(HALVES, control="control", baseline=0.1, effect=0.015)
    back = power(HALVES, control="control", baseline=0.1, size=needed.needed_total)
    assert back.arms[0].smallest_effect == pytest.approx(0.015, rel=1e-3)
    assert back.arms[0].smallest_effect <= 0.015


def test_unequal_shares_and_several_arms():
    shares = {"control": 0.2, "a": 0.5, "b": 0.3, "off": 0.0}
    plan = power(shares, control="control", kind="mean", sd=1.0, size=10_000)
    assert [arm.arm for arm in plan.arms] == ["a", "b"]
    assert plan.comparisons == 2
    assert plan.arms[0].smallest_effect < plan.arms[1].smallest_effect
    alone = {"control": 0.4, "b": 0.6}  # the same two arms by themselves
    one = power(alone, control="control", kind="mean", sd=1.0, size=5_000)
    z = [norm.ppf(1 - 0.05 / 2 / m) + norm.ppf(0.8) for m in (2, 1)]
    assert plan.arms[1].smallest_effect / one.arms[0].smallest_effect == pytest.approx(z[0] / z[1])


def test_a_rate_has_another_spread_once_it_has_moved():
    plan = power(HALVES, control="control", baseline=0.1, effect=0.02)
    z = norm.ppf(0.975) + norm.ppf(0.8)
    expected = z**2 * (0.1 * 0.9 + 0.12 * 0.88) / 0.02**2
    assert plan.arms[0].needed_arm == math.ceil(expected)
    up, down = (power(HALVES, control="control", baseline=0.3, effect=effect) for effect in (0.02, -0.02))
    assert up.needed_total > down.needed_total


def test_covariates_explain_no_more_of_a_rate_once_it_has_moved():
    """What they explain of those who could be turned shrinks by the share that is, beside noise that grows."""
    plan = power(HALVES, control="control", baseline=0.2, effect=0.04, rho2=0.3)
    z = norm.ppf(0.975) + norm.ppf(0.8)
    left = 0.24 * 0.76 - 0.3 * 0.16 * (1 - 0.04 / 0.8) ** 2
    assert plan.arms[0].needed_arm == math.ceil(z**2 * (left + 0.7 * 0.16) / 0.04**2)
    rng = np.random.default_rng(0)
    chance = rng.beta(0.2 * (1 / 0.3 - 1), 0.8 * (1 / 0.3 - 1), 400_000)
    moved = (rng.random(len(chance)) < chance) | (rng.random(len(chance)) < 0.04 / 0.8)
    assert (1 - explained_variance(moved.astype(float), chance[:, None])) * 0.24 * 0.76 == pytest.approx(left, rel=0.01)


def test_an_arm_that_multiplies_values_spreads_them_too():
    given = {"control": "control", "kind": "mean", "sd": 20.0, "baseline": 10.0}
    added, times = (power(HALVES, effect=2.0, proportional=p, **given).needed_total for p in (False, True))
    assert times / added == pytest.approx((1 + 1.2**2) / 2, rel=1e-2)
    size = power(HALVES, size=times, proportional=True, **given).arms[0].smallest_effect
    assert size == pytest.approx(2.0, rel=1e-3)
    hopeless = power(HALVES, size=20, proportional=True, **given).arms[0]
    assert hopeless.smallest_effect is None, "its own spread outgrows every effect"
    with pytest.raises(DesignError, match="baseline above 0"):
        power(HALVES, effect=2.0, proportional=True, **given | {"baseline": None})
    with pytest.raises(DesignError, match="variation=-1"):
        power(HALVES, effect=2.0, variation=-1, **given)


def test_an_effect_that_a_rate_cannot_reach_is_not_given():
    assert power(HALVES, control="control", baseline=0.9, size=100).arms[0].smallest_effect is None


def test_relative_needs_a_baseline():
    assert power(HALVES, control="control", kind="mean", sd=1, size=100).arms[0].smallest_relative is None
    plan = power(HALVES, control="control", kind="mean", sd=1, baseline=4, size=100)
    assert plan.arms[0].smallest_relative == pytest.approx(plan.arms[0].smallest_effect / 4)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"baseline": None}, "a rate needs its level"),
        ({"baseline": 1.2}, "between 0 and 1"),
        ({"effect": 0.95}, "would not lie"),
        ({"effect": 0.0}, "not 0"),
        ({"effect": None}, "neither size nor effect"),
        ({"size": 1}, "at least 2"),
        ({"kind": "mean"}, "standard deviation"),
        ({"control": "contrl"}, "did you mean 'control'"),
        ({"shares": {"control": 0.5, "gift": 0.6}}, "add up to 1.1"),
        ({"shares": {"control": 1.0, "gift": 0.0}}, "no arm but the control"),
        ({"shares": {"control": 0.0, "gift": 1.0}}, "needs members without it"),
        ({"rho2": 1.0}, "rho2"),
        ({"deff": 0.5}, "design effect"),
        ({"alpha": 0.9}, "alpha"),
        ({"power": 1.0}, "power"),
        ({"effect": 1e-9}, "more than"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes, match):
    given = {"shares": HALVES, "control": "control", "baseline": 0.1, "effect": 0.01} | changes
    with pytest.raises(DesignError, match=match):
        power(given.pop("shares"), **given)


def test_simulation_on_past_values_keeps_their_shape():
    rng = np.random.default_rng(0)
    past = rng.lognormal(3, 0.6, 5000)
    spend = np.where(rng.random(5000) < 0.3, past * rng.lognormal(0, 0.3, 5000), 0.0)
    rho2 = explained_variance(spend, past[:, None])
    plan = power(HALVES, control="control", kind="mean", sd=spend.std(), baseline=spend.mean(), effect=1.2, rho2=rho2)
    seen = simulate_power(plan, outcome=spend, covariates=past[:, None], repeats=120)
    assert 0.65 < seen.power["gift"] < 0.92
    assert seen.size == plan.needed_total


def test_simulation_without_an_effect_finds_the_level():
    plan = power(HALVES, control="control", baseline=0.2, size=800)
    assert simulate_power(plan, effect=0.0, repeats=300).power["gift"] < 0.10


def test_explained_variance_is_adjusted_and_never_negative():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 1))
    assert explained_variance(0.6 * x[:, 0] + 0.8 * rng.normal(size=4000), x) == pytest.approx(0.36, abs=0.04)
    assert explained_variance(rng.normal(size=50), rng.normal(size=(50, 20))) < 0.35
    assert explained_variance(np.ones(50), x[:50]) == 0


def test_clusters_cost_what_their_design_effect_says():
    store = np.repeat(np.arange(40), 25)
    y = np.random.default_rng(0).normal(size=40)[store]
    found = design_effect(y + 1e-9 * np.arange(1000), store)
    assert found.icc == pytest.approx(1.0, abs=1e-6)
    assert found.deff == pytest.approx(25.0, abs=1e-3)
    plan, blind = (power(HALVES, control="control", kind="mean", sd=1.0, effect=0.1, deff=d) for d in (found.deff, 1.0))
    assert plan.needed_total == pytest.approx(25 * blind.needed_total, rel=1e-3)


def test_unequal_clusters_count_by_their_size():
    store = np.repeat([0, 1, 2, 3], [10, 10, 10, 70])
    found = design_effect(np.random.default_rng(0).normal(size=100), store)
    assert found.mean_size == pytest.approx((300 + 4900) / 100)


@pytest.mark.parametrize("store", [np.zeros(50, dtype=int), np.arange(50)])
def test_clusters_that_tell_nothing(store):
    with pytest.raises(DesignError, match="at least 2, some of them larger"):
        design_effect(np.arange(50.0), store)


def test_a_ratio_is_the_mean_of_its_linearised_values():
    rng = np.random.default_rng(0)
    orders = rng.poisson(2.0, 1000)
    spend = orders * rng.normal(30, 5, 1000)
    values, ratio = linearised_ratio(spend, orders)
    assert values.mean() == pytest.approx(ratio) == spend.sum() / orders.sum()
    with pytest.raises(DesignError, match="zero for everybody"):
        linearised_ratio(spend, np.zeros(1000))


def test_few_clusters_see_less_than_the_normal_quantile_says():
    given = {"control": "control", "kind": "mean", "sd": 10.0, "deff": 2.0}
    few, many, none = (
        power(HALVES, size=2400, cluster_size=members, **given).arms[0].smallest_effect for members in (100, 1, None)
    )
    pooled = nctdtrinc(22, 0.2, stdtrit(22, 0.975)) / (ndtri(0.975) + ndtri(0.8))  # both variances known to be equal
    assert pooled < few / none < 1.02 * pooled
    assert many == pytest.approx(none, rel=1e-3)
    unequal = power(HALVES, size=2400, cluster_size=100, variation=0.5, **given).arms[0].smallest_effect
    lopsided = power({"control": 0.8, "gift": 0.2}, size=2400, cluster_size=100, **given).arms[0].smallest_effect
    assert unequal > 1.02 * few
    assert lopsided > 1.05 * few * math.sqrt((1 / 0.2 + 1 / 0.8) / 4)
    needed = power(HALVES, effect=few, cluster_size=100, **given).needed_total
    assert needed == pytest.approx(2400, abs=2)
    with pytest.raises(DesignError, match="cluster_size=0"):
        power(HALVES, size=100, cluster_size=0, **given)
