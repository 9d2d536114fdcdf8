from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks._publish import publish
from benchmarks._quality_table import place, render
from benchmarks._statistics import over_splits
from benchmarks.ours import SEARCH, SINGLE
from benchmarks.peers import LIBRARIES
from benchmarks.quality import chosen, jobs_of, methods


def test_splits_that_share_rows_have_the_corrected_error() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    spread = np.var(values, ddof=1)
    assert over_splits(values, 0.0).se == pytest.approx(np.sqrt(spread / 4))
    assert over_splits(values, 1.0).se == pytest.approx(np.sqrt(spread * (1 / 4 + 1)))
    assert over_splits(values, 1.0).mean == 2.5


def test_the_naive_error_of_halvings_would_be_too_small() -> None:
    """Means over ten halvings scatter from sample to sample as the corrected error says, not as the naive one."""
    rng = np.random.default_rng(0)
    means, naive, corrected = [], [], []
    for _ in range(300):
        sample = rng.normal(size=200)
        halves = [sample[rng.permutation(200)[:100]].mean() for _ in range(10)]
        means.append(np.mean(halves))
        naive.append(over_splits(halves, 0.0).se)
        corrected.append(over_splits(halves, 1.0).se)
    scatter = np.std(means)
    assert np.mean(naive) < 0.6 * scatter
    assert 0.8 * scatter < np.mean(corrected) < 1.3 * scatter


def results(gains: dict[str, list[float]], task: str = "linear") -> pd.DataFrame:
    rows = [
        {"task": task, "split": i, "method": method, "gain": gain, "qini": 0.0, "seconds": 1.0, "note": "",
         "failed": "" if np.isfinite(gain) else "ValueError: no", "not_applicable": ""}
        for method, own in gains.items()
        for i, gain in enumerate(own)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_search_that_loses_is_said_to_miss() -> None:
    noise = np.random.default_rng(0).normal(size=10)
    good = {SEARCH: list(10 + noise), SINGLE: list(9 + noise), "other": list(8 + noise[::-1])}
    assert place(results(good), "linear").at_top
    assert place(results(good), "linear").holds_single
    bad = {SEARCH: list(5 + noise), SINGLE: list(9 + noise + 0.1 * noise[::-1]), "other": list(8 + noise[::-1])}
    found = place(results(bad), "linear")
    assert found.best == SINGLE
    assert not found.at_top
    assert not found.holds_single
    assert found.sentence().count("MISSED") == 2


def test_ties_are_called_ties_and_failures_explained() -> None:
    noise = np.random.default_rng(0).normal(size=10)
    text = render(
        results(
            {
                SEARCH: list(noise),
                SINGLE: list(noise),
                "close": list(noise[::-1]),
                "better": list(noise + 3),
                "worse": list(noise - 3),
                "broken": [float("nan")] * 10,
            }
        )
    )
    first = {
        line.split(" | ")[0].strip("| "): line for line in text.split("**Several-arm")[0].splitlines() if "|" in line
    }
    marks = {method: line.split(" | ")[1][-1] for method, line in first.items() if "±" in line or "—" in line}
    assert marks[SINGLE] == marks["close"] == "="
    assert marks["better"] == "▲"
    assert marks["worse"] == "▼"
    assert marks["broken"] == "—"
    assert first["better"].endswith("| 1.00 |")
    assert "broken, linear (10 of 10): failed: ValueError: no" in text


def test_publishing_replaces_one_table_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- one -->\nold\n<!-- /one -->\nrest\n<!-- two -->\n<!-- /two -->\n", encoding="utf-8")
    publish("one", "| new |", page)
    once = page.read_text(encoding="utf-8")
    publish("one", "| new |", page)
    assert page.read_text(encoding="utf-8") == once
    assert "old" not in once
    assert "| new |" in once
    assert once.startswith("# A\n")
    assert once.endswith("rest\n<!-- two -->\n<!-- /two -->\n")
    with pytest.raises(ValueError, match="lacks the marks"):
        publish("three", "", page)


def test_names_choose_tasks_or_methods() -> None:
    assert chosen(["a one", "b two"], ["TWO"]) == ["b two"]
    assert chosen(["a one", "b two"], ["three"]) == ["a one", "b two"]
    jobs = jobs_of(["linear"], 2, list(methods()))
    assert set(jobs) == {"uplift", *LIBRARIES}
    assert len({job.out for own in jobs.values() for job in own}) == 2 * len(methods())
