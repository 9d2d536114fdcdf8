"""What a workspace's result says beside effects, held to the tables."""

import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from uplift.config import Workspace
from uplift.data import as_arrow
from uplift.data.simulator import simulate
from uplift.errors import DesignError, InputError
from uplift.experiments import project
from uplift.pipelines._experiment_reached import pooled, wilson
from uplift.pipelines.experiment import analyze_workspace
from uplift.pipelines.experiment_assign import assign_members
from uplift.pipelines.experiment_define import define


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections") / "shop"
    simulate(folder, members=1500, months=8, seed=1)
    return folder


@pytest.fixture(scope="module")
def told(chain):
    """An experiment of four months ago with a tag, its tables, and its result."""
    workspace = Workspace.open(chain)
    path = sorted(workspace.experiments.glob("*.yaml"))[0]
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["tags"] = [{"name": "often", "rule": "orders_90d >= 3", "name_zh": "常客", "name_en": "Regulars"}]
    path.write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    return path.stem, analyze_workspace(workspace, path.stem, out=chain / "out").result


def table(chain, name):
    return pq.read_table(chain / "data" / f"{name}.parquet").to_pandas()


def test_long_term_effects_are_those_of_the_tables(told, chain):
    key, result = told
    mine = table(chain, "assignments")
    mine = mine[mine["experiment_id"] == key]
    orders = table(chain, "orders")
    orders = orders[~orders["status"].isin(["cancelled", "refunded"]) & (orders["amount"] >= 0)]
    both = mine.merge(orders, on="member_id")
    later = both["ordered_at"] - both["assigned_at"]
    inside = both[(later > timedelta(0)) & (later <= timedelta(days=90))]
    spent = mine.assign(spend=mine["member_id"].map(inside.groupby("member_id")["amount"].sum()).fillna(0).to_numpy())
    means = spent.groupby("arm")["spend"].mean() / 100
    rows = [r for r in result["long_term"]["effects"] if (r["outcome"], r["days"]) == ("spend", 90)]
    assert len(rows) == len(result["design"]["arms"]) - 1
    for row in rows:
        assert row["against"] == "control"
        assert row["mean_arm"] == pytest.approx(means[row["arm"]])
        assert row["mean_held_out"] == pytest.approx(means["control"])
        assert row["low"] < row["effect"] < row["high"]
    assert result["long_term"]["complete"] == {"30": True, "60": True, "90": True}


def test_curves_never_fall_and_end_where_the_months_do(told):
    curves = pd.DataFrame(told[1]["long_term"]["curves"])
    for _, curve in curves.dropna().groupby(["outcome", "arm"]):
        assert (curve.sort_values("days")["mean"].diff().dropna() >= 0).all()
    assert set(curves["days"]) == {7 * week for week in range(1, 14)}


def test_a_projection_is_called_one_and_needs_a_history(told, chain):
    """Learnt on the three months before; where the data begin later, that would be a history of nobody buying."""
    workspace = Workspace.open(chain)
    keys = [path.stem for path in sorted(workspace.experiments.glob("campaign-*.yaml"))]
    began = table(chain, "orders")["ordered_at"].min()
    assigned = table(chain, "assignments").groupby("experiment_id")["assigned_at"].min()
    early, later = keys[1], keys[2]
    assert assigned[early] - timedelta(days=90) < began < assigned[later] - timedelta(days=90)
    assert told[1]["long_term"]["projection"] == []
    assert analyze_workspace(workspace, early, out=chain / "early").result["long_term"]["projection"] == []
    rows = analyze_workspace(workspace, later, out=chain / "later").result["long_term"]["projection"]
    assert rows
    for row in rows:
        assert row["label"] == "projection"
        assert row["explained"] > 0.5
        assert row["low"] < row["effect"] < row["high"]
        assert row["bias"] is not None  # three months are complete, so it is compared
        assert row["exposed"] in (True, False)


def test_a_history_without_differences_projects_nothing():
    same, arm = np.ones((100, 2)), np.arange(100) % 2
    with pytest.raises(InputError, match="do not differ in any surrogate"):
        project(np.random.default_rng(0).random((100, 2)), arm, same, np.arange(100.0))


def test_novelty_has_a_trend_for_every_arm(told):
    rows = told[1]["novelty"]
    assert len(rows) == len(told[1]["design"]["arms"]) - 1
    assert all(row["trend"] is None or row["p_adjusted"] is not None for row in rows)


