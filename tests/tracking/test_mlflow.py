"""Delivery to a real MLflow store on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from uplift.config import Workspace
from uplift.tracking import MlflowBackend, Registry, Run, TrackingUnavailableError, folder_digest

# MLflow and SQLAlchemy warn their own developers on import and when a connection is collected
pytestmark = pytest.mark.filterwarnings("ignore")

MakeRun = Callable[..., Run]
Saver = Callable[..., Callable[[Path], None]]


def test_a_run_is_logged_registered_once_and_comes_back_whole(
    workspace: Workspace, make_run: MakeRun, saver: Saver, tmp_path: Path
) -> None:
    registry = Registry(workspace)
    registered = registry.record(make_run(), saver())
    assert (registered.version, registered.alias) == (1, "champion")

    fresh = MlflowBackend(workspace.tracking_uri)
    local = registry.find("churn-1")
    assert local is not None
    assert fresh.deliver(local).version == 1, "a second delivery finds the first"
    (version,) = fresh.versions("churn")
    assert version.aliases == ("champion", "challenger")
    fetched = fresh.fetch(version, tmp_path / "fetched")
    assert folder_digest(fetched) == local.digest

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=workspace.tracking_uri)
    experiment = client.get_experiment_by_name("uplift")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["auc"] == pytest.approx(0.8)
    assert run.data.params["seed"] == "0"
    assert len(client.get_metric_history(run.info.run_id, "curve.reliability")) == 3
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"importance.csv", "spec.json", "model"} <= names
    logged = {path.name for path in (workspace.root / "mlflow").rglob("*") if path.is_file()}
    assert "MLmodel" in logged
    assert not [name for name in logged if name.endswith((".pkl", ".pickle", ".cloudpickle"))]


def test_a_delivery_that_died_before_registration_is_finished_not_repeated(
    workspace: Workspace, make_run: MakeRun, saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(workspace)

    def dies(*_: object) -> None:
        raise TrackingUnavailableError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowBackend, "_register", dies)
        assert registry.record(make_run(), saver()).version is None
    assert [r.version for r in registry.sync()] == [1]
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=workspace.tracking_uri)
    experiment = client.get_experiment_by_name("uplift")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_a_dead_server_is_a_note_within_seconds(tmp_path: Path, make_run: MakeRun, saver: Saver) -> None:
    (tmp_path / "uplift.yaml").write_text("data: data/\ntracking: http://127.0.0.1:9\n")
    registered = Registry(Workspace.open(tmp_path)).record(make_run(), saver())
    assert registered.version is None
    assert "models sync" in registered.note
