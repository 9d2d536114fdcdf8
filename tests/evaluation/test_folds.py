"""Fold assignments and splits in time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift.errors import InputError
from uplift.evaluation import fold_ids, time_split


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 300), st.integers(2, 7), st.integers(1, 60), st.integers(0, 5))
def test_groups_stay_together_and_folds_are_even(n, folds, members, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, members, n)
    if len(np.unique(groups)) < folds:
        with pytest.raises(InputError, match="use fewer folds"):
            fold_ids(n, folds, groups=groups)
        return
    ids = fold_ids(n, folds, groups=groups, random_state=seed)
    assert ids.min() >= 0
    assert ids.max() == folds - 1
    assert all(len(np.unique(ids[groups == g])) == 1 for g in np.unique(groups))
    counts = np.bincount(ids, minlength=folds)
    assert counts.max() - counts.min() <= 2 * np.bincount(groups).max()


def test_arms_are_spread_evenly():
    arms = np.array(["a"] * 50 + ["b"] * 25 + ["c"] * 10)
    ids = fold_ids(85, 5, stratify=arms)
    for arm, size in (("a", 10), ("b", 5), ("c", 2)):
        counts = np.bincount(ids[arms == arm], minlength=5)
        assert abs(counts - size).max() <= 1


def test_the_same_seed_gives_the_same_folds_and_another_does_not():
    first, second, third = (fold_ids(100, 5, random_state=seed) for seed in (0, 0, 1))
    assert (first == second).all()
    assert (first != third).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 1}, "at least 2"),
        ({"folds": 2.5}, "whole number"),
        ({"groups": [1, 2]}, "groups has shape"),
        ({"stratify": [None] * 10}, "stratify is missing in 10"),
        ({"folds": 11}, "need at least as many rows"),
    ],
)
def test_bad_folds(arguments, message):
    with pytest.raises(InputError, match=message):
        fold_ids(10, **arguments)


def months(n=12):
    return pd.Series(pd.date_range("2026-01-01", periods=n, freq="MS", tz="Asia/Shanghai"))


def test_no_training_label_looks_past_the_cutoff(proof):
    as_of = pd.concat([months()] * 3, ignore_index=True)
    gap = pd.Timedelta(days=60)
    splits = time_split(as_of, [as_of[8], as_of[10]], gap)
    late = sum(int((as_of[split.train] + gap > split.cutoff).sum()) for split in splits)
    assert len(splits) == 2
    for split, following in zip(splits, [as_of[10], pd.Timestamp.max.tz_localize("UTC")], strict=True):
        assert (as_of[split.train] + gap <= split.cutoff).all()
        assert (as_of[split.test] >= split.cutoff).all()
        assert (as_of[split.test] < following).all()
        assert not (split.train & split.test).any()
        between = (as_of + gap > split.cutoff) & (as_of < split.cutoff)
        assert not (split.train | split.test)[between].any()
    assert splits[0].to_dicts()[0]["train"] == int(splits[0].train.sum())
    without = time_split(as_of, [as_of[8]], pd.Timedelta(0))[0]
    peeking = int((as_of[without.train] + gap > without.cutoff).sum())
    quantity = "training rows whose labels look past the cut-off, horizon of 60 days"
    assert proof("churn/time-split", quantity, method="time_split", target="0", figure=f"{late}", holds=late == 0)
    assert proof(
        "churn/time-split", quantity, method="no gap", target="above 0", figure=f"{peeking}", holds=peeking > 0,
        planted=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cutoffs", "gap", "message"),
    [
        ([], 60, "at least one cutoff"),
        (pd.Timestamp("2026-06-01"), 60, "time zone"),
        (pd.Timestamp("2026-06-01", tz="UTC"), -1, "must not be negative"),
        (pd.Timestamp("2026-01-15", tz="UTC"), 60, "no row to train on"),
        (pd.Timestamp("2027-06-01", tz="UTC"), 60, "no row to evaluate on"),
    ],
)
def test_bad_time_splits(cutoffs, gap, message):
    with pytest.raises(InputError, match=message):
        time_split(months(), cutoffs, pd.Timedelta(days=gap))


def test_missing_times():
    with pytest.raises(InputError, match="as_of is missing in 1"):
        time_split(pd.Series([pd.NaT, *months(3)]), months()[2], pd.Timedelta(days=1))
