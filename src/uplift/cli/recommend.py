"""``uplift recommend``."""

from __future__ import annotations

import click

from uplift.cli._base import common_options, progress, show


@click.command()
@click.option("--as-of", metavar="DATE", help="Decide with what was known before this date (or date and time).")
@click.option("--run", metavar="NAME", help="Name of the run (default: the date).")
@click.option("--resume", metavar="NAME", help="Go on with an unfinished run.")
@click.option("--budget", type=float, metavar="MONEY", help="Money that may be spent (default: uplift.yaml's).")
@click.option("--time-limit", type=float, metavar="SECONDS", help="Stop improving the allocation after so long.")
@common_options
def recommend(
    as_of: str | None,
    run: str | None,
    resume: str | None,
    budget: float | None,
    time_limit: float | None,
    workspace_dir: str,
    as_json: bool,
) -> None:
    """Decide which offer each member receives.

    Writes decisions/run=NAME/ with one row a member: the offer, why, when to send it, and the probability with which
    it was decided. A run that was interrupted goes on with --resume NAME; a finished one is never changed.
    """
    from uplift.config import Workspace
    from uplift.pipelines.recommend import recommend as job

    done = job(
        Workspace.open(workspace_dir),
        as_of,
        run=run,
        resume=resume,
        budget=budget,
        time_limit=time_limit,
        progress=progress,
    )
    show(done.to_dict(), done.text(), as_json=as_json)
