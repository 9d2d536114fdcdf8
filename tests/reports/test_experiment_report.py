"""The experiment's page: safe, self-contained, the same numbers in both languages."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from uplift.reports import render_experiment, write_experiment_report


@pytest.mark.parametrize("language", ["zh", "en"])
def test_nothing_is_fetched_and_everything_is_escaped(result: dict[str, Any], language: str) -> None:
    page = render_experiment(result, language)  # type: ignore[arg-type]
    outside = [a for a in re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')>\s]+)', page) if "//" in a]
    assert outside == []
    assert "<script" not in page
    assert "<b>Multi" not in page
    assert "Multi &amp; more" in page


def test_numbers_are_identical_in_both_languages(result: dict[str, Any]) -> None:
    def numbers(page: str) -> list[str]:
        body = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<header.*?</header>", "", page, flags=re.DOTALL)
        cells = re.findall(r"<td[^>]*>(.*?)</td>", body)
        return [n for cell in cells for n in re.findall(r"[+−]?[\d,]+\.\d+", cell)]

    zh, en = (numbers(render_experiment(result, language)) for language in ("zh", "en"))
    assert zh == en
    assert "+7.66" in zh
    assert "+0.77" not in zh, "money is written with its sign before the currency"
    assert "$0.77" in render_experiment(result, "zh")


def test_the_verdict_and_the_check_are_shown(result: dict[str, Any]) -> None:
    page = render_experiment(result, "zh")
    assert "男装邮件有效" in page
    assert "分组可信" in page
    bad = copy.deepcopy(result)
    bad["checks"]["srm"] = {"p_value": 1e-9, "passed": False}
    assert "不可采信" in render_experiment(bad, "zh")
    bad["checks"]["srm"] = {"p_value": None, "passed": None}
    assert "没有检查" in render_experiment(bad, "zh")


def test_a_small_cell_shows_words_not_numbers(result: dict[str, Any]) -> None:
    assert "人数太少，不显示" in render_experiment(result, "zh")
    assert "too few, not shown" in render_experiment(result, "en")


def test_a_flat_table_without_metric_descriptions_is_rendered_too(result: dict[str, Any]) -> None:
    del result["metrics"], result["design"]["name_zh"], result["design"]["name_en"]
    assert "实验报告" in render_experiment(result, "zh")


def test_the_same_result_gives_the_same_bytes(result: dict[str, Any], tmp_path: Path) -> None:
    first = [p.read_bytes() for p in write_experiment_report(result, tmp_path / "a")]
    second = [p.read_bytes() for p in write_experiment_report(result, tmp_path / "b")]
    assert first == second
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["report.en.html", "report.zh.html"]


def test_colour_is_for_effects_that_stand_after_adjustment(result: dict[str, Any]) -> None:
    assert 'class="good">+7.66' in render_experiment(result, "en")
    result["effects"][0]["p_adjusted"] = 0.2
    assert 'class="flat">+7.66' in render_experiment(result, "en")
