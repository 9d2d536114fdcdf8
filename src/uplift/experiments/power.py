"""How many members an experiment needs, and how small an effect it can see: by formula, and by trying it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from uplift.errors import DesignError, did_you_mean
from uplift.experiments.estimators import ArmRegression
from uplift.results import Rendered

MOST_MEMBERS = 10**12


@dataclass(frozen=True)
class ArmPower(Rendered):
    """One arm against the control.

    Attributes
    ----------
    n_control, n_arm
        Members at the size asked for; None when no size was given.
    smallest_effect
        Smallest true effect seen with the power asked for, in the metric's unit (rates as shares: an increase); None
        when a rate cannot rise that far.
    smallest_relative
        The same over the baseline; None without one.
    needed_total, needed_control, needed_arm
        Members needed in the whole experiment and in the two arms for the effect given; None without one.
    """

    arm: str
    share: float
    n_control: int | None = None
    n_arm: int | None = None
    smallest_effect: float | None = None
    smallest_relative: float | None = None
    needed_total: int | None = None
    needed_control: int | None = None
    needed_arm: int | None = None


@dataclass(frozen=True)
class Power(Rendered):
    """A design's power.

    Attributes
    ----------
    arms
        One entry an arm other than the control.
    alpha, power
        Error of the whole family of comparisons, and the chance to see an effect.
    comparisons
        Size of the family; each comparison is held to ``alpha / comparisons``, the first step of Holm.
    sd, baseline, kind
        Of the metric, per member, without treatment.
    rho2
        Share of the variance that covariates explain.
    deff
        Design effect of clusters.
    size, effect
        What was asked.
    """

    arms: tuple[ArmPower, ...]
    control: str
    shares: Mapping[str, float]
    alpha: float
    power: float
    comparisons: int
    sd: float
    baseline: float | None
    kind: Literal["rate", "mean"]
    rho2: float
    deff: float
    size: int | None
    effect: float | None

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row an arm."""
        return [row for arm in self.arms for row in arm.to_dicts()]

    @property
    def needed_total(self) -> int | None:
        """Members that the most demanding arm needs in the whole experiment."""
        needed = [arm.needed_total for arm in self.arms if arm.needed_total is not None]
        return max(needed) if needed else None


def power(
    shares: Mapping[str, float],
    *,
    control: str,
    baseline: float | None = None,
    sd: float | None = None,
    kind: Literal["rate", "mean"] = "rate",
    size: int | None = None,
    effect: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    rho2: float = 0.0,
    deff: float = 1.0,
    comparisons: int | None = None,
) -> Power:
    """Smallest detectable effect at a size, and size needed for an effect, by the closed form.

    ``effect = (z₁₋α/₂ + z_power) · σ · √((1 − ρ²)(1/n₁ + 1/n₀)) · √deff``

    A rate has another spread once it has moved, so for rates each arm enters with its own σ: that of the baseline for
    the control, that of baseline plus effect for the arm.

    Parameters
    ----------
    shares
        Arm → designed share, adding up to 1.
    control
        The arm to compare with.
    baseline
        Mean of the metric without treatment; needed for a rate, whose standard deviation follows from it.
    sd
        Standard deviation of a member's value; needed for a mean.
    size
        Members in the whole experiment; gives the smallest detectable effect.
    effect
        True difference to be seen, in the metric's unit; gives the size needed.
    rho2
        Share of the variance that covariates explain.
    deff
        Design effect, ``1 + (m − 1) · ICC`` for clusters of m members.
    comparisons
        Size of the family; default one an arm.

    Returns
    -------
    Power

    Raises
    ------
    DesignError
        Listing what is missing or out of range.

    Examples
    --------
    >>> plan = power({"control": 0.5, "gift": 0.5}, control="control", baseline=0.10, effect=0.02)
    >>> plan.arms[0].needed_arm
    3839
    """
    _check(shares, control, baseline, sd, kind, size, effect, alpha, power, rho2, deff, comparisons)
    if sd is None:
        sd = _rate_sd(baseline or 0.0)
    treated = [arm for arm, share in shares.items() if arm != control and share > 0]
    family = comparisons or len(treated)
    z = float(ndtri(1 - alpha / family / 2) + ndtri(power))
    factor = z * math.sqrt((1 - rho2) * deff)

    def spread(arm: str, moved: float) -> float:
        """Standard error of the difference, times √members in all, when the arm moves the metric by so much."""
        other = sd if kind == "mean" or baseline is None else _rate_sd(baseline + moved)
        return math.sqrt(other**2 / shares[arm] + sd**2 / shares[control])

    rows = []
    for arm in treated:
        row: dict[str, Any] = {"arm": arm, "share": shares[arm]}
        if size is not None:
            smallest = 0.0
            for _ in range(60):  # a contraction: the spread of a rate moves far less than the rate
                smallest = factor * spread(arm, smallest) / math.sqrt(size)
            row.update(n_control=round(size * shares[control]), n_arm=round(size * shares[arm]))
            if kind == "mean" or baseline is None or baseline + smallest < 1:  # else no effect is large enough
                row.update(smallest_effect=smallest, smallest_relative=smallest / baseline if baseline else None)
        if effect is not None:
            total = (factor * spread(arm, effect) / effect) ** 2
            if total > MOST_MEMBERS:
                raise DesignError(f"an effect of {effect:g} would need more than {MOST_MEMBERS:,} members")
            row.update(needed_control=math.ceil(total * shares[control] - 1e-9))
            row.update(needed_arm=math.ceil(total * shares[arm] - 1e-9), needed_total=math.ceil(total - 1e-9))
        rows.append(ArmPower(**row))
    return Power(
        tuple(rows), control, dict(shares), alpha, power, family, sd, baseline, kind, rho2, deff, size, effect
    )  # fmt: skip


