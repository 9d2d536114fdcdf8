"""The table of proofs: tests record what they found, and ``pytest --proofs`` writes it to ``docs/proofs.md``.

What was found travels in the reports' ``user_properties``, so it comes from xdist's workers too. Rows of tests that did
not run are kept from ``docs/proofs.json``, the source of the page; a run of everything starts from nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from proof_rows import PARTS, ROWS

ROOT = Path(__file__).resolve().parents[2]
PAGE, SOURCE = ROOT / "docs" / "proofs.md", ROOT / "docs" / "proofs.json"
INTRODUCTION = """# Proofs

Every method is held to a truth that is known: by simulation, by a worked example, or by a law that it must obey. Beside
what must hold stand planted defects: the same check on a method that is wrong in a known way, which it must refuse. The
page is written by `make proofs` from what the tests found (`docs/proofs.json` is the same for machines); a
95 % coverage over 2,000 repeats is itself uncertain by 0.5 points.
"""

Found = Mapping[str, Any]
Record = Callable[..., bool]


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Record:
    """Record a row of the table of proofs; returns whether it holds, so that it can be asserted.

    ``proof(row, quantity, method=…, target=…, figure=…, holds=…, planted=False)`` with ``row`` an id of
    :data:`proof_rows.ROWS`. Record before asserting. ``planted`` marks a defect that the check must refuse; ``holds``
    is then whether it was refused.
    """

    def record(
        row: str, quantity: str, *, method: str, target: str, figure: str, holds: bool, planted: bool = False
    ) -> bool:
        if row not in ROWS:
            raise ValueError(f"{row!r} is not an id of tests/support/proof_rows.py")
        found = {"row": row, "quantity": quantity, "method": method, "target": target, "figure": figure}
        found |= {"holds": bool(holds), "planted": planted}
        request.node.user_properties.append(("proof", found))
        return bool(holds)

    return record


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that asks for the proofs."""
    text = "run the long versions of the proofs and all tests that record one, and write docs/proofs.md"
    parser.addoption("--proofs", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that collects the reports writes the table."""
    if config.getoption("--proofs") and not hasattr(config, "workerinput"):
        part = config.args_source is pytest.Config.ArgsSource.ARGS or config.option.keyword or config.option.markexpr
        config.pluginmanager.register(ProofTable(keep=bool(part)), "proof-table")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--proofs``: the long version where a test has one, and whatever else records."""
    if not config.getoption("--proofs"):
        return
    long = {_function(item.nodeid) for item in items if item.get_closest_marker("proof")}

    def wanted(item: pytest.Item) -> bool:
        if _function(item.nodeid) in long:
            return item.get_closest_marker("proof") is not None
        return "proof" in getattr(item, "fixturenames", ())

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


class ProofTable:
    """Gathers what tests found, and writes it."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._ran: set[str] = set()
        self._found: list[Found] = []
        self._rows: list[Found] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What one test found; a test that failed proves nothing."""
        if report.when != "call" and not report.failed:
            return
        self._ran.add(report.nodeid)
        for name, value in report.user_properties:
            if name == "proof" and isinstance(value, dict):
                self._found.append({**value, "holds": value["holds"] and not report.failed, "test": report.nodeid})

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the page and its source; a run that was broken off replaces only what it ran."""
        if self._ran:
            old = load() if self._keep or exitstatus > pytest.ExitCode.TESTS_FAILED else []
            self._rows = ordered([row for row in old if row["test"] not in self._ran] + self._found)
            SOURCE.write_text(json.dumps(self._rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            PAGE.write_text(render(self._rows), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table, and where it is."""
        terminalreporter.section("proofs")
        terminalreporter.write_line(render(self._rows))
        broken = sum(not row["holds"] for row in self._rows)
        terminalreporter.write_line(f"{len(self._rows)} rows, {broken} do not hold: {PAGE.relative_to(ROOT)}")


def load() -> list[Found]:
    """The rows kept from earlier runs."""
    return json.loads(SOURCE.read_text(encoding="utf-8")) if SOURCE.exists() else []


def ordered(rows: Iterable[Found]) -> list[Found]:
    """In the order of the ids, then of the tests; within a test as recorded."""
    place = {row: i for i, row in enumerate(ROWS)}
    return sorted((row for row in rows if row["row"] in place), key=lambda row: (place[row["row"]], row["test"]))


def render(rows: Iterable[Found]) -> str:
    """The page."""
    lines = [INTRODUCTION]
    rows = list(rows)
    for part, inside in groupby(rows, key=lambda row: row["row"].partition("/")[0]):
        lines += [
            f"## {PARTS[part]}",
            "",
            "| what | number | method | must be | found | |",
            "|---|---|---|---|---|---|",
        ]
        said = ""
        for row in _alike(inside):
            claim = ROWS[row["row"]]
            verdict = ("refused" if row["planted"] else "holds") if row["holds"] else "**DOES NOT HOLD**"
            method = f"*planted defect:* {row['method']}" if row["planted"] else row["method"]
            cells = ("" if claim == said else claim, row["quantity"], method, row["target"], row["figure"], verdict)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            said = claim
        lines.append("")
    missing = [claim for row, claim in ROWS.items() if row not in {found["row"] for found in rows}]
    if missing:
        lines += ["## Not yet proved", "", *(f"- {claim}" for claim in missing), ""]
    return "\n".join(lines)


def _alike(rows: Iterable[Found]) -> Iterator[Found]:
    """Neighbours that differ in their method only are one row of the page."""
    for _, group in groupby(rows, key=lambda row: [row[name] for name in row if name not in ("method", "test")]):
        same = list(group)
        yield {**same[0], "method": ", ".join(dict.fromkeys(row["method"] for row in same))}


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]
