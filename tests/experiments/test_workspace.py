"""A simulated workspace through the whole life of an experiment: new, power, assign, analyze, list."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from uplift.cli import main
from uplift.config import Workspace
from uplift.data import as_arrow
from uplift.data.simulator import simulate
from uplift.errors import ConfigError, DesignError
from uplift.pipelines.experiment import analyze_workspace
from uplift.pipelines.experiment_assign import assign_members
from uplift.pipelines.experiment_define import define, list_experiments
from uplift.pipelines.experiment_power import power_from_workspace

ID = "campaign-2026-05-06"


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain") / "shop"
    simulate(folder, members=1500, months=5, seed=1)
    return folder


@pytest.fixture
def shop(chain, tmp_path):
    return Workspace.open(shutil.copytree(chain, tmp_path / "shop"))


@pytest.fixture(scope="module")
def measured(chain):
    ids = [row["id"] for row in list_experiments(Workspace.open(chain)).rows]
    return analyze_workspace(Workspace.open(chain), ids[0])


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def rewrite(shop, table, change):
    path = shop.data / f"{table}.parquet"
    pq.write_table(as_arrow(change(pq.read_table(path).to_pandas())), path)


def first(shop):
    return sorted(shop.experiments.glob("*.yaml"))[0].stem


def test_numbers_are_those_of_the_tables(measured, chain):
    result = measured.result
    assignments = pq.read_table(chain / "data" / "assignments.parquet").to_pandas()
    mine = assignments[assignments["experiment_id"] == result["design"]["id"]]
    orders = pq.read_table(chain / "data" / "orders.parquet").to_pandas()
    orders = orders[~orders["status"].isin(["cancelled", "refunded"]) & (orders["amount"] >= 0)]
    both = mine.merge(orders, on="member_id", how="inner")
    after = (both["ordered_at"] > both["assigned_at"]) & (
        both["ordered_at"] <= both["assigned_at"] + timedelta(days=14)
    )
    totals = both[after].groupby("member_id")["amount"].sum()
    spend = mine.assign(spend=mine["member_id"].map(totals).fillna(0).to_numpy())
    means = spend.groupby("arm")["spend"].mean() / 100
    assert result["design"]["n"] == len(mine)
    for effect in result["effects"]:
        if effect["metric"] == "spend" and effect["segment"] is None:
            assert effect["control_mean"] == pytest.approx(means[result["design"]["control"]])
            assert effect["arm_mean"] == pytest.approx(means[effect["arm"]])


def test_money_is_in_units_and_says_so(measured):
    spend = next(metric for metric in measured.result["metrics"] if metric["name"] == "spend")
    assert (spend["unit"], spend["currency"], spend["window_days"]) == ("money", "CNY", 14)
    assert measured.result["currency"] == "CNY"


def test_segments_have_names_and_exposure_is_counted(measured):
    design, checks = measured.result["design"], measured.result["checks"]
    assert design["labels"]["segment"]["values"]["dormant"] == {"zh": "沉睡", "en": "Dormant"}
    assert set(checks["exposure"]) == set(design["arms"])
    assert checks["exposure"][design["control"]]["sent"] == 0
    assert all(metric["open"] == 0 for metric in checks["window"]["metrics"])
    assert checks["srm"]["passed"]


def test_reports_in_both_languages_carry_the_verdict(measured):
    for language in ("zh", "en"):
        page = (measured.folder / f"report.{language}.html").read_text(encoding="utf-8")
        assert "<html" in page
        assert not re.search(r"""(?:src|href)=["']https?:""", page)
    assert measured.result["verdict"]["en"].split(":")[0] in (measured.folder / "report.en.html").read_text()
    assert measured.folder.parts[-3:-1] == ("reports", "experiments")


def test_same_data_same_bytes(shop, tmp_path):
    one = analyze_workspace(shop, first(shop), out=tmp_path / "a").folder / "result.json"
    two = analyze_workspace(shop, first(shop), out=tmp_path / "b").folder / "result.json"
    assert one.read_bytes() == two.read_bytes()
    json.loads(one.read_text(), parse_constant=pytest.fail)


def test_command_prints_and_lists(shop):
    done = run("experiment", "analyze", first(shop), "-C", shop.root)
    assert done.exit_code == 0, done.output
    assert "Sample ratio  passed" in done.output
    listed = json.loads(run("experiment", "list", "-C", shop.root, "--json").stdout)["experiments"]
    assert listed[0]["verdict"] in {"effective", "harmful", "no_evidence", "too_early"}
    assert listed[1]["verdict"] is None
    assert listed[0]["assigned"] > 0


