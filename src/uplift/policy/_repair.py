"""From prices to a decision that breaks no constraint: repair what is overdrawn, then fill what is left."""

from __future__ import annotations

import numpy as np

from uplift.policy._problem import BoolArray, FloatArray, IntArray, Prices, Problem, best_reply

_PASSES = 60


def repaired(problem: Problem, prices: Prices) -> IntArray:
    """A feasible decision near every member's best reply to the prices."""
    offer, _ = best_reply(problem, prices)
    for _ in range(2 * problem.n_offers):
        if not _relieve_quotas(problem, prices, offer, last_resort=False):
            break
    _relieve_quotas(problem, prices, offer, last_resort=True)
    _relieve_budget(problem, prices, offer)
    _relieve_quotas(problem, prices, offer, last_resort=True)
    _drop_to_budget(problem, prices, offer)
    return fill(problem, prices, offer)


def fill(problem: Problem, prices: Prices, offer: IntArray) -> IntArray:
    """Spend what is left: members move to a better offer, the smallest loss against the prices first."""
    offer = offer.copy()
    for _ in range(_PASSES):
        slack = problem.allowed_cost - problem.spend(offer)
        room = problem.quotas - problem.counts(offer)
        target, gain, extra = _best_moves(problem, prices, offer, slack, room)
        movers = np.flatnonzero(target >= 0)
        if not len(movers):
            break
        order = movers[np.argsort(-gain[movers], kind="stable")]
        fits = np.cumsum(extra[order]) <= slack
        fits &= _rank_within(target[order]) < room[target[order]]
        stop = len(fits) if fits.all() else int(np.argmin(fits))
        chosen = order[: max(stop, 1)]  # the first always fits by itself
        offer[chosen] = target[chosen]
    return offer


def _best_moves(
    problem: Problem, prices: Prices, offer: IntArray, slack: float, room: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """For each member the move that raises the value, fits by itself and loses least against the prices."""
    n = problem.n_members
    value_now, cost_now, price_now = _current(problem, prices, offer)
    target = np.full(n, -1, dtype=np.int64)
    score, extra = np.full(n, -np.inf), np.zeros(n)
    for j in range(problem.n_offers):
        if room[j] < 1:
            continue
        more = problem.cost[j] - cost_now
        gain = problem.value[j] - value_now
        reduced = gain - prices.budget * more - (prices.quotas[j] - price_now)
        better = (gain > 0) & (more <= slack) & (offer != j) & (reduced > score)
        np.copyto(score, reduced, where=better)
        np.copyto(extra, more, where=better)
        np.copyto(target, j, where=better)
    return target, score, extra


def _current(problem: Problem, prices: Prices, offer: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    given = np.flatnonzero(offer >= 0)
    value, cost, price = (np.zeros(problem.n_members) for _ in range(3))
    value[given] = problem.value[offer[given], given]
    cost[given] = problem.cost[offer[given], given]
    price[given] = prices.quotas[offer[given]]
    return value, cost, price


def _rank_within(labels: IntArray) -> IntArray:
    """Position of each entry among the entries of the same label, in order."""
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    starts = np.r_[0, np.flatnonzero(np.diff(sorted_labels)) + 1]
    sizes = np.diff(np.r_[starts, len(labels)])
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.repeat(starts, sizes)
    return rank


def _alternative(
    problem: Problem, prices: Prices, members: IntArray, allowed: BoolArray, cheaper_than: FloatArray | None = None
) -> tuple[IntArray, FloatArray]:
    """The best reduced value of each member among the allowed offers and none, and which it is."""
    best = np.zeros(len(members))
    choice = np.full(len(members), -1, dtype=np.int64)
    if cheaper_than is not None:
        best[cheaper_than <= 0] = -np.inf  # no offer costs nothing, so it is not cheaper
    for j in np.flatnonzero(allowed):
        reduced = problem.value[j, members] - prices.budget * problem.cost[j, members] - prices.quotas[j]
        better = reduced > best
        if cheaper_than is not None:
            better &= problem.cost[j, members] < cheaper_than
        np.copyto(best, reduced, where=better)
        np.copyto(choice, j, where=better)
    return choice, best


def _relieve_quotas(problem: Problem, prices: Prices, offer: IntArray, *, last_resort: bool) -> bool:
    """Move members off offers that exceed their quota, smallest loss first. True if an offer is still over."""
    counts = problem.counts(offer)
    for j in np.flatnonzero(counts > problem.quotas):
        members = np.flatnonzero(offer == j)
        allowed: BoolArray = (problem.counts(offer) < problem.quotas) & (not last_resort)
        allowed[j] = False
        choice, best = _alternative(problem, prices, members, allowed)
        reduced = problem.value[j, members] - prices.budget * problem.cost[j, members]
        surplus = len(members) - int(problem.quotas[j])
        leave = np.argsort(reduced - best, kind="stable")[:surplus]
        offer[members[leave]] = choice[leave]
    return bool(np.any(problem.counts(offer) > problem.quotas))


def _relieve_budget(problem: Problem, prices: Prices, offer: IntArray) -> None:
    """Move members to something cheaper, least loss per unit saved first, until the budget holds."""
    for _ in range(_PASSES):
        over = problem.spend(offer) - problem.allowed_cost
        if over <= 0:
            return
        _, cost_now, _ = _current(problem, prices, offer)
        members = np.arange(problem.n_members)
        allowed = problem.counts(offer) < problem.quotas
        choice, best = _alternative(problem, prices, members, allowed, cheaper_than=cost_now)
        candidates = np.flatnonzero(np.isfinite(best))
        if not len(candidates):
            return
        value_now, _, price_now = _current(problem, prices, offer)
        now = value_now - prices.budget * cost_now - price_now
        given = choice[candidates]
        cost_new = np.where(given >= 0, problem.cost[np.maximum(given, 0), candidates], 0.0)
        saved = cost_now[candidates] - cost_new
        ratio = (now[candidates] - best[candidates]) / saved
        order = np.argsort(ratio, kind="stable")
        enough = int(np.searchsorted(np.cumsum(saved[order]), over)) + 1
        moved = candidates[order[:enough]]
        offer[moved] = choice[moved]


def _drop_to_budget(problem: Problem, prices: Prices, offer: IntArray) -> None:
    """Last resort, always succeeds: take offers that cost money away, least value per unit first."""
    for _ in range(_PASSES):
        over = problem.spend(offer) - problem.allowed_cost
        if over <= 0:
            return
        value_now, cost_now, _ = _current(problem, prices, offer)
        paying = np.flatnonzero(cost_now > 0)
        order = paying[np.argsort(value_now[paying] / cost_now[paying], kind="stable")]
        enough = int(np.searchsorted(np.cumsum(cost_now[order]), over)) + 1
        offer[order[:enough]] = -1
    _, cost_now, _ = _current(problem, prices, offer)
    offer[cost_now > 0] = -1
