"""The RFM model: scores with stated edges, named groups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uplift.data import Engine
from uplift.features import build, parse_as_of, spine_of_members
from uplift.results import Rendered
from uplift.segments.thresholds import Thresholds, thresholds_of

GROUP_NAMES: Mapping[str, tuple[str, str]] = {
    "111": ("重要价值客户", "Key, valuable"),
    "101": ("重要发展客户", "Key, to develop"),
    "011": ("重要保持客户", "Key, to keep"),
    "001": ("重要挽留客户", "Key, to win back"),
    "110": ("一般价值客户", "Regular, valuable"),
    "100": ("一般发展客户", "Regular, to develop"),
    "010": ("一般保持客户", "Regular, to keep"),
    "000": ("一般挽留客户", "Regular, to win back"),
}
"""High (1) or not (0) in recency, frequency and money, in this order → (Chinese, English) name."""


@dataclass(frozen=True)
class RFM(Rendered):
    """RFM scores of every member who ever bought.

    Attributes
    ----------
    as_of
        The time (UTC).
    table
        ``member_id``, ``recency``, ``frequency``, ``monetary`` (1 to ``scores``; the best recency is the shortest) and
        ``group`` (a key of :data:`GROUP_NAMES`).
    edges
        ``recency``, ``frequency``, ``monetary`` → ascending edges. A score is 1 plus the number of edges below the
        member's value; for recency the best score minus that number.
    groups
        One row a group: key, names, members, share, spend (units), spend_share.
    not_scored
        Members who never bought.
    """

    as_of: datetime
    table: pa.Table
    edges: Mapping[str, tuple[float, ...]]
    groups: tuple[Mapping[str, Any], ...]
    not_scored: int

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a group."""
        return [dict(group) for group in self.groups]


def rfm(engine: Engine, as_of: str | date | datetime, thresholds: Thresholds | None = None) -> RFM:
    """RFM scores and groups as of a time.

    Each measure is cut at edges: those of the thresholds, else quantiles of the members who ever bought. A score of
    at least ``thresholds.rfm.high`` is high, and the three together name one of eight groups.
    """
    spec = thresholds_of(engine, thresholds).rfm
    moment = parse_as_of(as_of, engine.timezone)
    names = list(dict.fromkeys([spec.recency, spec.frequency, spec.monetary, "orders_total"]))
    built = build(engine, spine_of_members(engine, moment), names)
    bought = built.filter(pc.greater(built.column("orders_total"), 0))
    measures = {"recency": spec.recency, "frequency": spec.frequency, "monetary": spec.monetary}
    edges: dict[str, tuple[float, ...]] = {}
    scores: dict[str, np.ndarray] = {}
    for measure, feature in measures.items():
        values = bought.column(feature).to_numpy()
        given = getattr(spec, f"{measure}_edges")
        edges[measure] = _quantiles(values, spec.scores) if given is None else tuple(given)
        rank = 1 + np.searchsorted(np.array(edges[measure]), values, side="left")
        scores[measure] = spec.scores + 1 - rank if measure == "recency" else rank
    high = np.stack([scores[measure] >= spec.high for measure in measures], axis=1)
    group = np.array(["".join("1" if flag else "0" for flag in row) for row in high], dtype=object)
    table = pa.table(
        {"member_id": bought.column("member_id")}
        | {measure: pa.array(score, pa.int64()) for measure, score in scores.items()}
        | {"group": pa.array(group, pa.string())}
    )
    groups = _groups(group, bought.column(spec.monetary).to_numpy())
    return RFM(moment, table, edges, groups, built.num_rows - bought.num_rows)


def _quantiles(values: np.ndarray, scores: int) -> tuple[float, ...]:
    if not len(values):
        return (math.nan,) * (scores - 1)
    shares = np.arange(1, scores) / scores
    return tuple(float(edge) for edge in np.quantile(values, shares, method="inverted_cdf"))


def _groups(group: np.ndarray, spend: np.ndarray) -> tuple[Mapping[str, Any], ...]:
    total = float(spend.sum())
    rows = []
    for key, (zh, en) in GROUP_NAMES.items():
        mine = group == key
        rows.append(
            {
                "group": key,
                "name_zh": zh,
                "name_en": en,
                "members": int(mine.sum()),
                "share": float(mine.mean()) if len(mine) else None,
                "spend": float(spend[mine].sum()),
                "spend_share": float(spend[mine].sum() / total) if total else None,
            }
        )
    return tuple(rows)