def test_tags_compare_their_members_with_all_others(told):
    rows = told[1]["tags"]
    assert {row["tag"] for row in rows} == {"often"}
    assert rows[0]["zh"] == "常客"
    for row in rows:
        if row["gap"] is not None:
            assert row["gap"]["effect"] == pytest.approx(row["tagged"]["effect"] - row["others"]["effect"])


def test_the_funnel_counts_members_and_hides_small_cells(told, chain):
    key, result = told
    touches = table(chain, "touches")
    touches = touches[touches["experiment_id"] == key]
    for row in result["funnel"]:
        if row["channel"] is not None:
            continue
        counts = touches[touches["offer_id"] == row["arm"]]
        for stage in row["stages"]:
            n = counts.loc[counts[f"{stage['stage']}_at"].notna(), "member_id"].nunique()
            assert stage["members"] in (n, None)
            if stage["members"] is None:
                assert 0 < n < 11 or 0 < len(counts) - n < 11
            else:
                assert stage["low"] <= n / len(counts) <= stage["high"]


def test_who_took_part_adds_up_to_those_who_did(told, chain):
    """Every segment column shares out the same members: those sent to, and those of them who redeemed."""
    key, result = told
    touches = table(chain, "touches")
    touches = touches[touches["experiment_id"] == key]
    assigned = table(chain, "assignments")
    ids = set(assigned.loc[assigned["experiment_id"] == key, "member_id"])
    touches = touches[touches["member_id"].isin(ids)]
    sent = touches["member_id"].nunique()
    took = touches.loc[touches["redeemed_at"].notna(), "member_id"].nunique()
    rows = pd.DataFrame(result["participation"])
    assert len(rows)
    for _, own in rows.groupby("segment_column"):
        assert (own["sent"].sum(), own["participants"].sum()) == (sent, took)
        assert own["share_of_participants"].sum() == pytest.approx(1)
        assert own["share_of_sent"].sum() == pytest.approx(1)
        assert (own["low"] <= own["rate"]).all()
        assert (own["rate"] <= own["high"]).all()
        assert ((own["participants"] >= 11) | (own["participants"] == 0)).all()


def test_experiments_that_share_members_are_named(chain, tmp_path):
    shop = Workspace.open(shutil.copytree(chain, tmp_path / "shop"))
    spec = sorted(shop.experiments.glob("*.yaml"))[1]
    path = shop.data / "assignments.parquet"
    rows = pq.read_table(path).to_pandas()
    mine = rows[rows["experiment_id"] == spec.stem]
    rng = np.random.default_rng(0)
    other = mine.sample(600, random_state=0).assign(
        experiment_id="layered", arm=lambda t: rng.choice(["control", "push"], len(t)), propensity=0.5
    )
    pq.write_table(as_arrow(pd.concat([rows, other], ignore_index=True)), path)
    met = next(
        row for row in analyze_workspace(shop, spec.stem, out=tmp_path / "out").result["overlap"]
        if row["experiment"] == "layered"
    )  # fmt: skip
    assert met["members"] == 600
    assert met["share"] == pytest.approx(600 / len(mine))
    assert met["p_independent"] > 0.001


def test_another_experiment_of_whole_stores_is_held_to_its_stores(chain, tmp_path):
    shop = Workspace.open(shutil.copytree(chain, tmp_path / "shop"))
    key = sorted(shop.experiments.glob("*.yaml"))[1].stem
    halves = {"arms": ["control=1/2", "push=1/2"], "control": "control", "metrics": ["ordered"]}
    define(shop, "stores", **halves, cluster="favourite_store")
    define(shop, "one", **halves)
    rows = pq.read_table(shop.data / "assignments.parquet").to_pandas().query("experiment_id == @key")
    for name in ("stores", "one"):
        assign_members(shop, name, as_of=str(rows["assigned_at"].min())[:10])
    own = pq.read_table(shop.experiments / "assigned" / "stores-v1.parquet")
    pq.write_table(
        own.set_column(0, "experiment_id", pa.array(["one"] * own.num_rows)),
        shop.experiments / "assigned" / "one-v1.parquet",
    )  # the same arms, as if members had been assigned one by one
    met = {row["experiment"]: row for row in analyze_workspace(shop, key, out=tmp_path / "out").result["overlap"]}
    assert met["stores"]["members"] == met["one"]["members"]
    assert met["stores"]["table"] == met["one"]["table"]
    assert met["stores"]["p_independent"] == pytest.approx(met["one"]["p_independent"])
    assert met["stores"]["p_interaction"] != pytest.approx(met["one"]["p_interaction"], rel=1e-3)


