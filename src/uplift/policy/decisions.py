"""The table of decisions: its columns, and the codes that say why an offer was or was not chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from uplift.policy._problem import FloatArray
from uplift.policy.codes import (
    BEST_VALUE,
    BEST_WITHIN_LIMITS,
    BUDGET,
    EXPLORATION,
    HOLDOUT,
    LOWER_VALUE,
    NO_FEASIBLE_OFFER,
    NO_GAIN,
    QUOTA,
)
from uplift.policy.deciding import Decided
from uplift.policy.offers import Eligibility

DECISION_COLUMNS: tuple[str, ...] = (
    "member_id",
    "offer_id",
    "source",
    "propensity",
    "expected_value",
    "cost",
    "churn_risk",
    "segment",
    "channel",
    "form",
    "send_at",
    "reasons",
    "why_zh",
    "why_en",
    "not_chosen",
)
"""Columns of every decision table; ``effect_<outcome>`` and ``effect_low_<outcome>`` follow ``expected_value``."""

_TYPES = {
    "propensity": pa.float64(),
    "expected_value": pa.float64(),
    "cost": pa.float64(),
    "churn_risk": pa.float64(),
    "send_at": pa.timestamp("us", tz="UTC"),
    "reasons": pa.list_(pa.string()),
    "not_chosen": pa.map_(pa.string(), pa.string()),
}


def decision_schema(outcomes: Sequence[str]) -> pa.Schema:
    """Arrow schema of decisions about these outcomes.

    ``expected_value`` and ``cost`` are money in units, as are effects on outcomes in money; effects on rates are
    shares (0.03 is 3 points). ``offer_id`` is null for no offer, and then so are the effects, ``channel``, ``form``
    and ``send_at``.

    Examples
    --------
    >>> decision_schema(["spend"]).names[4:8]
    ['expected_value', 'effect_spend', 'effect_low_spend', 'cost']
    """
    fields = []
    for name in DECISION_COLUMNS:
        fields.append(pa.field(name, _TYPES.get(name, pa.string())))
        if name == "expected_value":
            for outcome in outcomes:
                fields += [
                    pa.field(f"effect_{outcome}", pa.float64()),
                    pa.field(f"effect_low_{outcome}", pa.float64()),
                ]
    return pa.schema(fields)


@dataclass(frozen=True)
class Reasoned:
    """Why each member got what they got, and why each other offer was not chosen.

    Attributes
    ----------
    member
        (n_members,) of text: ``holdout``, ``exploration``, ``best_value``, ``best_within_limits`` (a better one was
        out of budget or quota), ``no_feasible_offer``, ``no_gain``, ``budget`` or ``quota``.
    code
        (n_members, n_offers) index into ``labels``; 0 for the offer that was given.
    labels
        Those of :class:`Eligibility`, then ``holdout``, ``exploration``, ``no_gain`` (not expected to be worth its
        cost), ``lower_value``, ``budget``, ``quota``.
    """

    member: np.ndarray
    code: NDArray[np.int16]
    labels: tuple[str, ...]


def reason(decided: Decided, judged: Eligibility, value: FloatArray, quotas: Sequence[float | None]) -> Reasoned:
    """Reason codes for every member and every pair.

    Parameters
    ----------
    value
        (n_members, n_offers) as decided on; read for feasible pairs only.
    quotas
        As decided on.
    """
    labels = list(judged.labels)
    places = np.array([np.inf if q is None else q for q in quotas], dtype=np.float64)

    def index(label: str) -> int:
        if label not in labels:
            labels.append(label)
        return labels.index(label)

    n, m = judged.code.shape
    rows = np.arange(n)
    worth = np.where(judged.mask, value, -np.inf)
    given = decided.offer
    got = np.where(given >= 0, worth[rows, np.maximum(given, 0)], 0.0) if m else np.zeros(n)
    choice_counts = np.bincount(decided.choice[decided.choice >= 0], minlength=m)
    full = choice_counts + decided.exploration.reserved_quotas >= places
    code = judged.code.copy()
    for j in range(m):
        column, open_pair = code[:, j], judged.mask[:, j]
        better = open_pair & (worth[:, j] > np.maximum(got, 0.0))
        column[open_pair] = index(LOWER_VALUE)
        column[better] = index(QUOTA if full[j] else BUDGET)
        column[open_pair & (worth[:, j] <= 0)] = index(NO_GAIN)
        column[open_pair & (decided.source == "explore")] = index(EXPLORATION)
        column[decided.source == "holdout"] = index(HOLDOUT)
        column[given == j] = 0
    member = np.full(n, BEST_VALUE, dtype=object)
    limited = np.isin(code, [index(BUDGET), index(QUOTA)]) & judged.mask
    by_quota = (code == index(QUOTA)) & judged.mask
    member[limited.any(axis=1)] = BEST_WITHIN_LIMITS
    nothing = decided.source == "none"
    member[nothing] = NO_GAIN
    member[nothing & limited.any(axis=1)] = BUDGET
    member[nothing & by_quota.any(axis=1) & (by_quota.sum(axis=1) == limited.sum(axis=1))] = QUOTA
    member[nothing & ~judged.mask.any(axis=1)] = NO_FEASIBLE_OFFER
    member[decided.source == "explore"] = EXPLORATION
    member[decided.source == "holdout"] = HOLDOUT
    return Reasoned(member, code, tuple(labels))
