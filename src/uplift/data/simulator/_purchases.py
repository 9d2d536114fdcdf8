"""The orders of one window, drawn from the demand, and what they change: points, stored value, cards, cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uplift.data.simulator._calendar import FIRST_HOUR, LAST_HOUR, WINDOW_DAYS, Calendar
from uplift.data.simulator._industry import Industry
from uplift.data.simulator._members import Flags, Floats, Ints, Members, State
from uplift.data.simulator._response import Demand, Offers

STATUSES = ("paid", "confirmed", "refunded", "cancelled")
CHANNELS = ("store", "mini_program", "app")
PAID, CONFIRMED, REFUNDED, CANCELLED, UNKNOWN_STATUS = 0, 1, 2, 3, -1
OPEN_HOURS = LAST_HOUR - FIRST_HOUR
TOP_UPS = np.asarray([20_000, 50_000, 100_000], dtype=np.int64)


@dataclass(frozen=True)
class Orders:
    """Orders, sorted by member and time; one value an order unless said otherwise.

    Attributes
    ----------
    member
        Row of the member in the chunk.
    day
        Days since the calendar's start.
    counts
        True when it is a purchase: neither cancelled nor refunded.
    card
        Index of the card bought, −1 for goods.
    first
        True for a member's first order of the window.
    redeemed
        True when the window's offer was redeemed on it.
    known
        Day on which its status was known.
    """

    member: Ints
    day: Floats
    status: Ints
    counts: Flags
    channel: Ints
    store: Ints
    card: Ints
    first: Flags
    redeemed: Flags
    gross: Ints
    amount: Ints
    cost: Ints
    earned: Ints
    spent: Ints
    known: Floats


@dataclass(frozen=True)
class Changes:
    """Changes of balances: row of the member, day, change; accounts as in the contract."""

    account: str
    member: Ints
    day: Floats
    change: Ints


def draw_orders(
    industry: Industry,
    calendar: Calendar,
    members: Members,
    state: State,
    window: int,
    base: Demand,
    rate: Floats,
    due: Floats,
    arriving: Flags,
    offer: Ints,
    offers: Offers,
    rng: np.random.Generator,
) -> Orders:
    """Draw the orders of a window.

    Parameters
    ----------
    rate, due
        Mean of the Poisson part and probability of the due purchase, offers included.
    arriving
        Who registers within this window.
    offer
        Index of the offer received, −1 for none.
    """
    n = len(members)
    hit = rng.random(n) < due
    number = rng.poisson(rate) + hit
    member = np.repeat(np.arange(n), number)
    m = len(member)
    day = _times(calendar, members, window, member, arriving, rng)
    last = (np.cumsum(number) - 1)[hit & ~arriving]
    start, end = window * WINDOW_DAYS, (window + 1) * WINDOW_DAYS
    day[last] = np.clip(np.floor(state.due[member[last]]), start, end - 1) + day[last] % 1
    day = day[np.lexsort((day, member))]
    first = np.ones(m, dtype=bool)
    first[1:] = member[1:] != member[:-1]

    card = _cards(industry, base.card[member], rng)
    goods = card < 0
    received = offer[member]
    redeemed = first & goods & (received >= 0) & (rng.random(m) < offers.redeem[received])
    gross, amount, cost = _amounts(industry, members, member, card, redeemed, received, offers, rng)

    u = rng.random(m)
    status = np.where(u < industry.cancelled, CANCELLED, np.where(u < 1 - industry.kept, REFUNDED, PAID))
    counts = status == PAID
    status = np.where(counts & (rng.random(m) < 0.35), CONFIRMED, status)
    status = np.where(counts & (rng.random(m) < 0.004), UNKNOWN_STATUS, status)
    latest = calendar.days - 1 / 86400
    known = np.where(counts, day, np.maximum(np.minimum(day + 0.2 + 9 * rng.random(m), latest), day))

    factor = np.where(redeemed, offers.points_factor[received], 1.0)
    earned = np.where(counts, np.rint(amount // 100 * factor), 0).astype(np.int64)
    wants = first & counts & (state.points[member] >= 500) & (rng.random(m) < 0.12)
    spent = np.where(wants, (state.points[member] * (0.3 + 0.7 * rng.random(m))).astype(np.int64) // 100 * 100, 0)

    digital = rng.random(m) < members.digital[member]
    channel = np.where(digital, np.where(members.app[member], 2, 1), 0)
    elsewhere = rng.random(m) < 0.12
    store = np.where(elsewhere, rng.integers(0, industry.stores, size=m), members.store[member])
    return Orders(
        member=member,
        day=day,
        status=status,
        counts=counts,
        channel=channel,
        store=np.where(digital, -1, store),
        card=card,
        first=first,
        redeemed=redeemed & counts,
        gross=gross,
        amount=amount,
        cost=cost,
        earned=earned,
        spent=spent,
        known=known,
    )


def _times(
    calendar: Calendar, members: Members, window: int, member: Ints, arriving: Flags, rng: np.random.Generator
) -> Floats:
    m = len(member)
    start = window * WINDOW_DAYS
    hour = FIRST_HOUR + (members.hour[member] + 2.2 * rng.standard_normal(m) - FIRST_HOUR) % OPEN_HOURS
    at_weekend = rng.random(m) < members.weekend[member]
    u = rng.random(m)
    weights = calendar.day_weights[window]
    day = np.where(
        at_weekend, np.searchsorted(weights[1], u, side="right"), np.searchsorted(weights[0], u, side="right")
    )
    times = start + np.minimum(day, WINDOW_DAYS - 1) + hour / 24
    new = np.flatnonzero(arriving[member])
    if len(new):
        registered = members.registered[member[new]]
        left = start + WINDOW_DAYS - 1 - np.floor(registered)
        u, v = rng.random(len(new)), rng.random(len(new))
        at_once = (left < 1) | (u < 0.4)
        later = np.floor(registered) + 1 + np.floor(v * np.maximum(left, 1)) + hour[new] / 24
        times[new] = np.where(at_once, registered + (3 + 25 * v) / 1440, later)
    return times


def _cards(industry: Industry, probability: Floats, rng: np.random.Generator) -> Ints:
    if industry.cards is None:
        return np.full(len(probability), -1)
    kind = rng.integers(0, len(industry.cards.prices), size=len(probability))
    return np.where(rng.random(len(probability)) < probability, kind, -1)


def _amounts(
    industry: Industry,
    members: Members,
    member: Ints,
    card: Ints,
    redeemed: Flags,
    received: Ints,
    offers: Offers,
    rng: np.random.Generator,
) -> tuple[Ints, Ints, Ints]:
    """Price before discounts, amount paid and cost, in cents."""
    m = len(member)
    spread = industry.basket_spread
    gross = members.goods[member] * np.exp(spread * rng.standard_normal(m) - spread**2 / 2)
    gross *= np.where(rng.random(m) < industry.outlier_share, industry.outlier_size, 1.0)
    gross *= np.where(redeemed, 1 + offers.basket[received], 1.0)
    promotion = industry.promotion
    depth = promotion.low + (promotion.high - promotion.low) * rng.random(m)
    paid = np.where(rng.random(m) < members.promoted[member], 1 - depth, 1.0)
    paid *= np.where(redeemed, 1 - offers.depth[received], 1.0)
    cost = gross * (1 - industry.margin) * (0.95 + 0.1 * rng.random(m))
    if industry.cards is not None:
        price = 100 * np.asarray(industry.cards.prices)[card]
        gross = np.where(card >= 0, price, gross)
        paid = np.where(card >= 0, 1.0, paid)
        cost = np.where(card >= 0, price * industry.cards.cost, cost)
    whole = np.rint(gross).astype(np.int64)
    amount = np.rint(gross * paid).astype(np.int64)
    return whole, np.minimum(amount, whole), np.rint(cost).astype(np.int64)


def settle(
    industry: Industry,
    calendar: Calendar,
    members: Members,
    state: State,
    window: int,
    orders: Orders,
    offer: Ints,
    offers: Offers,
    rng: np.random.Generator,
) -> tuple[list[Changes], Flags]:
    """Bring the state to the window's end; returns the changes of balances and who made a purchase."""
    n = len(members)
    start, end = window * WINDOW_DAYS, (window + 1) * WINDOW_DAYS
    changes: list[Changes] = []

    points = orders.earned - orders.spent
    moved = points != 0
    changes.append(Changes("points", orders.member[moved], orders.day[moved], points[moved]))
    state.points += np.bincount(orders.member, weights=points, minlength=n).astype(np.int64)

    counted = orders.counts
    paying = counted & orders.first & (orders.card < 0) & (orders.amount > 0)
    paying &= orders.amount <= state.stored[orders.member]
    changes.append(Changes("stored_value", orders.member[paying], orders.day[paying], -orders.amount[paying]))
    state.stored[orders.member[paying]] -= orders.amount[paying]

    factor = np.where(offer >= 0, offers.top_up_factor[offer], 1.0)
    wishes = 0.05 * members.stored_value**2 * factor * (state.purchases >= 2) * (state.stage == 2)
    tops = np.flatnonzero(rng.random(n) < wishes)
    top = TOP_UPS[rng.integers(0, len(TOP_UPS), size=len(tops))]
    when = start + rng.integers(0, WINDOW_DAYS, size=len(tops)) + (FIRST_HOUR + OPEN_HOURS * rng.random(len(tops))) / 24
    changes.append(Changes("stored_value", tops, when, top))
    state.stored[tops] += top

    if industry.cards is not None:
        sold = counted & (orders.card >= 0)
        sessions = np.asarray(industry.cards.sessions)[orders.card[sold]]
        ends = orders.day[sold] + np.asarray(industry.cards.days)[orders.card[sold]]
        changes.append(Changes("sessions", orders.member[sold], orders.day[sold], sessions))
        np.add.at(state.sessions, orders.member[sold], sessions)
        np.maximum.at(state.contract_end, orders.member[sold], ends)
        expired = np.flatnonzero((state.contract_end < end) & (state.sessions > 0))
        when = np.maximum(state.contract_end[expired], start)
        changes.append(Changes("sessions", expired, when, -state.sessions[expired]))
        state.sessions[expired] = 0

    bought = np.zeros(n, dtype=bool)
    bought[orders.member[counted]] = True
    np.maximum.at(state.last_purchase, orders.member[counted], orders.day[counted])
    state.purchases += np.bincount(orders.member[counted], minlength=n)

    cycle = ~np.isnan(members.interval)
    own = np.nan_to_num(members.interval) * np.exp(0.12 * rng.standard_normal(n))
    passed = cycle & (state.due < end)
    state.due = np.where(cycle & bought, state.last_purchase + own, np.where(passed, end + 0.4 * own, state.due))
    return changes, bought
