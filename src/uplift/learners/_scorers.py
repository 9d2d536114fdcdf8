"""What is left of a fitted model: things that turn an encoded matrix into numbers and can be written as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError
from uplift.learners._linear import LinearDesign
from uplift.learners._model_text import join_text, split_columns, split_text
from uplift.learners._quickscorer import CompiledTrees, compile_trees
from uplift.learners._threads import lightgbm_threads

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]
Link = Literal["identity", "logistic"]
BLOCK = 1 << 17
"""Rows scored at a time, which bounds the memory of intermediate scores."""
WORTH_LOADING = 10_000_000
"""Rows times trees, of a process so far, that make up for the second that the first use of compiled trees takes."""
WORTH_COMPILING = 500_000
"""Rows times trees that make up for the milliseconds of compiling a booster."""
_CHECKED_ROWS = 256


class Scorer(Protocol):
    """Anything that scores rows."""

    def values(self, matrix: Matrix, threads: int) -> Floats:
        """A probability or an amount per row, ``(n,)``."""

    def contributions(self, matrix: Matrix, threads: int) -> Floats:
        """What each feature adds to the value, ``(n, n_columns + 1)``; the last column is the baseline."""

    def gain(self, columns: int) -> Floats:
        """Importance of each column, ``(columns,)``."""

    def to_dict(self, files: dict[str, str]) -> dict[str, Any]:
        """Plain values for JSON; long texts go into ``files``."""


@dataclass(frozen=True)
class ConstantScorer:
    """The same value for every row."""

    value: float

    def values(self, matrix: Matrix, threads: int) -> Floats:
        """``value`` for every row."""
        return np.full(len(matrix), self.value)

    def contributions(self, matrix: Matrix, threads: int) -> Floats:
        """All of it is baseline."""
        result = np.zeros((len(matrix), matrix.shape[1] + 1))
        result[:, -1] = self.value
        return result

    def gain(self, columns: int) -> Floats:
        """Nothing matters."""
        return np.zeros(columns)

    def to_dict(self, files: dict[str, str]) -> dict[str, Any]:
        """Plain values."""
        return {"kind": "constant", "value": self.value}


@dataclass(frozen=True)
class LinearScorer:
    """A linear or logistic regression.

    Attributes
    ----------
    design
        How the matrix becomes regressors.
    coefficients, intercept
        Of the regressors.
    link
        ``logistic`` gives probabilities.
    """

    design: LinearDesign
    coefficients: tuple[float, ...]
    intercept: float
    link: Link

    def raw(self, matrix: Matrix) -> Floats:
        """Before the link, added up column by column so that a row's value does not depend on the others."""
        total = np.full(len(matrix), self.intercept)
        for k, coefficient in enumerate(self.coefficients):
            total += coefficient * self.design.column(matrix, k)
        return total

    def values(self, matrix: Matrix, threads: int) -> Floats:
        """Mean outcome per row."""
        return _linked(self.raw(matrix), self.link)

    def contributions(self, matrix: Matrix, threads: int) -> Floats:
        """Coefficient times regressor, added up per feature."""
        parts = np.zeros((len(matrix), matrix.shape[1] + 1))
        for k, coefficient in enumerate(self.coefficients):
            parts[:, self.design.features[k]] += coefficient * self.design.column(matrix, k)
        parts[:, -1] = self.intercept
        return _rescaled(parts, self.link)

    def gain(self, columns: int) -> Floats:
        """Sum of the absolute coefficients of standardised regressors."""
        result = np.zeros(columns)
        for k, coefficient in enumerate(self.coefficients):
            result[self.design.features[k]] += abs(coefficient)
        return result

    def to_dict(self, files: dict[str, str]) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": "linear",
            "design": self.design.to_dict(),
            "coefficients": list(self.coefficients),
            "intercept": self.intercept,
            "link": self.link,
        }


