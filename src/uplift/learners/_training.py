"""What a learner fits on: one arm against the control at a time, with outcome models cross-fitted on shared folds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError
from uplift.learners._inputs import MIN_ARM_ROWS, Arms
from uplift.learners._propensity import check_effective, pairwise
from uplift.learners._scorers import Scorer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
T = TypeVar("T")
Fitter = Callable[[Floats, Floats, Floats], Scorer]


@dataclass(frozen=True)
class Pair:
    """One arm and the control: the rows that received one of them and could have received the other.

    Attributes
    ----------
    rows
        Positions of the rows, ``(m,)``.
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
    w: Ints
    y: Floats
    p: Floats
    reach: Floats
    weight: Floats

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
        result = self.weight / (self.reach * np.where(self.w == 1, self.p, 1 - self.p))
        for side in (0, 1):
            mine = self.w == side
            result[mine] *= self.weight[mine].mean() / result[mine].mean()
        return result

    @cached_property
    def representative(self) -> Floats:
        """Sample weights that make the pair as a whole stand for these members, ``(m,)``, with the same mean."""
        result = self.weight / self.reach
        return result * (self.weight.mean() / result.mean())


@dataclass
class Training:
    """Everything that is fixed during one ``fit``.

    Attributes
    ----------
    matrix
        Encoded features, ``(n, p)``.
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
        Fold of each row, ``(n,)``: one assignment for all stages.
    seed, threads
        Of everything that is fitted.
    """

    matrix: Floats
    categorical: list[int]
    y: Floats
    binary: bool
    arms: Arms
    propensity: Floats
    weight: Floats
    folds: Ints
    seed: int
    threads: int
    _cache: dict[str, object] = field(default_factory=dict)

    def pairs(self) -> list[Pair]:
        """A pair for every arm.

        Raises
        ------
        InputError
            Listing every arm that has too few comparable rows, or whose probabilities were too uneven.
        """
        problems: list[str] = []
        found = [self._pair(j, problems) for j in range(1, len(self.arms.names) + 1)]
        if problems:
            raise InputError("cannot fit:\n" + "\n".join(f"  {problem}" for problem in dict.fromkeys(problems)))
        return found

    def _pair(self, arm: int, problems: list[str]) -> Pair:
        offered = (self.propensity[:, arm] > 0) & (self.propensity[:, 0] > 0) & (self.weight > 0)
        rows = np.flatnonzero(offered & ((self.arms.codes == arm) | (self.arms.codes == 0)))
        pair = Pair(
            rows=rows,
            w=(self.arms.codes[rows] == arm).astype(np.intp),
            y=self.y[rows],
            p=pairwise(self.propensity[rows], arm),
            reach=self.propensity[rows, arm] + self.propensity[rows, 0],
            weight=self.weight[rows],
        )
        for side, label in ((1, self.arms.names[arm - 1]), (0, self.arms.control)):
            mine = pair.w == side
            role = f"arm {label!r}" if side else f"control {label!r} (beside arm {self.arms.names[arm - 1]!r})"
            if mine.sum() < MIN_ARM_ROWS:
                problems.append(
                    f"{role} has {int(mine.sum()):,} comparable rows (n_samples = {int(mine.sum())}), at least "
                    f"{MIN_ARM_ROWS} are needed: collect more, or leave the arm out"
                )
                continue
            chance = self.propensity[rows[mine], arm if side else 0]
            check_effective(label, pair.weight[mine], chance, problems)
            inside = np.bincount(self.folds[rows[mine]], minlength=int(self.folds.max()) + 1)
            if inside.max() == inside.sum():
                problems.append(
                    f"{role}: all rows fall into one fold, so they cannot be cross-fitted: its rows belong to too few "
                    "groups"
                )
        return pair

    def outcome_model(self, pair: Pair, side: int, fit: Fitter) -> Scorer:
        """Model of the outcome under the arm (``side`` 1) or the control (0), fitted on all of its rows.

        The control's is fitted once for all arms that share its rows and weights.
        """
        mine = pair.w == side
        rows, weight = pair.rows[mine], pair.balanced[mine]
        return self.shared("model", side, rows, weight, lambda: fit(self.matrix[rows], self.y[rows], weight))

    def crossfitted_outcome(self, pair: Pair, side: int, fit: Fitter) -> Floats:
        """Mean outcome of every row of the pair under one side, from models of the other folds, ``(m,)``."""
        mine = pair.w == side
        rows, weight = pair.rows[mine], pair.balanced[mine]
        if side:
            return self._out_of_fold(rows, weight, pair.rows, fit)
        everyone = self.shared(
            "out of fold", side, rows, weight, lambda: self._out_of_fold(rows, weight, np.arange(len(self.y)), fit)
        )
        return everyone[pair.rows]

    def crossfitted_mean(self, pair: Pair, fit: Fitter) -> Floats:
        """Mean outcome of every row of the pair whichever of the two it received, from the other folds, ``(m,)``."""
        return self._out_of_fold(pair.rows, pair.representative, pair.rows, fit)

    def _out_of_fold(self, train: Ints, weight: Floats, wanted: Ints, fit: Fitter) -> Floats:
        result = np.empty(len(wanted))
        for fold in np.unique(self.folds[wanted]):
            other = self.folds[train] != fold
            chosen = self.folds[wanted] == fold
            scorer = fit(self.matrix[train[other]], self.y[train[other]], weight[other])
            result[chosen] = scorer.values(self.matrix[wanted[chosen]], self.threads)
        return result

    def shared(self, kind: str, side: int, rows: Ints, weight: Floats, make: Callable[[], T]) -> T:
        """What ``make`` gives; made once for the control (``side`` 0) of all arms with these rows and weights."""
        if side:
            return make()
        digest = hashlib.blake2b(rows.tobytes() + weight.tobytes(), digest_size=16).hexdigest()
        key = f"{kind} {digest}"
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]  # type: ignore[return-value]  # the key names the kind, which fixes the type
