"""What a recommendation is made of: models resolved once, offers with compiled rules, rates in money."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from uplift.config import Workspace
from uplift.data import Engine
from uplift.errors import InputError
from uplift.features import OUTCOMES, Feature, catalogue_for
from uplift.learners.bundle import Bundle, load_bundle
from uplift.policy import Offer, read_offers
from uplift.policy.wording import Outcome
from uplift.rules import Rule, compile_rule
from uplift.segments import rule_columns
from uplift.tracking import PinnedModel, open_registry

UPLIFT, CHURN = "uplift", "churn"
SEGMENT = "segment"
DEFAULT_REDEMPTION = 0.1
PRIOR_TOUCHES = 50
MARGIN_DAYS = 365

Loader = Callable[[Path], Bundle]


class Champions(Protocol):
    """Where champion models come from; ``uplift.tracking.Registry`` is one."""

    def champion(self, name: str) -> PinnedModel | None:
        """The model of that name that serves, or None."""


@dataclass(frozen=True)
class Rate:
    """A share and where it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class Inputs:
    """Everything that decides the run, but the members.

    Attributes
    ----------
    as_of
        The time (UTC).
    offers
        Those that are arms of the uplift model, in order of id.
    models
        What was pinned, uplift first.
    uplift, churn
        Loaded; churn None where no model serves.
    population
        Rule of the members whose churn risk is known; None: all.
    outcomes
        Name → how sentences name it, in the model's order.
    value_outcome
        The outcome that is turned into money.
    margin
        Share of the value outcome's money that is earned; 1 where the outcome is a margin already.
    redemption
        (n_offers,) share of members given an offer who redeem it.
    consent_recorded
        Whether any member's consent is known; where none is, nobody is left out for want of it.
    features, catalogue
        Names to build, and where they are defined.
    notes
        What a person should know.
    """

    as_of: datetime
    offers: tuple[Offer, ...]
    models: tuple[PinnedModel, ...]
    uplift: Bundle
    churn: Bundle | None
    population: Rule | None
    outcomes: Mapping[str, Outcome]
    value_outcome: str
    margin: Rate
    redemption: tuple[Rate, ...]
    consent_recorded: bool
    features: tuple[str, ...]
    catalogue: Mapping[str, Feature]
    notes: tuple[str, ...]

    @property
    def costs(self) -> np.ndarray:
        """(n_offers,) expected cost of giving an offer to one member, money in units."""
        return np.array(
            [
                offer.cost_contact + rate.value * offer.cost_redeem
                for offer, rate in zip(self.offers, self.redemption, strict=True)
            ],
            dtype=np.float64,
        )


def gather(
    engine: Engine,
    workspace: Workspace,
    as_of: datetime,
    registry: Champions | None = None,
    load: Loader = load_bundle,
) -> Inputs:
    """Resolve champions once, compile the offers' rules, measure rates as of the time.

    Raises
    ------
    InputError
        If no uplift model serves, its value outcome is not money, no arm is an offer, or rules do not compile.
    """
    registry = registry or open_registry(workspace)
    pinned, churn = registry.champion(UPLIFT), registry.champion(CHURN)
    if pinned is None:
        raise InputError(
            "no uplift model serves yet, so no offer can be valued: train one first with `uplift train uplift` "
            "(and `uplift models promote uplift` if its gate did not let it serve at once)"
        )
    notes = []
    bundle = load(pinned.folder)
    churn_bundle = load(churn.folder) if churn is not None else None
    if churn_bundle is None:
        notes.append("no churn model serves (`uplift train churn` makes one), so churn_risk is empty")
    catalogue = catalogue_for(engine)
    columns = rule_columns(engine, catalogue)
    offers = _offers(engine, bundle.meta["arms"], columns, notes)
    outcomes = _outcomes(bundle.meta)
    value_outcome = str(bundle.meta["value_outcome"])
    if outcomes[value_outcome].unit != "money":
        raise InputError(
            f"the uplift model's value_outcome {value_outcome!r} is not money, so offers cannot be weighed against "
            "their cost: train with `value_outcome: spend` or `margin` in models/uplift.yaml"
        )
    text = churn_bundle.meta.get("population") if churn_bundle is not None else None
    population = compile_rule(text, columns) if text else None
    wanted = {*bundle.features, "days_since_last_order", "consent_marketing", "favourite_weekday", "favourite_daypart"}
    wanted |= set(churn_bundle.features) if churn_bundle is not None else set()
    wanted |= population.columns if population is not None else frozenset()
    wanted |= frozenset().union(*(offer.columns for offer in offers))
    return Inputs(
        as_of=as_of,
        offers=offers,
        models=tuple(model for model in (pinned, churn) if model is not None),
        uplift=bundle,
        churn=churn_bundle,
        population=population,
        outcomes=outcomes,
        value_outcome=value_outcome,
        margin=_margin(engine, workspace, as_of, str(_sources(bundle.meta)[value_outcome])),
        redemption=_redemption(engine, offers, as_of, notes),
        consent_recorded=_consent_recorded(engine, notes),
        features=tuple(sorted(wanted - {SEGMENT})),
        catalogue=catalogue,
        notes=tuple(notes),
    )


