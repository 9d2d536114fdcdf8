"""``uplift import``: public data into a workspace."""

from __future__ import annotations

import click

from uplift.cli._base import common_options, progress, show


@click.command("import", short_help="Bring public data into a workspace.")
@click.argument("name")
@click.argument("source", type=click.Path())
@click.option("--out", required=True, type=click.Path(), metavar="DIR", help="The workspace to make.")
@common_options
def import_(name: str, source: str, out: str, workspace_dir: str, as_json: bool) -> None:
    """Bring the public data set NAME, found at SOURCE, into a new workspace.

    NAME is hillstrom, starbucks, online-retail, gym, cdnow or open-bandit; SOURCE its file, or the folder that holds
    it. Repeating an import is harmless.
    """
    from uplift.pipelines.importing import import_data

    del workspace_dir
    result = import_data(name, source, out, progress)
    show(result.to_dict(), result.to_text(), as_json=as_json)
