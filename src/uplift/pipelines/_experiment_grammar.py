"""Metrics of a new experiment, from short texts such as ``spend/orders:30`` to entries of its definition."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from uplift.errors import ConfigError, did_you_mean
from uplift.features import OUTCOMES

LESS_IS_BETTER = frozenset({"refunded", "churned", "discount"})
FORMS = "OUTCOME[:DAYS], OUTCOME/OUTCOME[:DAYS] for a ratio, OUTCOME:FROM-TO for a retention, until-OUTCOME[:DAYS]"
_TEXT = re.compile(r"(?P<until>until-)?(?P<outcome>\w+)(?:/(?P<per>\w+))?(?::(?:(?P<start>\d+)-)?(?P<days>\d+))?")


def metrics_of(
    goals: Sequence[str], guardrails: Sequence[str], *, margins: Sequence[str] = (), winsorize: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Entries of a definition: goals, then guardrails, each called by what it is.

    Raises
    ------
    ConfigError
        Listing every text that is none, names no outcome, or a margin or quantile of no metric.

    Examples
    --------
    >>> [m["name"] for m in metrics_of(["ordered:14", "spend/orders", "ordered:15-60"], ["until-ordered:30"])]
    ['ordered', 'spend_per_orders', 'ordered_15_to_60', 'until_ordered']
    """
    problems: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    for guardrail, texts in ((False, goals), (True, guardrails)):
        for text in texts:
            given = _metric(text, problems)
            if given is None:
                continue
            if given["name"] in found:
                given["name"] += f"_{given.get('window_days', 'again')}"
            found[given["name"]] = {**given, "guardrail": guardrail}
    for option, key, pairs in (("--margin", "margin", margins), ("--winsorize", "winsorize", winsorize)):
        for name, number in _numbers(option, pairs, found, problems).items():
            found[name][key] = number
    if problems:
        raise ConfigError("; ".join(problems))
    return list(found.values())


def _metric(text: str, problems: list[str]) -> dict[str, Any] | None:
    parts = _TEXT.fullmatch(text.strip())
    if parts is None:
        problems.append(f"metric {text!r}: expected {FORMS}")
        return None
    until, outcome, per, start, days = parts.group("until", "outcome", "per", "start", "days")
    unknown = [name for name in (outcome, per) if name is not None and name not in OUTCOMES]
    if unknown:
        problems += [f"metric {text!r}: no such outcome {name!r}, {did_you_mean(name, OUTCOMES)}" for name in unknown]
        return None
    known = OUTCOMES[outcome]
    less = outcome in LESS_IS_BETTER
    spec: dict[str, Any] = {"name": outcome, "outcome": outcome, "kind": known.kind, "unit": known.unit}
    if per is not None:
        spec |= {"name": f"{outcome}_per_{per}", "kind": "ratio", "denominator": per}
    elif until:
        spec |= {"name": f"until_{outcome}", "kind": "time", "unit": "days"}
        less = not less  # the sooner the better
    elif start is not None:
        spec |= {"name": f"{outcome}_{start}_to_{days}", "kind": "retention", "from_days": max(int(start) - 1, 0)}
    spec["goal"] = "decrease" if less else "increase"
    if days is not None:
        spec["window_days"] = int(days)
    return spec


def _numbers(option: str, pairs: Sequence[str], metrics: Mapping[str, Any], problems: list[str]) -> dict[str, float]:
    found = {}
    for text in pairs:
        name, equals, value = text.rpartition("=")
        if not equals or name not in metrics:
            problems.append(f"{option} {text!r}: expected METRIC=NUMBER, {did_you_mean(name or text, metrics)}")
            continue
        try:
            found[name] = float(value)
        except ValueError:
            problems.append(f"{option} {text!r}: {value!r} is not a number")
    return found
