"""An experiment with every kind of metric, guardrails with and without a margin, segments, and a share not reached."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from uplift.experiments import Metric, analyze

NAMES = {
    "control": {"zh": "对照组", "en": "control"},
    "gift": {"zh": "赠品", "en": "Gift"},
    "coupon": {"zh": "满减券", "en": "Coupon"},
    "city": {"zh": "城市", "en": "City", "values": {"n": {"zh": "北方", "en": "North"}}},
}
METRICS = [
    Metric("bought", window_days=14),
    Metric("spend", "mean", unit="money", currency="CNY", winsorize=0.99, window_days=14),
    Metric("basket", "ratio", unit="money", currency="CNY", column="spend", denominator="orders", window_days=14),
    Metric("back", "retention", unit="share", from_days=14, window_days=60),
    Metric("first", "time", unit="days", column="days", event="happened", window_days=30, increase=False),
    Metric("refunded", increase=False, guardrail=True, margin=0.03),
    Metric("visits", "mean", unit="count", guardrail=True, margin=0.2),
    Metric("shared", guardrail=True),
    Metric("rare", guardrail=True),
]


@cache
def every_kind_table() -> pd.DataFrame:
    """One row a member."""
    rng = np.random.default_rng(0)
    n = 6000
    found = pd.DataFrame({"arm": rng.choice(["control", "gift", "coupon"], n), "city": rng.choice(["n", "s", "w"], n)})
    gift = (found["arm"] == "gift").to_numpy()
    found["bought"] = rng.binomial(1, np.where(gift, 0.4, 0.3))
    found["orders"] = found["bought"] * (1 + rng.poisson(0.5, n))
    found["spend"] = found["orders"] * rng.gamma(2, 20, n)
    found["back"] = rng.binomial(1, 0.3, n)
    found["days"] = rng.integers(1, 31, n)
    found["happened"] = (found["days"] < 30).astype(int)
    found["refunded"] = rng.binomial(1, np.where(found["arm"] == "coupon", 0.15, 0.05))
    found["visits"] = rng.poisson(1.0, n)
    found["shared"] = rng.binomial(1, 0.1, n)
    found["rare"] = rng.binomial(1, 0.0005, n)
    found["reached"] = np.where(found["arm"] == "control", 0, rng.binomial(1, 0.7, n))
    return found


@cache
def every_kind_result() -> dict[str, Any]:
    """As in ``result.json``."""
    found = analyze(
        every_kind_table(), arm="arm", control="control", metrics=METRICS, segments=["city"], names=NAMES,
        exposed="reached", weights={"control": 1 / 3, "gift": 1 / 3, "coupon": 1 / 3},
    ).to_dict()  # fmt: skip
    found["design"]["labels"] = NAMES
    return found
