"""Fixtures that every room may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from proof_table import proof, pytest_addoption, pytest_collection_modifyitems, pytest_configure

__all__ = ["proof", "pytest_addoption", "pytest_collection_modifyitems", "pytest_configure"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public data; tests that need it skip, saying why, where it is absent."""
    folder = Path(os.environ.get("UPLIFT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"public data not found at {folder}: set UPLIFT_DATA to the folder that holds it")
    return folder


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In strict mode (UPLIFT_STRICT=1, as in CI) a test that skips has failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's result object
    if os.environ.get("UPLIFT_STRICT") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not skip here: {reason}"
