"""The search of ``train uplift`` is run as the specification says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from uplift.config.model import UpliftSpec
from uplift.pipelines import train_uplift


def test_the_search_takes_its_folds_and_partitions_from_the_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Recorder:
        def __init__(self, candidates: Any, **settings: Any) -> None:
            asked.update(settings)

        def fit(self, X: pd.DataFrame, y: np.ndarray, treatment: Any, **more: Any) -> Recorder:
            asked["rows"] = len(X)
            return self

    monkeypatch.setattr(train_uplift, "UpliftSearchCV", Recorder)
    spec = UpliftSpec(folds=4, n_repeats=3, seed=7)
    data = SimpleNamespace(
        held_out=np.array([True, False, False]),
        outcomes={"margin": np.array([1.0, 2.0, 3.0])},
        X=pd.DataFrame({"a": [1.0, 2.0, 3.0]}),
        treatment=np.array(["none", "x", "none"]),
        propensity=np.full((3, 2), 0.5),
        member_id=np.array(["1", "2", "3"]),
    )
    train_uplift._search({}, "margin", data, spec, ["a"])
    assert (asked["folds"], asked["n_repeats"], asked["random_state"], asked["nested"]) == (4, 3, 7, False)
    assert asked["rows"] == 2
    assert UpliftSpec().n_repeats == 1
