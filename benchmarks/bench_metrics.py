"""A Qini curve with bootstrap, against one argsort of the scores."""

from __future__ import annotations

import numpy as np

from benchmarks._measure import Ratio, in_turn
from uplift.metrics import qini_curve


def run() -> list[Ratio]:
    """Ratio at 1,000,000 rows and 100 draws."""
    n = 1_000_000
    rng = np.random.default_rng(0)
    effect, y = rng.normal(size=n), (rng.random(n) < 0.1).astype(float)
    treatment = rng.integers(0, 2, n)

    def ours() -> object:
        return qini_curve(effect, y, treatment, {0: 0.5, 1: 0.5}, n_bootstrap=100, random_state=0)

    return [in_turn("qini_curve, 100 draws", ours, lambda: np.argsort(effect), "one argsort of 1,000,000 scores", 3)]
