"""Uplift training: the rows it learns from, what it keeps back, what it writes, and its gate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from uplift.config import UpliftSpec, Workspace, read_spec
from uplift.data import Engine
from uplift.errors import InputError
from uplift.evaluation import GainUnit
from uplift.learners.bundle import load_bundle
from uplift.pipelines import train_uplift as module
from uplift.pipelines._training import Trained
from uplift.pipelines._uplift_data import CONTROL, UpliftData, held_out, uplift_data
from uplift.pipelines._valuing import Valuing, effects_of
from uplift.pipelines.train_uplift import train_uplift
from uplift.tracking import LocalRun, Registry

# MLflow and SQLAlchemy warn their own developers on import and when a connection is collected
pytestmark = pytest.mark.filterwarnings("ignore")

CNY = GainUnit("money", "CNY")
MakeShop = Callable[..., Any]
MakeRegistry = Callable[[Workspace], Registry]


def rows_of(workspace: Workspace) -> UpliftData:
    with Engine.open(workspace) as engine:
        return uplift_data(engine, workspace, read_spec(workspace.models / "uplift.yaml", UpliftSpec))


def run_of(registry: Registry, done: Trained) -> LocalRun:
    local = registry.find(done.registered.key)
    assert local is not None
    return local


@pytest.fixture(scope="module")
def data(shop: Workspace) -> UpliftData:
    return rows_of(shop)


@pytest.fixture(scope="module")
def logged(shop: Workspace) -> pd.DataFrame:
    table = pd.read_parquet(shop.data / "assignments.parquet")
    return table[table["experiment_id"] != "late"].sort_values(["experiment_id", "assigned_at", "member_id"])


def test_arms_are_offers_and_every_control_is_one(data: UpliftData, logged: pd.DataFrame) -> None:
    offer = {
        ("first", "nothing"): CONTROL, ("first", "A"): "coupon",
        ("second", "control"): CONTROL, ("second", "A"): "gift", ("second", "B"): "coupon",
    }  # fmt: skip
    assert data.arms == ("coupon", "gift")
    expected = [offer[pair] for pair in zip(logged["experiment_id"], logged["arm"], strict=True)]
    assert data.member_id.tolist() == logged["member_id"].tolist()
    assert data.treatment.tolist() == expected


def test_propensities_are_the_designs(data: UpliftData, logged: pd.DataFrame) -> None:
    first = (logged["experiment_id"] == "first").to_numpy()
    assert np.unique(data.propensity[first], axis=0).tolist() == [[0.5, 0.5, 0.0]]
    assert np.unique(data.propensity[~first], axis=0).tolist() == [[0.5, 0.2, 0.3]]
    assert data.propensity.sum(axis=1) == pytest.approx(1)


def test_windows_that_are_not_complete_are_left_out(make_shop: MakeShop, tmp_path: Path, data: UpliftData) -> None:
    made = make_shop(tmp_path)
    assert len(data.treatment) == (made.assignments["experiment_id"] != "late").sum()
    assert (made.assignments["experiment_id"] == "late").sum() == 100
    shorter = [{"name": "conversion", "outcome": "ordered", "window_days": 5}]
    workspace = made.write({"outcomes": shorter, "choose_on": "conversion", "value_outcome": "conversion"})
    assert len(rows_of(workspace).treatment) == len(made.assignments)
    only = made.write({"experiments": ["late"]})
    with pytest.raises(InputError, match=r"no assignment of late has 14 days"):
        rows_of(only)


def test_outcomes_come_after_and_features_before(data: UpliftData) -> None:
    """The order before the assignment is a feature of the even members, the one after it an outcome."""
    even = np.array([int(member[-5:]) % 2 == 0 for member in data.member_id])
    assert (data.X["orders_total"].to_numpy() == even).all()
    assert data.outcomes["conversion"][even & (data.treatment == "coupon")].mean() == pytest.approx(0.6, abs=0.1)
    assert data.outcomes["conversion"][~even & (data.treatment == CONTROL)].mean() == pytest.approx(0.4, abs=0.1)
    bought = data.outcomes["conversion"] == 1
    assert set(data.outcomes["margin"][bought]) == {5_000.0}, "cents, amount less cost"
    assert set(data.outcomes["margin"][~bought]) == {0.0}


def test_held_out_is_a_fixed_function_of_the_member() -> None:
    ids = np.array([f"m{i}" for i in range(4000)])
    kept = held_out(ids, 0.25)
    assert kept.mean() == pytest.approx(0.25, abs=0.03)
    order = np.random.default_rng(0).permutation(4000)
    assert np.array_equal(held_out(ids[order], 0.25), kept[order])
    assert np.array_equal(held_out(np.repeat(ids[:50], 3), 0.25), np.repeat(kept[:50], 3))
    assert not (kept & ~held_out(ids, 0.4)).any(), "a larger share holds the smaller one"
    digest = hashlib.blake2b(b"uplift-model-holdout:m0", digest_size=8).digest()
    assert kept[0] == (int.from_bytes(digest) < 0.25 * 2**64), "changing the hash would mix fitted and held-out members"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("propensity", 0.4, r"logged a probability .*0\.4000 .* 0\.5000"),
        ("arm", "C", r"arms that the definition does not have \(first: 'C'"),
    ],
)
def test_assignments_that_contradict_the_design_are_refused(
    make_shop: MakeShop, tmp_path: Path, column: str, value: object, message: str
) -> None:
    made = make_shop(tmp_path, members=200)
    made.assignments.loc[made.assignments.index[:7], column] = value
    with pytest.raises(InputError, match=f"^7 assignments .*{message}"):
        rows_of(made.write())


def test_a_logged_probability_that_is_missing_or_right_is_no_contradiction(make_shop: MakeShop, tmp_path: Path) -> None:
    made = make_shop(tmp_path, members=200)
    made.assignments.loc[made.assignments.index[::2], "propensity"] = np.nan
    assert len(rows_of(made.write()).treatment) == 200


def test_an_arm_that_nobody_received_takes_no_share(make_shop: MakeShop, tmp_path: Path) -> None:
    made = make_shop(tmp_path, members=200)
    made.assignments = made.assignments[(made.assignments.experiment_id != "second") | (made.assignments.arm != "A")]
    data = rows_of(made.write())
    assert data.arms == ("coupon",)
    assert data.propensity.sum(axis=1) == pytest.approx(1)
    assert data.propensity[-1].tolist() == pytest.approx([0.5 / 0.7, 0.2 / 0.7])


def test_two_arms_that_give_the_same_offer_are_one(make_shop: MakeShop, tmp_path: Path) -> None:
    made = make_shop(tmp_path, members=200)
    made.experiments["second"]["arms"][1]["offer_id"] = "coupon"
    data = rows_of(made.write())
    assert data.arms == ("coupon",)
    assert np.unique(data.propensity, axis=0).tolist() == [[0.5, 0.5]]


def test_an_offer_called_control_is_not_taken_for_the_control(make_shop: MakeShop, tmp_path: Path) -> None:
    made = make_shop(tmp_path, members=200)
    made.experiments["first"]["arms"][1]["offer_id"] = "control"
    with pytest.raises(InputError, match="'A' would be taken for the control 'nothing'"):
        rows_of(made.write())


def test_only_the_control_is_refused(make_shop: MakeShop, tmp_path: Path) -> None:
    made = make_shop(tmp_path, members=200)
    made.assignments = made.assignments[made.assignments["arm"].isin(["nothing", "control"])]
    with pytest.raises(InputError, match="every assignment with a complete window is to the control"):
        rows_of(made.write())


def test_unknown_experiment_and_none_at_all(make_shop: MakeShop, tmp_path: Path) -> None:
    made = make_shop(tmp_path, members=200)
    with pytest.raises(InputError, match=r"frist.*first"):
        rows_of(made.write({"experiments": ["frist"]}))
    workspace = made.write()
    for path in workspace.experiments.glob("*.yaml"):
        path.unlink()
    with pytest.raises(InputError, match="no experiment is defined"):
        rows_of(workspace)


Learned = tuple[Workspace, Registry, Trained]


def test_it_finds_whom_the_coupon_helps(learned: Learned, data: UpliftData) -> None:
    _, registry, done = learned
    local = run_of(registry, done)
    assert local.run.params["learner"] not in ("none", "constant", "response"), "members differ"
    effects = load_bundle(local.model).predict_frame(data.X)["effect_conversion_coupon"].to_numpy()
    even = data.X["orders_total"].to_numpy() > 0
    assert effects[even].mean() > 0.2
    assert effects[~even].mean() < -0.1
    assert done.metrics["policy.gain"] > 2 * done.metrics["policy.gain_se"]
    assert done.gate["passed"] is True
    assert (done.registered.version, done.registered.alias) == (1, "champion")
    assert "learned from" in done.text()


def test_money_is_shown_in_units_and_logged_in_cents(learned: Learned) -> None:
    _, _, done = learned
    assert 100 < done.metrics["policy.gain"] < 5_000
    told = CNY.text(done.metrics["policy.gain"], done.metrics["policy.gain_se"]).en
    assert told.startswith("+¥")
    assert f"against nobody: {told}; " in done.text()
    assert f"per member: {told} ≥ " in done.gate["reasons_en"][0]
    assert f"：{told} ≥ " in done.gate["reasons_zh"][0]
    verdict = next(line for line in done.text().splitlines() if line.startswith("chosen: "))
    assert verdict.count("¥") >= 3
    assert "e+" not in verdict


def test_folds_and_the_gain_curve_are_logged(learned: Learned, data: UpliftData) -> None:
    _, registry, done = learned
    local = run_of(registry, done)
    folds = (local.folder / "artifacts" / "folds.txt").read_text(encoding="utf-8")
    assert [fold == "-" for fold in folds] == data.held_out.tolist()
    of_member = pd.Series(list(folds)).groupby(data.member_id).nunique()
    assert (of_member == 1).all(), "all rows of a member share a fold"
    curve = local.run.curves["gain"]
    assert curve[-1] == pytest.approx(done.metrics["policy.gain"], rel=1e-6)
    assert curve[len(curve) // 2] >= 0.4 * curve[-1], "those it promises most give more than their share"


def test_the_models_folder_holds_text_only_and_predicts_the_same_again(learned: Learned, data: UpliftData) -> None:
    _, registry, done = learned
    local = run_of(registry, done)
    for path in local.folder.rglob("*"):
        if path.is_file():
            assert path.suffix in (".txt", ".json", ".csv"), path.name
            path.read_text(encoding="utf-8")
    bundle = load_bundle(local.model)
    assert set(bundle.models) == {"conversion", "margin"}
    found = bundle.predict_frame(data.X)
    assert list(found.columns) == [name for name, _ in local.run.outputs]
    assert found.equals(load_bundle(local.model).predict_frame(data.X[list(bundle.features)]))


def test_meta_tells_the_decisions_what_they_need(learned: Learned, data: UpliftData) -> None:
    _, registry, done = learned
    meta = json.loads((run_of(registry, done).model / "meta.json").read_text())
    assert meta["kind"] == "uplift"
    assert meta["value_outcome"] == "margin"
    assert meta["windows"] == {"conversion": 14, "margin": 14}
    assert meta["sources"] == {"conversion": "ordered", "margin": "margin"}
    assert meta["arms"] == ["coupon", "gift"]
    assert meta["experiments"] == ["first", "late", "second"]
    cells = meta["effect_se"]["conversion"]["coupon"]
    assert cells["*"]["effect"] == pytest.approx(0.05, abs=4 * cells["*"]["se"])
    assert set(cells) - {"*"} <= set(data.segment)
    assert len(cells) > 1
    assert all(cell["se"] > 0 for cell in cells.values())


def test_members_held_out_are_never_fitted(
    learned: Learned, data: UpliftData, copy_of: Callable[[Workspace], Workspace], memory: MakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Other outcomes of the held-out members change what the model is worth, and not one byte of a booster."""
    workspace, registry, done = learned
    assert 0.15 < data.held_out.mean() < 0.35
    other = {name: np.where(data.held_out, values[::-1], values) for name, values in data.outcomes.items()}
    changed = UpliftData(**{**data.__dict__, "outcomes": other})
    monkeypatch.setattr(module, "uplift_data", lambda *_: changed)
    second = memory(copy_of(workspace))
    again = train_uplift(second.workspace, registry=second)
    assert again.registered.key != done.registered.key
    assert again.metrics["policy.gain"] != done.metrics["policy.gain"]
    one, two = run_of(registry, done).model, run_of(second, again).model
    for outcome in data.outcomes:
        assert (one / outcome / "model.json").read_bytes() == (two / outcome / "model.json").read_bytes()


