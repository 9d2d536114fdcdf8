"""Reading what classification metrics are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from uplift.metrics._draws import Draws, make_draws
from uplift.metrics.trial import raise_all, read_numbers

Floats = npt.NDArray[np.float64]


class ClassificationOptions(TypedDict, total=False):
    """Keyword arguments that every classification metric takes.

    Attributes
    ----------
    sample_weight
        Weight of each row, ``(n,)``.
    clusters
        Rows with the same value (one member at several dates) are resampled together, ``(n,)``.
    n_bootstrap, random_state, alpha
        Half-sample draws (default 200; 0 for none), their seed (default 0), and 1 − level (default .05).
    """

    sample_weight: npt.ArrayLike | None
    clusters: npt.ArrayLike | None
    n_bootstrap: int
    random_state: int | None
    alpha: float


@dataclass(frozen=True)
class Sample:
    y: Floats
    p: Floats
    weight: Floats
    clusters: npt.ArrayLike | None
    draws: Draws | None
    alpha: float

    @property
    def n_draws(self) -> int | None:
        """How many draws."""
        return None if self.draws is None else len(self.draws.chosen)


def read_risks(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    n_bootstrap: int = 200,
    random_state: int | None = 0,
    alpha: float = 0.05,
    probability: bool = False,
    resample: bool = True,
) -> Sample:
    """Check and convert; raise one error that lists everything that is wrong.

    ``probability`` demands values within [0, 1]; without ``resample`` no draws are made.
    """
    wrong: list[str] = []
    outcome, score = read_numbers("y", y, wrong), read_numbers("p", p, wrong)
    weight = np.ones(len(outcome)) if sample_weight is None else read_numbers("sample_weight", sample_weight, wrong)
    if not wrong and not len(outcome) == len(score) == len(weight):
        wrong.append(f"y, p and sample_weight have {len(outcome):,}, {len(score):,} and {len(weight):,} rows")
    if not wrong:
        if not np.isin(outcome, (0, 1)).all():
            wrong.append("y must be 0 or 1")
        elif not (0 < outcome @ weight < weight.sum()):
            wrong.append("y must hold both 0 and 1: with one kind only there is nothing to tell apart")
        if (weight < 0).any():
            wrong.append("sample_weight is negative in some rows")
        if probability and ((score < 0) | (score > 1)).any():
            wrong.append("p must be a probability, within [0, 1]")
    raise_all(wrong)
    draws = make_draws(len(outcome), n_bootstrap, random_state, clusters) if resample else None
    return Sample(outcome, score, weight, clusters, draws, alpha)
