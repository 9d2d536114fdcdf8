"""Public data as published: every fact that is known of it, read back from the imported workspaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import chisquare
from sklearn.metrics import roc_auc_score

from uplift.config import ExperimentSpec, Workspace, read_spec
from uplift.data import Engine
from uplift.data.adapters import ADAPTERS
from uplift.data.check import check
from uplift.features import build, catalogue_for, observed_until, outcomes
from uplift.pipelines.importing import import_data

SOURCES = {
    "hillstrom": "hillstrom",
    "starbucks": "starbucks_offers",
    "online-retail": "online_retail",
    "gym": "gym_churn",
    "cdnow": "cdnow",
    "open-bandit": "open_bandit",
}
Open = Callable[[str], Engine]


@pytest.fixture(scope="module")
def workspaces(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Workspace]:
    """Import a data set once and open its workspace."""
    folder = tmp_path_factory.mktemp("real")

    def get(name: str) -> Workspace:
        out = folder / name
        if not (out / "uplift.yaml").exists():
            import_data(name, real_data / SOURCES[name], out)
        return Workspace.open(out)

    return get


@pytest.fixture(scope="module")
def engine(workspaces: Callable[[str], Workspace]) -> Iterator[Open]:
    opened: dict[str, Engine] = {}

    def get(name: str) -> Engine:
        if name not in opened:
            opened[name] = Engine.open(workspaces(name), threads=1)
        return opened[name]

    yield get
    for each in opened.values():
        each.close()


def one(engine: Engine, sql: str) -> dict[str, object]:
    (row,) = engine.query(sql).to_pylist()
    return row


def test_every_adapter_has_real_data_here() -> None:
    assert set(SOURCES) == set(ADAPTERS)


@pytest.mark.parametrize("name", SOURCES)
def test_the_check_passes_with_nothing_in_quarantine(name: str, workspaces: Callable[[str], Workspace]) -> None:
    report = check(workspaces(name))
    assert not report.refused
    assert [str(problem) for problem in report.problems] == []
    assert all(table.rows == table.kept and table.quarantined == 0 for table in report.tables.values())


@pytest.mark.parametrize("name", ["hillstrom", "starbucks", "open-bandit"])
def test_covariates_and_segments_of_the_definitions_are_features(
    name: str, workspaces: Callable[[str], Workspace], engine: Open
) -> None:
    known = catalogue_for(engine(name))
    specs = [read_spec(path, ExperimentSpec) for path in sorted(workspaces(name).experiments.glob("*.yaml"))]
    assert specs
    for spec in specs:
        assert set(spec.covariates) <= set(known)
        assert set(spec.segments) <= {*known, "segment"}
        sql = f"SELECT member_id, assigned_at AS as_of FROM assignments WHERE experiment_id = '{spec.id}' LIMIT 500"
        built = build(engine(name), engine(name).query(sql), [*spec.covariates, *spec.segments]).to_pandas()
        assert (built[[*spec.covariates, *spec.segments]].notna().mean() > 0.5).all()


@pytest.mark.parametrize(("name", "experiment", "file"), [
    ("hillstrom", "hillstrom", "hillstrom.yaml"),
    ("starbucks", "wave-1", "starbucks-wave-1.yaml"),
])  # fmt: skip
def test_the_repository_records_the_definitions_that_are_written(
    name: str, experiment: str, file: str, workspaces: Callable[[str], Workspace], root: Path
) -> None:
    written = workspaces(name).experiments / f"{experiment}.yaml"
    assert (root / "experiments" / file).read_text(encoding="utf-8") == written.read_text(encoding="utf-8")


OUTCOMES_14_DAYS = """
    SELECT a.arm, count(*) AS n,
           avg((EXISTS (FROM events e WHERE e.member_id = a.member_id AND e.event = 'visit'
                AND e.event_at > a.assigned_at AND e.event_at <= a.assigned_at + INTERVAL 14 DAY))::INT) AS visit,
           avg((o.member_id IS NOT NULL)::INT) AS conversion, avg(coalesce(o.amount, 0)) / 100 AS spend
    FROM assignments a LEFT JOIN (
        SELECT o.member_id, sum(o.amount) AS amount FROM orders o JOIN assignments b USING (member_id)
        WHERE o.ordered_at > b.assigned_at AND o.ordered_at <= b.assigned_at + INTERVAL 14 DAY GROUP BY 1
    ) o USING (member_id) GROUP BY a.arm"""


def test_hillstrom(engine: Open, real_data: Path) -> None:
    arms = engine("hillstrom").query(OUTCOMES_14_DAYS).to_pandas().set_index("arm")
    assert arms.n.to_dict() == {"Mens E-Mail": 21_307, "Womens E-Mail": 21_387, "No E-Mail": 21_306}
    mens, womens, none = (arms.loc[arm] for arm in ("Mens E-Mail", "Womens E-Mail", "No E-Mail"))
    assert [round(a.visit, 4) for a in (mens, womens, none)] == [0.1828, 0.1514, 0.1062]
    assert [round(a.conversion, 5) for a in (mens, womens, none)] == [0.01253, 0.00884, 0.00573]
    assert [round(a.spend, 3) for a in (mens, womens, none)] == [1.423, 1.077, 0.653]
    assert round(100 * (mens.visit - none.visit), 2) == 7.66
    assert round(100 * (womens.visit - none.visit), 2) == 4.52
    assert round(mens.spend - none.spend, 3) == 0.770
    assert round(womens.spend - none.spend, 3) == 0.424

    given = pd.read_csv(real_data / "hillstrom" / "hillstrom.csv")
    exact = given.groupby("segment")[["visit", "conversion", "spend"]].mean()
    assert np.allclose(arms.loc[exact.index, list(exact)], exact, rtol=1e-12, atol=0)
    spine = engine("hillstrom").query("SELECT member_id, assigned_at AS as_of FROM assignments ORDER BY member_id")
    names = [
        "attr_recency_num",
        "attr_history_num",
        "attr_channel",
        "days_since_last_order",
        "spend_365d",
        "visits_90d",
    ]
    features = build(engine("hillstrom"), spine, names).to_pandas()
    assert (features.attr_recency_num == given.recency).all()
    assert (features.attr_history_num == given.history).all()
    assert (features.attr_channel.astype(str) == given.channel).all()
    assert np.allclose(features.spend_365d, given.history)
    assert (features.days_since_last_order == 30 * given.recency).all()
    assert (features.visits_90d == 0).all()  # the test's visits are outcomes, never features


@pytest.mark.parametrize(("name", "experiment"), [("hillstrom", "hillstrom"), ("starbucks", "wave-1")])
def test_metrics_of_the_definitions_give_what_the_tables_give(
    name: str, experiment: str, workspaces: Callable[[str], Workspace], engine: Open
) -> None:
    spec = read_spec(workspaces(name).experiments / f"{experiment}.yaml", ExperimentSpec)
    spine = engine(name).query(
        f"SELECT member_id, assigned_at AS as_of, arm FROM assignments WHERE experiment_id = '{experiment}'"
    )
    wanted = {metric.name: (metric.outcome, metric.window_days) for metric in spec.metrics}
    assert spec.starts_at is not None
    assert observed_until(engine(name)) >= spec.starts_at + timedelta(days=max(d for _, d in wanted.values()))
    found = outcomes(engine(name), spine, wanted).to_pandas().groupby("arm")[list(wanted)].mean()
    if name == "hillstrom":
        expected = engine(name).query(OUTCOMES_14_DAYS).to_pandas().set_index("arm")
        expected["spend"] *= 100
    else:
        expected = engine(name).query(FIRST_WAVE).to_pandas().set_index("arm").rename(columns={"bought": "conversion"})
        found = found[["conversion"]]
    assert np.allclose(found, expected.loc[found.index, list(found)], rtol=1e-12)


def test_open_bandit_clicks_are_outcomes(engine: Open) -> None:
    spine = engine("open-bandit").query("SELECT member_id, assigned_at AS as_of, experiment_id FROM assignments")
    found = outcomes(engine("open-bandit"), spine, {"click": ("clicked", 1)}).to_pandas()
    assert found.groupby("experiment_id").click.mean().to_dict() == {"bts": 0.0046, "random": 0.0046}


FIRST_WAVE = """
    SELECT a.arm, count(*) AS n, avg((EXISTS (FROM orders o WHERE o.member_id = a.member_id
        AND o.ordered_at > a.assigned_at AND o.ordered_at <= a.assigned_at + INTERVAL 7 DAY))::INT) AS bought
    FROM assignments a WHERE experiment_id = 'wave-1' GROUP BY a.arm"""
FIRST_WAVE_EFFECTS = {
    "discount-2-10-10": 0.266,
    "discount-3-7-7": 0.238,
    "bogo-5-5-5": 0.223,
    "bogo-10-10-7": 0.218,
    "bogo-10-10-5": 0.212,
    "informational-3": 0.158,
    "discount-2-10-7": 0.128,
    "bogo-5-5-7": 0.127,
    "informational-4": 0.077,
    "discount-5-20-10": 0.056,
}


def test_starbucks_counts(engine: Open, workspaces: Callable[[str], Workspace]) -> None:
    starbucks = engine("starbucks")
    counts = one(
        starbucks,
        """SELECT (SELECT count(*) FROM members) AS members, (SELECT count(*) FROM offers) AS offers,
                  count(*) AS received, count(opened_at) AS viewed, count(redeemed_at) AS completed,
                  (SELECT count(*) FROM orders) AS transactions, (SELECT count(*) FROM events) AS unmatched
           FROM touches""",
    )
    assert counts == {
        "members": 17_000,
        "offers": 10,
        "received": 76_277,
        "viewed": 57_725,
        "completed": 33_579,
        "transactions": 138_953,
        "unmatched": 0,
    }
    assert counts["received"] + counts["viewed"] + counts["completed"] + counts["transactions"] == 306_534  # type: ignore[operator]
    notes = (workspaces("starbucks").root / "import.json").read_text(encoding="utf-8")
    assert "306,534 events read; 114 blank lines" in notes
    assert "118 means missing: 2,175 members" in notes
    ages = one(starbucks, "SELECT count(*) AS n, max(value::INT) AS oldest FROM attributes WHERE name = 'age'")
    assert ages == {"n": 17_000 - 2_175, "oldest": 101}
    twice = "SELECT count(*) AS n FROM (SELECT 1 FROM touches GROUP BY member_id, sent_at HAVING count(*) > 1)"
    assert one(starbucks, twice) == {"n": 0}


def test_starbucks_waves_agree_with_the_inferred_design(engine: Open) -> None:
    rows = engine("starbucks").query(
        """SELECT experiment_id, min(assigned_at) AS at, max(assigned_at) AS latest, arm, count(*) AS n,
                  avg(propensity) AS propensity
           FROM assignments GROUP BY experiment_id, arm ORDER BY experiment_id, arm"""
    )
    waves = rows.to_pandas()
    assert (waves["at"] == waves.latest).all()
    times = waves.groupby("experiment_id")["at"].first() + pd.Timedelta(seconds=1)
    assert ((times - times.iloc[0]) / pd.Timedelta(hours=1)).tolist() == [0, 168, 336, 408, 504, 576]
    for _, wave in waves.groupby("experiment_id"):
        assert wave.n.sum() == 17_000
        assert len(wave) == 11
        assert wave.propensity.sum() == pytest.approx(1)
        assert np.allclose(wave.propensity, np.where(wave.arm == "none", 0.25, 0.075))
        assert chisquare(wave.n, 17_000 * wave.propensity).pvalue > 0.001 / 6
        assert chisquare(wave.n, 17_000 * np.where(wave.arm == "none", 0.5, 0.05)).pvalue < 1e-12  # the test can fail


def test_starbucks_first_wave(engine: Open) -> None:
    arms = engine("starbucks").query(FIRST_WAVE).to_pandas().set_index("arm")
    assert arms.n["none"] == 4_350
    assert round(arms.bought["none"], 3) == 0.536
    effects = (arms.bought - arms.bought["none"]).drop("none")
    assert effects.to_dict() == pytest.approx(FIRST_WAVE_EFFECTS, abs=0.00055)  # .21746 is stated as .218
    errors = np.sqrt(arms.bought * (1 - arms.bought) / arms.n)
    assert np.allclose(np.hypot(errors.drop("none"), errors["none"]), 0.015, atol=0.002)
    late = FIRST_WAVE.replace("a.assigned_at + INTERVAL 7 DAY", "a.assigned_at + INTERVAL 7 DAY + INTERVAL 1 SECOND")
    wrong = engine("starbucks").query(late).to_pandas().set_index("arm").bought
    assert round(wrong["none"], 3) != 0.536  # the next wave's own hour would change the table

    balance = engine("starbucks").query(
        """SELECT a.arm <> 'none' AS offered, avg(coalesce(t.value::INT, 118)) AS age FROM assignments a
           LEFT JOIN attributes t ON t.member_id = a.member_id AND t.name = 'age'
           WHERE experiment_id = 'wave-1' GROUP BY 1 ORDER BY 1"""
    )
    assert sorted(round(age, 1) for age in balance["age"].to_pylist()) == [
        62.5,
        62.6,
    ]  # missing counted as 118, as given


def test_online_retail(engine: Open, workspaces: Callable[[str], Workspace], real_data: Path) -> None:
    found = one(
        engine("online-retail"),
        """SELECT (SELECT count(*) FROM members) AS customers, count(*) AS orders, sum(amount) AS cents,
                  count(*) FILTER (WHERE order_id LIKE 'C%') AS cancellations,
                  count(*) FILTER (WHERE (status = 'refunded') <> (order_id LIKE 'C%')) AS odd,
                  count(*) FILTER (WHERE (amount < 0) <> (status = 'refunded')) AS sign,
                  min(ordered_at)::VARCHAR AS first, max(ordered_at)::VARCHAR AS last,
                  (SELECT count(*) FROM order_lines) AS lines, (SELECT sum(amount) FROM order_lines) AS line_cents
           FROM orders""",
    )
    assert found == {
        "customers": 4_372,
        "orders": 22_190,
        "cents": 830_006_581,
        "cancellations": 3_654,
        "odd": 0,
        "sign": 0,
        "first": "2010-12-01 08:26:00+00",
        "last": "2011-12-09 12:50:00+00",
        "lines": 541_909 - 135_080,
        "line_cents": 830_006_581,
    }
    aside = pq.read_table(workspaces("online-retail").root / "unassigned_lines.parquet").to_pandas()
    assert len(aside) == 135_080
    assert aside.CustomerID.isna().all()
    total = found["cents"] / 100 + (aside.Quantity * aside.UnitPrice).sum()  # type: ignore[operator]
    assert total == pytest.approx(9_747_747.93, abs=0.01)
    assert found["lines"] + len(aside) == 541_909  # type: ignore[operator]
    orders = engine("online-retail").query("SELECT order_id FROM orders")["order_id"].to_pylist()
    assert len({*orders, *aside.InvoiceNo}) == 25_900
    given = pq.read_table(real_data / "online_retail" / "online_retail.parquet").to_pandas()
    pd.testing.assert_frame_equal(
        given.iloc[aside.source_row - 1].reset_index(drop=True), aside.drop(columns="source_row"), check_dtype=False
    )


def test_gym(engine: Open) -> None:
    gym = engine("gym")
    rows = gym.query(
        """SELECT (e.member_id IS NOT NULL)::INT AS churned, a.name, a.value::DOUBLE AS value FROM attributes a
           LEFT JOIN events e ON e.member_id = a.member_id AND e.event = 'churned'"""
    ).to_pandas()
    assert len(rows) == 4_000 * 13
    table = rows[rows.name == "Lifetime"]
    assert len(table) == 4_000
    assert round(table.churned.mean(), 5) == 0.26525
    auc = {
        name: 1 - roc_auc_score(group.churned, group.value)
        for name, group in rows.groupby("name")
        if name in ("Month_to_end_contract", "Avg_class_frequency_current_month", "Phone", "gender")
    }
    assert auc["Month_to_end_contract"] > 0.7
    assert auc["Avg_class_frequency_current_month"] > 0.75
    assert abs(auc["Phone"] - 0.5) < 0.05
    spine = gym.query("SELECT member_id, TIMESTAMPTZ '2020-02-02 00:00:00-05' AS as_of FROM members ORDER BY member_id")
    names = ["contract_days_to_end", "has_contract", "events_90d", "days_since_last_event", "attr_age_num"]
    built = build(gym, spine, names).to_pandas()
    assert (built.has_contract == 1).all()
    assert (built.events_90d == 0).all()  # leaving is not seen on the day of the snapshot
    assert built.days_since_last_event.isna().all()
    months = gym.query(
        "SELECT value::DOUBLE AS m FROM attributes WHERE name = 'Month_to_end_contract' ORDER BY member_id"
    )
    assert np.allclose(built.contract_days_to_end / 30.4, months["m"].to_numpy(), atol=0.1 * 12)


def test_cdnow(engine: Open) -> None:
    found = one(
        engine("cdnow"),
        """SELECT count(*) AS purchases, count(DISTINCT member_id) AS customers, sum(amount) AS cents,
                  (SELECT count(*) FROM members) AS members,
                  (SELECT max(registered_at)::DATE FROM members)::VARCHAR AS joined,
                  min(ordered_at)::DATE::VARCHAR AS first, max(ordered_at)::DATE::VARCHAR AS last FROM orders""",
    )
    assert found == {
        "purchases": 69_659,
        "customers": 23_570,
        "cents": 250_031_563,
        "members": 23_570,
        "joined": "1997-03-25",
        "first": "1997-01-01",
        "last": "1998-06-30",
    }
    discs = one(engine("cdnow"), "SELECT sum(quantity) AS discs, sum(amount) AS cents FROM order_lines")
    assert discs["cents"] == found["cents"]
    registered = """SELECT count(*) AS n FROM members m WHERE registered_at <>
                    (SELECT min(ordered_at) FROM orders o WHERE o.member_id = m.member_id)"""
    assert one(engine("cdnow"), registered) == {"n": 0}


def bg_nbd(x: np.ndarray, t_x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Maximum-likelihood r, α, a, b of Fader, Hardie & Lee (2005)."""

    def loss(log_parameters: np.ndarray) -> float:
        r, alpha, a, b = np.exp(log_parameters)
        shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        shared += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        alive = -(r + x) * np.log(alpha + t)
        gone = np.where(x > 0, np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + t_x), -np.inf)
        return -float(np.mean(shared + np.logaddexp(alive, gone)))

    return np.exp(minimize(loss, np.log([0.25, 4.5, 0.8, 2.4]), method="Nelder-Mead", options={"xatol": 1e-4}).x)


