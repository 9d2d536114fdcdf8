"""Is the experiment sound: are the arms as large as designed, and alike before assignment?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, gammaln

from uplift.errors import DesignError, did_you_mean
from uplift.experiments._encoding import Encoded, EncodedColumn
from uplift.experiments.estimators import cluster_counts
from uplift.results import Rendered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALARM = 0.001
"""Checks alarm below this p-value, so that a sound experiment is called unsound once in a thousand."""
CONCENTRATION = 1000.0
"""Of the e-value's prior: at equal halves it looks for deviations of about 1.6 points."""


@dataclass(frozen=True)
class SampleRatio(Rendered):
    """Sample ratio check.

    Attributes
    ----------
    p_value, passed
        None when no designed shares are known: nothing is assumed.
    statistic, df
        Of the χ² test.
    observed : mapping
        Arm → units counted.
    expected : mapping
        Arm → units expected by design; None when not known.
    unit
        What is counted: ``member`` rows, or ``cluster`` when whole clusters were assigned.
    e_value
        Evidence against the design that may be looked at after every member; None without shares.
    running
        Whether members still come, so that ``passed`` goes by ``e_value`` (alarm at 1 / threshold), not by one p-value.
    """

    p_value: float | None
    passed: bool | None
    statistic: float | None
    df: int | None
    observed: Mapping[str, int]
    expected: Mapping[str, float] | None
    unit: str = "member"
    threshold: float = ALARM
    e_value: float | None = None
    running: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "p_value": self.p_value,
            "passed": self.passed,
            "statistic": self.statistic,
            "df": self.df,
            "threshold": self.threshold,
            "unit": self.unit,
            "expected": None if self.expected is None else dict(self.expected),
            "e_value": self.e_value,
            "running": self.running,
        }


def sample_ratio(
    counts: Mapping[str, int],
    shares: Mapping[str, float] | None,
    *,
    unit: str = "member",
    threshold: float = ALARM,
    running: bool = False,
) -> SampleRatio:
    """Compare the sizes of the arms with the **designed** shares (Pearson's χ²).

    Parameters
    ----------
    counts
        Arm → members assigned.
    shares
        Arm → designed share, adding up to 1; arms of share zero count neither for nor against. None: not checked.
    unit
        What was counted, for the record.
    threshold
        ``passed`` is false below it.
    running
        Members still come and the check is made again and again: ``passed`` then goes by the e-value.

    Raises
    ------
    DesignError
        If an arm has no designed share, or shares do not add up to 1.

    Examples
    --------
    >>> sample_ratio({"control": 4_987, "offer": 5_013}, {"control": 0.5, "offer": 0.5}).passed
    True
    >>> sample_ratio({"control": 4_700, "offer": 5_300}, {"control": 0.5, "offer": 0.5}).passed
    False
    """
    observed = {str(arm): int(count) for arm, count in counts.items()}
    if shares is None:
        return SampleRatio(None, None, None, None, observed, None, unit, threshold, running=running)
    for arm in observed:
        if arm not in shares:
            raise DesignError(f"arm {arm!r} has no designed share: {did_you_mean(arm, shares)}")
    total_share = math.fsum(shares.values())
    if abs(total_share - 1) > 1e-6:
        raise DesignError(f"the designed shares add up to {total_share:.6g}, not to 1")
    total = sum(observed.values())
    expected = {arm: total * share / total_share for arm, share in shares.items()}
    if any(observed.get(arm, 0) > 0 and share == 0 for arm, share in shares.items()):
        return SampleRatio(0.0, False, None, None, observed, expected, unit, threshold, math.inf, running)
    statistic = math.fsum((observed.get(arm, 0) - e) ** 2 / e for arm, e in expected.items() if e > 0)
    df = sum(e > 0 for e in expected.values()) - 1
    p_value = float(chdtrc(df, statistic)) if df > 0 else 1.0
    evidence = sample_ratio_evidence(
        np.array([observed.get(arm, 0) for arm in shares]), np.array([share / total_share for share in shares.values()])
    )
    passed = math.log(threshold) + float(evidence) < 0 if running else p_value >= threshold
    e_value = math.exp(min(float(evidence), 700.0))
    return SampleRatio(p_value, passed, statistic, df, observed, expected, unit, threshold, e_value, running)


