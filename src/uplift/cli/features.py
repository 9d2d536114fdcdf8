"""``uplift features``: the features of every member as of a date."""

from __future__ import annotations

from pathlib import Path

import click

from uplift.cli._base import common_options, progress, show


@click.command()
@click.option("--as-of", metavar="DATE", help="Its midnight; default: the day after the latest recorded event.")
@click.option("--feature", "names", multiple=True, metavar="NAME", help="Only these (default: the whole catalogue).")
@click.option("--out", type=click.Path(), metavar="FILE", help="Default: features/as_of=DATE.parquet.")
@common_options
def features(as_of: str | None, names: tuple[str, ...], out: str | None, workspace_dir: str, as_json: bool) -> None:
    """Compute the features of every member registered before DATE."""
    from uplift.config import Workspace
    from uplift.pipelines.features import compute_features

    done = compute_features(
        Workspace.open(workspace_dir), as_of, out=Path(out) if out else None, names=names or None, progress=progress
    )
    text = f"{done.members:,} members × {done.features} features → {done.out}"
    if done.left_out:
        text += f"\nleft out, too many attributes: {', '.join(done.left_out)}"
    show(done.to_dicts()[0], text, as_json=as_json)
