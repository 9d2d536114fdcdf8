"""What a report says beside effects: what lasts, novelty, other experiments, tags, funnel, who took part."""

from __future__ import annotations

import itertools
import math
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from uplift.config import ExperimentSpec, Workspace
from uplift.data import Engine, as_arrow
from uplift.errors import ConfigError
from uplift.experiments import holm, meeting, tag_effects
from uplift.experiments._together import Group
from uplift.features import observed_until, to_frame
from uplift.pipelines._experiment_lasting import long_term, wearing_off
from uplift.pipelines._experiment_members import Floats, Members, codes, number, plain
from uplift.pipelines._experiment_reached import funnel, participation
from uplift.pipelines._experiments import experiment_spec
from uplift.rules import compile_rule
from uplift.segments import build_columns, rule_columns


def sections(
    engine: Engine, workspace: Workspace, spec: ExperimentSpec, members: Members, primary: Floats | None
) -> tuple[dict[str, Any], tuple[list[Group], list[Group]]]:
    """Further sections of ``result.json``, and the groups of members behind tags and other experiments.

    Parameters
    ----------
    primary : ndarray of shape (n_members,), optional
        The primary metric; None where it has no single value a member.
    """
    until = observed_until(engine)
    overlap, met = _overlap(engine, workspace, spec, members, primary)
    tags, tagged = _tags(engine, spec, members, primary)
    return {
        "long_term": long_term(engine, workspace, spec, members, until),
        "novelty": wearing_off(engine, members, until),
        "overlap": overlap,
        "tags": tags,
        "funnel": funnel(engine, spec, members),
        "participation": participation(engine, spec, members),
    }, (tagged, met)


def _overlap(
    engine: Engine, workspace: Workspace, spec: ExperimentSpec, members: Members, primary: Floats | None
) -> tuple[list[dict[str, Any]], list[Group]]:
    """Other experiments that assigned the same members while this one ran."""
    met = _met(engine, workspace, spec, members)
    place = pd.Series(np.arange(len(members.arm)), index=members.spine["member_id"].to_pandas())
    rows, groups = [], []
    for other, shared in met.groupby("experiment_id", sort=True):
        if len(shared) < members.min_cell:
            continue
        own = place[shared["member_id"]].to_numpy()
        names = sorted(shared["arm"].unique(), key=lambda name: (name != "control", name))
        arm = shared["arm"].map({name: i for i, name in enumerate(names)}).to_numpy(dtype=np.int64)
        whole = _defined(workspace, str(other))
        y = np.full(len(members.arm), np.nan) if primary is None else primary
        known = ~np.isnan(y[own])
        found = meeting(
            y[own][known], members.arm[own][known], arm[known], len(members.arms), len(names),
            clusters=members.clusters_of(own[known]), other_clusters=_other_clusters(engine, whole, shared, known),
        )  # fmt: skip
        either = members.clusters is None or (whole is not None and whole.cluster is None)
        independent = found.p_independent if either else math.nan
        table = [[int(n) if n == 0 or n >= members.min_cell else None for n in row] for row in found.table.tolist()]
        small = any(n is None for row in table for n in row)
        groups.append(Group(np.isin(np.arange(len(members.arm)), own), unit=("shared", str(other))))
        for a, b in itertools.product(range(len(members.arms)), range(len(names))):
            cell = own[known][(members.arm[own[known]] == a) & (arm[known] == b)]
            groups.append(Group(np.isin(np.arange(len(members.arm)), cell), not small, ("table", str(other))))
        rows.append(
            {
                "experiment": str(other), "members": len(shared), "share": len(shared) / len(members.arm),
                "arms": list(members.arms), "other_arms": names, "table": None if small else table,
                "p_independent": number(independent), "p_interaction": number(found.p_interaction),
            }
        )  # fmt: skip
    for row, p in zip(rows, holm([_nan(row["p_interaction"]) for row in rows]), strict=True):
        row["p_adjusted"] = number(float(p))
    return rows, groups


