"""Measure an experiment, from a workspace or from a flat table: ``result.json`` and the report in both languages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from uplift.config import ExperimentSpec, MetricSpec, Workspace, dump_yaml
from uplift.data import Engine, write_json_atomic
from uplift.data.readers import read_flat
from uplift.errors import ConfigError, DesignError, InputError, did_you_mean, unknown_name
from uplift.experiments import Metric, Missing, Text, analyze
from uplift.features import CATALOGUE, OUTCOMES, observed_until, outcomes, to_frame
from uplift.pipelines._experiments import CENTS, RESULT, Progress, assigned_file, experiment_spec, parse_shares, silent
from uplift.results import Rendered
from uplift.segments import build_columns, workspace_thresholds


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
        lines = [self.result["verdict"]["zh"], self.result["verdict"]["en"], "", f"Sample ratio  {ratio}"]
        test = self.result["checks"]["balance_test"]
        if test["passed"] is not None:
            lines.append(f"Balance       {_mark(test['passed'])} (p = {test['p_value']:.3g})")
        lines += ["", f"{'metric':<16}{'arm':<24}{'control':>10}{'effect':>11}{'95% from':>11}{'to':>11}{'adj. p':>11}"]
        kinds = {metric["name"]: metric["kind"] for metric in self.result["metrics"]}
        for row in self.result["effects"]:
            if row["segment_column"] is None:
                lines.append(_line(row, rate=kinds[row["metric"]] == "rate"))
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


def analyze_flat(
    data: str | Path,
    *,
    arm: str,
    control: str,
    metrics: Sequence[str],
    out: str | Path,
    shares: Sequence[str] = (),
    covariates: Sequence[str] = (),
    segments: Sequence[str] = (),
    strata: Sequence[str] = (),
    cluster: str | None = None,
    unit: str | None = None,
    guardrails: Sequence[str] = (),
    decreases: Sequence[str] = (),
    alpha: float = 0.05,
    min_cell: int = 11,
    planned_size: int | None = None,
    missing: Missing = "refuse",
    seed: int = 0,
    progress: Progress = silent,
) -> Analyzed:
    """Measure an experiment from a flat table (CSV or Parquet), one row a member.

    Parameters
    ----------
    data
        The table.
    metrics, guardrails
        Outcome columns to improve, and outcome columns that must only not be harmed.
    shares
        Designed shares as ``ARM=SHARE``; empty: the sample ratio is not checked.
    decreases
        Metrics of which less is better.
    out
        Folder for ``result.json`` and the reports.

    Raises
    ------
    InputError
        If the table cannot be read or cannot be analysed as asked.
    """
    names = [*metrics, *(name for name in guardrails if name not in metrics)]
    for name in decreases:
        if name not in names:
            raise unknown_name("metric", name, names, ConfigError)
    weights = parse_shares(shares)
    table = read_flat(data)
    progress(f"{len(table):,} rows, {len(names)} metrics")
    marked = {*guardrails, *decreases}
    specs = {
        name: _flat_metric(name, table, increase=name not in decreases, guardrail=name in guardrails)
        for name in names
        if name in marked and name in table.columns
    }
    analysis = analyze(
        table, arm=arm, control=control, metrics=names, covariates=covariates, segments=segments, weights=weights,
        cluster=cluster, strata=strata, unit=unit, alpha=alpha, min_cell=min_cell, metric_specs=specs,
        planned_size=planned_size, missing=missing, seed=seed,
    )  # fmt: skip
    return _write(analysis.to_dict(), Path(out), progress)


def _flat_metric(name: str, table: pd.DataFrame, *, increase: bool, guardrail: bool) -> Metric:
    values = pd.to_numeric(table[name], errors="coerce").dropna()
    binary = bool(values.isin((0, 1)).all())
    return Metric(
        name, "rate" if binary else "mean", "share" if binary else None, increase=increase, guardrail=guardrail
    )


def analyze_workspace(
    workspace: Workspace,
    experiment_id: str,
    *,
    out: str | Path | None = None,
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

    Raises
    ------
    InputError
        If the definition or the data do not allow it.
    """
    spec = experiment_spec(workspace, experiment_id)
    folder = workspace.reports / "experiments" / spec.id if out is None else Path(out)
    with Engine.open(workspace) as engine:
        spine = _spine(engine, workspace, spec)
        progress(f"{spec.id}: {spine.num_rows:,} assignments")
        _propensities(spine, spec)
        exposure = _exposure(engine, spine, spec, workspace.config.min_cell)
        table, metrics, early, notes, window = _measured(engine, spine, spec, workspace.config.currency)
        progress(f"{len(metrics)} metrics, {len(spec.covariates)} covariates, {len(spec.segments)} segment columns")
        columns = list(dict.fromkeys((*spec.stratify, *spec.covariates, *spec.segments)))
        known = build_columns(engine, spine.select(["member_id", "as_of"]), columns)
        table = pd.concat([table, to_frame(known, columns)], axis=1)
        labels = _labels(engine, workspace, spec)
    covariates = list(dict.fromkeys((*spec.stratify, *spec.covariates)))
    analysis = analyze(
        table, arm="arm", control=spec.control, metrics=[metric.name for metric in metrics], covariates=covariates,
        segments=spec.segments, weights=spec.shares, unit="member_id", alpha=spec.alpha,
        min_cell=workspace.config.min_cell, metric_specs={metric.name: metric for metric in metrics},
        planned_size=spec.planned_size, missing="drop", early=early, names=labels, seed=seed,
    )  # fmt: skip
    result = analysis.to_dict()
    result["design"].update(
        id=spec.id, version=spec.version, name_zh=spec.name_zh, name_en=spec.name_en, hypothesis=spec.hypothesis,
        labels=labels,
    )  # fmt: skip
    result["checks"].update(exposure=exposure, window=window)
    result["currency"] = workspace.config.currency
    result["notes"] = [note._asdict() for note in notes] + result["notes"]
    result["provenance"]["definition_hash"] = hashlib.sha256(dump_yaml(spec).encode()).hexdigest()
    return _write(result, folder, progress)


