"""Assign members to the arms of an experiment, and write who got what with which chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from uplift.config import ExperimentSpec, Workspace
from uplift.data import TABLES, Engine, as_arrow, fingerprint, write_json_atomic, write_parquet_atomic
from uplift.errors import ConfigError, DesignError, GateError
from uplift.experiments import Assignment, assign
from uplift.experiments.layers import layer_conflicts
from uplift.experiments.versions import Version, plain, refuse_silent_change
from uplift.features import parse_as_of, to_frame
from uplift.pipelines._experiments import (
    Progress,
    assigned_file,
    experiment_spec,
    known_versions,
    other_experiments,
    population,
    silent,
    versions_file,
)  # fmt: skip
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
    kept
        Members of the population whom an earlier version has assigned; they keep their arm.
    """

    id: str
    version: int
    path: Path
    assignment: Assignment
    assigned_at: datetime
    unchanged: bool
    kept: int = 0

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
            "outside_layer_slice": self.assignment.elsewhere,
            "without_cluster": self.assignment.without_cluster,
            "clusters": self.assignment.clusters,
            "assigned_by_earlier_versions": self.kept,
            "arms": self.to_dicts(),
            "srm": self.assignment.sample_ratio.to_dict(),
            "balance": {"p_value": self.assignment.balance.p_value, "passed": self.assignment.balance.passed},
        }

    def to_text(self) -> str:
        """For a person at the prompt."""
        ratio, alike = self.assignment.sample_ratio, self.assignment.balance
        lines = [f"{row['arm']:<24}{row['members']:>12,}{row['share']:>9.2%}" for row in self.to_dicts()]
        left_out = (
            ("held out, not in any experiment", self.assignment.excluded),
            ("outside this experiment's slice of its layer", self.assignment.elsewhere),
            ("without a cluster", self.assignment.without_cluster),
            ("assigned by an earlier version, whose arm they keep", self.kept),
        )
        lines += ["", *(f"{what}: {n:,}" for i, (what, n) in enumerate(left_out) if n or i == 0)]
        if self.assignment.clusters is not None:
            lines.insert(0, f"clusters assigned as a whole: {self.assignment.clusters:,} (counts are clusters)")
        lines.append(f"sample ratio passed (p = {ratio.p_value:.3g})")
        if alike.p_value is not None and alike.worst is not None:
            lines.append(
                f"balance passed (p = {alike.p_value:.3g}; largest standardised difference "
                f"{max(alike.gaps):.3f}, {alike.worst['covariate']})"
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
        If the definition or the data do not allow it, this version has been assigned otherwise before, or another
        experiment of its layer is in the way.
    GateError
        If the sample ratio or the balance fails: nothing is written.
    """
    spec = experiment_spec(workspace, experiment_id)
    if as_of is None and spec.starts_at is None:
        raise ConfigError(f"experiment {spec.id!r} has no starts_at → give one in its definition, or --as-of DATE")
    known = known_versions(workspace, spec.id)
    refuse_silent_change(spec, known)
    conflicts = layer_conflicts(spec, other_experiments(workspace, spec))
    if conflicts:
        raise DesignError(f"experiment {spec.id!r}: " + "; ".join(conflicts))
    with Engine.open(workspace) as engine:
        moment = parse_as_of(as_of if as_of is not None else spec.starts_at or "", engine.timezone)
        members = population(engine, spec, moment)
        local = moment.astimezone(ZoneInfo(engine.timezone))
        progress(f"{members.num_rows:,} members in the population as of {local:%Y-%m-%d %H:%M}")
        columns = list(dict.fromkeys((*spec.stratify, *spec.covariates, *([spec.cluster] if spec.cluster else []))))
        frame = to_frame(build_columns(engine, members, columns), columns)
    frame.insert(0, "member_id", members["member_id"].to_pandas())
    before = _assigned_before(workspace, spec, known, frame)
    kept = frame["member_id"].isin(before)
    frame = frame[~kept].reset_index(drop=True)
    out = holdout(frame["member_id"], workspace.config.holdout)
    assignment = assign(
        frame, spec, assigned_at=moment, excluded=out, min_cell=workspace.config.min_cell, earlier=int(kept.sum())
    )
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
    if not any(version.version == spec.version for version in known):
        this = Version(spec.version, moment.isoformat(), table.num_rows, path.name, plain(spec))
        record = {"id": spec.id, "versions": [version.to_dict() for version in (*known, this)]}
        write_json_atomic(versions_file(workspace, spec.id), record)
    return Assigned(spec.id, spec.version, path, assignment, moment, unchanged, int(kept.sum()))


def _assigned_before(
    workspace: Workspace, spec: ExperimentSpec, known: Sequence[Version], frame: pd.DataFrame
) -> set[str]:
    """Members whom earlier versions have assigned; refuses to split a cluster that has an arm already."""
    earlier = [version for version in known if version.version < spec.version]
    files = [workspace.experiments / "assigned" / version.file for version in earlier]
    absent = [path.name for path in files if not path.is_file()]
    if absent:
        raise ConfigError(
            f"the assignments of earlier versions of {spec.id!r} are missing ({', '.join(absent)}) → restore them, "
            "else members would be assigned twice"
        )
    members: set[str] = set()
    for path in files:
        members.update(pq.read_table(path, columns=["member_id"])["member_id"].to_pylist())
    if members and spec.cluster is not None:
        taken = set(frame.loc[frame["member_id"].isin(members), spec.cluster].dropna())
        split = taken & set(frame.loc[~frame["member_id"].isin(members), spec.cluster].dropna())
        if split:
            raise DesignError(
                f"{len(split):,} values of {spec.cluster!r} have members of an earlier version and new ones → whole "
                "clusters are assigned, so a new version needs new clusters: leave the old ones out by `population`"
            )
    return members


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
