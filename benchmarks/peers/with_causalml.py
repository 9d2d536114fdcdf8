"""causalml's meta-learners, causal forest and uplift forest; several arms and known propensities as it takes them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from causalml.inference import meta
from causalml.inference.tree import CausalRandomForestRegressor, UpliftRandomForestClassifier

from benchmarks._jobs import Predicted, work
from benchmarks._settings import BOOSTER, FOREST_TREES, NotApplicableError
from benchmarks.peers._data import PeerSplit, classifier, load, regressor


def make(kind: str, settings: dict[str, Any], binary: bool, threads: int = 1) -> Any:
    """A meta-learner: its classifier form for rates, except DR, which takes class labels for probabilities there."""
    amount, rate = regressor(settings, threads), classifier(settings, threads)
    if kind in "ST":
        name = f"Base{kind}{'Classifier' if binary else 'Regressor'}"
        return getattr(meta, name)(learner=rate if binary else amount, control_name=0)
    if kind == "X" and binary:
        return meta.BaseXClassifier(outcome_learner=rate, effect_learner=amount, control_name=0)
    if kind == "R" and binary:
        return meta.BaseRClassifier(outcome_learner=rate, effect_learner=amount, control_name=0, random_state=0)
    if kind == "R":
        return meta.BaseRLearner(learner=amount, control_name=0, random_state=0, cv_n_jobs=1)
    return {"X": meta.BaseXRegressor, "DR": meta.BaseDRRegressor}[kind](learner=amount, control_name=0)


def fit(kind: str, model: Any, X: np.ndarray, arm: np.ndarray, y: np.ndarray, known: dict[int, np.ndarray]) -> None:
    """Fit with the known propensities wherever the learner uses any."""
    more: dict[str, Any] = {} if kind in "ST" else {"p": known}
    if kind == "R":
        more["verbose"] = False
    if kind == "DR":
        more["seed"] = 0
    model.fit(X=X, treatment=arm, y=y, **more)


def predict(kind: str, model: Any, X: np.ndarray, known: dict[int, np.ndarray]) -> np.ndarray:
    """Effects of every arm; only X needs propensities for it."""
    return np.asarray(model.predict(X, p=known) if kind == "X" else model.predict(X))


def _learner(kind: str, settings: dict[str, Any]) -> Callable[[PeerSplit], Predicted]:
    def run(split: PeerSplit) -> Predicted:
        model = make(kind, settings, split.binary)
        fit(kind, model, split.X, split.arm, split.y, split.known(len(split.X)))
        return Predicted(predict(kind, model, split.X_test, split.known(len(split.X_test))))

    return run


def causal_forest(split: PeerSplit) -> Predicted:
    """Honest trees with leaves of at least 100 rows: its defaults but for the number of trees."""
    forest = CausalRandomForestRegressor(n_estimators=FOREST_TREES, control_name=0, n_jobs=1, random_state=0)
    forest.fit(X=split.X, treatment=split.arm, y=split.y)
    return Predicted(np.asarray(forest.predict(split.X_test)).reshape(len(split.X_test), -1))


def uplift_forest(split: PeerSplit) -> Predicted:
    """Its defaults (KL, depth 5, leaves of at least 100 rows), with more trees than its 10."""
    if not split.binary:
        raise NotApplicableError("causalml's uplift forest takes outcomes of 0 and 1 only")
    forest = UpliftRandomForestClassifier(control_name="0", n_estimators=FOREST_TREES, n_jobs=1, random_state=0)
    forest.fit(split.X, treatment=split.arm.astype(str), y=split.y.astype(int))
    return Predicted(np.asarray(forest.predict(split.X_test)))


METHODS: dict[str, Callable[[PeerSplit], Predicted]] = {
    **{f"causalml {kind}": _learner(kind, BOOSTER) for kind in ("S", "T", "X", "R", "DR")},
    **{f"causalml {kind}, LightGBM's defaults": _learner(kind, {}) for kind in ("S", "T", "X", "R", "DR")},
    "causalml causal forest": causal_forest,
    "causalml uplift forest": uplift_forest,
}

if __name__ == "__main__":
    work(Path(sys.argv[1]), METHODS, load)
