"""BG/NBD: purchases while alive, and a coin tossed after each for being gone (Fader, Hardie & Lee 2005)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from uplift.errors import InputError
from uplift.learners._encoder import as_frame
from uplift.learners._inputs import check_weight, refuse
from uplift.learners._risk import two_columns

Floats = npt.NDArray[np.float64]

_BOUND = 15.0  # |log parameter|: beyond it the likelihood is flat
_STARTS = ((0.0, 0.0, 0.0, 0.0), (-1.0, 1.0, 0.0, 1.0), (0.0, 0.0, -2.0, 1.0))


class BGNBD(BaseEstimator):
    r"""The BG/NBD model of repeat purchases, by maximum likelihood.

    While alive a member buys at rate λ, which is gamma distributed over members with shape ``r_`` and rate ``alpha_``;
    after each purchase they are gone with probability p, beta distributed with ``a_`` and ``b_``. A member's history
    is three numbers in one unit of time: repeat purchases ``frequency``; time from the first to the last purchase
    ``recency``; time from the first purchase to now ``T``.

    Parameters
    ----------
    horizon
        For :meth:`predict_proba`: no purchase within this time from now is churn.
    columns
        Names of frequency, recency and T; an array without names has them in this order.

    Attributes
    ----------
    r_, alpha_, a_, b_
        Parameters.
    log_likelihood_
        At the maximum.
    classes_
        ``[0, 1]``: buys again within the horizon, does not.

    References
    ----------
    Fader, P. S., Hardie, B. G. S., & Lee, K. L. (2005). "Counting your customers" the easy
    way. Marketing Science, 24(2).
    """

    def __init__(self, horizon: float = 8.0, columns: tuple[str, str, str] = ("frequency", "recency", "T")) -> None:
        self.horizon = horizon
        self.columns = columns

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to histories; ``y`` is not used (a probability model needs no labels).

        Parameters
        ----------
        X
            Histories, ``(n, 3)``; further columns of a table are ignored.
        y
            Ignored.
        sample_weight
            ``(n,)``: how often each history counts.

        Raises
        ------
        InputError
            If a history is impossible, or the likelihood has no maximum that can be found.
        """
        problems: list[str] = []
        if not self.horizon > 0:
            problems.append(f"horizon must be positive, found {self.horizon!r}")
        x, t, age = self._histories(X)
        weight = check_weight(sample_weight, len(x), problems)
        if not len(x) or not weight.sum() > 0:
            problems.append("found array with 0 sample(s): X has no rows, at least 1 is needed")
        elif not (x[weight > 0] > 0).any():
            problems.append("nobody bought a second time: purchase rates cannot be learned")
        refuse(problems, type(self).__name__)
        self._maximise(x, t, age, weight)
        self.classes_ = np.array([0, 1])
        self.features_ = tuple(self.columns)
        self.n_features_in_ = 3
        return self

    def _maximise(self, x: Floats, t: Floats, age: Floats, weight: Floats) -> None:
        from scipy.optimize import minimize

        histories, group = np.unique(np.column_stack([x, t, age]), axis=0, return_inverse=True)
        counts = np.bincount(group.ravel(), weights=weight)
        unit = float(age.max()) / 10  # the optimiser likes numbers near one
        x, t, age = histories[:, 0], histories[:, 1] / unit, histories[:, 2] / unit

        def loss(logs: Floats) -> float:
            return -float(np.average(log_likelihood(np.exp(logs), x, t, age), weights=counts))

        best = min(
            (minimize(loss, start, method="L-BFGS-B", bounds=[(-_BOUND, _BOUND)] * 4) for start in _STARTS),
            key=lambda found: found.fun,
        )
        best = minimize(
            loss,
            best.x,
            method="Nelder-Mead",
            options={"xatol": 1e-8, "fatol": 1e-13, "maxiter": 10_000, "maxfev": 10_000},
        )
        if not (best.success and np.isfinite(best.fun)):
            raise InputError("BG/NBD: the likelihood has no maximum that can be found in these histories")
        self.r_, self.alpha_, self.a_, self.b_ = (float(v) for v in np.exp(best.x) * (1, unit, 1, 1))
        # with time in other units every repeat purchase's density is divided by the unit
        self.log_likelihood_ = float(-best.fun * counts.sum() - np.log(unit) * (counts * x).sum())

    def _histories(self, X: Any) -> tuple[Floats, Floats, Floats]:
        frame, named = as_frame(X)
        if named:
            missing = [name for name in self.columns if name not in frame.columns]
            if missing:
                raise InputError(
                    f"X has no column {', '.join(map(repr, missing))}: BG/NBD needs {', '.join(self.columns)}"
                )
            frame = frame[list(self.columns)]
        elif frame.shape[1] != 3:
            raise InputError(
                f"X has {frame.shape[1]} features, but BGNBD is expecting 3 features as input: {self.columns}"
            )
        try:
            values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            raise InputError(f"{', '.join(self.columns)} must be numbers") from None
        x, t, age = (np.ascontiguousarray(values[:, j]) for j in range(3))
        problems = [
            f"{text} in {int(wrong.sum()):,} rows"
            for wrong, text in (
                (~np.isfinite(values).all(axis=1), "missing (NaN) or infinite (inf) values"),
                (np.isfinite(x) & ((x < 0) | (x != np.floor(x))), f"{self.columns[0]} is not a whole number ≥ 0"),
                ((t < 0) | (t > age), f"{self.columns[1]} is not between 0 and {self.columns[2]}"),
                ((x == 0) & (t > 0), f"{self.columns[1]} is positive without a repeat purchase"),
                (age <= 0, f"{self.columns[2]} is not positive"),
            )
            if wrong.any()
        ]
        refuse(problems, type(self).__name__)
        return x, t, age

    def probability_alive(self, X: Any) -> Floats:
        """Probability that a member is still there, ``(n,)``; 1 for who never bought again (the model's own view)."""
        check_is_fitted(self)
        x, t, age = self._histories(X)
        return self._alive(x, t, age)

    def _alive(self, x: Floats, t: Floats, age: Floats) -> Floats:
        again = np.maximum(x, 1)
        log_odds_gone = (
            np.log(self.a_)
            - np.log(self.b_ + again - 1)
            + (self.r_ + x) * np.log((self.alpha_ + age) / (self.alpha_ + t))
        )
        from scipy.special import expit

        return np.where(x > 0, expit(-log_odds_gone), 1.0)

    def expected_purchases(self, horizon: float, X: Any = None) -> Floats:
        """Expected number of purchases within ``horizon`` from now, ``(n,)``; without X, of a new member, ``(1,)``."""
        from scipy.special import hyp2f1

        check_is_fitted(self)
        if not horizon >= 0:
            raise InputError(f"horizon must not be negative, found {horizon!r}")
        if X is None:
            x, t, age = np.zeros(1), np.zeros(1), np.zeros(1)
        else:
            x, t, age = self._histories(X)
        r, alpha, a, b = self.r_, self.alpha_, self.a_, self.b_
        if abs(a - 1) < 1e-9:
            a += 2e-9  # the closed form has a removable singularity there
        ratio = ((alpha + age) / (alpha + age + horizon)) ** (r + x)
        hyper = hyp2f1(r + x, b + x, a + b + x - 1, horizon / (alpha + age + horizon))
        return (a + b + x - 1) / (a - 1) * (1 - ratio * hyper) * self._alive(x, t, age)

    def predict_proba(self, X: Any) -> Floats:
        """Probability of a purchase within the horizon, and of none, ``(n, 2)``.

        None: gone, or alive and silent, P(gone) + P(alive) ((α + T) / (α + T + horizon))^(r + x).
        """
        check_is_fitted(self)
        x, t, age = self._histories(X)
        alive = self._alive(x, t, age)
        silent = ((self.alpha_ + age) / (self.alpha_ + age + self.horizon)) ** (self.r_ + x)
        return two_columns(1 - alive * (1 - silent))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """1 where no purchase within the horizon is more probable, ``(n,)``."""
        silent = self.predict_proba(X)[:, 1] > 0.5
        return self.classes_[silent.astype(np.intp)]

    def _state(self, files: dict[str, str]) -> dict[str, Any]:
        names = ("r_", "alpha_", "a_", "b_", "log_likelihood_")
        return {name: getattr(self, name) for name in names}

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, str]) -> None:
        for name, value in state.items():
            if name not in ("r_", "alpha_", "a_", "b_", "log_likelihood_"):
                raise KeyError(name)
            setattr(self, name, float(value))
        self.columns = (self.columns[0], self.columns[1], self.columns[2])
        self.classes_ = np.array([0, 1])
        self.features_ = tuple(self.columns)
        self.n_features_in_ = 3