def _rate_sd(rate: float) -> float:
    return math.sqrt(max(rate * (1 - rate), 0.0))


def _check(
    shares: Mapping[str, float],
    control: str,
    baseline: float | None,
    sd: float | None,
    kind: str,
    size: int | None,
    effect: float | None,
    alpha: float,
    wanted: float,
    rho2: float,
    deff: float,
    comparisons: int | None,
) -> None:
    problems = []
    if control not in shares:
        problems.append(f"the control {control!r} has no share: {did_you_mean(control, shares)}")
    elif not shares[control] > 0:
        problems.append(f"the control {control!r} has share {shares[control]} → an effect needs members without it")
    if any(not (math.isfinite(share) and 0 <= share <= 1) for share in shares.values()):
        problems.append("a share lies between 0 and 1")
    elif abs(math.fsum(shares.values()) - 1) > 1e-6:
        problems.append(f"the shares add up to {math.fsum(shares.values()):.6g}, not to 1")
    elif not any(share > 0 for arm, share in shares.items() if arm != control):
        problems.append("no arm but the control has a share")
    if kind == "rate":
        if baseline is None or not 0 < baseline < 1:
            problems.append(f"baseline={baseline} → a rate needs its level without treatment, between 0 and 1")
        elif effect is not None and not 0 < baseline + effect < 1:
            problems.append(f"effect={effect} → a rate of {baseline + effect:g} would not lie between 0 and 1")
    elif sd is None or not (math.isfinite(sd) and sd > 0):
        problems.append(f"sd={sd} → a mean needs the standard deviation of a member's value, above 0")
    if size is None and effect is None:
        problems.append("neither size nor effect is given → give one, and the other follows")
    if size is not None and size < 2:
        problems.append(f"size={size} → members in the whole experiment, at least 2")
    if effect is not None and (effect == 0 or not math.isfinite(effect)):
        problems.append(f"effect={effect} → the difference to be seen, not 0")
    for name, value, low, high in (("alpha", alpha, 0, 0.5), ("power", wanted, 0, 1)):
        if not low < value < high:
            problems.append(f"{name}={value} → a number between {low} and {high}")
    if not 0 <= rho2 < 1:
        problems.append(f"rho2={rho2} → a share of variance, at least 0 and below 1")
    if not (math.isfinite(deff) and deff >= 1):
        problems.append(f"deff={deff} → a design effect is at least 1")
    if comparisons is not None and comparisons < 1:
        problems.append(f"comparisons={comparisons} → at least 1")
    if problems:
        raise DesignError("; ".join(problems))


@dataclass(frozen=True)
class SimulatedPower(Rendered):
    """Power found by running the experiment many times.

    Attributes
    ----------
    power
        Arm → share of the repeats in which its effect was seen.
    se
        Arm → Monte-Carlo standard error.
    repeats, effect, size
        What was simulated.
    """

    power: Mapping[str, float]
    se: Mapping[str, float]
    repeats: int
    effect: float
    size: int


