"""The search: what it chooses, what it reports, what it predicts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.evaluation import SIMPLICITY, GainUnit, UpliftSearchCV, aipw_scores, best_arm
from uplift.evaluation._selection import choose, one_standard_error, ranks_within
from uplift.evaluation._verdict import verdict
from uplift.learners import LEARNERS, EnsembleLearner, load, make_learner, save
from uplift.metrics import Metric


def search(quick, world, **options):
    options = {"outcome_model": quick.LeastSquares(), "n_bootstrap": 20, "folds": 4, **options}
    model = UpliftSearchCV(quick.candidates, **options)
    return model.fit(world.X, world.y, world.treatment, propensity=world.propensity, control="control")


def test_real_differences_are_found_and_used(quick):
    world = make_world(6000, outcome="continuous", random_state=1)
    found = search(quick, world)
    assert found.best_name_ in ("linear", "curved")
    assert found.verdict_status_ == "targeting"
    assert "evidence that targeting" in found.verdict_
    assert "no evidence" not in found.verdict_
    new = make_world(20_000, outcome="continuous", random_state=2)
    effects = found.predict(new.X)
    assert effects.shape == (20_000, 2)
    assert found.arms_ == ("a", "b")
    value = new.value(best_arm(effects) - 1)
    assert value > 0.95 * (new.value(new.oracle) - new.baseline.mean()) + new.baseline.mean()
    gain = value - new.baseline.mean()
    assert abs(found.selected_.gain - gain) < 4 * found.selected_.gain.se
    assert 0.5 < found.shrinkage_["level"] <= 1
    assert 0.5 < found.shrinkage_["between_arms"] <= 1


def test_one_effect_for_all_is_said_so(quick):
    world = make_world(6000, outcome="continuous", effect="constant", random_state=3)
    found = search(quick, world)
    assert found.best_name_ == "constant"
    assert found.verdict_status_ == "one_for_all"
    assert "no evidence that targeting beats a-for-all" in found.verdict_
    assert "没有证据表明按人选择优于全员发放 a" in found.verdict_zh_
    assert "chooses by member" not in found.verdict_
    in_cents = found.verdict_in(GainUnit("money", "CNY"))
    assert (in_cents.status, in_cents.en.count("¥"), in_cents.zh.count("¥")) == ("one_for_all", 3, 3)
    assert found.selected_.single == "a"
    np.testing.assert_allclose(found.predict(world.X), np.tile(found.constant_, (6000, 1)))
    assert found.constant_[0] == pytest.approx(1.0, abs=0.15)


def test_choosing_by_member_without_evidence_that_it_pays_is_said_so():
    """The model that is kept need not do what the verdict has evidence for; then the verdict says so."""
    numbers = [Metric("gain", value, se=1.0, low=value - 2, high=value + 2) for value in (9.0, 1.0, 8.0)]
    silent, spoken = (
        verdict("ensemble", *numbers[:2], "a", numbers[2], 2, 0.05, by_member=by_member) for by_member in (False, True)
    )
    assert silent.status == spoken.status == "one_for_all"
    assert spoken.en == silent.en + "; the model kept (ensemble) still chooses by member"
    assert spoken.zh == silent.zh + "；所选模型（ensemble）仍会按人选择"


def test_what_the_verdict_says_of_the_model_kept_is_what_it_predicts(quick, monkeypatch):
    """Out of fold it may have told members apart where, fitted on all rows, it does not, and the other way round."""
    world = make_world(2000, outcome="continuous", effect="constant", random_state=3)
    found = search(quick, world)
    several = np.where(np.arange(2000)[:, None] % 2 == 0, [1.0, 0.5], [-1.0, 0.5])
    found.effects_ = several
    found._conclude(found.scores_, world.X)
    assert "chooses by member" not in found.verdict_
    monkeypatch.setattr(found, "predict", lambda X: several)
    found._conclude(found.scores_, world.X)
    assert "chooses by member" in found.verdict_
    assert found.verdict_status_ == "one_for_all"


def test_nothing_at_all_is_said_so(quick):
    statuses = [search(quick, make_world(1200, effect="none", random_state=s)).verdict_status_ for s in range(20)]
    assert statuses.count("no_evidence") >= 18


def test_the_leaderboard_has_every_candidate_with_intervals(quick):
    world = make_world(3000, outcome="continuous", random_state=4)
    found = search(quick, world)
    table = found.leaderboard_
    assert list(table["candidate"]) == list(quick.candidates)
    assert table["chosen"].sum() == 1
    assert table.set_index("candidate").loc[found.best_name_, "chosen"]
    for name in ("value", "over_single", "qini", "autoc"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    flat = table.set_index("candidate")
    assert flat.loc["none", "value"] == 0
    for name in ("none", "constant"):  # ranks nobody, whatever the folds' constants are
        assert flat.loc[name, ["qini", "autoc"]].tolist() == [0.0, 0.0]
    assert flat.loc["linear", "qini_low"] > 0
    json.dumps(table.to_dict("records"))


def test_same_seed_same_search(quick):
    world = make_world(1500, outcome="continuous", random_state=5)
    first, second = (search(quick, world) for _ in range(2))
    drop = ["seconds"]
    pd.testing.assert_frame_equal(first.leaderboard_.drop(columns=drop), second.leaderboard_.drop(columns=drop))
    assert first.verdict_ == second.verdict_
    np.testing.assert_array_equal(first.predict(world.X), second.predict(world.X))


def test_no_reported_row_was_seen_by_what_chose_for_it(quick):
    """For every row the candidates were fitted without its fold, and without its fold and each other one."""

    seen = []

    class Recorder(quick.QuickLearner):
        def fit(self, X, y, treatment, **more):
            seen.append(np.sort(X["row"].to_numpy().astype(int)))
            return super().fit(X.drop(columns="row"), y, treatment, **more)

        def predict(self, X):
            return super().predict(X.drop(columns="row"))

    world = make_world(400, outcome="continuous", random_state=6)
    X = world.X.assign(row=np.arange(400.0))
    model = UpliftSearchCV({"one": Recorder()}, folds=4, n_repeats=2, outcome_model=quick.LeastSquares(), n_bootstrap=0)
    model.fit(X, world.y, world.treatment, propensity=world.propensity)
    # of the second partition, one fit without each of its folds, which cut through those of the first
    again = [np.setdiff1d(np.arange(400), seen.pop(10)) for _ in range(4)]
    assert np.array_equal(np.sort(np.concatenate(again)), np.arange(400))
    assert all(len(np.unique(model.fold_[rows])) == 4 for rows in again)
    missing = [set(np.unique(model.fold_[np.setdiff1d(np.arange(400), rows)])) for rows in seen]
    singles = [m for m in missing if len(m) == 1]
    pairs = [m for m in missing if len(m) == 2]
    assert (len(singles), len(pairs), len(missing)) == (4, 6, 11)
    for rows, gone in zip(seen, missing, strict=True):
        assert not np.isin(model.fold_[rows], list(gone)).any()


def test_the_reported_gain_is_not_the_gain_that_chose(quick):
    """On noise the best of many looks good to the rows that chose it; the nested number does not."""
    rng = np.random.default_rng(0)
    chosen, nested = [], []
    for seed in range(30):
        world = make_world(300, arms=("a",), effect="none", outcome="continuous", random_state=seed)
        X = pd.DataFrame(rng.normal(size=(300, 6)))
        many = {f"c{j}": quick.QuickLearner(columns=j + 1, curved=True) for j in range(6)}
        model = UpliftSearchCV(
            many, folds=3, tolerance=0.0, outcome_model=quick.LeastSquares(), n_bootstrap=0, random_state=seed
        )
        model.fit(X, world.y, world.treatment, propensity=world.propensity)
        chosen.append(model.leaderboard_.loc[model.leaderboard_["chosen"], "value"].iloc[0])
        nested.append(model.selected_.gain.value)
    assert abs(np.mean(nested)) < 3.5 * np.std(nested) / np.sqrt(30)
    optimism = np.subtract(chosen, nested)
    assert optimism.mean() > 2 * optimism.std() / np.sqrt(30)


def test_without_nesting_the_fits_are_fewer(quick):
    world = make_world(1500, outcome="continuous", random_state=7)
    found = search(quick, world, nested=False, folds=2)
    assert found.best_name_ in quick.candidates
    row = found.leaderboard_[found.leaderboard_["chosen"]].iloc[0]
    assert found.selected_.gain.value == pytest.approx(row["value"])


def test_groups_weights_and_arms_not_offered(quick):
    world = make_world(3000, outcome="continuous", random_state=8)
    chance = world.propensity.copy()
    barred = (world.treatment != "b") & (np.arange(3000) < 1000)
    chance[barred] = [0.5, 0.5, 0.0]
    groups = np.arange(3000) // 2
    model = UpliftSearchCV(quick.candidates, folds=3, outcome_model=quick.LeastSquares(), n_bootstrap=10)
    model.fit(world.X, world.y, world.treatment, propensity=chance, groups=groups, sample_weight=1 + (groups % 3))
    assert all(len(set(model.fold_[groups == g])) == 1 for g in range(0, 1500, 100))
    assert model.selected_.n == 3000
    assert np.isfinite(model.selected_.over_single)


def test_the_default_candidates_are_the_registry():
    left_out = {"causal_forest", "uplift_forest", "class_transformation"}  # slow, rates only, and at one half only
    assert set(SIMPLICITY) == set(LEARNERS) - left_out


def test_our_learners_carry_their_shrinkage_into_the_file(tmp_path):
    world = make_world(2000, outcome="continuous", categorical=1, missing=0.02, random_state=9)
    model = UpliftSearchCV(["T", "none"], folds=2, nested=False, params={"n_estimators": 15}, n_bootstrap=0).fit(
        world.X, world.y, world.treatment, propensity=world.propensity
    )
    assert list(model.leaderboard_["candidate"]) == ["none", "T"]  # from simple to complex
    assert model.best_name_ == "T"
    save(model.best_estimator_, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").predict(world.X), model.predict(world.X))
    raw = clone(model.best_estimator_).fit(world.X, world.y, world.treatment, propensity=world.propensity)
    raw = raw.predict(world.X)
    expected = model.constant_ + (raw - raw.mean(axis=0)) @ model._shrinkage.matrices[0]
    np.testing.assert_allclose(model.predict(world.X), expected)


def test_estimated_propensities_and_numpy_input(quick):
    world = make_world(2000, arms=("a",), outcome="continuous", effect="constant", propensity="confounded")
    model = UpliftSearchCV(quick.candidates, folds=3, outcome_model=quick.LeastSquares(), n_bootstrap=0)
    model.fit(world.X.to_numpy(), world.y, (world.treatment == "a").astype(int))
    assert model.control_ == 0
    assert model.constant_[0] == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 2}, "at least 3 folds"),
        ({"candidates": []}, "candidates must be"),
        ({"candidates": "DR"}, "candidates must be"),
        ({"candidates": ["DRR"]}, "unknown learner 'DRR'"),
        ({"candidates": ["T"], "params": {"n_trees": 5}}, "unknown parameter 'n_trees'"),
    ],
)
def test_bad_options(options, message):
    world = make_world(200, random_state=1)
    with pytest.raises(InputError, match=message):
        UpliftSearchCV(**options).fit(world.X, world.y, world.treatment, propensity=world.propensity)


def test_repeated_partitions_calm_the_comparison(quick):
    """The gain of a candidate depends on who happens to be kept from which model; averaged, far less so."""
    world = make_world(400, effect="linear", outcome="continuous", random_state=8)
    spread = {}
    for repeats in (1, 4):
        values, kept = [], []
        for seed in range(15):
            model = UpliftSearchCV(
                {"curved": quick.QuickLearner(curved=True)}, folds=3, n_repeats=repeats, nested=False, n_bootstrap=0,
                outcome_model=quick.LeastSquares(), random_state=100 * seed,
            )  # fmt: skip
            model.fit(world.X, world.y, world.treatment, propensity=world.propensity, control="control")
            values.append(model.leaderboard_["value"].iloc[0])
            kept.append(model.shrinkage_["level"])
        spread[repeats] = np.std(values), np.std(kept)
    assert spread[4][0] < 0.65 * spread[1][0]
    assert spread[4][1] < 0.65 * spread[1][1]


def test_partitions_are_counted_from_one(quick):
    world = make_world(300, random_state=0)
    with pytest.raises(InputError, match="n_repeats must be at least 1, found 0"):
        search(quick, world, n_repeats=0)


def test_a_candidate_that_fails_is_named(quick):
    class Broken(quick.QuickLearner):
        def fit(self, X, y, treatment, **more):
            raise InputError("no rows for 'b'")

    world = make_world(300, random_state=1)
    with pytest.raises(InputError, match="candidate 'bad' could not be fitted: no rows for 'b'"):
        UpliftSearchCV({"bad": Broken()}, outcome_model=quick.LeastSquares()).fit(
            world.X, world.y, world.treatment, propensity=world.propensity
        )


def test_what_candidates_share_is_fitted_once_and_named(monkeypatch):
    """The ensemble's members are the candidates themselves where their settings are the same."""
    from uplift.learners import LogisticTLearner, SLearner

    fitted = {"S": 0, "logistic_T": 0}
    for name, cls in (("S", SLearner), ("logistic_T", LogisticTLearner)):
        original = cls.fit_prepared

        def counted(self, *given, name=name, original=original):
            fitted[name] += 1
            return original(self, *given)

        monkeypatch.setattr(cls, "fit_prepared", counted)
    world = make_world(1500, outcome="continuous", random_state=5)
    ensemble = EnsembleLearner(members=("logistic_T", "S"), n_estimators=5, random_state=0)
    alone = make_learner("S", n_estimators=5, random_state=0)
    model = UpliftSearchCV({"ensemble": ensemble, "S": alone}, folds=3, n_repeats=2, nested=False, n_bootstrap=0)
    model.fit(world.X, world.y, world.treatment, propensity=world.propensity)
    assert model.best_name_ == "ensemble"
    used = {name: any(kept.values()) for name, kept in model.best_estimator_.weights_.items()}
    assert fitted == {name: 2 * 3 + used[name] for name in used}
    assert model.shrinkage_["level"] == pytest.approx(sum(w["level"] for w in model.best_estimator_.weights_.values()))
    np.testing.assert_array_equal(model.predict(world.X), model.best_estimator_.predict(world.X))


