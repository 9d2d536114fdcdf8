"""Fitting LightGBM the same way everywhere: deterministic, one owner of threads, outcomes standardised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError
from uplift.learners._bins import Bins
from uplift.learners._scorers import BoosterScorer, ConstantScorer, Scorer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

OWNED = frozenset(
    {"objective", "seed", "random_state", "num_threads", "n_jobs", "deterministic", "force_row_wise", "force_col_wise"}
)
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
    """

    params: Mapping[str, Any]
    rounds: int
    threads: int

    @property
    def key(self) -> str:
        """The same for settings that grow the same trees."""
        return repr((sorted((name, str(v)) for name, v in self.params.items() if name != "num_threads"), self.rounds))


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
) -> BoosterSettings:
    """Check the constructor's parameters and name them as LightGBM does."""
    checks = (
        ("n_estimators", n_estimators, n_estimators >= 1, "at least 1"),
        ("num_leaves", num_leaves, num_leaves >= 2, "at least 2"),
        ("learning_rate", learning_rate, 0 < learning_rate <= 1, "above 0, at most 1"),
        ("min_child_samples", min_child_samples, min_child_samples >= 1, "at least 1"),
        ("reg_lambda", reg_lambda, reg_lambda >= 0, "at least 0"),
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
        **extra,
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "data_random_seed": 1,  # of the sample that bins are made from: not the learner's affair
        "feature_pre_filter": False,  # bins serve boosters with other leaves too
        "verbosity": -1,
    }
    return BoosterSettings(params, n_estimators, threads)


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
    text = _train(settings, "regression", bins, rows, standardised, weight, flag)
    return BoosterScorer(text, "identity", centre, spread, bins.matrix.shape[1] + (flag is not None))


def fit_classifier(
    settings: BoosterSettings, bins: Bins, rows: Ints, target: Floats, weight: Floats, flag: Mask | None = None
) -> Scorer:
    """Logistic loss on a target of 0 and 1, otherwise as :func:`fit_regressor`; the value is a probability."""
    if target.min() == target.max():
        return ConstantScorer(float(target[0]))
    text = _train(settings, "binary", bins, rows, target, weight, flag)
    return BoosterScorer(text, "logistic", 0.0, 1.0, bins.matrix.shape[1] + (flag is not None))


def _train(
    settings: BoosterSettings,
    objective: str,
    bins: Bins,
    rows: Ints,
    target: npt.NDArray[np.floating[Any]],
    weight: Floats,
    flag: Mask | None,
) -> str:
    import lightgbm

    params = {**settings.params, "objective": objective}
    even = bool((weight == weight[0]).all())
    data = bins.rows(params, rows, target, None if even else weight / float(weight.mean()), flag)
    try:
        booster = lightgbm.train(params, data, settings.rounds)
    except lightgbm.basic.LightGBMError as error:
        raise InputError(f"LightGBM refused to train: {error}; check the booster's parameters") from error
    # the parameters' section records the number of threads; without it the same fit gives the same bytes
    return _PARAMETERS.sub("", booster.model_to_string())
