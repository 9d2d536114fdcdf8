"""What peers are given: numbers only, categories one-hot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor

from benchmarks._jobs import ROOT, Job


@dataclass(frozen=True, eq=False)
class PeerSplit:
    """A split as arrays.

    Attributes
    ----------
    X, y, arm
        Of the training half; ``arm`` counts 0 for the control, 1 … k for the arms.
    X_test
        Of the test half.
    shares
        Designed share of the control and of each arm, ``(k + 1,)``.
    binary
        Whether the outcome is 0 or 1.
    """

    X: np.ndarray
    y: np.ndarray
    arm: np.ndarray
    X_test: np.ndarray
    shares: np.ndarray
    binary: bool

    @property
    def arms(self) -> range:
        """Arms beside the control."""
        return range(1, len(self.shares))

    def pairwise(self, arm: int) -> float:
        """Known probability of the arm among those who received it or nothing."""
        return float(self.shares[arm] / (self.shares[arm] + self.shares[0]))

    def known(self, n: int) -> dict[int, np.ndarray]:
        """The same for every arm and row, as causalml takes it."""
        return {arm: np.full(n, self.pairwise(arm)) for arm in self.arms}

    def pair(self, arm: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Training rows of one arm and the control, for libraries that know one arm only: X, y, treated."""
        rows = (self.arm == arm) | (self.arm == 0)
        return self.X[rows], self.y[rows], (self.arm[rows] == arm).astype(int)


def load(job: Job) -> PeerSplit:
    """Read what the parent wrote."""
    with np.load(ROOT / job.data) as kept:
        values: dict[str, Any] = {name: kept[name] for name in ("X", "y", "arm", "X_test", "shares")}
        return PeerSplit(**values, binary=bool(kept["binary"]))


def regressor(settings: dict[str, Any], threads: int = 1) -> LGBMRegressor:
    """LightGBM for amounts."""
    return LGBMRegressor(**settings, n_jobs=threads, random_state=0, verbosity=-1)


def classifier(settings: dict[str, Any], threads: int = 1) -> LGBMClassifier:
    """LightGBM for rates."""
    return LGBMClassifier(**settings, n_jobs=threads, random_state=0, verbosity=-1)
