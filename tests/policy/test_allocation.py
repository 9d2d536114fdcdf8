from __future__ import annotations

import time

import numpy as np
import pytest

from uplift.errors import InputError
from uplift.policy import allocate


def test_unconstrained_takes_every_members_best_positive_value() -> None:
    a = allocate([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]], [1.0, 1.0])
    assert a.offer.tolist() == [1, -1, -1]
    assert (a.value, a.bound, a.gap, a.status) == (2.0, 2.0, 0.0, "optimal")
    assert a.prices.budget == 0.0


def test_masks_come_first_and_hidden_numbers_are_not_read() -> None:
    eligible = np.array([[False, True], [True, False]])
    a = allocate([[np.nan, 1.0], [3.0, np.inf]], [[9.0, 1.0], [1.0, np.nan]], eligible=eligible, budget=2)
    assert a.offer.tolist() == [1, 0]


def test_negative_costs_free_budget() -> None:
    # the first member's offer loses 1 but brings in 5, which pays for the second member's
    a = allocate([[-1.0], [10.0]], [[-5.0], [5.0]], budget=0)
    assert a.offer.tolist() == [0, 0]
    assert (a.value, a.cost) == (9.0, 0.0)


def test_ten_dimes_fit_one_unit() -> None:
    assert allocate(np.ones((10, 1)), np.full((10, 1), 0.1), budget=1.0).counts.tolist() == [10]


def test_shadow_price_is_what_the_next_unit_returns() -> None:
    rng = np.random.default_rng(0)
    value, cost = rng.gamma(1, 2, (5_000, 3)), rng.uniform(0.5, 2, (5_000, 3))
    a, b = (allocate(value, cost, budget=budget) for budget in (800.0, 801.0))
    assert b.value - a.value == pytest.approx(a.prices.budget, rel=0.1)
    with_place = allocate(value, cost, quotas={1: 201})
    without = allocate(value, cost, quotas={1: 200})
    assert with_place.value - without.value == pytest.approx(without.prices.quotas[1], rel=0.05)
    assert without.prices.quotas[[0, 2]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("quotas", [{1: 2}, [None, 2], [np.inf, 2.9]])
def test_quotas_in_every_form(quotas) -> None:
    a = allocate(np.tile([1.0, 5.0], (4, 1)), [0.0, 0.0], quotas=quotas)
    assert a.counts.tolist() == [2, 2]


def test_empty_inputs() -> None:
    assert allocate(np.zeros((0, 3)), np.zeros(3), budget=5).status == "optimal"
    assert allocate(np.zeros((4, 0)), np.zeros(0)).offer.tolist() == [-1] * 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"value": [[np.nan, 1.0]], "cost": [1.0, 1.0]}, "value: 1 eligible pair"),
        ({"value": [[np.inf, 1.0]], "cost": [1.0, 1.0]}, "value: 1 eligible pair"),
        ({"value": [[1.0, 1.0]], "cost": [1.0, np.nan]}, "cost: 1 eligible pair"),
        ({"value": [1.0, 1.0], "cost": [1.0, 1.0]}, r"expected \(n_members, n_offers\)"),
        ({"value": [["a", 1.0]], "cost": [1.0, 1.0]}, "expected numbers"),
        ({"value": [[1.0, 1.0]], "cost": [1.0]}, "cost: expected the shape"),
        ({"value": [[1.0]], "cost": [1.0], "eligible": [[1]]}, "true or false"),
        ({"value": [[1.0]], "cost": [1.0], "eligible": [True]}, "eligible: expected the shape"),
        ({"value": [[1.0]], "cost": [1.0], "budget": -1}, "at least 0"),
        ({"value": [[1.0]], "cost": [1.0], "budget": float("nan")}, "at least 0"),
        ({"value": [[1.0]], "cost": [1.0], "quotas": {1: 3}}, "no offer 1"),
        ({"value": [[1.0]], "cost": [1.0], "quotas": [1, 2]}, "one entry for each of 1"),
        ({"value": [[1.0]], "cost": [1.0], "quotas": {0: -1}}, "at least 0 members"),
        ({"value": [[1.0]], "cost": [1.0], "tie_break": [1, 2]}, "tie_break"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, words: str) -> None:
    with pytest.raises(InputError, match=words):
        allocate(**arguments)


def test_a_shop_sized_problem_is_solved_at_once() -> None:
    rng = np.random.default_rng(0)
    value = rng.gamma(1, 2, (20_000, 6)) - 1
    started = time.process_time()
    a = allocate(value, rng.uniform(0.5, 5, 6), budget=9_000, quotas=[1_000] * 6)
    assert time.process_time() - started < 5  # about 0.3 s on a quiet core
    assert a.gap < 1e-4


def test_the_result_shows_itself() -> None:
    a = allocate([[1.0]], [1.0])
    assert "optimal" in repr(a)
    assert a.to_pandas().loc[0, "offered"] == 1
    assert "<table>" in a._repr_html_()
