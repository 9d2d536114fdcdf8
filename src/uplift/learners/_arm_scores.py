"""Doubly robust scores of a training's rows, from outcome models that did not see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError
from uplift.learners._training import OutcomeFitter, Training

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
MIN_ARM_ROWS = 20


def expectations(training: Training, fit: OutcomeFitter) -> Floats:
    """Outcome expected under each arm, ``(n, n_arms + 1)``, by models of the folds that the row is not in.

    NaN outside the rows that the training is restricted to.

    Raises
    ------
    InputError
        Naming an arm with too few rows outside some fold.
    """
    for arm, _, fewest in _arm_rows(training):
        if fewest < MIN_ARM_ROWS:
            raise InputError(
                f"arm {arm!r} has {fewest} rows outside some fold, at least {MIN_ARM_ROWS} are needed: use "
                "fewer folds, collect more, or leave the arm out"
            )
    return np.column_stack([training.out_of_fold(rows, fit) for _, rows, _ in _arm_rows(training)])


def can_be_scored(training: Training) -> bool:
    """Whether every arm has rows enough outside every fold."""
    return all(fewest >= MIN_ARM_ROWS for _, _, fewest in _arm_rows(training))


def _arm_rows(training: Training) -> Iterator[tuple[Any, npt.NDArray[np.intp], int]]:
    """Each arm, control first: name, rows, and how many of them are outside the fold that holds most of them."""
    inside = training.weight > 0 if training.within is None else training.within & (training.weight > 0)
    ids = training.crossfit_ids
    for position, arm in enumerate((training.arms.control, *training.arms.names)):
        rows = np.flatnonzero(inside & (training.arms.codes == position))
        yield arm, rows, len(rows) - int(np.bincount(ids[rows], minlength=int(ids.max()) + 1).max())


def arm_scores(expected: Floats, y: Floats, assigned: Ints, propensity: Floats) -> Floats:
    """Score of every arm, ``(n, n_arms + 1)``, control first; NaN where it had probability zero.

    Parameters
    ----------
    expected, propensity
        ``(n, n_arms + 1)``.
    y, assigned
        Outcome and position of the arm received, ``(n,)``.
    """
    rows = np.arange(len(y))
    values = np.where(propensity > 0, expected, np.nan)
    values[rows, assigned] += (y - expected[rows, assigned]) / propensity[rows, assigned]
    return values


def effect_scores(training: Training, expected: Floats) -> Floats:
    """Score of each arm less the control's, ``(n, n_arms)``; NaN where either is unknown."""
    values = arm_scores(expected, training.y, training.arms.codes, training.propensity)
    return np.asarray(values[:, 1:] - values[:, :1])
