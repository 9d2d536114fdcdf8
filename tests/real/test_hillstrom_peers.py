"""The e-mail test against tea-tasting and statsmodels, to six digits; where methods differ, by how much and why."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import tea_tasting as tt
from scipy.stats import t as student

from uplift.experiments import Metric, Moments, analyze, analyze_table, fieller

NAMES = ["visit", "spend"]


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


@pytest.fixture(scope="module")
def peer(pair):
    """What tea-tasting makes of the same rows."""
    metrics = {
        "visit": tt.Mean("visit"), "spend": tt.Mean("spend"), "spend cuped": tt.Mean("spend", "history"),
        "visit cuped": tt.Mean("visit", "recency"), "ratio": tt.RatioOfMeans("spend", "visit"),
    }  # fmt: skip
    return tt.Experiment(metrics, variant="segment").analyze(pair, control="No E-Mail")


@pytest.fixture(scope="module")
def rows(pair):
    metrics = [*NAMES, Metric("ratio", "ratio", column="spend", denominator="visit")]
    return {e.metric: e for e in analyze(pair, arm="segment", control="No E-Mail", metrics=metrics).effects}


@pytest.fixture(scope="module")
def sums(pair, tmp_path_factory):
    """The same from the engine's sums."""
    path = tmp_path_factory.mktemp("sums") / "pair.parquet"
    pair.to_parquet(path)
    metrics = [*NAMES, Metric("ratio", "ratio", column="spend", denominator="visit")]
    return {e.metric: e for e in analyze_table(path, arm="segment", control="No E-Mail", metrics=metrics).effects}


def numbers(found):
    """Value, ends of the interval and p-value of ours or theirs."""
    if hasattr(found, "pvalue"):
        return found.effect_size, found.effect_size_ci_lower, found.effect_size_ci_upper, found.pvalue
    return getattr(found, "effect", None) or found.value, found.low, found.high, found.p_value


def off(found, expected):
    """The largest relative gap of two lists of numbers."""
    return max(abs(a / b - 1) for a, b in zip(found, expected, strict=True))


def test_difference_and_ratio_equal_tea_tasting(rows, sums, peer, proof):
    for way, effects in (("rows in memory", rows), ("sums in the engine", sums)):
        gap = max(off(numbers(effects[name]), numbers(peer[name])) for name in (*NAMES, "ratio"))
        assert proof(
            "experiments/peers", "Hillstrom: difference of visits, of spend, of spend per visit, with tea-tasting",
            method=way, target="six digits of value, interval and p-value",
            figure="alike" if gap < 1e-6 else f"off by {gap:.0e}", holds=gap < 1e-6,
        )  # fmt: skip
        assert [effects[n].relative for n in NAMES] == pytest.approx([peer[n].rel_effect_size for n in NAMES], rel=1e-6)


def test_cuped_equals_tea_tasting(moments, peer, proof):
    found = {
        "spend cuped": moments.cuped("spend", "history", 1, 0), "visit cuped": moments.cuped("visit", "recency", 1, 0),
    }  # fmt: skip
    gap = max(off(numbers(found[name]), numbers(peer[name])) for name in found)
    quantity = "Hillstrom: CUPED of spend on history, of visits on recency, with tea-tasting"
    target = "six digits of value, interval and p-value"
    assert proof(
        "experiments/peers", quantity, method="one slope for both arms", target=target,
        figure="alike" if gap < 1e-6 else f"off by {gap:.0e}", holds=gap < 1e-6,
    )  # fmt: skip
    lin = moments.regression("spend", ["history"])[0].difference(1, 0)
    gap = off(numbers(lin), numbers(peer["spend cuped"]))
    assert proof(
        "experiments/peers", quantity, method="Lin's slope for each arm taken for CUPED", target=target,
        figure=f"off by {gap:.0e}", holds=gap > 1e-6, planted=True,
    )  # fmt: skip


