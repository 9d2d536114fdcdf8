"""Who is held out when: one shared fold assignment, and splits in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError
from uplift.results import Rendered

Ints = npt.NDArray[np.intp]


def fold_ids(
    n: int,
    folds: int = 5,
    groups: npt.ArrayLike | None = None,
    stratify: npt.ArrayLike | None = None,
    random_state: int | None = 0,
) -> Ints:
    """Fold of each row: one assignment, made once and shared by every stage, so that nothing leaks between stages.

    Parameters
    ----------
    n
        Rows.
    folds
        How many, at least 2.
    groups
        Rows with the same value (e.g. one member at several times) share a fold, ``(n,)``.
    stratify
        Spread evenly over the folds, ``(n,)``: usually the treatment. With ``groups``, a group counts for the stratum
        of its first row.
    random_state
        Seed; the same input and seed give the same folds.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` from 0 to ``folds − 1``.

    Examples
    --------
    >>> import numpy as np
    >>> ids = fold_ids(6, 3, stratify=["a", "a", "a", "b", "b", "b"])
    >>> sorted(ids[:3].tolist()), sorted(ids[3:].tolist())
    ([0, 1, 2], [0, 1, 2])
    """
    if isinstance(folds, bool) or not isinstance(folds, int | np.integer) or folds < 2:
        raise InputError(f"folds must be a whole number of at least 2, found {folds!r}")
    unit = np.arange(n) if groups is None else _codes("groups", groups, n)
    n_units = int(unit.max()) + 1 if n else 0
    if n_units < folds:
        what = "rows" if groups is None else "groups"
        raise InputError(f"{folds} folds need at least as many {what}, found {n_units}: use fewer folds")
    first = np.full(n_units, n, dtype=np.intp)
    np.minimum.at(first, unit, np.arange(n))
    stratum = np.zeros(n_units, dtype=np.intp) if stratify is None else _codes("stratify", stratify, n)[first]
    size = np.bincount(unit, minlength=n_units)
    rng = np.random.default_rng(random_state)
    # by stratum, then large groups first, then at random: dealing these out in turn keeps folds even in every way
    order = np.lexsort((rng.random(n_units), -size, stratum))
    dealt = np.arange(n_units) % (2 * folds)
    turn = np.where(dealt < folds, dealt, 2 * folds - 1 - dealt)
    fold = np.empty(n_units, dtype=np.intp)
    fold[order] = rng.permutation(folds)[turn]
    return fold[unit]


def _codes(name: str, values: npt.ArrayLike, n: int) -> Ints:
    array = np.asarray(values)
    if array.shape != (n,):
        raise InputError(f"{name} has shape {array.shape}, expected ({n},)")
    codes, _ = pd.factorize(array)
    if (codes < 0).any():
        raise InputError(f"{name} is missing in {int((codes < 0).sum()):,} rows")
    return np.asarray(codes, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class TimeSplit(Rendered):
    """One split in time.

    Attributes
    ----------
    cutoff
        Evaluation starts here.
    train, test
        Masks, ``(n,)``. A row may be in neither: its horizon reaches past the cutoff.
    """

    cutoff: pd.Timestamp
    train: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Sizes."""
        return [{"cutoff": self.cutoff, "train": int(self.train.sum()), "test": int(self.test.sum())}]


def time_split(
    as_of: Any, cutoffs: Sequence[datetime | pd.Timestamp] | datetime | pd.Timestamp, gap: timedelta | pd.Timedelta
) -> tuple[TimeSplit, ...]:
    """Train on the past, evaluate on what came later, with a gap so that no training label looks past the cutoff.

    Parameters
    ----------
    as_of
        As-of time of each row, ``(n,)``, with a time zone.
    cutoffs
        Starts of the evaluation periods; each ends where the next one begins, the last one is open.
    gap
        The outcome's horizon: rows are trained on only if ``as_of + gap <= cutoff``.

    Raises
    ------
    InputError
        If a split has no row to train on or none to evaluate on.

    Examples
    --------
    >>> import pandas as pd
    >>> months = pd.Series(pd.date_range("2026-01-01", periods=6, freq="MS", tz="UTC"))
    >>> (split,) = time_split(months, months[5], pd.Timedelta(days=60))
    >>> split.train.tolist(), split.test.tolist()
    ([True, True, True, True, False, False], [False, False, False, False, False, True])
    """
    times = pd.DatetimeIndex(pd.Series(as_of))
    if times.hasnans:
        raise InputError(f"as_of is missing in {int(times.isna().sum()):,} rows")
    starts = [cutoffs] if isinstance(cutoffs, datetime) else list(cutoffs)
    points = sorted(pd.Timestamp(start) for start in starts)
    if not points:
        raise InputError("time_split needs at least one cutoff")
    if any((point.tzinfo is None) != (times.tz is None) for point in points):
        raise InputError("as_of and cutoffs must both have a time zone, or neither")
    delta = pd.Timedelta(gap)
    if delta < pd.Timedelta(0):
        raise InputError(f"gap must not be negative, found {delta}")
    splits = []
    for position, start in enumerate(points):
        test = times >= start
        if position + 1 < len(points):
            test &= times < points[position + 1]
        train = times + delta <= start
        for what, mask in (("train", train), ("evaluate", test)):
            if not mask.any():
                raise InputError(
                    f"no row to {what} on for the cutoff {start}: as_of spans {times.min()} to {times.max()} and the "
                    f"gap is {delta}"
                )
        splits.append(TimeSplit(start, np.asarray(train), np.asarray(test)))
    return tuple(splits)
