"""Curves and the numbers made of them, against brute force, closed forms and hand-worked tables."""

from __future__ import annotations

import copy
import itertools
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from uplift import metrics
from uplift.errors import InputError


def trial(n=4000, seed=0, share=0.5, noise=1.0):
    rng = np.random.default_rng(seed)
    treatment = (rng.random(n) < share).astype(int)
    effect = rng.normal(size=n)
    return effect, effect * treatment + noise * rng.normal(size=n), treatment, {0: 1 - share, 1: share}


def brute_gain(order, y, treatment):
    """Gain after each row, weights normalised per arm, outcomes centred: for equal shares and one order."""
    treated, control = treatment == 1, treatment == 0
    centre = (y[treated].mean() + y[control].mean()) / 2
    plus = np.where(treated, (y - centre) / treated.sum(), 0.0)
    minus = np.where(control, (y - centre) / control.sum(), 0.0)
    return np.append(0.0, np.cumsum((plus - minus)[order]))


def brute_areas(score, y, treatment):
    """Qini, AUUC and AUTOC averaged over every order of equal scores."""
    n = len(score)
    orders = [o for o in itertools.permutations(range(n)) if all(np.diff(score[list(o)]) <= 0)]
    q = np.arange(n + 1) / n
    totals = np.zeros(3)
    for order in orders:
        gain = brute_gain(list(order), y, treatment)
        fine = np.linspace(0, 1, 20 * n + 1)[1:]
        whole = np.trapezoid(gain, q)
        toc = np.mean([np.interp(x, q, gain) / x - gain[-1] for x in fine - 0.5 / (20 * n)])
        totals += (whole - gain[-1] / 2, whole, toc)
    return totals / len(orders)


def test_areas_equal_the_average_over_every_order_of_ties():
    rng = np.random.default_rng(3)
    for _ in range(5):
        score = rng.integers(0, 3, 7).astype(float)
        treatment = rng.permutation([0, 0, 0, 1, 1, 1, 1])
        y = rng.normal(size=7)
        # the centre that brute_gain uses leaves the areas unchanged only for equal shares: drop to six rows
        score, treatment, y = score[:6], np.array([0, 1, 0, 1, 0, 1]), y[:6]
        qini, auuc, autoc = brute_areas(score, y, treatment)
        given = {"propensity": {0: 0.5, 1: 0.5}, "n_bootstrap": 0}
        assert metrics.qini(score, y, treatment, **given) == pytest.approx(1000 * qini)
        assert metrics.auuc(score, y, treatment, **given) == pytest.approx(1000 * auuc)
        assert metrics.qini_rate(score, y, treatment, **given) == pytest.approx(qini)
        assert metrics.autoc(score, y, treatment, **given) == pytest.approx(autoc, abs=2e-3)


def test_oracle_values_for_normal_effects():
    """AUTOC 0.903 and QINI 0.282 are E[hazard(Z)] and 1/(2√π) for τ ~ N(0, 1)."""
    effect, y, treatment, shares = trial(200_000, noise=0.1)
    assert metrics.autoc(effect, y, treatment, shares).value == pytest.approx(0.9032, abs=0.015)
    assert metrics.qini_rate(effect, y, treatment, shares).value == pytest.approx(0.2821, abs=0.004)
    assert metrics.uplift_at_k(effect, y, treatment, shares, k=0.1).value == pytest.approx(1.755, abs=0.04)


def test_the_curve_ends_at_the_difference_of_means():
    effect, y, treatment, _ = trial(share=0.3)
    curve = metrics.qini_curve(effect, y, treatment)
    difference = y[treatment == 1].mean() - y[treatment == 0].mean()
    assert curve.points[0] == (0.0, 0.0)
    assert curve.q[-1] == 1.0
    assert curve.value[-1] == pytest.approx(1000 * difference)
    assert curve.total.value == pytest.approx(1000 * difference)
    assert curve.random[-1] == curve.value[-1]
    designed = metrics.qini_curve(effect, y, treatment, {0: 0.7, 1: 0.3})
    assert designed.total.value == pytest.approx(1000 * difference)  # normalised by the weights themselves


