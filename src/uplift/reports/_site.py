"""What the overview page says: plain facts in, words and charts in one language out. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from uplift.reports._charts import Bar, Columns
from uplift.reports._numbers import integer, money, percent
from uplift.reports._words import Language, word

_VERDICT_CLASS = {"effective": "good", "harmful": "bad", "invalid": "bad"}
_SOURCES = ("policy", "explore", "holdout", "none")


def summarize_site(facts: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """Everything that the overview shows, already written in one language.

    Parameters
    ----------
    facts
        ``currency``, ``min_cell`` and, each possibly None or empty, ``decisions``, ``segments``, ``experiments`` and
        ``models``; see :func:`uplift.reports.write_site`.
    """
    segments = _segments(facts["segments"], facts["min_cell"], language) if facts["segments"] else None
    return {
        "decisions": _decisions(facts["decisions"], facts, language) if facts["decisions"] else None,
        "segments": segments,
        "hides": HIDDEN in str(segments),
        "experiments": [_experiment(e, language) for e in facts["experiments"]],
        "models": [_model(m, language) for m in facts["models"]],
        "min_cell": facts["min_cell"],
    }


def _decisions(decisions: Mapping[str, Any], facts: Mapping[str, Any], language: Language) -> dict[str, Any]:
    currency, least = facts["currency"], facts["min_cell"]
    counts = {source: decisions["by_source"].get(source, 0) for source in _SOURCES}
    total = sum(counts.values())
    offers = sorted(decisions["by_offer"], key=lambda o: -o["n"])
    shown = [o for o in offers if o["n"] >= least]
    bars = tuple(Bar(_name(o, language), o["n"], None, None, integer(o["n"])) for o in shown)
    tiles = [
        (integer(counts["policy"] + counts["explore"]), word("receive", language)),
        (money(decisions["value"], currency), word("promised", language)),
        (money(decisions["cost"], currency), word("cost", language)),
    ]
    if decisions.get("budget") is not None:
        tiles.append((money(decisions["budget"], currency), word("budget", language)))
    notes = [word("decisions_where", language, run=decisions["run"]), word("promised_note", language)]
    if decisions.get("gap") is not None:
        gap = percent(math.ceil(round(10_000 * decisions["gap"], 6)) / 10_000, 2)  # "at most" is rounded up
        proved = decisions["optimal"]
        notes.append(word("certificate_optimal", language) if proved else word("certificate", language, gap=gap))
    if decisions.get("price"):
        one, gain = money(1, currency), money(decisions["price"], currency)
        notes.append(word("next_yuan", language, one=one, gain=gain))
    return {
        "as_of": decisions["as_of"],
        "run": decisions["run"],
        "tiles": tiles,
        "sources": [
            (word(f"source_{source}", language), _count(n, least), percent(n / total) if n >= least else "")
            for source, n in counts.items()
        ],
        "chart": Columns(word("count", language), bars) if bars else None,
        "notes": notes,
    }


def _segments(segments: Mapping[str, Any], least: int, language: Language) -> dict[str, Any]:
    def row(group: Mapping[str, Any]) -> tuple[str, str, str]:
        hidden = group["members"] is None or group["share"] is None
        return _name(group, language), _count(group["members"], least), "" if hidden else percent(group["share"])

    return {
        "as_of": segments["as_of"],
        "rows": [row(group) for group in segments["counts"]],
        "rfm": [
            (*row(group), "" if group["spend_share"] is None else percent(group["spend_share"]))
            for group in segments["rfm"]
        ],
        "moves": _moves(segments["moves"], least, language) if segments["moves"] else None,
    }


def _moves(moves: Mapping[str, Any], least: int, language: Language) -> dict[str, Any]:
    rows = [
        (_name(origin, language), [_count(n, least) for n in row])
        for origin, row in zip(moves["rows"], moves["matrix"], strict=True)
        if any(n != 0 for n in row)
    ]
    return {"names": [_name(target, language) for target in moves["columns"]], "rows": rows}


def _experiment(experiment: Mapping[str, Any], language: Language) -> dict[str, str]:
    return {
        "name": _name(experiment, language),
        "status": word(experiment["status"], language),
        "class": _VERDICT_CLASS.get(experiment["status"], "flat"),
        "text": experiment[language],
        "next": experiment.get(f"next_{language}") or word(f"next_{experiment['status']}", language),
        "href": f"experiments/{experiment['id']}/report.{language}.html",
    }


def _model(model: Mapping[str, Any], language: Language) -> dict[str, Any]:
    passed = model["passed"]
    return {
        "name": word(f"model_{model['name']}", language),
        "version": model["version"],
        "alias": word(model["alias"], language) if model["alias"] else "",
        "gate": word("gate_passed" if passed else "gate_failed", language),
        "class": "good" if passed else "bad",
        "reasons": model.get(f"reasons_{language}", ()),
    }


HIDDEN = "…"
"""A count that is too small, or that would give a small one back by subtraction; the page says so."""


def _count(n: int | None, least: int) -> str:
    if n is None:
        return HIDDEN
    return f"< {least}" if 0 < n < least else integer(n)


def _name(row: Mapping[str, Any], language: Language) -> str:
    names: Sequence[Any] = (row.get(f"name_{language}"), row.get("name_en"), row.get("id"), row.get("offer_id"))
    return str(next((name for name in names if name), ""))
