"""What a report says beside effects: what lasts, novelty, other experiments, tags, funnel, who took part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from uplift.config import ExperimentSpec, Workspace
from uplift.data import Engine
from uplift.experiments import holm, meeting, tag_effects
from uplift.features import observed_until
from uplift.pipelines._experiment_lasting import long_term, wearing_off
from uplift.pipelines._experiment_members import Floats, Members, number, plain
from uplift.pipelines._experiment_reached import funnel, participation
from uplift.rules import compile_rule
from uplift.segments import build_columns, rule_columns


def sections(
    engine: Engine, workspace: Workspace, spec: ExperimentSpec, members: Members, primary: Floats | None
) -> dict[str, Any]:
    """Further sections of ``result.json``.

    Parameters
    ----------
    primary : ndarray of shape (n_members,), optional
        The primary metric; None where it has no single value a member.
    """
    until = observed_until(engine)
    return {
        "long_term": long_term(engine, workspace, spec, members, until),
        "novelty": wearing_off(engine, members, until),
        "overlap": _overlap(engine, spec, members, primary),
        "tags": _tags(engine, spec, members, primary),
        "funnel": funnel(engine, spec, members),
        "participation": participation(engine, spec, members),
    }


def _overlap(engine: Engine, spec: ExperimentSpec, members: Members, primary: Floats | None) -> list[dict[str, Any]]:
    """Other experiments that assigned the same members while this one ran."""
    longest = max(metric.window_days for metric in spec.metrics)
    engine.register("_spine", members.spine.select(["member_id", "as_of"]))
    met = engine.query(
        """
        SELECT a.experiment_id, a.member_id, a.arm FROM assignments a JOIN _spine s USING (member_id)
        WHERE a.experiment_id <> $id AND a.assigned_at <= s.as_of + to_days($days)
          AND a.assigned_at >= s.as_of - to_days($days)
        ORDER BY 1, 2
        """,
        {"id": spec.id, "days": longest},
    ).to_pandas()
    engine.unregister("_spine")
    place = pd.Series(np.arange(len(members.arm)), index=members.spine["member_id"].to_pandas())
    rows = []
    for other, shared in met.groupby("experiment_id", sort=True):
        if len(shared) < members.min_cell:
            continue
        own = place[shared["member_id"]].to_numpy()
        names = sorted(shared["arm"].unique(), key=lambda name: (name != "control", name))
        codes = shared["arm"].map({name: i for i, name in enumerate(names)}).to_numpy(dtype=np.int64)
        y = np.full(len(members.arm), np.nan) if primary is None else primary
        known = ~np.isnan(y[own])
        found = meeting(y[own][known], members.arm[own][known], codes[known], len(members.arms), len(names))
        table = [[int(n) if n == 0 or n >= members.min_cell else None for n in row] for row in found.table.tolist()]
        small = any(n is None for row in table for n in row)
        rows.append(
            {
                "experiment": str(other), "members": len(shared), "share": len(shared) / len(members.arm),
                "arms": list(members.arms), "other_arms": names, "table": None if small else table,
                "p_independent": number(found.p_independent), "p_interaction": number(found.p_interaction),
            }
        )  # fmt: skip
    for row, p in zip(rows, holm([_nan(row["p_interaction"]) for row in rows]), strict=True):
        row["p_adjusted"] = number(float(p))
    return rows


def _tags(engine: Engine, spec: ExperimentSpec, members: Members, primary: Floats | None) -> list[dict[str, Any]]:
    """Members with a tag against all others, for tags that the definition declared."""
    if not spec.tags or primary is None:
        return []
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
        covariates=None if members.covariates is None else members.covariates[complete], alpha=spec.alpha,
    )  # fmt: skip
    names = {tag.name: {"zh": tag.name_zh or tag.name, "en": tag.name_en or tag.name} for tag in spec.tags}
    rows = []
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
        rows.append(row)
    return rows


def _nan(value: Any) -> float:
    return math.nan if value is None else float(value)
