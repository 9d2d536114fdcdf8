"""Further sections of an experiment's page: what lasts, novelty, tags, funnel, participation, other experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from uplift.reports._charts import Line, Lines
from uplift.reports._words import NOTHING, Language, amount, integer, p_value, percent, span, word

Block = dict[str, Any]
Name = Callable[[str], str]
MONEY = frozenset({"spend", "margin", "top_up"})
LEVEL = 0.05


def summarize_sections(result: Mapping[str, Any], language: Language, name: Name) -> list[Block]:
    """One block a section that has something to say: title, note, chart, and a table.

    Parameters
    ----------
    name
        What people call an arm or a metric.
    """
    makers = (_curves, _long_term, _projection, _novelty, _tags, _funnel, _participation, _overlap)
    blocks = (maker(result, language, name) for maker in makers)
    return [block for block in blocks if block is not None]


def _block(key: str, language: Language, head: Sequence[str], rows: Sequence[Sequence[str]], **more: Any) -> Block:
    return {
        "title": word(key, language), "note": more.get("note", ""), "chart": more.get("chart"),
        "head": [word(column, language) for column in head], "rows": [list(row) for row in rows],
    }  # fmt: skip


def _unit(outcome: str) -> str:
    return "money" if outcome in MONEY else "share" if outcome == "renewed" else "number"


def _outcome(outcome: str, language: Language) -> str:
    return word(f"outcome_{outcome}", language)


def _gap(row: Mapping[str, Any] | None, unit: str, currency: str, language: Language) -> tuple[str, str]:
    if row is None or row["effect"] is None:
        return word("suppressed", language), NOTHING
    effect = amount(row["effect"], unit, currency, language, difference=True)
    return effect, span(row["low"], row["high"], unit, currency, language)


def _curves(result: Mapping[str, Any], language: Language, name: Name) -> Block | None:
    """Cumulative spend of treated and held-out members."""
    curves = [
        c for c in result.get("long_term", {}).get("curves", ()) if c["outcome"] == "spend" and c["mean"] is not None
    ]
    lines = []
    for arm in dict.fromkeys(c["arm"] for c in curves):
        points = tuple((float(c["days"]), float(c["mean"])) for c in curves if c["arm"] == arm)
        lines.append(Line(name(arm), points))
    if not lines:
        return None
    vertical = f"{_outcome('spend', language)} ({result.get('currency') or ''})"
    return _block("curves", language, (), (), chart=Lines(word("days_after", language), vertical, tuple(lines)))


def _long_term(result: Mapping[str, Any], language: Language, name: Name) -> Block | None:
    told = result.get("long_term", {})
    currency = result.get("currency") or ""
    rows = []
    for row in [*told.get("effects", ()), *told.get("holdout", ())]:
        effect, interval = _gap(row, _unit(row["outcome"]), currency, language)
        against = word("holdout", language) if row["against"] == "holdout" else name(row["against"])
        rows.append(
            (_outcome(row["outcome"], language), integer(row["days"]), name(row["arm"]), against, effect, interval)
        )
    waiting = [days for days, done in told.get("complete", {}).items() if not done]
    note = word("long_term_note", language)
    if waiting:
        ready = "、".join(str(told["ready"][days])[:10] for days in waiting)
        note += " " + word("long_term_waiting", language, days="、".join(waiting), ready=ready)
    head = ("outcome", "days", "arm", "against", "effect", "interval")
    return _block("long_term", language, head, rows, note=note) if rows else None


def _projection(result: Mapping[str, Any], language: Language, name: Name) -> Block | None:
    currency = result.get("currency") or ""
    rows = []
    for row in result.get("long_term", {}).get("projection", ()):
        effect, interval = _gap(row, "money", currency, language)
        key = (
            "not_compared" if row["exposed"] is None else "projection_wrong" if row["exposed"] else "projection_agrees"
        )
        rows.append(
            (
                word("projection", language),
                name(row["arm"]),
                integer(row["days"]),
                effect,
                interval,
                word(key, language),
            )
        )
    head = ("label", "arm", "days", "effect", "interval", "compared")
    return _block("projections", language, head, rows, note=word("projection_note", language)) if rows else None


def _novelty(result: Mapping[str, Any], language: Language, name: Name) -> Block | None:
    rows = []
    for row in result.get("novelty", ()):
        effect, interval = _gap(row["trend"], "number", "", language)
        certain = row["p_adjusted"] is not None and row["p_adjusted"] < LEVEL
        key = "trend_none" if not certain else "trend_fades" if row["trend"]["effect"] < 0 else "trend_grows"
        rows.append((name(row["arm"]), effect, interval, p_value(row["p_adjusted"]), word(key, language)))
    head = ("arm", "trend", "interval", "p_adjusted", "reading")
    return _block("novelty", language, head, rows, note=word("novelty_note", language)) if rows else None


def _tags(result: Mapping[str, Any], language: Language, name: Name) -> Block | None:
    primary: Mapping[str, Any] = next((m for m in result.get("metrics", ()) if m.get("role") == "primary"), {})
    unit = "share" if primary.get("kind") in ("rate", "retention") else primary.get("unit") or "number"
    currency = primary.get("currency") or ""
    rows = []
    for row in result.get("tags", ()):
        effect, interval = _gap(row["gap"], unit, currency, language)
        tagged, _ = _gap(row["tagged"], unit, currency, language)
        others, _ = _gap(row["others"], unit, currency, language)
        times = word("not_given", language) if row["times"] is None else f"{row['times']:.2f} ×"
        rows.append(
            (row[language], name(row["arm"]), tagged, others, effect, interval, times, p_value(row["p_adjusted"]))
        )
    head = ("tag", "arm", "tagged", "others", "gap", "interval", "times", "p_adjusted")
    return _block("tags", language, head, rows, note=word("tags_note", language)) if rows else None


def _funnel(result: Mapping[str, Any], language: Language, name: Name) -> Block | None:
    stages = ("sent", "opened", "clicked", "redeemed")
    rows = []
    for row in result.get("funnel", ()):
        found = {stage["stage"]: stage for stage in row["stages"]}
        sent = integer(found["sent"]["members"])
        how = " · ".join(part for part in (row["channel"], row["form"]) if part) or word("all", language)
        rows.append((name(row["arm"]), how, sent, *(_rate(found[stage], language) for stage in stages[1:])))
    head = ("arm", "channel", "sent", "opened", "clicked", "redeemed")
    return _block("funnel", language, head, rows, note=word("funnel_note", language)) if rows else None


def _rate(stage: Mapping[str, Any], language: Language) -> str:
    if stage["share"] is None:
        return word("suppressed", language)
    joint = " 至 " if language == "zh" else " to "
    return f"{percent(stage['share'])} ({percent(stage['low'])}{joint}{percent(stage['high'])})"


def _participation(result: Mapping[str, Any], language: Language, name: Name) -> Block | None:
    labels = result["design"].get("labels", {})
    rows = []
    for row in result.get("participation", ()):
        called = labels.get(row["segment_column"], {}).get("values", {}).get(row["segment"], {})
        rate = _rate({**row, "share": row["rate"]}, language) if row["rate"] is not None else NOTHING
        share, usual = percent(row["share_of_participants"]), percent(row["share_of_sent"])
        rows.append((str(called.get(language) or row["segment"]), integer(row["participants"]), rate, share, usual))
    head = ("segment", "participants", "participation_rate", "share_of_participants", "share_of_sent")
    return _block("participation", language, head, rows) if rows else None


def _overlap(result: Mapping[str, Any], language: Language, name: Name) -> Block | None:
    rows = []
    for row in result.get("overlap", ()):
        adjusted, independent = row["p_adjusted"], row["p_independent"]
        disturbed = adjusted is not None and adjusted < LEVEL
        tied = independent is not None and independent < 0.001
        key = "overlap_tied" if tied else "overlap_disturbed" if disturbed else "overlap_fine"
        rows.append(
            (row["experiment"], integer(row["members"]), percent(row["share"]), p_value(independent), p_value(adjusted),
             word(key, language))
        )  # fmt: skip
    head = ("experiment", "members_shared", "share", "p_independent", "p_interaction", "reading")
    return _block("overlap", language, head, rows, note=word("overlap_note", language)) if rows else None
