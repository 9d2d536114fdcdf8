"""What a page says of effects on everybody: cards of goals and guardrails, those reached, and all the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from uplift.reports._charts import Bar, Forest
from uplift.reports._numbers import NOTHING, Scale, integer, joined, p_value, percent
from uplift.reports._reading import MetricFacts, Reading

Effect = Mapping[str, Any]
Table = dict[str, Any]


def goals(reading: Reading) -> list[dict[str, Any]]:
    """One card a metric that should improve, the decisive one first."""
    chosen = [facts for facts in reading.metrics.values() if facts.role != "guardrail"]
    return [_card(reading, facts) for facts in sorted(chosen, key=lambda facts: facts.role != "primary")]


def guardrails(reading: Reading) -> list[dict[str, Any]]:
    """One card a metric that must not be harmed, with the harm that can be borne and whether it is kept to."""
    return [_card(reading, facts) for facts in reading.metrics.values() if facts.role == "guardrail"]


def _card(reading: Reading, facts: MetricFacts) -> dict[str, Any]:
    effects = [e for e in _whole(reading) if e["metric"] == facts.name]
    given = [e for e in effects if e["effect"] is not None]
    control = next((e["control_mean"] for e in effects if e["control_mean"] is not None), None)
    guardrail = facts.role == "guardrail"
    about = list(facts.about)
    if facts.margin is not None:
        about.append(reading.word("margin", margin=facts.scale.size(facts.margin)))
    return {
        "label": facts.label,
        "role": reading.word(f"role_{facts.role}") if facts.role != "secondary" else "",
        "primary": facts.role == "primary",
        "guardrail": guardrail,
        "about": about,
        "control": "" if control is None else reading.word("control_level", value=facts.scale.level(control)),
        "hidden": "" if given else reading.word("withheld" if _invalid(reading) else "none_shown"),
        "chart": forest(reading, facts, [(reading.name(e["arm"]), e) for e in given]) if given else None,
        "rows": [_row(reading, facts, e) for e in effects] if given else [],
    }


def _row(reading: Reading, facts: MetricFacts, effect: Effect) -> dict[str, str]:
    css, kept, kept_css = sign_class(reading, effect, up=facts.up), "", ""
    if facts.role == "guardrail":
        kept_css, key = _kept(reading, effect, css)
        css, kept = ("flat" if facts.margin is not None else css), reading.word(key)
    shown = effect["effect"] is not None
    return {
        "arm": reading.name(effect["arm"]),
        "effect": facts.scale.change(effect["effect"]) if shown else reading.word("suppressed"),
        "interval": facts.scale.span(effect["low"], effect["high"]),
        "relative": relative(reading, effect) if shown else NOTHING,
        "p_adjusted": p_value(effect["p_adjusted"]),
        "class": css,
        "kept": kept,
        "kept_class": kept_css,
    }


def _kept(reading: Reading, effect: Effect, css: str) -> tuple[str, str]:
    """Colour and reading of a guardrail: with a margin, harm counts beyond it, and harm within it can be proved."""
    if effect["effect"] is None:
        return "flat", "guardrail_unknown"
    if effect.get("margin") is None:
        return css, {"bad": "guardrail_harmed", "good": "guardrail_better"}.get(css, "guardrail_quiet")
    if certain(reading, effect) and effect["p_adjusted"] is not None:
        return "bad", "guardrail_beyond"
    if effect.get("noninferior"):
        return "good", "guardrail_kept"
    return "flat", "guardrail_unproved"


def forest(reading: Reading, facts: MetricFacts, rows: Sequence[tuple[str, Effect]], *, shrunk: bool = False) -> Forest:
    """Effects with their intervals; a guardrail's margin as a line."""
    scale = facts.scale
    axis = f"{facts.label}: {reading.word('effect')}" + (f" ({scale.name})" if scale.name else "")
    bars = []
    for label, effect in rows:
        keys = ("shrunk", "shrunk_low", "shrunk_high") if shrunk and effect["shrunk"] is not None else PLAIN
        value, low, high = (effect[key] for key in keys)
        bars.append(Bar(label, value, low, high, scale.bare(value), shrunk or certain(reading, effect)))
    limit = None
    if facts.role == "guardrail" and facts.margin is not None:
        limit = -facts.margin if facts.up else facts.margin
    return Forest(axis, tuple(bars), scale=scale.factor, good_is_positive=facts.up, limit=limit)


