"""Decide which offer each member receives: score, allocate, explore, write, with the probability of every decision."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from uplift import __version__
from uplift.config import Workspace
from uplift.data import Engine, RunWriter, read_manifest, write_json_atomic, write_pointer
from uplift.data.check import CheckReport, current_check
from uplift.errors import ConfigError, InputError
from uplift.features import parse_as_of, spine_of_members
from uplift.learners.bundle import load_bundle
from uplift.pipelines._recommend_inputs import Champions, Inputs, Loader, digest_of, gather
from uplift.pipelines._recommend_scoring import read_reasons, score_members
from uplift.pipelines._recommend_text import summary
from uplift.pipelines._recommend_writing import Scores, decision_batches, describe
from uplift.pipelines._training import Progress, silent
from uplift.policy import decide, decision_schema, reason
from uplift.results import Rendered
from uplift.segments import assign_segments

CHUNK = 50_000
ROWS_PER_PART = 250_000
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_STAGING = ".staging"
_PLAN = "plan.json"
MANIFEST = "manifest.json"
CURRENT = "CURRENT"


@dataclass(frozen=True)
class Recommended(Rendered):
    """A finished run of decisions.

    Attributes
    ----------
    run
        Its name.
    folder
        Where its parts and manifest lie.
    manifest
        As written.
    repeated
        True when the same run had been finished before, and nothing was done.
    """

    run: str
    folder: Path
    manifest: Mapping[str, Any]
    repeated: bool

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a source and offer, with members."""
        return list(self.manifest["totals"]["by_source_and_offer"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"folder": str(self.folder), "repeated": self.repeated, **self.manifest}

    def text(self) -> str:
        """For the person at the prompt."""
        return summary(self.manifest, self.folder, repeated=self.repeated)


@dataclass(frozen=True)
class _Request:
    """What was asked for, with defaults filled in; kept beside the staged scores so that a run can be resumed."""

    as_of: datetime
    budget: float | None
    holdout: float
    explore: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "as_of": self.as_of.isoformat(),
            "budget": self.budget,
            "holdout": self.holdout,
            "explore": self.explore,
        }


def recommend(
    workspace: Workspace,
    as_of: str | date | datetime | None = None,
    *,
    run: str | None = None,
    resume: str | None = None,
    budget: float | None = None,
    registry: Champions | None = None,
    load: Loader = load_bundle,
    chunk: int = CHUNK,
    time_limit: float | None = None,
    progress: Progress = silent,
) -> Recommended:
    """Write ``decisions/run=RUN/`` with one decision for every member registered before ``as_of``.

    Parameters
    ----------
    as_of
        A date is its midnight in the workspace's zone. Not needed with ``resume``.
    run
        Name of the run; by default the date, with ``-2``, ``-3`` … when a run of that name was made of other inputs.
    resume
        Go on with an unfinished run of this name; scores that were staged are kept.
    budget
        Money (units) instead of the workspace's.
    registry, load
        Where champions come from and how they are loaded; the workspace's registry by default.
    chunk
        Members scored at a time.
    time_limit
        Seconds for the allocation; None: as long as it takes.

    Returns
    -------
    Recommended
        The same inputs give the same bytes; a run that is already there is returned as it is.

    Raises
    ------
    InputError
        If no uplift model serves, nobody is registered, a name is taken by other inputs, or there is nothing to
        resume or its inputs have changed.
    """
    if run is not None and resume is not None:
        raise ConfigError("--run begins a run and --resume goes on with one: give one of them")
    name = resume or run
    if name is not None and not _NAME.match(name):
        raise ConfigError(f"run {name!r}: expected letters, digits, '.', '_' and '-', beginning with a letter or digit")
    request = _request(workspace, as_of, budget, resume)
    report = current_check(workspace)
    with Engine.open(workspace) as engine:
        inputs = gather(engine, workspace, request.as_of, registry, load)
        fingerprint = _fingerprint(workspace, report, inputs, request)
        name, finished = _choose_name(workspace, request, name, fingerprint)
        folder = workspace.decisions / f"run={name}"
        if finished is not None:
            progress(f"run {name} is already there, made of the same inputs")
            write_pointer(workspace.decisions / CURRENT, folder.name)
            shutil.rmtree(workspace.decisions / _STAGING / folder.name, ignore_errors=True)
            return Recommended(name, folder, finished, repeated=True)
        staging = _stage(workspace, name, request, fingerprint, resuming=resume is not None)
        spine = spine_of_members(engine, request.as_of)
        if spine.num_rows == 0:
            raise InputError(f"no member was registered before {request.as_of.isoformat()}: choose a later --as-of")
        progress(f"{spine.num_rows:,} members, {len(inputs.offers)} offers")
        segmented = assign_segments(engine, request.as_of)
        if not segmented.table.column("member_id").equals(spine.column("member_id")):
            raise InputError("segments and members do not list the same members: the data changed while they were read")
        segments = segmented.table.column("segment").combine_chunks()
        scores = Scores(score_members(engine, inputs, spine, segments, staging, fingerprint, chunk, progress), inputs)
    manifest = _decide_and_write(
        workspace, inputs, scores, request, name, fingerprint, report, segmented.names, time_limit, progress
    )
    write_pointer(workspace.decisions / CURRENT, folder.name)
    shutil.rmtree(staging)
    return Recommended(name, folder, manifest, repeated=False)


