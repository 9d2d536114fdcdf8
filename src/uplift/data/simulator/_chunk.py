"""One chunk of members from beginning to end: window by window, then as tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from uplift.data.simulator._activity import (
    Answers,
    Events,
    Touches,
    draw_answers,
    draw_check_ins,
    draw_events,
    draw_touches,
    events_of_orders,
)
from uplift.data.simulator._calendar import WINDOW_DAYS, Calendar
from uplift.data.simulator._design import ENROLLED, Campaign
from uplift.data.simulator._industry import Industry
from uplift.data.simulator._members import (
    Flags,
    Floats,
    Ints,
    Members,
    State,
    draw_members,
    initial_state,
    lives,
    move_on,
    register,
)
from uplift.data.simulator._purchases import Changes, Orders, draw_orders, settle
from uplift.data.simulator._response import Demand, Means, Offers, Response, demand, effects, traits_of

CHUNK_MEMBERS = 20_000
"""Fixed: the members of a chunk share one stream of random numbers, so the size is part of what a seed means."""


@dataclass(frozen=True)
class Plan:
    """What all chunks share."""

    industry: Industry
    calendar: Calendar
    offers: Offers
    campaigns: tuple[Campaign, ...]
    seed: int
    members: int


@dataclass(frozen=True)
class Truth:
    """True effects of some offers on some members in one window; rows are member by member, offer by offer.

    Attributes
    ----------
    campaign
        None for the rows as of the end.
    member
        Rows of the members, ``(m,)``.
    offers
        Indices of the offers, ``(k,)``.
    effects
        Each ``(m, k)``.
    life
        Life of each member at that time, ``(m,)``.
    """

    campaign: Campaign | None
    member: Ints
    offers: tuple[int, ...]
    effects: Means
    life: Ints


@dataclass(frozen=True)
class Assigned:
    """Who was assigned to which arm of a campaign: 0 is the control, j its j-th offer."""

    campaign: Campaign
    member: Ints
    arm: Ints


@dataclass
class Chunk:
    """Everything that happened to the members of a chunk."""

    first: int
    members: Members
    state: State
    referrer: Ints
    orders: list[Orders] = field(default_factory=list)
    events: list[Events] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)
    touches: list[tuple[Campaign, Touches]] = field(default_factory=list)
    answers: list[Answers] = field(default_factory=list)
    assigned: list[Assigned] = field(default_factory=list)
    truth: list[Truth] = field(default_factory=list)
    demand_at_end: Demand | None = None


def live(plan: Plan, number: int) -> Chunk:
    """Draw chunk ``number``; depends on the plan and the number alone."""
    first = number * CHUNK_MEMBERS
    n = min(CHUNK_MEMBERS, plan.members - first)
    rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(1, number)))
    industry, calendar = plan.industry, plan.calendar
    members = draw_members(industry, calendar, n, rng)
    chunk = Chunk(first, members, initial_state(members, rng), referrers(members, rng))
    campaigns = {campaign.window: campaign for campaign in plan.campaigns}
    for window in range(calendar.windows):
        _live_window(plan, chunk, window, campaigns.get(window), rng)
    chunk.answers, answering = draw_answers(industry, calendar, members, rng)
    chunk.events.append(answering)
    _truth_at_end(plan, chunk)
    return chunk


def referrers(members: Members, rng: np.random.Generator) -> Ints:
    """Who referred each member: a social member who registered before, −1 for nobody."""
    n = len(members)
    social = np.flatnonzero(members.social)
    social = social[np.argsort(members.registered[social], kind="stable")]
    earlier = np.searchsorted(members.registered[social] + 1, members.registered)
    referred = (rng.random(n) < 0.10) & (earlier > 0)
    choice = np.minimum((rng.random(n) * earlier).astype(np.int64), np.maximum(earlier - 1, 0))
    return np.where(referred, social[choice] if len(social) else -1, -1)


def _live_window(plan: Plan, chunk: Chunk, window: int, campaign: Campaign | None, rng: np.random.Generator) -> None:
    industry, calendar, members, state = plan.industry, plan.calendar, chunk.members, chunk.state
    start, end = window * WINDOW_DAYS, (window + 1) * WINDOW_DAYS
    arriving = register(members, state, window)
    settled = members.registered < start
    part = np.where(arriving, (end - members.registered) / WINDOW_DAYS, 1.0)
    base = demand(industry, members, state, window, float(calendar.factor[window]), part)
    offer, rate, due = np.full(len(members), -1), base.rate, base.due
    if campaign is not None:
        offer, rate, due = _run_campaign(plan, chunk, campaign, base, settled, rng)
    orders = draw_orders(industry, calendar, members, state, window, base, rate, due, arriving, offer, plan.offers, rng)
    chunk.orders.append(orders)
    chunk.events.append(draw_events(industry, members, state, window, settled, rng))
    chunk.events += events_of_orders(industry, window, orders, settled, rng)
    check_ins = draw_check_ins(industry, calendar, members, state, window, rng)
    if check_ins is not None:
        chunk.events.append(check_ins[0])
        chunk.changes.append(check_ins[1])
    if campaign is not None:
        touches, clicks = draw_touches(members, window, offer, orders, rng)
        chunk.touches.append((campaign, touches))
        chunk.events.append(clicks)
    changes, bought = settle(industry, calendar, members, state, window, orders, offer, plan.offers, rng)
    chunk.changes += changes
    move_on(members, state, window, bought, offer >= 0, rng)


def _run_campaign(
    plan: Plan, chunk: Chunk, campaign: Campaign, base: Demand, settled: Flags, rng: np.random.Generator
) -> tuple[Ints, Floats, Floats]:
    """Assign, note the truth, and say which offer, rate and due probability each member has."""
    members, state = chunk.members, chunk.state
    assigned = _assign(campaign, settled, rng)
    chunk.assigned.append(assigned)
    traits = traits_of(plan.industry, members, state, campaign.window)
    response = plan.offers.response(traits, base, campaign.offers)
    mine = assigned.member
    tried = Response(response.rate[mine], response.due[mine])
    true = effects(plan.industry, plan.offers, tried, base.of(mine), campaign.offers)
    chunk.truth.append(Truth(campaign, mine, campaign.offers, true, lives(members, state)[mine]))
    treated = assigned.arm > 0
    who, arm = mine[treated], assigned.arm[treated] - 1
    offer, rate, due = np.full(len(members), -1), base.rate.copy(), base.due.copy()
    offer[who] = np.asarray(campaign.offers)[arm]
    rate[who], due[who] = response.rate[who, arm], response.due[who, arm]
    return offer, rate, due


def _assign(campaign: Campaign, settled: Flags, rng: np.random.Generator) -> Assigned:
    n = len(settled)
    enrolled = settled & (rng.random(n) < ENROLLED)
    edges = np.cumsum(campaign.shares)[:-1]
    arm = np.searchsorted(edges, rng.random(n), side="right")
    member = np.flatnonzero(enrolled)
    return Assigned(campaign, member, arm[member])


def _truth_at_end(plan: Plan, chunk: Chunk) -> None:
    industry, calendar, members, state = plan.industry, plan.calendar, chunk.members, chunk.state
    window = calendar.windows
    everyone = np.arange(len(members))
    base = demand(industry, members, state, window, float(calendar.factor[window]), np.ones(len(members)))
    offers = tuple(range(len(industry.offers)))
    response = plan.offers.response(traits_of(industry, members, state, window), base, offers)
    every = effects(industry, plan.offers, response, base, offers)
    chunk.truth.append(Truth(None, everyone, offers, every, lives(members, state)))
    chunk.demand_at_end = base
