"""Which segment columns to group by together, so that a row is counted in as few groups as possible."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

GROUPS = 512
"""Groups of one set: their running sums then stay in a core's own cache."""


def packed(n_values: Sequence[int], n_arms: int) -> list[tuple[int, ...]]:
    """Every column in one of few sets, none of more than :data:`GROUPS` groups unless a column alone has them.

    Parameters
    ----------
    n_values
        About how many values each column has.
    n_arms
        Every set is by arm, too.

    Returns
    -------
    list of tuple
        Places of columns, ascending; one empty set without columns.

    Examples
    --------
    >>> packed([6, 2, 5, 50, 3], n_arms=3)
    [(3, 4), (0, 1, 2)]
    """
    sets: list[list[int]] = []
    for column in sorted(range(len(n_values)), key=lambda j: -n_values[j]):
        home = next((own for own in sets if _groups(n_values, n_arms, [*own, column]) <= GROUPS), None)
        if home is None:
            sets.append([column])
        else:
            home.append(column)
    return [tuple(sorted(own)) for own in sets] or [()]


def covering(n_values: Sequence[int], n_arms: int) -> list[tuple[int, ...]]:
    """Sets of columns such that every pair lies in one of them, each within :data:`GROUPS` where it is no mere pair.

    Examples
    --------
    >>> covering([2, 3, 2, 50], n_arms=2)
    [(0, 1, 2), (0, 2, 3), (1, 3)]
    """
    left = set(itertools.combinations(range(len(n_values)), 2))
    sets = []
    while left:
        own = list(min(left))
        while True:
            gain = {
                j: sum(tuple(sorted((i, j))) in left for i in own)
                for j in range(len(n_values))
                if j not in own and _groups(n_values, n_arms, [*own, j]) <= GROUPS
            }
            best = max(gain, key=lambda j: gain[j], default=-1)
            if best < 0 or not gain[best]:
                break
            own.append(best)
        sets.append(tuple(sorted(own)))
        left -= set(itertools.combinations(sets[-1], 2))
    return sets


def _groups(n_values: Sequence[int], n_arms: int, columns: Sequence[int]) -> int:
    return n_arms * math.prod(max(n_values[j], 1) for j in columns)
