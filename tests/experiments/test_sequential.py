import numpy as np
import pytest

from uplift.errors import InputError
from uplift.experiments import anytime_half_width


def test_wider_than_a_single_look_and_narrowest_relative_to_it_near_the_plan():
    widths = [anytime_half_width(1.0, n, 1000) for n in (10, 100, 1000, 10_000, 100_000)]
    assert min(widths) == widths[2]
    assert min(widths) > 1.96


def test_twenty_eight_looks_at_nothing_rarely_alarm_and_naive_looks_often_do():
    rng = np.random.default_rng(0)
    looks = np.linspace(100, 2800, 28).astype(int)
    sums = np.cumsum(rng.normal(size=(1500, 2800)), axis=1)[:, looks - 1]
    widths = np.array([anytime_half_width(n**-0.5, n, 2800) for n in looks])
    means = sums / looks
    assert (np.abs(means) > widths).any(axis=1).mean() <= 0.05
    assert (np.abs(means) > 1.96 * looks**-0.5).any(axis=1).mean() > 0.2  # the defect that this is for


@pytest.mark.parametrize("given", [(1.0, 0, 10, 0.05), (1.0, 10, 0, 0.05), (1.0, 10, 10, 0.0)])
def test_sizes_and_levels_out_of_range(given):
    with pytest.raises(InputError):
        anytime_half_width(*given)
