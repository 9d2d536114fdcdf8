"""The result of an analysis: typed, frozen, and as the dictionary that ``result.json`` holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from uplift.experiments.verdict import Verdict
from uplift.results import Rendered

if TYPE_CHECKING:
    from uplift.experiments.actions import Action


@dataclass(frozen=True)
class Effect(Rendered):
    """One arm against the control, on one metric, in the whole population or one segment.

    Attributes
    ----------
    segment_column, segment
        None for the whole population.
    n_control, n_arm
        Rows with a known outcome.
    control_mean, arm_mean
        Plain means, in the metric's unit (rates as shares).
    raw, raw_low, raw_high
        Difference of the plain means, with Welch's interval.
    effect, low, high, p_value, se
        Difference adjusted for covariates (Lin 2013, HC2 or CR2); equal to raw where there are none.
    p_adjusted
        Whole population: Holm (or Dunnett) over all arms on the primary metric, Holm over all arms and the other goals,
        and Holm over all arms, guardrails and the primary metric; segments: Benjamini–Hochberg over all of them.
    relative, relative_low, relative_high
        Effect over the control's adjusted mean, by Fieller; None when it cannot be stated as a percentage.
    shrunk, shrunk_low, shrunk_high
        Effect shrunk towards the other segments of the column, with robust empirical-Bayes intervals.
    covariates
        Columns used in the adjustment.
    suppressed
        True when the cell is too small to be shown, or would give a small one away; all numbers are then None.
    margin, p_noninferior, noninferior
        Of a guardrail with a margin: the harm that can be borne, the one-sided p-value that speaks against its being
        exceeded, and whether the interval shows that it is not; None for all other metrics.
    """

    arm: str
    metric: str
    segment_column: str | None
    segment: str | None
    n_control: int | None = None
    n_arm: int | None = None
    control_mean: float | None = None
    arm_mean: float | None = None
    raw: float | None = None
    raw_low: float | None = None
    raw_high: float | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    shrunk: float | None = None
    shrunk_low: float | None = None
    shrunk_high: float | None = None
    se: float | None = None
    covariates: int | None = None
    suppressed: bool = False
    margin: float | None = None
    p_noninferior: float | None = None
    noninferior: bool | None = None


@dataclass(frozen=True)
class Interaction(Rendered):
    """Whether an arm's effect differs between the segments of a column.

    Attributes
    ----------
    statistic, df, p_value
        Welch's heteroscedastic test that all segments shown have the same effect; None with fewer than two.
    p_adjusted
        Holm over all arms, metrics and columns.
    """

    arm: str
    metric: str
    segment_column: str
    p_value: float | None = None
    p_adjusted: float | None = None
    statistic: float | None = None
    df: float | None = None


SHOWN = (
    "metric", "arm", "segment_column", "segment", "n_arm", "control_mean", "arm_mean", "effect", "low", "high",
    "relative", "p_adjusted",
)  # fmt: skip
"""Columns that a person reads first; the others are in ``to_pandas`` and ``to_dict``."""


@dataclass(frozen=True)
class Analysis(Rendered):
    """An analysed experiment.

    Attributes
    ----------
    design, checks, metrics, families, notes, provenance
        Plain values, as in ``result.json``.
    effects, interactions
        Tuples of :class:`Effect` and :class:`Interaction`.
    verdict
        What it comes to.
    exposed
        Effects on those who were reached, where exposure is known: one mapping an arm and metric.
    actions
        What to do next, in money where there is a metric in money.
    """

    design: Mapping[str, Any]
    checks: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]
    verdict: Verdict
    families: Mapping[str, Any]
    notes: tuple[Mapping[str, str], ...]
    provenance: Mapping[str, Any]
    exposed: tuple[Mapping[str, Any], ...] = ()
    actions: tuple[Action, ...] = ()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row an effect."""
        return [as_dict(effect) for effect in self.effects]

    def to_dict(self) -> dict[str, Any]:
        """What ``result.json`` holds: no NaN, no infinity, the same bytes for the same input."""
        values = {
            "design": self.design,
            "checks": self.checks,
            "metrics": list(self.metrics),
            "effects": self.to_dicts(),
            "interactions": [as_dict(interaction) for interaction in self.interactions],
            "exposed": list(self.exposed),
            "verdict": as_dict(self.verdict),
            "actions": [as_dict(action) for action in self.actions],
            "families": self.families,
            "notes": list(self.notes),
            "provenance": self.provenance,
        }
        plain: dict[str, Any] = json_ready(values)
        return plain

    def _shown(self) -> list[dict[str, Any]]:
        rows = self.to_dicts()
        segmented = any(row["segment_column"] is not None for row in rows)
        shown = SHOWN if segmented else [name for name in SHOWN if not name.startswith("segment")]
        return [{name: row[name] for name in shown} for row in rows]

    def _repr_html_(self) -> str:
        sentence = f"<p><b>{_escape(self.verdict.zh)}</b><br>{_escape(self.verdict.en)}</p>"
        for action in self.actions:
            sentence += f"<p>{_escape(action.zh)}<br>{_escape(action.en)}</p>"
        return sentence + Rendered._repr_html_(self)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_dict(row: Any) -> dict[str, Any]:
    """A flat dataclass as a dictionary."""
    return {field.name: getattr(row, field.name) for field in fields(row)}


def json_ready(value: Any) -> Any:
    """Plain Python values, with None for what is not a finite number."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def number(value: float) -> float | None:
    """A float, or None where there is none to give."""
    return float(value) if math.isfinite(value) else None