@dataclass(frozen=True)
class BoosterScorer:
    """A LightGBM booster kept as text.

    Attributes
    ----------
    text
        LightGBM's own text format.
    link
        ``logistic`` turns the raw score into a probability.
    offset, scale
        The value is ``offset + scale × raw`` before the link (outcomes are standardised for the booster).
    columns
        How many columns the booster reads.
    """

    text: str
    link: Link
    offset: float
    scale: float
    columns: int
    _cache: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def grown_as(self, compiled: CompiledTrees) -> Self:
        """Itself, told what its trees are compiled, where growing them has done that already."""
        self._cache["grown"] = compiled
        return self

    def splitting_on(self, column: int) -> Scorer:
        """The same differences between two values of a column: trees that never split on it give both the same.

        A probability's differences depend on all trees, so a classifier stays what it is.
        """
        if self.link != "identity":
            return self
        head, trees = split_text(self.text)
        kept = [tree for tree in trees if column in split_columns(tree)]
        return replace(self, text=join_text(head, kept)) if kept else ConstantScorer(0.0)

    @property
    def booster(self) -> Any:
        """The booster, parsed once."""
        if "booster" not in self._cache:
            self._cache["booster"] = parse_booster(self.text, self.columns)
        return self._cache["booster"]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    def raw(self, matrix: Matrix, threads: int) -> Floats:
        """The score before the link, ``(n,)``; log-odds for a classifier."""
        if not len(matrix):
            return np.zeros(0)
        compiled = self._compiled(matrix, len(matrix))
        sums = compiled.scores(matrix, threads) if compiled is not None else self._plain(matrix, threads)
        return self.offset + self.scale * sums

    def _plain(self, matrix: Matrix, threads: int) -> Floats:
        """Sums of leaves by LightGBM."""
        return _predicted(self.booster, matrix, threads, raw_score=True)

    def _compiled(self, matrix: Matrix, count: int) -> CompiledTrees | None:
        """The trees compiled, where so many rows are worth it; their sums are the same to the bit."""
        if matrix.dtype != np.float32 or not _worth_compiling(count * self.booster.num_trees()):
            return None
        if "compiled" not in self._cache:
            known = self._cache.get("grown") or compile_trees(self.text)
            self._cache["compiled"] = checked_trees(known, self.booster, matrix)
        compiled: CompiledTrees | None = self._cache["compiled"]
        return compiled

    def values(self, matrix: Matrix, threads: int) -> Floats:
        """A probability or an amount per row."""
        return _linked(self.raw(matrix, threads), self.link)

    def values_at(self, matrix: Matrix, rows: Ints, threads: int) -> Floats | None:
        """The same for some rows where they lie; None where they are better copied."""
        compiled = self._compiled(matrix, len(rows)) if len(rows) else None
        if compiled is None:
            return None
        return _linked(self.offset + self.scale * compiled.scores(matrix, threads, rows), self.link)

    def raw_contributions(self, matrix: Matrix, threads: int) -> Floats:
        """SHAP values of the score before the link (Lundberg et al. 2020, by LightGBM), ``(n, n_columns + 1)``."""
        if not len(matrix):
            return np.zeros((0, self.columns + 1))
        parts = self.scale * _predicted(self.booster, matrix, threads, pred_contrib=True)
        parts[:, -1] += self.offset
        return parts

    def contributions(self, matrix: Matrix, threads: int) -> Floats:
        """SHAP values, brought to probabilities by the rescale rule where the link is logistic."""
        return _rescaled(self.raw_contributions(matrix, threads), self.link)

    def gain(self, columns: int) -> Floats:
        """Total gain of the splits on each column, in units of the outcome's loss."""
        result = np.zeros(columns)
        result[: self.columns] = self.booster.feature_importance("gain")[:columns] * self.scale**2
        return result

    def to_dict(self, files: dict[str, str]) -> dict[str, Any]:
        """Plain values; the booster's text goes into ``files``."""
        name = f"booster-{len(files):03d}.txt"
        files[name] = self.text
        return {
            "kind": "booster",
            "file": name,
            "link": self.link,
            "offset": self.offset,
            "scale": self.scale,
            "columns": self.columns,
        }


