"""A workspace's metrics as columns: outcomes of the catalogue within their windows, ratios, retention, times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uplift.config import ExperimentSpec, MetricSpec
from uplift.data import Engine
from uplift.errors import DesignError, unknown_name
from uplift.experiments import Metric, Text
from uplift.features import OUTCOMES, observed_until, outcomes
from uplift.pipelines._experiments import CENTS

Floats = NDArray[np.float64]
LONGEST_TIME = 366
SENT = "(sent)"


@dataclass(frozen=True)
class Measurements:
    """Arms and outcomes, one row an assignment.

    Attributes
    ----------
    table
        ``member_id``, ``arm`` and the metrics' columns; outcomes whose window is still open are empty.
    metrics
        As the analysis wants them; those that nobody's window allows yet are left out.
    early
        Why it is too early to say.
    window
        For the checks: until when there is data, and how many windows are open.
    """

    table: pd.DataFrame
    metrics: tuple[Metric, ...]
    early: tuple[Text, ...]
    notes: tuple[Text, ...]
    window: Mapping[str, Any]


def measure_outcomes(engine: Engine, spine: pa.Table, spec: ExperimentSpec, currency: str) -> Measurements:
    """Every metric of an experiment for every member assigned.

    Parameters
    ----------
    spine
        ``member_id``, ``as_of`` (time of assignment), ``arm``.

    Raises
    ------
    DesignError
        If an outcome is unknown or does not suit its kind, or no window is complete for anybody.
    """
    _refuse(spec)
    until = observed_until(engine)
    zone = ZoneInfo(engine.timezone)
    _refuse_future(spine, spec, until, zone)
    table = spine.select(["member_id", "arm"]).to_pandas()
    last = max(spine["as_of"].to_pylist()).astimezone(zone)
    metrics, early, notes = [], [], []
    window: dict[str, Any] = {"observed_until": None if until is None else until.isoformat(), "metrics": []}
    values = _values(engine, spine.select(["member_id", "as_of"]), spec, until)
    for given in spec.metrics:
        columns = values[given.name]
        complete = ~np.isnan(columns.pop(COMPLETE))
        is_open = int((~complete).sum())
        window["metrics"].append({"metric": given.name, "window_days": given.window_days, "open": is_open})
        when = f"{last + timedelta(days=given.window_days):%Y-%m-%d}"
        by_arm = pd.Series(complete).groupby(table["arm"].to_numpy()).any()
        if is_open == len(table) or (given.kind == "time" and not by_arm.all()):
            notes.append(
                Text(
                    f"指标 {given.name} 的 {given.window_days} 天窗口对所有人都未结束，{when} 之后才有数字",
                    f"metric {given.name}: the window of {given.window_days} days is open for everybody, "
                    f"numbers come after {when}",
                )
            )
            continue
        if is_open and given.kind != "time":
            early.append(
                Text(
                    f"{given.name} 的 {given.window_days} 天窗口还有 {is_open:,} 人未结束，{when} 之后完整",
                    f"the window of {given.name} ({given.window_days} days) is still open for {is_open:,} members, "
                    f"complete after {when}",
                )
            )
        table = table.assign(**columns)
        metrics.append(_metric(given, currency))
    if not metrics:
        raise DesignError("; ".join(note.en for note in notes) + " → come back then, or shorten window_days")
    return Measurements(table, tuple(metrics), tuple(early), tuple(notes), window)


def _refuse_future(spine: pa.Table, spec: ExperimentSpec, until: datetime | None, zone: ZoneInfo) -> None:
    """Nothing can have happened to members who are assigned after the data end."""
    first = min(spine["as_of"].to_pylist()).astimezone(zone)
    if until is None or first < until:
        return
    ready = first + timedelta(days=min(metric.window_days for metric in spec.metrics))
    raise DesignError(
        f"experiment {spec.id!r} has not started: its first members are assigned on {first:%Y-%m-%d}, and the data end "
        f"on {until.astimezone(zone):%Y-%m-%d} → come back with data up to {ready:%Y-%m-%d}, when the first window is "
        "complete"
    )


COMPLETE = "(complete)"


def _refuse(spec: ExperimentSpec) -> None:
    problems = []
    for metric in spec.metrics:
        for name in (metric.outcome, metric.denominator):
            if name is not None and name not in OUTCOMES:
                problems.append(str(unknown_name("outcome", name, OUTCOMES)))
        outcome = OUTCOMES.get(metric.outcome)
        if metric.kind in ("retention", "time") and outcome is not None and (outcome.kind != "rate" or outcome.negated):
            problems.append(
                f"metric {metric.name!r}: a {metric.kind} is of something that happens, such as 'ordered'; "
                f"{metric.outcome!r} is not"
            )
        if metric.kind == "time" and metric.window_days > LONGEST_TIME:
            problems.append(f"metric {metric.name!r}: times are averaged over at most {LONGEST_TIME} days")
    for name in (*spec.covariates, *spec.stratify):
        if name in OUTCOMES:
            problems.append(
                f"covariate {name!r} is an outcome, known only after assignment → use a feature from before it, such "
                "as 'orders_90d'"
            )
    if problems:
        raise DesignError("; ".join(problems))


def _values(
    engine: Engine, spine: pa.Table, spec: ExperimentSpec, until: datetime | None
) -> dict[str, dict[str, Floats]]:
    """Columns by metric, and one that is empty where the window is still open."""
    wanted: dict[str, tuple[str, float]] = {}
    later: dict[int, dict[str, tuple[str, float]]] = {}
    for i, metric in enumerate(spec.metrics):
        if metric.kind == "retention":
            own = later.setdefault(metric.from_days, {})
            own[f"{i}"] = (metric.outcome, metric.window_days - metric.from_days)
        elif metric.kind == "time":
            wanted |= {f"{i} {day}": (metric.outcome, day) for day in range(1, metric.window_days + 1)}
        else:
            wanted[f"{i}"] = (metric.outcome, metric.window_days)
            if metric.denominator is not None:
                wanted[f"{i} per"] = (metric.denominator, metric.window_days)
    found = _columns(outcomes(engine, spine, wanted, until=until), wanted) if wanted else {}
    for days, own in later.items():
        shifted = pc.add(spine["as_of"], pa.scalar(timedelta(days=days), type=pa.duration("us")))
        found |= _columns(outcomes(engine, spine.set_column(1, "as_of", shifted), own, until=until), own)
    values: dict[str, dict[str, Floats]] = {}
    for i, metric in enumerate(spec.metrics):
        if metric.kind == "time":
            daily = np.column_stack([found[f"{i} {day}"] for day in range(1, metric.window_days + 1)])
            values[metric.name] = _first_day(metric.name, daily)
            continue
        columns = {metric.name: found[f"{i}"] / _scale(metric.outcome), COMPLETE: found[f"{i}"]}
        if metric.denominator is not None:
            columns[_per(metric.name)] = found[f"{i} per"] / _scale(metric.denominator)
        values[metric.name] = columns
    return values


def _columns(table: pa.Table, names: Mapping[str, Any]) -> dict[str, Floats]:
    return {name: table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in names}


def _scale(outcome: str) -> float:
    return CENTS if OUTCOMES[outcome].unit == "money" else 1.0


def _per(name: str) -> str:
    return f"{name} (per)"


def _happened(name: str) -> str:
    return f"{name} (happened)"


def _first_day(name: str, daily: Floats) -> dict[str, Floats]:
    """Day on which it first happened, or the last day seen; whether it happened.

    ``daily`` is 1 from the day on which it happened, and NaN from the day that is not over yet.
    """
    seen = (~np.isnan(daily)).sum(axis=1)
    hit = np.nan_to_num(daily) > 0
    happened = hit.any(axis=1)
    day = np.where(happened, hit.argmax(axis=1) + 1, seen).astype(np.float64)
    known = seen > 0
    return {
        name: np.where(known, day, np.nan),
        _happened(name): np.where(known, happened, np.nan),
        COMPLETE: daily[:, -1],
    }


def _metric(spec: MetricSpec, currency: str) -> Metric:
    """The metric as declared, with the unit that the outcome's catalogue knows."""
    unit: str | None = OUTCOMES[spec.outcome].unit
    if spec.kind == "time":
        unit = "days"
    elif spec.kind == "ratio":
        unit = "money" if unit == "money" else None
    elif spec.kind != "mean" and unit == "money":
        unit = spec.unit
    return Metric(
        spec.name, spec.kind, unit, currency if unit == "money" else None, spec.goal == "increase", spec.guardrail,
        spec.window_days, spec.outcome, None, None if spec.denominator is None else _per(spec.name),
        _happened(spec.name) if spec.kind == "time" else None, spec.from_days, spec.winsorize, spec.margin,
    )  # fmt: skip


