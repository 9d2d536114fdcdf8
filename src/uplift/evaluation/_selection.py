"""The parts of a search that are arithmetic: gains of rows, the one-standard-error rule, ranks in folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from uplift.evaluation.gain import best_arm
from uplift.evaluation.scores import weighted_mean

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


def row_gains(effects: Floats, gamma: Floats, offered: npt.NDArray[np.bool_]) -> tuple[Floats, Ints]:
    """Score of what the effects would choose, per row, and the choice; NaN where the control was never possible."""
    filled = np.nan_to_num(effects, nan=-np.inf)
    choice = best_arm(filled, offered)
    known = np.isfinite(gamma).any(axis=1) & np.isfinite(effects).all(axis=1)
    taken = np.where(choice > 0, gamma[np.arange(len(gamma)), np.maximum(choice - 1, 0)], 0.0)
    return np.where(known, taken, np.nan), choice


def single_gains(arm: int, gamma: Floats, offered: npt.NDArray[np.bool_]) -> Floats:
    """Score of one arm for all, per row; nothing where it was not offered."""
    known = np.isfinite(gamma).any(axis=1)
    return np.where(known, np.where(offered[:, arm], gamma[:, arm], 0.0), np.nan)


def choose(
    gains: Sequence[Floats],
    weight: Floats,
    clusters: npt.NDArray[Any] | None,
    tolerance: float,
    alike: Sequence[bool] = (),
    averaged: Sequence[bool] = (),
) -> int:
    """Position of the candidate to take: the one-standard-error rule, in favour of what promises least by chance.

    Standard errors are those of paired differences. An average of learners is kept unless treating everybody alike
    gains more by over ``tolerance`` standard errors, or another learner does by as much as the best of so many would
    seldom reach by luck (Bonferroni). Without an average the choice is that of :func:`one_standard_error`.

    Parameters
    ----------
    gains
        Score of what each candidate chooses, ``(n,)`` each, candidates from simple to complex.
    alike
        Which candidates treat everybody alike; default: none of them.
    averaged
        Which are averages of others, weighted by held-out scores; default: none of them.
    """
    positions = range(len(gains))
    same, mixed = (list(flags) or [False] * len(gains) for flags in (alike, averaged))
    if not any(mixed):
        return one_standard_error(gains, weight, clusters, tolerance, alike)
    values = [weighted_mean(gain, weight, clusters)[0] for gain in gains]
    kept = max((k for k in positions if mixed[k]), key=lambda k: (values[k], -k))
    others = [k for k in positions if not same[k] and not mixed[k]]
    rivals = (
        ([k for k in positions if same[k]], tolerance),
        (others, float(norm.isf(norm.sf(tolerance) / max(len(others), 1)))),
    )
    for group, limit in rivals:
        for k in sorted(group, key=lambda k: (-values[k], k))[:1]:
            difference, se = weighted_mean(gains[k] - gains[kept], weight, clusters)
            if difference > limit * (se or 0.0):
                return k
    return kept


def one_standard_error(
    gains: Sequence[Floats],
    weight: Floats,
    clusters: npt.NDArray[Any] | None,
    tolerance: float,
    alike: Sequence[bool] = (),
) -> int:
    """Position of the simplest candidate that is within ``tolerance`` standard errors of the best one.

    Candidates stand from simple to complex; the standard error is that of the paired difference from the best.
    Candidates that treat everybody alike (no effect, one effect for all) are chosen where no other one gains more, not
    where a gain is merely uncertain: every prediction was shrunk towards the constant effect as far as held-out scores
    demand, so caution has had its say, and giving up an uncertain gain costs its expectation.

    Parameters
    ----------
    alike
        Which candidates treat everybody alike; default: none of them.
    """
    same = list(alike) or [False] * len(gains)
    values = [weighted_mean(gain, weight, clusters)[0] for gain in gains]
    best = max(range(len(gains)), key=lambda position: (values[position], same[position], -position))
    if same[best]:
        return best
    for position in range(len(gains)):
        difference, se = weighted_mean(gains[best] - gains[position], weight, clusters)
        if not same[position] and difference <= tolerance * (se or 0.0):
            return position
    return best


def ranks_within(score: Floats, fold: Ints) -> Floats:
    """Mid-rank of each score among those of its fold, in (0, 1): models of different folds need not share a scale."""
    ranks = np.empty(len(score))
    for number in np.unique(fold):
        rows = np.flatnonzero(fold == number)
        order = np.sort(score[rows])
        below = np.searchsorted(order, score[rows], side="left")
        upto = np.searchsorted(order, score[rows], side="right")
        ranks[rows] = (below + upto) / 2 / len(rows)
    return ranks
