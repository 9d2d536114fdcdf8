"""Features binned once; boosters of any target, on any of the rows, grow on the same bins."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from uplift.errors import InputError
from uplift.learners._memory import give_back
from uplift.learners._threads import lightgbm_threads

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


class Bins:
    """LightGBM's histogram bins of a matrix, made at first need and shared by everything that is fitted on its rows.

    Bins are quantiles of the features and know nothing of outcomes, so sharing them between folds tells no fold about
    another one's outcomes. They take one byte a value.

    Parameters
    ----------
    matrix
        Encoded features, ``(n, p)``.
    categorical
        Positions of categories.
    threads
        For making the bins; those of boosters are in their parameters.
    """

    def __init__(self, matrix: Matrix, categorical: Sequence[int], threads: int = 1) -> None:
        self.matrix = matrix
        self.threads = threads
        self.categorical = tuple(categorical)
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._quiet = threading.Lock()

    def rows(
        self,
        params: Mapping[str, Any],
        rows: Ints,
        target: npt.NDArray[np.floating[Any]],
        weight: Floats | None,
        flag: npt.NDArray[np.bool_] | None = None,
    ) -> Any:
        """LightGBM's ``Dataset`` of some rows.

        Parameters
        ----------
        params
            LightGBM's parameters; those that concern bins are heeded.
        rows
            Positions, ascending, ``(m,)``.
        target, weight
            Of these rows, ``(m,)``; no weight is a weight of one.
        flag
            A last column beside the features, of all rows, ``(n,)``.

        Raises
        ------
        InputError
            If LightGBM refuses the parameters.
        """
        import lightgbm

        try:
            whole = self._dataset(params)
            with lightgbm_threads(params["num_threads"]):
                whole.params["num_threads"] = params["num_threads"]  # a subset takes them from the whole
                data = whole.subset(rows).construct()
                if flag is not None:
                    self._add_flag(data, flag[rows], params)
        except lightgbm.basic.LightGBMError as error:
            raise InputError(f"LightGBM refused the features: {error}; check the booster's parameters") from error
        data.set_label(target)
        if weight is not None:
            data.set_weight(weight)
        return data

    def _add_flag(self, data: Any, flag: npt.NDArray[np.bool_], params: Mapping[str, Any]) -> None:
        """One more column, with bins of its own: the features' need not be made again."""
        import lightgbm

        column = flag.astype(np.float32)[:, None]
        more = lightgbm.Dataset(column, feature_name=["flag"], params=dict(params)).construct()
        with self._quiet, warnings.catch_warnings():
            # raw values and names of categories are not kept here, so it matters not that they are not joined
            warnings.filterwarnings("ignore", "Cannot add features from|Resetting categorical features")
            data.add_features_from(more)

    def _dataset(self, params: Mapping[str, Any]) -> Any:
        """All rows; made once for the same parameters."""
        import lightgbm

        key = repr(sorted((name, str(v)) for name, v in params.items() if name not in _NOT_OF_BINS))
        with self._lock:
            if key not in self._made:
                own = {**params, "num_threads": self.threads}
                with lightgbm_threads(self.threads):
                    self._made[key] = lightgbm.Dataset(
                        _columns(self.matrix), categorical_feature=list(self.categorical), params=own
                    ).construct()
                give_back(len(self.matrix))
            return self._made[key]


def _columns(matrix: Matrix) -> Any:
    """The same as a table of Arrow's, where columns lie as such in memory: binned faster, and nothing is copied."""
    if not matrix.flags.f_contiguous:
        return matrix
    return pa.table({f"Column_{j}": pa.array(column) for j, column in enumerate(matrix.T)})


_NOT_OF_BINS = frozenset(
    {
        "objective",
        "num_leaves",
        "learning_rate",
        "min_data_in_leaf",
        "lambda_l2",
        "seed",
        "num_threads",
        "deterministic",
        "force_row_wise",
        "force_col_wise",
    }
)
"""Parameters of ours that leave bins as they are; whatever else a caller adds gets bins of its own."""