def test_versions_are_measured_together_and_never_silently(chain, tmp_path):
    shop = Workspace.open(shutil.copytree(chain, tmp_path / "shop"))
    halves = {"arms": ["control=1/2", "gift=1/2"], "control": "control", "metrics": ["ordered"]}
    define(shop, "spring", **halves, population="tenure_days > 200")
    assign_members(shop, "spring", as_of="2026-05-01")
    path = shop.experiments / "spring.yaml"
    text = path.read_text(encoding="utf-8")
    wider = text.replace("tenure_days > 200", "tenure_days > 30").replace("share: 0.5", "share: 0.8", 1)
    wider = wider.replace("share: 0.5", "share: 0.2", 1)
    path.write_text(wider, encoding="utf-8")
    with pytest.raises(Exception, match=r"arms, population changed since version 1 .* raise `version` to 2"):
        assign_members(shop, "spring", as_of="2026-06-01")
    path.write_text(wider.replace("version: 1", "version: 2"), encoding="utf-8")
    second = assign_members(shop, "spring", as_of="2026-06-01")
    first = pq.read_table(shop.experiments / "assigned" / "spring-v1.parquet")
    assert second.kept == first.num_rows
    assert not set(first["member_id"].to_pylist()) & set(second.assignment.table["member_id"])
    result = analyze_workspace(shop, "spring").result
    assert [v["version"] for v in result["design"]["versions"]] == [1, 2]
    assert result["design"]["n"] == first.num_rows + len(second.assignment.table)
    assert "designs are pooled" in result["notes"][0]["en"]
    assert [row["passed"] for row in result["checks"]["srm_versions"]] == [True, True]
    assert result["checks"]["srm"]["passed"]
    alone = analyze_workspace(shop, "spring", version=2, out=tmp_path / "alone").result
    assert alone["design"]["n"] == len(second.assignment.table)
    assert alone["design"]["arms"]["control"]["share"] == pytest.approx(0.8)


