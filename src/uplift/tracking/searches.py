"""A search into MLflow from wherever it was made, a notebook for one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from uplift import __version__
from uplift.data import fingerprint
from uplift.errors import InputError
from uplift.tracking._backend import Backend, ModelVersion
from uplift.tracking._contents import policy_metrics, search_artifacts, signature
from uplift.tracking._mlflow import MlflowBackend
from uplift.tracking._runs import Run, run_key, write_run

if TYPE_CHECKING:
    from uplift.evaluation import GainUnit, UpliftSearchCV


def log_search(
    search: UpliftSearchCV,
    X: pd.DataFrame,
    *,
    name: str,
    outcome: str,
    to: str | Backend,
    experiment: str = "uplift",
    unit: GainUnit | None = None,
) -> ModelVersion:
    """Log a fitted search to MLflow, and register what it chose as a version of the model ``name``.

    Logged are the settings, the leaderboard with its intervals, the verdict in both languages, what the procedure is
    worth on rows that it did not see, the gain curve, the folds, importances, and the model as text and JSON that
    MLflow serves without unpickling anything. The same search on the same rows is found again, not logged twice. No
    row's identity is logged unless a feature holds it.

    Parameters
    ----------
    search
        Fitted.
    X
        The table that it was fitted on; names and types of its columns become the model's signature.
    name
        Of the registered model.
    outcome
        What was predicted; part of the names of the columns that the model gives, ``effect_<outcome>_<arm>``.
    to
        Address of the tracking store, such as ``sqlite:///mlflow.db`` or ``http://localhost:5000``, or a backend.
    experiment
        The MLflow experiment.
    unit
        In which verdict and gate are written; metrics stay in the outcome's own unit.

    Raises
    ------
    InputError
        If X is not the table of the search, or the model chosen is not one of ours.
    TrackingUnavailableError
        If the store does not answer.

    Examples
    --------
    >>> from uplift.data.simulator.worlds import make_world
    >>> from uplift.evaluation import UpliftSearchCV
    >>> from uplift.tracking import MemoryBackend
    >>> w = make_world(1000, effect="constant", random_state=0)
    >>> search = UpliftSearchCV(["none", "constant"], folds=3, n_bootstrap=20)
    >>> search = search.fit(w.X, w.y, w.treatment, propensity=w.propensity)
    >>> log_search(search, w.X, name="trial", outcome="bought", to=MemoryBackend()).version
    1
    """
    from sklearn.utils.validation import check_is_fitted  # what reads runs only need not load the learners' libraries

    from uplift.evaluation import GainUnit, gain_curve, policy_gain, uplift_gate
    from uplift.learners.bundle import output_columns, save_bundle

    check_is_fitted(search)
    if not isinstance(X, pd.DataFrame):
        raise InputError("X must be a table: the names of its columns become the model's signature")
    scores, unit = search.scores_, unit or GainUnit()
    if len(X) != len(scores):
        raise InputError(
            f"X has {len(X):,} rows, the search was fitted on {len(scores):,}: give the table it was fitted on"
        )
    arms = tuple(str(arm) for arm in search.arms_)
    digest = fingerprint(X.assign(_y=scores.y, _assigned=scores.assigned, _weight=scores.weight))
    settings = {
        **{
            key: str(value)
            for key, value in search.get_params(deep=False).items()
            if key not in ("n_jobs", "candidates")
        },
        "candidates": ", ".join(search.leaderboard_["candidate"]),
    }
    curve = gain_curve(policy_gain(scores, search.effects_), search.effects_)
    run = Run(
        name=name,
        key=run_key(name, settings, outcome, digest, __version__),
        params={
            **settings,
            "learner": search.best_name_,
            "outcome": outcome,
            "arms": ", ".join(arms),
            "control": str(search.control_),
            "features": X.shape[1],
            "rows": len(X),
            **{f"kept.{part}": f"{share:.4g}" for part, share in search.shrinkage_.items()},
        },
        metrics={
            **policy_metrics(search.selected_),
            "outcome.mean": float(np.average(scores.y, weights=scores.weight)),
        },
        curves={"gain": curve},
        artifacts={
            **search_artifacts(search, np.ones(len(X), dtype=bool), unit),
            **_importance(search.best_estimator_),
        },
        tags={
            "data_fingerprint": digest,
            "version": __version__,
            "verdict": search.verdict_in(unit).en,
            "status": search.verdict_status_,
        },
        inputs=signature(X),
        outputs=[(column, "double") for column in output_columns("uplift", (outcome,), arms)],
        spec={"search": settings},
        gate=uplift_gate(search.selected_, unit=unit).to_dict(),
    )
    meta = {
        "kind": "uplift", "features": [str(column) for column in X.columns], "outcomes": [outcome], "arms": list(arms),
        "control": str(search.control_), "data_fingerprint": digest, "version": __version__,
    }  # fmt: skip
    backend = MlflowBackend(to, experiment) if isinstance(to, str) else to
    with tempfile.TemporaryDirectory() as folder:
        local = write_run(Path(folder), run, lambda place: save_bundle(place, {outcome: search.best_estimator_}, meta))
        return backend.deliver(local)


def _importance(model: Any) -> dict[str, str]:
    if not hasattr(model, "feature_importance"):
        return {}
    return {"importance.csv": model.feature_importance().to_csv(index=False)}
