"""Boosters compiled for scoring many rows: QuickScorer, vectorised over rows.

A tree's leaves are bits, from left to right. A row starts with all bits set; every split that sends it to the right
clears the leaves on its left. The lowest bit that is left is the row's leaf (Lucchese, Nardini, Orlando, Perego,
Tonellotto & Venturini 2015). No split waits for another one, so a block of rows goes through a split at once.

Exact to the bit on single-precision features: a threshold becomes the largest single-precision number that is not above
it, and leaves are added up in the trees' order in double precision, as LightGBM does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]

BLOCK = 512
"""Rows that go through the splits together: their bits, for a few hundred trees, stay in the processor's cache."""
MAX_LEAVES = 32
MAX_CODES = 256
_HASH = 0x077CB531
"""A de Bruijn sequence: times a power of two, its upper five bits are different for each (Leiserson et al. 1998)."""
_PLACES = [(_HASH << bit & 0xFFFFFFFF) >> 27 for bit in range(MAX_LEAVES)]
_EVERYTHING = 0xFFFFFFFF
_CATEGORY, _DEFAULT_LEFT, _MISSING_SHIFT = 1, 2, 2
_MISSING_NONE, _MISSING_ZERO = 0, 1
_APART = 16
"""Columns of a block lie so many numbers further apart, or they would push each other out of the cache."""
_NO_ROWS = np.zeros(0, dtype=np.intp)
_NO_PLACES = np.zeros((0, 0), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class CompiledTrees:
    """Splits of all trees, one array a property, and the leaves' values.

    Attributes
    ----------
    feature, tree
        Column and tree of each split, ``(n_splits,)``.
    threshold
        A number goes left where it is at most this, ``(n_splits,)``.
    missing_left
        Where a missing value goes, ``(n_splits,)``.
    mask
        Leaves that are left when the row goes right, ``(n_splits,)``.
    table
        −1 for a split of a number, else its row in ``codes``, ``(n_splits,)``.
    codes
        For each split of a category, the leaves that are left to a row with each code; last, to one without a code
        that was seen, ``(n_category_splits, MAX_CODES + 1)``.
    leaves
        Value of each leaf, at the place that its bit hashes to, ``(n_trees, MAX_LEAVES)``.
    number
        LightGBM's number of the leaf at each place, −1 for none, ``(n_trees, MAX_LEAVES)``.
    """

    feature: npt.NDArray[np.int32]
    tree: npt.NDArray[np.int32]
    threshold: Matrix
    missing_left: npt.NDArray[np.bool_]
    mask: npt.NDArray[np.uint32]
    table: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint32]
    leaves: Floats
    number: npt.NDArray[np.int32]

    @classmethod
    def joined(cls, several: Sequence[Self]) -> Self:
        """The trees of several boosters after each other."""
        starts = np.cumsum([0, *(len(one.leaves) for one in several)])
        tables = np.cumsum([0, *(len(one.codes) for one in several)])
        tree = np.concatenate([one.tree + start for one, start in zip(several, starts, strict=False)])
        table = [np.where(one.table < 0, -1, one.table + start) for one, start in zip(several, tables, strict=False)]
        feature = np.concatenate([one.feature for one in several])
        order = np.lexsort((tree, feature))
        threshold, missing_left, mask, codes, leaves, number = (
            np.concatenate([getattr(one, name) for one in several])
            for name in ("threshold", "missing_left", "mask", "codes", "leaves", "number")
        )
        return cls(
            feature[order], tree[order].astype(np.int32), threshold[order], missing_left[order], mask[order],
            np.concatenate(table)[order].astype(np.int32), codes, leaves, number,
        )  # fmt: skip

    def revalued(self, leaves: Floats, kept: npt.NDArray[np.bool_]) -> Self:
        """Some of the trees, with other values of their leaves, ``(n_trees, MAX_LEAVES)``."""
        some = kept[self.tree]
        tree = (np.cumsum(kept) - 1)[self.tree[some]].astype(np.int32)
        feature, threshold, missing_left, mask, table = (
            getattr(self, name)[some] for name in ("feature", "threshold", "missing_left", "mask", "table")
        )
        return replace(
            self, feature=feature, tree=tree, threshold=threshold, missing_left=missing_left, mask=mask, table=table,
            leaves=leaves[kept], number=self.number[kept],
        )  # fmt: skip

    def scores(self, matrix: Matrix, threads: int, rows: Ints | None = None) -> Floats:
        """Sum of the leaves that each row ends in, ``(n,)``; or each of some rows, ``(m,)``."""
        result = np.empty(len(matrix) if rows is None else len(rows))
        self._run(matrix, rows, result, _NO_PLACES, threads)
        return result

    def places(self, matrix: Matrix, rows: Ints, threads: int) -> npt.NDArray[np.uint8]:
        """Place of the leaf that each of some rows ends in, in every tree, ``(n_trees, m)``."""
        result = np.empty((len(self.leaves), len(rows)), dtype=np.uint8)
        self._run(matrix, rows, np.empty(0), result, threads)
        return result

    def _run(
        self, matrix: Matrix, rows: Ints | None, sums: Floats, places: npt.NDArray[np.uint8], threads: int
    ) -> None:
        """Fill ``sums`` or ``places`` for every row, or for some; every thread a stretch of them."""
        kernel = _kernel()

        def work(start: int, stop: int) -> None:
            if start == stop:  # to the kernel, no rows are all of them
                return
            among, chosen = (matrix[start:stop], _NO_ROWS) if rows is None else (matrix, rows[start:stop])
            kernel(
                among, chosen, self.feature, self.tree, self.threshold, self.missing_left, self.mask,
                self.table, self.codes, self.leaves, sums[start:stop], places[:, start:stop],
            )  # fmt: skip

        count = len(matrix) if rows is None else len(rows)
        if threads <= 1:
            work(0, count)
            return
        ends = np.linspace(0, count, threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, ends[:-1], ends[1:]))


