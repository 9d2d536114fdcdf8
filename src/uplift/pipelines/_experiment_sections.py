"""What a report says beside effects: what lasts, novelty, other experiments, tags, funnel, who took part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from uplift.config import ExperimentSpec, Workspace
from uplift.data import Engine
from uplift.experiments import Difference, encode, holm, horizon, meeting, novelty, project, tag_effects
from uplift.features import OUTCOMES, observed_until, outcomes, spine_of_members
from uplift.pipelines._experiments import CENTS, population
from uplift.policy import holdout
from uplift.rules import compile_rule
from uplift.segments import build_columns, rule_columns

Floats = NDArray[np.float64]
MONTHS = (30, 60, 90)
WEEKS = 13
LASTING = ("orders", "spend", "margin", "top_up", "renewed", "referrals")
CURVES = ("orders", "spend")
HISTORY = 20_000
FEWEST_HISTORY = 200
HOLDOUT = "holdout"


@dataclass(frozen=True)
class Members:
    """The experiment's members as the sections need them.

    Attributes
    ----------
    spine
        ``member_id``, ``as_of``, ``arm``.
    arm : ndarray of shape (n_members,)
        Place in ``arms``, the control first.
    covariates : ndarray of shape (n_members, n_covariates), optional
    frame
        Features as of the assignment.
    """

    spine: pa.Table
    arms: tuple[str, ...]
    arm: NDArray[np.int64]
    covariates: Floats | None
    frame: pd.DataFrame
    min_cell: int
    alpha: float

    @classmethod
    def of(cls, spine: pa.Table, spec: ExperimentSpec, frame: pd.DataFrame, min_cell: int) -> Members:
        """From the spine and the features built for it."""
        arms = (spec.control, *(arm.name for arm in spec.arms if arm.name != spec.control))
        arm = spine["arm"].to_pandas().map({name: place for place, name in enumerate(arms)}).to_numpy(dtype=np.int64)
        names = list(dict.fromkeys((*spec.stratify, *spec.covariates)))
        matrix = encode(frame, names, min_cell).matrix if names else np.empty((len(arm), 0))
        sizes = np.bincount(arm, minlength=len(arms))
        room = int(sizes[sizes > 0].min(initial=len(arm))) // 10
        matrix = matrix[:, :room]
        return cls(spine, arms, arm, matrix if matrix.shape[1] else None, frame, min_cell, spec.alpha)

    def enough(self, y: Floats, place: int) -> bool:
        """Whether an arm and the control have members and cases enough to be shown."""
        return all(min((self.arm == a).sum(), ((self.arm == a) & (y != 0)).sum()) >= self.min_cell for a in (0, place))


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
        "long_term": _long_term(engine, workspace, spec, members, until),
        "novelty": _novelty(engine, members, until),
        "overlap": _overlap(engine, spec, members, primary),
        "tags": _tags(engine, spec, members, primary),
        "funnel": _funnel(engine, spec, members),
        "participation": _participation(engine, spec, members),
    }


def _difference(gap: Difference) -> dict[str, float | None]:
    plain = {"effect": gap.value, "low": gap.low, "high": gap.high, "p_value": gap.p_value}
    return {name: float(value) if math.isfinite(value) else None for name, value in plain.items()}


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


def _long_term(
    engine: Engine, workspace: Workspace, spec: ExperimentSpec, members: Members, until: datetime | None
) -> dict[str, Any]:
    """Effects 1, 2 and 3 months after assignment, curves of treated and held-out members, and a projection."""
    weeks = [7 * week for week in range(1, WEEKS + 1)]
    values = _measured(engine, members.spine, LASTING, MONTHS, until)
    rows: list[dict[str, Any]] = []
    for (name, days), y in values.items():
        rows += _horizons(members, y, name, days, members.arms, spec.control)
    curves = []
    for (name, days), y in _measured(engine, members.spine, CURVES, weeks, until).items():
        for place, arm in enumerate(members.arms):
            own = y[members.arm == place]
            shown = len(own) >= members.min_cell and (own != 0).sum() >= members.min_cell
            curves.append({"outcome": name, "days": days, "arm": arm, "mean": float(own.mean()) if shown else None})
    last = max(members.spine["as_of"].to_pylist())
    complete = {str(days): bool(until and last + timedelta(days=days) <= until) for days in MONTHS}
    ready = {str(days): (last + timedelta(days=days)).isoformat() for days in MONTHS}
    return {
        "effects": rows,
        "holdout": _against_holdout(engine, workspace, spec, members, until),
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
        horizon(y, members.arm, len(arms), days, covariates=members.covariates, alpha=members.alpha), start=1
    ):
        row: dict[str, Any] = {"outcome": name, "days": days, "arm": arms[place], "against": against}
        row.update(mean_held_out=None, mean_arm=None, effect=None, low=None, high=None, p_value=None)
        if members.enough(y, place):
            row.update(mean_held_out=found.mean_held_out, mean_arm=found.mean_arm, **_difference(found.effect))
        rows.append(row)
    return rows


def _against_holdout(
    engine: Engine, workspace: Workspace, spec: ExperimentSpec, members: Members, until: datetime | None
) -> list[dict[str, Any]]:
    """Every arm against members of the same population whom no campaign may touch; empty where there are none."""
    times = set(members.spine["as_of"].to_pylist())
    if not workspace.config.holdout or len(times) != 1:
        return []
    assigned = members.spine["member_id"].to_pylist()
    if holdout(assigned, workspace.config.holdout).any():
        return []  # the holdout was touched, so it holds nothing out
    everyone = population(engine, spec, times.pop())
    out = everyone.filter(pa.array(holdout(everyone["member_id"].to_pylist(), workspace.config.holdout)))
    if out.num_rows < members.min_cell:
        return []
    held = out.select(["member_id", "as_of"])
    joined = pa.concat_tables([held, members.spine.select(["member_id", "as_of"]).cast(held.schema)])
    arm = np.concatenate([np.zeros(out.num_rows, dtype=np.int64), members.arm + 1])
    arms = (HOLDOUT, *members.arms)
    whole = Members(joined, arms, arm, None, members.frame, members.min_cell, members.alpha)
    values = _measured(engine, joined, CURVES, MONTHS, until)
    return [row for (name, days), y in values.items() for row in _horizons(whole, y, name, days, arms, HOLDOUT)]


def _projection(
    engine: Engine, members: Members, values: Mapping[tuple[str, int], Floats], until: datetime | None
) -> list[dict[str, Any]]:
    """Spend over three months from the first month, learnt on members before the experiment; labelled as what it is."""
    early = [values.get((name, MONTHS[0])) for name in CURVES]
    first = min(members.spine["as_of"].to_pylist())
    if until is None or any(values is None for values in early):
        return []
    moment = first - timedelta(days=MONTHS[-1])
    past = spine_of_members(engine, moment)
    if past.num_rows > HISTORY:
        past = past.slice(0, HISTORY)
    before = _measured(engine, past, CURVES, (MONTHS[0], MONTHS[-1]), until) if past.num_rows else {}
    target = before.get(("spend", MONTHS[-1]))
    if target is None or len(target) < FEWEST_HISTORY or target.std() == 0:
        return []
    history = np.column_stack([before[name, MONTHS[0]] for name in CURVES])
    seen = values.get(("spend", MONTHS[-1]))
    rows = []
    surrogates = np.column_stack([column for column in early if column is not None])
    for place in range(1, len(members.arms)):
        own = np.isin(members.arm, (0, place))
        if not members.enough(surrogates[:, 0], place):
            continue
        found = project(
            surrogates[own], (members.arm[own] == place).astype(np.int64), history, target,
            measured=None if seen is None else seen[own], alpha=members.alpha,
        )  # fmt: skip
        rows.append(
            {
                "label": found.label, "arm": members.arms[place], "outcome": "spend", "days": MONTHS[-1],
                "from_days": MONTHS[0], "surrogates": list(CURVES), **_difference(found.effect),
                "explained": found.explained,
                "bias": None if found.bias is None else _difference(found.bias), "exposed": found.exposed,
            }
        )  # fmt: skip
    return rows


def _novelty(engine: Engine, members: Members, until: datetime | None) -> list[dict[str, Any]]:
    """Effects on purchases by week since assignment, and whether they fade."""
    values = _measured(engine, members.spine, ("orders",), [7 * week for week in range(1, 9)], until)
    totals = [values[key] for key in sorted(values, key=lambda key: key[1])]
    if len(totals) < 2:
        return []
    by_week = np.diff(np.column_stack([np.zeros(len(members.arm)), *totals]), axis=1)
    found = novelty(by_week, members.arm, len(members.arms), covariates=members.covariates, alpha=members.alpha)
    adjusted = holm([one.trend.p_value for one in found])
    rows = []
    for place, (one, p) in enumerate(zip(found, adjusted, strict=True), start=1):
        shown = all(members.enough(by_week[:, week], place) for week in range(by_week.shape[1]))
        weeks = [{"week": week + 1, **_difference(gap)} for week, gap in enumerate(one.effects)] if shown else []
        trend = _difference(one.trend) if members.enough(by_week.sum(axis=1), place) else None
        rows.append(
            {
                "arm": members.arms[place], "outcome": "orders", "weeks": weeks, "trend": trend,
                "p_adjusted": float(p) if math.isfinite(p) and trend is not None else None,
            }
        )  # fmt: skip
    return rows


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
                "p_independent": _number(found.p_independent), "p_interaction": _number(found.p_interaction),
            }
        )  # fmt: skip
    for row, p in zip(rows, holm([_nan(row["p_interaction"]) for row in rows]), strict=True):
        row["p_adjusted"] = _number(float(p))
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
                n_tagged=one.n_tagged, n_others=one.n_others, tagged=_difference(one.effect_tagged),
                others=_difference(one.effect_others), gap=_difference(one.gap), p_adjusted=_number(one.p_adjusted),
                times=_number(1 + one.times.value), times_low=_number(1 + one.times.low),
                times_high=_number(1 + one.times.high),
            )  # fmt: skip
        rows.append(row)
    return rows


STAGES = ("sent", "delivered", "opened", "clicked", "redeemed")


def _funnel(engine: Engine, spec: ExperimentSpec, members: Members) -> list[dict[str, Any]]:
    """Members at each stage by arm, channel and content form, with Wilson's interval of those sent to."""
    counted = ", ".join(
        f"count(DISTINCT t.member_id) FILTER (WHERE t.{stage}_at IS NOT NULL) AS {stage}" for stage in STAGES
    )
    engine.register("_spine", members.spine.select(["member_id", "arm"]))
    found = engine.query(
        f"""
        SELECT s.arm, t.channel, o.form, {counted} FROM touches t JOIN _spine s USING (member_id)
        LEFT JOIN offers o USING (offer_id) WHERE t.experiment_id = $id
        GROUP BY GROUPING SETS ((s.arm), (s.arm, t.channel, o.form)) ORDER BY ALL NULLS FIRST
        """,
        {"id": spec.id},
    ).to_pylist()
    engine.unregister("_spine")
    rows: list[dict[str, Any]] = []
    for arm in dict.fromkeys(row["arm"] for row in found):
        own = [row for row in found if row["arm"] == arm]
        whole, parts = own[0], own[1:] if len(own) > 2 else []
        if any(row["sent"] < members.min_cell for row in parts):
            parts = []  # all but one would give the small one back
        for group in ([whole], parts):
            hidden = {stage for stage in STAGES for row in group if _small(row[stage], row["sent"], members.min_cell)}
            rows += [_stages(row, hidden) for row in group if row["sent"] >= members.min_cell]
    return rows


