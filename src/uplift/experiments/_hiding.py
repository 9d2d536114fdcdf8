"""Which cells of a table in the engine must not be shown: sizes from its sums, overlaps looked up only where needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.experiments._measured import Cut
from uplift.experiments._relation import Relation
from uplift.experiments._sums import Cells, Plan, run, run_pairs
from uplift.experiments.suppression import hidden_rows, nested_candidates

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Segments of several columns, one after the other, and the values of the file behind each.

    Attributes
    ----------
    cuts
        Columns and their values.
    raw
        By column: value → values of the file.
    arms
        Values of the arm's column, the control first.
    """

    cuts: tuple[Cut, ...]
    raw: Sequence[Mapping[str, list[Any]]]
    arms: Sequence[Any]

    @property
    def column(self) -> NDArray[np.int64]:
        """Place of each segment's column."""
        return np.repeat(np.arange(len(self.cuts)), [len(cut.values) for cut in self.cuts])

    def segments(self) -> Iterator[tuple[int, list[Any]]]:
        """Column and values of the file of every segment."""
        for c, cut in enumerate(self.cuts):
            for level in cut.values:
                yield c, self.raw[c][level]

    def sizes(self, cells: Cells, arm: Any, key: str) -> Floats:
        """A count in every segment and, last, in all, as overlaps; those of different columns are not known and NaN."""
        size = [float(sum(cells.get(arm, c, value, key) for value in values)) for c, values in self.segments()]
        both = np.full((len(size) + 1, len(size) + 1), np.nan)
        column = self.column
        both[:-1, :-1][column[:, None] == column[None, :]] = 0.0  # nobody is in two segments of one column
        both[-1, :-1] = both[:-1, -1] = size
        np.fill_diagonal(both, [*size, float(cells.get(arm, None, None, key))])
        return both

    def overlaps(self, cells: Cells, pairs: Cells, arm: Any, key: str) -> Floats:
        """The same with the overlaps of different columns."""
        both = self.sizes(cells, arm, key)
        segments = list(self.segments())
        for (i, (c, own)), (j, (d, other)) in itertools.combinations(enumerate(segments), 2):
            if c != d:
                count = sum(pairs.get(arm, (c, d), (a, b), key) for a in own for b in other)
                both[i, j] = both[j, i] = float(count)
        return both


def hidden_cells(
    relation: Relation, plan: Plan, cells: Cells, grid: Grid, keys: Mapping[str, tuple[str, str]], min_cell: int
) -> dict[tuple[str, int], NDArray[np.bool_]]:
    """By metric and arm: the whole population and the segments that are too small, or would give a small one away.

    Parameters
    ----------
    keys
        Metric → names of the sums that count its rows and its buyers.
    """
    n_arms = len(grid.arms)
    wanted = {(a, key) for a in range(n_arms) for pair in (("n", "n"), *keys.values()) for key in pair}
    sizes = {(a, key): grid.sizes(cells, grid.arms[a], key) for a, key in wanted}
    if len(grid.cuts) > 1 and _may_leak(relation, plan, grid, sizes, min_cell):
        pairs = run_pairs(relation, plan)
        sizes = {(a, key): grid.overlaps(cells, pairs, grid.arms[a], key) for a, key in wanted}
    shared = {metric: [[sizes[a, key] for key in pair] for a in range(n_arms)] for metric, pair in keys.items()}
    return hidden_rows(grid.column, [sizes[a, "n"] for a in range(n_arms)], shared, min_cell)


def _may_leak(
    relation: Relation, plan: Plan, grid: Grid, sizes: Mapping[tuple[int, str], Floats], min_cell: int
) -> bool:
    """Whether overlaps matter: a small cell, or a segment that may lie inside a slightly larger one.

    That it does not is proved by a single row of the first thousands that is in one and not in the other.
    """
    near = {of: nested_candidates(both, min_cell) & np.isnan(both[:-1, :-1]) for of, both in sizes.items()}
    if any((np.diag(both)[:-1] < min_cell).any() for both in sizes.values()):
        return True
    if not any(pair.any() for pair in near.values()):
        return False
    head = relation.head()
    cells, pairs = run(head, plan), run_pairs(head, plan)
    for (a, key), candidates in near.items():
        seen = grid.overlaps(cells, pairs, grid.arms[a], key)
        outside = np.diag(seen)[None, :-1] - seen[:-1, :-1]  # of b, not in a
        if (candidates & ~(outside > 0)).any():
            return True
    return False
