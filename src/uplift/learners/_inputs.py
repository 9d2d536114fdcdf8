"""What ``fit`` is given, checked; everything that is wrong is said at once."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError, did_you_mean

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Folds = npt.NDArray[np.int16]

MIN_ARM_ROWS = 10
"""Fewer rows than this that received an arm, or the control, are refused."""


@dataclass(frozen=True)
class Arms:
    """Who received what.

    Attributes
    ----------
    names
        The arms beside the control, sorted.
    control
        The control.
    codes
        ``(n,)``: 0 for the control, ``j`` for ``names[j - 1]``.
    """

    names: tuple[Any, ...]
    control: Any
    codes: npt.NDArray[np.integer[Any]]


def plain(value: Any) -> Any:
    """A NumPy scalar as Python's own, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def vector(name: str, values: Any, n: int, problems: list[str]) -> npt.NDArray[Any] | None:
    """One value per row, or None and a problem."""
    if values is None:
        problems.append(f"this learner requires {name} to be passed, but the target {name} is None: one value per row")
        return None
    array = np.asarray(values.to_numpy() if isinstance(values, (pd.Series, pd.Index)) else values)
    if array.ndim == 2 and array.shape[1] == 1:
        from sklearn.exceptions import DataConversionWarning

        message = f"A column-vector {name} was passed when a 1d array was expected: its one column is used"
        warnings.warn(message, DataConversionWarning, stacklevel=5)
        array = array.ravel()
    if array.ndim != 1:
        problems.append(f"{name} must be one-dimensional, found shape {array.shape}")
        return None
    if len(array) != n:
        problems.append(f"{name} has {len(array):,} values but X has {n:,} rows: found inconsistent numbers of samples")
        return None
    return array


def check_outcome(
    y: Any, n: int, kind: Literal["auto", "binary", "continuous"], problems: list[str]
) -> tuple[Floats, bool]:
    """The outcome as numbers, and whether it is a rate (0 or 1)."""
    nothing = np.zeros(n), False
    if kind not in ("auto", "binary", "continuous"):
        problems.append(f"outcome={kind!r} is unknown: {did_you_mean(str(kind), ('auto', 'binary', 'continuous'))}")
        return nothing
    array = vector("y", y, n, problems)
    if array is None:
        return nothing
    if np.iscomplexobj(array):
        problems.append("Complex data not supported in y")
        return nothing
    try:
        values = array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        try:
            values = pd.Series(array).to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            problems.append("y must be numbers, found text: turn the outcome into 0 and 1, or an amount")
            return nothing
    empty = int(np.isnan(values).sum())
    if empty == n:
        problems.append("y is missing in every row: measure the outcome first, or name another column")
    elif empty:
        problems.append(f"y is missing (NaN) in {empty:,} of {n:,} rows: measure them or leave these rows out")
    elif np.isinf(values).any():
        problems.append(f"y is infinite (inf) in {int(np.isinf(values).sum()):,} rows")
    elif n and (values == values[0]).all():
        problems.append(
            f"y is {values[0]:g} in all {n:,} rows: nothing can be learned; check the outcome and its window"
        )
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    if kind == "binary" and not binary and not empty:
        problems.append("y must be 0 or 1 where outcome='binary'; use outcome='continuous' for amounts")
    return values, binary and kind != "continuous"


def check_treatment(treatment: Any, n: int, control: Any, problems: list[str]) -> Arms | None:
    """The arms, by the names found in ``treatment``."""
    array = vector("treatment", treatment, n, problems)
    if array is None:
        return None
    missing = pd.isna(array)
    if missing.any():
        problems.append(f"treatment is missing in {int(missing.sum()):,} rows: who received nothing is the control")
        return None
    codes, found = pd.factorize(array)
    labels = [plain(label) for label in found]
    if control is None:
        control = _guess_control(labels, problems)
    elif plain(control) not in labels:
        problems.append(
            f"control {plain(control)!r} is not among the arms in treatment: "
            f"{did_you_mean(str(control), _sorted(labels))}"
        )
        return None
    if control is None:
        return None
    control = labels[labels.index(plain(control))]
    names = tuple(label for label in _sorted(labels) if label != control)
    if not names:
        problems.append(
            f"treatment holds one arm only, {control!r} (n_samples = {n}): an effect needs an arm and a control"
        )
        return None
    order = {label: j for j, label in enumerate((control, *names))}
    return Arms(names, control, np.array([order[label] for label in labels], dtype=np.int16)[codes])


