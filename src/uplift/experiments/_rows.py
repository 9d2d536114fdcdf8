"""A table in memory, one row a member: estimates of every metric in every cell, and the checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.data import fingerprint
from uplift.experiments._encoding import labels
from uplift.experiments._inputs import Prepared, prepare
from uplift.experiments._measured import (
    ROWS_PER_COVARIATE,
    CellEstimate,
    Cut,
    Estimates,
    Measured,
    Place,
    places,
)
from uplift.experiments._request import Request
from uplift.experiments.checks import balance, units_by_arm
from uplift.experiments.estimators import ArmMeans, ArmRegression
from uplift.experiments.exposure import Exposure
from uplift.experiments.moments import Moments
from uplift.experiments.suppression import cut, hidden_rows, overlaps

Variance = Literal["HC2", "moments"]
FITTED = {
    "HC2": "HC2 (CR2 with clusters)",
    "moments": "each arm's own least squares, s²(1/n + d′S⁻¹d)",
}


def measure_rows(df: pd.DataFrame, request: Request, variance: Variance = "HC2") -> Measured:
    """Everything that an analysis concludes from.

    Raises
    ------
    DesignError
        Listing everything that is wrong with the table or the request.
    """
    prepared = prepare(df, request)
    n_arms = len(prepared.arms)
    sizes = np.bincount(prepared.arm, minlength=n_arms)
    units, unit = units_by_arm(prepared.arm, n_arms, prepared.clusters)
    cuts = tuple(Cut(column.name, column.values) for column in prepared.segments)
    clustered = prepared.clusters
    estimates = _by_moments(prepared, cuts) if variance == "moments" and clustered is None else _by_rows(prepared, cuts)

    def together(cells: Any, arm: int) -> NDArray[np.float64]:
        return _clustered(prepared, cells, arm)

    return Measured(
        request=request,
        arms=prepared.arms,
        sizes=sizes,
        shares=prepared.shares,
        units=units,
        unit=unit,
        metrics=prepared.metrics,
        segments=cuts,
        estimates=estimates,
        hidden=_hidden(prepared, request.min_cell),
        balance=balance(
            prepared.covariates, prepared.arm, prepared.arms,
            clusters=clustered, strata=prepared.strata, min_cell=request.min_cell,
        ),
        empty={name: outcome.empty for name, outcome in prepared.outcomes.items()},
        unknown={
            name: np.bincount(prepared.arm[~outcome.known], minlength=n_arms)
            for name, outcome in prepared.outcomes.items()
        },
        duplicates=prepared.duplicates,
        notes=prepared.notes,
        digest=_digest(df[request.used]),
        variance=FITTED["HC2" if clustered is not None else variance],
        together=None if clustered is None else together,
        exposure=None if prepared.exposed is None else _exposure(prepared, variance),
    )  # fmt: skip


def _inside(prepared: Prepared, place: Place) -> NDArray[np.bool_]:
    if place.column is None:
        return np.ones(len(prepared.arm), dtype=np.bool_)
    return np.asarray(prepared.segments[place.column].codes == place.value)


def _alike(prepared: Prepared) -> list[tuple[NDArray[np.bool_], list[str]]]:
    """Metrics by the rows in which they are known."""
    together: dict[bytes, list[str]] = {}
    for metric in prepared.metrics:
        known = prepared.outcomes[metric.name].known
        together.setdefault(np.packbits(known).tobytes(), []).append(metric.name)
    return [(prepared.outcomes[names[0]].known, names) for names in together.values()]


def allowed(counts: NDArray[np.int64]) -> int:
    """Covariates that the smallest arm can bear."""
    filled = counts[counts > 0]
    return int(filled.min()) // ROWS_PER_COVARIATE if len(filled) else 0


def _by_rows(prepared: Prepared, cuts: tuple[Cut, ...]) -> Estimates:
    """Fit every metric in every cell; what depends on rows only is computed once for all metrics of those rows."""
    n_arms = len(prepared.arms)
    estimates: dict[tuple[str, Place], CellEstimate] = {}
    for mask, names in _alike(prepared):
        for place in places(cuts):
            rows = np.flatnonzero(mask & _inside(prepared, place))
            arm = prepared.arm[rows]
            counts = np.bincount(arm, minlength=n_arms)
            clusters = None
            if prepared.clusters is not None:
                clusters = np.unique(prepared.clusters[rows], return_inverse=True)[1]
            plain = ArmRegression(None, arm, n_arms, clusters)
            x = prepared.covariates.matrix[rows, : allowed(counts)]
            fitted = ArmRegression(x, arm, n_arms, clusters) if x.shape[1] else plain
            for name in names:
                y = prepared.outcomes[name].linear(rows, arm, n_arms)
                raw = plain.estimate(y)
                adjusted = fitted.estimate(y) if len(fitted.kept) else raw
                estimates[name, place] = CellEstimate(counts, raw, adjusted, len(fitted.kept), rows)
    return estimates


def _by_moments(prepared: Prepared, cuts: tuple[Cut, ...]) -> Estimates:
    """The same from sums alone, as the engine has them."""
    n_arms = len(prepared.arms)
    covariates = {f"x{j}": column for j, column in enumerate(prepared.covariates.matrix.T)}
    estimates: dict[tuple[str, Place], CellEstimate] = {}
    for mask, names in _alike(prepared):
        columns = dict(covariates)
        for i, name in enumerate(names):
            outcome = prepared.outcomes[name]
            columns[f"y{i}"] = outcome.values
            if outcome.denominator is not None:
                columns[f"d{i}"] = outcome.denominator
        for place in places(cuts):
            rows = np.flatnonzero(mask & _inside(prepared, place))
            moments = Moments.of({key: column[rows] for key, column in columns.items()}, prepared.arm[rows], n_arms)
            for i, name in enumerate(names):
                ratio = f"d{i}" if f"d{i}" in columns else None
                estimates[name, place] = cell_of(moments, f"y{i}", ratio, list(covariates))
    return estimates


def cell_of(moments: Moments, column: str, denominator: str | None, covariates: list[str]) -> CellEstimate:
    """One metric's estimate from the moments of its cell."""
    if denominator is not None:
        moments, column = moments.with_ratio("ratio", column, denominator), "ratio"
    counts = moments.count.astype(np.int64)
    raw = moments.means(column)
    adjusted, used = moments.regression(column, covariates[: allowed(counts)])
    return CellEstimate(counts, raw, adjusted if used else raw, len(used))