def _met(engine: Engine, workspace: Workspace, spec: ExperimentSpec, members: Members) -> pd.DataFrame:
    """Assignments of the same members by other experiments within the longest window: in the table, else in files."""
    longest = timedelta(days=max(metric.window_days for metric in spec.metrics))
    own = members.spine.select(["member_id", "as_of"]).to_pandas()
    engine.register("_spine", members.spine.select(["member_id"]))
    found = [
        engine.query(
            "SELECT a.experiment_id, a.member_id, a.arm, a.assigned_at FROM assignments a "
            "JOIN _spine s USING (member_id) WHERE a.experiment_id <> $id",
            {"id": spec.id},
        ).to_pandas()
    ]
    engine.unregister("_spine")
    told = {spec.id, *found[0]["experiment_id"]}
    for path in sorted((workspace.experiments / "assigned").glob("*.parquet")):
        rows = pq.read_table(path, columns=list(found[0].columns)).to_pandas()
        found.append(rows[~rows["experiment_id"].isin(told)])
    every = pd.concat([rows for rows in found if len(rows)] or found[:1], ignore_index=True)
    every = every.merge(own, on="member_id")
    apart = pd.to_datetime(every["assigned_at"], utc=True) - pd.to_datetime(every["as_of"], utc=True)
    return every[apart.abs() <= longest].sort_values(["experiment_id", "member_id"]).reset_index(drop=True)


def _defined(workspace: Workspace, experiment_id: str) -> ExperimentSpec | None:
    """Another experiment's definition; None where it has none."""
    try:
        return experiment_spec(workspace, experiment_id)
    except ConfigError:
        return None


def _other_clusters(
    engine: Engine, spec: ExperimentSpec | None, shared: pd.DataFrame, known: NDArray[np.bool_]
) -> NDArray[np.int64] | None:
    """Clusters that another experiment assigned as a whole, as of its assignment; None where it assigned members."""
    if spec is None or spec.cluster is None:
        return None
    spine = as_arrow(
        pd.DataFrame({"member_id": shared["member_id"], "as_of": pd.to_datetime(shared["assigned_at"], utc=True)})
    )
    store = to_frame(build_columns(engine, spine, [spec.cluster]), [spec.cluster])[spec.cluster]
    return np.unique(codes(store)[known], return_inverse=True)[1].astype(np.int64)


def _tags(
    engine: Engine, spec: ExperimentSpec, members: Members, primary: Floats | None
) -> tuple[list[dict[str, Any]], list[Group]]:
    """Members with a tag against all others, for tags that the definition declared."""
    if not spec.tags or primary is None:
        return [], []
    columns = rule_columns(engine)
    rules = {tag.name: compile_rule(tag.rule, columns) for tag in spec.tags}
    needed = sorted({name for rule in rules.values() for name in rule.columns})
    known = build_columns(engine, members.spine.select(["member_id", "as_of"]), needed)
    treated = members.arms[1:]
    tags = {}
    for tag in spec.tags:
        has = pd.Series(rules[tag.name].evaluate(known)).astype("boolean").fillna(False).to_numpy(dtype=bool)
        tags[tag.name] = (has, tag.arms or treated)
    complete = ~np.isnan(primary)
    found = tag_effects(
        primary[complete], members.arm[complete], members.arms,
        {name: (has[complete], meant) for name, (has, meant) in tags.items()},
        covariates=None if members.covariates is None else members.covariates[complete],
        clusters=members.clusters_of(complete), alpha=spec.alpha,
    )  # fmt: skip
    names = {tag.name: {"zh": tag.name_zh or tag.name, "en": tag.name_en or tag.name} for tag in spec.tags}
    rows, groups = [], []
    for one in found:
        row: dict[str, Any] = {"tag": one.tag, **names[one.tag], "arm": one.arm}
        has = tags[one.tag][0]
        arm = members.arms.index(one.arm)
        cells = [(members.arm == a) & (has == value) & (primary != 0) for a in (0, arm) for value in (True, False)]
        row.update(tagged=None, others=None, gap=None, times=None, times_low=None, times_high=None, p_adjusted=None)
        if min(int(cell.sum()) for cell in cells) >= members.min_cell:
            row.update(
                n_tagged=one.n_tagged, n_others=one.n_others, tagged=plain(one.effect_tagged),
                others=plain(one.effect_others), gap=plain(one.gap), p_adjusted=number(one.p_adjusted),
                times=number(1 + one.times.value), times_low=number(1 + one.times.low),
                times_high=number(1 + one.times.high),
            )  # fmt: skip
        both = np.isin(members.arm, (0, arm)) & complete
        unit = ("tag", one.tag, one.arm)
        groups += [Group(both & (has == value), "n_tagged" in row, unit) for value in (True, False)]
        groups += [Group(cell & complete, shown=False, unit=unit) for cell in cells]
        rows.append(row)
    return rows, groups


def _nan(value: Any) -> float:
    return math.nan if value is None else float(value)
