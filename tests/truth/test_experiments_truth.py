"""Simulation proofs of the experiment engine: each has a truth, a tolerance, and a defect that it must catch.

Quick versions run with the tests; those marked ``proof`` repeat 2,000 times, where a 95 % coverage has a Monte-Carlo
error of 0.49 points, and hold to the tolerances of the methods' table: 95 ± 1.5, each tail 2.5 ± 1.05.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog
from scipy.stats import norm

from uplift.experiments import (
    ArmRegression,
    analyze,
    difference,
    fieller,
    power,
    robust_critical_value,
    sample_ratio,
    shrink,
    simulate_power,
)  # fmt: skip

LONG = 2000


def lengths(quick, long=LONG):
    """The quick number of repeats, and the long one for ``make proofs``."""
    return pytest.mark.parametrize("repeats", [quick, pytest.param(long, marks=pytest.mark.proof)])


def tails(below, above):
    return f"{100 * (1 - below - above):.1f} % covered; truth below {100 * below:.1f} %, above {100 * above:.1f} %"


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
def test_lin_with_hc2_covers_the_truth_in_each_tail(repeats, proof):
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
    methods = {
        "raw": "difference of means",
        "lin": "Lin regression, HC2",
        "pooled": "one variance for both arms",
    }
    fine = {}
    for name, (below, above) in shares.items():
        fine[name] = near(1 - below - above, 0.95, repeats, 0.015)
        if name != "pooled":
            fine[name] &= near(below, 0.025, repeats, 0.0105) and near(above, 0.025, repeats, 0.0105)
        fine[name] ^= name == "pooled"
        target = "not 95 ± 1.5 %" if name == "pooled" else "95 ± 1.5 %, each tail 2.5 ± 1.05"
        proof(
            "experiments/average", f"zero-inflated lognormal spend, 70/30, {n:,} members", method=methods[name],
            target=target, figure=tails(below, above), holds=fine[name], planted=name == "pooled",
        )  # fmt: skip
    assert all(fine.values()), shares


@lengths(400, long=10_000)
@pytest.mark.parametrize("rho", [0.4, 0.7])
def test_covariates_cut_the_variance_by_rho_squared(repeats, rho, proof):
    rng = np.random.default_rng(5)
    other = "another member's"
    found = {"raw": [], "its own": [], other: []}
    for _ in range(repeats):
        x = rng.normal(size=1000)
        arm = (rng.random(1000) < 0.3).astype(np.int64)
        y = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=1000) + arm
        for name, covariate in (("raw", None), ("its own", x[:, None]), (other, x[::-1, None])):
            found[name].append(ArmRegression(covariate, arm, 2).estimate(y).difference(1, 0).value)
    ratio = {name: np.var(values) / np.var(found["raw"]) for name, values in found.items()}
    tolerance = 0.045 if repeats == 10_000 else 0.2  # three Monte-Carlo errors
    quantity = f"variance with a covariate over variance without, ρ = {rho}"
    target = f"1 − ρ² = {1 - rho**2:.2f} ± {100 * tolerance:.1f} %"
    right, wrong = (ratio[name] == pytest.approx(1 - rho**2, rel=tolerance) for name in ("its own", other))
    assert proof(
        "experiments/average", quantity, method="Lin regression", target=target, figure=f"{ratio['its own']:.3f}",
        holds=right,
    )  # fmt: skip
    caught = proof(
        "experiments/average", quantity, method="the covariate of another member", target=target,
        figure=f"{ratio[other]:.3f}", holds=not wrong, planted=True,
    )  # fmt: skip
    assert caught or repeats < 10_000  # at ρ = .4 too near for few repeats


@lengths(300)
def test_members_with_several_rows_are_covered_when_clustered(repeats, proof):
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
    share = {name: count / repeats for name, count in hits.items()}
    quantity = "120 members with six rows each"
    covered = proof(
        "experiments/average", quantity, method="Lin regression, CR2", target="95 ± 1.5 %",
        figure=f"{100 * share['cluster']:.1f} % covered", holds=near(share["cluster"], 0.95, repeats, 0.015),
    )  # fmt: skip
    caught = proof(
        "experiments/average", quantity, method="rows counted as members", target="below 80 %",
        figure=f"{100 * share['rows']:.1f} % covered", holds=share["rows"] < 0.80, planted=True,
    )  # fmt: skip
    assert covered
    assert caught


@lengths(400)
def test_few_stores_of_unequal_size_are_covered(repeats, proof):
    """Twenty stores of 5 to 59 members: a few large ones carry their arm, so its variance is poorly known."""
    rng = np.random.default_rng(7)
    hits = {"right": 0, "plain": 0}
    for _ in range(repeats):
        store = np.repeat(np.arange(20), rng.integers(5, 60, 20))
        arm = rng.permutation((np.arange(20) < 8).astype(np.int64))[store]
        y = 0.5 * arm + 0.4 * rng.normal(size=20)[store] + rng.normal(size=len(store))
        fitted = ArmRegression(None, arm, 2, store)
        gap = fitted.estimate(y).difference(1, 0)
        hits["right"] += gap.low <= 0.5 <= gap.high
        sums = np.bincount(store, fitted.residuals(y) / np.bincount(arm)[arm])
        hits["plain"] += abs(gap.value - 0.5) <= 1.96 * math.sqrt((sums**2).sum())
    share = {name: count / repeats for name, count in hits.items()}
    quantity = "20 stores of 5 to 59 members, assigned whole, 40/60"
    assert proof(
        "experiments/average", quantity, method="CR2, Bell and McCaffrey's degrees of freedom", target="95 ± 1.5 %",
        figure=f"{100 * share['right']:.1f} % covered", holds=near(share["right"], 0.95, repeats, 0.015),
    ), share  # fmt: skip
    assert proof(
        "experiments/average", quantity, method="sums over stores as they are, ± 1.96", target="95 ± 1.5 %",
        figure=f"{100 * share['plain']:.1f} % covered", holds=share["plain"] < 0.92, planted=True,
    ), share  # fmt: skip


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
def test_fieller_recovers_ten_percent(repeats, adjusted, proof):
    share, mean = relative(repeats, adjusted)
    tolerance = 0.005 if adjusted else 0.02
    assert proof(
        "experiments/relative", f"planted +10 %, {'with' if adjusted else 'without'} covariates", method="Fieller",
        target=f"95 ± 1.5 %, mean 10 ± {100 * tolerance:g} %",
        figure=f"{100 * share['fieller']:.1f} % covered, mean {100 * mean:.2f} %",
        holds=near(share["fieller"], 0.95, repeats, 0.015) and mean == pytest.approx(0.1, abs=tolerance),
    )  # fmt: skip


@lengths(400)
def test_a_fixed_denominator_fails_the_same_test(repeats, proof):
    share, _ = relative(repeats, adjusted=True)
    assert proof(
        "experiments/relative", "planted +10 %, with covariates", method="the control's mean taken as fixed",
        target="below 90 %", figure=f"{100 * share['fixed']:.1f} % covered", planted=True,
        holds=share["fixed"] < 0.90 and not near(share["fixed"], 0.95, repeats, 0.015),
    )  # fmt: skip


# -- sample ratio ---------------------------------------------------------------------------------------------------


@lengths(1000)
def test_sample_ratio_alarms_as_often_as_it_says(repeats, proof):
    rng = np.random.default_rng(0)
    design = {"offer": 0.95, "control": 0.05}
    p, equal = [], []
    for _ in range(repeats):
        offer = int(rng.binomial(10_000, 0.95))
        counts = {"offer": offer, "control": 10_000 - offer}
        p.append(sample_ratio(counts, design).p_value)
        assert sample_ratio(counts, design | {"paused": 0.0}).p_value == p[-1]
        equal.append(sample_ratio(counts, {"offer": 0.5, "control": 0.5}).p_value)
    often, rare = np.mean(np.array(p) < 0.05), np.mean(np.array(p) < 0.001)
    limit = 0.001 + 3 * math.sqrt(0.001 / repeats)
    quantity = "designed 95/5, and an arm of weight zero added"
    right = proof(
        "experiments/sample-ratio", quantity, method="χ² against the designed weights, arms of weight above zero",
        target=f"p < .05 in 5 ± 1.5 %, p < .001 in at most {100 * limit:.2f} %, the same p with the added arm",
        figure=f"{100 * often:.1f} %, {100 * rare:.2f} %, the same",
        holds=near(often, 0.05, repeats, 0.015) and rare <= limit,
    )  # fmt: skip
    caught = proof(
        "experiments/sample-ratio", "designed 95/5", method="equal shares assumed", target="p < .001 always",
        figure=f"largest p {max(equal):.1g}", holds=max(equal) < 0.001, planted=True,
    )  # fmt: skip
    assert right
    assert caught


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
def test_ten_useless_arms_are_rarely_called_useful(repeats, proof):
    rng = np.random.default_rng(23)
    arms = ["control", *(f"offer {i}" for i in range(10))]
    family, naive, verdicts = 0, 0, 0
    for _ in range(repeats):
        result = analyze(blank(rng, 2200, arms), arm="arm", control="control", metrics=["bought"], covariates=["x"])
        if result.verdict.status == "invalid":  # once in a thousand the arms differ before assignment by chance
            continue
        family += min(e.p_adjusted for e in result.effects) < 0.05
        naive += min(e.p_value for e in result.effects) < 0.05
        verdicts += result.verdict.status in ("effective", "harmful")
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
    quantity, limit = "ten arms without effect: any called significant", f"at most {100 * allowed:.1f} %"
    named = proof(
        "experiments/many-arms", quantity, method="adjusted over arms, and the verdict", target=limit,
        figure=f"{100 * family / repeats:.1f} %, verdict {100 * verdicts / repeats:.1f} %",
        holds=max(family, verdicts) / repeats <= allowed,
    )  # fmt: skip
    caught = proof(
        "experiments/many-arms", quantity, method="unadjusted p-values", target="above 20 %",
        figure=f"{100 * naive / repeats:.1f} %", holds=naive / repeats > 0.2, planted=True,
    )  # fmt: skip
    assert named
    assert caught


@lengths(60, long=400)
def test_shuffled_arms_leave_nothing_to_discover_in_segments(repeats, proof):
    rng = np.random.default_rng(29)
    table = blank(rng, 3000, ["none", "mens", "womens"])
    found = {"segments": 0, "interactions": 0, "naive": 0}
    for _ in range(repeats):
        shuffled = table.assign(arm=rng.permutation(table["arm"]))
        result = analyze(
            shuffled, arm="arm", control="none", metrics=["bought"], covariates=["x"], segments=["channel", "recency"]
        )
        if result.verdict.status == "invalid":
            continue
        parts = [e for e in result.effects if e.segment is not None]
        found["segments"] += min(e.p_adjusted for e in parts) < 0.05
        found["naive"] += min(e.p_value for e in parts) < 0.05
        found["interactions"] += min(t.p_adjusted for t in result.interactions) < 0.05
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
    share = {name: count / repeats for name, count in found.items()}
    quantity = "labels of arms shuffled: anything found in segments"
    named = proof(
        "experiments/segments", quantity, method="adjusted p-values; interaction tests",
        target=f"at most {100 * allowed:.1f} %", holds=max(share["segments"], share["interactions"]) <= allowed,
        figure=f"{100 * share['segments']:.1f} %; {100 * share['interactions']:.1f} %",
    )  # fmt: skip
    caught = proof(
        "experiments/segments", quantity, method="unadjusted p-values", target="above 30 %",
        figure=f"{100 * share['naive']:.1f} %", holds=share["naive"] > 0.3, planted=True,
    )  # fmt: skip
    assert named
    assert caught


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
def test_shrunk_intervals_cover_on_average_whatever_the_spread(repeats, segments, proof):
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
    quantity = f"{segments} segments, spread τ = 0, .5, 1, 2"
    right = proof(
        "experiments/segments", quantity, method="robust empirical Bayes", holds=min(robust.values()) >= 0.935 - slack,
        target="average coverage at least 93.5 %", figure=", ".join(f"{100 * v:.1f}" for v in robust.values()) + " %",
    )  # fmt: skip
    caught = proof(
        "experiments/segments", quantity, method="plug-in intervals", holds=min(naive.values()) < 0.80, planted=True,
        target="somewhere below 80 %", figure=", ".join(f"{100 * v:.1f}" for v in naive.values()) + " %",
    )  # fmt: skip
    assert right, robust
    assert caught, naive


@lengths(250)
def test_the_best_segment_is_not_praised_too_much(repeats, proof):
    rng = np.random.default_rng(37)
    for tau in (0.5, 1.0, 2.0):
        excess, unshrunk = [], []
        for _ in range(repeats):
            truth = tau * rng.normal(size=12)
            y = truth + rng.normal(size=12)
            shrunk = shrink(y, np.ones(12)).value
            excess.append(shrunk[shrunk.argmax()] - truth[shrunk.argmax()])
            unshrunk.append(y.max() - truth[y.argmax()])
        limit = 0.2 if repeats == LONG else 0.3
        quantity = f"bias of the best of 12 segments, τ = {tau:g}, in standard errors"
        right = proof(
            "experiments/segments", quantity, method="robust empirical Bayes", target=f"within ± {limit}",
            figure=f"{np.mean(excess):+.2f}", holds=abs(np.mean(excess)) <= limit,
        )  # fmt: skip
        caught = proof(
            "experiments/segments", quantity, method="not shrunk", target="above .5",
            figure=f"{np.mean(unshrunk):+.2f}", holds=np.mean(unshrunk) > 0.5, planted=True,
        )  # fmt: skip
        assert right
        assert caught


@lengths(250)
def test_heavy_tails_of_true_effects_do_not_break_the_intervals(repeats, proof):
    """One segment in ten differs by a lot: no normal prior fits, average coverage must hold all the same."""
    rng = np.random.default_rng(41)
    hits = 0.0
    for _ in range(repeats):
        truth = np.where(rng.random(20) < 0.1, 4.0, 0.0)
        shrunk = shrink(truth + rng.normal(size=20), np.ones(20))
        hits += ((shrunk.low <= truth) & (truth <= shrunk.high)).mean()
    assert proof(
        "experiments/segments", "one segment in ten differs by a lot", method="robust empirical Bayes",
        target="average coverage at least 93.5 %", figure=f"{100 * hits / repeats:.1f} %",
        holds=hits / repeats >= 0.935,
    )  # fmt: skip


def worst_coverage(half, second_moment):
    """Least coverage of ``±half`` standard errors over all distributions of a bias with this second moment."""
    t = np.concatenate([np.linspace(0, 60, 3001), np.geomspace(60, 4000, 800)])
    miss = norm.cdf(-half - np.sqrt(t)) + norm.cdf(-half + np.sqrt(t))
    return 1 + linprog(-miss, A_eq=[np.ones_like(t), t], b_eq=[1, second_moment]).fun


@pytest.mark.parametrize(("second_moment", "published"), [(1, 3.2592), (4, 7.2164)])
def test_robust_critical_values_are_those_published_and_no_larger_than_needed(second_moment, published, proof):
    found = robust_critical_value(second_moment)
    quantity = f"critical value at bias² = {second_moment}, and its coverage under the worst distribution of biases"
    target = f"{published}, 95 %"
    covered = worst_coverage(found, second_moment)
    assert proof(
        "experiments/segments", quantity, method="robust empirical Bayes", target=target,
        figure=f"{found:.4f}, {100 * covered:.2f} %",
        holds=abs(found - published) < 5e-5 and abs(covered - 0.95) < 2e-4,
    )  # fmt: skip
    plugged = 1.959964 * math.sqrt(1 + second_moment)
    assert proof(
        "experiments/segments", quantity, method="biases taken as normal", target=target,
        figure=f"{plugged:.4f}, {100 * worst_coverage(plugged, second_moment):.2f} %",
        holds=worst_coverage(plugged, second_moment) < 0.945, planted=True,
    )  # fmt: skip


# -- power ----------------------------------------------------------------------------------------------------------


@lengths(300)
@pytest.mark.parametrize("kind", ["rate", "mean"])
def test_the_formula_gives_the_power_it_promises(repeats, kind, proof):
    shares = {"control": 0.4, "gift": 0.6}
    given = {"baseline": 0.2, "effect": 0.04} if kind == "rate" else {"sd": 3.0, "baseline": 5.0, "effect": 0.3}
    plan = power(shares, control="control", kind=kind, rho2=0.3, **given)
    seen = simulate_power(plan, repeats=repeats, seed=1).power["gift"]
    quantity = f"simulated power of a {kind}, two arms 60/40, ρ² = .3"
    right = proof(
        "experiments/power", quantity, method="formula's size for 80 %", target="80 ± 2.7 %",
        figure=f"{100 * seen:.1f} %", holds=near(seen, 0.80, repeats, 0.027),
    )  # fmt: skip
    assert right
    unadjusted = power(shares, control="control", kind=kind, rho2=0.0, **given)
    assert unadjusted.needed_total > 1.3 * plan.needed_total
    fewer = simulate_power(plan, repeats=repeats, seed=1, size=plan.needed_total // 2).power["gift"]
    assert proof(
        "experiments/power", quantity, method="half of these members", target="not 80 ± 2.7 %",
        figure=f"{100 * fewer:.1f} %", holds=not near(fewer, 0.80, repeats, 0.027), planted=True,
    )  # fmt: skip


def test_fieller_needs_no_large_numbers_to_agree_with_its_definition():
    ratio = fieller(2.2, 2.0, 0.01, 0.01, df=50)
    for edge in (ratio.low + 1, ratio.high + 1):
        gap = difference(2.2 - edge * 2.0, 0.01 + edge**2 * 0.01, 50)
        assert gap.p_value == pytest.approx(0.05, abs=1e-9)
