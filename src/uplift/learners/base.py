"""What all uplift learners share: checks, encoding, arms, propensities; a subclass adds how one arm is fitted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from uplift.errors import InputError
from uplift.learners._encoder import FrameEncoder
from uplift.learners._inputs import (
    assign_folds,
    check_groups,
    check_outcome,
    check_treatment,
    check_weight,
    refuse,
    seed_of,
    threads_of,
)
from uplift.learners._program import EffectProgram, Term, check_terms
from uplift.learners._propensity import estimated_propensity, given_propensity
from uplift.learners._scorers import Scorer
from uplift.learners._training import Pair, Training
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Explanation(Rendered):
    """What each feature adds to each effect.

    Attributes
    ----------
    values
        ``(n, n_arms, n_features)``, in the unit of the effect.
    baseline
        ``(n, n_arms)``; values and baseline add up to the effect.
    features, arms
        Names.
    exact
        True where values are SHAP values of the effect; False where they come from log-odds by the rescale rule, which
        is exact in sum only.
    """

    values: Floats
    baseline: Floats
    features: tuple[str, ...]
    arms: tuple[Any, ...]
    exact: bool

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row per arm and feature: mean absolute contribution, the largest first."""
        size = np.abs(self.values).mean(axis=0) if len(self.values) else np.zeros(self.values.shape[1:])
        rows = [
            {"arm": arm, "feature": feature, "mean_absolute": float(size[a, f])}
            for a, arm in enumerate(self.arms)
            for f, feature in enumerate(self.features)
        ]
        return sorted(rows, key=lambda row: (self.arms.index(row["arm"]), -row["mean_absolute"]))


