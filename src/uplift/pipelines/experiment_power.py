"""Size an experiment, from the workspace's own past or from numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from uplift.config import ExperimentSpec, MetricSpec, Workspace
from uplift.data import Engine
from uplift.errors import DesignError
from uplift.experiments import (
    ArmPower,
    Metric,
    Power,
    SimulatedPower,
    design_effect,
    encode,
    explained_variance,
    linearised_ratio,
    power,
    roles,
    simulate_power,
)
from uplift.experiments._encoding import is_number
from uplift.features import OUTCOMES, observed_until, parse_as_of, to_frame
from uplift.pipelines._experiment_labels import labels_of
from uplift.pipelines._experiment_metrics import measure_outcomes
from uplift.pipelines._experiments import Progress, experiment_spec, parse_shares, population, silent
from uplift.policy import holdout
from uplift.results import Rendered
from uplift.segments import build_columns

FEW_CLUSTERS = 40
"""Below it a formula for clusters is only a first guess."""


@dataclass(frozen=True)
class Powered(Rendered):
    """Power of a design, one entry a metric.

    Attributes
    ----------
    plans
        Metric → power by formula.
    simulated
        Metric → power by simulation; empty unless asked for.
    basis
        Metric → where level and spread come from.
    unit
        Metric → unit of its effects.
    segments
        Metric → the smallest effect that each segment can show by itself.
    labels
        What people call arms, metrics and segments.
    files
        The picture in both languages, where it was drawn.
    """

    plans: Mapping[str, Power]
    simulated: Mapping[str, SimulatedPower]
    basis: Mapping[str, Mapping[str, Any]]
    unit: Mapping[str, str]
    segments: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a metric and arm."""
        return [
            {"metric": name, **row, "unit": self.unit[name], "simulated_power": self._simulated(name, row["arm"])}
            for name, plan in self.plans.items()
            for row in plan.to_dicts()
        ]

    def _simulated(self, metric: str, arm: str) -> float | None:
        return self.simulated[metric].power[arm] if metric in self.simulated else None

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        plan = next(iter(self.plans.values()))
        return {
            "arms": self.to_dicts(),
            "basis": {name: dict(basis) for name, basis in self.basis.items()},
            "alpha": plan.alpha,
            "power": plan.power,
            "comparisons": {name: chosen.comparisons for name, chosen in self.plans.items()},
            "segments": {name: [dict(row) for row in rows] for name, rows in self.segments.items()},
            "curves": {name: power_curve(chosen) for name, chosen in self.plans.items()},
            "units": dict(self.unit),
            "sizes": {name: chosen.size for name, chosen in self.plans.items()},
            "labels": dict(self.labels),
            "files": list(self.files),
        }

    def to_text(self) -> str:
        """For a person at the prompt."""
        plan = next(iter(self.plans.values()))
        lines = [f"Power {plan.power:.0%}, error {plan.alpha:.0%} for each family of comparisons."]
        for name, chosen in self.plans.items():
            size = _Size(self.unit[name])
            basis = self.basis[name]
            level = (
                "" if chosen.baseline is None or basis.get("level", 0) is None else f"level {size(chosen.baseline)}, "
            )
            many = f"; {chosen.comparisons} comparisons in the family" if chosen.comparisons > 1 else ""
            explained = f", {chosen.rho2:.0%} explained by covariates" if chosen.rho2 > 0 else ""
            lines += [
                "",
                f"{name}: {level}standard deviation {size(chosen.sd)}{explained}",
                f"  learnt from {basis['text']}{many}",
            ]
            if basis.get("few_clusters"):
                lines.append(f"  fewer than {FEW_CLUSTERS} clusters: trust --simulate more than the formula")
            lines += ["  " + _arm_line(row, size, self._simulated(name, row.arm)) for row in chosen.arms]
            parts = [part for part in self.segments.get(name, ()) if part["smallest_effect"] is not None]
            for part in parts:
                where = f"{part['segment_column']} = {part['segment']}"
                lines.append(
                    f"    within {where}: {part['arm']} {size(part['smallest_effect'], gap=True)} with "
                    f"{part['n_arm']:,} against {part['n_control']:,}"
                )
        lines += ["", *(f"  {file}" for file in self.files)] if self.files else []
        return "\n".join(lines)