def _hidden(prepared: Prepared, min_cell: int) -> dict[tuple[str, int], NDArray[np.bool_]]:
    """By metric and arm: the whole population and the segments that are too small, or would give a small one away."""
    codes = [column.codes for column in prepared.segments]
    cuts, joint = cut(codes, [len(column.values) for column in prepared.segments], len(prepared.arm))
    n_joint = cuts.inside.shape[1]
    own = [prepared.arm == arm for arm in range(len(prepared.arms))]

    def counted(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        return overlaps(cuts, np.bincount(joint[rows], minlength=n_joint).astype(np.float64))

    shared = {
        metric.name: [[counted(rows & outcome.known), counted(rows & outcome.known & outcome.active)] for rows in own]
        for metric in prepared.metrics
        for outcome in [prepared.outcomes[metric.name]]
    }
    return hidden_rows(cuts.column, [counted(rows) for rows in own], shared, min_cell)


def exposed_of(
    moments: Moments, column: str, denominator: str | None, exposed: str, covariates: list[str]
) -> tuple[ArmMeans, ArmMeans, ArmMeans]:
    """Means of a metric, of exposure and of their sum, from moments."""
    if denominator is not None:
        moments, column = moments.with_ratio("ratio", column, denominator), "ratio"
    one = np.ones(len(moments.count))
    moments = moments.with_sum("both", {column: one, exposed: one})
    used = covariates[: allowed(moments.count.astype(np.int64))]
    outcome, sent, both = (moments.regression(name, used)[0] for name in (column, exposed, "both"))
    return outcome, _nobody(sent, moments.mean[:, moments.place(exposed)]), both


def _nobody(sent: ArmMeans, plain: NDArray[np.float64]) -> ArmMeans:
    """Adjusted shares reached; an arm in which nobody was stays exactly at nought."""
    return replace(sent, mean=np.where(plain == 0, 0.0, sent.mean))


def _exposure(prepared: Prepared, variance: Variance) -> Exposure:
    """Means of outcome, exposure and their sum, adjusted for covariates as the effects are."""
    n_arms = len(prepared.arms)
    exposed = prepared.exposed if prepared.exposed is not None else np.zeros(len(prepared.arm))
    effects: dict[str, tuple[ArmMeans, ArmMeans, ArmMeans]] = {}
    for mask, names in _alike(prepared):
        rows = np.flatnonzero(mask)
        arm = prepared.arm[rows]
        clusters = None if prepared.clusters is None else np.unique(prepared.clusters[rows], return_inverse=True)[1]
        counts = np.bincount(arm, minlength=n_arms)
        if variance == "moments" and clusters is None:
            for name in names:
                outcome = prepared.outcomes[name]
                columns = {f"x{j}": x[rows] for j, x in enumerate(prepared.covariates.matrix.T)}
                used = list(columns)
                columns |= {"y": outcome.values[rows], "exposed": exposed[rows]}
                if outcome.denominator is not None:
                    columns["d"] = outcome.denominator[rows]
                ratio = None if outcome.denominator is None else "d"
                effects[name] = exposed_of(Moments.of(columns, arm, n_arms), "y", ratio, "exposed", used)
            continue
        fit = ArmRegression(prepared.covariates.matrix[rows, : allowed(counts)], arm, n_arms, clusters)
        reached = exposed[rows]
        plain = ArmRegression(None, arm, n_arms, clusters).estimate(reached).mean
        sent = _nobody(fit.estimate(reached), plain)
        for name in names:
            y = prepared.outcomes[name].linear(rows, arm, n_arms)
            effects[name] = (fit.estimate(y), sent, fit.estimate(y + reached))
    reached = np.bincount(prepared.arm, weights=exposed, minlength=n_arms).astype(np.float64)
    return Exposure(reached, {metric.name: effects[metric.name] for metric in prepared.metrics})


def _clustered(prepared: Prepared, cells: list[CellEstimate], arm: int) -> NDArray[np.float64]:
    """Covariance of the segments' effects when clusters span segments."""
    if prepared.clusters is None:
        raise ValueError("no clusters")
    sums = np.zeros((int(prepared.clusters.max()) + 1, len(cells)))
    for place, cell in enumerate(cells):
        rows = cell.rows if cell.rows is not None else np.empty(0, dtype=np.int64)
        of_row = prepared.arm[rows]
        signed = cell.adjusted.contribution * ((of_row == arm).astype(float) - (of_row == 0))
        np.add.at(sums[:, place], prepared.clusters[rows], signed)
    return np.asarray(sums.T @ sums)


def _digest(used: pd.DataFrame) -> str:
    mixed = [name for name in used.columns if not _storable(used[name].dtype)]
    return fingerprint(used.assign(**{name: labels(used[name]) for name in mixed}) if mixed else used)


def _storable(dtype: Any) -> bool:
    """Whether Arrow has a type for the column; others (mixed objects, intervals) are digested as text."""
    if isinstance(dtype, pd.CategoricalDtype):
        return _storable(dtype.categories.dtype)
    return not (pd.api.types.is_object_dtype(dtype) or isinstance(dtype, pd.IntervalDtype))


__all__ = ["FITTED", "Variance", "allowed", "cell_of", "exposed_of", "measure_rows"]
