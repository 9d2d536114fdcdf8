"""Gains of policies, and gates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.evaluation import GainUnit, aipw_scores, best_arm, churn_gate, gain_curve, gate, policy_gain, uplift_gate
from uplift.metrics import Metric, churn_metrics


@pytest.fixture(scope="module")
def world():
    return make_world(20_000, outcome="continuous", propensity={"control": 0.5, "a": 0.3, "b": 0.2}, random_state=1)


@pytest.fixture(scope="module")
def scores(world, quick):
    return aipw_scores(world.X, world.y, world.treatment, world.propensity, outcome_model=quick.LeastSquares(), folds=2)


def test_gains_follow_the_truth(world, scores):
    result = policy_gain(scores, world.effects)
    nobody = world.baseline.mean()
    single = world.value(result.single == "b")
    assert abs(result.gain - (world.value(world.oracle) - nobody)) < 4 * result.gain.se
    assert abs(result.single_gain - (single - nobody)) < 4 * result.single_gain.se
    assert abs(result.over_single - (world.value(world.oracle) - single)) < 4 * result.over_single.se
    assert result.gain - result.single_gain == pytest.approx(result.over_single)
    assert result.over_single.se < np.hypot(result.gain.se, result.single_gain.se)
    assert result.promised == pytest.approx(np.maximum(world.effects.max(axis=1), 0).mean())
    assert sum(result.shares.values()) == pytest.approx(1)
    assert result.n == 20_000
    assert len(result.to_pandas()) == 3


def test_forms_of_a_policy_agree(world, scores):
    position = world.oracle + 1
    names = np.array(["control", "a", "b"])[position]
    values = [
        policy_gain(scores, world.effects).gain.value,
        policy_gain(scores, policy=position).gain.value,
        policy_gain(scores, policy=names).gain.value,
        policy_gain(scores, policy=np.eye(3)[position]).gain.value,
    ]
    assert max(values) - min(values) < 1e-12
    assert policy_gain(scores, policy="control").gain.value == 0.0
    alone = policy_gain(scores, policy="b", single="b")
    assert alone.over_single.value == 0.0
    assert alone.promised is None


def test_costs_are_subtracted_from_choices_and_gains(world, scores):
    cost = np.array([0.2, 0.4])
    result = policy_gain(scores, world.effects, cost=cost)
    chosen = best_arm(world.effects, cost=cost) - 1
    net = world.value(chosen) - world.baseline.mean() - np.mean(np.where(chosen >= 0, cost[chosen], 0))
    assert abs(result.gain - net) < 4 * result.gain.se
    assert policy_gain(scores, world.effects, cost=100.0).gain.value == 0.0


def test_an_arm_is_chosen_only_where_it_was_offered(world, quick):
    chance = world.propensity.copy()
    barred = (world.treatment != "b") & (np.arange(20_000) < 9000)
    chance[barred] = [0.6, 0.4, 0.0]
    scores = aipw_scores(world.X, world.y, world.treatment, chance, outcome_model=quick.LeastSquares(), folds=2)
    always_b = np.column_stack([np.zeros(20_000), np.ones(20_000)])
    result = policy_gain(scores, always_b)
    assert result.shares["b"] == pytest.approx(1 - barred.mean())
    assert np.isfinite(result.gain)
    with pytest.raises(InputError, match="not offered"):
        policy_gain(scores, policy="b")


def test_best_arm():
    assert best_arm([0.2, -0.1]).tolist() == [1, 0]
    assert best_arm([[0.2, 0.3]], offered=[[True, False]]).tolist() == [1]
    assert best_arm([[0.2, 0.3]], offered=[[False, False]]).tolist() == [0]


def test_bad_input(world, scores):
    with pytest.raises(InputError, match="either effects= or policy="):
        policy_gain(scores)
    with pytest.raises(InputError, match="effects has shape"):
        policy_gain(scores, world.effects[:, 0])
    with pytest.raises(InputError, match="missing or infinite"):
        policy_gain(scores, np.full((20_000, 2), np.nan))
    with pytest.raises(InputError, match="not an arm"):
        policy_gain(scores, world.effects, single="c")
    with pytest.raises(InputError, match="on the same rows"):
        policy_gain(scores, world.effects).less(policy_gain(scores.take(np.arange(10)), world.effects[:10]))


def test_a_gate_lets_equals_and_better_ones_pass_and_no_worse_one(world, scores):
    noise = 0.4 * np.random.default_rng(0).normal(size=world.effects.shape)
    assert gate(scores, world.effects, world.effects).passed
    assert gate(scores, world.effects, -world.effects).passed
    worse = gate(scores, -world.effects, world.effects)
    assert not worse.passed
    assert gate(scores, world.effects).passed
    assert not gate(scores, -world.effects).passed  # worse than doing nothing
    # pairing lets the gate see a small loss that the two separate intervals would hide
    apart = [policy_gain(scores, e).gain for e in (world.effects, world.effects + noise)]
    assert apart[0].low < apart[1].high
    assert not gate(scores, world.effects + noise, world.effects, z=2).passed


def test_reasons_carry_the_same_numbers_in_both_languages(world, scores):
    challenger, champion = (policy_gain(scores, e) for e in (world.effects, world.effects[:, ::-1]))
    result = uplift_gate(challenger, champion)
    assert set(result.to_dict()) == {"passed", "reasons_en", "reasons_zh"}
    numbers = result.reasons_en[0].partition(": ")[2]
    assert numbers.startswith(f"{challenger.less(champion).value:+.3f} ± ")
    assert result.reasons_zh[0].partition("：")[2] == numbers
    assert len(result.to_pandas()) == 1
    with pytest.raises(InputError, match="z must not be negative"):
        uplift_gate(challenger, z=-1)


def test_reasons_have_the_unit_of_the_outcome_at_every_number(world, scores):
    challenger = policy_gain(scores, world.effects)
    gain = challenger.gain
    money = uplift_gate(challenger, unit=GainUnit("money", "CNY"))  # values are cents
    en, zh = money.reasons_en[0].partition(": ")[2], money.reasons_zh[0].partition("：")[2]
    assert en == zh
    assert en.startswith(f"+¥{gain.value / 100:.5f} ± ¥{gain.se / 100:.5f} ≥ −1 × ¥")
    points = uplift_gate(challenger, unit=GainUnit("share"))
    assert points.reasons_en[0].count(" points") == 3
    assert points.reasons_zh[0].count(" 个百分点") == 3
    assert (
        points.reasons_zh[0].partition("：")[2].replace(" 个百分点", " points") == points.reasons_en[0].split(": ")[1]
    )
    assert not any(":" in reason for reason in (*money.reasons_zh, *points.reasons_zh))
    assert uplift_gate(challenger, unit=GainUnit("money")).reasons_zh[0].count("¥") == 0


@pytest.mark.parametrize(
    ("unit", "value", "se", "zh", "en"),
    [
        (GainUnit("money", "CNY"), 137.2, 182.0, "+¥1.37 ± ¥1.82", "+¥1.37 ± ¥1.82"),
        (GainUnit("money", "SGD"), -123456.0, 18200.0, "-1,234.56 SGD ± 182.00 SGD", "-1,234.56 SGD ± 182.00 SGD"),
        (GainUnit("money", "CNY"), 0.0, 0.0, "+¥0.00 ± ¥0.00", "+¥0.00 ± ¥0.00"),
        (GainUnit("money", "CNY"), 1.372, None, "+¥0.014", "+¥0.014"),
        (GainUnit("count"), 0.0312, 0.0118, "+0.031 次 ± 0.012 次", "+0.031 times ± 0.012 times"),
        (GainUnit(), 1234.5, 200.0, "+1,234 ± 200", "+1,234 ± 200"),
    ],
)
def test_a_gain_is_written_with_its_unit(unit, value, se, zh, en):
    assert unit.text(value, se) == (zh, en)


@pytest.mark.parametrize(
    ("unit", "value", "ends", "zh", "en"),
    [
        (GainUnit("money", "CNY"), 171.9, (102.9, 241.0), "+¥1,719（¥1,029 至 ¥2,410）",
         "+¥1,719 extra (¥1,029 to ¥2,410)"),
        (GainUnit("money", "CNY"), -1.0, (-2.0, 0.5), "-¥10.00（-¥20.00 至 ¥5.00）",
         "-¥10.00 extra (-¥20.00 to ¥5.00)"),
        (GainUnit("share"), 0.0512, (0.04, 0.0624), "+51.2（40.0 至 62.4）", "+51.2 extra (40.0 to 62.4)"),
        (GainUnit(), 1234.5, (1000.0, 1469.0), "+1,234,500（1,000,000 至 1,469,000）",
         "+1,234,500 extra (1,000,000 to 1,469,000)"),
        (GainUnit(), 0.0, (), "+0", "+0 extra"),
        (GainUnit("count"), 0.0042, (), "+4.20", "+4.20 extra"),
    ],
)  # fmt: skip
def test_a_gain_among_a_thousand_is_written_as_people_count(unit, value, ends, zh, en):
    low, high = ends or (None, None)
    assert unit.per_1000(Metric("gain", value, low=low, high=high)) == (zh, en)


def test_the_gain_of_the_most_promising_counts_weights_as_rows(world, scores):
    effects = np.asarray(world.effects)
    gain = policy_gain(scores, effects)
    assert gain_curve(gain, effects, 4)[-1] == pytest.approx(gain.gain.value)
    twice = replace(gain, weight=np.where(np.arange(len(effects)) % 2 == 0, 2.0, 1.0))
    rows = np.repeat(np.arange(len(effects)), twice.weight.astype(int))
    again = replace(gain, row_gain=gain.row_gain[rows], weight=np.ones(len(rows)))
    assert gain_curve(twice, effects, 1) == pytest.approx(gain_curve(again, effects[rows], 1))
    assert gain_curve(twice, effects, 1) != pytest.approx(gain_curve(gain, effects, 1))


def test_the_churn_gate():
    rng = np.random.default_rng(0)
    p = rng.beta(2, 5, 4000)
    y = (rng.random(4000) < p).astype(int)
    good, crooked, blind = (churn_metrics(y, risk) for risk in (p, np.sqrt(p), rng.random(4000)))
    assert churn_gate(good, blind).passed
    assert not churn_gate(good, good).passed  # the rule must be beaten, not equalled
    assert not churn_gate(crooked, blind).passed
    assert churn_gate(crooked, blind, calibration_error=0.5).passed
    assert not churn_gate(good, blind, auc_over_baseline=0.4).passed
    assert not churn_gate(churn_metrics(y, 100 * p), blind).passed  # no probability, no calibration
    result = churn_gate(good, blind)
    assert len(result.reasons_en) == len(result.reasons_zh) == 2
    assert [text.partition("：")[2] for text in result.reasons_zh] == [
        text.split(": ")[1] for text in result.reasons_en
    ]
    with pytest.raises(InputError, match="use the same rows"):
        churn_gate(good, churn_metrics(y[:100], p[:100]))
