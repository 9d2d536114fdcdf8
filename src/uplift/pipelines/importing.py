"""Public data into a workspace: tables, definitions, settings, and a record of where they came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from uplift import __version__
from uplift.config import dump_yaml
from uplift.config.workspace import FILE_NAME
from uplift.data.adapters import ADAPTERS, Imported
from uplift.data.fingerprint import fingerprint
from uplift.data.writers import file_digest, write_json_atomic, write_parquet_atomic, write_text_atomic
from uplift.errors import InputError, unknown_name
from uplift.results import Rendered

RECORD = "import.json"
_FORMAT = 1


@dataclass(frozen=True)
class ImportResult(Rendered):
    """What an import did.

    Attributes
    ----------
    name, folder
        Of the adapter and of the workspace.
    status
        ``imported`` (files were written) or ``unchanged`` (everything was there already).
    tables, extras
        Rows by table, and by file kept beside the tables.
    experiments
        Ids with a definition.
    notes
        What was mapped how, what was inferred, what is missing.
    kept
        Settings and definitions that somebody changed since an earlier import, and that were left as they are.
    """

    name: str
    folder: Path
    status: Literal["imported", "unchanged"]
    tables: dict[str, int]
    extras: dict[str, int]
    experiments: tuple[str, ...]
    notes: tuple[str, ...]
    kept: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.to_dicts()[0], "folder": str(self.folder)}

    def to_text(self) -> str:
        """For a person at the prompt."""
        done = "imported into" if self.status == "imported" else "unchanged, already in"
        lines = [f"{self.name}: {done} {self.folder}", ""]
        lines += [f"  {name:<28}{rows:>12,} rows" for name, rows in {**self.tables, **self.extras}.items()]
        if self.experiments:
            lines += ["", "Experiments: " + ", ".join(self.experiments)]
        lines += ["", "Notes (also in import.json):", *(f"  · {note}" for note in self.notes)]
        lines += [f"  · {name} was changed since it was imported, and is left as it is." for name in self.kept]
        return "\n".join([*lines, "", f"Next: uplift check -C {self.folder}"])


def import_data(
    name: str, source: str | Path, out: str | Path, progress: Callable[[str], None] | None = None
) -> ImportResult:
    """Bring a public data set into a new workspace.

    Repeating it is harmless: files that are right stay untouched, missing or damaged ones are written again, and
    settings or definitions that were edited since are kept. ``uplift.yaml`` is written after the tables, so an import
    that was cut off has left no workspace that opens, and can be repeated.

    Parameters
    ----------
    name
        Key of :data:`uplift.data.adapters.ADAPTERS`.
    source
        The file or folder that the adapter expects.
    out
        The workspace: a new or empty folder, or one that this import made before.
    progress
        Called with a line about long work; None for silence.

    Raises
    ------
    InputError
        If the name is unknown, the source is absent or another data set, or ``out`` holds anything else.
    """
    adapter = ADAPTERS.get(name)
    if adapter is None:
        raise unknown_name("data set", name, ADAPTERS)
    folder = Path(out)
    earlier = _Earlier.read(folder, name)
    tell = progress or (lambda _: None)
    tell(f"reading {adapter.title}")
    imported = adapter.convert(Path(source))
    sources = {key: {"sha256": file_digest(path)} for key, path in sorted(imported.sources.items())}
    earlier.hold_to(sources, folder)
    tell(f"filling {folder}")
    writer = _Writer(folder, earlier)
    record = {"adapter": name, "title": adapter.title, "format": _FORMAT, "version": __version__, "sources": sources}
    if not earlier.complete:
        write_json_atomic(folder / RECORD, {**record, "status": "writing", "files": earlier.files})
    for table, rows in imported.tables.items():
        writer.table(f"{imported.config.data}{table}.parquet", rows)
    for file, rows in imported.extras.items():
        writer.table(file, rows)
    for spec in imported.experiments:
        writer.text(f"experiments/{spec.id}.yaml", dump_yaml(spec))
    for model, wanted in imported.models.items():
        writer.text(f"models/{model}.yaml", dump_yaml(wanted))
    writer.text(FILE_NAME, dump_yaml(imported.config))
    writer.clear()
    result = _result(name, folder, imported, writer)
    write_record = {**record, "status": "complete", "tables": result.tables, "extras": result.extras}
    write_record |= {"experiments": list(result.experiments), "notes": list(result.notes), "files": writer.files}
    if write_record != earlier.record:
        write_json_atomic(folder / RECORD, write_record)
    return result


def _result(name: str, folder: Path, imported: Imported, writer: _Writer) -> ImportResult:
    return ImportResult(
        name=name,
        folder=folder,
        status="imported" if writer.written else "unchanged",
        tables={key: rows.num_rows for key, rows in imported.tables.items()},
        extras={key: rows.num_rows for key, rows in imported.extras.items()},
        experiments=tuple(spec.id for spec in imported.experiments),
        notes=imported.notes,
        kept=tuple(writer.kept),
    )


@dataclass(frozen=True)
class _Earlier:
    """The record of an earlier import into the same folder; empty where there was none."""

    record: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        return self.record.get("status") == "complete"

    @property
    def files(self) -> dict[str, dict[str, str]]:
        return dict(self.record.get("files", {}))

    @classmethod
    def read(cls, folder: Path, name: str) -> _Earlier:
        """Refuses a folder that holds anything but an import of the same data set."""
        if folder.is_file():
            raise InputError(f"--out {folder}: is a file; give a new folder")
        path = folder / RECORD
        if not path.exists():
            others = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
            others = [other for other in others if not (other.startswith(f".{RECORD}.") and other.endswith(".tmp"))]
            if others:
                shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
                raise InputError(f"--out {folder}: already holds other files ({shown}); give a new or an empty folder")
            return cls({})
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as the record of an import: {error}; give a new folder") from None
        if not isinstance(record, dict) or record.get("adapter") != name:
            found = record.get("adapter") if isinstance(record, dict) else None
            raise InputError(f"--out {folder}: holds an import of {found!r}, not of {name!r}; give a new folder")
        return cls(record)

    def hold_to(self, sources: Mapping[str, Any], folder: Path) -> None:
        """Refuses to mix two sources in one workspace."""
        if self.record and self.record.get("sources") != sources:
            changed = sorted(k for k, v in sources.items() if self.record.get("sources", {}).get(k) != v)
            gone = sorted(set(self.record.get("sources", {})) - set(sources))
            raise InputError(
                f"--out {folder}: was imported from other content of {', '.join(changed + gone)} (digests in {RECORD} "
                "differ); give a new folder, or remove this one first"
            )


@dataclass
class _Writer:
    """Writes what is not there yet, as it should be."""

    folder: Path
    earlier: _Earlier
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    written: int = 0
    kept: list[str] = field(default_factory=list)

    def table(self, name: str, rows: pa.Table) -> None:
        content = fingerprint(rows)
        path = self.folder / name
        before = self.earlier.files.get(name, {})
        if before.get("content") == content and path.is_file() and file_digest(path) == before.get("sha256"):
            self.files[name] = before
            return
        write_parquet_atomic(path, rows)
        self.files[name] = {"sha256": file_digest(path), "content": content}
        self.written += 1

    def text(self, name: str, text: str) -> None:
        digest = hashlib.sha256(text.encode()).hexdigest()
        path = self.folder / name
        found = file_digest(path) if path.is_file() else None
        before = self.earlier.files.get(name, {}).get("sha256")
        self.files[name] = {"sha256": digest}
        if found == digest:
            return
        if found is not None and found != before:
            self.kept.append(name)
            return
        write_text_atomic(path, text)
        self.written += 1

    def clear(self) -> None:
        """Remove what an earlier version of the adapter wrote and this one does not, unless it was edited."""
        for name, before in self.earlier.files.items():
            path = self.folder / name
            if name not in self.files and path.is_file() and file_digest(path) == before.get("sha256"):
                path.unlink()
                self.written += 1
