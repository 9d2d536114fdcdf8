"""A result as one language reads it: what things are called, and how each metric's numbers are written."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uplift.reports._numbers import Scale, percent
from uplift.reports._words import Language, word

SHARES = ("rate", "retention")
OTHER = ("(other)", "(missing)")


@dataclass(frozen=True)
class MetricFacts:
    """What a page says of a metric.

    Attributes
    ----------
    role
        ``primary``, ``secondary`` or ``guardrail``.
    about
        Its window, kind and direction, in words.
    margin
        Of a guardrail: the harm that can be borne.
    """

    name: str
    label: str
    kind: str
    scale: Scale
    up: bool
    role: str
    about: tuple[str, ...]
    margin: float | None


@dataclass(frozen=True)
class Reading:
    """A ``result.json`` and the language of the page."""

    result: Mapping[str, Any]
    language: Language

    def word(self, key: str, **values: object) -> str:
        """A text of the page."""
        return word(key, self.language, **values)

    @property
    def _labels(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.result["design"].get("labels", {})
        return found

    def name(self, name: str) -> str:
        """What people call an arm, a metric or a column."""
        return str(self._labels.get(name, {}).get(self.language) or name)

    def column(self, column: str) -> str:
        """A cut's name for people."""
        return self.word("segment") if column == "segment" else self.name(column)

    def value(self, column: str | None, value: str) -> str:
        """A segment's name for people."""
        if value in OTHER:
            return self.word("value_other" if value == "(other)" else "value_missing")
        called = self._labels.get(column or "", {}).get("values", {}).get(value, {})
        return str(called.get(self.language) or value)

    @property
    def alpha(self) -> float:
        """Error that families of tests keep to."""
        return float(self.result["design"].get("alpha") or 0.05)

    @property
    def interval(self) -> str:
        """``95% interval``."""
        return self.word("interval", level=percent(1 - self.alpha, 0))

    @property
    def currency(self) -> str:
        """Of the workspace, or of the first metric in money."""
        given = self.result.get("currency")
        return str(given or next((m["currency"] for m in self.result.get("metrics", ()) if m.get("currency")), ""))

    def scale(self, unit: str) -> Scale:
        """Of numbers that are no metric's."""
        return Scale(unit, self.currency if unit == "money" else "", self.language)

    @functools.cached_property
    def metrics(self) -> dict[str, MetricFacts]:
        """Every metric that has an effect, in the order of the result; roles as declared, else the first decides."""
        described = {m["name"]: m for m in self.result.get("metrics", ())}
        found: dict[str, MetricFacts] = {}
        for name in dict.fromkeys(e["metric"] for e in self.result["effects"]):
            given = described.get(name, {})
            kind = str(given.get("kind") or "mean")
            unit = "share" if kind in SHARES else str(given.get("unit") or "number")
            role = given.get("role")
            if role is None:
                primary = any(facts.role == "primary" for facts in found.values())
                role = "guardrail" if given.get("guardrail") else "secondary" if primary else "primary"
            scale = Scale(unit, str(given.get("currency") or self.currency) if unit == "money" else "", self.language)
            margin = given.get("margin")
            found[name] = MetricFacts(
                name, self.name(name), kind, scale, given.get("goal", "increase") == "increase", str(role),
                tuple(self._about(given, kind)), None if margin is None else float(margin),
            )  # fmt: skip
        return found

    def _about(self, given: Mapping[str, Any], kind: str) -> list[str]:
        said = []
        if given.get("window_days") and kind == "time":
            said.append(self.word("about_time", days=given["window_days"]))
        elif given.get("window_days") and kind == "retention":
            said.append(self.word("about_retention", start=given.get("from_days", 0) + 1, days=given["window_days"]))
        elif given.get("window_days"):
            said.append(self.word("about_window", days=given["window_days"]))
        if kind == "ratio":
            said.append(self.word("about_ratio"))
        if given.get("winsorize"):
            said.append(self.word("about_winsorised", share=percent(1 - given["winsorize"])))
        if given.get("goal") == "decrease":
            said.append(self.word("about_less"))
        return said
