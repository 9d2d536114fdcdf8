"""Small groups across the tables of one experiment's report: which numbers must go, and leaving them out."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.experiments._inputs import segment_column
from uplift.experiments._together import Group, withheld
from uplift.pipelines._experiment_members import Members
from uplift.pipelines._experiment_reached import Touched, segment_text

Bools = NDArray[np.bool_]
SHARES = ("rate", "retention")
HIDDEN = {"members": None, "share": None, "low": None, "high": None}


def close(
    result: dict[str, Any],
    members: Members,
    table: pd.DataFrame,
    touched: Touched,
    tags: Sequence[Group],
    others: Sequence[Group],
) -> None:
    """Leave out of a result what would give a small group away once its tables are put together.

    Effects stay as they are: they are closed among themselves. Of all else the dearest stays longest: the funnel of an
    arm, who was reached, who took part by segment, tags, the funnel by channel, other experiments.

    Parameters
    ----------
    table
        Metrics and segment columns, one row a member.
    tags, others
        Groups of tags and of other experiments.
    """
    whole, parts = _funnel(result["funnel"], members, touched)
    groups = (
        *_effects(result, members, table), *whole, *_exposure(result, members, table, touched),
        *_participation(result["participation"], members, touched), *tags, *parts, *others,
    )  # fmt: skip
    leave_out(result, withheld(groups, members.min_cell))


def _effects(result: Mapping[str, Any], members: Members, table: pd.DataFrame) -> Iterator[Group]:
    """Members and buyers behind every effect, by arm and segment; they must stay, or are hidden already."""
    kinds = {metric["name"]: metric["kind"] for metric in result["metrics"]}
    cuts = {
        name: segment_column(table[name], name, [], [])
        for name in dict.fromkeys(row["segment_column"] for row in result["effects"] if row["segment_column"])
    }
    found: dict[tuple[Any, ...], tuple[Bools, bool]] = {}
    for row in result["effects"]:
        name, column = row["metric"], row["segment_column"]
        if name not in table:
            continue
        y = table[name].to_numpy(dtype=np.float64)
        known = ~np.isnan(y)
        place = np.ones(len(y), dtype=bool)
        if column:
            place = cuts[column].codes == cuts[column].values.index(row["segment"])
        stated = row["n_arm"] is not None
        for a in (0, members.arms.index(row["arm"])):
            own = (members.arm == a) & place & known
            for key, inside, shown in (
                ((a, column, row["segment"], None if known.all() else name), own, stated),
                ((a, column, row["segment"], name, "buyers"), own & (y != 0), stated and kinds[name] in SHARES),
            ):
                if shown or 0 < inside.sum() < members.min_cell:
                    found[key] = inside, shown or (key in found and found[key][1])
    for a in range(len(members.arms)):
        yield Group(members.arm == a)
    yield from (Group(inside, shown) for inside, shown in found.values())


def _funnel(rows: Iterable[Mapping[str, Any]], members: Members, touched: Touched) -> tuple[list[Group], list[Group]]:
    """Groups of whole arms, and those by channel and content form."""
    whole: list[Group] = []
    parts: list[Group] = []
    stated = {
        (row["arm"], row["channel"], row["form"], one["stage"]): one["members"] is not None
        for row in rows for one in row["stages"]
    }  # fmt: skip
    cells = touched.cells(members)
    for key, inside in cells.items():
        arm, channel, form, stage = key
        unit = ("funnel", arm, stage) if channel is None and form is None else ("parts", arm, stage)
        sent = cells[arm, channel, form, "sent"]
        group = Group(inside, stated.get(key, False), unit)
        (whole if unit[0] == "funnel" else parts).extend([group, Group(sent & ~inside, shown=False, unit=unit)])
    return whole, parts


def _exposure(result: Mapping[str, Any], members: Members, table: pd.DataFrame, touched: Touched) -> Iterator[Group]:
    told = {(row["arm"], row["metric"]): row["exposed"] is not None for row in result.get("exposed", ())}
    for a, arm in enumerate(members.arms):
        own, unit = members.arm == a, ("exposure", arm)
        counts = result["checks"]["exposure"].get(arm, {})
        yield Group(own & touched.anyhow, counts.get("sent") is not None, unit)
        yield Group(own & ~touched.anyhow, counts.get("not_sent") is not None, unit)
        yield Group(own & ~touched.reached, counts.get("not_sent") is not None, unit)
        for metric in dict.fromkeys(metric for _, metric in told):
            known = table[metric].notna().to_numpy() if metric in table else np.ones(len(own), dtype=bool)
            yield Group(own & touched.reached & known, told.get((arm, metric), False), unit)


def _participation(rows: Sequence[Mapping[str, Any]], members: Members, touched: Touched) -> Iterator[Group]:
    """By segment column: small segments by themselves, joined ones as they are stated, and the totals behind shares."""
    how = rows[0]["participation"] if rows else "redeemed"
    took = touched.ever(how)
    for column in dict.fromkeys(row["segment_column"] for row in rows):
        unit = ("participation", column)
        text = segment_text(members.frame[column])
        named = [row["segment"] for row in rows if row["segment_column"] == column]
        joined = ~np.isin(text, named)
        for inside, shown in (
            *((text == value, value in named) for value in dict.fromkeys(text.tolist())),
            (joined, bool(joined.any())), (np.ones(len(text), dtype=bool), True),
        ):  # fmt: skip
            yield Group(inside & touched.anyhow, shown, unit)
            yield Group(inside & took, shown, unit)
            yield Group(inside & touched.anyhow & ~took, shown, unit)


def leave_out(result: dict[str, Any], units: Collection[Hashable]) -> None:
    """Take units out of a result: a stage of an arm's funnel, an arm's exposure, a column of who took part, …"""
    for row in result["funnel"]:
        kind = "funnel" if row["channel"] is None and row["form"] is None else "parts"
        base = (kind, row["arm"], "sent") in units
        for one in row["stages"]:
            if (kind, row["arm"], one["stage"]) in units:
                one.update(HIDDEN)
            elif base:  # a share would tell what it is a share of
                one.update(share=None, low=None, high=None)
    bare = {row["arm"] for row in result["funnel"] if all(one["members"] is None for one in row["stages"])}
    result["funnel"] = [
        row for row in result["funnel"]
        if not (row["arm"] in bare and all(one["members"] is None for one in row["stages"]))
    ]  # fmt: skip
    for arm, counts in result["checks"]["exposure"].items():
        if ("exposure", arm) in units:
            counts.update(sent=None, not_sent=None)
    for row in result.get("exposed", ()):
        if ("exposure", row["arm"]) in units:
            row.update(exposed=None, effect=None, low=None, high=None, p_value=None)
    result["participation"] = [
        row for row in result["participation"] if ("participation", row["segment_column"]) not in units
    ]
    for row in result["tags"]:
        if ("tag", row["tag"], row["arm"]) in units:
            row.update({key: None for key in row if key not in ("tag", "zh", "en", "arm")})
    for row in result["overlap"]:
        if ("table", row["experiment"]) in units:
            row["table"] = None
        if ("shared", row["experiment"]) in units:
            row.update(members=None, share=None, table=None)
