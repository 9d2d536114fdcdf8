"""One decision for every member: held out, explored, or the best allocation, each with its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uplift.errors import InputError, UpliftError
from uplift.policy._problem import BoolArray, FloatArray, IntArray
from uplift.policy.allocation import Allocation, allocate
from uplift.policy.exploration import Exploration, explore, holdout, member_keys, plan_exploration
from uplift.results import Rendered

SOURCES = ("policy", "explore", "holdout", "none")


@dataclass(frozen=True, repr=False)
class Decided(Rendered):
    """Decisions for members.

    Attributes
    ----------
    offer
        (n_members,) index of the offer, −1 for none.
    source
        (n_members,) ``holdout``: never contacted; ``explore``: drawn at random; ``policy``: an offer that the
        allocation chose; ``none``: the allocation chose no offer.
    propensity
        (n_members,) for a member held out, the holdout's share; for everybody else the probability of what was
        decided, given that they are not held out: rate ÷ (feasible offers + 1) · [may be drawn] +
        (1 − rate) · [the allocation's choice].
    choice
        (n_members,) what the allocation chose, explorers included; −1 for members held out.
    feasible
        (n_members, n_offers) the pairs that could be given.
    allocation
        Over the members who are not held out, with what the draw could not need of budget and quotas.
    exploration
        The plan of the draw.
    value, cost
        Of the decisions as they stand, explorers included.
    """

    offer: IntArray
    source: np.ndarray
    propensity: FloatArray
    choice: IntArray
    feasible: BoolArray
    allocation: Allocation
    exploration: Exploration
    value: float
    cost: float

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a source and offer, with members."""
        rows = []
        for source in SOURCES:
            for offer in np.unique(self.offer[self.source == source]):
                members = int(((self.source == source) & (self.offer == offer)).sum())
                rows.append({"source": source, "offer": int(offer) if offer >= 0 else None, "members": members})
        return rows


def decide(
    member_ids: Sequence[str],
    value: ArrayLike,
    cost: ArrayLike,
    *,
    eligible: ArrayLike,
    seed: str,
    budget: float | None = None,
    quotas: Sequence[float | None] | None = None,
    holdout_share: float = 0.05,
    explore_share: float = 0.05,
    time_limit: float | None = None,
) -> Decided:
    """Hold out, set aside what exploration may need, allocate the rest, draw.

    Parameters
    ----------
    member_ids
        (n_members,) distinct.
    value, cost, eligible, budget, quotas, time_limit
        As for :func:`uplift.policy.allocate`.
    seed
        Of the draw; the holdout does not depend on it.
    holdout_share
        Share of members who are never contacted.
    explore_share
        Share of the others whose decision is drawn.

    Raises
    ------
    InputError
        As :func:`uplift.policy.allocate`, or when ids repeat.
    """
    ids = [str(member_id) for member_id in member_ids]
    mask = np.asarray(eligible)
    n = len(ids)
    if len(set(ids)) < n:
        raise InputError(f"member_ids: {n - len(set(ids)):,} repeat; one decision a member needs distinct ids")
    if mask.ndim != 2 or mask.shape[0] != n:
        raise InputError(f"eligible: expected ({n}, n_offers), found {mask.shape}")
    n_offers = mask.shape[1]
    places = np.array([np.inf if q is None else q for q in (quotas or [None] * n_offers)], dtype=np.float64)
    values, costs = np.asarray(value, dtype=np.float64), np.broadcast_to(np.asarray(cost, dtype=float), mask.shape)
    held_out = holdout(ids, holdout_share)
    rows = np.flatnonzero(~held_out)
    feasible = mask & ~held_out[:, None] & (places >= 1)
    names = [ids[i] for i in rows]
    plan = plan_exploration(feasible[rows], costs[rows], explore_share, budget=budget, quotas=places)
    allocation = allocate(
        values[rows],
        costs[rows],
        eligible=feasible[rows],
        budget=None if budget is None else budget - plan.reserved_budget,
        quotas=list(places - plan.reserved_quotas),
        tie_break=member_keys(names, f"{seed}/ties"),
        time_limit=time_limit,
    )
    drawn = explore(allocation.offer, plan, names, seed)
    offer, choice = np.full(n, -1, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    propensity = np.full(n, holdout_share)
    offer[rows], choice[rows], propensity[rows] = drawn.offer, allocation.offer, drawn.propensity
    source = np.where(offer >= 0, "policy", "none").astype(object)
    source[held_out] = "holdout"
    source[rows[drawn.explored]] = "explore"
    given = np.flatnonzero(offer >= 0)
    spent = float(costs[given, offer[given]].sum())
    _hold(spent, budget, np.bincount(offer[given], minlength=n_offers), places)
    worth = float(values[given, offer[given]].sum())
    return Decided(offer, source, propensity, choice, feasible, allocation, plan, worth, spent)


def _hold(spent: float, budget: float | None, counts: IntArray, places: FloatArray) -> None:
    """A last look: what is about to be written must keep the constraints."""
    if budget is not None and spent > budget * (1 + 1e-6) + 1e-6:
        raise UpliftError(f"internal failure: decisions would cost {spent:.2f} of a budget of {budget:.2f}")
    over = np.flatnonzero(counts > places)
    if len(over):
        raise UpliftError(f"internal failure: offers {over.tolist()} would exceed their quotas")
