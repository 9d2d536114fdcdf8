"""Cross-fitting, comparison, selection and gates: what a model is worth before anybody is sent anything."""

from uplift.evaluation.folds import TimeSplit, fold_ids, time_split
from uplift.evaluation.gain import PolicyGain, best_arm, gain_curve, policy_gain
from uplift.evaluation.gates import GateResult, churn_gate, gate, uplift_gate
from uplift.evaluation.groups import GroupEffect, GroupEffects, group_effects
from uplift.evaluation.intervals import EffectBand, EffectBands, effect_bands
from uplift.evaluation.responders import ResponderRule, ResponderRules, responder_rules
from uplift.evaluation.scores import Scores, aipw_scores
from uplift.evaluation.search import SIMPLICITY, UpliftSearchCV
from uplift.evaluation.units import GainUnit
from uplift.metrics import ChurnMetrics, Reliability, churn_metrics, reliability

__all__ = [
    "SIMPLICITY",
    "ChurnMetrics",
    "EffectBand",
    "EffectBands",
    "GainUnit",
    "GateResult",
    "GroupEffect",
    "GroupEffects",
    "PolicyGain",
    "Reliability",
    "ResponderRule",
    "ResponderRules",
    "Scores",
    "TimeSplit",
    "UpliftSearchCV",
    "aipw_scores",
    "best_arm",
    "churn_gate",
    "churn_metrics",
    "effect_bands",
    "fold_ids",
    "gain_curve",
    "gate",
    "group_effects",
    "policy_gain",
    "reliability",
    "responder_rules",
    "time_split",
    "uplift_gate",
]
