"""One sort of one score: the gain curve, exactly at every tie, and the same curve in every half-sample draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from uplift.metrics._draws import BLOCK, CellSums, Draws
from uplift.metrics.trial import Comparison

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
CELLS = 256


@dataclass(frozen=True)
class Ranked:
    """The gain curve: extra outcome per member when the share ``q`` with the best predictions is treated.

    Attributes
    ----------
    q, gain
        Ends of the groups of equal scores, from (0, 0) to (1, effect of treating everybody), ``(m + 1,)``. Between
        them the curve is straight: within equal scores the order is arbitrary, so the expected gain is what counts.
    draw_q, draw_gain
        The same for every draw, ``(n_draws, cells + 1)``, at no more than :data:`CELLS` of these ends; None without
        draws.
    left_q, left_gain
        The same with each random group of rows left out, ``(n_groups, cells + 1)``; None without draws.
    draws
        What the draws were.
    n
        Rows.
    """

    q: Floats
    gain: Floats
    draw_q: Floats | None
    draw_gain: Floats | None
    left_q: Floats | None
    left_gain: Floats | None
    draws: Draws | None
    n: int


def rank(comparison: Comparison, draws: Draws | None = None) -> Ranked:
    """Sort once; add up along the order, and by random group for the draws."""
    c = comparison
    order = np.argsort(-c.score)
    ordered = c.score[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    del ordered
    treated_total, control_total = c.totals
    weight, step = _along(c, order, treated_total, control_total)
    q, gain = _with_origin(np.cumsum(weight)[last]), _with_origin(np.cumsum(step)[last])
    q /= q[-1]
    del weight, step
    if draws is None:
        return Ranked(q, gain, None, None, None, None, None, len(order))
    return Ranked(q, gain, *_resampled(c, order, last, draws), draws, len(order))


def _along(c: Comparison, order: Ints, treated_total: float, control_total: float) -> tuple[Floats, Floats]:
    """Population weight and gain of each row, best prediction first."""
    step = c.inverse * c.rest
    step *= np.where(c.treated, 1 / treated_total, -1 / control_total)
    if c.expected is not None:
        step += c.expected * c.weight / c.weight.sum()
    return c.weight[order], step[order]


def _resampled(c: Comparison, order: Ints, last: Ints, draws: Draws) -> tuple[Floats, Floats, Floats, Floats]:
    """(q, gain) of every draw, and of the sample without each group."""
    cells, n_cells = _cells(len(order), last)
    weights, outcomes, totals = CellSums(draws, n_cells), CellSums(draws, 2 * n_cells), CellSums(draws, 2)
    expected = None if c.expected is None else CellSums(draws, n_cells)
    for start in range(0, len(order), BLOCK):
        rows, cell = order[start : start + BLOCK], cells[start : start + BLOCK]
        origin = rows if c.row is None else c.row[rows]
        arm, weight, inverse = c.treated[rows].astype(np.intp), c.weight[rows], c.inverse[rows]
        place = weights.where(cell, origin)
        weights.add(place, weight)
        if expected is not None and c.expected is not None:
            expected.add(place, weight * c.expected[rows])
        outcomes.add(2 * place + arm, inverse * c.rest[rows])
        totals.add(totals.where(arm, origin), inverse)
    given = (weights, outcomes, totals, expected)
    drawn = _curves(*(None if sums is None else sums.drawn() for sums in given))
    return *drawn, *_curves(*(None if sums is None else sums.left_out() for sums in given))


def _curves(
    weights: Floats | None, outcomes: Floats | None, total: Floats | None, expected: Floats | None
) -> tuple[Floats, Floats]:
    """(q, gain) from sums by cell; each arm is normalised by its own total weight in the draw."""
    if weights is None or outcomes is None or total is None:
        raise TypeError("only expected sums may be absent")
    arms = outcomes.reshape(*weights.shape, 2)
    weight = np.cumsum(weights, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.cumsum(arms[..., 1] / total[:, 1:] - arms[..., 0] / total[:, :1], axis=1)
        if expected is not None:
            gain += np.cumsum(expected, axis=1) / weight[:, -1:]
        return _with_origin(weight / weight[:, -1:]), _with_origin(gain)


def _with_origin(along: Floats) -> Floats:
    return np.concatenate([np.zeros((*along.shape[:-1], 1)), along], axis=-1)


def _cells(n: int, last: Ints) -> tuple[npt.NDArray[np.int32], int]:
    """Each sorted row's cell, and how many cells: the groups of equal scores, merged where there are too many.

    Cells are even over the ranks and finer towards the top, where AUTOC looks hardest.
    """
    if len(last) > CELLS:
        even = np.linspace(0, n, CELLS * 3 // 4 + 1)[1:]
        top = np.geomspace(1, max(n / (CELLS * 3 // 4), 2), CELLS // 4)
        wanted = np.unique(np.concatenate([top, even]))
        last = last[np.unique(np.clip(np.searchsorted(last, wanted - 1), 0, len(last) - 1))]
    sizes = np.diff(last, prepend=-1)
    return np.repeat(np.arange(len(last), dtype=np.int32), sizes), len(last)


def area(q: Floats, gain: Floats) -> Floats:
    """Area under the curve over q in [0, 1]; the last axis is the curve."""
    return np.asarray(np.sum((gain[..., 1:] + gain[..., :-1]) * np.diff(q, axis=-1), axis=-1) / 2)


def area_above_random(q: Floats, gain: Floats) -> Floats:
    """Area between the curve and the straight line of treating at random: ∫ q · TOC(q) dq."""
    return area(q, gain - q * gain[..., -1:])


def area_of_toc(q: Floats, gain: Floats) -> Floats:
    """∫ TOC(q) dq with TOC(q) = gain(q)/q − gain(1), exact for the piecewise straight curve."""
    left, right = q[..., :-1], q[..., 1:]
    width = right - left
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(width > 0, (gain[..., 1:] - gain[..., :-1]) / width, 0.0)
        ratio = np.where((left > 0) & (width > 0), right / left, 1.0)
    intercept = gain[..., :-1] - slope * left
    return np.asarray(np.sum(slope * width + intercept * np.log(ratio), axis=-1) - gain[..., -1])


def gain_at(q: Floats, gain: Floats, at: npt.ArrayLike) -> Floats:
    """Height of the curve at given shares; for draws ``(n_draws, len(at))``."""
    where = np.atleast_1d(np.asarray(at, dtype=np.float64))
    if q.ndim == 1:
        return np.interp(where, q, gain)
    return np.stack([np.interp(where, one_q, one_gain) for one_q, one_gain in zip(q, gain, strict=True)])
