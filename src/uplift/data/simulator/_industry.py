"""The parameters of an industry: typed, read from one YAML file each in ``industries/``."""

from __future__ import annotations

from importlib import resources
from typing import Literal, Self

from pydantic import Field, model_validator

from uplift.config import Share, Spec, parse_spec, parse_yaml
from uplift.errors import unknown_name

INDUSTRIES = ("grocery", "beauty", "fitness")

PERSONAS = ("loyal", "cyclical", "weekend", "price_sensitive", "regular")
STAGE_LIVES = ("new", "lapsing", "gone")
LIVES = (*PERSONAS, *STAGE_LIVES)

TRAITS = (
    "all",
    "price",
    *(life for life in LIVES if life != "price_sensitive"),
    "content",
    "video",
    "stored_value",
    "social",
    "annoyance",
    "sensitive",
    "novice",
    "just_bought",
    "contract_ending",
)
"""What an offer's effect may depend on; each lies in [0, 1]. ``favourite:<category>`` is one more per category."""


class Promotion(Spec):
    """Everyday price promotions.

    An order is bought on one with probability ``base + price × price sensitivity``, and then ``low`` to ``high`` of its
    price is taken off.
    """

    base: Share
    price: Share
    low: Share
    high: Share

    @property
    def mean(self) -> float:
        """Mean depth of a promotion."""
        return (self.low + self.high) / 2


class Festival(Spec):
    """Demand is multiplied by ``factor`` from ``before`` days ahead of a festival to ``after`` days past it."""

    before: int = Field(ge=0)
    after: int = Field(ge=0)
    factor: float = Field(gt=0)


class Persona(Spec):
    """A way of living with the chain.

    Attributes
    ----------
    share
        Of the members.
    rate, spread
        Mean and shape of the gamma distribution of a member's own purchases per 14 days.
    interval, keep
        Members with a cycle of their own: its range in days, and the probability that a due purchase is made.
    basket
        Mean order before discounts, in units of money.
    price, weekend
        Beta parameters of the price sensitivity and of the share of purchases made at weekends.
    lapse
        Probability, per 14 days, of beginning to lapse.
    digital, content, stored_value, social
        Mean share of orders outside the store; mean content affinity; willingness to store value; shares of the social.
    """

    share: Share
    rate: float = Field(ge=0)
    spread: float = Field(gt=0)
    interval: tuple[float, float] | None = None
    keep: Share = 0.0
    basket: float = Field(gt=0)
    price: tuple[float, float]
    weekend: tuple[float, float]
    lapse: Share
    digital: Share
    content: Share
    stored_value: Share
    social: Share


class Cards(Spec):
    """Cards with sessions and an end date.

    Attributes
    ----------
    base, ending
        Probability that an order is a card, for members with and without one that ends within 30 days.
    prices, sessions, days
        The cards on sale, in the same order.
    cost
        Share of the price that a card costs the chain.
    visits
        Mean check-ins per 14 days of a holder.
    products
        Names, in the same order.
    """

    base: Share
    ending: Share
    products: tuple[str, ...]
    prices: tuple[float, ...]
    sessions: tuple[int, ...]
    days: tuple[int, ...]
    cost: Share
    visits: float = Field(gt=0)


class Survey(Spec):
    """A question: who answers it (a share), and what the answer follows from."""

    name: str
    source: Literal["survey", "profile", "staff"]
    answered: Share
    of: Literal["age", "role", "sensitive", "free"] = "free"
    values: dict[str, float] = Field(default_factory=dict)
    yes: str = ""
    no: str = ""


class Offer(Spec):
    """An offer and its true effect.

    Attributes
    ----------
    depth, basket, redeem
        The first order of the window is redeemed with probability ``redeem``; then its price before discounts is
        ``basket`` larger and ``depth`` of it is taken off.
    rate
        Trait → relative change of the purchase rate (and of the probability of a due purchase).
    extra
        Trait → purchases per window beside it.
    points_factor, top_up_factor
        Points on a redeemed order, and chance of topping up, are multiplied by these.
    cost_contact, cost_redeem
        Units of money.
    eligible, forbidden
        Rules over the feature catalogue.
    """

    id: str
    name_zh: str
    name_en: str
    kind: str
    channel: str
    form: Literal["video", "article"]
    depth: Share = 0.0
    basket: float = 0.0
    redeem: Share = 0.9
    rate: dict[str, float] = Field(default_factory=dict)
    extra: dict[str, float] = Field(default_factory=dict)
    points_factor: float = 1.0
    top_up_factor: float = 1.0
    cost_contact: float = Field(default=0.0, ge=0)
    cost_redeem: float = 0.0
    cooldown_days: float | None = None
    quota: int | None = None
    eligible: str | None = None
    forbidden: str | None = None


class Industry(Spec):
    """Everything that makes a chain of this industry.

    Attributes
    ----------
    margin
        Share of the price before discounts that is not the cost of goods.
    basket_spread
        Standard deviation of the logarithm of an order.
    outlier_share, outlier_size
        Share of orders that are that many times as large.
    cancelled, refunded
        Shares of orders; neither counts as a purchase.
    novice_orders
        A member with fewer purchases is a novice.
    sensitive_share
        Members for whom some offers are contraindicated.
    book_share
        Share of orders that were booked before.
    months
        Demand by calendar month, January first.
    """

    name: str
    name_zh: str
    name_en: str
    margin: Share
    stores: int = Field(ge=1)
    cities: tuple[str, ...]
    female_share: Share
    basket_spread: float = Field(gt=0)
    outlier_share: Share
    outlier_size: float = Field(ge=1)
    promotion: Promotion
    cancelled: Share
    refunded: Share
    novice_orders: int = Field(ge=1)
    sensitive_share: Share
    categories: dict[str, Share]
    topics: tuple[str, ...]
    book_share: Share
    months: tuple[float, ...] = Field(min_length=12, max_length=12)
    festivals: dict[str, Festival]
    personas: dict[str, Persona]
    cards: Cards | None = None
    surveys: tuple[Survey, ...]
    offers: tuple[Offer, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if tuple(self.personas) != PERSONAS:
            raise ValueError(f"personas must be {PERSONAS} in this order, found {tuple(self.personas)}")
        for what, shares in (
            ("personas", [persona.share for persona in self.personas.values()]),
            ("categories", list(self.categories.values())),
        ):
            if abs(sum(shares) - 1) > 1e-9:
                raise ValueError(f"the shares of {what} add up to {sum(shares):.6g}, not to 1")
        known = self.traits
        for offer in self.offers:
            for trait in (*offer.rate, *offer.extra):
                if trait not in known:
                    raise ValueError(f"offer {offer.id}: unknown trait {trait!r}; known: {', '.join(known)}")
        return self

    @property
    def traits(self) -> tuple[str, ...]:
        """Names of the traits, in the order of the columns of the trait matrix."""
        return (*TRAITS, *(f"favourite:{category}" for category in self.categories))

    @property
    def kept(self) -> float:
        """Probability that an order counts: neither cancelled nor refunded."""
        return 1 - self.cancelled - self.refunded


def load_industry(name: str) -> Industry:
    """The industry of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in INDUSTRIES:
        raise unknown_name("industry", name, INDUSTRIES)
    source = resources.files("uplift.data.simulator").joinpath("industries", f"{name}.yaml")
    return parse_spec(parse_yaml(source.read_text(encoding="utf-8"), source.name), Industry, source.name)
