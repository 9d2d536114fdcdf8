"""Measure a workspace's experiment: ``result.json`` and the report in both languages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from uplift.config import ExperimentSpec, Workspace, dump_yaml
from uplift.data import Engine, write_json_atomic
from uplift.errors import DesignError, InputError
from uplift.experiments import Text, analyze
from uplift.features import to_frame
from uplift.pipelines._experiment_closing import close
from uplift.pipelines._experiment_costs import Reached, arm_costs, planned_size, sample_ratio_stages
from uplift.pipelines._experiment_labels import labels_of
from uplift.pipelines._experiment_members import Members
from uplift.pipelines._experiment_metrics import SENT, measure_outcomes, sent_column
from uplift.pipelines._experiment_reached import touches_of
from uplift.pipelines._experiment_sections import sections
from uplift.pipelines._experiment_versions import VERSION, assigned_members
from uplift.pipelines._experiments import RESULT, Progress, experiment_spec, silent
from uplift.results import Rendered
from uplift.segments import build_columns


@dataclass(frozen=True)
class Analyzed(Rendered):
    """A measured experiment.

    Attributes
    ----------
    result
        What ``result.json`` holds.
    folder
        Where it and the two reports are.
    """

    result: Mapping[str, Any]
    folder: Path

    @property
    def valid(self) -> bool:
        """Whether the checks allow the numbers to be believed."""
        return bool(self.result["verdict"]["status"] != "invalid")

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row an effect."""
        return list(self.result["effects"])

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {**self.result, "files": [str(self.folder / name) for name in (RESULT, *_reports())]}

    def to_text(self) -> str:
        """For a person at the prompt."""
        srm = self.result["checks"]["srm"]
        ratio = (
            "not checked: no designed shares"
            if srm["passed"] is None
            else f"{_mark(srm['passed'])} (p = {srm['p_value']:.3g})"
        )
        lines = [self.result["verdict"]["zh"], self.result["verdict"]["en"]]
        for action in self.result.get("actions", ()):
            lines += ["", action["zh"], action["en"]]
        lines += ["", f"Sample ratio  {ratio}"]
        test = self.result["checks"]["balance_test"]
        if test["passed"] is not None:
            lines.append(f"Balance       {_mark(test['passed'])} (p = {test['p_value']:.3g})")
        if not self.valid:
            return "\n".join([*lines, "", *(f"  {self.folder / name}" for name in (RESULT, *_reports()))])
        lines += ["", f"{'metric':<16}{'arm':<24}{'control':>10}{'effect':>11}{'95% from':>11}{'to':>11}{'adj. p':>11}"]
        kinds = {metric["name"]: metric["kind"] for metric in self.result["metrics"]}
        for row in self.result["effects"]:
            if row["segment_column"] is None:
                lines.append(_line(row, rate=kinds[row["metric"]] in ("rate", "retention")))
        lines += ["", *(f"  {self.folder / name}" for name in (RESULT, *_reports()))]
        return "\n".join(lines)


def _reports() -> tuple[str, str]:
    return "report.zh.html", "report.en.html"


def _mark(passed: bool) -> str:
    return "passed" if passed else "FAILED"


def _line(row: Mapping[str, Any], *, rate: bool) -> str:
    scale, digits = (100.0, 2) if rate else (1.0, 3)

    def cell(value: float | None, width: int, sign: str = "+") -> str:
        unit = "" if not rate else " pt" if sign else "%"
        return f"{'–':>{width}}" if value is None else f"{scale * value:{sign},.{digits}f}{unit}".rjust(width)

    p = "–" if row["p_adjusted"] is None else f"{row['p_adjusted']:.3g}"
    return (
        f"{row['metric'][:15]:<16}{row['arm'][:23]:<24}{cell(row['control_mean'], 10, '')}{cell(row['effect'], 11)}"
        f"{cell(row['low'], 11)}{cell(row['high'], 11)}{p:>11}"
    )


