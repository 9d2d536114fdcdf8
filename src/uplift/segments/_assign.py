"""Value × lifecycle segments: every member in exactly one, for any as-of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from uplift.data import Engine, as_arrow
from uplift.errors import InputError
from uplift.features import build, parse_as_of, spine_of_members
from uplift.results import Rendered
from uplift.rules import evaluate_rules
from uplift.segments.thresholds import Compiled, Thresholds, default_thresholds, thresholds_of

Table: TypeAlias = "pa.Table | pd.DataFrame"

MAX_DAYS = 40
MIN_MEMBERS = 50
_INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Segmented(Rendered):
    """The segment of every member as of a time.

    Attributes
    ----------
    as_of
        The time (UTC).
    table
        ``member_id``, ``segment``, ``value`` (money, units), one row a member, ordered by id.
    counts
        Segment key → members, in order of priority, zeros included.
    names
        Segment key → (Chinese, English) name.
    value_cut
        The value from which a member belongs to the top (units); infinite where nobody has any value.
    """

    as_of: datetime
    table: pa.Table
    counts: Mapping[str, int]
    names: Mapping[str, tuple[str, str]]
    value_cut: float

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a segment: key, names, members, share."""
        total = sum(self.counts.values())
        return [
            {
                "segment": key,
                "name_zh": self.names[key][0],
                "name_en": self.names[key][1],
                "members": count,
                "share": count / total if total else None,
            }
            for key, count in self.counts.items()
        ]


def assign_segments(engine: Engine, as_of: str | date | datetime, thresholds: Thresholds | None = None) -> Segmented:
    """The segment of every member registered before ``as_of``.

    Parameters
    ----------
    thresholds
        None: those of the engine's workspace (its ``segments.yaml``), else the packaged ones.

    Raises
    ------
    InputError
        If the date or the thresholds are wrong.
    """
    chosen = thresholds_of(engine, thresholds)
    compiled = Compiled(chosen)
    moment = parse_as_of(as_of, engine.timezone)
    built = build(engine, spine_of_members(engine, moment), compiled.features)
    day = _day_start(moment, ZoneInfo(engine.timezone))
    cut = _cut(_values(built, compiled), chosen) if day == moment else value_cuts(engine, [moment], chosen)[moment]
    keys, values = _judge(built, chosen, compiled, np.full(built.num_rows, cut))
    table = pa.table({"member_id": built.column("member_id"), "segment": keys, "value": values})
    return Segmented(moment, table, _counts(keys, chosen), chosen.names, cut)


def segment_of(
    features: Table,
    thresholds: Thresholds | None = None,
    *,
    engine: Engine | None = None,
    cuts: Mapping[datetime, float] | None = None,
) -> pa.Array:
    """The segment of every row of a built feature table, whatever its spine.

    Parameters
    ----------
    features
        Holds ``as_of`` and :func:`segment_features`.
    engine
        Where the value cut of each row's day comes from (:func:`value_cuts`), judged over all members of that day.
    cuts
        As-of time → value cut, instead of ``engine``. Without either the rows of the table that share an as-of time
        are taken for all members of that time, which needs at least :data:`MIN_MEMBERS` of them.

    Returns
    -------
    pyarrow.StringArray
        Segment keys, one a row, never null.

    Raises
    ------
    InputError
        If a column is absent, or there are too few rows at a time to find the value cut from.
    """
    table = as_arrow(features)
    chosen = (default_thresholds() if engine is None else thresholds_of(engine)) if thresholds is None else thresholds
    compiled = Compiled(chosen)
    absent = [name for name in ("as_of", *compiled.features) if name not in table.column_names]
    if absent:
        raise InputError(f"segments need the columns {absent}; build them first (segment_features names them)")
    instants, which = np.unique(table.column("as_of").cast(_INSTANT).cast(pa.int64()).to_numpy(), return_inverse=True)
    moments = pa.array(instants).cast(_INSTANT).to_pylist()
    if cuts is None:
        if engine is None:
            return _judge(table, chosen, compiled, _own_cuts(_values(table, compiled), which, chosen)[which])[0]
        cuts = value_cuts(engine, moments, chosen)
    unknown = [moment for moment in moments if moment not in cuts]
    if unknown:
        raise InputError(f"no value cut is given for the as-of time {unknown[0]}")
    return _judge(table, chosen, compiled, np.array([cuts[moment] for moment in moments], dtype=np.float64)[which])[0]


