"""The picture of an experiment's plan: how small an effect can be seen with how many members."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uplift.data import write_text_atomic
from uplift.reports._charts import Line, Lines
from uplift.reports._render import render
from uplift.reports._words import LANGUAGES, NOTHING, Language, amount, integer, percent, word

SEGMENT_HEAD = ("segment", "arm", "n_arm", "n_control", "smallest_effect")


def render_power(plan: Mapping[str, Any], language: Language, *, home: str = "") -> str:
    """The page of a plan as self-contained HTML.

    Parameters
    ----------
    plan
        As `uplift experiment power ID --json` prints it: ``id``, ``alpha``, ``power``, ``units``, ``basis``, ``arms``,
        ``curves`` and ``segments``.
    """
    blocks = []
    for metric, curve in plan["curves"].items():
        unit = plan["units"][metric]
        kind, currency = ("share", "") if unit == "share" else ("number", "")
        blocks.append(_picture(plan, metric, curve, unit, language))
        rows = [row for row in plan["segments"].get(metric, ()) if row["smallest_effect"] is not None]
        if rows:
            blocks.append(
                {
                    "title": f"{word('power_segments', language)}: {metric}", "note": "", "chart": None,
                    "head": [word(key, language) for key in SEGMENT_HEAD],
                    "rows": [
                        [
                            row["segment"], row["arm"], integer(row["n_arm"]), integer(row["n_control"]),
                            amount(row["smallest_effect"], kind, currency, language, difference=True),
                        ]
                        for row in rows
                    ],
                }
            )  # fmt: skip
    note = word("power_note", language, power=percent(plan["power"], 0), alpha=percent(plan["alpha"], 0))
    other = "power.en.html" if language == "zh" else "power.zh.html"
    return render(
        "power.html.j2", language, title=str(plan["id"]), other_page=other, home=home, blocks=blocks, note=note
    )


def _picture(
    plan: Mapping[str, Any], metric: str, curve: list[Mapping[str, Any]], unit: str, language: Language
) -> dict[str, Any]:
    """The curve of one metric, and the sizes asked for."""
    given = [row for row in curve if row["smallest_effect"] is not None]
    lines = tuple(
        Line(arm, tuple((float(row["size"]), float(row["smallest_effect"])) for row in given if row["arm"] == arm))
        for arm in dict.fromkeys(row["arm"] for row in given)
    )
    share = unit == "share"
    vertical = f"{word('smallest_effect', language)} ({word('points', language) if share else unit})"
    chart = Lines(word("power_axis", language), vertical, lines, 100.0 if share else 1.0, logarithmic=True)
    kind = "share" if share else "number"
    head = ("arm", "n_arm", "n_control", "smallest_effect", "simulated_power")
    return {
        "title": metric,
        "note": f"{word('power_basis', language)}: {plan['basis'][metric]['text']}",
        "chart": chart if lines else None,
        "head": [word(key, language) for key in head],
        "rows": [
            [
                row["arm"], integer(row["n_arm"]), integer(row["n_control"]),
                amount(row["smallest_effect"], kind, "", language, difference=True),
                NOTHING if row["simulated_power"] is None else percent(row["simulated_power"]),
            ]
            for row in plan["arms"]
            if row["metric"] == metric
        ],
    }  # fmt: skip


def write_power_report(plan: Mapping[str, Any], out: Path, *, home: str = "") -> tuple[Path, Path]:
    """Write ``power.zh.html`` and ``power.en.html`` into the folder ``out``."""
    paths = []
    for language in LANGUAGES:
        path = out / f"power.{language}.html"
        write_text_atomic(path, render_power(plan, language, home=home))
        paths.append(path)
    return paths[0], paths[1]
