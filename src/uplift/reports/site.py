"""The site that marketing reads: an overview in two languages, and a report of every experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uplift.data import write_text_atomic
from uplift.reports._render import render
from uplift.reports._site import summarize_site
from uplift.reports._words import LANGUAGES, Language, word
from uplift.reports.experiment import write_experiment_report

INDEX = "index.html"


def render_site(facts: Mapping[str, Any], language: Language) -> str:
    """The overview page as self-contained HTML."""
    other = "index.en.html" if language == "zh" else "index.zh.html"
    title = facts.get("title") or word("overview", language)
    page = summarize_site(facts, language)
    return render("site.html.j2", language, title=title, other_page=other, page=page)


def write_site(facts: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """Write the overview and the experiments' reports below ``folder``.

    Parameters
    ----------
    facts
        ``currency``, ``min_cell``, ``language`` (of ``index.html``), ``title`` (None: a general one), ``decisions``
        (``run``, ``as_of``, ``by_source``, ``by_offer``, ``value``, ``cost``, ``budget``, ``gap``, ``price``; money in
        units), ``segments`` (``as_of``, ``counts``, ``rfm``, ``moves``), ``experiments`` and ``models``. A count that
        is None was suppressed.
    results
        Experiment id → its ``result.json``.

    Returns
    -------
    pathlib.Path
        ``index.html``, which is the page in the workspace's language.
    """
    facts = {**facts, "experiments": [_with_next(e, results.get(e["id"], {})) for e in facts["experiments"]]}
    for name, result in results.items():
        out = folder / "experiments" / name
        write_experiment_report(result, out, home=f"../../{INDEX}")
    for language in LANGUAGES:
        page = render_site(facts, language)
        write_text_atomic(folder / f"index.{language}.html", page)
        if language == facts["language"]:
            write_text_atomic(folder / INDEX, page)
    return folder / INDEX


def _with_next(experiment: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """With the first recommended action of its result."""
    first = next(iter(result.get("actions", ())), None)
    return {**experiment, **({f"next_{language}": first[language] for language in LANGUAGES} if first else {})}
