"""The overview page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from site_facts import FACTS

from uplift.reports import render_site, write_site


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_overview_says_it_all_and_fetches_nothing(language: Any) -> None:
    page = render_site(FACTS, language)
    for part in ("¥12,346", "0.03%", "¥1.25", "900", "31.0%"):
        assert part in page
    assert ("满减券" if language == "zh" else "Coupon") in page
    assert "experiments/spring/report." in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("language", "best"), [("zh", "没有更好的分配方案"), ("en", "No better choice of offers exists")]
)
def test_a_choice_is_called_the_best_only_where_that_is_proved(language: Any, best: str) -> None:
    proved, nearly = (
        render_site({**FACTS, "decisions": {**FACTS["decisions"], "gap": gap, "optimal": optimal}}, language)
        for gap, optimal in ((0.0, True), (2.2e-5, False))
    )
    assert best in proved
    assert "0.00%" not in proved
    assert best not in nearly
    assert "0.01%" in nearly, "at most so much: rounded up"
    assert "0.03%" in render_site(FACTS, language)


def test_small_counts_are_not_shown() -> None:
    page = render_site(FACTS, "zh")
    assert "&lt; 11" in page
    assert "赠品" not in page, "five members must not be shown"
    assert not re.search(r"<td>4</td>", page)


def test_an_empty_workspace_has_a_page_too(tmp_path: Path) -> None:
    facts = {**FACTS, "decisions": None, "segments": None, "experiments": [], "models": []}
    index = write_site(facts, {}, tmp_path)
    assert index.read_text(encoding="utf-8") == (tmp_path / "index.zh.html").read_text(encoding="utf-8")
    assert "还没有推荐结果" in index.read_text(encoding="utf-8")


def test_reports_link_back_to_the_overview(tmp_path: Path, result: dict[str, Any]) -> None:
    write_site(FACTS, {"spring": result}, tmp_path)
    page = (tmp_path / "experiments" / "spring" / "report.zh.html").read_text(encoding="utf-8")
    assert 'href="../../index.html"' in page


@pytest.mark.parametrize(
    ("language", "mark"), [("zh", "或会让人反推出这样的格子"), ("en", "would give such a cell back")]
)
def test_a_number_that_is_held_back_is_not_called_small(language: Any, mark: str) -> None:
    """A cell hidden so that totals do not give a small one back may be large."""
    page = render_site(FACTS, language)
    moves = page[page.index('class="moves"') :]
    assert "…" in moves
    assert "&lt; 11" not in moves[: moves.index("</table>")]
    assert mark in page
    shown = {**FACTS, "segments": {**FACTS["segments"], "moves": None, "counts": FACTS["segments"]["counts"][:1]}}
    assert mark not in render_site(shown, language)


def test_the_overview_says_what_to_do_next(tmp_path: Path, result: dict[str, Any]) -> None:
    action = {"zh": "建议推广 男装邮件。", "en": "Roll out the men's e-mail."}
    write_site(FACTS, {"spring": {**result, "actions": [action]}}, tmp_path)
    assert action["zh"] in (tmp_path / "index.zh.html").read_text(encoding="utf-8")
    assert "Roll out the men&#39;s e-mail." in (tmp_path / "index.en.html").read_text(encoding="utf-8")
    write_site(FACTS, {}, tmp_path)
    assert "停止发放" in (tmp_path / "index.zh.html").read_text(encoding="utf-8"), "a harmful one without an action"
    assert "decisions/run=2026-07-01" in (tmp_path / "index.zh.html").read_text(encoding="utf-8")