@dataclass(frozen=True)
class _Size:
    """Writes levels and effects of a metric: rates in percent and points, the rest with its unit."""

    unit: str

    def __call__(self, value: float, *, gap: bool = False) -> str:
        if self.unit == "share":
            return f"{100 * value:.3g} points" if gap else f"{100 * value:.3g}%"
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return text if self.unit in ("count", "the metric's unit") else f"{text} {self.unit}"


def power_curve(plan: Power, points: int = 25) -> list[dict[str, Any]]:
    """The smallest effect by members in all, around the size asked for: the picture of a plan."""
    centre = plan.size or plan.needed_total or 1000
    rows = []
    for size in np.unique(np.geomspace(max(centre / 10, 20), centre * 10, points).round().astype(int)).tolist():
        at = power(
            plan.shares, control=plan.control, kind=plan.kind, baseline=plan.baseline, sd=plan.sd, size=size,
            alpha=plan.alpha, power=plan.power, rho2=plan.rho2, deff=plan.deff,
            cluster_size=plan.cluster_size, comparisons=plan.comparisons,
        )  # fmt: skip
        rows += [{"size": size, "arm": arm.arm, "smallest_effect": arm.smallest_effect} for arm in at.arms]
    return rows


def _arm_line(row: ArmPower, size: _Size, simulated: float | None) -> str:
    parts = []
    if row.smallest_effect is not None:
        relative = "" if row.smallest_relative is None else f" ({row.smallest_relative:.1%} of the level)"
        parts.append(
            f"smallest effect {size(row.smallest_effect, gap=True)}{relative} "
            f"with {row.n_arm:,} against {row.n_control:,}"
        )
    if row.needed_total is not None:
        parts.append(f"needs {row.needed_total:,} in all: {row.needed_arm:,} against {row.needed_control:,}")
    if simulated is not None:
        parts.append(f"seen in {simulated:.1%} of the simulated experiments")
    return f"{row.arm}: " + "; ".join(parts)


def power_from_numbers(
    *,
    shares: Sequence[str],
    control: str,
    simulate: int = 0,
    seed: int = 0,
    **numbers: Any,
) -> Powered:
    """Power from numbers alone; ``numbers`` go to :func:`uplift.experiments.power`.

    Raises
    ------
    InputError
        Listing what is missing or out of range.
    """
    kind = numbers.get("kind", "rate")
    plan = power(parse_shares(shares) or {}, control=control, **numbers)
    name = "rate" if kind == "rate" else "mean"
    simulated = {}
    if simulate:
        effect = plan.effect if plan.effect is not None else min(arm.smallest_effect or 0.0 for arm in plan.arms)
        simulated[name] = simulate_power(plan, effect=effect, repeats=simulate, seed=seed)
    unit = "share" if kind == "rate" else "the metric's unit"
    return Powered({name: plan}, simulated, {name: {"text": "the numbers given"}}, {name: unit})


