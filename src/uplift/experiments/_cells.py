"""Effects of every arm in every cell, and whether they differ between the segments of a column."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.special import fdtrc, stdtr

from uplift.experiments._measured import WHOLE, CellEstimate, Measured, Place
from uplift.experiments._metric import Metric
from uplift.experiments._result import Effect, Interaction, number
from uplift.experiments.estimators import Difference
from uplift.experiments.shrinkage import shrink


def effects(measured: Measured, levels: Mapping[str, float]) -> list[Effect]:
    """Every arm's effect in every cell, small cells suppressed, segments shrunk; p-values not yet adjusted.

    ``levels`` gives, for each metric, one minus the level of its intervals.
    """
    found: list[Effect] = []
    for metric in measured.metrics:
        alpha = levels[metric.name]
        for arm in range(1, len(measured.arms)):
            hidden = measured.hidden[metric.name, arm]
            found.append(_effect(measured, metric, arm, WHOLE, alpha, bool(hidden[0])))
            start = 1
            for place, column in enumerate(measured.segments):
                rows = [
                    _effect(measured, metric, arm, Place(place, v), alpha, bool(hidden[start + v]))
                    for v in range(len(column.values))
                ]
                start += len(column.values)
                found.extend(_shrunk(rows, alpha))
    return found


def _effect(measured: Measured, metric: Metric, arm: int, place: Place, alpha: float, hidden: bool) -> Effect:
    column = None if place.column is None else measured.segments[place.column]
    value = None if column is None or place.value is None else column.values[place.value]
    named = Effect(measured.arms[arm], metric.name, None if column is None else column.name, value)
    if hidden:
        return replace(named, suppressed=True)
    cell = measured.estimates[metric.name, place]
    raw = cell.raw.difference(arm, 0, alpha)
    adjusted = cell.adjusted.difference(arm, 0, alpha)
    ratio = cell.adjusted.ratio(arm, 0, alpha)
    return replace(
        named,
        n_control=int(cell.counts[0]),
        n_arm=int(cell.counts[arm]),
        control_mean=number(cell.raw.mean[0]),
        arm_mean=number(cell.raw.mean[arm]),
        raw=number(raw.value),
        raw_low=number(raw.low),
        raw_high=number(raw.high),
        effect=number(adjusted.value),
        low=number(adjusted.low),
        high=number(adjusted.high),
        p_value=number(adjusted.p_value),
        relative=number(ratio.value),
        relative_low=number(ratio.low),
        relative_high=number(ratio.high),
        se=number(adjusted.se),
        covariates=cell.covariates,
        margin=metric.margin,
        p_noninferior=None if metric.margin is None else number(beyond(metric, adjusted, harm=False)),
    )


def beyond(metric: Metric, gap: Difference, *, harm: bool) -> float:
    """One-sided p-value of a guardrail with a margin.

    Of harm beyond the margin (``harm``), or of harm within it: non-inferiority.
    """
    if metric.margin is None or not gap.se > 0:
        return math.nan
    damage = -gap.value if metric.increase else gap.value
    t = (damage - metric.margin) / gap.se
    return float(stdtr(gap.df, -t if harm else t))


def _shrunk(rows: list[Effect], alpha: float) -> list[Effect]:
    """The segments of one column, shrunk towards each other where at least two have a standard error."""
    usable = [i for i, row in enumerate(rows) if row.se is not None and row.effect is not None]
    if len(usable) < 2:
        return rows
    result = shrink([rows[i].effect or 0.0 for i in usable], [rows[i].se or math.nan for i in usable], alpha)
    done = list(rows)
    for i, value, low, high in zip(usable, result.value, result.low, result.high, strict=True):
        done[i] = replace(rows[i], shrunk=float(value), shrunk_low=float(low), shrunk_high=float(high))
    return done


def interactions(measured: Measured, found: list[Effect]) -> list[Interaction]:
    """For every arm, metric and segment column: do the segments shown differ?"""
    shown = {(e.arm, e.metric, e.segment_column, e.segment) for e in found if e.se is not None}
    tests = []
    for metric in measured.metrics:
        for arm in range(1, len(measured.arms)):
            for c, column in enumerate(measured.segments):
                name = measured.arms[arm]
                cells = [
                    measured.estimates[metric.name, Place(c, v)]
                    for v, value in enumerate(column.values)
                    if (name, metric.name, column.name, value) in shown
                ]
                tests.append(_interaction(measured, Interaction(name, metric.name, column.name), cells, arm))
    return tests


def _interaction(measured: Measured, named: Interaction, cells: list[CellEstimate], arm: int) -> Interaction:
    if len(cells) < 2:
        return named
    gaps = [cell.adjusted.difference(arm, 0) for cell in cells]
    effect = np.array([gap.value for gap in gaps])
    covariance = np.diag([gap.se**2 for gap in gaps])
    if measured.together is not None:
        covariance = measured.together(cells, arm)
    k = len(cells)
    weights = np.linalg.pinv(covariance, hermitian=True)
    total = weights.sum()
    centre = float(weights.sum(axis=0) @ effect) / total
    quadratic = float((effect - centre) @ weights @ (effect - centre))
    # Welch (1951): the noise of the weights costs degrees of freedom
    share = weights.sum(axis=0) / total
    lack = float(sum((1 - s) ** 2 / gap.df for s, gap in zip(share, gaps, strict=True)))
    statistic = quadratic / (k - 1) / (1 + 2 * (k - 2) / (k * k - 1) * lack)
    df = (k * k - 1) / (3 * lack)
    return replace(
        named, p_value=number(float(fdtrc(k - 1, df, max(statistic, 0.0)))), statistic=number(statistic), df=number(df)
    )
