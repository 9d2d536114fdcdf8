"""Every metric by name, with what it needs and how it reads: laws, leaderboards and reports go through this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from uplift.metrics import budget, calibration, classification, comparison, probability, ranking, value

Kind = Literal["ranking", "curve", "budget", "calibration", "policy", "classification", "reliability", "comparison"]


@dataclass(frozen=True)
class RegisteredMetric:
    """One metric.

    Attributes
    ----------
    function
        Called as its ``kind`` says: ``ranking``, ``curve`` and ``calibration`` as (effect, y, treatment, propensity);
        ``budget`` as (effect, cost, y, treatment, propensity); ``policy`` as (policy, y, treatment, propensity);
        ``classification`` and ``reliability`` as (y, p); ``comparison`` with two predictions in place of one.
    better
        Whether high or low values are better, or None where it depends.
    name_en, name_zh
        For people.
    """

    name: str
    function: Callable[..., object]
    kind: Kind
    better: Literal["high", "low"] | None
    name_en: str
    name_zh: str


_ALL = (
    RegisteredMetric("qini", ranking.qini, "ranking", "high", "Qini", "Qini 系数"),
    RegisteredMetric("auuc", ranking.auuc, "ranking", "high", "area under the uplift curve", "增益曲线下面积"),
    RegisteredMetric("autoc", ranking.autoc, "ranking", "high", "AUTOC", "AUTOC"),
    RegisteredMetric("qini_rate", ranking.qini_rate, "ranking", "high", "QINI (per member)", "QINI(人均)"),
    RegisteredMetric("uplift_at_k", ranking.uplift_at_k, "ranking", "high", "uplift at k", "前 k 增益"),
    RegisteredMetric("qini_curve", ranking.qini_curve, "curve", "high", "Qini curve", "Qini 曲线"),
    RegisteredMetric("uplift_curve", ranking.uplift_curve, "curve", "high", "uplift curve", "增益曲线"),
    RegisteredMetric("toc", ranking.toc, "curve", "high", "TOC curve", "TOC 曲线"),
    RegisteredMetric(
        "multi_arm_qini", budget.multi_arm_qini, "budget", "high", "Qini curve over a budget", "预算 Qini 曲线"
    ),
    RegisteredMetric(
        "effect_calibration", calibration.effect_calibration, "calibration", None, "effect calibration", "增益校准"
    ),
    RegisteredMetric("policy_value", value.policy_value, "policy", "high", "policy value", "策略价值"),
    RegisteredMetric("compare", comparison.compare, "comparison", "high", "paired comparison", "配对比较"),
    RegisteredMetric(
        "compare_budgets",
        comparison.compare_budgets,
        "comparison",
        "high",
        "paired comparison over a budget",
        "预算配对比较",
    ),
    RegisteredMetric("roc_auc", classification.roc_auc, "classification", "high", "AUC", "AUC"),
    RegisteredMetric(
        "average_precision", classification.average_precision, "classification", "high", "average precision", "平均精度"
    ),
    RegisteredMetric("lift_at_k", classification.lift_at_k, "classification", "high", "lift at k", "前 k 提升度"),
    RegisteredMetric("brier_score", probability.brier_score, "classification", "low", "Brier score", "Brier 分数"),
    RegisteredMetric(
        "calibration_error", probability.calibration_error, "classification", "low", "calibration error", "校准误差"
    ),
    RegisteredMetric("reliability", probability.reliability, "reliability", None, "reliability", "可靠性曲线"),
    RegisteredMetric(
        "compare_classifiers",
        classification.compare_classifiers,
        "comparison",
        "high",
        "paired comparison of risks",
        "风险配对比较",
    ),
)

METRICS: Mapping[str, RegisteredMetric] = MappingProxyType({entry.name: entry for entry in _ALL})
