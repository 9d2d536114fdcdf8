"""The contract held: everything wrong at once, bad rows kept aside, and a record that later runs reuse."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from uplift.config import Workspace
from uplift.data._checker import ORDER, Checker, Outcome
from uplift.data._lock import file_lock
from uplift.data.contract import TABLES
from uplift.data.engine import connect, harden
from uplift.data.readers import Source, attach, find_sources
from uplift.data.writers import file_digest, write_json_atomic
from uplift.errors import InputError, Problem, UpliftError
from uplift.results import Rendered

RECORD = "check.json"
VERSION = 1
QUARANTINE_LIMIT = 0.05


@dataclass(frozen=True)
class TableCheck(Rendered):
    """One table after the check.

    Attributes
    ----------
    table
        Its name.
    source
        ``parquet``, ``csv`` or ``duckdb``.
    rows, kept, quarantined
        Records in the source; ``rows == kept + quarantined``.
    mapped
        Rows whose member was found through ``identities``.
    refused
        Whether the table as a whole cannot be used; its rows were then not all looked at.
    reasons
        Rows by reason code; a row may have several.
    clean
        Name of the clean copy; None where the source is viewed as it is.
    given
        DuckDB types of the contract's columns that the source has.
    files
        The source's parts: ``path`` relative to the workspace, ``size`` in bytes, ``mtime_ns``, ``sha256``.
    """

    table: str
    source: str
    rows: int
    kept: int
    quarantined: int
    mapped: int = 0
    refused: bool = False
    reasons: Mapping[str, int] = field(default_factory=dict)
    clean: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class CheckReport(Rendered):
    """The result of :func:`check`.

    Attributes
    ----------
    tables
        By name, those that were found, in the contract's order.
    problems
        Everything that is wrong, what refuses a table first.
    checked_at
        When.
    timezone
        Zone in which times without one were read.
    contract
        Digest of the contract that was held.
    """

    tables: Mapping[str, TableCheck]
    problems: tuple[Problem, ...]
    checked_at: datetime
    timezone: str
    contract: str

    @property
    def refused(self) -> bool:
        """Whether any table is refused."""
        return any(problem.fatal for problem in self.problems)

    @property
    def quarantined(self) -> int:
        """Rows kept aside, over all tables."""
        return sum(table.quarantined for table in self.tables.values())

    @property
    def passed(self) -> bool:
        """Whether every row of every table is good."""
        return not self.refused and not self.quarantined

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a table: rows, kept, quarantined, mapped, reasons."""
        names = ("table", "source", "rows", "kept", "quarantined", "mapped", "refused", "reasons")
        return [{name: getattr(table, name) for name in names} for table in self.tables.values()]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and the record; :meth:`from_dict` reads them back."""
        return {
            "version": VERSION,
            "contract": self.contract,
            "timezone": self.timezone,
            "checked_at": self.checked_at.isoformat(),
            "refused": self.refused,
            "passed": self.passed,
            "rows": sum(table.rows for table in self.tables.values()),
            "quarantined": self.quarantined,
            "tables": {name: dataclasses.asdict(table) for name, table in self.tables.items()},
            "problems": [problem.to_dict() for problem in self.problems],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CheckReport:
        """The report that :meth:`to_dict` gave."""
        return cls(
            {name: TableCheck(**table) for name, table in values["tables"].items()},
            tuple(Problem(**{**p, "examples": tuple(p["examples"])}) for p in values["problems"]),
            datetime.fromisoformat(values["checked_at"]),
            values["timezone"],
            values["contract"],
        )

    def to_text(self) -> str:
        """The report for the person at the prompt."""
        lines = [f"{'table':<12} {'rows':>12} {'kept':>12} {'quarantined':>12}"]
        for table in self.tables.values():
            kept = "refused" if table.refused else f"{table.kept:,}"
            mapped = f"   {table.mapped:,} through identities" if table.mapped else ""
            lines.append(f"{table.table:<12} {table.rows:>12,} {kept:>12} {table.quarantined:>12,}{mapped}")
        if self.problems:
            lines += ["", f"{len(self.problems)} problem(s):", *(f"  {_mark(p)} {p}" for p in self.problems)]
        if self.refused:
            lines += ["", "Refused: correct what is marked ✗ and check again."]
        elif self.quarantined:
            lines += [
                "",
                f"{self.quarantined:,} row(s) are kept aside in quarantine/, with their reasons; the rest is used.",
            ]
        else:
            lines += ["", "Every row keeps the contract."]
        return "\n".join(lines)


def check(workspace: Workspace, *, now: datetime | None = None, threads: int | None = None) -> CheckReport:
    """Hold every table of a workspace to the contract.

    Rows that break it are written with their reasons to ``quarantine/<table>.parquet``; tables that need one get a
    clean copy under ``.uplift/checked``; the record of it all is ``.uplift/checked/check.json``, written last.

    Parameters
    ----------
    now
        The present instant, with a zone; times after the next day are in the future. None asks the clock.
    threads
        At most so many.

    Raises
    ------
    InputError
        If there is no data at all, or it changes while it is read. A table that is refused does not raise; see
        :attr:`CheckReport.refused`.
    """
    with _locked(workspace):
        return _check(workspace, now or datetime.now(UTC), threads)


def current_check(workspace: Workspace, *, threads: int | None = None) -> CheckReport:
    """The record of the last check where nothing has changed since and nothing was refused, else a new check."""
    with _locked(workspace):
        recorded = _fresh_record(workspace)
        return recorded if recorded is not None else _check(workspace, datetime.now(UTC), threads)


def contract_digest() -> str:
    """A digest of the contract and of the check's version."""
    return hashlib.sha256(f"{VERSION} {sorted(TABLES.items())!r}".encode()).hexdigest()


