"""Sufficient statistics: what is additive over members, and every estimate that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uplift.errors import InputError, unknown_name
from uplift.experiments.estimators import ArmMeans, Difference, pivots
from uplift.results import Rendered

Floats = NDArray[np.float64]
NO_ROWS = np.empty(0)


@dataclass(frozen=True)
class Whitened:
    """Covariates as coordinates that are orthonormal over the rows of each arm: ``z = triangle @ (x − mean)``.

    A row's leverage is then ``1/n + Σ z²``, and least squares of ``y`` has the coefficients ``Σ z·y``.

    Attributes
    ----------
    columns
        Covariates in use.
    mean : ndarray of shape (n_arms, n_columns)
        Of the arm; NaN, like all else, in an arm with fewer than two rows.
    triangle : ndarray of shape (n_arms, n_columns, n_columns)
        Lower triangular.
    target : ndarray of shape (n_arms, n_columns)
        Coordinates of the mean of all arms together.
    """

    columns: tuple[str, ...]
    mean: Floats
    triangle: Floats
    target: Floats


@dataclass(frozen=True)
class Moments(Rendered):
    """Counts, means and centred sums of products of some columns, by arm.

    A table of members and one pass of the engine over a table of any length give the same object; two parts of a
    population add up to the whole with ``+``. Deviations are from the arm's own mean, so that no digits are lost to
    large values.

    Attributes
    ----------
    columns
        Names of metrics, their parts, and covariates.
    count : ndarray of shape (n_arms,)
        Rows.
    mean : ndarray of shape (n_arms, n_columns)
        In each column's unit; NaN in an arm without rows.
    product : ndarray of shape (n_arms, n_columns, n_columns)
        ``Σ (x − x̄)(y − ȳ)`` within the arm; NaN for pairs that nobody asked for.

    Examples
    --------
    >>> import numpy as np
    >>> arm = np.array([0, 0, 0, 1, 1, 1])
    >>> moments = Moments.of({"spend": np.array([1.0, 2.0, 3.0, 3.0, 4.0, 8.0])}, arm, 2)
    >>> moments.means("spend").mean.tolist(), moments.means("spend").difference(1, 0).value
    ([2.0, 5.0], 3.0)
    """

    columns: tuple[str, ...]
    count: Floats
    mean: Floats
    product: Floats

    @classmethod
    def of(cls, values: Mapping[str, ArrayLike], arm: NDArray[np.int64], n_arms: int) -> Self:
        """From one array of shape ``(n_rows,)`` a column and the arm of every row, as 0 … n_arms − 1."""
        table = np.column_stack([np.asarray(column, dtype=np.float64) for column in values.values()])
        k = table.shape[1]
        count = np.bincount(arm, minlength=n_arms).astype(np.float64)
        mean, product = np.full((n_arms, k), np.nan), np.zeros((n_arms, k, k))
        for a in range(n_arms):
            own = table[arm == a]
            if len(own):
                mean[a] = own.mean(axis=0)
                centred = own - mean[a]
                product[a] = centred.T @ centred
        return cls(tuple(values), count, mean, product)

    def __add__(self, other: Moments) -> Moments:
        """Both parts of a population together (Chan, Golub & LeVeque 1983)."""
        if self.columns != other.columns or len(self.count) != len(other.count):
            raise InputError("moments add up only if they have the same columns and arms")
        count = self.count + other.count
        with np.errstate(invalid="ignore"):
            share = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        gap = np.where((self.count > 0)[:, None] & (other.count > 0)[:, None], other.mean - self.mean, 0.0)
        mean = np.where((self.count > 0)[:, None], self.mean + gap * share[:, None], other.mean)
        between = gap[:, :, None] * gap[:, None, :] * (self.count * share)[:, None, None]
        return Moments(self.columns, count, mean, self.product + other.product + between)

    def to_dicts(self) -> list[dict[str, float | str | int]]:
        """One row an arm and column: rows, mean, standard deviation."""
        return [
            {"arm": a, "column": name, "n": int(n), "mean": self.mean[a, j], "sd": (self.product[a, j, j] / n) ** 0.5}
            for a, n in enumerate(self.count)
            for j, name in enumerate(self.columns)
        ]

    def place(self, column: str) -> int:
        """Place of a column.

        Raises
        ------
        InputError
            If there is no such column.
        """
        if column not in self.columns:
            raise unknown_name("column", column, self.columns)
        return self.columns.index(column)

    def select(self, columns: Sequence[str]) -> Moments:
        """Some columns, in this order."""
        places = [self.place(name) for name in columns]
        product = self.product[:, places][:, :, places]
        return Moments(tuple(columns), self.count, self.mean[:, places], product)

    def with_sum(self, name: str, parts: Mapping[str, Floats], constant: Floats | float = 0.0) -> Moments:
        """A further column: ``constant`` plus a weighted sum of columns, with each arm's own weights ``(n_arms,)``."""
        weight = np.zeros(self.mean.shape)
        for column, own in parts.items():
            weight[:, self.place(column)] += own
        used = [self.place(column) for column in parts]
        own_weight = weight[:, used]
        mean = (own_weight * self.mean[:, used]).sum(axis=1) + constant
        cross = np.einsum("aj,ajk->ak", own_weight, self.product[:, used, :])
        square = np.einsum("ak,ak->a", cross[:, used], own_weight)
        k = len(self.columns)
        product = np.empty((len(self.count), k + 1, k + 1))
        product[:, :k, :k] = self.product
        product[:, k, :k] = product[:, :k, k] = cross
        product[:, k, k] = square
        return Moments((*self.columns, name), self.count, np.column_stack([self.mean, mean]), product)

    def with_ratio(self, name: str, numerator: str, denominator: str) -> Moments:
        """A further column whose mean is the ratio of two sums in every arm, and whose variance is the delta method's.

        Member by member it is ``R + (N − R·D) / D̄`` with the arm's own ``R = N̄ / D̄``; NaN where ``D̄`` is not
        above zero.
        """
        top, bottom = self.mean[:, self.place(numerator)], self.mean[:, self.place(denominator)]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(bottom > 0, top / bottom, np.nan)
            parts = {numerator: 1 / bottom, denominator: -ratio / bottom}
        return self.with_sum(name, parts, constant=ratio)

    def means(self, column: str) -> ArmMeans:
        """Plain means of a column by arm; the variance of each arm is its own (Welch)."""
        j = self.place(column)
        return self._arms(self.mean[:, j], self.product[:, j, j], self.count - 1, np.zeros(len(self.count)))

    def regression(self, column: str, covariates: Sequence[str]) -> tuple[ArmMeans, tuple[str, ...]]:
        """Means adjusted for covariates by Lin's (2013) interacted regression, and the covariates in use.

        The estimate is that of :class:`uplift.experiments.ArmRegression` on the rows. Its variance is that of each
        arm's own least-squares fit, ``s²(1/n + d′S⁻¹d)``: HC2 needs every row's leverage, which sums do not hold
        (:func:`uplift.experiments.analyze_table` looks at the rows once more for it). The two agree as members grow;
        without covariates they are the same.
        """
        fit = self.whitened(covariates)
        if not fit.columns:
            return self.means(column), ()
        j, x = self.place(column), [self.place(name) for name in fit.columns]
        slope = np.einsum("aij,aj->ai", fit.triangle, self.product[:, x, j])
        mean = self.mean[:, j] + (fit.target * slope).sum(axis=1)
        left = np.maximum(self.product[:, j, j] - (slope**2).sum(axis=1), 0.0)
        return self._arms(mean, left, self.count - 1 - len(x), (fit.target**2).sum(axis=1)), fit.columns

    def whitened(self, covariates: Sequence[str]) -> Whitened:
        """Covariates that say something of their own, as orthonormal coordinates within each arm."""
        used = self.independent(covariates)
        x = [self.place(name) for name in used]
        k = len(x)
        mean, target = np.full((len(self.count), k), np.nan), np.full((len(self.count), k), np.nan)
        triangle = np.full((len(self.count), k, k), np.nan)
        centre = self.pooled().mean[0, x]
        for a in np.flatnonzero(self.count >= 2):
            gram = self.product[a][np.ix_(x, x)]
            scale = np.sqrt(np.diag(gram))
            triangle[a] = np.linalg.inv(np.linalg.cholesky(gram / np.outer(scale, scale))) / scale
            mean[a] = self.mean[a, x]
            target[a] = triangle[a] @ (centre - mean[a])
        return Whitened(tuple(used), mean, triangle, target)

    def cuped(self, column: str, covariate: str, arm: int, control: int, alpha: float = 0.05) -> Difference:
        """Difference adjusted by one slope for both arms together (CUPED).

        References
        ----------
        A. Deng, Y. Xu, R. Kohavi, T. Walker (2013), WSDM.
        """
        j, x = self.place(column), self.place(covariate)
        both = self.arm(control) + self.arm(arm)
        slope = both.product[0, j, x] / both.product[0, x, x]
        weight = np.ones(len(self.count))
        adjusted = self.with_sum("adjusted", {column: weight, covariate: -slope * weight})
        return adjusted.means("adjusted").difference(arm, control, alpha)

    def independent(self, covariates: Sequence[str]) -> list[str]:
        """Covariates that are neither constant nor repeated by earlier ones within any arm."""
        x = np.array([self.place(name) for name in covariates], dtype=np.int64)
        filled = np.flatnonzero(self.count >= 2)
        if not len(x) or not len(filled):
            return []
        total = self.pooled()
        scale = np.sqrt(np.maximum(np.diagonal(total.product[0])[x], 0.0) / total.count[0])
        moving = scale > 1e-10 * np.maximum(np.abs(total.mean[0, x]), 1e-300)
        x, scale = x[moving], scale[moving]
        for a in filled:
            gram = self.product[a][np.ix_(x, x)] / self.count[a] / np.outer(scale, scale)
            good = pivots(gram)[: max(int(self.count[a]) - 2, 0)]
            x, scale = x[good], scale[good]
        return [self.columns[j] for j in x]

    def arm(self, place: int) -> Moments:
        """One arm by itself."""
        return Moments(self.columns, self.count[[place]], self.mean[[place]], self.product[[place]])

    def pooled(self) -> Moments:
        """All arms as one."""
        total = self.arm(0)
        for place in range(1, len(self.count)):
            total = total + self.arm(place)
        return total

    def _arms(self, mean: Floats, left: Floats, df: Floats, stretch: Floats) -> ArmMeans:
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = np.where(df > 0, left / df * (1 / self.count + stretch), np.nan)
        variance = np.where(self.count >= 2, variance, np.nan)
        covariance = np.where(np.isnan(variance)[:, None] | np.isnan(variance)[None, :], np.nan, 0.0)
        np.fill_diagonal(covariance, variance)
        return ArmMeans(np.where(self.count >= 2, mean, np.nan), covariance, df, NO_ROWS)
