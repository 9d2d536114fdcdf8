"""Templates to self-contained pages: everything is escaped, nothing is fetched."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from uplift.reports._charts import Chart, draw
from uplift.reports._words import Language, word


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("uplift.reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _drawn(chart: Chart) -> tuple[Markup, Markup]:
    """Our own SVG; what users wrote in it was escaped when it was drawn."""
    wide, narrow = draw(chart)
    return Markup(wide), Markup(narrow)  # noqa: S704


def render(template: str, language: Language, *, title: str, other_page: str, home: str = "", **values: Any) -> str:
    """A page as text.

    Parameters
    ----------
    other_page
        Where the same page in the other language is, relative to this one.
    """
    style = files("uplift.reports").joinpath("templates/style.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(template)
        .render(
            language=language,
            title=title,
            other_page=other_page,
            home=home,
            style=Markup(style),  # noqa: S704 - our own file
            word=lambda key, **blanks: word(key, language, **blanks),
            draw=_drawn,
            **values,
        )
    )
