"""Other libraries behind one interface, in an environment of their own, ``.venv-peers``; nothing of ours is there."""

from __future__ import annotations

META = ("S", "T", "X", "R", "DR")

LIBRARIES: dict[str, tuple[str, ...]] = {
    "causalml": (
        *(f"causalml {kind}" for kind in META),
        *(f"causalml {kind}, LightGBM's defaults" for kind in META),
        "causalml causal forest",
        "causalml uplift forest",
    ),
    "econml": ("EconML DRLearner", "EconML LinearDRLearner", "EconML CausalForestDML"),
    "sklift": (
        "scikit-uplift SoloModel",
        "scikit-uplift TwoModels",
        "scikit-uplift ClassTransformation",
        "scikit-uplift ClassTransformationReg",
    ),
}
"""Library → its methods: ``python -m benchmarks.peers.with_<library> jobs.json`` does a list of jobs."""