def test_cdnow_agrees_with_the_published_model_of_a_tenth_of_it(engine: Open) -> None:
    """The published tenth cannot be told from the master file; its estimates must lie among those of other tenths."""
    weeks = (
        engine("cdnow")
        .query(
            """SELECT member_id::INT % 10 AS tenth, count(DISTINCT ordered_at::DATE) - 1 AS x,
                  date_diff('day', min(ordered_at)::DATE, max(ordered_at)::DATE) / 7.0 AS t_x,
                  date_diff('day', min(ordered_at)::DATE, DATE '1997-09-30') / 7.0 AS t
           FROM orders WHERE ordered_at::DATE <= DATE '1997-09-30' GROUP BY member_id"""
        )
        .to_pandas()
    )
    assert len(weeks) == 23_570
    fitted = np.array([bg_nbd(*(g[c].to_numpy(float) for c in ("x", "t_x", "t"))) for _, g in weeks.groupby("tenth")])
    published = np.array([0.243, 4.414, 0.793, 2.426])
    assert (fitted.min(axis=0) < published).all()
    assert (published < fitted.max(axis=0)).all()
    spread = np.log(fitted).std(axis=0)
    assert (np.abs(np.log(fitted).mean(axis=0) - np.log(published)) < 2 * spread).all()


