"""Size an experiment, from the workspace's own past or from numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from uplift.features import OUTCOMES, observed_since, observed_until, parse_as_of, to_frame
from uplift.pipelines._experiment_labels import labels_of
from uplift.pipelines._experiment_metrics import measure_outcomes
from uplift.pipelines._experiment_powered import FEW_CLUSTERS, Powered
from uplift.pipelines._experiments import Progress, experiment_spec, parse_shares, population, silent
from uplift.policy import holdout
from uplift.segments import build_columns


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
            cluster_size=None if cost is None else len(values) / cost.clusters,
            variation=0.0 if cost is None else cost.variation,
            proportional=kind == "mean" and bool((values >= 0).all()), comparisons=family, **given,
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
        if metric.margin is not None:
            at = power(
                spec.shares, control=spec.control, kind="mean", sd=float(values.std(ddof=1)), effect=metric.margin,
                alpha=spec.alpha, power=chance, rho2=rho2, deff=plans[metric.name].deff,
                cluster_size=plans[metric.name].cluster_size, variation=plans[metric.name].variation, comparisons=1,
            )  # fmt: skip
            basis[metric.name] |= {"margin": metric.margin, "margin_needs": at.needed_total}
        unit[metric.name] = _unit(metric, workspace.config.currency)
        segments[metric.name] = _by_segment(
            spec, frame, values, cluster, asked, given, workspace.config.min_cell
        )  # fmt: skip
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
    cluster: NDArray[np.int64] | None,
    size: int,
    given: Mapping[str, Any],
    min_cell: int,
) -> list[dict[str, Any]]:
    """The smallest effect that each segment shows by itself, without covariates; small and constant ones left out.

    Whole clusters cost within a segment too.
    """
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
                **_clustered(part, None if cluster is None else cluster[own]),
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


def _clustered(part: NDArray[np.float64], cluster: NDArray[np.int64] | None) -> dict[str, Any]:
    """What clusters cost within a segment; nothing where each has one member there."""
    if cluster is None or not 2 <= len(np.unique(cluster)) < len(cluster):
        return {}
    cost = design_effect(part, cluster)
    return {"deff": cost.deff, "cluster_size": len(part) / cost.clusters, "variation": cost.variation}


def _past(engine: Engine, spec: ExperimentSpec, as_of: str | None) -> datetime:
    seen = observed_until(engine)
    if seen is None:
        raise DesignError("there is not one event in the data, so there is no past to plan from")
    until = seen.astimezone(ZoneInfo(engine.timezone))
    longest = max(metric.window_days for metric in spec.metrics)
    latest = until - timedelta(days=longest)
    moment = latest if as_of is None else parse_as_of(as_of, engine.timezone)
    if moment > latest:
        raise DesignError(
            f"--as-of {as_of}: the longest window is {longest} days and the data end on {until:%Y-%m-%d}, so it is not "
            f"complete after that day → {latest:%Y-%m-%d} or earlier"
        )
    since = observed_since(engine)
    if since is not None and moment < since:
        raise DesignError(
            f"a window from {moment:%Y-%m-%d} on begins before the first order, of "
            f"{since.astimezone(until.tzinfo):%Y-%m-%d}: what came before would count as nothing bought → a later "
            "--as-of, or more data"
        )
    return moment


def drawn(powered: Powered, workspace: Workspace, experiment_id: str) -> Powered:
    """The same with its picture in both languages, ``reports/experiments/ID/power.zh.html`` and ``power.en.html``."""
    from uplift.reports import write_power_report

    folder = workspace.reports / "experiments" / experiment_id
    files = write_power_report({**powered.to_dict(), "id": experiment_id}, folder)
    return replace(powered, files=tuple(str(file) for file in files))
