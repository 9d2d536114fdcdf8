"""Runs, the model registry and promotion; the only package that imports MLflow, and only when it is used."""

from uplift.tracking._backend import Backend, MemoryBackend, ModelVersion, TrackingUnavailableError
from uplift.tracking._contents import fold_text, policy_metrics, search_artifacts, signature
from uplift.tracking._mlflow import MlflowBackend
from uplift.tracking._runs import LocalRun, Run, folder_digest, local_runs, run_key
from uplift.tracking.registry import PinnedModel, Registered, Registry, open_registry
from uplift.tracking.searches import log_search

__all__ = [
    "Backend",
    "LocalRun",
    "MemoryBackend",
    "MlflowBackend",
    "ModelVersion",
    "PinnedModel",
    "Registered",
    "Registry",
    "Run",
    "TrackingUnavailableError",
    "fold_text",
    "folder_digest",
    "local_runs",
    "log_search",
    "open_registry",
    "policy_metrics",
    "run_key",
    "search_artifacts",
    "signature",
]
