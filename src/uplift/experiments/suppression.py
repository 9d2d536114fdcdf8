"""Small cells are not shown, nor can they be worked out from what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Cuts(NamedTuple):
    """Which combination of segment values lies in which segment.

    Attributes
    ----------
    inside : ndarray of shape (n_segments, n_joint)
        A joint cell is a combination of one value of every column. True where the combination belongs to the segment.
        Segments of all columns one after the other.
    column : ndarray of shape (n_segments,)
        Place of the segment's column.
    """

    inside: Bools
    column: NDArray[np.int64]


def cut(codes: Sequence[NDArray[np.int64]], sizes: Sequence[int], n_rows: int) -> tuple[Cuts, NDArray[np.int64]]:
    """The segments of several columns in terms of the combinations that occur, and each row's combination."""
    if not codes:
        return Cuts(np.zeros((0, 1), dtype=bool), np.zeros(0, dtype=np.int64)), np.zeros(n_rows, dtype=np.int64)
    combination, joint = np.unique(np.column_stack(codes), axis=0, return_inverse=True)
    inside = np.vstack([combination[:, place][None, :] == np.arange(size)[:, None] for place, size in enumerate(sizes)])
    return Cuts(inside, np.repeat(np.arange(len(sizes)), sizes)), joint.reshape(-1).astype(np.int64)


def suppressed(cuts: Cuts, counts: Sequence[Floats], min_cell: int) -> Bools:
    """Segments whose numbers must not be shown.

    First every segment with a count below ``min_cell`` in any of ``counts``; then as many others (the smallest) as it
    takes so that no hidden count, and no other group below ``min_cell``, follows from the counts that are shown by
    adding and subtracting them, the total included, within a column or across columns.

    Parameters
    ----------
    cuts
        The segments.
    counts : sequence of ndarray of shape (n_joint,)
        The ways in which members are counted.
    min_cell
        Smallest count that may be shown.

    Returns
    -------
    ndarray of shape (n_segments,)
        True where the segment is hidden.
    """
    return hidden_segments(cuts.column, [overlaps(cuts, joint) for joint in counts], min_cell)


def hidden_rows(
    column: NDArray[np.int64],
    members: Sequence[Floats],
    metrics: Mapping[str, Sequence[Sequence[Floats]]],
    min_cell: int,
) -> dict[tuple[str, int], Bools]:
    """By metric and arm: the whole population and the segments that must not be shown, with all other rows beside them.

    A row of a metric and an arm shows how many members the arm and the control have in a segment, and so do the rows of
    other metrics, and those of other arms for the control. What one row hides another must not give back: segments are
    therefore closed for the members of the control, then for those of each arm, then for each metric's own counts in
    the control and in the arm, every step keeping what the steps before it hid.

    Parameters
    ----------
    column : ndarray of shape (n_segments,)
        Place of each segment's column.
    members : sequence of ndarray of shape (n_segments + 1, n_segments + 1)
        All members of each arm, the control first, as :func:`overlaps` gives them.
    metrics
        Metric → arm → the ways in which it counts members there: those with a value, those who bought.
    """
    control = hidden_segments(column, members[:1], min_cell)
    arms = [control, *(hidden_segments(column, [own], min_cell, control) for own in members[1:])]
    found = {}
    for metric, shared in metrics.items():
        base = hidden_segments(column, shared[0], min_cell, control)
        for arm in range(1, len(members)):
            whole = any(float(both[-1, -1]) < min_cell for both in (*shared[0], *shared[arm]))
            hidden = hidden_segments(column, shared[arm], min_cell, base | arms[arm])
            found[metric, arm] = np.concatenate([[whole], hidden])
    return found


def overlaps(cuts: Cuts, joint: Floats) -> Floats:
    """Members in both of two segments; the last row and column stand for everybody.

    Parameters
    ----------
    joint : ndarray of shape (n_joint,)
        Members by combination.

    Returns
    -------
    ndarray of shape (n_segments + 1, n_segments + 1)
        Sizes on the diagonal, the total in the corner.
    """
    inside = np.vstack([cuts.inside, np.ones((1, cuts.inside.shape[1]), dtype=bool)])
    return np.asarray((inside * joint) @ inside.T.astype(np.float64))


def hidden_segments(
    column: NDArray[np.int64], shared: Sequence[Floats], min_cell: int, already: Bools | None = None
) -> Bools:
    """As :func:`suppressed`, from the overlaps of segments, which are additive over members.

    Parameters
    ----------
    column : ndarray of shape (n_segments,)
        Place of each segment's column.
    shared : sequence of ndarray of shape (n_segments + 1, n_segments + 1)
        One for each way in which members are counted, as :func:`overlaps` gives them.
    already : ndarray of shape (n_segments,), optional
        Segments that are hidden for another reason.
    """
    sizes = [np.diag(both)[:-1] for both in shared]
    hidden = np.zeros(len(column), dtype=bool) if already is None else already.copy()
    for size in sizes:
        hidden |= size < min_cell
    smallest = np.minimum.reduce(sizes) if sizes else np.zeros(0)
    while not hidden.all():
        leak = next((leak for both in shared if (leak := _leak(column, both, hidden, min_cell)) is not None), None)
        if leak is None:
            break
        hidden[min(leak, key=lambda segment: (smallest[segment], segment))] = True
    return hidden


def nested_candidates(both: Floats, min_cell: int) -> NDArray[np.bool_]:
    """Pairs (a, b) of segments whose sizes would give a small group away if b lay inside a: from sizes alone."""
    size = np.diag(both)[:-1]
    gap = size[:, None] - size[None, :]
    return np.asarray((gap > 0) & (gap < min_cell))


def _leak(column: NDArray[np.int64], both: Floats, hidden: Bools, min_cell: int) -> list[int] | None:
    """Shown segments of which one must go because together they give a small group away; None when nothing leaks."""
    size = np.diag(both)[:-1]
    total = float(both[-1, -1])
    for place in np.unique(column):
        own = column == place
        shown = np.flatnonzero(own & ~hidden)
        remainder = total - float(size[shown].sum())
        if remainder < min_cell and len(shown) and (own & hidden).any():
            return shown.tolist()
    shown = np.flatnonzero(~hidden)
    for a, b in np.argwhere(nested_candidates(both, min_cell)):  # one inside another, with little between them
        if not hidden[a] and not hidden[b] and both[a, b] == size[b]:
            return [int(b)]
    return _spanned(both, hidden, shown, min_cell)


def _spanned(both: Floats, hidden: Bools, shown: NDArray[np.int64], min_cell: int) -> list[int] | None:
    """Shown segments whose counts, added and subtracted, give a hidden small count back."""
    if not len(shown):
        return None
    size = np.diag(both)[:-1]
    small = np.flatnonzero(hidden & (size > 0) & (size < min_cell))
    if not len(small):
        return None
    known = np.append(shown, len(size))
    inverse = np.linalg.pinv(both[np.ix_(known, known)], hermitian=True, rcond=1e-10)
    for segment in small:
        with_known = both[segment, known]
        factors = inverse @ with_known
        if size[segment] - with_known @ factors < 1e-6 * size[segment]:
            used = shown[np.abs(factors[:-1]) > 1e-6]
            return used.tolist() if len(used) else None
    return None
