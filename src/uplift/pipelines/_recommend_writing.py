"""Decisions as rows with their reasons and sentences, and the manifest that describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from uplift.pipelines._recommend_inputs import Inputs
from uplift.pipelines._recommend_scoring import effect_column
from uplift.policy import Decided, Eligibility, Reasoned, Speaker, decision_schema, send_times
from uplift.policy.wording import Case

Z95 = 1.959963984540054
_ROWS = 50_000


class Scores:
    """Effects, in units: shares, counts, or money (not cents).

    Parameters
    ----------
    table
        From :func:`uplift.pipelines._recommend_scoring.score_members`.
    """

    def __init__(self, table: pa.Table, inputs: Inputs) -> None:
        self.table, self.inputs = table, inputs
        self.scale = {name: 0.01 if outcome.unit == "money" else 1.0 for name, outcome in inputs.outcomes.items()}

    def effect(self, outcome: str) -> np.ndarray:
        """(n_members, n_offers) expected change of the outcome if the offer is given."""
        columns = [self.table.column(effect_column(outcome, j)).to_numpy() for j in range(len(self.inputs.offers))]
        return np.column_stack(columns) * self.scale[outcome]

    def value(self) -> np.ndarray:
        """(n_members, n_offers) money: uplift × margin − expected cost."""
        return self.effect(self.inputs.value_outcome) * self.inputs.margin.value - self.inputs.costs

    def effect_low(self, outcome: str, offer: np.ndarray, effect: np.ndarray) -> np.ndarray:
        """The lower of the member's own estimate and the lower end of the 95 % interval of their segment's average.

        A member has no interval of their own; their segment's average effect has. Where the segment was too small,
        the average over all members stands in; NaN where there is neither, or no offer.
        """
        cells = self.inputs.uplift.meta.get("effect_se", {}).get(outcome, {})
        segments = self.table.column("segment").to_numpy(zero_copy_only=False)
        low = np.full(len(offer), np.nan)
        for j, one in enumerate(self.inputs.offers):
            of_segment = cells.get(one.offer_id, {})
            for segment in np.unique(segments[offer == j].astype(str)):
                cell = of_segment.get(segment, of_segment.get("*"))
                if cell is not None:
                    mine = (offer == j) & (segments == segment)
                    low[mine] = (cell["effect"] - Z95 * cell["se"]) * self.scale[outcome]
        return np.minimum(low, effect)


def decision_batches(
    inputs: Inputs,
    scores: Scores,
    decided: Decided,
    judged: Eligibility,
    reasoned: Reasoned,
    names: Mapping[str, tuple[str, str]],
    zone: ZoneInfo,
    currency: str,
) -> Iterator[pa.RecordBatch]:
    """The rows of the decision table, in the members' order."""
    table = scores.table
    schema = decision_schema(list(inputs.outcomes))
    offer = decided.offer
    given = offer >= 0
    chosen = np.maximum(offer, 0)
    rows = np.arange(len(offer))
    value = np.where(given, scores.value()[rows, chosen], 0.0)
    cost = np.where(given, inputs.costs[chosen], 0.0)
    effects = {name: np.where(given, scores.effect(name)[rows, chosen], np.nan) for name in inputs.outcomes}
    lows = {name: scores.effect_low(name, offer, effects[name]) for name in inputs.outcomes}
    segment, risk = table.column("segment").to_pylist(), table.column("churn_risk").to_pylist()
    weekday, daypart = table.column("weekday").to_pylist(), table.column("daypart").to_pylist()
    options = judged.mask.sum(axis=1)
    labels = np.array(reasoned.labels, dtype=object)
    speaker = Speaker(list(inputs.outcomes.values()), currency)
    ids = np.array([o.offer_id for o in inputs.offers], dtype=object)

    def pick(attribute: str, i: int) -> Any:
        return getattr(inputs.offers[offer[i]], attribute) if given[i] else None

    for first in range(0, len(offer), _ROWS):
        part = range(first, min(first + _ROWS, len(offer)))
        cut = slice(part.start, part.stop)
        times = send_times(inputs.as_of, zone, weekday[cut], daypart[cut], [pick("valid_to", i) for i in part])
        why = [
            speaker.why(
                Case(
                    reason=str(reasoned.member[i]),
                    segment=names.get(segment[i], (segment[i], segment[i])),
                    churn_risk=risk[i],
                    offer=(pick("name_zh", i), pick("name_en", i)) if given[i] else None,
                    effects=[effects[name][i] for name in inputs.outcomes] if given[i] else (),
                    value=float(value[i]),
                    cost=float(cost[i]),
                    propensity=float(decided.propensity[i]),
                    options=int(options[i]),
                    obstacles=labels[reasoned.code[i]].tolist(),
                )
            )
            for i in part
        ]
        columns: dict[str, Any] = {
            "member_id": table.column("member_id").slice(part.start, len(part)),
            "offer_id": [ids[offer[i]] if given[i] else None for i in part],
            "source": decided.source[cut].tolist(),
            "propensity": decided.propensity[cut],
            "expected_value": value[cut],
            "cost": cost[cut],
            "churn_risk": risk[cut],
            "segment": segment[cut],
            "channel": [pick("channel", i) for i in part],
            "form": [pick("form", i) for i in part],
            "send_at": pa.array(np.where(given[cut], times, np.datetime64("NaT"))),
            "reasons": [[str(code)] for code in reasoned.member[cut]],
            "why_zh": [zh for zh, _ in why],
            "why_en": [en for _, en in why],
            "not_chosen": [
                [(ids[j], labels[reasoned.code[i, j]]) for j in range(len(ids)) if j != offer[i]] for i in part
            ],
        }
        for name in inputs.outcomes:
            columns[f"effect_{name}"] = pa.array(effects[name][cut], from_pandas=True)
            columns[f"effect_low_{name}"] = pa.array(lows[name][cut], from_pandas=True)
        arrays = [_array(columns[field.name], field.type) for field in schema]
        yield from pa.Table.from_arrays(arrays, schema=schema).combine_chunks().to_batches()


