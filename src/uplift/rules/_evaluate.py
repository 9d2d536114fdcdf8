"""Values of rules in the rows of a frame, three-valued, computed by DuckDB in memory."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from uplift.errors import RuleError, did_you_mean
from uplift.rules._rule import Rule

_SQL_TYPES = {"number": "DOUBLE", "text": "VARCHAR", "flag": "BOOLEAN", "time": "TIMESTAMPTZ", "date": "DATE"}


def evaluate_rules(rules: Mapping[str, Rule], frame: pd.DataFrame | pa.Table) -> pd.DataFrame:
    """The values of several rules in one pass.

    Parameters
    ----------
    rules
        Name → rule.
    frame
        Holds every column that the rules read; NaN counts as null.

    Returns
    -------
    pandas.DataFrame
        One column a rule, one row a row of ``frame`` (with its index): booleans with NA for unknown.

    Raises
    ------
    RuleError
        If a column is absent or does not hold what the rules were compiled for.
    """
    table = _project(rules.values(), frame)
    index = frame.index if isinstance(frame, pd.DataFrame) else pd.RangeIndex(frame.num_rows)
    if not rules:
        return pd.DataFrame(index=index)
    values = _query(", ".join(f"{rule.sql()} AS {_quoted(name)}" for name, rule in rules.items()), table)
    return pd.DataFrame({name: _nullable(values.column(name), rule.kind) for name, rule in rules.items()}).set_index(
        index
    )


def _nullable(column: pa.ChunkedArray, kind: str) -> Any:
    """A pandas array in which null stays null."""
    if kind == "flag":
        mask = column.is_null().to_numpy()
        return pd.arrays.BooleanArray(column.fill_null(False).to_numpy(), mask)
    if kind == "number":
        mask = column.is_null().to_numpy()
        return pd.arrays.FloatingArray(column.fill_null(0.0).to_numpy(), mask)
    if kind == "text":
        return pd.array(column.to_pylist(), dtype="str")
    return column.to_pandas()


def missing_columns(rule: Rule, frame: pd.DataFrame | pa.Table) -> pd.Series:
    """For every row, the rule's columns that are null where its value is unknown; ``""`` where it is known."""
    table = _project([rule], frame)
    index = frame.index if isinstance(frame, pd.DataFrame) else pd.RangeIndex(frame.num_rows)
    values = _query(f"CASE WHEN ({rule.sql()}) IS NULL THEN {rule.missing_sql()} ELSE '' END AS missing", table)
    return pd.Series(values.column("missing").to_pylist(), index=index, dtype="str")


def _project(rules: Iterable[Rule], frame: pd.DataFrame | pa.Table) -> pa.Table:
    """The columns that the rules read, NaN as null, beside a row number (so that no rule is without a row)."""
    families: dict[str, str] = {}
    for rule in rules:
        families |= rule.families
    names = list(frame.columns) if isinstance(frame, pd.DataFrame) else frame.column_names
    absent = [f"column {name!r} is not there, {did_you_mean(name, names)}" for name in families if name not in names]
    if absent:
        raise RuleError("the table cannot be judged: " + "; ".join(absent))
    if isinstance(frame, pd.DataFrame):
        rows = len(frame)
        arrays = {name: _array(frame[name]) for name in families}
    else:
        rows = frame.num_rows
        arrays = {name: frame.column(name) for name in families}
    table = pa.table({"__row": pa.array(np.arange(rows))} | arrays)
    casts = [_cast(name, family, table.column(name).type) for name, family in families.items()]
    return _query(", ".join(["__row", *casts]), table)


def _array(values: pd.Series) -> pa.Array:
    if isinstance(values.dtype, pd.DatetimeTZDtype):  # pyarrow's own way warns on pandas 3.1
        instants = pa.array(values.dt.tz_convert(None).to_numpy(), from_pandas=True)
        return instants.cast(pa.timestamp(instants.type.unit, tz="UTC"))
    return pa.array(values, from_pandas=True)


def _cast(name: str, family: str, found: pa.DataType) -> str:
    column = _quoted(name)
    if pa.types.is_dictionary(found):
        found = found.value_type
    numeric = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
    textual = pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    fits = {
        "number": numeric or pa.types.is_boolean(found),
        "text": textual,
        "flag": pa.types.is_boolean(found) or numeric,
        "time": pa.types.is_timestamp(found),
        "date": pa.types.is_date(found) or pa.types.is_timestamp(found),
    }[family]
    if not fits and not pa.types.is_null(found):
        raise RuleError(f"column {name!r} holds {found}, but the rule reads it as {family}")
    if pa.types.is_floating(found):
        column = f"CASE WHEN isnan({column}) THEN NULL ELSE {column} END"
    return f"CAST({column} AS {_SQL_TYPES[family]}) AS {_quoted(name)}"


def _query(select: str, table: pa.Table) -> pa.Table:
    connection = _connection().cursor()
    try:
        connection.register("__frame", table)
        return connection.sql(f"SELECT {select} FROM __frame").to_arrow_table()
    except duckdb.Error as error:
        raise RuleError(f"a rule could not be evaluated: {str(error).splitlines()[0]}") from None
    finally:
        connection.close()


@functools.cache
def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        ":memory:", config={"enable_external_access": "false", "threads": "1", "lock_configuration": "true"}
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