class _Worth:
    """Whether compiled trees pay: their first use in a process takes a second, every later one next to nothing."""

    def __init__(self) -> None:
        self._so_far = 0

    def __call__(self, work: int) -> bool:
        """Of so many rows times trees."""
        if work < WORTH_COMPILING:
            return False
        self._so_far += work
        return self._so_far >= WORTH_LOADING


_worth_compiling = _Worth()


def values_at(scorer: Scorer, matrix: Matrix, rows: Ints, threads: int) -> Floats:
    """Values of some rows, ``(m,)``."""
    found = scorer.values_at(matrix, rows, threads) if isinstance(scorer, BoosterScorer) else None
    if found is not None:
        return found
    result = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):  # a block at a time: the copy takes no memory to speak of
        some = slice(start, start + BLOCK)
        result[some] = scorer.values(matrix[rows[some]], threads)
    return result


def checked_trees(compiled: CompiledTrees | None, booster: Any, matrix: Matrix) -> CompiledTrees | None:
    """The compiled trees, if they give LightGBM's own numbers on some of these rows and on rows of missing values."""
    if compiled is None:
        return None
    some = matrix[:: max(1, len(matrix) // _CHECKED_ROWS)][:_CHECKED_ROWS]
    sample = np.concatenate([some, np.full((1, matrix.shape[1]), np.nan, dtype=np.float32)])
    exact = np.array_equal(compiled.scores(sample, 1), _predicted(booster, sample, 1, raw_score=True))
    return compiled if exact else None


def _predicted(booster: Any, matrix: Matrix, threads: int, **what: bool) -> Floats:
    """What LightGBM itself makes of rows."""
    with lightgbm_threads(threads):
        return np.asarray(booster.predict(matrix, num_threads=threads, **what))


def parse_booster(text: str, columns: int) -> Any:
    """LightGBM's booster from its text; an :class:`InputError` if it is none or reads other columns."""
    import lightgbm

    try:
        booster = lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise InputError(f"this is not a LightGBM model: {error}") from error
    if booster.num_feature() != columns:
        raise InputError(f"the booster reads {booster.num_feature()} features, {columns} were expected")
    return booster


def scorer_from_dict(value: Mapping[str, Any], files: Mapping[str, str]) -> Scorer:
    """The inverse of ``to_dict``."""
    kind = value["kind"]
    if kind == "constant":
        return ConstantScorer(float(value["value"]))
    if kind == "linear":
        design = LinearDesign.from_dict(value["design"])
        return LinearScorer(design, tuple(value["coefficients"]), float(value["intercept"]), value["link"])
    if kind == "projection":
        from uplift.learners._projection import ProjectionScorer

        return ProjectionScorer.from_dict(value)
    if kind == "booster":
        scorer = BoosterScorer(
            files[value["file"]], value["link"], float(value["offset"]), float(value["scale"]), int(value["columns"])
        )
        _ = scorer.booster  # a broken text is refused now, not when scoring
        return scorer
    raise InputError(f"the model holds a scorer of kind {kind!r}, which this version cannot read")


def _linked(raw: Floats, link: Link) -> Floats:
    if link == "identity":
        return raw
    from scipy.special import expit

    return np.asarray(expit(raw), dtype=np.float64)


def _rescaled(parts: Floats, link: Link) -> Floats:
    """Contributions to log-odds as contributions to the probability, adding up to it exactly.

    Every feature gets its share of ``expit(total) − expit(baseline)`` in proportion to its share of the log-odds (the
    rescale rule, Shrikumar et al. 2017): exact in sum, an approximation feature by feature.
    """
    if link == "identity":
        return parts
    base = _linked(parts[:, -1], link)
    moved = parts[:, :-1].sum(axis=1)
    difference = _linked(parts[:, -1] + moved, link) - base
    slope = np.where(np.abs(moved) > 1e-12, difference / np.where(moved == 0, 1.0, moved), base * (1 - base))
    return np.column_stack([parts[:, :-1] * slope[:, None], base])