def compile_trees(text: str) -> CompiledTrees | None:
    """The trees of a booster in LightGBM's text format; None for what the kernel cannot score.

    That is: trees of more than 32 leaves, linear leaves, zeros taken for missing, averaged or several outputs, and
    categories with codes beyond 255.
    """
    head, *bodies = text.split("\nTree=")
    if "\naverage_output" in head or "num_tree_per_iteration=1" not in head:
        return None
    trees = [_fields(body) for body in bodies]
    splits: list[tuple[Any, ...]] = []
    codes: list[npt.NDArray[np.uint32]] = []
    leaves = np.zeros((len(trees), MAX_LEAVES))
    numbers = np.full((len(trees), MAX_LEAVES), -1, dtype=np.int32)
    for number, tree in enumerate(trees):
        if not _add(tree, number, splits, codes, leaves, numbers):
            return None
    splits.sort(key=lambda split: split[:2])

    def column(place: int, kind: type) -> npt.NDArray[Any]:
        return np.array([split[place] for split in splits], dtype=kind)

    return CompiledTrees(
        feature=column(0, np.int32),
        tree=column(1, np.int32),
        threshold=_not_above(column(2, np.float64)),
        missing_left=column(3, np.bool_),
        mask=column(4, np.uint32),
        table=column(5, np.int32),
        codes=np.array(codes) if codes else np.zeros((0, MAX_CODES + 1), dtype=np.uint32),
        leaves=leaves,
        number=numbers,
    )


