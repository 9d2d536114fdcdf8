"""Effects by segment, from doubly robust scores."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm, t

from uplift.errors import InputError
from uplift.evaluation.scores import Scores
from uplift.metrics.value import standard_error
from uplift.results import Rendered


@dataclass(frozen=True)
class GroupEffect:
    """The effect of one arm in one group.

    Attributes
    ----------
    group
        The group; None for all rows together.
    arm
        Against control.
    n, n_arm, n_control
        Rows to which both were offered, and how many of them received the arm and the control. None when suppressed.
    effect, se, low, high
        Mean effect in the outcome's unit, cluster-robust. None when suppressed or unknown.
    p_value
        Two-sided, of no effect.
    suppressed
        ``small``: an arm has fewer rows than ``min_cell``; ``secondary``: hidden so that the total does not give the
        small one back; None otherwise.
    """

    group: Hashable
    arm: Hashable
    n: int | None
    n_arm: int | None
    n_control: int | None
    effect: float | None
    se: float | None
    low: float | None
    high: float | None
    p_value: float | None
    suppressed: str | None


@dataclass(frozen=True)
class GroupEffects(Rendered):
    """Effects by group and arm; the first row of each arm is the whole.

    Attributes
    ----------
    rows
        Arms in order; within an arm all rows together, then the groups, sorted.
    min_cell, alpha
        As asked for.
    """

    rows: tuple[GroupEffect, ...]
    min_cell: int
    alpha: float

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a group and arm."""
        return [asdict(row) for row in self.rows]

    def get(self, group: Hashable, arm: Hashable) -> GroupEffect:
        """The row of a group (None: everybody) and an arm."""
        for row in self.rows:
            if row.group == group and row.arm == arm:
                return row
        raise InputError(f"there is no effect of {arm!r} in group {group!r}")


def group_effects(
    scores: Scores,
    groups: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    alpha: float = 0.05,
    min_cell: int = 11,
) -> GroupEffects:
    """Mean effect of every arm in every group.

    Parameters
    ----------
    scores
        From :func:`aipw_scores`.
    groups
        Group of each row, known before the assignment, ``(n,)``; missing values form no group.
    clusters
        Rows with the same value are not independent (one member at several times); default: the groups that the
        scores were made with.
    min_cell
        Groups where an arm or the control has fewer rows are not shown.

    Raises
    ------
    InputError
        If shapes differ or ``min_cell`` is below 5.
    """
    if min_cell < 5:
        raise InputError(f"min_cell must be at least 5, so that nobody can be recognised; found {min_cell}")
    label = np.asarray(groups, dtype=object)
    if label.shape != (len(scores),):
        raise InputError(f"groups has shape {label.shape}, expected ({len(scores)},)")
    units = scores.clusters if clusters is None else np.asarray(clusters)
    if units is not None and len(units) != len(scores):
        raise InputError(f"clusters has {len(units):,} rows, expected {len(scores):,}")
    codes, names = pd.factorize(label)
    order = sorted(range(len(names)), key=lambda i: str(names[i]))
    rows: list[GroupEffect] = []
    for position, arm in enumerate(scores.arms, start=1):
        effects = scores.effects[:, position - 1]
        known = np.isfinite(effects) & (scores.weight > 0)
        whole = _effect(scores, effects, known, None, arm, position, units, alpha, min_cell)
        parts = [
            _effect(scores, effects, known & (codes == i), _plain(names[i]), arm, position, units, alpha, min_cell)
            for i in order
        ]
        rows += [whole, *_hide_second(parts, bool((codes[known] < 0).any()))]
    return GroupEffects(tuple(rows), min_cell, alpha)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _effect(
    scores: Scores,
    effects: npt.NDArray[np.float64],
    chosen: npt.NDArray[np.bool_],
    group: Hashable,
    arm: Hashable,
    position: int,
    units: npt.NDArray[Any] | None,
    alpha: float,
    min_cell: int,
) -> GroupEffect:
    assigned = scores.assigned[chosen]
    n_arm, n_control = int((assigned == position).sum()), int((assigned == 0).sum())
    if min(n_arm, n_control) < min_cell:
        return GroupEffect(group, arm, None, None, None, None, None, None, None, None, "small")
    values, weight = effects[chosen], scores.weight[chosen]
    mean = float(np.average(values, weights=weight))
    inside = None if units is None else units[chosen]
    se = standard_error(values - mean, weight, inside)
    n = len(values)
    if se is None:
        return GroupEffect(group, arm, n, n_arm, n_control, mean, None, None, None, None, None)
    freedom = (n if inside is None else len(pd.unique(inside))) - 1
    half = float(t.ppf(1 - alpha / 2, freedom)) * se
    p_value = float(2 * t.sf(abs(mean) / se, freedom)) if se > 0 else float(2 * norm.sf(np.inf if mean else 0))
    return GroupEffect(group, arm, n, n_arm, n_control, mean, se, mean - half, mean + half, p_value, None)


def _hide_second(parts: list[GroupEffect], others: bool) -> list[GroupEffect]:
    """If exactly one group is hidden, the total less the others would show it: hide the next smallest too."""
    hidden = [part for part in parts if part.suppressed]
    shown = [part for part in parts if not part.suppressed]
    if len(hidden) != 1 or others or not shown:
        return parts
    smallest = min(shown, key=lambda part: (part.n or 0, str(part.group)))
    empty = dict.fromkeys(("n", "n_arm", "n_control", "effect", "se", "low", "high", "p_value"))
    return [replace(p, **empty, suppressed="secondary") if p is smallest else p for p in parts]