def _locked(workspace: Workspace) -> Any:
    folder = workspace.root / ".uplift"
    if not os.access(folder if folder.exists() else workspace.root, os.W_OK):
        raise InputError(f"{workspace.root.name}: the workspace cannot be written to; checking writes to .uplift/")
    return file_lock(folder / "check.lock")


def _check(workspace: Workspace, now: datetime, threads: int | None) -> CheckReport:
    data = workspace.data.resolve()
    sources, problems = find_sources(data, shown_as=workspace.config.data)
    broken = {problem.table for problem in problems if problem.fatal}
    if "members" not in sources and "members" not in broken:
        what = "this table is required and was not found"
        remedy = f"add members.parquet or members.csv to {workspace.config.data}"
        problems.append(Problem("members", None, "missing_table", what, remedy=remedy))
    stamps = {name: _stamps(workspace, source) for name, source in sources.items()}
    stamp_digest = hashlib.sha256(json.dumps([contract_digest(), workspace.config.timezone, stamps]).encode())
    spill = workspace.root / ".uplift" / "tmp" / f"check-{os.getpid()}"
    outcomes: dict[str, Outcome] = {}
    connection = connect(workspace.config.timezone, threads=threads, temporary=spill)
    try:
        if any(source.kind == "duckdb" for source in sources.values()):
            attach(connection, data)
        harden(connection, [workspace.root, _folder_of(data)])
        checker = Checker(connection, workspace.quarantine, now)
        for name in sorted(set(sources) - broken, key=_in_order):
            outcomes[name] = checker.check(sources[name], _clean_path(workspace, name, stamp_digest.hexdigest()))
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)
    for name, source in sources.items():
        if _stat(source) != [(file["size"], file["mtime_ns"]) for file in stamps[name]]:
            raise InputError(f"{name}: the file changed while it was being read; check again when it is written")
    tables = {
        name: _table_check(outcome, stamps[name], _clean_path(workspace, name, stamp_digest.hexdigest()))
        for name, outcome in sorted(outcomes.items(), key=lambda item: list(TABLES).index(item[0]))
    }
    problems += [problem for name in tables for problem in outcomes[name].problems]
    problems += [problem for table in tables.values() for problem in _many(table)]
    problems.sort(key=lambda problem: (not problem.fatal, problem.code != "many_quarantined"))
    report = CheckReport(tables, tuple(problems), now, workspace.config.timezone, contract_digest())
    _verify(workspace, report)
    _keep(workspace, report)
    return report


def _table_check(outcome: Outcome, files: Sequence[Mapping[str, Any]], clean: Path) -> TableCheck:
    copied = not outcome.refused and not outcome.in_place
    return TableCheck(
        outcome.source.table,
        outcome.source.kind,
        outcome.rows,
        outcome.kept,
        outcome.quarantined,
        outcome.mapped,
        outcome.refused,
        outcome.reasons,
        clean.name if copied else None,
        outcome.given,
        files,
    )


