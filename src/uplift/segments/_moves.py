"""Segments that move: who went from which segment to which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from uplift.data import Engine
from uplift.errors import InputError
from uplift.features import parse_as_of
from uplift.results import Rendered
from uplift.segments._assign import Segmented, assign_segments
from uplift.segments.thresholds import Thresholds

JOINED = "joined"
JOINED_NAMES = ("期间入会", "Joined since")


@dataclass(frozen=True)
class Transitions(Rendered):
    """Members by segment at two times.

    Attributes
    ----------
    before, after
        The segments at both times.
    counts
        ``(segments + 1, segments)``: row i, column j is how many went from segment i to segment j; the last row are
        those who joined in between.
    rows, columns
        Segment keys; the last row is ``joined``.
    """

    before: Segmented
    after: Segmented
    counts: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def row_names(self) -> Mapping[str, tuple[str, str]]:
        """Row key → (Chinese, English) name."""
        return {**self.before.names, JOINED: JOINED_NAMES}

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row for each pair of segments: from, to, members, share of those who were in ``from``."""
        totals = self.counts.sum(axis=1)
        return [
            {
                "from": origin,
                "to": target,
                "members": int(self.counts[i, j]),
                "share": float(self.counts[i, j] / totals[i]) if totals[i] else None,
            }
            for i, origin in enumerate(self.rows)
            for j, target in enumerate(self.columns)
        ]


def transitions(
    engine: Engine,
    as_of_from: str | date | datetime,
    as_of_to: str | date | datetime | Segmented,
    thresholds: Thresholds | None = None,
) -> Transitions:
    """How many members moved from which segment to which between two times.

    Parameters
    ----------
    as_of_to
        A time, or the segments already assigned as of it.

    Raises
    ------
    InputError
        If the first time is not before the second.
    """
    after = as_of_to if isinstance(as_of_to, Segmented) else assign_segments(engine, as_of_to, thresholds)
    if parse_as_of(as_of_from, engine.timezone) >= after.as_of:
        raise InputError(f"moves go from an earlier time to a later one; {as_of_from} is not before {after.as_of}")
    before = assign_segments(engine, as_of_from, thresholds)
    rows, columns = (*before.counts, JOINED), tuple(after.counts)
    origin = _codes(before, rows)
    where = dict(zip(before.table.column("member_id").to_pylist(), origin, strict=True))
    sources = np.array([where.get(member, len(rows) - 1) for member in after.table.column("member_id").to_pylist()])
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    if len(sources):
        np.add.at(counts, (sources, _codes(after, columns)), 1)
    return Transitions(before, after, counts, rows, columns)


def _codes(segmented: Segmented, keys: tuple[str, ...]) -> np.ndarray:
    lookup = {key: code for code, key in enumerate(keys)}
    segments: pa.ChunkedArray = segmented.table.column("segment")
    return np.array([lookup[key] for key in segments.to_pylist()], dtype=np.int64)
