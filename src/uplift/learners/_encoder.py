"""From a table of features to the matrix that boosters read, the same way when learning and when scoring."""

from __future__ import annotations

import decimal
import numbers
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError, did_you_mean

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

MAX_LEVELS = 255
_SHOWN = 5
_ROWS_AT_ONCE = 1 << 14
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Column:
    """What was learned of one feature.

    Attributes
    ----------
    name
        As in the table.
    kind
        ``number`` (flags and booleans too) or ``category``.
    levels
        The texts of a category, in the order of their codes.
    """

    name: str
    kind: Literal["number", "category"]
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameEncoder:
    """Turns a table of features into a float32 matrix, and remembers how.

    Single precision halves the memory and keeps seven digits: whole numbers up to 16.7 million are exact. Give days
    since an event, not seconds since 1970.

    Numbers, flags and booleans stay numbers; categories and texts become codes in alphabetical order; missing values
    become NaN, and so do texts that were not there when learning. A text column of more than 255 different values
    keeps the 255 most frequent, the rest count as missing. Columns are found by name, in whatever order, and columns
    that were not there when learning are ignored.

    Attributes
    ----------
    columns
        One :class:`Column` per feature, in the order of the matrix.
    named
        False when learned from an array without names: then columns go by position.

    Examples
    --------
    >>> table = pd.DataFrame({"city": ["Wuhan", None, "Beijing"], "orders": [1, 2, None]})
    >>> encoder = FrameEncoder.learn(table)
    >>> encoder.transform(table[["orders", "city"]]).tolist()
    [[1.0, 1.0], [nan, 2.0], [0.0, nan]]
    """

    columns: tuple[Column, ...]
    named: bool = True

    @classmethod
    def learn(cls, X: Any) -> Self:
        """Learn names, kinds and categories.

        Raises
        ------
        InputError
            Listing every column that is neither numbers nor texts, holds infinite values, or has another's name.
        """
        frame, named = as_frame(X)
        require_some(frame)
        if _plain(X) and _in_range(X):
            return cls(tuple(Column(str(name), "number") for name in frame.columns), named)
        problems: list[str] = []
        columns = [_learn_column(str(name), frame.iloc[:, j], problems) for j, name in enumerate(frame.columns)]
        _refuse(problems)
        return cls(tuple(columns), named)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the matrix."""
        return tuple(column.name for column in self.columns)

    @property
    def categorical(self) -> list[int]:
        """Positions of the categories."""
        return [j for j, column in enumerate(self.columns) if column.kind == "category"]

    def transform(self, X: Any) -> Matrix:
        """The matrix, ``(n, n_features)``, column after column in memory.

        Raises
        ------
        InputError
            Listing every feature that is missing, holds text where numbers were learned, or infinite values.
        """
        frame, named = as_frame(X)
        positions = self._positions(frame, named)
        if _plain(X) and not self.categorical and _in_range(X):
            return _by_column(X)
        matrix = np.empty((len(frame), len(self.columns)), dtype=np.float32, order="F")
        problems: list[str] = []
        for j, (column, position) in enumerate(zip(self.columns, positions, strict=True)):
            values = frame.iloc[:, position]
            if column.kind == "category":
                matrix[:, j] = _codes(values, column.levels)
            else:
                matrix[:, j] = _numbers(column.name, values, problems)
        _refuse(problems)
        return matrix

    def _positions(self, frame: pd.DataFrame, named: bool) -> list[int]:
        if self.named and named:
            where = {str(name): j for j, name in reversed(list(enumerate(frame.columns)))}
            missing = [name for name in self.names if name not in where]
            if missing:
                first = did_you_mean(missing[0], where)
                raise InputError(
                    f"X has no column {', '.join(map(repr, missing))}: the model was fitted with "
                    f"{len(self.columns)} features and needs them all ({first})"
                )
            return [where[name] for name in self.names]
        if frame.shape[1] != len(self.columns):
            raise InputError(
                f"X has {frame.shape[1]} features, but it is expecting {len(self.columns)} features as input: "
                f"{', '.join(self.names[:12])}{', …' if len(self.names) > 12 else ''}"
            )
        if self.named != named:
            fitted, given = ("with", "does not have valid") if self.named else ("without", "has")
            warnings.warn(
                f"X {given} feature names, but the model was fitted {fitted} feature names: columns are taken by "
                "position",
                UserWarning,
                stacklevel=4,
            )
        return list(range(len(self.columns)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "named": self.named,
            "columns": [{"name": c.name, "kind": c.kind, "levels": list(c.levels)} for c in self.columns],
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        columns = tuple(Column(c["name"], c["kind"], tuple(c["levels"])) for c in value["columns"])
        return cls(columns, bool(value["named"]))


def as_frame(X: Any) -> tuple[pd.DataFrame, bool]:
    """X as a table, and whether its columns have names.

    Raises
    ------
    InputError
        If X is not two-dimensional, is sparse or complex, or two columns have one name.
    """
    if not isinstance(X, pd.DataFrame) and hasattr(X, "to_pandas"):
        X = X.to_pandas()
    if isinstance(X, pd.DataFrame):
        if X.columns.nlevels > 1:
            raise InputError("X has several levels of column names: give it one")
        names = [str(name) for name in X.columns]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise InputError(f"X has several columns of the name {', '.join(map(repr, twice))}: rename all but one")
        return X, not _unnamed(X)
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise InputError("sparse input is not supported: give X as a dense array, X.toarray(), or a table")
    array = np.asarray(X)
    if array.ndim != 2:
        raise InputError(
            f"expected 2D array, got {array.ndim}D array instead. Reshape your data: array.reshape(-1, 1) if it is one "
            "feature, array.reshape(1, -1) if it is one row"
        )
    if np.iscomplexobj(array):
        raise InputError("Complex data not supported: X must hold numbers, texts or categories")
    return pd.DataFrame(array, columns=[f"x{j}" for j in range(array.shape[1])], copy=False), False


def require_some(frame: pd.DataFrame) -> None:
    """Refuse a table without rows or columns."""
    if not len(frame):
        raise InputError("found array with 0 sample(s): X has no rows, at least 1 is needed")
    if not frame.shape[1]:
        raise InputError(f"0 feature(s) (shape={frame.shape}) while a minimum of 1 is required: X has no columns")


def _plain(X: Any) -> bool:
    """An array of floating-point numbers: nothing in it has to be looked at column by column."""
    return isinstance(X, np.ndarray) and X.dtype in (np.float32, np.float64)


def _in_range(X: npt.NDArray[np.floating[Any]]) -> bool:
    """Whether every number is one in single precision too, or missing."""
    with np.errstate(over="ignore"):
        blocks = (X[start : start + _ROWS_AT_ONCE] for start in range(0, len(X), _ROWS_AT_ONCE))
        return not any(np.isinf(block.astype(np.float32)).any() for block in blocks)


def _by_column(X: npt.NDArray[np.floating[Any]]) -> Matrix:
    """In single precision, column after column; a block of rows at a time, which stays in the processor's cache."""
    matrix = np.empty(X.shape, dtype=np.float32, order="F")
    for start in range(0, len(X), _ROWS_AT_ONCE):
        matrix[start : start + _ROWS_AT_ONCE] = X[start : start + _ROWS_AT_ONCE]
    return matrix


