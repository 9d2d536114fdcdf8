"""What lasts of an experiment: one to three months against those held out, projections, and whether effects fade."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from uplift.config import ExperimentSpec, Workspace
from uplift.data import Engine
from uplift.experiments import holm, horizon, novelty, project
from uplift.features import OUTCOMES, observed_since, outcomes, spine_of_members, to_frame
from uplift.pipelines._experiment_members import Floats, Members, codes, plain
from uplift.pipelines._experiments import CENTS, population
from uplift.policy import holdout
from uplift.segments import build_columns

MONTHS = (30, 60, 90)
WEEKS = 13
LASTING = ("orders", "spend", "margin", "top_up", "renewed", "referrals")
CURVES = ("orders", "spend")
HISTORY = 20_000
FEWEST_HISTORY = 200
HOLDOUT = "holdout"


def _measured(
    engine: Engine, spine: pa.Table, names: Sequence[str], days: Sequence[int], until: datetime | None
) -> dict[tuple[str, int], Floats]:
    """(outcome, days) → values a member in units, where the window is complete for everybody."""
    wanted = {f"{name}|{length}": (name, length) for name in names for length in days}
    table = outcomes(engine, spine.select(["member_id", "as_of"]), wanted, until=until)
    found = {}
    for column, key in wanted.items():
        values = table[column].to_numpy(zero_copy_only=False)
        if len(values) and not np.isnan(values).any():
            found[key] = values / CENTS if OUTCOMES[key[0]].unit == "money" else values
    return found


def long_term(
    engine: Engine, workspace: Workspace, spec: ExperimentSpec, members: Members, until: datetime | None
) -> dict[str, Any]:
    """Effects 1, 2 and 3 months after assignment, curves of treated and held-out members, and a projection."""
    values = _measured(engine, members.spine, LASTING, MONTHS, until)
    rows: list[dict[str, Any]] = []
    for (name, days), y in values.items():
        rows += _horizons(members, y, name, days, members.arms, spec.control)
    curves = _curves(engine, members, until, range(len(members.arms)))
    whole = _held_out(engine, workspace, spec, members)
    against: list[dict[str, Any]] = []
    if whole is not None:
        for (name, days), y in _measured(engine, whole.spine, CURVES, MONTHS, until).items():
            against += _horizons(whole, y, name, days, whole.arms, HOLDOUT)
        curves += _curves(engine, whole, until, [0])
    last = max(members.spine["as_of"].to_pylist())
    complete = {str(days): bool(until and last + timedelta(days=days) <= until) for days in MONTHS}
    ready = {str(days): (last + timedelta(days=days)).isoformat() for days in MONTHS}
    return {
        "effects": rows,
        "holdout": against,
        "curves": curves,
        "complete": complete,
        "ready": ready,
        "projection": _projection(engine, members, values, until),
    }


def _horizons(
    members: Members, y: Floats, name: str, days: int, arms: Sequence[str], against: str
) -> list[dict[str, Any]]:
    rows = []
    for place, found in enumerate(
        horizon(
            y, members.arm, len(arms), days, covariates=members.covariates, clusters=members.clusters,
            alpha=members.alpha,
        ),
        start=1,
    ):  # fmt: skip
        row: dict[str, Any] = {"outcome": name, "days": days, "arm": arms[place], "against": against}
        row.update(mean_held_out=None, mean_arm=None, effect=None, low=None, high=None, p_value=None)
        if members.enough(y, place):
            row.update(mean_held_out=found.mean_held_out, mean_arm=found.mean_arm, **plain(found.effect))
        rows.append(row)
    return rows


def _held_out(engine: Engine, workspace: Workspace, spec: ExperimentSpec, members: Members) -> Members | None:
    """Members of the same population whom no campaign may touch, as the control of all arms; None without any."""
    times = set(members.spine["as_of"].to_pylist())
    if not workspace.config.holdout or len(times) != 1:
        return None
    assigned = members.spine["member_id"].to_pylist()
    if holdout(assigned, workspace.config.holdout).any():
        return None  # the holdout was touched, so it holds nothing out
    everyone = population(engine, spec, times.pop())
    out = everyone.filter(pa.array(holdout(everyone["member_id"].to_pylist(), workspace.config.holdout)))
    held = out.select(["member_id", "as_of"])
    clusters = None
    if spec.cluster is not None:
        store = to_frame(build_columns(engine, held, [spec.cluster]), [spec.cluster])[spec.cluster]
        known = store.notna().to_numpy()  # whoever has no cluster could not have been assigned either
        held, store = held.filter(pa.array(known)), store[known]
        clusters = codes(pd.concat([store, members.frame[spec.cluster]], ignore_index=True))
    if held.num_rows < members.min_cell:
        return None
    joined = pa.concat_tables([held, members.spine.select(["member_id", "as_of"]).cast(held.schema)])
    arm = np.concatenate([np.zeros(held.num_rows, dtype=np.int64), members.arm + 1])
    arms = (HOLDOUT, *members.arms)
    return Members(joined, arms, arm, None, members.frame, members.min_cell, members.alpha, clusters)


def _curves(engine: Engine, members: Members, until: datetime | None, arms: Sequence[int]) -> list[dict[str, Any]]:
    """Cumulative means a member by week, of some arms."""
    curves = []
    weeks = [7 * week for week in range(1, WEEKS + 1)]
    for (name, days), y in _measured(engine, members.spine, CURVES, weeks, until).items():
        for place in arms:
            own = y[members.arm == place]
            shown = len(own) >= members.min_cell and (own != 0).sum() >= members.min_cell
            mean = float(own.mean()) if shown else None
            curves.append({"outcome": name, "days": days, "arm": members.arms[place], "mean": mean})
    return curves


def _projection(
    engine: Engine, members: Members, values: Mapping[tuple[str, int], Floats], until: datetime | None
) -> list[dict[str, Any]]:
    """Spend over three months from the first month, learnt on members before the experiment; labelled as what it is."""
    early = [values.get((name, MONTHS[0])) for name in CURVES]
    first = min(members.spine["as_of"].to_pylist())
    if until is None or any(values is None for values in early):
        return []
    moment = first - timedelta(days=MONTHS[-1])
    since = observed_since(engine)
    if since is None or moment < since:
        return []  # what came before the data begins would count as nothing bought
    past = spine_of_members(engine, moment)
    if past.num_rows > HISTORY:
        past = past.slice(0, HISTORY)
    before = _measured(engine, past, CURVES, (MONTHS[0], MONTHS[-1]), until) if past.num_rows else {}
    target = before.get(("spend", MONTHS[-1]))
    if target is None or len(target) < FEWEST_HISTORY or target.std() == 0:
        return []
    history = np.column_stack([before[name, MONTHS[0]] for name in CURVES])
    if not np.ptp(history, axis=0).any():
        return []
    seen = values.get(("spend", MONTHS[-1]))
    rows = []
    surrogates = np.column_stack([column for column in early if column is not None])
    for place in range(1, len(members.arms)):
        own = np.isin(members.arm, (0, place))
        if not members.enough(surrogates[:, 0], place):
            continue
        found = project(
            surrogates[own], (members.arm[own] == place).astype(np.int64), history, target,
            measured=None if seen is None else seen[own], clusters=members.clusters_of(own), alpha=members.alpha,
        )  # fmt: skip
        rows.append(
            {
                "label": found.label, "arm": members.arms[place], "outcome": "spend", "days": MONTHS[-1],
                "from_days": MONTHS[0], "surrogates": list(CURVES), **plain(found.effect),
                "explained": found.explained,
                "bias": None if found.bias is None else plain(found.bias), "exposed": found.exposed,
            }
        )  # fmt: skip
    return rows


def wearing_off(engine: Engine, members: Members, until: datetime | None) -> list[dict[str, Any]]:
    """Effects on purchases by week since assignment, and whether they fade."""
    values = _measured(engine, members.spine, ("orders",), [7 * week for week in range(1, 9)], until)
    totals = [values[key] for key in sorted(values, key=lambda key: key[1])]
    if len(totals) < 2:
        return []
    by_week = np.diff(np.column_stack([np.zeros(len(members.arm)), *totals]), axis=1)
    found = novelty(
        by_week, members.arm, len(members.arms), covariates=members.covariates, clusters=members.clusters,
        alpha=members.alpha,
    )  # fmt: skip
    adjusted = holm([one.trend.p_value for one in found])
    rows = []
    for place, (one, p) in enumerate(zip(found, adjusted, strict=True), start=1):
        shown = all(members.enough(by_week[:, week], place) for week in range(by_week.shape[1]))
        weeks = [{"week": week + 1, **plain(gap)} for week, gap in enumerate(one.effects)] if shown else []
        trend = plain(one.trend) if members.enough(by_week.sum(axis=1), place) else None
        rows.append(
            {
                "arm": members.arms[place], "outcome": "orders", "weeks": weeks, "trend": trend,
                "p_adjusted": float(p) if math.isfinite(p) and trend is not None else None,
            }
        )  # fmt: skip
    return rows
