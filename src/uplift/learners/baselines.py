"""What every learner has to beat: no effect, one effect for all, logistic regression, and ranking by response."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from uplift.learners._linear import LinearDesign, fit_logistic, fit_platt, fit_ridge
from uplift.learners._program import Term
from uplift.learners._scorers import ConstantScorer, LinearScorer, Scorer
from uplift.learners._training import Pair, Training
from uplift.learners.base import BaseUpliftLearner
from uplift.learners.meta import BoostedLearner

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


class NoEffect(BaseUpliftLearner):
    """No arm does anything for anyone.

    Examples
    --------
    >>> NoEffect(control="none").fit([[0]] * 20, [0, 1] * 10, ["none"] * 10 + ["mail"] * 10).predict([[1], [2]])
    array([[0.],
           [0.]])
    """

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        return []


class ConstantEffect(BaseUpliftLearner):
    """Every member gains the same: the difference of the arm's and the control's mean outcome.

    Means are weighted inversely to the probability of what was received (Hájek), so unequal and varying probabilities
    do not bias them.
    """

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        arm, control = (
            float(np.average(pair.y[pair.w == side], weights=pair.balanced[pair.w == side])) for side in (1, 0)
        )
        return [Term(1.0, ConstantScorer(arm - control))]


class ResponseModel(BoostedLearner):
    """The mean outcome under each arm, in place of its effect: whom most companies mail, those likely to buy anyway.

    What it predicts is no effect (``is_effect`` is False); members can be ranked by it.
    """

    is_effect: ClassVar[bool] = False

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        return [Term(1.0, training.outcome_model(pair, 1, self.outcome_fitter(training)))]


class LogisticTLearner(BaseUpliftLearner):
    """A logistic regression for the arm and one for the control, each calibrated; effect: their difference.

    Numbers are standardised, missing ones put at the mean and flagged, frequent levels one-hot. Calibrated by Platt's
    slope and intercept on out-of-fold scores, which shrinks what does not hold up: a slope of zero is the mean for
    all. For amounts it is a linear regression, shrunk by the slope of the outcome on out-of-fold predictions.
    On real campaigns it often does as well as boosting.
    """

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        fit = CalibratedLinear()
        return [Term(1.0, training.outcome_model(pair, 1, fit)), Term(-1.0, training.outcome_model(pair, 0, fit))]


class CalibratedLinear:
    """A calibrated logistic regression, or for amounts a shrunk linear one."""

    def key(self, m: int) -> str:
        """There is one of its kind."""
        del m
        return "calibrated linear"

    def __call__(self, training: Training, rows: Ints, weight: Floats) -> Scorer:
        """Fit on some rows, with their weights."""
        weight = weight / weight.mean()  # the penalty must not depend on the weights' unit
        target, folds = training.y[rows], training.crossfit_ids[rows]
        if target.min() == target.max():
            return ConstantScorer(float(target[0]))
        matrix = training.matrix[rows]
        design = LinearDesign.learn(matrix, training.categorical)
        regressors = design.transform(matrix)
        fit = fit_logistic if training.binary else fit_ridge
        scores = np.empty(len(target))
        for fold in np.unique(folds):
            train = folds != fold
            if target[train].min() == target[train].max():
                return ConstantScorer(float(np.average(target, weights=weight)))
            coefficients, intercept = fit(regressors[train], target[train], weight[train])
            scores[~train] = regressors[~train] @ coefficients + intercept
        coefficients, intercept = fit(regressors, target, weight)
        slope, shift = (fit_platt if training.binary else _shrink)(scores, target, weight)
        return LinearScorer(
            design,
            tuple(float(slope * c) for c in coefficients),
            float(slope * intercept + shift),
            "logistic" if training.binary else "identity",
        )


def _shrink(score: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """Slope in [0, 1] and intercept of the outcome on out-of-fold predictions."""
    centre, mean = float(np.average(score, weights=weight)), float(np.average(target, weights=weight))
    spread = float(np.average((score - centre) ** 2, weights=weight))
    both = float(np.average((score - centre) * (target - mean), weights=weight))
    slope = min(max(both / spread, 0.0), 1.0) if spread > 0 else 0.0
    return slope, mean - slope * centre
