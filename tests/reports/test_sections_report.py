"""What lasts, novelty, tags, funnel, participation and other experiments on the page; silence when there is nothing."""

import pytest

from uplift.reports import render_experiment

GAP = {"effect": 1.2, "low": 0.4, "high": 2.0, "p_value": 0.01}
MORE = {
    "long_term": {
        "effects": [{"outcome": "spend", "days": 30, "arm": "Mens E-Mail", "against": "No E-Mail", **GAP}],
        "holdout": [{"outcome": "spend", "days": 30, "arm": "Mens E-Mail", "against": "holdout", **GAP}],
        "curves": [
            {"outcome": "spend", "days": day, "arm": arm, "mean": day * 0.1}
            for day in (7, 14)
            for arm in ("No E-Mail", "Mens E-Mail", "holdout")
        ],
        "complete": {"30": True, "60": True, "90": False},
        "ready": {"30": "2026-01-30", "60": "2026-03-01", "90": "2026-03-31"},
        "projection": [{"label": "projection", "arm": "Mens E-Mail", "days": 90, **GAP, "bias": GAP, "exposed": True}],
    },
    "novelty": [
        {"arm": "Mens E-Mail", "outcome": "orders", "weeks": [], "trend": {**GAP, "effect": -1}, "p_adjusted": 0.01}
    ],
    "overlap": [
        {
            "experiment": "push",
            "members": 600,
            "share": 0.2,
            "p_independent": 0.4,
            "p_interaction": 0.01,
            "p_adjusted": 0.01,
        }
    ],
    "tags": [
        {
            "tag": "often",
            "zh": "常客",
            "en": "Regulars",
            "arm": "Mens E-Mail",
            "tagged": GAP,
            "others": GAP,
            "gap": GAP,
            "times": 3.0,
            "p_adjusted": 0.01,
        },
        {
            "tag": "few",
            "zh": "少数",
            "en": "The few",
            "arm": "Mens E-Mail",
            "tagged": None,
            "others": None,
            "gap": None,
            "times": None,
            "p_adjusted": None,
        },
    ],
    "funnel": [
        {
            "arm": "Mens E-Mail",
            "channel": "sms",
            "form": None,
            "stages": [
                {"stage": stage, "members": n, "share": s, "low": s, "high": s}
                for stage, n, s in (
                    ("sent", 300, 1.0),
                    ("delivered", 300, 1.0),
                    ("opened", 90, 0.3),
                    ("clicked", None, None),
                    ("redeemed", 30, 0.1),
                )
            ],
        }
    ],
    "participation": [
        {
            "segment_column": "channel",
            "segment": "Web",
            "participants": 30,
            "rate": 0.1,
            "low": 0.07,
            "high": 0.14,
            "share_of_participants": 0.6,
            "share_of_sent": 0.4,
        }
    ],
}


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            (
                "What lasts",
                "global holdout",
                "2026-03-31",
                "projection",
                "contradicted by the members held out",
                "fades",
                "Regulars",
                "3.00 ×",
                "too few, not shown",
                "30.0% (30.0% to 30.0%)",
                "effects depend on the other experiment",
            ),
        ),
        (
            "zh",
            (
                "长期效果",
                "全局对照组",
                "推算",
                "与对照组实测不符",
                "在消退",
                "常客",
                "人数太少，不显示",
                "30.0% (30.0% 至 30.0%)",
                "效果因另一实验而异",
            ),
        ),
    ],
)
def test_every_section_is_told(result, language, words):
    page = render_experiment({**result, **MORE}, language)
    assert [text for text in words if text not in page] == []
    bare = render_experiment(result, language)
    assert [text for text in words[:3] if text in bare] == []


def test_nothing_to_say_is_not_said(result):
    empty = {"long_term": {"effects": [], "holdout": [], "curves": [], "complete": {}, "ready": {}, "projection": []}}
    empty |= {name: [] for name in ("novelty", "overlap", "tags", "funnel", "participation")}
    assert render_experiment({**result, **empty}, "en") == render_experiment(result, "en")
