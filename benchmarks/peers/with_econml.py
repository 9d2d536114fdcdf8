"""EconML's doubly robust learner and causal forest, told the known propensities by a classifier that answers them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from econml.dml import CausalForestDML
from econml.dr import DRLearner, LinearDRLearner
from sklearn.base import BaseEstimator, ClassifierMixin

from benchmarks._jobs import Predicted, work
from benchmarks._settings import BOOSTER, FOREST_TREES
from benchmarks.peers._data import PeerSplit, classifier, load, regressor


class KnownShares(ClassifierMixin, BaseEstimator):
    """A propensity model that learns nothing: the design's shares for everyone."""

    def __init__(self, shares: tuple[float, ...] = ()) -> None:
        self.shares = shares

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> KnownShares:
        """Only the classes are looked at."""
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The shares, ``(n, k + 1)``."""
        return np.tile(self.shares, (len(X), 1))

    def predict(self, X: Any) -> np.ndarray:
        """The largest share's class."""
        return np.full(len(X), self.classes_[int(np.argmax(self.shares))])


def _nuisances(split: PeerSplit) -> dict[str, Any]:
    return {
        "model_propensity": KnownShares(tuple(split.shares)),
        "model_regression": (classifier if split.binary else regressor)(BOOSTER),
        "discrete_outcome": split.binary,
        "categories": [0, *split.arms],
        "random_state": 0,
    }


def _effects(model: Any, split: PeerSplit) -> Predicted:
    columns = [np.asarray(model.effect(split.X_test, T0=0, T1=arm)).ravel() for arm in split.arms]
    return Predicted(np.column_stack(columns))


def doubly_robust(split: PeerSplit) -> Predicted:
    """DRLearner with LightGBM throughout; its two folds, its one outcome model for all arms."""
    model = DRLearner(model_final=regressor(BOOSTER), **_nuisances(split))
    return _effects(model.fit(split.y, split.arm, X=split.X), split)


def linear_doubly_robust(split: PeerSplit) -> Predicted:
    """LinearDRLearner: the linear final stage that DRLearner has by default."""
    model = LinearDRLearner(**_nuisances(split))
    return _effects(model.fit(split.y, split.arm, X=split.X), split)


def causal_forest(split: PeerSplit) -> Predicted:
    """CausalForestDML: its defaults but for the number of trees, nuisances by LightGBM and the known shares."""
    model = CausalForestDML(
        model_y=(classifier if split.binary else regressor)(BOOSTER),
        model_t=KnownShares(tuple(split.shares)),
        discrete_outcome=split.binary,
        discrete_treatment=True,
        categories=[0, *split.arms],
        n_estimators=FOREST_TREES,
        n_jobs=1,
        random_state=0,
    )
    return _effects(model.fit(split.y, split.arm, X=split.X), split)


METHODS: dict[str, Callable[[PeerSplit], Predicted]] = {
    "EconML DRLearner": doubly_robust,
    "EconML LinearDRLearner": linear_doubly_robust,
    "EconML CausalForestDML": causal_forest,
}

if __name__ == "__main__":
    work(Path(sys.argv[1]), METHODS, load)
