"""What people call the things of an experiment, in both languages."""

from __future__ import annotations

from typing import Any

from uplift.config import ExperimentSpec, Workspace
from uplift.data import Engine
from uplift.features import CATALOGUE
from uplift.pipelines._experiment_metrics import metric_label
from uplift.segments import workspace_thresholds

GENDERS = {
    "F": ("女", "female"), "M": ("男", "male"), "female": ("女", "female"), "male": ("男", "male"),
    "unknown": ("不详", "not known"),
}  # fmt: skip


def labels_of(engine: Engine, workspace: Workspace, spec: ExperimentSpec) -> dict[str, Any]:
    """Names for people: of arms (their offers), of metrics, of segment columns and of lifecycle segments."""
    offers = {row["offer_id"]: row for row in engine.query("SELECT offer_id, name_zh, name_en FROM offers").to_pylist()}
    labels: dict[str, Any] = {"control": {"zh": "对照组", "en": "control"}}
    labels |= {metric.name: metric_label(metric) for metric in spec.metrics}
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
    if "gender" in labels:
        values = {code: {"zh": zh, "en": en} for code, (zh, en) in GENDERS.items()}
        labels["gender"] = {"zh": "性别", "en": "Gender", "values": values}
    return labels
