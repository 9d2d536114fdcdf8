"""How much of predictions is kept, and of which."""

from __future__ import annotations

import numpy as np
import pytest

from uplift.learners import pooled, shrink
from uplift.learners._shrinkage import Shrinkage

FOLDS = [0, 1, 2, 3]


def shrunk(predicted, gamma, fold=None, among=None):
    predicted = np.asarray(predicted) if np.ndim(predicted) == 3 else np.asarray(predicted)[None]
    n = len(gamma)
    return shrink(predicted, gamma, np.ones(n), np.arange(n) % 4 if fold is None else fold, among or FOLDS)


def test_what_holds_up_is_kept():
    rng = np.random.default_rng(0)
    n = 20_000
    level, between = rng.normal(size=n), rng.normal(size=n)
    predicted = np.column_stack([level + between, level - between])
    true_level = np.column_stack([level, level])
    true_between = np.column_stack([between, -between])
    for truth, kept in (
        (predicted, (1, 1)),
        (predicted / 2, (0.5, 0.5)),
        (true_level, (1, 0)),
        (true_between, (0, 1)),
        (np.zeros_like(predicted), (0, 0)),
    ):
        result = shrunk(predicted, 0.5 + truth + rng.normal(size=predicted.shape)).shrinkage
        np.testing.assert_allclose(result.factors, kept, atol=0.03)
        np.testing.assert_allclose(result.constant, 0.5, atol=0.05)
    opposite = shrunk(-predicted, predicted + rng.normal(size=predicted.shape)).shrinkage
    assert opposite.factors == (0.0, 0.0)


def test_where_nothing_can_be_seen_the_order_is_kept():
    rng = np.random.default_rng(4)
    unsure = shrunk(rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) * 20).shrinkage
    assert min(unsure.factors) > 0.05


def test_of_noise_less_is_kept_than_a_flat_prior_would():
    """The prior has a lump at "nothing": where effects are alike, next to nothing of the differences is left."""
    kept = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        result = shrunk(rng.normal(size=(3000, 2)), rng.normal(size=(3000, 2)))
        kept.append(result.shrinkage.factors)
    assert np.median(kept) == 0.0
    assert np.mean(kept) < 0.01


def test_a_fold_does_not_see_its_own_scores():
    rng = np.random.default_rng(1)
    predicted, fold = rng.normal(size=(2, 300, 2)), np.arange(300) % 3
    gamma = predicted[0] + rng.normal(size=(300, 2))
    first = shrunk(predicted, gamma, fold, [0, 1, 2]).effects
    changed = np.where((fold == 0)[:, None], gamma + 100 * rng.normal(size=(300, 2)), gamma)
    second = shrunk(predicted, changed, fold, [0, 1, 2]).effects
    np.testing.assert_array_equal(first[fold == 0], second[fold == 0])
    assert (first[fold == 1] != second[fold == 1]).any()
    partly = shrunk(predicted, gamma, fold, [1, 2])
    assert np.isnan(partly.effects[fold == 0]).all()


def test_unknown_scores_are_left_out():
    rng = np.random.default_rng(2)
    predicted = rng.normal(size=(900, 2))
    gamma = predicted + rng.normal(size=(900, 2))
    gamma[:300, 1] = np.nan
    result = shrunk(predicted, gamma, np.arange(900) % 3, [0, 1, 2])
    assert np.isfinite(result.effects).all()
    assert result.shrinkage.factors[0] > 0.7


def test_of_predictions_that_are_the_same_for_all_nothing_is_kept():
    rng = np.random.default_rng(14)
    alike = np.tile([0.3, 0.7], (600, 1))
    assert not shrunk(alike, alike + rng.normal(size=(600, 2))).shrinkage.weights.any()
    level = alike + rng.normal(size=(600, 1))
    kept = shrunk(level, level + 0.1 * rng.normal(size=(600, 2))).shrinkage.factors
    assert kept[0] > 0.9


def test_the_prediction_that_is_right_gets_the_weight():
    rng = np.random.default_rng(3)
    right, wrong = rng.normal(size=(4000, 2)), rng.normal(size=(4000, 2))
    gamma = right + rng.normal(size=(4000, 2))
    level, between = shrunk([right, wrong], gamma).shrinkage.weights
    assert level[0] > 0.9
    assert between[0] > 0.9
    assert level[1] == between[1] == 0.0


def test_predictions_that_err_apart_are_averaged():
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(20_000, 2))
    both = [truth + rng.normal(size=truth.shape) for _ in range(2)]
    found = shrunk(both, truth + rng.normal(size=truth.shape))
    one = shrunk(both[0], truth + rng.normal(size=truth.shape))
    assert found.shrinkage.weights == pytest.approx(np.full((2, 2), 1 / 3), abs=0.03)
    errors = [np.mean((effects - truth) ** 2) for effects in (found.effects, one.effects)]
    assert errors[0] < 0.75 * errors[1]


def test_the_arms_means_are_shrunk_towards_each_other():
    rng = np.random.default_rng(6)
    nothing = np.zeros((4000, 3))
    clear = shrunk(nothing, np.array([0.0, 1.0, 2.0]) + rng.normal(size=(4000, 3)))
    np.testing.assert_allclose(clear.shrinkage.constant, [0, 1, 2], atol=0.06)
    gamma = 1 + 30 * rng.normal(size=(4000, 3))
    unclear = shrunk(nothing, gamma).shrinkage.constant
    assert unclear.mean() == pytest.approx(gamma.mean())
    assert np.ptp(unclear) < 0.5 * np.ptp(gamma.mean(axis=0))
    assert (np.argsort(unclear) == np.argsort(gamma.mean(axis=0))).all()


