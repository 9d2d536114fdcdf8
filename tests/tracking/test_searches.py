"""A search logged from where it was made: all of it, once, and the model comes back the same."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import World, make_world
from uplift.errors import InputError
from uplift.evaluation import GainUnit, UpliftSearchCV
from uplift.learners import TLearner
from uplift.tracking import MemoryBackend, fold_text, log_search

FEN = GainUnit("money", "CNY")


def fitted(world: World, X: pd.DataFrame, **options: Any) -> UpliftSearchCV:
    options = {"candidates": ["none", "constant", "T"], "params": {"n_estimators": 10}, "n_bootstrap": 20, **options}
    return UpliftSearchCV(folds=3, **options).fit(X, world.y, world.treatment, propensity=world.propensity)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(1500, outcome="continuous", random_state=1)


@pytest.fixture(scope="module")
def X(world: World) -> pd.DataFrame:
    city = pd.Categorical(np.where(world.X["x0"] > 0, "武汉", "上海"))
    return world.X.assign(city=city, member_card=world.X["x1"] > 0)


# MLflow and SQLAlchemy warn their own developers on import and when a connection is collected: not ours to mend
@pytest.mark.filterwarnings("ignore")
def test_all_of_it_is_in_mlflow_and_the_model_serves(
    world: World, X: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    uri = "sqlite:///store/mlflow.db"  # beside the notebook
    search = fitted(world, X)
    version = log_search(search, X, name="spring", outcome="margin", to=uri, experiment="trials", unit=FEN)
    assert (version.name, version.version) == ("spring", 1)
    again = log_search(fitted(world, X), X, name="spring", outcome="margin", to=uri, experiment="trials", unit=FEN)
    assert again.version == 1, "the same search is found, not logged twice"
    other = log_search(fitted(world, X, tolerance=0.5), X, name="spring", outcome="margin", to=uri, experiment="trials")
    assert other.version == 2

    client = mlflow.MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("trials").experiment_id])
    assert len(runs) == 2
    run = client.get_run(client.get_model_version("spring", "1").run_id)
    assert run.data.metrics["policy.gain"] == pytest.approx(search.selected_.gain.value)
    assert run.data.metrics["policy.over_single_se"] == pytest.approx(search.selected_.over_single.se)
    assert len(client.get_metric_history(run.info.run_id, "curve.gain")) == 20
    assert (run.data.params["learner"], run.data.params["candidates"]) == (search.best_name_, "none, constant, T")
    assert run.data.tags["verdict"] == search.verdict_in(FEN).en
    assert run.data.tags["status"] == search.verdict_status_
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, tracking_uri=uri, dst_path="got"))
    board = pd.read_csv(io.BytesIO((folder / "leaderboard.csv").read_bytes()))
    pd.testing.assert_frame_equal(board, search.leaderboard_, check_dtype=False)
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["zh"] == search.verdict_in(FEN).zh
    assert (folder / "folds.txt").read_text() == "".join(map(str, search.fold_))
    assert {"importance.csv", "spec.json"} <= {path.name for path in folder.iterdir()}
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".cloudpickle")]

    mlflow.set_tracking_uri(uri)
    served = mlflow.pyfunc.load_model("models:/spring/1").predict(X.astype({"city": object}))
    assert list(served.columns) == ["effect_margin_a", "effect_margin_b"]
    np.testing.assert_array_equal(served.to_numpy(), search.predict(X))


def test_many_folds_are_logged_as_numbers() -> None:
    fold, trained = np.arange(40), np.append(np.ones(40, dtype=bool), False)
    assert fold_text(fold, trained).split() == [*map(str, range(40)), "-"]
    assert fold_text(fold[:36], trained[:36]) == "0123456789abcdefghijklmnopqrstuvwxyz"


def test_what_cannot_be_logged_is_said(world: World, X: pd.DataFrame) -> None:
    search = fitted(world, X)
    with pytest.raises(InputError, match="1,499 rows, the search was fitted on 1,500"):
        log_search(search, X.iloc[1:], name="m", outcome="y", to=MemoryBackend())
    array: Any = X.to_numpy()
    with pytest.raises(InputError, match="X must be a table"):
        log_search(search, array, name="m", outcome="y", to=MemoryBackend())

    class Mine(TLearner):
        """A class that no file may name."""

    mine = fitted(world, X, candidates={"mine": Mine("control", n_estimators=10)}, params=None)
    with pytest.raises(InputError, match="Mine cannot be saved"):
        log_search(mine, X, name="m", outcome="y", to=MemoryBackend())
