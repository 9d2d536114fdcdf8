"""The arithmetic that turns scorers into effects, and nothing else that a fit has left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from uplift.learners._scorers import BLOCK, Scorer, scorer_from_dict

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Term:
    """One summand of an effect: ``weight × scorer(X)``.

    Attributes
    ----------
    weight
        Number that the score is multiplied by.
    scorer
        What scores the rows.
    treatment
        None, or the value of a last column "received the arm" that is appended to the matrix first (S-learner).
    """

    weight: float
    scorer: Scorer
    treatment: float | None = None


@dataclass(frozen=True)
class EffectProgram:
    """Effects of all arms as sums of terms.

    Attributes
    ----------
    arms
        For each arm its terms; none is an effect of zero.
    """

    arms: tuple[tuple[Term, ...], ...]

    def effects(self, matrix: Matrix, threads: int) -> Floats:
        """Effect of each arm on each row, ``(n, n_arms)``; a scorer shared between arms is evaluated once."""
        result = np.zeros((len(matrix), len(self.arms)))
        for start in range(0, len(matrix), BLOCK):
            block = matrix[start : start + BLOCK]
            scored: dict[tuple[int, float | None], Floats] = {}
            for j, terms in enumerate(self.arms):
                for term in terms:
                    key = (id(term.scorer), term.treatment)
                    if key not in scored:
                        scored[key] = term.scorer.values(_with_treatment(block, term.treatment), threads)
                    result[start : start + BLOCK, j] += term.weight * scored[key]
        return result

    def contributions(self, matrix: Matrix, threads: int) -> Floats:
        """What each column adds to each effect, ``(n, n_arms, n_columns + 1)``; the last one is the baseline.

        What the S-learner's own treatment column adds belongs to nobody in particular: it is part of the baseline.
        """
        n, p = matrix.shape
        result = np.zeros((n, len(self.arms), p + 1))
        for j, terms in enumerate(self.arms):
            for term in terms:
                parts = term.scorer.contributions(_with_treatment(matrix, term.treatment), threads)
                result[:, j, :p] += term.weight * parts[:, :p]
                result[:, j, p] += term.weight * parts[:, p:].sum(axis=1)
        return result

    def gain(self, columns: int) -> Floats:
        """Gain of each column summed over an arm's different scorers, ``(columns, n_arms)``."""
        result = np.zeros((columns, len(self.arms)))
        for j, terms in enumerate(self.arms):
            for scorer in {id(term.scorer): term.scorer for term in terms}.values():
                result[:, j] += scorer.gain(columns)
        return result

    def to_dict(self, files: dict[str, str]) -> dict[str, Any]:
        """Plain values; every scorer is written once."""
        scorers: dict[int, int] = {}
        written: list[dict[str, Any]] = []
        arms: list[list[dict[str, Any]]] = []
        for terms in self.arms:
            arms.append([])
            for term in terms:
                if id(term.scorer) not in scorers:
                    scorers[id(term.scorer)] = len(written)
                    written.append(term.scorer.to_dict(files))
                index = scorers[id(term.scorer)]
                arms[-1].append({"weight": term.weight, "scorer": index, "treatment": term.treatment})
        return {"scorers": written, "arms": arms}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        """The inverse of :meth:`to_dict`."""
        scorers = [scorer_from_dict(one, files) for one in value["scorers"]]
        return cls(
            tuple(
                tuple(Term(float(t["weight"]), scorers[t["scorer"]], t["treatment"]) for t in terms)
                for terms in value["arms"]
            )
        )


def _with_treatment(matrix: Matrix, treatment: float | None) -> Matrix:
    if treatment is None:
        return matrix
    result = np.empty((len(matrix), matrix.shape[1] + 1), dtype=np.float32, order="F")
    result[:, :-1], result[:, -1] = matrix, treatment
    return result


def check_terms(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Terms with plain floats, so that they survive JSON unchanged."""
    return tuple(Term(float(t.weight), t.scorer, None if t.treatment is None else float(t.treatment)) for t in terms)
