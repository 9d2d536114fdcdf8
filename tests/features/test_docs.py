"""The tables in ``docs/features.md`` are the catalogues; ``UPLIFT_WRITE_DOCS=1`` writes them anew."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

from uplift.features import CATALOGUE, OUTCOMES


def features_table() -> str:
    lines = []
    for source, features in groupby(CATALOGUE.values(), key=lambda feature: feature.source):
        lines += [f"### {source}", "", "| feature | type | unit | 中文 | English |", "|---|---|---|---|---|"]
        lines += [
            f"| `{f.name}`{'°' if f.as_stored else ''} | {f.kind} | {f.unit} | {f.text_zh} | {f.text_en} |"
            for f in features
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def outcomes_table() -> str:
    lines = ["| outcome | kind | unit | 中文 | English |", "|---|---|---|---|---|"]
    lines += [f"| `{o.name}` | {o.kind} | {o.unit} | {o.text_zh} | {o.text_en} |" for o in OUTCOMES.values()]
    return "\n".join(lines)


def with_tables(text: str) -> str:
    head, rest = text.split("<!-- outcomes -->\n", 1)
    middle, _ = rest.split("<!-- features -->\n", 1)
    middle = middle[middle.index("## The catalogue") :]
    return f"{head}<!-- outcomes -->\n{outcomes_table()}\n\n{middle}<!-- features -->\n{features_table()}\n"


def test_the_tables_are_the_catalogues(root: Path) -> None:
    path = root / "docs" / "features.md"
    text = path.read_text(encoding="utf-8")
    if os.environ.get("UPLIFT_WRITE_DOCS"):
        path.write_text(with_tables(text), encoding="utf-8")
        return
    assert text == with_tables(text), "run UPLIFT_WRITE_DOCS=1 pytest tests/features/test_docs.py"
