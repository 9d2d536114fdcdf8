"""Quick learners and outcome models that stand in for the real ones where only the evaluation is under test."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin


class LeastSquares(RegressorMixin, BaseEstimator):
    """An outcome model that fits in no time."""

    def fit(self, X, y):
        self.coefficients_ = np.linalg.lstsq(_with_one(X), y, rcond=None)[0]
        return self

    def predict(self, X):
        return _with_one(X) @ self.coefficients_


def _with_one(X):
    return np.column_stack([np.ones(len(X)), np.asarray(X, dtype=float)])


class QuickLearner(BaseEstimator):
    """An uplift learner: least squares per arm on the first columns (0: the difference of means)."""

    def __init__(self, control=None, columns=None, curved=False):
        self.control = control
        self.columns = columns
        self.curved = curved

    def _design(self, X):
        X = np.asarray(X, dtype=float)[:, : self.columns]
        return np.column_stack([X, X**2, np.sign(X)]) if self.curved else X

    def fit(self, X, y, treatment, *, propensity=None, sample_weight=None, groups=None):
        design, given = self._design(X), np.asarray(treatment)
        self.arms_ = tuple(sorted(set(given.tolist()) - {self.control}))
        self.models_ = {a: LeastSquares().fit(design[given == a], y[given == a]) for a in (self.control, *self.arms_)}
        self.propensity_ = propensity
        self.groups_ = groups
        return self

    def predict(self, X):
        design = self._design(X)
        without = self.models_[self.control].predict(design)
        return np.column_stack([self.models_[a].predict(design) - without for a in self.arms_])


class Nothing(QuickLearner):
    """No effect."""

    def predict(self, X):
        return np.zeros((len(X), len(self.arms_)))


@pytest.fixture(scope="session")
def quick():
    """The classes, and a set of candidates from simple to complex."""
    candidates = {
        "none": Nothing(),
        "constant": QuickLearner(columns=0),
        "linear": QuickLearner(),
        "curved": QuickLearner(curved=True),
    }
    return SimpleNamespace(candidates=candidates, LeastSquares=LeastSquares, QuickLearner=QuickLearner, Nothing=Nothing)
