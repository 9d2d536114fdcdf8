"""Who is held out, who explores, and the exact probability of every decision.

A decision's probability is known only if nothing after the draw can change it. So the draw is planned before the
allocation: its largest possible use of the budget and of every quota is set aside, the allocation gets the rest, and
whatever is drawn then fits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uplift.errors import InputError
from uplift.policy._problem import BoolArray, FloatArray, IntArray
from uplift.results import Rendered

HOLDOUT_SALT = "uplift.holdout"
RESERVE_SHARE = 0.2
"""Exploration may set aside at most this share of the budget and of each quota; its rate falls until it does."""

_GRID = 2.0**32


def member_keys(member_ids: Iterable[str], salt: str) -> NDArray[np.uint64]:
    """(n_members,) 64 bits of BLAKE2b over the salt and each id: the same on every machine and in every row order."""
    base = hashlib.blake2b(salt.encode() + b"\x00", digest_size=8)
    digests = bytearray()
    for member_id in member_ids:
        hasher = base.copy()
        hasher.update(str(member_id).encode())
        digests += hasher.digest()
    return np.frombuffer(bytes(digests), dtype="<u8").astype(np.uint64)


def holdout(member_ids: Iterable[str], share: float, salt: str = HOLDOUT_SALT) -> BoolArray:
    """(n_members,) True for members who are never contacted.

    A member's answer depends on their id, the share and the salt only, so they stay held out run after run, and a
    larger share keeps everybody whom a smaller one held out.

    Raises
    ------
    InputError
        If the share does not lie in [0, 1].

    Examples
    --------
    >>> out = holdout([f"m{i}" for i in range(1000)], 0.1)
    >>> int(out.sum())
    119
    """
    if not 0 <= share <= 1:
        raise InputError(f"holdout: expected a share between 0 and 1, found {share!r}")
    return member_keys(member_ids, salt).astype(np.float64) < share * 2.0**64


@dataclass(frozen=True, repr=False)
class Exploration(Rendered):
    """A planned draw.

    Attributes
    ----------
    rate
        Share of the members with something to explore whose decision is drawn; at most the rate asked for.
    asked
        The rate asked for.
    options
        (n_members, n_offers) offers that a member's draw may give, each as likely as no offer.
    left_out
        Indexes of offers whose quota is too small to explore; the policy may still give them.
    reserved_budget
        Largest amount that the draw can take from the budget.
    reserved_quotas
        (n_offers,) largest number of members that the draw can give each offer.
    """

    rate: float
    asked: float
    options: BoolArray
    left_out: tuple[int, ...]
    reserved_budget: float
    reserved_quotas: IntArray
    group: IntArray
    cells: _Cells

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row: the plan's totals."""
        return [
            {
                "rate": self.rate,
                "asked": self.asked,
                "reserved_budget": self.reserved_budget,
                "reserved_quotas": self.reserved_quotas.tolist(),
                "left_out": list(self.left_out),
            }
        ]

    def probability(self, offer: IntArray, choice: IntArray) -> FloatArray:
        """(n_members,) probability of ``offer`` for members to whom the policy would give ``choice``."""
        size = self.options.sum(axis=1)
        rate = np.where(size > 0, self.rate, 0.0)
        explorable = offer < 0
        given = np.flatnonzero(~explorable)
        explorable[given] = self.options[given, offer[given]]
        return np.where(explorable, rate / (size + 1), 0.0) + np.where(offer == choice, 1.0 - rate, 0.0)


@dataclass(frozen=True, repr=False)
class Explored(Rendered):
    """A drawn exploration.

    Attributes
    ----------
    offer
        (n_members,) what is given in the end: the policy's choice, or for explorers what was drawn; −1 for none.
    explored
        (n_members,) True where the decision was drawn.
    propensity
        (n_members,) probability, before the draw, of what is given in the end.
    """

    offer: IntArray
    explored: BoolArray
    propensity: FloatArray


@dataclass(frozen=True)
class _Cells:
    """Every (group of members with the same options, option) pair, groups together; option −1 is no offer."""

    group: IntArray
    option: IntArray
    size: IntArray
    weight: FloatArray

    def drawn(self, rate: float, start: float) -> IntArray:
        """Members drawn into each cell when the systematic sample starts at ``start`` in (0, 1)."""
        return np.diff(np.floor(self._edges(rate) + start)).astype(np.int64)

    def most(self, rate: float, weight: FloatArray) -> float:
        """The largest Σ weight × members drawn over every possible start."""
        if not len(weight):
            return 0.0
        edges = self._edges(rate)
        at_zero = float(weight @ np.diff(np.floor(edges)))
        # as the start grows, floor(edge + start) steps up by one at 1 − fraction(edge)
        fraction = edges % 1.0
        steps = np.r_[weight, 0.0] - np.r_[0.0, weight]
        order = np.argsort(-fraction, kind="stable")
        order = order[: int((fraction > 0).sum())]
        together = np.r_[np.diff(fraction[order]) != 0, True] if len(order) else np.zeros(0, dtype=np.bool_)
        rising = np.cumsum(-steps[order])[together]
        return at_zero + max(0.0, float(rising.max(initial=0.0)))

    def _edges(self, rate: float) -> FloatArray:
        """Where each cell begins and ends on the sample's line: its expected number of members long."""
        if not len(self.group):
            return np.zeros(1)
        options = np.bincount(self.group)[self.group]
        edges = np.r_[0.0, np.cumsum(rate * self.size / options)]
        return np.round(edges * _GRID) / _GRID  # so that edge + start is exact


