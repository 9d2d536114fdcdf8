"""An experiment in which nothing works, searched with all default candidates: the verdict says so."""

from __future__ import annotations

import pytest

from uplift.data.simulator.worlds import make_world
from uplift.evaluation import UpliftSearchCV


@pytest.mark.parametrize("outcome", [pytest.param("binary", marks=pytest.mark.proof)])
def test_all_candidates_say_no_evidence_where_there_is_none(outcome, proof):
    """100 A/A experiments with three arms of 500 members each; the final verdict may be wrong in 7 at most."""
    said = []
    for seed in range(100):
        world = make_world(1500, effect="none", outcome=outcome, n_features=6, random_state=1000 + seed)
        search = UpliftSearchCV(n_bootstrap=0, params={"n_estimators": 30, "learning_rate": 0.15})
        search.fit(world.X, world.y, world.treatment, propensity=world.propensity)
        said.append(search.verdict_status_)
    assert proof(
        "evaluation/verdict", "verdict where nothing works", method="UpliftSearchCV over all default candidates",
        target="no evidence in at least 93 of 100", figure=f"{said.count('no_evidence')} of 100",
        holds=said.count("no_evidence") >= 93,
    )  # fmt: skip
