"""CSV as text cells: encodings decided over the whole file, malformed rows kept aside, nothing guessed or dropped."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

ENCODINGS = ("utf-8", "gb18030")
_BLOCK = 1 << 24
_HEAD = 1 << 18
_DELIMITERS = (",", "\t", ";", "|")


class UnreadableError(ValueError):
    """A file that cannot be read as what its name says; the message says why and what to do."""


@dataclass
class MalformedRow:
    """A record whose cells do not fit the header: its number, the header's line being 0, and its text."""

    number: int
    text: str


@dataclass
class CsvText:
    """A CSV file of text cells.

    Attributes
    ----------
    encoding
        ``utf-8`` (with or without byte order mark), ``gb18030`` or ``utf-16``.
    delimiter
        Comma, tab, semicolon or bar.
    header
        Column names, spaces around them removed.
    malformed
        Filled while :meth:`batches` runs.
    """

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    malformed: list[MalformedRow] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, known: tuple[str, ...] = ()) -> CsvText:
        """Decide encoding and delimiter, and read the header.

        Parameters
        ----------
        known
            Column names that help to tell the delimiter.

        Raises
        ------
        UnreadableError
            If the file is empty or is not text in a known encoding.
        """
        encoding = detect_encoding(path)
        with path.open("rb") as handle:
            head = codecs.getincrementaldecoder(encoding)(errors="strict").decode(handle.read(_HEAD))
        head = head.removeprefix("\ufeff").lstrip("\r\n")
        first = head.splitlines()[0] if head else ""
        if not first.strip():
            raise UnreadableError("the file has no header line; the first line must name the columns")
        delimiter = _sniff(first, known)
        header = tuple(name.strip() for name in next(csv.reader([first], delimiter=delimiter)))
        return cls(path, encoding, delimiter, header)

    def batches(self) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Row numbers, from 1, and text cells; an empty cell is null.

        Raises
        ------
        UnreadableError
            If the file cannot be cut into records.
        """
        names = [f"f{i}" for i in range(len(self.header))]
        skipped: list[int] = []

        def keep_aside(row: pyarrow.csv.InvalidRow) -> str:
            self.malformed.append(MalformedRow(row.number - 1, row.text))
            skipped.append(row.number - 1)
            return "skip"

        source = pa.input_stream(str(self.path), compression=None)
        if self.encoding != "utf-8":
            source = pa.transcoding_input_stream(source, self.encoding, "utf-8")
        try:
            reader = pyarrow.csv.open_csv(
                source,
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK, autogenerate_column_names=True
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=keep_aside
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    check_utf8=False,
                ),
            )
            at = 0
            for batch in reader:
                numbers = _numbers(at, batch.num_rows, skipped)
                if not len(numbers):
                    continue
                at = int(numbers[-1]) + 1
                if numbers[0] == 0:  # the header
                    numbers, batch = numbers[1:], batch.slice(1)
                yield self._without_swallowed(numbers, batch)
        except pa.ArrowInvalid as error:
            raise UnreadableError(f"the file cannot be cut into rows: {error}") from None
        finally:
            source.close()

    def _without_swallowed(self, numbers: np.ndarray, batch: pa.RecordBatch) -> tuple[np.ndarray, pa.RecordBatch]:
        """Keep aside rows in which an unclosed quote has swallowed the rows after it."""
        bad = np.zeros(batch.num_rows, dtype=bool)
        for column in batch.columns:
            lines = np.asarray(pc.fill_null(pc.match_substring(column, "\n"), False))
            for index in np.flatnonzero(lines):
                inner = column[int(index)].as_py().split("\n")[1:]
                bad[index] |= len(self.header) > 2 and any(
                    line.count(self.delimiter) >= len(self.header) - 1 for line in inner
                )
        for index in np.flatnonzero(bad):
            cells = [column[int(index)].as_py() or "" for column in batch.columns]
            self.malformed.append(MalformedRow(int(numbers[index]), self.delimiter.join(cells)))
        return (numbers[~bad], batch.filter(pa.array(~bad))) if bad.any() else (numbers, batch)


def detect_encoding(path: Path) -> str:
    """The first of the known encodings in which the whole file decodes.

    Raises
    ------
    UnreadableError
        If the file is empty, is not text, or is in none of them.
    """
    with path.open("rb") as handle:
        start = handle.read(8)
    if not start:
        raise UnreadableError("the file is empty (0 bytes)")
    for magic, what in (
        (b"PAR1", "a Parquet file"),
        (b"PK\x03\x04", "an Excel workbook"),
        (b"\xd0\xcf\x11\xe0", "XLS"),
    ):
        if start.startswith(magic):
            raise UnreadableError(f"the file is {what}, not CSV; export it as CSV or name it for what it is")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings: tuple[str, ...] = ("utf-16",)
    else:
        encodings = ENCODINGS
    for encoding in encodings:
        try:
            _decode(path, encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    raise UnreadableError("the file is neither UTF-8 nor GB18030 text; export it as CSV UTF-8")


def _decode(path: Path, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            if encoding != "utf-16" and b"\0" in block:
                raise UnreadableError("the file holds zero bytes, so it is not text; export it as CSV UTF-8")
            decoder.decode(block)
    decoder.decode(b"", final=True)


def _sniff(first: str, known: tuple[str, ...]) -> str:
    def score(delimiter: str) -> tuple[int, int]:
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
        return sum(name in known for name in names), len(names)

    return max(_DELIMITERS, key=score)  # the first of equals, so a comma where nothing speaks


def _numbers(start: int, count: int, skipped: list[int]) -> np.ndarray:
    """Numbers of the next ``count`` good records from ``start`` on."""
    gaps = np.array([number for number in skipped if number >= start], dtype=np.int64)
    return np.setdiff1d(np.arange(start, start + count + len(gaps), dtype=np.int64), gaps)[:count]
