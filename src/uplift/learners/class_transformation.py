"""The class transformation, which is right at a propensity of one half and nowhere else."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from uplift.errors import InputError
from uplift.learners._booster import fit_classifier
from uplift.learners._program import Term
from uplift.learners._scorers import ConstantScorer
from uplift.learners._training import Pair, Training
from uplift.learners.meta import BoostedLearner

TOLERANCE = 1e-6
"""How far a probability may be from one half."""


class ClassTransformation(BoostedLearner):
    """One classifier of "responded when treated, or did not when not" (Jaskowski & Jaroszewicz 2012).

    For an outcome of 0 or 1 and a probability of one half of either, the effect is twice the probability of that, less
    one. With any other probability it is another quantity, which ranks members by how many were treated; so ``fit``
    refuses unless every row of an arm and the control was as likely to receive one as the other.

    Raises
    ------
    InputError
        From ``fit``, if the outcome is not 0 or 1, or a probability is not one half (estimated ones never are).
    """

    binary_only: ClassVar[bool] = True
    needs_half: ClassVar[bool] = True

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        if not training.binary:
            raise InputError("the class transformation needs an outcome of 0 or 1: use another learner for amounts")
        off = np.abs(pair.p - 0.5)
        if off.max() > TOLERANCE:
            raise InputError(
                "the class transformation is right only where an arm and the control were equally likely; here the "
                f"probability of the arm (among the two) goes from {pair.p.min():.3g} to {pair.p.max():.3g}: use T, X, "
                "R or DR instead, or pass propensity= if the design was half and half"
            )
        same = np.where(pair.w == 1, pair.y, 1 - pair.y)
        scorer = fit_classifier(self._settings(training, []), training.bins, pair.rows, same, pair.representative)
        return [Term(2.0, scorer), Term(1.0, ConstantScorer(-1.0))]
