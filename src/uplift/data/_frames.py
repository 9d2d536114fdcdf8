"""Frames as Arrow tables."""

from __future__ import annotations

from typing import TypeAlias

import pandas as pd
import pyarrow as pa

from uplift.errors import InputError

Table: TypeAlias = "pa.Table | pd.DataFrame"


def as_arrow(table: Table) -> pa.Table:
    """A frame as an Arrow table without its index; a table as it is.

    Raises
    ------
    InputError
        If two columns share a name, or a column mixes types.

    Examples
    --------
    >>> import pandas as pd
    >>> as_arrow(pd.DataFrame({"at": pd.to_datetime(["2024-01-01"]).tz_localize("UTC")})).schema.names
    ['at']
    """
    names = [str(name) for name in (table.column_names if isinstance(table, pa.Table) else table.columns)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"column names given twice: {', '.join(map(repr, doubled))}")
    if isinstance(table, pa.Table):
        return table
    return pa.table([_column(name, table.iloc[:, i]) for i, name in enumerate(names)], names=names)


def _column(name: str, values: pd.Series) -> pa.Array | pa.ChunkedArray:
    kind = values.dtype
    if isinstance(kind, pd.DatetimeTZDtype):  # pyarrow's own way warns on pandas 3.1
        instants = pa.array(values.dt.tz_convert(None).to_numpy(), from_pandas=True)
        return instants.cast(pa.timestamp(instants.type.unit, tz=str(kind.tz)))
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(f"column {name!r} of the frame mixes types: {error}") from None
