"""One sort of one score: the gain curve, exactly at every tie, and the same curve in every half-sample draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from uplift.metrics._draws import Draws
from uplift.metrics.trial import Comparison

Floats = npt.NDArray[np.float64]
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
    draws
        What the draws were.
    n
        Rows.
    """

    q: Floats
    gain: Floats
    draw_q: Floats | None
    draw_gain: Floats | None
    draws: Draws | None
    n: int


def rank(comparison: Comparison, draws: Draws | None = None) -> Ranked:
    """Sort once; add up along the order, and by random group for the draws."""
    order = np.argsort(-comparison.score, kind="stable")
    ordered = comparison.score[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    del ordered
    cells, n_cells = _cells(len(order), last)
    totals: list[Floats] = []
    drawn: list[Floats] = []
    for values in _vectors(comparison):
        along = values[order]
        totals.append(np.cumsum(along)[last])
        if draws is not None:
            drawn.append(np.cumsum(draws.sums(cells, n_cells, along, comparison.row[order]), axis=1))
    q, gain = _curve(totals)
    if draws is None:
        return Ranked(q, gain, None, None, None, len(order))
    draw_q, draw_gain = _curve(drawn)
    return Ranked(q, gain, draw_q, draw_gain, draws, len(order))


def _vectors(c: Comparison) -> Iterator[Floats]:
    """What is summed: the three weights, outcomes of treated and of control and, if there are any, expected effects."""
    yield from (c.weight, c.plus, c.minus)
    yield c.plus * c.y_plus
    yield c.minus * c.y_minus
    if c.expected.any():
        yield c.weight * c.expected


def _curve(sums: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Cumulative sums → (q, gain) with the origin in front; each arm is normalised by its own total weight."""
    weight, plus, minus, treated, control, *expected = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        q = weight / weight[..., -1:]
        gain = treated / plus[..., -1:] - control / minus[..., -1:]
        for sum_of_expected in expected:
            gain = gain + sum_of_expected / weight[..., -1:]
    origin = np.zeros((*q.shape[:-1], 1))
    return np.concatenate([origin, q], axis=-1), np.concatenate([origin, gain], axis=-1)


def _cells(n: int, last: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], int]:
    """Each sorted row's cell, and how many cells: the groups of equal scores, merged where there are too many.

    Cells are even over the ranks and finer towards the top, where AUTOC looks hardest.
    """
    if len(last) > CELLS:
        even = np.linspace(0, n, CELLS * 3 // 4 + 1)[1:]
        top = np.geomspace(1, max(n / (CELLS * 3 // 4), 2), CELLS // 4)
        wanted = np.unique(np.concatenate([top, even]))
        last = last[np.unique(np.clip(np.searchsorted(last + 1, wanted), 0, len(last) - 1))]
    sizes = np.diff(last, prepend=-1)
    return np.repeat(np.arange(len(last)), sizes), len(last)


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
