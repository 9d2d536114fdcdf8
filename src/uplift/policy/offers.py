"""The offer catalogue: which offers a member may receive, and for every pair that may not be, why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from uplift.errors import InputError, RuleError
from uplift.policy._problem import BoolArray, FloatArray
from uplift.policy.codes import (
    COOLDOWN,
    ELIGIBLE,
    FORBIDDEN,
    NO_CONSENT,
    NOT_ELIGIBLE,
    NOT_VALID_NOW,
    QUOTA,
    UNKNOWN,
)
from uplift.results import Rendered
from uplift.rules import Rule, compile_rule, evaluate_rules

Table: TypeAlias = "pa.Table | pd.DataFrame"

CONSENT_FIELD = "consent_marketing"


@dataclass(frozen=True)
class Offer:
    """One offer of the catalogue.

    Attributes
    ----------
    offer_id, name_zh, name_en, kind, channel, form
        Text; a name that is not given is the other language's, or the id.
    valid_from, valid_to
        Instants, both included; None: open.
    eligible, forbidden
        Compiled rules; None: everybody may, nothing forbids.
    cost_contact, cost_redeem
        Money (units): for every member who gets the offer, and for every one who redeems it.
    quota
        Most members who may get it in one run; None: no limit.
    cooldown_days
        It is not given within so many days after the member's last purchase, nor after the last touch with the same
        offer; 0: no such wait.
    """

    offer_id: str
    name_zh: str
    name_en: str
    kind: str | None
    channel: str | None
    form: str | None
    valid_from: datetime | None
    valid_to: datetime | None
    eligible: Rule | None
    forbidden: Rule | None
    cost_contact: float
    cost_redeem: float
    quota: int | None
    cooldown_days: float

    @property
    def columns(self) -> frozenset[str]:
        """Features that the rules read."""
        return frozenset().union(*(rule.columns for rule in (self.eligible, self.forbidden) if rule is not None))


def read_offers(table: Table, columns: Mapping[str, str], wanted: Iterable[str] | None = None) -> tuple[Offer, ...]:
    """The ``offers`` table with its rules compiled, in order of offer id.

    Parameters
    ----------
    table
        Rows of the contract's ``offers``; money in cents.
    columns
        Feature → type family, from ``uplift.features.feature_columns``.
    wanted
        Only these ids; None: all.

    Raises
    ------
    RuleError
        Listing every rule that does not compile, by offer.
    """
    rows = table.to_pylist() if isinstance(table, pa.Table) else table.to_dict("records")
    chosen = None if wanted is None else set(wanted)
    offers, problems = [], []
    for row in sorted(rows, key=lambda r: str(r["offer_id"])):
        if chosen is not None and row["offer_id"] not in chosen:
            continue
        rules: dict[str, Rule | None] = {}
        for name in ("eligible", "forbidden"):
            text = _or_none(row.get(name))
            rules[name] = None
            if text is None or not str(text).strip():
                continue
            try:
                rules[name] = compile_rule(str(text), columns)
            except RuleError as error:
                problems.append(f"  offers.{name} of {row['offer_id']!r}: {error}")
        offers.append(_offer(row, rules["eligible"], rules["forbidden"]))
    if problems:
        raise RuleError(f"{len(problems)} rule(s) of offers cannot be used:\n" + "\n".join(problems))
    return tuple(offers)


def _offer(row: Mapping[str, Any], eligible: Rule | None, forbidden: Rule | None) -> Offer:
    known = {name: _or_none(value) for name, value in row.items()}
    offer_id = str(known["offer_id"])
    zh, en = known.get("name_zh"), known.get("name_en")
    quota = known.get("quota")
    return Offer(
        offer_id=offer_id,
        name_zh=str(zh or en or offer_id),
        name_en=str(en or zh or offer_id),
        kind=known.get("kind"),
        channel=known.get("channel"),
        form=known.get("form"),
        valid_from=known.get("valid_from"),
        valid_to=known.get("valid_to"),
        eligible=eligible,
        forbidden=forbidden,
        cost_contact=(known.get("cost_contact") or 0) / 100,
        cost_redeem=(known.get("cost_redeem") or 0) / 100,
        quota=None if quota is None else int(quota),
        cooldown_days=float(known.get("cooldown_days") or 0),
    )


def _or_none(value: Any) -> Any:
    return None if value is None or value is pd.NaT or value is pd.NA or value != value else value


@dataclass(frozen=True, repr=False)
class Eligibility(Rendered):
    """Which pairs are possible.

    Attributes
    ----------
    mask
        (n_members, n_offers) True where the offer may be given.
    code
        (n_members, n_offers) index into ``labels`` of the reason why not; 0 where it may.
    labels
        ``""`` first, then ``not_valid_now``, ``no_consent``, ``forbidden``, ``not_eligible``, ``cooldown``, ``quota``
        and ``unknown:FIELD[,FIELD…]``.
    """

    mask: BoolArray
    code: NDArray[np.int16]
    labels: tuple[str, ...]

    def reasons(self) -> np.ndarray:
        """(n_members, n_offers) of text: why not, ``""`` where it may be given."""
        return np.array(self.labels, dtype=object)[self.code]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row an offer and reason, with members."""
        rows = []
        for j in range(self.code.shape[1]):
            counts = np.bincount(self.code[:, j], minlength=len(self.labels))
            rows += [
                {"offer": j, "reason": label or "eligible", "members": int(count)}
                for label, count in zip(self.labels, counts, strict=True)
                if count
            ]
        return rows