def test_a_rerun_is_found_and_other_data_are_not(
    learned: Learned, copy_of: Callable[[Workspace], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, registry, done = learned
    copied = copy_of(workspace)
    mine = Registry(copied, registry.backend)
    with monkeypatch.context() as patch:
        patch.setattr(module, "UpliftSearchCV", None)  # a second fit would fail
        again = train_uplift(copied, registry=mine)
    assert (again.registered.key, again.registered.version, again.registered.repeated) == (
        done.registered.key, 1, True,
    )  # fmt: skip
    assert again.metrics == done.metrics
    orders = pd.read_parquet(copied.data / "orders.parquet")
    orders.loc[0, "cost"] += 1
    orders.to_parquet(copied.data / "orders.parquet")
    assert module.data_fingerprint(rows_of(copied)) != module.data_fingerprint(rows_of(workspace))


def test_the_gate_compares_with_the_champion_on_members_kept_back(
    learned: Learned, data: UpliftData, memory: MakeRegistry
) -> None:
    workspace, registry, _ = learned
    champion = registry.champion("uplift")
    spec = read_spec(workspace.models / "uplift.yaml", UpliftSpec)
    valuing = Valuing(data, list(data.X.columns), seed=0)
    good = effects_of(load_bundle(champion.folder), "margin", data)
    assert good.shape == (data.held_out.sum(), 2)
    worse = valuing.gain("margin", -good)
    refused = module._gate(worse, champion, valuing, data, spec, CNY)
    assert not refused.passed
    assert "the champion" in refused.reasons_en[0]
    same = module._gate(valuing.gain("margin", good), champion, valuing, data, spec, CNY)
    assert same.passed
    first = module._gate(valuing.gain("margin", good), None, valuing, data, spec, CNY)
    assert "treating nobody" in first.reasons_en[0]


def test_a_champion_that_cannot_be_compared_does_not_block(learned: Learned, data: UpliftData) -> None:
    workspace, registry, _ = learned
    champion = registry.champion("uplift")
    spec = read_spec(workspace.models / "uplift.yaml", UpliftSpec)
    valuing = Valuing(data, list(data.X.columns), seed=0)
    good = valuing.gain("margin", effects_of(load_bundle(champion.folder), "margin", data))
    needed = load_bundle(champion.folder).features
    other = UpliftData(**{**data.__dict__, "X": data.X.drop(columns=list(needed)).assign(visits=1.0)})
    result = module._gate(good, champion, valuing, other, spec, CNY)
    assert result.passed
    assert "could not be compared" in result.reasons_en[-1]
    assert "无法与现用模型比较" in result.reasons_zh[-1]


def test_an_offer_that_the_champion_does_not_know_is_never_its_choice(learned: Learned, data: UpliftData) -> None:
    """A campaign with a new offer comes after a champion: training goes on, and the two are compared."""
    workspace, registry, _ = learned
    champion = registry.champion("uplift")
    spec = read_spec(workspace.models / "uplift.yaml", UpliftSpec)
    renamed = np.where(data.treatment == "gift", "new", data.treatment)
    newer = UpliftData(**{**data.__dict__, "arms": ("coupon", "new"), "treatment": renamed})
    valuing = Valuing(newer, list(newer.X.columns), seed=0)
    effects = effects_of(load_bundle(champion.folder), "margin", newer)
    assert (effects[:, 1] == 0).all()
    gain = valuing.gain("margin", effects)
    assert gain.shares["new"] == 0
    assert "the champion" in module._gate(gain, champion, valuing, newer, spec, CNY).reasons_en[0]


def test_large_baskets_are_moved_in_for_fitting_and_counted_as_they_are(
    make_shop: MakeShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_shop(tmp_path, members=400)
    made.orders.loc[made.orders.index[5], ["amount", "cost"]] = [50_000_000, 0]
    workspace = made.write()
    data = rows_of(workspace)
    assert data.outcomes["margin"].max() == 50_000_000
    seen: list[float] = []

    class Search:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def fit(self, X: pd.DataFrame, y: np.ndarray, *_: object, **__: object) -> Search:
            seen.append(float(y.max()))
            return self

    monkeypatch.setattr(module, "UpliftSearchCV", Search)
    spec = read_spec(workspace.models / "uplift.yaml", UpliftSpec)
    everybody = UpliftData(**{**data.__dict__, "held_out": np.zeros(len(data.treatment), dtype=bool)})
    module.search_learners(everybody, spec, list(data.X.columns), lambda _: None)
    assert seen == [5_000.0]


def test_on_mlflow_it_loads_without_pickle_and_predicts_the_same(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    data = rows_of(trained)
    registry = Registry(trained)
    for name in ("uplift", "churn"):
        champion = registry.champion(name)
        assert champion is not None
        bundle = load_bundle(champion.folder)
        stores = list((trained.root / "mlflow").rglob("MLmodel"))
        mine = [p.parent for p in stores if (p.parent / "artifacts" / "model" / "meta.json").read_text()
                == (champion.folder / "meta.json").read_text()]  # fmt: skip
        assert len(mine) == 1
        loaded = mlflow.pyfunc.load_model(str(mine[0]))
        X = data.X[list(bundle.features)].iloc[:200].reset_index(drop=True)
        assert loaded.predict(X).equals(bundle.predict_frame(X))
        outputs = [column.name for column in loaded.metadata.signature.outputs]
        assert outputs == list(bundle.predict_frame(X).columns)


def test_no_member_is_named_in_runs_or_in_mlflow(trained: Workspace) -> None:
    members = pd.read_parquet(trained.data / "members.parquet", columns=["member_id"])["member_id"]
    ids = [member.encode() for member in members]
    assert len(ids) == 1500
    looked = 0
    for folder in ("runs", "mlflow"):
        for path in (trained.root / folder).rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                looked += 1
                assert not [member for member in ids if member in content], path.relative_to(trained.root)
    assert looked > 20


def test_other_outcomes_get_the_members_of_the_ensemble_that_were_worth_keeping():
    from types import SimpleNamespace

    from uplift.pipelines.train_uplift import _again

    def again(**weights):
        both = {name: {"level": kept, "between_arms": 0.0} for name, kept in weights.items()}
        search = SimpleNamespace(best_name_="ensemble", best_estimator_=SimpleNamespace(weights_=both))
        return _again(search, UpliftSpec())

    assert again(logistic_T=0.2, S=0.0, X=0.3).members == ("logistic_T", "X")
    assert again(logistic_T=0.05, S=0.3, X=0.3).members == ("S", "X")  # less than a tenth of all
    assert type(again(logistic_T=0.0, S=0.0, X=0.0)).__name__ == "ConstantEffect"
    alone = SimpleNamespace(best_name_="DR", best_estimator_=None)
    assert type(_again(alone, UpliftSpec())).__name__ == "DRLearner"


def test_winsorising_moves_the_ends_and_leaves_rare_amounts():
    from uplift.pipelines.train_uplift import winsorised

    amounts = np.arange(1000.0)
    moved = winsorised(amounts, 0.01)
    assert (moved.min(), moved.max()) == pytest.approx((9.99, 989.01))
    assert (moved == amounts).mean() == pytest.approx(0.98)
    rare = np.where(amounts < 990, 0.0, amounts)  # a hundredth has any: top-ups
    moved = winsorised(rare, 0.01)
    assert (moved > 0).sum() == 10
    assert moved.max() < rare.max()
