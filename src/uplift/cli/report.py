"""``uplift report``: the site that marketing reads."""

from __future__ import annotations

import click

from uplift.cli._base import common_options, progress, show


@click.group()
def report() -> None:
    """Build or serve the site that marketing reads."""


@report.command()
@common_options
def build(workspace_dir: str, as_json: bool) -> None:
    """Build the site from decisions, segments, experiments and models, in Chinese and English."""
    from uplift.config import Workspace
    from uplift.pipelines.report import build_site

    built = build_site(Workspace.open(workspace_dir), progress=progress)
    show(built.to_dicts()[0], f"{built.index}\n{built.experiments} experiments, {built.models} models", as_json=as_json)


@report.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@common_options
def serve(host: str, port: int, workspace_dir: str, as_json: bool) -> None:
    """Serve the built site until interrupted."""
    from uplift.config import Workspace
    from uplift.pipelines.report import serve_site

    server = serve_site(Workspace.open(workspace_dir), host, port)
    address = f"http://{server.server_address[0]!s}:{server.server_address[1]}"
    show({"address": address}, f"{address} (Ctrl+C stops)", as_json=as_json)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
