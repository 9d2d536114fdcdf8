import math

import numpy as np
import pytest
from scipy.stats import norm

from uplift.errors import InputError
from uplift.experiments import anytime_half_width, anytime_p_value, look


def test_wider_than_a_single_look_and_narrowest_relative_to_it_near_the_plan():
    widths = [anytime_half_width(1.0, n, 1000) for n in (10, 100, 1000, 10_000, 100_000)]
    assert min(widths) == widths[2]
    assert min(widths) > 1.96


def test_the_sequence_as_interval_and_as_p_value_agree():
    for fraction in (0.05, 0.4, 1.0, 3.0):
        edge = anytime_half_width(1.0, 1000 * fraction, 1000, 0.01)
        assert anytime_p_value(2 * norm.sf(edge), fraction, 0.01) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize("df", [1, 3, 8])
def test_the_sequence_of_several_differences_holds(df):
    rng = np.random.default_rng(df)
    steps = np.arange(1, 29)
    walk = rng.normal(size=(1500, 28, df)).cumsum(axis=1)
    statistic = (walk**2).sum(axis=2) / steps
    from scipy.stats import chi2

    alarms = np.zeros(1500, dtype=bool)
    for k in range(28):
        edge = next(q for q in np.arange(1.0, 80, 0.05) if anytime_p_value(chi2.sf(q, df), (k + 1) / 28, df=df) < 0.05)
        alarms |= statistic[:, k] > edge
    assert alarms.mean() <= 0.05
    assert (statistic > chi2.isf(0.05, df)).any(axis=1).mean() > 0.2


@pytest.mark.parametrize("given", [(1.0, 0, 10, 0.05), (1.0, 10, 0, 0.05), (1.0, 10, 10, 0.0)])
def test_sizes_and_levels_out_of_range(given):
    with pytest.raises(InputError):
        anytime_half_width(*given)


def test_without_a_plan_numbers_hold_for_one_look():
    now = look(500, None)
    assert (now.rule, now.p_value(0.03), now.critical(), now.waiting()) == ("once", 0.03, None, None)


def test_before_at_and_beyond_the_planned_size():
    rules = [look(n, 1000).rule for n in (400, 999, 1000, 1050, 1051, 3000)]
    assert rules == ["sequence", "sequence", "final", "final", "sequence", "sequence"]
    assert look(1000, 1000).p_value(0.028) == pytest.approx(0.04)
    assert look(1000, 1000).critical() is None
    assert look(400, 1000).waiting().en == "of 1,000 members planned, 400 so far"
    assert look(400, 1000).running
    assert not look(1000, 1000).running


def test_fixed_looks_conclude_at_their_places_only():
    at = (0.5, 1.0)
    rules = {n: look(n, 1000, at=at).rule for n in (400, 500, 510, 600, 1000, 1300)}
    assert rules == {400: "between", 500: "look", 510: "look", 600: "between", 1000: "look", 1300: "look"}
    assert look(600, 1000, at=at).p_value(1e-9) == 1.0
    assert "the design looks next at 1,000" in look(600, 1000, at=at).waiting().en
    assert look(400, 1000, at=at).next_size == 500


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_the_p_value_of_a_fixed_look_is_its_boundary(spending):
    from uplift.experiments import boundary

    for n, fractions in ((500, (0.5,)), (1000, (0.5, 1.0))):
        now = look(n, 1000, at=(0.5, 1.0), spending=spending)
        edge = boundary(fractions, 0.05, spending)[-1]
        assert now.p_value(2 * norm.sf(edge)) == pytest.approx(0.05, rel=2e-3)
        p = [now.p_value(float(x)) for x in np.geomspace(1e-8, 0.9, 50)]
        assert p == sorted(p)


def test_one_look_at_the_end_costs_nothing():
    assert look(1000, 1000, at=(1.0,)).p_value(0.049) == 0.049
    assert look(999, 1000, at=(1.0,)).p_value(0.001) == 1.0


def test_unknown_p_values_stay_unknown():
    assert math.isnan(look(400, 1000).p_value(math.nan))


@pytest.mark.parametrize("at", [(0.5,), (0.5, 0.4, 1.0), (0.0, 1.0)])
def test_looks_that_do_not_rise_to_the_end(at):
    with pytest.raises(InputError, match="rise from above 0 to 1"):
        look(10, 1000, at=at)