PLAIN = ("effect", "low", "high")


def certain(reading: Reading, effect: Effect) -> bool:
    """Whether an effect stands after all comparisons are counted; colour is for these only, as the verdict is."""
    return effect["p_adjusted"] is None or effect["p_adjusted"] < reading.alpha


def sign_class(reading: Reading, effect: Effect, *, up: bool) -> str:
    """``good``, ``bad`` or ``flat``, by where the interval lies and whether it stands after all comparisons."""
    low, high = effect["low"], effect["high"]
    if not certain(reading, effect) or low is None or high is None or low <= 0 <= high:
        return "flat"
    return "good" if (low > 0) == up else "bad"


def relative(reading: Reading, effect: Effect) -> str:
    """The relative effect with its interval, or that it cannot be stated."""
    if effect["relative"] is None:
        return reading.word("not_given")
    low, high = effect["relative_low"], effect["relative_high"]
    text = _points(effect["relative"])
    if low is not None and high is not None:
        text += f" ({joined(_points(low), _points(high), reading.language)})"
    return text


def _points(value: float) -> str:
    return f"{100 * value:+.1f}%".replace("-", "−")


def _whole(reading: Reading) -> list[Effect]:
    return [e for e in reading.result["effects"] if e["segment_column"] is None]


def _invalid(reading: Reading) -> bool:
    return bool(reading.result["verdict"]["status"] == "invalid")


def reached_rows(reading: Reading) -> Table | None:
    """The effect on those who were reached, where not everybody was; None where that says nothing new."""
    partly = [row for row in reading.result.get("exposed", ()) if row["exposed"] is not None and row["exposed"] < 0.999]
    if not partly:
        return None
    rows = []
    for row in partly:
        scale = reading.metrics[row["metric"]].scale if row["metric"] in reading.metrics else reading.scale("number")
        shown = row["effect"] is not None
        rows.append(
            [
                reading.name(row["arm"]), reading.name(row["metric"]), percent(row["exposed"]),
                scale.change(row["effect"]) if shown else reading.word("not_given"),
                scale.span(row["low"], row["high"]),
            ]
        )  # fmt: skip
    head = [reading.word(key) for key in ("arm", "metric", "share_reached", "effect_reached")]
    return {"head": [*head, reading.interval], "rows": rows}


NUMBERS = (
    "metric", "arm", "segment", "n_arm", "n_control", "control_mean", "arm_mean", "effect", "interval", "raw",
    "relative", "p_value", "p_adjusted",
)  # fmt: skip


def all_numbers(reading: Reading) -> Table:
    """Every effect, of everybody first."""
    effects = sorted(reading.result["effects"], key=lambda e: e["segment_column"] is not None)
    head = [reading.interval if key == "interval" else reading.word(key) for key in NUMBERS]
    return {"head": head, "rows": [_numbers(reading, e) for e in effects]}


def _numbers(reading: Reading, effect: Effect) -> list[tuple[str, str]]:
    """Cells with their colour."""
    facts = reading.metrics[effect["metric"]]
    scale: Scale = facts.scale
    column = effect["segment_column"]
    where = "" if column is None else f"{reading.column(column)}: {reading.value(column, effect['segment'])}"
    hidden = effect["effect"] is None
    withheld = reading.word("withheld_cell" if _invalid(reading) and effect["n_arm"] is not None else "suppressed")
    plain: Iterable[str] = (
        facts.label, reading.name(effect["arm"]), where, integer(effect["n_arm"]), integer(effect["n_control"]),
        scale.level(effect["control_mean"]), scale.level(effect["arm_mean"]),
        withheld if hidden else scale.change(effect["effect"]), scale.span(effect["low"], effect["high"]),
        scale.change(effect["raw"]), "" if hidden else relative(reading, effect), p_value(effect["p_value"]),
        p_value(effect["p_adjusted"]),
    )  # fmt: skip
    css = "flat" if hidden else sign_class(reading, effect, up=facts.up)
    return [(text, css if key == "effect" else "") for key, text in zip(NUMBERS, plain, strict=True)]