def sample_ratio_evidence(counts: ArrayLike, shares: ArrayLike, concentration: float = CONCENTRATION) -> Floats:
    """Logarithm of the Dirichlet-multinomial e-value against the designed shares.

    The likelihood of the counts under shares drawn from a Dirichlet distribution around the design, over their
    likelihood under the design. Under the design its exponential is a martingale that starts at 1, so that it ever
    reaches 1/α with probability α at most, however often it is looked at.

    Parameters
    ----------
    counts : array of shape (..., n_arms)
        Units so far, one row a look.
    shares : array of shape (n_arms,)
        Designed shares; arms of share zero are left out.
    concentration
        Of the Dirichlet prior: how near to the design the deviations are that it looks for.

    Returns
    -------
    ndarray of shape (...)

    References
    ----------
    M. Lindon, A. Malek (2022), "Anytime-valid inference for multinomial count data", *NeurIPS* 35.

    Examples
    --------
    >>> sample_ratio_evidence([[500, 500], [4_700, 5_300]], [0.5, 0.5]).round(1).tolist()
    [-0.3, 15.2]
    """
    p = np.asarray(shares, dtype=np.float64)
    x = np.asarray(counts, dtype=np.float64)[..., p > 0]
    p = p[p > 0]
    prior = concentration * p
    total = x.sum(axis=-1)
    marginal = gammaln(concentration) - gammaln(concentration + total) + (gammaln(prior + x) - gammaln(prior)).sum(-1)
    return np.asarray(marginal - x @ np.log(p), dtype=np.float64)


class Stage(NamedTuple):
    """A stage at which members are counted by arm, and the shares that they should have there; None: not checked."""

    name: str
    counts: Mapping[str, int]
    shares: Mapping[str, float] | None


@dataclass(frozen=True)
class StageRatio(Rendered):
    """Sample ratio by stage.

    Attributes
    ----------
    stages
        Stage → check, in order.
    broken
        The first stage whose ratio fails; None when none does. What is wrong lies between it and the stage before.
    """

    stages: Mapping[str, SampleRatio]
    broken: str | None

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a stage."""
        return [{"stage": name, **check.to_dict()} for name, check in self.stages.items()]


def diagnose_sample_ratio(stages: Sequence[Stage], *, running: bool = False) -> StageRatio:
    """Where a sample ratio breaks: at assignment, at sending, or when outcomes are observed.

    Each stage is held to the shares among those who should reach it (what is sent: the arms that send), and is told
    apart from the stage before it: a stage that only inherits the ratio of an earlier one is not blamed.

    Parameters
    ----------
    stages
        In the order in which members pass them.
    running
        As for :func:`sample_ratio`.

    Examples
    --------
    >>> shares = {"control": 0.5, "gift": 0.5}
    >>> found = diagnose_sample_ratio(
    ...     [Stage("assigned", {"control": 5_000, "gift": 5_010}, shares),
    ...      Stage("observed", {"control": 5_000, "gift": 4_500}, shares)])
    >>> found.broken
    'observed'
    """
    checked = {
        stage.name: sample_ratio(
            {arm: n for arm, n in stage.counts.items() if stage.shares is None or arm in stage.shares},
            stage.shares,
            running=running,
        )
        for stage in stages
    }
    return StageRatio(checked, next((name for name, check in checked.items() if check.passed is False), None))


@dataclass(frozen=True)
class Balance(Rendered):
    """How alike the arms were before assignment.

    Attributes
    ----------
    rows : tuple of mappings
        One a covariate (and category) and arm: ``covariate``, ``level``, ``arm``, ``mean_control``, ``mean_arm``,
        ``smd`` (difference over the pooled standard deviation). Numbers of cells that are too small are None.
    statistic, df, p_value, passed
        One test of all covariates and arms together; None without covariates.
    gaps : tuple of float
        Size of every row's standardised difference, those of small cells too: for saying which is largest, not for
        showing.
    """

    rows: tuple[Mapping[str, Any], ...]
    statistic: float | None
    df: int | None
    p_value: float | None
    passed: bool | None
    threshold: float = ALARM
    gaps: tuple[float, ...] = field(default=(), repr=False)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a covariate and arm."""
        return [dict(row) for row in self.rows]

    @property
    def worst(self) -> Mapping[str, Any] | None:
        """The row with the largest standardised difference; without numbers where its cell is small."""
        return self.rows[int(np.argmax(self.gaps))] if self.gaps and max(self.gaps) > 0 else None


def balance(
    covariates: Encoded,
    arm: Ints,
    arms: tuple[str, ...],
    *,
    clusters: Ints | None = None,
    strata: Ints | None = None,
    min_cell: int = 11,
    threshold: float = ALARM,
) -> Balance:
    """Standardised mean differences, and one joint test that assignment did not depend on the covariates.

    The test is the randomisation test's quadratic form ``Σₐ nₐ dₐ' S⁻¹ dₐ`` over the arms, on rows or, when whole
    clusters were assigned, on clusters; within strata when there are any.

    Parameters
    ----------
    covariates
        Encoded covariates, ``(n_rows, n_columns)``.
    arm
        Place of every row in ``arms``; 0 is the control.
    """
    x = covariates.matrix
    rows, gaps = _differences(x, covariates, arm, arms, min_cell)
    centred = x - x.mean(axis=0) if strata is None else x - _group_means(x, strata)
    units: Ints | None = arm
    if clusters is not None:
        sums = np.zeros((int(clusters.max()) + 1, x.shape[1]))
        np.add.at(sums, clusters, centred)
        units = _assigned_together(clusters, arm)
        if units is None:
            return Balance(rows, None, None, None, None, threshold, gaps)
        centred = sums
    spread = np.sqrt((centred**2).mean(axis=0)) if len(centred) else np.zeros(x.shape[1])
    moving = spread > 1e-9 * np.maximum(np.abs(x).max(axis=0, initial=0), 1e-300)
    z = centred[:, moving] / spread[moving]
    if not z.shape[1]:
        return Balance(rows, None, None, None, None, threshold, gaps)
    z = z - z.mean(axis=0)
    covariance = z.T @ z / (len(z) - 1)
    values, vectors = np.linalg.eigh(covariance)
    solid = values > 1e-8 * values.max()
    whitened = z @ (vectors[:, solid] / np.sqrt(values[solid]))
    statistic = 0.0
    filled = 0
    for place in range(len(arms)):
        own = whitened[units == place]
        if len(own):
            statistic += len(own) * float((own.mean(axis=0) ** 2).sum())
            filled += 1
    df = int(solid.sum()) * (filled - 1)
    p_value = float(chdtrc(df, statistic)) if df > 0 else 1.0
    return Balance(rows, statistic, df, p_value, p_value >= threshold, threshold, gaps)


