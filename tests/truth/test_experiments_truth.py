"""Simulation proofs of the experiment engine: each has a truth, a tolerance, and a defect that it must catch.

Quick versions run with the tests; those marked ``proof`` repeat 2,000 times, where a 95 % coverage has a Monte-Carlo
error of 0.49 points, and hold to the tolerances of the methods' table: 95 ± 1.5, each tail 2.5 ± 1.05.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from uplift.experiments import (
    ArmRegression,
    analyze,
    difference,
    fieller,
    power,
    sample_ratio,
    shrink,
    simulate_power,
)  # fmt: skip

LONG = 2000


def lengths(quick, long=LONG):
    """The quick number of repeats, and the long one for ``make proofs``."""
    return pytest.mark.parametrize("repeats", [quick, pytest.param(long, marks=pytest.mark.proof)])


def near(share, expected, repeats, tolerance):
    """Within the stated tolerance at 2,000 repeats, widened by the Monte-Carlo error of fewer (three of its units)."""
    noise = 3 * math.sqrt(expected * (1 - expected) / repeats) if repeats < LONG else 0.0
    return abs(share - expected) <= max(tolerance, noise)


# -- average effect: zero-inflated lognormal spend, 70/30, skewed and heteroscedastic ------------------------------

LIFT = 0.6


def spend(rng, n, treated=0.7):
    """A covariate known before, the arm, and spend: most buy nothing, some buy for a lognormal amount."""
    x = rng.normal(size=n)
    arm = (rng.random(n) < treated).astype(np.int64)
    buys = rng.random(n) < 1 / (1 + np.exp(-(-0.9 + 0.7 * x + 0.25 * arm)))
    amount = np.exp(2.5 + 0.5 * x + 0.8 * rng.normal(size=n)) * (1 + LIFT * arm)
    return x, arm, np.where(buys, amount, 0.0)


def spend_effect():
    """The true average effect, by quadrature over the covariate."""
    x, w = np.polynomial.hermite_e.hermegauss(200)
    amount = np.exp(2.5 + 0.5 * x + 0.32)
    means = [w @ (amount * (1 + LIFT * arm) / (1 + np.exp(-(-0.9 + 0.7 * x + 0.25 * arm)))) for arm in (0, 1)]
    return (means[1] - means[0]) / w.sum()


@lengths(400)
def test_lin_with_hc2_covers_the_truth_in_each_tail(repeats):
    truth = spend_effect()
    n = 3000 if repeats < LONG else 10_000
    rng = np.random.default_rng(11)
    misses = {"raw": [0, 0], "lin": [0, 0], "pooled": [0, 0]}
    for _ in range(repeats):
        x, arm, y = spend(rng, n)
        fitted = ArmRegression(np.column_stack([x, np.exp(x)]), arm, 2)
        left = fitted.residuals(y)
        lin = fitted.estimate(y).difference(1, 0)
        pooled = difference(lin.value, left.var() * (1 / arm.sum() + 1 / (n - arm.sum())), n)  # the planted defect
        for name, gap in (
            ("raw", ArmRegression(None, arm, 2).estimate(y).difference(1, 0)), ("lin", lin), ("pooled", pooled),
        ):  # fmt: skip
            misses[name][0] += truth < gap.low
            misses[name][1] += truth > gap.high
    shares = {name: (below / repeats, above / repeats) for name, (below, above) in misses.items()}
    for name in ("raw", "lin"):
        below, above = shares[name]
        assert near(1 - below - above, 0.95, repeats, 0.015), shares
        assert near(below, 0.025, repeats, 0.0105), shares
        assert near(above, 0.025, repeats, 0.0105), shares
    assert not near(1 - sum(shares["pooled"]), 0.95, repeats, 0.015), shares


@lengths(400)
@pytest.mark.parametrize("rho", [0.4, 0.7])
def test_covariates_cut_the_variance_by_rho_squared(repeats, rho):
    rng = np.random.default_rng(5)
    raw, adjusted = [], []
    for _ in range(repeats):
        x = rng.normal(size=1500)
        arm = (rng.random(1500) < 0.3).astype(np.int64)
        y = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=1500) + arm
        raw.append(ArmRegression(None, arm, 2).estimate(y).difference(1, 0).value)
        adjusted.append(ArmRegression(x[:, None], arm, 2).estimate(y).difference(1, 0).value)
    ratio = np.var(adjusted) / np.var(raw)
    assert ratio == pytest.approx(1 - rho**2, rel=0.09 if repeats == LONG else 0.2)


@lengths(300)
def test_members_with_several_rows_are_covered_when_clustered(repeats):
    rng = np.random.default_rng(3)
    hits = {"cluster": 0, "rows": 0}
    for _ in range(repeats):
        cluster = np.repeat(np.arange(120), 6)
        arm = np.repeat((rng.random(120) < 0.4).astype(np.int64), 6)
        x = np.repeat(rng.normal(size=120), 6)
        y = 0.5 * arm + x + np.repeat(rng.normal(size=120), 6) + rng.normal(size=720)
        for name, given in (("cluster", cluster), ("rows", None)):
            gap = ArmRegression(x[:, None], arm, 2, given).estimate(y).difference(1, 0)
            hits[name] += gap.low <= 0.5 <= gap.high
    assert near(hits["cluster"] / repeats, 0.95, repeats, 0.015)
    assert hits["rows"] / repeats < 0.80


# -- relative effect -----------------------------------------------------------------------------------------------


def relative(repeats, adjusted):
    """Coverage of a planted +10 % by Fieller and by a denominator taken as fixed; one arm of nine is the control."""
    rng = np.random.default_rng(17)
    hits = {"fieller": 0, "fixed": 0}
    found = []
    for _ in range(repeats):
        n = 900
        x = rng.lognormal(0, 0.8, n)
        arm = (rng.random(n) < 0.8).astype(np.int64)
        y = (x + 0.08 * rng.normal(size=n)) * (1 + 0.1 * arm)
        means = ArmRegression(x[:, None] if adjusted else None, arm, 2).estimate(y)
        ratio, gap = means.ratio(1, 0), means.difference(1, 0)
        plain = y[arm == 0].mean()
        found.append(ratio.value)
        hits["fieller"] += ratio.low <= 0.1 <= ratio.high
        hits["fixed"] += gap.low / plain <= 0.1 <= gap.high / plain
    return {name: count / repeats for name, count in hits.items()}, np.mean(found)


@lengths(400)
@pytest.mark.parametrize("adjusted", [True, False])
def test_fieller_recovers_ten_percent(repeats, adjusted):
    share, mean = relative(repeats, adjusted)
    assert near(share["fieller"], 0.95, repeats, 0.015)
    assert mean == pytest.approx(0.1, abs=0.005 if adjusted else 0.02)


@lengths(400)
def test_a_fixed_denominator_fails_the_same_test(repeats):
    share, _ = relative(repeats, adjusted=True)
    assert not near(share["fixed"], 0.95, repeats, 0.015)
    assert share["fixed"] < 0.90


# -- sample ratio ---------------------------------------------------------------------------------------------------


@lengths(1000)
def test_sample_ratio_alarms_as_often_as_it_says(repeats):
    rng = np.random.default_rng(0)
    design = {"offer": 0.95, "control": 0.05}
    p, equal = [], []
    for _ in range(repeats):
        offer = int(rng.binomial(10_000, 0.95))
        counts = {"offer": offer, "control": 10_000 - offer}
        p.append(sample_ratio(counts, design).p_value)
        assert sample_ratio(counts, design | {"paused": 0.0}).p_value == p[-1]
        equal.append(sample_ratio(counts, {"offer": 0.5, "control": 0.5}).p_value)
    assert near(np.mean(np.array(p) < 0.05), 0.05, repeats, 0.015)
    assert np.mean(np.array(p) < 0.001) <= 0.001 + 3 * math.sqrt(0.001 / repeats)
    assert max(equal) < 0.001  # equal shares assumed: every sound experiment would be called broken


# -- many arms, segments --------------------------------------------------------------------------------------------


def blank(rng, n, arms):
    """Members of whom nothing is changed by their arm."""
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "arm": rng.choice(arms, n),
            "x": x,
            "bought": (rng.random(n) < 1 / (1 + np.exp(1 - x))).astype(int),
            "channel": rng.choice(["app", "store", "web"], n),
            "recency": rng.integers(1, 7, n),
        }
    )


@lengths(150)
def test_ten_useless_arms_are_rarely_called_useful(repeats):
    rng = np.random.default_rng(23)
    arms = ["control", *(f"offer {i}" for i in range(10))]
    family, naive, verdicts = 0, 0, 0
    for _ in range(repeats):
        result = analyze(blank(rng, 2200, arms), arm="arm", control="control", metrics=["bought"], covariates=["x"])
        family += min(e.p_adjusted for e in result.effects) < 0.05
        naive += min(e.p_value for e in result.effects) < 0.05
        verdicts += result.verdict.status in ("effective", "harmful")
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
    assert family / repeats <= allowed
    assert verdicts / repeats <= allowed
    assert naive / repeats > 0.2


@lengths(60, long=400)
def test_shuffled_arms_leave_nothing_to_discover_in_segments(repeats):
    rng = np.random.default_rng(29)
    table = blank(rng, 3000, ["none", "mens", "womens"])
    found = {"segments": 0, "interactions": 0, "naive": 0}
    for _ in range(repeats):
        shuffled = table.assign(arm=rng.permutation(table["arm"]))
        result = analyze(
            shuffled, arm="arm", control="none", metrics=["bought"], covariates=["x"], segments=["channel", "recency"]
        )
        parts = [e for e in result.effects if e.segment is not None]
        found["segments"] += min(e.p_adjusted for e in parts) < 0.05
        found["naive"] += min(e.p_value for e in parts) < 0.05
        found["interactions"] += min(t.p_adjusted for t in result.interactions) < 0.05
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
    assert found["segments"] / repeats <= allowed
    assert found["interactions"] / repeats <= allowed
    assert found["naive"] / repeats > 0.3


def plug_in(y, se):
    """The interval that trusts a normal prior with its estimated variance: the planted defect."""
    weights = se**-2 / (se**-2).sum()
    centre = weights @ y
    between = max(0.0, weights @ ((y - centre) ** 2 - se**2))
    keep = between / (between + se**2)
    value, half = centre + keep * (y - centre), norm.ppf(0.975) * np.sqrt(keep) * se
    return value - half, value + half


@lengths(250)
@pytest.mark.parametrize("segments", [4, 12])
def test_shrunk_intervals_cover_on_average_whatever_the_spread(repeats, segments):
    rng = np.random.default_rng(31)
    robust, naive = {}, {}
    for tau in (0.0, 0.5, 1.0, 2.0):
        hits, plugged = 0.0, 0.0
        for _ in range(repeats):
            se = rng.choice([0.7, 1.0, 1.4], segments)
            truth = 0.5 + tau * rng.normal(size=segments)
            y = truth + se * rng.normal(size=segments)
            shrunk = shrink(y, se)
            hits += ((shrunk.low <= truth) & (truth <= shrunk.high)).mean()
            low, high = plug_in(y, se)
            plugged += ((low <= truth) & (truth <= high)).mean()
        robust[tau], naive[tau] = hits / repeats, plugged / repeats
    slack = 0.0 if repeats == LONG else 0.01
    assert min(robust.values()) >= 0.935 - slack, robust
    assert min(naive.values()) < 0.80, naive


@lengths(250)
def test_the_best_segment_is_not_praised_too_much(repeats):
    rng = np.random.default_rng(37)
    for tau in (0.5, 1.0, 2.0):
        excess, unshrunk = [], []
        for _ in range(repeats):
            truth = tau * rng.normal(size=12)
            y = truth + rng.normal(size=12)
            shrunk = shrink(y, np.ones(12)).value
            excess.append(shrunk[shrunk.argmax()] - truth[shrunk.argmax()])
            unshrunk.append(y.max() - truth[y.argmax()])
        assert abs(np.mean(excess)) <= (0.2 if repeats == LONG else 0.3)
        assert np.mean(unshrunk) > 0.5


@lengths(250)
def test_heavy_tails_of_true_effects_do_not_break_the_intervals(repeats):
    """One segment in ten differs by a lot: no normal prior fits, average coverage must hold all the same."""
    rng = np.random.default_rng(41)
    hits = 0.0
    for _ in range(repeats):
        truth = np.where(rng.random(20) < 0.1, 4.0, 0.0)
        shrunk = shrink(truth + rng.normal(size=20), np.ones(20))
        hits += ((shrunk.low <= truth) & (truth <= shrunk.high)).mean()
    assert hits / repeats >= 0.935


# -- power ----------------------------------------------------------------------------------------------------------


@lengths(300)
@pytest.mark.parametrize("kind", ["rate", "mean"])
def test_the_formula_gives_the_power_it_promises(repeats, kind):
    shares = {"control": 0.4, "gift": 0.6}
    given = {"baseline": 0.2, "effect": 0.04} if kind == "rate" else {"sd": 3.0, "baseline": 5.0, "effect": 0.3}
    plan = power(shares, control="control", kind=kind, rho2=0.3, **given)
    seen = simulate_power(plan, repeats=repeats, seed=1).power["gift"]
    assert near(seen, 0.80, repeats, 0.027)
    unadjusted = power(shares, control="control", kind=kind, rho2=0.0, **given)
    assert unadjusted.needed_total > 1.3 * plan.needed_total
    fewer = simulate_power(plan, repeats=repeats, seed=1, size=plan.needed_total // 2).power["gift"]
    assert not near(fewer, 0.80, repeats, 0.027)  # half the members must not do


def test_fieller_needs_no_large_numbers_to_agree_with_its_definition():
    ratio = fieller(2.2, 2.0, 0.01, 0.01, df=50)
    for edge in (ratio.low + 1, ratio.high + 1):
        gap = difference(2.2 - edge * 2.0, 0.01 + edge**2 * 0.01, 50)
        assert gap.p_value == pytest.approx(0.05, abs=1e-9)
