"""Sums of products in one statement: exact whole-number arithmetic, the same bytes whatever the order of rows.

Every column becomes a whole number: integers as they are, others in steps of at most 2⁻³¹ of their range (for their
sums as fine as floating point itself), so that sums and sums of products never round and do not depend on how threads
share the rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from uplift.experiments._packing import covering, packed
from uplift.experiments._relation import Bounds, Family, Relation, given_sql, quote
from uplift.experiments.moments import Moments

COARSE, FINE = 32, 63
"""Bits of a value in products, and in sums."""


@dataclass(frozen=True)
class Quantity:
    """A column as whole numbers.

    Attributes
    ----------
    name
        In the moments.
    coarse
        SQL of the whole number of which products are made: ``(value − centre) · scale``.
    fine
        SQL of a finer one of which the sum is made; None where the coarse one is exact.
    flag
        Whether it is 0 or 1 for certain, so that its square is itself.
    active
        SQL that is true where the value is not nought; None: no need to count.
    real
        SQL of the value itself as DOUBLE; NULL where there is none.
    low, high
        Bounds of the value.
    """

    name: str
    coarse: str
    real: str
    fine: str | None = None
    centre: float = 0.0
    scale: float = 1.0
    fine_scale: float = 1.0
    flag: bool = False
    active: str | None = None
    low: float = 0.0
    high: float = 1.0


def quantity(
    name: str,
    column: str,
    family: Family,
    bounds: Bounds,
    *,
    empty_as: float | None = None,
    cap: float | None = None,
    only_if: str | None = None,
    count_active: bool = False,
) -> Quantity:
    """A column as whole numbers.

    Parameters
    ----------
    column
        In the file.
    empty_as
        What an empty cell counts as; None leaves it out.
    cap
        Larger values count as this.
    only_if
        SQL under which the row has a value at all.
    """
    given = given_sql(quote(column), family)
    value = quote(column)
    low, high = bounds.low, bounds.high
    if cap is not None:
        value, high = f"least({value}, {double(cap)})", min(high, cap)
    if empty_as is not None and not math.isnan(low):
        low, high = min(low, empty_as), max(high, empty_as)
    exact = cap is None and family in ("flag", "integer") and max(abs(low), abs(high)) < 2 ** (COARSE - 1)
    fill = "NULL" if empty_as is None else double(empty_as)
    test = given if only_if is None else f"{given} AND {only_if}"
    needed = only_if is not None or empty_as is not None or bounds.empty > 0
    active = None
    if count_active:
        active = f"coalesce({value} <> 0 AND {test}, false)"
    real = f"{value}::DOUBLE"
    if needed:
        real = f"CASE WHEN {test} THEN {real} ELSE {fill} END"
    if exact:
        whole = f"{value}::BIGINT"
        if needed:
            otherwise = "NULL" if empty_as is None else str(int(empty_as))
            whole = f"CASE WHEN {test} THEN {whole} ELSE {otherwise} END"
        return Quantity(name, whole, real, flag=low >= 0 and high <= 1, active=active, low=low, high=high)
    centre, reach = (low + high) / 2, max((high - low) / 2, abs(low) * 2**-50, 2.0**-900)
    scale, fine = 2.0 ** (COARSE - 1 - math.frexp(reach)[1]), 2.0 ** (FINE - 1 - math.frexp(reach)[1])
    steps = [f"CAST(({real} - {double(centre)}) * {double(by)} AS BIGINT)" for by in (scale, fine)]
    return Quantity(name, steps[0], real, steps[1], centre, scale, fine, active=active, low=low, high=high)


def double(number: float) -> str:
    """A number as SQL that is read as DOUBLE, to the last bit."""
    return f"{number:.17e}"


def indicator(name: str, condition: str) -> Quantity:
    """1 where a condition holds, else 0."""
    flag = f"CASE WHEN {condition} THEN 1 ELSE 0 END"
    return Quantity(name, f"{flag}::BIGINT", f"{flag}::DOUBLE", flag=True)


@dataclass(frozen=True)
class Block:
    """Columns that are known for the same rows.

    Attributes
    ----------
    known
        Names of columns that must have a value in a row, or empty: every row.
    quantities
        Covariates and exposure first.
    pairs
        Places of columns whose products are wanted.
    """

    known: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plan:
    """What is summed over which cells.

    Attributes
    ----------
    arm, segments
        SQL expressions.
    n_arms, n_values
        About how many values the arm's column and each segment column have. They decide which columns are grouped by
        together, and nothing of what comes out.
    """

    arm: str
    segments: tuple[str, ...]
    blocks: tuple[Block, ...]
    n_arms: int = 2
    n_values: tuple[int, ...] = ()

    def select(self, relation: Relation, sets: Sequence[Sequence[int]], *, products: bool) -> str:
        """One SELECT for all arms, sets of segment columns, metrics, covariates; without ``products`` counts only."""
        inner = {"a": self.arm} | {f"s{j}": expression for j, expression in enumerate(self.segments)}
        outer: list[str] = []
        place: dict[str, str] = {}
        for b, block in enumerate(self.blocks):
            for q in block.quantities:
                if q.name not in place:
                    place[q.name] = f"v{len(place)}"
                    inner[place[q.name]] = q.coarse
                    if q.fine is not None:
                        inner["f" + place[q.name]] = q.fine
                    if q.active is not None:
                        inner["z" + place[q.name]] = q.active
            outer += _aggregates(b, block, place, products=products)
        columns = ", ".join(f"{expression} AS {name}" for name, expression in inner.items())
        keys = [f"s{j}" for j in range(len(self.segments))]
        which = f"grouping({', '.join(keys)})" if keys else "0"
        grouped = ", ".join(f"({', '.join(['a', *(keys[j] for j in chosen)])})" for chosen in sets)
        head = ", ".join([f"{which} AS g", "a", *keys, "count(*) AS n", *outer])
        return f"SELECT {head} FROM (SELECT {columns} FROM {relation.sql}) GROUP BY GROUPING SETS ({grouped})"

    def columns_of(self, left_out: int) -> tuple[int, ...]:
        """Segment columns that a row is grouped by, from DuckDB's GROUPING."""
        m = len(self.segments)
        return tuple(j for j in range(m) if not left_out >> (m - 1 - j) & 1)


