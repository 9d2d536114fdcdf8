"""What an analysis found, as far as recommended actions need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from uplift.experiments._measured import WHOLE, Measured, Place
from uplift.experiments._metric import Metric, roles
from uplift.experiments._result import Effect, Interaction
from uplift.experiments.estimators import ArmMeans
from uplift.experiments.sequential import Look
from uplift.experiments.verdict import Finding, Names, Verdict


@dataclass(frozen=True)
class SegmentCut:
    """A segment column: its values, members of each (None: too few to show), and whether effects differ for certain."""

    name: str
    values: tuple[str, ...]
    members: tuple[int | None, ...]
    differs: bool


@dataclass(frozen=True)
class Situation:
    """What an analysis found.

    Attributes
    ----------
    arms
        The control first.
    metric
        In which gains are counted, from :func:`value_metric`.
    means
        Place of a segment column and of its value (both None: everybody) → adjusted means by arm, None where hidden.
    better, worse
        Arms that the verdict calls effective, and harmful.
    costs
        Arm → expected cost a member in units of the metric's currency; absent: nothing.
    look
        What may be concluded now.
    """

    arms: tuple[str, ...]
    metric: Metric
    means: Callable[[int | None, int | None], ArmMeans | None]
    verdict: Verdict
    better: tuple[str, ...]
    worse: tuple[str, ...]
    members: int
    look: Look
    cuts: Sequence[SegmentCut] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    names: Names = field(default_factory=dict)

    @property
    def sign(self) -> float:
        """Of an effect that is wanted."""
        return 1.0 if self.metric.increase else -1.0

    @property
    def in_money(self) -> bool:
        """Whether costs can be taken off gains: both are money a member."""
        return self.metric.unit == "money" and self.metric.kind == "mean"

    def cost(self, arm: str, other: str | None = None) -> float:
        """Extra cost of an arm over another (the control's is what it is given), where gains are in money."""
        if not self.in_money:
            return 0.0
        return self.costs.get(arm, 0.0) - self.costs.get(other or self.arms[0], 0.0)


def value_metric(metrics: Sequence[Metric], primary: str) -> Metric:
    """The metric in which gains are counted: gross margin, else the primary one in money, else any, else the primary.

    Guardrails do not count.
    """
    goals = [metric for metric in metrics if not metric.guardrail] or list(metrics)
    money = [metric for metric in goals if metric.unit == "money" and metric.kind == "mean"]
    margin = [metric for metric in money if "margin" in (metric.outcome, metric.name)]
    chosen = [metric for metric in goals if metric.name == primary] or goals
    return next(iter([*margin, *(m for m in money if m.name == primary), *money, *chosen]))


def situation(
    measured: Measured,
    found: Sequence[Effect],
    tests: Sequence[Interaction],
    findings: Sequence[Finding],
    verdict: Verdict,
    now: Mapping[str, Look],
    *,
    costs: Mapping[str, float],
    names: Names,
    alpha: float,
) -> Situation:
    """What actions need of an analysis; cells that are not shown are not used."""
    role = roles(measured.metrics)
    primary = next((name for name, what in role.items() if what == "primary"), measured.metrics[0].name)
    metric = value_metric(measured.metrics, primary)
    shown = {(e.segment_column, e.segment, e.arm) for e in found if e.metric == metric.name and e.se is not None}
    worse = tuple(dict.fromkeys(f.arm for f in findings if f.worse and f.role != "secondary"))
    better = tuple(f.arm for f in findings if f.better and f.role == "primary" and f.arm not in worse)

    def means(column: int | None, value: int | None) -> ArmMeans | None:
        where: tuple[str | None, str | None] = (None, None)
        if column is not None and value is not None:
            where = (measured.segments[column].name, measured.segments[column].values[value])
        seen = [place for place, arm in enumerate(measured.arms) if place == 0 or (*where, arm) in shown]
        if len(seen) < 2:
            return None
        cell = measured.estimates[metric.name, Place(column, value)].adjusted
        return replace(cell, mean=np.where(np.isin(np.arange(len(measured.arms)), seen), cell.mean, np.nan))

    def members(column: int, value: int) -> int | None:
        cut = measured.segments[column]
        if not all((cut.name, cut.values[value], arm) in shown for arm in measured.arms[1:]):
            return None
        return int(measured.estimates[metric.name, Place(column, value)].counts.sum())

    differing = {
        test.segment_column
        for test in tests
        if test.metric in (metric.name, primary) and test.p_adjusted is not None and test.p_adjusted < alpha
    }
    cuts = tuple(
        SegmentCut(c.name, c.values, tuple(members(i, v) for v in range(len(c.values))), c.name in differing)
        for i, c in enumerate(measured.segments)
    )
    total = int(measured.estimates[metric.name, WHOLE].counts.sum())
    return Situation(
        measured.arms, metric, means, verdict, better, worse, total, now[primary], cuts, dict(costs), dict(names)
    )
