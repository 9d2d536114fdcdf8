"""Designs for 80 % power, by the formula and by running them: members, covariates, whole stores, ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from uplift.experiments import design_effect, linearised_ratio, power, simulate_power

LONG = 2000
SHARES = {"control": 0.5, "gift": 0.5}


def lengths(quick, long=LONG):
    return pytest.mark.parametrize("repeats", [quick, pytest.param(long, marks=pytest.mark.proof)])


def near(share, repeats):
    noise = 3 * math.sqrt(0.8 * 0.2 / repeats) if repeats < LONG else 0.0
    return abs(share - 0.8) <= max(0.027, noise)


def stores(seed=0, count=4000, icc=0.05, sizes=(10, 31)):
    """Past members of stores of unequal size: a store's own level, one covariate, and chance."""
    rng = np.random.default_rng(seed)
    store = np.repeat(np.arange(count), rng.integers(*sizes, count))
    x = rng.normal(size=len(store))
    between = math.sqrt(icc / (1 - icc))
    spend = 20 + 3 * (0.6 * x + 0.8 * (rng.normal(size=len(store)) + between * rng.normal(size=count)[store]))
    return store, x[:, None], spend


@lengths(150)
def test_a_design_by_stores_has_the_power_it_promises(repeats, proof):
    store, x, spend = stores()
    cost = design_effect(spend, store, x)
    given = {"control": "control", "kind": "mean", "baseline": spend.mean(), "sd": spend.std(), "rho2": 0.36}
    assert (spend >= 0).all()
    clustered = {"deff": cost.deff, "cluster_size": len(store) / 4000, "variation": cost.variation}
    plan = power(SHARES, effect=0.6, proportional=True, **clustered, **given)
    blind = power(SHARES, effect=0.6, **given)
    kept = {"outcome": spend, "covariates": x, "clusters": store, "repeats": repeats, "seed": 1}
    seen = simulate_power(plan, **kept).power["gift"]
    fewer = simulate_power(plan, size=blind.needed_total, **kept).power["gift"]
    setting = f"simulated power of a design for 80 %, whole stores, ICC {cost.icc:.2f}, {repeats:,} repeats"
    assert proof(
        "experiments/power", setting, method="formula with the design effect", target="80 ± 2.7 %",
        figure=f"{100 * seen:.1f} %", holds=near(seen, repeats),
    )  # fmt: skip
    assert proof(
        "experiments/power", setting, method="members taken as independent", target="80 ± 2.7 %",
        figure=f"{100 * fewer:.1f} %", holds=fewer < 0.7, planted=True,
    )  # fmt: skip


@pytest.mark.parametrize("gift", [0.5, 0.25])
@pytest.mark.parametrize("count", [8, 12, 20, 40])
@lengths(200)
def test_a_few_unequal_stores_see_what_the_formula_says(repeats, count, gift, proof):
    """The smallest effect of a design with so many stores of 5 to 59 members, and how often it is seen."""
    shares = {"control": 1 - gift, "gift": gift}
    store, x, spend = stores(seed=5, sizes=(5, 60))
    cost, mean = design_effect(spend, store, x), len(store) / 4000
    given = {"control": "control", "kind": "mean", "baseline": spend.mean(), "sd": spend.std(), "rho2": 0.36}
    kept = {"outcome": spend, "covariates": x, "clusters": store, "repeats": repeats, "seed": count}
    size = round(count * mean)
    plan = power(
        shares, size=size, deff=cost.deff, cluster_size=mean, variation=cost.variation, proportional=True, **given
    )
    seen = simulate_power(plan, effect=plan.arms[0].smallest_effect, **kept).power["gift"]
    setting = (
        f"power of the smallest effect that {count} stores of 5 to 59 members see, {100 * gift:g} % of them treated, "
        f"{repeats:,} repeats"
    )
    assert proof(
        "experiments/power", setting, method="Welch's t, freedom by unequal stores", target="80 ± 2.7 %",
        figure=f"{100 * seen:.1f} %", holds=near(seen, repeats),
    )  # fmt: skip
    if count > 12:
        return
    df = count - 2
    naive = (stdtrit(df, 0.975) + stdtrit(df, 0.8)) * spend.std() * math.sqrt(0.64 * cost.deff)
    naive *= math.sqrt((1 / gift + 1 / (1 - gift)) / size)
    blind = simulate_power(plan, effect=naive, **kept).power["gift"]
    assert proof(
        "experiments/power", setting, method="t with two degrees of freedom less than stores", target="80 ± 2.7 %",
        figure=f"{100 * blind:.1f} %", holds=blind < 0.773, planted=True,
    )  # fmt: skip


@lengths(200)
def test_a_design_for_a_ratio_has_the_power_it_promises(repeats, proof):
    """Spend per order: a member's orders vary, so the spread of a member's own ratio would be another one."""
    rng = np.random.default_rng(2)
    orders = rng.poisson(rng.gamma(2, 1.0, 60_000))
    level = rng.normal(30, 6, 60_000)
    spend = orders * level + np.sqrt(orders) * rng.normal(0, 8, 60_000)
    line, ratio = linearised_ratio(spend, orders)
    plan = power(SHARES, control="control", kind="mean", baseline=ratio, sd=line.std(), effect=0.8)
    hits = 0
    for _ in range(repeats):
        rows = rng.integers(0, 60_000, plan.needed_total)
        arm = rng.integers(0, 2, plan.needed_total)
        n, d = spend[rows] + 0.8 * orders[rows] * arm, orders[rows]
        values, variances = [], []
        for a in (0, 1):
            own, r = linearised_ratio(n[arm == a], d[arm == a])
            values.append(r)
            variances.append(own.var(ddof=1) / (arm == a).sum())
        hits += abs(values[1] - values[0]) / math.sqrt(sum(variances)) > 1.96
    naive = power(SHARES, control="control", kind="mean", baseline=ratio, effect=0.8,
                  sd=(spend[orders > 0] / orders[orders > 0]).std())  # fmt: skip
    setting = f"simulated power of a design for 80 %, spend per order, {repeats:,} repeats"
    assert proof(
        "experiments/power", setting, method="formula on linearised values", target="80 ± 2.7 %",
        figure=f"{100 * hits / repeats:.1f} %", holds=near(hits / repeats, repeats),
    )  # fmt: skip
    assert proof(
        "experiments/power", "members needed for spend per order", method="spread of members' own ratios",
        target=f"{plan.needed_total:,} ± 5 %", figure=f"{naive.needed_total:,}",
        holds=abs(naive.needed_total / plan.needed_total - 1) > 0.05, planted=True,
    )  # fmt: skip


@pytest.mark.parametrize("icc", [0.0, 0.02, 0.1, 0.3])
def test_the_intraclass_correlation_is_found(icc):
    found = [design_effect(*stores(seed, 300, icc)[::-2], stores(seed, 300, icc)[1]).icc for seed in range(6)]
    assert np.mean(found) == pytest.approx(icc, abs=0.03)
