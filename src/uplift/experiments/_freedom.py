"""Degrees of freedom of a variance that is a sum over clusters: few clusters, or unequal ones, know it less well."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Arm(NamedTuple):
    """What does not depend on the outcome, of one arm with ``m`` columns of its fit's basis and ``g`` clusters.

    Attributes
    ----------
    rows, cluster : ndarray of shape (n_rows,)
        Row numbers, and each row's cluster as 0 … g − 1.
    size, own, total : ndarray of shape (g,)
        Rows, sum of squared weights and sum of weights of each cluster.
    low_rank : ndarray of shape (g, 2m)
        ``[U, V]`` with ``U`` the basis summed over each cluster by weight, ``V`` its plain sum times ``total``.
    plain : ndarray of shape (m, m)
        ``W′W`` of these plain sums.
    """

    rows: Ints
    cluster: Ints
    size: Floats
    own: Floats
    total: Floats
    low_rank: Floats
    plain: Floats


class ClusterFreedom:
    """Satterthwaite's degrees of freedom of CR2, by Bell and McCaffrey, with members of a cluster correlated.

    The variance of an arm's mean is ``Σ (w_c′e_c)²`` over clusters, with ``e = (I − H)y``. Under errors that share a
    part within clusters it is a sum of weighted χ² variables with ``tr(M)² / tr(M²)`` degrees of freedom, ``M`` the
    covariance of the clusters' terms. That never exceeds the clusters less one, and is far below it where a few large
    clusters carry the arm.

    Parameters
    ----------
    weight : ndarray of shape (n_rows,)
        Of each row's residual in the error of its arm's mean, adjusted for leverage.
    clusters : ndarray of shape (n_rows,)
    arms : list of (rows, basis)
        Of every arm: its row numbers, and orthonormal columns that its fit projects on, ``(n_arm_rows, m)``.

    References
    ----------
    R. M. Bell, D. F. McCaffrey (2002), *Survey Methodology* 28(2); G. W. Imbens, M. Kolesár (2016), *Review of
    Economics and Statistics* 98(4) for correlated members.
    """

    def __init__(self, weight: Floats, clusters: Ints, arms: list[tuple[Ints, Floats]]) -> None:
        self._arms = [_arm(weight, clusters, rows, basis) for rows, basis in arms]

    def df(self, residual: Floats) -> Floats:
        """By arm, from what the fits leave of an outcome, ``(n_rows,)``."""
        return np.array([_df(arm, residual[arm.rows]) for arm in self._arms])


def _arm(weight: Floats, clusters: Ints, rows: Ints, basis: Floats) -> _Arm:
    found, cluster = np.unique(clusters[rows], return_inverse=True)
    own = weight[rows]
    total = np.asarray(np.bincount(cluster, own, len(found)), dtype=np.float64)
    weighted, plain = np.zeros((len(found), basis.shape[1])), np.zeros((len(found), basis.shape[1]))
    np.add.at(weighted, cluster, basis * own[:, None])
    np.add.at(plain, cluster, basis)
    return _Arm(
        rows,
        cluster,
        np.bincount(cluster, minlength=len(found)).astype(np.float64),
        np.asarray(np.bincount(cluster, own**2, len(found)), dtype=np.float64),
        total,
        np.hstack([weighted, plain * total[:, None]]),
        plain.T @ plain,
    )


def _df(arm: _Arm, residual: Floats) -> float:
    clusters = len(arm.size)
    if clusters < 2:
        return float(clusters - 1)
    shared = _correlation(arm, residual)
    m = len(arm.plain)
    inner = np.zeros((2 * m, 2 * m))
    inner[:m, :m] = shared * arm.plain - np.eye(m)
    inner[:m, m:] = inner[m:, :m] = -shared * np.eye(m)
    diagonal = arm.own + shared * arm.total**2
    gram = inner @ (arm.low_rank.T @ arm.low_rank)
    cross = inner @ (arm.low_rank.T @ (diagonal[:, None] * arm.low_rank))
    trace = float(diagonal.sum() + np.trace(gram))
    square = float((diagonal**2).sum() + 2 * np.trace(cross) + (gram * gram.T).sum())
    return min(trace**2 / square, clusters - 1.0) if square > 0 and trace > 0 else clusters - 1.0


def _correlation(arm: _Arm, residual: Floats) -> float:
    """Variance that members of a cluster share over variance of their own, from products of their residuals."""
    pairs = float((arm.size * (arm.size - 1)).sum())
    if not pairs:
        return 0.0
    squares = float((residual**2).sum())
    together = max((float((np.bincount(arm.cluster, residual) ** 2).sum()) - squares) / pairs, 0.0)
    alone = squares / len(residual) - together
    return together / alone if alone > 1e-9 * together else 1e9 if together else 0.0
