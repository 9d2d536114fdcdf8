"""Several learners averaged, each believed as far as held-out scores bear it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from uplift.errors import InputError
from uplift.learners._arm_scores import can_be_scored, effect_scores, expectations
from uplift.learners._encoder import FrameEncoder
from uplift.learners._program import EffectProgram, Term
from uplift.learners._scorers import ConstantScorer
from uplift.learners._shrinkage import Shrinkage, shrink
from uplift.learners._training import OutcomeFitter, Pair, Training
from uplift.learners._two_part import INCIDENCE, incidence_of
from uplift.learners.base import BaseUpliftLearner
from uplift.learners.baselines import ConstantEffect
from uplift.learners.meta import BoostedLearner

Floats = npt.NDArray[np.float64]

MEMBERS = ("logistic_T", "S", "X")
"""One that is linear, one that is cautious, one that imputes: they err in different ways, so that averages gain."""


@dataclass(frozen=True, eq=False)
class Member:
    """One of the learners that an ensemble averages.

    Attributes
    ----------
    name
        In ``uplift.learners.LEARNERS``.
    part
        Which part of the outcome it learns: ``incidence``, or empty for all of it.
    learner
        Unfitted.
    training
        What it is fitted on.
    """

    name: str
    part: str
    learner: BaseUpliftLearner
    training: Training


class EnsembleLearner(BoostedLearner):
    """An average of learners, shrunk towards one effect for all, with weights from scores that no member saw.

    Every member is fitted without each fold in turn; doubly robust scores of the held-out rows tell how much of what
    each says is to be kept, and of their averages (Bayesian model averaging over the slopes of the best linear
    predictor; the prior holds that nothing of it is real with probability 0.45). The members are then fitted on all
    rows. Where nothing can be told apart the result is one effect for all; where members see different things it is
    better than any of them alone. With fewer than 20 rows of an arm outside some fold nothing can be held out: then it
    is the constant effect.

    An amount that many rows have none of (zero) is the sum of two parts: whether there is any, times what is usual for
    such a member, and how much more or less than usual there is. Each part has scores and weights of its own, so that
    the luck of how much does not hide an effect on how often; of the first, members tell that were fitted on it alone,
    of both, members that were fitted on the amount as it is.

    Parameters
    ----------
    members
        Names in ``uplift.learners.LEARNERS``, of learners whose predictions are effects.
    control, outcome, folds, random_state, n_jobs
        As in :class:`~uplift.learners.base.BaseUpliftLearner`; at least 3 folds.
    n_estimators, num_leaves, learning_rate, min_child_samples, reg_lambda, extra_params
        Of members that grow boosters, as in :class:`~uplift.learners.meta.BoostedLearner`.

    Attributes
    ----------
    weights_
        Member → how much of it is kept: of what it says about who gains at all (``level``), and about which arm is
        better for whom (``between_arms``); of an amount in two parts also ``incidence_level`` and
        ``incidence_between_arms``, of the same learner on how often. What is not worth scoring has 0.

    Examples
    --------
    >>> from uplift.data.simulator.worlds import make_world
    >>> w = make_world(3000, outcome="continuous", random_state=0)
    >>> learner = EnsembleLearner(n_estimators=20, random_state=0).fit(w.X, w.y, w.treatment, propensity=w.propensity)
    >>> sorted(learner.weights_)
    ['S', 'X', 'logistic_T']
    """

    arm_by_arm: ClassVar[bool] = False

    def __init__(
        self,
        control: Any = None,
        *,
        members: Sequence[str] = MEMBERS,
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
        super().__init__(
            control,
            outcome=outcome,
            n_estimators=n_estimators,
            num_leaves=num_leaves,
            learning_rate=learning_rate,
            min_child_samples=min_child_samples,
            reg_lambda=reg_lambda,
            extra_params=extra_params,
            folds=folds,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        self.members = members

    def make_members(self) -> dict[str, BaseUpliftLearner]:
        """Name → unfitted member, with the ensemble's settings.

        Raises
        ------
        InputError
            If a name is unknown or its predictions are not effects.
        """
        from uplift.learners import LEARNERS, make_learner

        problems: list[str] = []
        self._check_members(problems)
        if problems:
            raise InputError("; ".join(problems))
        settings = {name: value for name, value in self.get_params(deep=False).items() if name != "members"}
        known = set().union(*(LEARNERS[name]._get_param_names() for name in self.members))
        given = {name: value for name, value in settings.items() if name in known}
        return {name: make_learner(name, **given) for name in self.members}

    def members_on(self, training: Training) -> list[Member]:
        """Every member: on the outcome as it is, and on its incidence where it has two parts."""
        incidence = incidence_of(training)
        parts = {"": training} if incidence is None else {INCIDENCE: incidence, "": training}
        return [
            Member(name, part, learner, of_part)
            for part, of_part in parts.items()
            for name, learner in self.make_members().items()
        ]

    def _check_params(self, problems: list[str]) -> None:
        super()._check_params(problems)
        self._check_members(problems)
        if isinstance(self.folds, int) and self.folds == 2:
            problems.append("folds must be at least 3, found 2: members are cross-fitted without each fold in turn")

    def _check_members(self, problems: list[str]) -> None:
        from uplift.learners import LEARNERS

        if isinstance(self.members, str) or not len(self.members):
            problems.append(f"members must be a list of names of learners, found {self.members!r}")
            return
        fit = [name for name, cls in LEARNERS.items() if cls.is_effect and cls is not EnsembleLearner]
        wrong = [name for name in self.members if name not in fit]
        if wrong:
            problems.append(f"members cannot be {', '.join(map(repr, wrong))}: choose among {', '.join(fit)}")
        if len(set(self.members)) < len(self.members):
            problems.append(f"members must differ, found {', '.join(map(str, self.members))}")

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        raise NotImplementedError("an ensemble weighs all arms at once, in _fit_program")

    def _fit_program(self, encoder: FrameEncoder, training: Training) -> EffectProgram:
        if not can_be_scored(training):
            self.weights_ = {name: {"level": 0.0, "between_arms": 0.0} for name in self.members}
            return ConstantEffect().fit_prepared(encoder, training).program_
        training.pairs()  # says what is wrong with the rows before anything is fitted
        inside = np.ones(len(training.y), dtype=bool) if training.within is None else training.within
        ids = np.where(inside, training.crossfit_ids, -1)
        folds = [int(number) for number in np.unique(ids) if number >= 0]
        members = self.members_on(training)
        predicted = np.full((len(members), len(ids), len(training.arms.names)), np.nan)
        for number in folds:
            held = ids == number
            for position, member in enumerate(members):
                fitted = clone(member.learner).fit_prepared(encoder, member.training.restricted(inside & ~held))
                predicted[position, held] = fitted.predict_encoded(training.matrix[held], training.threads)
        fit = self.outcome_fitter(training)
        gamma = scores_in_parts(training, effect_scores(training, expectations(training, fit)), fit)
        telling = telling_of_parts(members, len(gamma))
        shrunk = shrink(predicted, gamma, training.weight, ids, folds, training.groups, telling)
        return self._weighted(encoder, training, shrunk.shrinkage)

    def fit_weighted(self, encoder: FrameEncoder, training: Training, shrinkage: Shrinkage) -> Self:
        """Fit the members on all rows and combine them by weights that are known already."""
        program, arms = self._weighted(encoder, training, shrinkage), training.arms
        self._set_fitted(encoder, program, arms.names, arms.control, "binary" if training.binary else "continuous")
        return self

    def _weighted(self, encoder: FrameEncoder, training: Training, shrinkage: Shrinkage) -> EffectProgram:
        inside = slice(None) if training.within is None else training.within
        matrix, weight = training.matrix[inside], training.weight[inside]
        programs: list[EffectProgram | None] = []
        centres = np.zeros((shrinkage.weights.shape[1], len(shrinkage.constant)))
        self.weights_ = {name: {} for name in self.members}
        for k, member in enumerate(self.members_on(training)):
            level, between = map(float, shrinkage.weights[:, k])
            prefix = f"{member.part}_" if member.part else ""
            self.weights_[member.name] |= {f"{prefix}level": level, f"{prefix}between_arms": between}
            if not level and not between:
                programs.append(None)
                continue
            fitted = member.learner.fit_prepared(encoder, member.training)
            programs.append(fitted.program_)
            centres[k] = np.average(fitted.predict_encoded(matrix, training.threads), axis=0, weights=weight)
        return combined_program(programs, shrinkage, centres)

    def _state(self, files: dict[str, str]) -> dict[str, Any]:
        return {**super()._state(files), "weights": self.weights_}

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, str]) -> None:
        super()._restore(state, files)
        self.weights_ = {str(name): dict(kept) for name, kept in state["weights"].items()}


def scores_in_parts(training: Training, gamma: Floats, fit: OutcomeFitter) -> Floats:
    """Effect scores of each part of the outcome, ``(n_parts, n, n_arms)``, that add up to those of all of it.

    Incidence comes first; an outcome without parts is its only part.

    Parameters
    ----------
    gamma
        Effect scores of the outcome, ``(n, n_arms)``.
    fit
        How mean outcomes are learned.
    """
    incidence = incidence_of(training)
    if incidence is None:
        return gamma[None]
    first = effect_scores(incidence, expectations(incidence, fit))
    return np.stack([first, gamma - first])


def telling_of_parts(members: Sequence[Member], parts: int) -> npt.NDArray[np.bool_]:
    """Which members tell of which part, ``(n_parts, n_members)``: those on incidence say nothing about amounts."""
    telling = np.ones((parts, len(members)), dtype=bool)
    telling[1:] = [not member.part for member in members]
    return telling


def combined_program(programs: Sequence[EffectProgram | None], shrinkage: Shrinkage, centres: Floats) -> EffectProgram:
    """Effects ``constant + Σ (prediction − its centre) @ matrix`` as one program.

    Parameters
    ----------
    programs
        Of each prediction; None where nothing of it is kept.
    centres
        Mean prediction of each on the rows learned from, ``(n_predictions, n_arms)``.
    """
    matrices = shrinkage.matrices
    shift = shrinkage.constant - np.einsum("pa,pab->b", centres, matrices)
    return EffectProgram(
        tuple(
            (
                *(
                    replace(term, weight=float(matrix[source, arm]) * term.weight)
                    for program, matrix in zip(programs, matrices, strict=True)
                    if program is not None
                    for source, terms in enumerate(program.arms)
                    for term in terms
                    if matrix[source, arm] != 0
                ),
                Term(1.0, ConstantScorer(float(shift[arm]))),
            )
            for arm in range(len(shift))
        )
    )
