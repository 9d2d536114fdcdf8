"""What the registry asks of a tracking store, and a store in memory for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from uplift.errors import UpliftError
from uplift.tracking._runs import LocalRun


class TrackingUnavailableError(UpliftError):
    """The tracking store does not answer; what was to be delivered is kept and can be delivered later."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of a model.

    Attributes
    ----------
    key
        The run it came from.
    digest
        SHA-256 over the model's files.
    aliases
        Among ``champion`` and ``challenger``.
    """

    name: str
    version: int
    key: str
    digest: str
    aliases: tuple[str, ...] = ()


class Backend(Protocol):
    """A tracking store with a model registry."""

    def deliver(self, run: LocalRun) -> ModelVersion:
        """Log and register a run; delivering the same run again gives the same version."""
        ...

    def versions(self, name: str | None = None) -> Sequence[ModelVersion]:
        """Registered versions of one model or of all, newest last."""
        ...

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        ...

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        """Copy a version's model folder to ``into`` and return it."""
        ...


@dataclass
class MemoryBackend:
    """A tracking store that forgets; the double of :class:`uplift.tracking._mlflow.MlflowBackend`.

    ``available = False`` makes it behave like a store that does not answer.
    """

    available: bool = True
    _versions: list[ModelVersion] = field(default_factory=list)
    _aliases: dict[tuple[str, str], int] = field(default_factory=dict)
    _models: dict[str, Path] = field(default_factory=dict)

    def deliver(self, run: LocalRun) -> ModelVersion:
        """Log and register a run."""
        self._check()
        for version in self._versions:
            if version.key == run.run.key:
                return version
        number = 1 + sum(v.name == run.run.name for v in self._versions)
        version = ModelVersion(run.run.name, number, run.run.key, run.digest)
        self._versions.append(version)
        self._models[version.key] = run.model
        return version

    def versions(self, name: str | None = None) -> Sequence[ModelVersion]:
        """Registered versions, newest last."""
        self._check()
        return [
            ModelVersion(
                v.name,
                v.version,
                v.key,
                v.digest,
                tuple(sorted(a for (n, a), number in self._aliases.items() if n == v.name and number == v.version)),
            )
            for v in self._versions
            if name in (None, v.name)
        ]

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        self._check()
        self._aliases[name, alias] = version

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        """The folder that was delivered."""
        del into
        self._check()
        return self._models[version.key]

    def _check(self) -> None:
        if not self.available:
            raise TrackingUnavailableError("the tracking store does not answer")