def test_life_of_a_new_experiment(shop):
    new = run(
        "experiment", "new", "spring", "-C", shop.root, "--arm", "control=1/2", "--arm", "gift=1/2",
        "--metric", "ordered:14", "--metric", "spend", "--guardrail", "refunded", "--covariate", "spend_90d",
        "--segment", "segment", "--stratify", "segment", "--starts", "2026-06-01", "--name-zh", "春季",
    )  # fmt: skip
    assert new.exit_code == 0, new.output
    again = run("experiment", "new", "spring", "-C", shop.root, "--arm", "control=1", "--metric", "ordered")
    assert again.exit_code == 2
    assert "is there already" in again.output
    assigned = json.loads(run("experiment", "assign", "spring", "-C", shop.root, "--json").stdout)
    assert assigned["srm"]["passed"]
    assert assigned["excluded_by_holdout"] > 0
    assert not assigned["unchanged"]
    assert json.loads(run("experiment", "assign", "spring", "-C", shop.root, "--json").stdout)["unchanged"]
    other = run("experiment", "assign", "spring", "-C", shop.root, "--as-of", "2026-05-01")
    assert other.exit_code == 2
    assert "raise `version`" in other.output
    table = pq.read_table(assigned["path"])
    assert table.column_names == ["experiment_id", "member_id", "arm", "propensity", "assigned_at"]
    assert table.schema.field("assigned_at").type == pa.timestamp("us", tz="UTC")
    measured = analyze_workspace(shop, "spring")  # assigned but never sent: an A/A test on real outcomes
    assert measured.result["design"]["n"] == table.num_rows
    assert measured.result["verdict"]["status"] in {"no_evidence", "too_early"}
    assert measured.result["checks"]["exposure"]["gift"]["sent"] == 0