def test_curves_carry_their_metric_and_their_points():
    effect, y, treatment, shares = trial()
    for curve, number in (
        (metrics.qini_curve, metrics.qini),
        (metrics.uplift_curve, metrics.auuc),
        (metrics.toc, metrics.autoc),
    ):
        result = curve(effect, y, treatment, shares, n_bootstrap=50, random_state=0)
        assert result.area == number(effect, y, treatment, shares)
        assert len(result.q) <= 201
        assert (np.diff(result.q) > 0).all()
        table = result.to_pandas()
        assert list(table) == ["q", "value", "low", "high", "random"]
        assert (table["low"] <= table["value"]).all()
        assert "q" in result._repr_html_()


def test_few_scores_give_few_points():
    effect, y, treatment, shares = trial(1000)
    assert len(metrics.qini_curve(np.sign(effect), y, treatment, shares).q) == 3


def test_a_metric_is_a_number_that_knows_its_uncertainty():
    effect, y, treatment, shares = trial()
    value = metrics.autoc(effect, y, treatment, shares)
    assert isinstance(value, float)
    assert value > 0.5
    assert float(value) == value.value
    assert f"{value:.2f}" == f"{value.value:.2f}"
    assert json.loads(json.dumps(value)) == value.value
    assert value.low < value.value < value.high
    assert value.n == len(y)
    for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert twin == value
        assert (twin.se, twin.unit, twin.p_value) == (value.se, value.unit, value.p_value)
    with pytest.raises(AttributeError):
        value.se = 0.0
    assert set(value.to_dicts()[0]) == {"name", "value", "se", "low", "high", "p_value", "n", "unit"}


def test_same_input_same_output_and_seeds_change_only_the_interval():
    effect, y, treatment, shares = trial()
    first, second = (metrics.qini(effect, y, treatment, shares) for _ in range(2))
    other = metrics.qini(effect, y, treatment, shares, random_state=7)
    assert (first.value, first.se) == (second.value, second.se)
    assert other.value == first.value
    assert other.se != first.se
    assert other.se == pytest.approx(first.se, rel=0.3)


def test_without_draws_there_is_no_interval():
    effect, y, treatment, shares = trial(500)
    value = metrics.qini(effect, y, treatment, shares, n_bootstrap=0)
    assert (value.se, value.low, value.high, value.p_value) == (None, None, None, None)
    curve = metrics.toc(effect, y, treatment, shares, n_bootstrap=0)
    assert curve.low is None
    assert curve.normalised is None
    assert curve.to_dicts()[0]["low"] is None


def test_wider_levels_give_wider_intervals():
    effect, y, treatment, shares = trial()
    narrow, wide = (metrics.qini(effect, y, treatment, shares, alpha=a) for a in (0.2, 0.01))
    assert narrow.high - narrow.low < wide.high - wide.low


def test_clusters_that_repeat_rows_widen_the_interval():
    effect, y, treatment, shares = trial(1500)
    rows = np.repeat(np.arange(1500), 4)
    naive = metrics.qini(effect[rows], y[rows], treatment[rows], shares)
    honest = metrics.qini(effect[rows], y[rows], treatment[rows], shares, clusters=rows)
    assert honest.value == naive.value
    assert honest.se / naive.se == pytest.approx(2.0, rel=0.25)


def test_expected_outcomes_narrow_the_interval_and_keep_the_value():
    rng = np.random.default_rng(1)
    n = 6000
    x, effect, treatment = 3 * rng.normal(size=n), rng.normal(size=n), rng.integers(0, 2, n)
    y = x + effect * treatment + rng.normal(size=n)
    expected = np.column_stack([x, x + effect])
    plain = metrics.qini(effect, y, treatment, 0.5)
    better = metrics.qini(effect, y, treatment, 0.5, expected=expected)
    assert better.se < 0.6 * plain.se
    assert abs(better.value - plain.value) < 3 * plain.se
    wrong = metrics.qini(effect, y, treatment, 0.5, expected=np.zeros((n, 2)))
    assert abs(wrong.value - plain.value) < 3 * plain.se


def test_several_arms_by_arm_or_by_the_best_predicted_arm():
    rng = np.random.default_rng(2)
    n = 30_000
    effect = rng.normal(size=(n, 2))
    names = np.array(["none", "mens", "womens"])
    given = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
    y = np.column_stack([np.zeros(n), effect])[np.arange(n), given] + 0.5 * rng.normal(size=n)
    shares = {"none": 0.5, "mens": 0.3, "womens": 0.2}
    one = metrics.qini_rate(effect, y, names[given], shares, arm="womens")
    assert one.low < 0.2821 < one.high
    assert one.n == int((given != 1).sum())
    best = metrics.uplift_at_k(effect, y, names[given], shares, k=1.0)
    assert best.low < 1 / np.sqrt(np.pi) < best.high  # E[max of two standard normals]
    # the arms' own column may be given alone, and a frame is put into order by its names
    assert metrics.qini(effect[:, 1], y, names[given], shares, arm="womens") == pytest.approx(1000 * one)
    frame = pd.DataFrame(effect[:, ::-1], columns=["womens", "mens"])
    assert metrics.qini(frame, y, names[given], shares, arm="womens") == pytest.approx(1000 * one)


