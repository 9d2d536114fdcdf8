"""``uplift packs``: industry packs."""

from __future__ import annotations

import dataclasses

import click

from uplift.cli._base import common_options, fail, show
from uplift.errors import ConfigError


@click.group()
def packs() -> None:
    """Industry packs: tags, offers and timing rules of a trade."""


@packs.command("list")
@common_options
def list_(workspace_dir: str, as_json: bool) -> None:
    """The packaged packs."""
    from uplift.pipelines.packs import packs as find

    del workspace_dir
    rows = [dataclasses.asdict(row) for row in find()]
    text = "\n".join(
        f"{row['name']:<16} {row['title_zh']} {row['title_en']}: {row['tags']} tags, {row['offers']} offers, "
        f"{row['timing']} timing rules"
        for row in rows
    )
    show({"packs": rows}, text, as_json=as_json)


@packs.command("show")
@click.argument("name")
@common_options
def show_(name: str, workspace_dir: str, as_json: bool) -> None:
    """What the pack NAME (or a .yaml file) holds."""
    from uplift.config import dump_yaml
    from uplift.pipelines.packs import show_pack

    del workspace_dir
    pack = show_pack(name)
    show(pack.model_dump(mode="json"), dump_yaml(pack).rstrip(), as_json=as_json)


@packs.command("check")
@click.argument("name")
@common_options
def check(name: str, workspace_dir: str, as_json: bool) -> None:
    """Compile every rule of the pack NAME (or a .yaml file); list all that is wrong."""
    from uplift.pipelines.packs import checked

    del workspace_dir
    done = checked(name)
    if done.problems:
        lines = "\n".join(f"  {problem}" for problem in done.problems)
        fail(ConfigError(f"{name}: {len(done.problems)} problem(s):\n{lines}"), as_json=as_json)
    show({"name": name, "problems": []}, f"{name}: every rule compiles", as_json=as_json)