def _unnamed(frame: pd.DataFrame) -> bool:
    return all(isinstance(name, numbers.Integral) for name in frame.columns)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise InputError("X cannot be used:\n" + "\n".join(f"  {problem}" for problem in problems))


def _learn_column(name: str, values: pd.Series, problems: list[str]) -> Column:
    kind = _kind(values)
    if kind is None:
        problems.append(
            f"{name}: {values.dtype} is neither number, flag nor text; argument must be a string or a number "
            "(times: give days since them instead; mixed values: clean them first)"
        )
        return Column(name, "number")
    if kind == "number":
        _numbers(name, values, problems)
        return Column(name, "number")
    counts = _texts(values).value_counts()
    keys = sorted(counts.index, key=lambda key: (-int(counts[key]), key))[:MAX_LEVELS]
    return Column(name, "category", tuple(sorted(keys)))


def _kind(values: pd.Series) -> Literal["number", "category"] | None:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_complex_dtype(dtype):
        return None
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return "number"
    if pd.api.types.is_object_dtype(dtype):
        present = values[values.notna()]
        if present.map(lambda v: isinstance(v, (numbers.Real, decimal.Decimal, np.bool_))).all():
            return "number"
        return "category" if present.map(lambda v: isinstance(v, str)).all() else None
    return "category" if pd.api.types.is_string_dtype(dtype) else None


def _numbers(name: str, values: pd.Series, problems: list[str]) -> Floats:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if _kind(values) != "number":
        parsed = pd.to_numeric(values.astype(object).where(values.notna(), None), errors="coerce")
        wrong = values[parsed.isna() & values.notna()]
        if len(wrong):
            examples = ", ".join(repr(str(v)) for v in wrong.drop_duplicates().iloc[:_SHOWN])
            problems.append(f"{name}: a number is expected, {len(wrong):,} rows hold something else, e.g. {examples}")
            return np.full(len(values), np.nan)
        values = parsed
    result = values.to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = int((np.abs(result) > _LARGEST).sum())
    if infinite:
        problems.append(f"{name}: {infinite:,} rows are infinite (inf) or beyond 1e38; leave them empty if unknown")
        return np.full(len(values), np.nan)
    return result


def _texts(values: pd.Series) -> pd.Series:
    """Categories as texts, so that 1, 1.0 and "1" are one category; missing stays missing."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        keys = [_key(level) for level in values.cat.categories]
        codes = values.cat.codes.to_numpy()
        texts = np.array([*keys, None], dtype=object)[codes]
        return pd.Series(texts, index=values.index, dtype=object).dropna()
    present = values.dropna()
    if present.map(lambda v: isinstance(v, str)).all():
        return present.astype(object)
    return present.map(_key).astype(object)


def _key(value: Any) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _codes(values: pd.Series, levels: tuple[str, ...]) -> Floats:
    known = {level: float(code) for code, level in enumerate(levels)}
    if isinstance(values.dtype, pd.CategoricalDtype):
        table = np.array([*(known.get(_key(v), np.nan) for v in values.cat.categories), np.nan])
        return table[values.cat.codes.to_numpy()]
    codes, uniques = pd.factorize(values)
    table = np.array([*(known.get(_key(v), np.nan) for v in uniques), np.nan])
    return table[codes]