def test_one_arm_of_several_equals_the_data_without_the_others():
    rng = np.random.default_rng(4)
    given, effect, y = rng.integers(0, 3, 900), rng.normal(size=(900, 2)), rng.normal(size=900)
    both = given != 2
    whole = metrics.qini(effect, y, given, {0: 0.5, 1: 0.3, 2: 0.2}, arm=1, n_bootstrap=0)
    alone = metrics.qini(effect[both, 0], y[both], given[both], {0: 5 / 8, 1: 3 / 8}, n_bootstrap=0)
    assert whole == pytest.approx(alone)


def test_unequal_propensities_by_row_and_arms_that_are_not_offered():
    rng = np.random.default_rng(5)
    n = 60_000
    effect = rng.normal(size=n)
    chance = np.where(effect > 0, 0.8, 0.2)
    chance[: n // 3] = 0.0
    treatment = (rng.random(n) < chance).astype(int)
    y = effect + effect * treatment + rng.normal(size=n)
    propensity = np.column_stack([1 - chance, chance])
    value = metrics.qini_rate(effect, y, treatment, propensity)
    assert value.n == n - n // 3
    assert value.low < 0.2821 < value.high
    ignored = metrics.qini_rate(effect, y, treatment)  # shares as observed: confounded, so wrong
    assert not ignored.low < 0.2821 < ignored.high


@pytest.mark.parametrize(
    ("treatment", "propensity", "expected"),
    [
        ([0, 1, 0, 1], None, 0),
        ([False, True, False, True], None, False),
        (["mail", "none", "mail", "none"], {"none": 0.5, "mail": 0.5}, "none"),
        (["a", "control", "a", "control"], None, "control"),
    ],
)
def test_the_control_is_known_or_asked_for(treatment, propensity, expected):
    from uplift.metrics.trial import read_trial

    assert read_trial([0, 1, 1, 0], treatment, propensity).control == expected


def test_an_unknown_control_is_asked_for():
    y, effect = [0, 1, 1, 0], [1, 2, 3, 4]
    with pytest.raises(InputError, match="pass control="):
        metrics.qini(effect, y, ["a", "b", "a", "b"])
    with pytest.raises(InputError, match="pass control="):
        metrics.qini(effect, y, [1, 2, 1, 2], np.full((4, 2), 0.5))
    with pytest.raises(InputError, match="did you mean 'none'"):
        metrics.qini(effect, y, ["none", "mail"] * 2, control="nome")


def test_everything_wrong_is_listed_at_once():
    with pytest.raises(InputError) as error:
        metrics.qini([1.0, 2.0, 3.0], [0.0, np.nan, 1.0], ["a", None, "b"], control="a", sample_weight=[1, 1, -1])
    for part in ("y is missing or infinite in 1", "treatment is missing in 1", "sample_weight is negative in 1"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effect": [1, 2, 3]}, "effect has shape"),
        ({"effect": [1, np.nan, 3, 4]}, "effect is missing"),
        ({"effect": ["a", "b", "c", "d"]}, "effect must hold numbers"),
        ({"y": []}, "not one row"),
        ({"y": ["x", "y", "z", "w"]}, "y must hold numbers"),
        ({"treatment": [1, 1, 1, 1]}, "no control"),
        ({"treatment": [0, 0, 0, 0]}, "nothing to compare"),
        ({"treatment": np.array([0, "a", 0, "a"], dtype=object)}, "mixes kinds"),
        ({"propensity": {0: 0.5, 1: 0.6}}, "add up to 1.1"),
        ({"propensity": {0: 0.5}}, "no share for the arm '1'"),
        ({"propensity": {0: 0.5, 1: 0.25, 2: 0.25}}, "of which treatment has no row"),
        ({"propensity": {0: 0.0, 1: 1.0}}, "between 0 and 1"),
        ({"propensity": np.full((4, 3), 1 / 3)}, r"\(4, 3\), not \(4, 2\)"),
        ({"propensity": [[1, 0], [0, 1], [0, 1], [0, 1]]}, "1 rows received an arm whose propensity"),
        ({"propensity": np.full((4, 2), 0.4)}, "does not add up"),
        ({"arm": 2}, "unknown arm '2'"),
        ({"arm": 0}, "is the control"),
        ({"alpha": 1.0}, "alpha"),
        ({"n_bootstrap": -1}, "n_bootstrap"),
        ({"clusters": [1, 2]}, "clusters has 2"),
        ({"expected": np.zeros((4, 3))}, "expected has shape"),
        ({"sample_weight": [0, 0, 0, 0]}, "every sample_weight is zero"),
    ],
)
def test_bad_input_is_a_message(change, message):
    given = {"effect": [1, 2, 3, 4], "y": [0, 1, 1, 0], "treatment": [0, 1, 0, 1], **change}
    with pytest.raises(InputError, match=message):
        metrics.qini(given.pop("effect"), given.pop("y"), given.pop("treatment"), **given)


