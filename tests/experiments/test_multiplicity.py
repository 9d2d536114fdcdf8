import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from uplift.experiments import benjamini_hochberg, holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def closed_test(p):
    """Holm is the closed test with Bonferroni on every subset: the definition, spelled out."""
    places = range(len(p))
    subsets = [s for size in range(1, len(p) + 1) for s in itertools.combinations(places, size)]
    return [max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in places]


@settings(max_examples=60, deadline=None)
@given(p_values)
def test_holm_is_the_closed_bonferroni_test(p):
    np.testing.assert_allclose(holm(p), closed_test(p), rtol=1e-12, atol=1e-15)


@settings(max_examples=60, deadline=None)
@given(p_values)
def test_benjamini_hochberg_equals_scipy(p):
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("method", [holm, benjamini_hochberg])
def test_comparisons_that_could_not_be_made_stay_out_of_the_family(method):
    adjusted = method([0.01, np.nan, 0.04])
    np.testing.assert_allclose(adjusted[[0, 2]], method([0.01, 0.04]))
    assert np.isnan(adjusted[1])
    assert method([]).shape == (0,)
