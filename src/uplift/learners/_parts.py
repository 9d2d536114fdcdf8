"""Boosting on many rows: splits are found on a part of the rows, leaves are valued by all of them.

Where rows abound, most of the time of boosting goes into histograms that a part of the rows would draw as well. Here
the rows are cut at random into parts of equal size, which take turns: LightGBM grows a few trees on one part, and each
leaf then gets the value that all rows give it, tree by tree. So leaves flatter the rows that found the splits less,
for the reason that the trees of Athey & Imbens (2016) are honest, and no row is wasted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from uplift.learners._model_text import join_text, split_text
from uplift.learners._quickscorer import MAX_LEAVES, CompiledTrees, compile_trees, compiled
from uplift.learners._threads import lightgbm_threads

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]

TURN = 10
"""Trees that one part of the rows grows before it is the next one's turn, unless something else is asked for."""
MOST_KEPT = 5_000_000
"""Up to so many values of one byte each, bins of all parts are kept from turn to turn; of more they are taken anew."""
HARMLESS = frozenset(
    {
        "bin_construct_sample_cnt", "cat_smooth", "feature_fraction", "feature_fraction_bynode", "max_bin",
        "max_cat_threshold", "max_cat_to_onehot", "max_depth", "min_data_in_bin", "min_data_per_group",
        "min_gain_to_split",
    }
)  # fmt: skip
"""LightGBM's parameters that decide on splits only, so that leaves may be valued afterwards."""


@dataclass(frozen=True, eq=False)
class Grown:
    """A booster in LightGBM's text format, and the same compiled."""

    text: str
    compiled: CompiledTrees


@dataclass(frozen=True, eq=False)
class Sample:
    """What a booster is fitted on.

    Attributes
    ----------
    matrix
        Encoded features, ``(n, p)``.
    rows
        Positions, ascending, ``(m,)``.
    target
        Of these rows, ``(m,)``.
    weight
        Of these rows, with mean 1, ``(m,)``; None: all 1.
    """

    matrix: Matrix
    rows: Ints
    target: npt.NDArray[np.floating[Any]]
    weight: Floats | None

    def base(self, logistic: bool) -> float:
        """The best constant score."""
        mean = float(np.average(self.target, weights=self.weight))
        return float(np.log(mean / (1 - mean))) if logistic else mean


def cut(m: int, parts: int, seed: int) -> list[npt.NDArray[np.int32]]:
    """``m`` positions cut at random into parts of equal size, each ascending."""
    part = np.arange(m, dtype=np.int8 if parts < 128 else np.int32) % parts
    np.random.default_rng(seed).shuffle(part)
    return [np.flatnonzero(part == k).astype(np.int32) for k in range(parts)]


def grow_in_parts(
    params: dict[str, Any],
    rounds: int,
    sample: Sample,
    dataset: Callable[[Ints, npt.NDArray[np.floating[Any]], Floats | None], Any],
    parts: int,
    turn: int,
) -> Grown | None:
    """A booster; None where no split was found.

    Parameters
    ----------
    params
        LightGBM's parameters, ``objective`` among them: ``regression`` or ``binary``.
    rounds
        Number of trees.
    sample
        All rows.
    dataset
        LightGBM's ``Dataset`` of some rows, given their positions, targets and weights.
    parts
        How many there are.
    turn
        Trees that one part grows before it is the next one's turn.
    """
    import lightgbm

    logistic = params["objective"] == "binary"

    def made(some: npt.NDArray[np.int32]) -> Any:
        weight = None if sample.weight is None else sample.weight[some]
        return dataset(sample.rows[some], sample.target[some], weight)

    pieces = cut(len(sample.rows), parts, params["seed"])
    kept = len(sample.rows) * sample.matrix.shape[1] <= MOST_KEPT
    turns = [made(some) for some in pieces] if kept else []
    valuing = _Valuing(sample, logistic, params["learning_rate"], params["lambda_l2"], params["num_threads"])
    # a part stands for all rows: what is asked of a leaf is asked of its share
    own = {
        **params,
        "lambda_l2": params["lambda_l2"] / parts,
        "min_data_in_leaf": max(1, round(params["min_data_in_leaf"] / parts)),
    }
    head, trees, grown = "", list[str](), list[CompiledTrees]()
    for number, start in enumerate(range(0, rounds, turn)):
        some = pieces[number % parts]
        data = turns[number % parts] if kept else made(some)
        data.set_init_score(valuing.score[some])
        with lightgbm_threads(own["num_threads"]):
            booster = lightgbm.Booster({**own, "seed": (params["seed"] + number) % (2**31 - 1)}, data)
            for _ in range(min(turn, rounds - start)):
                if booster.update():  # nothing more to split
                    break
            text = booster.model_to_string()
        data.set_init_score(None)  # of no use until this part's next turn
        del booster, data
        head, blocks = split_text(text)
        valued, alike = valuing.value(text, blocks, parts, first=not trees)
        trees += valued
        grown.append(alike)
    return Grown(join_text(head, trees), CompiledTrees.joined(grown)) if trees else None


