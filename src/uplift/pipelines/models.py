"""The registry's commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uplift.config import Workspace
from uplift.errors import GateError, InputError
from uplift.results import Rendered
from uplift.tracking import LocalRun, ModelVersion, Registered, open_registry


@dataclass(frozen=True)
class ModelList(Rendered):
    """Registered versions, with what they hold and what their gates said."""

    rows: tuple[dict[str, Any], ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a version."""
        return list(self.rows)


@dataclass(frozen=True)
class ModelView(Rendered):
    """One version of a model."""

    version: ModelVersion
    run: LocalRun | None
    currency: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        run = self.run.run if self.run is not None else None
        return {
            "name": self.version.name,
            "version": self.version.version,
            "aliases": list(self.version.aliases),
            "digest": self.version.digest,
            "key": self.version.key,
            "metrics": dict(run.metrics) if run else None,
            "gate": dict(run.gate) if run else None,
            "spec": dict(run.spec) if run else None,
        }

    def text(self) -> str:
        """For a person."""
        held = ", ".join(self.version.aliases) or "no alias"
        lines = [f"{self.version.name} version {self.version.version} ({held}), files {self.version.digest[:12]}"]
        if self.run is None:
            return "\n".join([*lines, "trained in another workspace: its run is in MLflow"])
        run = self.run.run
        unit = None
        if "value_outcome" in run.spec:
            from uplift.pipelines._valuing import gain_unit  # the learners' libraries take a while to load

            unit = gain_unit(run.spec, self.currency)
        for name, value in run.metrics.items():
            if name.endswith("_se") and name.removesuffix("_se") in run.metrics:
                continue  # beside what it is the error of
            se = run.metrics.get(f"{name}_se")
            if unit is not None and name.startswith("policy."):
                lines.append(f"  {name} = {unit.text(value, se).en}")
            else:
                lines.append(f"  {name} = {value:.4g}" + ("" if se is None else f" ± {se:.2g}"))
        lines.append(f"  gate: {'passed' if run.gate.get('passed') else 'not passed'}")
        lines += [f"    {reason}" for reason in run.gate.get("reasons_en", ())]
        return "\n".join(lines)


def list_models(folder: str | Path, name: str | None = None) -> ModelList:
    """Registered versions of one model or of all."""
    registry = open_registry(Workspace.open(folder))
    rows: list[dict[str, Any]] = []
    for version in registry.versions(name):
        local = registry.find(version.key)
        passed = bool(local.run.gate.get("passed")) if local is not None else None
        rows.append(
            {
                "name": version.name,
                "version": version.version,
                "aliases": ", ".join(version.aliases),
                "gate_passed": passed,
                "key": version.key,
            }
        )
    return ModelList(tuple(rows))


def show_model(folder: str | Path, name: str, version: int | None = None) -> ModelView:
    """One version: the given one, else the champion, else the latest."""
    workspace = Workspace.open(folder)
    registry = open_registry(workspace)
    found = registry.versions(name)
    if not found:
        raise InputError(f"{name}: no version is registered yet; `uplift train {name}` makes one")
    if version is None:
        chosen = next((v for v in found if "champion" in v.aliases), found[-1])
    else:
        chosen = registry.version(name, version)
    return ModelView(chosen, registry.find(chosen.key), workspace.config.currency)


def promote_model(folder: str | Path, name: str, version: int | None = None) -> ModelVersion:
    """Make a version champion if its gate passed."""
    return open_registry(Workspace.open(folder)).promote(name, version)


def rollback_model(folder: str | Path, name: str) -> ModelVersion:
    """Make the previous champion champion again."""
    return open_registry(Workspace.open(folder)).rollback(name)


def sync_models(folder: str | Path) -> Sequence[Registered]:
    """Deliver what waits.

    Raises
    ------
    GateError
        If something still waits afterwards.
    """
    done = open_registry(Workspace.open(folder)).sync()
    waiting = [registered for registered in done if registered.version is None]
    if waiting:
        raise GateError(f"{len(waiting)} run(s) still wait: {waiting[0].note}")
    return done
