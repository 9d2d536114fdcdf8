"""Versions of a design: what may not change once members are assigned, and how versions are measured together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uplift.config import ExperimentSpec
from uplift.errors import DesignError
from uplift.experiments._text import Text
from uplift.results import Rendered

DECIDES_WHO = (
    "control", "arms", "population", "stratify", "cluster", "layer", "layer_slice", "salt",
)  # fmt: skip
"""Fields that decide who gets what: another value is another design."""
DECIDES_WHAT_IS_SAID = (
    "metrics", "covariates", "segments", "tags", "alpha", "planned_size", "looks",
)  # fmt: skip
"""Fields that decide how results are read: changed after the start, the report says so."""


@dataclass(frozen=True)
class Version(Rendered):
    """One version of a design as it was when members were assigned by it.

    Attributes
    ----------
    version
        Number, rising.
    assigned_at
        ISO time of its assignment.
    members
        Members assigned by it.
    file
        Name of the file of its assignments.
    design
        The definition, as plain values.
    """

    version: int
    assigned_at: str
    members: int
    file: str
    design: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.to_dicts()[0], "design": dict(self.design), "fingerprint": fingerprint(self.design)}

    @property
    def shares(self) -> dict[str, float]:
        """Arm → designed share."""
        return {str(arm["name"]): float(arm["share"]) for arm in self.design["arms"]}


def plain(spec: ExperimentSpec) -> dict[str, Any]:
    """A definition as plain values."""
    values: dict[str, Any] = spec.model_dump(mode="json")
    return values


def fingerprint(design: Mapping[str, Any]) -> str:
    """Digest of what decides who gets what."""
    chosen = {name: _normal(name, design.get(name)) for name in DECIDES_WHO}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _normal(name: str, value: Any) -> Any:
    if name == "layer_slice" and value is None:
        return [0.0, 1.0]
    return [] if name == "stratify" and value is None else value


def changed(before: Mapping[str, Any], after: Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    """Names of the fields that differ."""
    return [name for name in fields if _normal(name, before.get(name)) != _normal(name, after.get(name))]


def refuse_silent_change(spec: ExperimentSpec, known: Sequence[Version]) -> None:
    """Refuse a definition that assigns otherwise than its own version did.

    Raises
    ------
    DesignError
        Naming the fields that changed, or a version that is older than one that is in use.
    """
    design = plain(spec)
    same = next((version for version in known if version.version == spec.version), None)
    if same is not None:
        fields = changed(same.design, design, DECIDES_WHO)
        if fields:
            raise DesignError(
                f"experiment {spec.id!r}: {', '.join(fields)} changed since version {spec.version} assigned "
                f"{same.members:,} members → a change of design after the start is a new version: raise `version` to "
                f"{max(v.version for v in known) + 1}"
            )
    elif known and spec.version < max(v.version for v in known):
        raise DesignError(
            f"experiment {spec.id!r}: version {spec.version} is older than version "
            f"{max(v.version for v in known)}, which has assigned members → raise `version`"
        )


def poolable(versions: Sequence[Version]) -> None:
    """Refuse to measure together versions whose arms are not the same.

    Raises
    ------
    DesignError
        Saying what differs.
    """
    first = versions[0]
    for other in versions[1:]:
        if other.design["control"] != first.design["control"] or set(other.shares) != set(first.shares):
            raise DesignError(
                f"versions {first.version} and {other.version} have other arms ({', '.join(first.shares)}; "
                f"{', '.join(other.shares)}) and cannot be measured together → measure one of them: --version "
                f"{other.version}"
            )
        if other.design.get("cluster") != first.design.get("cluster"):
            raise DesignError(
                f"versions {first.version} and {other.version} assign other units and cannot be measured together → "
                f"--version {other.version}"
            )


def version_notes(spec: ExperimentSpec, used: Sequence[Version]) -> list[Text]:
    """What a reader must know about versions: that several are measured together, and what changed after the start."""
    notes = []
    if len(used) > 1:
        sizes = [(version.version, version.members) for version in used]
        notes.append(
            Text(
                "合并了 "
                + "、".join(f"第 {v} 版（{n:,} 人）" for v, n in sizes)
                + "的设计：版本作为分层，效果在版本内比较",
                "designs are pooled: "
                + ", ".join(f"version {v} ({n:,} members)" for v, n in sizes)
                + "; the version is a stratum, so effects compare members within versions",
            )
        )
    for version in used:
        fields = changed(version.design, plain(spec), DECIDES_WHAT_IS_SAID)
        if fields and version.version == spec.version:
            notes.append(
                Text(
                    f"开始之后改过：{'、'.join(fields)}",
                    f"changed after the start: {', '.join(fields)}",
                )
            )
    return notes
