"""scikit-learn's own checks of estimators, on all of ours; every expected failure has its reason."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_estimators_unfitted,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    estimator_checks_generator,
)

from uplift.learners import BGNBD, LEARNERS, ChurnModel, RecencyRule

pytestmark = [
    # checks feed arrays and tables in turn, and column vectors as y; our warnings about both are scikit-learn's own
    pytest.mark.filterwarnings("ignore:X .* feature names:UserWarning"),
    pytest.mark.filterwarnings("ignore:A column-vector"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]


class _Alternating:
    """Gives an uplift learner the ``fit(X, y)`` that the checks call: rows receive the arm and the control in turn."""

    def fit(self, X, y=None, *, sample_weight=None):
        treatment = np.arange(len(np.asarray(X)) if not hasattr(X, "nnz") else X.shape[0]) % 2
        if np.ndim(np.asarray(X)) != 2 and not hasattr(X, "nnz"):
            treatment = treatment[:0]  # the table is refused before the treatment matters
        if getattr(self, "binary_only", False):
            y = _halved(y)
        return super().fit(X, y, treatment, propensity={0: 0.5, 1: 0.5}, sample_weight=sample_weight)


def _halved(y):
    """The larger half is 1, for learners of rates; what cannot be an outcome stays as it is."""
    values = np.asarray(y)
    if values.dtype.kind == "c":
        return y
    try:
        numbers = values.astype(float).ravel()
    except (TypeError, ValueError):
        return y
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        return y
    result = np.zeros(len(numbers))
    result[np.argsort(numbers, kind="stable")[len(numbers) // 2 :]] = 1
    return result.reshape(values.shape)


def _shim(name: str) -> type:
    cls = type(f"Alternating{LEARNERS[name].__name__}", (_Alternating, LEARNERS[name]), {"__module__": __name__})
    globals()[cls.__name__] = cls  # so that the checks can pickle it
    return cls


def _small(cls: type) -> dict[str, object]:
    few = {"n_estimators": 4, "min_child_samples": 2, "min_samples_leaf": 2, "min_samples_arm": 1}
    return {name: value for name, value in few.items() if name in cls._get_param_names()}


EQUIVALENCE = "check_sample_weight_equivalence_on_dense_data"
BOOSTED = (
    "LightGBM counts rows, not weights, in min_data_in_leaf and in its bins: repeating a row is not the same as "
    "doubling its weight (tests/laws holds what does hold)"
)
WEIGHTS = {
    **dict.fromkeys(("T", "X", "R", "DR", "response", "linear_DR", "class_transformation"), BOOSTED),
    "logistic_T": "rows, not weights, are dealt to the folds that calibrate: repeated rows fall into several",
    "constant": (
        "the arm that this test gives goes by position, so repeating rows changes who received it; with the arm kept, "
        "repeating is weighting (tests/laws)"
    ),
    "ensemble": "its members' reasons: LightGBM counts rows, and rows, not weights, are dealt to folds",
    "causal_forest": "trees get subsamples of rows: a repeated row can be drawn once, one of weight 2 cannot",
    "uplift_forest": "trees get subsamples of rows: a repeated row can be drawn once, one of weight 2 cannot",
}
"""Why repeating rows is not the same as weighting them, learner by learner; the others pass."""
UPLIFT = [_shim(name)(control=0, random_state=0, **_small(LEARNERS[name])) for name in LEARNERS]
RISK = [ChurnModel(n_estimators=10, min_child_samples=2, random_state=0), RecencyRule(column=0)]


def expected_failures(estimator) -> dict[str, str]:
    name = type(estimator).__name__
    if name == "RecencyRule":
        return {
            "check_dtype_object": "a table that is neither numbers nor texts is an InputError, which is a ValueError"
        }
    if name == "ChurnModel":
        return {EQUIVALENCE: BOOSTED}
    reasons = {f"Alternating{LEARNERS[key].__name__}": reason for key, reason in WEIGHTS.items()}
    return {EQUIVALENCE: reasons[name]} if name in reasons else {}


@pytest.fixture(autouse=True)
def _few_rows_are_enough(monkeypatch):
    """The checks' samples have 10 to 30 rows, fewer than we ask of an arm."""
    for module in ("_training", "_arm_scores"):
        monkeypatch.setattr(f"uplift.learners.{module}.MIN_ARM_ROWS", 2)


def _cases():
    """Every check of every estimator, but the one of array API inputs, which needs an environment variable."""
    for estimator in [*UPLIFT, *RISK]:
        reasons = expected_failures(estimator)
        for one, check in estimator_checks_generator(estimator):
            name = check.func.__name__
            if name == "check_array_api_input":
                continue
            marks = [pytest.mark.xfail(reason=reasons[name], strict=True)] if name in reasons else []
            yield pytest.param(one, check, id=f"{type(estimator).__name__}-{name}", marks=marks)


@pytest.mark.parametrize(("estimator", "check"), list(_cases()))
def test_sklearn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [
        check_estimators_unfitted,
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    ],
)
def test_sklearn_on_bgnbd(check):
    """Those checks that bring no data of their own: all others do, and numbers at random are no purchase histories."""
    check("BGNBD", BGNBD())


@pytest.mark.parametrize("name", LEARNERS)
def test_parameters_survive_cloning(name):
    cls = LEARNERS[name]
    params = {"control": "c", "random_state": 3, "folds": 4, "n_jobs": 2, "outcome": "continuous"}
    if "extra_params" in cls._get_param_names():
        params |= {"num_leaves": 5, "extra_params": {"max_bin": 31}}
    learner = cls(**params)
    assert {key: learner.get_params()[key] for key in params} == params
    assert clone(learner).get_params() == learner.get_params()
    assert "random_state=3" in repr(learner)
    assert pickle.loads(pickle.dumps(learner)).get_params() == learner.get_params()
