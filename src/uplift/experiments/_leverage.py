"""HC2 without rows in memory: a second look at the table, with the coefficients that the sums of the first gave.

HC2 weighs every squared residual by its row's leverage, ``Σ t²e² / (1 − h)``, which no sums of products hold. The
coefficients of every cell are joined to its rows, and the engine adds the terms up as whole numbers in steps of a
known bound, so that the result depends neither on the order of rows nor on threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.experiments._measured import Place
from uplift.experiments._relation import Relation
from uplift.experiments._sums import Plan, double
from uplift.experiments.estimators import ArmMeans
from uplift.experiments.moments import Moments, Whitened

Floats = NDArray[np.float64]
Name = tuple[str, str]
"""What is estimated, and of which metric."""
LEAST = 1e-10
WIDE = 24
"""With more covariates, vectors are array columns: slower for a few, but their number no longer fills the cache."""
"""Least value of ``1 − h``, as for rows in memory."""


@dataclass(frozen=True)
class Target:
    """An outcome in a cell whose variance is wanted.

    Attributes
    ----------
    block
        Whose rows it is known for.
    moments
        Of the cell.
    parts
        Column → weight by arm, ``(n_arms,)``: the outcome is their weighted sum, up to a constant.
    covariates
        That it is adjusted for.
    """

    block: int
    moments: Moments
    parts: Mapping[str, Floats]
    covariates: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """Where the rows of a cell are found: values in the file of the arms, in their order, and of the segment."""

    place: Place
    arms: Sequence[Any]
    values: Sequence[Any]


def weights(moments: Moments, column: str, denominator: str | None) -> dict[str, Floats]:
    """Weights by arm of an outcome's columns; a ratio is linearised around each arm's own."""
    one = np.ones(len(moments.count))
    if denominator is None:
        return {column: one}
    top, bottom = (moments.mean[:, moments.place(name)] for name in (column, denominator))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {column: one / bottom, denominator: -top / bottom**2}


def with_hc2(means: ArmMeans, variance: Floats) -> ArmMeans:
    """The same means with other variances by arm; those not known stay so."""
    covariance = means.covariance.copy()
    np.fill_diagonal(covariance, np.where(np.isnan(np.diag(covariance)), np.nan, variance))
    return replace(means, covariance=covariance)


def hc2(
    relation: Relation,
    plan: Plan,
    cells: Iterable[Cell],
    targets: Mapping[tuple[Name, Place], Target],
    fills: Mapping[str, tuple[str, float]],
) -> dict[tuple[Name, Place], Floats]:
    """HC2 variances of adjusted means by arm, ``(n_arms,)``: one statement in all and one a segment column.

    Parameters
    ----------
    cells
        Every cell that a target is in.
    fills
        Covariate → the indicator of its empty cells, and what these lack to stand at the mean.
    """
    by_column: dict[int | None, list[Cell]] = {}
    for cell in cells:
        by_column.setdefault(cell.place.column, []).append(cell)
    found: dict[tuple[Name, Place], Floats] = {}
    for column, own in by_column.items():
        places = {cell.place for cell in own}
        here = {key: target for key, target in targets.items() if key[1] in places}
        if here:
            found |= _Statement(plan, column, here, fills).run(relation, own)
    return found


class _Statement:
    """One look: the cells of one segment column (None: the whole population)."""

    def __init__(
        self,
        plan: Plan,
        column: int | None,
        targets: Mapping[tuple[Name, Place], Target],
        fills: Mapping[str, tuple[str, float]],
    ) -> None:
        self.plan, self.column, self.targets, self.fills = plan, column, targets, fills
        self.quantities = {q.name: q for block in plan.blocks for q in block.quantities}
        self.names = list(dict.fromkeys(name for name, _ in targets))
        self.block = {name: target.block for (name, _), target in targets.items()}
        self.parts = {name: list(target.parts) for (name, _), target in targets.items()}
        centre = {
            name: float(target.moments.pooled().mean[0, target.moments.place(name)])
            for target in targets.values()
            for name in target.covariates
        }
        self.covariates = [q.name for q in plan.blocks[0].quantities if q.name in centre]
        self.centre = np.array([centre[name] for name in self.covariates])
        self.wide = len(self.covariates) > WIDE
        self.outcomes = list(dict.fromkeys(part for parts in self.parts.values() for part in parts))
        self.blocks = sorted(set(self.block.values()))
        self.keys = ["a"] if column is None else ["a", "s"]

    def run(self, relation: Relation, cells: Sequence[Cell]) -> dict[tuple[Name, Place], Floats]:
        """Variances by target."""
        rows, scales = self._coefficients(cells)
        names = list(dict.fromkeys(name for row in rows for name in row["coefficients"]))
        empty = {name: np.zeros(len(self.covariates)) if name in self._vectors() else 0.0 for name in names}
        columns = [column for name in names for column in self._columns(name, empty[name])]
        relation.records("DROP TABLE IF EXISTS fitted")
        relation.records(
            f"CREATE TEMP TABLE fitted AS SELECT *, 0::INTEGER AS cell, {', '.join(columns)} "
            f"FROM (SELECT {self._keys()} FROM {relation.sql}) LIMIT 0"
        )
        relation.connection.executemany(
            f"INSERT INTO fitted VALUES ({', '.join('?' * (len(self.keys) + 1 + len(columns)))})",
            [[*row["keys"], row["cell"], *self._values(row["coefficients"], empty)] for row in rows],
        )
        sums = {row["cell"]: row for row in relation.records(self._sql(relation))}
        found = {}
        for (name, place), target in self.targets.items():
            number = next(i for i, cell in enumerate(cells) if cell.place == place)
            variance = np.zeros(len(target.moments.count))
            for arm in range(len(variance)):
                row = sums.get(number * len(variance) + arm)
                step = scales.get((name, number, arm), 0.0)
                if row is not None and step:
                    variance[arm] = float(Fraction(int(row[f"t{self.names.index(name)}"] or 0)) / Fraction(step))
            found[name, place] = variance
        return found

    def _keys(self) -> str:
        segment = "" if self.column is None else f", {self.plan.segments[self.column]} AS s"
        return f"{self.plan.arm} AS a{segment}"

    def _coefficients(self, cells: Sequence[Cell]) -> tuple[list[dict[str, Any]], dict[tuple[Name, int, int], float]]:
        """A row an arm and value in the file, and the step in which each target's terms are counted."""
        rows, scales = [], {}
        for number, cell in enumerate(cells):
            here = {name: target for (name, place), target in self.targets.items() if place == cell.place}
            fits = {
                (target.block, target.covariates): target.moments.whitened(target.covariates)
                for target in here.values()
            }
            for arm, value in enumerate(cell.arms):
                numbers: dict[str, Any] = {}
                for name, target in here.items():
                    if target.moments.count[arm] >= 2:
                        fit = fits[target.block, target.covariates]
                        own, scales[name, number, arm] = self._of_target(name, target, fit, arm)
                        numbers |= own
                if numbers:
                    for segment in [None] if self.column is None else cell.values:
                        keys = [value] if self.column is None else [value, segment]
                        place = number * len(cell.arms) + arm
                        rows.append({"keys": keys, "cell": place, "coefficients": numbers})
        return rows, scales

    def _of_target(self, name: Name, target: Target, fit: Whitened, arm: int) -> tuple[dict[str, Any], float]:
        """Coefficients of one arm, and how many steps one unit of its terms is."""
        b, o, moments = target.block, self.names.index(name), target.moments
        n = float(moments.count[arm])
        places = [self.covariates.index(column) for column in fit.columns]
        triangle, mean = fit.triangle[arm], fit.mean[arm]
        away = np.array([self._away(column, mean[i]) for i, column in enumerate(fit.columns)])
        reach = np.minimum(np.abs(triangle) @ away, 1.0) if len(away) else np.zeros(0)
        numbers: dict[str, Any] = {f"n{b}": 1 / n, f"g{b}": self._spread(places, fit.target[arm])}
        shift = triangle @ (self.centre[places] - mean)
        for p in range(len(self.covariates)):
            i = places.index(p) if p in places else None
            numbers[f"w{b}_{p}"] = self._spread(places, np.zeros(len(places)) if i is None else triangle[i])
            numbers[f"m{b}_{p}"] = 0.0 if i is None else float(shift[i])
        joint = moments.with_sum("outcome", target.parts)
        y, x = joint.place("outcome"), [joint.place(column) for column in fit.columns]
        slope = triangle @ joint.product[arm, x, y]
        numbers[f"b{o}"] = self._spread(places, slope)
        left = max(float(joint.product[arm, y, y] - slope @ slope), 0.0)
        far = float(np.abs(slope) @ reach)
        for part, weight in target.parts.items():
            own, p = float(moments.mean[arm, moments.place(part)]), self.outcomes.index(part)
            numbers |= {f"c{p}_{b}": own, f"u{o}_{p}": float(weight[arm])}
            far += abs(float(weight[arm])) * self._away(part, own)
        numbers[f"k{o}"] = _scale(n, fit.target[arm], reach, left, far)
        return numbers, numbers[f"k{o}"]

    def _spread(self, places: Sequence[int], values: Floats) -> Floats:
        """Values of the covariates in use, nought for all others."""
        found = np.zeros(len(self.covariates))
        found[list(places)] = values
        return found

    def _away(self, column: str, mean: float) -> float:
        q = self.quantities[column]
        return max(q.high - mean, mean - q.low, 0.0)

    def _vectors(self) -> set[str]:
        """Coefficients that are one number a covariate."""
        found = {f"b{o}" for o in range(len(self.names))} | {f"g{b}" for b in self.blocks}
        return found | {f"w{b}_{p}" for b in self.blocks for p in range(len(self.covariates))}

    def _columns(self, name: str, empty: Any) -> list[str]:
        """Columns of one coefficient, without rows."""
        if isinstance(empty, float):
            return [f"0::DOUBLE AS {name}"]
        if self.wide:
            return [f"NULL::DOUBLE[{len(empty)}] AS {name}"]
        return [f"0::DOUBLE AS {name}_{p}" for p in range(len(empty))]

    def _values(self, given: Mapping[str, Any], empty: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = []
        for name, nothing in empty.items():
            value = given.get(name, nothing)
            if isinstance(nothing, float):
                found.append(value)
            else:
                found += [value.tolist()] if self.wide else value.tolist()
        return found

    def _sql(self, relation: Relation) -> str:
        """Rows with their cell's coefficients: coordinates, then leverages and residuals, then their sums."""
        x = [f"({self._filled(c)}) - {double(m)}" for c, m in zip(self.covariates, self.centre, strict=True)]
        columns = self._vector("x", x)
        columns += [f"{self.quantities[column].real} AS y{p}" for p, column in enumerate(self.outcomes)]
        columns += [f"{self._test(b)} AS r{b}" for b in self.blocks if self.plan.blocks[b].known]
        match = "d.a IS NOT DISTINCT FROM k.a"
        if self.column is not None:
            match += " AND d.s IS NOT DISTINCT FROM k.s"
        rows = f"(SELECT {self._keys()}, {', '.join(columns)} FROM {relation.sql})"
        joined = f"SELECT d.* EXCLUDE ({', '.join(self.keys)}), k.* FROM {rows} d JOIN fitted k ON {match}"
        left = f"SELECT *, {', '.join(self._coordinates())} FROM ({joined})"
        weighed = f"SELECT *, {', '.join([*self._leverages(), *self._residuals()])} FROM ({left})"
        return f"SELECT cell, {', '.join(self._terms())} FROM ({weighed}) GROUP BY cell"

    def _vector(self, name: str, numbers: Sequence[str]) -> list[str]:
        if self.wide:
            return [f"array_value({', '.join(numbers)}) AS {name}"]
        return [f"{number} AS {name}_{p}" for p, number in enumerate(numbers)]

    def _product(self, one: str, other: str, first: int | None = None) -> str:
        """Inner product of two vectors, or of as many of their first numbers as are not nought."""
        if self.wide:
            return f"array_inner_product({one}, {other})"
        return " + ".join(f"{one}_{p} * {other}_{p}" for p in range(first or len(self.covariates)))

    def _coordinates(self) -> list[str]:
        found = []
        for b in self.blocks:
            k = len(self.covariates)
            found += self._vector(f"z{b}", [f"{self._product(f'w{b}_{p}', 'x', p + 1)} + m{b}_{p}" for p in range(k)])
        return found

    def _leverages(self) -> list[str]:
        """``t² / (1 − h)``."""
        found = []
        for b in self.blocks:
            share, own = (f"(n{b} + {self._product(one, f'z{b}')})" for one in (f"g{b}", f"z{b}"))
            found.append(f"{share} * {share} / greatest(1 - {own}, {double(LEAST)}) AS q{b}")
        return found

    def _residuals(self) -> list[str]:
        found = []
        for o, name in enumerate(self.names):
            b = self.block[name]
            places = [self.outcomes.index(part) for part in self.parts[name]]
            centred = " + ".join(f"u{o}_{p} * (y{p} - c{p}_{b})" for p in places)
            found.append(f"{centred} - ({self._product(f'b{o}', f'z{b}')}) AS e{o}")
        return found

    def _terms(self) -> list[str]:
        found = []
        for o, name in enumerate(self.names):
            b = self.block[name]
            where = f" FILTER (WHERE r{b})" if self.plan.blocks[b].known else ""
            found.append(f"sum(CAST(least(q{b} * e{o} * e{o} * k{o}, {double(2.0**62)}) AS BIGINT)){where} AS t{o}")
        return found

    def _filled(self, column: str) -> str:
        """A covariate as DOUBLE, its empty cells at the mean."""
        real = self.quantities[column].real
        if column not in self.fills:
            return real
        indicator, lacking = self.fills[column]
        return f"{real} + {double(lacking)} * {self.quantities[indicator].real}"

    def _test(self, b: int) -> str:
        return " AND ".join(f"({self.quantities[name].real}) IS NOT NULL" for name in self.plan.blocks[b].known)


def _scale(n: float, target: Floats, reach: Floats, left: float, far: float) -> float:
    """Steps a unit, a power of two, such that no term ``t²e² / (1 − h)`` has more than 2⁶¹ of them.

    ``t² ≤ h·(1/n + Σ g²)`` and ``e² / (1 − h) ≤ Σ e²`` always hold; what is known of the columns' ranges is sharper.
    """
    share = min(1 / n + float(np.abs(target) @ reach), math.sqrt(1 / n + float(target @ target)))
    leverage = min(1 / n + float(reach @ reach), 1 - LEAST)
    bound = share**2 * min(left, far**2 / (1 - leverage))
    if not bound > 0:
        return 0.0
    return math.ldexp(1.0, min(61 - math.frexp(bound)[1], 1000))
