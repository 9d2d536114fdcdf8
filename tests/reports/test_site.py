"""The overview page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from uplift.reports import render_site, write_site

FACTS: dict[str, Any] = {
    "currency": "CNY",
    "min_cell": 11,
    "language": "zh",
    "title": None,
    "decisions": {
        "run": "2026-07-01",
        "as_of": "2026-07-01",
        "by_source": {"policy": 900, "explore": 50, "holdout": 50, "none": 4},
        "by_offer": [
            {"offer_id": "coupon", "name_zh": "满减券", "name_en": "Coupon", "n": 800},
            {"offer_id": "gift", "name_zh": "赠品", "name_en": "Gift", "n": 5},
        ],
        "value": 12345.6,
        "cost": 3000.0,
        "budget": 3000.0,
        "gap": 0.0003,
        "price": 1.25,
    },
    "segments": {
        "as_of": "2026-07-01",
        "counts": [
            {"name_zh": "新客", "name_en": "New", "members": 100, "share": 0.1},
            {"name_zh": "沉睡", "name_en": "Dormant", "members": None, "share": None},
        ],
        "rfm": [{"name_zh": "重要价值", "name_en": "Champions", "members": 60, "share": 0.06, "spend_share": 0.31}],
        "moves": {
            "rows": [{"name_zh": "新客", "name_en": "New"}, {"name_zh": "沉睡", "name_en": "Dormant"}],
            "columns": [{"name_zh": "新客", "name_en": "New"}, {"name_zh": "沉睡", "name_en": "Dormant"}],
            "matrix": [[80, None], [0, 20]],
        },
    },
    "experiments": [
        {"id": "spring", "name_zh": "春季", "name_en": "Spring", "status": "harmful", "zh": "有害。", "en": "Harmful."}
    ],
    "models": [
        {
            "name": "churn",
            "version": 2,
            "alias": "champion",
            "passed": True,
            "reasons_zh": ["AUC 高于规则"],
            "reasons_en": ["AUC above the rule"],
        }
    ],
}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_overview_says_it_all_and_fetches_nothing(language: Any) -> None:
    page = render_site(FACTS, language)
    for part in ("¥12,346", "0.03%", "¥1.25", "900", "31.0%"):
        assert part in page
    assert ("满减券" if language == "zh" else "Coupon") in page
    assert "experiments/spring/report." in page
    assert "http" not in page.replace("http://www.w3.org", "")


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
