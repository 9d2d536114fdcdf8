"""Learners against worlds whose true effects are known, and the peers' defects that they must not have."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import World, make_world
from uplift.learners import LEARNERS, make_learner
from uplift.learners._bins import Bins
from uplift.learners._booster import booster_settings, fit_classifier, fit_regressor
from uplift.learners._causalml_import import causalml_module
from uplift.learners._training import Training

META = ("S", "T", "X", "R", "DR")
EFFECTS = (*META, "logistic_T")


def fit(name: str, world: World, *, X=None, propensity=None, **more):
    settings = {"control": world.control, "n_estimators": 50, "learning_rate": 0.1, "min_child_samples": 50}
    settings |= {"random_state": 0, **more}
    chances = world.propensity if propensity is None else propensity
    return make_learner(name, **settings).fit(world.X if X is None else X, world.y, world.treatment, propensity=chances)


def error(effects: np.ndarray, world: World) -> float:
    return float(np.sqrt(np.mean((effects - world.effects) ** 2)))


@pytest.mark.parametrize(("outcome", "scale"), [("binary", 0.15), ("continuous", 1.0)])
@pytest.mark.parametrize("name", EFFECTS)
def test_strong_effects_are_found(name, outcome, scale, proof):
    """On members not trained on, every learner beats no effect and one effect for all."""
    settings = {"arms": ("a", "b"), "effect": "linear", "outcome": outcome, "scale": scale, "categorical": 1}
    world = make_world(6000, **settings, missing=0.05, random_state=1)
    new = make_world(4000, **settings, missing=0.05, random_state=2)
    found = error(fit(name, world).predict(new.X), new)
    none, constant = (error(fit(simple, world).predict(new.X), new) for simple in ("none", "constant"))
    assert proof(
        "learners/simple-candidates", f"RMSE of {name}'s effects over no effect's and the constant effect's, {outcome}",
        method=f"{name} on members not trained on, strong effects", target="below .80 and .85",
        figure=f"{found / none:.2f} and {found / constant:.2f}", holds=found < 0.8 * none and found < 0.85 * constant,
    )  # fmt: skip


def test_a_response_model_does_not_find_effects(proof):
    """The planted defect of the test above: ranking by level is not ranking by effect."""
    world = make_world(6000, arms=("a",), effect="linear", outcome="continuous", random_state=1)
    ratio = error(fit("response", world).predict(world.X), world) / error(np.zeros((6000, 1)), world)
    assert proof(
        "learners/simple-candidates", "RMSE of the response model over no effect's", method="level taken for effect",
        target="above .6", figure=f"{ratio:.2f}", holds=ratio > 0.6, planted=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", [*EFFECTS, "constant"])
def test_unequal_shares_of_several_arms_do_not_bias(name, proof):
    shares = {"control": 0.1, "a": 0.6, "b": 0.25, "c": 0.05}
    world = make_world(
        16_000, arms=("a", "b", "c"), effect="constant", outcome="continuous", propensity=shares, random_state=3
    )
    found = fit(name, world).predict(world.X).mean(axis=0)
    se = np.sqrt(1.0**2 * (1 / (0.1 * 16_000) + 1 / (np.array([0.6, 0.25, 0.05]) * 16_000)))
    slack = 0.12 if name == "S" else 0.03  # the S-learner shrinks on purpose
    off = np.abs(found - world.effects.mean(axis=0))
    assert proof(
        "learners/arms-as-arms", "mean effects of three arms, shares 10/60/25/5", method=name,
        target="off by less than " + ", ".join(f"{limit:.2f}" for limit in 4 * se + slack),
        figure=", ".join(f"{one:.2f}" for one in off), holds=(off < 4 * se + slack).all(),
    )  # fmt: skip


def hidden_driver(n: int, seed: int) -> World:
    """Who is chosen depends on something that drives the outcome and is not among the features."""
    rng = np.random.default_rng(seed)
    driver = rng.normal(size=n)
    chance = 1 / (1 + np.exp(-1.2 * driver))
    shares = np.column_stack([0.1 + 0.7 * (1 - chance), 0.5 * (0.2 - 0 * chance) + 0.7 * chance])
    shares /= shares.sum(axis=1, keepdims=True)
    treated = rng.random(n) < shares[:, 1]
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["x0", "x1", "x2"])
    effect = (0.5 + 0.5 * X["x0"].to_numpy())[:, None]
    base = 1.5 * driver + X["x1"].to_numpy()
    y = base + treated * effect[:, 0] + rng.normal(size=n)
    names = np.where(treated, "a", "control")
    return World(X, y, names, shares, effect, base, ("a",), "control", "continuous")


@pytest.mark.parametrize("name", [*EFFECTS, "constant"])
def test_known_propensities_are_used_by_every_learner(name, proof):
    """S and T, as others have them, never look at the propensities, and are wrong by more than 1 here."""
    world = hidden_driver(12_000, seed=4)
    right = fit(name, world).predict(world.X).mean()
    ignored = fit(name, world, propensity={"control": 0.5, "a": 0.5}).predict(world.X).mean()
    true, quantity = world.effects.mean(), "error of the mean effect, chosen by a hidden driver of the outcome"
    right = proof(
        "learners/known-propensity", quantity, method=f"{name} with the known propensities", target="within .1",
        figure=f"{right - true:+.3f}", holds=abs(right - true) < 0.1,
    )  # fmt: skip
    caught = proof(
        "learners/known-propensity", quantity, method=f"{name} with equal propensities", target="above .6",
        figure=f"{ignored - true:+.3f}", holds=ignored > true + 0.6, planted=True,
    )  # fmt: skip
    assert right
    assert caught


@pytest.mark.parametrize("name", ["T", "X", "R", "DR", "constant"])
def test_estimated_propensities_remove_the_bias_of_what_is_seen(name):
    world = make_world(12_000, arms=("a", "b"), outcome="continuous", propensity="confounded", random_state=5)
    learner = make_learner(name, control="control", n_estimators=50, random_state=0)
    learner.fit(world.X, world.y, world.treatment)
    np.testing.assert_allclose(learner.predict(world.X).mean(axis=0), world.effects.mean(axis=0), atol=0.1)


@pytest.mark.parametrize("name", LEARNERS)
def test_no_effect_at_all_stays_near_none(name):
    world = make_world(8000, arms=("a", "b"), effect="none", outcome="binary", random_state=6)
    effects = fit(name, world, min_child_samples=200).predict(world.X)
    if LEARNERS[name].is_effect:
        assert np.abs(effects.mean(axis=0)).max() < 0.04
        assert effects.std() < 0.12


# ---- the peers' defects, one by one ------------------------------------------------------------------------------


def test_pooled_outcome_r_learner(proof):
    """With several arms the mean outcome over all of them belongs to no pair: peers' R-learner is off by far."""
    shares = {"control": 0.2, "a": 0.7, "b": 0.1}
    world = make_world(
        8000,
        arms=("a", "b"),
        effect=lambda x, arm, arms: (2.0 + x[:, 1]) if arm == 0 else (-2.0 + 0.5 * x[:, 2]),
        outcome="continuous",
        propensity=shares,
        random_state=7,
    )
    ours = error(fit("R", world).predict(world.X), world)

    import lightgbm

    model = lightgbm.LGBMRegressor(
        n_estimators=100, num_leaves=8, learning_rate=0.05, min_child_samples=50, n_jobs=1, verbose=-1, random_state=0
    )
    plain = causalml_module("causalml.inference.meta").BaseRLearner(
        learner=model, control_name="control", random_state=0, cv_n_jobs=1, n_fold=3
    )
    pairwise = {arm: np.full(8000, shares[arm] / (shares[arm] + shares["control"])) for arm in world.arms}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain.fit(X=world.X.to_numpy(), treatment=world.treatment, y=world.y, p=pairwise, verbose=False)
        theirs = error(plain.predict(X=world.X.to_numpy()), world)
    quantity = "RMSE of the R-learner, arms 20/70/10 with opposite effects"
    right = proof(
        "learners/arms-as-arms", quantity, method="R", target="below .4", figure=f"{ours:.2f}", holds=ours < 0.4
    )
    caught = proof(
        "learners/arms-as-arms", quantity, method="one E[Y|X] over all arms (causalml)", target="above twice that",
        figure=f"{theirs:.2f}", holds=theirs > 2 * ours, planted=True,
    )  # fmt: skip
    assert right
    assert caught