def test_adjusted_effects_equal_statsmodels(pair, tmp_path, proof):
    """Ordinary least squares on the arm, centred covariates and their products, with HC2."""
    x = pair[["recency", "history", "newbie"]].astype(float)
    for channel in ("Phone", "Web"):
        x[channel] = (pair["channel"] == channel).astype(float)
    x -= x.mean()
    arm = (pair["segment"] == "Mens E-Mail").astype(float)
    design = sm.add_constant(pd.concat([arm, x, x.mul(arm, axis=0).add_prefix("arm × ")], axis=1))
    fits = {name: sm.OLS(pair[name].astype(float), design).fit(cov_type="HC2") for name in NAMES}
    pair.to_parquet(tmp_path / "pair.parquet")
    given = {"arm": "segment", "control": "No E-Mail", "metrics": NAMES}
    given["covariates"] = ["recency", "history", "newbie", "channel"]
    ways = {
        "rows in memory": (analyze(pair, **given), False),
        "sums in the engine, leverages at a second look": (analyze_table(tmp_path / "pair.parquet", **given), False),
        "sums alone: s² in the place of leverages": (
            analyze_table(tmp_path / "pair.parquet", **given, variance="moments"), True,
        ),
    }  # fmt: skip
    for way, (result, planted) in ways.items():
        gap = max(
            off((e.effect, e.se), (fits[e.metric].params["segment"], fits[e.metric].bse["segment"]))
            for e in result.effects
        )
        assert proof(
            "experiments/peers", "Hillstrom: effects adjusted for four covariates, with statsmodels' OLS and HC2",
            method=way, target="six digits of effect and standard error",
            figure="alike" if gap < 1e-6 else f"off by {gap:.0e}", holds=(gap < 1e-6) is not planted, planted=planted,
        )  # fmt: skip


def test_relative_intervals_differ_as_fieller_and_the_delta_method_on_logarithms_do(rows, moments, peer):
    """Both follow from the same means and variances: theirs takes log R as normal, ours inverts the t-test of
    arm − R·control. They meet as the noise of the control falls."""
    gaps = {}
    for name in NAMES:
        means = moments.means(name)
        (control, arm), (v0, v1) = means.mean, np.diag(means.covariance)
        df = means.difference(1, 0).df
        a, b = v0 / control**2, v1 / arm**2  # variances of the logarithms
        half = student.ppf(0.975, (a + b) ** 2 / (a**2 / means.df[0] + b**2 / means.df[1])) * math.sqrt(a + b)
        theirs = [arm / control * math.exp(sign * half) - 1 for sign in (-1, 1)]
        low, high = peer[name].rel_effect_size_ci_lower, peer[name].rel_effect_size_ci_upper
        assert theirs == pytest.approx([low, high], rel=1e-6)
        ours = fieller(arm, control, v1, v0, df=df)
        assert (rows[name].relative_low, rows[name].relative_high) == pytest.approx(ours[1:], rel=1e-9)
        gaps[name] = max(abs(ours.low - low), abs(ours.high - high)) / (high - low)
    assert gaps["visit"] < 0.02  # control's mean 50 standard errors above zero
    assert 0.02 < gaps["spend"] < 0.15  # 12 standard errors


def test_lin_and_cuped_differ_by_the_slopes_of_the_arms(moments):
    """By (θ − (n₀β₁ + n₁β₀)/n)·(x̄₁ − x̄₀), and by nothing else."""
    lin = moments.regression("spend", ["history"])[0].difference(1, 0)
    cuped = moments.cuped("spend", "history", 1, 0)
    y, x = moments.place("spend"), moments.place("history")
    beta = moments.product[:, y, x] / moments.product[:, x, x]
    total = moments.pooled().product[0]
    slope, mix = total[y, x] / total[x, x], (moments.count[::-1] @ beta) / moments.count.sum()
    apart = (slope - mix) * (moments.mean[1, x] - moments.mean[0, x])
    assert lin.value - cuped.value == pytest.approx(apart, rel=1e-6)
    assert abs(apart) < 0.02 * cuped.se
    assert lin.se <= cuped.se * 1.0001