class BaseUpliftLearner(BaseEstimator):
    """Base of all uplift learners.

    ``fit`` checks its input, encodes the features, and asks :meth:`_fit_arm` for each arm's effect as a sum of scorers.
    What is kept is only what prediction needs.

    Parameters
    ----------
    control
        Name of the control in ``treatment``; None stands for ``"control"``, else 0, whichever is there.
    outcome
        ``binary``: 0 or 1, effects are differences of probabilities; ``continuous``: amounts; ``auto``: binary where
        ``y`` holds nothing but 0 and 1.
    folds
        For outcome models whose predictions must be out of fold, and for estimated propensities.
    random_state
        Seed; two fits with the same one are identical, whatever ``n_jobs``.
    n_jobs
        Threads of LightGBM, the only ones there are; None is 1, −1 every core.

    Attributes
    ----------
    arms_
        Arms beside the control, sorted: the columns of :meth:`predict`.
    control_
        The control's name.
    outcome_
        ``binary`` or ``continuous``.
    encoder_
        How features become numbers.
    program_
        The effects as weighted sums of scorers.
    n_features_in_, feature_names_in_
        As in scikit-learn.
    is_effect
        False for learners whose "effect" is something else that members could be ranked by.
    binary_only, needs_half
        True for learners that take outcomes of 0 and 1 only, or arms as likely as the control only.
    arm_by_arm
        False for learners in which what one arm's members did has a say in another arm's effect.
    arms_at_once
        True for learners that hold little beside their boosters, so that several arms may be fitted side by side.
    """

    is_effect: ClassVar[bool] = True
    binary_only: ClassVar[bool] = False
    needs_half: ClassVar[bool] = False
    arm_by_arm: ClassVar[bool] = True
    arms_at_once: ClassVar[bool] = False

    def __init__(
        self,
        control: Any = None,
        *,
        outcome: Literal["auto", "binary", "continuous"] = "auto",
        folds: int = 3,
        random_state: int | None = None,
        n_jobs: int | None = 1,
    ) -> None:
        self.control = control
        self.outcome = outcome
        self.folds = folds
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        X: Any,
        y: Any,
        treatment: Any,
        *,
        propensity: Mapping[Any, float] | npt.ArrayLike | pd.DataFrame | None = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Learn the effect of every arm.

        Parameters
        ----------
        X
            Features, ``(n, n_features)``: a table with numbers, flags, categories, texts and missing values, or an
            array.
        y
            Outcome, ``(n,)``.
        treatment
            Arm received, ``(n,)``.
        propensity
            Arm → share; or ``(n, n_arms + 1)`` in the order ``[control, *arms_]``, 0 where an arm was not offered (such
            a row does not inform that arm); or None: estimated by multinomial logistic regression, cross-fitted, and
            refused where overlap fails.
        sample_weight
            ``(n,)``, not negative.
        groups
            ``(n,)``, e.g. members who occur several times: they are never split between folds.

        Raises
        ------
        InputError
            Listing everything that is wrong.
        """
        encoder, training = prepare(self, X, y, treatment, propensity, sample_weight, groups)
        return self.fit_prepared(encoder, training)

    def fit_prepared(self, encoder: FrameEncoder, training: Training) -> Self:
        """Learn from what :func:`prepare` made, so that several learners share bins, folds and outcome models."""
        self._settle(encoder)
        return self._learned(encoder, training, self._fit_program(encoder, training))

    def _settle(self, encoder: FrameEncoder) -> None:
        """Look at the features before anything is fitted."""

    def _learned(self, encoder: FrameEncoder, training: Training, program: EffectProgram) -> Self:
        arms = training.arms
        self._set_fitted(encoder, program, arms.names, arms.control, "binary" if training.binary else "continuous")
        return self

    def _fit_program(self, encoder: FrameEncoder, training: Training) -> EffectProgram:
        """The effects of all arms: each by itself, unless a subclass weighs them together."""
        del encoder
        pairs = training.pairs()
        fit_first([self], training)
        if self.arms_at_once:
            return EffectProgram(tuple(training.each(_arm_numbers(training), self._arm_terms)))
        # map, unlike a comprehension, lets go of a pair before the next one is made
        return EffectProgram(tuple(map(partial(self._pair_terms, training), pairs)))

    def _arm_terms(self, training: Training, arm: int) -> tuple[Term, ...]:
        """The effect of an arm by its number."""
        return self._pair_terms(training, training.pair(arm))

    def _pair_terms(self, training: Training, pair: Pair) -> tuple[Term, ...]:
        return check_terms(self._fit_arm(training, pair))

    def _set_fitted(
        self, encoder: FrameEncoder, program: EffectProgram, arms: tuple[Any, ...], control: Any, outcome: str
    ) -> None:
        self.encoder_ = encoder
        self.program_ = program
        self.arms_ = arms
        self.control_ = control
        self.outcome_ = outcome
        self.n_features_in_ = len(encoder.columns)
        if encoder.named:
            self.feature_names_in_ = np.array(encoder.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _first(self, training: Training) -> dict[str, Callable[[Training], Scorer]]:
        """What arms have in common, or need at the same time, to be fitted before the first of them; by its name."""
        del training
        return {}

    @abstractmethod
    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        """Fit one arm against the control; return its effect as terms."""

    def _check_params(self, problems: list[str]) -> None:
        """Add what is wrong with the subclass's own parameters."""

    def predict(self, X: Any) -> Floats:
        """Effect of each arm against the control, ``(n, n_arms)`` in the unit of ``y``, columns as in ``arms_``."""
        check_is_fitted(self)
        return self.predict_encoded(self.encoder_.transform(X), threads_of(self.n_jobs))

    def effects(self, X: Any) -> pd.DataFrame:
        """The same as a table: a column per arm, named as in ``arms_``, with the index of ``X`` if it has one."""
        return effect_table(self.predict(X), self.arms_, X)

    def predict_encoded(self, matrix: npt.NDArray[np.float32], threads: int = 1) -> Floats:
        """The same from a matrix that the learner's encoder, or :func:`prepare`, made."""
        return self.program_.effects(matrix, threads)

    def explain(self, X: Any) -> Explanation:
        """What each feature adds to each effect.

        SHAP values where the models' scores are the effect (X, R and DR always, all learners for amounts). For rates,
        S and T are differences of probabilities, in which log-odds do not add up: there, contributions to log-odds are
        brought to the probability scale by the rescale rule, exact in sum and approximate feature by feature.
        """
        check_is_fitted(self)
        parts = self.program_.contributions(self.encoder_.transform(X), threads_of(self.n_jobs))
        exact = all(
            getattr(term.scorer, "link", "identity") == "identity" for terms in self.program_.arms for term in terms
        )
        return Explanation(parts[..., :-1], parts[..., -1], self.encoder_.names, self.arms_, exact)

    def feature_importance(self) -> pd.DataFrame:
        """Gain of each feature (rows) for each arm (columns), summed over the arm's models.

        For boosters LightGBM's total gain in units of squared outcome (or log-loss); for linear models the sum of the
        absolute coefficients of standardised regressors. Comparable within a column only.
        """
        check_is_fitted(self)
        gain = self.program_.gain(self.n_features_in_)
        return pd.DataFrame(gain, index=pd.Index(self.encoder_.names, name="feature"), columns=list(self.arms_))

    def _state(self, files: dict[str, str]) -> dict[str, Any]:
        return {
            "encoder": self.encoder_.to_dict(),
            "program": self.program_.to_dict(files),
            "arms": list(self.arms_),
            "control": self.control_,
            "outcome": self.outcome_,
        }

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, str]) -> None:
        self._set_fitted(
            FrameEncoder.from_dict(state["encoder"]),
            EffectProgram.from_dict(state["program"], files),
            tuple(state["arms"]),
            state["control"],
            state["outcome"],
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def effect_table(effects: Floats, arms: tuple[Any, ...], X: Any) -> pd.DataFrame:
    """Effects ``(n, n_arms)`` as a table with the index of ``X`` if it has one."""
    return pd.DataFrame(effects, columns=list(arms), index=X.index if isinstance(X, pd.DataFrame) else None)


def prepare(
    learner: BaseUpliftLearner,
    X: Any,
    y: Any,
    treatment: Any,
    propensity: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
) -> tuple[FrameEncoder, Training]:
    """Check and encode what ``fit`` is given; folds, control and seed are the learner's.

    Raises
    ------
    InputError
        Listing everything that is wrong.
    """
    name = type(learner).__name__
    encoder = FrameEncoder.learn(X)
    matrix = encoder.transform(X)
    problems: list[str] = []
    n = len(matrix)
    values, binary = check_outcome(y, n, learner.outcome, problems)
    arms = check_treatment(treatment, n, learner.control, problems)
    weight = check_weight(sample_weight, n, problems)
    group = check_groups(groups, n, problems)
    known = None
    if arms is not None and propensity is not None:
        known = given_propensity(propensity, arms, problems)
    if not isinstance(learner.folds, int) or learner.folds < 2:
        problems.append(f"folds must be a whole number of at least 2, found {learner.folds!r}")
    learner._check_params(problems)
    threads = threads_of(learner.n_jobs)
    refuse(problems, name)
    if arms is None:  # a problem was listed above
        raise InputError("treatment cannot be used")
    seed = seed_of(learner.random_state)
    folds = assign_folds(arms.codes, learner.folds, group, seed)
    if known is None:
        known, problems = estimated_propensity(matrix, encoder.categorical, arms, weight, folds)
        refuse(problems, name)
    return encoder, Training(
        matrix=matrix,
        categorical=encoder.categorical,
        y=values,
        binary=binary,
        arms=arms,
        propensity=known,
        weight=weight,
        folds=folds,
        seed=seed,
        threads=threads,
        groups=group,
    )


def fit_together(
    learners: Mapping[str, BaseUpliftLearner],
    X: Any,
    y: Any,
    treatment: Any,
    *,
    propensity: Mapping[Any, float] | npt.ArrayLike | pd.DataFrame | None = None,
    sample_weight: Any = None,
    groups: Any = None,
) -> dict[str, BaseUpliftLearner]:
    """Fit clones of several learners, sharing all that they have in common.

    Learners with the same ``control``, ``outcome``, ``folds``, ``random_state`` and ``n_jobs`` share the encoded and
    binned features, the fold assignment, propensities, and every outcome model of the same settings: what X, R and DR
    need is fitted once. Each learner is the same as if it had been fitted alone.

    Parameters
    ----------
    learners
        Name → unfitted learner.
    X, y, treatment, propensity, sample_weight, groups
        As in :meth:`BaseUpliftLearner.fit`.

    Returns
    -------
    dict
        Name → fitted clone.

    Examples
    --------
    >>> from uplift.data.simulator.worlds import make_world
    >>> from uplift.learners import make_learner
    >>> w = make_world(500, random_state=0)
    >>> both = {name: make_learner(name, control="control", random_state=0) for name in ("X", "DR")}
    >>> fitted = fit_together(both, w.X, w.y, w.treatment, propensity=w.propensity)
    >>> alone = both["DR"].fit(w.X, w.y, w.treatment, propensity=w.propensity)
    >>> bool((fitted["DR"].predict(w.X) == alone.predict(w.X)).all())
    True
    """
    common = ("control", "outcome", "folds", "random_state", "n_jobs")
    groups_of: dict[str, list[str]] = {}
    for name, learner in learners.items():
        alone = name if learner.random_state is None else ""  # each draws a seed of its own
        key = repr([*(getattr(learner, one) for one in common), alone])
        groups_of.setdefault(key, []).append(name)
    fitted: dict[str, BaseUpliftLearner] = {}
    for names in groups_of.values():
        clones = {name: clone(learners[name]) for name in names}
        problems: list[str] = []
        for learner in clones.values():
            learner._check_params(problems)
        refuse(list(dict.fromkeys(problems)), ", ".join(names))
        first = clones[names[0]]
        encoder, training = prepare(first, X, y, treatment, propensity, sample_weight, groups)
        training.pairs()  # says what is wrong with the rows before anything is fitted
        fit_first(list(clones.values()), training)
        fitted |= _fit_arms(clones, encoder, training)
    return {name: fitted[name] for name in learners}


def _fit_arms(
    learners: Mapping[str, BaseUpliftLearner], encoder: FrameEncoder, training: Training
) -> Mapping[str, BaseUpliftLearner]:
    """Fit them, two arms at once, of one learner or of two: what is done by one thread then leaves none idle."""
    for learner in learners.values():
        learner._settle(encoder)
    tasks = [(learner, arm) for learner in learners.values() if learner.arm_by_arm for arm in _arm_numbers(training)]
    done = iter(training.each(tasks, lambda alone, task: task[0]._arm_terms(alone, task[1]), at_once=2))
    for learner in learners.values():
        if learner.arm_by_arm:
            learner._learned(encoder, training, EffectProgram(tuple(next(done) for _ in _arm_numbers(training))))
        else:
            learner.fit_prepared(encoder, training)
    return learners


def _arm_numbers(training: Training) -> range:
    return range(1, len(training.arms.names) + 1)


def fit_first(learners: Sequence[BaseUpliftLearner], training: Training) -> None:
    """Fit what learners need before their arms, as many models at once as there are threads, and each once."""
    models: dict[str, Callable[[Training], Scorer]] = {}
    for learner in learners:
        models |= learner._first(training)
    training.each(models.values(), lambda alone, model: model(alone))
