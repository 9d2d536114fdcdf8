"""Means of arms, adjusted for covariates, and what can be said of their differences and ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from uplift.experiments._freedom import ClusterFreedom
from uplift.results import Rendered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_COLLINEAR = 1e-9  # a covariate whose unexplained share of variance is below this repeats the others


class Difference(NamedTuple):
    """A difference with its interval; NaN where the data cannot give the number.

    Attributes
    ----------
    value, se, low, high
        In the unit of the outcome.
    p_value
        Two-sided, of no difference.
    df
        Welch–Satterthwaite degrees of freedom.
    """

    value: float
    se: float
    low: float
    high: float
    p_value: float
    df: float


class Ratio(NamedTuple):
    """A relative effect ``arm / control − 1`` with its interval; NaN where it cannot be stated as a percentage."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmMeans(Rendered):
    """Means of one outcome in every arm, at the covariate means of all rows together.

    Attributes
    ----------
    mean : ndarray of shape (n_arms,)
        Adjusted means (plain means without covariates); NaN for an arm with fewer than two rows.
    covariance : ndarray of shape (n_arms, n_arms)
        HC2 (CR2 with clusters). Diagonal unless clusters span arms.
    df : ndarray of shape (n_arms,)
        Degrees of freedom of each variance (Bell and McCaffrey's with clusters).
    contribution : ndarray of shape (n_rows,)
        What each row adds to its arm's estimation error: sums of squares of these (within clusters first) are the
        variances. Lets callers combine estimates of overlapping or clustered samples.
    """

    mean: Floats
    covariance: Floats
    df: Floats
    contribution: Floats = field(repr=False)

    def to_dicts(self) -> list[dict[str, float]]:
        """One row an arm."""
        se = np.sqrt(np.diag(self.covariance))
        return [{"mean": m, "se": s, "df": d} for m, s, d in zip(self.mean, se, self.df, strict=True)]

    def difference(self, arm: int, control: int, alpha: float = 0.05) -> Difference:
        """Arm minus control, with Welch's degrees of freedom."""
        v = self.covariance
        variance = v[arm, arm] + v[control, control] - 2 * v[arm, control]
        parts = v[arm, arm] ** 2 / self.df[arm] + v[control, control] ** 2 / self.df[control]
        df = (v[arm, arm] + v[control, control]) ** 2 / parts if parts > 0 else math.nan
        return difference(float(self.mean[arm] - self.mean[control]), float(variance), float(df), alpha)

    def ratio(self, arm: int, control: int, alpha: float = 0.05) -> Ratio:
        """Arm over control minus one, by Fieller."""
        v = self.covariance
        df = self.difference(arm, control, alpha).df
        return fieller(
            float(self.mean[arm]),
            float(self.mean[control]),
            float(v[arm, arm]),
            float(v[control, control]),
            float(v[arm, control]),
            alpha=alpha,
            df=df,
        )


def difference(value: float, variance: float, df: float, alpha: float = 0.05) -> Difference:
    """A difference with known variance as value, interval and p-value; NaN where there is no variance to go by."""
    if not (variance > 0 and df > 0 and math.isfinite(value)):
        return Difference(value, math.nan, math.nan, math.nan, math.nan, math.nan)
    se = math.sqrt(variance)
    half = float(stdtrit(df, 1 - alpha / 2)) * se
    return Difference(value, se, value - half, value + half, 2 * float(stdtr(df, -abs(value / se))), df)


def fieller(
    numerator: float,
    denominator: float,
    numerator_variance: float,
    denominator_variance: float,
    covariance: float = 0.0,
    *,
    alpha: float = 0.05,
    df: float = math.inf,
) -> Ratio:
    """Fieller's interval for ``numerator / denominator − 1``.

    All ratios R for which ``numerator − R · denominator`` is not significantly different from zero. Its coverage is
    that of a t-test whatever the noise of the denominator, which a fixed denominator ignores.

    Parameters
    ----------
    numerator, denominator
        Two means.
    numerator_variance, denominator_variance, covariance
        Of these means.
    alpha
        One minus the level.
    df
        Degrees of freedom; infinite for normal quantiles.

    Returns
    -------
    Ratio
        NaN throughout when the denominator is not significantly above zero: the set of ratios is then unbounded,
        so nothing can be stated as a percentage.

    References
    ----------
    E. C. Fieller (1954), *JRSS B* 16(2).

    Examples
    --------
    >>> ratio = fieller(1.1, 1.0, 0.0025, 0.0025)
    >>> round(ratio.value, 3), round(ratio.low, 3), round(ratio.high, 3)
    (0.1, -0.036, 0.257)
    """
    nothing = Ratio(math.nan, math.nan, math.nan)
    given = (numerator, denominator, numerator_variance, denominator_variance, covariance, df)
    if any(math.isnan(x) for x in given):
        return nothing
    t = float(stdtrit(df, 1 - alpha / 2)) if math.isfinite(df) else float(stdtrit(1e15, 1 - alpha / 2))
    if denominator <= t * math.sqrt(denominator_variance):
        return nothing
    a = denominator**2 - t * t * denominator_variance
    b = numerator * denominator - t * t * covariance
    c = numerator**2 - t * t * numerator_variance
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Ratio(numerator / denominator - 1, (b - root) / a - 1, (b + root) / a - 1)