def _guess_control(labels: list[Any], problems: list[str]) -> Any:
    for guess in ("control", 0):
        if guess in labels:
            return guess
    shown = ", ".join(repr(label) for label in _sorted(labels)[:12])
    problems.append(f"which arm is the control? Set control= to one of {shown}")
    return None


def _sorted(labels: Sequence[Any]) -> list[Any]:
    """In the order of numbers if all are numbers, else of their texts."""
    if all(isinstance(label, numbers.Real) for label in labels):
        return sorted(labels)
    return sorted(labels, key=str)


def check_weight(sample_weight: Any, n: int, problems: list[str]) -> Floats:
    """Weights, ones where none are given."""
    if sample_weight is None:
        return np.broadcast_to(np.ones(1), n)
    if isinstance(sample_weight, numbers.Real):
        return np.full(n, float(sample_weight))
    array = vector("sample_weight", sample_weight, n, problems)
    if array is None:
        return np.ones(n)
    try:
        weight = array.astype(np.float64)
    except (TypeError, ValueError):
        problems.append("sample_weight must be numbers, found text")
        return np.ones(n)
    wrong = int((~np.isfinite(weight) | (weight < 0)).sum())
    if wrong:
        problems.append(f"sample_weight is negative, missing or infinite in {wrong:,} rows")
        return np.ones(n)
    if n and not weight.any():
        problems.append("sample_weight is zero in every row: nothing counts")
    return weight


def check_groups(groups: Any, n: int, problems: list[str]) -> Ints | None:
    """Group of each row as a number in order of appearance, or None."""
    if groups is None:
        return None
    array = vector("groups", groups, n, problems)
    if array is None:
        return None
    missing = pd.isna(array)
    if missing.any():
        problems.append(f"groups is missing in {int(missing.sum()):,} rows: give each row its member")
        return None
    return np.asarray(pd.factorize(array)[0], dtype=np.intp)


def refuse(problems: list[str], what: str) -> None:
    """Raise one error that lists all problems, if there are any."""
    if problems:
        raise InputError(f"cannot fit {what}:\n" + "\n".join(f"  {problem}" for problem in problems))


def seed_of(random_state: Any) -> int:
    """A seed from an int, None (fresh) or a NumPy generator."""
    from sklearn.utils import check_random_state

    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        return int(random_state) % (2**31 - 1)
    return int(check_random_state(random_state).randint(0, 2**31 - 1))


def threads_of(n_jobs: int | None) -> int:
    """How many threads ``n_jobs`` means: None is one, −1 every core, −2 all but one."""
    import os

    if n_jobs is None:
        return 1
    if n_jobs == 0:
        raise InputError("n_jobs must not be 0: give a number of threads, or -1 for every core")
    return n_jobs if n_jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + n_jobs)


def assign_folds(strata: npt.NDArray[np.integer[Any]], folds: int, groups: Ints | None, seed: int) -> Folds:
    """Fold of each row, ``(n,)`` from 0 to ``folds - 1``.

    Rows of one group share a fold; without groups every stratum is spread evenly. The assignment depends on the order
    of the rows and the seed, not on how strata or groups are named.
    """
    rng = np.random.default_rng(seed)
    result = np.empty(len(strata), dtype=np.int16)
    if groups is not None:
        count = int(groups.max()) + 1 if len(groups) else 0
        result[:] = rng.permutation(np.arange(count) % folds)[groups]
        return result
    order = rng.permutation(len(strata))
    for stratum in np.unique(strata):
        rows = order[strata[order] == stratum]
        result[rows] = np.arange(len(rows)) % folds
    return result
