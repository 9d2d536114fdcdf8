"""What a notebook keeps of a result: its table, never all of its fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell

from uplift.experiments import analyze
from uplift.results import Rendered


@dataclass(frozen=True)
class Counted(Rendered):
    """A result with a field that nobody should find in a notebook."""

    counts: dict[str, int]
    member_ids: tuple[str, ...]

    def to_dicts(self) -> list[dict[str, object]]:
        return [{"name": name, "n": n} for name, n in self.counts.items()]


def shown(result: object) -> dict[str, str]:
    data, _ = InteractiveShell.instance().display_formatter.format(result)
    return data


def test_only_the_table_is_kept() -> None:
    kept = shown(Counted({"a|b": 3, "<c>": 4}, ("M0000001",)))
    assert set(kept) == {"text/html", "text/plain"}
    assert "M0000001" not in "".join(kept.values())
    assert "<td>&lt;c&gt;</td>" in kept["text/html"]
    assert "| a\\|b | 3 |" in kept["text/plain"]


def test_an_analysis_fits_a_page() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"arm": rng.choice(["control", "a"], 400), "y": rng.normal(size=400), "s": ["u", "v"] * 200})
    asked = {"arm": "arm", "control": "control", "metrics": ["y"]}
    plain, split = analyze(frame, **asked), analyze(frame, segments=["s"], **asked)
    head = shown(plain)["text/html"].split("</thead>")[0]
    assert head.count("<th>") <= 10
    assert "segment" not in head
    assert plain.verdict.zh in head
    assert "segment" in shown(split)["text/html"]
    assert "raw_low" in plain.to_pandas()
