"""A built table as the frame that models take."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from uplift.errors import InputError, did_you_mean


def to_frame(table: pa.Table, names: Iterable[str] | None = None) -> pd.DataFrame:
    """Model-ready columns: numbers as float64 with NaN for unknown, flags as 0.0, 1.0 or NaN, text as ``category``.

    Parameters
    ----------
    table
        From :func:`uplift.features.build`.
    names
        Columns in the order wanted; None: all but ``member_id`` and ``as_of``.

    Raises
    ------
    InputError
        If a name is not a column, or a column is a time.
    """
    wanted = (
        [name for name in table.column_names if name not in ("member_id", "as_of")] if names is None else list(names)
    )
    absent = [
        f"{name!r}: {did_you_mean(name, table.column_names)}" for name in wanted if name not in table.column_names
    ]
    if absent:
        raise InputError("not columns of the table: " + "; ".join(absent))
    return pd.DataFrame({name: _series(name, table.column(name)) for name in wanted}, columns=wanted)


def _series(name: str, column: pa.ChunkedArray) -> pd.Series:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        values = column.to_pylist()
        return pd.Series(pd.Categorical(values, categories=sorted({value for value in values if value is not None})))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InputError(f"column {name!r} holds {kind}, which no model takes")
    return pd.Series(column.cast(pa.float64()).to_numpy())
