"""A table of any length: one pass of the engine for every sum that the analysis needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.experiments import _sums
from uplift.experiments._balance import balance_of_moments
from uplift.experiments._encoding import MISSING, labels
from uplift.experiments._hiding import Grid, hidden_cells
from uplift.experiments._inputs import BAND_ABOVE, band_names, ordered_levels, too_many_values
from uplift.experiments._leverage import Cell, Name, Target, hc2, weights, with_hc2
from uplift.experiments._measured import WHOLE, CellEstimate, Cut, Measured, Place, places
from uplift.experiments._metric import SHARES, Metric
from uplift.experiments._outcomes import of_values
from uplift.experiments._relation import Bounds, Relation, opened, quote
from uplift.experiments._request import MAX_SEGMENTS, Request, named_arms, refuse
from uplift.experiments._rows import FITTED, Variance, allowed, cell_of, exposed_of
from uplift.experiments._sums import Block, Cells, Plan
from uplift.experiments._table_checks import TableChecks, refuse_by_row, refuse_types
from uplift.experiments._table_plan import EXPOSED, Covariate, Planner
from uplift.experiments.checks import Balance
from uplift.experiments.estimators import ArmMeans
from uplift.experiments.exposure import Exposure
from uplift.experiments.moments import Moments


def measure_table(
    source: str | Path | Sequence[str | Path],
    request: Request,
    *,
    variance: Variance = "HC2",
    threads: int | None = None,
    memory_limit: str | None = None,
) -> Measured:
    """Everything that an analysis concludes from, from sums alone.

    One statement reads the rows once for all arms, segment columns, metrics and covariates. What it must know before
    comes from the footers of Parquet files. A further look at single columns is taken only where it cannot: categories
    of covariates, quartiles of numbers used as segments, quantiles for winsorising, files without statistics, members
    (``unit``), times; and, where a cell is small, at the sizes of pairs of segments. With covariates HC2 takes a second
    look at the rows, and one a segment column, with the coefficients that the first gave.

    Raises
    ------
    DesignError
        Listing everything that is wrong with the table or the request.
    InputError
        If the table cannot be read.
    """
    with opened(source, threads=threads, memory_limit=memory_limit) as relation:
        request.check(list(relation.types), relation.rows)
        refuse_by_row(request)
        refuse_types(relation, request)
        try:
            return _Reading(relation, request, variance, scan=False).measure()
        except (duckdb.ConversionException, duckdb.OutOfRangeException):
            # footers may be silent about NaN; the values themselves are not
            return _Reading(relation, request, variance, scan=True).measure()


class _Reading:
    """One reading of a table; ``scan`` takes bounds from the values instead of the footers."""

    def __init__(self, relation: Relation, request: Request, variance: Variance, *, scan: bool) -> None:
        self.relation, self.request, self.variance = relation, request, variance
        numbers = [c for name in request.metrics for c in request.metric(name).needs]
        numbers += [name for name in request.known_before if relation.is_number(name)]
        if request.exposed is not None:
            numbers.append(request.exposed)
        self.bounds = relation.bounds(list(dict.fromkeys(numbers)), scan=scan)
        self.checks = TableChecks(relation, request, self.bounds)
        self.planner = Planner(relation, request, self.bounds)
        self.problems: list[str] = []

    def measure(self) -> Measured:
        """Everything that an analysis concludes from."""
        duplicates = self.checks.run()
        refuse(self.checks.problems)
        covariates = self.planner.covariates()
        blocks = self.planner.blocks(covariates)
        refuse(self.planner.problems)
        banded = {name: self.planner.edges(name) for name in self.request.segments if name in self.checks.many}
        plan, cells, cuts, raw = self._run(blocks, banded)
        arms, raw_arms, shares = self._arms(cells)
        metrics = self._kinds(cells, blocks)
        refuse(self.problems)
        names = [q.name for covariate in covariates for q in covariate.quantities]
        whole = _sums.moments(cells, blocks[0], 0, raw_arms, None, [None])
        fills = _fills(whole, covariates)
        by_cell = {
            (b, place): _filled(
                _sums.moments(cells, block, b, raw_arms, place.column, _values(raw, cuts, place)), fills
            )
            for b, block in enumerate(blocks)
            for place in places(cuts)
        }
        of = {
            name: b for b, block in enumerate(blocks) for name in (q.name for q in block.quantities) if name[0] == "y"
        }
        estimates: dict[tuple[str, Place], CellEstimate] = {}
        for i, metric in enumerate(metrics):
            for place in places(cuts):
                column = f"d{i}" if metric.kind == "ratio" else None
                estimates[metric.name, place] = cell_of(by_cell[of[f"y{i}"], place], f"y{i}", column, names)
        exposure = self._exposure(by_cell, of, metrics, names)
        if self.variance == "HC2" and any(estimate.covariates for estimate in estimates.values()):
            targets = _targets(estimates, by_cell, of, metrics, names, exposed=exposure is not None)
            cells_of = [Cell(place, raw_arms, _values(raw, cuts, place)) for place in places(cuts)]
            found = hc2(self.relation, plan, cells_of, targets, fills)
            estimates, exposure = _replaced(estimates, exposure, found)
        sizes = by_cell[0, WHOLE].count.astype(np.int64)
        unknown = {m.name: sizes - by_cell[of[f"y{i}"], WHOLE].count.astype(np.int64) for i, m in enumerate(metrics)}
        keys = {metric.name: _active_keys(blocks, of[f"y{i}"], i) for i, metric in enumerate(metrics)}
        everything = by_cell[0, WHOLE]
        return Measured(
            request=self.request,
            arms=arms,
            sizes=sizes,
            shares=shares,
            units=sizes,
            unit="member",
            metrics=tuple(metrics),
            segments=cuts,
            estimates=estimates,
            hidden=hidden_cells(self.relation, plan, cells, Grid(cuts, raw, raw_arms), keys, self.request.min_cell),
            balance=self._balance(everything, covariates, arms),
            empty={m.name: self.checks.empty_rows(m) for m in metrics},
            unknown=unknown,
            duplicates=duplicates,
            notes=(*self.checks.notes, *self.planner.notes),
            digest=_digest(cells, blocks, self.request),
            variance=FITTED[self.variance],
            exposure=exposure,
        )

    def _run(
        self, blocks: Sequence[Block], banded: dict[str, list[float]]
    ) -> tuple[Plan, Cells, tuple[Cut, ...], list[dict[str, list[Any]]]]:
        """The sums, the segment columns and, by column, the raw values behind each of their values."""
        segments = [self.planner.segment_sql(name, banded.get(name)) for name in self.request.segments]
        seen = {name: len(banded[name]) + 2 if name in banded else n for name, n in self.checks.seen.items()}
        n_values = tuple(seen[name] for name in self.request.segments)
        plan = Plan(quote(self.request.arm), tuple(segments), tuple(blocks), seen[self.request.arm], n_values)
        cells = _sums.run(self.relation, plan)
        cuts, raw = [], []
        for place, name in enumerate(self.request.segments):
            values = cells.values(place)
            text = labels(pd.Series(values))
            if name in banded:
                names = band_names(banded[name])
                text = pd.Series([MISSING if value is None else names[value] for value in values])
                levels = [names[v] for v in sorted(v for v in values if v is not None)]
                levels += [MISSING] if None in values else []
            else:
                number = self.relation.family(name) in ("integer", "decimal", "float")
                if number and len([v for v in values if v is not None]) > BAND_ABOVE:
                    return self._run(blocks, banded | {name: self.planner.edges(name)})
                levels = ordered_levels(pd.Series(values), text)
            if len(levels) > MAX_SEGMENTS:
                self.problems.append(too_many_values(name, f"{len(levels):,}"))
            cuts.append(Cut(name, tuple(levels)))
            behind: dict[str, list[Any]] = {level: [] for level in levels}
            for value, level in zip(values, text, strict=True):
                behind[level].append(value)
            raw.append(behind)
        return plan, cells, tuple(cuts), raw

    def _arms(self, cells: Cells) -> tuple[tuple[str, ...], list[Any], NDArray[np.float64] | None]:
        values = cells.arms()
        text = dict(zip(labels(pd.Series(values)), values, strict=True))
        empty = sum(cells.get(value, None, None, "n") for level, value in text.items() if level == MISSING)
        present = {level for level in text if level != MISSING}
        arms, shares = named_arms(present, empty, self.relation.rows, self.request, self.problems)
        refuse(self.problems)
        return arms, [text[arm] for arm in arms], shares

    def _kinds(self, cells: Cells, blocks: Sequence[Block]) -> list[Metric]:
        """Metrics, those not declared as rates or means as their values say."""
        found = []
        for i, name in enumerate(self.request.metrics):
            metric = self.request.metric(name)
            binary = _is_binary(cells, blocks, f"y{i}", self.bounds[metric.values_in])
            if metric.kind == "auto":
                metric = of_values(metric, binary=binary)
            elif metric.kind in SHARES and not binary:
                value = quote(metric.values_in)
                rows = self.relation.records(
                    f"SELECT DISTINCT {value} AS v FROM {self.relation.sql} WHERE {value} NOT IN (0, 1) "
                    "ORDER BY 1 LIMIT 5"
                )
                self.problems.append(
                    f"metric {name!r} is declared a {metric.kind} but holds other values than 0 and 1, e.g. "
                    + ", ".join(f"{float(row['v']):g}" for row in rows)
                )
            found.append(metric)
        if self.request.exposed is not None and not _is_binary(
            cells, blocks, EXPOSED, self.bounds[self.request.exposed]
        ):
            self.checks.not_exposure()
            self.problems += self.checks.problems
        return found

    def _balance(self, whole: Moments, covariates: Sequence[Covariate], arms: tuple[str, ...]) -> Balance:
        names = [q.name for covariate in covariates for q in covariate.quantities]
        columns = [column for covariate in covariates for column in covariate.columns]
        return balance_of_moments(whole, names, columns, arms, min_cell=self.request.min_cell)

    def _exposure(
        self,
        by_cell: Mapping[tuple[int, Place], Moments],
        of: Mapping[str, int],
        metrics: Sequence[Metric],
        covariates: list[str],
    ) -> Exposure | None:
        if self.request.exposed is None:
            return None
        whole = by_cell[0, WHOLE]
        effects = {}
        for i, metric in enumerate(metrics):
            ratio = f"d{i}" if metric.kind == "ratio" else None
            effects[metric.name] = exposed_of(by_cell[of[f"y{i}"], WHOLE], f"y{i}", ratio, EXPOSED, covariates)
        reached = np.round(whole.count * whole.mean[:, whole.place(EXPOSED)])
        return Exposure(reached, effects)


def _targets(
    estimates: Mapping[tuple[str, Place], CellEstimate],
    by_cell: Mapping[tuple[int, Place], Moments],
    of: Mapping[str, int],
    metrics: Sequence[Metric],
    covariates: Sequence[str],
    *,
    exposed: bool,
) -> dict[tuple[Name, Place], Target]:
    """Adjusted means whose variance the sums do not give."""
    found = {}
    for i, metric in enumerate(metrics):
        b = of[f"y{i}"]
        for name, place in estimates:
            if name != metric.name or not estimates[name, place].covariates:
                continue
            moments = by_cell[b, place]
            used = tuple(covariates[: allowed(estimates[name, place].counts)])
            own = weights(moments, f"y{i}", f"d{i}" if metric.kind == "ratio" else None)
            found[("effect", name), place] = Target(b, moments, own, used)
            if exposed and place == WHOLE:
                reached = {EXPOSED: np.ones(len(moments.count))}
                found[("sent", name), place] = Target(b, moments, reached, used)
                found[("both", name), place] = Target(b, moments, own | reached, used)
    return found


def _replaced(
    estimates: Mapping[tuple[str, Place], CellEstimate],
    exposure: Exposure | None,
    found: Mapping[tuple[Name, Place], NDArray[np.float64]],
) -> tuple[dict[tuple[str, Place], CellEstimate], Exposure | None]:
    """Estimates with the variances found."""
    better = {
        (name, place): replace(estimate, adjusted=with_hc2(estimate.adjusted, found[("effect", name), place]))
        if (("effect", name), place) in found
        else estimate
        for (name, place), estimate in estimates.items()
    }
    if exposure is None:
        return better, None

    def improved(what: str, name: str, means: ArmMeans) -> ArmMeans:
        key = ((what, name), WHOLE)
        return with_hc2(means, found[key]) if key in found else means

    effects = {
        name: (improved("effect", name, outcome), improved("sent", name, sent), improved("both", name, both))
        for name, (outcome, sent, both) in exposure.effects.items()
    }
    return better, Exposure(exposure.reached, effects)


def _values(raw: Sequence[Mapping[str, list[Any]]], cuts: Sequence[Cut], place: Place) -> list[Any]:
    """Values in the file that make up a cell."""
    if place.column is None or place.value is None:
        return [None]
    return raw[place.column][cuts[place.column].values[place.value]]


def _fills(whole: Moments, covariates: Sequence[Covariate]) -> dict[str, tuple[str, float]]:
    """Covariate's column → its indicator of empty cells, and what they lack to stand at the mean."""
    found = {}
    total = whole.pooled()
    for covariate in covariates:
        if covariate.fill is not None:
            x, m = (q.name for q in covariate.quantities)
            empty = float(total.mean[0, total.place(m)])
            mean = (float(total.mean[0, total.place(x)]) - covariate.fill * empty) / (1 - empty)
            found[x] = (m, mean - covariate.fill)
    return found


