"""Small groups that no single table of a report gives away, but several together: what must go besides."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
BLOCK = 1 << 15
"""Kinds of members whose groups are multiplied at once."""


@dataclass(frozen=True)
class Group:
    """Members whose number a report states, or does not state because it is small.

    Attributes
    ----------
    inside : ndarray of shape (n_members,)
        Who belongs to it.
    shown
        Whether the number is stated, or follows at once from one that is (a share of a stated total).
    unit
        What is left out of the report when the number must go; groups of one unit go together. None: it must stay.
    """

    inside: Bools
    shown: bool = True
    unit: Hashable = None


def withheld(groups: Iterable[Group], min_cell: int) -> list[Hashable]:
    """Units that must go so that no small group follows from what is stated in all tables together.

    A group below ``min_cell`` follows when its members are stated groups added and taken off, each any number of times:
    a total of one table less the cells of another, arms less their sum, segments of two columns.

    Parameters
    ----------
    groups
        Of all tables, dearest first: where one of several has to go, it is of the unit that was named last.
    min_cell
        Smallest number that may be stated.

    Examples
    --------
    >>> arm = np.repeat([0, 1], [50, 50])
    >>> redeemed = np.arange(100) % 50 < np.where(arm == 0, 30, 3)
    >>> each = [Group(redeemed & (arm == a), shown=a == 0, unit=("funnel", a)) for a in (0, 1)]
    >>> withheld([*each, Group(redeemed, unit="participation")], 11)
    ['participation']
    """
    given = [group for group in groups if group.shown or 0 < group.inside.sum() < min_cell]
    gone: list[Hashable] = []
    size = [int(group.inside.sum()) for group in given]
    small = [at for at, n in enumerate(size) if 0 < n < min_cell]
    if not small:
        return gone
    both = _overlaps([group.inside for group in given])
    rank = {unit: place for place, unit in enumerate(dict.fromkeys(group.unit for group in given))}
    for at in small:  # stated by itself
        if given[at].shown and given[at].unit is not None and given[at].unit not in gone:
            gone.append(given[at].unit)
    lost: set[int] = set()  # what only numbers that must stay give away is not for this to mend
    while True:
        known = np.array([i for i, g in enumerate(given) if g.shown and g.unit not in gone], dtype=np.int64)
        hidden = [at for at in small if at not in lost and at not in known]
        leak = _follows(both, known, hidden)
        if leak is None:
            return gone
        at, used = leak
        units = [given[i].unit for i in used if given[i].unit is not None]
        if units:
            gone.append(max(units, key=lambda unit: rank[unit]))
        else:
            lost.add(at)


def _overlaps(inside: list[Bools]) -> Floats:
    """Members in both of two groups, ``(n_groups, n_groups)``; who is alike in all of them is counted at once."""
    mark = np.random.default_rng(0).integers(0, 2**63, len(inside), dtype=np.uint64)
    profile = np.zeros(len(inside[0]), dtype=np.uint64)
    for own, bits in zip(inside, mark, strict=True):
        profile[own] ^= bits  # who is in the same groups has the same number, and all but surely nobody else
    _, first, count = np.unique(profile, return_index=True, return_counts=True)
    both = np.zeros((len(inside), len(inside)))
    for start in range(0, len(first), BLOCK):
        some = slice(start, start + BLOCK)
        distinct = np.vstack([own[first[some]] for own in inside]).astype(np.float64)
        both += (distinct * count[some]) @ distinct.T
    return both


def _follows(both: Floats, known: NDArray[np.int64], hidden: list[int]) -> tuple[int, list[int]] | None:
    """A hidden group that is a sum of known ones, and these; None where there is none."""
    if not len(known) or not hidden:
        return None
    inverse = np.linalg.pinv(both[np.ix_(known, known)], hermitian=True, rcond=1e-10)
    for at in hidden:
        shared = both[at, known]
        factors = inverse @ shared
        if both[at, at] - shared @ factors < 1e-6 * both[at, at]:
            return at, known[np.abs(factors) > 1e-6].tolist()
    return None
