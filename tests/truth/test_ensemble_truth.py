"""The ensemble pays: it finds what its members find, and gives nothing away where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.evaluation import best_arm
from uplift.learners import fit_together, make_learner
from uplift.learners.ensemble import MEMBERS

SETTINGS = {"n_estimators": 40, "learning_rate": 0.1, "random_state": 0}


def gains(effect, scale, seeds, outcome="binary"):
    """True gain per 1,000 of "best arm where positive", ``(seeds, ensemble | members | their mean | one arm)``."""
    found = []
    for seed in range(seeds):
        world = make_world(8000, effect=effect, scale=scale, outcome=outcome, random_state=seed)
        train, new = np.arange(8000) < 4000, np.arange(8000) >= 4000
        learners = {name: make_learner(name, **SETTINGS) for name in ("ensemble", *MEMBERS, "constant")}
        fitted = fit_together(
            learners, world.X[train], world.y[train], world.treatment[train], propensity=world.propensity[train]
        )
        told = {name: learner.predict(world.X[new]) for name, learner in fitted.items()}
        told["mean"] = np.mean([told[name] for name in MEMBERS], axis=0)

        def worth(effects, truth=world.effects[new]):
            return np.column_stack([np.zeros(len(truth)), truth])[np.arange(len(truth)), best_arm(effects)].mean()

        found.append([worth(told[name]) for name in ("ensemble", *MEMBERS, "mean", "constant")])
    return 1000 * np.array(found)


@pytest.mark.parametrize("seeds", [6, pytest.param(40, marks=pytest.mark.proof)])
def test_where_members_differ_it_is_level_with_the_best_of_them(seeds, proof):
    found = gains("linear", 0.1, seeds)
    ensemble, best = found[:, 0].mean(), found[:, 1:4].mean(axis=0).max()
    assert proof(
        "learners/ensemble", f"extra orders per 1,000 where effects are linear, {seeds} worlds", method="ensemble",
        target="at least 97 % of its best member's", figure=f"{ensemble:.1f} of {best:.1f}",
        holds=ensemble >= 0.97 * best,
    )  # fmt: skip


def at_least(proof, quantity, share, of, ensemble, planted, *, target, method, digits=1):
    """The ensemble brings this share of something; what is planted does not."""
    held = {
        name: proof(
            "learners/ensemble", quantity, method=name, target=target, figure=f"{gain:.{digits}f} of {of:.{digits}f}",
            holds=(gain >= share * of) == (name == "ensemble"), planted=name != "ensemble",
        )
        for name, gain in (("ensemble", ensemble), (method, planted))
    }  # fmt: skip
    assert all(held.values()), held


@pytest.mark.parametrize("seeds", [6, pytest.param(40, marks=pytest.mark.proof)])
def test_where_all_gain_alike_little_is_given_away(seeds, proof):
    found = gains("constant", 0.1, seeds).mean(axis=0)
    at_least(
        proof, f"extra orders per 1,000 where all gain alike, {seeds} worlds", 0.95, found[5], found[0], found[4],
        target="at least 95 % of the best arm for all", method="plain mean of the members",
    )  # fmt: skip


@pytest.mark.parametrize("seeds", [6, pytest.param(40, marks=pytest.mark.proof)])
def test_effects_on_how_often_are_not_drowned_by_how_much(seeds, proof, monkeypatch):
    found = gains("step", 0.15, seeds, outcome="spend").mean(axis=0)
    monkeypatch.setattr("uplift.learners.ensemble.incidence_of", lambda training: None)
    whole = gains("step", 0.15, seeds, outcome="spend")[:, 0].mean()
    at_least(
        proof, f"extra money per 1,000 where campaigns change who buys, {seeds} worlds", 1.05, found[1:4].max(),
        found[0], whole, target="at least 105 % of its best member's on the amount as it is",
        method="of amounts as they are", digits=0,
    )  # fmt: skip
