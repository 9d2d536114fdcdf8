"""Reports as a person sees them: nothing runs off the screen, nothing is fetched, the words are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from every_kind import every_kind_result
from site_facts import FACTS

from uplift.data.simulator.worlds import make_world
from uplift.experiments import analyze
from uplift.reports import write_experiment_report, write_site


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


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Guardrails with margins, ratios, times and those not reached, and the sections that a workspace adds."""
    folder = tmp_path_factory.mktemp("kinds")
    write_experiment_report({**every_kind_result(), **SECTIONS}, folder)
    return folder


SECTIONS: dict[str, Any] = {
    "currency": "CNY",
    "funnel": [
        {
            "arm": arm, "channel": channel, "form": "video" if channel else None,
            "stages": [
                {"stage": stage, "members": n, "share": n / 2000, "low": n / 2100, "high": n / 1900}
                for stage, n in (("sent", 2000), ("opened", 800), ("clicked", 300), ("redeemed", 90))
            ],
        }
        for arm in ("gift", "coupon")
        for channel in (None, "mini_program", "store")
    ],
    "long_term": {
        "effects": [
            {"outcome": outcome, "days": days, "arm": arm, "against": "control", "effect": 1.5, "low": -2, "high": 20}
            for outcome in ("orders", "spend", "margin", "renewed")
            for days in (30, 60, 90)
            for arm in ("gift", "coupon")
        ],
        "holdout": [],
        "curves": [
            {"outcome": "spend", "days": day, "arm": arm, "mean": day * (1 + place / 10)}
            for day in range(7, 92, 7)
            for place, arm in enumerate(("control", "gift", "coupon"))
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("width", [360, 390, 1280])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_kind_of_metric_fits_its_card(
    every_kind: Path, look: Callable[[Path, int], Any], language: str, width: int
) -> None:
    seen = look(every_kind / f"report.{language}.html", width)
    assert seen.scroll_width <= seen.client_width
    assert seen.spilled == (), "nothing may stand out of its card"
    for words in {"zh": ("可承受的损害", "触达与参与"), "en": ("harm that can be borne", "Who was reached")}[language]:
        assert words in seen.text


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_overview_fits_its_screen(
    tmp_path: Path, look: Callable[[Path, int], Any], language: str, width: int
) -> None:
    write_site(FACTS, {"spring": every_kind_result()}, tmp_path)
    seen = look(tmp_path / f"index.{language}.html", width)
    assert seen.scroll_width <= seen.client_width
    assert seen.spilled == ()