def simulate_power(
    design: Power,
    *,
    effect: float | None = None,
    size: int | None = None,
    outcome: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    repeats: int = 500,
    seed: int = 0,
) -> SimulatedPower:
    """Run the experiment ``repeats`` times on made members, or on past ones, and count how often the effect is seen.

    Parameters
    ----------
    design
        From :func:`power`.
    effect, size
        Default: the design's.
    outcome : array of shape (n_members,), optional
        Past values of the metric; members are drawn from them with replacement, and an arm multiplies values (a rate:
        turns some zeros into ones, or ones into zeros) so that their mean moves by ``effect``. None: a normal or 0/1
        metric with the design's mean, spread and share explained by one covariate.
    covariates : array of shape (n_members, n_covariates), optional
        Of the same members.
    clusters : array of shape (n_members,), optional
        Cluster of the same members. Whole clusters are then drawn with replacement until there are ``size`` members,
        dealt out to the arms by their shares, and tested with clustered errors.
    repeats, seed
        Of the simulation.

    Raises
    ------
    DesignError
        Without an effect or a size, or when past values cannot move by the effect.
    """
    effect = design.effect if effect is None else effect
    size = design.size or design.needed_total if size is None else size
    if effect is None or size is None:
        raise DesignError("simulating power needs an effect and a size")
    rng = np.random.default_rng(seed)
    names = [design.control, *(arm.arm for arm in design.arms)]
    shares = np.array([design.shares[name] for name in names])
    if clusters is not None and outcome is None:
        raise DesignError("clusters are drawn from past members, so simulating them needs their outcome")
    threshold = design.alpha / design.comparisons
    seen = np.zeros(len(names) - 1)
    for _ in range(repeats):
        group: Ints | None = None
        if outcome is None:
            base, x = _made(design, size, rng)
        elif clusters is not None:
            base, x, group = _drawn_clusters(outcome, covariates, clusters, size, rng)
        else:
            base, x = _drawn(outcome, covariates, size, rng)
        if group is None:
            arm = rng.choice(len(names), size, p=shares / shares.sum())
        else:
            arm = _dealt(shares / shares.sum(), int(group.max()) + 1, rng)[group]
        y = _moved(base, arm > 0, effect, design, rng)
        means = ArmRegression(x, arm, len(names), group).estimate(y)
        seen += [means.difference(place, 0).p_value < threshold for place in range(1, len(names))]
    share = seen / repeats
    error = np.sqrt(share * (1 - share) / repeats)
    treated = names[1:]
    return SimulatedPower(
        dict(zip(treated, share.tolist(), strict=True)), dict(zip(treated, error.tolist(), strict=True)),
        repeats, effect, size,
    )  # fmt: skip


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _drawn_clusters(
    outcome: ArrayLike, covariates: ArrayLike | None, clusters: ArrayLike, size: int, rng: np.random.Generator
) -> tuple[Floats, Floats | None, Ints]:
    """Whole clusters drawn with replacement until they hold ``size`` members; each draw is a cluster of its own."""
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    draws = rng.integers(0, len(counts), max(4, int(2 * size / counts.mean()) + 4))
    enough = min(int(np.searchsorted(np.cumsum(counts[draws]), size)) + 1, len(draws))
    chosen = draws[: max(enough, 4)]
    rows = np.concatenate([order[starts[c] : starts[c] + counts[c]] for c in chosen])
    y = np.asarray(outcome, dtype=np.float64)[rows]
    x = None if covariates is None else np.asarray(covariates, dtype=np.float64)[rows]
    return y, x, np.repeat(np.arange(len(chosen)), counts[chosen])


def _dealt(shares: Floats, count: int, rng: np.random.Generator) -> Ints:
    """Arms of clusters: as many of each as its share, in random order."""
    place = (rng.permutation(count) + rng.random()) / count
    return np.minimum(np.searchsorted(np.cumsum(shares), place % 1.0, side="right"), len(shares) - 1).astype(np.int64)


def _made(design: Power, size: int, rng: np.random.Generator) -> tuple[Floats, Floats | None]:
    rho2 = design.rho2
    if design.kind == "rate" and design.baseline is not None:
        if rho2 == 0:
            return (rng.random(size) < design.baseline).astype(np.float64), None
        concentration = 1 / rho2 - 1  # a beta-distributed chance has variance ρ² p (1 − p)
        chance = rng.beta(design.baseline * concentration, (1 - design.baseline) * concentration, size)
        return (rng.random(size) < chance).astype(np.float64), chance[:, None]
    x = rng.standard_normal(size)
    noise = rng.standard_normal(size)
    y = (design.baseline or 0.0) + design.sd * (math.sqrt(rho2) * x + math.sqrt(1 - rho2) * noise)
    return y, x[:, None] if rho2 else None


def _drawn(
    outcome: ArrayLike, covariates: ArrayLike | None, size: int, rng: np.random.Generator
) -> tuple[Floats, Floats | None]:
    y = np.asarray(outcome, dtype=np.float64)
    rows = rng.integers(0, len(y), size)
    return y[rows], None if covariates is None else np.asarray(covariates, dtype=np.float64)[rows]


