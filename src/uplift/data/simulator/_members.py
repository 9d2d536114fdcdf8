"""Members: who they are and how they live, drawn once; and the state that changes from window to window."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from uplift.data.simulator._calendar import WINDOW_DAYS, Calendar
from uplift.data.simulator._industry import LIVES, PERSONAS, Industry

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

UNREGISTERED, NEW, ACTIVE, LAPSING, GONE = range(5)
NEW_DAYS = 60
SHARE_BEFORE = 0.62
LONGEST_BEFORE_DAYS = 1100
NEVER = -1e6
TOUCHY = 0.15
"""Share of the members whom messages annoy."""


@dataclass(frozen=True)
class Members:
    """What does not change, one value a member.

    Attributes
    ----------
    persona
        Index in :data:`PERSONAS`.
    registered
        Days since the calendar's start; negative for those who came before.
    rate
        Purchases per 14 days of an active member, without season and offers.
    interval, keep
        Own cycle in days (NaN: none), and the probability of keeping to it.
    goods
        Mean order before discounts, cents.
    promoted
        Probability of buying on an everyday promotion.
    weekend
        Share of purchases made at weekends.
    """

    persona: Ints
    registered: Floats
    rate: Floats
    interval: Floats
    keep: Floats
    goods: Floats
    price: Floats
    promoted: Floats
    weekend: Floats
    hour: Floats
    favourite: Ints
    digital: Floats
    app: Flags
    content: Floats
    opens: Floats
    video: Floats
    stored_value: Floats
    social: Flags
    annoyance: Floats
    sensitive: Flags
    lapse: Floats
    female: Flags
    age: Floats
    store: Ints

    def __len__(self) -> int:
        return len(self.persona)


@dataclass
class State:
    """What changes, one value a member, as of the start of a window.

    Attributes
    ----------
    stage
        One of the stages above.
    last_purchase
        Day of the latest purchase that counts (NEVER: none).
    purchases
        How many purchases count so far.
    due
        Day of the next purchase of a member with a cycle (inf: none).
    points, stored, sessions
        Balances: points, cents, sessions.
    contract_end
        Day on which the latest card ends (NEVER: none).
    """

    stage: npt.NDArray[np.int8]
    last_purchase: Floats
    purchases: Ints
    due: Floats
    points: Ints
    stored: Ints
    sessions: Ints
    contract_end: Floats
    reactivated: Flags = field(init=False)

    def __post_init__(self) -> None:
        self.reactivated = np.zeros(len(self.stage), dtype=bool)


def draw_members(industry: Industry, calendar: Calendar, n: int, rng: np.random.Generator) -> Members:
    """Draw ``n`` members."""
    personas = [industry.personas[name] for name in PERSONAS]

    def of(values: list[float]) -> Floats:
        return np.asarray(values, dtype=np.float64)[persona]

    persona = rng.choice(len(PERSONAS), size=n, p=[p.share for p in personas])
    before = rng.random(n) < SHARE_BEFORE
    lately = calendar.days * np.sqrt(rng.random(n))  # the chain grows
    day = np.floor(np.where(before, -LONGEST_BEFORE_DAYS * rng.random(n) ** 1.5 - 1e-9, lately))
    registered = np.minimum(day, calendar.days - 1) + (8.5 + 12.5 * rng.random(n)) / 24

    spread = of([p.spread for p in personas])
    rate = of([p.rate for p in personas]) * rng.gamma(spread) / spread
    low = of([p.interval[0] if p.interval else np.nan for p in personas])
    high = of([p.interval[1] if p.interval else np.nan for p in personas])
    interval = low + (high - low) * rng.random(n)
    goods = 100 * of([p.basket for p in personas]) * np.exp(0.35 * rng.standard_normal(n) - 0.35**2 / 2)
    price = rng.beta(of([p.price[0] for p in personas]), of([p.price[1] for p in personas]))
    weekend = rng.beta(of([p.weekend[0] for p in personas]), of([p.weekend[1] for p in personas]))
    content = _around(of([p.content for p in personas]), 4, rng)
    female = rng.random(n) < industry.female_share
    age = np.clip(18 + 50 * rng.beta(1.8, 3.0, size=n), 18, 75)
    touchy = rng.random(n) < TOUCHY
    annoyance = np.where(touchy, rng.beta(5, 3, size=n), rng.beta(1, 25, size=n))
    return Members(
        persona=persona.astype(np.int64),
        registered=registered,
        rate=rate,
        interval=interval,
        keep=of([p.keep for p in personas]),
        goods=goods,
        price=price,
        promoted=np.minimum(industry.promotion.base + industry.promotion.price * price, 1.0),
        weekend=weekend,
        hour=10 + 10 * rng.beta(2, 2, size=n),
        favourite=rng.choice(len(industry.categories), size=n, p=list(industry.categories.values())),
        digital=_around(of([p.digital for p in personas]), 3, rng),
        app=rng.random(n) < 0.35,
        content=content,
        opens=np.clip(0.10 + 0.55 * content - 0.45 * annoyance + 0.20 * rng.random(n), 0.01, 0.95),
        video=rng.beta(0.7, 0.7, size=n),
        stored_value=_around(of([p.stored_value for p in personas]), 2, rng),
        social=rng.random(n) < of([p.social for p in personas]),
        annoyance=annoyance,
        sensitive=rng.random(n) < industry.sensitive_share,
        lapse=of([p.lapse for p in personas]) * (0.5 + rng.random(n)),
        female=female,
        age=age,
        store=rng.integers(0, industry.stores, size=n),
    )


def _around(mean: Floats, strength: float, rng: np.random.Generator) -> Floats:
    return rng.beta(strength * mean, strength * (1 - mean))


def initial_state(members: Members, rng: np.random.Generator) -> State:
    """The state at the calendar's start."""
    n = len(members)
    u = rng.random(n)
    early = members.registered < 0
    recent = members.registered >= -NEW_DAYS
    settled = np.where(u < 0.68, ACTIVE, np.where(u < 0.80, LAPSING, GONE))
    stage = np.where(early, np.where(recent, NEW, settled), UNREGISTERED).astype(np.int8)
    cycle = ~np.isnan(members.interval)
    due = np.where(cycle, np.maximum(members.registered, 0) + np.nan_to_num(members.interval) * rng.random(n), np.inf)
    return State(
        stage=stage,
        last_purchase=np.full(n, NEVER),
        purchases=np.zeros(n, dtype=np.int64),
        due=due,
        points=np.zeros(n, dtype=np.int64),
        stored=np.zeros(n, dtype=np.int64),
        sessions=np.zeros(n, dtype=np.int64),
        contract_end=np.full(n, NEVER),
    )


