"""Saved models: text and JSON, the same predictions to the last bit, and refused when a byte has changed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.learners import (
    BGNBD,
    LEARNERS,
    ChurnModel,
    RecencyRule,
    TLearner,
    load,
    make_learner,
    read_features,
    save,
)
from uplift.learners.persistence import MODEL_FILE, classes

WORLD = make_world(900, arms=("a", "b"), categorical=1, missing=0.05, random_state=0)
SMALL = {"control": "control", "n_estimators": 10, "min_child_samples": 20, "random_state": 0}


@pytest.fixture
def saved(tmp_path):
    model = TLearner(**SMALL).fit(WORLD.X, WORLD.y, WORLD.treatment, propensity=WORLD.propensity)
    return model, save(model, tmp_path / "model")


@pytest.mark.parametrize("name", LEARNERS)
def test_round_trip(name, tmp_path):
    model = make_learner(name, **SMALL).fit(WORLD.X, WORLD.y, WORLD.treatment, propensity=WORLD.propensity)
    again = load(save(model, tmp_path / "deep" / "model"))
    assert type(again) is type(model)
    assert again.get_params() == json.loads(json.dumps(model.get_params()))  # a tuple of names comes back as a list
    assert (again.arms_, again.control_, again.outcome_) == (model.arms_, model.control_, model.outcome_)
    np.testing.assert_array_equal(again.predict(WORLD.X), model.predict(WORLD.X))
    np.testing.assert_array_equal(again.set_params(n_jobs=2).predict(WORLD.X), model.predict(WORLD.X))
    assert list(again.feature_names_in_) == list(model.feature_names_in_)
    pd.testing.assert_frame_equal(again.feature_importance(), model.feature_importance())
    assert read_features(again) == tuple(WORLD.X.columns)


def test_round_trip_of_the_churn_models(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"days": rng.integers(0, 90, 400).astype(float), "city": rng.choice(["x", "y"], 400)})
    X.loc[::9, "days"] = np.nan
    y = rng.random(400) < np.nan_to_num(X["days"], nan=60) / 90
    for model in (
        ChurnModel(n_estimators=10, random_state=0),
        ChurnModel(n_estimators=10, calibration="sigmoid", random_state=0),
        RecencyRule("days"),
    ):
        model.fit(X, y)
        again = load(save(model, tmp_path / "model"))
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert read_features(again) == ("days",)
    histories = pd.DataFrame({"frequency": [0, 2, 1, 5.0], "recency": [0, 5, 3, 20.0], "T": [30, 30, 20, 25.0]})
    model = BGNBD(horizon=4).fit(histories)
    again = load(save(model, tmp_path / "bgnbd"))
    np.testing.assert_array_equal(again.predict_proba(histories), model.predict_proba(histories))
    assert read_features(again) == ("frequency", "recency", "T")


def test_every_estimator_of_the_room_can_be_saved():
    assert set(classes()) == {cls.__name__ for cls in LEARNERS.values()} | {"ChurnModel", "RecencyRule", "BGNBD"}


def test_what_is_written_is_text_and_the_same_every_time(tmp_path):
    few = {**SMALL, "n_estimators": 2}  # threads wait long for one another where others use the machine
    one, two = (
        TLearner(**few, n_jobs=n).fit(WORLD.X, WORLD.y, WORLD.treatment, propensity=WORLD.propensity) for n in (1, 2)
    )
    folder, other = save(one, tmp_path / "one"), save(two.set_params(n_jobs=1), tmp_path / "two")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["booster-000.txt", "booster-001.txt", "booster-002.txt", MODEL_FILE]
    for path in folder.iterdir():
        path.read_text(encoding="utf-8")
    assert all((folder / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_a_saved_model_is_replaced_and_nothing_is_left_beside_it(saved, tmp_path):
    _, folder = saved
    save(make_learner("none", **SMALL).fit(WORLD.X, WORLD.y, WORLD.treatment, propensity=WORLD.propensity), folder)
    assert sorted(path.name for path in folder.iterdir()) == [MODEL_FILE]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_with_other_things_is_not_touched(saved, tmp_path):
    model, _ = saved
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="is not a saved model"):
        save(model, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "x"


def test_unfitted_and_foreign_models_are_refused(tmp_path):
    from sklearn.exceptions import NotFittedError
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(NotFittedError):
        save(TLearner(), tmp_path / "m")
    with pytest.raises(InputError, match="LogisticRegression cannot be saved"):
        save(LogisticRegression(), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def rewrite(folder, **changes):
    path = folder / MODEL_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_every_flipped_byte_is_noticed(saved):
    _, folder = saved
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        for position in np.linspace(0, len(data) - 1, 7).astype(int):
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            with pytest.raises(InputError):
                load(folder)
        path.write_bytes(data)
    load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "booster-001.txt").unlink(), "booster-001.txt: missing"),
        (lambda f: (f / "evil.pkl").write_bytes(b"x"), "evil.pkl: foreign"),
        (lambda f: (f / MODEL_FILE).unlink(), "holds no model"),
        (lambda f: (f / MODEL_FILE).write_text("{"), "is not JSON"),
        (lambda f: (f / MODEL_FILE).write_text("[1]"), "is not a model of this library"),
        (lambda f: rewrite(f, version=2), "format version 2, this library reads 1"),
        (lambda f: rewrite(f, format="other"), "is not a model of this library"),
        (lambda f: rewrite(f, **{"class": "DRLearner"}), "was altered"),
    ],
)
def test_folders_that_are_not_as_they_were_saved(saved, change, message):
    _, folder = saved
    change(folder)
    with pytest.raises(InputError) as error:
        load(folder)
    assert message in str(error.value)


def test_a_class_that_is_none_of_ours_is_never_imported(saved):
    from uplift.learners.persistence import _body_digest

    _, folder = saved
    body = json.loads((folder / MODEL_FILE).read_text())
    body["class"] = "os.system"
    rewrite(folder, **{"class": "os.system"}, digest=_body_digest(body))
    with pytest.raises(InputError, match=r"class 'os\.system'"):
        load(folder)


def test_paths_out_of_the_folder_are_refused(saved, tmp_path):
    from uplift.learners.persistence import _body_digest, _digest

    _, folder = saved
    (tmp_path / "outside.txt").write_text("x")
    body = json.loads((folder / MODEL_FILE).read_text())
    body["files"]["../outside.txt"] = _digest(b"x")
    rewrite(folder, files=body["files"], digest=_body_digest(body))
    with pytest.raises(InputError, match="no name of a model file"):
        load(folder)


def test_a_broken_booster_with_a_matching_digest_is_refused(saved):
    from uplift.learners.persistence import _body_digest, _digest

    _, folder = saved
    (folder / "booster-000.txt").write_bytes(b"tree\nnonsense")
    body = json.loads((folder / MODEL_FILE).read_text())
    body["files"]["booster-000.txt"] = _digest(b"tree\nnonsense")
    rewrite(folder, files=body["files"], digest=_body_digest(body))
    with pytest.raises(InputError):
        load(folder)


def test_a_model_without_names(tmp_path):
    X = WORLD.X[["x0", "x1"]].to_numpy()
    model = TLearner(**SMALL).fit(X, WORLD.y, WORLD.treatment, propensity=WORLD.propensity)
    again = load(save(model, tmp_path / "model"))
    assert not hasattr(again, "feature_names_in_")
    assert read_features(again) == ("x0", "x1")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_numbers_as_arms_stay_numbers(tmp_path):
    codes = np.where(WORLD.treatment == "control", 0, np.where(WORLD.treatment == "a", 1, 2))
    model = make_learner("constant", control=0).fit(WORLD.X, WORLD.y, codes, propensity=WORLD.propensity)
    again = load(save(model, tmp_path / "model"))
    assert again.arms_ == (1, 2)
    assert again.control_ == 0
