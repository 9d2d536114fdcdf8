"""Simulation proofs of kinds of metrics, families and exposure: each with the defect that it must catch."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from uplift.experiments import Metric, Moments, analyze, dunnett, effect_on_exposed, holm, survival

LONG = 2000


def lengths(quick, long=LONG):
    """The quick number of repeats, and the long one for ``make proofs``."""
    return pytest.mark.parametrize("repeats", [quick, pytest.param(long, marks=pytest.mark.proof)])


def near(share, expected, repeats, tolerance=0.015):
    """Within the stated tolerance at 2,000 repeats, widened by the Monte-Carlo error of fewer (three of its units)."""
    noise = 3 * math.sqrt(expected * (1 - expected) / repeats) if repeats < LONG else 0.0
    return abs(share - expected) <= max(tolerance, noise)


def within(share, level, repeats):
    """Not above a level by more than three Monte-Carlo errors."""
    return share <= level + 3 * math.sqrt(level * (1 - level) / repeats)


# -- ratios ---------------------------------------------------------------------------------------------------------


def baskets(rng, n=3000, lift=0.0):
    """Visits and orders of members who differ in how often they come and in how often they buy when they do."""
    habit = rng.normal(size=n)
    arm = (rng.random(n) < 0.4).astype(np.int64)
    visits = 1 + rng.poisson(np.exp(0.8 + 0.5 * rng.normal(size=n)))
    chance = 1 / (1 + np.exp(-(-0.6 + 1.6 * habit)))
    return arm, visits, rng.binomial(visits, np.clip(chance * (1 + lift * arm), 0, 1)), habit


@lengths(600)
def test_a_ratio_is_judged_by_members_not_by_visits(repeats, proof):
    rng = np.random.default_rng(101)
    alarms = {"linearised": 0, "adjusted": 0, "visits as members": 0}
    for _ in range(repeats):
        arm, visits, orders, habit = baskets(rng)
        moments = Moments.of({"n": orders, "d": visits, "x": habit}, arm, 2).with_ratio("r", "n", "d")
        alarms["linearised"] += moments.means("r").difference(1, 0).p_value < 0.05
        alarms["adjusted"] += moments.regression("r", ["x"])[0].difference(1, 0).p_value < 0.05
        top, bottom = np.bincount(arm, orders), np.bincount(arm, visits)
        share, pooled = top / bottom, top.sum() / bottom.sum()
        z = (share[1] - share[0]) / math.sqrt(pooled * (1 - pooled) * (1 / bottom).sum())
        alarms["visits as members"] += 2 * norm.sf(abs(z)) < 0.05
    found = {name: count / repeats for name, count in alarms.items()}
    for name in ("linearised", "adjusted"):
        method = "linearised, delta method" if name == "linearised" else "covariate on the linearised values"
        assert proof(
            "experiments/ratio", "A/A, orders per visit, members of several visits", method=method,
            target="alarms 5 ± 1.5 %", figure=f"{100 * found[name]:.1f} %", holds=near(found[name], 0.05, repeats),
        ), found  # fmt: skip
    assert proof(
        "experiments/ratio", "A/A, orders per visit, members of several visits", method="visits taken as independent",
        target="alarms 5 ± 1.5 %", figure=f"{100 * found['visits as members']:.1f} %",
        holds=found["visits as members"] > 0.12, planted=True,
    ), found  # fmt: skip


@lengths(600)
def test_intervals_of_a_ratio_cover_a_planted_lift(repeats, proof):
    rng = np.random.default_rng(103)
    big = baskets(np.random.default_rng(0), 2_000_000, 0.1)
    truth = np.diff(np.bincount(big[0], big[2]) / np.bincount(big[0], big[1]))[0]
    hits = 0
    for _ in range(repeats):
        arm, visits, orders, habit = baskets(rng, lift=0.1)
        moments = Moments.of({"n": orders, "d": visits, "x": habit}, arm, 2).with_ratio("r", "n", "d")
        gap = moments.regression("r", ["x"])[0].difference(1, 0)
        hits += gap.low <= truth <= gap.high
    assert proof(
        "experiments/ratio", "coverage of 95 % intervals, +10 % planted", method="covariate on the linearised values",
        target="95 ± 1.5 %", figure=f"{100 * hits / repeats:.1f} %", holds=near(hits / repeats, 0.95, repeats),
    )  # fmt: skip


# -- time until an event --------------------------------------------------------------------------------------------


@lengths(500)
def test_restricted_mean_time_is_covered_under_censoring(repeats, proof):
    rng = np.random.default_rng(107)
    horizon, rates = 30.0, (1 / 30, 1 / 20)
    truth = np.diff([(1 - math.exp(-horizon * rate)) / rate for rate in rates])[0]
    hits = {"curve": 0, "censored as events": 0}
    for _ in range(repeats):
        means, variances, naive, spread = [], [], [], []
        for rate in rates:
            waited, seen = rng.exponential(1 / rate, 600), rng.uniform(5, 60, 600)
            days, event = np.minimum(waited, seen), waited <= seen
            curve = survival(days, event, horizon)
            means.append(curve.restricted_mean)
            variances.append(curve.contribution.var(ddof=1) / 600)
            cut = np.minimum(days, horizon)
            naive.append(cut.mean())
            spread.append(cut.var(ddof=1) / 600)
        hits["curve"] += abs(means[1] - means[0] - truth) <= 1.96 * math.sqrt(sum(variances))
        hits["censored as events"] += abs(naive[1] - naive[0] - truth) <= 1.96 * math.sqrt(sum(spread))
    share = {name: count / repeats for name, count in hits.items()}
    assert proof(
        "experiments/times", "coverage of the difference in restricted mean days, staggered entry",
        method="Kaplan–Meier, influence of each row", target="95 ± 1.5 %", figure=f"{100 * share['curve']:.1f} %",
        holds=near(share["curve"], 0.95, repeats),
    ), share  # fmt: skip
    assert proof(
        "experiments/times", "coverage of the difference in restricted mean days, staggered entry",
        method="censored days taken as events", target="95 ± 1.5 %",
        figure=f"{100 * share['censored as events']:.1f} %", holds=share["censored as events"] < 0.9, planted=True,
    ), share  # fmt: skip


# -- families: guardrails, many arms, the winner --------------------------------------------------------------------


@lengths(150)
def test_guardrails_do_not_add_false_harm(repeats, proof):
    rng = np.random.default_rng(109)
    guards = ["refund", "complaint", "unsubscribed", "call"]
    metrics = ["bought", *(Metric(name, guardrail=True, increase=False) for name in guards)]
    harmful, any_worse = 0, 0
    for _ in range(repeats):
        table = pd.DataFrame({name: (rng.random(1500) < 0.2).astype(int) for name in ["bought", *guards]})
        table["arm"] = rng.choice(["control", "gift"], 1500)
        result = analyze(table, arm="arm", control="control", metrics=metrics, min_cell=5)
        harmful += result.verdict.status == "harmful"
        any_worse += any(e.p_value < 0.05 and e.effect > 0 for e in result.effects[1:])
    assert proof(
        "experiments/guardrails", "A/A with four guardrails: called harmful", method="Holm over primary and guardrails",
        target="≤ 5 %", figure=f"{100 * harmful / repeats:.1f} %", holds=within(harmful / repeats, 0.05, repeats),
    )  # fmt: skip
    assert proof(
        "experiments/guardrails", "A/A with four guardrails: called harmful", method="each guardrail by itself",
        target="≤ 5 %", figure=f"{100 * any_worse / repeats:.1f} %", holds=any_worse / repeats > 0.06, planted=True,
    )  # fmt: skip


@lengths(2000, long=10_000)
def test_harm_at_the_margin_is_rarely_called_non_inferior(repeats, proof):
    rng = np.random.default_rng(113)
    n, margin = 2000, 0.03
    control, arm = rng.binomial(n, 0.10, repeats) / n, rng.binomial(n, 0.10 + margin, repeats) / n
    se = np.sqrt((control * (1 - control) + arm * (1 - arm)) / (n - 1))
    passed = float((arm - control + 1.96 * se < margin).mean())
    unproved = float((np.abs(arm - control) < 1.96 * se).mean())  # the planted defect: "no significant harm" as proof
    assert proof(
        "experiments/guardrails", "true harm at the margin: called non-inferior", method="interval below the margin",
        target="≤ 2.5 %", figure=f"{100 * passed:.1f} %", holds=within(passed, 0.025, repeats),
    )  # fmt: skip
    assert proof(
        "experiments/guardrails", "true harm at the margin: called non-inferior", method="no significant harm",
        target="≤ 2.5 %", figure=f"{100 * unproved:.1f} %", holds=unproved > 0.05, planted=True,
    )  # fmt: skip


@lengths(1000, long=10_000)
def test_dunnett_keeps_the_familywise_error_and_uses_what_arms_share(repeats, proof):
    rng = np.random.default_rng(127)
    arms, effect = 10, 0.0
    errors = {"dunnett": 0, "holm": 0, "none": 0}
    power = {"dunnett": 0.0, "holm": 0.0}
    for _ in range(repeats):
        control = rng.normal()
        for true in (0.0, 2.6):
            effect = np.where(np.arange(arms) < 5, true, 0.0)
            z = (rng.normal(size=arms) + effect * math.sqrt(2) - control) / math.sqrt(2)
            p = 2 * norm.sf(np.abs(z))
            found = {"dunnett": dunnett(p, np.full(arms, math.sqrt(0.5))), "holm": holm(p), "none": p}
            for name, adjusted in found.items():
                if true == 0:
                    errors[name] += adjusted.min() < 0.05
                elif name in power:
                    power[name] += (adjusted[:5] < 0.05).mean() / repeats
    share = {name: count / repeats for name, count in errors.items()}
    assert proof(
        "experiments/many-arms", "ten useless arms: one is called useful", method="step-down Dunnett",
        target="5 % or less, near it", figure=f"{100 * share['dunnett']:.1f} % (Holm {100 * share['holm']:.1f} %)",
        holds=within(share["dunnett"], 0.05, repeats) and share["dunnett"] > 0.035,
    ), share  # fmt: skip
    assert proof(
        "experiments/many-arms", "ten arms, five of them good: power", method="step-down Dunnett",
        target="never below Holm's", figure=f"{100 * power['dunnett']:.1f} % (Holm {100 * power['holm']:.1f} %)",
        holds=power["dunnett"] >= power["holm"],
    ), power  # fmt: skip
    assert proof(
        "experiments/many-arms", "ten useless arms: one is called useful", method="unadjusted, shared control",
        target="5 % or less", figure=f"{100 * share['none']:.1f} %", holds=share["none"] > 0.2, planted=True,
    ), share  # fmt: skip


@lengths(150)
@pytest.mark.parametrize("tied", [2, 6])
def test_a_winner_is_named_only_if_it_is_one(repeats, tied, proof):
    """Some arms are equally good and better than the rest: whoever is named best is not the best."""
    rng = np.random.default_rng(131)
    arms = ["control", *(f"offer {i}" for i in range(6))]
    chance = np.array([0.1] + [0.3] * tied + [0.15] * (6 - tied))
    named, naive = 0, 0
    for _ in range(repeats):
        arm = rng.integers(0, 7, 2100)
        table = pd.DataFrame({"arm": np.array(arms)[arm], "bought": (rng.random(2100) < chance[arm]).astype(int)})
        result = analyze(table, arm="arm", control="control", metrics=["bought"])
        named += "The best is" in result.verdict.en
        best = sorted(result.effects, key=lambda e: -e.effect)
        naive += best[0].p_adjusted < 0.05  # the planted defect: best and significant against the control
    text = f"six offers, {tied} equally good: a best one is named"
    assert proof(
        "experiments/many-arms", text, method="best against every other (Gutmann and Maymin 1987)", target="≤ 5 %",
        figure=f"{100 * named / repeats:.1f} %", holds=within(named / repeats, 0.05, repeats),
    )  # fmt: skip
    assert proof(
        "experiments/many-arms", text, method="the largest that beats the control", target="≤ 5 %",
        figure=f"{100 * naive / repeats:.1f} %", holds=naive / repeats > 0.5, planted=True,
    )  # fmt: skip


# -- exposure -------------------------------------------------------------------------------------------------------


@lengths(600)
def test_the_effect_on_the_exposed_is_covered_though_exposure_is_not_random(repeats, proof):
    """Keen members open what they get and buy more anyway."""
    rng = np.random.default_rng(137)
    hits = {"assigned": 0, "opened": 0}
    for _ in range(repeats):
        keen = rng.normal(size=2500)
        arm = (rng.random(2500) < 0.5).astype(np.int64)
        opened = arm * (rng.random(2500) < 1 / (1 + np.exp(0.5 - 1.2 * keen)))
        y = 2.0 * opened + 1.5 * keen + rng.normal(size=2500)
        moments = Moments.of({"y": y, "d": opened}, arm, 2).with_sum("both", {"y": np.ones(2), "d": np.ones(2)})
        found = effect_on_exposed(*(moments.means(name) for name in ("y", "d", "both")), 1, 0)
        hits["assigned"] += found.low <= 2.0 <= found.high
        naive = Moments.of({"y": y[(arm == 0) | (opened == 1)]}, opened[(arm == 0) | (opened == 1)].astype(np.int64), 2)
        gap = naive.means("y").difference(1, 0)
        hits["opened"] += gap.low <= 2.0 <= gap.high
    share = {name: count / repeats for name, count in hits.items()}
    assert proof(
        "experiments/exposed", "coverage of the effect on those reached", method="Wald, Anderson–Rubin",
        target="95 ± 1.5 %", figure=f"{100 * share['assigned']:.1f} %", holds=near(share["assigned"], 0.95, repeats),
    ), share  # fmt: skip
    assert proof(
        "experiments/exposed", "coverage of the effect on those reached", method="those who opened against the control",
        target="95 ± 1.5 %", figure=f"{100 * share['opened']:.1f} %", holds=share["opened"] < 0.5, planted=True,
    ), share  # fmt: skip
