"""A run as a folder: written here first, completely, before anything is sent anywhere."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uplift.data import file_digest, write_json_atomic
from uplift.errors import UpliftError

RUN_FILE = "run.json"
DELIVERED_FILE = "delivered.json"


@dataclass(frozen=True)
class Run:
    """Everything about one training run that is worth reading later.

    Attributes
    ----------
    name
        Of the registered model, e.g. ``"churn"``.
    key
        Content address: the same specification, data and code give the same key, so a rerun is found, not repeated.
    params, metrics, tags
        As MLflow shows them. Never member ids.
    curves
        Name → values in order, logged as a metric by step.
    artifacts
        Relative path → text.
    inputs, outputs
        The model's signature: (column, ``"double"`` or ``"string"``).
    spec
        The specification as plain values.
    gate
        What the specification's gate said of this run: ``passed`` and reasons in both languages.
    """

    name: str
    key: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    spec: Mapping[str, Any]
    inputs: Sequence[tuple[str, str]]
    outputs: Sequence[tuple[str, str]]
    gate: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalRun:
    """A complete run on disk."""

    folder: Path
    run: Run
    digest: str

    @property
    def model(self) -> Path:
        """The model's folder: boosters as text and JSON."""
        return self.folder / "model"

    @property
    def delivered(self) -> dict[str, Any] | None:
        """What MLflow called this run and its model version, or None while it has not been delivered."""
        path = self.folder / DELIVERED_FILE
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def mark_delivered(self, **where: Any) -> None:
        """Remember where this run went."""
        write_json_atomic(self.folder / DELIVERED_FILE, where)


def run_key(name: str, *parts: Any) -> str:
    """A short content address of what determines a run.

    Examples
    --------
    >>> run_key("churn", {"seed": 0}, "abc") == run_key("churn", {"seed": 0}, "abc")
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def folder_digest(folder: Path) -> str:
    """SHA-256 over every file's relative path and content."""
    lines = [
        f"{path.relative_to(folder).as_posix()} {file_digest(path)}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_run(runs: Path, run: Run, save_model: Callable[[Path], None]) -> LocalRun:
    """Write a run as a whole or not at all; a complete run of the same key is kept as it is."""
    existing = find_run(runs, run.key)
    if existing is not None:
        return existing
    runs.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=runs))
    try:
        save_model(staging / "model")
        for name, text in run.artifacts.items():
            path = staging / "artifacts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        write_json_atomic(staging / RUN_FILE, {**asdict(run), "digest": folder_digest(staging / "model")})
        try:
            staging.replace(runs / run.key)
        except OSError:  # another process wrote the same run first, or an incomplete one stands there
            if find_run(runs, run.key) is None:
                shutil.rmtree(runs / run.key)
                staging.replace(runs / run.key)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    written = find_run(runs, run.key)
    if written is None:
        raise UpliftError(f"{runs / run.key}: the run could not be written")
    return written


def find_run(runs: Path, key: str) -> LocalRun | None:
    """The complete run of that key, or None."""
    path = runs / key / RUN_FILE
    return _read(path) if path.is_file() else None


def local_runs(runs: Path) -> list[LocalRun]:
    """Every complete run, by key."""
    return [_read(path) for path in sorted(runs.glob(f"*/{RUN_FILE}")) if not path.parent.name.startswith(".")]


def _read(path: Path) -> LocalRun:
    stored = json.loads(path.read_text(encoding="utf-8"))
    digest = stored.pop("digest")
    stored["inputs"] = [tuple(column) for column in stored["inputs"]]
    stored["outputs"] = [tuple(column) for column in stored["outputs"]]
    return LocalRun(path.parent, Run(**stored), digest)