def plan_exploration(
    eligible: ArrayLike,
    cost: ArrayLike,
    rate: float,
    *,
    budget: float | None = None,
    quotas: ArrayLike | None = None,
    reserve_share: float = RESERVE_SHARE,
) -> Exploration:
    """Plan a draw that is uniform over each member's feasible offers and no offer, and fits budget and quotas.

    Parameters
    ----------
    eligible
        (n_members, n_offers) of bool.
    cost
        (n_members, n_offers) or (n_offers,).
    rate
        Share of members whose decision is drawn.
    budget, quotas
        As for :func:`uplift.policy.allocate`; quotas (n_offers,), inf for none.
    reserve_share
        Where the draw could take more than this share of the budget or of a quota, its rate is lowered; an offer
        whose quota would lower it by more than half is left out of the draw instead.

    Notes
    -----
    Members with the same feasible offers form a group; how many of each group draw each option comes from one
    systematic sample with a random start, and which members from a random order, so each member draws each option
    with probability rate / (number of options) exactly, while the numbers drawn hardly vary: what must be set aside
    is their exact maximum over all starts.
    """
    options = np.array(eligible, dtype=np.bool_)
    if not 0 <= rate <= 1:
        raise InputError(f"explore: expected a share between 0 and 1, found {rate!r}")
    n_offers = options.shape[1]
    costs = np.broadcast_to(np.asarray(cost, dtype=np.float64), options.shape)
    places = np.full(n_offers, np.inf) if quotas is None else np.asarray(quotas, dtype=np.float64)
    allowed = np.inf if budget is None else float(budget)
    left_out: set[int] = set()
    while True:
        group, cells = _cells(options, costs)
        scarce = [
            j for j in range(n_offers) if j not in left_out and _places(cells, rate / 2, j) > reserve_share * places[j]
        ]
        if not scarce or rate == 0:
            break
        left_out.update(scarce)
        options[:, scarce] = False
    settled = rate
    for _ in range(200):
        if _fits(cells, settled, reserve_share, allowed, places):
            break
        settled *= 0.95
    else:
        settled = 0.0
    return Exploration(
        rate=settled,
        asked=rate,
        options=options,
        left_out=tuple(sorted(left_out)),
        reserved_budget=max(0.0, cells.most(settled, cells.weight)) if np.isfinite(allowed) else 0.0,
        reserved_quotas=np.array([_places(cells, settled, j) for j in range(n_offers)], dtype=np.int64),
        group=group,
        cells=cells,
    )


def explore(choice: ArrayLike, plan: Exploration, member_ids: Iterable[str], seed: str) -> Explored:
    """Draw: override the policy's choice for the explorers, and give the probability of every decision.

    Parameters
    ----------
    choice
        (n_members,) the policy's choice, which must not depend on ``seed``.
    plan
        From :func:`plan_exploration` over the same members, before the allocation.
    seed
        Another seed is another draw; the same seed draws the same for the same members, whatever their order.
    """
    policy = np.asarray(choice, dtype=np.int64)
    keys = member_keys(member_ids, f"{seed}/order")
    start = (float(member_keys(["start"], f"{seed}/start")[0] >> np.uint64(32)) + 0.5) / _GRID
    drawn = plan.cells.drawn(plan.rate, start)
    cell = np.repeat(np.arange(len(drawn)), drawn)
    group = plan.cells.group[cell]
    order = np.lexsort((keys, plan.group))  # members of one group together, in random order
    members_before = np.r_[0, np.cumsum(np.bincount(plan.group))]
    drawn_before = np.r_[0, np.cumsum(np.bincount(group))]
    members = order[members_before[group] + np.arange(len(cell)) - drawn_before[group]]
    offer, explored = policy.copy(), np.zeros(len(policy), dtype=np.bool_)
    offer[members] = plan.cells.option[cell]
    explored[members] = True
    return Explored(offer, explored, plan.probability(offer, policy))


def _cells(options: BoolArray, costs: FloatArray) -> tuple[IntArray, _Cells]:
    """Group members by their options; weights are the most that one member in the cell can take from the budget."""
    n, m = options.shape
    if n == 0:
        empty = np.zeros(0, dtype=np.int64)
        return empty, _Cells(empty, empty, empty, np.zeros(0))
    code = np.zeros(n, dtype=np.int64)
    for j in range(m):  # after every offer, dense codes of the patterns so far
        code = np.unique(2 * code + options[:, j], return_inverse=True)[1]
    _, first, group, counts = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    group = group.astype(np.int64)
    patterns = options[first]
    where, option = np.nonzero(patterns)
    dearest = np.full((len(first), m), -np.inf)
    cheapest = np.zeros(len(first))
    for j in range(m):
        mine = options[:, j]
        np.maximum.at(dearest[:, j], group[mine], costs[mine, j])
        np.minimum.at(cheapest, group[mine], costs[mine, j])
    explorable = np.flatnonzero(patterns.any(axis=1))
    cell_group = np.r_[where, explorable].astype(np.int64)
    cell_option = np.r_[option, np.full(len(explorable), -1)].astype(np.int64)
    cell_cost = np.r_[dearest[where, option], np.zeros(len(explorable))]
    order = np.lexsort((cell_option, cell_group))
    cell_group, cell_option = cell_group[order], cell_option[order]
    # an explorer may give up an offer whose negative cost had freed budget for others
    weight = cell_cost[order] - cheapest[cell_group]
    return group, _Cells(cell_group, cell_option, counts[cell_group].astype(np.int64), weight)


def _places(cells: _Cells, rate: float, offer: int) -> int:
    return round(cells.most(rate, (cells.option == offer).astype(np.float64)))


def _fits(cells: _Cells, rate: float, share: float, budget: float, places: FloatArray) -> bool:
    if np.isfinite(budget) and cells.most(rate, cells.weight) > share * budget:
        return False
    return all(_places(cells, rate, j) <= share * quota for j, quota in enumerate(places) if np.isfinite(quota))
