"""The churn model: calibrated out of fold, with reasons; and the recency rule that it must beat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uplift.errors import InputError
from uplift.learners import ChurnModel, RecencyRule
from uplift.learners._calibration import Calibrator

SMALL = {"n_estimators": 60, "num_leaves": 8, "random_state": 0}


def members(n: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Members with days since the last order, a rhythm of their own, a city; labels and true probabilities."""
    rng = np.random.default_rng(seed)
    days, rhythm = rng.exponential(30, n), rng.choice([7.0, 30.0], n)
    city = rng.choice(["x", "y", "z"], n)
    logit = -1.5 + 1.2 * np.log1p(days / rhythm) + 0.5 * (city == "x")
    truth = 1 / (1 + np.exp(-logit))
    X = pd.DataFrame({"days": days, "rhythm": rhythm, "city": pd.Categorical(city), "noise": rng.normal(size=n)})
    X.loc[rng.random(n) < 0.05, "rhythm"] = np.nan
    return X, (rng.random(n) < truth).astype(int), truth


def calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal size."""
    parts = np.array_split(np.argsort(p, kind="stable"), bins)
    return float(sum(len(part) * abs(p[part].mean() - y[part].mean()) for part in parts) / len(p))


@pytest.mark.parametrize("calibration", ["isotonic", "sigmoid"])
def test_probabilities_mean_what_they_say(calibration, proof):
    X, y, _ = members(12_000)
    new, outcome, truth = members(12_000, seed=1)
    p = ChurnModel(**SMALL, calibration=calibration).fit(X, y).predict_proba(new)
    assert p.shape == (12_000, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    error = calibration_error(p[:, 1], outcome)
    assert proof(
        "churn/calibration", "expected calibration error on 12,000 new simulated members",
        method=f"out-of-fold {calibration}", target="at most .02", figure=f"{error:.3f}", holds=error < 0.02,
    )  # fmt: skip
    assert np.abs(p[:, 1] - truth).mean() < 0.05


def test_without_calibration_an_overfitted_model_would_fail_the_same_test(proof):
    X, y, _ = members(1500)
    new, outcome, _ = members(12_000, seed=1)
    eager = {"n_estimators": 300, "num_leaves": 31, "min_child_samples": 5, "learning_rate": 0.2, "random_state": 0}
    model = ChurnModel(**eager, calibration="sigmoid").fit(X, y)
    raw = model.scorer_.values(model.encoder_.transform(new), 1)
    error = calibration_error(raw, outcome)
    assert proof(
        "churn/calibration", "the same of an overfitted booster", method="not calibrated", target="above .1",
        figure=f"{error:.3f}", holds=error > 0.1, planted=True,
    )  # fmt: skip
    assert calibration_error(model.predict_proba(new)[:, 1], outcome) < 0.05


def test_calibration_is_out_of_fold_by_member():
    """A member's rows share a fold: with an id among the features, in-sample scores would look perfect."""
    rng = np.random.default_rng(0)
    member = np.repeat(np.arange(150), 6)
    X = pd.DataFrame({"id": member.astype(float)})
    y = np.repeat(rng.integers(0, 2, 150), 6)
    eager = {"n_estimators": 200, "num_leaves": 31, "min_child_samples": 1, "learning_rate": 0.3, "random_state": 0}
    grouped = ChurnModel(**eager, calibration="sigmoid").fit(X, y, groups=member)
    leaking = ChurnModel(**eager, calibration="sigmoid").fit(X, y)
    assert grouped.predict_proba(X)[:, 1].std() < 0.1
    assert leaking.predict_proba(X)[:, 1].std() > 0.4


def test_it_ranks_better_than_recency(proof):
    from sklearn.metrics import roc_auc_score

    X, y, _ = members(6000)
    new, outcome, _ = members(6000, seed=1)
    model = ChurnModel(**SMALL).fit(X, y).predict_proba(new)[:, 1]
    rule = RecencyRule("days").fit(X, y).predict_proba(new)[:, 1]
    ours, theirs = roc_auc_score(outcome, model), roc_auc_score(outcome, rule)
    assert proof(
        "churn/baselines", "AUC on 6,000 new simulated members", method="churn model against the recency rule",
        target="higher by .02", figure=f"{ours:.3f} against {theirs:.3f}", holds=ours > theirs + 0.02,
    )  # fmt: skip


