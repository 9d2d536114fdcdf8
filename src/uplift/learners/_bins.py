"""Features binned once; boosters of any target, on any of the rows, grow on the same bins."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError

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
    """

    def __init__(self, matrix: Matrix, categorical: Sequence[int]) -> None:
        self.matrix = matrix
        self.categorical = tuple(categorical)
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def rows(
        self,
        params: Mapping[str, Any],
        rows: Ints,
        target: Floats,
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
            data = self._dataset(params, flag).subset(rows).construct()
        except lightgbm.basic.LightGBMError as error:
            raise InputError(f"LightGBM refused the features: {error}; check the booster's parameters") from error
        data.set_label(target)
        if weight is not None:
            data.set_weight(weight)
        return data

    def _dataset(self, params: Mapping[str, Any], flag: npt.NDArray[np.bool_] | None) -> Any:
        """All rows; made once for the same parameters."""
        key = repr(sorted((name, str(value)) for name, value in params.items() if name not in _NOT_OF_BINS))
        with self._lock:
            if key not in self._made:
                self._made[key] = _construct(self.matrix, params, self.categorical)
            if flag is None:
                return self._made[key]
            both = f"{key} and a flag"
            if both not in self._made:
                every = np.arange(len(self.matrix))
                column = _construct(flag.astype(np.float32)[:, None], params, ())
                data = self._made[key].subset(every).construct()
                with warnings.catch_warnings():
                    # that neither keeps its raw values, and that categories are to be named again: both are known
                    warnings.simplefilter("ignore", UserWarning)
                    data.add_features_from(column)
                self._made[both] = data
            return self._made[both]


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
    }
)
"""Parameters of ours that leave bins as they are; whatever else a caller adds gets bins of its own."""


def _construct(matrix: Matrix, params: Mapping[str, Any], categorical: Sequence[int]) -> Any:
    import lightgbm

    return lightgbm.Dataset(matrix, categorical_feature=list(categorical), params=dict(params)).construct()
