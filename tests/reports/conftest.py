"""A result as ``result.json`` holds it."""

from __future__ import annotations

from typing import Any

import pytest


def _effect(arm: str, metric: str, effect: float | None, half: float, **more: Any) -> dict[str, Any]:
    given = effect is not None
    value = effect if effect is not None else 0.0
    row: dict[str, Any] = {
        "arm": arm,
        "metric": metric,
        "segment_column": None,
        "segment": None,
        "n_control": 21306 if given else None,
        "n_arm": 21307 if given else None,
        "control_mean": 0.1062 if given else None,
        "arm_mean": 0.1062 + value if given else None,
        "raw": effect,
        "raw_low": value - half if given else None,
        "raw_high": value + half if given else None,
        "effect": effect,
        "low": value - half if given else None,
        "high": value + half if given else None,
        "p_value": 0.0001 if given else None,
        "p_adjusted": 0.0002 if given else None,
        "relative": value / 0.1062 if given else None,
        "relative_low": (value - half) / 0.1062 if given else None,
        "relative_high": (value + half) / 0.1062 if given else None,
        "shrunk": None,
        "shrunk_low": None,
        "shrunk_high": None,
    }
    return {**row, **more}


@pytest.fixture
def result() -> dict[str, Any]:
    arms = ("Mens E-Mail", "Womens E-Mail")
    effects = [_effect(arm, "visit", e, 0.006) for arm, e in zip(arms, (0.0766, 0.0452), strict=True)]
    effects += [_effect(arm, "spend", e, 0.3, control_mean=0.65) for arm, e in zip(arms, (0.77, -0.5), strict=True)]
    for name, value in (("Phone", 0.06), ("Web", 0.09), ("<b>Multi & more</b>", None)):
        more = {"segment_column": "channel", "segment": name}
        shrunk = {"shrunk": value - 0.005, "shrunk_low": value - 0.02, "shrunk_high": value + 0.02} if value else {}
        effects.append(_effect("Mens E-Mail", "visit", value, 0.012, **more, **shrunk))
    return {
        "design": {
            "n": 64000,
            "control": "No E-Mail",
            "arms": {a: {"n": 21306, "share": 1 / 3} for a in ("No E-Mail", *arms)},
            "name_zh": "春季邮件",
            "name_en": "Spring <script>alert(1)</script> e-mail",
        },
        "metrics": [
            {"name": "visit", "kind": "rate", "unit": "share", "goal": "increase"},
            {"name": "spend", "kind": "mean", "unit": "money", "currency": "USD", "goal": "increase"},
        ],
        "checks": {
            "srm": {"p_value": 0.9, "passed": True},
            "balance": [{"covariate": "history", "arm": "Mens E-Mail", "smd": 0.01}],
        },
        "effects": effects,
        "interactions": [
            {
                "arm": "Mens E-Mail",
                "metric": "visit",
                "segment_column": "channel",
                "p_value": 0.01,
                "p_adjusted": 0.02,
            }
        ],
        "verdict": {"status": "effective", "zh": "男装邮件有效：到访 +7.66 个百分点。", "en": "Works: visits +7.66."},
        "provenance": {"data_hash": "abc" * 20, "version": "0.1.0", "seed": 0},
    }
