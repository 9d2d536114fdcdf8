"""Uplift and churn estimators with scikit-learn's interface.

Uplift learners share ``fit(X, y, treatment, *, propensity, sample_weight, groups)`` and ``predict(X)`` →
``(n, n_arms)``. Meta-learners grow LightGBM boosters, which are kept as text, so ``save`` and ``load`` need no pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from uplift.errors import unknown_name
from uplift.learners._arm_scores import arm_scores, expectations
from uplift.learners._encoder import FrameEncoder
from uplift.learners._inputs import Arms
from uplift.learners._propensity import estimated_propensity
from uplift.learners._shrinkage import Shrinkage, Shrunk, pooled, shrink
from uplift.learners._training import OutcomeFitter, Training
from uplift.learners.base import BaseUpliftLearner, Explanation, effect_table, fit_together
from uplift.learners.baselines import ConstantEffect, LogisticTLearner, NoEffect, ResponseModel
from uplift.learners.bgnbd import BGNBD, histories_from_orders
from uplift.learners.churn import ChurnModel
from uplift.learners.class_transformation import ClassTransformation
from uplift.learners.ensemble import EnsembleLearner, Member, combined_program, scores_in_parts, telling_of_parts
from uplift.learners.forests import CausalForest, UpliftForest
from uplift.learners.linear_dr import EffectInterval, EffectRegression, LinearDRLearner
from uplift.learners.meta import BoostedLearner, DRLearner, RLearner, SLearner, TLearner, XLearner
from uplift.learners.persistence import load, read_features, save
from uplift.learners.recency import RecencyRule

LEARNERS: Mapping[str, type[BaseUpliftLearner]] = MappingProxyType(
    {
        "S": SLearner,
        "T": TLearner,
        "X": XLearner,
        "R": RLearner,
        "DR": DRLearner,
        "logistic_T": LogisticTLearner,
        "constant": ConstantEffect,
        "none": NoEffect,
        "response": ResponseModel,
        "linear_DR": LinearDRLearner,
        "ensemble": EnsembleLearner,
        "causal_forest": CausalForest,
        "uplift_forest": UpliftForest,
        "class_transformation": ClassTransformation,
    }
)


def make_learner(name: str, **params: Any) -> BaseUpliftLearner:
    """A learner by its name in ``LEARNERS``, with those of the parameters that it has.

    So candidates of different kinds can be made from one set of settings: booster parameters go to boosted learners
    only. A parameter that no learner has is refused.

    Examples
    --------
    >>> make_learner("none", control="none", num_leaves=8, random_state=0)
    NoEffect(control='none', random_state=0)
    """
    if name not in LEARNERS:
        raise unknown_name("learner", name, LEARNERS)
    known = set().union(*(cls._get_param_names() for cls in LEARNERS.values()))
    for parameter in params:
        if parameter not in known:
            raise unknown_name("parameter", parameter, sorted(known))
    own = set(LEARNERS[name]._get_param_names())
    return LEARNERS[name](**{key: value for key, value in params.items() if key in own})


__all__ = [
    "BGNBD",
    "LEARNERS",
    "Arms",
    "BaseUpliftLearner",
    "BoostedLearner",
    "CausalForest",
    "ChurnModel",
    "ClassTransformation",
    "ConstantEffect",
    "DRLearner",
    "EffectInterval",
    "EffectRegression",
    "EnsembleLearner",
    "Explanation",
    "FrameEncoder",
    "LinearDRLearner",
    "LogisticTLearner",
    "Member",
    "NoEffect",
    "OutcomeFitter",
    "RLearner",
    "RecencyRule",
    "ResponseModel",
    "SLearner",
    "Shrinkage",
    "Shrunk",
    "TLearner",
    "Training",
    "UpliftForest",
    "XLearner",
    "arm_scores",
    "combined_program",
    "effect_table",
    "estimated_propensity",
    "expectations",
    "fit_together",
    "histories_from_orders",
    "load",
    "make_learner",
    "pooled",
    "read_features",
    "save",
    "scores_in_parts",
    "shrink",
    "telling_of_parts",
]
