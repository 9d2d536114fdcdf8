import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from uplift.experiments import benjamini_hochberg, holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(p_values)
def test_holm_equals_statsmodels(p):
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12, atol=1e-15)


@given(p_values)
def test_benjamini_hochberg_equals_scipy(p):
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("method", [holm, benjamini_hochberg])
def test_comparisons_that_could_not_be_made_stay_out_of_the_family(method):
    adjusted = method([0.01, np.nan, 0.04])
    np.testing.assert_allclose(adjusted[[0, 2]], method([0.01, 0.04]))
    assert np.isnan(adjusted[1])
    assert method([]).shape == (0,)
