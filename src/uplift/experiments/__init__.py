"""Experiments: design, assignment, and an analysis whose every number says how sure it is."""

from uplift.experiments._encoding import Encoded, encode
from uplift.experiments._families import Correction
from uplift.experiments._hashing import hash_uniform
from uplift.experiments._metric import Metric, roles
from uplift.experiments._outcomes import Missing
from uplift.experiments._result import Analysis, Effect, Interaction
from uplift.experiments._text import Text
from uplift.experiments.actions import Action
from uplift.experiments.analysis import analyze, analyze_table
from uplift.experiments.assignment import Assignment, assign
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
from uplift.experiments.contrasts import Meeting, Novelty, TagEffect, contrast, meeting, novelty, tag_effects
from uplift.experiments.estimators import ArmMeans, ArmRegression, Difference, Ratio, difference, fieller
from uplift.experiments.exposure import EffectOnExposed, effect_on_exposed
from uplift.experiments.layers import in_slice, layer_conflicts
from uplift.experiments.longterm import Horizon, Projection, horizon, project
from uplift.experiments.moments import Moments
from uplift.experiments.multiplicity import benjamini_hochberg, dunnett, holm
from uplift.experiments.planning import DesignEffect, design_effect, explained_variance, linearised_ratio
from uplift.experiments.power import ArmPower, Power, power
from uplift.experiments.sequential import Look, anytime_half_width, anytime_p_value, look
from uplift.experiments.shrinkage import Shrunk, robust_critical_value, shrink
from uplift.experiments.simulated_power import SimulatedPower, simulate_power
from uplift.experiments.spending import boundary, crossing_probability, spent
from uplift.experiments.survival import Survival, survival
from uplift.experiments.verdict import Verdict
from uplift.experiments.versions import Version, poolable, refuse_silent_change, version_notes

__all__ = [
    "Action",
    "Analysis",
    "ArmMeans",
    "ArmPower",
    "ArmRegression",
    "Assignment",
    "Balance",
    "Correction",
    "DesignEffect",
    "Difference",
    "Effect",
    "EffectOnExposed",
    "Encoded",
    "Horizon",
    "Interaction",
    "Look",
    "Meeting",
    "Metric",
    "Missing",
    "Moments",
    "Novelty",
    "Power",
    "Projection",
    "Ratio",
    "SampleRatio",
    "Shrunk",
    "SimulatedPower",
    "Stage",
    "StageRatio",
    "Survival",
    "TagEffect",
    "Text",
    "Verdict",
    "Version",
    "analyze",
    "analyze_table",
    "anytime_half_width",
    "anytime_p_value",
    "assign",
    "balance",
    "benjamini_hochberg",
    "boundary",
    "contrast",
    "crossing_probability",
    "design_effect",
    "diagnose_sample_ratio",
    "difference",
    "dunnett",
    "effect_on_exposed",
    "encode",
    "explained_variance",
    "fieller",
    "hash_uniform",
    "holm",
    "horizon",
    "in_slice",
    "layer_conflicts",
    "linearised_ratio",
    "look",
    "meeting",
    "novelty",
    "poolable",
    "power",
    "project",
    "refuse_silent_change",
    "robust_critical_value",
    "roles",
    "sample_ratio",
    "sample_ratio_evidence",
    "shrink",
    "simulate_power",
    "spent",
    "survival",
    "tag_effects",
    "version_notes",
]
