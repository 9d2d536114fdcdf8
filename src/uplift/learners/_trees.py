"""Trees grown by others, written as a LightGBM model: fast prediction, SHAP values and a text format come with it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from uplift.learners._linear import MAX_ONE_HOT

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

_LARGEST = float(np.finfo(np.float32).max)
_CATEGORY, _DEFAULT_LEFT, _MISSING_IS_NAN = 1, 2, 8  # LightGBM's bits of a decision


@dataclass(frozen=True)
class TreeDesign:
    """How an encoded matrix becomes what a tree grower without categories can split on.

    Numbers stay as they are, missing ones too; a category becomes a 0/1 column for each of its up to 20 most frequent
    levels.

    Attributes
    ----------
    features
        Position of the feature that each column comes from.
    levels
        For each column the code of a level, −1 for a number.
    """

    features: tuple[int, ...]
    levels: tuple[int, ...]

    @classmethod
    def learn(cls, matrix: npt.NDArray[Any], categorical: Sequence[int]) -> Self:
        """Find the frequent levels; what never varies is left out."""
        chosen: list[tuple[int, int]] = []
        for j in range(matrix.shape[1]):
            values = matrix[:, j]
            present = values[~np.isnan(values)]
            if j not in categorical:
                if len(present) and (present.min() < present.max() or len(present) < len(values)):
                    chosen.append((j, -1))
                continue
            codes, counts = np.unique(present.astype(np.intp), return_counts=True)
            frequent = sorted(codes[np.argsort(-counts, kind="stable")[:MAX_ONE_HOT]])
            chosen += [(j, int(code)) for code in frequent if (present == code).sum() < len(values)]
        return cls(tuple(j for j, _ in chosen), tuple(level for _, level in chosen))

    def transform(self, matrix: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """All columns, ``(n, n_columns)`` in single precision, as tree growers read them."""
        result = np.empty((len(matrix), len(self.features)), dtype=np.float32)
        for k, (feature, level) in enumerate(zip(self.features, self.levels, strict=True)):
            values = matrix[:, feature]
            result[:, k] = np.clip(values, -_LARGEST, _LARGEST) if level == -1 else values == level
        return result


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree; the root is node 0 and leaves have no children (−1).

    Attributes
    ----------
    left, right
        Children of each node; rows go left where ``x[column] <= threshold``.
    column, threshold
        What each node splits on: a column of the :class:`TreeDesign`.
    missing_left
        Whether missing values go left.
    rows
        How many rows the tree was grown on in each node, positive.
    value
        Value of each node; that of a leaf is what its rows get.
    """

    left: Ints
    right: Ints
    column: Ints
    threshold: Floats
    missing_left: Mask
    rows: Floats
    value: Floats

    @classmethod
    def leaf(cls, value: float) -> Self:
        """A tree that never splits."""
        none = np.array([-1], dtype=np.intp)
        return cls(none, none, none, np.zeros(1), np.zeros(1, dtype=np.bool_), np.ones(1), np.array([value]))


def summed_up(left: Ints, right: Ints, sums: Floats) -> Floats:
    """What is known of leaves added up over the tree: ``(n_nodes, …)``, zeros in inner nodes of ``sums``."""
    total = sums.copy()
    for node in reversed(_preorder(left, right)):
        if left[node] >= 0:
            total[node] = total[left[node]] + total[right[node]]
    return total


def inherited(left: Ints, right: Ints, value: Floats, known: Mask) -> Floats:
    """Values of the nodes, each unknown one replaced by that of its closest known ancestor."""
    result = value.copy()
    for node in _preorder(left, right):
        for child in (left[node], right[node]):
            if child >= 0 and not known[child]:
                result[child] = result[node]
    return result


def _preorder(left: Ints, right: Ints) -> list[int]:
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if left[node] >= 0:
            stack += [int(right[node]), int(left[node])]
    return order


def lightgbm_text(trees: Iterable[Tree], design: TreeDesign, columns: int) -> str:
    """The sum of the trees as a LightGBM model on the encoded matrix, in LightGBM's text format (version 4).

    A split on a level's 0/1 column becomes a split on the category itself.
    """
    head = (
        f"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx={columns - 1}\n"
        f"objective=regression\nfeature_names={' '.join(f'Column_{j}' for j in range(columns))}\n"
        f"feature_infos={' '.join(['none'] * columns)}\n"
    )
    blocks = [f"Tree={number}\n{_block(tree, design)}\n\n" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(block)) for block in blocks)
    return f"{head}tree_sizes={sizes}\n\n{''.join(blocks)}end of trees\n\nfeature_importances:\n"


def _block(tree: Tree, design: TreeDesign) -> str:
    order = _preorder(tree.left, tree.right)
    inner = [node for node in order if tree.left[node] >= 0]
    leaves = [node for node in order if tree.left[node] < 0]
    if not inner:
        return f"num_leaves=1\nnum_cat=0\nleaf_value={_number(tree.value[0])}\nis_linear=0\nshrinkage=1\n"
    name = {node: str(k) for k, node in enumerate(inner)} | {node: str(~k) for k, node in enumerate(leaves)}
    features, thresholds, kinds, lefts, rights = [], [], [], [], []
    boundaries, words = [0], []
    for node in inner:
        column = int(tree.column[node])
        feature, level = design.features[column], design.levels[column]
        left, right = int(tree.left[node]), int(tree.right[node])
        if level >= 0:
            thresholds.append(str(len(boundaries) - 1))
            words += ["0"] * (level // 32) + [str(1 << level % 32)]
            boundaries.append(len(words))
            kind, left, right = _CATEGORY, right, left  # "is this level" goes left here
        else:
            # all present values on one side: the split tells missing from present
            threshold = float(tree.threshold[node])
            thresholds.append(_number(threshold if np.isfinite(threshold) else sys.float_info.max))
            kind = _MISSING_IS_NAN | (_DEFAULT_LEFT if tree.missing_left[node] else 0)
        features.append(str(feature))
        kinds.append(str(kind))
        lefts.append(name[left])
        rights.append(name[right])
    rows = {
        "num_leaves": [str(len(leaves))],
        "num_cat": [str(len(boundaries) - 1)],
        "split_feature": features,
        "split_gain": [_number(_gain(tree, node)) for node in inner],
        "threshold": thresholds,
        "decision_type": kinds,
        "left_child": lefts,
        "right_child": rights,
        "leaf_value": [_number(tree.value[node]) for node in leaves],
        "leaf_weight": [_number(tree.rows[node]) for node in leaves],
        "leaf_count": [str(int(tree.rows[node])) for node in leaves],
        "internal_value": [_number(tree.value[node]) for node in inner],
        "internal_weight": [_number(tree.rows[node]) for node in inner],
        "internal_count": [str(int(tree.rows[node])) for node in inner],
    }
    if words:
        rows |= {"cat_boundaries": [str(b) for b in boundaries], "cat_threshold": words}
    rows |= {"is_linear": ["0"], "shrinkage": ["1"]}
    return "".join(f"{key}={' '.join(values)}\n" for key, values in rows.items())


def _gain(tree: Tree, node: int) -> float:
    """Between-children sum of squares: how much of the variation in values this split makes."""
    left, right = int(tree.left[node]), int(tree.right[node])
    n_left, n_right = tree.rows[left], tree.rows[right]
    return float(n_left * n_right / (n_left + n_right) * (tree.value[left] - tree.value[right]) ** 2)


def _number(value: float) -> str:
    return repr(float(value))
