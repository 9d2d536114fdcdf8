"""Group-sequential boundaries against published tables."""

import numpy as np
import pytest

from uplift.errors import InputError
from uplift.experiments import boundary, crossing_probability, spent

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(
    ("spending", "published"),
    [  # two-sided 5 %, five equal looks: Lan and DeMets' functions as in ldbounds and WinLD
        ("obrien-fleming", (4.8769, 3.3570, 2.6803, 2.2898, 2.0310)),
        ("pocock", (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_lan_demets_boundaries_are_those_of_the_tables(spending, published):
    assert boundary(FIVE, 0.05, spending) == pytest.approx(published, abs=2e-4)


@pytest.mark.parametrize(
    ("looks", "pocock", "obrien_fleming"),  # constants of Jennison and Turnbull (2000), tables 2.1 and 2.3
    [(2, 2.178, 1.977), (3, 2.289, 2.004), (5, 2.413, 2.040), (10, 2.555, 2.087)],
)
def test_constants_of_pocock_and_of_obrien_and_fleming_spend_five_percent(looks, pocock, obrien_fleming):
    at = [k / looks for k in range(1, looks + 1)]
    assert crossing_probability(at, [pocock] * looks) == pytest.approx(0.05, abs=2e-4)
    falling = [obrien_fleming * (looks / k) ** 0.5 for k in range(1, looks + 1)]
    assert crossing_probability(at, falling) == pytest.approx(0.05, abs=2e-4)


@pytest.mark.parametrize(("looks", "alarms"), [(1, 0.05), (2, 0.083), (3, 0.107), (5, 0.142), (10, 0.193)])
def test_repeated_significance_tests_are_those_of_armitage_mcpherson_and_rowe(looks, alarms):
    at = [k / looks for k in range(1, looks + 1)]
    assert crossing_probability(at, [1.959964] * looks) == pytest.approx(alarms, abs=1e-3)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_the_boundary_spends_what_the_function_says_at_unequal_looks(spending):
    at = (0.1, 0.15, 0.5, 0.93, 1.0)
    critical = boundary(at, 0.05, spending)
    for k in range(1, len(at) + 1):
        expected = spent(at[k - 1], 0.05, spending)
        assert crossing_probability(at[:k], critical[:k]) == pytest.approx(expected, abs=1e-7)


def test_one_look_is_the_ordinary_test_and_many_looks_cost_more():
    assert boundary((1.0,), 0.05)[0] == pytest.approx(1.959964, abs=1e-6)
    many = boundary(tuple(np.arange(1, 29) / 28), 0.05)
    assert crossing_probability(np.arange(1, 29) / 28, many) == pytest.approx(0.05, abs=1e-6)
    assert many[-1] > 2.1


@pytest.mark.parametrize("given", [((), 0.05), ((0.5, 0.5), 0.05), ((0.0, 1.0), 0.05), ((1.0,), 0.0)])
def test_looks_out_of_order(given):
    with pytest.raises(InputError, match="rise from above 0"):
        boundary(*given)
