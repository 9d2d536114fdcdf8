"""Forests whose trees are grown by causalml: causal trees, and uplift trees for outcomes of 0 and 1.

causalml chooses the splits. Which rows a tree sees, and what its leaves say, is decided here, because causalml

* bags by weights but counts rows, so that a causal tree's split search compares Σ(w·y) / rows, no mean at all:
  a constant added to the outcome changes its effects. Here trees get subsamples without replacement;
* by default adds half the difference in numbers between arm and control to what a causal tree's split must lower, a
  count beside squared effects: splits then balance counts, whatever the effects are. Here nothing is added;
* treats sample weights as it treats bags. Here the split search gets rows drawn in proportion to
  their weights, and leaves use the weights themselves;
* takes codes of categories for numbers, and refuses texts. Here frequent levels become columns of their own;
* fits all arms in one tree. Here each arm has a forest of its own, so what other arms did changes nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from uplift.errors import InputError
from uplift.learners._causalml_import import causalml_module
from uplift.learners._linear import LinearDesign, fit_ridge
from uplift.learners._program import Term
from uplift.learners._scorers import BoosterScorer
from uplift.learners._training import Pair, Training
from uplift.learners._trees import Tree, TreeDesign, inherited, lightgbm_text, summed_up
from uplift.learners.base import BaseUpliftLearner

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Columns = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Grow = Callable[[Columns, Ints, Floats, int], Any]


class ForestLearner(BaseUpliftLearner):
    """A forest of trees grown by causalml, one arm against the control at a time.

    Every tree gets a subsample of the rows (without replacement; rows of one group together). An honest tree finds its
    splits on one half of them and its leaves' effects on the other (Athey & Imbens 2016), so that a leaf's effect is
    not large because a split was chosen to make it so. The effect of a leaf is the difference of weighted means, with
    weights inverse to the probability of what was received; a leaf that too few of one side reached takes the effect
    of the smallest node around it that enough of both did. The forest's effect is the mean over trees.

    Parameters
    ----------
    control, outcome, folds, random_state, n_jobs
        As in :class:`~uplift.learners.base.BaseUpliftLearner`.
    n_estimators
        Trees.
    max_depth
        Splits above each other, at most.
    min_samples_leaf
        Rows in a leaf that the splits are found on, at least.
    min_samples_arm
        Of which received the arm, and the control, at least.
    max_features
        Columns tried at each split: a number, a share, or None for ``√p + 20`` as in grf (all up to 25 columns).
    subsample
        Share of the rows that each tree gets.
    honest
        False: splits and effects from the same rows.
    """

    def __init__(
        self,
        control: Any = None,
        *,
        outcome: Literal["auto", "binary", "continuous"] = "auto",
        n_estimators: int = 100,
        max_depth: int = 6,
        min_samples_leaf: int = 50,
        min_samples_arm: int = 10,
        max_features: int | float | None = None,
        subsample: float = 0.5,
        honest: bool = True,
        folds: int = 3,
        random_state: int | None = None,
        n_jobs: int | None = 1,
    ) -> None:
        super().__init__(control, outcome=outcome, folds=folds, random_state=random_state, n_jobs=n_jobs)
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.min_samples_arm = min_samples_arm
        self.max_features = max_features
        self.subsample = subsample
        self.honest = honest

    def _check_params(self, problems: list[str]) -> None:
        shares = self.max_features is None or (
            self.max_features >= 1 if isinstance(self.max_features, int) else 0 < self.max_features <= 1
        )
        checks = (
            ("n_estimators", self.n_estimators, self.n_estimators >= 1, "at least 1"),
            ("max_depth", self.max_depth, self.max_depth >= 1, "at least 1"),
            ("min_samples_leaf", self.min_samples_leaf, self.min_samples_leaf >= 1, "at least 1"),
            ("min_samples_arm", self.min_samples_arm, self.min_samples_arm >= 1, "at least 1"),
            ("max_features", self.max_features, shares, "None, a whole number of at least 1, or a share up to 1.0"),
            ("subsample", self.subsample, 0 < self.subsample <= 1, "above 0, at most 1"),
        )
        problems.extend(f"{name} must be {bound}, found {value!r}" for name, value, fine, bound in checks if not fine)

    def _fit_arm(self, training: Training, pair: Pair) -> list[Term]:
        design = TreeDesign.learn(training.matrix[pair.rows], training.categorical)
        sample = _Sample(
            columns=design.transform(training.matrix[pair.rows]),
            w=pair.w.astype(np.intp),
            y=self._target(training, pair),
            weight=pair.balanced,
            units=_units(training, pair),
            share=self.subsample,
            honest=self.honest,
            least=max(1, self.min_samples_arm // 2),
        )
        grow = self._grower(len(design.features))
        trees = Parallel(n_jobs=training.threads, prefer="threads")(
            delayed(sample.tree)(grow, training.seed, number) for number in range(self.n_estimators)
        )
        columns = training.matrix.shape[1]
        text = lightgbm_text(trees, design, columns)
        spread = float(np.std(pair.y)) if not training.binary else 1.0
        return [Term(1.0, BoosterScorer(text, "identity", 0.0, (spread or 1.0) / len(trees), columns))]

    def _columns_tried(self, columns: int) -> int:
        if self.max_features is None:
            tried = int(np.ceil(np.sqrt(columns) + 20))
        elif isinstance(self.max_features, int):
            tried = self.max_features
        else:
            tried = int(np.ceil(self.max_features * columns))
        return max(1, min(tried, columns))

    @abstractmethod
    def _target(self, training: Training, pair: Pair) -> Floats:
        """What trees are grown on, ``(m,)``; amounts in units of their standard deviation."""

    @abstractmethod
    def _grower(self, columns: int) -> Grow:
        """How one tree's splits are found: (columns, treatment, target, seed) → causalml's tree."""


class CausalForest(ForestLearner):
    """causalml's causal trees (Athey & Imbens 2016), averaged over subsamples.

    Splits are chosen for the difference that they make between effects, less the variance that smaller leaves bring.
    Before, the outcome is reduced by what a ridge regression of the other folds expects of the row whatever it
    received: that changes no effect, but takes out variation that would otherwise be noise in every leaf (as in
    Athey, Tibshirani & Wager 2019).

    No intervals are offered for single members: see the documentation of the room.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(800, 2)), rng.integers(0, 2, 800)
    >>> y = X[:, 0] + w * (X[:, 1] > 0) + 0.5 * rng.normal(size=800)
    >>> forest = CausalForest(control=0, n_estimators=20, random_state=0)
    >>> effects = forest.fit(X, y, w, propensity={0: 0.5, 1: 0.5}).predict([[0.0, -1.0], [0.0, 1.0]])
    >>> effects.shape, bool(effects[1, 0] > effects[0, 0])
    ((2, 1), True)
    """

    def _target(self, training: Training, pair: Pair) -> Floats:
        return (pair.y - _expected(training, pair)) / (1.0 if training.binary else float(np.std(pair.y)) or 1.0)

    def _grower(self, columns: int) -> Grow:
        tree = causalml_module("causalml.inference.tree").CausalTreeRegressor

        def grow(x: Columns, w: Ints, y: Floats, seed: int) -> Any:
            return (
                tree(
                    criterion="causal_mse",
                    control_name=0,
                    max_depth=self.max_depth,
                    min_samples_leaf=self.min_samples_leaf,
                    min_samples_split=2 * self.min_samples_leaf,
                    min_group_samples=self.min_samples_arm,
                    max_features=self._columns_tried(columns),
                    honesty=False,  # leaves are estimated here
                    groups_penalty=0.0,  # its default weighs rows against squared effects
                    groups_cnt=False,
                    random_state=seed,
                )
                .fit(X=x, treatment=w, y=y)
                .tree_
            )

        return grow


class UpliftForest(ForestLearner):
    """causalml's uplift trees for outcomes of 0 and 1 (Rzepakowski & Jaroszewicz 2012), averaged over subsamples.

    Splits are chosen for how far apart they bring the outcome's distributions under the arm and under the control.

    Parameters
    ----------
    criterion
        ``KL`` (divergence), ``ED`` (squared Euclidean distance) or ``Chi`` (χ²).
    n_reg
        Rows' worth of the parent's rates that each node's rates are drawn towards, when splits are compared.
    control, outcome, folds, random_state, n_jobs
        As in :class:`~uplift.learners.base.BaseUpliftLearner`.
    n_estimators, max_depth, min_samples_leaf, min_samples_arm, max_features, subsample, honest
        As in :class:`ForestLearner`.

    Raises
    ------
    InputError
        From ``fit``, if the outcome is not 0 or 1.
    """

    binary_only: ClassVar[bool] = True

    def __init__(
        self,
        control: Any = None,
        *,
        outcome: Literal["auto", "binary", "continuous"] = "auto",
        criterion: Literal["KL", "ED", "Chi"] = "KL",
        n_reg: int = 10,
        n_estimators: int = 100,
        max_depth: int = 6,
        min_samples_leaf: int = 50,
        min_samples_arm: int = 10,
        max_features: int | float | None = None,
        subsample: float = 0.5,
        honest: bool = True,
        folds: int = 3,
        random_state: int | None = None,
        n_jobs: int | None = 1,
    ) -> None:
        super().__init__(
            control,
            outcome=outcome,
            n_estimators=n_estimators,
            max_depth=max_depth,
            min_samples_leaf=min_samples_leaf,
            min_samples_arm=min_samples_arm,
            max_features=max_features,
            subsample=subsample,
            honest=honest,
            folds=folds,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        self.criterion = criterion
        self.n_reg = n_reg

    def _check_params(self, problems: list[str]) -> None:
        super()._check_params(problems)
        if self.criterion not in ("KL", "ED", "Chi"):
            problems.append(f"criterion must be KL, ED or Chi, found {self.criterion!r}")
        if self.n_reg < 0:
            problems.append(f"n_reg must be at least 0, found {self.n_reg!r}")

    def _target(self, training: Training, pair: Pair) -> Floats:
        if not training.binary:
            raise InputError(
                "an uplift forest compares rates: the outcome must be 0 or 1 (and outcome must not be 'continuous'); "
                "use CausalForest for amounts"
            )
        return pair.y

    def _grower(self, columns: int) -> Grow:
        tree = causalml_module("causalml.inference.tree").UpliftTreeClassifier

        def grow(x: Columns, w: Ints, y: Floats, seed: int) -> Any:
            return (
                tree(
                    control_name=0,
                    evaluationFunction=self.criterion,
                    n_reg=self.n_reg,
                    max_depth=self.max_depth,
                    min_samples_leaf=self.min_samples_leaf,
                    min_samples_treatment=self.min_samples_arm,
                    max_features=self._columns_tried(columns),
                    honesty=False,  # leaves are estimated here
                    random_state=seed,
                )
                .fit(X=x, treatment=w, y=y)
                .tree_
            )

        return grow


@dataclass(frozen=True, eq=False)
class _Sample:
    """A pair's rows, ready for trees: what they split on, what they compare, who stays together; and how to part."""

    columns: Columns
    w: Ints
    y: Floats
    weight: Floats
    units: Ints
    share: float
    honest: bool
    least: int

    def tree(self, grow: Grow, seed: int, number: int) -> Tree:
        """One tree: splits found on some rows, effects on others."""
        rng = np.random.default_rng([seed, number])
        finding, telling = self._parts(rng)
        finding = self._by_weight(finding, rng)
        everywhere = self._effect(np.arange(len(self.w)))
        if min(np.bincount(self.w[finding], minlength=2)) < 2 or not self.columns.shape[1]:
            return Tree.leaf(everywhere)
        grown = grow(self.columns[finding], self.w[finding], self.y[finding], int(rng.integers(2**31 - 1)))
        left, right = (np.asarray(side, dtype=np.intp) for side in (grown.children_left, grown.children_right))
        sums = summed_up(left, right, self._leaf_sums(np.asarray(grown.apply(self.columns[telling])), telling, left))
        known: Mask = np.all(sums[:, :2] >= self.least, axis=1) & np.all(sums[:, 2:4] > 0, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            effect = sums[:, 5] / sums[:, 3] - sums[:, 4] / sums[:, 2]
        if not known[0]:
            return Tree.leaf(everywhere)
        return Tree(
            left=left,
            right=right,
            column=np.asarray(grown.feature, dtype=np.intp),
            threshold=np.asarray(grown.threshold, dtype=np.float64),
            missing_left=np.asarray(grown.missing_go_to_left, dtype=np.bool_),
            rows=np.asarray(grown.n_node_samples, dtype=np.float64),
            value=inherited(left, right, effect, known),
        )

    def _parts(self, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Rows to find splits on and rows to tell effects from; no unit is in both of an honest tree."""
        count = int(self.units.max()) + 1
        taken = max(2, round(self.share * count))
        drawn = rng.permutation(count)[:taken]
        part = np.zeros(count, dtype=np.int8)
        part[drawn] = 1
        if not self.honest:
            rows = np.flatnonzero(part[self.units] == 1)
            return rows, rows
        part[drawn[: taken // 2]] = 2
        return np.flatnonzero(part[self.units] == 2), np.flatnonzero(part[self.units] == 1)

    def _by_weight(self, rows: Ints, rng: np.random.Generator) -> Ints:
        """As many rows, drawn in proportion to their weights; the rows themselves where weights are all one."""
        weight = self.weight[rows]
        if not len(rows) or (weight == weight[0]).all():
            return rows
        edges = np.cumsum(weight)
        return rows[np.searchsorted(edges, rng.random(len(rows)) * edges[-1], side="right").clip(max=len(rows) - 1)]

    def _leaf_sums(self, leaf: Ints, rows: Ints, left: Ints) -> Floats:
        """Rows, weight and weighted target of the control and of the arm in each leaf, ``(n_nodes, 6)``."""
        count = len(left)
        cell = self.w[rows] * count + leaf
        weight = self.weight[rows]
        parts = [
            np.bincount(cell, weights=value, minlength=2 * count).reshape(2, count)
            for value in (None, weight, weight * self.y[rows])
        ]
        return np.vstack(parts).T.astype(np.float64)

    def _effect(self, rows: Ints) -> float:
        w, y, weight = self.w[rows] == 1, self.y[rows], self.weight[rows]
        return float(np.average(y[w], weights=weight[w]) - np.average(y[~w], weights=weight[~w]))


def _units(training: Training, pair: Pair) -> Ints:
    """What must not be torn apart, numbered from 0, ``(m,)``: groups if there are any, else rows."""
    if training.groups is None:
        return np.arange(len(pair.rows))
    return np.asarray(np.unique(training.groups[pair.rows], return_inverse=True)[1], dtype=np.intp)


def _expected(training: Training, pair: Pair) -> Floats:
    """Mean outcome of the pair's rows whatever they received, by ridge regressions of the other folds, ``(m,)``."""
    matrix, folds = training.matrix[pair.rows], training.crossfit_ids[pair.rows]
    weight = pair.representative / pair.representative.mean()
    regressors = LinearDesign.learn(matrix, training.categorical).transform(matrix)
    result = np.empty(len(pair.y))
    for fold in np.unique(folds):
        held = folds == fold
        coefficients, intercept = fit_ridge(regressors[~held], pair.y[~held], weight[~held])
        result[held] = regressors[held] @ coefficients + intercept
    return result