def _decide_and_write(
    workspace: Workspace,
    inputs: Inputs,
    scores: Scores,
    request: _Request,
    name: str,
    fingerprint: str,
    report: CheckReport,
    segment_names: Mapping[str, tuple[str, str]],
    time_limit: float | None,
    progress: Progress,
) -> dict[str, Any]:
    judged = read_reasons(scores.table, len(inputs.offers))
    value = scores.value()
    quotas = [None if offer.quota is None else float(offer.quota) for offer in inputs.offers]
    seed = f"{name}/{request.as_of.isoformat()}"
    progress("allocating offers")
    decided = decide(
        scores.table.column("member_id").to_pylist(),
        value,
        inputs.costs,
        eligible=judged.mask,
        seed=seed,
        budget=request.budget,
        quotas=quotas,
        holdout_share=request.holdout,
        explore_share=request.explore,
        time_limit=time_limit,
    )
    reasoned = reason(decided, judged, value, quotas)
    writer = RunWriter(
        workspace.decisions / f"run={name}", decision_schema(list(inputs.outcomes)), rows_per_part=ROWS_PER_PART
    )
    progress("writing decisions")
    for batch in decision_batches(
        inputs, scores, decided, judged, reasoned, segment_names, workspace.zone, workspace.config.currency
    ):
        writer.write(batch)
    account = describe(
        inputs,
        decided,
        reasoned,
        budget=request.budget,
        holdout=request.holdout,
        segments=scores.table.column("segment").to_pylist(),
    )
    return writer.finish(
        {
            "run": name,
            "as_of": request.as_of.astimezone(workspace.zone).isoformat(),
            "timezone": workspace.config.timezone,
            "currency": workspace.config.currency,
            "seed": seed,
            "version": __version__,
            "fingerprint": fingerprint,
            "quarantine": {table: found.quarantined for table, found in report.tables.items()},
            **account,
        }
    )


def _request(
    workspace: Workspace, as_of: str | date | datetime | None, budget: float | None, resume: str | None
) -> _Request:
    config = workspace.config
    if budget is not None and not budget >= 0:
        raise ConfigError(f"budget {budget!r}: expected money of at least 0")
    moment = None if as_of is None else parse_as_of(as_of, workspace.zone)
    if resume is None:
        if moment is None:
            raise ConfigError("say as of when to decide: --as-of 2026-03-01")
        return _Request(moment, config.budget if budget is None else budget, config.holdout, config.explore)
    plan = _read_json(workspace.decisions / _STAGING / f"run={resume}" / _PLAN)
    if plan is None:
        plan = _read_json(workspace.decisions / f"run={resume}" / MANIFEST)
        if plan is None:
            raise InputError(f"there is no run {resume!r} to resume in {workspace.decisions}")
        plan = {**plan, **plan["constraints"], "explore": plan["constraints"]["explore_asked"]}
    moment_then = datetime.fromisoformat(plan["as_of"]).astimezone(UTC)
    found = _Request(moment_then, plan["budget"], plan["holdout"], plan["explore"])
    if moment is not None and moment != found.as_of:
        raise ConfigError(f"run {resume!r} is as of {found.as_of.isoformat()}; leave --as-of out, or begin a new run")
    if budget is not None and budget != found.budget:
        raise ConfigError(f"run {resume!r} has a budget of {found.budget}; leave --budget out, or begin a new run")
    return found


def _fingerprint(workspace: Workspace, report: CheckReport, inputs: Inputs, request: _Request) -> str:
    """Of everything that the decisions depend on, but the run's name."""
    config = workspace.config
    thresholds = workspace.root / "segments.yaml"
    return digest_of(
        {
            "request": request.to_dict(),
            "data": {
                name: [table.source, [file["sha256"] for file in table.files]] for name, table in report.tables.items()
            },
            "contract": report.contract,
            "models": [[model.name, model.digest] for model in inputs.models],
            "settings": [config.timezone, config.currency, config.margin],
            "segments": thresholds.read_text(encoding="utf-8") if thresholds.is_file() else None,
            "version": __version__,
        }
    )


def _choose_name(
    workspace: Workspace, request: _Request, name: str | None, fingerprint: str
) -> tuple[str, dict[str, Any] | None]:
    """The run's name, and its manifest if the same run is finished already."""
    local = request.as_of.astimezone(workspace.zone)
    base = name or (f"{local:%Y-%m-%d}" if f"{local:%H%M%S}" == "000000" else f"{local:%Y-%m-%dT%H%M%S}")
    number = 1
    while True:
        candidate = base if number == 1 else f"{base}-{number}"
        folder = workspace.decisions / f"run={candidate}"
        if not (folder / MANIFEST).is_file():
            return candidate, None
        manifest = read_manifest(folder)
        if manifest.get("fingerprint") == fingerprint:
            return candidate, read_manifest(folder, verify=True)
        if name is not None:
            raise InputError(
                f"run {name!r} was finished with other data, models or settings, and its decisions may be out already: "
                "choose another name with --run"
            )
        number += 1


def _stage(workspace: Workspace, name: str, request: _Request, fingerprint: str, *, resuming: bool) -> Path:
    """The folder of staged scores, with the plan in it."""
    staging = workspace.decisions / _STAGING / f"run={name}"
    plan = _read_json(staging / _PLAN)
    if resuming and (plan is None or plan.get("fingerprint") != fingerprint):
        raise InputError(
            f"run {name!r} cannot go on: the data, the models or the settings have changed since it began; "
            "begin a new run"
        )
    if plan is not None and plan.get("fingerprint") != fingerprint:
        shutil.rmtree(staging)
    write_json_atomic(staging / _PLAN, {**request.to_dict(), "fingerprint": fingerprint})
    return staging


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