def segment_features(thresholds: Thresholds | None = None) -> tuple[str, ...]:
    """The features that segments are made of."""
    return Compiled(thresholds or default_thresholds()).features


def value_cuts(
    engine: Engine, moments: Iterable[datetime], thresholds: Thresholds | None = None
) -> dict[datetime, float]:
    """As-of time → the value that the top share of members reaches.

    The bar is set at the start of the local day of each time, over all members registered by then, so that it never
    sees what comes later; where the times fall on more than :data:`MAX_DAYS` days, at the start of the month.
    """
    chosen = thresholds_of(engine, thresholds)
    compiled = Compiled(chosen)
    zone = ZoneInfo(engine.timezone)
    wanted = sorted(set(moments))
    starts = {moment: _day_start(moment, zone) for moment in wanted}
    if len(set(starts.values())) > MAX_DAYS:
        starts = {moment: _day_start(moment, zone, first_of_month=True) for moment in wanted}
    names = [name for name in compiled.features if name in compiled.value.columns]
    bars = {}
    for start in sorted(set(starts.values())):
        built = build(engine, spine_of_members(engine, start), names)
        bars[start] = _cut(_values(built, compiled), chosen)
    return {moment: bars[start] for moment, start in starts.items()}


def _day_start(moment: datetime, zone: ZoneInfo, *, first_of_month: bool = False) -> datetime:
    day = moment.astimezone(zone).date()
    return datetime.combine(day.replace(day=1) if first_of_month else day, time(), zone).astimezone(UTC)


def _values(table: pa.Table, compiled: Compiled) -> np.ndarray:
    """What every row is worth; NaN where unknown."""
    values: np.ndarray = evaluate_rules({"value": compiled.value}, table)["value"].to_numpy(np.float64, na_value=np.nan)
    return values


def _cut(values: np.ndarray, thresholds: Thresholds) -> float:
    positive = np.sort(values[values > 0])[::-1]
    top = math.ceil(thresholds.value.top_share * len(positive))
    return float(positive[top - 1]) if top else math.inf


def _own_cuts(values: np.ndarray, which: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """The cut of each as-of time, from the rows that stand at it (``which``: the number of each row's time)."""
    sizes = np.bincount(which)
    if len(sizes) > 1 and int(sizes.min()) < MIN_MEMBERS:
        raise InputError(
            f"the rows stand at {len(sizes):,} times, some with fewer than {MIN_MEMBERS} members, too few to say who "
            "is in the top by value; pass engine=, so that all members of the day are asked"
        )
    return np.array([_cut(values[which == number], thresholds) for number in range(len(sizes))])


def _judge(
    table: pa.Table, thresholds: Thresholds, compiled: Compiled, cuts: np.ndarray
) -> tuple[pa.Array, np.ndarray]:
    """Segment keys (the first rule that is true decides) and values."""
    values = _values(table, compiled)
    known = table.select(list(compiled.features))
    known = known.append_column("value", pa.array(values, from_pandas=True))
    known = known.append_column("value_cut", pa.array(cuts))
    answers = evaluate_rules(compiled.rules, known)
    keys = np.full(table.num_rows, compiled.otherwise, dtype=object)
    for key in reversed(list(compiled.rules)):
        keys[answers[key].to_numpy(bool, na_value=False)] = key
    return pa.array(keys, pa.string()), values


def _counts(keys: pa.Array, thresholds: Thresholds) -> dict[str, int]:
    found = {row["values"]: row["counts"] for row in pc.value_counts(keys).to_pylist()}
    return {segment.key: int(found.get(segment.key, 0)) for segment in thresholds.segments}
