"""What the overview page is made from."""

from __future__ import annotations

from typing import Any

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
        "optimal": False,
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
