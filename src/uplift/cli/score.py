"""``uplift score``: effects for a flat table."""

from __future__ import annotations

from pathlib import Path

import click

from uplift.cli._base import common_options, show


@click.command()
@click.option("--model", required=True, type=click.Path(), help="Folder that `uplift train` wrote, e.g. OUT/model.")
@click.option("--data", required=True, type=click.Path(), help="Flat table, CSV or Parquet.")
@click.option("--out", required=True, type=click.Path(), help="Parquet or CSV file to write.")
@click.option("--keep", "keep", multiple=True, metavar="COLUMN", help="Column to carry over, e.g. an id.")
@common_options
def score(model: str, data: str, out: str, keep: tuple[str, ...], workspace_dir: str, as_json: bool) -> None:
    """Effects of every arm for every row of a flat table, in its order."""
    from uplift.pipelines.score import score as run

    del workspace_dir
    done = run(Path(model), Path(data), Path(out), keep=keep)
    show(done.to_dicts()[0], f"{done.rows:,} rows scored → {done.out}", as_json=as_json)
