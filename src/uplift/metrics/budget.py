"""Several arms with costs: what the best use of every budget brings, when predictions decide who gets what.

Reference: Sverdrup, Wu, Athey & Wager (2023), Qini curves for multi-armed treatment rules.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from uplift.errors import InputError
from uplift.metrics._draws import Draws, make_draws
from uplift.metrics._functionals import PER_1000, with_interval
from uplift.metrics._ranking import CELLS, area
from uplift.metrics._results import Metric, metric
from uplift.metrics.ranking import POINTS
from uplift.metrics.trial import Propensity, Trial, read_effects, read_expected, read_trial
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class BudgetCurve(Rendered):
    """Extra outcome over spend.

    Attributes
    ----------
    spend
        Mean cost per member, from the least possible to what the predictions would spend without a limit, ``(m,)``.
    value, se, df, low, high
        Extra outcome per 1,000 members against treating nobody, with standard error, its degrees of freedom, and
        interval; these four are None without draws.
    random
        The same for the best that can be done with the arms' mean effects and costs, without targeting.
    area
        Mean over the budgets of ``value − random``.
    n, unit
        Rows, and what value and area are counted in.
    """

    spend: Floats
    value: Floats
    se: Floats | None
    df: Floats | None
    low: Floats | None
    high: Floats | None
    random: Floats
    area: Metric
    n: int
    unit: str

    def at(self, budget: float) -> Metric:
        """The gain at a budget per member; beyond the last point nothing more is bought."""
        if budget < self.spend[0]:
            raise InputError(f"the least that can be spent is {self.spend[0]:.6g} per member, asked for {budget:.6g}")
        value = float(np.interp(budget, self.spend, self.value))
        se, df = (
            None if along is None else float(np.interp(budget, self.spend, along)) for along in (self.se, self.df)
        )
        return metric(f"gain at {budget:g}", value, se, n=self.n, unit=self.unit, df=df)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a point."""
        names = ("spend", "value", "low", "high", "random")
        columns = [self.spend, self.value, self.low, self.high, self.random]
        lists = [[None] * len(self.spend) if c is None else c.tolist() for c in columns]
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


@dataclass(frozen=True)
class _Path:
    """Moves in the order in which a growing budget makes them: who, from which arm, to which, at what extra cost.

    ``last`` are the ends of the runs of moves with equal gain per cost, within which any order is as good.
    """

    start: Ints
    row: Ints
    source: Ints
    target: Ints
    extra_cost: Floats
    last: Ints


def multi_arm_qini(
    effect: npt.ArrayLike,
    cost: Mapping[Any, float] | npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    control: Hashable = None,
    sample_weight: npt.ArrayLike | None = None,
    expected: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    n_bootstrap: int = 200,
    random_state: int | None = 0,
    alpha: float = 0.05,
) -> BudgetCurve:
    """The Qini curve of several arms over a budget.

    For each member the arms that are worth their cost at some price form a path, from the cheapest choice to the best
    one; all members' steps are taken in the order of predicted gain per unit of cost. What is bought is decided by
    ``effect`` and ``cost``, what it brings is measured on ``y``.

    Parameters
    ----------
    effect
        Predicted effects, ``(n, n_arms)`` (or ``(n,)`` for one arm).
    cost
        Cost of giving each arm, known beforehand: arm → number, ``(n_arms,)`` or ``(n, n_arms)``. Zero and negative
        costs are allowed: what is free and helps is bought first, what saves money sets the start below zero. The
        control costs nothing.
    y, treatment, propensity, control, sample_weight, expected, clusters, n_bootstrap, random_state, alpha
        As in :func:`uplift.metrics.qini_curve`. An arm with propensity zero for a row is never bought for it.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> treatment = rng.integers(0, 3, 6000)
    >>> effect = rng.normal(size=(6000, 2))
    >>> y = np.column_stack([np.zeros(6000), effect])[np.arange(6000), treatment] + rng.normal(size=6000)
    >>> curve = multi_arm_qini(effect, [1.0, 2.0], y, treatment, [[1 / 3] * 3] * 6000, control=0)
    >>> bool(curve.at(0.2).low > 0)
    True
    """
    trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
    draws = make_draws(len(trial), n_bootstrap, random_state, clusters)
    spending = Spending.read(effect, cost, trial, expected, draws)
    return _measure(trial, spending, draws, alpha)


