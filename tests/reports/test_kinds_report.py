"""Guardrails, margins and every kind of metric on the page, from an analysis as it is made."""

from __future__ import annotations

import html
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from every_kind import METRICS, NAMES, every_kind_result, every_kind_table

from uplift.experiments import Metric, analyze
from uplift.reports import render_experiment


@pytest.fixture
def table() -> pd.DataFrame:
    return every_kind_table()


@pytest.fixture
def result() -> dict[str, Any]:
    return every_kind_result()


def text_of(page: str) -> str:
    """What stands on the page, without its pictures, its style and the link to the other language."""
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<header.*?</header>|<title>.*?</title>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_both_pages_hold_the_same_numbers_everywhere(result):
    zh, en = (
        sorted(re.findall(r"[+−-]?[¥$]?\d+(?:,\d{3})*(?:\.\d+)?%?", text_of(render_experiment(result, language))))
        for language in ("zh", "en")
    )
    assert zh == en
    assert len(zh) > 300


def test_every_word_is_in_the_language_of_the_page(result):
    assert not re.findall(r"[\u4e00-\u9fff]+", text_of(render_experiment(result, "en")))
    page = text_of(render_experiment(result, "zh"))
    assert "Gift" not in page
    assert not re.findall(r"\b(?:effect|interval|members|control|harm|days|points|none|not)\b", page)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "zh",
            ("分组后 14 天内", "总和之比", "分组后第 15 至 60 天", "最多看 30 天", "越低越好",
             "最大的 1.0% 已截到分位数", "可承受的损害：3.00 个百分点", "可承受的损害：0.20", "主要指标", "护栏"),
        ),
        (
            "en",
            ("within 14 days of assignment", "a ratio of sums", "days 15 to 60 after assignment",
             "seen for 30 days at most", "less is better", "largest 1.0% cut", "harm that can be borne: 3.00 points",
             "harm that can be borne: 0.20", "primary", "guardrail"),
        ),
    ],
)  # fmt: skip
def test_a_metric_says_what_it_is(result, language, words):
    page = text_of(render_experiment(result, language))
    assert [text for text in words if text not in page] == []


def test_a_guardrail_says_whether_it_was_kept_to(result):
    rows = {(e["arm"], e["metric"]): e for e in result["effects"] if e["segment"] is None}
    assert rows["coupon", "refunded"]["p_adjusted"] < 0.05
    assert rows["gift", "refunded"]["noninferior"] is True
    page = text_of(render_experiment(result, "en"))
    guardrails = page[page.index("What must not be harmed") : page.index("Can the data be trusted")]
    refunded = guardrails[: guardrails.index("visits")]
    assert re.search(r"Gift .*proved: harm stays within what can be borne Coupon .*harm beyond what", refunded)
    assert "no evidence of harm" in guardrails[guardrails.index("shared") :]
    assert "Too few members did this" in guardrails[guardrails.index("rare") :]


def test_a_guardrail_that_is_not_yet_proved_says_so(table):
    given = [METRICS[0], Metric("refunded", increase=False, guardrail=True, margin=0.03)]
    few = analyze(table.head(500), arm="arm", control="control", metrics=given).to_dict()
    assert "尚未证实损害在可承受的范围内" in text_of(render_experiment(few, "zh"))


def test_the_margin_is_a_line_of_the_picture(result):
    with_margin = render_experiment(result, "en")
    metrics = [{**m, "margin": None} for m in result["metrics"]]
    assert "dashed: harm that can be borne" in with_margin
    assert "dashed" not in render_experiment({**result, "metrics": metrics}, "en")


def test_the_effect_on_those_reached_is_told_where_not_everybody_was(result):
    page = text_of(render_experiment(result, "en"))
    assert "Effect on those reached" in page
    everybody = [{**row, "exposed": 1.0} for row in result["exposed"]]
    assert "Effect on those reached" not in text_of(render_experiment({**result, "exposed": everybody}, "en"))


def test_segments_that_do_not_differ_take_one_sentence(result):
    page = text_of(render_experiment(result, "zh"))
    assert page.count("没有证据表明“城市”之间的效果不同") == 1
    assert re.search(r"\d+ 个格子中有 \d+ 个不显示", page)


def test_balance_follows_the_joint_test_not_the_largest_difference(table):
    """A large standardised difference in small arms is chance, and does not turn the line red."""
    few = table.head(200).assign(before=np.random.default_rng(7).normal(size=200))
    found = analyze(few, arm="arm", control="control", metrics=["bought"], covariates=["before"]).to_dict()
    worst = max(abs(row["smd"]) for row in found["checks"]["balance"])
    assert worst > 0.1
    assert found["checks"]["balance_test"]["passed"] is True
    page = render_experiment(found, "en")
    assert re.search(r'<li class="good">Before the campaign the arms were alike', page)


def test_an_invalid_result_gives_no_effect_and_says_why(table):
    found = analyze(
        table, arm="arm", control="control", metrics=["bought"], segments=["city"],
        weights={"control": 0.5, "gift": 0.25, "coupon": 0.25},
    ).to_dict()  # fmt: skip
    assert found["verdict"]["status"] == "invalid"
    assert "哪些人群反应不同" not in render_experiment(found, "zh")
    for language, words in (("zh", "结果无效，不给出效果"), ("en", "The result is invalid, so no effect is given")):
        page = text_of(render_experiment(found, language))
        assert words in page
        assert not re.search(r"[+−]\d", page[: page.index(words)])


def test_notes_call_metrics_and_covariates_what_people_call_them(result):
    labels = {
        **NAMES,
        "spend": {"zh": "消费金额", "en": "Money spent"},
        "spend_90d": {"zh": "近90天消费", "en": "Past spend"},
    }
    notes = [
        {"zh": "指标 spend：17 个值", "en": "metric spend: 17 values"},
        {"zh": "协变量 spend_90d：3 个缺失值", "en": "covariate spend_90d: 3 missing values"},
    ]
    given = {**result, "design": {**result["design"], "labels": labels}, "notes": notes}
    assert "指标 消费金额：17 个值" in render_experiment(given, "zh")
    assert "covariate Past spend: 3 missing values" in render_experiment(given, "en")


def test_a_picture_says_what_it_shows(result):
    page = render_experiment(result, "en")
    assert page.count("<svg ") == page.count('role="img" aria-label="')
    assert 'aria-label="bought: Effect (points)"' in page
