"""The meta-learners S, T, X, R and DR on LightGBM.

Every outcome prediction that a stage uses on a row comes from folds that the row is not in, on one assignment shared by
all stages and learners; an arm is compared with the control on the rows that could have received either, with the
probabilities of that pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from uplift.learners._booster import BoosterSettings, booster_settings, fit_classifier, fit_regressor
from uplift.learners._parts import TURN
from uplift.learners._program import Term
from uplift.learners._scorers import BLOCK, BoosterScorer, Scorer
from uplift.learners._training import OutcomeFitter, Pair, Training, taken
from uplift.learners.base import BaseUpliftLearner

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

PARTS = 8
"""At most so many parts of the rows take turns in finding splits, of effect models and of outcome models for them."""
PARTS_OF_T = 2
"""Differences of two outcome models show what splits miss: with four parts their error is some percent larger."""
TURN_OF_OUTCOMES = 25
"""Trees in a part's turn. Long ones go over the rows less often, but in effect models they cost 5 % of accuracy."""


@dataclass(frozen=True)
class BoostedOutcome:
    """Fits mean outcomes by boosting: probabilities where the outcome is 0 or 1.

    Attributes
    ----------
    settings
        How boosters are grown.
    """

    settings: BoosterSettings

    def key(self, m: int) -> str:
        """The same for settings that come to the same on ``m`` rows."""
        return self.settings.key(m)

    def __call__(self, training: Training, rows: Ints, weight: Floats) -> Scorer:
        """Fit on some rows, with their weights."""
        fit = fit_classifier if training.binary else fit_regressor
        return fit(self.settings.on(training.threads), training.bins, rows, training.y[rows], weight)


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
    rows_per_tree
        Models of twice as many rows and more cut these at random into up to eight parts of at least this many, which
        take turns in finding the splits; all rows value the leaves (:mod:`uplift.learners._parts`). None: all rows
        find all splits, as they do with more than 32 leaves, and with ``extra_params`` that bear on more than splits.
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
        rows_per_tree: int | None = 30_000,
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
        self.rows_per_tree = rows_per_tree

    def _settings(
        self, training: Training | None, problems: list[str], most_parts: int = PARTS, turn: int = TURN
    ) -> BoosterSettings:
        return booster_settings(
            n_estimators=self.n_estimators,
            num_leaves=self.num_leaves,
            learning_rate=self.learning_rate,
            min_child_samples=self.min_child_samples,
            reg_lambda=self.reg_lambda,
            extra_params=self.extra_params,
            seed=0 if training is None else training.seed,
            threads=1 if training is None else training.threads,
            problems=problems,
            rows_per_tree=self.rows_per_tree,
            most_parts=most_parts,
            turn=turn,
        )

    def _check_params(self, problems: list[str]) -> None:
        self._settings(None, problems)

    def outcome_fitter(self, training: Training) -> OutcomeFitter:
        """How this learner learns mean outcomes."""
        return BoostedOutcome(self._settings(training, [], turn=TURN_OF_OUTCOMES))

    def _effect_model(self, training: Training, rows: Ints, target: Floats, weight: Floats) -> Scorer:
        """Least squares of pseudo-outcomes on the features."""
        return fit_regressor(self._settings(training, []), training.bins, rows, target, weight)

    def _crossfitted(self, training: Training, pair: Pair) -> tuple[Floats, Floats]:
        """Out-of-fold mean outcomes of the pair's rows without and with the arm, each ``(m,)``."""
        fit = self.outcome_fitter(training)
        return training.crossfitted_outcome(pair, 0, fit), training.crossfitted_outcome(pair, 1, fit)


class SLearner(BoostedLearner):
    """One outcome model with the treatment among its features (Künzel et al. 2019); effect: with it minus without.

    Fitted one arm against the control at a time. Trees that never split on the treatment give an effect of zero, so
    this learner is the most cautious one. All rows find all splits, whatever ``rows_per_tree``: splits on the treatment
    gain little, and a part of the rows misses them (halves of 700,000 rows make errors of effects 10 to 17 % larger).

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

    arms_at_once: ClassVar[bool] = True

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        fit = fit_classifier if training.binary else fit_regressor
        settings = self._settings(training, [], 1)
        scorer = fit(settings, training.bins, pair.rows, pair.y, pair.balanced, training.treated)
        if isinstance(scorer, BoosterScorer):
            scorer = scorer.splitting_on(training.matrix.shape[1])
        return [Term(1.0, scorer, 1.0), Term(-1.0, scorer, 0.0)]


class TLearner(BoostedLearner):
    """An outcome model for the arm and one for the control (Künzel et al. 2019); effect: their difference.

    The control's model is fitted once for all arms. Each model is regularised towards its own mean, so differences
    between two of them are noisy: the learner most prone to effects that are not there.
    """

    def _in_fewer_parts(self, training: Training) -> OutcomeFitter:
        """For these differences only: outcome models that other learners could use too are :meth:`outcome_fitter`'s."""
        return BoostedOutcome(self._settings(training, [], PARTS_OF_T, TURN_OF_OUTCOMES))

    def _first(self, training: Training) -> dict[str, Callable[[Training], Scorer]]:
        return training.outcome_models(self._in_fewer_parts(training), cross_fitted=False)

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        fit = self._in_fewer_parts(training)
        return [Term(1.0, training.outcome_model(pair, 1, fit)), Term(-1.0, training.outcome_model(pair, 0, fit))]


