"""What metrics return: a number that knows its uncertainty, and a curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from scipy.stats import t as student

from uplift.results import Rendered

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Metric(Rendered, float):
    """One number with its uncertainty. It is itself a float: compare it, add it, format it.

    Attributes
    ----------
    name
        What was measured.
    value
        The estimate, in ``unit``.
    se
        Standard error; None where none was asked for or none can be given.
    low, high
        Ends of the two-sided interval (95 % unless another ``alpha`` was asked for); None without ``se``.
    p_value
        One-sided: how probable a value at least this *good* is where there is nothing to find. None for a number
        that is not a test of anything.
    n
        Rows that informed it.
    unit
        What the value is counted in.
    """

    name: str
    value: float
    se: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n: int = 0
    unit: str = ""

    def __new__(cls, name: str, value: float, *args: Any, **kwargs: Any) -> Metric:
        """A float of the value; the rest is set by the dataclass."""
        del name, args, kwargs
        return float.__new__(cls, value)

    def __getnewargs__(self) -> tuple[str, float]:  # type: ignore[override]  # float's own gives one argument
        return (self.name, self.value)


def metric(
    name: str,
    value: float,
    se: float | None,
    *,
    n: int,
    unit: str,
    null: float | None = 0.0,
    alpha: float = 0.05,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    draws: int | None = None,
    df: float | None = None,
    logit: bool = False,
) -> Metric:
    """A :class:`Metric` with its interval and the one-sided p-value against ``value <= null``.

    Parameters
    ----------
    null
        Value where there is nothing to find; None when the number tests nothing.
    bounds
        The interval is cut to these, for quantities that cannot lie outside.
    draws
        How many draws the standard error comes from: the interval is then Student's, else the normal one.
    df
        Degrees of freedom of the standard error, where known better than from ``draws``; the p-value is then
        Student's too.
    logit
        Make the interval on the scale of log-odds, for probabilities that are not small-sample normal.
    """
    value = float(value)
    if se is None or not np.isfinite(se) or not np.isfinite(value):
        return Metric(name, value, None, None, None, None, int(n), unit)
    half = float((critical(alpha, draws) if df is None else student.ppf(1 - alpha / 2, df)) * se)
    low, high = max(value - half, bounds[0]), min(value + half, bounds[1])
    if logit and 0 < value < 1:
        middle, width = np.log(value / (1 - value)), half / (value * (1 - value))
        low, high = (float(1 / (1 + np.exp(-end))) for end in (middle - width, middle + width))
    return Metric(name, value, float(se), low, high, p_value_above(value, se, null, df), int(n), unit)


def critical(alpha: float, draws: int | None = None) -> float:
    """Standard errors from the estimate to the ends of its interval."""
    return float(norm.ppf(1 - alpha / 2) if draws is None else student.ppf(1 - alpha / 2, max(draws - 1, 1)))


def p_value_above(value: float, se: float, null: float | None, df: float | None = None) -> float | None:
    """One-sided p-value of ``value > null``; 1 where there is no variation at all, since nothing was seen."""
    if null is None:
        return None
    if se <= 0:
        return 0.0 if value > null else 1.0
    distance = (value - null) / se
    return float(norm.sf(distance) if df is None else student.sf(distance, df))


@dataclass(frozen=True, eq=False)
class Curve(Rendered):
    """A curve over the share of members who are targeted.

    Attributes
    ----------
    name
        Which curve.
    q
        Share of members targeted, best predicted first, from 0 to 1, ``(m,)``.
    value
        Height of the curve, in ``unit``, ``(m,)``.
    se, low, high
        Pointwise standard error and interval, ``(m,)``; None without bootstrap draws.
    random
        The same curve for members targeted at random, ``(m,)``.
    area
        The metric that the curve is drawn for.
    total
        Effect of treating everybody (each with the arm in question), in ``unit``.
    normalised
        ``area`` over the effect of treating everybody. None when that effect is not clearly away from zero (within
        three standard errors), where the ratio would be noise.
    n
        Rows that informed it.
    unit
        What ``value`` and ``area`` are counted in.
    """

    name: str
    q: Floats
    value: Floats
    se: Floats | None
    low: Floats | None
    high: Floats | None
    random: Floats
    area: Metric
    total: Metric
    normalised: float | None
    n: int
    unit: str

    @property
    def points(self) -> list[tuple[float, float]]:
        """(share targeted, height) from left to right."""
        return [(float(q), float(v)) for q, v in zip(self.q, self.value, strict=True)]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a point."""
        none = np.full(len(self.q), None)
        low, high = (none, none) if self.low is None or self.high is None else (self.low, self.high)
        return [
            {"q": float(q), "value": float(v), "low": _number(lo), "high": _number(hi), "random": float(r)}
            for q, v, lo, hi, r in zip(self.q, self.value, low, high, self.random, strict=True)
        ]


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
