"""Which model serves: champions, challengers, gates, and a log of every change."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from uplift.config import Workspace
from uplift.errors import GateError, InputError, unknown_name
from uplift.results import Rendered
from uplift.tracking._backend import Backend, ModelVersion, TrackingUnavailableError
from uplift.tracking._mlflow import MlflowBackend
from uplift.tracking._runs import LocalRun, Run, find_run, folder_digest, local_runs, write_run

AUDIT_FILE = "aliases.jsonl"
NAMES = ("churn", "uplift")


@dataclass(frozen=True)
class PinnedModel:
    """A model resolved once: this version with these files, whatever the alias says later."""

    name: str
    version: int
    digest: str
    key: str
    folder: Path
    spec: dict[str, Any]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Registered(Rendered):
    """What became of a training run.

    Attributes
    ----------
    version
        In the registry; None while it has not been delivered.
    repeated
        True when the same specification, data and code had been trained before.
    alias
        The alias it holds now.
    note
        What a person should know, e.g. that the tracking store did not answer.
    """

    name: str
    key: str
    version: int | None
    alias: str | None
    repeated: bool
    passed: bool
    note: str


class Registry:
    """Runs on disk, their delivery to a tracking store, and its aliases.

    Parameters
    ----------
    workspace
        Whose runs and models.
    backend
        The tracking store; MLflow at the workspace's address by default.
    now
        Gives the time for the log of aliases.
    """

    def __init__(
        self,
        workspace: Workspace,
        backend: Backend | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.workspace = workspace
        self.backend: Backend = backend or MlflowBackend(workspace.tracking_uri)
        self._now = now

    def find(self, key: str) -> LocalRun | None:
        """The complete run of that key, or None."""
        return find_run(self.workspace.runs, key)

    def record(self, run: Run, save_model: Callable[[Path], None]) -> Registered:
        """Write the run here, deliver it, make it challenger; champion where there is none and its gate passed."""
        repeated = self.find(run.key) is not None
        return self.deliver(write_run(self.workspace.runs, run, save_model), repeated=repeated)

    def deliver(self, local: LocalRun, *, repeated: bool = False) -> Registered:
        """Deliver one run; a store that does not answer leaves it for :meth:`sync`."""
        run = local.run
        passed = bool(run.gate.get("passed"))
        try:
            version = self.backend.deliver(local)
            held = self._held(run.name, version.version)
            if local.delivered is None:
                local.mark_delivered(version=version.version, uri=_shown(self.backend))
                if "champion" not in held:
                    self._point(run.name, "challenger", version.version, "trained")
                    held = ("challenger",)
            if passed and self._version_with(run.name, "champion") is None:
                self._point(run.name, "champion", version.version, "first model to pass its gate")
                held = ("champion",)
        except TrackingUnavailableError as error:
            note = f"kept in {local.folder.name}, not delivered ({error}); `uplift models sync` delivers it"
            return Registered(run.name, run.key, None, None, repeated, passed, note)
        return Registered(run.name, run.key, version.version, held[0] if held else None, repeated, passed, "")

    def sync(self) -> list[Registered]:
        """Deliver every run that is only here; each exactly once."""
        waiting = [run for run in local_runs(self.workspace.runs) if run.delivered is None]
        return [self.deliver(run) for run in waiting]

    def versions(self, name: str | None = None) -> Sequence[ModelVersion]:
        """Registered versions."""
        return self.backend.versions(name)

    def champion(self, name: str) -> PinnedModel | None:
        """The model that serves, pinned to its version and digest; None where there is none yet.

        Where the tracking store does not answer, the last champion that this workspace pointed at is used.
        """
        try:
            version = self._version_with(name, "champion")
        except TrackingUnavailableError:
            version = self._last_known(name)
            if version is None:
                raise
        return self._pin(version) if version is not None else None

    def challenger(self, name: str) -> PinnedModel | None:
        """The latest trained model that does not serve yet."""
        version = self._version_with(name, "challenger")
        return self._pin(version) if version is not None else None

    def promote(self, name: str, version: int | None = None) -> ModelVersion:
        """Make a version champion if the gate of its specification passed.

        Parameters
        ----------
        version
            By default the challenger.

        Raises
        ------
        GateError
            If its gate did not pass; the message gives the reasons.
        InputError
            If there is no such version.
        """
        wanted = self._challenger_or(name, version)
        local = self._local(wanted)
        gate = local.run.gate
        if not gate.get("passed"):
            reasons = "; ".join(gate.get("reasons_en", ())) or "its gate was not evaluated"
            raise GateError(f"{name} version {wanted.version} was not promoted: {reasons}")
        self._point(name, "champion", wanted.version, "promoted: its gate passed")
        return wanted

    def rollback(self, name: str) -> ModelVersion:
        """Make the previous champion champion again.

        Raises
        ------
        InputError
            If there was none.
        """
        current = self._version_with(name, "champion")
        history = [e["version"] for e in self.audit() if e["name"] == name and e["alias"] == "champion"]
        while history and current is not None and history[-1] == current.version:
            history.pop()
        if not history:
            raise InputError(f"{name}: there is no earlier champion to roll back to")
        previous = self.version(name, int(history[-1]))
        self._point(name, "champion", previous.version, "rolled back")
        return previous

    def audit(self) -> list[dict[str, Any]]:
        """Every change of an alias that this workspace made, oldest first."""
        path = self.workspace.runs / AUDIT_FILE
        if not path.is_file():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    def version(self, name: str, version: int) -> ModelVersion:
        """The version of that number.

        Raises
        ------
        InputError
            If there is none.
        """
        found = self._all(name)
        for candidate in found:
            if candidate.version == version:
                return candidate
        raise InputError(f"{name} has no version {version}; its versions: {', '.join(str(v.version) for v in found)}")

    def _challenger_or(self, name: str, version: int | None) -> ModelVersion:
        if version is not None:
            return self.version(name, version)
        found = self._all(name)
        return next((v for v in found if "challenger" in v.aliases), found[-1])

    def _all(self, name: str) -> Sequence[ModelVersion]:
        if name not in NAMES:
            raise unknown_name("model", name, NAMES)
        found = self.backend.versions(name)
        if not found:
            raise InputError(f"{name}: no version is registered yet; `uplift train {name}` makes one")
        return found

    def _version_with(self, name: str, alias: str) -> ModelVersion | None:
        return next((v for v in self.backend.versions(name) if alias in v.aliases), None)

    def _held(self, name: str, version: int) -> tuple[str, ...]:
        return next((v.aliases for v in self.backend.versions(name) if v.version == version), ())

    def _point(self, name: str, alias: str, version: int, reason: str) -> None:
        before = self._version_with(name, alias)
        self.backend.set_alias(name, alias, version)
        entry = {
            "at": self._now().isoformat(timespec="seconds"),
            "name": name,
            "alias": alias,
            "version": version,
            "from": before.version if before is not None else None,
            "key": next(v.key for v in self.backend.versions(name) if v.version == version),
            "reason": reason,
        }
        self.workspace.runs.mkdir(parents=True, exist_ok=True)
        with (self.workspace.runs / AUDIT_FILE).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _last_known(self, name: str) -> ModelVersion | None:
        entries = [e for e in self.audit() if e["name"] == name and e["alias"] == "champion"]
        local = self.find(entries[-1]["key"]) if entries else None
        if local is None:
            return None
        return ModelVersion(name, int(entries[-1]["version"]), local.run.key, local.digest, ("champion",))

    def _local(self, version: ModelVersion) -> LocalRun:
        local = self.find(version.key)
        if local is None:
            raise InputError(
                f"{version.name} version {version.version} was trained in another workspace; promote it there"
            )
        return local

    def _pin(self, version: ModelVersion) -> PinnedModel:
        local = self.find(version.key)
        if local is not None and folder_digest(local.model) == version.digest:
            folder, spec = local.model, dict(local.run.spec)
        else:
            cache = self.workspace.root / ".uplift" / "models" / version.digest
            folder = cache / "model"
            if not folder.is_dir() or folder_digest(folder) != version.digest:
                cache.mkdir(parents=True, exist_ok=True)
                folder = self.backend.fetch(version, cache)
            spec = {}
        meta_file = folder / "meta.json"
        metadata = json.loads(meta_file.read_text(encoding="utf-8")) if meta_file.is_file() else {}
        return PinnedModel(version.name, version.version, version.digest, version.key, folder, spec, metadata)


def open_registry(workspace: Workspace) -> Registry:
    """The registry of a workspace, on MLflow at its tracking address."""
    return Registry(workspace)


def _shown(backend: Backend) -> str:
    return type(backend).__name__
