"""One measurement of a peer: ``python -m benchmarks.peers.speed <library> <learner> <folder> <threads>``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._process import Measured, Rows, answer, measure
from benchmarks._settings import SPEED_BOOSTER


def causalml(name: str, folder: Path, threads: int) -> Measured:
    """A meta-learner on LightGBM regressors with the known propensities, one owner of threads."""
    from benchmarks.peers import with_causalml

    model = with_causalml.make(name, SPEED_BOOSTER, binary=False, threads=threads)
    known = {arm: np.full(_n(folder), 0.5) for arm in (1, 2)}

    def fit(rows: Rows) -> Any:
        with_causalml.fit(name, model, rows.X, rows.arm, rows.y, known)
        return model

    return measure(folder, fit, lambda fitted, rows: with_causalml.predict(name, fitted, rows.X, known))


def econml(name: str, folder: Path, threads: int) -> Measured:
    """DRLearner on LightGBM regressors, told the known propensities."""
    from econml.dr import DRLearner

    from benchmarks.peers._data import regressor
    from benchmarks.peers.with_econml import KnownShares

    model = DRLearner(
        model_propensity=KnownShares((1 / 3, 1 / 3, 1 / 3)),
        model_regression=regressor(SPEED_BOOSTER, threads),
        model_final=regressor(SPEED_BOOSTER, threads),
        categories=[0, 1, 2],
        random_state=0,
    )

    def predict(fitted: Any, rows: Rows) -> np.ndarray:
        return np.column_stack([fitted.effect(rows.X, T0=0, T1=arm) for arm in (1, 2)])

    return measure(folder, lambda rows: model.fit(rows.y, rows.arm, X=rows.X), predict)


def _n(folder: Path) -> int:
    return len(np.load(folder / "y.npy", mmap_mode="r"))


if __name__ == "__main__":
    library, name, folder, threads = sys.argv[1:]
    answer({"causalml": causalml, "econml": econml}[library](name, Path(folder), int(threads)))
