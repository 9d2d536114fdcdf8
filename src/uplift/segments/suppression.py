"""Small cells: hide counts below a stated size, and as many others as it takes that totals do not give them back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog


@dataclass(frozen=True)
class Suppressed:
    """What may be shown of a table of counts with its totals.

    Attributes
    ----------
    counts
        ``(rows + 1, columns + 1)``: the counts with row totals last, column totals last, the grand total in the
        corner. A list has one row, and its second row repeats it.
    small
        True where a count lies between 1 and ``min_cell - 1``.
    hidden
        True where a count must not be shown: the small ones and those that would give them back.
    min_cell
        The smallest count that may be shown.
    """

    counts: np.ndarray
    small: np.ndarray
    hidden: np.ndarray
    min_cell: int

    def text(self, row: int, column: int) -> str:
        """The count as shown: a number, ``<11`` for a small one, ``…`` for one hidden to protect another."""
        if self.small[row, column]:
            return f"<{self.min_cell}"
        return "…" if self.hidden[row, column] else f"{self.counts[row, column]:,}"

    def value(self, row: int, column: int) -> int | None:
        """The count, or None where it is hidden."""
        return None if self.hidden[row, column] else int(self.counts[row, column])


def suppress_table(counts: np.ndarray, min_cell: int) -> Suppressed:
    """Suppression of a two-way table shown with its totals.

    A small count stays hidden as long as what is shown, the totals, and the bounds that ``<11`` itself tells leave at
    least half of 1 … ``min_cell - 1`` open for it (Cox 1980's audit by linear programming), and no group of hidden
    cells whose sum is known is itself small. Zeros are shown.

    Parameters
    ----------
    counts
        ``(rows, columns)`` non-negative integers.
    """
    rows, columns = counts.shape
    full = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    full[:-1, :-1] = counts
    full[:-1, -1] = counts.sum(axis=1)
    full[-1] = full[:-1].sum(axis=0)
    index = np.arange(full.size).reshape(full.shape)
    equations = [*index, *index.T]  # the last cell of each is the sum of the others
    hidden = _protect(full.ravel(), equations, min_cell).reshape(full.shape)
    return Suppressed(full, (full > 0) & (full < min_cell), hidden, min_cell)


def suppress_list(counts: Sequence[int], min_cell: int) -> Suppressed:
    """Suppression of a list of counts shown with its total."""
    row = np.array([*counts, sum(counts)], dtype=np.int64)
    hidden = _protect(row, [np.arange(len(row))], min_cell)
    full = np.stack([row, row])
    return Suppressed(full, (full > 0) & (full < min_cell), np.stack([hidden, hidden]), min_cell)


def _protect(values: np.ndarray, equations: Sequence[np.ndarray], min_cell: int) -> np.ndarray:
    small = (values > 0) & (values < min_cell)
    hidden = small.copy()
    while True:
        weak = next(_weak_equations(values, equations, small, hidden, min_cell), None)
        if weak is None:
            return hidden
        shown = [cell for cell in weak if not hidden[cell]]
        # the smallest count gives away the least; a total only when nothing else is left; zeros last
        hidden[min(shown, key=lambda cell: (values[cell] == 0, cell == weak[-1], values[cell]))] = True


def _weak_equations(
    values: np.ndarray, equations: Sequence[np.ndarray], small: np.ndarray, hidden: np.ndarray, min_cell: int
) -> Iterator[np.ndarray]:
    """Equations that give a small count back and that still have something to hide."""
    for equation in equations:
        parts, total = equation[:-1], equation[-1]
        kept = parts[hidden[parts]]
        known_sum = not hidden[total] and len(kept) and values[kept].sum() < min_cell
        if (known_sum or hidden[equation].sum() == 1) and not hidden[equation].all():
            yield equation
    for cell in np.flatnonzero(small):
        low, high = _range(int(cell), values, equations, small, hidden, min_cell)
        if high - low < (min_cell - 1) // 2:
            for equation in equations:
                if cell in equation and not hidden[equation].all():
                    yield equation


def _range(
    cell: int, values: np.ndarray, equations: Sequence[np.ndarray], small: np.ndarray, hidden: np.ndarray, min_cell: int
) -> tuple[float, float]:
    """The least and the greatest that a reader of the table could believe a hidden count to be."""
    unknown = np.flatnonzero(hidden)
    position = {int(index): place for place, index in enumerate(unknown)}
    matrix, right = [], []
    for equation in equations:
        if not hidden[equation].any():
            continue
        signs = np.ones(len(equation))
        signs[-1] = -1
        row = np.zeros(len(unknown))
        for index, sign in zip(equation, signs, strict=True):
            if hidden[index]:
                row[position[int(index)]] = sign
        matrix.append(row)
        right.append(-float((signs * values[equation])[~hidden[equation]].sum()))
    bounds = [(1, min_cell - 1) if small[index] else (0, None) for index in unknown]
    ends: list[float] = []
    for side in (1.0, -1.0):
        goal = np.zeros(len(unknown))
        goal[position[int(cell)]] = side
        found = linprog(goal, A_eq=np.array(matrix), b_eq=np.array(right), bounds=bounds, method="highs")
        ends.append(float(side * found.fun) if found.success else float(values[cell]))
    return ends[0], ends[1]
