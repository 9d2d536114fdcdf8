"""What members do beside ordering: contents opened, visits, check-ins, touches received, questions answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uplift.data.simulator._calendar import WINDOW_DAYS, Calendar
from uplift.data.simulator._industry import Industry, Survey
from uplift.data.simulator._members import Flags, Floats, Ints, Members, State
from uplift.data.simulator._purchases import Changes, Orders

EVENTS = ("open", "view", "sign_in", "share", "visit", "book", "check_in", "click", "refer", "answer")
FORMS = ("article", "video")
STAGE_ACTIVITY = np.asarray([0.0, 1.2, 1.0, 0.4, 0.04])
SENT_HOUR = 7.0


@dataclass(frozen=True)
class Events:
    """Events; −1 stands for no value in ``topic``, ``form`` and ``offer``, NaN in ``duration``.

    Attributes
    ----------
    event, topic, form, offer
        Indices in :data:`EVENTS`, the industry's topics, :data:`FORMS`, the industry's offers.
    """

    member: Ints
    day: Floats
    event: Ints
    topic: Ints
    form: Ints
    duration: Floats
    offer: Ints


@dataclass(frozen=True)
class Touches:
    """Messages sent; NaN where a stage was not reached."""

    member: Ints
    offer: Ints
    sent: Floats
    delivered: Floats
    opened: Floats
    clicked: Floats
    redeemed: Floats


@dataclass(frozen=True)
class Answers:
    """Answers to one question: who, when, when it was known, what."""

    survey: Survey
    member: Ints
    day: Floats
    known: Floats
    value: np.ndarray


def plain_events(member: Ints, day: Floats, event: str, offer: Ints | None = None) -> Events:
    """Events of one kind without content."""
    none = np.full(len(member), -1)
    return Events(
        member=member,
        day=day,
        event=np.full(len(member), EVENTS.index(event)),
        topic=none,
        form=none,
        duration=np.full(len(member), np.nan),
        offer=none if offer is None else offer,
    )


def draw_events(
    industry: Industry, members: Members, state: State, window: int, settled: Flags, rng: np.random.Generator
) -> Events:
    """Contents opened, sign-ins, shares and visits of those registered before the window (``settled``)."""
    n = len(members)
    activity = (0.08 + 1.0 * members.content) * STAGE_ACTIVITY[state.stage] * settled
    member = np.repeat(np.arange(n), rng.poisson(activity))
    m = len(member)
    day = window * WINDOW_DAYS + rng.integers(0, WINDOW_DAYS, size=m) + (7.0 + 16.5 * rng.random(m)) / 24
    u = rng.random(m)
    share = np.where(members.social[member], 0.14, 0.01)
    event = np.select([u < 0.52, u < 0.72, u < 0.80, u < 0.80 + share], [0, 1, 2, 3], default=EVENTS.index("visit"))
    read = (event == 0) | (event == 3)
    viewed = event == 1
    topics = len(industry.topics)
    chosen = np.where(rng.random(m) < 0.6, members.favourite[member] % topics, rng.integers(0, topics, size=m))
    form = (rng.random(m) < members.video[member]).astype(np.int64)
    length = np.exp(np.where(form == 1, 3.7, 4.3) + 0.7 * rng.standard_normal(m))
    length = np.where(rng.random(m) < 0.05, np.nan, np.rint(length))
    return Events(
        member=member,
        day=day,
        event=event,
        topic=np.where(read | viewed, chosen, -1),
        form=np.where(read, form, -1),
        duration=np.where(read, length, np.nan),
        offer=np.full(m, -1),
    )


def events_of_orders(
    industry: Industry, window: int, orders: Orders, settled: Flags, rng: np.random.Generator
) -> list[Events]:
    """Product views before orders outside the store, and bookings before visits; both after the window's start."""
    known = settled[orders.member]
    start = window * WINDOW_DAYS
    looks = known & (orders.channel > 0) & (rng.random(len(known)) < 0.30)
    views = plain_events(
        orders.member[looks], orders.day[looks] - (2 + 30 * rng.random(int(looks.sum()))) / 1440, "view"
    )
    books = known & (rng.random(len(known)) < industry.book_share)
    ahead = 0.2 + 0.79 * rng.random(int(books.sum()))
    booked = start + (orders.day[books] - start) * ahead
    return [views, plain_events(orders.member[books], booked, "book")]


