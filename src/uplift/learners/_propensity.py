"""Probabilities with which each row received each arm: as designed, or estimated where nobody knows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError, did_you_mean
from uplift.learners._inputs import Arms, Floats, plain

SUM_TOLERANCE = 1e-3
MIN_EFFECTIVE = 0.10
"""Below this ratio of effective rows to rows an arm is refused: a few rows would carry the estimate."""
FAINT = 0.05
"""A row's estimated probability below this fraction of the arm's share is faint …"""
MAX_FAINT_SHARE = 0.10
"""… and estimation is refused when more than this share of the rows are."""


def given_propensity(propensity: Any, arms: Arms, problems: list[str]) -> Floats | None:
    """Check what the caller knows, ``(n, n_arms + 1)`` in the order control, then arms.

    A mapping arm → share holds for every row; a table's columns are found by their names; an array's are in the order
    ``[control, *arms]``. A row with probability 0 of an arm was not offered it.
    """
    order = (arms.control, *arms.names)
    n = len(arms.codes)
    if isinstance(propensity, Mapping):
        shares = _shares(propensity, order, problems)
        return None if shares is None else _checked(np.broadcast_to(shares, (n, len(order))), arms, problems)
    if isinstance(propensity, pd.DataFrame):
        lacking = [label for label in order if label not in propensity.columns]
        if lacking:
            problems.append(f"propensity has no column {', '.join(map(repr, lacking))}: one per arm and the control")
            return None
        propensity = propensity[list(order)]
    try:
        array = np.asarray(propensity, dtype=np.float64)
    except (TypeError, ValueError):
        problems.append("propensity must be a mapping arm → share, an array of numbers, or None")
        return None
    if array.shape != (n, len(order)):
        problems.append(
            f"propensity has shape {array.shape}, expected ({n}, {len(order)}) in the order "
            f"{', '.join(map(repr, order))}: probabilities of all arms, not only of the one received"
        )
        return None
    return _checked(array, arms, problems)


def _shares(propensity: Mapping[Any, Any], order: Sequence[Any], problems: list[str]) -> Floats | None:
    known = {plain(label): share for label, share in propensity.items()}
    unknown = [label for label in known if label not in order]
    lacking = [label for label in order if label not in known]
    if unknown:
        problems.append(
            f"propensity names {', '.join(map(repr, unknown))}, which nobody in treatment received: "
            f"{did_you_mean(str(unknown[0]), [str(label) for label in order])}"
        )
    if lacking:
        problems.append(f"propensity lacks {', '.join(map(repr, lacking))}: every arm and the control needs its share")
    if unknown or lacking:
        return None
    try:
        return np.array([float(known[label]) for label in order])
    except (TypeError, ValueError):
        problems.append("propensity: shares must be numbers, e.g. 0.5")
        return None


def _checked(array: Floats, arms: Arms, problems: list[str]) -> Floats | None:
    before = len(problems)
    outside = ~((array >= 0) & (array <= 1)).all(axis=1)
    if outside.any():
        problems.append(f"propensity is missing or outside 0 … 1 in {int(outside.sum()):,} rows")
    else:
        total = array.sum(axis=1)
        off = np.abs(total - 1) > SUM_TOLERANCE
        if off.any():
            problems.append(
                f"propensities of all arms must add up to 1; in {int(off.sum()):,} rows they do not, "
                f"e.g. {total[np.argmax(off)]:g}"
            )
        impossible = array[np.arange(len(array)), arms.codes] == 0
        if impossible.any():
            problems.append(
                f"propensity is 0 for the arm that was received in {int(impossible.sum()):,} rows: either the "
                "probability or the assignment is recorded wrong"
            )
    return array if len(problems) == before else None


def estimated_propensity(
    matrix: npt.NDArray[np.float32],
    categorical: Sequence[int],
    arms: Arms,
    weight: Floats,
    folds: npt.NDArray[np.integer[Any]],
) -> tuple[Floats, list[str]]:
    """Multinomial logistic regression, each row predicted from the folds that it is not in, and what speaks against it.

    Estimation is refused where overlap fails: when more than a tenth of the rows have an estimated probability of some
    arm below a twentieth of that arm's share. What is estimated on the rows that it predicts, and clipped, as other
    libraries do, hides exactly these rows.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    from uplift.learners._linear import LinearDesign

    weight = weight / weight.mean()  # the penalty must not depend on the weights' unit
    design = LinearDesign.learn(matrix, categorical)
    regressors = design.transform(matrix)
    count = len(arms.names) + 1
    result = np.empty((len(matrix), count))
    for fold in np.unique(folds):
        train, test = (folds != fold) & (weight > 0), folds == fold
        present = np.unique(arms.codes[train])
        if len(present) < count:
            raise InputError(
                "propensities cannot be estimated: an arm is absent from a fold's training rows; give propensity=, "
                "more groups, or fewer folds"
            )
        if not regressors.shape[1]:
            shares = np.bincount(arms.codes[train], weights=weight[train], minlength=count)
            result[test] = shares / shares.sum()
            continue
        with warnings.catch_warnings():
            # a slight lack of convergence does not matter here: overlap and effective size are checked on the result
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=1.0, max_iter=500).fit(
                regressors[train], arms.codes[train], sample_weight=weight[train]
            )
        result[test] = model.predict_proba(regressors[test])
    return result, _faint(result, arms, weight)


def _faint(propensity: Floats, arms: Arms, weight: Floats) -> list[str]:
    problems = []
    shares = np.bincount(arms.codes, weights=weight, minlength=propensity.shape[1]) / weight.sum()
    for j, label in enumerate((arms.control, *arms.names)):
        faint = float(np.average(propensity[:, j] < FAINT * shares[j], weights=weight))
        if faint > MAX_FAINT_SHARE:
            problems.append(
                f"no overlap: {faint:.0%} of the rows had next to no chance of {label!r} (estimated probability below "
                f"{FAINT:.0%} of its share): such members cannot be compared; leave them out, or give propensity= if "
                "the assignment was designed"
            )
    return problems


def effective_rows(weight: Floats) -> float:
    """Kish's effective number of rows, (Σw)² / Σw²."""
    total = float(weight.sum())
    return total * total / float((weight * weight).sum()) if total else 0.0


def check_effective(label: Any, weight: Floats, chance: Floats, problems: list[str]) -> None:
    """Refuse an arm whose inverse-probability weights leave less than a tenth of its rows' worth of information."""
    ratio = effective_rows(weight / chance) / max(effective_rows(weight), 1e-300)
    if ratio < MIN_EFFECTIVE:
        problems.append(
            f"{label!r}: its {len(weight):,} rows are worth {ratio:.1%} of as many, since a few had a very small "
            f"chance of it (smallest {chance.min():.2g}); below {MIN_EFFECTIVE:.0%} nothing can be learned: leave "
            "such rows out"
        )


def pairwise(propensity: Floats, arm: int) -> npt.NDArray[np.float64]:
    """Probability of an arm given that it is the arm or the control, ``(n,)``; NaN where neither can be."""
    with np.errstate(invalid="ignore"):
        return propensity[:, arm] / (propensity[:, arm] + propensity[:, 0])
