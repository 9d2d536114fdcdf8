"""The meta-learners S, T, X, R and DR on LightGBM, by causalml behind our interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from uplift.learners._booster import BoosterSettings, booster_settings, fit_classifier, fit_regressor
from uplift.learners._causalml import Collected, Fitted, Known, Shared, causalml_meta, row_numbers
from uplift.learners._program import Term
from uplift.learners._scorers import Scorer
from uplift.learners._training import Fitter, Pair, Training
from uplift.learners.base import BaseUpliftLearner

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


class BoostedLearner(BaseUpliftLearner):
    """A learner whose models are LightGBM boosters.

    Parameters
    ----------
    control, outcome, folds, random_state, n_jobs
        As in :class:`~uplift.learners.base.BaseUpliftLearner`.
    n_estimators, num_leaves, learning_rate, min_child_samples, reg_lambda
        LightGBM's, for outcome and effect models alike.
    extra_params
        More of LightGBM's parameters, by its own names (not objective, seeds, threads or determinism).
    """

    def __init__(
        self,
        control: Any = None,
        *,
        outcome: Literal["auto", "binary", "continuous"] = "auto",
        n_estimators: int = 100,
        num_leaves: int = 8,
        learning_rate: float = 0.05,
        min_child_samples: int = 100,
        reg_lambda: float = 1.0,
        extra_params: Mapping[str, Any] | None = None,
        folds: int = 3,
        random_state: int | None = None,
        n_jobs: int | None = 1,
    ) -> None:
        super().__init__(control, outcome=outcome, folds=folds, random_state=random_state, n_jobs=n_jobs)
        self.n_estimators = n_estimators
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.min_child_samples = min_child_samples
        self.reg_lambda = reg_lambda
        self.extra_params = extra_params

    def _settings(self, training: Training | None, problems: list[str]) -> BoosterSettings:
        return booster_settings(
            n_estimators=self.n_estimators,
            num_leaves=self.num_leaves,
            learning_rate=self.learning_rate,
            min_child_samples=self.min_child_samples,
            reg_lambda=self.reg_lambda,
            extra_params=self.extra_params,
            seed=0 if training is None else training.seed,
            threads=1 if training is None else training.threads,
            categorical=() if training is None else training.categorical,
            problems=problems,
        )

    def _check_params(self, problems: list[str]) -> None:
        self._settings(None, problems)

    def _outcome_fitter(self, training: Training) -> Fitter:
        """Fits mean outcomes: probabilities where the outcome is 0 or 1."""
        settings = self._settings(training, [])
        fit = fit_classifier if training.binary else fit_regressor
        return lambda matrix, target, weight: fit(settings, matrix, target, weight)

    def _effect_model(self, training: Training, pair: Pair, weight: Floats) -> Fitted:
        """Least squares on pseudo-outcomes; ``weight`` multiplies what causalml gives."""
        settings = self._settings(training, [])

        def fit(rows: Ints, target: Floats, given: Floats | None, treatment: Floats | None) -> Scorer:
            factor = weight[rows] if given is None else weight[rows] * given
            return fit_regressor(settings, training.matrix[pair.rows[rows]], target, factor)

        return Fitted(Shared(fit))

    def _crossfitted(self, training: Training, pair: Pair) -> tuple[Floats, Floats]:
        """Out-of-fold mean outcomes of the pair's rows without and with the arm, each ``(m,)``."""
        fit = self._outcome_fitter(training)
        return training.crossfitted_outcome(pair, 0, fit), training.crossfitted_outcome(pair, 1, fit)


class SLearner(BoostedLearner):
    """One outcome model with the treatment among its features (Künzel et al. 2019); effect: with it minus without.

    Fitted one arm against the control at a time. Trees that never split on the treatment give an effect of zero, so
    this learner is the most cautious one.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(400, 2)), rng.integers(0, 2, 400)
    >>> y = X[:, 0] + w * (X[:, 1] > 0) + rng.normal(size=400)
    >>> learner = SLearner(control=0, min_child_samples=20, random_state=0)
    >>> learner.fit(X, y, w, propensity={0: 0.5, 1: 0.5}).predict(X).shape
    (400, 1)
    """

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        outcome = self._outcome_fitter(training)

        def fit(rows: Ints, target: Floats, given: Floats | None, treatment: Floats) -> Scorer:
            matrix = np.column_stack([training.matrix[pair.rows[rows]], treatment])
            return outcome(matrix, target, pair.balanced[rows])

        learner = causalml_meta().BaseSRegressor(learner=Fitted(Shared(fit)), control_name=0)
        learner.fit(X=row_numbers(len(pair.rows)), treatment=pair.w, y=pair.y)
        scorer = learner.models[1].scorer_
        return [Term(1.0, scorer, 1.0), Term(-1.0, scorer, 0.0)]