def test_open_bandit(engine: Open, real_data: Path) -> None:
    rows = engine("open-bandit").query(
        """SELECT a.experiment_id, count(*) AS n, count(t.clicked_at) AS clicks, count(DISTINCT a.arm) AS items,
                  min(a.propensity) AS low, max(a.propensity) AS high, avg((t.offer_id = a.arm)::INT) AS same
           FROM assignments a JOIN touches t USING (experiment_id, member_id) GROUP BY 1"""
    )
    found = {row.pop("experiment_id"): row for row in rows.to_pylist()}
    for policy in ("random", "bts"):
        assert (found[policy]["n"], found[policy]["items"], found[policy]["same"]) == (10_000, 46, 1)
        assert found[policy]["clicks"] / found[policy]["n"] == 0.0046
        given = pd.read_csv(real_data / "open_bandit" / policy / "women" / "women.csv", index_col=0)
        mine = engine("open-bandit").query(
            f"""SELECT arm, propensity, p.value::INT AS position FROM assignments a JOIN attributes p
                ON p.member_id = a.member_id AND p.name = 'position'
                WHERE experiment_id = '{policy}' ORDER BY a.member_id"""
        )
        assert mine["propensity"].to_pylist() == given.propensity_score.tolist()
        assert [int(arm.removeprefix("item-")) for arm in mine["arm"].to_pylist()] == given.item_id.tolist()
        assert mine["position"].to_pylist() == given.position.tolist()
        assert sorted(given.position.unique()) == [1, 2, 3]
    assert found["random"]["low"] == found["random"]["high"] == pytest.approx(1 / 46)
    assert found["bts"]["low"] < 1e-4 < 0.9 < found["bts"]["high"]
    assert one(engine("open-bandit"), "SELECT count(*) AS n FROM offers") == {"n": 46}
    clicks = one(engine("open-bandit"), "SELECT count(*) AS n FROM events WHERE event = 'click'")
    assert clicks == {"n": 92}