class XLearner(BoostedLearner):
    """Effects imputed on each side from the other side's outcome model, then combined (Künzel et al. 2019).

    Imputing with outcome models fitted on all rows, as is usual, lets a member who was in the arm once and in the
    control another time meet their own outcome. Here a row's imputed effect comes from the folds that its group is
    not in. The two effect models are combined with the pair's mean propensity, which any weight between 0 and 1 may
    be.
    """

    def _first(self, training: Training) -> dict[str, Callable[[Training], Scorer]]:
        return training.outcome_models(self.outcome_fitter(training), cross_fitted=True)

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        fit = self.outcome_fitter(training)
        without, with_arm = (training.outcome_of_others(pair, side, fit) for side in (0, 1))
        imputed = by_block(imputed_effects, pair, without, with_arm)

        def effect_model(alone: Training, side: int) -> Scorer:
            mine = pair.w == side
            return self._effect_model(alone, pair.rows[mine], imputed[mine], taken(pair.balanced, mine))

        of_control, of_arm = training.each((0, 1), effect_model)
        return [Term(pair.share, of_control), Term(1 - pair.share, of_arm)]


class RLearner(BoostedLearner):
    """Least squares of outcome residuals on treatment residuals (Nie & Wager 2021).

    The mean outcome given the features is that of the pair, out of fold: the two sides' outcome models, mixed with
    the pair's propensity. With several arms the mean over all of them belongs to no pair, and effects from it are
    wrong (root mean squared error 1.02 instead of 0.36 in a simulation).
    """

    def _first(self, training: Training) -> dict[str, Callable[[Training], Scorer]]:
        return training.outcome_models(self.outcome_fitter(training), cross_fitted=True)

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        ratio = by_block(residual_ratio, pair, *self._crossfitted(training, pair))
        weight = pair.w - pair.p
        weight *= weight
        weight *= pair.representative
        return [Term(1.0, self._effect_model(training, pair.rows, ratio, weight))]


class DRLearner(BoostedLearner):
    """Regression on doubly robust pseudo-outcomes (Kennedy 2023).

    Outcome models are cross-fitted on the learner's folds, and one effect model is fitted on the pseudo-outcomes of
    all rows.
    """

    def _first(self, training: Training) -> dict[str, Callable[[Training], Scorer]]:
        return training.outcome_models(self.outcome_fitter(training), cross_fitted=True)

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        pseudo = by_block(doubly_robust, pair, *self._crossfitted(training, pair))
        return [Term(1.0, self._effect_model(training, pair.rows, pseudo, pair.representative))]


# Pseudo-outcomes. ``without`` and ``with_arm`` are mean outcomes without and with the arm, ``(m,)``, in which the row's
# own outcome had no part.


def by_block(pseudo: Callable[[Pair, Floats, Floats], Floats], pair: Pair, without: Floats, with_arm: Floats) -> Floats:
    """The same, a block of rows at a time: what lies between takes no memory to speak of."""
    result = np.empty(len(pair.rows))
    for start in range(0, len(result), BLOCK):
        some = slice(start, start + BLOCK)
        result[some] = pseudo(pair.part(some), without[some], with_arm[some])
    return result


def imputed_effects(pair: Pair, without: Floats, with_arm: Floats) -> Floats:
    """Outcome less what the other side would have had, ``(m,)``: with the arm less without.

    Only the other side's mean outcome is looked at.
    """
    return np.where(pair.w == 1, pair.y - without, with_arm - pair.y)


def residual_ratio(pair: Pair, without: Floats, with_arm: Floats) -> Floats:
    """Residual of the outcome over the residual of the treatment, ``(m,)``."""
    mean = (1 - pair.p) * without + pair.p * with_arm
    return np.asarray((pair.y - mean) / (pair.w - pair.p))


def doubly_robust(pair: Pair, without: Floats, with_arm: Floats) -> Floats:
    """Pseudo-outcome whose mean given the features is the effect, ``(m,)``."""
    residual = np.where(pair.w == 1, (pair.y - with_arm) / pair.p, -(pair.y - without) / (1 - pair.p))
    return np.asarray(with_arm - without + residual)
