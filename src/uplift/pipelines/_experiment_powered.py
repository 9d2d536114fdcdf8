"""Power of a design as people and machines read it: one entry a metric, and the curve behind its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uplift.config import with_currency
from uplift.experiments import ArmPower, Power, SimulatedPower, power
from uplift.results import Rendered

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
            if basis.get("margin") is not None:
                margin, needed = size(basis["margin"], gap=True), basis["margin_needs"]
                lines.append(f"  to prove that harm stays within {margin}: {needed:,} members in all, if there is none")
            if basis.get("few_clusters"):
                lines.append(
                    f"  fewer than {FEW_CLUSTERS} clusters: their ICC is a rough guess and may well be larger, so plan "
                    "with room"
                )
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
        return text if self.unit in ("count", "the metric's unit") else with_currency(text, self.unit)


def power_curve(plan: Power, points: int = 25) -> list[dict[str, Any]]:
    """The smallest effect by members in all, around the size asked for: the picture of a plan."""
    centre = plan.size or plan.needed_total or 1000
    rows = []
    for size in np.unique(np.geomspace(max(centre / 10, 20), centre * 10, points).round().astype(int)).tolist():
        at = power(
            plan.shares, control=plan.control, kind=plan.kind, baseline=plan.baseline, sd=plan.sd, size=size,
            alpha=plan.alpha, power=plan.power, rho2=plan.rho2, deff=plan.deff,
            cluster_size=plan.cluster_size, variation=plan.variation,
            proportional=plan.proportional, comparisons=plan.comparisons,
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
