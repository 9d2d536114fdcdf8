"""What every adapter shares: finding and reading the source, naming all that is wrong with it, building tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from uplift.config import ExperimentSpec, Spec, WorkspaceConfig
from uplift.data.contract import ARROW_TYPES, TABLES
from uplift.errors import ContractError, InputError, Problem

SECOND = pd.Timedelta(seconds=1)

SIGNATURES: Mapping[str, frozenset[str]] = {
    "hillstrom": frozenset({"recency", "history", "newbie", "segment", "visit", "conversion", "spend"}),
    "starbucks": frozenset({"person", "event", "value", "time"}),
    "online-retail": frozenset({"InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"}),
    "gym": frozenset({"Contract_period", "Month_to_end_contract", "Lifetime", "Churn"}),
    "open-bandit": frozenset({"timestamp", "item_id", "position", "click", "propensity_score"}),
}
"""Columns that tell the data sets apart, so that a wrong file can be answered with the right name."""

_PRIVATE = frozenset({"person", "id", "customer_id", "CustomerID"})  # members' ids never stand in messages


@dataclass(frozen=True)
class Imported:
    """Public data in the contract's form.

    Attributes
    ----------
    tables
        Contract table by name, in the contract's exact Arrow schema. Tables without rows are left out.
    config
        What ``uplift.yaml`` will hold.
    experiments
        Definitions of the randomised experiments in the data.
    notes
        For the person: what was mapped how, what was inferred, what is missing.
    sources
        The files that were read, by the name under which they are recorded.
    models
        Model specifications that suit these data better than the embedded ones, by name.
    extras
        Rows or facts that the contract has no place for, by file name; kept beside the tables, never dropped.
    """

    tables: Mapping[str, pa.Table]
    config: WorkspaceConfig
    experiments: tuple[ExperimentSpec, ...]
    notes: tuple[str, ...]
    sources: Mapping[str, Path]
    extras: Mapping[str, pa.Table] = field(default_factory=dict)
    models: Mapping[str, Spec] = field(default_factory=dict)


@dataclass(frozen=True)
class Adapter:
    """One public data set.

    Attributes
    ----------
    name
        As on the command line.
    title
        What it is, in a line.
    source_help
        The file or folder that it expects.
    convert
        Reads the source and gives the tables.
    """

    name: str
    title: str
    source_help: str
    convert: Callable[[Path], Imported]


def locate(source: Path, dataset: str, names: Sequence[str], expected: str) -> Path:
    """The file of a data set: ``source`` itself, or the first of ``names`` in the folder ``source``.

    Raises
    ------
    InputError
        If there is no such file or folder, or the folder does not hold one.
    """
    if source.is_file():
        return source
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; {dataset} expects {expected}")
    for name in names:
        for path in (source / name, source / Path(name).name):
            if path.is_file():
                return path
    raise InputError(f"{source}: holds none of {', '.join(names)}; {dataset} expects {expected}")


class Source:
    """A flat file whose columns are read one by one, collecting everything that is wrong until :meth:`refuse`.

    Parameters
    ----------
    path
        The file; messages carry its name.
    frame
        Its rows, untyped (text) or typed.
    dataset
        Name of the adapter.
    columns
        Columns that must be there.

    Raises
    ------
    InputError
        If columns are missing; the message lists them, those found, and the data set that the file seems to be.
    """

    def __init__(self, path: Path, frame: pd.DataFrame, dataset: str, columns: Sequence[str]) -> None:
        self.path = path
        self.frame = frame
        self.problems: list[Problem] = []
        missing = [name for name in columns if name not in frame.columns]
        if missing:
            raise InputError(_wrong_columns(path, frame.columns, dataset, missing, columns))
        if frame.empty:
            raise InputError(f"{path}: has a header and no rows; {dataset} expects data in it")

    def __len__(self) -> int:
        return len(self.frame)

    def text(self, name: str, values: Sequence[str] = ()) -> pd.Series:
        """A text column, every value present and, where given, among ``values``."""
        column = self.frame[name].astype("str").str.strip()
        empty = self.frame[name].isna() | (column == "")
        self._note(name, "missing_value", "has no value", empty, self.frame[name])
        if values:
            unknown = ~empty & ~column.isin(list(values))
            self._note(name, "unknown_value", f"is none of {', '.join(values)}", unknown, column)
        return column

    def number(
        self, name: str, low: float | None = None, high: float | None = None, *, optional: bool = False
    ) -> np.ndarray:
        """A column of finite numbers in [low, high], shape ``(n,)``, float64; NaN only where ``optional``."""
        given = self.frame[name]
        column = pd.to_numeric(given, errors="coerce").astype("float64")
        empty = given.isna() | (given.astype("str").str.strip() == "")
        if not optional:
            self._note(name, "missing_value", "has no value", empty, given)
        self._note(name, "not_a_number", "is not a number", ~empty & ~np.isfinite(column), given)
        below = column < (-np.inf if low is None else low)
        above = column > (np.inf if high is None else high)
        self._note(name, "out_of_range", f"lies outside [{low}, {high}]", (below | above) & np.isfinite(column), given)
        return column.to_numpy()

    def integer(self, name: str, low: float | None = None, high: float | None = None) -> np.ndarray:
        """A column of whole numbers in [low, high], shape ``(n,)``, int64."""
        column = self.number(name, low, high)
        finite = np.isfinite(column)
        fraction = finite & (column != np.rint(column))
        self._note(name, "not_whole", "is not a whole number", pd.Series(fraction), self.frame[name])
        return np.where(finite, column, 0).astype(np.int64)

    def time(self, name: str, pattern: str | None = None) -> pd.Series:
        """A column of times; ``pattern`` as in ``strptime``, None for ISO 8601."""
        given = self.frame[name]
        if pattern is None and not pd.api.types.is_datetime64_any_dtype(given):
            pattern = "ISO8601"
        column = pd.to_datetime(given, format=pattern, errors="coerce")
        self._note(name, "not_a_time", f"is not a time such as {_example_time(pattern)}", column.isna(), given)
        return column

    def reject(self, name: str, code: str, message: str, wrong: Any) -> None:
        """Note rows that contradict each other: ``wrong`` is True where column ``name`` cannot be right."""
        self._note(name, code, message, pd.Series(np.asarray(wrong)), self.frame[name])

    def refuse(self) -> None:
        """Raise what was collected, all at once; nothing if all is well."""
        if self.problems:
            raise ContractError(self.problems)

    def _note(self, name: str, code: str, message: str, wrong: pd.Series, values: pd.Series) -> None:
        count = int(wrong.sum())
        if not count:
            return
        silent = code == "missing_value" or name in _PRIVATE
        found = () if silent else tuple(str(v) for v in pd.unique(values[wrong.to_numpy()])[:5])
        remedy = "take the published file again, or correct these values; nothing was imported"
        self.problems.append(Problem(self.path.name, name, code, message, count, found, remedy))


def read_text(path: Path, dataset: str, columns: Sequence[str], separator: str = ",") -> Source:
    """A delimited text file with a header, every column as text.

    Raises
    ------
    InputError
        If it is empty, is no text, has a broken row, or is another file.
    """
    try:
        frame = pd.read_csv(path, dtype="str", sep=separator, encoding="utf-8-sig", na_filter=False)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the file is empty; {dataset} expects columns {_listed(columns)}") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        why = str(error).strip()
        raise InputError(
            f"{path}: cannot be read as delimited text ({why}); {dataset} expects columns {_listed(columns)}"
        ) from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise InputError(
            f"{path}: rows have more fields than the header has names; {dataset} expects {_listed(columns)}"
        )
    twice = [name for name in columns if f"{name}.1" in frame.columns]
    if twice:
        raise InputError(f"{path}: the header names {_listed(twice)} twice")
    return Source(path, frame, dataset, columns)


def read_parquet(path: Path, dataset: str, columns: Sequence[str]) -> Source:
    """A Parquet file.

    Raises
    ------
    InputError
        If it is not Parquet, or is another file.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as Parquet ({error}); {dataset} expects columns {_listed(columns)}"
        ) from None
    return Source(path, table.to_pandas(), dataset, columns)


