"""What lasts: effects months after assignment against members held out, and projections that say that they are ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uplift.errors import InputError
from uplift.experiments.estimators import ArmRegression, Difference, difference
from uplift.results import Rendered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Horizon(Rendered):
    """An arm against the members held out, so many days after assignment.

    Attributes
    ----------
    days
        Length of the window.
    mean_held_out, mean_arm
        Plain means.
    effect
        Intention to treat: all who were assigned count, whatever they received.
    """

    days: int
    mean_held_out: float
    mean_arm: float
    effect: Difference


def horizon(
    outcome: ArrayLike,
    arm: ArrayLike,
    n_arms: int,
    days: int,
    *,
    covariates: Floats | None = None,
    clusters: Ints | None = None,
    alpha: float = 0.05,
) -> list[Horizon]:
    """Effects of every arm on an outcome over a long window.

    Parameters
    ----------
    outcome : array of shape (n_members,)
        Over ``days`` after assignment, complete for everybody.
    arm : array of shape (n_members,)
        0 for the members held out.

    Returns
    -------
    list of Horizon
        One an arm after the control.
    """
    y, codes = np.asarray(outcome, dtype=np.float64), np.asarray(arm, dtype=np.int64)
    means = ArmRegression(covariates, codes, n_arms, clusters).estimate(y)
    plain = [float(y[codes == a].mean()) if (codes == a).any() else math.nan for a in range(n_arms)]
    return [Horizon(days, plain[0], plain[a], means.difference(a, 0, alpha)) for a in range(1, n_arms)]


@dataclass(frozen=True)
class Projection(Rendered):
    """A long-term effect that was not seen but projected from what was seen early.

    Attributes
    ----------
    label
        Always ``projection``: it holds only if the offer moves the long-term outcome through the surrogates alone.
    effect
        With an interval that counts the noise of the experiment and of the history.
    explained
        Share of the long-term outcome's variance that the surrogates explain in the history.
    bias
        Projected minus measured against the members held out, once that is known; None before.
    exposed
        Whether that comparison shows the projection to be wrong (two-sided at ``alpha``); None before.
    """

    effect: Difference
    explained: float
    bias: Difference | None = None
    exposed: bool | None = None
    label: Literal["projection"] = "projection"


def project(
    surrogates: ArrayLike,
    arm: ArrayLike,
    history_surrogates: ArrayLike,
    history_outcome: ArrayLike,
    *,
    measured: ArrayLike | None = None,
    clusters: Ints | None = None,
    alpha: float = 0.05,
) -> Projection:
    """Project a long-term effect from surrogates by a linear surrogate index.

    Parameters
    ----------
    surrogates : array of shape (n_members, n_surrogates)
        Early outcomes of the experiment's members, and covariates known before.
    arm : array of shape (n_members,)
        0 held out, 1 treated.
    history_surrogates, history_outcome : arrays of shape (n_history, n_surrogates) and (n_history,)
        The same of other members, and their long-term outcome.
    measured : array of shape (n_members,), optional
        The long-term outcome of the experiment's own members, once it is there: exposes a wrong projection.
    clusters : array of shape (n_members,), optional
        Of the experiment's members, where whole clusters were assigned.

    Returns
    -------
    Projection

    Raises
    ------
    InputError
        If shapes do not fit, the history is too small for its surrogates, or none of these varies in it.

    References
    ----------
    S. Athey, R. Chetty, G. W. Imbens, H. Kang (2019), "The surrogate index", NBER working paper 26463.
    """
    s, treated = np.asarray(surrogates, dtype=np.float64), np.asarray(arm, dtype=np.int64)
    past, y = np.asarray(history_surrogates, dtype=np.float64), np.asarray(history_outcome, dtype=np.float64)
    if s.ndim != 2 or past.ndim != 2 or s.shape[1] != past.shape[1] or len(past) != len(y) or len(s) != len(treated):
        raise InputError(f"surrogates of shape {s.shape} and history of shape {past.shape} do not fit together")
    if len(past) < 10 * (past.shape[1] + 1):
        raise InputError(f"a history of {len(past)} members is too small for {past.shape[1]} surrogates")
    if not np.ptp(past, axis=0).any():
        raise InputError("the history's members do not differ in any surrogate, so nothing follows from one")
    centre = past.mean(axis=0)
    design = np.column_stack([np.ones(len(past)), past - centre])
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    slope = inverse @ design.T @ y
    residual = y - design @ slope
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    meat = (design * (residual**2 / np.clip(1 - leverage, 1e-10, None))[:, None]).T @ design
    noise = (inverse @ meat @ inverse)[1:, 1:]
    index = (s - centre) @ slope[1:]
    gap = ArmRegression(None, treated, 2, clusters).estimate(index).difference(1, 0, alpha)
    moved = s[treated == 1].mean(axis=0) - s[treated == 0].mean(axis=0)
    variance = gap.se**2 + float(moved @ noise @ moved)
    effect = difference(gap.value, variance, gap.df, alpha)
    explained = 1 - float((residual**2).sum() / ((y - y.mean()) ** 2).sum()) if y.std() > 0 else 0.0
    if measured is None:
        return Projection(effect, explained)
    seen = np.asarray(measured, dtype=np.float64)
    off = ArmRegression(None, treated, 2, clusters).estimate(index - seen).difference(1, 0, alpha)
    bias = difference(off.value, off.se**2 + float(moved @ noise @ moved), off.df, alpha)
    return Projection(effect, explained, bias, bool(bias.p_value < alpha))
