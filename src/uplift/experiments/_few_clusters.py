"""How far an effect must lie from zero to be seen when its error is known from a few clusters only."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri, ndtr, stdtrit

GRID = 40
MANY = 4000.0
"""Degrees of freedom above which t is normal for every purpose here."""


def freedom(clusters: float, variation: float = 0.0) -> float:
    """Degrees of freedom with which one arm's clusters know its variance.

    One less than the clusters where all weigh the same; fewer where they do not, as in Bell and McCaffrey's degrees of
    freedom, which the analysis uses: two clusters are one degree whatever their sizes, and of many only the share
    1 / (1 + variation) counts.

    Parameters
    ----------
    clusters
        Of the arm.
    variation
        Squared coefficient of variation of ``size · (1 + (size − 1) · ICC)`` over clusters.

    Examples
    --------
    >>> freedom(10), round(freedom(10, 0.5), 2), freedom(2, 0.5)
    (9.0, 6.21, 1.0)
    """
    return max((clusters - 1) / (1 + variation * max(clusters - 1, 0.0) / clusters), 1.0)  # that of so many draws


def separation(tail: float, power: float, arm: float, control: float, share: float) -> float:
    """Standard errors between no effect and one that Welch's t-test sees with the wanted chance.

    The test's own standard error and its degrees of freedom (Satterthwaite's) are random: the chance is taken over
    both arms' variances, independent scaled χ².

    Parameters
    ----------
    tail
        One minus the test's error on one side.
    power
        Chance to see the effect.
    arm, control
        Degrees of freedom of the two arms' variances.
    share
        The arm's part of the variance of the difference, between 0 and 1.

    References
    ----------
    B. L. Welch (1938), *Biometrika* 29; F. E. Satterthwaite (1946), *Biometrics Bulletin* 2.

    Examples
    --------
    >>> round(separation(0.975, 0.8, 1e6, 1e6, 0.5), 3), round(separation(0.975, 0.8, 3, 3, 0.5), 2)
    (2.802, 3.55)
    """
    digits = (tail, power, min(arm, MANY), min(control, MANY), share)
    return _separation(*(float(f"{x:.6g}") for x in digits))


@lru_cache(maxsize=4096)
def _separation(tail: float, power: float, arm: float, control: float, share: float) -> float:
    left = 1 - (np.arange(GRID) + 0.5) / GRID
    a = share * chdtri(arm, left)[:, None] / arm
    b = (1 - share) * chdtri(control, left)[None, :] / control
    df = (a + b) ** 2 / (a**2 / arm + b**2 / control)
    limit = stdtrit(df, tail) * np.sqrt(a + b)

    def missing(distance: float) -> float:
        return float((ndtr(distance - limit) + ndtr(-distance - limit)).mean()) - power

    if missing(0.0) >= 0:
        return 0.0
    high = 4.0
    while missing(high) < 0 and math.isfinite(high):
        high *= 2
    return float(brentq(missing, 0.0, high, xtol=1e-9))
