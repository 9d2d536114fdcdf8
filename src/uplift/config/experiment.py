"""The definition of an experiment: one reviewable YAML file in ``experiments/``."""

from __future__ import annotations

import math
from datetime import datetime
from itertools import pairwise
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
        ``rate`` (0 or 1 a member) · ``mean`` (a number a member) · ``ratio`` (sum of ``outcome`` over sum of
        ``denominator``, such as spend per order) · ``retention`` (0 or 1: the outcome happens after ``from_days`` and
        within ``window_days``) · ``time`` (days until the outcome first happens, averaged up to ``window_days``;
        members whose window is still open count for as long as they were seen).
    window_days
        End of the window that starts at assignment.
    goal
        Which way is better.
    guardrail
        True when the experiment must not harm it, rather than improve it.
    unit
        ``share``, ``money`` (given in cents, shown in units), ``count`` or ``days``.
    denominator
        Outcome of the catalogue that a ratio is per, e.g. ``orders`` or ``visits``.
    from_days
        Where the window of a retention begins, in days after assignment.
    winsorize
        Quantile, over all arms together, that larger values are cut to, e.g. 0.99; None leaves them.
    margin
        Of a guardrail: the largest harm that can be borne, in the unit of results (0.01 is a point of a rate, money is
        in units). None: any significant harm counts.
    """

    name: str
    outcome: str
    kind: Literal["rate", "mean", "ratio", "retention", "time"] = "rate"
    window_days: int = Field(default=14, ge=1)
    goal: Literal["increase", "decrease"] = "increase"
    guardrail: bool = False
    unit: Literal["share", "money", "count", "days"] = "share"
    denominator: str | None = None
    from_days: int = Field(default=0, ge=0)
    winsorize: float | None = Field(default=None, gt=0.5, lt=1)
    margin: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        where = f"metric {self.name!r}"
        if (self.kind == "ratio") != (self.denominator is not None):
            raise ValueError(f"{where}: a ratio, and only a ratio, has a denominator")
        if (self.kind == "retention") != (self.from_days > 0):
            raise ValueError(f"{where}: a retention, and only a retention, has from_days, where its window begins")
        if self.from_days >= self.window_days:
            raise ValueError(f"{where}: its window would begin on day {self.from_days} and end on {self.window_days}")
        if self.winsorize is not None and self.kind not in ("mean", "ratio"):
            raise ValueError(f"{where}: only a mean or a ratio can be winsorised")
        if self.margin is not None and not self.guardrail:
            raise ValueError(f"{where}: a margin is for a guardrail")
        return self


class LooksSpec(Spec):
    """When results are looked at, fixed before the start, and how the error is spread over the looks.

    Attributes
    ----------
    at
        Shares of ``planned_size``, rising, the last of them 1. ``[1]``: once, at the end.
    spending
        ``obrien-fleming`` (little early, nearly all at the end) or ``pocock`` (nearly evenly).
    """

    at: tuple[Share, ...] = Field(min_length=1)
    spending: Literal["obrien-fleming", "pocock"] = "obrien-fleming"

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not (self.at[0] > 0 and self.at[-1] == 1 and all(a < b for a, b in pairwise(self.at))):
            raise ValueError(f"looks rise from above 0 to 1, such as 0.5, 1; found {list(self.at)}")
        return self


class TagSpec(Spec):
    """Members with a tag, declared before the start, of whom a stronger response is expected.

    Attributes
    ----------
    name
        As it stands in results.
    rule
        Over features as of each member's assignment.
    arms
        Arms that are meant for them; empty: every arm but the control.
    """

    name: str
    rule: str
    arms: tuple[str, ...] = ()
    name_zh: str = ""
    name_en: str = ""


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
    looks
        When results are looked at; None: at any time, by a confidence sequence before the planned size.
    cluster
        Feature whose values are assigned as a whole, such as ``favourite_store``; None: each member by themselves.
    layer, layer_slice
        Experiments of one layer share out its members by slices of [0, 1] and exclude each other where slices do not
        overlap; layers are independent of each other. None: a layer of its own.
    tags
        Tags whose members are compared with all others.
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
    looks: LooksSpec | None = None
    cluster: str | None = None
    layer: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    layer_slice: tuple[Share, Share] = (0.0, 1.0)
    tags: tuple[TagSpec, ...] = ()

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
        if self.looks is not None and self.planned_size is None:
            raise ValueError("looks are shares of planned_size, which is not given")
        low, high = self.layer_slice
        if not low < high:
            raise ValueError(f"layer_slice: expected two rising shares such as [0, 0.5], found [{low:g}, {high:g}]")
        if self.layer is None and (low, high) != (0.0, 1.0):
            raise ValueError("layer_slice without a layer: name the layer that it is a slice of")
        for tag in self.tags:
            for arm in tag.arms:
                if arm not in names or arm == self.control:
                    raise ValueError(f"tag {tag.name!r}: {arm!r} is not an arm to compare with the control")
        for what, given in (("metrics", self.metrics), ("tags", self.tags)):
            called = [one.name for one in given]
            twice = sorted({name for name in called if called.count(name) > 1})
            if twice:
                raise ValueError(f"{what} must differ in their names, found {', '.join(map(repr, twice))} twice")
        if self.starts_at is not None and self.ends_at is not None and _reversed(self.starts_at, self.ends_at):
            raise ValueError(f"it would end ({self.ends_at:%Y-%m-%d}) before it starts ({self.starts_at:%Y-%m-%d})")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Arm → designed share, in the order of definition."""
        return {arm.name: arm.share for arm in self.arms}


def _reversed(start: datetime, end: datetime) -> bool:
    """Whether the end is before the start; a time without a zone is compared by its own clock."""
    if (start.tzinfo is None) != (end.tzinfo is None):
        start, end = start.replace(tzinfo=None), end.replace(tzinfo=None)
    return end < start
