"""Fitting LightGBM the same way everywhere: deterministic, one owner of threads, outcomes standardised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError
from uplift.learners._bins import Bins
from uplift.learners._memory import give_back
from uplift.learners._parts import HARMLESS, TURN, Grown, Sample, grow_in_parts
from uplift.learners._quickscorer import MAX_LEAVES
from uplift.learners._scorers import BoosterScorer, ConstantScorer, Link, Scorer
from uplift.learners._threads import lightgbm_threads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

OWNED = frozenset(
    {"objective", "seed", "random_state", "num_threads", "n_jobs", "deterministic", "force_row_wise", "force_col_wise"}
)
BY_COLUMN = 100_000
"""Rows from which histograms are filled column by column: faster there, and the same sums."""
_PARAMETERS = re.compile(r"^parameters:\n.*?^end of parameters\n", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class BoosterSettings:
    """How boosters are grown.

    Attributes
    ----------
    params
        LightGBM's parameters.
    rounds
        Number of trees.
    threads
        Of LightGBM; the trees do not depend on them.
    part_rows, most_parts, turn
        Rows are cut into up to ``most_parts`` parts of at least ``part_rows`` each, which take turns, of so many trees,
        in finding splits (:mod:`uplift.learners._parts`); one part: all rows find all splits.
    """

    params: Mapping[str, Any]
    rounds: int
    threads: int
    part_rows: int = 1
    most_parts: int = 1
    turn: int = TURN

    def key(self, m: int) -> str:
        """The same for settings that grow the same trees on ``m`` rows, and then on fewer of them."""
        named = sorted((name, str(v)) for name, v in self.params.items() if name != "num_threads")
        parts = self.parts(m)
        return repr((named, self.rounds, parts > 1 and (self.part_rows, parts, self.turn)))

    def on(self, threads: int) -> Self:
        """The same trees from another number of threads."""
        return replace(self, threads=threads, params={**self.params, "num_threads": threads})

    def parts(self, m: int) -> int:
        """Into how many parts ``m`` rows are cut."""
        return max(1, min(self.most_parts, m // self.part_rows))


def booster_settings(
    *,
    n_estimators: int,
    num_leaves: int,
    learning_rate: float,
    min_child_samples: int,
    reg_lambda: float,
    extra_params: Mapping[str, Any] | None,
    seed: int,
    threads: int,
    problems: list[str],
    rows_per_tree: int | None = None,
    most_parts: int = 1,
    turn: int = TURN,
) -> BoosterSettings:
    """Check the constructor's parameters and name them as LightGBM does."""
    checks = (
        ("n_estimators", n_estimators, n_estimators >= 1, "at least 1"),
        ("num_leaves", num_leaves, num_leaves >= 2, "at least 2"),
        ("learning_rate", learning_rate, 0 < learning_rate <= 1, "above 0, at most 1"),
        ("min_child_samples", min_child_samples, min_child_samples >= 1, "at least 1"),
        ("reg_lambda", reg_lambda, reg_lambda >= 0, "at least 0"),
        ("rows_per_tree", rows_per_tree, rows_per_tree is None or rows_per_tree >= 1, "at least 1, or None"),
    )
    problems.extend(f"{name} must be {bound}, found {value!r}" for name, value, fine, bound in checks if not fine)
    extra = dict(extra_params or {})
    owned = sorted(OWNED & set(extra))
    if owned:
        problems.append(
            f"extra_params must not set {', '.join(owned)}: random_state, n_jobs and the learner decide on them"
        )
    params = {
        "num_leaves": num_leaves,
        "learning_rate": learning_rate,
        "min_data_in_leaf": min_child_samples,
        "lambda_l2": reg_lambda,
        "bin_construct_sample_cnt": 50_000,  # 200 rows a bin; four times as many cost memory and say no more
        **extra,
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "data_random_seed": 1,  # of the sample that bins are made from: not the learner's affair
        "feature_pre_filter": False,  # bins serve boosters with other leaves too
        "verbosity": -1,
    }
    if rows_per_tree is None or num_leaves > MAX_LEAVES or set(extra) - HARMLESS:
        return BoosterSettings(params, n_estimators, threads)
    return BoosterSettings(params, n_estimators, threads, rows_per_tree, most_parts, turn)


def fit_regressor(
    settings: BoosterSettings, bins: Bins, rows: Ints, target: Floats, weight: Floats, flag: Mask | None = None
) -> Scorer:
    """Least squares on the standardised target of some rows.

    LightGBM keeps labels in single precision; standardised ones lose nothing that matters, and a shift or a change of
    unit of the outcome leaves the trees as they are.

    Parameters
    ----------
    settings, bins
        How to grow, and on which features.
    rows
        Positions, ascending, ``(m,)``.
    target, weight
        Of these rows, ``(m,)``.
    flag
        A last column beside the features, of all rows, ``(n,)``.
    """
    centre = float(np.average(target, weights=weight))
    spread = float(np.sqrt(np.average((target - centre) ** 2, weights=weight)))
    if not spread > 1e-12 * max(1.0, abs(centre)):
        return ConstantScorer(centre)
    standardised = ((target - centre) / spread).astype(np.float32)
    grown = _train(settings, "regression", bins, rows, standardised, weight, flag)
    return _scorer(grown, "identity", centre, spread, bins.matrix.shape[1] + (flag is not None))


def fit_classifier(
    settings: BoosterSettings, bins: Bins, rows: Ints, target: Floats, weight: Floats, flag: Mask | None = None
) -> Scorer:
    """Logistic loss on a target of 0 and 1, otherwise as :func:`fit_regressor`; the value is a probability."""
    if target.min() == target.max():
        return ConstantScorer(float(target[0]))
    grown = _train(settings, "binary", bins, rows, target, weight, flag)
    return _scorer(grown, "logistic", 0.0, 1.0, bins.matrix.shape[1] + (flag is not None))


def _scorer(grown: Grown | str, link: Link, offset: float, scale: float, columns: int) -> BoosterScorer:
    if isinstance(grown, str):
        return BoosterScorer(grown, link, offset, scale, columns)
    return BoosterScorer(grown.text, link, offset, scale, columns).grown_as(grown.compiled)


def _train(
    settings: BoosterSettings,
    objective: str,
    bins: Bins,
    rows: Ints,
    target: npt.NDArray[np.floating[Any]],
    weight: Floats,
    flag: Mask | None,
) -> Grown | str:
    import lightgbm

    give_back(len(rows))
    params = {**settings.params, "objective": objective}
    if len(rows) >= BY_COLUMN:
        del params["force_row_wise"]
        params["force_col_wise"] = True
    even = bool((weight == weight[0]).all())
    sample = Sample(bins.matrix, rows, target, None if even else weight / float(weight.mean()))
    parts = settings.parts(len(rows)) if flag is None else 1
    try:
        if parts > 1:
            grown = grow_in_parts(params, settings.rounds, sample, partial(bins.rows, params), parts, settings.turn)
            if grown is not None:
                return grown
        data = bins.rows(params, rows, target, sample.weight, flag)
        with lightgbm_threads(params["num_threads"]):
            booster = lightgbm.train(params, data, settings.rounds)
    except lightgbm.basic.LightGBMError as error:
        raise InputError(f"LightGBM refused to train: {error}; check the booster's parameters") from error
    # the parameters' section records the number of threads; without it the same fit gives the same bytes
    return _PARAMETERS.sub("", booster.model_to_string())
