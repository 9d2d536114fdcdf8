"""Effects of segments, shrunk towards each other, with intervals that stay honest when effects are not normal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import chdtri, ndtr, ndtri

from uplift.errors import InputError
from uplift.results import Rendered


@dataclass(frozen=True)
class Shrunk(Rendered):
    """Shrunk effects.

    Attributes
    ----------
    value, low, high : ndarray of shape (n_segments,)
        In the unit of the effects given.
    weight : ndarray of shape (n_segments,)
        How much of each segment's own deviation from the centre is kept, in (0, 1).
    centre : float
        What effects are shrunk towards: their precision-weighted mean.
    variance : float
        Estimated variance of the true effects between segments (never below the estimate's own resolution).
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    weight: NDArray[np.float64]
    centre: float
    variance: float

    def to_dicts(self) -> list[dict[str, float]]:
        """One row a segment."""
        columns = zip(self.value, self.low, self.high, self.weight, strict=True)
        return [{"value": v, "low": lo, "high": hi, "weight": w} for v, lo, hi, w in columns]


def robust_critical_value(bias_variance: float, alpha: float = 0.05) -> float:
    """Critical value ``cva_α(m₂)`` that covers whatever the distribution of the bias, given its second moment.

    The interval ``estimate ± cva · se`` errs with probability at most α on average over any distribution of the
    normalised bias ``b`` with ``E[b²] = bias_variance``.

    Parameters
    ----------
    bias_variance
        ``m₂``, the second moment of bias divided by standard error; 0 gives the normal quantile.
    alpha
        One minus the level.

    References
    ----------
    T. B. Armstrong, M. Kolesár, M. Plagborg-Møller (2022), "Robust empirical Bayes confidence intervals",
    *Econometrica* 90(6).

    Examples
    --------
    >>> round(robust_critical_value(0.0), 4), round(robust_critical_value(1.0), 4)
    (1.96, 3.2592)
    """
    if not bias_variance >= 0 or not math.isfinite(bias_variance):
        raise InputError(f"bias_variance is a second moment: expected a number ≥ 0, found {bias_variance}")
    return _critical_value(float(bias_variance), float(alpha))


@lru_cache(maxsize=4096)
def _critical_value(m2: float, alpha: float) -> float:
    low = -float(ndtri(alpha / 2))
    if m2 == 0:
        return low
    high = math.sqrt((1 + m2) / alpha) + 1e-6  # Chebyshev's inequality bounds the answer
    return float(brentq(lambda chi: _worst_miss(m2, chi) - alpha, low - 1e-9, high, xtol=1e-10))


def _miss(t: float, chi: float) -> float:
    """Probability that a unit normal with mean √t falls outside ±χ."""
    root = math.sqrt(t)
    return float(ndtr(-chi - root) + ndtr(-chi + root))


def _worst_miss(m2: float, chi: float) -> float:
    """The largest mean of :func:`_miss` over distributions of t ≥ 0 with mean ``m2``: its concave majorant at m2."""
    at_zero = _miss(0.0, chi)
    if chi * chi <= 3:  # concave already
        return _miss(m2, chi)
    # beyond the tangent point the function is concave; before it the majorant is the chord from zero
    found = minimize_scalar(
        lambda t: -(_miss(t, chi) - at_zero) / t,
        bounds=(1e-8, (chi + 3) ** 2),
        method="bounded",
        options={"xatol": 1e-9},
    )
    tangent = float(found.x)
    if m2 >= tangent:
        return _miss(m2, chi)
    return at_zero + m2 / tangent * (_miss(tangent, chi) - at_zero)


def shrink(effects: ArrayLike, standard_errors: ArrayLike, alpha: float = 0.05) -> Shrunk:
    """Shrink the effects of segments towards their mean, with robust empirical-Bayes intervals.

    Average coverage over the segments is ``1 − alpha`` or more whatever the distribution of the true effects: only
    their variance is used. An interval that trusts a normal prior with its variance plugged in covers far less.
    With few segments that variance is itself poorly known and more often too small than too large, so the bias that
    the interval allows for is priced at its median-unbiased estimate; with many segments the two agree.

    Parameters
    ----------
    effects, standard_errors : array of shape (n_segments,), n_segments ≥ 2
        Estimates of independent samples (segments of one column).
    alpha
        One minus the level.

    Returns
    -------
    Shrunk

    Raises
    ------
    InputError
        With fewer than two segments, or a standard error that is not above zero.

    References
    ----------
    Armstrong, Kolesár, Plagborg-Møller (2022), *Econometrica* 90(6), baseline implementation with precision weights,
    the second moment only (κ = ∞), and the truncation of the variance at its resolution.

    Examples
    --------
    >>> shrunk = shrink([0.02, 0.08, 0.05], [0.02, 0.02, 0.02])
    >>> bool(shrunk.value[0] > 0.02), bool(shrunk.value[1] < 0.08), round(shrunk.centre, 3)
    (True, True, 0.05)
    """
    y = np.asarray(effects, dtype=np.float64)
    se = np.asarray(standard_errors, dtype=np.float64)
    if y.ndim != 1 or y.shape != se.shape or len(y) < 2:
        raise InputError(
            f"shrinking needs two segments or more, each with a standard error; found {y.shape}, {se.shape}"
        )
    if not (np.isfinite(y).all() and np.isfinite(se).all() and (se > 0).all()):
        raise InputError("shrinking needs finite effects and standard errors above zero")
    variance = se**2
    weights = 1 / variance
    weights /= weights.sum()
    centre = float(weights @ y)
    deviation = y - centre
    count = len(y)
    spread, noise = float(weights @ deviation**2), float(weights @ variance)
    floor = 2 * float(weights**2 @ variance**2) / noise
    # the centre is estimated, which takes one of the degrees of freedom of the spread
    between = max(spread - noise * (count - 1) / count, floor)
    priced = max(spread * count / float(chdtri(count - 1, 0.5)) - noise, between)
    keep = between / (between + variance)
    critical = np.array([robust_critical_value(float(m2), alpha) for m2 in (1 / keep - 1) ** 2 * priced / variance])
    half = critical * keep * se
    value = centre + keep * deviation
    return Shrunk(value, value - half, value + half, keep, centre, between)
