"""Linear models on an encoded matrix: standardised numbers, a flag for missing, one column per frequent level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_ONE_HOT = 20


@dataclass(frozen=True)
class LinearDesign:
    """How an encoded matrix becomes regressors.

    Missing numbers are put at the mean and flagged; categories become one 0/1 column for each of their up to 20 most
    frequent levels (all zeros: missing or rare).

    Attributes
    ----------
    features
        Position of the feature that each regressor comes from.
    levels
        For each regressor the code of a level, −1 for a number, −2 for the flag "missing".
    centres, scales
        Subtracted from, and divided by, each regressor.
    """

    features: tuple[int, ...]
    levels: tuple[int, ...]
    centres: tuple[float, ...]
    scales: tuple[float, ...]

    @classmethod
    def learn(cls, matrix: Floats, categorical: Sequence[int]) -> Self:
        """Learn means, standard deviations and frequent levels; what never varies is left out."""
        chosen: list[tuple[int, int, float, float]] = []
        for j in range(matrix.shape[1]):
            values = matrix[:, j]
            present = values[~np.isnan(values)]
            if j in categorical:
                codes, counts = np.unique(present.astype(np.intp), return_counts=True)
                for code in sorted(codes[np.argsort(-counts, kind="stable")[:MAX_ONE_HOT]]):
                    share = float((present == code).sum() / len(values))
                    if share < 1:
                        chosen.append((j, int(code), share, float(np.sqrt(share * (1 - share)))))
                continue
            if len(present) and present.min() < present.max():
                chosen.append((j, -1, float(present.mean()), float(present.std())))
            share = 1 - len(present) / len(values)
            if 0 < share < 1:
                chosen.append((j, -2, share, float(np.sqrt(share * (1 - share)))))
        features, levels, centres, scales = zip(*chosen, strict=True) if chosen else ((), (), (), ())
        return cls(features, levels, centres, scales)

    def column(self, matrix: Floats, k: int) -> Floats:
        """The ``k``-th regressor, ``(n,)``."""
        values = matrix[:, self.features[k]]
        if self.levels[k] == -1:
            return np.nan_to_num((values - self.centres[k]) / self.scales[k], nan=0.0)
        flag = np.isnan(values) if self.levels[k] == -2 else values == self.levels[k]
        return (flag - self.centres[k]) / self.scales[k]

    def transform(self, matrix: Floats) -> Floats:
        """All regressors, ``(n, n_regressors)``."""
        result = np.empty((len(matrix), len(self.features)))
        for k in range(len(self.features)):
            result[:, k] = self.column(matrix, k)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: list(getattr(self, name)) for name in ("features", "levels", "centres", "scales")}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        return cls(*(tuple(value[name]) for name in ("features", "levels", "centres", "scales")))


def fit_logistic(regressors: Floats, target: Floats, weight: Floats) -> tuple[Floats, float]:
    """Coefficients and intercept of a logistic regression with a slight ridge penalty (C = 1)."""
    from sklearn.linear_model import LogisticRegression

    if not regressors.shape[1]:
        rate = float(np.average(target, weights=weight))
        return np.zeros(0), float(np.log(rate / (1 - rate)))
    model = LogisticRegression(C=1.0, max_iter=1000).fit(regressors, target, sample_weight=weight)
    return model.coef_[0].astype(np.float64), float(model.intercept_[0])


def fit_ridge(regressors: Floats, target: Floats, weight: Floats) -> tuple[Floats, float]:
    """Coefficients and intercept of a linear regression with a slight ridge penalty (α = 1)."""
    from sklearn.linear_model import Ridge

    if not regressors.shape[1]:
        return np.zeros(0), float(np.average(target, weights=weight))
    model = Ridge(alpha=1.0).fit(regressors, target, sample_weight=weight)
    return np.asarray(model.coef_, dtype=np.float64).ravel(), float(model.intercept_)


def fit_platt(score: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """Slope ≥ 0 and intercept that make ``expit(slope × score + intercept)`` a calibrated probability.

    By Newton's method on the logistic likelihood with Platt's (1999) smoothed targets, which keep it finite when the
    classes separate.
    """
    positive, negative = float(weight[target > 0].sum()), float(weight[target <= 0].sum())
    smooth = np.where(target > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    centre, spread = float(np.average(score, weights=weight)), float(np.std(score)) or 1.0
    x = (score - centre) / spread
    slope, intercept = _newton(x, smooth, weight)
    if slope < 0:
        rate = float(np.average(smooth, weights=weight))
        slope, intercept = 0.0, float(np.log(rate / (1 - rate)))
    return slope / spread, intercept - slope * centre / spread


def _newton(x: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    from scipy.special import expit

    rate = float(np.average(target, weights=weight))
    beta = np.array([0.0, np.log(rate / (1 - rate))])
    design = np.column_stack([x, np.ones_like(x)])
    for _ in range(100):
        p = expit(design @ beta)
        gradient = design.T @ (weight * (target - p))
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-9 * weight.sum() * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta = beta + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-10:
            break
    return float(beta[0]), float(beta[1])
