"""The picture of an experiment's plan: how small an effect can be seen with how many members."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uplift.data import write_text_atomic
from uplift.reports._charts import Line, Lines
from uplift.reports._numbers import NOTHING, Scale, integer, percent
from uplift.reports._render import render
from uplift.reports._words import LANGUAGES, Language, word

ARM_HEAD = ("arm", "n_arm", "n_control", "smallest_effect", "smallest_relative", "needed_total", "simulated_power")
SEGMENT_HEAD = ("segment", "arm", "n_arm", "n_control", "smallest_effect")


def render_power(plan: Mapping[str, Any], language: Language, *, home: str = "") -> str:
    """The page of a plan as self-contained HTML.

    Parameters
    ----------
    plan
        As `uplift experiment power ID --json` prints it: ``id``, ``alpha``, ``power``, ``units``, ``basis``, ``arms``,
        ``curves``, ``segments``, ``sizes`` and
        ``labels``.
    """
    blocks = []
    for metric, curve in plan["curves"].items():
        unit = plan["units"][metric]
        scale = Scale(unit if unit in ("share", "days", "count") else "money", unit, language)
        blocks.append(_picture(plan, metric, curve, scale))
        rows = [row for row in plan["segments"].get(metric, ()) if row["smallest_effect"] is not None]
        if rows:
            blocks.append(_segments(plan, metric, rows, scale))
    note = word("power_note", language, power=percent(plan["power"], 0), alpha=percent(plan["alpha"], 0))
    other = "power.en.html" if language == "zh" else "power.zh.html"
    labels = plan.get("labels", {})
    title = str(labels.get("(title)", {}).get(language) or plan["id"])
    return render("power.html.j2", language, title=title, other_page=other, home=home, blocks=blocks, note=note)


def _name(plan: Mapping[str, Any], name: str, language: Language) -> str:
    return str(plan.get("labels", {}).get(name, {}).get(language) or name)


def _picture(plan: Mapping[str, Any], metric: str, curve: list[Mapping[str, Any]], scale: Scale) -> dict[str, Any]:
    """The curve of one metric, and the sizes asked for."""
    language = scale.language
    given = [row for row in curve if row["smallest_effect"] is not None]
    lines = tuple(
        Line(
            _name(plan, arm, language),
            tuple((float(row["size"]), float(row["smallest_effect"])) for row in given if row["arm"] == arm),
        )
        for arm in dict.fromkeys(row["arm"] for row in given)
    )
    rows = [row for row in plan["arms"] if row["metric"] == metric]
    size = plan.get("sizes", {}).get(metric)
    vertical = word("smallest_effect", language) + (f" ({scale.name})" if scale.name else "")
    chart = Lines(word("power_axis", language), vertical, lines, scale.factor, logarithmic=True, mark=size)
    cells = [
        [
            _name(plan, row["arm"], language), integer(row["n_arm"]), integer(row["n_control"]),
            scale.size(row["smallest_effect"]) if row["smallest_effect"] is not None else NOTHING,
            percent(row.get("smallest_relative")), integer(row.get("needed_total")),
            NOTHING if row["simulated_power"] is None else percent(row["simulated_power"]),
        ]
        for row in rows
    ]  # fmt: skip
    kept = [i for i in range(len(ARM_HEAD)) if i < 4 or any(row[i] != NOTHING for row in cells)]
    return {
        "title": _name(plan, metric, language), "note": _basis(plan["basis"][metric], scale),
        "chart": chart if lines else None, "head": [word(ARM_HEAD[i], language) for i in kept],
        "rows": [[row[i] for i in kept] for row in cells], "open": True,
    }  # fmt: skip


def _basis(basis: Mapping[str, Any], scale: Scale) -> str:
    """Where level and spread were learnt."""
    language = scale.language
    if basis.get("members") is None:
        return ""
    values = {"members": integer(basis["members"]), "days": basis["window_days"], "date": str(basis["as_of"])[:10]}
    said = [word("power_basis", language, **values)]
    if basis.get("level") is not None:
        said.append(word("power_level", language, level=scale.level(basis["level"])))
    if (basis.get("rho2") or 0) >= 0.005:
        said.append(word("power_rho2", language, share=percent(basis["rho2"], 0)))
    if basis.get("clusters") is not None:
        counted = {"n": integer(basis["clusters"]), "icc": f"{basis['icc']:.3f}", "deff": f"{basis['deff']:.2f}"}
        said.append(word("power_clusters", language, **counted))
    if basis.get("margin") is not None:
        margin = scale.size(basis["margin"])
        said.append(word("power_margin", language, margin=margin, n=integer(basis["margin_needs"])))
    if basis.get("few_clusters"):
        said.append(word("power_few_clusters", language))
    return "".join(said) if language == "zh" else " ".join(said)


def _segments(plan: Mapping[str, Any], metric: str, rows: list[Mapping[str, Any]], scale: Scale) -> dict[str, Any]:
    language = scale.language
    cells = []
    for row in rows:
        called = plan.get("labels", {}).get(row["segment_column"], {}).get("values", {}).get(row["segment"], {})
        where = str(called.get(language) or f"{_name(plan, row['segment_column'], language)} = {row['segment']}")
        cells.append(
            [where, _name(plan, row["arm"], language), integer(row["n_arm"]), integer(row["n_control"]),
             scale.size(row["smallest_effect"])]
        )  # fmt: skip
    return {
        "title": f"{_name(plan, metric, language)} · {word('power_segments', language)}", "chart": None,
        "note": word("power_segments_note", language), "head": [word(key, language) for key in SEGMENT_HEAD],
        "rows": cells,
    }  # fmt: skip


def write_power_report(plan: Mapping[str, Any], out: Path, *, home: str = "") -> tuple[Path, Path]:
    """Write ``power.zh.html`` and ``power.en.html`` into the folder ``out``."""
    paths = []
    for language in LANGUAGES:
        path = out / f"power.{language}.html"
        write_text_atomic(path, render_power(plan, language, home=home))
        paths.append(path)
    return paths[0], paths[1]
