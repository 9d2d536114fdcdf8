"""scikit-uplift's models: each knows one arm only, so each is fitted for every arm against the control."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklift.models import ClassTransformation, ClassTransformationReg, SoloModel, TwoModels

from benchmarks._jobs import Predicted, work
from benchmarks._settings import BOOSTER, NotApplicableError
from benchmarks.peers._data import PeerSplit, classifier, load, regressor


def _per_arm(make: Callable[[PeerSplit, int], Any]) -> Callable[[PeerSplit], Predicted]:
    def run(split: PeerSplit) -> Predicted:
        columns = []
        for arm in split.arms:
            X, y, treated = split.pair(arm)
            model = make(split, arm).fit(X, y.astype(int) if split.binary else y, treated)
            columns.append(np.asarray(model.predict(split.X_test)))
        return Predicted(np.column_stack(columns))

    return run


def _estimator(split: PeerSplit) -> Any:
    return (classifier if split.binary else regressor)(BOOSTER)


def _transformed_class(split: PeerSplit, arm: int) -> Any:
    if not split.binary:
        raise NotApplicableError("class transformation takes outcomes of 0 and 1 only")
    if not np.isclose(split.pairwise(arm), 0.5):
        raise NotApplicableError("class transformation is right at propensity ½ only")
    return ClassTransformation(classifier(BOOSTER))


def _transformed_outcome(split: PeerSplit, arm: int) -> Any:
    return ClassTransformationReg(regressor(BOOSTER), propensity_val=split.pairwise(arm))


METHODS: dict[str, Callable[[PeerSplit], Predicted]] = {
    "scikit-uplift SoloModel": _per_arm(lambda split, arm: SoloModel(_estimator(split))),
    "scikit-uplift TwoModels": _per_arm(lambda split, arm: TwoModels(_estimator(split), _estimator(split))),
    "scikit-uplift ClassTransformation": _per_arm(_transformed_class),
    "scikit-uplift ClassTransformationReg": _per_arm(_transformed_outcome),
}

if __name__ == "__main__":
    work(Path(sys.argv[1]), METHODS, load)
