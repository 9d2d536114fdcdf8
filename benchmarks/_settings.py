"""What all parties share, so that only the method differs. Imported in both environments: standard library only."""

from __future__ import annotations

from typing import Any

BOOSTER: dict[str, Any] = {
    "n_estimators": 100,
    "num_leaves": 8,
    "learning_rate": 0.05,
    "min_child_samples": 100,
    "reg_lambda": 1.0,
}
"""LightGBM's settings for quality, in scikit-learn's names: the defaults of ``uplift.learners``."""

SPEED_BOOSTER: dict[str, Any] = {
    "n_estimators": 150,
    "num_leaves": 15,
    "learning_rate": 0.1,
    "min_child_samples": 100,
    "reg_lambda": 1.0,
}
"""The same for speed: more and larger trees, so that growing them is what takes the time."""

FOREST_TREES = 48
"""Trees of the peers' forests, about half of the 100 that causalml's and EconML's causal forests have by default."""


class NotApplicableError(Exception):
    """The method is not made for this task: its cell stays empty, with this reason."""
