"""Doubly robust scores: one number per member and arm whose mean is the outcome had everybody received that arm.

Reference: Robins, Rotnitzky & Zhao (1994); cross-fitting as in Chernozhukov et al. (2018, double machine learning).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from uplift.errors import InputError
from uplift.evaluation.folds import fold_ids
from uplift.learners import (
    Arms,
    DRLearner,
    FrameEncoder,
    OutcomeFitter,
    Training,
    arm_scores,
    estimated_propensity,
    expectations,
)
from uplift.metrics.trial import Propensity, Trial, read_trial
from uplift.metrics.value import standard_error
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Scores(Rendered):
    """Cross-fitted doubly robust scores.

    Attributes
    ----------
    values
        ``(n, n_arms + 1)`` in the order ``[control, *arms]``: an unbiased, noisy view of the row's outcome under each
        arm. NaN where the arm had probability zero: nothing is known about it there.
    expected
        What the outcome models expect, from folds that the row is not in, ``(n, n_arms + 1)``.
    control, arms
        Names; arms sorted, as learners' ``arms_``.
    assigned
        Position of the arm received in ``[control, *arms]``, ``(n,)``.
    propensity
        ``(n, n_arms + 1)``.
    y, weight
        Outcome and sample weights, ``(n,)``.
    fold
        Fold of each row, ``(n,)``.
    clusters
        Group of each row, ``(n,)``, or None.
    """

    values: Floats
    expected: Floats
    control: Hashable
    arms: tuple[Hashable, ...]
    assigned: Ints
    propensity: Floats
    y: Floats
    weight: Floats
    fold: Ints
    clusters: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def effects(self) -> Floats:
        """Score of each arm less that of the control, ``(n, n_arms)``; NaN where either is unknown."""
        return self.values[:, 1:] - self.values[:, :1]

    @property
    def offered(self) -> npt.NDArray[np.bool_]:
        """Where each arm could have been received, ``(n, n_arms)``."""
        return self.propensity[:, 1:] > 0

    def take(self, rows: npt.NDArray[Any]) -> Scores:
        """The scores of some rows (a mask or positions)."""
        names = ("values", "expected", "assigned", "propensity", "y", "weight", "fold")
        parts = {name: getattr(self, name)[rows] for name in names}
        return replace(self, **parts, clusters=None if self.clusters is None else self.clusters[rows])

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row an arm: how many received it, mean outcome had everybody received it, effect, standard errors."""
        rows = []
        for position, arm in enumerate((self.control, *self.arms)):
            mean, mean_se = weighted_mean(self.values[:, position], self.weight, self.clusters)
            effect, effect_se = (None, None)
            if position:
                effect, effect_se = weighted_mean(self.effects[:, position - 1], self.weight, self.clusters)
            rows.append(
                {
                    "arm": arm,
                    "n": int((self.assigned == position).sum()),
                    "mean": mean,
                    "mean_se": mean_se,
                    "effect": effect,
                    "effect_se": effect_se,
                }
            )
        return rows


def weighted_mean(values: Floats, weight: Floats, clusters: npt.NDArray[Any] | None) -> tuple[float, float | None]:
    """Mean over the rows where the value is known, and its (cluster-robust) standard error."""
    known = np.isfinite(values) & (weight > 0)
    if not known.any():
        return float("nan"), None
    values, weight = values[known], weight[known]
    mean = float(np.average(values, weights=weight))
    return mean, standard_error(values - mean, weight, None if clusters is None else clusters[known])


def aipw_scores(
    X: Any,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    control: Hashable = None,
    folds: int = 5,
    fold: npt.ArrayLike | None = None,
    outcome_model: Any = None,
    groups: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    random_state: int | None = 0,
    n_jobs: int = 1,
) -> Scores:
    """Score of every member under every arm, by outcome models cross-fitted and corrected by known propensities.

    With true propensities the mean of a score is right however poor the outcome model is; a good one only narrows the
    interval.

    Parameters
    ----------
    X
        Features before the assignment, ``(n, n_features)``: data frame (numbers, categories, text, missing values) or
        array.
    y, treatment, control, sample_weight
        As in :func:`uplift.metrics.qini_curve`.
    propensity
        Arm → share, or ``(n, n_arms + 1)`` in the order ``[control, *arms]`` with zeros where an arm was not offered;
        None: estimated by cross-fitted logistic regression, refused where overlap fails.
    folds, fold
        How many folds, or the folds themselves, ``(n,)``, as :func:`fold_ids` gives them.
    outcome_model
        A scikit-learn regressor, cloned for every arm and fold; None: a small LightGBM.
    groups
        Rows with the same value share a fold and are the clusters of all standard errors made of these scores.
    n_jobs
        Threads of LightGBM.

    Raises
    ------
    InputError
        Listing what is wrong with the input, or naming an arm with too few rows in some fold.
    """
    trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
    ids = _folds(trial, folds, fold, groups, random_state)
    training, _ = training_of(
        X, trial, ids, propensity is None, random_state=random_state, n_jobs=n_jobs, groups=groups
    )
    expected = expectations(training, outcome_fitter(training, outcome_model))
    clusters = None if groups is None else np.asarray(groups)
    return score_rows(replace(trial, propensity=training.propensity), expected, ids, clusters)


