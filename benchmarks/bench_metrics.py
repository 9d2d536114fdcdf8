"""A Qini curve with its interval, against one argsort of the scores."""

from __future__ import annotations

import numpy as np

from benchmarks._measure import Ratio, in_turn, peak_bytes
from uplift.metrics import qini_curve

ROWS, DRAWS, MOST = 10_000_000, 200, 15.0


def run(rows: int = ROWS) -> list[Ratio]:
    """Ratio at 10,000,000 rows and 200 draws: at most 15 argsorts, whatever the number of draws."""
    rng = np.random.default_rng(0)
    effect, y = rng.normal(size=rows), (rng.random(rows) < 0.1).astype(float)
    treatment = rng.integers(0, 2, rows)

    def ours() -> object:
        return qini_curve(effect, y, treatment, {0: 0.5, 1: 0.5}, n_bootstrap=DRAWS, random_state=0)

    peak = peak_bytes(ours)
    note = (
        f"one argsort of {rows:,} scores; peak {peak / 1e9:.2f} GB on top of the input, "
        f"{peak / effect.nbytes:.1f} × the scores; allowed {MOST:g}"
    )
    found = in_turn(f"qini_curve, {DRAWS} draws", ours, lambda: np.argsort(effect), note, 3)
    if found.ratio > MOST:
        raise SystemExit(f"qini_curve took {found.ratio:.1f} argsorts, allowed are {MOST:g}")
    return [found]
