"""What an analysis is asked for, checked against the columns there are; every mistake is listed at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.errors import DesignError, did_you_mean
from uplift.experiments._encoding import labels
from uplift.experiments._metric import Metric
from uplift.experiments._outcomes import Missing

MAX_SEGMENTS = 50
FEWEST_CELL = 5


@dataclass(frozen=True)
class Request:
    """Columns and options of an analysis, whatever reads the table; see :func:`uplift.experiments.analyze`."""

    arm: str
    control: Any
    metrics: tuple[str, ...]
    specs: Mapping[str, Metric] = field(default_factory=dict)
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    weights: Mapping[Any, float] | None = None
    cluster: str | None = None
    strata: tuple[str, ...] = ()
    unit: str | None = None
    exposed: str | None = None
    followed: str | None = None
    assigned_at: str | None = None
    happened_at: Mapping[str, str] = field(default_factory=dict)
    missing: Missing = "refuse"
    min_cell: int = 11

    def metric(self, name: str) -> Metric:
        """As declared, or what the column of that name holds."""
        return self.specs.get(name, Metric(name))

    @property
    def known_before(self) -> tuple[str, ...]:
        """Strata and covariates, each once."""
        return tuple(dict.fromkeys((*self.strata, *self.covariates)))

    @property
    def used(self) -> list[str]:
        """Every column read, each once."""
        single = (self.cluster, self.unit, self.exposed, self.followed, self.assigned_at)
        names = [self.arm]
        for name in self.metrics:
            names += self.metric(name).needs
        names += [*self.covariates, *self.segments, *self.strata, *(name for name in single if name is not None)]
        return list(dict.fromkeys([*names, *self.happened_at.values()]))

    def check(self, columns: Sequence[str], rows: int) -> None:
        """Refuse what cannot be asked of a table with these columns.

        Raises
        ------
        DesignError
            Listing everything that is wrong.
        """
        problems = [problem for name in self.metrics for problem in self.metric(name).problems()]
        if not self.metrics:
            problems.append("no metric is named → name at least one outcome column")
        if self.missing not in ("refuse", "zero", "drop"):
            problems.append(
                f"missing={self.missing!r} → use 'refuse', 'zero' (nothing happened) or 'drop' (was not observed)"
            )
        if self.min_cell < FEWEST_CELL:
            problems.append(
                f"min_cell={self.min_cell} would show groups in which members can be recognised → at least "
                f"{FEWEST_CELL}"
            )
        for name in self.happened_at:
            if name not in self.metrics:
                problems.append(
                    f"a time is given for {name!r}, which is not a metric: {did_you_mean(name, self.metrics)}"
                )
        if self.happened_at and self.assigned_at is None:
            problems.append("times of outcomes can be checked only beside the column of the assignment's time")
        problems += self._clashes(columns)
        if not problems and not rows:
            problems.append("the table has no rows, so there is nothing to analyse")
        refuse(problems)

    def _clashes(self, columns: Sequence[str]) -> list[str]:
        """Names that are absent, repeated, or asked to be two things at once."""
        problems: list[str] = []
        roles: dict[str, list[str]] = {}
        made_of = [column for name in self.metrics for column in self.metric(name).needs]
        named = [
            ("arm", [self.arm]), ("metric", made_of), ("covariate", self.covariates), ("segment", self.segments),
            ("stratum", self.strata),
        ]  # fmt: skip
        for role, names in named:
            for name in names:
                roles.setdefault(name, []).append(role)
            given = self.metrics if role == "metric" else names
            problems += [
                f"{role} {name!r} is named twice" for name in sorted(set(given)) if list(given).count(name) > 1
            ]
        single = [
            ("cluster", self.cluster), ("unit", self.unit), ("exposure", self.exposed),
            ("days followed", self.followed), ("time of assignment", self.assigned_at),
            *((f"time of {metric}", column) for metric, column in self.happened_at.items()),
        ]  # fmt: skip
        for role, column in single:
            if column is not None:
                roles.setdefault(column, []).append(role)
        repeated = {name for name in columns if list(columns).count(name) > 1}
        for name in roles:
            if name in repeated:
                problems.append(f"the table has more than one column {name!r} → rename one")
            if name not in columns:
                problems.append(f"no column {name!r} for the {roles[name][0]}: {did_you_mean(name, columns)}")
        for name, given in roles.items():
            problems += _clash(name, given)
        return problems


def _clash(name: str, given: Sequence[str]) -> list[str]:
    clash = set(given)
    problems = []
    before = [role for role in given if role in ("covariate", "segment", "stratum")]
    if "metric" in clash and before:
        problems.append(
            f"{name!r} is both metric and {before[0]} → an outcome happens after assignment, so it can be neither "
            "covariate nor segment; give its value from before assignment instead"
        )
    if "exposure" in clash and before:
        problems.append(
            f"{name!r} is both exposure and {before[0]} → who was reached is known only after assignment, so it can be "
            "neither covariate nor segment"
        )
    if "arm" in clash and len(clash) > 1:
        problems.append(f"{name!r} holds the arms, so it cannot also be {' and '.join(sorted(clash - {'arm'}))}")
    return problems


def refuse(problems: Sequence[str]) -> None:
    """Raise :class:`DesignError` with everything that is wrong, if anything is."""
    if len(problems) == 1:
        raise DesignError(problems[0])
    if problems:
        raise DesignError(f"{len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems))


def name_of(value: Any) -> str:
    """A single value as text, as :func:`uplift.experiments._encoding.labels` writes it."""
    return str(labels(pd.Series([value])).iloc[0])


def named_arms(
    present: Collection[str], empty: int, rows: int, request: Request, problems: list[str]
) -> tuple[tuple[str, ...], NDArray[np.float64] | None]:
    """Names of the arms, the control first and then in the order of the design, and their designed shares."""
    column = request.arm
    present = sorted(present)
    if empty:
        problems.append(
            f"{empty:,} of {rows:,} rows have no arm in {column!r} → leave out rows that were never assigned"
        )
    name = name_of(request.control)
    if name not in present:
        problems.append(f"the control {name!r} is not among the arms in {column!r}: {did_you_mean(name, present)}")
    if len(present) == 1 and not empty:
        problems.append(f"one arm only in {column!r} ({present[0]!r}) → an effect needs a control to compare with")
    if len(present) > MAX_SEGMENTS:
        problems.append(f"{column!r} has {len(present):,} different values → is it the column that holds the arms?")
        return (name,), None
    given = None if request.weights is None else {name_of(k): float(v) for k, v in request.weights.items()}
    order = [*(given or {}), *present]
    arms = tuple(dict.fromkeys([name, *(arm for arm in order if arm in present)]))
    return arms, None if given is None else _shares(given, present, column, arms, problems)


def _shares(
    given: Mapping[str, float], present: Sequence[str], column: str, arms: Sequence[str], problems: list[str]
) -> NDArray[np.float64]:
    before = len(problems)
    for arm, share in given.items():
        if not (math.isfinite(share) and 0 <= share <= 1):
            problems.append(f"the share of arm {arm!r} is {share} → a share lies between 0 and 1")
    total = math.fsum(given.values())
    if len(problems) == before and abs(total - 1) > 1e-6:
        problems.append(
            f"the designed shares add up to {total:.6g}, not to 1 → give every arm its share, as fractions where "
            "decimals would round (1/3)"
        )
    for arm in present:
        if arm not in given:
            problems.append(f"arm {arm!r} is in {column!r} but has no designed share: {did_you_mean(arm, given)}")
    for arm, share in given.items():
        if arm not in present and share > 0:
            problems.append(
                f"arm {arm!r} was designed with share {share:.4g} but no row has it in {column!r}: "
                f"{did_you_mean(arm, present)}"
            )
    return np.array([given.get(arm, 0.0) for arm in arms])
