"""``uplift segments``: value × lifecycle segments, their moves, RFM groups and tags."""

from __future__ import annotations

from pathlib import Path

import click

from uplift.cli._base import common_options, progress, show


@click.command()
@click.option("--as-of", metavar="DATE", help="Its midnight; default: the day after the latest recorded event.")
@click.option("--since", metavar="DATE", help="Where moves start (default: one month before).")
@click.option("--out", type=click.Path(), metavar="FILE", help="Default: segments/as_of=DATE.parquet.")
@common_options
def segments(as_of: str | None, since: str | None, out: str | None, workspace_dir: str, as_json: bool) -> None:
    """Put every member in exactly one segment, and show who moved since a month before."""
    from uplift.config import Workspace
    from uplift.pipelines.segments import segment_members, summary_text

    workspace = Workspace.open(workspace_dir)
    done = segment_members(workspace, as_of, since=since, out=Path(out) if out else None, progress=progress)
    show(done.to_dict(), f"{summary_text(done)}\n\n→ {done.out}", as_json=as_json)
