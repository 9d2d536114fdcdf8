"""Churn training: labels, the split in time, the rule to beat, and reruns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from uplift.config import ChurnSpec, Workspace, read_spec
from uplift.data import Engine
from uplift.errors import InputError
from uplift.learners.bundle import load_bundle
from uplift.pipelines import train_churn as module
from uplift.pipelines.train_churn import ChurnData, as_of_times, churn_data, train_churn
from uplift.tracking import MemoryBackend, Registry

# MLflow and SQLAlchemy warn their own developers on import and when a connection is collected
pytestmark = pytest.mark.filterwarnings("ignore")

MakeRegistry = Callable[[Workspace], Registry]


@pytest.fixture(scope="module")
def spec(chain: Workspace) -> ChurnSpec:
    return read_spec(chain.models / "churn.yaml", ChurnSpec)


@pytest.fixture(scope="module")
def data(chain: Workspace, spec: ChurnSpec) -> ChurnData:
    with Engine.open(chain) as engine:
        return churn_data(engine, spec)


def test_no_training_time_is_nearer_than_a_horizon_to_the_evaluation(chain: Workspace, spec: ChurnSpec) -> None:
    with Engine.open(chain) as engine:
        evaluation, *training = as_of_times(engine, spec)
        last = engine.query("SELECT max(ordered_at) AS t FROM orders").column("t")[0].as_py()
    horizon = timedelta(days=spec.horizon_days)
    assert len(training) == spec.cutoffs
    assert max(training) + horizon <= evaluation, "a training label may not look into the evaluation"
    assert evaluation + horizon <= last + timedelta(days=1), "the evaluation's own horizon is complete"
    assert evaluation.utcoffset() is not None
    assert evaluation.hour == evaluation.minute == 0


def test_labels_features_and_population_by_the_tables(chain: Workspace, spec: ChurnSpec, data: ChurnData) -> None:
    orders = pd.read_parquet(chain.data / "orders.parquet")
    paid = orders[~orders["status"].isin(["cancelled", "refunded"]) & (orders["amount"] >= 0)]
    horizon = pd.Timedelta(days=spec.horizon_days)
    for as_of in data.as_of.unique():
        rows = (data.as_of == as_of).to_numpy()
        buyers_after = set(
            paid.loc[(paid["ordered_at"] > as_of) & (paid["ordered_at"] <= as_of + horizon), "member_id"]
        )
        expected = np.array([member not in buyers_after for member in data.member_id[rows]], dtype=int)
        assert np.array_equal(data.y[rows], expected)
        before = paid[paid["ordered_at"] < as_of].groupby("member_id")["ordered_at"]
        days = (as_of - before.max()).dt.total_seconds() / 86_400
        active = set(days.index[days <= 60])
        assert set(data.member_id[rows]) == active, "the population rule decides who is in"
        assert data.X.loc[rows, "days_since_last_order"].to_numpy() == pytest.approx(
            days.reindex(data.member_id[rows]).to_numpy(), abs=1.0
        )
        assert (data.X.loc[rows, "orders_total"].to_numpy() == before.size().reindex(data.member_id[rows])).all()


def test_nothing_is_fitted_on_evaluation_rows(
    chain: Workspace, data: ChurnData, copy_of: Callable[[Workspace], Workspace], memory: MakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Turning every evaluation label around may change the metrics, never the model."""
    assert data.evaluation.any()
    turned = replace(data, y=np.where(data.evaluation, 1 - data.y, data.y))
    workspace = copy_of(chain)
    registry = memory(workspace)
    models, areas = [], []
    for given in (data, turned):
        monkeypatch.setattr(module, "churn_data", lambda *_, given=given: given)
        done = train_churn(workspace, registry=registry)
        local = registry.find(done.registered.key)
        assert local is not None
        models.append((local.model / "churn" / "booster-000.txt").read_text())
        areas.append(done.metrics["auc"])
    assert models[0] == models[1]
    assert areas[0] + areas[1] == pytest.approx(1.0)


