"""Reading what metrics are given: outcomes, arms, propensities, weights, predictions; all that is wrong at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError, did_you_mean, unknown_name

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Propensity = Mapping[Any, float] | npt.ArrayLike | None


@dataclass(frozen=True)
class Trial:
    """Outcomes of members whose arm was drawn with known probabilities.

    Attributes
    ----------
    y
        Outcomes, ``(n,)``.
    assigned
        Position of each row's arm in ``[control, *arms]``, ``(n,)``.
    control, arms
        Names. ``arms`` are sorted, as learners' ``arms_`` are.
    propensity
        ``(n, n_arms + 1)`` in the order ``[control, *arms]``; a broadcast view where all rows share it.
    weight
        Sample weights, ``(n,)``; all above zero or zero, never negative.
    """

    y: Floats
    assigned: Ints
    control: Hashable
    arms: tuple[Hashable, ...]
    propensity: Floats
    weight: Floats

    def __len__(self) -> int:
        return len(self.y)

    @property
    def names(self) -> tuple[Hashable, ...]:
        """``[control, *arms]``."""
        return (self.control, *self.arms)

    def position(self, arm: Hashable) -> int:
        """Position of an arm's name in :attr:`names`."""
        for position, name in enumerate(self.names):
            if name == arm:
                return position
        raise unknown_name("arm", str(arm), [str(name) for name in self.names])


def read_trial(
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    control: Hashable = None,
    sample_weight: npt.ArrayLike | None = None,
) -> Trial:
    """Check and convert; raise one :class:`~uplift.errors.InputError` that lists everything that is wrong."""
    wrong: list[str] = []
    outcome = read_numbers("y", y, wrong)
    codes, labels, missing = _factorize(treatment)
    n = len(outcome)
    if len(codes) != n:
        wrong.append(f"treatment has {len(codes):,} rows, y has {n:,}")
    if missing:
        wrong.append(f"treatment is missing in {missing:,} rows")
    weight = np.broadcast_to(1.0, n) if sample_weight is None else read_numbers("sample_weight", sample_weight, wrong)
    if len(weight) != n:
        wrong.append(f"sample_weight has {len(weight):,} rows, y has {n:,}")
    elif n and (weight < 0).any():
        wrong.append(f"sample_weight is negative in {int((weight < 0).sum()):,} rows")
    if not n:
        wrong.append("there is not one row")
    raise_all(wrong)
    if not (weight > 0).any():
        raise InputError("every sample_weight is zero: nothing is left to measure")

    control = infer_control(labels, propensity, control)
    arms = tuple(label for label in labels if label != control)
    if not arms:
        raise InputError(f"treatment holds only {str(control)!r}: nothing to compare it with")
    order = np.empty(len(labels), dtype=np.intp)
    for code, label in enumerate(labels):
        order[code] = 0 if label == control else 1 + arms.index(label)
    assigned = order[codes]
    shares = _propensity(propensity, control, arms, assigned, weight)
    return Trial(outcome, assigned, control, arms, shares, weight)


