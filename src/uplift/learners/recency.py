"""The rule every shop knows: the longer ago the last order, the likelier the member is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from uplift.errors import InputError, unknown_name
from uplift.learners._calibration import Calibrator
from uplift.learners._encoder import FrameEncoder, as_frame, require_some
from uplift.learners._inputs import check_weight, plain, refuse
from uplift.learners._risk import check_labels, classifier_tags, two_columns

Floats = npt.NDArray[np.float64]


class RecencyRule(ClassifierMixin, BaseEstimator):
    """Risk of churn that never falls with the days since the last order, and nothing else.

    Isotonic regression of churn on the days; members whose days are missing have the churn rate of such members when
    learning (shrunk by one member at the overall rate, which alone counts where there were none).

    Parameters
    ----------
    column
        The column of the days: its name, or its position.

    Attributes
    ----------
    classes_
        The two labels; the second one is churn.
    curve_
        The map from days to probability.
    missing_
        Probability where the days are missing.

    Examples
    --------
    >>> rule = RecencyRule("days").fit(pd.DataFrame({"days": [5, 10, 40, 80]}), [0, 0, 1, 1])
    >>> rule.predict(pd.DataFrame({"days": [7, 70]}))
    array([0, 1])
    """

    def __init__(self, column: str | int = "days_since_last_order") -> None:
        self.column = column

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn the curve.

        Parameters
        ----------
        X
            A table or array with the column of the days, ``(n, n_features)``.
        y
            Two labels, ``(n,)``; the greater one is churn.
        sample_weight
            ``(n,)``, not negative.

        Raises
        ------
        InputError
            Listing what is wrong.
        """
        frame, named = as_frame(X)
        require_some(frame)
        encoder = FrameEncoder.learn(self._days(frame, named))
        days = self._encoded(encoder, frame, named)
        problems: list[str] = []
        classes, target = check_labels(y, len(frame), problems)
        weight = check_weight(sample_weight, len(frame), problems)
        if np.isnan(days).all():
            problems.append(f"{self.column!r} is missing in every row: a rule on recency needs it")
        refuse(problems, type(self).__name__)
        there = ~np.isnan(days) & (weight > 0)
        if not there.any():
            raise InputError(f"no row of positive weight knows {self.column!r}")
        rate = float(np.average(target, weights=weight))
        gone = weight * np.isnan(days)
        self.missing_ = float(((gone * target).sum() + rate) / (gone.sum() + 1))
        self.curve_ = Calibrator.increasing(days[there], target[there], weight[there])
        self.classes_ = classes
        self.encoder_ = encoder
        self.n_features_in_ = frame.shape[1]
        if named:
            self.feature_names_in_ = np.array(frame.columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def _days(self, frame: pd.DataFrame, named: bool) -> pd.DataFrame:
        """The one column, as a table."""
        if isinstance(self.column, str) and named:
            if self.column not in frame.columns:
                raise unknown_name("column", self.column, map(str, frame.columns))
            return frame[[self.column]]
        if isinstance(self.column, str):
            if frame.shape[1] == 1:
                return frame
            raise InputError(f"X has no column names: set column= to the position of {self.column!r}")
        if not 0 <= self.column < frame.shape[1]:
            raise InputError(f"column={self.column} does not exist: X has {frame.shape[1]} columns, counted from 0")
        return frame.iloc[:, [self.column]]

    def _encoded(self, encoder: FrameEncoder, frame: pd.DataFrame, named: bool) -> Floats:
        if encoder.columns[0].kind != "number":
            raise InputError(f"{self.column!r} must hold numbers of days")
        return encoder.transform(self._days(frame, named))[:, 0].astype(np.float64)

    def predict_proba(self, X: Any) -> Floats:
        """Probability of staying and of churning, ``(n, 2)`` as in ``classes_``."""
        check_is_fitted(self)
        frame, named = as_frame(X)
        if not isinstance(self.column, str) and frame.shape[1] != self.n_features_in_:
            raise InputError(
                f"X has {frame.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input"
            )
        days = self._encoded(self.encoder_, frame, named)
        known = self.curve_.probability(np.nan_to_num(days, nan=0.0))
        return two_columns(np.where(np.isnan(days), self.missing_, known))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The more probable label, ``(n,)``."""
        churned = self.predict_proba(X)[:, 1] > 0.5
        return self.classes_[churned.astype(np.intp)]

    def _state(self, files: dict[str, str]) -> dict[str, Any]:
        return {
            "encoder": self.encoder_.to_dict(),
            "curve": self.curve_.to_dict(),
            "missing": self.missing_,
            "classes": [plain(label) for label in self.classes_],
            "features": self.n_features_in_,
        }

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, str]) -> None:
        self.encoder_ = FrameEncoder.from_dict(state["encoder"])
        self.curve_ = Calibrator.from_dict(state["curve"])
        self.missing_ = float(state["missing"])
        self.classes_ = np.array(state["classes"])
        self.n_features_in_ = int(state["features"])

    def __sklearn_tags__(self) -> Any:
        tags = classifier_tags(super().__sklearn_tags__())
        tags.classifier_tags.poor_score = True
        tags.input_tags.string = False
        tags.input_tags.categorical = False
        return tags