class TLearner(BoostedLearner):
    """An outcome model for the arm and one for the control (Künzel et al. 2019); effect: their difference.

    The control's model is fitted once for all arms. Each model is regularised towards its own mean, so differences
    between two of them are noisy: the learner most prone to effects that are not there.
    """

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        outcome = self._outcome_fitter(training)

        def fitter(side: int) -> Fitted:
            return Fitted(Shared(lambda rows, target, given, treatment: training.outcome_model(pair, side, outcome)))

        learner = causalml_meta().BaseTRegressor(control_learner=fitter(0), treatment_learner=fitter(1), control_name=0)
        learner.fit(X=row_numbers(len(pair.rows)), treatment=pair.w, y=pair.y)
        return [Term(1.0, learner.models_t[1].scorer_), Term(-1.0, learner.model_c.scorer_)]


class XLearner(BoostedLearner):
    """Effects imputed on each side from the other side's outcome model, then combined (Künzel et al. 2019).

    causalml imputes with outcome models fitted on all rows: a member who was in the arm once and in the control
    another time meets their own outcome in the imputation. Here a row's imputed effect comes from the folds that its
    group is not in, and the folds are those of every other stage. The two effect models are combined with the pair's
    mean propensity, which any weight between 0 and 1 may be.
    """

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        without, with_arm = self._crossfitted(training, pair)
        effect = self._effect_model(training, pair, pair.balanced)
        learner = causalml_meta().BaseXRegressor(
            control_outcome_learner=Known(Shared(without)),
            treatment_outcome_learner=Known(Shared(with_arm)),
            control_effect_learner=effect,
            treatment_effect_learner=effect,
            control_name=0,
        )
        learner.fit(X=row_numbers(len(pair.rows)), treatment=pair.w, y=pair.y, p=pair.p)
        return [
            Term(pair.share, learner.models_tau_c[1].scorer_),
            Term(1 - pair.share, learner.models_tau_t[1].scorer_),
        ]


class RLearner(BoostedLearner):
    """Least squares of outcome residuals on treatment residuals (Nie & Wager 2021).

    The mean outcome given the features is that of the pair, out of fold. causalml takes the mean over all arms, which
    with several arms belongs to no pair and makes the effects wrong (root mean squared error 1.02 instead of 0.36 in a
    simulation).
    """

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        mean = training.crossfitted_mean(pair, self._outcome_fitter(training))
        learner = causalml_meta().BaseRLearner(
            outcome_learner=Known(Shared(mean)),
            effect_learner=self._effect_model(training, pair, np.ones(len(pair.rows))),
            control_name=0,
            n_fold=2,  # of predictions that are out of fold already
            random_state=training.seed,
            cv_n_jobs=1,
        )
        learner.fit(
            X=row_numbers(len(pair.rows)),
            treatment=pair.w,
            y=pair.y,
            p=pair.p,
            sample_weight=pair.representative,
            verbose=False,
        )
        return [Term(1.0, learner.models_tau[1].scorer_)]


class DRLearner(BoostedLearner):
    """Regression on doubly robust pseudo-outcomes (Kennedy 2023).

    causalml fits outcome models on one third of the rows and averages three effect models of one third each, split
    without regard to groups; with classifiers it takes class labels for probabilities. Here outcome models are
    cross-fitted on the learner's folds, and one effect model is fitted on the pseudo-outcomes of all rows.
    """

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        without, with_arm = self._crossfitted(training, pair)
        pseudo = np.full(len(pair.rows), np.nan)
        learner = causalml_meta().BaseDRRegressor(
            control_outcome_learner=Known(Shared(without)),
            treatment_outcome_learner=Known(Shared(with_arm)),
            treatment_effect_learner=Collected(Shared(pseudo)),
            control_name=0,
        )
        learner.fit(X=row_numbers(len(pair.rows)), treatment=pair.w, y=pair.y, p=pair.p, seed=training.seed)
        effect = self._effect_model(training, pair, pair.representative)
        effect.fit(row_numbers(len(pair.rows)), pseudo)
        return [Term(1.0, effect.scorer_)]
