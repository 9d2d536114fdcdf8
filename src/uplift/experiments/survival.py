"""Time until something happens, when not everybody was followed until it did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uplift.errors import InputError
from uplift.results import Rendered

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Survival(Rendered):
    """Kaplan–Meier estimate of one group.

    Attributes
    ----------
    time : ndarray of shape (n_times,)
        Days at which something happened, ascending.
    surviving : ndarray of shape (n_times,)
        Share to whom it has not happened after that day.
    se : ndarray of shape (n_times,)
        Greenwood's.
    restricted_mean, restricted_mean_se : float
        Mean of ``min(time, horizon)`` in days.
    contribution : ndarray of shape (n_rows,)
        The restricted mean plus each row's influence on it: its mean is the restricted mean, and its variance over
        rows divided by their number is the variance of the estimate.
    """

    time: Floats
    surviving: Floats
    se: Floats
    restricted_mean: float
    restricted_mean_se: float
    contribution: Floats

    def to_dicts(self) -> list[dict[str, float]]:
        """One row a time."""
        return [
            {"time": float(t), "surviving": float(s), "se": float(e)}
            for t, s, e in zip(self.time, self.surviving, self.se, strict=True)
        ]


def survival(time: ArrayLike, happened: ArrayLike, horizon: float) -> Survival:
    """Kaplan–Meier curve and restricted mean time of one group.

    Parameters
    ----------
    time : array of shape (n_rows,)
        Days until it happened, or until the row was last seen.
    happened : array of shape (n_rows,)
        True where it happened; False where the row was last seen without (censored, for reasons that do not depend on
        what would have happened).
    horizon
        Days up to which time is averaged.

    Raises
    ------
    InputError
        If there is no row, a time is negative, or nobody was followed up to the horizon while some were still without.

    References
    ----------
    E. L. Kaplan, P. Meier (1958), *JASA* 53; P. Royston, M. K. B. Parmar (2013), *BMC Medical Research Methodology* 13
    for the restricted mean; its influence function as in P. K. Andersen, M. Pohar Perme (2010), *SMMR* 19.

    Examples
    --------
    >>> result = survival([2.0, 5.0, 9.0, 9.0], [True, True, False, False], horizon=8)
    >>> result.surviving.tolist(), result.restricted_mean
    ([0.75, 0.5], 5.75)
    """
    t = np.asarray(time, dtype=np.float64)
    event = np.asarray(happened, dtype=bool)
    if t.ndim != 1 or t.shape != event.shape or not len(t):
        raise InputError(f"times and events are one a row, at least one; found {t.shape} and {event.shape}")
    if not (np.isfinite(t).all() and (t >= 0).all() and horizon > 0):
        raise InputError("times and the horizon are days from assignment on: finite, not negative, horizon above 0")
    event = event & (t <= horizon)
    t = np.minimum(t, horizon)
    n = len(t)
    moments = np.unique(t[event])
    order = np.sort(t)
    at_risk = n - np.searchsorted(order, moments, side="left")
    deaths = np.bincount(np.searchsorted(moments, t[event]), minlength=len(moments))
    surviving = np.asarray(np.cumprod(1.0 - deaths / at_risk), dtype=np.float64)
    alive = surviving[-1] if len(moments) else 1.0
    if alive > 0 and order[-1] < horizon:
        raise InputError(
            f"nobody was followed for {horizon:g} days (the longest {order[-1]:g}) → a shorter horizon, or wait"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard_variance = np.where(at_risk > deaths, deaths / (at_risk * (at_risk - deaths)), 0.0)
    # area under the curve from each event time to the horizon
    edges = np.append(moments, horizon)
    widths = np.diff(edges)
    pieces = surviving * widths
    area = np.cumsum(pieces[::-1])[::-1] if len(pieces) else np.empty(0)
    mean = float((moments[0] if len(moments) else horizon) + pieces.sum())
    # each row's influence: what it does at its event, less what was expected of it while at risk
    hazard = deaths / at_risk
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(hazard < 1, area / (at_risk / n) / (1 - hazard), 0.0)
    compensated = np.concatenate([[0.0], np.cumsum(own * hazard)])
    influence = compensated[np.searchsorted(moments, t, side="right")]
    if len(moments):
        influence[event] -= own[np.searchsorted(moments, t[event])]
    contribution = mean + influence
    se = float(np.sqrt((area**2 * hazard_variance).sum()))
    return Survival(moments, surviving, surviving * np.sqrt(np.cumsum(hazard_variance)), mean, se, contribution)
