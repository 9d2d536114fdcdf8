"""Who will stop buying: boosted trees, calibrated out of fold, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from uplift.errors import InputError
from uplift.learners._bins import Bins
from uplift.learners._booster import BoosterSettings, booster_settings, fit_classifier
from uplift.learners._calibration import Calibrator
from uplift.learners._encoder import FrameEncoder
from uplift.learners._inputs import (
    assign_folds,
    check_groups,
    check_weight,
    plain,
    refuse,
    seed_of,
    threads_of,
)
from uplift.learners._risk import check_labels, classifier_tags, two_columns
from uplift.learners._scorers import BoosterScorer, scorer_from_dict

Floats = npt.NDArray[np.float64]


class ChurnModel(ClassifierMixin, BaseEstimator):
    """LightGBM classifier whose probabilities are calibrated on out-of-fold scores.

    Fold models score the rows that they have not seen; a monotone map is fitted from these scores to the outcome; the
    final model is fitted on all rows and its scores go through the same map.

    Parameters
    ----------
    n_estimators, num_leaves, learning_rate, min_child_samples, reg_lambda, extra_params
        LightGBM's, as in :class:`~uplift.learners.meta.BoostedLearner`.
    folds
        For calibration; rows of one group (``groups`` of :meth:`fit`: the member) share a fold.
    calibration
        ``isotonic``, or ``sigmoid`` for fewer than about a thousand rows.
    random_state, n_jobs
        Seed, and threads of LightGBM; the fit depends on the seed only.

    Attributes
    ----------
    classes_
        The two labels; the second one is churn.
    calibrator_
        The map from log-odds to probability.
    encoder_, n_features_in_, feature_names_in_
        As in the uplift learners.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"days": rng.uniform(0, 90, 500)})
    >>> y = rng.random(500) < X["days"] / 90
    >>> model = ChurnModel(min_child_samples=20, random_state=0).fit(X, y)
    >>> bool(model.predict_proba(pd.DataFrame({"days": [80.0]}))[0, 1] > 0.6)
    True
    """

    def __init__(
        self,
        *,
        n_estimators: int = 150,
        num_leaves: int = 15,
        learning_rate: float = 0.05,
        min_child_samples: int = 50,
        reg_lambda: float = 1.0,
        extra_params: Mapping[str, Any] | None = None,
        folds: int = 5,
        calibration: Literal["isotonic", "sigmoid"] = "isotonic",
        random_state: int | None = None,
        n_jobs: int | None = 1,
    ) -> None:
        self.n_estimators = n_estimators
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.min_child_samples = min_child_samples
        self.reg_lambda = reg_lambda
        self.extra_params = extra_params
        self.folds = folds
        self.calibration = calibration
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> Self:
        """Learn.

        Parameters
        ----------
        X
            Features as of each row's date, ``(n, n_features)``.
        y
            Two labels, ``(n,)``; the greater one (1, True) is churn.
        groups
            Member of each row, ``(n,)``.
        sample_weight
            ``(n,)``, not negative.

        Raises
        ------
        InputError
            Listing everything that is wrong.
        """
        encoder = FrameEncoder.learn(X)
        matrix = encoder.transform(X)
        problems: list[str] = []
        classes, target = check_labels(y, len(matrix), problems)
        weight = check_weight(sample_weight, len(matrix), problems)
        group = check_groups(groups, len(matrix), problems)
        self._check_params(problems)
        seed, threads = seed_of(self.random_state), threads_of(self.n_jobs)
        settings = self._settings(seed, threads, problems)
        refuse(problems, type(self).__name__)

        folds = assign_folds(target.astype(np.intp), self.folds, group, seed)
        bins = Bins(matrix, encoder.categorical)
        scores = self._out_of_fold(settings, bins, target, weight, folds)
        self.fold_ = folds
        self.calibrator_ = Calibrator.learn(scores, target, weight, self.calibration)
        used = np.flatnonzero(weight > 0)
        scorer = fit_classifier(settings, bins, used, target[used], weight[used])
        if not isinstance(scorer, BoosterScorer):
            raise InputError("y has one class only among the rows of positive weight")
        self.scorer_: BoosterScorer = scorer
        self._set_fitted(encoder, classes)
        return self

    def _check_params(self, problems: list[str]) -> None:
        if not isinstance(self.folds, int) or self.folds < 2:
            problems.append(f"folds must be a whole number of at least 2, found {self.folds!r}")
        if self.calibration not in ("isotonic", "sigmoid"):
            problems.append(f"calibration must be 'isotonic' or 'sigmoid', found {self.calibration!r}")

    def _settings(self, seed: int, threads: int, problems: list[str]) -> BoosterSettings:
        return booster_settings(
            n_estimators=self.n_estimators,
            num_leaves=self.num_leaves,
            learning_rate=self.learning_rate,
            min_child_samples=self.min_child_samples,
            reg_lambda=self.reg_lambda,
            extra_params=self.extra_params,
            seed=seed,
            threads=threads,
            problems=problems,
        )

    def _out_of_fold(
        self, settings: BoosterSettings, bins: Bins, target: Floats, weight: Floats, folds: npt.NDArray[np.int16]
    ) -> Floats:
        """Log-odds of every row from a model that has not seen its fold."""
        scores = np.empty(len(target))
        problems: list[str] = []
        for fold in np.unique(folds):
            train, test = np.flatnonzero((folds != fold) & (weight > 0)), folds == fold
            if len(np.unique(target[train])) < 2:
                problems.append("y has one class only outside one of the folds: give more rows, groups or fewer folds")
                break
            scorer = fit_classifier(settings, bins, train, target[train], weight[train])
            scores[test] = _log_odds(scorer, bins.matrix[test], settings.threads)
        refuse(problems, type(self).__name__)
        return scores

    def _set_fitted(self, encoder: FrameEncoder, classes: npt.NDArray[Any]) -> None:
        self.encoder_ = encoder
        self.classes_ = classes
        self.n_features_in_ = len(encoder.columns)
        if encoder.named:
            self.feature_names_in_ = np.array(encoder.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def predict_proba(self, X: Any) -> Floats:
        """Calibrated probability of staying and of churning, ``(n, 2)`` as in ``classes_``."""
        check_is_fitted(self)
        matrix = self.encoder_.transform(X)
        raw = _log_odds(self.scorer_, matrix, threads_of(self.n_jobs))
        return two_columns(self.calibrator_.probability(raw))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The more probable label, ``(n,)``."""
        churned = self.predict_proba(X)[:, 1] > 0.5
        return self.classes_[churned.astype(np.intp)]

    def contributions(self, X: Any) -> pd.DataFrame:
        """What each feature adds to a member's log-odds of churn before calibration: SHAP values.

        One row per member, in order, with the index of ``X`` if it has one; a column per feature and ``(baseline)``.
        """
        check_is_fitted(self)
        matrix = self.encoder_.transform(X)
        parts = self.scorer_.raw_contributions(matrix, threads_of(self.n_jobs))
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(parts, columns=[*self.encoder_.names, "(baseline)"], index=index)

    def reasons(self, X: Any, top: int = 3) -> pd.DataFrame:
        """The features that add most to each member's risk, largest first: columns ``reason_1`` … ``reason_top``.

        None where fewer features add to it.
        """
        parts = self.contributions(X)
        values = parts.to_numpy()[:, :-1]
        names = np.array([*self.encoder_.names, None], dtype=object)
        order = np.argsort(-values, axis=1, kind="stable")[:, :top]
        chosen = np.where(np.take_along_axis(values, order, axis=1) > 0, order, len(names) - 1)
        columns = [f"reason_{k + 1}" for k in range(chosen.shape[1])]
        return pd.DataFrame(names[chosen], columns=columns, index=parts.index)

    def feature_importance(self) -> pd.DataFrame:
        """Total gain of each feature in the final model, largest first, and its share."""
        check_is_fitted(self)
        gain = self.scorer_.gain(self.n_features_in_)
        table = pd.DataFrame(
            {"gain": gain, "share": gain / max(float(gain.sum()), 1e-300)},
            index=pd.Index(self.encoder_.names, name="feature"),
        )
        return table.sort_values("gain", ascending=False, kind="stable")

    def _state(self, files: dict[str, str]) -> dict[str, Any]:
        return {
            "encoder": self.encoder_.to_dict(),
            "scorer": self.scorer_.to_dict(files),
            "calibrator": self.calibrator_.to_dict(),
            "classes": [plain(label) for label in self.classes_],
        }

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, str]) -> None:
        scorer = scorer_from_dict(state["scorer"], files)
        if not isinstance(scorer, BoosterScorer):
            raise TypeError("scorer is no booster")
        self.scorer_ = scorer
        self.calibrator_ = Calibrator.from_dict(state["calibrator"])
        self._set_fitted(FrameEncoder.from_dict(state["encoder"]), np.array(state["classes"]))

    def __sklearn_tags__(self) -> Any:
        return classifier_tags(super().__sklearn_tags__())


def _log_odds(scorer: Any, matrix: npt.NDArray[np.float32], threads: int) -> Floats:
    if isinstance(scorer, BoosterScorer):
        return scorer.raw(matrix, threads)
    raise TypeError("a classifier with both classes is always a booster")
