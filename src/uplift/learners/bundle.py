"""Models that belong together in one folder: the learners of every outcome, or the churn model, and what they need.

::

    folder/meta.json            kind, outcomes, arms, features, segment effects …
    folder/<outcome>/           one saved uplift learner each, or
    folder/churn/               the churn model
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uplift.data import write_json_atomic
from uplift.errors import InputError
from uplift.learners import load, save

META_FILE = "meta.json"
CHURN = "churn"
KINDS = ("uplift", CHURN)


@dataclass(frozen=True)
class Bundle:
    """Loaded models and their metadata.

    Attributes
    ----------
    kind
        ``"uplift"`` or ``"churn"``.
    models
        Outcome → uplift learner, or ``{"churn": model}``.
    meta
        What the training wrote beside them; ``features`` are the columns that prediction needs.
    """

    kind: str
    models: Mapping[str, Any]
    meta: Mapping[str, Any]

    @property
    def features(self) -> tuple[str, ...]:
        """Columns that prediction needs."""
        return tuple(self.meta["features"])

    def predict_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Every prediction as a column, in the order of :func:`output_columns`.

        Parameters
        ----------
        X
            (n_members, n_features), columns by name.

        Returns
        -------
        pandas.DataFrame
            ``churn_risk``, or ``effect_<outcome>_<arm>`` in the outcome's own unit.
        """
        if self.kind == CHURN:
            return pd.DataFrame({"churn_risk": self.models[CHURN].predict_proba(X)[:, 1]}, index=X.index)
        columns: dict[str, np.ndarray] = {}
        for outcome, learner in self.models.items():
            effects = np.asarray(learner.predict(X))
            for column, arm in enumerate(learner.arms_):
                columns[f"effect_{outcome}_{arm}"] = effects[:, column]
        return pd.DataFrame(columns, index=X.index)


def output_columns(kind: str, outcomes: tuple[str, ...] = (), arms: tuple[str, ...] = ()) -> list[str]:
    """Names of the columns that :meth:`Bundle.predict_frame` gives."""
    if kind == CHURN:
        return ["churn_risk"]
    return [f"effect_{outcome}_{arm}" for outcome in outcomes for arm in arms]


def save_bundle(folder: Path, models: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write models as text and JSON; ``meta`` must hold ``kind`` and ``features``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        save(model, folder / name)
    write_json_atomic(folder / META_FILE, {**meta, "models": list(models)})


def load_bundle(folder: str | Path) -> Bundle:
    """Read what :func:`save_bundle` wrote. Nothing is unpickled.

    Raises
    ------
    InputError
        If the folder is not such a bundle or a file in it was changed.
    """
    path = Path(folder) / META_FILE
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        kind, names, features = meta["kind"], meta["models"], meta["features"]
    except FileNotFoundError:
        raise InputError(f"{folder}: not a model: there is no {META_FILE} in it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a model's description: {error}") from None
    if kind not in KINDS:
        raise InputError(f"{path}: not a model's description: its kind is {kind!r}, known are {', '.join(KINDS)}")
    for key, value in (("models", names), ("features", features)):
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise InputError(f"{path}: not a model's description: {key!r} is not a list of names")
    for name in names:
        if Path(name).name != name or name == "..":
            raise InputError(f"{path}: the model name {name!r} is not a plain folder name")
    return Bundle(kind, {name: load(Path(folder) / name) for name in names}, meta)
