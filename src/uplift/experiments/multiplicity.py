"""Many comparisons at once: adjusted p-values that hold the error of the whole family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down adjusted p-values: rejecting those below α keeps the familywise error at α.

    Parameters
    ----------
    p_values
        One a comparison, in any order; NaN stands for a comparison that could not be made and stays NaN.

    Returns
    -------
    ndarray of shape (n_comparisons,)
        Adjusted p-values in the same order.

    References
    ----------
    S. Holm (1979), *Scandinavian Journal of Statistics* 6(2).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    given = np.flatnonzero(~np.isnan(p))
    order = given[np.argsort(p[given], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini and Hochberg's step-up adjusted p-values: rejecting those below q keeps the false discovery rate at q.

    Parameters
    ----------
    p_values
        One a comparison, in any order; NaN stays NaN.

    Returns
    -------
    ndarray of shape (n_comparisons,)
        Adjusted p-values in the same order.

    References
    ----------
    Y. Benjamini, Y. Hochberg (1995), *JRSS B* 57(1).

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    given = np.flatnonzero(~np.isnan(p))
    order = given[np.argsort(p[given], kind="stable")]
    count = len(order)
    scaled = p[order] * count / np.arange(1, count + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