def metric_label(spec: MetricSpec) -> dict[str, str]:
    """What people call a metric, in both languages."""
    outcome = OUTCOMES[spec.outcome]
    zh, en = outcome.text_zh, outcome.text_en
    if spec.denominator is not None:
        per = OUTCOMES[spec.denominator]
        return {"zh": f"{zh} ÷ {per.text_zh}", "en": f"{en} ÷ {per.text_en.lower()}"}
    if spec.kind == "retention":
        return {
            "zh": f"{zh}（第 {spec.from_days + 1} 至 {spec.window_days} 天）",
            "en": f"{en}, days {spec.from_days + 1} to {spec.window_days}",
        }
    if spec.kind == "time":
        return {
            "zh": f"首次{zh}的天数（至多 {spec.window_days} 天）",
            "en": f"Days until: {en} (at most {spec.window_days})",
        }
    return {"zh": zh, "en": en}


def sent_column(engine: Engine, spine: pa.Table, spec: ExperimentSpec) -> Floats | None:
    """1 for every row whose member was sent something of this experiment; None where nothing of it was recorded."""
    engine.register("_spine", spine.select(["member_id"]))
    rows = engine.query(
        "SELECT DISTINCT t.member_id FROM touches t JOIN _spine USING (member_id) "
        "WHERE t.experiment_id = $id AND coalesce(t.sent_at, t.delivered_at, t.opened_at) IS NOT NULL",
        {"id": spec.id},
    )
    engine.unregister("_spine")
    if not rows.num_rows:
        return None
    reached = pc.is_in(spine["member_id"], value_set=rows["member_id"].combine_chunks())
    return np.asarray(reached.to_numpy(zero_copy_only=False), dtype=np.float64)
