"""The simulated tables keep the contract, are consistent in time, and hang together."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from uplift.config import ExperimentSpec, Workspace, read_spec
from uplift.data import Engine
from uplift.data.check import check
from uplift.data.contract import TABLES
from uplift.data.simulator import INDUSTRIES, LIVES, simulate
from uplift.data.simulator._calendar import festival_days, make_calendar
from uplift.data.simulator._industry import Industry, load_industry
from uplift.data.simulator._tables import coded, numbered
from uplift.errors import InputError
from uplift.features import CATALOGUE, OUTCOMES, attribute_features, feature_columns
from uplift.rules import compile_rule

DATA = tuple(name for name in TABLES if name != "decisions")


def test_tables_have_the_contracts_exact_schema(chain):
    files = sorted(path.stem for path in (chain.folder / "data").iterdir())
    assert files == sorted(set(DATA) - ({"contracts"} if chain.industry == "grocery" else set()))
    for name in files:
        assert pq.read_schema(chain.folder / "data" / f"{name}.parquet").equals(TABLES[name].arrow_schema), name


def test_the_check_finds_nothing_wrong(chain):
    report = check(Workspace.open(chain.folder))
    assert not report.refused
    assert report.problems == ()


def test_keys_are_unique_and_references_hold(read):
    for name in DATA:
        table = read(f"data/{name}")
        assert not table.duplicated(list(TABLES[name].key)).any(), name
        for column in TABLES[name].columns:
            if column.references:
                known = set(read(f"data/{column.references}")[TABLES[column.references].key[0]])
                assert set(table[column.name].dropna()) <= known, (name, column.name)


def test_every_table_that_the_industry_has_is_filled(chain, read):
    for name in DATA:
        assert len(read(f"data/{name}")) or (name == "contracts" and chain.industry == "grocery"), name


def test_nothing_before_registration_and_nothing_at_or_after_the_end(chain, read):
    registered = read("data/members").set_index("member_id")["registered_at"]
    for name in DATA:
        time = TABLES[name].event_time
        if time is None:
            continue
        table = read(f"data/{name}")
        assert (table[time] < chain.as_of).all(), name
        assert (table["known_at"].dropna() < chain.as_of).all(), name
        assert (table["known_at"] >= table[time])[table["known_at"].notna()].all(), name
        if name != "members":
            assert (table[time].to_numpy() >= registered.loc[table["member_id"]].to_numpy()).all(), name


def test_what_comes_of_a_touch_comes_after_it(chain, read):
    touches = read("data/touches")
    for earlier, later in (
        ("sent_at", "delivered_at"),
        ("delivered_at", "opened_at"),
        ("opened_at", "clicked_at"),
        ("sent_at", "redeemed_at"),
    ):
        both = touches[[earlier, later]].dropna()
        assert (both[later] > both[earlier]).all(), later
    assert touches["redeemed_at"].notna().any()
    assigned = read("data/assignments").merge(touches, on=["experiment_id", "member_id"])
    assert len(assigned) == len(touches)
    assert (assigned["sent_at"] > assigned["assigned_at"]).all()
    assert (assigned["arm"] == assigned["offer_id"]).all()


def test_refunds_and_cancellations_are_known_later(read):
    orders = read("data/orders")
    undone = orders["status"].isin(["refunded", "cancelled"])
    assert 0.02 < undone.mean() < 0.08
    assert (orders.loc[undone, "known_at"] > orders.loc[undone, "ordered_at"]).mean() > 0.99
    assert orders.loc[~undone, "known_at"].isna().all()
    assert 0 < orders["status"].isna().mean() < 0.02


def test_lines_add_up_to_their_order(read):
    orders = read("data/orders").set_index("order_id")["amount"]
    lines = read("data/order_lines").groupby("order_id")["amount"].sum()
    pd.testing.assert_series_equal(lines.sort_index(), orders.sort_index(), check_names=False)


def card_orders(read) -> set[str]:
    return set(read("data/order_lines").query("sku.str.startswith('card')")["order_id"])


def test_money_is_as_it_should_be(read):
    orders = read("data/orders")
    assert (orders["amount"] > 0).all()
    assert (orders["discount"] >= 0).all()
    gross = (orders["amount"] + orders["discount"]).where(~orders["order_id"].isin(card_orders(read)))
    assert gross.max() > 12 * gross.median(), "outliers are there"


def test_balances_follow_from_their_changes_and_are_never_negative(read):
    balances = read("data/balances").sort_values(["member_id", "account", "at"])
    running = balances.groupby(["member_id", "account"])["change"].cumsum()
    assert (running == balances["balance"]).all()
    assert (balances["balance"] >= 0).all()
    assert {"points", "stored_value"} <= set(balances["account"])


def test_contracts_are_bought_and_used(chain, read):
    contracts = read("data/contracts")
    if chain.industry == "grocery":
        assert contracts.empty
        return
    assert (contracts["sessions_used"] <= contracts["sessions_total"]).all()
    assert contracts["sessions_used"].sum() <= (read("data/events")["event"] == "check_in").sum()
    assert (contracts["ends_at"] > contracts["starts_at"]).all()
    orders = read("data/orders")
    sold = orders["order_id"].isin(card_orders(read)) & ~orders["status"].isin(["refunded", "cancelled"])
    assert sold.sum() == len(contracts)


def test_missing_values_lives_and_habits_are_there(read):
    members, truth = read("data/members"), read("truth/members")
    assert 0.15 < members["birth_date"].isna().mean() < 0.35
    assert members["referrer_id"].notna().any()
    assert set(truth["life"]) == set(LIVES)
    assert set(read("data/orders")["channel"]) == {"store", "mini_program", "app"}
    assert set(read("data/events")["form"].dropna()) == {"video", "article"}
    weekend = read("data/orders").assign(
        weekend=lambda o: o["ordered_at"].dt.tz_convert("Asia/Shanghai").dt.day_of_week >= 5
    )
    share = weekend.merge(truth, on="member_id").groupby("persona")["weekend"].mean()
    assert share["weekend"] > 0.75 > 0.5 > share["loyal"]
    depth = read("data/orders").merge(truth, on="member_id")
    paid = depth.groupby("persona")[["discount", "amount"]].sum()
    rate = paid["discount"] / paid.sum(axis=1)
    assert rate["price_sensitive"] > 1.4 * rate["loyal"]


def test_more_than_one_id_leads_to_one_member(read):
    identities = read("data/identities")
    twice = identities.groupby(["source", "member_id"]).size()
    assert (twice > 1).any()
    assert (twice > 1).mean() < 0.1


def test_campaigns_are_randomised_with_their_designed_shares(chain, read):
    assignments = read("data/assignments")
    unequal = 0
    for name in chain.experiments:
        spec = read_spec(chain.folder / "experiments" / f"{name}.yaml", ExperimentSpec)
        mine = assignments[assignments["experiment_id"] == name]
        assert 3 <= len(spec.arms) - 1 <= 5
        np.testing.assert_allclose(mine["propensity"], mine["arm"].map(spec.shares), atol=1e-12)
        expected = np.asarray([spec.shares[arm] for arm in spec.shares])
        seen = mine["arm"].value_counts().reindex(list(spec.shares), fill_value=0).to_numpy()
        statistic = ((seen - len(mine) * expected) ** 2 / (len(mine) * expected)).sum()
        assert statistic < 3.5 * len(expected) + 10, name
        assert (mine["assigned_at"] == pd.Timestamp(spec.starts_at)).all()
        unequal += len(set(spec.shares.values())) > 2
    assert len(chain.experiments) >= chain.months - 2
    assert unequal >= 1


def test_definitions_and_rules_name_only_what_is_in_the_catalogue(chain, read):
    known = set(CATALOGUE) | {"segment"}
    offers = read("data/offers").set_index("offer_id")
    columns = dict(feature_columns())
    for attribute in read("data/attributes")["name"].unique():
        columns |= {f.name: f.kind for f in attribute_features(attribute, ["text"]).values()}
    for name in chain.experiments:
        spec = read_spec(chain.folder / "experiments" / f"{name}.yaml", ExperimentSpec)
        assert {*spec.covariates, *spec.segments} <= known
        assert {metric.outcome for metric in spec.metrics} <= set(OUTCOMES)
        assert {arm.offer_id for arm in spec.arms if arm.offer_id} <= set(offers.index)
    rules = [*offers["eligible"].dropna(), *offers["forbidden"].dropna()]
    assert len(rules) >= 8
    for rule in rules:
        assert compile_rule(rule, columns).columns <= set(columns)


def test_contraindicated_offers_truly_harm_those_they_are_forbidden_to(chain, read):
    effects, truth = read("truth/effects"), read("truth/members").set_index("member_id")
    effects = effects[effects["experiment_id"].isna()]
    active = effects[effects["life"] != "gone"]
    for offer in load_industry(chain.industry).offers:
        if offer.forbidden is None:
            continue
        mine = active[active["offer_id"] == offer.id].set_index("member_id")
        traits = {
            "sensitive": truth.loc[mine.index, "sensitive"],
            "novice": truth.loc[mine.index, "purchases"] < load_industry(chain.industry).novice_orders,
        }
        for trait, holds in traits.items():
            if offer.rate.get(trait, 0) <= -0.4:
                assert mine.loc[holds, "effect_conversion"].mean() < -0.01, (offer.id, trait)


def test_the_truth_is_complete_and_apart(chain, read):
    effects, assignments = read("truth/effects"), read("data/assignments")
    end = effects[effects["experiment_id"].isna()]
    offers = read("data/offers")["offer_id"]
    assert len(end) == chain.members * len(offers)
    assert not end.duplicated(["member_id", "offer_id"]).any()
    assert (end["at"] == chain.as_of).all()
    for name in chain.experiments:
        rows = effects[effects["experiment_id"] == name]
        mine = assignments[assignments["experiment_id"] == name]
        arms = set(mine["arm"]) - {"control"}
        assert set(rows["offer_id"]) == arms
        assert len(rows) == len(mine) * len(arms)
    assert set(effects["window_days"]) == {14}
    assert not any("effect" in column.name for table in TABLES.values() for column in table.columns)


@pytest.mark.parametrize("value", ["effect_conversion", "effect_spend", "effect_margin"])
def test_targeting_pays_and_some_are_hurt(read, value):
    effects = read("truth/effects")
    wide = effects[effects["experiment_id"].isna()].pivot(index="member_id", columns="offer_id", values=value)
    oracle, single = wide.clip(lower=0).max(axis=1).mean(), max(wide.mean().max(), 0.0)
    assert oracle >= 1.5 * single
    by_life = effects[effects["experiment_id"].isna()].groupby(["offer_id", "life"])[value].mean()
    assert (by_life < 0).any()
    assert (by_life > 0).any()
    if value == "effect_conversion":
        assert (wide.abs() < 0.02).to_numpy().mean() > 0.6, "most effects are small"
        assert 0.05 < (wide < -0.01).to_numpy().mean() < 0.30, "a few are hurt"


def test_seasons_are_seen_in_the_orders():
    calendar = make_calendar(load_industry("grocery"), 12, date(2026, 7, 1))
    festival = festival_days("spring_festival", calendar.start, calendar.end)
    assert date(2026, 2, 17) in festival
    window = (date(2026, 2, 10) - calendar.start).days // 14
    assert calendar.factor[window] > 1.15 * np.median(calendar.factor)
    assert calendar.instant(calendar.windows).isoformat() == "2026-07-01T00:00:00+08:00"


def same_bytes(one, other) -> bool:
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file())
    return all((one / f).read_bytes() == (other / f).read_bytes() for f in files)


def test_same_seed_same_bytes_and_another_seed_another_chain(tmp_path):
    folders = [tmp_path / name for name in ("one", "again", "other")]
    for folder, seed in zip(folders, (4, 4, 5), strict=True):
        simulate(folder, members=300, months=4, seed=seed)
    assert same_bytes(folders[0], folders[1])
    assert (folders[0] / "data/orders.parquet").read_bytes() != (folders[2] / "data/orders.parquet").read_bytes()
    simulate(folders[2], members=300, months=4, seed=4)
    assert same_bytes(folders[0], folders[2]), "a second simulation replaces the first"


def test_chunks_do_not_depend_on_each_other(tmp_path, monkeypatch):
    """The first chunk of a large chain is the small chain: members are drawn in chunks of a fixed size."""
    monkeypatch.setattr("uplift.data.simulator._chunk.CHUNK_MEMBERS", 100)
    monkeypatch.setattr("uplift.data.simulator._context.CHUNK_MEMBERS", 100)
    monkeypatch.setattr("uplift.data.simulator.chain.CHUNK_MEMBERS", 100)
    simulate(tmp_path / "small", members=100, months=4, industry="fitness")
    large = simulate(tmp_path / "large", members=250, months=4, industry="fitness")
    for name in (*DATA, "effects"):
        folder = "truth" if name == "effects" else "data"
        small = pd.read_parquet(tmp_path / "small" / folder / f"{name}.parquet")
        both = pd.read_parquet(tmp_path / "large" / folder / f"{name}.parquet")
        pd.testing.assert_frame_equal(small, both.iloc[: len(small)])
        if name not in ("offers", "effects"):
            assert not both.duplicated(list(TABLES[name].key)).any(), name
    assert large.rows["data/members"] == 250


def test_engine_reads_local_hours(chain):
    with Engine.open(Workspace.open(chain.folder)) as engine:
        hours = engine.query("SELECT min(hour(ordered_at)) AS low, max(hour(ordered_at)) AS high FROM orders")
    assert hours["low"][0].as_py() >= 8
    assert hours["high"][0].as_py() <= 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": 0}, "members must lie between"),
        ({"months": 1}, "months must lie between"),
        ({"seed": -1}, "seed must not be negative"),
        ({"industry": "bakry"}, "unknown industry"),
    ],
)
def test_bad_arguments_leave_nothing_behind(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        simulate(tmp_path / "new", **{"members": 10, "months": 3, **arguments})
    assert not (tmp_path / "new").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"already holds other files \(notes\.txt\)"):
        simulate(tmp_path, members=10, months=3)
    with pytest.raises(InputError, match="is a file"):
        simulate(tmp_path / "notes.txt", members=10, months=3)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_simulation_that_is_cut_off_leaves_no_workspace(tmp_path, monkeypatch):
    def break_off(*_):
        raise RuntimeError("killed")

    monkeypatch.setattr("uplift.data.simulator.chain._write_texts", break_off)
    with pytest.raises(RuntimeError, match="killed"):
        simulate(tmp_path / "chain", members=20, months=3)
    assert list((tmp_path / "chain").iterdir()) == []


def test_one_member_is_enough(tmp_path):
    made = simulate(tmp_path, members=1, months=2, industry="fitness")
    assert made.members == 1
    assert not check(Workspace.open(tmp_path)).problems


@pytest.mark.parametrize("name", INDUSTRIES)
def test_industries_are_complete(name):
    industry = load_industry(name)
    assert industry.name == name
    assert len(industry.offers) >= 10
    assert all(offer.name_zh and offer.name_en for offer in industry.offers)
    assert len({offer.id for offer in industry.offers}) == len(industry.offers)


def test_an_industry_that_names_an_unknown_trait_is_refused():
    values = load_industry("grocery").model_dump()
    values["offers"][0]["rate"] = {"pirce": 1.0}
    with pytest.raises(ValueError, match="unknown trait 'pirce'"):
        Industry.model_validate(values)
    values = load_industry("grocery").model_dump()
    values["categories"]["fresh"] = 0.5
    with pytest.raises(ValueError, match="categories add up"):
        Industry.model_validate(values)


def test_ids_and_codes_are_built_without_a_loop():
    assert numbered("M", np.asarray([0, 7, 1234567]), 7).to_pylist() == ["M0000000", "M0000007", "M1234567"]
    assert numbered("M", np.empty(0, dtype=np.int64), 7).to_pylist() == []
    assert coded(("a", "b"), np.asarray([1, -1, 0])).to_pylist() == ["b", None, "a"]
