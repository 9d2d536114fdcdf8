"""Small cells: what is shown gives nothing back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from uplift.segments import Suppressed, suppress_list, suppress_table

TABLES = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.one_of(st.integers(0, 14), st.integers(0, 300)))
)


def believable(shown: Suppressed, cell: tuple[int, int]) -> tuple[float, float]:
    """The least and greatest count that a reader of the table could believe, worked out apart from the library."""
    rows, columns = shown.counts.shape
    size = rows * columns
    index = np.arange(size).reshape(rows, columns)
    matrix, right, bounds = [], [], []
    for line in [*index, *index.T]:
        equation = np.zeros(size)
        equation[line[:-1]] = 1
        equation[line[-1]] -= 1
        matrix.append(equation)
        right.append(0.0)
    for i in range(rows):
        for j in range(columns):
            if not shown.hidden[i, j]:
                bounds.append((shown.counts[i, j], shown.counts[i, j]))
            else:
                bounds.append((1, shown.min_cell - 1) if shown.small[i, j] else (0, None))
    goal = np.zeros(size)
    goal[index[cell]] = 1
    low = linprog(goal, A_eq=np.array(matrix), b_eq=right, bounds=bounds, method="highs")
    high = linprog(-goal, A_eq=np.array(matrix), b_eq=right, bounds=bounds, method="highs")
    assert low.success
    assert high.success
    return low.fun, -high.fun


@settings(max_examples=60, deadline=None, derandomize=True)
@given(counts=TABLES)
def test_no_small_count_is_given_back(counts: np.ndarray) -> None:
    shown = suppress_table(counts, 11)
    assert (shown.hidden | ~shown.small).all(), "every small count is hidden"
    everything_hidden = shown.hidden.all()
    for i, j in zip(*np.nonzero(shown.small), strict=True):
        low, high = believable(shown, (i, j))
        if not everything_hidden and not (shown.hidden[i].all() and shown.hidden[:, j].all()):
            assert high - low >= 5 - 1e-6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(counts=TABLES)
def test_what_needs_no_hiding_is_shown_in_full(counts: np.ndarray) -> None:
    large = np.where(counts < 11, 0, counts)
    shown = suppress_table(large, 11)
    assert not shown.hidden.any()
    assert shown.counts[-1, -1] == large.sum()


def test_primary_suppression_alone_would_fail() -> None:
    """The planted defect: hiding only the small cell lets the total give it back."""
    counts = np.array([[40, 5, 60]])
    shown = suppress_table(counts, 11)
    naive = Suppressed(shown.counts, shown.small, shown.small, 11)
    low, high = believable(naive, (0, 1))
    assert (low, high) == (5, 5)
    low, high = believable(shown, (0, 1))
    assert high - low >= 5


def test_sums_of_hidden_cells_are_not_small_either() -> None:
    shown = suppress_list([1, 1, 40, 50], 11)
    hidden = shown.counts[0, :-1][shown.hidden[0, :-1]]
    assert hidden.sum() >= 11


def test_two_cells_of_ten_do_not_give_each_other_away() -> None:
    shown = suppress_list([10, 10, 40, 50], 11)  # 20 left over, each at most 10: both are known unless more is hidden
    assert shown.hidden[0, :-1].sum() >= 3


def test_texts() -> None:
    shown = suppress_list([3, 25, 1_200, 0], 11)
    assert [shown.text(0, j) for j in range(5)] == ["<11", "…", "1,200", "0", "1,228"]
    assert [shown.value(0, j) for j in range(5)] == [None, None, 1_200, 0, 1_228]


@pytest.mark.parametrize("counts", [[], [0, 0], [5], [5, 0], [500]])
def test_short_lists(counts: list[int]) -> None:
    shown = suppress_list(counts, 11)
    for j, count in enumerate(counts):
        assert shown.hidden[0, j] == (0 < count < 11)