@dataclass(frozen=True)
class Spending:
    """What predictions buy at every spend, and what it brings.

    Attributes
    ----------
    spend, gain
        Along the path, per member, ``(m,)``.
    resampled
        The same pair for every draw and below them without each group, ``(n_draws + n_groups, cells)``; None without
        draws.
    costs, expected
        As read.
    """

    spend: Floats
    gain: Floats
    resampled: tuple[Floats, Floats] | None
    costs: Floats
    expected: Floats | None

    @classmethod
    def read(
        cls,
        effect: npt.ArrayLike,
        cost: Mapping[Any, float] | npt.ArrayLike,
        trial: Trial,
        expected: npt.ArrayLike | None,
        draws: Draws | None,
    ) -> Spending:
        """Check what is given and follow the path."""
        if not (trial.propensity[:, 0] > 0).all():
            raise InputError("some rows can never be a control (propensity 0): leave them out, their gain is unknown")
        effects = read_effects(effect, trial, None)
        costs = _read_costs(cost, trial)
        table = None if expected is None else read_expected(expected, trial)
        path = _walk(np.where(trial.propensity[:, 1:] > 0, effects, -np.inf), costs)
        whole, part = _sums(trial, path, costs, table, draws)
        return cls(*whole.curve(), None if part is None else part.curve(), costs, table)

    def at(self, budgets: Floats) -> Floats:
        """Extra outcome per 1,000 members at each spend; beyond the last nothing more is bought."""
        return 1000 * np.interp(budgets, self.spend, self.gain)

    def resampled_at(self, budgets: Floats) -> Floats | None:
        """The same in every draw and without each group, ``(n_draws + n_groups, len(budgets))``."""
        if self.resampled is None:
            return None
        both = zip(*self.resampled, strict=True)
        return 1000 * np.stack([np.interp(budgets, spend, gain) for spend, gain in both])


def _read_costs(cost: Mapping[Any, float] | npt.ArrayLike, trial: Trial) -> Floats:
    n, k = len(trial), len(trial.arms)
    if isinstance(cost, Mapping):
        missing = [str(arm) for arm in trial.arms if arm not in cost]
        if missing:
            raise InputError(f"cost says nothing about the arm(s) {', '.join(missing)}")
        cost = [float(cost[arm]) for arm in trial.arms]
    array = np.asarray(cost, dtype=np.float64)
    if array.shape == (n,) and k == 1:
        array = array[:, None]
    if array.shape not in {(n, k), (k,), ()}:
        raise InputError(f"cost has shape {array.shape}; expected ({k},) or ({n}, {k})")
    if not np.isfinite(array).all():
        raise InputError("cost is missing or infinite for some arm or row")
    return np.broadcast_to(array, (n, k))


