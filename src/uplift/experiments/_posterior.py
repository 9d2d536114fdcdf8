"""What several true values are expected to be, given noisy estimates of them, when the best looking one is picked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import chdtrc, chdtri

Floats = NDArray[np.float64]
GRID = 200
SPARED = 0.8
"""How far the expected sum of squares is taken below the number of values; see :func:`spread_of`."""


@dataclass(frozen=True)
class Expected:
    """Expectations of exchangeable true values.

    Attributes
    ----------
    mean, sd : ndarray of shape (n_values,)
        Of the posterior, in the unit of the estimates.
    promise : ndarray of shape (n_values,)
        What may be promised of a value because it looks best: its expectation under ``spread``.
    spread : float
        Variance of the true values that the promises rest on; 0: the estimates differ by no more than noise.
    """

    mean: Floats
    sd: Floats
    promise: Floats
    spread: float


def expect(values: ArrayLike, standard_errors: ArrayLike, *, screened: float | None = None) -> Expected:
    """Expectations of true values that scatter normally around a centre of which nothing is known before.

    The posterior counts everything that is not known: each value's own noise, the centre's, and the spread's, by
    integrating over a half-Cauchy prior on it whose scale is the typical standard error (Gelman 2006; Polson and Scott
    2012). The promises are drawn towards the centre by one spread, chosen so that the promise of whichever value looks
    best is kept on average, whatever the true spread.

    Parameters
    ----------
    values, standard_errors : array of shape (n_values,), n_values ≥ 2
        Independent estimates.
    screened
        Level of a test of equal true values without which nobody would have looked. Estimates that passed it scatter
        more than true values do, so the spread's likelihood is then taken given that they passed; for estimates that
        would not have, something else gave the reason to look. The promises do not count it.

    References
    ----------
    D. Yekutieli (2012), "Adjusted Bayesian inference for selected parameters", *JRSS B* 74(3): the spread has a prior
    of its own, which the selection does not change.

    Examples
    --------
    >>> found = expect([1.0, 3.0, 2.0], [1.0, 1.0, 1.0])
    >>> found.spread, found.promise.round(2).tolist()
    (0.0, [2.0, 2.0, 2.0])
    >>> expect([1.0, 9.0, 2.0], [1.0, 1.0, 1.0]).promise.round(1).tolist()
    [1.2, 8.7, 2.1]
    """
    y, variance = np.asarray(values, dtype=np.float64), np.asarray(standard_errors, dtype=np.float64) ** 2
    spread = spread_of(y, variance)
    mean, sd = _posterior(y, variance, screened)
    return Expected(mean, sd, _given(y, variance, np.array([spread]))[0][0], spread)


def spread_of(y: Floats, variance: Floats) -> float:
    """Variance of the true values, so that the one that looks best is promised neither too much nor too little.

    It is the one at which squared deviations, each over its variance, add up to the number of values less .8. With
    equal errors the expectation of the best is unbiased at every spread for the number less 2, were estimates of the
    spread allowed below zero (the family of scaled χ² is complete, so for no other); at zero, where they are cut off,
    the number less .8 keeps the bias within about a fifth of a standard error at every spread, for two values as for
    twenty.
    """

    def excess(spread: float) -> float:
        weights = 1 / (variance + spread)
        centre = weights @ y / weights.sum()
        return float(weights @ (y - centre) ** 2) - (len(y) - SPARED)

    if excess(0.0) <= 0:
        return 0.0
    high = float(np.sum((y - y.mean()) ** 2)) + float(variance.max())
    return float(brentq(excess, 0.0, high, xtol=1e-12 * high))


def _given(y: Floats, variance: Floats, spread: Floats) -> tuple[Floats, Floats, Floats]:
    """Means and variances of the true values given each spread, and the log likelihood of the spread.

    Of shape (n_spreads, n_values) and (n_spreads,).
    """
    total = variance + spread[:, None]
    weights = 1 / total
    precision = weights.sum(axis=1)
    centre = (weights * y).sum(axis=1) / precision
    deviation = y - centre[:, None]
    keep = spread[:, None] * weights
    mean = centre[:, None] + keep * deviation
    left = keep * variance + (1 - keep) ** 2 / precision[:, None]
    likelihood = -0.5 * (np.log(total).sum(axis=1) + np.log(precision) + (weights * deviation**2).sum(axis=1))
    return mean, left, likelihood


def _posterior(y: Floats, variance: Floats, screened: float | None) -> tuple[Floats, Floats]:
    """Means and standard deviations of the true values over all spreads."""
    typical = len(y) / float((1 / variance).sum())
    scale = math.sqrt(typical)
    quantiles = (np.arange(GRID) + 0.5) / GRID
    tau = scale * np.tan(np.pi / 2 * quantiles)  # equal shares of the prior
    mean, left, likelihood = _given(y, variance, tau**2)
    weights = np.exp(likelihood - likelihood.max()) / _passed(y, variance, tau**2 / typical, screened)
    weights /= weights.sum()
    middle = weights @ mean
    return middle, np.sqrt(weights @ left + weights @ (mean - middle) ** 2)


def _passed(y: Floats, variance: Floats, spread: Floats, screened: float | None) -> Floats:
    """Chance to pass the test of equal values at each spread, in typical variances; 1 where they did not pass it."""
    weights = 1 / variance
    if screened is None:
        return np.ones(len(spread))
    limit = float(chdtri(len(y) - 1, screened))
    if float(weights @ (y - weights @ y / weights.sum()) ** 2) <= limit:
        return np.ones(len(spread))
    return np.asarray(chdtrc(len(y) - 1, limit / (1 + spread)), dtype=np.float64)