def test_assignments_in_the_data_are_untouched(shop):
    before = (shop.data / "assignments.parquet").read_bytes()
    define(shop, "spring", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered"])
    assign_members(shop, "spring", as_of="2026-06-01")
    assert (shop.data / "assignments.parquet").read_bytes() == before


def test_population_is_a_rule(shop):
    define(
        shop, "lapsed", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered"],
        population="orders_total >= 1 AND days_since_last_order > 30",
    )  # fmt: skip
    everyone = define(shop, "all", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered"])
    some, all_ = (assign_members(shop, i, as_of="2026-06-01").assignment.table for i in ("lapsed", everyone.id))
    assert 0 < len(some) < len(all_)
    assert set(some["member_id"]) < set(all_["member_id"])


def test_power_from_the_past(shop):
    define(
        shop, "spring", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered", "spend"],
        covariates=["orders_90d", "spend_90d"],
    )  # fmt: skip
    rows = {row["metric"]: row for row in power_from_workspace(shop, "spring").to_dicts()}
    assert 0 < rows["ordered"]["smallest_effect"] < 0.3
    assert rows["spend"]["unit"] == "CNY"
    sized = power_from_workspace(shop, "spring", size=10_000).to_dicts()[0]
    assert sized["smallest_effect"] < rows["ordered"]["smallest_effect"]
    tried = run("experiment", "power", "spring", "-C", shop.root, "--simulate", "20", "--size", "4000", "--json")
    assert 0.3 < json.loads(tried.stdout)["arms"][0]["simulated_power"] <= 1
    wanted = json.loads(run("experiment", "power", "spring", "-C", shop.root, "--effect", "0.02", "--json").stdout)
    assert wanted["arms"][0]["needed_total"] > 10_000


def test_power_from_numbers():
    done = run(
        "experiment", "power", "--share", "control=1/2", "--share", "gift=1/2", "--baseline", "0.1", "--effect", "0.02"
    )
    assert "needs 7,677 in all" in done.output


# -- mistakes -------------------------------------------------------------------------------------------------------


def test_an_experiment_that_has_not_started_says_when_to_come_back(shop):
    define(shop, "later", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered:10", "spend:60"])
    assign_members(shop, "later", as_of="2026-09-01")
    with pytest.raises(DesignError, match=r"has not started.*2026-09-01.*come back with data up to 2026-09-11"):
        analyze_workspace(shop, "later")


def test_an_open_window_is_too_early_and_says_when(shop):
    define(shop, "late", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered:10", "spend:60"])
    assign_members(shop, "late", as_of="2026-06-15")
    result = analyze_workspace(shop, "late").result
    assert {metric["name"] for metric in result["metrics"]} == {"ordered"}
    assert "2026-08-14" in result["notes"][0]["en"]  # in the workspace's own time
    define(shop, "later", arms=["control=1/2", "gift=1/2"], control="control", metrics=["spend:60"])
    assign_members(shop, "later", as_of="2026-06-15")
    with pytest.raises(DesignError, match="open for everybody"):
        analyze_workspace(shop, "later")


def test_windows_open_for_some_make_it_too_early(shop):
    key = first(shop)
    rng = np.random.default_rng(0)

    def late(table):
        chosen = (table["experiment_id"] == key) & (rng.random(len(table)) < 0.3)
        table.loc[chosen, "assigned_at"] = pd.Timestamp(datetime(2026, 6, 25, tzinfo=UTC))
        return table

    rewrite(shop, "assignments", late)
    rewrite(shop, "touches", lambda table: table[table["experiment_id"] != key])
    result = analyze_workspace(shop, key).result
    assert result["verdict"]["status"] in {"too_early", "effective", "harmful"}
    assert result["checks"]["missing"][0]["n"] > 0
    assert result["checks"]["window"]["metrics"][0]["open"] == result["checks"]["missing"][0]["n"]


def test_a_touch_before_the_assignment_is_refused(shop):
    rewrite(shop, "touches", lambda t: t.assign(sent_at=t["sent_at"] - timedelta(days=30)))
    with pytest.raises(DesignError, match="happened before their assignment"):
        analyze_workspace(shop, first(shop))


def test_chances_that_differ_from_the_design_are_refused(shop):
    rewrite(shop, "assignments", lambda t: t.assign(propensity=0.123))
    with pytest.raises(DesignError, match="logged another chance than the design"):
        analyze_workspace(shop, first(shop))


def test_unknown_arm_in_the_data(shop):
    rewrite(shop, "assignments", lambda t: t.assign(arm=t["arm"].replace("control", "cntrol")))
    with pytest.raises(DesignError, match="did you mean 'control'"):
        analyze_workspace(shop, first(shop))


def test_unknown_experiment(shop):
    done = run("experiment", "analyze", "campaign-2026", "-C", shop.root)
    assert done.exit_code == 2
    assert "did you mean 'campaign-2026-" in done.output


def test_defined_but_never_assigned(shop):
    define(shop, "spring", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered"])
    with pytest.raises(DesignError, match="has no row in the table assignments"):
        analyze_workspace(shop, "spring")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"metrics": ["orderd"]}, "did you mean 'ordered'"),
        ({"metrics": ["ordered:0"]}, "window_days"),
        ({"arms": ["control=1/2", "gift"]}, "expected ARM=SHARE"),
        ({"arms": ["control=1/2", "gift=1/3"]}, "add up to 0.83"),
        ({"arms": ["control=1/2", "control=1/2"]}, "given twice"),
        ({"control": "ctrl"}, "is not among the arms"),
        ({"covariates": ["spend_90"]}, "did you mean 'spend_90d'"),
        ({"segments": ["sgment"]}, "did you mean 'segment'"),
        ({"population": "orders_totl > 1"}, "orders_total"),
        ({"offers": ["gift=nothing like it"]}, "no such offer"),
    ],
)
def test_definitions_that_cannot_be_used_are_not_written(shop, changes, match):
    given = {"arms": ["control=1/2", "gift=1/2"], "control": "control", "metrics": ["ordered"]}
    with pytest.raises((ConfigError, DesignError), match=match):
        define(shop, "spring", **(given | changes))
    assert not (shop.experiments / "spring.yaml").exists()


@pytest.mark.parametrize("cluster", [None, "favourite_store"])
def test_what_lasts_is_measured_as_the_metric_is(shop, cluster):
    """After 30 days both are the same comparison, so that whole stores widen what lasts just as much."""
    define(shop, "lasting", arms=["control=1/2", "gift=1/2"], control="control", metrics=["spend:30"], cluster=cluster)
    assign_members(shop, "lasting", as_of="2026-04-01")
    result = analyze_workspace(shop, "lasting").result
    (effect,) = [e for e in result["effects"] if e["segment"] is None]
    (row,) = [r for r in result["long_term"]["effects"] if (r["outcome"], r["days"]) == ("spend", 30)]
    for key in ("effect", "low", "high"):
        assert row[key] == pytest.approx(effect[key])
    held = [c for c in result["long_term"]["curves"] if c["arm"] == "holdout" and c["outcome"] == "orders"]
    assert [c["days"] for c in held] == sorted(c["days"] for c in held)
    assert any(c["mean"] is not None for c in held), "the curve of those held out stands beside those of the arms"
    assert {row["against"] for row in result["long_term"]["holdout"]} == {"holdout"}


def test_experiments_that_were_assigned_in_files_are_met_too(shop):
    for name in ("one", "two"):
        define(shop, name, arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered:10"])
        assign_members(shop, name, as_of="2026-04-01")
    define(shop, "stores", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered:10"],
           cluster="favourite_store")  # fmt: skip
    assign_members(shop, "stores", as_of="2026-04-01")
    met = {row["experiment"]: row for row in analyze_workspace(shop, "one").result["overlap"]}
    assert met["two"]["share"] == 1.0
    assert met["two"]["p_independent"] > 0.001
    of_stores = {row["experiment"]: row for row in analyze_workspace(shop, "stores").result["overlap"]}
    assert of_stores["one"]["p_independent"] is not None, "the other one assigns members one by one"
    assert of_stores["one"]["p_interaction"] is not None
