"""Atomic writers: a reader sees the old file or the whole new one, never a half, whatever kills the writer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from uplift.data._frames import as_arrow
from uplift.errors import InputError

MANIFEST = "manifest.json"
ROWS_PER_PART = 500_000
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_BLOCK = 1 << 20
_ROW_GROUP = 1 << 18


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, moved over it when the block ends well and removed when it does not.

    The file is flushed to the disk before the move, and the folder after it. For writers that want a path; those that
    want a file use :func:`atomic_file`.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that replaces ``path`` when the block ends well."""
    with atomic_path(path) as temporary, temporary.open("xb") as handle:
        yield handle


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk (nothing to do on Windows, which has no such call)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Replace the file at ``path`` by ``data``."""
    with atomic_file(path) as handle:
        handle.write(data)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Replace the file at ``path`` by ``text`` in UTF-8, line ends as given."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Replace the file at ``path`` by ``value`` as JSON.

    Raises
    ------
    ValueError
        If a number is NaN or infinite: JSON has neither, and what cannot be given is ``None``.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False, default=_plain)
    write_text_atomic(path, text + "\n")


def write_parquet_atomic(
    path: str | Path,
    data: pa.Table | pa.RecordBatchReader | pd.DataFrame | Iterable[pa.RecordBatch],
    schema: pa.Schema | None = None,
) -> int:
    """Replace the file at ``path`` by ``data`` as Parquet (zstd), streaming where ``data`` streams.

    Parameters
    ----------
    data
        A table, a frame, a reader, or record batches.
    schema
        Needed when ``data`` is an iterable of batches that may be empty; else taken from the data.

    Returns
    -------
    int
        Rows written.
    """
    rows = 0
    with atomic_path(path) as temporary:
        if isinstance(data, pd.DataFrame):
            data = as_arrow(data)
        batches = _batches(data)
        first = next(batches, None)
        if schema is None:
            schema = _schema_of(data, first)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            waiting: list[pa.RecordBatch] = []
            while first is not None:
                waiting.append(first)
                rows += first.num_rows
                first = next(batches, None)
                if first is None or sum(batch.num_rows for batch in waiting) >= _ROW_GROUP:
                    writer.write_table(pa.Table.from_batches(waiting).cast(schema), row_group_size=_ROW_GROUP)
                    waiting = []
    return rows


def write_csv_atomic(
    path: str | Path, frame: pd.DataFrame | pa.Table, *, encoding: Literal["utf-8", "utf-8-sig"] = "utf-8"
) -> None:
    """Replace the file at ``path`` by ``frame`` as CSV that a spreadsheet cannot take for formulas.

    Text that begins with ``= + - @``, a tab or a carriage return is prefixed by an apostrophe; numbers are untouched.
    Lines end in CR LF (RFC 4180). ``utf-8-sig`` is for spreadsheets that guess the encoding.
    """
    table = frame.to_pandas() if isinstance(frame, pa.Table) else frame
    safe = table.rename(columns=_not_a_formula)
    for position, kind in enumerate(safe.dtypes):
        if not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_datetime64_any_dtype(kind)):
            safe = safe.assign(**{str(safe.columns[position]): safe.iloc[:, position].map(_not_a_formula)})
    write_bytes_atomic(path, safe.to_csv(index=False, lineterminator="\r\n").encode(encoding))


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_pointer(path: str | Path, name: str) -> None:
    """Make the one-line file at ``path`` (``decisions/CURRENT``) name the latest run."""
    write_text_atomic(path, name + "\n")


def read_pointer(path: str | Path) -> str | None:
    """What a pointer file names; None where there is no pointer yet."""
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


@dataclass
class RunWriter:
    """A run of many rows as ``part-*.parquet`` and a manifest that is written last.

    A folder without a manifest is a run that did not finish: nobody reads it, and a writer that starts over removes
    its parts first.

    Attributes
    ----------
    folder
        Where the parts go.
    schema
        Of every part.
    rows_per_part
        Rows after which a new part begins.
    parts
        ``{"file", "rows", "sha256"}`` of every part written so far.

    Raises
    ------
    InputError
        If the folder already holds a finished run.
    """

    folder: Path
    schema: pa.Schema
    rows_per_part: int = ROWS_PER_PART
    parts: list[dict[str, Any]] = field(default_factory=list)
    _waiting: list[pa.RecordBatch] = field(default_factory=list, repr=False)
    _waiting_rows: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        if self.rows_per_part < 1:
            raise ValueError(f"rows_per_part is {self.rows_per_part}; expected at least 1")
        if (self.folder / MANIFEST).exists():
            raise InputError(f"{self.folder}: a finished run is already there; choose another name")
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob("part-*.parquet"):
            stale.unlink()

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add rows; whole parts go to the disk at once."""
        for piece in batch.to_batches() if isinstance(batch, pa.Table) else (batch,):
            start = 0
            while start < piece.num_rows:
                take = min(piece.num_rows - start, self.rows_per_part - self._waiting_rows)
                self._waiting.append(piece.slice(start, take))
                self._waiting_rows += take
                start += take
                if self._waiting_rows == self.rows_per_part:
                    self._flush()

    def finish(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write what waits, then the manifest with ``parts`` and ``rows`` added; returns it."""
        if self._waiting_rows or not self.parts:
            self._flush()
        whole = {**manifest, "rows": sum(part["rows"] for part in self.parts), "parts": self.parts}
        write_json_atomic(self.folder / MANIFEST, whole)
        return whole

    def _flush(self) -> None:
        path = self.folder / f"part-{len(self.parts):05d}.parquet"
        table = pa.Table.from_batches([batch.cast(self.schema) for batch in self._waiting], schema=self.schema)
        write_parquet_atomic(path, table)
        self.parts.append({"file": path.name, "rows": table.num_rows, "sha256": file_digest(path)})
        self._waiting, self._waiting_rows = [], 0


def write_run(
    folder: str | Path,
    batches: Iterable[pa.RecordBatch | pa.Table],
    schema: pa.Schema,
    manifest: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    *,
    rows_per_part: int = ROWS_PER_PART,
    pointer: str | Path | None = None,
) -> dict[str, Any]:
    """Write a run: parts, then the manifest, then the pointer that makes it the current one.

    Parameters
    ----------
    manifest
        What the manifest says beside ``rows`` and ``parts``; a function is called after the last batch, for totals
        that are known only then.
    pointer
        File to name this folder in (``decisions/CURRENT``); None writes none.

    Returns
    -------
    dict
        The manifest as written.
    """
    writer = RunWriter(Path(folder), schema, rows_per_part)
    for batch in batches:
        writer.write(batch)
    whole = writer.finish(manifest() if callable(manifest) else manifest)
    if pointer is not None:
        write_pointer(pointer, Path(folder).name)
    return whole


def read_manifest(folder: str | Path, *, verify: bool = False) -> dict[str, Any]:
    """The manifest of a finished run.

    Parameters
    ----------
    verify
        Compare every part with its digest.

    Raises
    ------
    InputError
        If the run did not finish, or a part is absent or not the one that was written.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: no {MANIFEST}, so there is no finished run here") from None
    except ValueError as error:
        raise InputError(f"{path}: not a manifest: {error}") from None
    for part in manifest.get("parts", ()) if verify else ():
        file = Path(folder) / part["file"]
        if not file.is_file():
            raise InputError(f"{file}: this part of the run is absent")
        if file_digest(file) != part["sha256"]:
            raise InputError(f"{file}: this part is not the one that the run wrote; its digest differs")
    return manifest


def _batches(data: pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if isinstance(data, pa.Table):
        return iter(data.combine_chunks().to_batches())
    return iter(data)


def _schema_of(data: Any, first: pa.RecordBatch | None) -> pa.Schema:
    if isinstance(data, pa.Table | pa.RecordBatchReader):
        return data.schema
    if first is None:
        raise ValueError("no batches and no schema: give the schema of the empty file")
    return first.schema


def _not_a_formula(cell: Any) -> Any:
    return "'" + cell if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def _plain(value: Any) -> Any:
    """Numpy scalars, paths, times and sets as JSON values."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")
