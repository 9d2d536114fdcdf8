"""``uplift train``: churn and uplift models."""

from __future__ import annotations

from pathlib import Path

import click

from uplift.cli._base import common_options, progress, show
from uplift.errors import ConfigError


@click.group()
def train() -> None:
    """Train, evaluate, log to MLflow and register as challenger.

    The first model that passes its gate serves at once; later ones wait for `uplift models promote`.
    """


@train.command()
@click.option("--spec", type=click.Path(), help="Model specification (default: models/churn.yaml, else embedded).")
@common_options
def churn(spec: str | None, workspace_dir: str, as_json: bool) -> None:
    """Probability of no purchase in the next days, for members who are still active."""
    from uplift.config import Workspace
    from uplift.pipelines.train_churn import train_churn

    trained = train_churn(Workspace.open(workspace_dir), spec, progress=progress)
    show(trained.to_dict(), trained.text(), as_json=as_json)


@train.command()
@click.option("--spec", type=click.Path(), help="Model specification (default: models/uplift.yaml, else embedded).")
@click.option("--data", type=click.Path(), help="A flat table (CSV or Parquet) instead of a workspace.")
@click.option("--arm", help="Flat table: the column of arms.")
@click.option("--control", help="Flat table: the arm that got nothing.")
@click.option("--outcome", "outcomes", multiple=True, help="Flat table: outcome column; may be repeated.")
@click.option("--feature", "features", multiple=True, help="Flat table: feature column; may be repeated.")
@click.option("--share", "shares", multiple=True, metavar="ARM=SHARE", help="Flat table: designed share of an arm.")
@click.option("--learner", "learners", multiple=True, help="Flat table: candidate learner (default: all).")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(), help="Flat table: folder for model/ and result.json.")
@common_options
def uplift(
    spec: str | None,
    data: str | None,
    arm: str | None,
    control: str | None,
    outcomes: tuple[str, ...],
    features: tuple[str, ...],
    shares: tuple[str, ...],
    learners: tuple[str, ...],
    seed: int,
    out: str | None,
    workspace_dir: str,
    as_json: bool,
) -> None:
    """Effect of every offer on every member, from the workspace's experiments or from a flat table."""
    if data is None:
        given = [
            name
            for name, value in (("--arm", arm), ("--outcome", outcomes), ("--feature", features), ("--out", out))
            if value
        ]
        if given:
            raise ConfigError(f"{', '.join(given)} belong to a flat table: name it with --data")
        from uplift.config import Workspace
        from uplift.pipelines.train_uplift import train_uplift

        trained = train_uplift(Workspace.open(workspace_dir), spec, progress=progress)
        show(trained.to_dict(), trained.text(), as_json=as_json)
        return
    missing = [
        name
        for name, value in (
            ("--arm", arm),
            ("--control", control),
            ("--outcome", outcomes),
            ("--feature", features),
            ("--out", out),
        )
        if not value
    ]
    if missing or arm is None or control is None or out is None:
        raise ConfigError(f"a flat table needs {', '.join(missing)} too")
    from uplift.pipelines.train_flat import train_flat

    flat = train_flat(
        Path(data),
        arm=arm,
        control=control,
        outcomes=outcomes,
        features=features,
        shares=shares,
        learners=learners,
        out=Path(out),
        seed=seed,
        progress=progress,
    )
    show(flat.to_dict(), flat.text(), as_json=as_json)
