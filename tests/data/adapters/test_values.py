"""What each adapter makes of its source, value by value."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from uplift.data.adapters import ADAPTERS
from uplift.data.adapters._base import cents, contract_table, instants
from uplift.errors import ContractError, InputError

Made = Callable[[str], Path]
Events = list[dict[str, object]]
DAY = pd.Timedelta(days=1)


def frames(name: str, source: Path) -> dict[str, pd.DataFrame]:
    return {key: table.to_pandas() for key, table in ADAPTERS[name].convert(source).tables.items()}


def attribute(frame: pd.DataFrame, name: str) -> dict[str, str]:
    rows = frame[frame.name == name]
    return dict(zip(rows.member_id, rows.value, strict=True))


def test_cents_round_half_away_from_zero_and_ignore_binary_dust() -> None:
    assert cents([1.005, -1.005, 2.675, 0.1 + 0.2, 1062.28, -0.004, 0.0]).tolist() == [101, -101, 268, 30, 106228, 0, 0]


def test_wall_clock_times_become_instants_also_when_the_clock_changes() -> None:
    local = pd.Series(pd.to_datetime(["2011-01-10 09:00", "2011-07-02 10:30", "2011-03-27 01:30", "2011-10-30 01:30"]))
    found = instants(local, "Europe/London").dt.strftime("%H:%M").tolist()
    assert found == ["09:00", "09:30", "01:00", "00:30"]


def test_a_table_refuses_columns_and_lengths_that_are_not_its_own() -> None:
    with pytest.raises(ValueError, match="no columns"):
        contract_table("orders", {"total": [1]}, 1)
    with pytest.raises(ValueError, match="2 values for 3 rows"):
        contract_table("orders", {"order_id": ["a", "b"]}, 3)


def test_hillstrom(made: Made) -> None:
    imported = ADAPTERS["hillstrom"].convert(made("hillstrom"))
    t = {key: table.to_pandas() for key, table in imported.tables.items()}
    (spec,) = imported.experiments
    assert (spec.id, spec.control) == ("hillstrom", "No E-Mail")
    assert [arm.name for arm in spec.arms] == ["No E-Mail", "Mens E-Mail", "Womens E-Mail"]
    assert [(m.name, m.outcome, m.kind, m.window_days) for m in spec.metrics] == [
        ("visit", "visited", "rate", 14),
        ("conversion", "ordered", "rate", 14),
        ("spend", "spend", "mean", 14),
    ]
    assigned = t["assignments"].assigned_at.iloc[0]
    after = t["orders"][t["orders"].ordered_at > assigned]
    assert dict(zip(after.member_id, after.amount, strict=True)) == {"H000003": 1999, "H000006": 29}
    assert (after.ordered_at <= assigned + 14 * DAY).all()
    assert t["events"].member_id.tolist() == ["H000002", "H000003", "H000004", "H000006"]
    assert (t["events"].event == "visit").all()
    assert t["events"].event_at.between(assigned, assigned + 14 * DAY, inclusive="right").all()
    latest = max(after.ordered_at.max(), t["events"].event_at.max())
    assert latest == assigned + 14 * DAY  # an outcome window that ends later than the data would count as incomplete
    past = t["orders"][t["orders"].ordered_at < assigned].set_index("member_id")
    assert past.amount.tolist() == [3010, 15000, 30055, 6000, 4525, 40001]
    assert ((assigned - past.ordered_at) / DAY).tolist() == [30, 360, 90, 180, 60, 270]
    lines = t["order_lines"].groupby("order_id").category.apply(list).to_dict()
    assert lines["past-H000003"] == ["mens", "womens"]
    assert lines["past-H000002"] == ["womens"]
    assert attribute(t["attributes"], "channel")["H000003"] == "Multichannel"
    assert attribute(t["attributes"], "history")["H000003"] == "300.55"
    assert set(t["attributes"].name) & {"visit", "conversion", "spend", "segment"} == set()
    assert t["touches"].offer_id.value_counts().to_dict() == {"Mens E-Mail": 2, "Womens E-Mail": 2}


def test_starbucks(made: Made) -> None:
    imported = ADAPTERS["starbucks"].convert(made("starbucks"))
    t = {key: table.to_pandas() for key, table in imported.tables.items()}
    assert t["offers"].offer_id.tolist() == ["bogo-6-6-2", "discount-4-9-3", "informational-1"]
    assert t["offers"].cost_redeem.tolist() == [600, 400, 0]
    assert [spec.id for spec in imported.experiments] == ["wave-1", "wave-2"]
    assert [spec.metrics[0].window_days for spec in imported.experiments] == [3, 2]
    one, two = imported.experiments
    assert one.shares == {"none": 0.25, **dict.fromkeys(t["offers"].offer_id, 0.25)}
    assert one.ends_at == two.starts_at
    assert "3 blank lines" in imported.notes[0]
    assert len(t["assignments"]) == 80
    wave = t["assignments"][t["assignments"].experiment_id == "wave-1"].set_index("member_id")
    assert wave.arm[["m00", "m01", "m02", "m30"]].tolist() == [
        "discount-4-9-3",
        "discount-4-9-3",
        "informational-1",
        "none",
    ]
    start = wave.assigned_at.iloc[0]
    hour = pd.Timedelta(hours=1)
    assert t["touches"].sent_at.min() - start == pd.Timedelta(seconds=1)

    in_wave = t["orders"][(t["orders"].ordered_at > start) & (t["orders"].ordered_at <= start + 3 * DAY)]
    assert sorted(in_wave.member_id) == ["m00", "m00", "m39"]  # the next wave's own hour is not this wave's
    assert t["orders"].amount.sum() == 900 + 129 + 129 + 5 + 10000 + 250
    assert t["orders"].order_id.is_unique

    touches = t["touches"].set_index("touch_id")
    zero = start + pd.Timedelta(seconds=1)
    assert touches.opened_at["w1-m00"] - zero == 6 * hour
    assert touches.opened_at["w1-m01"] == zero
    assert touches.opened_at["w2-m01"] - zero == 72 * hour
    assert touches.redeemed_at["w1-m01"] == touches.redeemed_at["w2-m01"] == zero + 72 * hour
    assert touches.opened_at["w1-m02"] - zero == 60 * hour  # after the offer's day had passed
    assert touches.opened_at.notna().sum() == 4
    assert touches.redeemed_at.notna().sum() == 2
    assert "events" not in t
    assert any("1 views came after the offer had ended" in note for note in imported.notes)

    ages = attribute(t["attributes"], "age")
    assert "m00" not in ages
    assert ages["m05"] == "25"
    assert attribute(t["attributes"], "income")["m05"] == "35000"
    assert t["members"].set_index("member_id").gender.loc["m01"] == "M"
    assert t["members"].gender.isna().sum() == 1


def test_starbucks_keeps_what_matches_no_receipt(
    tmp_path: Path, starbucks_log: Callable[..., Path], coffee_events: Events
) -> None:
    coffee_events.append({"person": "m35", "event": "offer viewed", "time": 3, "value": {"offer id": "f2"}})
    coffee_events.append(
        {"person": "m00", "event": "offer completed", "time": 200, "value": {"offer_id": "f1", "reward": 4}}
    )
    imported = ADAPTERS["starbucks"].convert(starbucks_log(tmp_path / "log", coffee_events))
    events = imported.tables["events"].to_pandas()
    assert events[["member_id", "event", "offer_id"]].values.tolist() == [
        ["m35", "offer_viewed", "bogo-6-6-2"],
        ["m00", "offer_completed", "discount-4-9-3"],
    ]
    assert any("2 matched none and are kept as events" in note for note in imported.notes)


def test_starbucks_will_not_infer_propensities_from_a_log_that_contradicts_them(
    tmp_path: Path, starbucks_log: Callable[..., Path], coffee_events: Events
) -> None:
    cut = [e for e in coffee_events if not (e["event"] == "offer received" and e["time"] == 72 and e["person"] > "m12")]
    with pytest.raises(ContractError, match=r"propensities cannot be inferred.*hour 72"):
        ADAPTERS["starbucks"].convert(starbucks_log(tmp_path / "cut", cut))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event": "offer eaten"}, "is none of offer received"),
        ({"person": "stranger"}, "is not among the profiles"),
        ({"value": {"offer id": "f9"}}, "is not in the portfolio"),
        ({"time": -1}, "lies outside"),
        ({"person": "m05"}, "a second offer for the same member"),
    ],
)
def test_starbucks_refuses_wrong_events_without_naming_members(
    tmp_path: Path,
    starbucks_log: Callable[..., Path],
    coffee_events: Events,
    change: dict[str, object],
    message: str,
) -> None:
    coffee_events[0] = {**coffee_events[0], **change}
    with pytest.raises(ContractError, match=message) as caught:
        ADAPTERS["starbucks"].convert(starbucks_log(tmp_path / "log", coffee_events))
    assert "stranger" not in str(caught.value)
    assert "m05" not in str(caught.value)


def test_starbucks_refuses_a_log_without_receipts_and_a_plain_log_is_read(
    tmp_path: Path, starbucks_log: Callable[..., Path], coffee_events: Events
) -> None:
    folder = starbucks_log(tmp_path / "log", [e for e in coffee_events if e["event"] == "transaction"])
    with pytest.raises(InputError, match="no offer is received"):
        ADAPTERS["starbucks"].convert(folder)
    packed = starbucks_log(tmp_path / "plain", coffee_events) / "transcript.json.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert len(frames("starbucks", packed.parent)["touches"]) == 60


def test_starbucks_profile_problems_are_listed_together(made: Made) -> None:
    folder = made("starbucks")
    rows = [json.loads(line) for line in (folder / "profile.json").read_text().splitlines()]
    rows[1] |= {"gender": "X", "became_member_on": "20991301"}
    rows[2] |= {"became_member_on": "20190101", "age": 400}
    rows[3] |= {"id": "m04"}
    (folder / "profile.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ContractError) as caught:
        ADAPTERS["starbucks"].convert(folder)
    assert {(p.column, p.code) for p in caught.value.problems} == {
        ("gender", "unknown_value"),
        ("became_member_on", "not_a_time"),
        ("became_member_on", "out_of_range"),
        ("age", "out_of_range"),
        ("id", "duplicate_key"),
    }
    assert "m04" not in str(caught.value)


def test_online_retail(made: Made) -> None:
    imported = ADAPTERS["online-retail"].convert(made("online-retail"))
    t = {key: table.to_pandas() for key, table in imported.tables.items()}
    orders = t["orders"].set_index("order_id")
    assert orders.amount.to_dict() == {"100001": 1781, "100002": 255, "100004": 0, "C100003": -1530}
    assert orders.status.to_dict() == {"100001": "paid", "100002": "paid", "100004": "paid", "C100003": "refunded"}
    assert str(orders.ordered_at["100001"]) == "2011-01-10 09:00:00+00:00"
    assert str(orders.ordered_at["100002"]) == "2011-07-02 09:30:00+00:00"
    lines = t["order_lines"].set_index(["order_id", "line"])
    assert lines.amount.tolist() == [1530, 251, 255, -1530, 0]
    assert lines.sku[("100001", 2)] == "22222"
    assert lines.category.isna().all()
    assert t["members"].member_id.tolist() == ["12001", "12002"]
    assert str(t["members"].registered_at.iloc[1]) == "2011-07-02 09:30:00+00:00"
    assert t["attributes"][["member_id", "value"]].values.tolist() == [
        ["12001", "United Kingdom"],
        ["12002", "France"],
        ["12002", "Spain"],
    ]
    aside = imported.extras["unassigned_lines.parquet"].to_pandas()
    assert aside.InvoiceNo.tolist() == ["100005", "A100006"]
    assert aside.source_row.tolist() == [6, 7]
    given = pd.read_parquet(made("online-retail") / "online_retail.parquet")
    total = (given.Quantity * given.UnitPrice).sum()
    kept = total - (aside.Quantity * aside.UnitPrice).sum()
    assert f"{total:,.2f}" in imported.notes[0]
    assert orders.amount.sum() / 100 == pytest.approx(kept, abs=0.005 * len(orders))


def test_online_retail_refuses_an_invoice_of_two_customers_and_reads_csv(made: Made, tmp_path: Path) -> None:
    frame = pd.read_parquet(made("online-retail") / "online_retail.parquet")
    frame.to_csv(tmp_path / "same.csv", index=False)
    assert len(frames("online-retail", tmp_path / "same.csv")["orders"]) == 4
    frame.loc[1, "CustomerID"] = 12002.0
    frame.to_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(ContractError, match=r"billed to two customers \(2 rows\)"):
        ADAPTERS["online-retail"].convert(tmp_path / "wrong.parquet")


def test_gym_churn_is_seen_only_after_the_snapshot(made: Made) -> None:
    t = frames("gym", made("gym"))
    snapshot = pd.Timestamp("2020-02-02", tz="America/New_York")
    assert t["events"][["member_id", "event"]].values.tolist() == [["G00001", "churned"]]
    assert (t["events"].event_at > snapshot).all()
    assert "Churn" not in set(t["attributes"].name)
    assert (t["attributes"].observed_at < snapshot).all()
    contracts = t["contracts"].set_index("member_id")
    local = contracts.apply(
        lambda c: c.dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d") if c.name.endswith("s_at") else c
    )
    assert local[["starts_at", "ends_at"]].values.tolist() == [
        ["2020-02-01", "2020-03-01"],
        ["2019-07-01", "2020-07-01"],
        ["2020-02-01", "2020-08-01"],
    ]
    assert (contracts.known_at < snapshot).all()
    assert (contracts.starts_at < snapshot).all()
    assert contracts.status.isna().all()
    registered = t["members"].registered_at.dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d")
    assert registered.tolist() == ["2020-02-01", "2019-07-01", "2020-01-01"]
    assert attribute(t["attributes"], "Avg_class_frequency_total")["G00002"] == "2.5"


def test_cdnow_keeps_purchases_of_one_day_apart(made: Made) -> None:
    t = frames("cdnow", made("cdnow"))
    assert t["orders"].member_id.tolist() == ["00001", "00002", "00002", "00002", "00003"]
    assert t["orders"].amount.tolist() == [1000, 2550, 1225, 0, 999]
    assert t["order_lines"].quantity.tolist() == [1, 2, 1, 3, 1]
    local = t["orders"].ordered_at.dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d %H:%M")
    assert local.tolist()[3:] == ["1997-07-15 00:00", "1997-03-31 00:00"]
    assert t["members"].registered_at.tolist() == [t["orders"].ordered_at[i] for i in (0, 1, 4)]


def test_open_bandit(made: Made) -> None:
    imported = ADAPTERS["open-bandit"].convert(made("open-bandit"))
    t = {key: table.to_pandas() for key, table in imported.tables.items()}
    assert len(t["members"]) == 24
    assert t["assignments"].arm.tolist()[:4] == ["item-00", "item-01", "item-02", "item-00"]
    log = pd.read_csv(made("open-bandit") / "bts" / "women" / "women.csv", index_col=0)
    bts = t["assignments"][t["assignments"].experiment_id == "bts"]
    assert bts.propensity.tolist() == log.propensity_score.tolist()
    assert bts.assigned_at.tolist() == pd.to_datetime(log.timestamp).tolist()
    assert [spec.id for spec in imported.experiments] == ["random"]
    clicked = t["touches"][t["touches"].clicked_at.notna()]
    assert clicked.member_id.tolist() == [f"{p}-{i:05d}" for p in ("random", "bts") for i in (4, 10)]
    assert (clicked.clicked_at > clicked.sent_at).all()
    assert t["events"].member_id.tolist() == clicked.member_id.tolist()
    assert attribute(t["attributes"], "position")["random-00001"] == "2"
    assert attribute(t["attributes"], "affinity-item-01") == {"random-00001": "2", "bts-00001": "2"}
    assert imported.extras["items.parquet"].num_rows == 6


def test_open_bandit_reads_one_policy_and_notices_swapped_folders(made: Made) -> None:
    folder = made("open-bandit")
    one = ADAPTERS["open-bandit"].convert(folder / "random" / "women")
    assert one.tables["members"].num_rows == 12
    assert list(one.sources) == ["random/women/women.csv", "random/women/item_context.csv"]
    bts = ADAPTERS["open-bandit"].convert(folder / "bts")
    assert bts.experiments == ()
    (folder / "random").rename(folder / "spare")
    (folder / "bts").rename(folder / "random")
    with pytest.raises(ContractError, match="swapped"):
        ADAPTERS["open-bandit"].convert(folder)
