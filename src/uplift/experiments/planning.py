"""What the past says to a plan: share explained by covariates, design effect of clusters, spread of a ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uplift.errors import DesignError
from uplift.experiments.estimators import ArmRegression
from uplift.results import Rendered

Floats = NDArray[np.float64]


def explained_variance(outcome: ArrayLike, covariates: ArrayLike) -> float:
    """Share of an outcome's variance that a regression on covariates explains (adjusted R², at least 0).

    Parameters
    ----------
    outcome : array of shape (n_members,)
    covariates : array of shape (n_members, n_covariates)
    """
    y = np.asarray(outcome, dtype=np.float64)
    x = np.asarray(covariates, dtype=np.float64)
    fitted = ArmRegression(x, np.zeros(len(y), dtype=np.int64), 1)
    free = len(y) - 1 - len(fitted.kept)
    total = float(((y - y.mean()) ** 2).sum())
    if total <= 0 or free <= 0:
        return 0.0
    return max(0.0, 1 - float((fitted.residuals(y) ** 2).sum()) / free / (total / (len(y) - 1)))


@dataclass(frozen=True)
class DesignEffect(Rendered):
    """What assigning whole clusters costs.

    Attributes
    ----------
    icc
        Share of the variance that lies between clusters, after covariates; at least 0.
    deff
        Factor by which the variance of a difference grows, ``1 + (m̄ − 1) · ICC`` with the size-weighted mean m̄.
    clusters, mean_size
        How many there are, and m̄.
    variation
        Squared coefficient of variation of what clusters weigh, ``m (1 + (m − 1) · ICC)``: unequal ones know the
        variance less well.
    """

    icc: float
    deff: float
    clusters: int
    mean_size: float
    variation: float


def design_effect(outcome: ArrayLike, clusters: ArrayLike, covariates: ArrayLike | None = None) -> DesignEffect:
    """Design effect of clusters from past members, by the analysis of variance of what covariates leave.

    Parameters
    ----------
    outcome : array of shape (n_members,)
    clusters : array of shape (n_members,)
        Which cluster each member belongs to.
    covariates : array of shape (n_members, n_covariates), optional

    Raises
    ------
    DesignError
        With fewer than two clusters, or none of more than one member.

    References
    ----------
    A. Donner, N. Klar (2000), *Design and Analysis of Cluster Randomization Trials*; S. M. Kerry, J. M. Bland (2001),
    *Statistics in Medicine* 20(3) for unequal sizes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> store = np.repeat(np.arange(100), 50)
    >>> found = design_effect(rng.normal(size=100)[store] * 0.3 + rng.normal(size=5000), store)
    >>> 0.05 < found.icc < 0.12, round(found.mean_size)
    (True, 50)
    """
    y = np.asarray(outcome, dtype=np.float64)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)
    if covariates is not None:
        x = np.asarray(covariates, dtype=np.float64)
        y = ArmRegression(x, np.zeros(len(y), dtype=np.int64), 1).residuals(y)
    counts = np.bincount(codes).astype(np.float64)
    k, n = len(counts), len(y)
    if k < 2 or n <= k:
        raise DesignError(f"{k} clusters of {n} members in all → a design effect needs at least 2, some of them larger")
    means = np.bincount(codes, weights=y) / counts
    within = float(((y - means[codes]) ** 2).sum()) / (n - k)
    between = float((counts * (means - y.mean()) ** 2).sum()) / (k - 1)
    typical = (n - float((counts**2).sum()) / n) / (k - 1)
    spread = max(0.0, (between - within) / typical)
    icc = spread / (spread + within) if spread + within > 0 else 0.0
    mean_size = float((counts**2).sum()) / n
    weight = counts * (1 + (counts - 1) * icc)
    variation = float(weight.var(ddof=1) / weight.mean() ** 2)
    return DesignEffect(icc, 1 + (mean_size - 1) * icc, k, mean_size, variation)


def linearised_ratio(numerator: ArrayLike, denominator: ArrayLike) -> tuple[Floats, float]:
    """A ratio of sums as one value a member whose mean is the ratio and whose spread is its own (delta method).

    Returns
    -------
    tuple
        Values ``(n_members,)`` ``R + (N − R·D) / D̄``, and R.

    Raises
    ------
    DesignError
        If the denominator is zero for everybody.
    """
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if not bottom.mean() > 0:
        raise DesignError("the denominator of a ratio is zero for everybody")
    ratio = float(top.mean() / bottom.mean())
    return ratio + (top - ratio * bottom) / bottom.mean(), ratio
