"""What both trainings share: where specifications are found, what a training returns, how columns are named."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pandas as pd

from uplift.config import Spec, Workspace, read_spec
from uplift.data import Engine
from uplift.errors import InputError
from uplift.results import Rendered
from uplift.tracking import Registered

SpecT = TypeVar("SpecT", bound=Spec)
Progress = Callable[[str], None]


def silent(message: str) -> None:
    """Progress for those who do not want any."""
    del message


@dataclass(frozen=True)
class Trained(Rendered):
    """What a training gave.

    Attributes
    ----------
    registered
        Key, version and alias.
    metrics
        Name → value, as logged.
    gate
        ``passed``, ``reasons_en``, ``reasons_zh``.
    lines
        What a person at the prompt wants to read, in order.
    """

    registered: Registered
    metrics: Mapping[str, float]
    gate: Mapping[str, Any]
    lines: tuple[str, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a metric."""
        return [{"metric": name, "value": value} for name, value in self.metrics.items()]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.registered.to_dicts()[0], "metrics": dict(self.metrics), "gate": dict(self.gate)}

    def text(self) -> str:
        """For a person: what was found, what the gate said, what the model is called."""
        r = self.registered
        where = f"{r.name} version {r.version}, {r.alias}" if r.version is not None else r.note
        again = " (found: the same data, specification and code were trained before)" if r.repeated else ""
        gate = "gate: passed" if self.gate.get("passed") else "gate: not passed"
        reasons = [f"  {reason}" for reason in self.gate.get("reasons_en", ())]
        return "\n".join([*self.lines, gate, *reasons, f"{where}{again}"])


def find_spec(workspace: Workspace, name: str, model: type[SpecT], path: str | Path | None) -> SpecT:
    """The named file, else ``models/<name>.yaml`` of the workspace, else the embedded defaults."""
    if path is not None:
        return read_spec(Path(path), model)
    default = workspace.models / f"{name}.yaml"
    return read_spec(default, model) if default.is_file() else model()


def last_day(engine: Engine) -> datetime:
    """The local midnight after the last order: up to here outcomes are complete.

    Raises
    ------
    InputError
        If there is no order at all.
    """
    last = engine.query("SELECT max(ordered_at) AS t FROM orders").column("t")[0].as_py()
    if last is None:
        raise InputError("there is not one order in the data, so there is nothing to learn from")
    local = last.astimezone(ZoneInfo(engine.timezone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight == local else midnight + timedelta(days=1)


def choose_features(available: Sequence[str], wanted: Sequence[str], excluded: Sequence[str], where: str) -> list[str]:
    """The features that a specification names, all of them by default, without the excluded ones."""
    unknown = sorted({*wanted, *excluded} - set(available))
    if unknown:
        raise InputError(f"{where}: not in the feature catalogue: {', '.join(unknown)}")
    return [name for name in (wanted or available) if name not in set(excluded)]


def informative(X: pd.DataFrame) -> list[str]:
    """Columns that hold at least two different values, missing counted as one; the others teach nothing."""
    return [name for name in X.columns if X[name].nunique(dropna=False) > 1]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV text."""
    if not rows:
        return ""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
