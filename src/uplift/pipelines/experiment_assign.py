"""Assign members to the arms of an experiment, and write who got what with which chance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from uplift.config import Workspace
from uplift.data import TABLES, Engine, as_arrow, fingerprint, write_parquet_atomic
from uplift.errors import ConfigError, DesignError, GateError
from uplift.experiments import Assignment, assign
from uplift.features import parse_as_of, to_frame
from uplift.pipelines._experiments import Progress, assigned_file, experiment_spec, population, silent
from uplift.policy import holdout
from uplift.results import Rendered
from uplift.segments import build_columns


@dataclass(frozen=True)
class Assigned(Rendered):
    """Members assigned to the arms of an experiment.

    Attributes
    ----------
    id, version
        Of the experiment.
    path
        The Parquet file of assignments, in the contract's columns.
    assignment
        Arms, checks.
    assigned_at
        When features are taken as of and outcomes start.
    unchanged
        True when the file was there already, with the same rows.
    """

    id: str
    version: int
    path: Path
    assignment: Assignment
    assigned_at: datetime
    unchanged: bool

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row an arm."""
        return self.assignment.to_dicts()

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "id": self.id,
            "version": self.version,
            "path": str(self.path),
            "assigned_at": self.assigned_at.isoformat(),
            "unchanged": self.unchanged,
            "excluded_by_holdout": self.assignment.excluded,
            "arms": self.to_dicts(),
            "srm": self.assignment.sample_ratio.to_dict(),
            "balance": {"p_value": self.assignment.balance.p_value, "passed": self.assignment.balance.passed},
        }

    def to_text(self) -> str:
        """For a person at the prompt."""
        ratio, alike = self.assignment.sample_ratio, self.assignment.balance
        lines = [f"{row['arm']:<24}{row['members']:>12,}{row['share']:>9.2%}" for row in self.to_dicts()]
        lines += ["", f"held out, not in any experiment: {self.assignment.excluded:,}"]
        lines.append(f"sample ratio passed (p = {ratio.p_value:.3g})")
        if alike.p_value is not None and alike.worst is not None:
            lines.append(
                f"balance passed (p = {alike.p_value:.3g}; largest standardised difference "
                f"{abs(alike.worst['smd']):.3f}, {alike.worst['covariate']})"
            )
        state = "unchanged, already there" if self.unchanged else "written"
        lines += ["", f"{self.path} ({state})"]
        lines.append(
            f"`uplift experiment analyze {self.id}` reads it. Nothing in data/ was changed: to train on this "
            "experiment, add these rows to the table assignments."
        )
        return "\n".join(lines)


def assign_members(
    workspace: Workspace, experiment_id: str, *, as_of: str | None = None, progress: Progress = silent
) -> Assigned:
    """Assign the population of a defined experiment and write the assignments.

    Parameters
    ----------
    as_of
        When: the population, strata and covariates are as of it, and outcomes start at it. None: ``starts_at`` of the
        definition.

    Raises
    ------
    InputError
        If the definition or the data do not allow it, or this version has been assigned otherwise before.
    GateError
        If the sample ratio or the balance fails: nothing is written.
    """
    spec = experiment_spec(workspace, experiment_id)
    if as_of is None and spec.starts_at is None:
        raise ConfigError(f"experiment {spec.id!r} has no starts_at → give one in its definition, or --as-of DATE")
    with Engine.open(workspace) as engine:
        moment = parse_as_of(as_of if as_of is not None else spec.starts_at or "", engine.timezone)
        members = population(engine, spec, moment)
        progress(f"{members.num_rows:,} members in the population as of {moment:%Y-%m-%d %H:%M} UTC")
        columns = list(dict.fromkeys((*spec.stratify, *spec.covariates)))
        frame = to_frame(build_columns(engine, members, columns), columns)
    frame.insert(0, "member_id", members["member_id"].to_pandas())
    out = holdout(frame["member_id"], workspace.config.holdout)
    assignment = assign(frame, spec, assigned_at=moment, excluded=out, min_cell=workspace.config.min_cell)
    _gate(assignment)
    table = as_arrow(assignment.table).cast(_schema())
    path = assigned_file(workspace, spec)
    unchanged = path.is_file()
    if unchanged and fingerprint(pq.read_table(path)) != fingerprint(table):
        raise DesignError(
            f"version {spec.version} of {spec.id!r} was assigned before, to other members or at another time "
            f"({path.name}) → a change of design after the start is a new version: raise `version` in its definition"
        )
    if not unchanged:
        write_parquet_atomic(path, table)
    return Assigned(spec.id, spec.version, path, assignment, moment, unchanged)


def _schema() -> pa.Schema:
    return pa.schema([field for field in TABLES["assignments"].arrow_schema if field.name != "known_at"])


def _gate(assignment: Assignment) -> None:
    ratio, alike = assignment.sample_ratio, assignment.balance
    failed = []
    if ratio.passed is False:
        failed.append(f"arm sizes differ from the design (p = {ratio.p_value:.2g})")
    if alike.passed is False and alike.worst is not None:
        failed.append(f"the arms differ in {alike.worst['covariate']} (joint p = {alike.p_value:.2g})")
    if failed:
        raise GateError("; ".join(failed) + " → nothing was written; set another `salt` in the definition")
