"""``uplift check``."""

from __future__ import annotations

import sys

import click

from uplift.cli._base import common_options, show


@click.command()
@common_options
def check(workspace_dir: str, as_json: bool) -> None:
    """Hold the tables to the contract; report and quarantine.

    Lists everything that is wrong at once. Rows that break the contract go to quarantine/ with their reasons, tables
    that break it are refused. Exit status: 0 all is well, 2 something is wrong.
    """
    from uplift.pipelines.check import check_workspace, exit_code

    report = check_workspace(workspace_dir)
    show(report.to_dict(), report.to_text(), as_json=as_json)
    if code := exit_code(report):
        sys.exit(code)
