"""What runs say of the data, of folds, of a policy and of a search, in the forms in which they are logged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from uplift.evaluation import GainUnit, PolicyGain, UpliftSearchCV


def signature(X: pd.DataFrame) -> list[tuple[str, str]]:
    """A model's input columns as (name, type): ``double``, ``boolean`` or, for categories and texts, ``string``."""
    return [(str(name), _kind(X[name].dtype)) for name in X.columns]


def _kind(dtype: object) -> str:
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    return "double" if pd.api.types.is_numeric_dtype(dtype) else "string"


def fold_text(fold: np.ndarray, trained: np.ndarray) -> str:
    """Which fold each row was in, one character a row in the rows' order; ``-`` where it was kept from training.

    Of more than 36 folds the numbers themselves, with spaces between them.

    Parameters
    ----------
    fold
        Fold of each training row.
    trained
        (n_rows,) True for training rows.

    Examples
    --------
    >>> fold_text(np.array([1, 0]), np.array([True, False, True]))
    '1-0'
    """
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    short = int(fold.max(initial=0)) < len(digits)
    written = np.full(len(trained), "-", dtype=object)
    written[trained] = np.array(list(digits))[fold] if short else fold.astype(str)
    return ("" if short else " ").join(written)


def policy_metrics(gain: PolicyGain) -> dict[str, float]:
    """The values of a policy with their standard errors, in the outcome's own unit."""
    values: dict[str, float] = {}
    for name, metric in (
        ("gain", gain.gain),
        ("best_single_gain", gain.single_gain),
        ("over_single", gain.over_single),
    ):
        values[f"policy.{name}"] = metric.value
        if metric.se is not None:
            values[f"policy.{name}_se"] = metric.se
    if gain.promised is not None:
        values["policy.promised"] = gain.promised
    return values


def search_artifacts(search: UpliftSearchCV, trained: np.ndarray, unit: GainUnit) -> dict[str, str]:
    """File → text: every candidate with its intervals, the verdict in both languages, and the folds.

    Parameters
    ----------
    trained
        (n_rows,) True for the rows that the search was fitted on.
    unit
        Of the outcome; the verdict is written in it.
    """
    said = search.verdict_in(unit)
    return {
        "folds.txt": fold_text(search.fold_, trained),
        "leaderboard.csv": search.leaderboard_.to_csv(index=False),
        "verdict.json": json.dumps({"status": said.status, "en": said.en, "zh": said.zh}, ensure_ascii=False),
    }
