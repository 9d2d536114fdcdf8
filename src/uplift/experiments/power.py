"""How many members an experiment needs, and how small an effect it can see, by formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from scipy.special import ndtri

from uplift.errors import DesignError, did_you_mean
from uplift.experiments._few_clusters import freedom, separation
from uplift.results import Rendered

MOST_MEMBERS = 10**12
GREATEST = 1e100


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
    deff, cluster_size
        Design effect of clusters, and members of one on average; None: members are assigned one by one.
    size, effect
        What was asked.
    variation
        Squared coefficient of variation of the clusters' weights.
    proportional
        Whether an arm multiplies a member's value, so that a mean's spread moves with it.
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
    cluster_size: float | None = None
    variation: float = 0.0
    proportional: bool = False

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
    cluster_size: float | None = None,
    variation: float = 0.0,
    proportional: bool = False,
    comparisons: int | None = None,
) -> Power:
    """Smallest detectable effect at a size, and size needed for an effect, by the closed form.

    ``effect = (z₁₋α/₂ + z_power) · σ · √((1 − ρ²)(1/n₁ + 1/n₀)) · √deff``

    With clusters the quantiles give way to the distance from which Welch's t-test sees an effect when each arm's
    variance is known from its clusters only: few clusters, or unequal ones, are few observations, however many members
    they have.

    A rate has another spread once it has moved, so for rates each arm enters with its own σ: that of the baseline for
    the control, that of baseline plus effect for the arm. What covariates explain does not grow with it: members whose
    outcome the arm turns are taken to be any of those who could be turned.

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
    cluster_size
        Members of a cluster on average, where clusters are assigned as a whole.
    variation
        Of clusters, as :func:`design_effect` finds it.
    proportional
        Of a mean: an arm multiplies members' values, so that their spread grows with their mean; needs a baseline
        above zero.
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
    _check(shares, control, baseline, sd, kind, size, effect, alpha, power, rho2, deff, cluster_size, comparisons)
    _check_more(kind, baseline, variation, proportional)
    if sd is None:
        sd = _rate_sd(baseline or 0.0)
    treated = [arm for arm, share in shares.items() if arm != control and share > 0]
    family = comparisons or len(treated)
    need = _Need(
        shares, control, kind, sd, baseline, 1 - alpha / family / 2, power, rho2, deff, cluster_size, variation,
        proportional,
    )  # fmt: skip
    rows = []
    for arm in treated:
        row: dict[str, Any] = {"arm": arm, "share": shares[arm]}
        if size is not None:
            smallest = need.effect(arm, size)
            row.update(n_control=round(size * shares[control]), n_arm=round(size * shares[arm]))
            if smallest is not None and (kind == "mean" or baseline is None or baseline + smallest < 1):
                row.update(smallest_effect=smallest, smallest_relative=smallest / baseline if baseline else None)
        if effect is not None:
            total = need.size(arm, effect)
            if total is None or total > MOST_MEMBERS:
                raise DesignError(f"an effect of {effect:g} would need more than {MOST_MEMBERS:,} members")
            row.update(needed_control=math.ceil(total * shares[control] - 1e-9))
            row.update(needed_arm=math.ceil(total * shares[arm] - 1e-9), needed_total=math.ceil(total - 1e-9))
        rows.append(ArmPower(**row))
    return Power(
        tuple(rows), control, dict(shares), alpha, power, family, sd, baseline, kind, rho2, deff, size, effect,
        cluster_size, variation, proportional,
    )  # fmt: skip


class _Need(NamedTuple):
    """What an effect takes to be seen; fields as of :func:`power`, ``tail`` one minus the error on one side."""

    shares: Mapping[str, float]
    control: str
    kind: str
    sd: float
    baseline: float | None
    tail: float
    power: float
    rho2: float
    deff: float
    cluster_size: float | None
    variation: float
    proportional: bool

    def effect(self, arm: str, size: float) -> float | None:
        """Smallest effect seen with so many members; None where an arm's own spread outgrows every effect."""
        apart = self._apart(arm, size) / math.sqrt(size)
        return _settled(lambda found: apart * self._spread(arm, found), 0.0)

    def size(self, arm: str, effect: float) -> float | None:
        """Members in all for an effect; None where no number is enough."""
        spread = self._spread(arm, effect) / effect
        return _settled(lambda found: (self._apart(arm, found) * spread) ** 2, MOST_MEMBERS)

    def _apart(self, arm: str, size: float) -> float:
        """Standard errors between no effect and one that is seen with the wanted chance."""
        if self.cluster_size is None:
            return float(ndtri(self.tail) + ndtri(self.power))
        given, held = self.shares[arm], self.shares[self.control]
        own, other = (freedom(size * share / self.cluster_size, self.variation) for share in (given, held))
        return separation(self.tail, self.power, own, other, held / (given + held))

    def _spread(self, arm: str, moved: float) -> float:
        """Standard error of the difference, times √members in all, when the arm moves the metric by so much."""
        left = (1 - self.rho2) * self.sd**2
        other = left
        if self.kind == "rate" and self.baseline is not None:
            turned = moved / (1 - self.baseline) if moved > 0 else -moved / self.baseline
            other = _rate_sd(self.baseline + moved) ** 2 - self.rho2 * ((1 - turned) * self.sd) ** 2
        elif self.proportional and self.baseline:
            other = left * (1 + moved / self.baseline) ** 2
        return math.sqrt((max(other, 0.0) / self.shares[arm] + left / self.shares[self.control]) * self.deff)


def _settled(step: Callable[[float], float], start: float) -> float | None:
    """Where repeating a step leads; None where it grows without end."""
    found = start
    for _ in range(500):
        new = step(found)
        if not math.isfinite(new) or new > GREATEST:
            return None
        if abs(new - found) <= 1e-9 * abs(new):
            return new
        found = new
    return found


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
    cluster_size: float | None,
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
    if cluster_size is not None and not (math.isfinite(cluster_size) and cluster_size >= 1):
        problems.append(f"cluster_size={cluster_size} → members of a cluster on average, at least 1")
    if comparisons is not None and comparisons < 1:
        problems.append(f"comparisons={comparisons} → at least 1")
    if problems:
        raise DesignError("; ".join(problems))


def _check_more(kind: str, baseline: float | None, variation: float, proportional: bool) -> None:
    if not (math.isfinite(variation) and variation >= 0):
        raise DesignError(f"variation={variation} → a squared coefficient of variation, at least 0")
    if proportional and not (kind == "mean" and baseline is not None and baseline > 0):
        raise DesignError(f"proportional needs a mean with a baseline above 0, found kind={kind}, baseline={baseline}")