def lives(members: Members, state: State) -> Ints:
    """The life each member is in: index in :data:`LIVES`; −1 before registration."""
    stage = state.stage
    by_stage = np.asarray([-1, LIVES.index("new"), -1, LIVES.index("lapsing"), LIVES.index("gone")], dtype=np.int64)[
        stage
    ]
    return np.where(stage == ACTIVE, members.persona, by_stage)


def register(members: Members, state: State, window: int) -> Flags:
    """Let those who register in this window begin; says who they are."""
    start = window * WINDOW_DAYS
    arriving = (members.registered >= start) & (members.registered < start + WINDOW_DAYS)
    state.stage[arriving] = NEW
    return arriving


def move_on(
    members: Members, state: State, window: int, bought: Flags, treated: Flags, rng: np.random.Generator
) -> None:
    """Stages at the end of a window: newcomers settle or leave, some lapse, some go, a purchase may bring one back.

    A message that annoys makes lapsing likelier: what an offer does after its window is real, though not part of the
    truth that is written, which is about the window.
    """
    n = len(members)
    u = rng.random(n)
    end = (window + 1) * WINDOW_DAYS
    stage = state.stage
    settled = (stage == NEW) & (end - members.registered > NEW_DAYS)
    after_new = np.where(
        state.purchases > 0,
        np.where(u < 0.72, ACTIVE, np.where(u < 0.90, LAPSING, GONE)),
        np.where(u < 0.35, ACTIVE, GONE),
    )
    hazard = members.lapse * np.where(bought, 0.4, 1.0) + 0.03 * members.annoyance * treated
    after_active = np.where(u < hazard, LAPSING, ACTIVE)
    after_lapsing = np.where(bought, np.where(u < 0.45, ACTIVE, LAPSING), np.where(u < 0.13, GONE, LAPSING))
    after_gone = np.where(bought & (u < 0.40), ACTIVE, GONE)
    following = np.select(
        [settled, stage == ACTIVE, stage == LAPSING, stage == GONE],
        [after_new, after_active, after_lapsing, after_gone],
        default=stage,
    )
    state.reactivated = (following == ACTIVE) & ((stage == LAPSING) | (stage == GONE))
    restart = state.reactivated & ~np.isnan(members.interval)
    state.due = np.where(restart, end + np.nan_to_num(members.interval) * (0.3 + 0.7 * u), state.due)
    state.stage = following.astype(np.int8)