def _moved(base: Floats, treated: NDArray[np.bool_], effect: float, design: Power, rng: np.random.Generator) -> Floats:
    mean = design.baseline
    if design.kind == "rate" and mean is not None:
        turned = rng.random(len(base)) < (effect / (1 - mean) if effect > 0 else -effect / mean)
        new = np.maximum(base, turned) if effect > 0 else np.minimum(base, ~turned)
        return np.where(treated, new, base)
    if mean is not None and mean > 0 and (base >= 0).all():
        return np.where(treated, base * (1 + effect / mean), base)
    return np.where(treated, base + effect, base)


def explained_variance(outcome: ArrayLike, covariates: ArrayLike) -> float:
    """Share of an outcome's variance that a regression on covariates explains (adjusted R², at least 0).

    Parameters
    ----------
    outcome : array of shape (n_members,)
    covariates : array of shape (n_members, n_covariates)
    """
    y = np.asarray(outcome, dtype=np.float64)
    x = np.asarray(covariates, dtype=np.float64)
    fitted = ArmRegression(x, np.zeros(len(y), dtype=np.int64), 1)
    free = len(y) - 1 - len(fitted.kept)
    total = float(((y - y.mean()) ** 2).sum())
    if total <= 0 or free <= 0:
        return 0.0
    return max(0.0, 1 - float((fitted.residuals(y) ** 2).sum()) / free / (total / (len(y) - 1)))


@dataclass(frozen=True)
class DesignEffect(Rendered):
    """What assigning whole clusters costs.

    Attributes
    ----------
    icc
        Share of the variance that lies between clusters, after covariates; at least 0.
    deff
        Factor by which the variance of a difference grows, ``1 + (m̄ − 1) · ICC`` with the size-weighted mean m̄.
    clusters, mean_size
        How many there are, and m̄.
    """

    icc: float
    deff: float
    clusters: int
    mean_size: float


def design_effect(outcome: ArrayLike, clusters: ArrayLike, covariates: ArrayLike | None = None) -> DesignEffect:
    """Design effect of clusters from past members, by the analysis of variance of what covariates leave.

    Parameters
    ----------
    outcome : array of shape (n_members,)
    clusters : array of shape (n_members,)
        Which cluster each member belongs to.
    covariates : array of shape (n_members, n_covariates), optional

    Raises
    ------
    DesignError
        With fewer than two clusters, or none of more than one member.

    References
    ----------
    A. Donner, N. Klar (2000), *Design and Analysis of Cluster Randomization Trials*; S. M. Kerry, J. M. Bland (2001),
    *Statistics in Medicine* 20(3) for unequal sizes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> store = np.repeat(np.arange(100), 50)
    >>> found = design_effect(rng.normal(size=100)[store] * 0.3 + rng.normal(size=5000), store)
    >>> 0.05 < found.icc < 0.12, round(found.mean_size)
    (True, 50)
    """
    y = np.asarray(outcome, dtype=np.float64)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)
    if covariates is not None:
        x = np.asarray(covariates, dtype=np.float64)
        y = ArmRegression(x, np.zeros(len(y), dtype=np.int64), 1).residuals(y)
    counts = np.bincount(codes).astype(np.float64)
    k, n = len(counts), len(y)
    if k < 2 or n <= k:
        raise DesignError(f"{k} clusters of {n} members in all → a design effect needs at least 2, some of them larger")
    means = np.bincount(codes, weights=y) / counts
    within = float(((y - means[codes]) ** 2).sum()) / (n - k)
    between = float((counts * (means - y.mean()) ** 2).sum()) / (k - 1)
    typical = (n - float((counts**2).sum()) / n) / (k - 1)
    spread = max(0.0, (between - within) / typical)
    icc = spread / (spread + within) if spread + within > 0 else 0.0
    mean_size = float((counts**2).sum()) / n
    return DesignEffect(icc, 1 + (mean_size - 1) * icc, k, mean_size)


def linearised_ratio(numerator: ArrayLike, denominator: ArrayLike) -> tuple[Floats, float]:
    """A ratio of sums as one value a member whose mean is the ratio and whose spread is its own (delta method).

    Returns
    -------
    tuple
        Values ``(n_members,)`` ``R + (N − R·D) / D̄``, and R.

    Raises
    ------
    DesignError
        If the denominator is zero for everybody.
    """
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if not bottom.mean() > 0:
        raise DesignError("the denominator of a ratio is zero for everybody")
    ratio = float(top.mean() / bottom.mean())
    return ratio + (top - ratio * bottom) / bottom.mean(), ratio
