"""The chance to see an effect, by running the experiment many times on made members or on past ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uplift.errors import DesignError
from uplift.experiments.estimators import ArmRegression
from uplift.experiments.power import Power
from uplift.results import Rendered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
        Cluster of the same members. As many whole clusters as ``size`` members make on average are then drawn with
        replacement, dealt out to the arms by their shares, and tested with clustered errors.
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


def _drawn_clusters(
    outcome: ArrayLike, covariates: ArrayLike | None, clusters: ArrayLike, size: int, rng: np.random.Generator
) -> tuple[Floats, Floats | None, Ints]:
    """Whole clusters that hold ``size`` members on average, with replacement; each draw is a cluster of its own."""
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    chosen = rng.integers(0, len(counts), max(4, round(size / counts.mean())))
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