def digest_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _offers(engine: Engine, arms: list[str], columns: Mapping[str, str], notes: list[str]) -> tuple[Offer, ...]:
    table = engine.query("SELECT * FROM offers")
    known = set(table.column("offer_id").to_pylist())
    strangers = [arm for arm in arms if arm not in known]
    if strangers:
        notes.append(f"not in the offers table, so never given: {', '.join(strangers)}")
    unlearned = sorted(known - set(arms))
    if unlearned:
        shown = ", ".join(unlearned[:10]) + (", …" if len(unlearned) > 10 else "")
        notes.append(f"no experiment has tried these offers, so they cannot be valued and are never given: {shown}")
    offers = read_offers(table, columns, wanted=arms)
    if not offers:
        raise InputError(
            f"none of the uplift model's arms ({', '.join(arms)}) is in the offers table: add rows to `offers` whose "
            "offer_id is the arm's name"
        )
    return offers


def _sources(meta: Mapping[str, Any]) -> Mapping[str, str]:
    return meta.get("sources") or {name: name for name in meta["outcomes"]}


def _outcomes(meta: Mapping[str, Any]) -> dict[str, Outcome]:
    found = {}
    for name in meta["outcomes"]:
        entry = OUTCOMES.get(_sources(meta)[name])
        if entry is None:
            raise InputError(f"the uplift model's outcome {name!r} is not in the outcome catalogue: train it again")
        window = int(meta.get("windows", {}).get(name, 14))
        found[str(name)] = Outcome(entry.text_zh, entry.text_en, entry.unit, window)
    return found


def _margin(engine: Engine, workspace: Workspace, as_of: datetime, source: str) -> Rate:
    """Σ (amount − cost) / Σ amount over purchases with a cost in the last year, else the workspace's margin."""
    if source == "margin":
        return Rate(1.0, "the outcome is a margin already")
    row = engine.query(
        """
        SELECT sum(amount) AS amount, sum(amount - cost) AS earned
        FROM orders
        WHERE cost IS NOT NULL AND amount >= 0 AND coalesce(status, 'paid') NOT IN ('cancelled', 'refunded')
          AND ordered_at < $as_of AND known_at < $as_of AND ordered_at >= $since
        """,
        {"as_of": as_of, "since": as_of - timedelta(days=MARGIN_DAYS)},
    ).to_pylist()[0]
    if row["amount"]:
        return Rate(row["earned"] / row["amount"], f"orders of the last {MARGIN_DAYS} days whose cost is known")
    return Rate(workspace.config.margin, "uplift.yaml, since no order carries a cost")


def _redemption(engine: Engine, offers: tuple[Offer, ...], as_of: datetime, notes: list[str]) -> tuple[Rate, ...]:
    """Redeemed / sent of each offer, drawn towards the rate of all offers by :data:`PRIOR_TOUCHES` touches."""
    rows = engine.query(
        """
        SELECT offer_id, count(*) AS sent, count(*) FILTER (WHERE redeemed_at < $as_of) AS redeemed
        FROM touches WHERE offer_id IS NOT NULL AND sent_at < $as_of AND known_at < $as_of GROUP BY offer_id
        """,
        {"as_of": as_of},
    ).to_pylist()
    sent = {row["offer_id"]: row["sent"] for row in rows}
    redeemed = {row["offer_id"]: row["redeemed"] for row in rows}
    total, all_redeemed = sum(sent.values()), sum(redeemed.values())
    if not all_redeemed:
        costly = [offer.offer_id for offer in offers if offer.cost_redeem]
        if costly:
            notes.append(
                f"no redemption is recorded in touches: {DEFAULT_REDEMPTION:.0%} of members given an offer are taken "
                f"to redeem it ({', '.join(costly)})"
            )
        return tuple(Rate(DEFAULT_REDEMPTION, "assumed: no redemption is recorded") for _ in offers)
    prior = all_redeemed / total
    return tuple(
        Rate(
            (redeemed.get(o.offer_id, 0) + PRIOR_TOUCHES * prior) / (sent.get(o.offer_id, 0) + PRIOR_TOUCHES),
            f"{redeemed.get(o.offer_id, 0):,} of {sent.get(o.offer_id, 0):,} touches",
        )
        for o in offers
    )


def _consent_recorded(engine: Engine, notes: list[str]) -> bool:
    known = int(engine.query("SELECT count(consent_marketing) AS n FROM members").column("n")[0].as_py())
    if not known:
        notes.append("no member's consent to marketing is recorded, so consent is not asked for")
    return known > 0
