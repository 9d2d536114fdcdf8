from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import tasks
from benchmarks.tasks import TASKS, Hillstrom, Simulated, one_hot

from uplift.data.simulator.worlds import make_world

SMALL = Simulated("small", "small", "linear", "spend", 2, 0.1, n=4_000)


def test_true_effects_bring_what_the_oracle_brings() -> None:
    split = SMALL.split(3)
    world = make_world(
        4_000, arms=("a", "b"), effect="linear", outcome="spend", scale=0.1, categorical=1, random_state=1_003
    )
    test = slice(2_000, None)
    effects = world.effects[test]
    best = np.maximum(effects.max(axis=1), 0)
    assert split.judge(effects).gain == pytest.approx(1000 * best.mean())
    assert split.judge(effects).qini > 0 > split.judge(-effects).qini
    everyone = np.tile([1.0, 0.0], (2_000, 1))
    assert split.judge(everyone).gain == pytest.approx(1000 * effects[:, 0].mean())
    assert split.judge(everyone).qini == pytest.approx(0, abs=1e-6)
    assert split.judge(np.zeros((2_000, 2))).gain == 0


def test_worlds_of_two_splits_differ_and_one_repeats() -> None:
    first, again, other = SMALL.split(0), SMALL.split(0), SMALL.split(1)
    pd.testing.assert_frame_equal(first.train.X, again.train.X)
    assert not np.array_equal(first.train.y, other.train.y)


def test_halves_of_a_halving_change_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 600
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "recency": np.arange(n),
            "channel": rng.choice(["Web", "Phone"], n),
            "zip_code": "Urban",
            "history_segment": "1",
            "segment": rng.choice(["No E-Mail", "Mens E-Mail", "Womens E-Mail"], n),
            "visit": rng.integers(0, 2, n),
            "conversion": 0,
            "spend": 0.0,
        }
    )
    (tmp_path / "hillstrom").mkdir()
    frame.to_csv(tmp_path / "hillstrom" / "hillstrom.csv", index=False)
    monkeypatch.setenv("UPLIFT_DATA", str(tmp_path))
    tasks._hillstrom.cache_clear()
    task = Hillstrom("h", "h", "visit")
    one, two, three = (set(task.split(i).train.X["recency"]) for i in range(3))
    assert not one & two
    assert one | two == set(range(n))
    assert three not in (one, two)
    assert not {"visit", "conversion", "spend", "segment"} & set(task.split(0).train.X.columns)
    effects = rng.normal(size=(n // 2, 2))
    assert np.isfinite(task.split(0).judge(effects).gain)
    tasks._hillstrom.cache_clear()


def test_levels_become_columns_of_both_halves() -> None:
    levels = pd.CategoricalDtype(["u", "v"])
    train = pd.DataFrame({"x": [1.0, 2.0], "c": pd.Series(["u", "u"], dtype=levels)})
    test = pd.DataFrame({"x": [3.0], "c": pd.Series(["v"], dtype=levels)})
    fit, held = one_hot(train, test)
    assert fit.tolist() == [[1.0, 1.0, 0.0], [2.0, 1.0, 0.0]]
    assert held.tolist() == [[3.0, 0.0, 1.0]]


def test_tasks_cover_what_the_comparison_is_about() -> None:
    kinds = {task.effect for task in TASKS.values() if isinstance(task, Simulated)}
    assert {"none", "constant", "linear", "step"} <= kinds
    assert {task.outcome for task in TASKS.values()} >= {"visit", "spend", "binary"}
    assert all(name == task.name for name, task in TASKS.items())