def log_likelihood(parameters: Floats, x: Floats, t: Floats, age: Floats) -> Floats:
    """Log-likelihood of each history, ``(n,)``, for ``(r, alpha, a, b)``."""
    from scipy.special import gammaln

    r, alpha, a, b = parameters
    purchases = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    dropouts = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    alive = -(r + x) * np.log(alpha + age)
    gone = np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + t)
    return purchases + dropouts + np.where(x > 0, np.logaddexp(alive, gone), alive)


def histories_from_orders(
    orders: pd.DataFrame, *, member: str, at: str, until: Any, unit_days: float = 7.0
) -> pd.DataFrame:
    """Frequency, recency and T of each member from a table of orders.

    Orders of one member on one day are one purchase; orders after ``until`` are ignored. Times are dates; ``until`` is
    the last day observed.

    Parameters
    ----------
    orders
        One row per order.
    member, at
        Its columns: member, and date or time.
    until
        Last day of the observation.
    unit_days
        Length of a unit of time in days.

    Returns
    -------
    pandas.DataFrame
        Indexed by member, columns ``frequency``, ``recency``, ``T``.
    """
    days = pd.to_datetime(orders[at]).dt.normalize()
    kept = days <= pd.Timestamp(until)
    unique = pd.DataFrame({"member": orders[member][kept], "day": days[kept]}).drop_duplicates()
    grouped = unique.groupby("member")["day"].agg(["min", "max", "count"])
    unit = pd.Timedelta(days=unit_days)
    return pd.DataFrame(
        {
            "frequency": (grouped["count"] - 1).astype(float),
            "recency": (grouped["max"] - grouped["min"]) / unit,
            "T": (pd.Timestamp(until) - grouped["min"]) / unit,
        }
    )
