"""Prices that minimise the Lagrangian dual: tangents for one budget, box-step cutting planes for budget and quotas.

The dual function is convex and piecewise linear in at most ``n_offers + 1`` prices and costs one pass over the
members to evaluate, so a handful of evaluations suffices. Every point evaluated is a valid bound, converged or not.

References
----------
Held, Wolfe & Crowder (1974), *Validation of subgradient optimization*; Marsten, Hogan & Blankenship (1975), *The
boxstep method for large-scale optimization*.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from uplift.policy._problem import BoolArray, DualPoint, FloatArray, Prices, Problem, evaluate, zero_prices

_TOLERANCE = 1e-9
_SAMPLE = 1_500
_STEPS = 80


def solve_dual(problem: Problem) -> DualPoint:
    """The smallest bound found, with the prices that give it."""
    free = evaluate(problem, zero_prices(problem))
    if free.slack_budget >= 0 and np.all(free.slack_quotas >= 0):
        return free
    binding = np.isfinite(problem.quotas) & _can_bind(problem)
    if not binding.any():
        return _tangents(problem, free)
    if problem.out_of_time():
        return free
    return _box_step(problem, free, binding)


def _can_bind(problem: Problem) -> BoolArray:
    possible = np.isfinite(problem.value).sum(axis=1)
    return np.asarray(possible > problem.quotas)


def _tangents(problem: Problem, free: DualPoint) -> DualPoint:
    """One price: cut the convex function with the tangents on either side of its minimum until they meet."""
    low, high = free, None
    price = max(free.bound, 1.0) / max(abs(low.slack_budget), 1e-12)
    while high is None:
        point = _at(problem, price)
        if point.slack_budget >= 0:
            high = point
        else:
            low, price = point, price * 4
        if problem.out_of_time():
            break
    best = min((p for p in (free, low, high) if p is not None), key=lambda p: p.bound)
    for step in range(200):
        if high is None or high.slack_budget == 0 or problem.out_of_time():
            break
        a, b = low.prices.budget, high.prices.budget
        slope_a, slope_b = low.slack_budget, high.slack_budget
        meet = (high.bound - low.bound + slope_a * a - slope_b * b) / (slope_a - slope_b)
        floor = low.bound + slope_a * (meet - a)
        if best.bound - floor <= _TOLERANCE * max(1.0, abs(best.bound)) * 1e-3 or not a < meet < b:
            break
        price = meet if step % 3 else 0.5 * (a + b)
        if not a < price < b:
            break
        point = _at(problem, price)
        best = min(best, point, key=lambda p: p.bound)
        if point.slack_budget >= 0:
            high = point
        else:
            low = point
    return best


def _at(problem: Problem, price: float) -> DualPoint:
    return evaluate(problem, Prices(price, np.zeros(problem.n_offers)))


def _box_step(problem: Problem, free: DualPoint, binding: BoolArray) -> DualPoint:
    """Several prices: minimise the cutting-plane model inside a box around the best point, grow or shrink the box."""
    with_budget = bool(np.isfinite(problem.budget))
    columns = np.flatnonzero(binding)
    start = evaluate(problem, _sample_prices(problem, columns, with_budget))
    best = min(free, start, key=lambda p: p.bound)
    points = [free, start]
    scale = _price_scale(problem, columns, with_budget)
    small = problem.n_members <= _SAMPLE
    radius = 1e-3 if small else 3.0 / np.sqrt(_SAMPLE)
    for _ in range(_STEPS):
        if problem.out_of_time():
            break
        proposal, floor, on_edge = _model_minimum(points, best, columns, with_budget, scale, radius)
        if best.bound - floor <= _TOLERANCE * max(1.0, abs(best.bound)):
            if not on_edge or radius > 1e3:
                break
            radius *= 4
            continue
        point = evaluate(problem, proposal)
        points.append(point)
        if point.bound < best.bound - 0.1 * (best.bound - floor):
            radius *= 2 if on_edge else 1
        else:
            radius /= 2
        best = min(best, point, key=lambda p: p.bound)
    return best


def _vector(prices: Prices, columns: np.ndarray, with_budget: bool) -> FloatArray:
    head = [prices.budget] if with_budget else []
    return np.concatenate([head, prices.quotas[columns]])


def _prices(vector: FloatArray, problem_offers: int, columns: np.ndarray, with_budget: bool) -> Prices:
    quotas = np.zeros(problem_offers)
    quotas[columns] = vector[int(with_budget) :]
    return Prices(float(vector[0]) if with_budget else 0.0, quotas)


def _slope(point: DualPoint, columns: np.ndarray, with_budget: bool) -> FloatArray:
    head = [point.slack_budget] if with_budget else []
    return np.concatenate([head, point.slack_quotas[columns]])


def _price_scale(problem: Problem, columns: np.ndarray, with_budget: bool) -> FloatArray:
    """A size for each price: typical values for quotas, typical value per cost for the budget."""
    possible = np.isfinite(problem.value)
    typical = float(np.mean(np.abs(problem.value[possible]))) if possible.any() else 1.0
    costs = float(np.mean(np.abs(problem.cost[possible]))) if possible.any() else 1.0
    head = [typical / costs if costs > 0 else 1.0] if with_budget else []
    return np.maximum(np.concatenate([head, np.full(len(columns), typical)]), 1e-12)


def _model_minimum(
    points: list[DualPoint],
    best: DualPoint,
    columns: np.ndarray,
    with_budget: bool,
    scale: FloatArray,
    radius: float,
) -> tuple[Prices, float, bool]:
    """Minimum of the largest tangent over the box: its prices, the model's value there, whether the box held it."""
    at = np.array([_vector(p.prices, columns, with_budget) / scale for p in points])
    slopes = np.array([_slope(p, columns, with_budget) * scale for p in points])
    offsets = np.array([p.bound for p in points]) - (slopes * at).sum(axis=1)
    centre = _vector(best.prices, columns, with_budget) / scale
    size = max(1.0, abs(best.bound))
    n = len(centre)
    low, high = np.maximum(centre - radius, 0.0), centre + radius
    solution = linprog(
        np.r_[np.zeros(n), 1.0],
        A_ub=np.column_stack([slopes / size, -np.ones(len(points))]),
        b_ub=-offsets / size,
        bounds=[*zip(low, high, strict=True), (None, None)],
        method="highs-ds",
    )
    if solution.x is None:
        return best.prices, best.bound, False
    x = np.clip(solution.x[:n], low, high)
    on_edge = bool(np.any((x >= high - 1e-9) | ((x <= low + 1e-9) & (low > 0))))
    floor = float(np.max(offsets + slopes @ x))
    return _prices(x * scale, len(best.prices.quotas), columns, with_budget), floor, on_edge