def _filled(moments: Moments, fills: Mapping[str, tuple[str, float]]) -> Moments:
    """Empty cells of covariates at the mean."""
    one = np.ones(len(moments.count))
    for x, (m, lacking) in fills.items():
        names = [name if name != x else "filled" for name in moments.columns]
        moments = moments.with_sum("filled", {x: one, m: lacking * one}).select(names)
        moments = replace(moments, columns=tuple(x if name == "filled" else name for name in names))
    return moments


def _is_binary(cells: Cells, blocks: Sequence[Block], name: str, bounds: Bounds) -> bool:
    """Whether every value is 0 or 1, exactly."""
    b, i = next((b, i) for b, block in enumerate(blocks) for i, q in enumerate(block.quantities) if q.name == name)
    q = blocks[b].quantities[i]
    if q.flag or bounds.low < 0 or bounds.high > 1:
        return q.flag
    n, total, square = (
        sum(cells.get(arm, None, None, key) for arm in cells.arms())
        for key in (f"n_{b}", f"s_{b}_{i}", f"p_{b}_{i}_{i}")
    )
    # Σ(x − c)² = Σ(x − c)·(1 − 2c) + n·c(1 − c) holds only if every x is 0 or 1, since x² ≤ x in between
    c, scale = q.centre, q.scale
    return square == total * scale * (1 - 2 * c) + n * c * (1 - c) * scale * scale


def _active_keys(blocks: Sequence[Block], b: int, i: int) -> tuple[str, str]:
    """Names of the sums that count a metric's rows and its buyers."""
    names = [q.name for q in blocks[b].quantities]
    place = names.index(f"d{i}") if f"d{i}" in names else names.index(f"y{i}")
    return f"n_{b}", (f"s_{b}_{place}" if blocks[b].quantities[place].flag else f"z_{b}_{place}")


def _digest(cells: Cells, blocks: Sequence[Block], request: Request) -> str:
    """Of every sum: exact, so that it depends on all rows and on nothing but them."""
    rows = sorted(
        json.dumps([str(arm), column, str(value), {k: int(v or 0) for k, v in row.items() if k[:2] in _KEYS}])
        for (arm, column, value), row in cells.rows.items()
    )
    made = [[q.name, q.centre, q.scale] for block in blocks for q in block.quantities]
    text = json.dumps([request.used, made, rows], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


_KEYS = ("n", "n_", "s_", "f_", "p_", "z_")