def _aggregates(b: int, block: Block, place: Mapping[str, str], *, products: bool) -> list[str]:
    names = [place[q.name] for q in block.quantities]
    test = " AND ".join(f"{place[name]} IS NOT NULL" for name in block.known)
    where = f" FILTER (WHERE {test})" if test else ""
    found = [f"count(*){where} AS n_{b}"]
    for i, q in enumerate(block.quantities):
        if products or q.flag:
            found.append(f"sum({names[i]}){where} AS s_{b}_{i}")
        if products and q.fine is not None:
            found.append(f"sum(f{names[i]}){where} AS f_{b}_{i}")
        if q.active is not None:
            found.append(f"count(*) FILTER (WHERE z{names[i]}{' AND ' + test if test else ''}) AS z_{b}_{i}")
    if products:
        for i, j in block.pairs:
            if i != j or not block.quantities[i].flag:
                found.append(f"sum({names[i]} * {names[j]}){where} AS p_{b}_{i}_{j}")
    return found


@dataclass(frozen=True)
class Cells:
    """What a plan gives: rows of sums by value of the arm's column, segment column (or a pair, or None) and value."""

    rows: Mapping[tuple[Any, Any, Any], Mapping[str, Any]]

    def arms(self) -> list[Any]:
        """Values of the arm's column."""
        return [arm for arm, column, _ in self.rows if column is None]

    def values(self, column: int) -> list[Any]:
        """Values of a segment column."""
        return list(dict.fromkeys(value for _, c, value in self.rows if c == column))

    def get(self, arm: Any, column: Any, value: Any, key: str) -> int:
        """A sum; 0 in a cell without rows."""
        row = self.rows.get((arm, column, value))
        return 0 if row is None else int(row[key] or 0)


