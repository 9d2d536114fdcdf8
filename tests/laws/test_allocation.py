"""Laws of the allocator: exact when small, bounded always, feasible always, blind to the order of rows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from uplift.policy import Allocation, allocate

SLACK = 1e-9  # what the docs of `allocate` grant to the rounding of sums


def brute_force(
    value: NDArray, cost: NDArray, eligible: NDArray, budget: float | None, quotas: list[float | None]
) -> float:
    """The best value by trying every decision."""
    n, m = value.shape
    ceiling = np.inf if budget is None else budget + SLACK * max(budget, 2 * float(np.abs(cost).max(initial=0)))
    options = [[-1, *np.flatnonzero(eligible[i])] for i in range(n)]
    best = -np.inf
    for choice in itertools.product(*options):
        given_to = [(i, j) for i, j in enumerate(choice) if j >= 0]
        if math.fsum(cost[i, j] for i, j in given_to) > ceiling:
            continue
        if any(quotas[j] is not None and sum(1 for _, k in given_to if k == j) > quotas[j] for j in range(m)):
            continue
        best = max(best, math.fsum(value[i, j] for i, j in given_to))
    return best


def broken_constraints(
    result: Allocation,
    value: NDArray,
    cost: NDArray,
    eligible: NDArray,
    budget: float | None,
    quotas: list[float | None],
) -> list[str]:
    """Names of the constraints, or of the totals reported, that do not hold; recomputed from scratch."""
    given_to = np.flatnonzero(result.offer >= 0)
    chosen = result.offer[given_to]
    spent = math.fsum(cost[given_to, chosen])
    worth = math.fsum(value[given_to, chosen])
    counts = np.bincount(chosen, minlength=value.shape[1])
    scale = max(1.0, float(np.abs(cost).max(initial=0)), float(np.abs(value[eligible]).max(initial=0))) * len(value)
    broken = []
    if not eligible[given_to, chosen].all():
        broken.append("eligible")
    if budget is not None and spent > budget + SLACK * max(budget, 2 * float(np.abs(cost).max(initial=0))):
        broken.append("budget")
    broken += [f"quota {j}" for j, q in enumerate(quotas) if q is not None and counts[j] > q]
    if not math.isclose(spent, result.cost, abs_tol=1e-9 * scale):
        broken.append("reported cost")
    if not math.isclose(worth, result.value, abs_tol=1e-9 * scale):
        broken.append("reported value")
    if result.bound < result.value:
        broken.append("bound")
    return broken


money = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 2))


@st.composite
def problems(draw: st.DrawFn, max_members: int, max_pairs: int) -> tuple:
    """Small problems: coarse money (many ties), negative costs, forbidden pairs, tight and loose constraints."""
    n = draw(st.integers(1, max_members))
    m = draw(st.integers(1, max(1, min(4, max_pairs // n))))
    table = st.lists(st.lists(money, min_size=m, max_size=m), min_size=n, max_size=n)
    value, cost = np.array(draw(table)), np.array(draw(table))
    if draw(st.booleans()):
        cost = np.abs(cost)
    eligible = np.array(
        draw(st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=n, max_size=n)), dtype=bool
    )
    budget = draw(st.none() | st.floats(0, 100).map(lambda x: round(x, 1)))
    quotas = draw(st.lists(st.none() | st.integers(0, 4), min_size=m, max_size=m))
    return value, cost, eligible, budget, quotas


@settings(max_examples=120, deadline=None)
@given(problems(max_members=8, max_pairs=14))
def test_equals_brute_force_when_small(problem: tuple) -> None:
    value, cost, eligible, budget, quotas = problem
    result = allocate(value, cost, eligible=eligible, budget=budget, quotas=quotas)
    best = brute_force(*problem)
    assert result.value == pytest.approx(best, abs=1e-7)
    assert result.bound >= best - 1e-7
    assert result.status == "optimal"


@settings(max_examples=150, deadline=None)
@given(problems(max_members=40, max_pairs=160))
def test_no_constraint_is_ever_broken(problem: tuple) -> None:
    value, cost, eligible, budget, quotas = problem
    result = allocate(value, cost, eligible=eligible, budget=budget, quotas=quotas)
    assert broken_constraints(result, *problem) == []


def test_the_check_of_constraints_catches_a_planted_defect(proof) -> None:
    value, cost = np.array([[5.0], [4.0]]), np.array([[2.0], [2.0]])
    eligible = np.array([[True], [False]])
    wrong = Allocation(np.array([0, 0]), 9.0, 4.0, 8.0, 0.0, None, "optimal", np.array([2]))  # type: ignore[arg-type]
    found = broken_constraints(wrong, value, cost, eligible, 3.0, [1])
    assert proof(
        "policy/allocation", "constraints of an allocation that breaks every one", method="all broken at once",
        target="eligible, budget, quota, bound", figure=", ".join(found), planted=True,
        holds=found == ["eligible", "budget", "quota 0", "bound"],
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(problems(max_members=30, max_pairs=120), st.randoms(use_true_random=False))
def test_row_order_does_not_matter(problem: tuple, random) -> None:
    value, cost, eligible, budget, quotas = problem
    order = list(range(len(value)))
    random.shuffle(order)
    key = np.arange(len(value))  # decides between identical rows
    first = allocate(value, cost, eligible=eligible, budget=budget, quotas=quotas, tie_break=key)
    other = allocate(
        value[order], cost[order], eligible=eligible[order], budget=budget, quotas=quotas, tie_break=key[order]
    )
    assert first.offer[order].tolist() == other.offer.tolist()
    assert (first.value, first.cost, first.bound) == (other.value, other.cost, other.bound)


@settings(max_examples=40, deadline=None)
@given(problems(max_members=8, max_pairs=24), st.lists(st.floats(0, 150), min_size=4, max_size=4))
def test_value_never_falls_as_the_budget_grows(problem: tuple, budgets: list[float]) -> None:
    value, cost, eligible, _, quotas = problem
    results = [allocate(value, cost, eligible=eligible, budget=b, quotas=quotas) for b in sorted(budgets)]
    assert {r.status for r in results} == {"optimal"}
    values = [r.value for r in results]
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(values))


def made(n: int, seed: int, m: int = 6) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    value = rng.gamma(1.0, 2.0, (n, m)) - 1
    cost = rng.choice([-0.3, 0.5, 1, 2, 3, 5], m) * rng.uniform(0.8, 1.2, (n, m))
    return value, cost


@pytest.mark.parametrize("seed", range(6))
def test_gap_at_two_thousand_members(seed: int, proof) -> None:
    value, cost = made(2_000, seed)
    result = allocate(value, cost, budget=600.0, quotas=dict.fromkeys(range(6), 250))
    broken = broken_constraints(result, value, cost, np.ones(value.shape, bool), 600.0, [250] * 6)
    assert proof(
        "policy/allocation", f"gap between value and bound, 2,000 members × 6 offers, one budget, six quotas ({seed})",
        method="Lagrangian dual and repair", target="at most .1 %, no constraint broken", figure=f"{result.gap:.4%}",
        holds=result.gap <= 1e-3 and not broken,
    )  # fmt: skip


def test_value_grows_with_the_budget_to_within_the_gap_when_not_proved() -> None:
    value, cost = made(2_000, 3)
    results = [allocate(value, cost, budget=b, quotas={0: 100, 2: 150}) for b in np.linspace(0, 3_000, 25)]
    for lower, higher in itertools.pairwise(results):
        assert higher.value >= lower.value * (1 - higher.gap) - 1e-9


def test_the_bound_holds_against_the_linear_programme(proof) -> None:
    from scipy.optimize import linprog

    value, cost = made(150, 1, m=3)
    n, m = value.shape
    rows = [np.kron(np.eye(n), np.ones(m)), cost.reshape(1, -1), np.tile(np.eye(m), n)]
    relaxed = -linprog(-value.ravel(), A_ub=np.vstack(rows), b_ub=np.r_[np.ones(n), 40.0, [30.0] * m]).fun
    result = allocate(value, cost, budget=40.0, quotas=[30] * m)
    assert result.value <= relaxed + 1e-9
    assert proof(
        "policy/allocation", "published bound over the linear programme's, value over it", method="dual and repair",
        target="bound at most 1, value at most 1", figure=f"{result.bound / relaxed:.6f}, {result.value / relaxed:.6f}",
        holds=result.bound <= relaxed * (1 + 1e-9) + 1e-9,
    )  # fmt: skip
    assert result.gap <= 1e-2


@pytest.mark.parametrize("limit", [0.0, 0.01])
def test_a_time_limited_solve_is_never_called_optimal(limit: float, proof) -> None:
    value, cost = made(20_000, 0)
    quotas = dict.fromkeys(range(6), 1500)
    result = allocate(value, cost, budget=4_000.0, quotas=quotas, time_limit=limit)
    assert proof(
        "policy/allocation", f"status of a solve stopped after {limit:g} s", method="dual and repair",
        target="never optimal", figure=result.status, holds=result.status == "time_limit",
    )  # fmt: skip
    assert broken_constraints(result, value, cost, np.ones(value.shape, bool), 4_000.0, [1_500] * 6) == []


def test_identical_members_are_served_up_to_the_constraint() -> None:
    result = allocate(np.ones((5_000, 2)), np.ones((5_000, 2)), budget=77.5, quotas=[40, None])
    assert int(result.counts.sum()) == 77
    assert result.counts[0] <= 40


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_unit_of_money_does_not_matter(scale: float) -> None:
    value, cost = made(500, 2)
    base = allocate(value, cost, budget=200.0, quotas={0: 60})
    other = allocate(value * scale, cost, budget=200.0, quotas={0: 60})
    assert other.value == pytest.approx(base.value * scale, rel=1e-3)
    assert other.gap < 1e-3
    assert other.prices.budget == pytest.approx(base.prices.budget * scale, rel=1e-6)