def test_it_beats_the_recency_rule_and_serves(trained: Workspace, data: ChurnData) -> None:
    registry = Registry(trained)
    champion = registry.champion("churn")
    assert champion is not None
    local = registry.find(champion.key)
    assert local is not None
    run = local.run
    assert run.metrics["auc"] > run.metrics["recency_rule.auc"] + 0.03
    assert run.metrics["lift"] > 1.2
    assert run.gate["passed"] is True
    assert (run.params["rows_evaluation"], run.params["rows_train"]) == (
        int(data.evaluation.sum()),
        int((~data.evaluation).sum()),
    )
    folds = (local.folder / "artifacts" / "folds.txt").read_text(encoding="utf-8")
    assert [fold == "-" for fold in folds] == data.evaluation.tolist()
    bundle = load_bundle(champion.folder)
    risk = bundle.predict_frame(data.X[data.evaluation])["churn_risk"].to_numpy()
    assert np.ptp(risk) > 0.1
    assert abs(risk.mean() - data.y[data.evaluation].mean()) < 0.1
    assert bundle.meta["base_rate"] == pytest.approx(data.y[~data.evaluation].mean())
    assert set(bundle.features) <= set(data.X.columns)


def test_a_rerun_is_found_not_repeated(
    chain: Workspace, copy_of: Callable[[Workspace], Workspace], memory: MakeRegistry, put_spec: Callable[..., Path],
    spec: ChurnSpec, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    workspace = copy_of(chain)
    registry = memory(workspace)
    once = train_churn(workspace, registry=registry)
    with monkeypatch.context() as patch:
        patch.setattr(module, "ChurnModel", None)  # a second fit would fail
        again = train_churn(workspace, registry=registry)
    assert (again.registered.key, again.registered.version) == (once.registered.key, 1)
    assert (once.registered.repeated, again.registered.repeated) == (False, True)
    assert again.metrics == once.metrics
    assert "trained before" in again.text()
    put_spec(workspace.root, "churn", {**spec.model_dump(mode="json"), "seed": 1})
    other = train_churn(workspace, registry=registry)
    assert (other.registered.version, other.registered.alias) == (2, "challenger")
    assert other.registered.key != once.registered.key


def test_a_dead_tracking_store_loses_nothing(chain: Workspace, copy_of: Callable[[Workspace], Workspace]) -> None:
    workspace = copy_of(chain)
    backend = MemoryBackend(available=False)
    done = train_churn(workspace, registry=Registry(workspace, backend))
    assert done.registered.version is None
    assert "models sync" in done.text()
    backend.available = True
    again = train_churn(workspace, registry=Registry(workspace, backend))
    assert (again.registered.version, again.registered.repeated) == (1, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon_days": 300}, "at least 630 days"),
        ({"population": "orders_total > 100000"}, "selects nobody"),
        ({"features": ["days_since_last_ordr"]}, "days_since_last_ordr"),
        ({"exclude": ["shoe_size"]}, "shoe_size"),
        ({"population": "orders_totl >= 1"}, "orders_total"),
    ],
)
def test_what_cannot_be_trained_is_said(
    chain: Workspace, spec: ChurnSpec, change: dict[str, Any], message: str
) -> None:
    with Engine.open(chain) as engine, pytest.raises(InputError, match=message):
        churn_data(engine, ChurnSpec(**{**spec.model_dump(), **change}))


def test_one_outcome_only_and_no_orders_are_said() -> None:
    """Everyone buys on the first day, and one of them again after a hundred: all of the training period churns."""
    first = pd.Timestamp("2026-01-01T10:00", tz="UTC")
    members = pd.DataFrame({"member_id": [f"m{i}" for i in range(40)], "registered_at": first - pd.Timedelta("9D")})
    bought = pd.DataFrame({"member_id": [*members["member_id"], "m0"], "ordered_at": [*[first] * 40, first]})
    bought.loc[40, "ordered_at"] = first + pd.Timedelta("100D")
    orders = bought.assign(order_id=[f"o{i}" for i in range(41)], amount=100, status="paid")
    few = ChurnSpec(horizon_days=30, cutoffs=1, features=("orders_total",))
    with (
        Engine.from_tables({"members": members, "orders": orders}) as engine,
        pytest.raises(InputError, match="all members share one outcome in the training period"),
    ):
        churn_data(engine, few)
    with (
        Engine.from_tables({"members": members}) as engine,
        pytest.raises(InputError, match="not one order"),
    ):
        churn_data(engine, few)
