"""Models that belong together in one folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uplift.errors import InputError
from uplift.learners import ChurnModel, TLearner
from uplift.learners.bundle import load_bundle, output_columns, save_bundle

N = 400
BOOSTER = {"n_estimators": 5, "num_leaves": 4, "min_child_samples": 10, "random_state": 0}
META = {"kind": "uplift", "features": ["x", "city"], "note": "kept"}


@pytest.fixture(scope="module")
def X() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=N), "city": pd.Categorical(rng.choice(["上海", "杭州"], N))})


@pytest.fixture(scope="module")
def models(X: pd.DataFrame) -> dict[str, TLearner]:
    rng = np.random.default_rng(1)
    treatment = rng.choice(["control", "b", "a"], N)
    visit = (rng.random(N) < 0.3 + 0.3 * (treatment == "a")).astype(float)
    learner = TLearner(control="control", **BOOSTER)
    return {"visit": learner.fit(X, visit, treatment), "spend": TLearner(control="control", **BOOSTER).fit(
        X, visit * rng.integers(1, 9, N), treatment)}  # fmt: skip


@pytest.fixture
def saved(models: dict[str, TLearner], tmp_path: Path) -> Path:
    save_bundle(tmp_path / "model", models, META)
    return tmp_path / "model"


def test_it_comes_back_whole(saved: Path, models: dict[str, TLearner], X: pd.DataFrame) -> None:
    bundle = load_bundle(saved)
    assert (bundle.kind, bundle.features) == ("uplift", ("x", "city"))
    assert bundle.meta["note"] == "kept"
    found = bundle.predict_frame(X)
    assert list(found.columns) == output_columns("uplift", ("visit", "spend"), ("a", "b"))
    for outcome, model in models.items():
        for column, arm in enumerate(("a", "b")):
            assert np.array_equal(found[f"effect_{outcome}_{arm}"], model.predict(X)[:, column])


def test_rows_keep_their_order_and_index(saved: Path, X: pd.DataFrame) -> None:
    bundle = load_bundle(saved)
    some = X.iloc[[7, 3, 3, 100]]
    found = bundle.predict_frame(some)
    assert found.index.tolist() == [7, 3, 3, 100]
    assert found.equals(bundle.predict_frame(X).iloc[[7, 3, 3, 100]])
    # columns are found by name: their order and what else is there do not matter
    assert bundle.predict_frame(some.assign(more=1)[["more", "city", "x"]]).equals(found)


def test_churn(X: pd.DataFrame, tmp_path: Path) -> None:
    y = np.random.default_rng(2).integers(0, 2, N)
    model = ChurnModel(folds=2, calibration="sigmoid", **BOOSTER).fit(X, y)
    save_bundle(tmp_path, {"churn": model}, {"kind": "churn", "features": ["x", "city"]})
    found = load_bundle(tmp_path).predict_frame(X)
    assert list(found.columns) == output_columns("churn") == ["churn_risk"]
    assert np.array_equal(found["churn_risk"], model.predict_proba(X)[:, 1])


def test_text_only(saved: Path) -> None:
    files = [path for path in saved.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".txt"}
    for path in files:
        path.read_text(encoding="utf-8")


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        change(meta)
        (folder / "meta.json").write_text(json.dumps(meta))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "meta.json").unlink(), "not a model: there is no meta.json"),
        (lambda folder: (folder / "meta.json").write_text("{"), "not a model's description"),
        (lambda folder: (folder / "meta.json").write_text("[1]"), "not a model's description"),
        (lambda folder: (folder / "meta.json").write_bytes(b"\xff\xfe\x00"), "not a model's description"),
        (_edit(lambda meta: meta.pop("kind")), "not a model's description: 'kind'"),
        (_edit(lambda meta: meta.pop("features")), "not a model's description: 'features'"),
        (_edit(lambda meta: meta.update(models=["../../elsewhere"])), "not a plain folder name"),
        (_edit(lambda meta: meta.update(models=[".."])), "not a plain folder name"),
        (_edit(lambda meta: meta.update(models=[7])), "'models' is not a list of names"),
        (_edit(lambda meta: meta.update(models="visit")), "not a model's description"),
        (_edit(lambda meta: meta.update(kind="magic")), "'magic'"),
        (lambda folder: (folder / "visit" / "model.json").unlink(), "holds no model"),
        (lambda folder: next((folder / "visit").glob("*.txt")).write_text("other"), "altered"),
        (lambda folder: (folder / "visit" / "more.txt").write_text("other"), "foreign"),
    ],
)
def test_what_was_damaged_is_refused(saved: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(saved)
    with pytest.raises(InputError, match=message):
        load_bundle(saved)


def test_a_missing_column_is_named(saved: Path, X: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="city"):
        load_bundle(saved).predict_frame(X[["x"]])