class ArmRegression:
    """The fully interacted regression of Lin (2013): one least-squares fit an arm, evaluated at the common means.

    Everything that does not depend on the outcome is computed once, so that many outcomes share it.

    Parameters
    ----------
    covariates : ndarray of shape (n_rows, n_covariates)
        Finite numbers measured before assignment. None or no columns: plain means.
    arms : ndarray of shape (n_rows,)
        Arm of every row, as 0 … n_arms − 1.
    n_arms
        Number of arms.
    clusters : ndarray of shape (n_rows,), optional
        Cluster of every row, as 0 … n_clusters − 1; rows of a cluster may share errors (CR2).

    Attributes
    ----------
    kept : ndarray of shape (n_kept,)
        Columns in use. Constant and collinear ones, within any arm, are left out.

    Notes
    -----
    Equals ordinary least squares on arm dummies, covariates centred at their means, and all their products, with the
    HC2 covariance; the fit of an arm never sees another arm's rows, so it splits into one fit an arm.

    References
    ----------
    W. Lin (2013), *Annals of Applied Statistics* 7(1); R. M. Bell, D. F. McCaffrey (2002), *Survey Methodology* 28(2)
    for CR2 and its degrees of freedom.
    """

    def __init__(self, covariates: Floats | None, arms: Ints, n_arms: int, clusters: Ints | None = None) -> None:
        n = len(arms)
        x = np.empty((n, 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
        self.arms, self.n_arms, self.clusters = arms, n_arms, clusters
        self.counts = np.bincount(arms, minlength=n_arms)
        self._rows = [np.flatnonzero(arms == arm) for arm in range(n_arms)]
        usable = [rows for rows in self._rows if len(rows) >= 2]
        x, self.kept = _independent(x, usable)
        centre = x.mean(axis=0) if n else np.zeros(x.shape[1])
        self._basis: list[Floats | None] = []  # orthonormal covariates within the arm
        self._target: list[Floats] = []  # what each row's outcome adds to the arm's mean at the common centre
        leverage = np.zeros(n)
        for rows in self._rows:
            if len(rows) < 2:
                self._basis.append(None)
                self._target.append(np.full(len(rows), np.nan))
                continue
            own = x[rows]
            own_mean = own.mean(axis=0)
            basis = _orthonormal(own - own_mean)
            shift = _coordinates(basis, own - own_mean, centre - own_mean)
            self._basis.append(basis)
            self._target.append(1 / len(rows) + basis @ shift)
            leverage[rows] = 1 / len(rows) + np.einsum("ij,ij->i", basis, basis)
        self._inflation = 1 / np.sqrt(np.clip(1 - leverage, 1e-10, None))
        target = np.zeros(n)
        for rows, own_basis, own_target in zip(self._rows, self._basis, self._target, strict=True):
            if own_basis is not None:
                target[rows] = own_target
        self._weight = self._adjust(target)  # of a row's residual in the error of its arm's mean
        self._freedom = None if clusters is None else self._clusters_known(clusters)

    def estimate(self, outcome: Floats) -> ArmMeans:
        """Means of ``outcome`` (shape ``(n_rows,)``) by arm."""
        mean = np.full(self.n_arms, np.nan)
        for arm, rows in enumerate(self._rows):
            if self._basis[arm] is None:
                continue
            own_mean = outcome[rows].mean()
            mean[arm] = own_mean + float(self._target[arm] @ (outcome[rows] - own_mean))
        residual = self.residuals(outcome)
        contribution = self._weight * residual
        return ArmMeans(mean, self._covariance(contribution), self._df(residual), contribution)

    def residuals(self, outcome: Floats) -> Floats:
        """What the fit of each arm leaves of ``outcome``, ``(n_rows,)``; zero in an arm of one row."""
        residual = np.zeros(len(outcome))
        for rows, basis in zip(self._rows, self._basis, strict=True):
            if basis is None:
                continue
            centred = outcome[rows] - outcome[rows].mean()
            residual[rows] = centred - basis @ (basis.T @ centred)
        return residual

    def _adjust(self, target: Floats) -> Floats:
        """Weights multiplied by ``(I − H)^−½``, of rows (HC2) or of blocks of a cluster within an arm (CR2)."""
        adjusted = target * self._inflation
        for block in _groups(self.arms, self.clusters):  # (n_groups, size) row numbers
            arm_of = self.arms[block[:, 0]]
            for arm in np.unique(arm_of):  # arms differ in their basis
                basis = self._basis[arm]
                if basis is None:
                    continue
                chosen = block[arm_of == arm]
                place = np.searchsorted(self._rows[arm], chosen)
                hat = np.concatenate([np.full((*chosen.shape, 1), self.counts[arm] ** -0.5), basis[place]], axis=2)
                u, s, _ = np.linalg.svd(hat, full_matrices=False)
                free = 1 - s**2
                factor = np.where(free > 1e-10, 1 / np.sqrt(np.clip(free, 1e-10, None)), 0.0) - 1
                own = target[chosen]
                adjusted[chosen] = own + np.einsum("gik,gk,gjk,gj->gi", u, factor, u, own, optimize=True)
        return adjusted

    def _covariance(self, contribution: Floats) -> Floats:
        present = np.array([basis is not None for basis in self._basis])
        if self.clusters is None:
            variance = np.bincount(self.arms, weights=contribution**2, minlength=self.n_arms)
            covariance = np.zeros((self.n_arms, self.n_arms))
            np.fill_diagonal(covariance, variance)
        else:
            n_clusters = int(self.clusters.max(initial=-1)) + 1
            sums = np.bincount(
                self.clusters * self.n_arms + self.arms, weights=contribution, minlength=n_clusters * self.n_arms
            ).reshape(n_clusters, self.n_arms)
            covariance = np.asarray(sums.T @ sums, dtype=np.float64)
        covariance[~present] = np.nan
        covariance[:, ~present] = np.nan
        return covariance

    def _df(self, residual: Floats) -> Floats:
        if self._freedom is None:
            return np.asarray(self.counts - 1 - len(self.kept), dtype=np.float64)
        return self._freedom.df(residual)

    def _clusters_known(self, clusters: Ints) -> ClusterFreedom:
        arms = []
        for rows, basis in zip(self._rows, self._basis, strict=True):
            own = np.empty((len(rows), 0)) if basis is None else basis
            arms.append((rows, np.column_stack([np.full(len(rows), max(len(rows), 1) ** -0.5), own])))
        return ClusterFreedom(self._weight, clusters, arms)


def cluster_counts(arms: Ints, clusters: Ints, n_arms: int) -> Floats:
    """Clusters that have rows in each arm; shape ``(n_arms,)``."""
    pairs = np.unique(clusters * n_arms + arms)
    return np.bincount(pairs % n_arms, minlength=n_arms).astype(np.float64)


def _groups(arms: Ints, clusters: Ints | None) -> list[NDArray[np.int64]]:
    """Rows that share cluster and arm, stacked by group size; single rows are left to HC2."""
    if clusters is None:
        return []
    key = clusters * (int(arms.max(initial=0)) + 1) + arms
    order = np.argsort(key, kind="stable")
    _, starts, sizes = np.unique(key[order], return_index=True, return_counts=True)
    found = [order[starts[sizes == size][:, None] + np.arange(size)] for size in np.unique(sizes) if size > 1]
    return [block.astype(np.int64) for block in found]


def _orthonormal(own: Floats) -> Floats:
    """Orthonormal columns with the same span: Cholesky twice, which is a matrix product where Householder is a loop."""
    basis = own
    for _ in range(2 if own.shape[1] else 0):
        try:
            triangle = np.linalg.cholesky(basis.T @ basis)
        except np.linalg.LinAlgError:
            return np.asarray(np.linalg.qr(own)[0])
        basis = basis @ np.linalg.inv(triangle).T
    return basis


def _coordinates(basis: Floats, own: Floats, shift: Floats) -> Floats:
    """Coordinates of a displacement of the covariates in the arm's orthonormal basis."""
    if not basis.shape[1]:
        return np.empty(0)
    triangle = basis.T @ own
    return np.asarray(np.linalg.solve(triangle.T, shift))


def _independent(x: Floats, blocks: list[Ints]) -> tuple[Floats, Ints]:
    """Columns, scaled, that are neither constant nor repeated by earlier ones within any of the blocks of rows."""
    keep = np.arange(x.shape[1])
    if not len(keep) or not blocks:
        return np.empty((len(x), 0)), np.empty(0, dtype=np.int64)
    scale = x.std(axis=0)
    size = np.abs(x).max(axis=0, initial=0)
    keep = keep[scale > 1e-10 * np.maximum(size, 1e-300)]
    z = (x[:, keep] - x[:, keep].mean(axis=0)) / scale[keep]
    for rows in blocks:
        own = z[rows]
        own = own - own.mean(axis=0)
        good = pivots(own.T @ own / len(rows))
        good = good[: max(len(rows) - 2, 0)]
        z, keep = z[:, good], keep[good]
    return z, keep


def pivots(gram: Floats) -> Ints:
    """Columns with something of their own after all earlier kept ones: Cholesky that skips what is left of nothing."""
    left = gram.copy()
    whole = np.diag(gram).copy()
    kept = []
    for j in range(len(gram)):
        pivot = left[j, j]
        if pivot <= _COLLINEAR * max(whole[j], 1e-12) or whole[j] <= 1e-12:
            continue
        kept.append(j)
        left -= np.outer(left[:, j], left[j]) / pivot
    return np.array(kept, dtype=np.int64)