def read_numbers(name: str, values: npt.ArrayLike, wrong: list[str]) -> Floats:
    """A vector of finite numbers; what is wrong with it goes to ``wrong``."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        wrong.append(f"{name} must hold numbers, found {getattr(np.asarray(values), 'dtype', type(values))}")
        return np.empty(0)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        wrong.append(f"{name} must have one dimension, found shape {array.shape}")
        return np.empty(0)
    bad = int((~np.isfinite(array)).sum())
    if bad:
        wrong.append(f"{name} is missing or infinite in {bad:,} of {len(array):,} rows")
    return array


def raise_all(wrong: Sequence[str]) -> None:
    """One error for everything that is wrong."""
    if wrong:
        raise InputError(wrong[0] if len(wrong) == 1 else "; ".join(wrong))


def _factorize(treatment: npt.ArrayLike) -> tuple[Ints, list[Hashable], int]:
    """Codes into the sorted labels, the labels, how many rows have none."""
    values = treatment if isinstance(treatment, pd.Series | pd.Categorical) else np.asarray(treatment)
    if values.ndim != 1:
        raise InputError(f"treatment must have one dimension, found shape {values.shape}")
    codes, labels = pd.factorize(values)
    missing = int((codes < 0).sum())
    plain = [label.item() if isinstance(label, np.generic) else label for label in labels]
    try:
        ranked = sorted(range(len(plain)), key=lambda i: plain[i])
    except TypeError:
        kinds = sorted({type(label).__name__ for label in plain})
        raise InputError(f"treatment mixes kinds of values ({', '.join(kinds)}); name the arms in one way") from None
    position = np.empty(len(plain), dtype=np.intp)
    position[ranked] = np.arange(len(plain))
    return (position[codes] if len(plain) else codes.astype(np.intp)), [plain[i] for i in ranked], missing


def infer_control(labels: Sequence[Hashable], propensity: Propensity, control: Hashable) -> Hashable:
    """The control's name.

    As given; else 0 or False where treatment is 0/1 or boolean; else the arm named ``control``; else the first key of
    a ``propensity`` mapping, which has the order ``[control, *arms]`` like the columns of an array; otherwise it cannot
    be known.
    """
    shown = ", ".join(repr(label) for label in list(labels)[:12])
    if control is not None:
        for label in labels:
            if label == control:
                return label
        hint = did_you_mean(str(control), [str(label) for label in labels])
        raise InputError(f"the control {control!r} is not among the values of treatment: {hint}")
    if set(labels) <= {0, 1}:
        if 0 not in set(labels):
            raise InputError(f"treatment holds only {shown}: there is no control (0 or False) to compare with")
        return next(label for label in labels if label == 0)
    if "control" in labels:
        return "control"
    if isinstance(propensity, Mapping) and propensity:
        first = next(iter(propensity))
        for label in labels:
            if label == first:
                return label
    raise InputError(f"which arm is the control? treatment holds {shown}: pass control=")


def _propensity(
    given: Propensity, control: Hashable, arms: tuple[Hashable, ...], assigned: Ints, weight: Floats
) -> Floats:
    n, k = len(assigned), len(arms) + 1
    names = (control, *arms)
    if given is None:
        shares = np.bincount(assigned, weights=weight, minlength=k) / weight.sum()
        return np.broadcast_to(shares, (n, k))
    if isinstance(given, Mapping):
        return np.broadcast_to(_shares_of(given, names), (n, k))
    array = np.asarray(given, dtype=np.float64)
    if k == 2 and array.ndim < 2:
        if array.ndim == 1 and len(array) != n:
            raise InputError(f"propensity has {len(array):,} rows, y has {n:,}")
        array = np.stack(np.broadcast_arrays(1 - array, array, np.empty(n))[:2], axis=1)
    wrong: list[str] = []
    if array.shape != (n, k):
        shown = ", ".join(str(name) for name in names)
        raise InputError(
            f"propensity has shape {array.shape}, not ({n}, {k}): one column each for [{shown}], in that order"
        )
    if not np.isfinite(array).all() or (array < 0).any() or (array > 1).any():
        wrong.append("propensity must lie within [0, 1] and be known in every row")
    elif (off := int((np.abs(array.sum(axis=1) - 1) > 1e-4).sum())) > 0:
        wrong.append(f"propensity does not add up to 1 over the arms in {off:,} rows")
    else:
        impossible = int((array[np.arange(n), assigned] <= 0).sum())
        if impossible:
            wrong.append(f"{impossible:,} rows received an arm whose propensity there is 0: these cannot both be true")
    raise_all(wrong)
    return array


def _shares_of(given: Mapping[Any, float], names: tuple[Hashable, ...]) -> Floats:
    wrong = []
    known = [str(name) for name in names]
    for key, share in given.items():
        if key not in names and share:
            wrong.append(f"propensity names the arm {str(key)!r}, of which treatment has no row")
    shares = np.zeros(len(names))
    for position, name in enumerate(names):
        if name not in given:
            wrong.append(f"propensity has no share for the arm {str(name)!r}: {did_you_mean(str(name), known)}")
            continue
        shares[position] = float(given[name])
        if not 0 < shares[position] < 1:
            wrong.append(f"the share of {str(name)!r} must lie between 0 and 1, found {shares[position]:g}")
    raise_all(wrong)
    if abs(shares.sum() - 1) > 1e-4:
        raise InputError(f"the shares in propensity add up to {shares.sum():.6g}, not to 1")
    return shares


def read_effects(effect: npt.ArrayLike, trial: Trial, arm: Hashable, wrong_name: str = "effect") -> Floats:
    """Predicted effects, ``(n, n_arms)``, or ``(n, 1)`` for the one arm in question.

    A data frame whose columns are the arms' names is put into order by name.
    """
    if isinstance(effect, pd.DataFrame) and set(effect.columns) >= set(trial.arms):
        effect = effect[list(trial.arms)]
    try:
        array = np.asarray(effect, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{wrong_name} must hold numbers") from None
    if array.ndim == 1:
        array = array[:, None]
    n, k = len(trial), len(trial.arms)
    if array.ndim != 2 or len(array) != n:
        raise InputError(f"{wrong_name} has shape {array.shape}; expected ({n},) or ({n}, {k})")
    bad = int((~np.isfinite(array)).any(axis=1).sum())
    if bad:
        raise InputError(f"{wrong_name} is missing or infinite in {bad:,} of {n:,} rows")
    if array.shape[1] == k:
        return array if arm is None else array[:, [trial.position(arm) - 1]]
    if array.shape[1] == 1 and arm is not None:
        return array
    shown = ", ".join(str(name) for name in trial.arms)
    if array.shape[1] == 1:
        raise InputError(
            f"{wrong_name} has one column but there are {k} arms ({shown}): pass arm=, or one column for each"
        )
    raise InputError(f"{wrong_name} has {array.shape[1]} columns; there are {k} arms ({shown}), in this order")


@dataclass(frozen=True)
class Comparison:
    """Rows that inform "treated as predicted" against control, weighted so that they stand for all members.

    Attributes
    ----------
    row
        Positions in the trial, ``(m,)``; None when these are all of its rows, in order.
    score
        Predicted effect of the arm in question, ``(m,)``.
    treated
        True where the row received that arm, False where it is a control, ``(m,)``.
    weight
        The row's weight in the population, ``(m,)``.
    inverse
        Sample weight over the probability of what was received, ``(m,)``. What is reported divides each arm's sums by
        its own total of these.
    rest
        Outcome less what was expected of the arm received, ``(m,)``; less one constant if no expectations are given,
        which changes no expectation and saves variance.
    expected
        Expected effect, ``(m,)``; None without expectations.
    """

    row: Ints | None
    score: Floats
    treated: npt.NDArray[np.bool_]
    weight: Floats
    inverse: Floats
    rest: Floats
    expected: Floats | None

    def __len__(self) -> int:
        return len(self.score)

    @property
    def totals(self) -> tuple[float, float]:
        """Sum of ``inverse`` over treated and over control rows."""
        treated = float(self.inverse[self.treated].sum())
        return treated, float(self.inverse.sum()) - treated

    def gains(self) -> Floats:
        """A number per row whose expectation is the row's effect, ``(m,)``."""
        treated, control = self.totals
        total = self.weight.sum()
        scale = np.where(self.treated, total / treated, -total / control)
        gains = scale * self.inverse * self.rest / self.weight
        return gains if self.expected is None else gains + self.expected

    def take(self, rows: Ints) -> Comparison:
        """Some of the rows."""
        return Comparison(
            row=rows if self.row is None else self.row[rows],
            score=self.score[rows],
            treated=self.treated[rows],
            weight=self.weight[rows],
            inverse=self.inverse[rows],
            rest=self.rest[rows],
            expected=None if self.expected is None else self.expected[rows],
        )


