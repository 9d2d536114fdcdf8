"""What an offer truly does to a member within its window: the model from which outcomes are drawn, and its exact means.

Within a window of 14 days a member makes ``Poisson(rate) + Bernoulli(due)`` orders, independent of what they cost. Each
counts (is neither cancelled nor refunded) with probability ``kept``. An offer changes the rate and the due probability,
and what the window's first order costs. So the probability of a purchase and the mean spend are known exactly, with
an offer and without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from uplift.data.simulator._calendar import WINDOW_DAYS
from uplift.data.simulator._industry import LIVES, Industry
from uplift.data.simulator._members import UNREGISTERED, Flags, Floats, Ints, Members, State, lives

JUST_BOUGHT_DAYS = 7
CONTRACT_ENDING_DAYS = 30
MOST_LIKELY_DUE = 0.97
STAGE_RATE = np.asarray([0.0, 0.75, 1.0, 0.35, 0.015])
STAGE_DUE = np.asarray([0.0, 1.0, 1.0, 0.35, 0.0])


@dataclass(frozen=True)
class Demand:
    """Orders of a window without an offer, one value a member.

    Attributes
    ----------
    rate, due
        Mean of the Poisson part, probability of the due purchase.
    goods
        Mean price of an order of goods before discounts, cents.
    paid
        Mean share of it that is paid after everyday promotions.
    card
        Probability that an order is a card instead.
    """

    rate: Floats
    due: Floats
    goods: Floats
    paid: Floats
    card: Floats

    def of(self, rows: Ints) -> Demand:
        """Of some of the members."""
        return Demand(self.rate[rows], self.due[rows], self.goods[rows], self.paid[rows], self.card[rows])


class Means(NamedTuple):
    """Exact means of a window's outcomes: probability of a purchase that counts; spend and margin in cents."""

    conversion: Floats
    spend: Floats
    margin: Floats


class Response(NamedTuple):
    """A window's orders under each of some offers: rate and due probability, ``(n, k)``."""

    rate: Floats
    due: Floats


Traits = Mapping[str, Floats | Flags]


class Offers:
    """The offers of an industry as arrays, ``(n_offers,)``, and how members respond to them.

    Sums over traits are taken in a fixed order, not by a matrix product, so that no bit depends on threads.
    """

    def __init__(self, industry: Industry) -> None:
        offers = industry.offers
        self.ids = tuple(offer.id for offer in offers)
        self.depth = np.asarray([offer.depth for offer in offers])
        self.basket = np.asarray([offer.basket for offer in offers])
        self.redeem = np.asarray([offer.redeem for offer in offers])
        self.points_factor = np.asarray([offer.points_factor for offer in offers])
        self.top_up_factor = np.asarray([offer.top_up_factor for offer in offers])
        self._rate = tuple(offer.rate for offer in offers)
        self._extra = tuple(offer.extra for offer in offers)

    def response(self, traits: Traits, demand: Demand, which: Sequence[int]) -> Response:
        """How members respond to the offers with the indices ``which``."""
        rates, dues = [], []
        for offer in which:
            lift = np.maximum(_weighted(traits, self._rate[offer], 1.0), 0.0)
            rates.append(demand.rate * lift + np.maximum(_weighted(traits, self._extra[offer], 0.0), 0.0))
            dues.append(np.minimum(demand.due * lift, MOST_LIKELY_DUE))
        return Response(np.column_stack(rates), np.column_stack(dues))


def _weighted(traits: Traits, weights: Mapping[str, float], start: float) -> Floats:
    total = np.full(len(traits["all"]), start)
    for name, weight in weights.items():
        total += weight * traits[name]
    return total


