"""Estimates of every metric in the whole population and in every segment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from uplift.experiments._inputs import Prepared
from uplift.experiments._result import Effect, Interaction, number
from uplift.experiments.estimators import ArmMeans, ArmRegression
from uplift.experiments.shrinkage import shrink
from uplift.experiments.suppression import cut, suppressed

ROWS_PER_COVARIATE = 10
"""An arm needs this many rows for every covariate it is adjusted for."""


class Place(NamedTuple):
    """A cell: the whole population (both None) or one value of one segment column, by their places."""

    column: int | None
    value: int | None


WHOLE = Place(None, None)


@dataclass(frozen=True)
class CellEstimate:
    """One metric in one cell.

    Attributes
    ----------
    counts : ndarray of shape (n_arms,)
        Rows with a known outcome.
    raw, adjusted
        Means by arm without and with covariates.
    covariates
        Columns used.
    rows : ndarray of shape (n_cell_rows,)
        Row numbers, in the order of the contributions.
    """

    counts: NDArray[np.int64]
    raw: ArmMeans
    adjusted: ArmMeans
    covariates: int
    rows: NDArray[np.int64]


Estimates = dict[tuple[str, Place], CellEstimate]


def places(prepared: Prepared) -> list[Place]:
    """The whole population, then every value of every segment column."""
    cells = [Place(c, v) for c, column in enumerate(prepared.segments) for v in range(len(column.values))]
    return [WHOLE, *cells]


def estimate(prepared: Prepared) -> Estimates:
    """Fit every metric in every cell; what depends on rows only is computed once for all metrics of those rows."""
    together: dict[bytes, list[str]] = {}
    for metric in prepared.metrics:
        known = prepared.outcomes[metric.name].known
        together.setdefault(np.packbits(known).tobytes(), []).append(metric.name)
    n_arms = len(prepared.arms)
    estimates: Estimates = {}
    for names in together.values():
        mask = prepared.outcomes[names[0]].known
        for place in places(prepared):
            inside = mask if place.column is None else mask & (prepared.segments[place.column].codes == place.value)
            rows = np.flatnonzero(inside)
            arm = prepared.arm[rows]
            counts = np.bincount(arm, minlength=n_arms)
            clusters = None
            if prepared.clusters is not None:
                clusters = np.unique(prepared.clusters[rows], return_inverse=True)[1]
            plain = ArmRegression(None, arm, n_arms, clusters)
            filled = counts[counts > 0]
            limit = int(filled.min()) // ROWS_PER_COVARIATE if len(filled) else 0
            x = prepared.covariates.matrix[rows, :limit]
            fitted = ArmRegression(x, arm, n_arms, clusters) if x.shape[1] else plain
            for name in names:
                y = prepared.outcomes[name].linear(rows, arm, n_arms)
                raw = plain.estimate(y)
                adjusted = fitted.estimate(y) if len(fitted.kept) else raw
                estimates[name, place] = CellEstimate(counts, raw, adjusted, len(fitted.kept), rows)
    return estimates


def effects(prepared: Prepared, estimates: Estimates, levels: Mapping[str, float], min_cell: int) -> list[Effect]:
    """Every arm's effect in every cell, small cells suppressed, segments shrunk; p-values not yet adjusted.

    ``levels`` gives, for each metric, one minus the level of its intervals.
    """
    found: list[Effect] = []
    cuts, joint = cut(
        [c.codes for c in prepared.segments], [len(c.values) for c in prepared.segments], len(prepared.arm)
    )
    n_joint = cuts.inside.shape[1]
    for metric in prepared.metrics:
        outcome, alpha = prepared.outcomes[metric.name], levels[metric.name]
        known = outcome.known
        for arm in range(1, len(prepared.arms)):
            counts = []
            for own in (prepared.arm == 0, prepared.arm == arm):
                for chosen in (own & known, own & known & outcome.active):
                    counts.append(np.bincount(joint[chosen], minlength=n_joint).astype(np.float64))
            hidden = suppressed(cuts, counts, min_cell)
            small = any(count.sum() < min_cell for count in counts)
            found.append(_effect(prepared, metric.name, arm, WHOLE, estimates, alpha, small))
            start = 0
            for place, column in enumerate(prepared.segments):
                rows = [
                    _effect(prepared, metric.name, arm, Place(place, v), estimates, alpha, bool(hidden[start + v]))
                    for v in range(len(column.values))
                ]
                start += len(column.values)
                found.extend(_shrunk(rows, alpha))
    return found


def _effect(
    prepared: Prepared, metric: str, arm: int, place: Place, estimates: Estimates, alpha: float, hidden: bool
) -> Effect:
    column = None if place.column is None else prepared.segments[place.column]
    value = None if column is None or place.value is None else column.values[place.value]
    named = Effect(prepared.arms[arm], metric, None if column is None else column.name, value)
    if hidden:
        return replace(named, suppressed=True)
    cell = estimates[metric, place]
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
    )


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


def interactions(prepared: Prepared, estimates: Estimates, found: list[Effect]) -> list[Interaction]:
    """For every arm, metric and segment column: do the segments shown differ?"""
    shown = {(e.arm, e.metric, e.segment_column, e.segment) for e in found if e.se is not None}
    tests = []
    for metric in prepared.metrics:
        for arm in range(1, len(prepared.arms)):
            for c, column in enumerate(prepared.segments):
                name = prepared.arms[arm]
                cells = [
                    estimates[metric.name, Place(c, v)]
                    for v, value in enumerate(column.values)
                    if (name, metric.name, column.name, value) in shown
                ]
                tests.append(_interaction(prepared, Interaction(name, metric.name, column.name), cells, arm))
    return tests


def _interaction(prepared: Prepared, named: Interaction, cells: list[CellEstimate], arm: int) -> Interaction:
    if len(cells) < 2:
        return named
    gaps = [cell.adjusted.difference(arm, 0) for cell in cells]
    effect = np.array([gap.value for gap in gaps])
    covariance = np.diag([gap.se**2 for gap in gaps])
    if prepared.clusters is not None:
        covariance = _clustered(prepared, cells, arm)
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


def _clustered(prepared: Prepared, cells: list[CellEstimate], arm: int) -> NDArray[np.float64]:
    """Covariance of the segments' effects when clusters span segments."""
    if prepared.clusters is None:
        raise ValueError("no clusters")
    sums = np.zeros((int(prepared.clusters.max()) + 1, len(cells)))
    for place, cell in enumerate(cells):
        of_row = prepared.arm[cell.rows]
        signed = cell.adjusted.contribution * ((of_row == arm).astype(float) - (of_row == 0))
        np.add.at(sums[:, place], prepared.clusters[cell.rows], signed)
    return np.asarray(sums.T @ sums)
