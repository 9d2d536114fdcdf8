"""Hold a workspace's tables to the contract."""

from __future__ import annotations

from pathlib import Path

from uplift.config import Workspace
from uplift.data import CheckReport, check
from uplift.errors import InputError


def check_workspace(folder: str | Path) -> CheckReport:
    """Check every table of the workspace in ``folder``, whether or not anything has changed since the last check.

    Raises
    ------
    ConfigError
        If there is no workspace.
    InputError
        If there is no data.
    """
    return check(Workspace.open(folder))


def exit_code(report: CheckReport) -> int:
    """Exit status of ``uplift check``: 2 if a table is refused, 3 if only rows are in quarantine, else 0."""
    return 0 if report.passed else InputError.exit_code
