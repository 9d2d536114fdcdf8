"""causalml's meta-learners, fed so that their defects do not reach the user.

causalml is given row numbers in place of features. The estimators that it drives look up the rows' features, weights
and folds here. So its own arithmetic (pseudo-outcomes, weights of the R-loss) is used as it is, while

* every outcome prediction that it asks for is out of fold, on one assignment shared by all stages, and never in sample;
* it meets one arm against the control at a time, with propensities of that pair, never a pooled outcome of all arms;
* sample weights count in all learners (causalml: in the R-learner only) and categories are LightGBM's own;
* classifiers give probabilities where causalml's DR-learner would take class labels;
* nothing is split, copied or parallelised behind our back, and no reference to the data stays behind.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin

from uplift.learners._scorers import Scorer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


def causalml_meta() -> ModuleType:
    """``causalml.inference.meta``, imported without its side effects.

    Importing it restyles matplotlib and appends to the warning filters; both are put back.
    """
    if "causalml.inference.meta" in sys.modules:
        return sys.modules["causalml.inference.meta"]
    charts = sys.modules.get("matplotlib")
    style = dict(charts.rcParams) if charts is not None else None
    with warnings.catch_warnings():
        # deprecations between matplotlib, seaborn and shap: nothing that a user of ours could act on
        warnings.simplefilter("ignore")
        import causalml.inference.meta as meta

        charts = sys.modules.get("matplotlib")
        if charts is not None:
            if style is None:
                charts.rc_file_defaults()
            else:
                charts.rcParams.update(style)
    return meta


def row_numbers(m: int) -> Ints:
    """What causalml sees in place of features, ``(m, 1)``."""
    return np.arange(m, dtype=np.intp)[:, None]


class Shared:
    """Holds a value that scikit-learn's ``clone`` and causalml's ``deepcopy`` must pass on, not copy."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


class Known(RegressorMixin, BaseEstimator):
    """An outcome model whose predictions, one per row of the pair, are known: fitting does nothing."""

    def __init__(self, predictions: Shared | None = None) -> None:
        self.predictions = predictions

    def fit(self, X: Ints, y: Floats) -> Known:
        """Nothing is left to fit."""
        self.fitted_ = True
        return self

    def predict(self, X: Ints) -> Floats:
        """Look the rows up."""
        if self.predictions is None:
            raise ValueError("no predictions are known")
        return self.predictions.value[X[:, -1].astype(np.intp)]


class Fitted(RegressorMixin, BaseEstimator):
    """A model fitted by ours: ``fit(rows, target, weight, treatment) -> Scorer``, kept as ``scorer_``."""

    def __init__(self, how: Shared | None = None) -> None:
        self.how = how

    def fit(self, X: Ints, y: Floats, sample_weight: Floats | None = None) -> Fitted:
        """Fit on the rows whose numbers are the last column; a first column, if any, is the treatment."""
        if self.how is None:
            raise ValueError("no fitter is given")
        treatment = X[:, 0].astype(np.float64) if X.shape[1] > 1 else None
        fitter: Callable[..., Scorer] = self.how.value
        self.scorer_ = fitter(X[:, -1].astype(np.intp), np.asarray(y, dtype=np.float64), sample_weight, treatment)
        return self


class Collected(RegressorMixin, BaseEstimator):
    """An effect model that only collects what it should be fitted on, by row."""

    def __init__(self, target: Shared | None = None) -> None:
        self.target = target

    def fit(self, X: Ints, y: Floats) -> Collected:
        """Write the target of the rows given."""
        if self.target is None:
            raise ValueError("nowhere to collect")
        self.target.value[X[:, -1].astype(np.intp)] = y
        self.fitted_ = True
        return self
