"""MLflow: runs logged, models registered. The only module that imports it, and only when it is used."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uplift.tracking._backend import ModelVersion, TrackingUnavailableError
from uplift.tracking._runs import LocalRun, folder_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "uplift.key"
DIGEST_TAG = "uplift.digest"
ALIASES = ("champion", "challenger")
_SQLITE = "sqlite:///"
_MODEL_CODE = Path(__file__).with_name("_pyfunc.py")
_REQUIREMENTS = ("lightgbm", "mlflow", "numpy", "pandas", "scikit-learn")
_SETTINGS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class MlflowBackend:
    """An MLflow tracking store and model registry.

    Parameters
    ----------
    uri
        ``sqlite:////absolute/path.db`` or the address of a server.
    experiment
        Name of the MLflow experiment that runs are logged to.
    """

    def __init__(self, uri: str, experiment: str = "uplift") -> None:
        self.uri = uri
        self.experiment = experiment
        self._client: MlflowClient | None = None

    def deliver(self, run: LocalRun) -> ModelVersion:
        """Log and register a run; delivering the same run again gives the same version."""
        with self._lock():
            client = self._open()
            with _as_messages(self.uri):
                found = self._find(run.run.name, run.run.key)
                if found is not None:
                    return found
                run_id = self._logged(client, run) or self._log(client, run)
                return self._register(client, run, run_id)

    def versions(self, name: str | None = None) -> Sequence[ModelVersion]:
        """Registered versions of one model or of all, newest last."""
        client = self._open()
        with _as_messages(self.uri):
            wanted = f"name = '{name}'" if name is not None else None
            found: list[ModelVersion] = []
            for model in client.search_registered_models(filter_string=wanted):
                aliases = {alias: int(number) for alias, number in model.aliases.items()}
                found += [
                    ModelVersion(
                        model.name,
                        int(v.version),
                        v.tags.get(KEY_TAG, ""),
                        v.tags.get(DIGEST_TAG, ""),
                        tuple(alias for alias in ALIASES if aliases.get(alias) == int(v.version)),
                    )
                    for v in client.search_model_versions(f"name = '{model.name}'")
                ]
            return sorted(found, key=lambda v: (v.name, v.version))

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        client = self._open()
        with _as_messages(self.uri):
            client.set_registered_model_alias(name, alias, str(version))

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        """Copy a version's model folder to ``into``, and check that it is what was registered."""
        import mlflow

        client = self._open()
        with _as_messages(self.uri):
            source = client.get_model_version_download_uri(version.name, str(version.version))
            downloaded = Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{source}/artifacts/model", dst_path=str(into), tracking_uri=self.uri
                )
            )
        if folder_digest(downloaded) != version.digest:
            raise TrackingUnavailableError(
                f"{version.name} version {version.version}: its files are not the ones that were registered"
            )
        return downloaded

    def _open(self) -> MlflowClient:
        if self._client is None:
            for name, value in _SETTINGS.items():
                os.environ.setdefault(name, value)
            logging.getLogger("mlflow").setLevel(logging.ERROR)
            logging.getLogger("alembic").setLevel(logging.ERROR)
            with _quiet():
                from mlflow import MlflowClient

                if self.uri.startswith(_SQLITE):
                    Path(self.uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
                logging.getLogger("mlflow").setLevel(logging.ERROR)
                with _as_messages(self.uri), self._migration():
                    client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                    client.get_experiment_by_name(self.experiment)
            self._client = client
        return self._client

    def _logged(self, client: MlflowClient, run: LocalRun) -> str | None:
        """The run that a delivery left behind complete before it could register the model."""
        found = client.search_runs(
            [self._experiment_id(client)],
            filter_string=f"tags.`{KEY_TAG}` = '{run.run.key}' and attributes.status = 'FINISHED'",
            max_results=1,
        )
        return str(found[0].info.run_id) if found else None

    def _log(self, client: MlflowClient, run: LocalRun) -> str:
        from mlflow.entities import Metric, Param, RunTag

        record = run.run
        created = client.create_run(self._experiment_id(client), run_name=record.key)
        run_id = str(created.info.run_id)
        when = int(created.info.start_time)
        metrics = [Metric(name, float(value), when, 0) for name, value in record.metrics.items()]
        for name, values in record.curves.items():
            metrics += [Metric(f"curve.{name}", float(value), when, step) for step, value in enumerate(values)]
        params = [Param(name, str(value)[:6000]) for name, value in record.params.items()]
        tags = [RunTag(name, value) for name, value in {**record.tags, KEY_TAG: record.key}.items()]
        for start in range(0, max(len(metrics), 1), 900):
            client.log_batch(run_id, metrics=metrics[start : start + 900])
        client.log_batch(run_id, params=params[:100], tags=tags)
        client.log_dict(run_id, dict(record.spec), "spec.json")
        artifacts = run.folder / "artifacts"
        if artifacts.is_dir():
            client.log_artifacts(run_id, str(artifacts))
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder) / "model"
            self._pack(run, packed)
            client.log_artifacts(run_id, str(packed), "model")
        client.set_terminated(run_id)
        return run_id

    def _pack(self, run: LocalRun, folder: Path) -> None:
        """The model as a pyfunc whose code is ours and whose data are text: nothing in it is unpickled."""
        with _quiet():
            import mlflow.pyfunc
            from mlflow.models import ModelSignature
            from mlflow.types import ColSpec, Schema

        def schema(columns: Sequence[tuple[str, str]], *, required: bool) -> Schema:
            return Schema([ColSpec(kind, name, required=required) for name, kind in columns])

        with _quiet():
            mlflow.pyfunc.save_model(
                str(folder),
                python_model=str(_MODEL_CODE),
                artifacts={"model": str(run.model)},
                signature=ModelSignature(
                    inputs=schema(run.run.inputs, required=False), outputs=schema(run.run.outputs, required=True)
                ),
                pip_requirements=list(_REQUIREMENTS),
            )

    def _register(self, client: MlflowClient, run: LocalRun, run_id: str) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        name = run.run.name
        with contextlib.suppress(MlflowException):  # it exists: another run made it
            client.create_registered_model(name)
        root = client.get_run(run_id).info.artifact_uri
        tags = {KEY_TAG: run.run.key, DIGEST_TAG: run.digest}
        created = client.create_model_version(name, f"{root}/model", run_id, tags=tags)
        return ModelVersion(name, int(created.version), run.run.key, run.digest)

    def _find(self, name: str, key: str) -> ModelVersion | None:
        return next((v for v in self.versions(name) if v.key == key), None)

    def _experiment_id(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self.uri.startswith(_SQLITE):
            store = Path(self.uri.removeprefix(_SQLITE)).parent / "artifacts"
            location = store.resolve().as_uri()
        return str(client.create_experiment(self.experiment, artifact_location=location))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One delivery at a time where the store is a file beside us."""
        with _file_lock(self.uri, "deliver"):
            yield

    @contextlib.contextmanager
    def _migration(self) -> Iterator[None]:
        """Processes that open a fresh database together would each migrate it."""
        with _file_lock(self.uri, "migrate"):
            yield


@contextlib.contextmanager
def _file_lock(uri: str, purpose: str) -> Iterator[None]:
    if not uri.startswith(_SQLITE):
        yield
        return
    path = Path(uri.removeprefix(_SQLITE)).with_suffix(f".{purpose}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MLflow warns its own developers and prints hints; neither is for the person at the prompt."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _as_messages(uri: str) -> Iterator[None]:
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, requests.RequestException, OSError) as error:
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise TrackingUnavailableError(f"MLflow at {_without_password(uri)} failed: {reason}") from error


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if "@" in rest else uri
