"""Experiments: design, assignment, and an analysis whose every number says how sure it is."""

from uplift.experiments._encoding import Encoded, encode
from uplift.experiments._inputs import Metric, Missing, roles
from uplift.experiments._result import Analysis, Effect, Interaction
from uplift.experiments._text import Text
from uplift.experiments.analysis import analyze
from uplift.experiments.assignment import Assignment, assign, hash_uniform
from uplift.experiments.checks import (
    Balance,
    SampleRatio,
    Stage,
    StageRatio,
    balance,
    diagnose_sample_ratio,
    sample_ratio,
    sample_ratio_evidence,
)
from uplift.experiments.estimators import ArmMeans, ArmRegression, Difference, Ratio, difference, fieller
from uplift.experiments.multiplicity import benjamini_hochberg, holm
from uplift.experiments.power import ArmPower, Power, SimulatedPower, explained_variance, power, simulate_power
from uplift.experiments.sequential import Look, anytime_half_width, anytime_p_value, look
from uplift.experiments.shrinkage import Shrunk, robust_critical_value, shrink
from uplift.experiments.spending import boundary, crossing_probability, spent
from uplift.experiments.verdict import Verdict

__all__ = [
    "Analysis",
    "ArmMeans",
    "ArmPower",
    "ArmRegression",
    "Assignment",
    "Balance",
    "Difference",
    "Effect",
    "Encoded",
    "Interaction",
    "Look",
    "Metric",
    "Missing",
    "Power",
    "Ratio",
    "SampleRatio",
    "Shrunk",
    "SimulatedPower",
    "Stage",
    "StageRatio",
    "Text",
    "Verdict",
    "analyze",
    "anytime_half_width",
    "anytime_p_value",
    "assign",
    "balance",
    "benjamini_hochberg",
    "boundary",
    "crossing_probability",
    "diagnose_sample_ratio",
    "difference",
    "encode",
    "explained_variance",
    "fieller",
    "hash_uniform",
    "holm",
    "look",
    "power",
    "robust_critical_value",
    "roles",
    "sample_ratio",
    "sample_ratio_evidence",
    "shrink",
    "simulate_power",
    "spent",
]
