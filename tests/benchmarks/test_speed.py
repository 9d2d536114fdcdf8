from pathlib import Path

import lightgbm
import numpy as np
import pytest
from benchmarks import speed
from benchmarks._process import Measured, measure
from benchmarks._speed_ours import NAMES, needed
from benchmarks.speed import Row, best, rows_of, write_data

from uplift.learners import make_learner


@pytest.mark.parametrize("name", NAMES)
def test_the_bare_fits_are_those_that_the_learner_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n = 900
    X, arm = rng.normal(size=(n, 3)), rng.permutation(np.arange(n) % 3)
    y = X[:, 0] + arm * X[:, 1] + rng.normal(size=n)
    real, done = lightgbm.train, []

    def counted(params: object, data: lightgbm.Dataset, *rest: object, **more: object) -> object:
        booster = real(params, data, *rest, **more)
        done.append((data.num_data(), data.num_feature()))
        return booster

    monkeypatch.setattr(lightgbm, "train", counted)
    learner = make_learner(name, control=0, n_estimators=2, min_child_samples=20, random_state=0)
    learner.fit(X, y, arm, propensity={0: 1 / 3, 1: 1 / 3, 2: 1 / 3})
    fold = np.random.default_rng(1).permutation(n) % learner.folds
    floor = [(int(mask.sum()), 3 + treated) for mask, treated in needed(name, arm, 2, fold)]
    assert len(done) == len(floor)
    assert sum(rows for rows, _ in done) == pytest.approx(sum(rows for rows, _ in floor), rel=0.02)
    assert sorted(columns for _, columns in done) == sorted(columns for _, columns in floor)


def test_a_measurement_knows_time_error_and_memory(tmp_path: Path) -> None:
    write_data(tmp_path, 20_000)
    block = 64 * 2**20

    def fit(rows: object) -> float:
        return float(np.ones(block // 8).sum())

    found = measure(tmp_path, fit, lambda model, rows: np.zeros((20_000, 2)))
    truth = np.load(tmp_path / "effects.npy")
    assert found.rmse == pytest.approx(np.sqrt((truth**2).mean()))
    assert found.fit > 0
    assert found.growth > 0.9 * block


def test_best_of_rounds_and_worst_memory() -> None:
    first, second = Measured(2.0, 5.0, 0.1, 10.0), Measured(3.0, 4.0, 0.1, 20.0)
    kept = best({("one", "S"): first}, ("one", "S"), second)
    assert (kept.fit, kept.predict, kept.growth) == (2.0, 4.0, 20.0)


def test_ratios_pass_or_miss_on_the_right_side() -> None:
    kept = {
        **{("one", name): Measured(1.0, 0.5, 0.1, 1e9) for name in speed.NAMES},
        **{("bare", name): Measured(0.9, fits=3) for name in speed.NAMES},
        **{("causalml", name): Measured(2.5, 3.0, 0.1) for name in speed.NAMES},
        ("together", "all"): Measured(2.6, 2.0, 0.1),
    }
    rows = {row.what: row for row in rows_of(kept, 1_000_000)}
    assert rows["S, fit, against bare LightGBM"].passed
    assert not rows["S, T, X, R, DR together, against DR alone"].passed
    assert not rows["S, fit, causalml over ours"].passed
    assert rows["S, fit and predict, causalml over ours"].passed
    assert not rows["S, peak memory of fit"].passed, "1e9 bytes is 6.25 matrices of 160 MB"
    assert rows["all five, fit, causalml over ours"].ratio == pytest.approx(5 * 2.5 / 2.6)
    assert "MISS" in rows["S, fit, causalml over ours"].line()
    assert Row("x", "", "", 9.0).passed
