"""Linear models on an encoded matrix: standardised numbers, a flag for missing, one column per frequent level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

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
    def learn(cls, matrix: Matrix, categorical: Sequence[int]) -> Self:
        """Learn means, standard deviations and frequent levels; what never varies is left out."""
        chosen: list[tuple[int, int, float, float]] = []
        for j in range(matrix.shape[1]):
            values = matrix[:, j].astype(np.float64)
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

    def column(self, matrix: Matrix, k: int) -> Floats:
        """The ``k``-th regressor, ``(n,)``."""
        values = matrix[:, self.features[k]].astype(np.float64)
        if self.levels[k] == -1:
            return np.nan_to_num((values - self.centres[k]) / self.scales[k], nan=0.0)
        flag = np.isnan(values) if self.levels[k] == -2 else values == self.levels[k]
        return (flag - self.centres[k]) / self.scales[k]

    def transform(self, matrix: Matrix) -> Floats:
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


def gram(design: Floats, weight: Floats) -> Floats:
    """Weighted products of all columns, ``(k, k)``, of which linear algebra knows that it is symmetric."""
    scaled = design * np.sqrt(weight)[:, None]
    return np.asarray(scaled.T @ scaled)


def fit_logistic(regressors: Floats, target: Floats, weight: Floats, penalty: float = 1.0) -> tuple[Floats, float]:
    """Coefficients and intercept of a logistic regression with a ridge penalty of ``penalty / 2 × Σ β²``.

    By Newton's method with halved steps where a full one does not help; on one thread's worth of linear algebra, since
    designs are narrow. ``target`` lies in [0, 1].
    """
    from scipy.special import expit

    design = np.column_stack([regressors, np.ones(len(target))])
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 0.0
    rate = float(np.average(target, weights=weight))
    beta = np.zeros(design.shape[1])
    beta[-1] = np.log(rate / (1 - rate))

    def loss(candidate: Floats) -> float:
        linear = design @ candidate
        return float(weight @ (np.logaddexp(0, linear) - target * linear) + ridge @ candidate**2 / 2)

    current = loss(beta)
    for _ in range(100):
        p = expit(design @ beta)
        gradient = design.T @ (weight * (target - p)) - ridge * beta
        hessian = gram(design, weight * p * (1 - p)) + np.diag(ridge + 1e-10 * weight.sum())
        step = np.linalg.solve(hessian, gradient)
        while (moved := loss(beta + step)) > current and np.abs(step).max() > 1e-12:
            step = step / 2
        beta, current = beta + step, moved
        if np.abs(step).max() < 1e-9:
            break
    return beta[:-1], float(beta[-1])


def fit_ridge(regressors: Floats, target: Floats, weight: Floats, penalty: float = 1.0) -> tuple[Floats, float]:
    """Coefficients and intercept of a linear regression with a ridge penalty of ``penalty × Σ β²``."""
    centres = weight @ regressors / weight.sum()
    mean = float(np.average(target, weights=weight))
    centred = regressors - centres
    products = gram(centred, weight) + penalty * np.eye(centred.shape[1])
    beta: Floats = np.linalg.solve(products, centred.T @ (weight * (target - mean))).astype(np.float64)
    return beta, mean - float(centres @ beta)


def fit_platt(score: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """Slope ≥ 0 and intercept that make ``expit(slope × score + intercept)`` a calibrated probability.

    Maximum likelihood with Platt's (1999) smoothed targets, which keep it finite when the classes separate.
    """
    positive, negative = float(weight[target > 0].sum()), float(weight[target <= 0].sum())
    smooth = np.where(target > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    centre, spread = float(np.average(score, weights=weight)), float(np.std(score)) or 1.0
    slopes, intercept = fit_logistic(((score - centre) / spread)[:, None], smooth, weight, penalty=0.0)
    slope = float(slopes[0])
    if slope < 0:
        rate = float(np.average(smooth, weights=weight))
        slope, intercept = 0.0, float(np.log(rate / (1 - rate)))
    return slope / spread, intercept - slope * centre / spread