def contract_table(name: str, columns: Mapping[str, Any], rows: int) -> pa.Table:
    """A table of the contract: every column in order and type; what is not given is null, a scalar is repeated.

    Raises
    ------
    ValueError
        If a column is not the table's, or its length is not ``rows``.
    """
    schema = TABLES[name]
    strange = sorted(set(columns) - set(schema.names))
    if strange:
        raise ValueError(f"{name} has no columns {strange}")
    arrays = [_array(columns.get(column.name), ARROW_TYPES[column.kind], rows) for column in schema.columns]
    return pa.Table.from_arrays(arrays, schema=schema.arrow_schema)


def attributes(
    member_id: pa.Array | pd.Series, values: Mapping[str, Any], observed_at: Any, source: str = "profile"
) -> pa.Table:
    """Rows of ``attributes``, one a member and named column; missing and empty values have no row."""
    parts = []
    rows = len(member_id)
    ids = _array(member_id, pa.string(), rows)
    seen = _array(observed_at, ARROW_TYPES["time"], rows)
    for name, column in values.items():
        value = _array(column, pa.string(), rows)
        known = pc.fill_null(pc.not_equal(value, ""), False)
        columns = {"member_id": ids, "name": name, "observed_at": seen, "value": value, "source": source}
        parts.append(contract_table("attributes", columns, rows).filter(known))
    return pa.concat_tables(parts).combine_chunks()


