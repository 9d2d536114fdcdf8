"""Ranking, calibration and policy metrics with intervals: pure numpy, no drawing.

Every scalar is a :class:`Metric`: ``.value .se .low .high .p_value .n .unit``, and a float itself.
"""

from uplift.metrics._functionals import Options
from uplift.metrics._results import Curve, Metric
from uplift.metrics.budget import BudgetCurve, multi_arm_qini
from uplift.metrics.calibration import Calibration, CalibrationGroup, effect_calibration
from uplift.metrics.classification import (
    ChurnMetrics,
    average_precision,
    churn_metrics,
    compare_classifiers,
    lift_at_k,
    roc_auc,
)
from uplift.metrics.comparison import compare, compare_budgets
from uplift.metrics.probability import Reliability, ReliabilityPoint, brier_score, calibration_error, reliability
from uplift.metrics.ranking import (
    autoc,
    auuc,
    qini,
    qini_curve,
    qini_rate,
    toc,
    uplift_at_k,
    uplift_curve,
)
from uplift.metrics.registry import METRICS, RegisteredMetric
from uplift.metrics.value import policy_value

__all__ = [
    "METRICS",
    "BudgetCurve",
    "Calibration",
    "CalibrationGroup",
    "ChurnMetrics",
    "Curve",
    "Metric",
    "Options",
    "RegisteredMetric",
    "Reliability",
    "ReliabilityPoint",
    "autoc",
    "auuc",
    "average_precision",
    "brier_score",
    "calibration_error",
    "churn_metrics",
    "compare",
    "compare_budgets",
    "compare_classifiers",
    "effect_calibration",
    "lift_at_k",
    "multi_arm_qini",
    "policy_value",
    "qini",
    "qini_curve",
    "qini_rate",
    "reliability",
    "roc_auc",
    "toc",
    "uplift_at_k",
    "uplift_curve",
]
