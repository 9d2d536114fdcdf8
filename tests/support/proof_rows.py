"""What must be proved, by id: every method of the platform with a claim that a simulation or a test can refute.

A test that proves one of these records it with the fixture ``proof``; ``tests/truth/test_proof_table.py`` fails for an
id that nobody recorded, unless it is named in :data:`NOT_YET`, and fails for a name in there that has been recorded.
"""

from __future__ import annotations

PARTS = {
    "learners": "Uplift learners",
    "metrics": "Ranking metrics",
    "evaluation": "Evaluation and selection",
    "experiments": "Experiments",
    "policy": "Policies",
    "churn": "Churn",
    "features": "Features",
}

ROWS = {
    "learners/known-propensity": "known propensities are used",
    "learners/cross-fitting": "nuisances are cross-fitted on one assignment of folds",
    "learners/arms-as-arms": "K arms are fitted as K arms",
    "learners/class-transformation": "class transformation only at propensity ½",
    "learners/categories-and-missing": "categories and missing values as they are",
    "learners/threads": "one owner of threads",
    "learners/clone-and-seed": "the caller's estimator is cloned; a seed makes fits identical",
    "learners/ensemble": "learners are averaged by held-out scores, shrunk towards one effect for all",
    "learners/simple-candidates": "no effect, constant effect, logistic T and response model among the candidates",
    "learners/intervals": "intervals of effects",
    "learners/forests": "forests of causalml's trees, without its bags and penalties",
    "metrics/absolute-units": "absolute units; no division by a total near zero",
    "metrics/ties": "equal scores are one group: a constant score has no Qini",
    "metrics/oracles": "AUTOC weights the TOC by 1, QINI by q",
    "metrics/one-sided": "one-sided p-values",
    "metrics/intervals": "intervals by half-samples of one sort",
    "metrics/paired": "two models are compared on the same draws",
    "metrics/budget": "several arms over a budget, any sign of cost",
    "metrics/calibration": "calibration of effects",
    "metrics/compat": "what scikit-uplift, causalml and grf would print",
    "metrics/invariances": "invariances of every registered metric",
    "metrics/peers": "defects of other libraries",
    "metrics/risks": "metrics of risks",
    "evaluation/segments": "effects by segment",
    "evaluation/policy-gain": "gain of a policy, cross-fitted doubly robust",
    "evaluation/selection": "chosen out of fold with one standard error, reported on rows that did not choose",
    "evaluation/responders": "responder rules are measured on members who did not find them",
    "evaluation/verdict": "the verdict does not cry wolf",
    "experiments/sample-ratio": "sample ratio",
    "experiments/average": "average effect",
    "experiments/relative": "relative effect",
    "experiments/ratio": "ratio metrics",
    "experiments/peeking": "peeking",
    "experiments/segments": "segments and tags",
    "experiments/power": "power and smallest effect",
    "experiments/long-term": "long-term effects",
    "experiments/over-time": "effects that wear off, and experiments that meet",
    "experiments/many-arms": "many arms",
    "experiments/small-cells": "small cells",
    "experiments/times": "time until an event",
    "experiments/guardrails": "guardrails",
    "experiments/exposed": "effect on those who were reached",
    "experiments/one-pass": "sums in the engine and rows in memory agree",
    "experiments/peers": "equal to other libraries where the method is the same",
    "experiments/actions": "recommended actions keep their promises",
    "policy/value": "value of a policy from logged propensities",
    "policy/promise": "promised, expected and realised are told apart",
    "policy/allocation": "allocation under budgets and quotas",
    "policy/exploration": "logged propensities of exploration",
    "churn/time-split": "features before the cut-off, labels after it",
    "churn/calibration": "calibrated probabilities",
    "churn/baselines": "better than recency and BG/NBD",
    "churn/bgnbd": "BG/NBD on CDNOW",
    "features/as-of": "features as of T read nothing from T on",
}

NOT_YET: set[str] = set()