def test_contributions_are_log_odds_and_reasons_the_largest_of_them():
    X, y, _ = members(3000)
    model = ChurnModel(**SMALL).fit(X, y)
    new = X.iloc[100:140]
    parts = model.contributions(new)
    assert list(parts.columns) == ["days", "rhythm", "city", "noise", "(baseline)"]
    assert parts.index.equals(new.index)
    raw = model.scorer_.raw(model.encoder_.transform(new), 1)
    np.testing.assert_allclose(parts.sum(axis=1), raw, atol=1e-9)
    reasons = model.reasons(new, top=2)
    assert list(reasons.columns) == ["reason_1", "reason_2"]
    first = parts.drop(columns="(baseline)").idxmax(axis=1).where(parts.iloc[:, :-1].max(axis=1) > 0, None)
    assert reasons["reason_1"].tolist() == first.tolist()
    longest = new["days"].idxmax()
    assert reasons.loc[longest, "reason_1"] == "days"
    assert model.feature_importance().index[0] == "days"
    assert model.feature_importance()["share"].sum() == pytest.approx(1)


def test_labels_of_any_kind():
    X, y, _ = members(1500)
    number = ChurnModel(**SMALL).fit(X, y)
    text = ChurnModel(**SMALL).fit(X, np.where(y == 1, "gone", "active"))
    flag = ChurnModel(**SMALL).fit(X, pd.Series(y == 1, dtype="boolean"))
    assert list(text.classes_) == ["active", "gone"]
    np.testing.assert_array_equal(number.predict_proba(X), flag.predict_proba(X))
    assert set(text.predict(X)) <= {"active", "gone"}


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones(100), "one class only, 1.0"),
        (np.full(100, np.nan), "missing in every row"),
        (np.where(np.arange(100) == 3, np.nan, np.arange(100) % 2), r"missing \(NaN\) in 1 of 100"),
        (np.arange(100) % 3, "multiclass"),
        (np.linspace(0, 1, 100), "continuous"),
        (None, "requires y"),
        (np.ones(99), "99 values but X has 100"),
    ],
)
@pytest.mark.parametrize("model", [ChurnModel(), RecencyRule("days")])
def test_labels_that_cannot_be_used(model, y, message):
    X, _, _ = members(100)
    with pytest.raises(InputError, match=message):
        model.fit(X, y)


def test_settings_that_cannot_be_used():
    X, y, _ = members(100)
    with pytest.raises(InputError) as error:
        ChurnModel(folds=1, calibration="none", num_leaves=0).fit(X, y)
    for part in ("folds", "calibration", "num_leaves"):
        assert part in str(error.value)
    with pytest.raises(InputError, match="outside one of the folds"):
        ChurnModel().fit(X, (np.arange(100) < 1).astype(int), groups=np.arange(100) < 1)


def test_the_fit_does_not_depend_on_threads():
    X, y, _ = members(1000)
    few = {**SMALL, "n_estimators": 3, "folds": 2}  # threads wait long for one another where others use the machine
    one, two = (ChurnModel(**few, n_jobs=n).fit(X, y) for n in (1, 2))
    assert one.scorer_.text == two.scorer_.text
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_recency_rule_never_falls_and_knows_missing_days():
    X, y, _ = members(3000)
    rule = RecencyRule("days").fit(X.assign(days=X["days"].where(np.arange(3000) % 10 > 0)), y)
    p = rule.predict_proba(pd.DataFrame({"days": [*np.linspace(0, 300, 50), np.nan]}))[:, 1]
    assert (np.diff(p[:-1]) >= 0).all()
    assert p[-2] > p[0] + 0.3
    assert p[-1] == pytest.approx(y[np.arange(3000) % 10 == 0].mean(), abs=0.01)


def test_recency_rule_with_nothing_missing_gives_missing_days_the_overall_rate():
    X, y, _ = members(500)
    p = RecencyRule("days").fit(X, y).predict_proba(pd.DataFrame({"days": [np.nan]}))[0, 1]
    assert p == pytest.approx(y.mean())


def test_recency_rule_finds_its_column():
    X, y, _ = members(500)
    by_name = RecencyRule("days").fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(
        RecencyRule(0).fit(X.to_numpy()[:, :2].astype(float), y).predict_proba(X.to_numpy()[:, :2].astype(float)),
        by_name,
    )
    for column, message in (("dayz", "did you mean 'days'"), (9, "does not exist"), ("city", "numbers of days")):
        with pytest.raises(InputError, match=message):
            RecencyRule(column).fit(X, y)
    with pytest.raises(InputError, match="missing in every row"):
        RecencyRule("days").fit(X.assign(days=np.nan), y)


def test_isotonic_map_stays_off_the_edges():
    calibrator = Calibrator.increasing(np.arange(50.0), (np.arange(50) > 20).astype(float), np.ones(50))
    p = calibrator.probability(np.array([-100.0, 1000.0]))
    assert 0 < p[0] < 0.02
    assert 0.98 < p[1] < 1
