"""A sound experiment with a known effect, as a flat table."""

import numpy as np
import pandas as pd
import pytest


def campaign(n=4000, seed=0, lift=0.08):
    rng = np.random.default_rng(seed)
    arm = rng.choice(["control", "gift", "voucher"], n, p=[0.5, 0.25, 0.25])
    past = rng.lognormal(3, 1, n)
    city = rng.choice(["北京", "上海", "广州"], n, p=[0.5, 0.3, 0.2])
    chance = 0.15 + 0.002 * np.minimum(past, 60) + lift * (arm == "voucher")
    bought = (rng.random(n) < chance).astype(int)
    return pd.DataFrame(
        {
            "member": [f"m{i}" for i in range(n)],
            "arm": arm,
            "past": past,
            "city": city,
            "bought": bought,
            "spend": bought * rng.lognormal(3, 0.8, n),
        }
    )


@pytest.fixture
def table():
    return campaign()


@pytest.fixture
def shares():
    return {"control": 0.5, "gift": 0.25, "voucher": 0.25}
