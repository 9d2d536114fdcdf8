"""Choose among learners by what their policies bring out of fold, and report a number that the choosing never saw."""

from __future__ import annotations

import copy
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterGrid
from sklearn.utils.validation import check_is_fitted

from uplift.errors import InputError, unknown_name
from uplift.evaluation._crossfit import Data, Fits, Views, cross_fitted, stacked
from uplift.evaluation._leaderboard import Judged, leaderboard
from uplift.evaluation._selection import choose, row_gains, single_gains
from uplift.evaluation._verdict import Verdict, verdict
from uplift.evaluation.folds import fold_ids
from uplift.evaluation.gain import PolicyGain, mean_metric, summarise
from uplift.evaluation.intervals import effect_bands
from uplift.evaluation.scores import Scores, outcome_fitter, score_rows, training_of, weighted_mean
from uplift.evaluation.units import GainUnit
from uplift.learners import (
    LEARNERS,
    BaseUpliftLearner,
    BoostedLearner,
    EffectInterval,
    EnsembleLearner,
    Member,
    NoEffect,
    OutcomeFitter,
    Shrinkage,
    Shrunk,
    Training,
    combined_program,
    effect_table,
    expectations,
    make_learner,
    scores_in_parts,
    shrink,
    telling_of_parts,
)
from uplift.metrics import Metric
from uplift.metrics.trial import Propensity, Trial, read_trial

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

SIMPLICITY = ("none", "constant", "ensemble", "logistic_T", "linear_DR", "response", "S", "T", "X", "R", "DR")
"""Default candidates from simple to complex: the order in which ties are broken."""
_LOOKED_AT = 10_000
"""Rows, about, by which is seen whether a model does the same for everybody."""


@dataclass(frozen=True, eq=False)
class _Round:
    """All candidates on one partition into folds."""

    scores: Scores
    gamma: Views
    judged: list[Judged]
    one_for_all: Floats