def run(relation: Relation, plan: Plan) -> Cells:
    """All sums: in one pass, of every arm, in all and by every segment column.

    Columns with few values are grouped by together and their margins added up afterwards, which whole numbers allow to
    the last digit: every row is then counted in a few groups instead of one a column.
    """
    sets = packed(plan.n_values, plan.n_arms)
    rows: dict[tuple[Any, Any, Any], Mapping[str, Any]] = {}
    for (arm, columns, values), sums in _margins(relation, plan, sets, 1, products=True).items():
        rows[(arm, columns[0], values[0]) if columns else (arm, None, None)] = sums
    return Cells(rows)


def run_pairs(relation: Relation, plan: Plan) -> Cells:
    """Counts by every pair of segment columns."""
    return Cells(_margins(relation, plan, covering(plan.n_values, plan.n_arms), 2, products=False))


Key = tuple[Any, tuple[int, ...], tuple[Any, ...]]
_NAN = math.nan


def _margins(
    relation: Relation, plan: Plan, sets: Sequence[tuple[int, ...]], largest: int, *, products: bool
) -> dict[Key, dict[str, int]]:
    """Sums by arm and the values of ``largest`` segment columns (with one: also in all), each from one of the sets."""
    wanted: dict[tuple[int, ...], list[tuple[int, ...]]] = {chosen: [] for chosen in sets}
    done: set[tuple[int, ...]] = set()
    for chosen in sets:
        of = [*([()] if largest == 1 else []), *itertools.combinations(chosen, largest)]
        wanted[chosen] = [columns for columns in of if columns not in done]
        done.update(wanted[chosen])
    found: dict[Key, dict[str, int]] = {}
    for row in relation.records(plan.select(relation, sets, products=products)):
        sums = {key: int(value or 0) for key, value in row.items() if key == "n" or "_" in key}
        for columns in wanted[plan.columns_of(int(row["g"]))]:
            key = (row["a"], columns, tuple(_canonical(row[f"s{j}"]) for j in columns))
            if key in found:
                total = found[key]
                for name, value in sums.items():
                    total[name] += value
            else:
                found[key] = dict(sums)
    return found


def _canonical(value: Any) -> Any:
    """One object for all NaN, which are not equal to each other."""
    return _NAN if isinstance(value, float) and math.isnan(value) else value


def moments(
    cells: Cells, block: Block, b: int, arms: Sequence[Any], column: int | None, values: Iterable[Any]
) -> Moments:
    """Moments of a block in a cell; exact up to their last rounding.

    Parameters
    ----------
    b
        Place of the block in the statement.
    arms
        Values of the arm's column, the control first.
    values
        Values of the segment column that belong to the cell.
    """
    chosen = list(values)
    k = len(block.quantities)
    count, mean = np.zeros(len(arms)), np.full((len(arms), k), np.nan)
    product = np.full((len(arms), k, k), np.nan)
    for a, arm in enumerate(arms):

        def total(key: str, arm: Any = arm) -> int:
            return sum(cells.get(arm, column, value, key) for value in chosen)

        n = total(f"n_{b}")
        count[a] = n
        if not n:
            product[a] = 0.0
            continue
        sums = [total(f"s_{b}_{i}") for i in range(k)]
        for i, q in enumerate(block.quantities):
            fine = sums[i] if q.fine is None else total(f"f_{b}_{i}")
            mean[a, i] = float(
                Fraction(q.centre) + Fraction(fine, n) / Fraction(q.scale if q.fine is None else q.fine_scale)
            )
        for i, j in block.pairs:
            square = i == j and block.quantities[i].flag
            both = sums[i] if square else total(f"p_{b}_{i}_{j}")
            scale = Fraction(block.quantities[i].scale) * Fraction(block.quantities[j].scale)
            product[a, i, j] = product[a, j, i] = float(Fraction(both * n - sums[i] * sums[j], n) / scale)
    return Moments(tuple(q.name for q in block.quantities), count, mean, product)