@pytest.mark.parametrize("name", META)
def test_string_categories(name, proof):
    """Peers' R and X raise on texts. Here the effect that depends on a text column is found."""
    rng = np.random.default_rng(0)
    n = 6000
    city = rng.choice(["wuhan", "beijing", None], n)
    X = pd.DataFrame({"city": city, "x": rng.normal(size=n)})
    effect = np.where(city == "wuhan", 1.5, 0.0)[:, None]
    treated = rng.random(n) < 0.5
    y = X["x"].to_numpy() + treated * effect[:, 0] + rng.normal(size=n)
    names = np.where(treated, "a", "control")
    world = World(X, y, names, np.full((n, 2), 0.5), effect, y, ("a",), "control", "continuous")
    effects = fit(name, world).predict(X)[:, 0]
    inside, outside = effects[city == "wuhan"].mean(), effects[city != "wuhan"].mean()
    assert proof(
        "learners/categories-and-missing", "effect of 1.5 in one city, 0 elsewhere, a third of the cities missing",
        method=f"{name} on texts as they are", target="each within .25", figure=f"{inside:.2f}, {outside:.2f}",
        holds=abs(inside - 1.5) < 0.25 and abs(outside) < 0.25,
    )  # fmt: skip


# the peer warns while it fails; what it warns of is not ours to mend
@pytest.mark.filterwarnings("ignore")
def test_string_categories_break_the_peer(proof):
    world = make_world(300, arms=("a",), categorical=1, outcome="continuous", random_state=0)
    import lightgbm

    model = lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1)
    plain = causalml_module("causalml.inference.meta").BaseRLearner(
        learner=model, control_name="control", cv_n_jobs=1, n_fold=2
    )
    X = world.X.assign(c0=world.X["c0"].astype(str))
    with pytest.raises(ValueError, match=r"could not convert|fits? failed"):
        plain.fit(X=X, treatment=world.treatment, y=world.y, p=world.propensity[:, 1], verbose=False)
    proof(
        "learners/categories-and-missing", "texts among the features", method="R-learner of causalml",
        target="raises", figure="raises ValueError", holds=True, planted=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["X", "R", "DR"])
