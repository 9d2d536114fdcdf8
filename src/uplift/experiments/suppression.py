"""Small cells are not shown, nor can they be worked out from what is shown."""

from __future__ import annotations

from collections.abc import Sequence
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
    sizes = [cuts.inside @ joint for joint in counts]
    hidden = np.zeros(len(cuts.column), dtype=bool)
    for size in sizes:
        hidden |= size < min_cell
    smallest = np.minimum.reduce(sizes) if sizes else np.zeros(0)
    while not hidden.all():
        leak = next((leak for joint in counts if (leak := _leak(cuts, joint, hidden, min_cell)) is not None), None)
        if leak is None:
            break
        hidden[min(leak, key=lambda segment: (smallest[segment], segment))] = True
    return hidden


def _leak(cuts: Cuts, joint: Floats, hidden: Bools, min_cell: int) -> list[int] | None:
    """Shown segments of which one must go because together they give a small group away; None when nothing leaks."""
    size = cuts.inside @ joint
    total = float(joint.sum())
    for column in np.unique(cuts.column):
        own = cuts.column == column
        shown = np.flatnonzero(own & ~hidden)
        remainder = total - float(size[shown].sum())
        if remainder < min_cell and len(shown) and (own & hidden).any():
            return shown.tolist()
    shown = np.flatnonzero(~hidden)
    weighted = cuts.inside * joint
    overlap = weighted @ cuts.inside.T.astype(np.float64)
    for a in shown:  # one inside another, with little between them
        for b in shown:
            between = overlap[a, a] - overlap[b, b]
            if a != b and overlap[a, b] == overlap[b, b] and 0 < between < min_cell:
                return [int(b)]
    return _spanned(overlap, size, total, hidden, shown, min_cell)


def _spanned(
    overlap: Floats, size: Floats, total: float, hidden: Bools, shown: NDArray[np.int64], min_cell: int
) -> list[int] | None:
    """Shown segments whose counts, added and subtracted, give a hidden small count back."""
    if not len(shown):
        return None
    known = np.empty((len(shown) + 1, len(shown) + 1))
    known[:-1, :-1] = overlap[np.ix_(shown, shown)]
    known[-1, :-1] = known[:-1, -1] = size[shown]
    known[-1, -1] = total
    inverse = np.linalg.pinv(known, hermitian=True, rcond=1e-10)
    for segment in np.flatnonzero(hidden & (size > 0) & (size < min_cell)):
        with_known = np.append(overlap[segment, shown], size[segment])
        factors = inverse @ with_known
        if size[segment] - with_known @ factors < 1e-6 * size[segment]:
            used = shown[np.abs(factors[:-1]) > 1e-6]
            return used.tolist() if len(used) else None
    return None