def _sample_prices(problem: Problem, columns: np.ndarray, with_budget: bool) -> Prices:
    """Prices of the linear programme on the first members (all, if few), constraints scaled to their share."""
    n = min(problem.n_members, _SAMPLE)
    share = n / problem.n_members
    offer, member = np.nonzero(np.isfinite(problem.value[:, :n]))
    pair = np.arange(len(offer))
    rows, cols, entries, limits = [member], [pair], [np.ones(len(pair))], [np.ones(n)]
    count = n
    if with_budget:
        rows.append(np.full(len(pair), count))
        cols.append(pair)
        entries.append(problem.cost[offer, member])
        limits.append(np.array([problem.budget * share]))
        count += 1
    for j in columns:
        of_offer = np.flatnonzero(offer == j)
        rows.append(np.full(len(of_offer), count))
        cols.append(of_offer)
        entries.append(np.ones(len(of_offer)))
        limits.append(np.array([problem.quotas[j] * share]))
        count += 1
    matrix = coo_array(
        (np.concatenate(entries), (np.concatenate(rows), np.concatenate(cols))), shape=(count, len(pair))
    ).tocsr()
    solution = linprog(
        -problem.value[offer, member], A_ub=matrix, b_ub=np.concatenate(limits), bounds=(0, None), method="highs-ds"
    )
    if solution.x is None:
        return zero_prices(problem)
    duals = np.maximum(-np.asarray(solution.ineqlin.marginals)[n:], 0.0)
    return _prices(duals, problem.n_offers, columns, with_budget)