class _Valuing:
    """The score of every row so far, and the values that all rows give to the leaves of new trees."""

    def __init__(self, sample: Sample, logistic: bool, rate: float, l2: float, threads: int) -> None:
        m = len(sample.rows)
        self.sample, self.logistic, self.rate, self.l2, self.threads = sample, logistic, rate, l2, threads
        self.target = sample.target.astype(np.float32, copy=False)
        self.even = sample.weight is None
        self.weight = np.broadcast_to(np.float32(1), m) if sample.weight is None else sample.weight.astype(np.float32)
        self.base = sample.base(logistic)
        self.score = np.full(m, self.base)

    def value(self, text: str, blocks: Sequence[str], parts: int, *, first: bool) -> tuple[list[str], CompiledTrees]:
        """The trees with their leaves valued, as text and compiled; those without a split are left out.

        The first of all trees bears the constant.
        """
        trees = compile_trees(text)
        if trees is None:
            raise ValueError("trees of more than 32 leaves cannot be valued by all rows")
        places = trees.places(self.sample.matrix, self.sample.rows, self.threads)
        values, sums = np.zeros((2, len(blocks), MAX_LEAVES)), np.zeros((len(blocks), MAX_LEAVES))
        split = np.array([(tree >= 0).sum() > 1 for tree in trees.number], dtype=np.bool_)
        _kernel()(
            places, split, self.target, self.weight, self.even, self.score, self.logistic, self.rate, self.l2,
            values[0], values[1], sums,
        )  # fmt: skip
        if first and split.any():
            values[0, split.argmax()] += self.base
        result: list[str] = []
        for number in np.flatnonzero(split).tolist():
            value, weight, count = _by_leaf(trees, number, values[0], values[1], sums)
            result.append(_revalued(blocks[number], value, weight, count, parts))
        return result, trees.revalued(np.where(trees.number >= 0, values[0], 0.0), split)


def _by_leaf(trees: CompiledTrees, tree: int, *of_places: Floats) -> list[list[float]]:
    """What is known by place, in LightGBM's order of the leaves."""
    number = trees.number[tree]
    places = np.flatnonzero(number >= 0)
    order = places[np.argsort(number[places])]
    return [known[tree, order].tolist() for known in of_places]


def _revalued(block: str, value: list[float], weight: list[float], count: list[float], parts: int) -> str:
    """A tree with other leaves; its nodes are means of theirs, and its gains are those of all rows."""
    fields = dict(line.split("=", 1) for line in block.splitlines())
    children = [[int(child) for child in fields[side].split()] for side in ("left_child", "right_child")]
    inner = len(children[0])
    total, mass, rows = ([0.0] * inner for _ in range(3))
    for node in reversed(range(inner)):  # a child comes after its parent
        for side in children:
            child = side[node]
            if child < 0:
                total[node] += value[~child] * weight[~child]
                mass[node] += weight[~child]
                rows[node] += count[~child]
            else:
                total[node] += total[child]
                mass[node] += mass[child]
                rows[node] += rows[child]
    fields |= {
        "leaf_value": _numbers(value),
        "leaf_weight": _numbers(weight),
        "leaf_count": " ".join(str(int(found)) for found in count),
        "internal_value": _numbers(
            [sums / below if below > 0 else sums for sums, below in zip(total, mass, strict=True)]
        ),
        "internal_weight": _numbers(mass),
        "internal_count": " ".join(str(int(found)) for found in rows),
        "split_gain": _numbers([float(gain) * parts for gain in fields["split_gain"].split()]),
    }
    return "\n".join(f"{name}={values}" for name, values in fields.items())


def _numbers(values: Sequence[float]) -> str:
    return " ".join(map(repr, values))


@cache
def _kernel() -> Callable[..., None]:
    """Compiled at first need."""

    # numba infers the types of what it compiles
    def value(places, split, target, weight, even, score, logistic, rate, l2, values, weights, counts):  # type: ignore[no-untyped-def]
        n = target.shape[0]
        total = np.empty((4, MAX_LEAVES, 3))  # in turn, so that no sum waits for the one before
        before = np.zeros(MAX_LEAVES)
        old = places[0]
        for t in range(places.shape[0]):
            if not split[t]:
                continue
            total[:] = 0.0
            new = places[t]
            if logistic:
                for i in range(n):
                    score[i] += before[old[i]]
                    mean = 1.0 / (1.0 + np.exp(-score[i]))
                    of = total[i & 3, new[i]]
                    of[0] += weight[i] * (target[i] - mean)
                    of[1] += weight[i] * mean * (1.0 - mean)
                    of[2] += 1.0
            elif even:  # the curve is the count
                for i in range(n):
                    score[i] += before[old[i]]
                    of = total[i & 3, new[i]]
                    of[0] += target[i] - score[i]
                    of[2] += 1.0
                total[:, :, 1] = total[:, :, 2]
            else:
                for i in range(n):
                    score[i] += before[old[i]]
                    of = total[i & 3, new[i]]
                    of[0] += weight[i] * (target[i] - score[i])
                    of[1] += weight[i]
                    of[2] += 1.0
            for place in range(MAX_LEAVES):
                pull = total[0, place, 0] + total[1, place, 0] + total[2, place, 0] + total[3, place, 0]
                curve = total[0, place, 1] + total[1, place, 1] + total[2, place, 1] + total[3, place, 1]
                counts[t, place] = total[0, place, 2] + total[1, place, 2] + total[2, place, 2] + total[3, place, 2]
                before[place] = rate * pull / (curve + l2) if curve > 0.0 else 0.0
                values[t, place] = before[place]
                weights[t, place] = curve
            old = new
        for i in range(n):
            score[i] += before[old[i]]

    return compiled(value)