def cents(amount: Any) -> np.ndarray:
    """Units to integer cents, half away from zero; the tiny error of binary fractions is taken off first."""
    hundredfold = np.round(np.asarray(amount, dtype=np.float64) * 100, 6)
    return (np.sign(hundredfold) * np.floor(np.abs(hundredfold) + 0.5)).astype(np.int64)


def plain_number(values: np.ndarray) -> list[str | None]:
    """Numbers as short text: ``3``, not ``3.0``; None for NaN."""
    return [None if v != v else f"{v:.12g}" for v in np.asarray(values, dtype=np.float64).tolist()]


def instants(local: pd.Series, timezone: str) -> pd.Series:
    """Wall-clock times of a zone as instants: a repeated hour is its first pass, a skipped one moves forward."""
    first = np.ones(len(local), dtype=bool)
    aware = local.dt.tz_localize(timezone, ambiguous=first, nonexistent="shift_forward")
    return aware.dt.tz_convert("UTC")


def utc(text: str, timezone: str) -> pd.Timestamp:
    """One wall-clock time of a zone as an instant."""
    return pd.Timestamp(text, tz=timezone).tz_convert("UTC")


def _array(value: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if value is None:
        return pa.nulls(rows, kind)
    if isinstance(value, str | int | float | bool | pd.Timestamp):
        return pa.repeat(pa.scalar(value, kind), rows)
    if isinstance(value, pd.Series) and isinstance(value.dtype, pd.DatetimeTZDtype):
        value = value.dt.tz_convert(None).to_numpy()  # wall-clock of UTC, which the cast below says again
    array = value if isinstance(value, pa.Array | pa.ChunkedArray) else pa.array(value, from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if len(array) != rows:
        raise ValueError(f"a column of {len(array)} values for {rows} rows")
    return array.cast(kind)


def _listed(names: Sequence[str], limit: int = 16) -> str:
    return ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if len(names) > limit else "")


def _wrong_columns(path: Path, found: pd.Index, dataset: str, missing: Sequence[str], columns: Sequence[str]) -> str:
    names = [str(name) for name in found]
    words = {word.strip() for name in names for word in name.split(",")}
    alike = [name for name, signs in SIGNATURES.items() if name != dataset and signs <= words]
    hint = f"; this file looks like {alike[0]}: `uplift import {alike[0]} …`" if alike else ""
    return (
        f"{path}: not the {dataset} file: missing columns {_listed(missing)}"
        f"; expected {_listed(columns)}; found {_listed(names)}{hint}"
    )


def _example_time(pattern: str | None) -> str:
    moment = pd.Timestamp("2011-12-09 12:50")
    return moment.strftime("%Y-%m-%d %H:%M") if pattern in (None, "ISO8601") else moment.strftime(str(pattern))