def training_of(
    X: Any,
    trial: Trial,
    fold: Ints,
    estimate: bool,
    *,
    random_state: int | None,
    n_jobs: int,
    halves: Ints | None = None,
    groups: npt.ArrayLike | None = None,
) -> tuple[Training, FrameEncoder]:
    """What outcome models, and learners, are fitted on.

    Parameters
    ----------
    estimate
        Estimate the propensities, cross-fitted, instead of taking the trial's.
    fold, halves, groups
        As in :class:`~uplift.learners.Training`; groups by any name.
    groups
        Rows with the same value belong together, ``(n,)``.

    Raises
    ------
    InputError
        If X does not fit the trial, or overlap fails.
    """
    encoder = FrameEncoder.learn(X)
    matrix = encoder.transform(X)
    if len(matrix) != len(trial):
        raise InputError(f"X has {len(matrix):,} rows, y has {len(trial):,}")
    arms = Arms(trial.arms, trial.control, trial.assigned)
    propensity = trial.propensity
    if estimate:
        propensity, problems = estimated_propensity(matrix, encoder.categorical, arms, trial.weight, fold)
        if problems:
            raise InputError("; ".join(problems))
    training = Training(
        matrix=matrix,
        categorical=encoder.categorical,
        y=trial.y,
        binary=bool(np.isin(trial.y, (0.0, 1.0)).all()),
        arms=arms,
        propensity=np.asarray(propensity),
        weight=trial.weight,
        folds=fold,
        seed=0 if random_state is None else int(random_state) % (2**31 - 1),
        threads=n_jobs,
        halves=halves,
        groups=None if groups is None else np.asarray(pd.factorize(np.asarray(groups))[0], dtype=np.intp),
    )
    return training, encoder


def outcome_fitter(training: Training, outcome_model: Any = None) -> OutcomeFitter:
    """How expected outcomes are learned: a scikit-learn regressor, or a small LightGBM."""
    if outcome_model is not None:
        return _Given(outcome_model)
    fewest = int(np.bincount(training.arms.codes).min())
    return DRLearner(min_child_samples=min(50, max(5, fewest // 20))).outcome_fitter(training)


@dataclass(frozen=True, eq=False)
class _Given:
    """A regressor of the caller's, cloned for every fit."""

    model: Any

    def key(self, m: int) -> str:
        """The caller's object is the key."""
        del m
        return f"given {id(self.model)}"

    def __call__(self, training: Training, rows: Ints, weight: Floats) -> Any:
        """Fit on some rows; weights are left out, since many regressors take none."""
        return _Predicting(clone(self.model).fit(training.matrix[rows].astype(np.float64), training.y[rows]))


@dataclass(frozen=True, eq=False)
class _Predicting:
    """A fitted regressor as something that scores rows."""

    model: Any

    def values(self, matrix: npt.NDArray[np.float32], threads: int) -> Floats:
        """Predictions, ``(n,)``."""
        del threads
        return np.asarray(self.model.predict(matrix.astype(np.float64)), dtype=np.float64)


def score_rows(trial: Trial, expected: Floats, fold: Ints, clusters: npt.NDArray[Any] | None) -> Scores:
    """Scores from expectations that did not see the rows."""
    return Scores(
        values=arm_scores(expected, trial.y, trial.assigned, np.asarray(trial.propensity)),
        expected=expected,
        control=trial.control,
        arms=trial.arms,
        assigned=trial.assigned,
        propensity=np.asarray(trial.propensity),
        y=trial.y,
        weight=trial.weight,
        fold=fold,
        clusters=clusters,
    )


def _folds(
    trial: Trial, folds: int, fold: npt.ArrayLike | None, groups: npt.ArrayLike | None, random_state: int | None
) -> Ints:
    if fold is None:
        return fold_ids(len(trial), folds, groups=groups, stratify=trial.assigned, random_state=random_state)
    ids = np.asarray(fold)
    if ids.shape != (len(trial),) or len(np.unique(ids)) < 2:
        raise InputError(f"fold must hold at least two folds and have shape ({len(trial)},), found {ids.shape}")
    return ids.astype(np.intp)