def _fields(body: str) -> dict[str, str]:
    lines = body.split("\n\n")[0].splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _add(
    tree: dict[str, str],
    number: int,
    splits: list[tuple[Any, ...]],
    codes: list[npt.NDArray[np.uint32]],
    leaves: Floats,
    numbers: npt.NDArray[np.int32],
) -> bool:
    """Add one tree; False if it cannot be scored here."""
    count = int(tree["num_leaves"])
    if count > MAX_LEAVES or tree.get("is_linear", "0") != "0":
        return False
    values = [float(value) for value in tree["leaf_value"].split()]
    if count == 1:
        leaves[number, :] = values[0]
        numbers[number, _PLACES[0]] = 0
        return True
    feature, kind, left, right = (
        [int(value) for value in tree[name].split()]
        for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    threshold = [float(value) for value in tree["threshold"].split()]
    bounds, words = (
        [int(value) for value in tree.get(name, "").split()] for name in ("cat_boundaries", "cat_threshold")
    )
    order: list[int] = []
    below: dict[int, tuple[int, int]] = {}  # of each split: the leaves on its left, as positions from … to
    stack: list[tuple[int, int]] = [(0, 0)]
    while stack:  # in order: the left side of a split, then the split's end of the left side, then the right side
        node, stage = stack.pop()
        if node < 0:
            order.append(~node)
        elif stage == 0:
            below[node] = (len(order), 0)
            stack += [(right[node], 0), (node, 1), (left[node], 0)]
        else:
            below[node] = (below[node][0], len(order))
    leaves[number, _PLACES[:count]] = [values[leaf] for leaf in order]
    numbers[number, _PLACES[:count]] = order
    for node in range(count - 1):
        missing = kind[node] >> _MISSING_SHIFT & 3
        first, end = below[node]
        mask = _EVERYTHING & ~(((1 << end) - 1) ^ ((1 << first) - 1))
        if kind[node] & _CATEGORY:
            which = int(threshold[node])
            bits = words[bounds[which] : bounds[which + 1]]
            goes_left = [bool(bits[code // 32] >> code % 32 & 1) for code in range(32 * len(bits))]
            if any(goes_left[MAX_CODES:]):
                return False
            row = np.full(MAX_CODES + 1, mask, dtype=np.uint32)
            row[:MAX_CODES][np.flatnonzero(goes_left)] = _EVERYTHING
            codes.append(row)
            splits.append((feature[node], number, 0.0, False, mask, len(codes) - 1))
            continue
        if missing == _MISSING_ZERO:
            return False
        # without missing values in training, LightGBM takes one for 0
        missing_left = threshold[node] >= 0 if missing == _MISSING_NONE else bool(kind[node] & _DEFAULT_LEFT)
        splits.append((feature[node], number, threshold[node], missing_left, mask, -1))
    return True


def _not_above(values: Floats) -> Matrix:
    """The largest single-precision numbers that are at most as large."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)


@cache
def _kernel() -> Callable[..., None]:
    """Compiled at first need; numba keeps the machine code for the next process."""

    # numba infers the types of what it compiles
    def score(matrix, rows, feature, tree, threshold, missing_left, mask, table, codes, leaves, sums, places):  # type: ignore[no-untyped-def]
        p = matrix.shape[1]
        some = rows.shape[0] > 0
        n = rows.shape[0] if some else matrix.shape[0]
        everything = np.uint32(_EVERYTHING)
        alive = np.empty((leaves.shape[0], BLOCK), dtype=np.uint32)
        columns = np.zeros((p, BLOCK + _APART), dtype=np.float32)
        code = np.empty(BLOCK, dtype=np.int32)
        total = np.empty(BLOCK)
        for begin in range(0, n, BLOCK):
            size = min(BLOCK, n - begin)
            for f in range(p):
                x, values = matrix[:, f], columns[f]
                if some:
                    chosen = rows[begin : begin + size]
                    for r in range(size):
                        values[r] = x[np.uint64(chosen[r])]
                else:
                    values[:size] = x[begin : begin + size]
            alive[:, :] = everything
            coded = -1
            for s in range(feature.shape[0]):
                x = columns[feature[s]]
                bits = alive[tree[s]]
                kept = mask[s]
                limit = threshold[s]
                if table[s] >= 0:
                    if coded != feature[s]:
                        coded = feature[s]
                        for r in range(BLOCK):
                            code[r] = np.int32(x[r]) if x[r] >= 0 and x[r] < MAX_CODES else MAX_CODES
                    left_to = codes[table[s]]
                    for r in range(BLOCK):
                        bits[r] &= left_to[code[r]]
                elif missing_left[s]:
                    for r in range(BLOCK):
                        bits[r] &= kept if x[r] > limit else everything
                else:
                    for r in range(BLOCK):
                        bits[r] &= everything if x[r] <= limit else kept
            for t in range(places.shape[0]):
                bits, place = alive[t], places[t, begin : begin + size]
                for r in range(size):
                    lowest = bits[r] & (~bits[r] + np.uint32(1))
                    place[r] = np.uint8(np.uint32(lowest * np.uint32(_HASH)) >> np.uint32(27))
            if sums.shape[0] == 0:
                continue
            total[:] = 0.0
            for t in range(leaves.shape[0]):
                bits = alive[t]
                values = leaves[t]
                for r in range(BLOCK):
                    lowest = np.uint32(bits[r] & np.uint32(-np.int32(bits[r])))
                    total[r] += values[np.uint32(np.uint32(lowest * np.uint32(_HASH)) >> np.uint32(27))]
            sums[begin : begin + size] = total[:size]

    return compiled(score)


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Machine code that lets go of Python's lock, kept for the next process where a folder can be written to."""
    import numba

    kernel: Callable[..., None]
    try:
        kernel = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder can be written to: every process compiles anew
        kernel = numba.njit(nogil=True, error_model="numpy")(function)
    return kernel
