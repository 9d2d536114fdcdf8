"""An amount in two parts: whether there is any, and how much.

Most members spend nothing, and of the others few spend most of the money, so that effects on money drown in the luck of
how much. ``y = [y ≠ 0] m(x) + [y ≠ 0] (y − m(x))`` with the usual amount ``m(x)`` of a member with features ``x`` who
spends, whichever arm they are in. An effect on ``y`` is the sum of the effects on both parts, whatever ``m`` is; the
first, *incidence*, is nearly free of that luck.

Reference: two-part models, Duan, Manning, Morris & Newhouse (1983).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from uplift.learners._linear import LinearDesign
from uplift.learners._training import Training

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

INCIDENCE = "incidence"
LEAST_NOTHING = 0.05
"""Where fewer rows than this share have no amount, there is next to no incidence to learn from."""
FEWEST_AMOUNTS = 30
"""Rows with an amount per fold that are needed, counted over all folds: every partition must come to the same."""


def incidence_of(training: Training) -> Training | None:
    """The training of the first part; None where the outcome has no two parts.

    Usual amounts are each fold's by itself, so that no row's part knows of another fold's outcomes.
    """
    incidence = training.cache.get(INCIDENCE, lambda: _incidence(training))
    return None if incidence is None else training.with_outcome(INCIDENCE, incidence)


def _incidence(training: Training) -> Floats | None:
    """Each amount replaced by the usual one, ``(n,)``; None where the outcome has no two parts."""
    y = training.y
    some = (y != 0) & (training.weight > 0)
    folds = np.unique(training.folds)
    if training.binary or np.mean(y == 0) < LEAST_NOTHING or some.sum() < FEWEST_AMOUNTS * len(folds):
        return None
    if not np.ptp(y[some]):
        return None
    result = y.copy()
    for fold in folds:
        rows = np.flatnonzero(some & (training.folds == fold))
        if len(rows):
            result[rows] = _usual(training, rows)
    return result


def _usual(training: Training, rows: Ints) -> Floats:
    """Ridge regression of amounts on the features, its penalty by leave-one-out, within the range of amounts."""
    from sklearn.linear_model import RidgeCV

    matrix, amounts = training.matrix[rows], training.y[rows]
    regressors = LinearDesign.learn(matrix, training.categorical).transform(matrix)
    if not regressors.shape[1]:
        return np.full(len(rows), np.average(amounts, weights=training.weight[rows]))
    penalties = len(rows) * np.geomspace(0.01, 100, 9)
    model = RidgeCV(alphas=penalties).fit(regressors, amounts, sample_weight=training.weight[rows])
    return np.clip(model.predict(regressors), amounts.min(), amounts.max())
