"""Doubly robust scores: one number per member and arm whose mean is the outcome had everybody received that arm.

Reference: Robins, Rotnitzky & Zhao (1994); cross-fitting as in Chernozhukov et al. (2018, double machine learning).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from uplift.errors import InputError
from uplift.evaluation.folds import fold_ids
from uplift.learners._encoder import FrameEncoder
from uplift.learners._inputs import Arms
from uplift.learners._propensity import estimated_propensity
from uplift.metrics.trial import Propensity, Trial, read_trial
from uplift.metrics.value import standard_error
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
MIN_ARM_ROWS = 20
BOOSTER = {
    "num_leaves": 8,
    "learning_rate": 0.08,
    "min_data_in_leaf": 50,
    "lambda_l2": 1.0,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}
ROUNDS = 60


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
    matrix, categorical = encode(X, len(trial))
    ids = _folds(trial, folds, fold, groups, random_state)
    if propensity is None:
        trial = with_estimated_propensity(trial, matrix, categorical, ids)
    expected = np.empty((len(trial), len(trial.names)))
    for number in np.unique(ids):
        held = ids == number
        expected[held] = expect(
            trial, matrix, categorical, ~held, held, outcome_model, random_state=random_state, n_jobs=n_jobs
        )
    clusters = None if groups is None else np.asarray(groups)
    return score_rows(trial, expected, ids, clusters)


def score_rows(trial: Trial, expected: Floats, fold: Ints, clusters: npt.NDArray[Any] | None) -> Scores:
    """Scores from expectations that did not see the rows."""
    rows = np.arange(len(trial))
    received = trial.propensity[rows, trial.assigned]
    values = np.where(trial.propensity > 0, expected, np.nan)
    values[rows, trial.assigned] += (trial.y - expected[rows, trial.assigned]) / received
    return Scores(
        values=values,
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


def encode(X: Any, n: int) -> tuple[Floats, list[int]]:
    """The features as a matrix, and which columns are categories."""
    encoder = FrameEncoder.learn(X)
    matrix = encoder.transform(X)
    if len(matrix) != n:
        raise InputError(f"X has {len(matrix):,} rows, y has {n:,}")
    return matrix, list(encoder.categorical)


def with_estimated_propensity(trial: Trial, matrix: Floats, categorical: list[int], fold: Ints) -> Trial:
    """The same trial with cross-fitted propensities; refused where overlap fails."""
    arms = Arms(trial.arms, trial.control, trial.assigned)
    propensity, problems = estimated_propensity(matrix, categorical, arms, trial.weight, fold)
    if problems:
        raise InputError("; ".join(problems))
    return replace(trial, propensity=propensity)


def _folds(
    trial: Trial, folds: int, fold: npt.ArrayLike | None, groups: npt.ArrayLike | None, random_state: int | None
) -> Ints:
    if fold is None:
        return fold_ids(len(trial), folds, groups=groups, stratify=trial.assigned, random_state=random_state)
    ids = np.asarray(fold)
    if ids.shape != (len(trial),) or len(np.unique(ids)) < 2:
        raise InputError(f"fold must hold at least two folds and have shape ({len(trial)},), found {ids.shape}")
    return ids.astype(np.intp)


def expect(
    trial: Trial,
    matrix: Floats,
    categorical: list[int],
    train: npt.NDArray[np.bool_],
    held: npt.NDArray[np.bool_],
    outcome_model: Any = None,
    *,
    random_state: int | None = 0,
    n_jobs: int = 1,
) -> Floats:
    """Outcome expected under each arm for the held rows, by one model per arm fitted on the training rows."""
    result = np.empty((int(held.sum()), len(trial.names)))
    for position, arm in enumerate(trial.names):
        mine = train & (trial.assigned == position) & (trial.weight > 0)
        if mine.sum() < MIN_ARM_ROWS:
            raise InputError(
                f"arm {arm!r} has {int(mine.sum())} rows outside some fold, at least {MIN_ARM_ROWS} are needed: use "
                "fewer folds, collect more, or leave the arm out"
            )
        target, weight = trial.y[mine], trial.weight[mine]
        if np.ptp(target) == 0:
            result[:, position] = target[0]
        elif outcome_model is not None:
            model = clone(outcome_model).fit(matrix[mine], target)
            result[:, position] = model.predict(matrix[held])
        else:
            result[:, position] = _boost(matrix, categorical, mine, target, weight, held, random_state, n_jobs)
    return result


def _boost(
    matrix: Floats,
    categorical: list[int],
    mine: npt.NDArray[np.bool_],
    target: Floats,
    weight: Floats,
    held: npt.NDArray[np.bool_],
    random_state: int | None,
    n_jobs: int,
) -> Floats:
    import lightgbm

    centre, spread = float(np.average(target, weights=weight)), float(np.std(target))
    params = {
        **BOOSTER,
        "objective": "regression",
        "seed": 0 if random_state is None else int(random_state) % (2**31 - 1),
        "num_threads": n_jobs,
        "min_data_in_leaf": min(BOOSTER["min_data_in_leaf"], max(5, len(target) // 20)),
    }
    data = lightgbm.Dataset(
        matrix[mine], (target - centre) / spread, weight=weight, categorical_feature=categorical, params=params
    )
    booster = lightgbm.train(params, data, ROUNDS)
    return np.asarray(centre + spread * booster.predict(matrix[held], num_threads=n_jobs))
