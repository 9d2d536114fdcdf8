"""A digest of a table over every row, column and type."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uplift.data._frames import Table, as_arrow

_SLICE = 1 << 20


def fingerprint(table: Table) -> str:
    """A digest that changes with any cell, row, name, type or order, and only with them.

    How the data is cut into chunks, whether text is dictionary-encoded, and what lies in the memory of missing values
    make no difference.

    Parameters
    ----------
    table
        All of its rows are read.

    Returns
    -------
    str
        SHA-256 in hexadecimal.

    Examples
    --------
    >>> import pandas as pd
    >>> one = fingerprint(pd.DataFrame({"a": [1, 2]}))
    >>> one == fingerprint(pd.DataFrame({"a": [1, 2]})), one == fingerprint(pd.DataFrame({"a": [2, 1]}))
    (True, False)
    """
    table = as_arrow(table)
    total = hashlib.sha256(f"{table.num_rows} rows".encode())
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = _plain_type(column.type)
        total.update(f"\0{len(name)}:{name}:{kind}\0".encode())
        state = _State()
        for chunk in column.chunks:
            for start in range(0, len(chunk), _SLICE):
                part = chunk.slice(start, _SLICE)
                _feed(part if part.type == kind else part.cast(kind), state)
        total.update(state.digest())
    return total.hexdigest()


class _State:
    """Streams of one column, kept apart so that chunk borders leave no trace."""

    def __init__(self) -> None:
        self.validity = hashlib.sha256()
        self.lengths = hashlib.sha256()
        self.values = hashlib.sha256()
        self.children: list[_State] = []

    def child(self, index: int) -> _State:
        while len(self.children) <= index:
            self.children.append(_State())
        return self.children[index]

    def digest(self) -> bytes:
        own = self.validity.digest() + self.lengths.digest() + self.values.digest()
        return own + b"".join(hashlib.sha256(child.digest()).digest() for child in self.children)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list(kind):
        return pa.large_list(_plain_type(kind.value_type))
    return kind


def _feed(array: pa.Array, state: _State) -> None:
    kind = array.type
    valid = np.asarray(pc.is_valid(array))
    state.validity.update(valid.tobytes())
    if pa.types.is_null(kind):
        return
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        present = array.drop_null().cast(pa.large_binary())
        state.lengths.update(np.asarray(pc.binary_length(present)).tobytes())
        _, offsets, data = present.buffers()
        if len(present) and data is not None:
            ends = np.frombuffer(offsets, dtype=np.int64)
            state.values.update(memoryview(data)[ends[present.offset] : ends[present.offset + len(present)]])
    elif pa.types.is_large_list(kind):
        present = array.drop_null()
        state.lengths.update(np.asarray(pc.list_value_length(present)).tobytes())
        _feed(present.flatten(), state.child(0))
    elif pa.types.is_struct(kind):
        for index, values in enumerate(array.flatten()):
            plain = _plain_type(values.type)
            _feed(values if values.type == plain else values.cast(plain), state.child(index))
    elif pa.types.is_boolean(kind):
        state.values.update(np.asarray(array.drop_null()).tobytes())
    elif pa.types.is_floating(kind):
        numbers = np.array(array.drop_null())
        numbers[np.isnan(numbers)] = np.nan  # one NaN, whatever its bits
        state.values.update(numbers.tobytes())
    elif pa.types.is_primitive(kind):
        present = array.drop_null()
        width = kind.bit_width // 8
        _, data = present.buffers()
        if data is not None:
            state.values.update(memoryview(data)[present.offset * width : (present.offset + len(present)) * width])
    else:
        for value in array.drop_null().to_pylist():
            text = repr(value).encode()
            state.lengths.update(len(text).to_bytes(8, "little"))
            state.values.update(text)
