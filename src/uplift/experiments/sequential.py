"""Looking before the planned end without fooling oneself."""

from __future__ import annotations

import math

from uplift.errors import InputError


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
    log = -2 * math.log(alpha)
    rho2 = (log + math.log(log + 1)) / planned
    grown = n * rho2 + 1
    return standard_error * math.sqrt(2 * grown / (n * rho2) * math.log(math.sqrt(grown) / alpha))
