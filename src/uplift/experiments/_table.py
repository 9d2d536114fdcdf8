"""A table of any length: one pass of the engine for every sum that the analysis needs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.errors import DesignError
from uplift.experiments import _sums
from uplift.experiments._balance import balance_of_moments
from uplift.experiments._encoding import (
    MISSING,
    OTHER,
    EncodedColumn,
    constant_covariate_note,
    empty_covariate_note,
    kept_levels,
    labels,
    missing_covariate_note,
)
from uplift.experiments._hiding import Grid, hidden_cells
from uplift.experiments._inputs import (
    BAND_ABOVE,
    QUARTILES,
    band_names,
    missing_note,
    no_member,
    ordered_levels,
    repeated_members,
    times_in_column,
    too_many_values,
)
from uplift.experiments._measured import WHOLE, CellEstimate, Cut, Measured, Place, places
from uplift.experiments._metric import SHARES, Metric
from uplift.experiments._outcomes import cut_note, of_values
from uplift.experiments._relation import Bounds, Relation, given_sql, literal, numbers_only, opened, quote
from uplift.experiments._request import MAX_SEGMENTS, Request, named_arms, refuse
from uplift.experiments._rows import FITTED, cell_of, exposed_of
from uplift.experiments._sums import Block, Cells, Plan, Quantity, indicator, quantity
from uplift.experiments._text import Text
from uplift.experiments._timing import DAY, follow_up_problems, happened_problems, windows
from uplift.experiments.checks import Balance
from uplift.experiments.exposure import Exposure
from uplift.experiments.moments import Moments

EXPOSED = "exposed"


def measure_table(
    source: str | Path | Sequence[str | Path],
    request: Request,
    *,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> Measured:
    """Everything that an analysis concludes from, from sums alone.

    One statement reads the rows once for all arms, segment columns, metrics and covariates. What it must know before
    comes from the footers of Parquet files. A further look at single columns is taken only where it cannot: categories
    of covariates, quartiles of numbers used as segments, quantiles for winsorising, files without statistics, members
    (``unit``), times; and, where a cell is small, at the sizes of pairs of segments.

    Raises
    ------
    DesignError
        Listing everything that is wrong with the table or the request.
    InputError
        If the table cannot be read.
    """
    with opened(source, threads=threads, memory_limit=memory_limit) as relation:
        request.check(list(relation.types), relation.rows)
        _refuse_by_row(request)
        _refuse_types(relation, request)
        for scan in (False, True):
            try:
                return _Reading(relation, request, scan=scan).measure()
            except (duckdb.ConversionException, duckdb.OutOfRangeException):
                if scan:  # footers may be silent about NaN; the values themselves are not
                    raise
    raise AssertionError


def _refuse_by_row(request: Request) -> None:
    if request.cluster is not None:
        raise DesignError("clusters are analysed row by row, not from sums → read the table into memory")
    timed = [name for name in request.metrics if request.metric(name).kind == "time"]
    if timed:
        raise DesignError(
            f"times until an event are analysed row by row, not from sums ({', '.join(map(repr, timed))}) → read the "
            "table into memory"
        )


def _refuse_types(relation: Relation, request: Request) -> None:
    roles = {column: "metric" for name in request.metrics for column in request.metric(name).needs}
    for name, role in ((request.exposed, "exposure"), (request.followed, "days followed")):
        if name is not None:
            roles[name] = role
    numbers_only(relation, roles)
    times = [n for n in dict.fromkeys((*request.known_before, *request.segments)) if relation.family(n) == "time"]
    refuse([times_in_column(name) for name in times])


@dataclass(frozen=True)
class _Covariate:
    """Columns of one covariate, and what its empty cells were filled with."""

    quantities: tuple[Quantity, ...]
    columns: tuple[EncodedColumn, ...]
    fill: float | None = None


class _Reading:
    """One reading of a table; ``scan`` takes bounds from the values instead of the footers."""

    def __init__(self, relation: Relation, request: Request, *, scan: bool) -> None:
        self.relation, self.request = relation, request
        self.notes: list[Text] = []
        self.problems: list[str] = []
        numbers = [c for name in request.metrics for c in request.metric(name).needs]
        numbers += [name for name in request.known_before if relation.is_number(name)]
        if request.exposed is not None:
            numbers.append(request.exposed)
        self.bounds = relation.bounds(list(dict.fromkeys(numbers)), scan=scan)

    def measure(self) -> Measured:
        self._sizes_of_segments()
        self._metrics_sound()
        self._times_sound()
        duplicates = self._members()
        refuse(self.problems)
        covariates = [found for name in self.request.known_before if (found := self._covariate(name)) is not None]
        blocks = self._blocks(covariates)
        banded = {name: self._edges(name) for name in self.request.segments if name in self._many}
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
            empty={m.name: self._empty(m) for m in metrics},
            unknown=unknown,
            duplicates=duplicates,
            notes=tuple(self.notes),
            digest=_digest(cells, blocks, self.request),
            variance=FITTED["moments"],
            exposure=self._exposure(by_cell, of, metrics, names),
        )

    # -- before the pass ------------------------------------------------------------------------------------------

    def _sizes_of_segments(self) -> None:
        """Refuse identifiers in the place of arms or segments before they are grouped by."""
        columns = [self.request.arm, *self.request.segments]
        sample = self.relation.sample(list(dict.fromkeys(columns)))
        for name in columns:
            count = len(sample[name].unique())
            if name == self.request.arm and count > MAX_SEGMENTS:
                self.problems.append(
                    f"{name!r} has more than {MAX_SEGMENTS} different values → is it the column that holds the arms?"
                )
            elif name != self.request.arm and count > MAX_SEGMENTS and not self.relation.is_number(name):
                self.problems.append(too_many_values(name, f"more than {MAX_SEGMENTS}"))
        self._many = {
            name
            for name in self.request.segments
            if self.relation.family(name) in ("integer", "decimal", "float")
            and len(sample[name].drop_null().unique()) > BAND_ABOVE
        }

    def _empty(self, metric: Metric) -> int:
        """Rows without a value."""
        parts = [name for name in metric.needs if self.bounds[name].empty]
        if len(parts) < 2:
            return sum(self.bounds[name].empty for name in parts)
        given = " AND ".join(given_sql(quote(name), self.relation.family(name)) for name in parts)
        return int(self.relation.one(f"SELECT count(*) FILTER (WHERE NOT ({given})) FROM {self.relation.sql}"))

    def _metrics_sound(self) -> None:
        for name in self.request.metrics:
            metric = self.request.metric(name)
            for column in metric.needs:
                bounds = self.bounds[column]
                if math.isnan(bounds.low):
                    self.problems.append(
                        f"metric {column!r} has no value in any row → was the outcome read before it was recorded?"
                    )
                elif math.isinf(bounds.low) or math.isinf(bounds.high):
                    self.problems.append(f"metric {column!r} is infinite in some rows → correct these values")
                elif bounds.empty and self.request.missing == "refuse":
                    self.problems.append(self._who_is_empty(column))
            bottom = None if metric.denominator is None else self.bounds[metric.denominator]
            if bottom is not None and bottom.low < 0:
                self.problems.append(
                    f"metric {name!r}: the denominator {metric.denominator!r} is negative in some rows"
                )
            elif bottom is not None and bottom.high <= 0:
                self.problems.append(f"metric {name!r}: the denominator {metric.denominator!r} is zero in every row")
        if self.request.exposed is not None:
            bounds = self.bounds[self.request.exposed]
            if not (bounds.low >= 0 and bounds.high <= 1 and not bounds.empty):
                self._not_exposure()
        for name in self.request.metrics:
            if not self.problems:
                count = self._empty(self.request.metric(name))
                if count:
                    self.notes.append(missing_note(name, count, self.request.missing))

    def _not_exposure(self) -> None:
        self.problems.append(
            f"exposure {self.request.exposed!r} is 1 for members who were reached and 0 for all others, in every row"
        )

    def _who_is_empty(self, column: str) -> str:
        given = given_sql(quote(column), self.relation.family(column))
        rows = self.relation.records(
            f"SELECT {quote(self.request.arm)} AS a, count(*) FILTER (WHERE NOT {given}) AS n FROM {self.relation.sql} "
            "GROUP BY 1 ORDER BY 1"
        )
        text = labels(pd.Series([row["a"] for row in rows]))
        by_arm = ", ".join(f"{arm} {row['n']:,}" for arm, row in zip(text, rows, strict=True))
        return (
            f"metric {column!r} has no value in {sum(row['n'] for row in rows):,} of {self.relation.rows:,} rows "
            f"({by_arm}) → say what an empty value means: missing='zero' (nothing happened) or missing='drop' (was not "
            "observed)"
        )

    def _times_sound(self) -> None:
        request, sql = self.request, self.relation.sql
        if request.followed is not None:
            days = quote(request.followed)
            short = {name: f"count(*) FILTER (WHERE {days} < {window})" for name, window in windows(request).items()}
            counts = "".join(f", {count} AS c{i}" for i, count in enumerate(short.values()))
            row = self.relation.records(
                f"SELECT min({days})::DOUBLE AS low, max({days})::DOUBLE AS high, "
                f"count(*) - count({days}) AS empty{counts} FROM {sql}"
            )[0]
            found = {name: int(row[f"c{i}"]) for i, name in enumerate(short)}
            low, high = (math.nan if row[end] is None else float(row[end]) for end in ("low", "high"))
            self.problems += follow_up_problems(request, low, high, int(row["empty"]), found)
        if request.assigned_at is not None:
            for name, column in request.happened_at.items():
                window = request.metric(name).window_days
                after = f"epoch({quote(column)}::TIMESTAMPTZ) - epoch({quote(request.assigned_at)}::TIMESTAMPTZ)"
                late = "false" if window is None else f"after > {window * DAY}"
                row = self.relation.records(
                    f"SELECT count(*) FILTER (WHERE after < 0) AS early, count(*) FILTER (WHERE {late}) AS late "
                    f"FROM (SELECT {after} AS after FROM {sql})"
                )[0]
                self.problems += happened_problems(name, column, int(row["early"]), int(row["late"]), window)

    def _members(self) -> int:
        """Members with several rows; in several arms is a problem."""
        unit = self.request.unit
        if unit is None:
            return 0
        arm = quote(self.request.arm)
        row = self.relation.records(
            "SELECT count(*) FILTER (WHERE m IS NOT NULL AND n > 1) AS repeated, "
            "count(*) FILTER (WHERE m IS NOT NULL AND lowest <> highest) AS several, "
            "coalesce(sum(n) FILTER (WHERE m IS NULL), 0) AS nobody FROM ("
            f"SELECT {quote(unit)} AS m, count(*) AS n, min({arm}) AS lowest, max({arm}) AS highest "
            f"FROM {self.relation.sql} GROUP BY 1)"
        )[0]
        if row["nobody"]:
            self.problems.append(no_member(int(row["nobody"]), unit))
        self.problems += repeated_members(int(row["several"]), int(row["repeated"]), unit)
        return int(row["repeated"])

    def _covariate(self, name: str) -> _Covariate | None:
        return self._number(name) if self.relation.is_number(name) else self._category(name)

    def _number(self, name: str) -> _Covariate | None:
        bounds = self.bounds[name]
        if math.isnan(bounds.low):
            self.notes.append(empty_covariate_note(name))
            return None
        quantities: list[Quantity] = []
        columns: list[EncodedColumn] = []
        fill = None
        if not bounds.constant:
            fill = bounds.low if bounds.empty else None
            quantities.append(quantity(f"x {name}", name, self.relation.family(name), bounds, empty_as=fill))
            columns.append(EncodedColumn(name, None))
        if bounds.empty:
            self.notes.append(missing_covariate_note(name, bounds.empty))
            given = given_sql(quote(name), self.relation.family(name))
            quantities.append(indicator(f"m {name}", f"NOT {given}"))
            columns.append(EncodedColumn(name, MISSING))
        if not quantities:
            self.notes.append(constant_covariate_note(name))
            return None
        return _Covariate(tuple(quantities), tuple(columns), fill)

    def _category(self, name: str) -> _Covariate | None:
        rows = self.relation.records(
            f"SELECT {quote(name)}::VARCHAR AS v, count(*) AS n FROM {self.relation.sql} GROUP BY 1"
        )
        if all(row["v"] is None for row in rows):
            self.notes.append(empty_covariate_note(name))
            return None
        counts = {MISSING if row["v"] is None else str(row["v"]): int(row["n"]) for row in rows}
        kept, _ = kept_levels(name, counts, self.request.min_cell, self.notes)
        if len(kept) < 2:
            self.notes.append(constant_covariate_note(name))
            return None
        value = f"coalesce({quote(name)}::VARCHAR, {literal(MISSING)})"
        own = ", ".join(literal(level) for level in kept if level != OTHER)
        conditions = {
            level: f"{value} NOT IN ({own})" if level == OTHER else f"{value} = {literal(level)}" for level in kept[1:]
        }
        return _Covariate(
            tuple(indicator(f"x {name} = {level}", test) for level, test in conditions.items()),
            tuple(EncodedColumn(name, level) for level in conditions),
        )

    def _blocks(self, covariates: Sequence[_Covariate]) -> list[Block]:
        """Columns by the rows in which they are known: first those known everywhere, then one block a metric."""
        shared = [q for covariate in covariates for q in covariate.quantities]
        if self.request.exposed is not None:
            name = self.request.exposed
            shared.append(quantity(EXPOSED, name, self.relation.family(name), self.bounds[name]))
        everywhere = list(shared)
        own: list[tuple[int, int]] = []
        pairs = [(i, j) for i in range(len(shared)) for j in range(i, len(shared))]
        blocks = []
        for i, name in enumerate(self.request.metrics):
            metric = self.request.metric(name)
            quantities = self._metric(i, metric)
            partly = self.request.missing == "drop" and any(self.bounds[c].empty for c in metric.needs)
            target, of = (list(shared), list(pairs)) if partly else (everywhere, own)
            first = len(target)
            target += quantities
            of += [(j, first + k) for k in range(len(quantities)) for j in range(len(shared))]
            of += [(first + k, first + m) for k in range(len(quantities)) for m in range(k, len(quantities))]
            if partly:
                blocks.append(Block(tuple(q.name for q in quantities), tuple(target), tuple(of)))
        return [Block((), tuple(everywhere), (*pairs, *own)), *blocks]

    def _metric(self, i: int, metric: Metric) -> list[Quantity]:
        zero = 0.0 if self.request.missing == "zero" else None
        cap = None if metric.winsorize is None else self._cap(metric, zero)
        ratio = metric.denominator is not None
        column = metric.values_in
        found = [
            quantity(
                f"y{i}", column, self.relation.family(column), self.bounds[column],
                empty_as=zero if self.bounds[column].empty else None, cap=cap, count_active=not ratio,
            )
        ]  # fmt: skip
        if metric.denominator is not None:
            column = metric.denominator
            found.append(
                quantity(
                    f"d{i}", column, self.relation.family(column), self.bounds[column],
                    empty_as=zero if self.bounds[column].empty else None, count_active=True,
                )
            )  # fmt: skip
        return [replace(q, active=None) if q.flag else q for q in found]

    def _cap(self, metric: Metric, zero: float | None) -> float:
        """The quantile of all arms together, and a note of how many values it cuts."""
        column = metric.values_in
        given = given_sql(quote(column), self.relation.family(column))
        value = f"{quote(column)}::DOUBLE"
        value = f"CASE WHEN {given} THEN {value} ELSE {'NULL' if zero is None else '0::DOUBLE'} END"
        cap = float(self.relation.one(f"SELECT quantile_cont({value}, {metric.winsorize}) FROM {self.relation.sql}"))
        above = int(self.relation.one(f"SELECT count(*) FILTER (WHERE {value} > {cap:.17e}) FROM {self.relation.sql}"))
        if cap <= 0 and above:
            self.problems.append(
                f"metric {metric.name!r}: {metric.winsorize:.4g} of all values lie at or below {cap:g}, so winsorising "
                "would cut every buyer to nothing → a higher quantile"
            )
        self.notes.append(cut_note(metric, cap, above))
        return cap

    def _edges(self, name: str) -> list[float]:
        given = given_sql(quote(name), self.relation.family(name))
        found = self.relation.one(
            f"SELECT quantile_cont({quote(name)}::DOUBLE, {list(QUARTILES)}) FILTER (WHERE {given}) "
            f"FROM {self.relation.sql}"
        )
        edges = np.unique(np.array(found, dtype=np.float64)).tolist()
        self.notes.append(
            Text(
                f"分组 {name} 有多于 {BAND_ABOVE} 个不同的值，按四分位数切分",
                f"segment {name} has more than {BAND_ABOVE} different values and is cut at its quartiles",
            )
        )
        return [float(edge) for edge in edges]

    # -- the pass ---------------------------------------------------------------------------------------------------

    def _segment_sql(self, banded: Mapping[str, Sequence[float]]) -> list[str]:
        found = []
        for name in self.request.segments:
            if name in banded:
                given = given_sql(quote(name), self.relation.family(name))
                steps = " + ".join(f"({quote(name)} > {edge:.17e})::INTEGER" for edge in banded[name])
                found.append(f"CASE WHEN {given} THEN {steps} END")
            else:
                found.append(quote(name))
        return found

    def _run(
        self, blocks: Sequence[Block], banded: dict[str, list[float]]
    ) -> tuple[Plan, Cells, tuple[Cut, ...], list[dict[str, list[Any]]]]:
        """The sums, the segment columns and, by column, the raw values behind each of their values."""
        plan = Plan(quote(self.request.arm), tuple(self._segment_sql(banded)), tuple(blocks))
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
                    return self._run(blocks, banded | {name: self._edges(name)})
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
            self._not_exposure()
        return found

    # -- after the pass ---------------------------------------------------------------------------------------------

    def _balance(self, whole: Moments, covariates: Sequence[_Covariate], arms: tuple[str, ...]) -> Balance:
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


def _values(raw: Sequence[Mapping[str, list[Any]]], cuts: Sequence[Cut], place: Place) -> list[Any]:
    """Values in the file that make up a cell."""
    if place.column is None or place.value is None:
        return [None]
    return raw[place.column][cuts[place.column].values[place.value]]


def _fills(whole: Moments, covariates: Sequence[_Covariate]) -> dict[str, tuple[str, float]]:
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