def test_x_learner_fold_leak(name, monkeypatch, proof):
    """What is imputed for a row must not move with any outcome of its own member, in whatever arm it was seen."""
    world = make_world(1200, arms=("a",), outcome="continuous", random_state=8)
    member = np.arange(1200) // 2  # seen twice, often once in each arm
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    asked = "outcome_of_others" if name == "X" else "crossfitted_outcome"
    original = getattr(Training, asked)

    def record(self, pair, side, how):
        result = original(self, pair, side, how)
        seen.append((pair.rows, result, self.folds))
        return result

    monkeypatch.setattr(Training, asked, record)

    def nuisances(y):
        seen.clear()
        make_learner(name, control="control", random_state=0, min_child_samples=10).fit(
            world.X, y, world.treatment, propensity=world.propensity, groups=member
        )
        return list(seen)

    before = nuisances(world.y)
    folds = before[0][2]
    mine = folds == folds[0]
    assert mine[:2].all()
    wild = world.y.copy()
    wild[mine] += 100.0
    after = nuisances(wild)
    assert len(before) == len(after) == 2
    for (rows, one, _), (_, two, _) in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[mine[rows]], two[mine[rows]])
        others = ~mine[rows] & np.isfinite(one)
        assert others.sum() > 300
        assert not np.allclose(one[others], two[others])
    proof(
        "learners/cross-fitting", "change of what is imputed for members whose own outcomes change by 100", method=name,
        target="exactly 0, also with two rows a member; others move", figure="0", holds=True,
    )  # fmt: skip


