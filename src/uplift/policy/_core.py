"""Dynamic programming over the members whose choice the prices leave open: improves a decision, or proves it.

At the dual prices every departure from a member's best reply has a known loss, and a decision that loses more in
all than bound − value cannot beat the one in hand. So only members with a small loss, the core, can differ; states
(cost, places used, value) are kept while undominated.

References
----------
Pisinger (1995), *A minimal algorithm for the multiple-choice knapsack problem*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uplift.policy._problem import BoolArray, DualPoint, FloatArray, IntArray, Problem, best_reply

_NONE = -1


@dataclass(frozen=True)
class CoreResult:
    """The better of the decision in hand and the best one found.

    Attributes
    ----------
    offer
        (n_members,)
    exact
        True when no decision can be better: the search left nothing out.
    """

    offer: IntArray
    exact: bool


@dataclass(frozen=True)
class _Layer:
    """Surviving states after one member: which state each came from, and what the member was given."""

    parent: IntArray
    given: IntArray


def search_core(
    problem: Problem, dual: DualPoint, offer: IntArray, *, max_members: int, max_states: int, prove: bool = False
) -> CoreResult:
    """Search the core around ``offer``; exact if it holds every open member and no state had to be left out.

    With ``prove`` the search stops as soon as it cannot be exact any more.
    """
    value = problem.worth(offer)
    gap = dual.bound - value
    allowance = 1e-12 * max(1.0, abs(dual.bound))
    if gap <= allowance:
        return CoreResult(offer, True)
    base, best = best_reply(problem, dual.prices)
    members, complete = _open_members(problem, dual, base, best, gap + allowance, max_members)
    if not len(members) or (prove and not complete):
        return CoreResult(offer, complete)
    search = _Search(problem, dual, base, best, gap + allowance, max_states, prove)
    found, swept = search.run(members)
    exact = complete and swept
    if found is None or not problem.feasible(found):
        return CoreResult(offer, exact and found is None)
    return CoreResult(found if problem.worth(found) > value else offer, exact)


def _net(problem: Problem, dual: DualPoint, members: IntArray) -> FloatArray:
    """(n_offers + 1, len(members)) value net of prices; the last row is no offer."""
    net = problem.value[:, members] - dual.prices.budget * problem.cost[:, members] - dual.prices.quotas[:, None]
    return np.vstack([net, np.zeros((1, len(members)))])


def _open_members(
    problem: Problem, dual: DualPoint, base: IntArray, best: FloatArray, gap: float, limit: int
) -> tuple[IntArray, bool]:
    """Members with another option within the gap, least loss first, and whether that is all of them."""
    second = np.where(base == _NONE, -np.inf, 0.0)
    for j in range(problem.n_offers):
        net = problem.value[j] - dual.prices.budget * problem.cost[j] - dual.prices.quotas[j]
        np.copyto(second, net, where=(base != j) & (net > second))
    loss = best - second
    found = np.flatnonzero(loss <= gap)
    found = found[np.argsort(loss[found], kind="stable")]
    return found[:limit], len(found) <= limit


class _Search:
    """One sweep over the core."""

    def __init__(
        self,
        problem: Problem,
        dual: DualPoint,
        base: IntArray,
        best: FloatArray,
        gap: float,
        max_states: int,
        prove: bool,
    ) -> None:
        self.problem, self.dual, self.base, self.best = problem, dual, base, best
        self.gap, self.max_states, self.prove = gap, max_states, prove
        self.limited = np.isfinite(problem.quotas)
        rng = np.random.default_rng(0)  # fixed odd multipliers: one 64-bit key for the places used
        self.multiplier = rng.integers(1, 2**63 - 1, size=problem.n_offers + 1, dtype=np.uint64) | np.uint64(1)
        self.multiplier[:-1][~self.limited] = 0
        self.multiplier[-1] = 0

    def run(self, members: IntArray) -> tuple[IntArray | None, bool]:
        """The best feasible decision found, and whether every state within the gap was kept."""
        swept = True
        loss, cost, key = np.zeros(1), np.zeros(1), np.zeros(1, dtype=np.uint64)
        used = np.zeros((1, self.problem.n_offers), dtype=np.int64)
        layers: list[_Layer] = []
        net = _net(self.problem, self.dual, members)
        for position, member in enumerate(members):
            if self.problem.out_of_time():
                return self._best(members[:position], layers, cost, used, loss), False
            options = np.flatnonzero(self.best[member] - net[:, position] <= self.gap)
            option_loss = self.best[member] - net[options, position]
            parent = np.repeat(np.arange(len(loss)), len(options))
            option = np.tile(np.arange(len(options)), len(loss))
            new_loss = loss[parent] + option_loss[option]
            keep = np.flatnonzero(new_loss <= self.gap)
            parent, option, new_loss = parent[keep], option[keep], new_loss[keep]
            before = self.base[member]
            change = self._costs(options, member) - self._costs(np.array([before]), member)
            new_cost = cost[parent] + change[option]
            new_key = key[parent] + self.multiplier[options[option]] - self.multiplier[before]
            alive = _undominated(new_key, new_cost, new_loss, self.dual.prices.budget)
            if len(alive) > self.max_states:
                if self.prove:
                    return None, False
                swept = False
                alive = np.sort(alive[np.argsort(new_loss[alive], kind="stable")[: self.max_states]])
            parent, option = parent[alive], option[alive]
            given = options[option]
            loss, cost, key = new_loss[alive], new_cost[alive], new_key[alive]
            used = used[parent]
            if before != _NONE:
                used[:, before] -= 1
            real = np.flatnonzero(given < self.problem.n_offers)
            used[real, given[real]] += 1
            layers.append(_Layer(parent, np.where(given < self.problem.n_offers, given, _NONE)))
        return self._best(members, layers, cost, used, loss), swept

    def _costs(self, options: IntArray, member: int) -> FloatArray:
        real = (options >= 0) & (options < self.problem.n_offers)
        return np.where(real, self.problem.cost[np.where(real, options, 0), member], 0.0)

    def _best(
        self, members: IntArray, layers: list[_Layer], cost: FloatArray, used: IntArray, loss: FloatArray
    ) -> IntArray | None:
        """Trace back the feasible state of the highest value: least loss plus least slack left unused at its price."""
        room = self.problem.quotas - self.problem.counts(self.base)
        slack = self.problem.allowed_cost - self.problem.spend(self.base)
        feasible: BoolArray = (cost <= slack) & np.all(used <= room, axis=1)
        if not feasible.any():
            return None
        prices = self.dual.prices
        unused = (np.where(np.isfinite(room), room, 0.0) - used * self.limited) @ prices.quotas
        if prices.budget > 0:
            unused = unused - prices.budget * cost
        state = int(np.argmin(np.where(feasible, loss + unused, np.inf)))
        offer = self.base.copy()
        for member, layer in zip(members[::-1], layers[::-1], strict=True):
            offer[member] = layer.given[state]
            state = int(layer.parent[state])
        return offer


def _undominated(key: np.ndarray, cost: FloatArray, loss: FloatArray, price: float) -> IntArray:
    """States that no other state with the same places used beats on both cost and value, in a fixed order."""
    value = price * cost - loss  # up to a constant of the key
    order = np.lexsort((-value, cost, key))
    key = key[order]
    # a running maximum that restarts with each group: on ranks, so that shifting the groups apart is exact
    levels, rank = np.unique(value[order], return_inverse=True)
    starts = np.r_[True, key[1:] != key[:-1]]
    shifted = rank + (np.cumsum(starts) - 1) * len(levels)
    running = np.maximum.accumulate(shifted)
    keep = starts.copy()
    keep[1:] |= shifted[1:] > running[:-1]
    return order[keep]