def power_from_workspace(
    workspace: Workspace,
    experiment_id: str,
    *,
    as_of: str | None = None,
    effect: float | None = None,
    size: int | None = None,
    chance: float = 0.8,
    simulate: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> Powered:
    """Power of a defined experiment from what the same population did in the past.

    Level and spread of every metric, and the share that the covariates explain, come from members as of a past date
    and the metric's window after it.

    Parameters
    ----------
    as_of
        The past date; None: the latest whose longest window is complete.
    effect
        In the metrics' units (rates as shares), to find the size needed; None: the smallest effect is found.
    size
        Members in all; None: the definition's ``planned_size``, else everybody in the population outside the holdout.

    Raises
    ------
    InputError
        If the definition or the data do not allow it.
    """
    spec = experiment_spec(workspace, experiment_id)
    with Engine.open(workspace) as engine:
        moment = _past(engine, spec, as_of)
        members = population(engine, spec, moment)
        if members.num_rows:
            out = holdout(members["member_id"].to_pylist(), workspace.config.holdout)
            members = members.filter(pa.array(~out))
        if members.num_rows < 2:
            raise DesignError(
                f"{members.num_rows} members are in the population of {spec.id!r} as of {moment:%Y-%m-%d} → check the "
                "rule and the date"
            )
        progress(f"{members.num_rows:,} members as of {moment.astimezone(ZoneInfo(engine.timezone)):%Y-%m-%d}")
        past = planning_values(engine, members, spec, workspace.config.currency, moment)
        columns = list(dict.fromkeys((*spec.stratify, *spec.covariates)))
        clustered = [spec.cluster] if spec.cluster else []
        every = list(dict.fromkeys((*columns, *spec.segments, *clustered)))
        frame = to_frame(build_columns(engine, members, every), every)
        labels = labels_of(engine, workspace, spec)
        labels["(title)"] = {"zh": spec.name_zh or spec.id, "en": spec.name_en or spec.id}
        past_day = moment.astimezone(ZoneInfo(engine.timezone))
    if spec.cluster is not None:
        kept = frame[spec.cluster].notna().to_numpy()
        frame, members = frame[kept].reset_index(drop=True), members.filter(pa.array(kept))
        past = {name: values[kept] for name, values in past.items()}
    matrix = encode(frame, columns, workspace.config.min_cell).matrix
    cluster = None if spec.cluster is None else pd.factorize(frame[spec.cluster].astype(str))[0]
    asked = size or spec.planned_size or members.num_rows
    role = roles([Metric(m.name, m.kind, guardrail=m.guardrail) for m in spec.metrics])
    treated = sum(arm.share > 0 for arm in spec.arms if arm.name != spec.control)
    plans: dict[str, Power] = {}
    simulated: dict[str, SimulatedPower] = {}
    basis: dict[str, dict[str, Any]] = {}
    unit: dict[str, str] = {}
    segments: dict[str, list[dict[str, Any]]] = {}
    for metric in spec.metrics:
        values = past[metric.name]
        if values.std() == 0:
            raise DesignError(
                f"metric {metric.name!r} was {values.mean():g} for everybody after {moment:%Y-%m-%d}: there is no "
                "spread to plan with → another --as-of, or numbers of your own (--baseline, --sd)"
            )
        kind: Literal["rate", "mean"] = "rate" if metric.kind in ("rate", "retention") else "mean"
        covariates = matrix if matrix.shape[1] else None
        rho2 = explained_variance(values, matrix) if covariates is not None else 0.0
        cost = None if cluster is None else design_effect(values, cluster, covariates)
        family = treated * sum(role[other.name] == role[metric.name] for other in spec.metrics)
        given: dict[str, Any] = {
            "control": spec.control, "kind": kind, "effect": effect, "alpha": spec.alpha, "power": chance,
        }  # fmt: skip
        plans[metric.name] = power(
            spec.shares, baseline=float(values.mean()), sd=float(values.std(ddof=1)), size=asked, rho2=rho2,
            deff=1.0 if cost is None else cost.deff,
            cluster_size=None if cost is None else len(values) / cost.clusters, comparisons=family, **given,
        )  # fmt: skip
        level = None if metric.kind in ("ratio", "time") else float(values.mean())
        basis[metric.name] = {
            "as_of": past_day.isoformat(), "members": len(values), "window_days": metric.window_days,
            "level": level, "rho2": rho2,
            "icc": None if cost is None else cost.icc, "clusters": None if cost is None else cost.clusters,
            "deff": None if cost is None else cost.deff,
            "text": f"{len(values):,} members in the {metric.window_days} days after {past_day:%Y-%m-%d}"
            + ("" if cost is None else f", {cost.clusters:,} clusters with ICC {cost.icc:.4f}, deff {cost.deff:.2f}"),
            "few_clusters": cost is not None and cost.clusters < FEW_CLUSTERS,
        }  # fmt: skip
        unit[metric.name] = _unit(metric, workspace.config.currency)
        segments[metric.name] = _by_segment(spec, frame, values, asked, given, workspace.config.min_cell)
        if simulate:
            progress(f"{metric.name}: {simulate} simulated experiments")
            plan = plans[metric.name]
            tried = effect if effect is not None else max(arm.smallest_effect or 0.0 for arm in plan.arms)
            simulated[metric.name] = simulate_power(
                plan, effect=tried, size=asked if effect is None else None, outcome=values,
                covariates=covariates, clusters=cluster, repeats=simulate, seed=seed,
            )  # fmt: skip
    return Powered(plans, simulated, basis, unit, segments, labels)


def planning_values(
    engine: Engine, members: pa.Table, spec: ExperimentSpec, currency: str, moment: datetime
) -> dict[str, NDArray[np.float64]]:
    """Metric → one value a member in the units of results; a ratio linearised, a time the days within its window.

    Raises
    ------
    DesignError
        If a window after the moment is not complete.
    """
    spine = members.select(["member_id", "as_of"])
    spine = spine.append_column("arm", pa.array([spec.control] * spine.num_rows, type=pa.string()))
    measured = measure_outcomes(engine, spine, spec, currency)
    done = {metric.name: metric for metric in measured.metrics}
    found = {}
    for metric in spec.metrics:
        values = measured.table[metric.name].to_numpy(dtype=np.float64) if metric.name in done else np.array([np.nan])
        if np.isnan(values).any():
            raise DesignError(
                f"metric {metric.name!r}: the window of {metric.window_days} days after {moment:%Y-%m-%d} is not "
                "complete → an earlier --as-of"
            )
        per = done[metric.name].denominator
        if per is not None:
            values, _ = linearised_ratio(values, measured.table[per].to_numpy(dtype=np.float64))
        if metric.winsorize is not None:
            values = np.minimum(values, np.quantile(values, metric.winsorize))
        found[metric.name] = values
    return found


def _unit(metric: MetricSpec, currency: str) -> str:
    if metric.kind == "time":
        return "days"
    return currency if OUTCOMES[metric.outcome].unit == "money" else OUTCOMES[metric.outcome].unit


def _by_segment(
    spec: ExperimentSpec,
    frame: pd.DataFrame,
    values: NDArray[np.float64],
    size: int,
    given: Mapping[str, Any],
    min_cell: int,
) -> list[dict[str, Any]]:
    """The smallest effect that each segment shows by itself, without covariates; small and constant ones left out."""
    rows = []
    for column in spec.segments:
        if is_number(frame[column]) and frame[column].nunique() > 20:
            continue
        for value, own in frame.groupby(frame[column].astype(str), sort=True).indices.items():
            part = values[own]
            if len(own) < min_cell or part.std() == 0 or (part != 0).sum() < min_cell:
                continue
            plan = power(
                spec.shares, baseline=float(part.mean()), sd=float(part.std(ddof=1)),
                size=max(2, round(size * len(own) / len(values))), comparisons=1, **{**given, "effect": None},
            )  # fmt: skip
            for arm in plan.arms:
                rows.append(
                    {
                        "segment_column": column, "segment": str(value), "arm": arm.arm, "n_control": arm.n_control,
                        "n_arm": arm.n_arm, "smallest_effect": arm.smallest_effect,
                        "smallest_relative": arm.smallest_relative,
                    }
                )  # fmt: skip
    return rows


def _past(engine: Engine, spec: ExperimentSpec, as_of: str | None) -> datetime:
    seen = observed_until(engine)
    if seen is None:
        raise DesignError("there is not one event in the data, so there is no past to plan from")
    until = seen.astimezone(ZoneInfo(engine.timezone))
    longest = max(metric.window_days for metric in spec.metrics)
    latest = until - timedelta(days=longest)
    if as_of is None:
        return latest
    moment = parse_as_of(as_of, engine.timezone)
    if moment > latest:
        raise DesignError(
            f"--as-of {as_of}: the longest window is {longest} days and the data end on {until:%Y-%m-%d}, so it is not "
            f"complete after that day → {latest:%Y-%m-%d} or earlier"
        )
    return moment


def drawn(powered: Powered, workspace: Workspace, experiment_id: str) -> Powered:
    """The same with its picture in both languages, ``reports/experiments/ID/power.zh.html`` and ``power.en.html``."""
    from uplift.reports import write_power_report

    folder = workspace.reports / "experiments" / experiment_id
    files = write_power_report({**powered.to_dict(), "id": experiment_id}, folder)
    return replace(powered, files=tuple(str(file) for file in files))