def analyze_workspace(
    workspace: Workspace,
    experiment_id: str,
    *,
    out: str | Path | None = None,
    version: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Analyzed:
    """Measure a workspace's experiment, as its definition says.

    Members are those assigned; covariates and segments are as of each member's own assignment; outcomes lie strictly
    after it and within each metric's window. Money is in units of the workspace's currency.

    Parameters
    ----------
    experiment_id
        Name of a file in ``experiments/``.
    out
        Folder for ``result.json`` and the reports; None: ``reports/experiments/ID/``.
    version
        Only members whom this version of the design assigned; None: all versions, each a stratum.

    Raises
    ------
    InputError
        If the definition or the data do not allow it.
    """
    spec = experiment_spec(workspace, experiment_id)
    folder = workspace.reports / "experiments" / spec.id if out is None else Path(out)
    with Engine.open(workspace) as engine:
        assigned = assigned_members(engine, workspace, spec, version)
        spine = assigned.spine
        progress(f"{spec.id}: {spine.num_rows:,} assignments")
        reached = _exposure(engine, spine, spec)
        measured = measure_outcomes(engine, spine, spec, workspace.config.currency)
        table, metrics = measured.table, measured.metrics
        sent = sent_column(engine, spine, spec)
        progress(f"{len(metrics)} metrics, {len(spec.covariates)} covariates, {len(spec.segments)} segment columns")
        clustered = [spec.cluster] if spec.cluster else []
        columns = list(dict.fromkeys((*spec.stratify, *spec.covariates, *spec.segments, *clustered)))
        known = build_columns(engine, spine.select(["member_id", "as_of"]), columns)
        table = pd.concat([table, to_frame(known, columns)], axis=1)
        labels = labels_of(engine, workspace, spec)
        costs = arm_costs(engine, spec, reached, workspace.config.min_cell)
        progress("what lasts, other experiments, tags, funnel")
        decisive = table[metrics[0].name].to_numpy(dtype=np.float64) if metrics[0].name in table else None
        more: dict[str, Any] = {}
        if set(spine["arm"].unique().to_pylist()) <= set(spec.shares):  # else the analysis refuses, naming the arms
            members = Members.of(spine, spec, table, workspace.config.min_cell)
            more, groups = sections(engine, workspace, spec, members, decisive)
            touched = touches_of(engine, spec, members)
    covariates = list(dict.fromkeys((*spec.stratify, *spec.covariates)))
    if sent is not None:
        table[SENT] = sent
    if assigned.pooled:
        table[VERSION] = spine["version"].to_pandas().astype(str).to_numpy()
    ratios = assigned.sample_ratios()
    broken = [row for row in ratios if row["passed"] is False] if assigned.pooled else []
    analysis = analyze(
        table, arm="arm", control=spec.control, metrics=[metric.name for metric in metrics], covariates=covariates,
        segments=spec.segments, weights=assigned.shares, unit="member_id", alpha=spec.alpha,
        min_cell=workspace.config.min_cell, metric_specs={metric.name: metric for metric in metrics},
        strata=(VERSION,) if assigned.pooled else (), cluster=spec.cluster,
        planned_size=planned_size(spec, spine), looks=spec.looks, missing="drop", early=measured.early, names=labels,
        costs=costs, exposed=None if sent is None else SENT, seed=seed,
        invalid=[
            Text(
                f"第 {row['version']} 版的各组人数与设计比例不符，先查清原因再看效果",
                f"the sizes of the arms of version {row['version']} differ from its design: find the cause first",
            )
            for row in broken
        ],
    )  # fmt: skip
    result = analysis.to_dict()
    result["design"].update(
        id=spec.id, version=spec.version, name_zh=spec.name_zh, name_en=spec.name_en, hypothesis=spec.hypothesis,
        labels=labels, costs=costs,
        versions=[
            {"version": v.version, "members": v.members, "assigned_at": v.assigned_at or None, "shares": v.shares}
            for v in assigned.versions
        ],
    )  # fmt: skip
    stages = sample_ratio_stages(spec, assigned, reached, table, metrics[0].name)
    result["checks"].update(
        exposure=_exposed(result["checks"].get("exposure", {}), reached.shown(workspace.config.min_cell)),
        window=measured.window,
        srm_versions=ratios,
        srm_stages=stages,
    )
    if analysis.verdict.status != "invalid":
        result.update(more)
        close(result, members, table, touched, *groups)
    result["currency"] = workspace.config.currency
    result["notes"] = [note._asdict() for note in (*assigned.notes, *measured.notes)] + result["notes"]
    result["provenance"]["definition_hash"] = hashlib.sha256(dump_yaml(spec).encode()).hexdigest()
    return write_result(result, folder, progress)


def _exposed(counted: Mapping[str, Any], touched: Mapping[str, Any]) -> dict[str, Any]:
    """Who was sent something by arm, with those who were not where that is known."""
    return {arm: {**row, "not_sent": counted.get(arm, {}).get("not_sent")} for arm, row in touched.items()}


def write_result(result: dict[str, Any], folder: Path, progress: Progress) -> Analyzed:
    """``result.json`` and the reports in both languages.

    Raises
    ------
    InputError
        If the folder is a file.
    """
    from uplift.reports import write_experiment_report

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, where the folder of the result should be")
    progress(f"writing {folder}")
    write_json_atomic(folder / RESULT, result)
    write_experiment_report(result, folder)
    return Analyzed(result, folder)


def _exposure(engine: Engine, spine: pa.Table, spec: ExperimentSpec) -> Reached:
    """Members by arm to whom something was sent, and who redeemed; refuses what happened before the assignment."""
    engine.register("_spine", spine)
    rows = engine.query(
        """
        SELECT s.arm, count(DISTINCT t.member_id) AS sent,
          count(DISTINCT t.member_id) FILTER (WHERE t.redeemed_at IS NOT NULL) AS redeemed,
          count(DISTINCT t.member_id) FILTER (
            WHERE least(t.sent_at, t.delivered_at, t.opened_at, t.clicked_at, t.redeemed_at) < s.as_of) AS before
        FROM touches t JOIN _spine s USING (member_id) WHERE t.experiment_id = $id GROUP BY s.arm
        """,
        {"id": spec.id},
    ).to_pylist()
    engine.unregister("_spine")
    early = sum(row["before"] for row in rows)
    if early:
        raise DesignError(
            f"for {early:,} members of {spec.id!r} a touch of this experiment happened before their assignment → "
            "correct assigned_at, or the touches' times: what came before cannot be an outcome"
        )
    sizes = spine["arm"].to_pandas().value_counts()
    names = [arm.name for arm in spec.arms]
    found = {row["arm"]: row for row in rows}
    return Reached(
        {name: int(sizes.get(name, 0)) for name in names},
        {name: int(found.get(name, {}).get("sent", 0)) for name in names},
        {name: int(found.get(name, {}).get("redeemed", 0)) for name in names},
    )
