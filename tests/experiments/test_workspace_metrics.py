"""A workspace's declared metrics, from its tables: ratios, retention, times, exposure; mistakes of definitions."""

import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uplift.config import ExperimentSpec, Workspace, dump_yaml, parse_yaml
from uplift.data.simulator import simulate
from uplift.errors import DesignError
from uplift.pipelines.experiment import analyze_workspace

METRICS = [
    {"name": "conversion", "outcome": "ordered"},
    {"name": "basket", "outcome": "spend", "kind": "ratio", "denominator": "orders", "unit": "money"},
    {"name": "back", "outcome": "ordered", "kind": "retention", "from_days": 7, "window_days": 14},
    {"name": "first order", "outcome": "ordered", "kind": "time", "window_days": 14, "goal": "decrease"},
    {"name": "capped", "outcome": "spend", "kind": "mean", "unit": "money", "winsorize": 0.95},
    {"name": "visit", "outcome": "visited", "guardrail": True, "margin": 0.5},
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics") / "shop"
    simulate(folder, members=1500, months=5, seed=1)
    return folder


def declare(chain, folder, **changes):
    """A copy of the chain whose first experiment is measured as asked."""
    shop = Workspace.open(shutil.copytree(chain, folder / "shop"))
    path = sorted(shop.experiments.glob("*.yaml"))[0]
    given = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    path.write_text(dump_yaml(ExperimentSpec.model_validate(given | changes)), encoding="utf-8")
    return shop, path.stem


@pytest.fixture(scope="module")
def measured(chain, tmp_path_factory):
    shop, experiment = declare(chain, tmp_path_factory.mktemp("declared"), metrics=METRICS)
    return analyze_workspace(shop, experiment).result


@pytest.fixture(scope="module")
def orders(chain, measured):
    """Orders after each assignment, in days."""
    assigned = pq.read_table(chain / "data" / "assignments.parquet").to_pandas()
    assigned = assigned[assigned["experiment_id"] == measured["design"]["id"]]
    bought = pq.read_table(chain / "data" / "orders.parquet").to_pandas()
    bought = bought[~bought["status"].isin(["cancelled", "refunded"]) & (bought["amount"] >= 0)]
    both = assigned.merge(bought, on="member_id")
    both["days"] = (both["ordered_at"] - both["assigned_at"]) / timedelta(days=1)
    return assigned, both[both["days"] > 0]


def control_mean(measured, metric):
    return next(e["control_mean"] for e in measured["effects"] if e["metric"] == metric and e["segment"] is None)


def test_a_ratio_is_of_the_tables_sums(measured, orders):
    _, bought = orders
    own = bought[(bought["arm"] == measured["design"]["control"]) & (bought["days"] <= 14)]
    assert control_mean(measured, "basket") == pytest.approx(own["amount"].sum() / 100 / len(own))
    metric = next(m for m in measured["metrics"] if m["name"] == "basket")
    assert (metric["unit"], metric["currency"]) == ("money", "CNY")
    assert measured["design"]["labels"]["basket"] == {"zh": "消费金额 ÷ 购买次数", "en": "Money spent ÷ purchases"}


def test_retention_counts_the_later_window_only(measured, orders):
    assigned, bought = orders
    control = assigned[assigned["arm"] == measured["design"]["control"]]
    later = bought[(bought["days"] > 7) & (bought["days"] <= 14)]
    assert control_mean(measured, "back") == pytest.approx(control["member_id"].isin(later["member_id"]).mean())


def test_time_is_the_first_day_up_to_the_window(measured, orders):
    assigned, bought = orders
    control = assigned[assigned["arm"] == measured["design"]["control"]]
    first = bought.groupby("member_id")["days"].min()
    days = np.ceil(control["member_id"].map(first).fillna(99)).clip(upper=14)
    assert control_mean(measured, "first order") == pytest.approx(days.mean())


def test_guardrail_and_exposure(measured):
    visits = [e for e in measured["effects"] if e["metric"] == "visit" and e["segment"] is None]
    assert all(e["margin"] == 0.5 and e["noninferior"] for e in visits)
    assert {m["winsorize"] for m in measured["metrics"]} == {None, 0.95}
    assert all({"sent", "not_sent"} <= row.keys() for row in measured["checks"]["exposure"].values())
    assert {row["metric"] for row in measured["exposed"]} >= {"conversion", "capped"}


BROUGHT = [
    {"name": "brought", "outcome": "referrals", "kind": "mean", "unit": "count"},
    {"name": "brought anybody", "outcome": "referred"},
]


def test_new_members_brought_per_treated_member(chain, tmp_path):
    """Members of one arm bring a friend in two of three cases, those of the others in one of six; some too late."""
    shop, experiment = declare(chain, tmp_path, metrics=BROUGHT, covariates=[], segments=[])
    assigned = pq.read_table(shop.data / "assignments.parquet").to_pandas()
    assigned = assigned[assigned["experiment_id"] == experiment].reset_index(drop=True)
    lucky = sorted(set(assigned["arm"]))[0]
    place = np.arange(len(assigned))
    brings = np.where(assigned["arm"] == lucky, place % 3 > 0, place % 6 == 0)
    own, late = assigned[brings], place[brings] % 5 == 4
    joined = own["assigned_at"] + pd.to_timedelta(np.where(late, 15, 3), unit="D")
    members = pq.read_table(shop.data / "members.parquet")
    given = {
        "member_id": [f"friend {i}" for i in range(len(own))], "referrer_id": list(own["member_id"]),
        "registered_at": list(joined), "known_at": list(joined),
    }  # fmt: skip
    friends = members.slice(0, len(own))
    for name, values in given.items():
        if name in members.column_names:
            at = members.column_names.index(name)
            friends = friends.set_column(at, members.field(name), pa.array(values, members.field(name).type))
    members = pa.concat_tables([members, friends])
    pq.write_table(members, shop.data / "members.parquet")
    result = analyze_workspace(Workspace.open(shop.root), experiment).result
    new = members.to_pandas().merge(assigned, left_on="referrer_id", right_on="member_id", suffixes=("_new", ""))
    days = (new["registered_at"] - new["assigned_at"]) / timedelta(days=1)
    brought = new[(days > 0) & (days <= 14)].groupby("referrer_id").size().reindex(assigned["member_id"]).fillna(0)
    for metric, values in (("brought", brought), ("brought anybody", brought > 0)):
        expected = values.groupby(assigned["arm"].to_numpy()).mean()
        for effect in (e for e in result["effects"] if e["metric"] == metric):
            assert effect["control_mean"] == pytest.approx(expected[result["design"]["control"]])
            assert effect["arm_mean"] == pytest.approx(expected[effect["arm"]])
    assert expected[lucky] > 0.5
    assert result["metrics"][0]["unit"] == "count"
    assert result["verdict"]["status"] == ("harmful" if lucky == result["design"]["control"] else "effective")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"metrics": [{"name": "m", "outcome": "spend", "kind": "time"}]}, "is of something that happens"),
        ({"metrics": [{"name": "m", "outcome": "churned", "kind": "time"}]}, "is of something that happens"),
        (
            {"metrics": [{"name": "m", "outcome": "spend", "kind": "ratio", "denominator": "order"}]},
            "did you mean 'orders'",
        ),
        ({"covariates": ["ordered"]}, "'ordered' is an outcome, known only after assignment"),
    ],
)
def test_definitions_that_would_mislead(chain, tmp_path, changes, match):
    shop, experiment = declare(chain, tmp_path, **changes)
    with pytest.raises(DesignError, match=match):
        analyze_workspace(shop, experiment)
