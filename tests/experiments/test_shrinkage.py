import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import norm

from uplift.errors import InputError
from uplift.experiments import robust_critical_value, shrink


@pytest.mark.parametrize(("second_moment", "expected"), [(0, 1.95996), (1, 3.2592), (4, 7.2164)])
def test_published_critical_values(second_moment, expected):
    assert robust_critical_value(second_moment) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("second_moment", [0.2, 2.0, 9.0])
def test_critical_value_equals_a_linear_program_over_distributions(second_moment):
    chi = robust_critical_value(second_moment, alpha=0.1)
    t = np.concatenate([np.linspace(0, 60, 3001), np.geomspace(60, 4000, 800)])
    miss = norm.cdf(-chi - np.sqrt(t)) + norm.cdf(-chi + np.sqrt(t))
    worst = linprog(-miss, A_eq=[np.ones_like(t), t], b_eq=[1, second_moment])
    assert -worst.fun == pytest.approx(0.1, abs=2e-4)


def test_equal_errors_shrink_evenly_towards_the_mean():
    shrunk = shrink([0.0, 1.0, 5.0], [1.0, 1.0, 1.0])
    assert shrunk.centre == pytest.approx(2.0)
    assert np.ptp(shrunk.weight) == 0
    np.testing.assert_allclose(shrunk.value, 2 + shrunk.weight * (np.array([0.0, 1.0, 5.0]) - 2))
    assert (shrunk.low < shrunk.value).all()
    assert (shrunk.value < shrunk.high).all()


def test_far_apart_segments_are_left_nearly_alone():
    shrunk = shrink([0.0, 50.0, 100.0], [1.0, 1.0, 1.0])
    np.testing.assert_allclose(shrunk.value, [0, 50, 100], atol=0.2)
    np.testing.assert_allclose(shrunk.high - shrunk.value, 1.96, atol=0.05)


def test_scale_does_not_matter():
    one, many = shrink([1.0, 2.0, 4.0], [0.5, 1.0, 0.7]), shrink([100.0, 200.0, 400.0], [50.0, 100.0, 70.0])
    np.testing.assert_allclose(100 * one.low, many.low)


@pytest.mark.parametrize(
    ("effects", "errors"), [([1.0], [1.0]), ([1.0, 2.0], [1.0, 0.0]), ([1.0, np.nan], [1.0, 1.0]), ([1.0, 2.0], [1.0])]
)
def test_what_cannot_be_shrunk_is_refused(effects, errors):
    with pytest.raises(InputError):
        shrink(effects, errors)