def _many(table: TableCheck) -> list[Problem]:
    share = table.quarantined / max(table.rows, 1)
    if table.refused or share <= QUARANTINE_LIMIT:
        return []
    what = f"{share:.1%} of the rows are in quarantine, more than {QUARANTINE_LIMIT:.0%}: what is left may mislead"
    remedy = f"read quarantine/{table.table}.parquet before using any result"
    return [Problem(table.table, None, "many_quarantined", what, table.quarantined, remedy=remedy, fatal=False)]


def _verify(workspace: Workspace, report: CheckReport) -> None:
    """No row is lost: what went in is what is kept and what is in quarantine, counted from the files."""
    for table in report.tables.values():
        if table.refused:
            continue
        kept = table.kept if table.clean is None else pq.read_metadata(workspace.checked / table.clean).num_rows
        aside = workspace.quarantine / f"{table.table}.parquet"
        quarantined = pq.read_metadata(aside).num_rows if table.quarantined else 0
        if table.rows != kept + quarantined:
            raise UpliftError(f"{table.table}: {table.rows} rows went in, {kept} + {quarantined} came out")


def _keep(workspace: Workspace, report: CheckReport) -> None:
    """Write the record, then remove what neither it nor the one before it names."""
    needed = {table.clean for table in report.tables.values()}
    before = _record(workspace)
    if before is not None:
        needed |= {table.clean for table in before.tables.values()}
    write_json_atomic(workspace.checked / RECORD, report.to_dict())
    for path in workspace.checked.glob("*.parquet"):
        if path.name not in needed:
            path.unlink(missing_ok=True)
    for name in TABLES:
        if name not in report.tables or not report.tables[name].quarantined:
            (workspace.quarantine / f"{name}.parquet").unlink(missing_ok=True)


def _record(workspace: Workspace) -> CheckReport | None:
    try:
        return CheckReport.from_dict(json.loads((workspace.checked / RECORD).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _fresh_record(workspace: Workspace) -> CheckReport | None:
    report = _record(workspace)
    if report is None or report.contract != contract_digest() or report.timezone != workspace.config.timezone:
        return None
    if report.refused:  # what was in the way may be gone without a file having changed
        return None
    sources, problems = find_sources(workspace.data.resolve(), shown_as=workspace.config.data)
    if any(problem.fatal for problem in problems) or set(sources) != set(report.tables):
        return None
    for name, source in sources.items():
        table = report.tables[name]
        paths = [_relative(workspace, path) for path in source.files]
        if paths != [file["path"] for file in table.files]:
            return None
        if _stat(source) != [(file["size"], file["mtime_ns"]) for file in table.files]:
            return None
        if table.clean is not None and not (workspace.checked / table.clean).is_file():
            return None
    waited = datetime.now(UTC) - report.checked_at > timedelta(days=1)
    if waited and any("time_in_future" in table.reasons for table in report.tables.values()):
        return None  # what was the future may have come
    return report


def _stamps(workspace: Workspace, source: Source) -> list[dict[str, Any]]:
    return [
        {"path": _relative(workspace, path), "size": size, "mtime_ns": mtime, "sha256": file_digest(path)}
        for path, (size, mtime) in zip(source.files, _stat(source), strict=True)
    ]


def _stat(source: Source) -> list[tuple[int, int]]:
    try:
        return [(stat.st_size, stat.st_mtime_ns) for stat in (path.stat() for path in source.files)]
    except FileNotFoundError:
        return []


def _relative(workspace: Workspace, path: Path) -> str:
    return Path(os.path.relpath(path, workspace.root)).as_posix()


def _clean_path(workspace: Workspace, table: str, digest: str) -> Path:
    return workspace.checked / f"{table}-{digest[:16]}.parquet"


def _folder_of(data: Path) -> Path:
    return data.parent if data.is_file() else data


def _in_order(table: str) -> tuple[int, str]:
    return (ORDER.index(table) if table in ORDER else len(ORDER), table)


def _mark(problem: Problem) -> str:
    return "✗" if problem.fatal else "·"
