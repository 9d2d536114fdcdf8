"""Looking before the planned end without fooling oneself: what may be concluded now, whatever was looked at before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import chdtri, ndtr, ndtri

from uplift.errors import InputError
from uplift.experiments._text import Text
from uplift.experiments.spending import Spending, boundary
from uplift.results import Rendered

EARLY = 0.2
"""Share of the error that looks before the planned size may spend, as many as there are."""
FINAL = 0.7
"""Share of the error of the test at the planned size; the rest pays for looking again within ``OVERSHOOT``."""
OVERSHOOT = 1.05
"""Up to this many times the planned size the final test holds; beyond it the sequence does."""
LATE = 1.03
"""A look fixed by the design is taken up to this many times its place."""


def anytime_half_width(standard_error: float, n: float, planned: float, alpha: float = 0.05) -> float:
    """Half-width of an asymptotic confidence sequence: it may be looked at after every member.

    Parameters
    ----------
    standard_error
        Of the estimate now, in its unit.
    n
        Members seen so far.
    planned
        Members at which the sequence is tuned to be narrowest.
    alpha
        Probability that the truth is ever outside.

    Returns
    -------
    float
        In the unit of the standard error; always wider than the interval of a single look.

    Raises
    ------
    InputError
        If a size is not positive or alpha is not between 0 and 1.

    References
    ----------
    I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas (2024), "Time-uniform central limit theory and
    asymptotic confidence sequences", *Annals of Statistics* 52(6), eq. (6) with ρ tuned as in its appendix.

    Examples
    --------
    >>> round(anytime_half_width(0.01, 1_000, 1_000), 4)
    0.0304
    """
    if not (n > 0 and planned > 0 and 0 < alpha < 1):
        raise InputError(
            f"expected sizes above 0 and alpha within (0, 1), found n={n}, planned={planned}, alpha={alpha}"
        )
    grown = 1 + n / planned * _tuned(alpha)
    return standard_error * math.sqrt(2 * grown / (grown - 1) * math.log(math.sqrt(grown) / alpha))


def anytime_p_value(p_value: float, fraction: float, alpha: float = 0.05, df: int = 1) -> float:
    """A p-value of one look turned into one that holds at all looks together.

    One over the mixture martingale of a Gaussian walk: with ``df = 1`` it is below ``alpha`` exactly where
    :func:`anytime_half_width` leaves out zero; with more it is its χ² form, for tests of several differences at once.

    Parameters
    ----------
    p_value
        Of one look; NaN stays NaN.
    fraction
        Information now over information planned.
    alpha
        Level for which the mixture is tuned to be most sensitive at the planned end; the value holds for any level.
    df
        Differences tested together.

    References
    ----------
    Waudby-Smith et al. (2024), above; the mixture is H. Robbins (1970), *Annals of Mathematical Statistics* 41(5).

    Examples
    --------
    >>> round(anytime_p_value(0.002, 1.0), 3), anytime_p_value(0.2, 1.0)
    (0.043, 1.0)
    """
    if math.isnan(p_value) or not fraction > 0:
        return math.nan
    if p_value <= 0:
        return 0.0
    grown = 1 + fraction * _tuned(alpha)
    statistic = float(chdtri(df, min(p_value, 1.0)))
    return min(1.0, math.exp(df / 2 * math.log(grown) - statistic / 2 * (grown - 1) / grown))


def _tuned(alpha: float) -> float:
    """ρ² times the planned size, so that the sequence is about as narrow as it can be there."""
    log = -2 * math.log(alpha)
    return log + math.log(log + 1)


Rule = Literal["once", "sequence", "final", "look", "between"]


@dataclass(frozen=True)
class Look(Rendered):
    """What may be concluded at this size.

    Attributes
    ----------
    rule
        ``once``: nothing was planned, the numbers hold for one look · ``sequence``: before the planned size, or well
        beyond it, a confidence sequence · ``final``: the test at the planned size · ``look``: one of the looks that
        the design fixed · ``between``: not one of them, so nothing is concluded.
    alpha
        Error of all looks together.
    size, planned
        Units with a known outcome now, and planned.
    fractions
        Looks of the design up to this one, over the planned size; empty for a sequence.
    spending
        How the error is spread over them.
    next_size
        Where the next look is, when this is not the last.
    """

    rule: Rule
    alpha: float
    size: int
    planned: int | None = None
    fractions: tuple[float, ...] = ()
    spending: Spending | None = None
    next_size: int | None = None

    @property
    def fraction(self) -> float | None:
        """Information now over information planned."""
        return None if self.planned is None else self.size / self.planned

    @property
    def running(self) -> bool:
        """Whether more looks are to come, so that a p-value of one look does not stand by itself."""
        return self.rule in ("sequence", "look", "between") and (self.fraction or 0.0) < 1

    def p_value(self, p_value: float, df: int = 1) -> float:
        """The p-value of one look as one that keeps to its level over all looks; NaN stays NaN.

        Multiplicity methods over arms and metrics take these in the place of the plain ones.
        """
        if math.isnan(p_value) or self.rule == "once":
            return p_value
        if self.rule == "between":
            return 1.0
        if self.rule == "final":
            return min(1.0, p_value / FINAL)
        if self.rule == "sequence":
            return min(1.0, anytime_p_value(p_value, self.fraction or 0.0, EARLY * self.alpha, df) / EARLY)
        if len(self.fractions) == 1 and self.fractions[0] >= 1:
            return p_value
        seen = -float(ndtri(max(p_value, 1e-300) / 2))
        return max(p_value, math.exp(_level(self.fractions, self.spending or "obrien-fleming", seen)))

    def critical(self) -> float | None:
        """Half-width in standard errors of an interval that holds over all looks; None when one look's will do."""
        if self.rule == "sequence" and self.size:
            return anytime_half_width(1.0, self.size, self.planned or 1, EARLY * self.alpha)
        if self.rule in ("look", "between") and self.running:
            return boundary(self.fractions, self.alpha, self.spending or "obrien-fleming")[-1]
        return None

    @property
    def level(self) -> float:
        """One minus the level at which one look's interval is the one that holds over all looks."""
        critical = self.critical()
        return self.alpha if critical is None else 2 * float(ndtr(-critical))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "rule": self.rule,
            "size": self.size,
            "planned": self.planned,
            "spending": self.spending,
            "fractions": list(self.fractions),
            "critical": self.critical(),
            "next_size": self.next_size,
        }

    def waiting(self) -> Text | None:
        """Why it is too early, in words; None when it is not."""
        if self.planned is None or self.size >= self.planned:
            return None
        if self.next_size is not None and self.rule == "between":
            return Text(
                f"计划 {self.planned:,} 人，目前 {self.size:,} 人；设计规定的下一次查看在 {self.next_size:,} 人时",
                f"of {self.planned:,} members planned, {self.size:,} so far; the design looks next at "
                f"{self.next_size:,}",
            )
        return Text(
            f"计划 {self.planned:,} 人，目前只有 {self.size:,} 人",
            f"of {self.planned:,} members planned, {self.size:,} so far",
        )


