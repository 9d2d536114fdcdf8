"""``uplift demo``: the main job, end to end."""

from __future__ import annotations

from pathlib import Path

import click

from uplift.cli._base import common_options, progress, show


@click.command()
@click.option("--out", type=click.Path(), default="demo", show_default=True, help="The workspace to make.")
@click.option("--members", type=click.IntRange(1000), default=8000, show_default=True, help="Members to simulate.")
@click.option("--seed", type=int, default=0, show_default=True)
@common_options
def demo(out: str, members: int, seed: int, workspace_dir: str, as_json: bool) -> None:
    """The main job on a simulated chain, end to end; prints where to look.

    Model specifications come from models/ of the current folder (-C) where there are some. A second run with the same
    options finds everything done.
    """
    from uplift.pipelines.demo import demo as run

    done = run(Path(out), members=members, seed=seed, models=Path(workspace_dir) / "models", progress=progress)
    show(done.to_dicts()[0], done.text(), as_json=as_json)
