"""What a page says of segments: where effects differ for certain, and that elsewhere the overall effect decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uplift.reports._effects import forest
from uplift.reports._numbers import p_phrase
from uplift.reports._reading import Reading


def segments(reading: Reading) -> dict[str, Any] | None:
    """Pictures where effects differ, one sentence a column where they do not, and pictures of the decisive metric.

    None where no cut was declared, or the result is invalid.
    """
    effects = [e for e in reading.result["effects"] if e["segment_column"] is not None]
    if not effects or reading.result["verdict"]["status"] == "invalid":
        return None
    tests = {(t["segment_column"], t["arm"], t["metric"]): t["p_adjusted"] for t in reading.result["interactions"]}
    groups = dict.fromkeys((e["segment_column"], e["arm"], e["metric"]) for e in effects)
    differing: list[Key] = []
    alike: list[Key] = []
    for key in groups:
        p = tests.get(key)
        (differing if p is not None and p < reading.alpha else alike).append(key)
    return {
        "differing": [_differing(reading, effects, key, tests[key]) for key in differing],
        "sentences": _sentences(reading, alike, tests, {key[0] for key in differing}),
        "pictures": [
            _picture(reading, effects, key) for key in alike if reading.metrics[key[2]].role == "primary"
        ],
        "hidden": _hidden(reading, effects),
    }  # fmt: skip


Key = tuple[str, str, str]


def _differing(reading: Reading, effects: list[Mapping[str, Any]], key: Key, p: float) -> dict[str, Any]:
    column, arm, metric = key
    text = reading.word(
        "interaction_yes", column=reading.column(column), arm=reading.name(arm), metric=reading.metrics[metric].label,
        p=p_phrase(p),
    )  # fmt: skip
    return {**_picture(reading, effects, key), "title": text}


def _picture(reading: Reading, effects: list[Mapping[str, Any]], key: Key) -> dict[str, Any]:
    """Shrunk effects by segment."""
    column, arm, metric = key
    shown = [
        (reading.value(column, e["segment"]), e)
        for e in effects
        if (e["segment_column"], e["arm"], e["metric"]) == key and e["effect"] is not None
    ]
    title = f"{reading.column(column)} · {reading.name(arm)} · {reading.metrics[metric].label}"
    chart = forest(reading, reading.metrics[metric], shown, shrunk=True) if shown else None
    return {"title": title, "chart": chart, "note": "" if shown else reading.word("none_shown")}


def _sentences(reading: Reading, alike: list[Key], tests: Mapping[Key, float | None], differing: set[str]) -> list[str]:
    """One sentence a column: how many comparisons found nothing, and how near the nearest came."""
    found = []
    for column in dict.fromkeys(key[0] for key in alike):
        known = [p for key in alike if key[0] == column and (p := tests.get(key)) is not None]
        if known:
            key = "interaction_rest" if column in differing else "interaction_no"
            text = reading.word(key, column=reading.column(column), n=len(known), p=p_phrase(min(known)))
        else:
            text = reading.word("interaction_untested", column=reading.column(column))
        found.append(text)
    return found


def _hidden(reading: Reading, effects: list[Mapping[str, Any]]) -> str:
    """How many cells are not shown, and why."""
    cells = {(e["segment_column"], e["segment"], e["arm"], e["metric"]) for e in effects if e["effect"] is None}
    if not cells:
        return ""
    return reading.word("cells_hidden", n=len(cells), all=len(effects), least=_least(reading))


def _least(reading: Reading) -> int:
    return int(reading.result["design"].get("min_cell") or 11)