def test_a_change_of_unit_changes_the_unit_only():
    rng = np.random.default_rng(7)
    predicted = rng.normal(size=(2, 600, 2))
    gamma = 0.3 * predicted[1] + rng.normal(size=(600, 2))
    first, second = shrunk(predicted, gamma), shrunk(1000 * predicted, 1000 * gamma)
    np.testing.assert_allclose(second.effects, 1000 * first.effects)
    np.testing.assert_allclose(second.shrinkage.weights, first.shrinkage.weights)


def test_one_arm_and_more_predictions_than_subsets_are_tried_of():
    rng = np.random.default_rng(8)
    predicted = rng.normal(size=(8, 2000, 1))
    result = shrunk(predicted, predicted[2] + rng.normal(size=(2000, 1))).shrinkage
    assert result.weights.shape == (2, 8)
    assert result.weights[0].argmax() == 2


def test_the_same_by_matrices():
    shrinkage = Shrinkage(np.array([1.0, 2.0]), np.array([[0.5, 0.2], [0.1, 0.0]]))
    rng = np.random.default_rng(9)
    predicted, weight = rng.normal(size=(2, 50, 2)), rng.uniform(0.5, 2, 50)
    centred = predicted - np.average(predicted, axis=1, weights=weight)[:, None]
    level = centred.mean(axis=2, keepdims=True)
    expected = shrinkage.constant + 0.5 * level[0] + 0.2 * level[1] + 0.1 * (centred - level)[0]
    np.testing.assert_allclose(shrinkage.apply(predicted, weight), expected)


def test_rows_of_one_group_count_once():
    """Nine copies of every row tell no more than the rows themselves."""
    rng = np.random.default_rng(10)
    predicted, noise = rng.normal(size=(1, 400, 2)), rng.normal(size=(400, 2))
    gamma = 0.05 * predicted[0] + noise
    once = shrunk(predicted, gamma).shrinkage
    many = np.repeat(predicted, 9, axis=1), np.repeat(gamma, 9, axis=0), np.ones(3600), np.repeat(np.arange(400) % 4, 9)
    grouped = shrink(*many, FOLDS, np.repeat(np.arange(400), 9)).shrinkage
    np.testing.assert_allclose(grouped.weights, once.weights, atol=1e-9)
    np.testing.assert_allclose(grouped.constant, once.constant)
    assert np.ptp(shrink(*many, FOLDS).shrinkage.constant) > 2 * np.ptp(once.constant)  # taken for nine members each


def test_partitions_are_pooled_by_the_mean_of_their_sums():
    """Repeats are no new rows: what is said twice counts once; of two that differ, something in between."""
    rng = np.random.default_rng(11)
    n = 4000
    truth = rng.normal(size=(n, 2))
    gamma = truth + 4 * rng.normal(size=(n, 2))
    good, bad = (shrunk(truth + noise * rng.normal(size=(n, 2)), gamma) for noise in (0.2, 2.0))
    np.testing.assert_array_equal(pooled([good]).shrinkage.weights, good.shrinkage.weights)
    twice = pooled([good, good])
    np.testing.assert_allclose(twice.shrinkage.weights, good.shrinkage.weights, rtol=1e-12)
    np.testing.assert_allclose(twice.shrinkage.constant, good.shrinkage.constant, rtol=1e-12)
    both = pooled([bad, good])
    assert bad.shrinkage.factors[0] < both.shrinkage.factors[0] < good.shrinkage.factors[0]
    np.testing.assert_array_equal(both.effects, bad.effects)


def test_of_an_outcome_in_parts_each_part_is_shrunk_by_itself():
    """What the clear part's prediction says is kept; of the noisy one, which tells of both, next to nothing."""
    rng = np.random.default_rng(12)
    n, fold = 4000, np.arange(4000) % 4
    clear, noisy = rng.normal(size=(2, n, 2))
    scores = np.stack([clear + rng.normal(size=(n, 2)), 20 * rng.normal(size=(n, 2))])
    telling = np.array([[True, True], [False, True]])
    both = shrink(np.stack([clear, noisy]), scores, np.ones(n), fold, FOLDS, telling=telling)
    alone = [shrunk(one, score) for one, score in zip(([clear, noisy], [noisy]), scores, strict=True)]
    added = alone[0].shrinkage.weights.copy()
    added[:, 1:] += alone[1].shrinkage.weights
    np.testing.assert_array_equal(both.shrinkage.weights, added)
    assert both.shrinkage.weights[:, 0] == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(pooled([both, both]).shrinkage.weights, both.shrinkage.weights, rtol=1e-12)
    pairs = shrink(np.stack([clear, noisy]), scores, np.ones(n), fold, FOLDS, np.arange(n) // 8 * 4 + fold, telling)
    np.testing.assert_allclose(pairs.shrinkage.weights, both.shrinkage.weights, atol=0.05)
    whole = shrunk([clear, noisy], scores.sum(axis=0))
    means = [sum(one.shrinkage.constant for one in alone), whole.shrinkage.constant]
    np.testing.assert_allclose(both.shrinkage.constant, np.mean(means, axis=0))
    assert whole.shrinkage.weights[0, 0] < 0.8  # the noise of one part hides what is known of the other
