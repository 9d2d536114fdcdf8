"""The allocation problem in the form the solver works on, and its Lagrangian dual function."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Problem:
    """max Σ v·x with at most one offer a member, Σ c·x ≤ budget, Σ x of an offer ≤ its quota.

    Attributes
    ----------
    value
        (n_offers, n_members), −inf where the pair is impossible or can never help.
    cost
        (n_offers, n_members), 0 where the pair is impossible.
    budget
        Money, inf for none.
    quotas
        (n_offers,) inf for none.
    allowance
        What a sum of costs may exceed the budget by: its rounding, so that ten dimes fit a budget of one unit.
    deadline
        On :func:`time.monotonic`'s clock, inf for none.
    """

    value: FloatArray
    cost: FloatArray
    budget: float
    quotas: FloatArray
    allowance: float = 0.0
    deadline: float = np.inf

    @property
    def n_members(self) -> int:
        """How many members there are to decide for."""
        return self.value.shape[1]

    @property
    def n_offers(self) -> int:
        """How many offers there are to choose from."""
        return self.value.shape[0]

    @property
    def allowed_cost(self) -> float:
        """The budget plus the rounding of its own sum."""
        return self.budget + self.allowance

    def out_of_time(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self.deadline

    def worth(self, offer: IntArray) -> float:
        """Value of a complete decision."""
        given = np.flatnonzero(offer >= 0)
        return float(self.value[offer[given], given].sum())

    def spend(self, offer: IntArray) -> float:
        """Cost of a complete decision."""
        given = np.flatnonzero(offer >= 0)
        return float(self.cost[offer[given], given].sum())

    def counts(self, offer: IntArray) -> IntArray:
        """(n_offers,) members given each offer."""
        return np.bincount(offer[offer >= 0], minlength=self.n_offers).astype(np.int64)

    def feasible(self, offer: IntArray) -> bool:
        """Whether a complete decision breaks no constraint."""
        return self.spend(offer) <= self.allowed_cost and bool(np.all(self.counts(offer) <= self.quotas))


@dataclass(frozen=True)
class Prices:
    """Shadow prices, in money.

    Attributes
    ----------
    budget
        What the next unit of budget returns, net of nothing else; 0 when the budget does not bind.
    quotas
        (n_offers,) what one more place of each offer's quota returns.
    """

    budget: float
    quotas: FloatArray


@dataclass(frozen=True)
class DualPoint:
    """The dual function at some prices: an upper bound on every feasible decision, and its slope.

    Attributes
    ----------
    bound
        budget price × budget + Σ quota price × quota + Σ over members of the best reduced value (or 0).
    slack_budget, slack_quotas
        Budget and quotas left (negative: overdrawn) when everyone takes their best; the subgradient of the bound.
    """

    prices: Prices
    bound: float
    slack_budget: float
    slack_quotas: FloatArray


def zero_prices(problem: Problem) -> Prices:
    """No price on anything."""
    return Prices(0.0, np.zeros(problem.n_offers))


def best_reply(problem: Problem, prices: Prices, block: slice = slice(None)) -> tuple[IntArray, FloatArray]:
    """Each member's best offer at these prices (−1: none) and its value net of them; ties go to no offer."""
    value, cost = problem.value[:, block], problem.cost[:, block]
    best = np.zeros(value.shape[1])
    offer = np.full(value.shape[1], -1, dtype=np.int64)
    for j in range(problem.n_offers):
        net = value[j] - prices.budget * cost[j] if prices.budget else value[j].copy()
        net -= prices.quotas[j]
        better = net > best
        np.copyto(best, net, where=better)
        np.copyto(offer, j, where=better)
    return offer, best


def evaluate(problem: Problem, prices: Prices) -> DualPoint:
    """The dual function; sums over blocks of members, so that it can be computed partition by partition."""
    total, spent = 0.0, 0.0
    counts = np.zeros(problem.n_offers)
    for start in range(0, problem.n_members, _BLOCK):
        block = slice(start, min(start + _BLOCK, problem.n_members))
        offer, best = best_reply(problem, prices, block)
        given = np.flatnonzero(offer >= 0)
        total += float(best.sum())
        spent += float(problem.cost[offer[given], start + given].sum())
        counts += np.bincount(offer[given], minlength=problem.n_offers)
    bound = total
    if prices.budget > 0:
        bound += prices.budget * problem.budget
    priced = prices.quotas > 0
    bound += float((prices.quotas[priced] * problem.quotas[priced]).sum())
    slack = problem.quotas - counts
    return DualPoint(prices, bound, problem.budget - spent, slack)
