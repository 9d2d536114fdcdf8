"""``uplift audience``: how many members a rule selects, and who."""

from __future__ import annotations

from pathlib import Path

import click

from uplift.cli._base import common_options, show


@click.command()
@click.argument("rule")
@click.option("--as-of", metavar="DATE", help="Default: the day after the latest recorded event.")
@click.option("--out", type=click.Path(), metavar="FILE", help="Write the ids to a .parquet or .csv file.")
@common_options
def audience(rule: str, as_of: str | None, out: str | None, workspace_dir: str, as_json: bool) -> None:
    """Preview the members whom RULE selects.

    RULE is an expression over features, e.g. "orders_total >= 1 AND days_since_last_order > 30", or the name of one
    in the workspace's audiences.yaml.
    """
    from uplift.config import Workspace
    from uplift.pipelines.audience import preview

    done = preview(Workspace.open(workspace_dir), rule, as_of=as_of, out=Path(out) if out else None)
    value = done.to_dict()

    def count(key: str) -> str:
        return f"<{done.min_cell}" if value[key] is None else f"{value[key]:,}"

    size = "too few or too many to say" if value["size"] is None else f"{value['size']:,} ({value['share']:.1%})"
    text = f"{size} of {count('population')} members as of {done.as_of}"
    if value["unknown"] != 0:
        fields = ", ".join(value["missing"])
        text += f"\nunknown for {count('unknown')}, who are not selected: {fields} missing"
    if done.out is not None:
        text += f"\n→ {done.out}"
    show(value, text, as_json=as_json)
