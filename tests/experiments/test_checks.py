import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from uplift.errors import DesignError
from uplift.experiments import Stage, balance, diagnose_sample_ratio, sample_ratio, sample_ratio_evidence
from uplift.experiments._encoding import encode


def test_sample_ratio_is_chi_square_against_the_design():
    check = sample_ratio({"a": 520, "b": 300, "c": 180}, {"a": 0.5, "b": 0.3, "c": 0.2})
    reference = chisquare([520, 300, 180], [500, 300, 200])
    assert check.p_value == pytest.approx(reference.pvalue)
    assert check.df == 2


def test_an_arm_of_share_zero_changes_nothing():
    plain = sample_ratio({"a": 5_050, "b": 4_950}, {"a": 0.5, "b": 0.5})
    wider = sample_ratio({"a": 5_050, "b": 4_950}, {"a": 0.5, "b": 0.5, "paused": 0.0})
    listed = sample_ratio({"a": 5_050, "b": 4_950, "paused": 0}, {"a": 0.5, "b": 0.5, "paused": 0.0})
    assert plain.p_value == wider.p_value == listed.p_value
    assert plain.df == wider.df == 1


def test_members_in_an_arm_of_share_zero_fail():
    assert sample_ratio({"a": 500, "b": 500, "c": 1}, {"a": 0.5, "b": 0.5, "c": 0.0}).passed is False


def test_a_true_unequal_split_passes_and_equal_shares_are_never_assumed():
    counts = {"offer": 9_487, "control": 513}
    assert sample_ratio(counts, {"offer": 0.95, "control": 0.05}).passed is True
    assert sample_ratio(counts, {"offer": 0.5, "control": 0.5}).passed is False
    unknown = sample_ratio(counts, None)
    assert unknown.passed is None
    assert unknown.p_value is None


@pytest.mark.parametrize("shares", [{"a": 0.5, "b": 0.4}, {"a": 1.0}])
def test_a_design_that_does_not_fit_is_refused(shares):
    with pytest.raises(DesignError):
        sample_ratio({"a": 10, "b": 10}, shares)


def members(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, n)
    age[rng.random(n) < 0.1] = np.nan
    return pd.DataFrame({"age": age, "city": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])})


def test_balance_of_random_arms_passes_and_its_p_value_is_uniform():
    encoded = encode(members(600), ["age", "city"], 11)
    p = [
        balance(encoded, np.random.default_rng(seed).integers(0, 3, 600), ("c", "x", "y")).p_value
        for seed in range(300)
    ]
    assert 0.42 < np.mean(p) < 0.58
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_balance_finds_arms_that_depend_on_a_covariate():
    table = members()
    arm = (table["age"].fillna(40) + np.random.default_rng(1).normal(0, 30, len(table)) > 40).astype(int).to_numpy()
    check = balance(encode(table, ["age", "city"], 11), arm, ("control", "offer"))
    assert check.passed is False
    assert check.worst["covariate"] == "age"
    assert check.worst["smd"] > 0.2


def test_standardised_difference_by_hand():
    table = pd.DataFrame({"x": [1.0, 2, 3, 4] * 10})
    arm = np.array([0, 0, 1, 1] * 10)
    row = balance(encode(table, ["x"], 5), arm, ("control", "offer"), min_cell=5).rows[0]
    assert row["smd"] == pytest.approx(2 / 0.5)


def test_categories_that_are_rare_in_an_arm_show_no_numbers():
    table = pd.DataFrame({"city": ["a"] * 90 + ["b"] * 10})
    arm = np.array([0, 1] * 50)
    rows = balance(encode(table, ["city"], 5), arm, ("control", "offer"), min_cell=11).rows
    assert [row["smd"] for row in rows] == [None]


def test_whole_clusters_are_tested_as_clusters():
    rng = np.random.default_rng(5)
    false = {"rows": 0, "clusters": 0}
    for _ in range(200):
        cluster = np.repeat(np.arange(60), 20)
        table = pd.DataFrame({"x": np.repeat(rng.normal(size=60), 20) + 0.1 * rng.normal(size=1200)})
        arm = np.repeat(rng.permutation(np.arange(60) % 2), 20)
        encoded = encode(table, ["x"], 11)
        false["clusters"] += balance(encoded, arm, ("c", "o"), clusters=cluster).p_value < 0.05
        false["rows"] += balance(encoded, arm, ("c", "o")).p_value < 0.05
    assert false["clusters"] <= 20
    assert false["rows"] > 100  # the test that must not be used


SHARES = {"control": 0.4, "gift": 0.4, "voucher": 0.2}


def test_the_evidence_is_a_ratio_of_likelihoods():
    from scipy.stats import dirichlet_multinomial, multinomial

    counts, p = np.array([310, 190, 500]), np.array([0.3, 0.2, 0.5])
    expected = dirichlet_multinomial(50 * p, 1000).logpmf(counts) - multinomial(1000, p).logpmf(counts)
    assert sample_ratio_evidence(counts, p, 50) == pytest.approx(expected)
    assert sample_ratio_evidence([310, 190, 0, 500], [0.3, 0.2, 0, 0.5], 50) == pytest.approx(expected)


def test_while_members_come_the_evidence_decides():
    counts = {"control": 4_250, "gift": 3_850, "voucher": 1_900}
    once, running = (sample_ratio(counts, SHARES, running=r) for r in (False, True))
    assert once.p_value < 0.001
    assert once.passed is False
    assert running.passed is (running.e_value < 1000)
    far = sample_ratio({"control": 5_000, "gift": 3_000, "voucher": 2_000}, SHARES, running=True)
    assert far.passed is False


def test_the_stage_at_which_the_ratio_breaks_is_named():
    even = {"control": 4_000, "gift": 4_010, "voucher": 1_990}
    fewer = even | {"gift": 3_300}
    sent = {"gift": 2 / 3, "voucher": 1 / 3}

    def broken(*counts):
        shares = (SHARES, sent, SHARES)
        names = ("assigned", "sent", "observed")
        return diagnose_sample_ratio([Stage(*s) for s in zip(names, counts, shares, strict=True)]).broken

    assert broken(even, even, even) is None
    assert broken(fewer, fewer, fewer) == "assigned"
    assert broken(even, fewer, even) == "sent"
    assert broken(even, even, fewer) == "observed"
