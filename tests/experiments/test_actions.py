import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from uplift.experiments import ArmMeans, Metric, Text, analyze, look
from uplift.experiments._posterior import expect
from uplift.experiments._situation import Situation
from uplift.experiments.actions import recommend
from uplift.experiments.verdict import amounts

MONEY = {"spend": Metric("spend", "mean", unit="money", currency="CNY")}
NUMBER = re.compile(r"[+-]?\d[\d,]*\.?\d*%?")


def shop(n=8000, gift=0.0, voucher=0.0, seed=0, by_city=None):
    """Spend of members in three cities; effects a member of the two offers, and by (offer, city)."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"arm": rng.choice(["control", "gift", "voucher"], n), "city": rng.choice(["北京", "上海", "广州"], n)}
    )
    table["spend"] = rng.gamma(2, 10, n) + table["arm"].map({"control": 0.0, "gift": gift, "voucher": voucher})
    for (arm, city), effect in (by_city or {}).items():
        table.loc[(table["arm"] == arm) & (table["city"] == city), "spend"] += effect
    return table


def actions(table, **more):
    given = {"metrics": ["spend"], "segments": ["city"], "metric_specs": MONEY} | more
    return analyze(table, arm="arm", control="control", **given)


def test_what_works_is_rolled_out_for_what_it_gains():
    result = actions(shop(voucher=3.0))
    (action,) = result.actions
    assert (action.kind, action.arm, action.instead_of) == ("roll_out", "voucher", "control")
    assert action.gain == pytest.approx(3.0, abs=0.8)
    assert action.gain_low < action.gain < action.gain_high
    assert action.probability > 0.999
    assert action.total == pytest.approx(action.gain * 8000)
    assert (action.reason, action.unit, action.currency) == ("effective", "money", "CNY")
    assert action.basis.startswith("flat prior")


def test_the_cost_of_the_offer_is_taken_off_and_can_turn_the_advice():
    (free,), (cheap,), (dear,) = (actions(shop(voucher=3.0), costs={"voucher": c}).actions for c in (0, 1.0, 6.0))
    assert cheap.gain == pytest.approx(free.gain - 1.0)
    assert cheap.cost == 1.0
    assert (dear.kind, dear.arm, dear.instead_of) == ("stop", "control", "voucher")
    assert dear.gain == pytest.approx(6.0 - free.gain)


def test_harm_is_stopped():
    result = actions(shop(voucher=-3.0))
    assert result.verdict.status == "harmful"
    assert (result.actions[0].kind, result.actions[0].instead_of) == ("stop", "voucher")
    assert result.actions[0].gain == pytest.approx(3.0, abs=0.8)


def test_a_hint_is_followed_and_nothing_is_not():
    hint = actions(shop(voucher=0.5, seed=4))
    assert hint.verdict.status == "no_evidence"
    assert hint.actions[0].kind == "run_on"
    assert 8000 < hint.actions[0].until <= 32_000
    assert hint.actions[0].reason == "hint"
    assert actions(shop(seed=2)).actions[0].kind == "stop"


def test_too_early_runs_on_until_the_plan():
    (action,) = actions(shop(n=2000), planned_size=6000).actions
    assert (action.kind, action.until) == ("run_on", 6000)


def test_too_early_without_a_plan_says_how_many_it_takes():
    (action,) = actions(shop(n=2000, voucher=0.8), early=[Text("窗口未结束", "a window is open")]).actions
    assert (action.kind, action.reason) == ("run_on", "too_early")
    assert action.until > 2000


def test_numbers_that_cannot_be_trusted_lead_to_nothing():
    result = actions(shop(voucher=3.0), invalid=[Text("坏了", "broken")])
    assert result.actions == ()
    assert result.to_dict()["actions"] == []


def test_a_segment_is_given_what_works_there():
    table = shop(voucher=4.0, by_city={("voucher", "广州"): -6.0, ("gift", "广州"): 5.0})
    found = actions(table).actions
    assert [action.kind for action in found] == ["roll_out", "switch"]
    switch = found[1]
    assert (switch.arm, switch.instead_of, switch.segment) == ("gift", "voucher", "广州")
    assert switch.gain == pytest.approx(7.0, abs=1.5)
    assert switch.probability >= 0.95
    assert switch.members == (table["city"] == "广州").sum()
    assert "segments" in switch.basis


def test_a_segment_may_be_better_without_any_offer():
    found = actions(shop(voucher=4.0, by_city={("voucher", "广州"): -9.0}), costs={"voucher": 0.5}).actions
    assert [(a.kind, a.arm) for a in found] == [("roll_out", "voucher"), ("switch", "control")]
    assert found[1].cost == -0.5
    assert "drop voucher, as for control" in found[1].en
    assert "with ¥0.50 of cost a member saved" in found[1].en


def test_suppressed_cells_are_not_used():
    table = shop(voucher=4.0, by_city={("voucher", "广州"): -9.0})
    kept = table.drop(table.index[(table["city"] == "广州") & (table["arm"] == "voucher")][5:])
    assert all(action.segment != "广州" for action in actions(kept).actions)


def counted(**rates):
    """A shop whose gift brings more visits and orders; columns by the rates of control and gift."""
    rng = np.random.default_rng(0)
    table = shop()
    for name, (without, with_gift) in rates.items():
        mean = np.where(table["arm"] == "gift", with_gift, without)
        table[name] = rng.poisson(mean) if name in ("orders", "visits", "clicks") else rng.binomial(1, mean)
    return table


@pytest.mark.parametrize(
    ("column", "rates", "metric", "unit", "zh", "en"),
    [
        ("bought", (0.2, 0.3), Metric("bought"), "members", "8,000 人中约多", "more members among 8,000"),
        ("bought", (0.3, 0.2), Metric("bought", increase=False), "members", "约少", "fewer members among 8,000"),
        ("orders", (1.0, 1.3), Metric("orders", "mean", unit="count"), "orders", "单。", "orders for 8,000 members"),
        ("visits", (1.0, 1.3), Metric("visits", "mean", unit="count"), "visits", "次到店。", "visits for 8,000"),
        ("clicks", (1.0, 1.3), Metric("clicks", "mean", unit="count"), "count", "次。", "times for 8,000"),
        ("clicks", (1.0, 1.3), Metric("clicks"), "number", "人合计约", "for 8,000 members"),
    ],
)
def test_the_metric_decides_what_a_gain_is_counted_in(column, rates, metric, unit, zh, en):
    table = counted(**{column: rates})
    (action,) = analyze(table, arm="arm", control="control", metrics=[metric], costs={"gift": 2.0}).actions
    assert (action.kind, action.unit, action.currency, action.cost) == ("roll_out", unit, None, None)
    assert action.gain > 0
    assert action.total == pytest.approx(action.gain * 8000)
    assert zh in action.zh
    assert en in action.en
    for word in ("CNY", "¥", "cost", "成本"):
        assert word not in action.zh + action.en


def test_a_ratio_adds_up_to_nothing():
    table = counted(orders=(1.0, 1.0))
    table["spend"] *= table["orders"] * np.where(table["arm"] == "gift", 1.2, 1.0)
    basket = Metric("basket", "ratio", unit="money", currency="CNY", column="spend", denominator="orders")
    (action,) = analyze(table, arm="arm", control="control", metrics=[basket], costs={"gift": 2.0}).actions
    assert (action.kind, action.unit, action.total, action.cost) == ("roll_out", "ratio", None, None)
    assert "每人" not in action.zh
    assert "合计" not in action.zh


def test_what_harms_is_stopped_in_spite_of_its_gain():
    table = counted(refunded=(0.1, 0.3))
    table["spend"] += np.where(table["arm"] == "gift", 3.0, 0.0)
    refunded = Metric("refunded", increase=False, guardrail=True)
    (action,) = actions(table, metrics=["spend", refunded]).actions
    assert (action.kind, action.reason, action.instead_of) == ("stop", "harmful", "gift")
    assert action.gain < 0
    assert action.total is None
    assert "尽管" in action.zh
    assert "although +" in action.en


def test_the_best_looking_arm_is_named_even_where_arms_do_not_differ():
    table = shop(gift=0.25, voucher=0.3, seed=3)
    extra = shop(seed=5).query("arm == 'gift'").assign(arm="mail")
    result = actions(pd.concat([table, extra]), costs={"gift": 0.0, "voucher": 0.01, "mail": 0.0})
    effect = {e.arm: e.effect - (e.arm == "voucher") * 0.01 for e in result.effects if e.segment is None}
    (action,) = result.actions
    assert max(effect, key=effect.get) in (action.arm, action.instead_of)


def test_nothing_is_said_of_stopping_where_nothing_is_proved():
    (action,) = actions(shop(seed=2)).actions
    assert (action.kind, action.reason, action.total) == ("stop", "none_pays", None)
    assert action.gain > 0
    assert "none is expected to pay. The best so far is gift: -" in action.en
    assert "costs not known" in action.en


def test_margin_counts_before_turnover():
    table = shop(voucher=3.0)
    table["margin"] = table["spend"] * 0.3 - np.where(table["arm"] == "voucher", 3.0, 0.0)
    specs = MONEY | {"margin": Metric("margin", "mean", unit="money", currency="CNY", outcome="margin")}
    result = actions(table, metrics=["spend", "margin"], metric_specs=specs)
    assert result.actions[0].metric == "margin"


@pytest.mark.parametrize("table", [shop(voucher=3.0), shop(voucher=-3.0), shop(seed=2), shop(voucher=0.5, seed=4)])
def test_both_languages_say_the_same_numbers(table):
    result = actions(table, costs={"voucher": 0.4}, names={"voucher": {"zh": "满减券", "en": "Voucher"}})
    for said in (result.verdict, *result.actions):
        assert sorted(NUMBER.findall(said.zh)) == sorted(NUMBER.findall(said.en))
        assert not re.search(r"[\u4e00-\u9fff][,;:()?!]|[,;:(?!][\u4e00-\u9fff]", said.zh)
        assert said.zh.endswith("。")
        assert "满减券" not in said.en


def test_an_effective_arm_is_not_stopped_for_costs_that_it_does_not_have():
    """Seven poor arms draw the eighth down to their mean, which is no reason to stop it."""
    value = np.array([0.0, *[-0.4] * 7, 2.45])
    cell = ArmMeans(value, np.diag([0.05**2, *[1.0] * 8]), np.full(9, 1e6), np.empty(0))
    arms = ("control", *"abcdefgh")
    spend = Metric("spend", "mean", unit="money", currency="CNY")
    given = (arms, spend, lambda column, segment: cell, SimpleNamespace(status="effective"), ("h",), (), 900)
    (action,) = recommend(Situation(*given, look(900, None)))
    assert (action.kind, action.arm) == ("roll_out", "h")
    assert action.gain > 0
    (dear,) = recommend(Situation(*given, look(900, None), costs={"h": 5.0}))
    assert (dear.kind, dear.reason) == ("stop", "costs_more")


def test_a_spread_that_a_test_found_is_taken_to_owe_something_to_it():
    barely, clearly, alike = (np.array([-1.0, 0.0, 1.0]) * size for size in (2.0, 20.0, 0.5))
    free, given = (expect(barely, np.ones(3), screened=level) for level in (None, 0.05))
    assert given.mean[2] < 0.9 * free.mean[2], "just significant: much of it is luck"
    assert (given.promise == free.promise).all()
    same = [expect(clearly, np.ones(3), screened=level).mean[2] for level in (None, 0.05)]
    assert same[1] == pytest.approx(same[0], rel=2e-3)
    other = [expect(alike, np.ones(3), screened=level).mean[2] for level in (None, 0.05)]
    assert other[0] == other[1], "it was not for this that anybody looked"


@pytest.mark.parametrize(
    ("metric", "values", "written"),
    [
        (Metric("spend", unit="money", currency="CNY"), (0.663, -1.6, 2.863), ["+¥0.66", "-¥1.60", "+¥2.86"]),
        (Metric("spend", unit="money", currency="CNY"), (0.0031, -0.0008), ["+¥0.0031", "-¥0.0008"]),
        (Metric("visit", kind="rate"), (0.0368, 0.00787, 0.0658), ["+3.68 points", "+0.79 points", "+6.58 points"]),
        (Metric("visit", kind="rate"), (0.00508,), ["+0.51 points"]),
        (Metric("visit", kind="rate"), (0.000508,), ["+0.0508 points"]),
        (Metric("visit", kind="rate"), (-0.00001, 0.02), ["+0.00 points", "+2.00 points"]),
        (Metric("orders", unit="count"), (0.31, -0.0004), ["+0.310 per member", "+0.000 per member"]),
    ],
)
def test_numbers_that_are_read_together_have_the_same_digits(metric, values, written):
    assert [one.en for one in amounts(metric, *values)] == written
