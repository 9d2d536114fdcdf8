"""Least squares with a covariance that holds whatever the residuals are like, and a scorer that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from uplift.errors import InputError
from uplift.learners._linear import LinearDesign, gram
from uplift.learners._scorers import LinearScorer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Matrix = npt.NDArray[np.float32]

_COLLINEAR = 1e-7


@dataclass(frozen=True, eq=False)
class Projection:
    """A fitted linear regression.

    Attributes
    ----------
    coefficients
        Of the regressors, then the intercept, ``(k + 1,)``.
    covariance
        ``(k + 1, k + 1)``: HC3, or clustered.
    freedom
        Degrees of freedom of its intervals.
    """

    coefficients: Floats
    covariance: Floats
    freedom: int


def independent(regressors: Floats) -> Ints:
    """Positions of regressors that are no linear combination of a constant and the others that are kept.

    Of several that say the same the first is kept.
    """
    columns = np.column_stack([np.ones(len(regressors)), regressors])
    least = _COLLINEAR * np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    columns = np.asarray(np.linalg.qr(columns, mode="r"))  # all their lengths and angles, on a few rows
    left = np.abs(np.diag(columns))
    kept = np.pad(left, (0, columns.shape[1] - len(left))) > least
    while True:
        # in place of a combination QR goes on with some other direction, which a later column may have needed
        basis = np.linalg.qr(columns[:, kept])[0]
        out = np.flatnonzero(~kept)
        rest = columns[:, out] - basis @ (basis.T @ columns[:, out])
        needed = out[np.linalg.norm(rest, axis=0) > least[out]]
        if not len(needed):
            return np.flatnonzero(kept[1:])
        kept[needed[0]] = True


def project(regressors: Floats, target: Floats, weight: Floats, clusters: Ints | None = None) -> Projection:
    """Weighted least squares with MacKinnon & White's (1985) HC3, or its sum by cluster.

    Parameters
    ----------
    regressors
        ``(n, k)``, linearly independent and without a constant, which is added.
    target, weight
        ``(n,)``.
    clusters
        Numbers of the units that are independent of each other, ``(n,)``; None: the rows.

    Raises
    ------
    InputError
        If there are no more rows, or clusters, than coefficients.
    """
    design = np.column_stack([regressors, np.ones(len(target))])
    n, k = design.shape
    units = n if clusters is None else int(clusters.max()) + 1
    if units <= k:
        what = "rows" if clusters is None else "groups"
        raise InputError(
            f"{units} {what} cannot tell {k} coefficients: name fewer features= for the regression, or collect more"
        )
    scale = weight / weight.mean()
    bread = np.linalg.inv(gram(design, scale))
    coefficients = bread @ (design.T @ (scale * target))
    leverage = scale * ((design @ bread) * design).sum(axis=1)
    # a row that alone decides a coefficient has no residual to tell its noise from; it counts as if nearly so
    residual = (target - design @ coefficients) / np.maximum(1 - leverage, 0.05)
    moments = design * (scale * residual)[:, None]
    correction = 1.0
    if clusters is not None:
        moments = np.column_stack([np.bincount(clusters, weights=column) for column in moments.T])
        correction = units / (units - 1)
    half = moments @ bread
    return Projection(coefficients, correction * half.T @ half, units - k)


@dataclass(frozen=True, eq=False)
class ProjectionScorer(LinearScorer):
    """A linear effect and how certain it is.

    Attributes
    ----------
    covariance
        Of the coefficients and, last, the intercept, ``(k + 1, k + 1)``.
    freedom
        Degrees of freedom.
    """

    covariance: Floats
    freedom: int

    def standard_errors(self, matrix: Matrix) -> Floats:
        """Of the value of each row, ``(n,)``; added up entry by entry so that rows do not depend on each other."""
        columns = [self.design.column(matrix, k) for k in range(len(self.coefficients))]
        columns.append(np.ones(len(matrix)))
        variance = np.zeros(len(matrix))
        for a, one in enumerate(columns):
            variance += self.covariance[a, a] * one * one
            for b in range(a):
                variance += 2 * self.covariance[a, b] * one * columns[b]
        return np.sqrt(np.maximum(variance, 0.0))

    def interval(self, matrix: Matrix, alpha: float) -> tuple[Floats, Floats]:
        """Low and high ends, each ``(n,)``."""
        middle = self.raw(matrix)
        half = float(student.ppf(1 - alpha / 2, self.freedom)) * self.standard_errors(matrix)
        return middle - half, middle + half

    def to_dict(self, files: dict[str, str]) -> dict[str, Any]:
        """Plain values."""
        more = {"kind": "projection", "covariance": self.covariance.tolist(), "freedom": self.freedom}
        return {**super().to_dict(files), **more}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        return cls(
            LinearDesign.from_dict(value["design"]),
            tuple(value["coefficients"]),
            float(value["intercept"]),
            "identity",
            np.array(value["covariance"], dtype=np.float64),
            int(value["freedom"]),
        )