def test_amounts_are_searched_in_two_parts(monkeypatch):
    """Where campaigns change who buys; the gain is that of the amounts, and more is found than in them as they are."""
    train, new = (make_world(6000, outcome="spend", effect="step", random_state=s) for s in (21, 22))
    settings = {"folds": 3, "n_repeats": 2, "params": {"n_estimators": 20}, "n_bootstrap": 0}
    worth = []
    for parts in (True, False):
        if not parts:
            monkeypatch.setattr("uplift.learners.ensemble.incidence_of", lambda training: None)
        model = UpliftSearchCV(["none", "constant", "ensemble"], **settings)
        model.fit(train.X, train.y, train.treatment, propensity=train.propensity)
        assert model.best_name_ == "ensemble"
        worth.append(new.value(best_arm(model.predict(new.X)) - 1) - new.baseline.mean())
        kept = model.best_estimator_.weights_
        told = [name for one in kept.values() for name, weight in one.items() if weight]
        assert any(name.startswith("incidence") for name in told) == parts
        level = sum(weight for one in kept.values() for name, weight in one.items() if name.endswith("level"))
        assert model.shrinkage_["level"] == pytest.approx(level)
        assert abs(model.selected_.gain - worth[-1]) < 4 * model.selected_.gain.se
    assert worth[0] > 1.1 * worth[1]


