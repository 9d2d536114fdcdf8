"""Size an experiment, from the workspace's own past or from numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from uplift.config import ExperimentSpec, Workspace
from uplift.data import Engine
from uplift.errors import DesignError
from uplift.experiments import (
    ArmPower,
    Metric,
    Power,
    SimulatedPower,
    encode,
    explained_variance,
    power,
    roles,
    simulate_power,
)
from uplift.features import OUTCOMES, observed_until, outcomes, parse_as_of, to_frame
from uplift.pipelines._experiments import CENTS, Progress, experiment_spec, parse_shares, population, silent
from uplift.policy import holdout
from uplift.results import Rendered
from uplift.segments import build_columns


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
    """

    plans: Mapping[str, Power]
    simulated: Mapping[str, SimulatedPower]
    basis: Mapping[str, Mapping[str, Any]]
    unit: Mapping[str, str]

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
        }

    def to_text(self) -> str:
        """For a person at the prompt."""
        plan = next(iter(self.plans.values()))
        lines = [f"Power {plan.power:.0%}, error {plan.alpha:.0%} for each family of comparisons.", ""]
        for name, chosen in self.plans.items():
            basis = self.basis[name]
            level = "" if chosen.baseline is None else f"level {chosen.baseline:.4g}, "
            lines.append(
                f"{name} ({self.unit[name]}): {level}sd {chosen.sd:.4g}, ρ² {chosen.rho2:.3f}; {basis['text']}; "
                f"{chosen.comparisons} comparison(s) in the family"
            )
            for row in chosen.arms:
                lines.append("  " + _arm_line(row, self._simulated(name, row.arm)))
        return "\n".join(lines)


def _arm_line(row: ArmPower, simulated: float | None) -> str:
    parts = []
    if row.smallest_effect is not None:
        relative = "" if row.smallest_relative is None else f" ({row.smallest_relative:.1%})"
        parts.append(
            f"smallest effect {row.smallest_effect:.4g}{relative} with {row.n_arm:,} against {row.n_control:,}"
        )
    if row.needed_total is not None:
        parts.append(f"needs {row.needed_total:,} in all: {row.needed_arm:,} against {row.needed_control:,}")
    if simulated is not None:
        parts.append(f"simulated power {simulated:.1%}")
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
        progress(f"{members.num_rows:,} members as of {moment:%Y-%m-%d}")
        wanted = {f"metric {i}": (m.outcome, m.window_days) for i, m in enumerate(spec.metrics)}
        measured = outcomes(engine, members, wanted, until=observed_until(engine))
        columns = list(dict.fromkeys((*spec.stratify, *spec.covariates)))
        frame = to_frame(build_columns(engine, members, columns), columns)
    matrix = encode(frame, columns, workspace.config.min_cell).matrix
    asked = size or spec.planned_size or members.num_rows
    role = roles([Metric(m.name, m.kind, guardrail=m.guardrail) for m in spec.metrics])
    treated = sum(arm.share > 0 for arm in spec.arms if arm.name != spec.control)
    plans: dict[str, Power] = {}
    simulated: dict[str, SimulatedPower] = {}
    basis: dict[str, dict[str, Any]] = {}
    unit: dict[str, str] = {}
    for name, metric in zip(wanted, spec.metrics, strict=True):
        if metric.kind != "rate" and metric.kind != "mean":
            raise DesignError(f"metric {metric.name!r}: power is for rates and means, not for a {metric.kind}")
        values = measured[name].to_numpy(zero_copy_only=False)
        money = OUTCOMES[metric.outcome].unit == "money"
        values = values / CENTS if money else values
        if np.isnan(values).any():
            raise DesignError(
                f"metric {metric.name!r}: the window of {metric.window_days} days after {moment:%Y-%m-%d} is not "
                "complete → an earlier --as-of"
            )
        if values.std() == 0:
            raise DesignError(
                f"metric {metric.name!r} was {values.mean():g} for everybody after {moment:%Y-%m-%d}: there is no "
                "spread to plan with → another --as-of, or numbers of your own (--baseline, --sd)"
            )
        rho2 = explained_variance(values, matrix) if matrix.shape[1] else 0.0
        plans[metric.name] = power(
            spec.shares, control=spec.control, kind=metric.kind, baseline=float(values.mean()),
            sd=float(values.std(ddof=1)), size=asked, effect=effect, alpha=spec.alpha, power=chance, rho2=rho2,
            comparisons=treated * sum(role[other.name] == role[metric.name] for other in spec.metrics),
        )  # fmt: skip
        basis[metric.name] = {
            "as_of": moment.isoformat(), "members": len(values), "window_days": metric.window_days,
            "text": f"{len(values):,} members in the {metric.window_days} days after {moment:%Y-%m-%d}",
        }  # fmt: skip
        unit[metric.name] = workspace.config.currency if money else OUTCOMES[metric.outcome].unit
        if simulate:
            progress(f"{metric.name}: {simulate} simulated experiments")
            plan = plans[metric.name]
            tried = effect if effect is not None else max(arm.smallest_effect or 0.0 for arm in plan.arms)
            simulated[metric.name] = simulate_power(
                plan, effect=tried, size=asked if effect is None else None, outcome=values,
                covariates=matrix if matrix.shape[1] else None, repeats=simulate, seed=seed,
            )  # fmt: skip
    return Powered(plans, simulated, basis, unit)


def _past(engine: Engine, spec: ExperimentSpec, as_of: str | None) -> datetime:
    if as_of is not None:
        return parse_as_of(as_of, engine.timezone)
    until = observed_until(engine)
    if until is None:
        raise DesignError("there is not one event in the data, so there is no past to plan from")
    return until - timedelta(days=max(metric.window_days for metric in spec.metrics))
