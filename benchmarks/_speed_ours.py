"""One measurement of ours, or of the bare LightGBM fits a learner needs: ``… <what> <name> <folder> <threads>``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import lightgbm
import numba  # noqa: F401  # loaded before memory is counted, as everything else that is imported
import numpy as np

from benchmarks._process import Measured, Rows, answer, measure, read_rows
from benchmarks._settings import SPEED_BOOSTER
from uplift.evaluation import fold_ids
from uplift.learners import fit_together, make_learner

NAMES = ("S", "T", "X", "R", "DR")


def learner(name: str, threads: int) -> object:
    """A learner with the settings of the bench."""
    return make_learner(name, control=0, random_state=0, n_jobs=threads, **SPEED_BOOSTER)


def shares(rows: Rows) -> dict[int, float]:
    """The design."""
    return dict.fromkeys(range(rows.arms + 1), 1 / (rows.arms + 1))


def one(name: str, folder: Path, threads: int) -> Measured:
    """One learner by itself."""
    model = learner(name, threads)
    return measure(
        folder,
        lambda rows: model.fit(rows.X, rows.y, rows.arm, propensity=shares(rows)),
        lambda fitted, rows: fitted.predict(rows.X),
    )


def together(name: str, folder: Path, threads: int) -> Measured:
    """All of them in one call; predictions of all, the error of the last."""
    wanted = {each: learner(each, threads) for each in NAMES}

    def predict(fitted: dict[str, object], rows: Rows) -> np.ndarray:
        return [fitted[each].predict(rows.X) for each in NAMES][-1]

    return measure(
        folder, lambda rows: fit_together(wanted, rows.X, rows.y, rows.arm, propensity=shares(rows)), predict
    )


def needed(name: str, arm: np.ndarray, arms: int, fold: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    """The fits that a learner cannot do without: rows of each, and whether the treatment is one more feature.

    Outcome models out of fold, one per side and fold, and effect models on all rows of a pair (X: of each side).
    """
    pairs = [(arm == k) | (arm == 0) for k in range(1, arms + 1)]
    if name == "S":
        yield from ((pair, True) for pair in pairs)
        return
    if name == "T":
        yield from ((arm == side, False) for side in range(arms + 1))
        return
    for side in range(arms + 1):
        yield from (((arm == side) & (fold != held), False) for held in np.unique(fold))
    for k, pair in enumerate(pairs, 1):
        if name == "X":
            yield arm == 0, False
            yield arm == k, False
        else:
            yield pair, False


def bare(name: str, folder: Path, threads: int) -> Measured:
    """These fits by LightGBM alone: Datasets and training only; taking the rows out of the table is not counted."""
    rows = read_rows(folder)
    fold = fold_ids(len(rows.y), make_learner(name).folds, stratify=rows.arm, random_state=0)
    model = learner(name, threads)
    params = {
        "objective": "regression",
        "num_leaves": model.num_leaves,
        "learning_rate": model.learning_rate,
        "min_data_in_leaf": model.min_child_samples,
        "lambda_l2": model.reg_lambda,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    total, fits = 0.0, 0
    for mask, treated in needed(name, rows.arm, rows.arms, fold):
        X, y = rows.X[mask], rows.y[mask]
        if treated:
            X = np.column_stack([X, rows.arm[mask] > 0])
        begun = time.perf_counter()
        lightgbm.train(params, lightgbm.Dataset(X, y, params=params), model.n_estimators)
        total += time.perf_counter() - begun
        fits += 1
    return Measured(total, fits=fits)


if __name__ == "__main__":
    what, name, folder, threads = sys.argv[1:]
    answer({"one": one, "together": together, "bare": bare}[what](name, Path(folder), int(threads)))
