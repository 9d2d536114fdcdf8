"""Which offer each member receives, under a budget and quotas, with a certificate of how good the answer is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uplift.errors import InputError
from uplift.policy._core import search_core
from uplift.policy._dual import solve_dual
from uplift.policy._problem import BoolArray, FloatArray, IntArray, Prices, Problem
from uplift.policy._repair import fill, repaired
from uplift.results import Rendered

Status = Literal["optimal", "feasible", "time_limit"]

ROUNDING = 1e-9
_TINY = 64


class _Effort(NamedTuple):
    """How far one search of the core goes."""

    max_members: int
    max_states: int
    prove: bool


_POLISH = (_Effort(30, 3_000, prove=False), _Effort(30, 10_000, prove=False))
_EFFORTS = (*_POLISH, _Effort(150, 5_000, prove=True))
_TINY_EFFORTS = (_POLISH[0], _Effort(_TINY, 2_000_000, prove=True))


@dataclass(frozen=True, repr=False)
class Allocation(Rendered):
    """Who gets which offer.

    Attributes
    ----------
    offer
        (n_members,) index of the offer, −1 for none.
    value, cost
        Of the whole allocation, in the units of what was passed in.
    bound
        No allocation that keeps the constraints can be worth more than this.
    gap
        (bound − value) / |bound|; 0 when both are 0.
    prices
        Shadow prices of the budget and of each quota: what one more unit would return.
    status
        ``optimal`` only if proved; ``feasible`` with the gap as its certificate; ``time_limit`` when the search was
        cut short, whatever the gap.
    counts
        (n_offers,) members given each offer.
    """

    offer: IntArray
    value: float
    cost: float
    bound: float
    gap: float
    prices: Prices
    status: Status
    counts: IntArray

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row: the totals."""
        return [
            {
                "members": len(self.offer),
                "offered": int(self.counts.sum()),
                "value": self.value,
                "cost": self.cost,
                "bound": self.bound,
                "gap": self.gap,
                "price_of_budget": self.prices.budget,
                "status": self.status,
            }
        ]

    def __repr__(self) -> str:
        return (
            f"Allocation({int(self.counts.sum()):,} of {len(self.offer):,} members, value={self.value:.6g}, "
            f"bound={self.bound:.6g}, gap={self.gap:.3g}, status={self.status!r})"
        )


def allocate(
    value: ArrayLike,
    cost: ArrayLike,
    *,
    eligible: ArrayLike | None = None,
    budget: float | None = None,
    quotas: Mapping[int, float] | Sequence[float | None] | None = None,
    tie_break: ArrayLike | None = None,
    time_limit: float | None = None,
) -> Allocation:
    """Choose at most one offer a member to maximise the total value.

    Parameters
    ----------
    value
        (n_members, n_offers) what giving the offer is worth, in money, costs already taken off (or not: the budget
        only looks at ``cost``). Negative values are never chosen, unless a negative cost pays for better ones.
    cost
        (n_members, n_offers) or (n_offers,) what it takes from the budget. Negative costs are real: they free budget.
    eligible
        (n_members, n_offers) of bool; pairs that are not eligible are taken out before anything else, and what
        ``value`` and ``cost`` hold there is not read. None: every pair is eligible.
    budget
        Σ cost ≤ budget, at least 0, to within 1e-9 of it (or of the largest cost), the rounding of sums. None: no
        limit.
    quotas
        Offer index → most members who may get it, or one entry an offer (None or inf: no limit).
    tie_break
        (n_members,) of integers, e.g. hashes of member ids: decides between members whose rows are identical.
    time_limit
        Seconds after which the best allocation so far is returned with status ``time_limit``.

    Returns
    -------
    Allocation

    Raises
    ------
    InputError
        If shapes differ, an eligible pair's value or cost is not finite, or a budget or quota is negative.

    Notes
    -----
    The Lagrangian dual gives prices and the bound; every member's best reply to the prices is repaired to fit, what
    is left is filled greedily, and a dynamic programme over the members whose choice is open improves the result or
    proves it. Rows are put in an order that depends on their content (then on ``tie_break``) before anything is
    computed, so the order in which members come does not matter: only among members with identical rows and no
    ``tie_break`` does the earlier row win, at the same total value. With status ``optimal`` the value never falls as
    the budget grows; otherwise that holds to within the gap.

    Examples
    --------
    >>> a = allocate([[5.0, 4.0], [3.0, 3.5], [-1.0, 2.0]], [2.0, 1.0], budget=3)
    >>> a.offer.tolist(), a.value, a.cost, a.status
    ([1, 1, 1], 9.5, 3.0, 'optimal')
    """
    started = time.monotonic()
    values, costs, mask = _arrays(value, cost, eligible)
    n, m = values.shape
    limit = _budget(budget)
    places = _quotas(quotas, m)
    order = _canonical_order(values, costs, mask, tie_break)
    useful_value, useful_cost = _useful(values[order].T, costs[order].T, mask[order].T, limit)
    unit_value, unit_cost = _unit(useful_value), _unit(useful_cost)
    problem = Problem(
        useful_value / unit_value,
        useful_cost / unit_cost,
        budget=limit / unit_cost,
        quotas=places,
        allowance=ROUNDING * max(1.0, limit / unit_cost) if np.isfinite(limit) else 0.0,
        deadline=np.inf if time_limit is None else started + time_limit,
    )
    found, bound, prices, status = _solve(problem)
    offer = np.full(n, -1, dtype=np.int64)
    offer[order] = found
    total, spent = problem.worth(found) * unit_value, problem.spend(found) * unit_cost
    bound = total if status == "optimal" else max(bound * unit_value, total)
    gap = (bound - total) / abs(bound) if bound != total else 0.0
    prices = Prices(prices.budget * unit_value / unit_cost, prices.quotas * unit_value)
    return Allocation(offer, total, spent, bound, gap, prices, status, problem.counts(found))


