"""The job behind ``uplift audience``: whom a rule selects; ids go to a file only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uplift.config import Workspace
from uplift.data import Engine, write_csv_atomic, write_parquet_atomic
from uplift.errors import InputError
from uplift.pipelines.features import as_of_time, date_label
from uplift.segments import Audience, audience, saved_audiences


@dataclass(frozen=True)
class AudienceDone:
    """An audience, its date as read in the workspace's zone, and where its ids were written (None: nowhere)."""

    audience: Audience
    out: Path | None
    as_of: str
    min_cell: int

    def to_dict(self) -> dict[str, Any]:
        """For machines: counts that may not be shown are null."""
        found = self.audience
        others = found.population - found.size
        small = 0 < found.size < self.min_cell or 0 < others < self.min_cell
        unknown = found.unknown if found.unknown == 0 or found.unknown >= self.min_cell else None
        missing: Mapping[str, int | None] = {
            name: count if count >= self.min_cell else None for name, count in found.missing.items()
        }
        return {
            "rule": found.rule,
            "as_of": found.as_of.isoformat(),
            "size": None if small else found.size,
            "share": None if small else found.share,
            "population": found.population if found.population >= self.min_cell else None,
            "unknown": unknown,
            "missing": missing,
            "min_cell": self.min_cell,
            "out": None if self.out is None else str(self.out),
        }


def preview(workspace: Workspace, rule: str, *, as_of: str | None = None, out: Path | None = None) -> AudienceDone:
    """How many members a rule selects, and, with ``out``, who.

    Parameters
    ----------
    rule
        An expression, or the name of one in the workspace's ``audiences.yaml``.
    as_of
        None: the start of the day after the latest recorded event.
    out
        A ``.parquet`` or ``.csv`` file for the ids.
    """
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise InputError(f"{out}: ids are written as .parquet or .csv")
    expression = saved_audiences(workspace).get(rule, rule)
    with Engine.open(workspace) as engine:
        moment = as_of_time(engine, workspace, as_of)
        found = audience(engine, expression, moment)
    if out is not None:
        if out.suffix == ".csv":
            write_csv_atomic(out, found.member_ids)
        else:
            write_parquet_atomic(out, found.member_ids)
    return AudienceDone(found, out, date_label(found.as_of, workspace), workspace.config.min_cell)
