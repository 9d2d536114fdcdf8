"""The definition of an experiment: one reviewable YAML file in ``experiments/``."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from uplift.config._yaml import Share, Spec


class ArmSpec(Spec):
    """One arm: its name in the data, its designed share and the offer it gives (None: nothing)."""

    name: str
    share: Share
    offer_id: str | None = None


class MetricSpec(Spec):
    """One metric: an entry of the outcome catalogue over a window after assignment.

    Attributes
    ----------
    name
        As it stands in results.
    outcome
        Name in ``uplift.features.OUTCOMES``, e.g. ``ordered`` or ``spend``.
    kind
        ``rate`` (0 or 1 a member) or ``mean`` (a number a member).
    window_days
        Length of the window that starts at assignment.
    goal
        Which way is better.
    guardrail
        True when the experiment must not harm it, rather than improve it.
    unit
        ``share``, ``money`` (given in cents, shown in units), ``count`` or ``days``.
    """

    name: str
    outcome: str
    kind: Literal["rate", "mean"] = "rate"
    window_days: int = Field(default=14, ge=1)
    goal: Literal["increase", "decrease"] = "increase"
    guardrail: bool = False
    unit: Literal["share", "money", "count", "days"] = "share"


class ExperimentSpec(Spec):
    """What is tried, on whom, with which shares, and how it is measured.

    Attributes
    ----------
    population
        Rule over features as of ``starts_at``; None is every member.
    stratify
        Features or segments within which assignment is balanced.
    covariates
        Features measured before assignment, used to narrow intervals.
    segments
        Cuts declared before the start: ``segment`` (the lifecycle segment) or any feature.
    planned_size
        Members planned in all; fewer than this and no effect seen is ``too_early``.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: int = Field(default=1, ge=1)
    name_zh: str = ""
    name_en: str = ""
    hypothesis: str = ""
    population: str | None = None
    control: str
    arms: tuple[ArmSpec, ...] = Field(min_length=2)
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    metrics: tuple[MetricSpec, ...] = Field(min_length=1)
    stratify: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    planned_size: int | None = Field(default=None, ge=2)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    salt: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"arm names must differ, found {names}")
        if self.control not in names:
            raise ValueError(f"the control {self.control!r} is not among the arms {names}")
        total = math.fsum(arm.share for arm in self.arms)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of the arms add up to {total:.6g}, not to 1")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Arm → designed share, in the order of definition."""
        return {arm.name: arm.share for arm in self.arms}
