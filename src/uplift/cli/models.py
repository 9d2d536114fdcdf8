"""``uplift models``: the registry, its gates and its aliases."""

from __future__ import annotations

import click

from uplift.cli._base import common_options, show


@click.group()
def models() -> None:
    """List, show, promote, roll back and sync registered models."""


@models.command("list")
@click.argument("name", required=False)
@common_options
def list_(name: str | None, workspace_dir: str, as_json: bool) -> None:
    """Registered versions of NAME (churn or uplift), or of both."""
    from uplift.pipelines.models import list_models

    found = list_models(workspace_dir, name)
    show({"models": found.to_dicts()}, found.to_markdown(), as_json=as_json)


@models.command("show")
@click.argument("name")
@click.option("--version", type=int, help="By default the champion, else the latest.")
@common_options
def show_(name: str, version: int | None, workspace_dir: str, as_json: bool) -> None:
    """Specification, metrics and gate of one version of NAME."""
    from uplift.pipelines.models import show_model

    found = show_model(workspace_dir, name, version)
    show(found.to_dict(), found.text(), as_json=as_json)


@models.command()
@click.argument("name")
@click.option("--version", type=int, help="By default the challenger.")
@common_options
def promote(name: str, version: int | None, workspace_dir: str, as_json: bool) -> None:
    """Make a version of NAME champion, if the gate of its specification passed (exit 3 if not)."""
    from uplift.pipelines.models import promote_model

    done = promote_model(workspace_dir, name, version)
    show({"name": done.name, "version": done.version}, f"{name}: version {done.version} serves now", as_json=as_json)


@models.command()
@click.argument("name")
@common_options
def rollback(name: str, workspace_dir: str, as_json: bool) -> None:
    """Make the previous champion of NAME champion again."""
    from uplift.pipelines.models import rollback_model

    done = rollback_model(workspace_dir, name)
    text = f"{name}: version {done.version} serves again"
    show({"name": done.name, "version": done.version}, text, as_json=as_json)


@models.command()
@common_options
def sync(workspace_dir: str, as_json: bool) -> None:
    """Deliver runs that the tracking store has not seen, each exactly once (exit 3 if it still does not answer)."""
    from uplift.pipelines.models import sync_models

    done = sync_models(workspace_dir)
    rows = [row for registered in done for row in registered.to_dicts()]
    text = "\n".join(f"{r.key}: version {r.version}" for r in done) or "nothing was waiting"
    show({"delivered": rows}, text, as_json=as_json)