def test_a_vector_for_several_arms_needs_the_arm():
    with pytest.raises(InputError, match="pass arm="):
        metrics.qini([1, 2, 3], [0, 1, 0], [0, 1, 2], control=0)


@pytest.mark.parametrize("k", [0, 1.5, -0.1, True])
def test_k_is_a_share(k):
    effect, y, treatment, shares = trial(100)
    with pytest.raises(InputError, match="share of members"):
        metrics.uplift_at_k(effect, y, treatment, shares, k=k)


def test_uplift_of_everybody_is_the_difference_of_means():
    effect, y, treatment, shares = trial(800)
    assert metrics.uplift_at_k(effect, y, treatment, shares, k=1.0) == pytest.approx(
        y[treatment == 1].mean() - y[treatment == 0].mean()
    )


def test_comparison_is_paired():
    effect, y, treatment, shares = trial(20_000, noise=3)
    rng = np.random.default_rng(9)
    nearly = effect + 0.1 * rng.normal(size=len(effect))
    difference = metrics.compare(effect, nearly, y, treatment, shares)
    first, second = (metrics.qini(e, y, treatment, shares) for e in (effect, nearly))
    assert difference == pytest.approx(first - second)
    assert difference.se < 0.3 * np.hypot(first.se, second.se)
    back = metrics.compare(nearly, effect, y, treatment, shares)
    assert back == pytest.approx(-difference)
    assert back.p_value == pytest.approx(1 - difference.p_value)
    better = metrics.compare(effect, -effect, y, treatment, shares, metric_name="autoc")
    assert better.p_value < 1e-6
    assert metrics.compare(effect, effect, y, treatment, shares, metric_name="uplift_at_k", k=0.2) == 0
    with pytest.raises(InputError, match="unknown metric 'quini'"):
        metrics.compare(effect, nearly, y, treatment, shares, metric_name="quini")


def test_designed_shares_on_hillstrom(real_data):
    table = pd.read_csv(real_data / "hillstrom" / "hillstrom.csv")
    shares = dict.fromkeys(["No E-Mail", "Mens E-Mail", "Womens E-Mail"], 1 / 3)
    score = table["history"].to_numpy()
    for arm, points in (("Mens E-Mail", 76.6), ("Womens E-Mail", 45.2)):
        curve = metrics.qini_curve(score, table["visit"], table["segment"], shares, arm=arm)
        assert curve.total.value == pytest.approx(points, abs=0.1)
        assert curve.total.low > 0


def test_an_interval_made_by_few_members_is_wider_than_its_standard_error_says():
    """Twenty buyers carry the whole variance: Student's t with few degrees of freedom, in interval and p-value."""
    rng = np.random.default_rng(0)
    effect, w = rng.normal(size=4000), rng.integers(0, 2, 4000)
    rare = np.zeros(4000)
    rare[rng.choice(4000, 20, replace=False)] = rng.lognormal(3, 1, 20)
    few, many = (metrics.qini(effect, y, w, 0.5) for y in (rare, rng.normal(size=4000)))
    assert (few.high - few.low) / few.se > 2 * 2.1
    assert (many.high - many.low) / many.se == pytest.approx(2 * 1.972, rel=0.02)
    curve = metrics.qini_curve(effect, rare, w, 0.5)
    assert (curve.high - curve.value)[100] / curve.se[100] > 2.1
