"""Known answers: statsmodels for Lin with HC2, brute force for CR2, scipy for Welch, a grid for Fieller."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from uplift.experiments import ArmRegression, difference, fieller


def world(n=900, seed=0, arms=3):
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(50, 9, n), rng.random(n) < 0.3, rng.lognormal(0, 1, n)])
    arm = rng.choice(arms, n, p=[0.5, 0.3, 0.2][:arms] if arms == 3 else None)
    y = 3 + 0.2 * x[:, 0] + x[:, 1] + arm * (1 + 0.05 * x[:, 0]) + rng.normal(0, 1 + x[:, 2], n)
    return x, arm.astype(np.int64), y


def interacted(x, arm, y):
    """The regression as it is written in the paper, in statsmodels."""
    dummies = np.column_stack([arm == 1, arm == 2]).astype(float)
    centred = x - x.mean(axis=0)
    products = np.column_stack([centred * dummy[:, None] for dummy in dummies.T])
    return sm.OLS(y, sm.add_constant(np.column_stack([dummies, centred, products]))).fit(cov_type="HC2")


def test_equals_statsmodels_interacted_hc2():
    x, arm, y = world()
    means = ArmRegression(x, arm, 3).estimate(y)
    reference = interacted(x, arm, y)
    for place in (1, 2):
        gap = means.difference(place, 0)
        assert gap.value == pytest.approx(reference.params[place], rel=1e-9)
        assert gap.se == pytest.approx(reference.bse[place], rel=1e-9)


def test_another_variance_estimator_would_be_noticed():
    x, arm, y = world(n=120)
    hc0 = interacted(x, arm, y).get_robustcov_results("HC0").bse[1]
    assert ArmRegression(x, arm, 3).estimate(y).difference(1, 0).se != pytest.approx(hc0, rel=1e-3)


def test_without_covariates_is_welch():
    _, arm, y = world()
    gap = ArmRegression(None, arm, 3).estimate(y).difference(2, 0)
    welch = stats.ttest_ind(y[arm == 2], y[arm == 0], equal_var=False)
    low, high = welch.confidence_interval()
    assert (gap.p_value, gap.df) == pytest.approx((welch.pvalue, welch.df), rel=1e-10)
    assert (gap.low, gap.high) == pytest.approx((low, high), rel=1e-10)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_units_and_offsets_of_covariates_do_not_matter(scale):
    x, arm, y = world()
    plain = ArmRegression(x, arm, 3).estimate(y).difference(1, 0)
    moved = ArmRegression(x * scale + 1e3 * scale, arm, 3).estimate(y).difference(1, 0)
    assert moved.value == pytest.approx(plain.value, rel=1e-8)
    assert moved.se == pytest.approx(plain.se, rel=1e-8)


def test_constant_and_repeated_covariates_are_left_out():
    x, arm, y = world()
    doubled = np.column_stack([np.ones(len(y)), x, x[:, 0] * 2 - x[:, 2], x[:, 1], arm == 1])
    fitted = ArmRegression(doubled.astype(float), arm, 3)
    assert fitted.kept.tolist() == [1, 2, 3]
    plain = ArmRegression(x, arm, 3).estimate(y).difference(1, 0)
    assert fitted.estimate(y).difference(1, 0) == pytest.approx(plain, rel=1e-9)


def brute_cr2(x, arm, y, cluster):
    """CR2 from full matrices: (I − H_gg)^−½ of every cluster."""
    n_arms = int(arm.max()) + 1
    centred = x - x.mean(axis=0)
    design = np.column_stack([np.column_stack([arm == a, centred * (arm == a)[:, None]]) for a in range(n_arms)])
    bread = np.linalg.inv(design.T @ design)
    hat = design @ bread @ design.T
    residual = y - hat @ y
    meat = np.zeros_like(bread)
    for g in np.unique(cluster):
        own = cluster == g
        values, vectors = np.linalg.eigh(np.eye(own.sum()) - hat[np.ix_(own, own)])
        root = vectors @ np.diag(np.where(values > 1e-10, np.abs(values) ** -0.5, 0)) @ vectors.T
        score = design[own].T @ root @ residual[own]
        meat += np.outer(score, score)
    covariance = bread @ meat @ bread
    places = np.arange(n_arms) * (1 + x.shape[1])
    return covariance[np.ix_(places, places)]


@pytest.mark.parametrize("across", [True, False])
def test_clusters_equal_brute_force_cr2(across):
    x, arm, y = world(n=240, seed=3)
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 70, 240) if across else arm * 30 + rng.integers(0, 30, 240)
    cluster = np.unique(cluster, return_inverse=True)[1]
    means = ArmRegression(x, arm, 3, cluster).estimate(y)
    np.testing.assert_allclose(means.covariance, brute_cr2(x, arm, y, cluster), rtol=1e-8, atol=1e-12)


def test_clusters_of_one_row_are_hc2():
    x, arm, y = world(n=240)
    alone = ArmRegression(x, arm, 3, np.arange(240)).estimate(y)
    np.testing.assert_allclose(alone.covariance, ArmRegression(x, arm, 3).estimate(y).covariance, rtol=1e-10)


def test_repeated_rows_do_not_narrow_the_interval_when_clustered():
    _, arm, y = world(n=200)
    once = ArmRegression(None, arm, 3).estimate(y).difference(1, 0)
    many = np.tile(np.arange(200), 10)
    thrice = ArmRegression(None, arm[many], 3, many.astype(np.int64)).estimate(y[many]).difference(1, 0)
    naive = ArmRegression(None, arm[many], 3).estimate(y[many]).difference(1, 0)
    assert thrice.se == pytest.approx(once.se, rel=0.02)
    assert naive.se < 0.4 * once.se


def test_an_arm_of_one_row_gives_no_number():
    arm = np.array([0] * 20 + [1])
    gap = ArmRegression(None, arm, 2).estimate(np.arange(21.0)).difference(1, 0)
    assert math.isnan(gap.p_value)


def test_no_variance_gives_no_interval():
    gap = difference(0.0, 0.0, 10.0)
    assert gap.value == 0
    assert all(math.isnan(x) for x in (gap.low, gap.high, gap.p_value))


def test_fieller_is_the_set_of_ratios_that_a_t_test_does_not_refuse():
    a, b, va, vb, c = 1.3, 1.0, 0.01, 0.02, 0.004
    ratio = fieller(a, b, va, vb, c, df=30)
    t = stats.t.ppf(0.975, 30)
    grid = np.linspace(0.2, 4, 400_001)
    inside = grid[np.abs(a - grid * b) <= t * np.sqrt(va - 2 * grid * c + grid**2 * vb)]
    assert (ratio.low + 1, ratio.high + 1) == pytest.approx((inside[0], inside[-1]), abs=2e-5)
    assert ratio.value == pytest.approx(0.3)


@pytest.mark.parametrize("control", [0.1, 0.0, -1.0])
def test_no_percentage_of_a_control_mean_that_is_not_clearly_above_zero(control):
    assert all(math.isnan(x) for x in fieller(1.0, control, 0.01, 0.01))


def test_degrees_of_freedom_of_clusters_are_those_of_the_whole_matrices():
    """Bell and McCaffrey's from n × n matrices, with the correlation of members that the residuals show."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 20, 14)
    cluster = np.repeat(np.arange(14), sizes)
    arm = rng.permutation((np.arange(14) < 6).astype(np.int64))[cluster]
    x = rng.normal(size=(len(cluster), 2))
    y = x[:, 0] + rng.normal(size=14)[cluster] + rng.normal(size=len(cluster))
    found = ArmRegression(x, arm, 2, cluster).estimate(y)
    centre = x.mean(axis=0)
    for a in (0, 1):
        own = arm == a
        design = np.column_stack([np.ones(own.sum()), x[own] - centre])
        inverse = np.linalg.inv(design.T @ design)
        left = np.eye(own.sum()) - design @ inverse @ design.T
        residual, members = left @ y[own], cluster[own]
        columns, terms = [], []
        for c in np.unique(members):
            at = np.flatnonzero(members == c)
            values, vectors = np.linalg.eigh(left[np.ix_(at, at)])
            root = vectors @ np.diag(values**-0.5) @ vectors.T
            weight = root @ (design[at] @ inverse[:, 0])
            columns.append(left[:, at] @ weight)
            terms.append(weight @ residual[at])
        same = members[:, None] == members[None, :]
        pairs = same.sum() - len(members)
        shared = max((residual @ same @ residual - residual @ residual) / pairs, 0.0)
        shared /= residual @ residual / len(members) - shared
        p = np.array(columns)
        spread = p @ (np.eye(len(members)) + shared * same) @ p.T
        assert found.covariance[a, a] == pytest.approx(np.sum(np.square(terms)), rel=1e-9)
        assert found.df[a] == pytest.approx(np.trace(spread) ** 2 / np.trace(spread @ spread), rel=1e-9)
        assert found.df[a] < len(terms) - 1


def test_degrees_of_freedom_of_single_members_are_nearly_their_number():
    rng = np.random.default_rng(2)
    arm = rng.integers(0, 2, 200)
    found = ArmRegression(None, arm, 2, np.arange(200)).estimate(rng.normal(size=200))
    assert found.df == pytest.approx(np.bincount(arm) - 1)
    assert ArmRegression(None, np.array([0, 0, 1, 1]), 2, np.array([0, 0, 1, 2])).estimate(np.arange(4.0)).df[0] == 0