def draw_check_ins(
    industry: Industry, calendar: Calendar, members: Members, state: State, window: int, rng: np.random.Generator
) -> tuple[Events, Changes] | None:
    """Check-ins of card holders, each using up one session."""
    if industry.cards is None:
        return None
    start = window * WINDOW_DAYS
    holds = (state.contract_end >= start + WINDOW_DAYS) & (state.sessions > 0)
    wanted = rng.poisson(industry.cards.visits * holds * (0.4 + members.rate / (1 + members.rate)))
    number = np.minimum(wanted, np.where(holds, state.sessions, 0))
    member = np.repeat(np.arange(len(members)), number)
    m = len(member)
    at_weekend = (rng.random(m) < members.weekend[member]).astype(np.int64)
    weights = calendar.day_weights[window]
    u = rng.random(m)
    day = np.where(at_weekend == 1, np.searchsorted(weights[1], u), np.searchsorted(weights[0], u))
    hour = 7.0 + (members.hour[member] - 7.0 + 1.5 * rng.standard_normal(m)) % 15.0
    times = start + np.minimum(day, WINDOW_DAYS - 1) + hour / 24
    state.sessions -= number
    return plain_events(member, times, "check_in"), Changes("sessions", member, times, np.full(m, -1))


def draw_touches(
    members: Members, window: int, offer: Ints, orders: Orders, rng: np.random.Generator
) -> tuple[Touches, Events]:
    """The message each treated member received, what became of it, and the clicks as events."""
    member = np.flatnonzero(offer >= 0)
    m = len(member)
    sent = window * WINDOW_DAYS + (SENT_HOUR + 0.9 * rng.random(m)) / 24
    delivered = np.where(rng.random(m) < 0.97, sent + (1 + 60 * rng.random(m)) / 86400, np.nan)
    opens = rng.random(m) < members.opens[member]
    opened = np.where(opens, delivered + rng.exponential(0.35, size=m) + 1 / 86400, np.nan)
    clicks = rng.random(m) < 0.25 + 0.3 * members.content[member]
    clicked = np.where(clicks, opened + (3 + 90 * rng.random(m)) / 86400, np.nan)
    redeemed = np.full(len(members), np.nan)
    redeemed[orders.member[orders.redeemed]] = orders.day[orders.redeemed]
    touches = Touches(member, offer[member], sent, delivered, opened, clicked, redeemed[member])
    there = ~np.isnan(clicked)
    return touches, plain_events(member[there], clicked[there], "click", offer[member][there])


def draw_answers(
    industry: Industry, calendar: Calendar, members: Members, rng: np.random.Generator
) -> tuple[list[Answers], Events]:
    """Answers to the industry's questions, each known up to three days later; and the events of answering."""
    n = len(members)
    day = np.maximum(members.registered, 0.35) + 45 * rng.random(n) ** 2 + 0.005
    known = day + 0.1 + 2.9 * rng.random(n)
    inside = known < calendar.days
    found: list[Answers] = []
    answered = np.zeros(n, dtype=bool)
    for survey in industry.surveys:
        says = inside & (rng.random(n) < survey.answered)
        value = _values(industry, survey, members, rng)
        member = np.flatnonzero(says)
        found.append(Answers(survey, member, day[member], known[member], value[member]))
        if survey.source == "survey":
            answered |= says
    member = np.flatnonzero(answered)
    return found, plain_events(member, day[member], "answer")


def _values(industry: Industry, survey: Survey, members: Members, rng: np.random.Generator) -> np.ndarray:
    n = len(members)
    if survey.of == "age":
        bands = np.asarray(["18-24", "25-34", "35-44", "45-54", "55+"])
        return bands[np.searchsorted([25, 35, 45, 55], members.age, side="right")]
    if survey.of == "role":
        baby = list(industry.categories).index("baby") if "baby" in industry.categories else -1
        mother = members.female & (members.age < 45) & ((members.favourite == baby) | (rng.random(n) < 0.2))
        return np.where(members.age < 24, "学生党", np.where(mother, "宝妈", "上班族"))
    if survey.of == "sensitive":
        return np.where(members.sensitive, survey.yes, survey.no)
    names = np.asarray(list(survey.values))
    return names[rng.choice(len(names), size=n, p=list(survey.values.values()))]