class UpliftSearchCV(BaseEstimator):
    """Fit candidates, choose one by out-of-fold policy value, shrink it, and say what it is worth.

    All candidates are fitted on the same folds, on features binned once, and share their outcome models. Their
    predictions are shrunk towards one effect for all as far as held-out scores demand, turned into the policy "best
    arm where positive", and valued by doubly robust scores. The ensemble, which averages learners by what held-out
    scores say of each, is kept unless treating everybody alike gains more by over ``tolerance`` standard errors, or
    another learner does by more than the luck of the best of so many. Without an ensemble among the candidates the
    simplest within ``tolerance`` standard errors of the best is chosen. The reported gain comes from repeating all of
    this without each fold in turn: for the rows of a fold, neither the models, nor the shrinkage, nor the choice, nor
    the single arm it is compared with saw an outcome of that fold.

    Parameters
    ----------
    candidates
        Name → unfitted learner, from simple to complex, or names of ``uplift.learners.LEARNERS``; None: those of
        ``SIMPLICITY``. The search's ``folds``, ``random_state`` and ``n_jobs`` hold for learners of ours.
    param_grid
        Name of a candidate → parameter → values to try, from simple to complex: each combination is a candidate.
    folds
        At least 3 when nested.
    n_repeats
        Partitions into folds that candidates are compared and weighed on, and averaged over: which rows happen to be
        kept from which model is chance of our own making, as large as that of the sample where effects are weak.
    nested
        False skips the fits without two folds (10 of 25 by default) and reports the chosen candidate's out-of-fold
        gain, which the choosing has seen: for when other rows are kept for the report.
    tolerance
        Standard errors of the paired difference within which the ensemble, or the simpler candidate, is preferred.
    params
        Settings for learners given by name, e.g. ``{"n_estimators": 50}``.
    outcome_model
        Regressor for the scores, as in :func:`aipw_scores`.
    alpha
        1 − level of intervals, and of the verdict as a whole.
    n_bootstrap
        Draws for the ranking metrics of the leaderboard.
    random_state
        Seed.
    n_jobs
        Training sets worked on side by side, one thread each; −1: every core. The result is the same.

    Attributes
    ----------
    best_name_, best_estimator_
        The candidate chosen, fitted on all rows. For our learners shrinkage is part of it, so saving it saves all;
        an ensemble says in ``weights_`` how much of each member is kept.
    arms_, control_
        Names; arms are the columns of :meth:`predict`.
    shrinkage_
        ``level``: how much is kept of the differences between members in the mean effect of all arms; ``between_arms``:
        how much of which arm is better for whom. 0 is the constant effect for all, 1 the prediction as it is. Of an
        amount in two parts, what is kept for both is added up.
    constant_
        Mean effect of each arm, ``(n_arms,)``, differences between arms shrunk as far as they are uncertain.
    leaderboard_
        DataFrame, a row per candidate: gain over nobody and over the best single arm for all, Qini, AUTOC, each with
        its interval; ``promised``, ``kept_level`` and ``kept_between_arms`` (shrinkage), ``seconds``, ``chosen``.
        An outcome model that several candidates share counts in the seconds of the one that came first.
    selected_
        :class:`PolicyGain` of the whole procedure, on rows that it did not see.
    verdict_, verdict_zh_, verdict_status_
        In words, and as ``targeting``, ``one_for_all`` or ``no_evidence``.
    effects_
        Out-of-fold effects of the chosen candidate, ``(n, n_arms)``.
    scores_
        The :class:`Scores` of all rows.
    fold_
        Fold of each row.

    Examples
    --------
    >>> from uplift.data.simulator.worlds import make_world
    >>> w = make_world(2000, effect="constant", scale=0.3, random_state=0)
    >>> search = UpliftSearchCV(candidates=["none", "constant"], folds=3, n_bootstrap=20)
    >>> search.fit(w.X, w.y, w.treatment, propensity=w.propensity).best_name_
    'constant'
    """

    def __init__(
        self,
        candidates: Mapping[str, Any] | list[str] | tuple[str, ...] | None = None,
        *,
        param_grid: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
        folds: int = 5,
        n_repeats: int = 3,
        nested: bool = True,
        tolerance: float = 1.0,
        params: Mapping[str, Any] | None = None,
        outcome_model: Any = None,
        alpha: float = 0.05,
        n_bootstrap: int = 100,
        random_state: int | None = 0,
        n_jobs: int | None = 1,
    ) -> None:
        self.candidates = candidates
        self.param_grid = param_grid
        self.folds = folds
        self.n_repeats = n_repeats
        self.nested = nested
        self.tolerance = tolerance
        self.params = params
        self.outcome_model = outcome_model
        self.alpha = alpha
        self.n_bootstrap = n_bootstrap
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        X: Any,
        y: npt.ArrayLike,
        treatment: npt.ArrayLike,
        *,
        propensity: Propensity = None,
        control: Hashable = None,
        groups: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Self:
        """Search.

        Parameters
        ----------
        X, y, treatment, propensity, control, groups, sample_weight
            As in :func:`aipw_scores`.

        Raises
        ------
        InputError
            Listing what is wrong with the input; or naming the candidate that could not be fitted.
        """
        if self.nested and self.folds < 3:
            raise InputError(f"a nested search needs at least 3 folds, found {self.folds}; or set nested=False")
        trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
        if not np.ptp(trial.y):
            raise InputError(
                f"y is {trial.y[0]:g} in all {len(trial):,} rows: nothing can be learned; check the outcome and its "
                "window"
            )
        if self.n_repeats < 1:
            raise InputError(f"n_repeats must be at least 1, found {self.n_repeats}")
        clusters = None if groups is None else np.asarray(groups)
        fold, halves = self._partition(trial, clusters, 0)
        training, encoder = training_of(
            X, trial, fold, propensity is None, random_state=self.random_state, n_jobs=effective_n_jobs(self.n_jobs),
            halves=halves, groups=groups,
        )  # fmt: skip
        trial = replace(trial, propensity=training.propensity)
        learners = self._candidates(trial.control)
        data = Data(X if isinstance(X, pd.DataFrame) else np.asarray(X), trial, fold, clusters, treatment,
                     encoder, training)  # fmt: skip

        first = self._round(data, learners, self.nested)
        rounds = [first]
        for number in range(1, self.n_repeats):
            rounds.append(self._round(data.refolded(*self._partition(trial, clusters, number)), learners, False))
        judged = [Judged.over(each) for each in zip(*(one.judged for one in rounds), strict=True)]
        self._choose(judged, first, np.mean([one.one_for_all for one in rounds], axis=0), data)
        self._refit(learners[self.best_name_], data)
        self._conclude(first.scores, data.X)
        self.arms_, self.control_ = trial.arms, trial.control
        self.scores_, self.fold_ = first.scores, fold
        return self

    def predict(self, X: Any) -> Floats:
        """Effect of each arm against the control, ``(n, n_arms)``, columns as ``arms_``, after shrinkage."""
        check_is_fitted(self)
        effects = np.asarray(self.best_estimator_.predict(X), dtype=np.float64)
        if isinstance(self.best_estimator_, BaseUpliftLearner):
            return effects
        return self.constant_ + (effects - self._centre) @ self._shrinkage.matrices[0]

    def effects(self, X: Any) -> pd.DataFrame:
        """The same as a table: a column per arm, with the index of ``X`` if it has one."""
        return effect_table(self.predict(X), self.arms_, X)

    def predict_interval(self, X: Any, alpha: float = 0.05) -> EffectInterval:
        """Interval of the mean effect among members who are predicted a similar effect, each ``(n, n_arms)``.

        It says what members like this one gain on average, not what this one gains, and holds for the members that were
        learned from; for new ones it covers one to five points less, since the model refitted on all rows tells members
        further apart than those it was measured by. See :func:`~uplift.evaluation.effect_bands`.
        """
        check_is_fitted(self)
        return effect_bands(self.effects_, self.scores_, alpha=alpha).interval(self.predict(X))

    def verdict_in(self, unit: GainUnit) -> Verdict:
        """The verdict with its numbers in units of the outcome, e.g. ``GainUnit("money", "CNY")`` for cents."""
        check_is_fitted(self)
        return self._said(unit=unit)

    def _candidates(self, control: Hashable) -> dict[str, Any]:
        given = SIMPLICITY if self.candidates is None else self.candidates
        if isinstance(given, str) or not len(given):
            raise InputError("candidates must be a mapping name → learner, or a list of names of learners")
        if isinstance(given, Mapping):
            learners = {str(name): clone(learner) for name, learner in given.items()}
            for learner in learners.values():
                if "control" in learner.get_params() and learner.control is None:
                    learner.set_params(control=control)
            return self._expanded(learners)
        for name in given:
            if name not in LEARNERS:
                raise unknown_name("learner", str(name), LEARNERS)
        settings = {"random_state": self.random_state, **(self.params or {})}
        order = sorted(given, key=lambda name: SIMPLICITY.index(name) if name in SIMPLICITY else len(SIMPLICITY))
        return self._expanded({name: make_learner(name, control=control, **settings) for name in order})

    def _expanded(self, learners: dict[str, Any]) -> dict[str, Any]:
        """Each combination of a candidate's grid in the candidate's place."""
        grid = self.param_grid or {}
        for name in grid:
            if name not in learners:
                raise unknown_name("candidate", str(name), list(learners))
        expanded: dict[str, Any] = {}
        for name, learner in learners.items():
            known = learner.get_params()
            for parameter in grid.get(name, {}):
                if parameter not in known:
                    raise unknown_name(f"parameter of {name}", str(parameter), sorted(known))
            for values in ParameterGrid(dict(grid.get(name, {}))):
                shown = ", ".join(f"{parameter}={value}" for parameter, value in values.items())
                expanded[f"{name}({shown})" if shown else name] = clone(learner).set_params(**values)
        return expanded

    def _partition(self, trial: Trial, clusters: npt.NDArray[Any] | None, number: int) -> tuple[Ints, Ints]:
        """Folds, and halves that cut through them."""
        seeds = [None if self.random_state is None else self.random_state + 2 * number + k for k in (0, 1)]
        fold, halves = (
            fold_ids(len(trial), parts, groups=clusters, stratify=trial.assigned, random_state=seed)
            for parts, seed in zip((self.folds, 2), seeds, strict=True)
        )
        return fold, halves

    def _round(self, data: Data, learners: Mapping[str, Any], nested: bool) -> _Round:
        """All candidates cross-fitted and judged on one partition."""
        fit = self._outcome_fitter(learners, data.training)
        scores, gamma = self._score(data, fit, nested)
        single, needed = _members(learners, data)
        fits = cross_fitted(data, single, self.folds, nested=nested, n_jobs=self.n_jobs)
        views = {name: stacked([fits[member] for member in own]) for name, own in needed.items()}
        averaged = any(isinstance(learner, EnsembleLearner) for learner in learners.values())
        in_parts = self._in_parts(data, fit, gamma) if averaged else gamma
        judged = [self._judge(name, learner, views[name], data, gamma, in_parts) for name, learner in learners.items()]
        return _Round(scores, gamma, judged, _one_for_all(scores, gamma))

    def _outcome_fitter(self, learners: Mapping[str, Any], training: Training) -> OutcomeFitter:
        """For the scores: the caller's, or the candidates' own, so that it is fitted once for all."""
        boosted = [one for one in learners.values() if isinstance(one, BoostedLearner) and one.outcome == "auto"]
        if self.outcome_model is None and boosted:
            return boosted[0].outcome_fitter(training)
        return outcome_fitter(training, self.outcome_model)

    def _score(self, data: Data, fit: OutcomeFitter, nested: bool) -> tuple[Scores, Views]:
        """Scores of all rows, and effect scores kept from every fold."""
        training = data.training
        scores = score_rows(data.trial, expectations(training, fit), data.fold, data.clusters)
        outer = {}
        for f in range(self.folds if nested else 0):
            kept = expectations(training.restricted(data.fold != f), fit)
            outer[f] = score_rows(data.trial, kept, data.fold, data.clusters).effects
        return scores, Views(scores.effects, outer)

    def _in_parts(self, data: Data, fit: OutcomeFitter, gamma: Views) -> Views:
        """The effect scores of each part of the outcome, ``(n_parts, n, n_arms)`` in each view."""
        training = data.training
        outer = {
            f: scores_in_parts(training.restricted(data.fold != f), scores, fit) for f, scores in gamma.outer.items()
        }
        return Views(scores_in_parts(training, gamma.single, fit), outer)

    def _judge(self, name: str, learner: Any, fits: Fits, data: Data, gamma: Views, in_parts: Views) -> Judged:
        """Shrink one candidate's predictions, and value its policy within each outer set."""
        begun = time.perf_counter()
        views = fits.views
        averaged, told, telling = isinstance(learner, EnsembleLearner), gamma, None
        if averaged:
            told, members = in_parts, learner.members_on(data.training_for(learner))
            telling = telling_of_parts(members, len(in_parts.single))
        exempt = isinstance(learner, NoEffect) or not views.single.any()  # "no effect" is not moved to the mean
        every = list(range(self.folds))
        offered = data.trial.propensity[:, 1:] > 0
        inner: dict[int, Floats] = {}
        outer = np.full((len(data.fold), len(data.trial.arms)), np.nan)
        for f, predicted in views.outer.items():
            others = [j for j in every if j != f]
            shrunk = _shrunk(predicted, told.outer[f], data, others, exempt, telling)
            inner[f] = row_gains(shrunk.effects, gamma.outer[f], offered)[0]
            rows = data.fold == f
            raw = views.single[:, rows]
            outer[rows] = raw[0] if exempt else shrunk.shrinkage.apply(raw, data.trial.weight[rows])
        whole = _shrunk(views.single, told.single, data, every, exempt, telling)
        gains = row_gains(whole.effects, gamma.single, offered)[0]
        alike = all(not np.ptp(views.single[:, data.fold == f], axis=1).any() for f in every)
        return Judged(name, whole, gains, inner, outer, fits.seconds + time.perf_counter() - begun, alike, averaged)

    def _choose(self, judged: list[Judged], first: _Round, one_for_all: Floats, data: Data) -> None:
        scores = first.scores
        weight, clusters = scores.weight, data.clusters
        kinds = [one.alike for one in judged], [one.averaged for one in judged]
        chosen = choose([one.gains for one in judged], weight, clusters, self.tolerance, *kinds)
        best = judged[chosen]
        effects, gains, compared = best.shrunk.effects, best.gains, one_for_all
        if self.nested:
            effects, compared = np.full_like(best.outer, np.nan), first.one_for_all
            for f in range(self.folds):
                rows = scores.fold == f
                candidates = [one.inner[f] for one in judged]
                pick = choose(candidates, np.where(rows, 0.0, weight), clusters, self.tolerance, *kinds)
                effects[rows] = judged[pick].outer[rows]
            gains = row_gains(effects, scores.effects, scores.offered)[0]
        choice = row_gains(effects, scores.effects, scores.offered)[1]
        single, _ = _best_single(scores, self.alpha)
        taken = np.zeros((len(scores), len(scores.arms) + 1))
        taken[np.arange(len(scores)), choice] = 1.0
        promised = np.where(choice > 0, effects[np.arange(len(scores)), np.maximum(choice - 1, 0)], 0.0)
        self.selected_: PolicyGain = summarise(
            scores, gains, compared, single, taken, float(np.average(promised, weights=weight)), clusters, self.alpha
        )
        self.best_name_ = best.name
        self._shrinkage, self.effects_ = best.shrunk.shrinkage, best.shrunk.effects
        self.constant_ = self._shrinkage.constant
        self.shrinkage_ = dict(zip(("level", "between_arms"), self._shrinkage.factors, strict=True))
        self.leaderboard_ = leaderboard(judged, chosen, one_for_all, scores, self.n_bootstrap, self.random_state)

    def _conclude(self, scores: Scores, X: Any) -> None:
        """The verdict, which also tells what the model that is kept does with these members, or many of them."""
        some = slice(None, None, max(1, len(scores) // _LOOKED_AT))
        predicted = self.predict(X.iloc[some] if isinstance(X, pd.DataFrame) else X[some])
        kept, alike = (
            row_gains(effects, scores.effects[some], scores.offered[some])[1]
            for effects in (predicted, np.broadcast_to(self.constant_, predicted.shape))
        )
        self._said = partial(
            verdict, self.best_name_, self.selected_.gain, self.selected_.over_single,
            *_best_single(scores, self.alpha), arms=len(scores.arms), alpha=self.alpha,
            by_member=not np.array_equal(kept, alike),
        )  # fmt: skip
        said = self._said()
        self.verdict_status_, self.verdict_, self.verdict_zh_ = said.status, said.en, said.zh

    def _refit(self, learner: Any, data: Data) -> None:
        everybody = np.ones(len(data.fold), dtype=bool)
        threads = effective_n_jobs(self.n_jobs)
        self._centre = np.zeros(len(data.trial.arms))
        if isinstance(learner, EnsembleLearner):
            training = replace(data.training_for(learner), threads=threads)
            self.best_estimator_ = clone(learner).fit_weighted(data.encoder, training, self._shrinkage)
            return
        fitted = data.fit(learner, everybody, threads)
        raw = np.asarray(fitted.predict(data.X), dtype=np.float64)
        if isinstance(fitted, NoEffect) or not raw.any():
            self.best_estimator_ = fitted
            return
        self._centre = np.average(raw, axis=0, weights=data.trial.weight)
        self.best_estimator_ = copy.copy(fitted)
        if isinstance(fitted, BaseUpliftLearner):
            self.best_estimator_.program_ = combined_program([fitted.program_], self._shrinkage, self._centre[None, :])


def _members(learners: Mapping[str, Any], data: Data) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What is to be fitted by name, and the names that each candidate needs: what several need is there once."""
    fitted: dict[str, Any] = {}
    needed: dict[str, list[str]] = {}
    known: dict[str, str] = {}
    for name, learner in learners.items():
        own = {name: learner}
        if isinstance(learner, EnsembleLearner):
            members = learner.members_on(data.training_for(learner))
            own = {f"{one.name} of {name} {one.part}".rstrip(): one for one in members}
        needed[name] = []
        for label, one in own.items():
            learned, part = (one.learner, one.part) if isinstance(one, Member) else (one, "")
            ours = isinstance(learned, BaseUpliftLearner)
            same = f"{type(learned).__name__} {part} {sorted(learned.get_params().items())!r}" if ours else label
            needed[name].append(known.setdefault(same, label))
            fitted.setdefault(known[same], one)
    return fitted, needed


def _shrunk(
    predicted: Floats, gamma: Floats, data: Data, among: list[int], exempt: bool, telling: Mask | None
) -> Shrunk:
    if exempt:
        arms = predicted.shape[2]
        return Shrunk(predicted[0], Shrinkage(np.zeros(arms), np.ones((2, 1))))
    return shrink(predicted, gamma, data.trial.weight, data.fold, among, data.training.groups, telling)


def _one_for_all(scores: Scores, gamma: Views) -> Floats:
    """Gain per row of the single arm that does best, picked for each fold by the other folds only, ``(n,)``."""
    result = np.full(len(scores), np.nan)
    for f in np.unique(scores.fold):
        rows = scores.fold == f
        seen = gamma.outer.get(f, gamma.single)
        elsewhere = np.where(rows, 0.0, scores.weight)
        means = [
            weighted_mean(single_gains(k, seen, scores.offered), elsewhere, None)[0] for k in range(len(scores.arms))
        ]
        result[rows] = single_gains(int(np.argmax(means)), gamma.single, scores.offered)[rows]
    return result


def _best_single(scores: Scores, alpha: float) -> tuple[Hashable, Metric]:
    """The arm that does best when given to all, on all rows, and its gain over nobody."""
    gains = [
        mean_metric(f"gain of {arm} for all", single_gains(k, scores.effects, scores.offered), scores.weight,
                    scores.clusters, alpha)
        for k, arm in enumerate(scores.arms)
    ]  # fmt: skip
    best = int(np.argmax(gains))
    return scores.arms[best], gains[best]