def _unit(array: FloatArray) -> float:
    """A power of two near the largest size in the array: dividing by it is exact and makes tolerances relative."""
    finite = np.abs(array[np.isfinite(array)])
    largest = float(finite.max()) if finite.size else 0.0
    return float(2.0 ** np.clip(np.frexp(largest)[1], -500, 500)) if largest > 0 else 1.0


def _solve(problem: Problem) -> tuple[IntArray, float, Prices, Status]:
    if not np.isfinite(problem.value).any():
        return np.full(problem.n_members, -1, dtype=np.int64), 0.0, _no_prices(problem), "optimal"
    dual = solve_dual(problem)
    offer = repaired(problem, dual.prices)
    for effort in _TINY_EFFORTS if problem.n_members * problem.n_offers <= _TINY else _EFFORTS:
        if problem.out_of_time():
            break
        found = search_core(problem, dual, offer, **effort._asdict())
        offer = found.offer if found.exact else fill(problem, dual.prices, found.offer)
        if found.exact:
            return offer, dual.bound, dual.prices, "optimal"
    return offer, dual.bound, dual.prices, "time_limit" if problem.out_of_time() else "feasible"


def _no_prices(problem: Problem) -> Prices:
    return Prices(0.0, np.zeros(problem.n_offers))


def _arrays(value: ArrayLike, cost: ArrayLike, eligible: ArrayLike | None) -> tuple[FloatArray, FloatArray, BoolArray]:
    values = _floats(value, "value")
    if values.ndim != 2:
        raise InputError(f"value: expected (n_members, n_offers), found the shape {values.shape}")
    costs = _floats(cost, "cost")
    if costs.shape not in (values.shape, values.shape[1:]):
        raise InputError(
            f"cost: expected the shape of value {values.shape} or one cost an offer ({values.shape[1]},), "
            f"found {costs.shape}"
        )
    costs = np.broadcast_to(costs, values.shape)
    if eligible is None:
        mask = np.ones(values.shape, dtype=np.bool_)
    else:
        raw = np.asarray(eligible)
        if raw.dtype != np.bool_:
            raise InputError(f"eligible: expected true or false for every pair, found {raw.dtype}")
        if raw.shape != values.shape:
            raise InputError(f"eligible: expected the shape of value {values.shape}, found {raw.shape}")
        mask = raw
    for name, array in (("value", values), ("cost", costs)):
        bad = mask & ~np.isfinite(array)
        if bad.any():
            _, column = np.argwhere(bad)[0]
            raise InputError(
                f"{name}: {int(bad.sum()):,} eligible pair(s) are NaN or infinite, the first for offer {column}: "
                "give a number, or mark the pair as not eligible"
            )
    return values, costs, mask


def _floats(array: ArrayLike, name: str) -> FloatArray:
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected numbers, (n_members, n_offers)") from None


def _budget(budget: float | None) -> float:
    if budget is None:
        return np.inf
    if np.isnan(budget) or budget < 0:
        raise InputError(f"budget: expected money of at least 0, or None for no limit, found {budget!r}")
    return float(budget)


def _quotas(quotas: Mapping[int, float] | Sequence[float | None] | None, n_offers: int) -> FloatArray:
    places = np.full(n_offers, np.inf)
    if quotas is None:
        return places
    items: list[tuple[int, float | None]]
    if isinstance(quotas, Mapping):
        items = list(quotas.items())
    else:
        if len(quotas) != n_offers:
            raise InputError(f"quotas: expected one entry for each of {n_offers} offers, found {len(quotas)}")
        items = list(enumerate(quotas))
    for index, quota in items:
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < n_offers:
            raise InputError(f"quotas: no offer {index!r}; offers are numbered 0 to {n_offers - 1}")
        if quota is None:
            continue
        if np.isnan(quota) or quota < 0:
            raise InputError(f"quotas: expected at least 0 members for offer {index}, found {quota!r}")
        places[index] = np.floor(quota)
    return places


def _canonical_order(values: FloatArray, costs: FloatArray, mask: BoolArray, tie_break: ArrayLike | None) -> IntArray:
    """Rows by a 64-bit hash of their content, then by ``tie_break``, then as they came."""
    n = len(values)
    key = np.zeros(n, dtype=np.uint64)
    for j in range(values.shape[1]):
        for column in (values[:, j], costs[:, j]):
            bits = np.where(mask[:, j], column + 0.0, np.nan).view(np.uint64)  # + 0.0: −0 is 0
            key = _mixed(key ^ _mixed(bits))
    if tie_break is None:
        return np.argsort(key, kind="stable")
    second = np.asarray(tie_break)
    if second.shape != (n,):
        raise InputError(f"tie_break: expected one entry a member ({n},), found {second.shape}")
    return np.lexsort((second, key))


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _useful(value: FloatArray, cost: FloatArray, mask: BoolArray, budget: float) -> tuple[FloatArray, FloatArray]:
    """(n_offers, n_members) value and cost, without the pairs that no best allocation needs."""
    helps = mask & (value > 0)
    if np.isfinite(budget):
        helps |= mask & (cost < 0)
    return np.where(helps, value, -np.inf), np.where(helps, cost, 0.0)


__all__ = ["Allocation", "Prices", "allocate"]