def _small(count: int, total: int, min_cell: int) -> bool:
    return 0 < count < min_cell or 0 < total - count < min_cell


def _stages(row: Mapping[str, Any], hidden: set[str]) -> dict[str, Any]:
    stages: list[dict[str, Any]] = []
    for stage in STAGES:
        shown: dict[str, Any] = {"stage": stage, "members": None, "share": None, "low": None, "high": None}
        if stage not in hidden:
            low, high = wilson(row[stage], row["sent"])
            shown.update(members=row[stage], share=row[stage] / row["sent"], low=low, high=high)
        stages.append(shown)
    return {"arm": row["arm"], "channel": row["channel"], "form": row["form"], "stages": stages}


def _participation(engine: Engine, spec: ExperimentSpec, members: Members) -> list[dict[str, Any]]:
    """Who took part (redeemed, or clicked where nothing can be redeemed) by segment, against all who were sent to."""
    engine.register("_spine", members.spine.select(["member_id"]))
    took = engine.query(
        """
        SELECT t.member_id, max(t.redeemed_at) IS NOT NULL AS redeemed, max(t.clicked_at) IS NOT NULL AS clicked
        FROM touches t JOIN _spine USING (member_id) WHERE t.experiment_id = $id GROUP BY 1
        """,
        {"id": spec.id},
    ).to_pandas()
    engine.unregister("_spine")
    if took.empty:
        return []
    how = "redeemed" if took["redeemed"].any() else "clicked"
    ids = members.spine["member_id"].to_pandas()
    sent = ids.isin(took["member_id"]).to_numpy()
    part = ids.isin(took.loc[took[how], "member_id"]).to_numpy()
    rows = []
    for column in spec.segments:
        values = members.frame[column]
        if not isinstance(values.dtype, pd.CategoricalDtype) and pd.api.types.is_numeric_dtype(values.dtype):
            continue
        text = values.astype(object).where(values.notna(), "(missing)").astype(str).to_numpy()
        cells = []
        for value in sorted(set(text)):
            reached, joined = int((sent & (text == value)).sum()), int((part & (text == value)).sum())
            cells.append((value, reached, joined))
        if any(0 < n < members.min_cell for _, a, b in cells for n in (a, b, a - b)):
            continue  # a share of a total would give the small cell back
        for value, reached, joined in cells:
            low, high = wilson(joined, reached)
            rows.append(
                {
                    "segment_column": column, "segment": value, "participation": how, "sent": reached,
                    "participants": joined, "rate": joined / reached if reached else None, "low": low, "high": high,
                    "share_of_participants": joined / max(int(part.sum()), 1),
                    "share_of_sent": reached / max(int(sent.sum()), 1),
                }
            )  # fmt: skip
    return rows


def wilson(count: int, total: int, z: float = 1.959964) -> tuple[float | None, float | None]:
    """Wilson's (1927) interval of a share; None without anybody.

    Examples
    --------
    >>> [round(edge, 3) for edge in wilson(20, 100)]
    [0.133, 0.289]
    """
    if not total:
        return None, None
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return 0.0 if count == 0 else middle - half, 1.0 if count == total else middle + half


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _nan(value: Any) -> float:
    return math.nan if value is None else float(value)