def test_a_version_for_which_nobody_is_left_says_who_keeps_their_arm(chain, tmp_path):
    """Those held out were never assigned, so they are left over: not everybody in the population has an arm."""
    shop = Workspace.open(shutil.copytree(chain, tmp_path / "shop"))
    define(shop, "spring", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered"])
    first = assign_members(shop, "spring", as_of="2026-05-01")
    assigned, out = len(first.assignment.table), first.assignment.excluded
    assert out > 0
    path = shop.experiments / "spring.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("version: 1", "version: 2"), encoding="utf-8")
    before = sorted((shop.experiments / "assigned").iterdir())
    with pytest.raises(DesignError) as refused:
        assign_members(shop, "spring", as_of="2026-05-01")
    message = str(refused.value)
    assert f"{assigned:,} members of the population were assigned by earlier versions and keep their arm" in message
    assert f"{out:,} held out" in message
    assert "`uplift experiment analyze spring` measures those who were assigned" in message
    assert sorted((shop.experiments / "assigned").iterdir()) == before


def with_touches(chain, folder, change):
    """The result of the first experiment after its touches were changed, and these."""
    shop = Workspace.open(shutil.copytree(chain, folder))
    key = sorted(shop.experiments.glob("*.yaml"))[0].stem
    path = shop.data / "touches.parquet"
    touches = pq.read_table(path).to_pandas()
    arm = pq.read_table(shop.data / "assignments.parquet").to_pandas().query("experiment_id == @key")
    mine = (touches["experiment_id"] == key).to_numpy()
    arm = touches["member_id"].map(arm.set_index("member_id")["arm"]).where(mine)
    touches, arm = change(touches, arm)
    pq.write_table(as_arrow(touches).cast(pq.read_schema(path)), path)
    return analyze_workspace(shop, key, out=folder / "out").result, touches.assign(arm=arm)


def stages_of(result, arm):
    whole = next(row for row in result["funnel"] if (row["arm"], row["channel"], row["form"]) == (arm, None, None))
    return {stage["stage"]: stage for stage in whole["stages"]}


def test_who_took_part_does_not_give_back_what_the_funnel_hides(chain, tmp_path):
    """Three of one arm redeemed: all who did, less those of the other arms, would tell."""

    def few(touches, arm):
        rng = np.random.default_rng(0)
        chance = arm.map({"fresh_10_off": 0.4, "comeback_gift": 0.5}).fillna(0).to_numpy()
        redeemed = (rng.random(len(arm)) < chance) & arm.notna().to_numpy()
        ids = touches["member_id"][(arm == "milk_box").to_numpy()].drop_duplicates()[:3]
        redeemed |= (arm == "milk_box").to_numpy() & touches["member_id"].isin(ids).to_numpy()
        touches.loc[arm.notna(), "redeemed_at"] = touches["sent_at"].where(redeemed)
        return touches, arm

    result, touches = with_touches(chain, tmp_path / "few", few)
    members = touches[touches["redeemed_at"].notna()].groupby("arm")["member_id"].nunique()
    assert members["milk_box"] == 3
    assert stages_of(result, "milk_box")["redeemed"]["members"] is None
    others = [stages_of(result, arm)["redeemed"]["members"] for arm in ("fresh_10_off", "comeback_gift")]
    assert others == members[["fresh_10_off", "comeback_gift"]].tolist(), "the funnel stays longest"
    totals = {row["segment_column"] for row in result["participation"]}
    assert not totals, "the total of any column would be the sum of all arms"
    assert stages_of(result, "milk_box")["sent"]["share"] == 1.0
    arms = yaml.safe_load(next((chain / "experiments").glob(f"{result['design']['id']}.yaml")).read_text("utf-8"))[
        "arms"
    ]
    offers = table(chain, "offers").set_index("offer_id")
    for arm, told in (("milk_box", 11 / 2), ("comeback_gift", members["comeback_gift"])):
        offer = offers.loc[next(one["offer_id"] for one in arms if one["name"] == arm)]
        assert offer["cost_redeem"] > 0
        size = result["design"]["arms"][arm]["n"]
        cost = 100 * result["design"]["costs"][arm] - offer["cost_contact"]
        assert cost * size / offer["cost_redeem"] == pytest.approx(told), "a cost would tell how many redeemed"


def test_the_few_who_were_not_sent_to_do_not_follow_from_the_size_of_their_arm(chain, tmp_path):
    def lost(touches, arm):
        ids = touches["member_id"][(arm == "milk_box").to_numpy()].drop_duplicates()[:5]
        keep = ~(touches["member_id"].isin(ids) & arm.notna()).to_numpy()
        return touches[keep].reset_index(drop=True), arm[keep].reset_index(drop=True)

    result, touches = with_touches(chain, tmp_path / "lost", lost)
    size = result["design"]["arms"]["milk_box"]["n"]
    assert touches[touches["arm"] == "milk_box"]["member_id"].nunique() == size - 5
    assert result["checks"]["exposure"]["milk_box"] == {"sent": None, "not_sent": None}
    assert result["checks"]["exposure"]["fresh_10_off"]["not_sent"] == 0
    assert all(row["exposed"] is row["effect"] is None for row in result["exposed"] if row["arm"] == "milk_box")
    stages = stages_of(result, "milk_box")
    assert all(stage["share"] is None for stage in stages.values()), "a share of those sent to tells how many they are"
    assert stages["sent"]["members"] is None
    assert stages["opened"]["members"] is not None
    assert stages_of(result, "fresh_10_off")["sent"]["share"] == 1.0


def test_wilson_never_leaves_the_unit_interval():
    assert wilson(0, 50)[0] == 0.0
    assert wilson(50, 50)[1] == 1.0
    assert wilson(0, 0) == (None, None)


def test_small_segments_are_joined_until_nothing_small_is_left():
    rng = np.random.default_rng(0)
    shown = 0
    for _ in range(500):
        sizes = rng.integers(0, 90, rng.integers(1, 7))
        cells = [(str(i), int(sent), int(rng.binomial(sent, 0.3))) for i, sent in enumerate(sizes)]
        found = pooled(cells, 11)
        assert all(n == 0 or n >= 11 for _, sent, joined in found for n in (sent, joined, sent - joined))
        if found:
            shown += 1
            assert sum(cell[1] for cell in found) == sum(cell[1] for cell in cells)
            assert sum(cell[2] for cell in found) == sum(cell[2] for cell in cells)
            assert sum(cell[0] == "(other)" for cell in found) <= 1
            assert {cell for cell in found if cell[0] != "(other)"} <= set(cells)
    assert 100 < shown < 500
