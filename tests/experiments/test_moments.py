"""Sums against the rows they came from, statsmodels, and the numbers of another library."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import tea_tasting as tt

from uplift.errors import InputError
from uplift.experiments import ArmRegression, Metric, Moments, analyze, analyze_table


def shop(n=20_000):
    """Members, visits, orders and money; 30 % treated."""
    rng = np.random.default_rng(12)
    x = rng.gamma(2.0, 10.0, n)
    arm = (rng.random(n) < 0.3).astype(np.int64)
    visits = rng.poisson(2 + 0.05 * x + 0.2 * arm) + 1
    orders = rng.binomial(visits, 0.3 + 0.02 * arm)
    spend = np.where(orders > 0, orders * rng.gamma(3.0, 8.0, n) + 0.3 * x, 0.0)
    return pd.DataFrame({"arm": arm, "x": x, "visits": visits, "orders": orders, "spend": spend})


@pytest.fixture(scope="module")
def table():
    return shop()


@pytest.fixture(scope="module")
def moments(table):
    return Moments.of({name: table[name] for name in ("x", "visits", "orders", "spend")}, table["arm"].to_numpy(), 2)


@pytest.fixture(scope="module")
def peer(table):
    """What tea-tasting makes of the same table."""
    metrics = {
        "difference": tt.Mean("spend"), "cuped": tt.Mean("spend", "x"), "ratio": tt.RatioOfMeans("orders", "visits"),
    }  # fmt: skip
    return tt.Experiment(metrics, variant="arm").analyze(table, control=0)


def alike(found, expected):
    ends = expected.effect_size_ci_lower, expected.effect_size_ci_upper
    assert (found.value, found.low, found.high) == pytest.approx((expected.effect_size, *ends), rel=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)


def test_difference_agrees_with_tea_tasting(moments, peer):
    alike(moments.means("spend").difference(1, 0), peer["difference"])


def test_cuped_agrees_with_tea_tasting(moments, peer):
    alike(moments.cuped("spend", "x", 1, 0), peer["cuped"])


def test_ratio_agrees_with_tea_tasting(moments, peer):
    ratio = moments.with_ratio("orders per visit", "orders", "visits")
    alike(ratio.means("orders per visit").difference(1, 0), peer["ratio"])


@pytest.mark.parametrize("engine", ["rows", "sums"])
def test_analyses_agree_with_tea_tasting(table, peer, tmp_path, engine):
    metrics = ["spend", Metric("orders per visit", "ratio", column="orders", denominator="visits")]
    if engine == "rows":
        effects = analyze(table, arm="arm", control=0, metrics=metrics).effects
    else:
        table.to_parquet(tmp_path / "t.parquet")
        effects = analyze_table(tmp_path / "t.parquet", arm="arm", control=0, metrics=metrics).effects
    for effect, expected in zip(effects, (peer["difference"], peer["ratio"]), strict=True):
        ends = expected.effect_size_ci_lower, expected.effect_size_ci_upper
        assert (effect.effect, effect.low, effect.high) == pytest.approx((expected.effect_size, *ends), rel=1e-8)
        assert effect.p_value == pytest.approx(expected.pvalue, rel=1e-6)
        assert effect.relative == pytest.approx(expected.rel_effect_size, rel=1e-8)


def test_regression_agrees_with_least_squares_of_each_arm(moments, table):
    means, used = moments.regression("spend", ["x", "visits"])
    assert used == ("x", "visits")
    centred = sm.add_constant(table[["x", "visits"]] - table[["x", "visits"]].mean())
    for arm in (0, 1):
        own = (table["arm"] == arm).to_numpy()
        fit = sm.OLS(table.loc[own, "spend"], centred[own]).fit()
        assert means.mean[arm] == pytest.approx(fit.params["const"], rel=1e-9)
        assert means.covariance[arm, arm] == pytest.approx(fit.bse["const"] ** 2, rel=1e-9)
        assert means.df[arm] == fit.df_resid


def test_regression_gives_the_estimate_of_the_rows(moments, table):
    rows = ArmRegression(table[["x", "visits"]].to_numpy(float), table["arm"].to_numpy(), 2).estimate(
        table["spend"].to_numpy()
    )
    sums, _ = moments.regression("spend", ["x", "visits"])
    np.testing.assert_allclose(sums.mean, rows.mean, rtol=1e-10)
    np.testing.assert_allclose(np.diag(sums.covariance), np.diag(rows.covariance), rtol=0.1)  # HC2 beside s²


def test_plain_means_are_those_of_weighted_least_squares(moments, table):
    """Two arms with a variance of each: WLS with the inverse of the arms' variances gives Welch's standard error."""
    variance = table.groupby("arm")["spend"].var()
    fit = sm.WLS(
        table["spend"], sm.add_constant(table["arm"].astype(float)), weights=1 / table["arm"].map(variance)
    ).fit(cov_type="fixed scale")
    gap = moments.means("spend").difference(1, 0)
    assert gap.value == pytest.approx(fit.params["arm"], rel=1e-9)
    assert gap.se == pytest.approx(fit.bse["arm"], rel=1e-9)


def test_linearised_ratio_is_the_delta_method(moments, table):
    means = moments.with_ratio("r", "orders", "visits").means("r")
    for arm in (0, 1):
        own = table[table["arm"] == arm]
        top, bottom = own["orders"], own["visits"]
        ratio = top.mean() / bottom.mean()
        both = np.cov(top, bottom)
        variance = (both[0, 0] - 2 * ratio * both[0, 1] + ratio**2 * both[1, 1]) / bottom.mean() ** 2 / len(own)
        assert means.mean[arm] == pytest.approx(ratio, rel=1e-12)
        assert means.covariance[arm, arm] == pytest.approx(variance, rel=1e-9)


def test_parts_add_up_to_the_whole(table, moments):
    cut = np.arange(len(table)) % 3 == 0
    parts = [
        Moments.of({n: table.loc[own, n] for n in moments.columns}, table.loc[own, "arm"].to_numpy(), 2)
        for own in (cut, ~cut)
    ]
    whole = parts[0] + parts[1]
    np.testing.assert_allclose(whole.mean, moments.mean, rtol=1e-12)
    np.testing.assert_allclose(whole.product, moments.product, rtol=1e-9)
    empty = Moments.of({n: [] for n in moments.columns}, np.empty(0, dtype=np.int64), 2)
    np.testing.assert_allclose((empty + moments).mean, moments.mean)
    np.testing.assert_allclose((moments + empty).product, moments.product)
    with pytest.raises(InputError, match="same columns"):
        moments + moments.select(["x"])


def test_repeated_and_constant_covariates_are_left_out(table):
    values = {"x": table["x"], "twice": 2 * table["x"], "one": np.ones(len(table)), "spend": table["spend"]}
    moments = Moments.of(values, table["arm"].to_numpy(), 2)
    assert moments.independent(["x", "twice", "one"]) == ["x"]


def test_unknown_column(moments):
    with pytest.raises(InputError, match="did you mean 'spend'"):
        moments.means("spent")


def test_a_ratio_over_nothing_has_no_value():
    moments = Moments.of({"n": [1.0, 2.0, 0.0, 3.0], "d": [0.0, 0.0, 1.0, 1.0]}, np.array([0, 0, 1, 1]), 2)
    means = moments.with_ratio("r", "n", "d").means("r")
    assert np.isnan(means.mean[0])
    assert means.mean[1] == pytest.approx(1.5)
