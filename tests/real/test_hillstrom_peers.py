"""The e-mail test against the numbers of another library, to six digits; where methods differ, by how much."""

import numpy as np
import pandas as pd
import pytest

from uplift.experiments import Metric, Moments, analyze

# tea-tasting 1.14.0 in an environment of its own, "Mens E-Mail" against "No E-Mail":
# name → effect_size, low, high, pvalue, rel_effect_size, rel low, rel high
TEA_TASTING = {
    "visit": (0.07658956365153125, 0.06995314760976148, 0.083225979693301, 1.3644511962742903e-112,
              0.721404616781399, 0.6403805754169418, 0.8064307143622076),
    "spend": (0.7698271558945364, 0.4851397325684073, 1.0545145792206656, 1.1638149682254863e-07,
              1.1792887703620054, 0.6284321111713709, 1.9164859555406604),
    "spend, cuped on history": (0.7674384994278021, 0.4828128537957844, 1.0520641450598198, 1.265314467251952e-07),
    "visit, cuped on recency": (0.07678191738208971, 0.07016727728450282, 0.0833965574796766, 7.137077520637725e-114),
    "spend / visit": (1.635516900788672, -0.2992986776392397, 3.570332479216584, 0.0975627731233127),
}  # fmt: skip


@pytest.fixture(scope="module")
def pair(real_data):
    path = real_data / "hillstrom" / "hillstrom.csv"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    table = pd.read_csv(path)
    return table[table["segment"].isin(["No E-Mail", "Mens E-Mail"])]


@pytest.fixture(scope="module")
def moments(pair):
    columns = ("visit", "spend", "history", "recency")
    return Moments.of({n: pair[n] for n in columns}, (pair["segment"] == "Mens E-Mail").to_numpy().astype(np.int64), 2)


def alike(found, expected):
    assert (found.value, found.low, found.high) == pytest.approx(expected[:3], rel=1e-6)
    assert found.p_value == pytest.approx(expected[3], rel=1e-6)


def test_differences(pair):
    result = analyze(pair, arm="segment", control="No E-Mail", metrics=["visit", "spend"])
    for effect in result.effects:
        expected = TEA_TASTING[effect.metric]
        assert (effect.effect, effect.low, effect.high) == pytest.approx(expected[:3], rel=1e-6)
        assert effect.p_value == pytest.approx(expected[3], rel=1e-6)
        assert effect.relative == pytest.approx(expected[4], rel=1e-6)


def test_cuped(moments):
    alike(moments.cuped("spend", "history", 1, 0), TEA_TASTING["spend, cuped on history"])
    alike(moments.cuped("visit", "recency", 1, 0), TEA_TASTING["visit, cuped on recency"])


def test_ratio(moments, pair):
    alike(moments.with_ratio("r", "spend", "visit").means("r").difference(1, 0), TEA_TASTING["spend / visit"])
    metric = Metric("spend per visit", "ratio", column="spend", denominator="visit")
    effect = analyze(pair, arm="segment", control="No E-Mail", metrics=[metric]).effects[0]
    assert (effect.effect, effect.low, effect.high) == pytest.approx(TEA_TASTING["spend / visit"][:3], rel=1e-6)


def test_relative_intervals_differ_as_fieller_and_the_delta_method_on_logarithms_do(pair):
    """Fieller inverts the t-test of arm − R·control; the other takes log R as normal. They meet as the noise falls."""
    result = analyze(pair, arm="segment", control="No E-Mail", metrics=["visit", "spend"])
    gaps = {}
    for effect in result.effects:
        _, _, _, _, _, low, high = TEA_TASTING[effect.metric]
        gaps[effect.metric] = max(abs(effect.relative_low - low), abs(effect.relative_high - high)) / (high - low)
    assert gaps["visit"] < 0.02  # control's mean 50 standard errors above zero
    assert 0.02 < gaps["spend"] < 0.15  # 12 standard errors


def test_lin_and_cuped_differ_by_the_slopes_of_the_arms(moments):
    lin, _ = moments.regression("spend", ["history"])
    cuped = moments.cuped("spend", "history", 1, 0)
    gap = lin.difference(1, 0)
    assert gap.value != pytest.approx(cuped.value, rel=1e-9)
    assert gap.value == pytest.approx(cuped.value, abs=0.02 * cuped.se)
    assert gap.se <= cuped.se * 1.0001
