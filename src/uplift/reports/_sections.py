"""Further parts of an experiment's page: who was reached and took part, tags, what lasts, other experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uplift.reports._charts import Bar, Columns, Forest, Line, Lines
from uplift.reports._effects import reached_rows
from uplift.reports._numbers import NOTHING, Scale, integer, joined, p_value, percent
from uplift.reports._reading import Reading
from uplift.reports._words import called

Block = dict[str, Any]
UNITS = {"spend": "money", "margin": "money", "top_up": "money", "renewed": "share"}
STAGES = ("opened", "clicked", "redeemed")


def sections(reading: Reading) -> list[dict[str, Any]]:
    """Groups of blocks that have something to say: a heading and, for each block, title, note, chart and table."""
    groups = {
        "group_reached": (_funnel, _participation, _reached),
        "group_tags": (_tags,),
        "group_lasting": (_curves, _long_term, _projection, _novelty),
        "group_others": (_overlap,),
    }
    found = []
    for key, makers in groups.items():
        blocks = [block for maker in makers if (block := maker(reading)) is not None]
        if len(blocks) == 1:
            found.append({"title": blocks[0]["title"], "blocks": [{**blocks[0], "title": ""}]})
        elif blocks:
            found.append({"title": reading.word(key), "blocks": blocks})
    return found


def _block(
    reading: Reading, key: str, head: Sequence[str] = (), rows: Sequence[Sequence[str]] = (), **more: Any
) -> Block:
    return {
        "title": reading.word(key), "note": more.get("note", ""), "chart": more.get("chart"),
        "head": [reading.interval if name == "interval" else reading.word(name) for name in head],
        "rows": [list(row) for row in rows],
    }  # fmt: skip


def _gap(reading: Reading, row: Mapping[str, Any] | None, scale: Scale) -> tuple[str, str]:
    if row is None or row["effect"] is None:
        return reading.word("suppressed"), NOTHING
    return scale.change(row["effect"]), scale.span(row["low"], row["high"])


def _funnel(reading: Reading) -> Block | None:
    """Members at each stage; the picture is of the last stage that is known of every arm."""
    rows, whole = [], []
    order = list(reading.result["design"]["arms"])
    for row in sorted(reading.result.get("funnel", ()), key=lambda row: order.index(row["arm"])):
        found = {stage["stage"]: stage for stage in row["stages"]}
        parts = (("channel", row["channel"]), ("form", row["form"]))
        how = " · ".join(called(kind, code, reading.language) for kind, code in parts if code)
        if not how:
            whole.append((reading.name(row["arm"]), found))
        sent = found["sent"]["members"]
        rows.append(
            (reading.name(row["arm"]), how or reading.word("all"), integer(sent),
             *(_rate(reading, found[stage]) for stage in STAGES))
        )  # fmt: skip
    if not rows:
        return None
    last = next((s for s in reversed(STAGES) if any(f[s]["share"] for _, f in whole)), None)
    chart = None
    if last is not None:
        bars = [_share_bar(name, found[last]) for name, found in whole if found[last]["share"] is not None]
        chart = Columns(reading.word("of_sent", what=reading.word(last)), tuple(bars), scale=100.0)
    head = ("arm", "channel", "sent", *STAGES)
    return _block(reading, "funnel", head, rows, note=reading.word("funnel_note"), chart=chart)


def _share_bar(label: str, row: Mapping[str, Any]) -> Bar:
    return Bar(label, row["share"], row["low"], row["high"], percent(row["share"]))


def _rate(reading: Reading, stage: Mapping[str, Any]) -> str:
    if stage["share"] is None:
        return reading.word("suppressed")
    between = joined(percent(stage["low"]), percent(stage["high"]), reading.language)
    return f"{percent(stage['share'])} ({between})"


def _participation(reading: Reading) -> Block | None:
    """Who took part, by segment, against their share of those sent to."""
    given = reading.result.get("participation", ())
    if not given:
        return None
    several = len({row["segment_column"] for row in given}) > 1
    rows, bars = [], []
    for row in given:
        name = reading.value(row["segment_column"], row["segment"])
        if several:
            name = f"{reading.column(row['segment_column'])}: {name}"
        rate = {"share": row["rate"], "low": row["low"], "high": row["high"]}
        shares = (percent(row["share_of_participants"]), percent(row["share_of_sent"]))
        rows.append((name, integer(row["participants"]), _rate(reading, rate) if row["rate"] is not None else NOTHING,
                     *shares))  # fmt: skip
        if row["rate"] is not None:
            bars.append(_share_bar(name, rate))
    how = reading.word(str(given[0].get("participation") or "redeemed"))
    note = reading.word("participation_note", how=how)
    chart = Columns(reading.word("of_sent", what=how), tuple(bars), scale=100.0) if bars else None
    head = ("segment", "participants", "participation_rate", "share_of_participants", "share_of_sent")
    return _block(reading, "participation", head, rows, note=note, chart=chart)


def _reached(reading: Reading) -> Block | None:
    table = reached_rows(reading)
    if table is None:
        return None
    return {
        "title": reading.word("reached"), "note": reading.word("reached_note"), "chart": None, **table,
    }  # fmt: skip


def _tags(reading: Reading) -> Block | None:
    primary = next((facts for facts in reading.metrics.values() if facts.role == "primary"), None)
    scale = reading.scale("number") if primary is None else primary.scale
    rows, bars = [], []
    for row in reading.result.get("tags", ()):
        effect, interval = _gap(reading, row["gap"], scale)
        tagged, _ = _gap(reading, row["tagged"], scale)
        others, _ = _gap(reading, row["others"], scale)
        times = reading.word("not_given") if row["times"] is None else f"{row['times']:.2f} ×"
        name = f"{row[reading.language]} · {reading.name(row['arm'])}"
        rows.append((name, tagged, others, effect, interval, times, p_value(row["p_adjusted"])))
        if row["gap"] is not None and row["gap"]["effect"] is not None:
            sure = row["p_adjusted"] is not None and row["p_adjusted"] < reading.alpha
            gap = row["gap"]
            bars.append(Bar(name, gap["effect"], gap["low"], gap["high"], scale.bare(gap["effect"]), sure))
    if not rows:
        return None
    axis = reading.word("gap") + (f" ({scale.name})" if scale.name else "")
    up = primary is None or primary.up
    chart = Forest(axis, tuple(bars), scale=scale.factor, good_is_positive=up) if bars else None
    head = ("tag", "tagged", "others", "gap", "interval", "times", "p_adjusted")
    return _block(reading, "tags", head, rows, note=reading.word("tags_note"), chart=chart)


def _curves(reading: Reading) -> Block | None:
    """Cumulative spend of treated and held-out members."""
    told = reading.result.get("long_term", {})
    curves = [c for c in told.get("curves", ()) if c["outcome"] == "spend" and c["mean"] is not None]
    lines = []
    for arm in dict.fromkeys(c["arm"] for c in curves):
        points = tuple((float(c["days"]), float(c["mean"])) for c in curves if c["arm"] == arm)
        lines.append(Line(reading.word("holdout") if arm == "holdout" else reading.name(arm), points))
    if not lines:
        return None
    vertical = f"{reading.word('outcome_spend')} ({reading.scale('money').name})"
    chart = Lines(reading.word("days_after"), vertical, tuple(lines))
    return _block(reading, "curves", chart=chart, note=reading.word("curves_note"))


def _long_term(reading: Reading) -> Block | None:
    """One row an outcome and arm, one column a horizon; rows with nothing to show are counted instead."""
    told = reading.result.get("long_term", {})
    given = [*told.get("effects", ()), *told.get("holdout", ())]
    if not given:
        return None
    horizons = sorted({int(row["days"]) for row in given})
    table: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
    for row in given:
        table.setdefault((row["outcome"], row["arm"], row["against"]), {})[int(row["days"])] = row
    rows, hidden = [], 0
    for (outcome, arm, against), by_days in table.items():
        if all(row["effect"] is None for row in by_days.values()):
            hidden += 1
            continue
        scale = reading.scale(UNITS.get(outcome, "number"))
        cells = [_horizon(reading, by_days.get(days), scale) for days in horizons]
        versus = reading.word("holdout") if against == "holdout" else reading.name(against)
        rows.append((reading.word(f"outcome_{outcome}"), reading.name(arm), versus, *cells))
    waiting = [days for days, done in told.get("complete", {}).items() if not done]
    note = [reading.word("long_term_note")]
    if waiting:
        ready = "、".join(str(told["ready"][days])[:10] for days in waiting)
        note.append(reading.word("long_term_waiting", days="、".join(waiting), ready=ready))
    if hidden:
        note.append(reading.word("rows_hidden", n=hidden))
    block = _block(reading, "long_term", ("outcome", "arm", "against"), rows, note=" ".join(note))
    block["head"] += [reading.word("after_days", days=days) for days in horizons]
    return block


def _horizon(reading: Reading, row: Mapping[str, Any] | None, scale: Scale) -> str:
    if row is None:
        return NOTHING
    effect, interval = _gap(reading, row, scale)
    return effect if interval == NOTHING else f"{effect} ({interval})"


def _projection(reading: Reading) -> Block | None:
    rows = []
    for row in reading.result.get("long_term", {}).get("projection", ()):
        effect, interval = _gap(reading, row, reading.scale("money"))
        exposed = row["exposed"]
        key = "not_compared" if exposed is None else "projection_wrong" if exposed else "projection_agrees"
        rows.append((reading.name(row["arm"]), reading.word("projection"), integer(row["days"]), effect, interval,
                     reading.word(key)))  # fmt: skip
    head = ("arm", "label", "days", "effect", "interval", "compared")
    note = reading.word("projection_note")
    return _block(reading, "projections", head, rows, note=note) if rows else None


def _novelty(reading: Reading) -> Block | None:
    """Whether effects fade, with the effect of every week."""
    rows, lines = [], []
    for row in reading.result.get("novelty", ()):
        effect, interval = _gap(reading, row["trend"], reading.scale("number"))
        sure = row["p_adjusted"] is not None and row["p_adjusted"] < reading.alpha
        key = "trend_none" if not sure else "trend_fades" if row["trend"]["effect"] < 0 else "trend_grows"
        rows.append((reading.name(row["arm"]), effect, interval, p_value(row["p_adjusted"]), reading.word(key)))
        points = tuple((float(w["week"]), float(w["effect"])) for w in row["weeks"] if w["effect"] is not None)
        if len(points) > 1:
            lines.append(Line(reading.name(row["arm"]), points))
    if not rows:
        return None
    chart = Lines(reading.word("week"), reading.word("orders_gained"), tuple(lines), zero=True) if lines else None
    head = ("arm", "trend", "interval", "p_adjusted", "reading")
    return _block(reading, "novelty", head, rows, note=reading.word("novelty_note"), chart=chart)


def _overlap(reading: Reading) -> Block | None:
    rows = []
    for row in reading.result.get("overlap", ()):
        adjusted, independent = row["p_adjusted"], row["p_independent"]
        disturbed = adjusted is not None and adjusted < reading.alpha
        tied = independent is not None and independent < 0.001
        key = "overlap_tied" if tied else "overlap_disturbed" if disturbed else "overlap_fine"
        rows.append(
            (row["experiment"], integer(row["members"]), percent(row["share"]), p_value(independent), p_value(adjusted),
             reading.word(key))
        )  # fmt: skip
    head = ("experiment", "members_shared", "share", "p_independent", "p_interaction", "reading")
    return _block(reading, "overlap", head, rows, note=reading.word("overlap_note")) if rows else None
