"""The main job on a simulated chain, held to the truth: segments' effects are covered, the policy is worth more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from uplift.config import OutcomeSpec, UpliftSpec, Workspace, dump_yaml
from uplift.data import Engine
from uplift.data.simulator import simulate
from uplift.pipelines._uplift_data import uplift_data
from uplift.pipelines._valuing import Valuing
from uplift.pipelines.recommend import recommend
from uplift.pipelines.train_uplift import train_uplift
from uplift.tracking import MemoryBackend, Registry

# few trees and features: what is proved here does not hang on the size of the models
FEATURES = (
    "orders_90d", "days_since_last_order", "spend_90d", "weekend_share_365d", "full_price_spend_365d", "tenure_days",
    "order_interval_mean_days", "days_to_expected_order", "favourite_category", "stored_value_balance", "orders_total",
    "discount_share_365d",
)  # fmt: skip


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("truth") / "chain"
    simulate(folder, members=8000, months=12, seed=3)
    return Workspace.open(folder)


def specification(workspace: Workspace) -> UpliftSpec:
    with Engine.open(workspace) as engine:
        from uplift.features import catalogue_for

        known = catalogue_for(engine)
    return UpliftSpec(
        outcomes=(OutcomeSpec(name="conversion", outcome="ordered"), OutcomeSpec(name="margin", outcome="margin")),
        learners=("X", "DR"),
        features=tuple(name for name in FEATURES if name in known),
        folds=3,
    )


def true_effects(workspace: Workspace) -> pd.DataFrame:
    return pq.read_table(workspace.truth / "effects.parquet").to_pandas()


def z_of_segments(workspace: Workspace, shift: float = 0.0) -> np.ndarray:
    """Of every arm × segment: the estimate's distance from the mean true effect of exactly those rows, in its errors.

    The doubly robust contrast averages over all rows to which the arm was offered, so the truth does too.
    """
    spec = specification(workspace)
    with Engine.open(workspace) as engine:
        data = uplift_data(engine, workspace, spec)
        assigned = engine.query(
            "SELECT member_id, experiment_id FROM assignments ORDER BY experiment_id, assigned_at, member_id"
        ).to_pandas()
    assert (assigned["member_id"].to_numpy() == data.member_id).all()
    truth = true_effects(workspace).dropna(subset=["experiment_id"])
    scores = Valuing(data, list(spec.features), seed=0).segments(min_cell=11)
    found = []
    for row in scores:
        if row["outcome"] != "conversion" or row["group"] is None or row["effect"] is None:
            continue
        cell = assigned[data.segment == row["group"]]
        mine = cell.merge(truth[truth["offer_id"] == row["arm"]], on=["member_id", "experiment_id"])
        found.append((row["effect"] + shift - mine["effect_conversion"].mean()) / row["se"])
    return np.asarray(found)


def test_segments_intervals_cover_the_truth_at_their_nominal_rate(chain: Workspace) -> None:
    z = z_of_segments(chain)
    assert len(z) >= 40
    # 95 % of about 50 dependent cells: at least 85 % is three binomial standard errors below
    assert (np.abs(z) < 1.96).mean() >= 0.85
    assert abs(z.mean()) < 0.75
    assert 0.7 < z.std() < 1.3


def test_a_biased_estimate_would_not_cover(chain: Workspace) -> None:
    assert (np.abs(z_of_segments(chain, shift=0.06)) < 1.96).mean() < 0.7, "6 points of bias must be seen"


def test_the_recommended_policy_is_truly_worth_more_than_one_offer_for_all_and_than_chance(chain: Workspace) -> None:
    (chain.root / "models").mkdir(exist_ok=True)
    (chain.root / "models" / "uplift.yaml").write_text(dump_yaml(specification(chain)), encoding="utf-8")
    registry = Registry(chain, MemoryBackend())
    train_uplift(chain, registry=registry)
    done = recommend(chain, "2026-07-01", registry=registry)
    manifest = json.loads((Path(done.folder) / "manifest.json").read_text(encoding="utf-8"))
    cost = pd.Series({offer["offer_id"]: offer["expected_cost"] for offer in manifest["offers"]})
    truth = true_effects(chain)
    table = truth[truth["experiment_id"].isna()].pivot(index="member_id", columns="offer_id", values="effect_margin")
    net = table / 100 - cost.reindex(table.columns)
    parts = [pq.read_table(path).to_pandas() for path in sorted(Path(done.folder).glob("part-*.parquet"))]
    decisions = pd.concat(parts).set_index("member_id")
    decided = decisions[decisions["source"].isin(["policy", "none"])]
    given = decided["offer_id"].dropna()
    value = np.asarray([net.at[member, offer] for member, offer in given.items()])
    per_member = np.zeros(len(decided))
    per_member[decided["offer_id"].notna().to_numpy()] = value
    alternatives = net.loc[decided.index]
    best_single = alternatives.mean().idxmax()
    gain = per_member - alternatives[best_single].to_numpy()
    assert gain.mean() > 0, (
        f"policy {per_member.mean():.3f}, {best_single} for all {alternatives[best_single].mean():.3f}"
    )
    assert per_member.mean() > alternatives.to_numpy().mean() + 1.0, "and far more than offers drawn at random"
