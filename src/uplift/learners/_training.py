"""What learners fit on: one arm against the control at a time, with outcome models cross-fitted on shared folds.

One :class:`Training` may serve many learners and many sets of rows. Features are binned once, and an outcome model that
two of them need (the same rows, the same settings) is fitted once.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError
from uplift.learners._bins import Bins
from uplift.learners._inputs import MIN_ARM_ROWS, Arms
from uplift.learners._memory import give_back
from uplift.learners._propensity import check_effective, pairwise
from uplift.learners._scorers import Scorer, values_at

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
S = TypeVar("S")
T = TypeVar("T")


class OutcomeFitter(Protocol):
    """How mean outcomes are learned."""

    def key(self, m: int) -> str:
        """The same for fitters that learn the same from the same ``m`` rows, and from some of them."""

    def __call__(self, training: Training, rows: Ints, weight: Floats) -> Scorer:
        """Fit on some rows, ascending, with their weights, both ``(m,)``."""


class Cache:
    """Values made once, whichever of several threads needs them first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[threading.Lock, list[Any]]] = {}

    def known(self, key: str) -> bool:
        """Whether it was made, or is being made."""
        with self._lock:
            return key in self._entries

    def get(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, or gave for the same key."""
        with self._lock:
            lock, made = self._entries.setdefault(key, (threading.Lock(), []))
        with lock:
            if not made:
                made.append(make())
            value: T = made[0]
            return value


@dataclass(frozen=True)
class Pair:
    """One arm and the control: the rows that received one of them and could have received the other.

    Attributes
    ----------
    rows
        Positions of the rows, ascending, ``(m,)``.
    w
        1 where the arm was received, 0 for the control, ``(m,)``.
    y
        Outcome, ``(m,)``.
    p
        Probability of the arm given that it was one of the two, ``(m,)``, strictly between 0 and 1.
    reach
        Probability of being one of the two, ``(m,)``.
    weight
        Sample weights, ``(m,)``.
    """

    rows: Ints
    w: npt.NDArray[np.int8]
    y: Floats
    p: Floats
    reach: Floats
    weight: Floats

    def part(self, some: slice) -> Pair:
        """A stretch of its rows."""
        return Pair(self.rows[some], self.w[some], self.y[some], self.p[some], self.reach[some], self.weight[some])

    @property
    def share(self) -> float:
        """Mean probability of the arm."""
        return float(np.average(self.p, weights=self.weight))

    @cached_property
    def balanced(self) -> Floats:
        """Sample weights that make both sides stand for all members who could be in the pair, ``(m,)``.

        Inversely proportional to the probability of what was received, with mean 1 within the arm and within the
        control (before sample weights): equal to the sample weights where probabilities do not vary.
        """
        if self.reach.strides == (0,) and self.p.strides == (0,):
            return self.weight
        result = self.weight / (self.reach * np.where(self.w == 1, self.p, 1 - self.p))
        for side in (0, 1):
            mine = self.w == side
            result[mine] *= self.weight[mine].mean() / result[mine].mean()
        return result

    @cached_property
    def representative(self) -> Floats:
        """Sample weights that make the pair as a whole stand for these members, ``(m,)``, with the same mean."""
        if self.reach.strides == (0,):  # everybody could have been in the pair to the same degree
            return self.weight
        result = self.weight / self.reach
        return result * (self.weight.mean() / result.mean())


@dataclass(frozen=True, eq=False)
class Training:
    """Everything that is fixed while learners are fitted.

    Attributes
    ----------
    matrix
        Encoded features, ``(n, p)``, single precision.
    categorical
        Positions of categories in the matrix.
    y
        Outcome, ``(n,)``.
    binary
        True when it is 0 or 1 and effects are differences of probabilities.
    arms
        Who received what.
    propensity
        ``(n, n_arms + 1)``, control first.
    weight
        Sample weights, ``(n,)``.
    folds
        Fold of each row, ``(n,)``: one assignment for all stages of all learners.
    seed, threads
        Of everything that is fitted.
    within
        Rows that may be fitted on, ``(n,)``; None: all. See :meth:`restricted`.
    halves
        A second assignment to two folds, ``(n,)``, which no group straddles either: for rows that are all of one fold.
    groups
        Number of each row's group, ``(n,)``; None: every row is its own.
    """

    matrix: Matrix
    categorical: list[int]
    y: Floats
    binary: bool
    arms: Arms
    propensity: Floats
    weight: Floats
    folds: npt.NDArray[np.integer[Any]]
    seed: int
    threads: int
    within: Mask | None = None
    halves: npt.NDArray[np.integer[Any]] | None = None
    groups: Ints | None = None
    cache: Cache = field(default_factory=Cache, repr=False)

    def restricted(self, within: Mask) -> Self:
        """The same for some of the rows; positions, bins and what was fitted before are shared."""
        return replace(self, within=within)

    def refolded(self, folds: npt.NDArray[np.integer[Any]], halves: npt.NDArray[np.integer[Any]]) -> Self:
        """The same on other folds: bins are shared, what was cross-fitted is not."""
        return replace(self, folds=folds, halves=halves, cache=self._bins_alone())

    def as_amounts(self) -> Self:
        """The same with 0 and 1 taken for amounts: bins are shared, outcome models are others."""
        return replace(self, binary=False, cache=self._bins_alone())

    def with_outcome(self, name: str, y: Floats) -> Self:
        """The same for another outcome: bins are shared, and outcome models with others that have its name."""
        return replace(self, y=y, cache=self.cache.get(f"fitted on {name}", self._bins_alone))

    def _bins_alone(self) -> Cache:
        """A cache that holds nothing but the bins."""
        bins, cache = self.bins, Cache()
        cache.get("bins", lambda: bins)
        return cache

    @property
    def bins(self) -> Bins:
        """The features, binned."""
        return self.cache.get("bins", lambda: Bins(self.matrix, self.categorical, self.threads))

    @property
    def treated(self) -> Mask:
        """Whether any arm but the control was received, ``(n,)``."""
        return self.cache.get("treated", lambda: self.arms.codes > 0)

    def inverse(self, rows: Ints) -> Floats:
        """Sample weight over the probability of what was received, of some rows: the weights of outcome models."""
        received = self.propensity[rows, self.arms.codes[rows]]
        return np.divide(self.weight[rows], received, out=received)

    @property
    def crossfit_ids(self) -> npt.NDArray[np.integer[Any]]:
        """Fold of each row for cross-fitting, ``(n,)``: ``folds`` unless one alone is left of them."""
        if self.within is None or self.halves is None or np.ptp(self.folds[self.within]):
            return self.folds
        return self.halves

    def pairs(self) -> Iterator[Pair]:
        """A pair for every arm, made one at a time.

        Raises
        ------
        InputError
            Listing every arm that has too few comparable rows, or whose probabilities were too uneven.
        """
        numbers = range(1, len(self.arms.names) + 1)
        self.cache.get(f"checked {self._name_of_rows}", lambda: self._check_all(numbers))
        return (self.pair(arm) for arm in numbers)

    def _check_all(self, numbers: Iterable[int]) -> None:
        problems: list[str] = []
        for arm in numbers:
            self._check(self.pair(arm), arm, problems)
        if problems:
            raise InputError("cannot fit:\n" + "\n".join(f"  {problem}" for problem in dict.fromkeys(problems)))

    def pair(self, arm: int) -> Pair:
        """The pair of the arm of this number, counted from 1; :meth:`pairs` says whether it can be fitted on."""
        offered = (self.propensity[:, arm] > 0) & (self.propensity[:, 0] > 0) & (self.weight > 0)
        if self.within is not None:
            offered &= self.within
        rows = np.flatnonzero(offered & ((self.arms.codes == arm) | (self.arms.codes == 0)))
        give_back(len(rows))
        propensity = self.propensity
        if propensity.strides[0] == 0:  # the same for every row, kept once
            p, reach = (
                np.broadcast_to(one, len(rows))
                for one in (pairwise(propensity[:1], arm), propensity[:1, arm] + propensity[:1, 0])
            )
        else:
            p, reach = pairwise(propensity[rows], arm), propensity[rows, arm] + propensity[rows, 0]
        return Pair(
            rows=rows,
            w=(self.arms.codes[rows] == arm).astype(np.int8),
            y=self.y[rows],
            p=p,
            reach=reach,
            weight=taken(self.weight, rows),
        )

    def _check(self, pair: Pair, arm: int, problems: list[str]) -> None:
        ids = self.crossfit_ids[pair.rows]
        for side, label in ((1, self.arms.names[arm - 1]), (0, self.arms.control)):
            mine = pair.w == side
            role = f"arm {label!r}" if side else f"control {label!r} (beside arm {self.arms.names[arm - 1]!r})"
            if mine.sum() < MIN_ARM_ROWS:
                problems.append(
                    f"{role} has {int(mine.sum()):,} comparable rows (n_samples = {int(mine.sum())}), at least "
                    f"{MIN_ARM_ROWS} are needed: collect more, or leave the arm out"
                )
                continue
            chance = self.propensity[pair.rows[mine], arm if side else 0]
            check_effective(label, pair.weight[mine], chance, problems)
            inside = np.bincount(ids[mine])
            if inside.max() == inside.sum():
                problems.append(
                    f"{role}: all rows fall into one fold, so they cannot be cross-fitted: its rows belong to too few "
                    "groups"
                )

    def outcome_model(self, pair: Pair, side: int, fit: OutcomeFitter) -> Scorer:
        """Model of the outcome under the arm (``side`` 1) or the control (0), fitted on all of its rows."""
        return self.fitted(pair.rows[pair.w == side], fit)

    def crossfitted_outcome(self, pair: Pair, side: int, fit: OutcomeFitter) -> Floats:
        """Mean outcome of every row of the pair under one side, from models of the other folds, ``(m,)``."""
        return self.out_of_fold(pair.rows[pair.w == side], fit)[pair.rows]

    def outcome_of_others(self, pair: Pair, side: int, fit: OutcomeFitter) -> Floats:
        """The same for the rows of the pair's other side, ``(m,)``; NaN for its own, unless those are known already."""
        rows = pair.rows[pair.w == side]
        if self.cache.known(self._name_out_of_fold(rows, fit)):
            return self.out_of_fold(rows, fit)[pair.rows]
        wanted = np.zeros(len(self.y), dtype=bool)
        wanted[pair.rows] = pair.w != side
        return self._by_other_folds(rows, fit, wanted)[pair.rows]

    def outcome_models(self, fit: OutcomeFitter, *, cross_fitted: bool) -> dict[str, Callable[[Training], Scorer]]:
        """What fits the outcome models of all sides, those of the folds or those of all rows, by their cache's names.

        Fitted first, side by side, they keep all threads busy: whoever needs one later finds it made. Who asks for the
        same again gets none.
        """
        asked = f"asked for {fit.key(len(self.y))} {cross_fitted} {self._name_of_rows}"
        if self.cache.known(asked):
            return {}
        self.cache.get(asked, lambda: True)
        folds: list[int | None] = [*self._fold_numbers()] if cross_fitted else [None]
        models: dict[str, Callable[[Training], Scorer]] = {}
        for arm in range(1, len(self.arms.names) + 1):
            pair = self.pair(arm)
            for side in (0, 1):
                rows = pair.rows[pair.w == side]
                for fold in folds:
                    name = _model_name(self._outside(rows, fold), fit)
                    models.setdefault(name, partial(_outcome_model, rows, fold, fit))
        return models

    def _outside(self, rows: Ints, fold: int | None) -> Ints:
        """The rows that are in other folds."""
        return rows if fold is None else rows[self.crossfit_ids[rows] != fold]

    def _fold_numbers(self) -> list[int]:
        """Folds of the rows that may be fitted on."""
        ids = self.crossfit_ids
        return [int(fold) for fold in np.unique(ids if self.within is None else ids[self.within])]

    def fitted(self, rows: Ints, fit: OutcomeFitter) -> Scorer:
        """The outcome model of some rows of one arm, weighted inversely to the probability of having received it."""
        return self.cache.get(_model_name(rows, fit), lambda: fit(self, rows, self.inverse(rows)))

    def out_of_fold(self, rows: Ints, fit: OutcomeFitter) -> Floats:
        """What outcome models of some rows of one arm expect of everybody, ``(n,)``.

        Each row's comes from the rows that are in other folds; NaN outside ``within``.
        """
        wanted = np.ones(len(self.y), dtype=bool) if self.within is None else self.within
        return self.cache.get(self._name_out_of_fold(rows, fit), lambda: self._by_other_folds(rows, fit, wanted))

    def _name_out_of_fold(self, rows: Ints, fit: OutcomeFitter) -> str:
        return f"out of fold {fit.key(len(rows))} {_digest(rows)} {self._name_of_rows}"

    @property
    def _name_of_rows(self) -> str:
        """The same for the same rows that may be fitted on."""
        return "" if self.within is None else _digest(np.packbits(self.within))

    def _by_other_folds(self, rows: Ints, fit: OutcomeFitter, wanted: Mask) -> Floats:
        """What outcome models of some rows, each of all folds but one, expect of wanted rows of that fold, ``(n,)``."""
        ids = self.crossfit_ids
        result = np.full(len(ids), np.nan)
        numbers = self._fold_numbers()
        models = self.each(numbers, lambda alone, fold: alone.fitted(alone._outside(rows, fold), fit))
        give_back(len(rows))
        for fold, model in zip(numbers, models, strict=True):
            chosen = np.flatnonzero(wanted & (ids == fold))
            result[chosen] = values_at(model, self.matrix, chosen, self.threads)
        give_back(len(rows))
        return result

    def each(self, what: Iterable[S], work: Callable[[Training, S], T], at_once: int | None = None) -> list[T]:
        """Work on several things at once, the threads shared out among them.

        Boosters of few rows cannot keep several threads busy; several of them can.

        Parameters
        ----------
        at_once
            So many, each as soon as another is done: for things that take more or less time. None: things that take the
            same time, as many as there are threads, and the last ones with more threads each.
        """
        _ = self.bins  # made with all threads, whoever needs them first
        todo, done = list(what), list[T]()
        while len(done) < len(todo):
            left = todo[len(done) :]
            workers = min(self.threads, len(left), at_once or len(left))
            some = left if at_once else left[: len(left) // workers * workers]
            if workers == 1:
                done += [work(self, one) for one in some]
                continue
            alone = replace(self, threads=self.threads // workers)
            with ThreadPoolExecutor(workers) as pool:
                done += pool.map(partial(work, alone), some)
        return done


def taken(values: Floats, some: Ints | Mask) -> Floats:
    """Values of some rows, kept as one number where all rows share it."""
    if values.strides != (0,):
        return values[some]
    return np.broadcast_to(values[:1], int(some.sum()) if some.dtype == bool else len(some))


def _outcome_model(rows: Ints, fold: int | None, fit: OutcomeFitter, training: Training) -> Scorer:
    return training.fitted(training._outside(rows, fold), fit)


def _model_name(rows: Ints, fit: OutcomeFitter) -> str:
    return f"model {fit.key(len(rows))} {_digest(rows)}"


def _digest(values: npt.NDArray[np.integer[Any]]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).hexdigest()