def compare_with_control(
    effect: npt.ArrayLike,
    trial: Trial,
    *,
    arm: Hashable = None,
    expected: npt.ArrayLike | None = None,
) -> Comparison:
    """Reduce several arms to one comparison: ``arm`` against control, or each member's best arm against control.

    Rows of other arms say nothing about it; the remaining ones are weighted by one over the probability of being among
    them, so the population stays all members. Members to whom the arm (or the control) is never given are left out,
    since nothing is known about its effect on them.
    """
    effects = read_effects(effect, trial, arm)
    if arm is not None and trial.position(arm) == 0:
        raise InputError(f"{arm!r} is the control; choose one of {', '.join(str(a) for a in trial.arms)}")
    target: Ints | int
    if effects.shape[1] == 1:
        target = 1 if arm is None else trial.position(arm)
        score, p_arm = effects[:, 0], trial.propensity[:, target]
    else:
        rows = np.arange(len(trial))
        best = np.argmax(np.where(trial.propensity[:, 1:] > 0, effects, -np.inf), axis=1)
        score, target = effects[rows, best], best + 1
        p_arm = trial.propensity[rows, target]
    p_control = trial.propensity[:, 0]
    treated = trial.assigned == target
    keep = (treated | (trial.assigned == 0)) & (p_arm > 0) & (p_control > 0) & (trial.weight > 0)
    row = None if keep.all() else np.flatnonzero(keep)
    if row is not None:
        score, treated, p_arm, p_control = score[row], treated[row], p_arm[row], p_control[row]
    weight, y = (a if row is None else a[row] for a in (trial.weight, trial.y))
    if treated.all() or not treated.any():
        which = "control" if treated.all() else "treated"
        raise InputError(f"there is no {which} row for this comparison")
    inverse = weight / np.where(treated, p_arm, p_control)
    pair = p_arm + p_control
    weight = weight / pair
    if expected is None:
        centre = _centre(y, treated, inverse, float(np.average(p_arm / pair, weights=weight)))
        return Comparison(row, score, treated, weight, inverse, y - centre, None)
    table = read_expected(expected, trial)
    without, given = table[:, 0], table[np.arange(len(trial)), target]
    if row is not None:
        without, given = without[row], given[row]
    rest = y - np.where(treated, given, without)
    return Comparison(row, score, treated, weight, inverse, rest, given - without)


def read_expected(expected: npt.ArrayLike, trial: Trial) -> Floats:
    """Expected outcomes ``(n, n_arms + 1)`` in the order ``[control, *arms]``."""
    table = np.asarray(expected, dtype=np.float64)
    shape = (len(trial), len(trial.names))
    if table.shape != shape:
        raise InputError(f"expected has shape {table.shape}, not {shape}: a column for each of [control, *arms]")
    if not np.isfinite(table).all():
        raise InputError("expected is missing or infinite in some rows")
    return table


def _centre(y: Floats, treated: npt.NDArray[np.bool_], inverse: Floats, p: float) -> float:
    """The constant that leaves the least variance: each arm's mean, weighted by the other arm's share."""
    mean = float(np.dot(inverse, y))
    on_treated, weight_on_treated = float(np.dot(inverse[treated], y[treated])), float(inverse[treated].sum())
    given = on_treated / weight_on_treated
    without = (mean - on_treated) / (float(inverse.sum()) - weight_on_treated)
    return (1 - p) * given + p * without