def demand(industry: Industry, members: Members, state: State, window: int, season: float, part: Floats) -> Demand:
    """Demand in a window.

    Parameters
    ----------
    part
        Share of the window for which each member is registered.
    """
    end = (window + 1) * WINDOW_DAYS
    rate = members.rate * STAGE_RATE[state.stage] * season * part
    due = np.where(state.due < end, members.keep * STAGE_DUE[state.stage], 0.0)
    card = np.zeros(len(members))
    if industry.cards is not None:
        card = np.where(ending(state, window), industry.cards.ending, industry.cards.base)
        held = state.contract_end > end + CONTRACT_ENDING_DAYS
        card = np.where(held | (state.purchases < 2), 0.0, card)
    return Demand(
        rate=rate,
        due=due,
        goods=members.goods * (1 + industry.outlier_share * (industry.outlier_size - 1)),
        paid=1 - members.promoted * industry.promotion.mean,
        card=card,
    )


def ending(state: State, window: int) -> Flags:
    """Whose card ends around the start of this window."""
    start = window * WINDOW_DAYS
    return (state.contract_end > start - WINDOW_DAYS) & (state.contract_end <= start + CONTRACT_ENDING_DAYS)


def traits_of(industry: Industry, members: Members, state: State, window: int) -> Traits:
    """Traits of every member at the start of a window, by the names in ``industry.traits``."""
    life = lives(members, state)
    start = window * WINDOW_DAYS
    return {
        "all": state.stage != UNREGISTERED,
        "price": members.price,
        **{name: life == LIVES.index(name) for name in LIVES if name != "weekend"},
        "weekend": np.clip((members.weekend - 2 / 7) / (5 / 7), 0, 1),
        "content": members.content,
        "video": members.video,
        "stored_value": members.stored_value,
        "social": members.social,
        "annoyance": members.annoyance,
        "sensitive": members.sensitive,
        "novice": state.purchases < industry.novice_orders,
        "just_bought": state.last_purchase > start - JUST_BOUGHT_DAYS,
        "contract_ending": ending(state, window),
        **{f"favourite:{name}": members.favourite == i for i, name in enumerate(industry.categories)},
    }


def means(
    industry: Industry,
    base: Demand,
    rate: Floats,
    due: Floats,
    *,
    depth: Floats | float = 0.0,
    basket: Floats | float = 0.0,
    redeem: Floats | float = 0.0,
) -> Means:
    """Exact means of a window's outcomes at a rate and a due probability; all arguments broadcast.

    The discount is on the first order of the window, if that is of goods and redeemed; whether an order counts does not
    depend on any of this.
    """
    kept = industry.kept
    count = rate + due
    any_order = 1 - (1 - due) * np.exp(-rate)
    conversion = 1 - (1 - kept * due) * np.exp(-kept * rate)
    card_price, card_cost = card_means(industry)
    paid = base.goods * base.paid
    redeemed = any_order * (1 - base.card) * redeem
    spend = count * ((1 - base.card) * paid + base.card * card_price)
    spend = spend + redeemed * paid * ((1 + basket) * (1 - depth) - 1)
    goods_cost = base.goods * (1 - industry.margin)
    cost = count * ((1 - base.card) * goods_cost + base.card * card_cost) + redeemed * goods_cost * basket
    return Means(conversion, kept * spend, kept * (spend - cost))


def card_means(industry: Industry) -> tuple[float, float]:
    """Mean price and mean cost of a card, cents."""
    if industry.cards is None:
        return 0.0, 0.0
    price = 100 * float(np.mean(industry.cards.prices))
    return price, price * industry.cards.cost


def effects(industry: Industry, offers: Offers, response: Response, base: Demand, which: Sequence[int]) -> Means:
    """True effects of the offers with the indices ``which``, each ``(n, k)``."""
    wide = Demand(*(value[:, None] for value in (base.rate, base.due, base.goods, base.paid, base.card)))
    index = list(which)
    given = means(
        industry,
        wide,
        response.rate,
        response.due,
        depth=offers.depth[index],
        basket=offers.basket[index],
        redeem=offers.redeem[index],
    )
    none = means(industry, wide, wide.rate, wide.due)
    return Means(
        given.conversion - none.conversion,
        given.spend - none.spend,
        given.margin - none.margin,
    )