@pytest.mark.parametrize("amounts", [148, 150, 160, 200])
def test_every_partition_has_as_many_parts(amounts):
    """Few amounts fall into folds unevenly; whether there are enough must not hang on that."""
    world = make_world(3000, outcome="spend", random_state=0)
    rare = np.where(np.cumsum(world.y != 0) <= amounts, world.y, 0.0)
    model = UpliftSearchCV(["ensemble"], params={"n_estimators": 3}, nested=False, n_bootstrap=0)
    model.fit(world.X, rare, world.treatment, propensity=world.propensity)
    assert ("incidence_level" in model.best_estimator_.weights_["S"]) == (amounts >= 150)


def test_linear_algebra_brings_no_threads_of_its_own(quick):
    from threadpoolctl import threadpool_info

    seen = []

    class Recorder(quick.QuickLearner):
        def fit(self, X, y, treatment, **more):
            seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
            return super().fit(X, y, treatment, **more)

    world = make_world(400, outcome="continuous", random_state=6)
    model = UpliftSearchCV({"one": Recorder()}, folds=3, n_repeats=1, outcome_model=quick.LeastSquares(), n_bootstrap=0)
    model.fit(world.X, world.y, world.treatment, propensity=world.propensity)
    fits = 3 + 3  # without a fold, without two; the last one is on all rows, outside
    assert seen[: len(seen) // (fits + 1) * fits]
    assert set(seen[: len(seen) // (fits + 1) * fits]) == {1}


def test_get_params_and_clone(quick):
    model = UpliftSearchCV(quick.candidates, folds=7)
    assert clone(model).get_params()["folds"] == 7


# -- the arithmetic ---------------------------------------------------------------------------------------------------


def test_the_simplest_within_one_standard_error():
    rng = np.random.default_rng(3)
    base = rng.normal(size=400)
    better = base + 0.3 + 0.1 * rng.normal(size=400)
    a_little = base + 0.001 * rng.normal(size=400)
    weight = np.ones(400)
    assert one_standard_error([base, a_little], weight, None, 1.0) == 0
    assert one_standard_error([base, better], weight, None, 1.0) == 1
    assert one_standard_error([better, base], weight, None, 1.0) == 0
    assert one_standard_error([base, better], weight, None, 1000.0) == 0


def test_ranks_within_folds():
    score, fold = np.array([1.0, 1.0, 3.0, 10.0, 30.0, 20.0]), np.array([0, 0, 0, 1, 1, 1])
    assert ranks_within(score, fold).tolist() == pytest.approx([1 / 3, 1 / 3, 5 / 6, 1 / 6, 5 / 6, 1 / 2])


def test_scores_of_the_search_are_those_of_the_folds(quick):
    world = make_world(900, outcome="continuous", random_state=10)
    found = search(quick, world)
    again = aipw_scores(
        world.X, world.y, world.treatment, world.propensity, fold=found.fold_, outcome_model=quick.LeastSquares()
    )
    np.testing.assert_allclose(found.scores_.values, again.values)


def test_a_grid_makes_a_candidate_of_every_combination():
    world = make_world(2500, outcome="continuous", random_state=9)
    grid = {"DR": {"num_leaves": [2, 6], "n_estimators": [10, 20]}}
    model = UpliftSearchCV(["constant", "DR"], param_grid=grid, folds=3, nested=False, n_bootstrap=0)
    model.fit(world.X, world.y, world.treatment, propensity=world.propensity)
    names = ["constant", *(f"DR(n_estimators={n}, num_leaves={m})" for n in (10, 20) for m in (2, 6))]
    assert list(model.leaderboard_["candidate"]) == names
    assert model.best_name_.startswith("DR(")
    assert f"num_leaves={model.best_estimator_.num_leaves}" in model.best_name_
    for wrong in ({"RD": {"folds": [2]}}, {"DR": {"num_leafs": [2]}}):
        with pytest.raises(InputError, match="unknown"):
            UpliftSearchCV(["constant", "DR"], param_grid=wrong).fit(
                world.X, world.y, world.treatment, propensity=world.propensity
            )


def test_the_same_whatever_the_number_of_threads():
    world = make_world(1500, outcome="continuous", random_state=5)
    runs = []
    for n_jobs in (1, 3, 4):  # six training sets: four threads share the last two out by candidate
        model = UpliftSearchCV(["constant", "X", "DR"], folds=3, params={"n_estimators": 10}, n_jobs=n_jobs)
        model.fit(world.X, world.y, world.treatment, propensity=world.propensity)
        runs.append(model)
    one, *others = runs
    for other in others:
        pd.testing.assert_frame_equal(*(run.leaderboard_.drop(columns="seconds") for run in (one, other)))
        np.testing.assert_array_equal(one.predict(world.X), other.predict(world.X))


def test_outcome_models_are_fitted_once_for_all_candidates(monkeypatch):
    """A model of the rows outside folds a and b serves both folds, the scores, and X, R and DR alike."""
    from uplift.learners.meta import BoostedOutcome

    fitted = []
    original = BoostedOutcome.__call__

    def record(self, training, rows, weight):
        fitted.append(rows.tobytes())
        return original(self, training, rows, weight)

    monkeypatch.setattr(BoostedOutcome, "__call__", record)
    world = make_world(1500, arms=("a",), outcome="continuous", random_state=5)
    model = UpliftSearchCV(["X", "R", "DR", "T"], folds=5, n_repeats=2, params={"n_estimators": 3}, n_bootstrap=0)
    model.fit(world.X, world.y, world.treatment, propensity=world.propensity)
    assert len(fitted) == len(set(fitted))
    # for two sides: without one, two and three folds, and without one and two of the second partition; on all rows
    # only if the T-learner was chosen
    assert len(fitted) == 2 * (5 + 10 + 10 + 5 + 10 + (model.best_name_ == "T"))


def test_giving_up_an_uncertain_gain_is_not_simpler():
    """Against none and constant the better number counts; among the others the simplest within an error does."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 1.0, 400)
    gain = 0.02 + noise - noise.mean()  # far less than its standard error
    weight, nobody = np.ones(400), np.zeros(400)
    alike = [True, False, False]
    assert one_standard_error([nobody, gain, gain + 0.01 * noise[::-1]], weight, None, 1.0, alike) == 1
    assert one_standard_error([nobody, -gain, -gain], weight, None, 1.0, alike) == 0
    assert one_standard_error([gain, gain, gain - 1.0], weight, None, 1.0, alike) == 0
    assert one_standard_error([nobody, gain - 1.0, gain], weight, None, 1.0, alike) == 2


def test_an_average_is_kept_unless_something_is_clearly_better():
    rng = np.random.default_rng(5)
    base, noise, weight = rng.normal(size=400), rng.normal(size=400), np.ones(400)
    noise = (noise - noise.mean()) / noise.std() * 20  # the mean's standard error is 1
    kinds = [True, True, False, False, False], [False, False, True, False, False]

    def chosen(constant=0.0, one=0.0, other=0.0, tolerance=1.0):
        gains = [base - 50, base + noise + constant, base, base + noise + one, base + noise + other]
        return choose(gains, weight, None, tolerance, *kinds)

    assert chosen() == 2
    assert chosen(constant=0.9) == 2
    assert chosen(constant=1.1) == 1
    assert chosen(constant=1.1, tolerance=2.0) == 2
    assert chosen(one=1.3) == 2  # the better of two is better by one standard error more often than one alone
    assert chosen(one=1.5) == 3
    assert chosen(one=1.5, other=1.6) == 4
    assert chosen(constant=1.1, one=9.0) == 1  # where treating all alike is better, no learner's luck counts
    alone = [True, True, False, False, False]
    assert choose([base, base + 1, base, base, base], weight, None, 1.0, alone) == 1
