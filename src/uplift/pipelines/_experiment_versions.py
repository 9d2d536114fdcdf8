"""Who was assigned by which version of a design, and whether each version did what it promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from uplift.config import ExperimentSpec, Workspace
from uplift.data import Engine, as_arrow
from uplift.errors import ConfigError, DesignError, did_you_mean
from uplift.experiments import Text, sample_ratio
from uplift.experiments.versions import Version, plain, poolable, refuse_silent_change, version_notes
from uplift.pipelines._experiments import known_versions

VERSION = "design version"
"""Column that holds the version where several are measured together."""


@dataclass(frozen=True)
class AssignedMembers:
    """Members assigned, and by which design.

    Attributes
    ----------
    spine
        ``member_id``, ``as_of``, ``arm``, ``propensity``, ``version``.
    versions
        Those in use, with their sizes in the spine.
    notes
        What a reader must know.
    """

    spine: pa.Table
    versions: tuple[Version, ...]
    notes: tuple[Text, ...]

    @property
    def pooled(self) -> bool:
        """Whether several versions are measured together."""
        return len(self.versions) > 1

    @property
    def shares(self) -> dict[str, float]:
        """Arm → share of all members by the designs of their versions."""
        total = sum(version.members for version in self.versions)
        return {
            arm: sum(version.shares[arm] * version.members for version in self.versions) / total
            for arm in self.versions[0].shares
        }

    def sample_ratios(self) -> list[dict[str, Any]]:
        """One check a version."""
        table = self.spine.select(["arm", "version"]).to_pandas()
        rows = []
        for version in self.versions:
            counts = table.loc[table["version"] == version.version, "arm"].value_counts()
            check = sample_ratio({str(arm): int(n) for arm, n in counts.items()}, version.shares)
            rows.append({"version": version.version, "p_value": check.p_value, "passed": check.passed})
        return rows


def assigned_members(
    engine: Engine, workspace: Workspace, spec: ExperimentSpec, version: int | None = None
) -> AssignedMembers:
    """Members of an experiment and their versions, from the table ``assignments`` or from what ``assign`` wrote.

    Parameters
    ----------
    version
        Only this one; None: all up to the definition's, measured together with the version as a stratum.

    Raises
    ------
    InputError
        If nobody was assigned, an assignment belongs to no version, logged another chance than its version's design,
        or versions cannot be measured together.
    """
    known = [v for v in known_versions(workspace, spec.id) if v.version <= spec.version]
    refuse_silent_change(spec, known)
    if version is not None and version not in [v.version for v in known]:
        numbers = ", ".join(str(v.version) for v in known) or "none"
        raise ConfigError(f"version {version} of {spec.id!r} has assigned nobody (there are: {numbers})")
    select = "SELECT member_id, assigned_at AS as_of, arm, propensity FROM {source} ORDER BY member_id"
    logged = engine.query(select.format(source="assignments WHERE experiment_id = $id"), {"id": spec.id}).to_pandas()
    written = [_written(engine, workspace, v, select) for v in known]
    if logged.empty and not written:
        names = engine.query("SELECT DISTINCT experiment_id FROM assignments ORDER BY 1")["experiment_id"].to_pylist()
        raise DesignError(
            f"experiment {spec.id!r} has no row in the table assignments ({did_you_mean(spec.id, names)}) and none was "
            f"written by `uplift experiment assign {spec.id}`"
        )
    if logged.empty:
        rows = pd.concat(written, ignore_index=True)
    elif len(known) <= 1:
        rows = logged.assign(version=known[0].version if known else spec.version)
    else:
        rows = _matched(logged, pd.concat(written, ignore_index=True), spec)
    designs = known or [Version(spec.version, "", len(rows), "", plain(spec))]
    if version is not None:
        rows = rows[rows["version"] == version]
    sizes = rows["version"].value_counts()
    used = tuple(replace(v, members=int(sizes[v.version])) for v in designs if v.version in sizes.index)
    poolable(used)
    _propensities(rows, used, spec)
    spine = as_arrow(rows.sort_values("member_id").reset_index(drop=True))
    return AssignedMembers(spine, used, tuple(version_notes(spec, used)))


def _written(engine: Engine, workspace: Workspace, version: Version, select: str) -> pd.DataFrame:
    path = workspace.experiments / "assigned" / version.file
    if not path.is_file():
        raise ConfigError(f"{path.name}, the assignments of version {version.version}, is missing → restore it")
    rows = engine.query(select.format(source="read_parquet($path)"), {"path": str(path)}).to_pandas()
    return rows.assign(version=version.version)


def _matched(logged: pd.DataFrame, written: pd.DataFrame, spec: ExperimentSpec) -> pd.DataFrame:
    """Logged assignments with the version that made them."""
    rows = logged.merge(
        written[["member_id", "arm", "version"]], on=["member_id", "arm"], how="left", validate="one_to_one"
    )
    lost = int(rows["version"].isna().sum())
    if lost:
        raise DesignError(
            f"{lost:,} of {len(rows):,} rows of {spec.id!r} in the table assignments were made by none of its versions "
            "→ correct them, or give them an experiment of their own: designs are not mixed silently"
        )
    return rows.astype({"version": "int64"})


def _propensities(rows: pd.DataFrame, used: Sequence[Version], spec: ExperimentSpec) -> None:
    """Refuse rows whose logged chance is not the designed share: their arms do not compare as they stand."""
    shares = {(v.version, arm): share for v in used for arm, share in v.shares.items()}
    designed = pd.Series(
        [shares.get(key, float("nan")) for key in zip(rows["version"], rows["arm"], strict=True)], index=rows.index
    )
    differs = (rows["propensity"] - designed).abs() > 1e-3
    if differs.any():
        example = rows[differs].iloc[0]
        share = designed[differs].iloc[0]
        raise DesignError(
            f"{int(differs.sum()):,} of {len(rows):,} assignments of {spec.id!r} logged another chance than the "
            f"design, e.g. {example['propensity']:.4g} for arm {example['arm']!r} where the definition says "
            f"{share:.4g} → correct the shares in the definition, or give the assignments of a changed design an "
            "experiment of their own"
        )
