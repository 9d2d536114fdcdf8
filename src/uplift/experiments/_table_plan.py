"""What is summed of a table: covariates, metrics and exposure as whole numbers, in blocks of rows that know them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from uplift.experiments._encoding import (
    MISSING,
    OTHER,
    EncodedColumn,
    constant_covariate_note,
    empty_covariate_note,
    kept_levels,
    missing_covariate_note,
)
from uplift.experiments._inputs import BAND_ABOVE, QUARTILES
from uplift.experiments._metric import Metric
from uplift.experiments._outcomes import cut_note
from uplift.experiments._relation import Bounds, Relation, given_sql, literal, quote
from uplift.experiments._request import Request
from uplift.experiments._sums import Block, Quantity, indicator, quantity
from uplift.experiments._text import Text

EXPOSED = "exposed"


@dataclass(frozen=True)
class Covariate:
    """Columns of one covariate, and what its empty cells were filled with."""

    quantities: tuple[Quantity, ...]
    columns: tuple[EncodedColumn, ...]
    fill: float | None = None


class Planner:
    """Quantities of a request.

    Attributes
    ----------
    problems, notes
        Found so far.
    """

    def __init__(self, relation: Relation, request: Request, bounds: Mapping[str, Bounds]) -> None:
        self.relation, self.request, self.bounds = relation, request, bounds
        self.problems: list[str] = []
        self.notes: list[Text] = []

    def covariates(self) -> list[Covariate]:
        """Strata and covariates that say something."""
        return [found for name in self.request.known_before if (found := self._covariate(name)) is not None]

    def _covariate(self, name: str) -> Covariate | None:
        return self._number(name) if self.relation.is_number(name) else self._category(name)

    def _number(self, name: str) -> Covariate | None:
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
        return Covariate(tuple(quantities), tuple(columns), fill)

    def _category(self, name: str) -> Covariate | None:
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
        return Covariate(
            tuple(indicator(f"x {name} = {level}", test) for level, test in conditions.items()),
            tuple(EncodedColumn(name, level) for level in conditions),
        )

    def blocks(self, covariates: Sequence[Covariate]) -> list[Block]:
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

    def edges(self, name: str) -> list[float]:
        """Quartiles of a number, and a note that it is cut there."""
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

    def segment_sql(self, name: str, edges: Sequence[float] | None) -> str:
        """A segment column, or the band of a number."""
        if edges is None:
            return quote(name)
        given = given_sql(quote(name), self.relation.family(name))
        steps = " + ".join(f"({quote(name)} > {edge:.17e})::INTEGER" for edge in edges)
        return f"CASE WHEN {given} THEN {steps} END"
