"""What splits say: means, standard errors that know that splits share rows, and which differences are ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student


@dataclass(frozen=True)
class Estimate:
    """A mean over splits.

    Attributes
    ----------
    mean
        Over ``n`` splits.
    se
        Its standard error; NaN for a single split.
    n
        Splits.
    """

    mean: float
    se: float
    n: int

    @property
    def zero(self) -> bool:
        """Whether zero lies in its 95 % interval: as a difference it is a tie."""
        if self.mean == 0:
            return True
        return not abs(self.mean) > student.ppf(0.975, max(self.n - 1, 1)) * self.se

    def cell(self, sign: bool = False) -> str:
        """``mean ± se`` with three digits of the error's size."""
        digits = int(np.clip(1 - np.floor(np.log10(self.se)), 0, 3)) if self.se > 0 else 2
        return f"{self.mean:{'+' if sign else ''}.{digits}f} ± {self.se:.{digits}f}"


def over_splits(values: npt.ArrayLike, overlap: float) -> Estimate:
    """Mean and standard error of one number per split.

    Parameters
    ----------
    values
        ``(n_splits,)``; for a comparison the paired differences.
    overlap
        Test rows per training row where the splits are random divisions of the same rows: their results are correlated,
        and the variance of a mean is ``(1/n + overlap)`` times that of one split (Nadeau & Bengio 2003, Inference for
        the generalization error). 0 where every split has rows of its own.
    """
    numbers = np.asarray(values, dtype=np.float64)
    n = len(numbers)
    spread = float(np.var(numbers, ddof=1)) if n > 1 else float("nan")
    return Estimate(float(numbers.mean()), float(np.sqrt((1 / n + overlap) * spread)), n)
