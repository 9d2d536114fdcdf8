"""Ratios, retention, times, winsorising, guardrails with margins, effects on the exposed, Dunnett."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import dunnett as scipy_dunnett

from uplift.config import MetricSpec
from uplift.errors import ConfigError, DesignError, InputError
from uplift.experiments import Metric, analyze, dunnett, holm, survival

GIVEN = {"arm": "arm", "control": "control"}


@pytest.fixture(scope="module")
def shop():
    rng = np.random.default_rng(5)
    n = 6000
    arm = rng.choice(["control", "gift", "voucher"], n, p=[0.5, 0.25, 0.25])
    visits = rng.poisson(3, n)
    orders = rng.binomial(visits, 0.3 + 0.06 * (arm == "voucher"))
    waited = rng.exponential(25 - 6.0 * (arm == "voucher"), n)
    seen = rng.uniform(10, 60, n)
    return pd.DataFrame(
        {
            "arm": arm, "visits": visits, "orders": orders, "spend": orders * rng.lognormal(3, 1.3, n),
            "days": np.minimum(waited, seen), "ordered": (waited <= seen).astype(int),
            "sent": ((arm != "control") & (rng.random(n) < 0.6)).astype(int),
            "city": rng.choice(["a", "b"], n), "past": rng.poisson(3, n) + visits,
        }
    )  # fmt: skip


def whole(result, arm="voucher", metric=None):
    return next(e for e in result.effects if e.arm == arm and e.segment is None and metric in (None, e.metric))


def test_a_ratio_is_of_sums_in_the_whole_and_in_every_segment(shop):
    metric = Metric("orders per visit", "ratio", column="orders", denominator="visits")
    result = analyze(shop, **GIVEN, metrics=[metric], segments=["city"])
    for effect in result.effects:
        own = shop[shop["city"] == effect.segment] if effect.segment else shop
        sums = own.groupby("arm")[["orders", "visits"]].sum()
        ratio = sums["orders"] / sums["visits"]
        assert effect.control_mean == pytest.approx(ratio["control"])
        assert effect.arm_mean == pytest.approx(ratio[effect.arm])
        assert effect.raw == pytest.approx(ratio[effect.arm] - ratio["control"])
    assert result.verdict.status == "effective"
    assert result.metrics[0]["denominator"] == "visits"


def test_covariates_narrow_a_ratio(shop):
    metric = Metric("spend per visit", "ratio", column="spend", denominator="visits")
    plain = whole(analyze(shop, **GIVEN, metrics=[metric]))
    helped = whole(analyze(shop.assign(known=shop["spend"] - 8 * shop["visits"]), **GIVEN, metrics=[metric],
                           covariates=["known"]))  # fmt: skip
    assert helped.se < 0.9 * plain.se
    assert helped.raw == plain.raw


def test_a_time_is_the_restricted_mean_of_the_curve(shop):
    metric = Metric("first order", "time", column="days", event="ordered", window_days=30, increase=False)
    effect = whole(analyze(shop, **GIVEN, metrics=[metric]))
    for arm, found in (("control", effect.control_mean), ("voucher", effect.arm_mean)):
        own = shop[shop["arm"] == arm]
        assert found == pytest.approx(survival(own["days"], own["ordered"] == 1, 30).restricted_mean)
    assert effect.effect < 0
    assert whole(analyze(shop, **GIVEN, metrics=[metric], segments=["city"])).se == effect.se
    naive = shop.groupby("arm")["days"].apply(lambda days: days.clip(upper=30).mean())  # censored days taken as events
    assert abs(naive["control"] - effect.control_mean) > 1


def test_survival_by_hand():
    result = survival([1.0, 2.0, 2.0, 4.0, 6.0], [True, True, False, True, False], horizon=5)
    np.testing.assert_allclose(result.time, [1, 2, 4])
    np.testing.assert_allclose(result.surviving, [0.8, 0.6, 0.3])
    assert result.restricted_mean == pytest.approx(1 + 0.8 + 2 * 0.6 + 0.3)
    assert result.contribution.mean() == pytest.approx(result.restricted_mean)
    assert result.contribution.std() / np.sqrt(5) == pytest.approx(result.restricted_mean_se)


def test_nobody_followed_to_the_horizon(shop):
    metric = Metric("first order", "time", column="days", event="ordered", window_days=300)
    with pytest.raises(DesignError, match="nobody was followed for 300 days"):
        analyze(shop, **GIVEN, metrics=[metric])
    with pytest.raises(DesignError, match="3 times are negative"):
        analyze(shop.assign(days=shop["days"].where(shop.index > 2, -1.0)), **GIVEN,
                metrics=[Metric("t", "time", column="days", event="ordered", window_days=9)])  # fmt: skip
    with pytest.raises(InputError, match="one a row"):
        survival([1.0], [True, False], 3)


def test_winsorising_pools_the_arms(shop):
    result = analyze(shop, **GIVEN, metrics=[Metric("spend", "mean", winsorize=0.98)])
    cap = np.quantile(shop["spend"], 0.98)
    means = shop["spend"].clip(upper=cap).groupby(shop["arm"]).mean()
    assert whole(result).raw == pytest.approx(means["voucher"] - means["control"])
    assert any(f"{cap:.6g}" in note["en"] and "all arms together" in note["en"] for note in result.notes)
    rare = shop.assign(spend=np.where(shop.index % 200 == 0, 50.0, 0.0))
    with pytest.raises(DesignError, match="would cut every buyer to nothing"):
        analyze(rare, **GIVEN, metrics=[Metric("spend", "mean", winsorize=0.9)])


def test_retention_is_a_rate_in_points(shop):
    result = analyze(
        shop.assign(back=(shop["orders"] > 0) * 1), **GIVEN, metrics=[Metric("back", "retention", "share")]
    )
    assert result.metrics[0]["kind"] == "retention"
    assert "points" in result.verdict.en
    with pytest.raises(DesignError, match="declared a retention but holds other values"):
        analyze(shop, **GIVEN, metrics=[Metric("orders", "retention")])


def guarded(shop, harm, margin):
    refund = np.random.default_rng(1).random(len(shop)) < 0.10 + harm * (shop["arm"] == "voucher")
    guard = Metric("refund", guardrail=True, increase=False, margin=margin)
    good = shop.assign(refund=refund.astype(int))
    return analyze(good, **GIVEN, metrics=[Metric("ratio", "ratio", column="orders", denominator="visits"), guard])


def test_a_guardrail_within_its_margin_is_non_inferior(shop):
    result = guarded(shop, harm=0.0, margin=0.05)
    effect = whole(result, metric="refund")
    assert effect.noninferior is True
    assert effect.p_noninferior < 0.025
    assert effect.high < 0.05  # the same statement by the interval
    assert result.verdict.status == "effective"


def test_a_guardrail_that_is_not_proved_is_not_harmful_but_said(shop):
    result = guarded(shop, harm=0.02, margin=0.012)
    effect = whole(result, metric="refund")
    assert effect.noninferior is False
    assert effect.p_adjusted > 0.05
    assert result.verdict.status == "effective"
    assert any("harm to guardrail refund is not yet shown to stay within 1.20 points" in n["en"] for n in result.notes)


def test_a_guardrail_beyond_its_margin_is_harmful(shop):
    result = guarded(shop, harm=0.10, margin=0.02)
    assert whole(result, metric="refund").p_adjusted < 0.001
    assert result.verdict.status == "harmful"


def test_effect_on_the_exposed_is_the_difference_over_the_share_reached(shop):
    result = analyze(shop, **GIVEN, metrics=["orders", Metric("r", "ratio", column="orders", denominator="visits")],
                     exposed="sent")  # fmt: skip
    sent = shop.groupby("arm")["sent"].mean()
    row = next(r for r in result.exposed if r["arm"] == "voucher" and r["metric"] == "orders")
    effect = whole(result, metric="orders")
    assert row["exposed"] == pytest.approx(sent["voucher"])
    assert row["effect"] == pytest.approx(effect.effect / sent["voucher"])
    assert row["low"] < row["effect"] < row["high"]
    assert (row["low"] > 0) == (effect.low > 0)  # Anderson and Rubin: both exclude zero or none does
    assert row["p_value"] == effect.p_value
    assert result.checks["exposure"]["voucher"]["not_sent"] == int(
        ((shop["arm"] == "voucher") & (shop["sent"] == 0)).sum()
    )
    assert any("assigned but not reached" in note["en"] for note in result.notes)


def test_none_is_given_where_the_control_was_reached(shop):
    leaked = shop.assign(sent=np.maximum(shop["sent"], (shop.index % 17 == 0) * 1))
    result = analyze(leaked, **GIVEN, metrics=["orders"], exposed="sent")
    assert all(row["effect"] is None for row in result.to_dict()["exposed"])
    assert any("of the control were reached" in note["en"] for note in result.notes)


def test_dunnett_agrees_with_scipy_and_is_never_weaker_than_holm():
    rng = np.random.default_rng(0)
    groups = [rng.normal(0.06 * k, 1, 900) for k in range(4)]
    found = scipy_dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(1))
    pooled = np.mean([g.var(ddof=1) for g in groups])
    from scipy.stats import norm

    z = [(g.mean() - groups[0].mean()) / np.sqrt(pooled * 2 / 900) for g in groups[1:]]
    p = 2 * norm.sf(np.abs(z))
    ours = dunnett(p, [0.5**0.5] * 3)
    largest = np.argmin(p)
    assert ours[largest] == pytest.approx(found.pvalue[largest], abs=2e-3)
    assert (ours <= holm(p) + 1e-12).all()
    assert np.isnan(dunnett([0.2, np.nan], [0.5, 0.5])[1])
    assert dunnett([1e-40, 0.5], [0.7, 0.7])[0] == pytest.approx(2e-40)


def test_the_family_states_its_method(shop):
    result = analyze(shop, **GIVEN, metrics=["orders"], correction="dunnett")
    holm_result = analyze(shop, **GIVEN, metrics=["orders"])
    assert result.families["primary"]["method"] == "dunnett"
    pairs = [(a.p_adjusted, b.p_adjusted) for a, b in zip(result.effects, holm_result.effects, strict=True)]
    assert all(a <= b for a, b in pairs)
    with pytest.raises(DesignError, match="'holm' or 'dunnett'"):
        analyze(shop, **GIVEN, metrics=["orders"], correction="bonferroni")


@pytest.mark.parametrize(
    ("metric", "match"),
    [
        (Metric("r", "ratio", column="orders"), "only a ratio, has a denominator"),
        (Metric("orders", "mean", event="ordered"), "only a time has an event"),
        (Metric("t", "time", column="days"), "needs window_days"),
        (Metric("orders", winsorize=0.2), "a quantile such as 0.99"),
        (Metric("ordered", "rate", winsorize=0.9), "cannot be winsorised|can be winsorised"),
        (Metric("orders", margin=0.1), "a margin is for a guardrail"),
        (Metric("orders", guardrail=True, margin=-1), "the largest harm"),
        (Metric("r", "ratio", column="orders", denominator="none"), "no column 'none'"),
        (3, "a metric is the name of a column"),
    ],
)
def test_declarations_that_make_no_sense(shop, metric, match):
    with pytest.raises(DesignError, match=match):
        analyze(shop, **GIVEN, metrics=[metric])


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"kind": "ratio"}, "has a denominator"),
        ({"kind": "retention"}, "has from_days"),
        ({"kind": "retention", "from_days": 30, "window_days": 30}, "would begin on day 30 and end on 30"),
        ({"kind": "rate", "winsorize": 0.9}, "winsorised"),
        ({"margin": 0.01}, "a margin is for a guardrail"),
    ],
)
def test_specifications_that_make_no_sense(more, match):
    from uplift.config import parse_spec

    with pytest.raises(ConfigError, match=match):
        parse_spec({"name": "m", "outcome": "ordered"} | more, MetricSpec, "here")


def test_outcomes_before_assignment_and_unequal_windows(shop):
    timed = shop.assign(start="2026-05-01", at="2026-05-04T10:00", days_seen=14)
    analyze(
        timed, **GIVEN, metrics=["ordered"], assigned_at="start", happened_at={"ordered": "at"}, followed="days_seen"
    )
    with pytest.raises(DesignError, match=r"for 6,000 rows metric 'ordered' happened .* before the assignment"):
        analyze(timed.assign(at="2026-04-30"), **GIVEN, metrics=["ordered"], assigned_at="start",
                happened_at={"ordered": "at"})  # fmt: skip
    with pytest.raises(DesignError, match="after its window of 2 days"):
        analyze(timed, **GIVEN, metrics=[Metric("ordered", "rate", window_days=2)], assigned_at="start",
                happened_at={"ordered": "at"})  # fmt: skip
    with pytest.raises(DesignError, match="unequal windows, 7 to 14 days"):
        analyze(timed.assign(days_seen=np.where(shop["arm"] == "gift", 7, 14)), **GIVEN, metrics=["ordered"],
                followed="days_seen")  # fmt: skip
    with pytest.raises(DesignError, match="only beside the column of the assignment's time"):
        analyze(timed, **GIVEN, metrics=["ordered"], happened_at={"ordered": "at"})
    with pytest.raises(DesignError, match="does not hold times"):
        analyze(timed, **GIVEN, metrics=["ordered"], assigned_at="city", happened_at={"ordered": "at"})
