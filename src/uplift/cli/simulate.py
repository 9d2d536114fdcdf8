"""``uplift simulate``: a chain whose truth is known."""

from __future__ import annotations

import click

from uplift.cli._base import common_options, progress, show


@click.command("simulate", short_help="Make a chain with members, campaigns and known true effects.")
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option("--members", type=int, required=True, metavar="N", help="How many members.")
@click.option("--months", type=int, required=True, metavar="M", help="Length of the history, at least 2.")
@click.option("--industry", default="grocery", show_default=True, metavar="NAME", help="grocery, beauty or fitness.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Same seed, same bytes.")
@common_options
def simulate(
    folder: str, members: int, months: int, industry: str, seed: int, workspace_dir: str, as_json: bool
) -> None:
    """Make a chain in the new folder DIR: tables, definitions of its campaigns, and the truth.

    The true effect of every offer on every member is written to DIR/truth, which no model reads. A folder that holds
    an earlier simulation is filled anew.
    """
    from uplift.pipelines.simulate import simulate_chain

    del workspace_dir
    result = simulate_chain(folder, members=members, months=months, industry=industry, seed=seed, progress=progress)
    show(result.to_dict(), result.to_text(), as_json=as_json)