def _write(result: dict[str, Any], folder: Path, progress: Progress) -> Analyzed:
    from uplift.reports import write_experiment_report

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, where the folder of the result should be")
    progress(f"writing {folder}")
    write_json_atomic(folder / RESULT, result)
    write_experiment_report(result, folder)
    return Analyzed(result, folder)


def _spine(engine: Engine, workspace: Workspace, spec: ExperimentSpec) -> pa.Table:
    select = "SELECT member_id, assigned_at AS as_of, arm, propensity FROM {source} ORDER BY member_id"
    spine = engine.query(select.format(source="assignments WHERE experiment_id = $id"), {"id": spec.id})
    if spine.num_rows:
        return spine
    path = assigned_file(workspace, spec)
    if path.is_file():
        return engine.query(select.format(source="read_parquet($path)"), {"path": str(path)})
    known = engine.query("SELECT DISTINCT experiment_id FROM assignments ORDER BY 1")["experiment_id"].to_pylist()
    raise DesignError(
        f"experiment {spec.id!r} has no row in the table assignments ({did_you_mean(spec.id, known)}) and none was "
        f"written by `uplift experiment assign {spec.id}`"
    )


def _propensities(spine: pa.Table, spec: ExperimentSpec) -> None:
    """Refuse rows whose logged chance is not the designed share: their arms do not compare as they stand."""
    logged = spine.select(["arm", "propensity"]).to_pandas()
    designed = logged["arm"].map(spec.shares)
    differs = (logged["propensity"] - designed).abs() > 1e-3
    if differs.any():
        example = logged[differs].iloc[0]
        raise DesignError(
            f"{int(differs.sum()):,} of {len(logged):,} assignments of {spec.id!r} logged another chance than the "
            f"design, e.g. {example['propensity']:.4g} for arm {example['arm']!r} where the definition says "
            f"{spec.shares[example['arm']]:.4g} → correct the shares in the definition, or give the assignments of a "
            "changed design an experiment of their own"
        )


