"""Write an experiment's definition, and list what is defined."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from uplift.config import ExperimentSpec, Workspace, dump_yaml, parse_spec, parse_yaml
from uplift.data import Engine, write_text_atomic
from uplift.errors import ConfigError, InputError, did_you_mean
from uplift.experiments import layer_conflicts
from uplift.pipelines._experiment_grammar import FORMS, metrics_of
from uplift.pipelines._experiments import (
    RESULT,
    assigned_file,
    experiment_spec,
    known_versions,
    other_experiments,
    parse_shares,
)
from uplift.results import Rendered
from uplift.rules import compile_rule
from uplift.segments import rule_columns

__all__ = ["FORMS", "Defined", "Listed", "define", "list_experiments"]


@dataclass(frozen=True)
class Defined(Rendered):
    """A definition that was written; ``notes`` say what may not be meant so."""

    id: str
    path: Path
    text: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"id": self.id, "path": str(self.path), "notes": list(self.notes)}

    def to_text(self) -> str:
        """For a person at the prompt."""
        notes = "".join(f"Note: {note}\n" for note in self.notes)
        return f"{self.path}\n\n{self.text}\n{notes}Next: uplift experiment power {self.id}, then assign {self.id}"


def define(
    workspace: Workspace,
    experiment_id: str,
    *,
    arms: Sequence[str],
    control: str,
    metrics: Sequence[str],
    offers: Sequence[str] = (),
    guardrails: Sequence[str] = (),
    margins: Sequence[str] = (),
    winsorize: Sequence[str] = (),
    looks: Sequence[str] = (),
    spending: str = "obrien-fleming",
    layer_slice: str | None = None,
    tags: Sequence[str] = (),
    **more: Any,
) -> Defined:
    """Write ``experiments/ID.yaml``, never over another.

    Parameters
    ----------
    arms
        ``NAME=SHARE`` for every arm, the control among them.
    control
        Name of the control.
    metrics, guardrails
        ``OUTCOME`` or ``OUTCOME:DAYS``, entries of the outcome catalogue; a guardrail must only not be harmed.
        ``OUTCOME/OUTCOME[:DAYS]`` is a ratio of sums, ``OUTCOME:FROM-TO`` a retention, ``until-OUTCOME[:DAYS]`` a time.
    margins, winsorize
        ``METRIC=NUMBER``: the harm to a guardrail that can be borne; the quantile that larger values are cut to.
    offers
        ``ARM=OFFER_ID`` for arms that give an offer (default: the arm's own name where such an offer exists).
    looks, spending
        Shares of the planned size at which results are looked at, and how the error is spread over them.
    layer_slice
        ``FROM-TO`` such as ``0-0.5``, of the layer.
    tags
        ``NAME=RULE``: members expected to respond more.
    more
        Further fields of :class:`uplift.config.ExperimentSpec`; None is left out.

    Raises
    ------
    InputError
        Listing everything that is wrong.
    """
    path = workspace.experiments / f"{experiment_id}.yaml"
    if path.exists():
        raise ConfigError(
            f"{path.name} is there already → edit it (a change after the start needs a higher `version`), or choose "
            "another id"
        )
    shares = parse_shares(arms) or {}
    with Engine.open(workspace) as engine:
        known = engine.query("SELECT offer_id FROM offers")["offer_id"].to_pylist()
        given = _offers(offers, shares, control, known)
        spec = parse_spec(
            {
                "id": experiment_id,
                "control": control,
                "arms": [{"name": name, "share": share, "offer_id": given.get(name)} for name, share in shares.items()],
                "metrics": metrics_of(metrics, guardrails, margins=margins, winsorize=winsorize),
                **({"looks": {"at": list(looks), "spending": spending}} if looks else {}),
                **({"layer_slice": layer_slice.split("-")} if layer_slice else {}),
                "tags": [_tag(text) for text in tags],
                **{key: value for key, value in more.items() if value is not None},
            },
            ExperimentSpec,
            f"experiment {experiment_id!r}",
        )
        _check_columns(engine, spec)
    conflicts = layer_conflicts(spec, other_experiments(workspace, spec))
    if conflicts:
        raise ConfigError(f"experiment {experiment_id!r}: " + "; ".join(conflicts))
    text = _written(spec)
    write_text_atomic(path, text)
    bare = [arm.name for arm in spec.arms if arm.offer_id is None and arm.name != spec.control]
    notes = [f"arm {name!r} gives no offer of the table offers: {did_you_mean(name, known)}" for name in bare if known]
    return Defined(experiment_id, path, text, tuple(notes))


def _written(spec: ExperimentSpec) -> str:
    """The definition as YAML without what it leaves empty, which reads back to the same."""
    values = parse_yaml(dump_yaml(spec), spec.id)
    if spec.layer is None:
        del values["layer_slice"]
    for arm in values["arms"]:
        arm["share"] = _readable(arm["share"])
    return yaml.safe_dump(_filled(values), allow_unicode=True, sort_keys=False, width=110)


def _readable(share: float) -> float | str:
    """A share as a person would write it: ``0.4``, but ``1/3``."""
    fraction = Fraction(share).limit_denominator(100)
    return str(fraction) if len(repr(share)) > len("0.1234") and float(fraction) == share else share


def _filled(value: Any) -> Any:
    """Without keys whose value is absent, empty or no."""
    if isinstance(value, Mapping):
        kept = {key: _filled(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner not in (None, "", [], {}, False)}
    if isinstance(value, list):
        return [_filled(inner) for inner in value]
    return value


def _offers(offers: Sequence[str], shares: Mapping[str, float], control: str, known: Sequence[str]) -> dict[str, str]:
    given = {arm: arm for arm in shares if arm != control and arm in known}
    problems = []
    for text in offers:
        arm, equals, offer = text.rpartition("=")
        if not equals or arm not in shares:
            problems.append(f"offer {text!r}: expected ARM=OFFER_ID with an arm of this experiment")
        elif known and offer not in known:
            problems.append(f"offer {text!r}: no such offer, {did_you_mean(offer, known)}")
        else:
            given[arm] = offer
    if problems:
        raise ConfigError("; ".join(problems))
    return given


def _tag(text: str) -> dict[str, str]:
    name, equals, rule = text.partition("=")
    if not (name.strip() and equals and rule.strip()):
        raise ConfigError(f"tag {text!r}: expected NAME=RULE, such as 'weekend=weekend_share_365d > 0.6'")
    return {"name": name.strip(), "rule": rule.strip()}


def _check_columns(engine: Engine, spec: ExperimentSpec) -> None:
    columns = rule_columns(engine)
    problems = [
        f"{role} {name!r}: {did_you_mean(name, columns)}"
        for role, names in (
            ("covariate", spec.covariates),
            ("segment", spec.segments),
            ("stratum", spec.stratify),
            ("cluster", [spec.cluster] if spec.cluster else []),
        )
        for name in names
        if name not in columns
    ]
    rules = {f"tag {tag.name!r}": tag.rule for tag in spec.tags}
    if spec.population is not None:
        rules["population"] = spec.population
    for what, rule in rules.items():
        try:
            compile_rule(rule, columns)
        except InputError as error:
            problems.append(f"{what}: {error}")
    if problems:
        raise ConfigError(f"experiment {spec.id!r}: " + "; ".join(problems))


@dataclass(frozen=True)
class Listed(Rendered):
    """The experiments of a workspace: one mapping an experiment, and what is wrong with files that cannot be read."""

    rows: tuple[Mapping[str, Any], ...]
    broken: tuple[str, ...] = ()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row an experiment."""
        return [dict(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"experiments": self.to_dicts(), "broken": list(self.broken)}

    def to_text(self) -> str:
        """For a person at the prompt."""
        wrong = ["", *(f"cannot be read: {problem}" for problem in self.broken)] if self.broken else []
        if not self.rows:
            return "\n".join(["no experiment is defined here; `uplift experiment new` writes a definition", *wrong])
        width = max(len(row["id"]) for row in self.rows) + 2
        lines = [f"{'id':<{width}}{'arms':>5}{'assigned':>11}  {'starts':<12}{'verdict':<14}name"]
        for row in self.rows:
            assigned = "–" if row["assigned"] is None else f"{row['assigned']:,}"
            lines.append(
                f"{row['id']:<{width}}{row['arms']:>5}{assigned:>11}  {(row['starts_at'] or '–')[:10]:<12}"
                f"{row['verdict'] or '–':<14}{row['name_zh'] or row['name_en'] or '–'}"
            )
        return "\n".join([*lines, *wrong])


def list_experiments(workspace: Workspace) -> Listed:
    """Every definition in ``experiments/``, with members assigned and the last verdict."""
    specs, broken = [], []
    for path in sorted(workspace.experiments.glob("*.yaml")):
        try:
            specs.append(experiment_spec(workspace, path.stem))
        except ConfigError as error:
            broken.append(str(error))
    counts: dict[str, int] = {}
    if specs:
        with Engine.open(workspace) as engine:
            found = engine.query("SELECT experiment_id, count(*) AS n FROM assignments GROUP BY 1").to_pylist()
        counts = {row["experiment_id"]: row["n"] for row in found}
    rows = []
    for spec in specs:
        written = assigned_file(workspace, spec)
        number = counts.get(spec.id)
        if number is None:
            number = sum(version.members for version in known_versions(workspace, spec.id)) or None
        if number is None and written.is_file():
            number = pq.read_metadata(written).num_rows
        rows.append(
            {
                "id": spec.id,
                "version": spec.version,
                "layer": spec.layer,
                "name_zh": spec.name_zh,
                "name_en": spec.name_en,
                "arms": len(spec.arms),
                "assigned": number,
                "starts_at": spec.starts_at.isoformat() if spec.starts_at else None,
                "verdict": _last_verdict(workspace.reports / "experiments" / spec.id / RESULT),
            }
        )
    return Listed(tuple(rows), tuple(broken))


def _last_verdict(path: Path) -> str | None:
    if not path.is_file():
        return None
    status: str = json.loads(path.read_text(encoding="utf-8"))["verdict"]["status"]
    return status
