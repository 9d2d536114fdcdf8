"""A metric as it is analysed: what it is made of, which way is better, and what it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from uplift.config import MetricSpec
from uplift.errors import DesignError

Kind = Literal["auto", "rate", "mean", "ratio", "retention", "time"]
Role = Literal["primary", "secondary", "guardrail"]
SHARES = ("rate", "retention")
"""Kinds whose values are 0 and 1, one a member."""


@dataclass(frozen=True)
class Metric:
    """A metric as it is analysed.

    Attributes
    ----------
    kind
        ``auto`` (a rate where every value is 0 or 1, else a mean) · ``rate`` · ``mean`` (a number a row) · ``ratio``
        (sum of ``column`` over sum of ``denominator``, such as money per order) · ``retention`` (0 or 1: active again
        after ``from_days``) · ``time`` (days in ``column`` until something happened, or until the row was last seen;
        restricted mean time up to ``window_days``).
    unit
        ``share``, ``money``, ``count``, ``days``, or None when not known.
    currency
        Of money; amounts are in its units, not cents.
    increase
        Whether more is better.
    guardrail
        Whether it must only not be harmed.
    window_days
        None in a flat table without a declared window; for ``time`` the horizon of the mean.
    column
        Where the values are; None: in the column of the metric's name.
    denominator
        Column of the denominator of a ratio.
    event
        Column of a ``time`` that is 1 where it happened and 0 where the row was last seen without; None: all happened.
    from_days
        Where the window of a retention begins, in days after assignment.
    winsorize
        Quantile, over all arms together, that larger values are cut to; None leaves them.
    margin
        Of a guardrail: the largest harm that can be borne, in the metric's unit (0.01 is a point of a rate). None: any
        significant harm counts.
    """

    name: str
    kind: Kind = "auto"
    unit: str | None = None
    currency: str | None = None
    increase: bool = True
    guardrail: bool = False
    window_days: int | None = None
    outcome: str | None = None
    column: str | None = None
    denominator: str | None = None
    event: str | None = None
    from_days: int = 0
    winsorize: float | None = None
    margin: float | None = None

    @property
    def values_in(self) -> str:
        """Column of the values, the numerator of a ratio."""
        return self.column or self.name

    @property
    def needs(self) -> tuple[str, ...]:
        """Every column that it is made of."""
        return tuple(name for name in (self.values_in, self.denominator, self.event) if name is not None)

    @property
    def is_share(self) -> bool:
        """Whether people read it in percentage points."""
        return self.kind in SHARES

    def problems(self) -> list[str]:
        """What is wrong with the declaration itself."""
        found = []
        if (self.kind == "ratio") != (self.denominator is not None):
            found.append(f"metric {self.name!r}: a ratio, and only a ratio, has a denominator")
        if self.kind != "time" and self.event is not None:
            found.append(f"metric {self.name!r}: only a time has an event")
        if self.kind == "time" and not (self.window_days and self.window_days > 0):
            found.append(f"metric {self.name!r}: a time needs window_days, the horizon up to which it is averaged")
        if self.winsorize is not None and not 0.5 < self.winsorize < 1:
            found.append(f"metric {self.name!r}: winsorize={self.winsorize} → a quantile such as 0.99")
        if self.winsorize is not None and self.kind not in ("auto", "mean", "ratio"):
            found.append(f"metric {self.name!r}: only a mean or a ratio can be winsorised, not a {self.kind}")
        if self.margin is not None and not self.guardrail:
            found.append(f"metric {self.name!r}: a margin is for a guardrail → declare it one, or leave the margin out")
        if self.margin is not None and not self.margin > 0:
            found.append(f"metric {self.name!r}: margin={self.margin} → the largest harm that can be borne, above 0")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "unit": self.unit,
            "currency": self.currency,
            "goal": "increase" if self.increase else "decrease",
            "guardrail": self.guardrail,
            "window_days": self.window_days,
            "outcome": self.outcome,
            "denominator": self.denominator,
            "from_days": self.from_days,
            "winsorize": self.winsorize,
            "margin": self.margin,
        }


def declared(spec: MetricSpec, currency: str | None) -> Metric:
    """A specification as a metric of a flat table: its values are in the column of its name, those of a ratio in the
    columns that it names as outcome and denominator."""
    unit = None if spec.unit == "share" and spec.kind not in SHARES else spec.unit
    return Metric(
        spec.name, spec.kind, unit, currency if unit == "money" else None, spec.goal == "increase", spec.guardrail,
        spec.window_days, spec.outcome, spec.outcome if spec.kind == "ratio" else None, spec.denominator, None,
        spec.from_days, spec.winsorize, spec.margin,
    )  # fmt: skip


def named(metrics: Sequence[str | Metric | MetricSpec], currency: str | None) -> tuple[list[str], dict[str, Metric]]:
    """Names in the order given, and the metrics that were given as more than a name.

    Raises
    ------
    DesignError
        If something is neither a name nor a metric.
    """
    names: list[str] = []
    specs: dict[str, Metric] = {}
    for given in metrics:
        if isinstance(given, str):
            names.append(given)
            continue
        if not isinstance(given, Metric | MetricSpec):
            raise DesignError(f"a metric is the name of a column, a Metric or a MetricSpec; found {given!r:.60}")
        metric = given if isinstance(given, Metric) else declared(given, currency)
        names.append(metric.name)
        specs[metric.name] = metric
    return names, specs


def roles(metrics: Sequence[Metric]) -> dict[str, Role]:
    """What each metric is for: the first that is not a guardrail decides, the other goals stand beside it."""
    found: dict[str, Role] = {}
    for metric in metrics:
        if metric.guardrail:
            found[metric.name] = "guardrail"
        else:
            found[metric.name] = "secondary" if "primary" in found.values() else "primary"
    return found
