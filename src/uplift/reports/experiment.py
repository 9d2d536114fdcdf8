"""The report of one experiment, in Chinese and in English."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uplift.data import write_text_atomic
from uplift.reports._experiment import summarize_experiment
from uplift.reports._render import render
from uplift.reports._words import LANGUAGES, Language


def render_experiment(result: Mapping[str, Any], language: Language, *, home: str = "") -> str:
    """The page of one experiment as self-contained HTML.

    Parameters
    ----------
    result
        As in ``result.json``.
    home
        Link of the page's head, relative; empty: none.
    """
    page = summarize_experiment(result, language)
    other = "report.en.html" if language == "zh" else "report.zh.html"
    return render("experiment.html.j2", language, title=page["title"], other_page=other, home=home, page=page)


def write_experiment_report(result: Mapping[str, Any], out: Path, *, home: str = "") -> tuple[Path, Path]:
    """Write ``report.zh.html`` and ``report.en.html`` into the folder ``out``.

    Returns
    -------
    tuple of pathlib.Path
        The Chinese and the English page.
    """
    paths = []
    for language in LANGUAGES:
        path = out / f"report.{language}.html"
        write_text_atomic(path, render_experiment(result, language, home=home))
        paths.append(path)
    return paths[0], paths[1]
