"""What the churn model and the recency rule share: labels, and probabilities of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.learners._inputs import plain, vector

Floats = npt.NDArray[np.float64]


def check_labels(y: Any, n: int, problems: list[str]) -> tuple[npt.NDArray[Any], Floats]:
    """The two classes, sorted, and 1.0 where a row is of the second."""
    nothing = np.array([0, 1]), np.zeros(n)
    array = vector("y", y, n, problems)
    if array is None:
        return nothing
    if array.dtype.kind == "c":
        problems.append("Complex data not supported in y")
        return nothing
    missing = pd.isna(array)
    if missing.all() and n:
        problems.append("y is missing in every row: measure who churned first, or name another column")
        return nothing
    if missing.any():
        problems.append(f"y is missing (NaN) in {int(missing.sum()):,} of {n:,} rows: measure or leave these rows out")
        return nothing
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        problems.append("y holds infinite values (inf)")
        return nothing
    if array.dtype == object:
        array = np.array([plain(value) for value in array])
    found = np.unique(array)
    if array.dtype.kind == "f" and (found != np.floor(found)).any():
        problems.append(
            "Unknown label type: y is continuous, but churn has two classes: 1 for who churned, 0 for who stayed"
        )
        return nothing
    if len(found) > 2:
        problems.append(
            f"Only binary classification is supported. The type of the target is multiclass: y has {len(found)} classes"
        )
        return nothing
    if len(found) < 2:
        problems.append(f"y has one class only, {plain(found[0])!r}: nothing can be learned; check label and horizon")
        return nothing
    return found, (array == found[1]).astype(np.float64)


def two_columns(probability: Floats) -> Floats:
    """``(n, 2)``: probability of the first and of the second class."""
    return np.column_stack([1 - probability, probability])


def classifier_tags(tags: Any) -> Any:
    """scikit-learn's description of an estimator that takes two classes and missing values."""
    tags.classifier_tags.multi_class = False
    tags.target_tags.required = True
    tags.input_tags.allow_nan = True
    tags.input_tags.string = True
    tags.input_tags.categorical = True
    return tags
