"""Many comparisons at once: adjusted p-values that hold the error of the whole family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri


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


def dunnett(
    p_values: Sequence[float] | NDArray[np.float64], loadings: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Step-down Dunnett adjusted p-values of several arms against one control.

    Holm's method pays for comparisons as if they had nothing in common; arms that share their control have, and this
    uses it: rejecting those below α keeps the familywise error at α, with never less power than Holm.

    Parameters
    ----------
    p_values
        Two-sided, one an arm; NaN stays NaN.
    loadings : array of shape (n_comparisons,)
        ``√(v₀ / (v₀ + v_k))`` with the variances of the control's and the arm's mean: the correlation of comparisons j
        and k is the product of their loadings (√½ throughout for arms of equal size).

    Returns
    -------
    ndarray of shape (n_comparisons,)
        Adjusted p-values in the same order.

    References
    ----------
    C. W. Dunnett (1955), *JASA* 50; C. W. Dunnett, A. C. Tamhane (1991), *Statistics in Medicine* 10. The joint
    distribution is taken as normal, each comparison at its own p-value.

    Examples
    --------
    >>> dunnett([0.01, 0.04, 0.02], [0.5**0.5] * 3).round(3).tolist()
    [0.027, 0.04, 0.037]
    """
    p = np.asarray(p_values, dtype=np.float64)
    share = np.asarray(loadings, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    given = np.flatnonzero(~np.isnan(p))
    order = given[np.argsort(p[given], kind="stable")]
    worst = 0.0
    for step, place in enumerate(order):
        worst = max(worst, _largest_above(float(p[place]), share[order[step:]]))
        adjusted[place] = worst
    return adjusted


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)


def _largest_above(p_value: float, loadings: NDArray[np.float64]) -> float:
    """Probability that the largest of several normal statistics that share one part exceeds a two-sided p-value."""
    if p_value <= 0:
        return 0.0
    if p_value >= 1:
        return 1.0
    if len(loadings) == 1:
        return p_value
    critical = -float(ndtri(p_value / 2))
    shared, weight = 9.0 * _NODES, 9.0 * _WEIGHTS * np.exp(-0.5 * (9.0 * _NODES) ** 2) / np.sqrt(2 * np.pi)
    own = np.sqrt(1 - loadings**2)[:, None]
    mean = loadings[:, None] * shared
    inside = np.prod(ndtr((critical - mean) / own) - ndtr((-critical - mean) / own), axis=0)
    # what a comparison alone exceeds is known exactly: far tails keep their digits
    return float(np.clip(weight @ (1 - inside), p_value, min(1.0, len(loadings) * p_value)))
