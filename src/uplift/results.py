"""One mixin for every result: named, frozen, always of the same shape, and able to show itself."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


class Rendered:
    """Gives a frozen dataclass or NamedTuple ``to_dicts``, ``to_pandas``, ``to_markdown`` and ``_repr_html_``.

    A result of many rows overrides :meth:`to_dicts`; a single result is one row of its own fields.
    """

    def to_dicts(self) -> list[dict[str, Any]]:
        """The result as a list of plain rows."""
        if dataclasses.is_dataclass(self):
            return [{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}]
        fields: Sequence[str] = getattr(self, "_fields", ())
        return [{name: getattr(self, name) for name in fields}]

    def _shown(self) -> list[dict[str, Any]]:
        """Rows as people read them; a wide result leaves columns to :meth:`to_pandas`."""
        return self.to_dicts()

    def to_pandas(self) -> pd.DataFrame:
        """The result as a table."""
        return pd.DataFrame(self.to_dicts())

    def to_markdown(self) -> str:
        """The result as a Markdown table, numbers to four significant digits."""
        rows = self._shown()
        if not rows:
            return "(no rows)"
        names = list(rows[0])
        lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(_cell(row.get(name)).replace("|", "\\|") for name in names) + " |" for row in rows]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What notebooks show and keep: the table, and as plain text the table too, never all of the fields."""
        del include, exclude
        return {"text/html": self._repr_html_(), "text/plain": self.to_markdown()}

    def _repr_html_(self) -> str:
        rows = self._shown()
        if not rows:
            return "<p>(no rows)</p>"
        names = list(rows[0])
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(row.get(name)))}</td>" for name in names) + "</tr>"
            for row in rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_cell(v)}" for k, v in value.items())
    return str(value)
