"""What the jobs on experiments share: definitions, shares, populations, where assignments lie."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from uplift.config import ExperimentSpec, LooksSpec, Workspace, parse_share, parse_spec, read_spec
from uplift.data import Engine
from uplift.errors import ConfigError, did_you_mean
from uplift.experiments.versions import Version
from uplift.features import spine_of_members
from uplift.segments import audience

Progress = Callable[[str], None]
CENTS = 100.0
RESULT = "result.json"


def silent(message: str) -> None:
    """No progress."""
    del message


def parse_shares(given: Sequence[str]) -> dict[str, float] | None:
    """``ARM=SHARE`` texts as a mapping; None for none.

    Raises
    ------
    ConfigError
        Listing every text that is not such a pair, and arms given twice.

    Examples
    --------
    >>> parse_shares(["No E-Mail=1/3", "Mens E-Mail=2/3"])["Mens E-Mail"].__round__(3)
    0.667
    """
    problems = []
    shares: dict[str, float] = {}
    for text in given:
        name, equals, share = text.rpartition("=")
        if not (name and equals):
            problems.append(f"share {text!r}: expected ARM=SHARE, such as 'control=1/3'")
        elif name in shares:
            problems.append(f"share {text!r}: the arm is given twice")
        else:
            try:
                shares[name] = parse_share(share)
            except ValueError as error:
                problems.append(f"share {text!r}: {error}")
    if problems:
        raise ConfigError("; ".join(problems))
    return shares or None


def parse_looks(at: Sequence[str], spending: str) -> LooksSpec | None:
    """Looks of a design from texts such as ``0.5`` or ``1/2``; None for none.

    Raises
    ------
    ConfigError
        If they are not shares that rise to 1.
    """
    if not at:
        return None
    return parse_spec({"at": list(at), "spending": spending}, LooksSpec, "looks")


def parse_amounts(given: Sequence[str]) -> dict[str, float]:
    """``ARM=AMOUNT`` texts as a mapping.

    Raises
    ------
    ConfigError
        Listing every text that is not such a pair.
    """
    problems, amounts = [], {}
    for text in given:
        name, equals, amount = text.rpartition("=")
        try:
            number = float(amount)
        except ValueError:
            number = math.nan
        if not (name and equals and math.isfinite(number)) or name in amounts:
            problems.append(f"cost {text!r}: expected ARM=AMOUNT once an arm, such as 'voucher=1.5'")
        amounts[name] = number
    if problems:
        raise ConfigError("; ".join(problems))
    return amounts


def experiment_spec(workspace: Workspace, experiment_id: str) -> ExperimentSpec:
    """The definition ``experiments/ID.yaml``.

    Raises
    ------
    ConfigError
        If it is absent, wrong, or names another experiment.
    """
    path = workspace.experiments / f"{experiment_id}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in workspace.experiments.glob("*.yaml"))
        raise ConfigError(
            f"no experiment {experiment_id!r} in {workspace.experiments.name}/: {did_you_mean(experiment_id, known)}; "
            "`uplift experiment new` writes a definition"
        )
    spec = read_spec(path, ExperimentSpec)
    if spec.id != experiment_id:
        raise ConfigError(f"{path.name} defines experiment {spec.id!r} → the file must be called {spec.id}.yaml")
    return spec


def other_experiments(workspace: Workspace, spec: ExperimentSpec) -> list[ExperimentSpec]:
    """The definitions of all other experiments, where they matter: when this one is in a layer."""
    if spec.layer is None:
        return []
    names = sorted(path.stem for path in workspace.experiments.glob("*.yaml"))
    return [experiment_spec(workspace, name) for name in names if name != spec.id]


def assigned_file(workspace: Workspace, spec: ExperimentSpec) -> Path:
    """Where ``uplift experiment assign`` writes this version's assignments."""
    return workspace.experiments / "assigned" / f"{spec.id}-v{spec.version}.parquet"


def versions_file(workspace: Workspace, experiment_id: str) -> Path:
    """The record of every version that has assigned members, beside their assignments."""
    return workspace.experiments / "assigned" / f"{experiment_id}.json"


def known_versions(workspace: Workspace, experiment_id: str) -> list[Version]:
    """Versions that have assigned members, rising; empty when none has.

    Raises
    ------
    ConfigError
        If the record cannot be read.
    """
    path = versions_file(workspace, experiment_id)
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["versions"]
        found = [
            Version(row["version"], row["assigned_at"], row["members"], row["file"], row["design"]) for row in rows
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not a record of versions ({error}) → restore it") from None
    return sorted(found, key=lambda version: version.version)


def population(engine: Engine, spec: ExperimentSpec, moment: datetime) -> pa.Table:
    """Members whom the experiment's rule selects as of a time: ``member_id``, ``as_of``."""
    members = spine_of_members(engine, moment)
    if spec.population is None:
        return members
    chosen = audience(engine, spec.population, moment).member_ids["member_id"]
    return members.filter(pc.is_in(members["member_id"], value_set=chosen.combine_chunks()))