def _differences(
    x: Floats, covariates: Encoded, arm: Ints, arms: tuple[str, ...], min_cell: int
) -> tuple[tuple[Mapping[str, Any], ...], tuple[float, ...]]:
    counts = np.bincount(arm, minlength=len(arms)).astype(np.float64)
    rows: list[Mapping[str, Any]] = []
    gaps: list[float] = []
    base = x[arm == 0]
    for place in range(1, len(arms)):
        own = x[arm == place]
        pair = counts[[0, place]]
        if pair.min() < 1:
            means, variances = np.zeros((2, x.shape[1])), np.zeros((2, x.shape[1]))
        else:
            means = np.stack([part.mean(axis=0) for part in (base, own)])
            variances = np.stack([part.var(axis=0) for part in (base, own)])
        found, sizes = differences(covariates.columns, pair, means, variances, arms[place], min_cell)
        rows += found
        gaps += sizes
    return tuple(rows), tuple(gaps)


def differences(
    columns: Sequence[EncodedColumn], counts: Floats, means: Floats, variances: Floats, arm: str, min_cell: int
) -> tuple[list[dict[str, Any]], list[float]]:
    """Rows of one arm against the control, without numbers where they would tell of few members, and every row's gap.

    The mean of a category or a flag is a count in disguise: where one category of a covariate is small in either arm,
    all its categories are left out, since the others would give it back.

    Parameters
    ----------
    counts : ndarray of shape (2,)
        Members of the control and of the arm.
    means, variances : ndarray of shape (2, n_columns)
    """
    here = counts[:, None] * means
    rest: dict[str, Floats] = {}
    for j, column in enumerate(columns):
        if column.level is not None:
            rest[column.covariate] = rest.get(column.covariate, counts.copy()) - here[:, j]
    few = min_cell - 1e-6
    closed = {name for name, left in rest.items() if left.min() < few}
    closed |= {c.covariate for j, c in enumerate(columns) if c.level is not None and here[:, j].min() < few}
    pooled = np.sqrt(variances.mean(axis=0))
    gap = np.divide(means[1] - means[0], pooled, out=np.zeros(len(columns)), where=pooled > 0)
    rows = []
    for j, column in enumerate(columns):
        row: dict[str, Any] = {"covariate": column.covariate, "level": column.level, "arm": arm}
        row.update(mean_control=None, mean_arm=None, smd=None)
        rows.append(row)
        flag = bool(np.allclose(variances[:, j], means[:, j] * (1 - means[:, j]), rtol=1e-9, atol=1e-12))
        small = flag and min(here[:, j].min(), (counts - here[:, j]).min()) < few
        if counts.min() < min_cell or (small if column.level is None else column.covariate in closed):
            continue
        row.update(mean_control=float(means[0, j]), mean_arm=float(means[1, j]))
        row["smd"] = float(gap[j]) if pooled[j] > 0 else None
    return rows, np.abs(gap).tolist()


def _group_means(x: Floats, groups: Ints) -> Floats:
    counts = np.bincount(groups)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, groups, x)
    return (sums / counts[:, None])[groups]


def _assigned_together(clusters: Ints, arm: Ints) -> Ints | None:
    """Arm of every cluster, or None when clusters hold members of several arms."""
    low = np.full(int(clusters.max()) + 1, np.iinfo(np.int64).max)
    high = np.full(len(low), -1)
    np.minimum.at(low, clusters, arm)
    np.maximum.at(high, clusters, arm)
    return high if (low == high).all() else None


def units_by_arm(arm: Ints, n_arms: int, clusters: Ints | None) -> tuple[NDArray[np.int64], str]:
    """What was randomised: clusters when every cluster lies in one arm, else rows; counts by arm and the name."""
    if clusters is not None and _assigned_together(clusters, arm) is not None:
        return cluster_counts(arm, clusters, n_arms).astype(np.int64), "cluster"
    return np.bincount(arm, minlength=n_arms), "member"