def _walk(effects: Floats, costs: Floats) -> _Path:
    """Each member's upper hull of (cost, effect), control included, and all moves along it by falling slope."""
    n = len(effects)
    rows = np.arange(n)
    price = np.column_stack([np.zeros(n), costs])
    worth = np.column_stack([np.zeros(n), effects])
    price = np.where(np.isfinite(worth), price, np.inf)
    cheapest = price.min(axis=1, keepdims=True)
    start = np.argmax(np.where(price == cheapest, worth, -np.inf), axis=1)
    moves: list[tuple[Ints, Ints, Ints, Floats, Floats]] = []
    active, current = rows, start
    while len(active):
        more = price[active] - price[active, current][:, None]
        gain = worth[active] - worth[active, current][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where((more > 0) & np.isfinite(more) & (gain > 0), gain / more, -np.inf)
        steepest = slope.max(axis=1)
        farthest = np.argmax(np.where(slope == steepest[:, None], more, -np.inf), axis=1)
        go = np.isfinite(steepest)
        active, current, farthest, steepest, more = (
            active[go], current[go], farthest[go], steepest[go], more[go],
        )  # fmt: skip
        moves.append((active, current, farthest, steepest, more[np.arange(len(active)), farthest]))
        current = farthest
    row, source, target, slope, extra = (np.concatenate(parts) for parts in zip(*moves, strict=True))
    order = np.argsort(-slope, kind="stable")
    slope = slope[order]
    last = np.flatnonzero(np.append(slope[1:] != slope[:-1], True)) if len(slope) else np.empty(0, dtype=np.intp)
    return _Path(start, row[order], source[order], target[order], extra[order], last)


@dataclass(frozen=True)
class _Sums:
    """Along the path, first the start and then the moves: gains and spend before normalisation.

    ``arm_gain`` (arms, cells) is what each arm's rows contribute, ``arm_weight`` (arms,) what to divide it by; each
    with a leading axis of draws in the drawn version.
    """

    arm_gain: Floats
    arm_weight: Floats
    spend: Floats
    expected: Floats
    weight: Floats

    def curve(self) -> tuple[Floats, Floats]:
        """(spend, gain) per member."""
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = (self.arm_gain / self.arm_weight[..., None]).sum(axis=-2)
            gain = gain + self.expected / self.weight[..., None]
            return self.spend / self.weight[..., None], gain


def _sums(
    trial: Trial, path: _Path, costs: Floats, expected: Floats | None, draws: Draws | None
) -> tuple[_Sums, _Sums | None]:
    n, k = len(trial), len(trial.names)
    rows = np.arange(n)
    inverse = trial.weight / trial.propensity[rows, trial.assigned]
    mean = float(np.average(trial.y, weights=inverse))
    rest = trial.y - (mean if expected is None else expected[rows, trial.assigned])
    row = np.concatenate([rows, path.row])
    source = np.concatenate([np.zeros(n, dtype=np.intp), path.source])
    target = np.concatenate([path.start, path.target])
    price = np.column_stack([np.zeros(n), costs])
    extra = np.concatenate([price[rows, path.start], path.extra_cost])
    mine = trial.assigned[row]
    sign = (mine == target).astype(np.float64) - (mine == source)
    contribution = sign * (inverse * rest)[row]
    change = None if expected is None else trial.weight[row] * (expected[row, target] - expected[row, source])
    vectors = [np.where(mine == arm, contribution, 0.0) for arm in range(k)]
    vectors += [trial.weight[row] * extra, np.zeros(len(row)) if change is None else change]
    received = [np.where(trial.assigned == arm, inverse, 0.0) for arm in range(k)]
    offered = [np.where(trial.propensity[:, arm] > 0, trial.weight, 0.0) for arm in range(k)]
    weights = [*received, *offered, trial.weight]

    ends = np.append(n - 1, n + path.last)  # the start is one step: everybody's cheapest choice
    full = [np.cumsum(v)[ends] for v in vectors]
    arm_weight, weight = _normalisers(np.array([w.sum() for w in weights]), k)
    whole = _Sums(np.stack(full[:k]), arm_weight, full[k], full[k + 1], weight)
    if draws is None:
        return whole, None
    cell, n_cells = _cells(n, path.last)
    drawn = [np.cumsum(draws.resampled(cell, n_cells, v, row), axis=1) for v in vectors]
    zero = np.zeros(n, dtype=np.intp)
    totals = np.stack([draws.resampled(zero, 1, w, rows)[:, 0] for w in weights], axis=1)
    drawn_arm_weight, drawn_weight = _normalisers(totals, k)
    return whole, _Sums(np.stack(drawn[:k], axis=1), drawn_arm_weight, drawn[k], drawn[k + 1], drawn_weight)


def _cells(n: int, last: Ints) -> tuple[Ints, int]:
    """The cell of each row's start (0) and of each move: runs of equal moves, merged where there are too many."""
    if len(last) > CELLS:
        wanted = np.linspace(0, last[-1] + 1, CELLS + 1)[1:]
        last = last[np.unique(np.clip(np.searchsorted(last + 1, wanted), 0, len(last) - 1))]
    sizes = np.diff(last, prepend=-1)
    return np.concatenate([np.zeros(n, dtype=np.intp), np.repeat(1 + np.arange(len(last)), sizes)]), len(last) + 1


def _normalisers(totals: Floats, k: int) -> tuple[Floats, Floats]:
    """What each arm's sums are divided by, so that its weights add up to those of the rows it was offered to."""
    received, offered, everybody = totals[..., :k], totals[..., k : 2 * k], totals[..., 2 * k]
    with np.errstate(divide="ignore", invalid="ignore"):
        return received * everybody[..., None] / offered, everybody


def _measure(trial: Trial, spending: Spending, draws: Draws | None, alpha: float) -> BudgetCurve:
    spend, costs, expected = spending.spend, spending.costs, spending.expected
    grid = np.linspace(spend[0], spend[-1], POINTS) if spend[-1] > spend[0] else spend[:1]
    value, drawn = spending.at(grid), spending.resampled_at(grid)
    random = 1000 * _untargeted(grid, trial, costs, expected)
    advantage = float(mean_over(grid, value - random))
    se = df = low = high = area_drawn = area_left = None
    if draws is not None and drawn is not None:
        over_draws, left = draws.split(drawn)
        se, df = draws.standard_error(over_draws), draws.degrees_of_freedom(left)
        half = se * student.ppf(1 - alpha / 2, df)
        low, high = value - half, value + half
        baseline = 1000 * _untargeted_draws(grid, trial, costs, expected, draws)
        area_drawn, area_left = draws.split(mean_over(grid, drawn - baseline))
    number = with_interval(
        "multi_arm_qini", PER_1000, advantage, area_drawn, area_left, draws, n=len(trial), alpha=alpha
    )
    return BudgetCurve(grid, value, se, df, low, high, random, number, len(trial), PER_1000)


def mean_over(grid: Floats, height: Floats) -> Floats:
    """Mean height over the budgets; the last axis is the curve."""
    width = grid[-1] - grid[0]
    return np.asarray(height[..., 0]) if width <= 0 else area(grid, height) / width


def _mean_effects(trial: Trial, expected: Floats | None) -> tuple[Floats, list[Floats]]:
    """Mean effect of each arm over the rows it may be given to, and per arm the rows' weights of its mean outcome."""
    rows = np.arange(len(trial))
    inverse = trial.weight / trial.propensity[rows, trial.assigned]
    masks = [np.where(trial.assigned == arm, inverse, 0.0) for arm in range(len(trial.names))]
    rest = trial.y if expected is None else trial.y - expected[rows, trial.assigned]
    means = np.array([mask @ rest / mask.sum() for mask in masks])
    if expected is not None:
        means = means + np.average(expected, axis=0, weights=trial.weight)
    return means[1:] - means[0], masks


def _lines(grid: Floats, effects: Floats, costs: Floats) -> Floats:
    """The best gain at each budget from mixing arms over everybody, for mean effects ``(…, n_arms)`` and mean costs.

    Nobody needs to spend all: each budget buys the best arm within it, or the best mix of one within and one beyond.
    """
    price = np.append(0.0, costs)
    worth = np.concatenate([np.zeros((*effects.shape[:-1], 1)), effects], axis=-1)
    budget = np.maximum(grid, price.min())
    best = np.where(price <= budget[:, None], worth[..., None, :], -np.inf).max(axis=-1)
    for cheap, dear in permutations(range(len(price)), 2):
        between = (price[cheap] <= budget) & (budget < price[dear])
        share = (budget[between] - price[cheap]) / (price[dear] - price[cheap])
        mixed = worth[..., [cheap]] + share * (worth[..., [dear]] - worth[..., [cheap]])
        best[..., between] = np.maximum(best[..., between], mixed)
    return best


def _untargeted(grid: Floats, trial: Trial, costs: Floats, expected: Floats | None) -> Floats:
    effects, _ = _mean_effects(trial, expected)
    return _lines(grid, effects, np.average(costs, axis=0, weights=trial.weight))


def _untargeted_draws(grid: Floats, trial: Trial, costs: Floats, expected: Floats | None, draws: Draws) -> Floats:
    """The untargeted line in each draw; costs are known, only the effects vary."""
    rows, zero = np.arange(len(trial)), np.zeros(len(trial), dtype=np.intp)
    _, masks = _mean_effects(trial, expected)
    rest = trial.y if expected is None else trial.y - expected[rows, trial.assigned]
    outcome = np.stack(
        [draws.resampled(zero, 1, m * rest, rows)[:, 0] / draws.resampled(zero, 1, m, rows)[:, 0] for m in masks],
        axis=1,
    )
    if expected is not None:
        weight = draws.resampled(zero, 1, trial.weight, rows)
        outcome = outcome + np.concatenate(
            [draws.resampled(zero, 1, trial.weight * column, rows) / weight for column in expected.T], axis=1
        )
    mean_cost = np.average(costs, axis=0, weights=trial.weight)
    return _lines(grid, outcome[:, 1:] - outcome[:, :1], mean_cost)
