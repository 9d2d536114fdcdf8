"""The effect as a linear function of a few features, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student
from sklearn.utils.validation import check_is_fitted

from uplift.errors import InputError, unknown_name
from uplift.learners._encoder import FrameEncoder
from uplift.learners._linear import LinearDesign
from uplift.learners._program import Term
from uplift.learners._projection import ProjectionScorer, independent, project
from uplift.learners._training import Pair, Training
from uplift.learners.meta import BoostedLearner, doubly_robust
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


class EffectInterval(NamedTuple):
    """Ends of the intervals of effects, each ``(n, n_arms)`` in the unit of the outcome."""

    low: Floats
    high: Floats


@dataclass(frozen=True, repr=False)
class EffectRegression(Rendered):
    """What the effect depends on, one row per arm and regressor.

    Attributes
    ----------
    rows
        ``arm``; ``term``: a feature, ``feature = level``, ``feature is missing``, or ``at the mean`` (the effect where
        every regressor is at its mean); ``effect`` per unit of the feature with ``se``, ``low``, ``high``, ``p_value``.
    alpha
        1 − level of the intervals.
    """

    rows: tuple[Mapping[str, Any], ...]
    alpha: float

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows."""
        return [dict(row) for row in self.rows]


class LinearDRLearner(BoostedLearner):
    """Best linear projection of the effect on the features, with intervals (Semenova & Chernozhukov 2021).

    Doubly robust pseudo-outcomes, whose mean is the effect, are regressed on the features by least squares. They come
    from known propensities and outcome models that did not see the row, so what is estimated is the linear function
    closest to the effect, however poor the outcome models are. Where the effect is linear in the features that is the
    effect itself; elsewhere intervals cover the projection, not the effect.

    Numbers are taken as they are (missing ones at the mean, with a regressor "missing"); a category has one regressor
    for each of its up to 20 most frequent levels but one.

    Parameters
    ----------
    features
        Names of the features that the effect may depend on (positions, where the table has no names); None: all. The
        outcome models use all features in any case. Intervals widen with every feature more.
    control, outcome, folds, random_state, n_jobs
        As in :class:`~uplift.learners.base.BaseUpliftLearner`.
    n_estimators, num_leaves, learning_rate, min_child_samples, reg_lambda, extra_params
        Of the outcome models, as in :class:`~uplift.learners.meta.BoostedLearner`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(2000, 2)), rng.integers(0, 2, 2000)
    >>> y = X[:, 0] + w * (0.5 + X[:, 1]) + rng.normal(size=2000)
    >>> learner = LinearDRLearner(control=0, random_state=0).fit(X, y, w, propensity={0: 0.5, 1: 0.5})
    >>> low, high = learner.predict_interval([[0.0, 1.0]])
    >>> bool(low[0, 0] < 1.5 < high[0, 0])
    True
    """

    def __init__(
        self,
        control: Any = None,
        *,
        features: Sequence[Any] | None = None,
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
        self.features = features

    def _settle(self, encoder: FrameEncoder) -> None:
        """Which columns the regression may use."""
        self._allowed = self._positions(encoder)

    def _positions(self, encoder: FrameEncoder) -> frozenset[int]:
        if self.features is None:
            return frozenset(range(len(encoder.names)))
        chosen = set()
        for feature in self.features:
            if isinstance(feature, int | np.integer) and not encoder.named and 0 <= feature < len(encoder.names):
                chosen.add(int(feature))
            elif feature in encoder.names:
                chosen.add(encoder.names.index(feature))
            else:
                raise unknown_name("feature", str(feature), encoder.names)
        return frozenset(chosen)

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        target = doubly_robust(pair, *self._crossfitted(training, pair))
        matrix = training.matrix[pair.rows]
        design = _without_reference(LinearDesign.learn(matrix, training.categorical), self._allowed)
        regressors = design.transform(matrix)
        kept = independent(regressors)
        clusters = None
        if training.groups is not None:
            clusters = np.unique(training.groups[pair.rows], return_inverse=True)[1]
        fitted = project(regressors[:, kept], target, pair.representative, clusters)
        *coefficients, intercept = (float(c) for c in fitted.coefficients)
        scorer = ProjectionScorer(
            _subset(design, kept), tuple(coefficients), intercept, "identity", fitted.covariance, fitted.freedom
        )
        return [Term(1.0, scorer)]

    def predict_interval(self, X: Any, alpha: float = 0.05) -> EffectInterval:
        """Interval of the effect of each arm on each row, ``(low, high)``, each ``(n, n_arms)``.

        Each interval by itself covers the linear effect of such members with probability ``1 − alpha``; HC3, or
        clustered where ``fit`` was given groups, with Student's t.

        Raises
        ------
        InputError
            If alpha is not between 0 and 1, or the effects have been changed since (a search shrinks them).
        """
        if not 0 < alpha < 1:
            raise InputError(f"alpha must lie between 0 and 1, found {alpha!r}")
        scorers = self._scorers()
        matrix = self.encoder_.transform(X)
        ends = [scorer.interval(matrix, alpha) for scorer in scorers]
        low, high = (np.column_stack([end[side] for end in ends]) for side in (0, 1))
        return EffectInterval(low, high)

    def regression(self, alpha: float = 0.05) -> EffectRegression:
        """What the effect depends on, per unit of each feature, with intervals."""
        rows: list[dict[str, Any]] = []
        for arm, scorer in zip(self.arms_, self._scorers(), strict=True):
            se = np.sqrt(np.diag(scorer.covariance))
            for k, (effect, error) in enumerate(zip((*scorer.coefficients, scorer.intercept), se, strict=True)):
                scale = scorer.design.scales[k] if k < len(scorer.coefficients) else 1.0
                half = float(student.ppf(1 - alpha / 2, scorer.freedom)) * float(error)
                chance = 2 * student.sf(abs(effect) / error, scorer.freedom) if error > 0 else float("nan")
                rows.append(
                    {
                        "arm": arm,
                        "term": self._term(scorer.design, k),
                        "effect": effect / scale,
                        "se": float(error) / scale,
                        "low": (effect - half) / scale,
                        "high": (effect + half) / scale,
                        "p_value": float(chance),
                    }
                )
        return EffectRegression(tuple(rows), alpha)

    def _term(self, design: LinearDesign, k: int) -> str:
        if k == len(design.features):
            return "at the mean"
        column = self.encoder_.columns[design.features[k]]
        level = design.levels[k]
        if level == -1:
            return column.name
        return f"{column.name} is missing" if level == -2 else f"{column.name} = {column.levels[level]}"

    def _scorers(self) -> list[ProjectionScorer]:
        check_is_fitted(self)
        found = []
        for terms in self.program_.arms:
            scorer = terms[0].scorer if len(terms) == 1 and terms[0].weight == 1.0 else None
            if not isinstance(scorer, ProjectionScorer):
                raise InputError(
                    "these effects are no longer the regression's own (a search has shrunk them), so its intervals do "
                    "not hold for them: fit this learner by itself, or use the search's predict_interval"
                )
            found.append(scorer)
        return found


def _subset(design: LinearDesign, kept: Ints) -> LinearDesign:
    return LinearDesign(
        *(tuple(values[k] for k in kept) for values in (design.features, design.levels, design.centres, design.scales))
    )


def _without_reference(design: LinearDesign, allowed: frozenset[int]) -> LinearDesign:
    """Regressors of the allowed features; a category's most frequent level goes last, so it is the one left out."""
    order = sorted(
        (k for k, feature in enumerate(design.features) if feature in allowed),
        key=lambda k: (design.features[k], design.centres[k] if design.levels[k] >= 0 else 0.0),
    )
    return _subset(design, np.array(order, dtype=np.intp))
