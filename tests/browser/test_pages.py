"""Reports as a person sees them: nothing runs off the screen, nothing is fetched, the words are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uplift.data.simulator.worlds import make_world
from uplift.experiments import analyze
from uplift.reports import write_experiment_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real analysis with several arms, metrics and a cut, written as pages."""
    world = make_world(4000, arms=("coupon", "gift"), effect="linear", outcome="binary", random_state=0)
    frame = world.X.assign(arm=world.treatment, bought=world.y, where=["north", "south"] * 2000)
    shares = {"control": 1 / 3, "coupon": 1 / 3, "gift": 1 / 3}
    result = analyze(frame, arm="arm", control="control", metrics=["bought"], segments=["where"], weights=shares)
    folder = tmp_path_factory.mktemp("pages")
    write_experiment_report(result.to_dict(), folder)
    return folder


@pytest.mark.parametrize("width", [360, 390, 1200])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_page_fits_its_screen(report: Path, look: Callable[[Path, int], Any], language: str, width: int) -> None:
    seen = look(report / f"report.{language}.html", width)
    assert seen.scroll_width <= seen.client_width, "the page must not scroll sideways"
    assert seen.requests == (), "nothing may be fetched"
    for words in {"zh": ("增量效果", "数据可信吗"), "en": ("Effect", "Can the data be trusted")}[language]:
        assert words in seen.text