def _array(values: Any, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(kind)
    return pa.array(values, kind)


def describe(
    inputs: Inputs,
    decided: Decided,
    reasoned: Reasoned,
    *,
    budget: float | None,
    holdout: float,
    segments: Sequence[str],
) -> dict[str, Any]:
    """The manifest's account of the decisions: constraints, certificate, totals by source, offer and segment."""
    allocation, plan = decided.allocation, decided.exploration
    offers = [offer.offer_id for offer in inputs.offers]
    offer_names = np.array([*offers, None], dtype=object)[decided.offer]
    quotas = {o.offer_id: o.quota for o in inputs.offers if o.quota is not None}
    return {
        "value": allocation.value,
        "bound": allocation.bound,
        "gap": allocation.gap,
        "status": allocation.status,
        "prices": {
            "budget": allocation.prices.budget,
            "quotas": {name: float(allocation.prices.quotas[offers.index(name)]) for name in quotas},
        },
        "constraints": {
            "budget": budget,
            "quotas": quotas,
            "holdout": holdout,
            "explore": plan.rate,
            "explore_asked": plan.asked,
            "not_explored": [offers[j] for j in plan.left_out],
            "reserved_budget": plan.reserved_budget,
            "reserved_quotas": {name: int(n) for name, n in zip(offers, plan.reserved_quotas, strict=True) if n},
        },
        "totals": {
            "members": len(decided.offer),
            "offered": int((decided.offer >= 0).sum()),
            "expected_value": decided.value,
            "cost": decided.cost,
            "by_source": _counts(decided.source),
            "by_offer": {name: int((decided.offer == j).sum()) for j, name in enumerate(offers)},
            "by_source_and_offer": [
                {"source": str(source), "offer_id": name, "members": int(members)}
                for (source, name), members in _pairs(decided.source, offer_names).items()
            ],
            "by_segment": _counts(np.asarray(segments, dtype=object)),
            "by_reason": _counts(reasoned.member),
            "not_chosen": {
                name: {
                    reasoned.labels[code]: int(count)
                    for code, count in enumerate(np.bincount(reasoned.code[:, j], minlength=len(reasoned.labels)))
                    if count and code
                }
                for j, name in enumerate(offers)
            },
        },
        "offers": [
            {
                "offer_id": offer.offer_id,
                "name_zh": offer.name_zh,
                "name_en": offer.name_en,
                "expected_cost": float(cost),
                "redemption": rate.value,
                "redemption_source": rate.source,
            }
            for offer, rate, cost in zip(inputs.offers, inputs.redemption, inputs.costs, strict=True)
        ],
        "margin": {"rate": inputs.margin.value, "source": inputs.margin.source},
        "models": [{"name": m.name, "version": m.version, "digest": m.digest} for m in inputs.models],
        "outcomes": list(inputs.outcomes),
        "value_outcome": inputs.value_outcome,
        "notes": list(inputs.notes),
    }


def _counts(values: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _pairs(sources: np.ndarray, offers: np.ndarray) -> dict[tuple[str, str | None], int]:
    found: dict[tuple[str, str | None], int] = {}
    for source in ("policy", "explore", "none", "holdout"):
        mine = offers[sources == source]
        for name in sorted({o for o in mine if o is not None}):
            found[source, name] = int((mine == name).sum())
        nothing = sum(o is None for o in mine)
        if nothing:
            found[source, None] = nothing
    return found
