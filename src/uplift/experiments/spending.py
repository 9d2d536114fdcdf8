"""Group-sequential boundaries: a few looks fixed by the design, the error spent over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from uplift.errors import InputError

Floats = NDArray[np.float64]
Spending = Literal["obrien-fleming", "pocock"]

FARTHEST = 8.0  # a boundary beyond this many standard errors is never crossed
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(129)


def spent(fraction: float, alpha: float, spending: Spending) -> float:
    """Error spent up to a share of the planned information, by Lan and DeMets' functions.

    Parameters
    ----------
    fraction
        Information so far over information planned; all is spent from 1 on.
    alpha
        Two-sided error of the whole design.
    spending
        ``obrien-fleming`` (little early) or ``pocock`` (nearly evenly).

    Examples
    --------
    >>> round(spent(0.5, 0.05, "obrien-fleming"), 5), round(spent(0.5, 0.05, "pocock"), 5)
    (0.00305, 0.03101)
    """
    t = min(fraction, 1.0)
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * t)
    return 4 * float(ndtr(ndtri(alpha / 4) / math.sqrt(t)))  # two one-sided halves


@lru_cache(maxsize=4096)
def boundary(fractions: tuple[float, ...], alpha: float, spending: Spending = "obrien-fleming") -> tuple[float, ...]:
    """Critical values in standard errors at each look, two-sided and symmetric.

    Parameters
    ----------
    fractions
        Information at each look over information planned, rising.
    alpha
        Error of all looks together.

    Raises
    ------
    InputError
        If the fractions do not rise from above 0, or alpha is not within (0, 1).

    References
    ----------
    K. K. G. Lan, D. L. DeMets (1983), *Biometrika* 70(3); P. Armitage, C. K. McPherson, B. C. Rowe (1969), *JRSS A*
    132(2) for the recursion, here by Gauss–Legendre quadrature.

    Examples
    --------
    >>> [round(z, 3) for z in boundary((0.2, 0.4, 0.6, 0.8, 1.0), 0.05)]
    [4.877, 3.357, 2.68, 2.29, 2.031]
    """
    _check(fractions, alpha)
    critical: list[float] = []
    walk = _Walk()
    before = 0.0
    for fraction in fractions:
        until = spent(fraction, alpha, spending)
        step = walk.step(fraction)
        allowed = max(until - before, 0.0)
        if step.crossing(FARTHEST) >= allowed:
            z = FARTHEST
        elif step.crossing(0.0) <= allowed:
            z = 0.0
        else:
            z = float(brentq(lambda c, s=step, a=allowed: s.crossing(c) - a, 0.0, FARTHEST, xtol=1e-9))
        critical.append(z)
        walk.stay_within(step, z)
        before = until
    return tuple(critical)


def crossing_probability(fractions: Sequence[float], critical: Sequence[float]) -> float:
    """Probability that a standardised sum of nothing but noise leaves ``±critical`` at any of the looks.

    Examples
    --------
    >>> looks = [k / 28 for k in range(1, 29)]
    >>> round(crossing_probability(looks, [1.96] * 28), 2)
    0.27
    """
    _check(tuple(fractions), 0.5)
    walk = _Walk()
    total = 0.0
    for fraction, z in zip(fractions, critical, strict=True):
        step = walk.step(fraction)
        total += step.crossing(z)
        walk.stay_within(step, z)
    return total


class _Walk:
    """Density of a Brownian motion that has stayed within its boundaries, on quadrature nodes."""

    def __init__(self) -> None:
        self.time = 0.0
        self.nodes: Floats = np.zeros(1)
        self.mass: Floats = np.ones(1)  # density times weight

    def step(self, time: float) -> _Step:
        return _Step(self.nodes, self.mass, time, math.sqrt(time - self.time))

    def stay_within(self, step: _Step, z: float) -> None:
        bound = z * math.sqrt(step.time)
        nodes = bound * _NODES
        gap = (nodes[:, None] - self.nodes[None, :]) / step.sd
        density = np.exp(-0.5 * gap**2) @ self.mass / (step.sd * math.sqrt(2 * math.pi))
        self.nodes, self.mass, self.time = nodes, density * bound * _WEIGHTS, step.time


class _Step:
    """One step of the walk: where it comes from, when it arrives, and its standard deviation."""

    def __init__(self, nodes: Floats, mass: Floats, time: float, sd: float) -> None:
        self.nodes, self.mass, self.time, self.sd = nodes, mass, time, sd

    def crossing(self, z: float) -> float:
        """Probability of arriving beyond ``±z`` standard errors, not having crossed before."""
        bound = z * math.sqrt(self.time)
        beyond = ndtr((-bound - self.nodes) / self.sd) + ndtr((self.nodes - bound) / self.sd)
        return float(beyond @ self.mass)


def _check(fractions: tuple[float, ...], alpha: float) -> None:
    rising = all(a < b for a, b in zip((0.0, *fractions), fractions, strict=False))
    if not fractions or not rising or not 0 < alpha < 1:
        raise InputError(
            f"looks need fractions that rise from above 0 and alpha within (0, 1), found {list(fractions)}, {alpha}"
        )