def test_x_learner_fold_leak_in_the_peer(proof):
    """The same change moves causalml's imputed effects of the very members that were changed."""
    world = make_world(1200, arms=("a",), outcome="continuous", random_state=8)
    import lightgbm

    model = lightgbm.LGBMRegressor(n_estimators=20, min_child_samples=10, n_jobs=1, verbose=-1)

    def imputed(y):
        plain = causalml_module("causalml.inference.meta").BaseXRegressor(learner=model, control_name="control")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain.fit(X=world.X.to_numpy(), treatment=world.treatment, y=y, p=world.propensity[:, 1])
            return plain.model_mu_c.predict(world.X.to_numpy())

    wild = world.y.copy()
    wild[world.treatment == "control"] += 100.0 * (np.arange((world.treatment == "control").sum()) % 2)
    moved = np.abs(imputed(world.y) - imputed(wild))[world.treatment == "a"].mean()
    assert proof(
        "learners/cross-fitting", "the same change", method="in-sample pseudo-outcomes (causalml's X-learner)",
        target="above 1", figure=f"{moved:.1f}", holds=moved > 1, planted=True,
    )  # fmt: skip


def test_thread_count_dependence(proof):
    """The same booster to the last byte from one, two and three threads, on enough rows for threads to share."""
    world = make_world(30_000, categorical=1, missing=0.05, random_state=9)
    matrix = np.column_stack([world.X.iloc[:, :8].to_numpy(), world.X["c0"].cat.codes])

    def booster(fitter, threads, **changes):
        settings = booster_settings(
            n_estimators=3,
            num_leaves=15,
            learning_rate=0.1,
            min_child_samples=20,
            reg_lambda=1.0,
            extra_params=changes or None,
            seed=0,
            threads=threads,
            problems=[],
        )
        bins = Bins(matrix.astype(np.float32), [8])
        return fitter(settings, bins, np.arange(30_000), world.y, np.linspace(0.5, 2, 30_000)).text

    for fitter in (fit_regressor, fit_classifier):
        assert booster(fitter, 1) == booster(fitter, 2) == booster(fitter, 3)
    sampled = {"bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.5}
    assert booster(fit_regressor, 1, **sampled) == booster(fit_regressor, 2, **sampled)
    assert booster(fit_regressor, 1, **sampled) != booster(fit_regressor, 1)
    proof(
        "learners/clone-and-seed", "boosters of one, two and three threads, sampling rows and columns too",
        method="LightGBM as set here", target="identical bytes", figure="identical", holds=True,
    )  # fmt: skip


@pytest.mark.proof
@pytest.mark.parametrize("name", [*EFFECTS, "constant"])
def test_bias_over_many_worlds(name, proof):
    """Mean error of the mean effect over 60 worlds with hidden drivers: within 3 standard errors of a small slack.

    DR, the logistic learner and the constant effect are unbiased; in T, X and R a leaf's value is a ratio of weighted
    sums, whose bias falls with the size of the leaf. Ignoring the propensities errs by more than 0.6.
    """
    errors = []
    for seed in range(60):
        world = hidden_driver(4000, seed=100 + seed)
        errors.append(fit(name, world).predict(world.X).mean() - world.effects.mean())
    se = np.std(errors, ddof=1) / np.sqrt(len(errors))
    slack = {"S": 0.06, "T": 0.12, "X": 0.12, "R": 0.12}.get(name, 0.02)
    assert proof(
        "learners/known-propensity", "bias of the mean effect over 60 worlds with a hidden driver", method=name,
        target=f"within {3 * se + slack:.3f}", figure=f"{np.mean(errors):+.3f}",
        holds=abs(np.mean(errors)) < 3 * se + slack,
    )  # fmt: skip
