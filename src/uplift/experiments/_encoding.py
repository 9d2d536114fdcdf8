"""Covariates as numbers: categories one-hot, missing values as mean and indicator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.experiments._text import Text

MAX_LEVELS = 20
OTHER = "(other)"
MISSING = "(missing)"


class EncodedColumn(NamedTuple):
    """Where a column of the matrix comes from: the covariate, and the category (None: the number itself)."""

    covariate: str
    level: str | None


class Encoded(NamedTuple):
    """Covariates as a matrix.

    Attributes
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
        Finite numbers in their own units.
    columns
        One entry a column, in the order in which the covariates were given.
    reference
        Covariate → the category that has no column of its own.
    notes
        What was pooled, filled or left out.
    """

    matrix: NDArray[np.float64]
    columns: tuple[EncodedColumn, ...]
    reference: dict[str, str]
    notes: tuple[Text, ...]


def is_number(values: pd.Series) -> bool:
    """Whether a column holds numbers or flags (rather than categories)."""
    return bool(pd.api.types.is_numeric_dtype(values.dtype))


def encode(frame: pd.DataFrame, covariates: Sequence[str], min_level: int) -> Encoded:
    """Encode covariates for a regression.

    Parameters
    ----------
    frame
        Holds the covariates.
    covariates
        Names. Numbers and flags are used as they are, everything else as categories.
    min_level
        Categories with fewer rows are pooled.
    """
    blocks: list[NDArray[np.float64]] = []
    columns: list[EncodedColumn] = []
    reference: dict[str, str] = {}
    notes: list[Text] = []
    for name in covariates:
        values = frame[name]
        if values.isna().all():
            notes.append(empty_covariate_note(name))
            continue
        block, levels, left_out = (_number if is_number(values) else _category)(name, values, min_level, notes)
        if not levels:
            notes.append(constant_covariate_note(name))
            continue
        if left_out is not None:
            reference[name] = left_out
        blocks.append(block)
        columns.extend(EncodedColumn(name, level) for level in levels)
    matrix = np.hstack(blocks) if blocks else np.empty((len(frame), 0))
    return Encoded(matrix, tuple(columns), reference, tuple(notes))


def _number(
    name: str, values: pd.Series, min_level: int, notes: list[Text]
) -> tuple[NDArray[np.float64], list[str | None], str | None]:
    del min_level
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = ~np.isfinite(numbers)
    levels: list[str | None] = []
    columns = []
    filled = np.where(missing, numbers[~missing].mean() if (~missing).any() else 0.0, numbers)
    if np.ptp(filled) > 0:
        columns.append(filled)
        levels.append(None)
    if missing.any():
        notes.append(missing_covariate_note(name, int(missing.sum())))
        columns.append(missing.astype(np.float64))
        levels.append(MISSING)
    return np.column_stack(columns) if columns else np.empty((len(values), 0)), levels, None


def _category(
    name: str, values: pd.Series, min_level: int, notes: list[Text]
) -> tuple[NDArray[np.float64], list[str | None], str | None]:
    text = labels(values)
    kept, rare = kept_levels(name, text.value_counts().to_dict(), min_level, notes)
    text = text.where(~text.isin(rare), OTHER)
    if len(kept) < 2:
        return np.empty((len(values), 0)), [], None
    codes = pd.Categorical(text, categories=kept).codes
    block = (codes[:, None] == np.arange(1, len(kept))).astype(np.float64)
    return block, list(kept[1:]), str(kept[0])


def kept_levels(name: str, counts: Mapping[str, int], min_level: int, notes: list[Text]) -> tuple[list[str], list[str]]:
    """Categories with a column of their own, the most frequent (the reference) first, and those pooled into one."""
    ordered = sorted(counts, key=lambda level: (-counts[level], level))
    rare = [level for rank, level in enumerate(ordered) if rank >= MAX_LEVELS or counts[level] < min_level]
    if rare:
        notes.append(
            Text(
                f"协变量 {name}：{len(rare)} 个少见的值（共 {len(counts)} 个）合并为一类",
                f"covariate {name}: {len(rare)} rare values of {len(counts)} are pooled",
            )
        )
    pooled = set(rare)
    return [level for level in ordered if level not in pooled] + ([OTHER] if rare else []), rare


def missing_covariate_note(name: str, count: int) -> Text:
    """How a covariate's missing values were treated."""
    return Text(
        f"协变量 {name}：{count:,} 个缺失值以均值代替，并另加缺失标记",
        f"covariate {name}: {count:,} missing values stand at the mean, with an indicator",
    )


def empty_covariate_note(name: str) -> Text:
    """A covariate without any value."""
    return Text(f"协变量 {name} 没有值，未使用", f"covariate {name} is empty and was left out")


def constant_covariate_note(name: str) -> Text:
    """A covariate that says nothing."""
    return Text(f"协变量 {name} 只有一个值，未使用", f"covariate {name} has one value only and was left out")


def labels(values: pd.Series) -> pd.Series:
    """Values as text, whole numbers without a decimal point, missing ones named as such."""
    missing = values.isna()
    if pd.api.types.is_bool_dtype(values.dtype):
        text = values.map({True: "true", False: "false"})
    elif pd.api.types.is_float_dtype(values.dtype):
        text = values.map(lambda x: f"{x:.15g}", na_action="ignore")
    else:
        text = values.map(str, na_action="ignore")
    return text.astype(object).where(~missing, MISSING)