def look(
    size: int,
    planned: int | None,
    *,
    alpha: float = 0.05,
    at: Sequence[float] = (),
    spending: Spending = "obrien-fleming",
) -> Look:
    """What may be concluded at this size, such that all looks together keep to ``alpha``.

    Without looks of the design anybody may look at any time: before the planned size a confidence sequence holds a
    fifth of the error, the test at the planned size seven tenths, and the rest pays for looking again up to 5 % above
    the plan; further beyond, the sequence holds again. With looks fixed by the design the error is spent over them
    and nothing is concluded in between; a look is taken at its place or up to 3 % later.

    Parameters
    ----------
    size
        Units with a known outcome now.
    planned
        Units planned; None: no plan, the numbers hold for one look.
    at
        Looks fixed by the design, as shares of the planned size, the last of them 1; empty: any time.
    spending
        Of the looks fixed by the design.

    Raises
    ------
    InputError
        If sizes are not positive, or the looks do not rise to 1.

    Examples
    --------
    >>> look(500, 1000).rule, look(1000, 1000).rule, look(500, 1000, at=(0.5, 1.0)).rule
    ('sequence', 'final', 'look')
    >>> round(look(500, 1000, at=(0.5, 1.0)).p_value(0.003), 4)
    0.0496
    """
    if size < 0 or (planned is not None and planned < 2):
        raise InputError(f"looks need a size of 0 or more and a plan of at least 2, found {size}, {planned}")
    fixed = tuple(float(share) for share in at)
    if fixed and not (fixed[0] > 0 and fixed[-1] == 1 and all(a < b for a, b in pairwise(fixed))):
        raise InputError(
            f"looks={list(fixed)} → shares of the planned size that rise from above 0 to 1, such as 0.5, 1"
        )
    if planned is None:
        return Look("once", alpha, size)
    now = size / planned
    if not fixed:
        final = 1 <= now <= OVERSHOOT
        return Look("final" if final else "sequence", alpha, size, planned)
    done = [share for share in fixed if share <= now + 1e-12]
    coming = next((math.ceil(share * planned - 1e-9) for share in fixed if share > now + 1e-12), None)
    if now >= 1:
        return Look("look", alpha, size, planned, fixed, spending)
    if done and now <= done[-1] * LATE:
        return Look("look", alpha, size, planned, (*done[:-1], now), spending, coming)
    return Look("between", alpha, size, planned, (*done, now) if now > 0 else fixed[:1], spending, coming)


def _level(fractions: tuple[float, ...], spending: Spending, seen: float) -> float:
    """Logarithm of the level whose boundary at the last of these looks is ``seen`` standard errors."""
    curve, farthest = _levels(fractions, spending)
    return min(float(curve(min(seen, farthest))), 0.0)


@lru_cache(maxsize=256)
def _levels(fractions: tuple[float, ...], spending: Spending) -> tuple[PchipInterpolator, float]:
    """Log level by critical value at the last of these looks, and the largest critical value that is known."""
    levels = np.geomspace(0.5, 1e-9, 61)
    critical = np.array([boundary(fractions, float(level), spending)[-1] for level in levels])
    z, first = np.unique(np.append(0.0, critical), return_index=True)  # it stays at the farthest once it is there
    return PchipInterpolator(z, np.log(np.append(1.0, levels))[first]), float(z[-1])