def eligibility(
    offers: Sequence[Offer],
    features: Table,
    *,
    as_of: datetime,
    consent: ArrayLike | None = None,
    days_since_purchase: ArrayLike | None = None,
    days_since_touch: ArrayLike | None = None,
) -> Eligibility:
    """Judge every pair of member and offer.

    Parameters
    ----------
    offers
        From :func:`read_offers`.
    features
        One row a member, with every column that the rules read.
    as_of
        With a zone; an offer must be valid then.
    consent
        (n_members,) 1 for consent to marketing, 0 for none, NaN for unknown; None: the business records no consent,
        and nobody is left out for want of it.
    days_since_purchase
        (n_members,) NaN: never bought.
    days_since_touch
        (n_members, n_offers) since the last touch with the same offer, NaN: never.

    Notes
    -----
    The first reason that applies is given, in the order of :class:`Eligibility`'s labels with unknown fields before
    the cool-down. Unknown is never a yes: a member for whom ``eligible`` cannot be judged is not eligible, and a
    contraindication that cannot be ruled out (``forbidden`` unknown) forbids; the reason names the missing fields.
    """
    n, m = _rows(features), len(offers)
    code = np.zeros((n, m), dtype=np.int16)
    labels = {ELIGIBLE: 0}
    answers = evaluate_rules(_rules(offers), features)
    willing = _vector(consent, n, "consent")
    bought = _vector(days_since_purchase, n, "days_since_purchase")
    touched = np.full((n, m), np.nan) if days_since_touch is None else np.asarray(days_since_touch, dtype=np.float64)
    if touched.shape != (n, m):
        raise InputError(f"days_since_touch: expected ({n}, {m}), found {touched.shape}")
    for j, offer in enumerate(offers):
        column = code[:, j]

        def deny(where: ArrayLike, label: str, column: NDArray[np.int16] = column) -> None:
            hit = np.asarray(where, dtype=np.bool_) & (column == 0)
            if hit.any():
                column[hit] = labels.setdefault(label, len(labels))

        expired = offer.valid_to is not None and as_of > offer.valid_to
        deny(np.full(n, expired or (offer.valid_from is not None and as_of < offer.valid_from)), NOT_VALID_NOW)
        if consent is not None:
            deny(willing == 0, NO_CONSENT)
        for name, rule, bad, label in (
            (f"{j}.forbidden", offer.forbidden, True, FORBIDDEN),
            (f"{j}.eligible", offer.eligible, False, NOT_ELIGIBLE),
        ):
            if rule is not None:
                deny((answers[name] == bad).fillna(False), label)
        if consent is not None:
            deny(np.isnan(willing), UNKNOWN + CONSENT_FIELD)
        for name, rule in ((f"{j}.forbidden", offer.forbidden), (f"{j}.eligible", offer.eligible)):
            if rule is not None:
                unknown = answers[name].isna().to_numpy() & (column == 0)
                if unknown.any():
                    missing = rule.missing(features).to_numpy()
                    for fields in np.unique(missing[unknown].astype(str)):
                        deny(unknown & (missing == fields), UNKNOWN + fields)
        wait = offer.cooldown_days
        deny((bought < wait) | (touched[:, j] < wait), COOLDOWN)
        if offer.quota is not None and offer.quota < 1:
            deny(np.ones(n, dtype=np.bool_), QUOTA)
    return Eligibility(code == 0, code, tuple(labels))


def _rules(offers: Sequence[Offer]) -> dict[str, Rule]:
    named = {}
    for j, offer in enumerate(offers):
        if offer.eligible is not None:
            named[f"{j}.eligible"] = offer.eligible
        if offer.forbidden is not None:
            named[f"{j}.forbidden"] = offer.forbidden
    return named


def _rows(features: Table) -> int:
    return features.num_rows if isinstance(features, pa.Table) else len(features)


def _vector(values: ArrayLike | None, n: int, name: str) -> FloatArray:
    vector = np.full(n, np.nan) if values is None else np.asarray(values, dtype=np.float64)
    if vector.shape != (n,):
        raise InputError(f"{name}: expected one entry a member ({n},), found {vector.shape}")
    return vector