def _exposure(engine: Engine, spine: pa.Table, spec: ExperimentSpec, min_cell: int) -> dict[str, Any]:
    """Members by arm to whom something was sent; refuses what happened before the assignment."""
    engine.register("_spine", spine)
    rows = engine.query(
        """
        SELECT s.arm, count(DISTINCT t.member_id) AS sent,
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
    sent = {row["arm"]: row["sent"] for row in rows}
    return {arm.name: {"sent": _shown(sent.get(arm.name, 0), min_cell)} for arm in spec.arms}


def _shown(count: int, min_cell: int) -> int | None:
    return count if count == 0 or count >= min_cell else None


def _metric(spec: MetricSpec, currency: str) -> Metric:
    """The metric as declared, with the unit that the outcome's catalogue knows."""
    unit = OUTCOMES[spec.outcome].unit
    return Metric(
        spec.name, spec.kind, unit if spec.kind == "mean" or unit != "money" else spec.unit,
        currency if unit == "money" else None, spec.goal == "increase", spec.guardrail, spec.window_days, spec.outcome,
    )  # fmt: skip


def _measured(
    engine: Engine, spine: pa.Table, spec: ExperimentSpec, currency: str
) -> tuple[pd.DataFrame, list[Metric], list[Text], list[Text], dict[str, Any]]:
    """Arms and outcomes, one row an assignment; outcomes whose window is still open are empty."""
    unknown = [unknown_name("outcome", m.outcome, OUTCOMES) for m in spec.metrics if m.outcome not in OUTCOMES]
    if unknown:
        raise DesignError("; ".join(map(str, unknown)))
    until = observed_until(engine)
    wanted = {f"metric {i}": (m.outcome, m.window_days) for i, m in enumerate(spec.metrics)}
    measured = outcomes(engine, spine.select(["member_id", "as_of"]), wanted, until=until)
    table = spine.select(["member_id", "arm"]).to_pandas()
    metrics, early, notes = [], [], []
    window: dict[str, Any] = {"observed_until": None if until is None else until.isoformat(), "metrics": []}
    last = max(spine["as_of"].to_pylist())
    for name, given in zip(wanted, spec.metrics, strict=True):
        values = measured[name].to_numpy(zero_copy_only=False)
        is_open = int(pd.isna(values).sum())
        window["metrics"].append({"metric": given.name, "window_days": given.window_days, "open": is_open})
        ready = last + timedelta(days=given.window_days)
        when = f"{ready:%Y-%m-%d}"
        if is_open == len(values):
            notes.append(
                Text(
                    f"指标 {given.name} 的 {given.window_days} 天窗口对所有人都未结束，{when} 之后才有数字",
                    f"metric {given.name}: the window of {given.window_days} days is open for everybody, "
                    f"numbers come after {when}",
                )
            )
            continue
        if is_open:
            early.append(
                Text(
                    f"{given.name} 的 {given.window_days} 天窗口还有 {is_open:,} 人未结束，{when} 之后完整",
                    f"the window of {given.name} ({given.window_days} days) is still open for {is_open:,} members, "
                    f"complete after {when}",
                )
            )
        money = OUTCOMES[given.outcome].unit == "money"
        table[given.name] = values / CENTS if money else values
        metrics.append(_metric(given, currency))
    if not metrics:
        raise DesignError("; ".join(note.en for note in notes) + " → come back then, or shorten window_days")
    return table, metrics, early, notes, window


def _labels(engine: Engine, workspace: Workspace, spec: ExperimentSpec) -> dict[str, Any]:
    """Names for people: of arms (their offers), of metrics, of segment columns and of lifecycle segments."""
    offers = {row["offer_id"]: row for row in engine.query("SELECT offer_id, name_zh, name_en FROM offers").to_pylist()}
    labels: dict[str, Any] = {"control": {"zh": "对照组", "en": "control"}}
    for metric in spec.metrics:
        outcome = OUTCOMES[metric.outcome]
        labels[metric.name] = {"zh": outcome.text_zh, "en": outcome.text_en}
    for arm in spec.arms:
        offer = offers.get(arm.offer_id or "")
        if offer and offer["name_zh"] and offer["name_en"]:
            labels[arm.name] = {"zh": offer["name_zh"], "en": offer["name_en"]}
    for column in dict.fromkeys((*spec.segments, *spec.covariates)):
        feature = CATALOGUE.get(column)
        if feature is not None:
            labels[column] = {"zh": feature.text_zh, "en": feature.text_en}
    if "segment" in spec.segments:
        names = workspace_thresholds(workspace).names
        values = {key: {"zh": zh, "en": en} for key, (zh, en) in names.items()}
        labels["segment"] = {"zh": "人群", "en": "Segment", "values": values}
    return labels
