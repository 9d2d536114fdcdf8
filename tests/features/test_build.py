"""Spines, names, attributes, frames, outcomes and dates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from uplift.data import Engine
from uplift.errors import InputError
from uplift.features import (
    CATALOGUE,
    OUTCOMES,
    build,
    catalogue_for,
    discover_attributes,
    feature_columns,
    observed_until,
    outcomes,
    parse_as_of,
    refuse_beyond_data,
    spine_of_members,
    to_frame,
)
from uplift.features._compile import statements
from uplift.features.catalogue import MAX_ATTRIBUTES, attribute_slug

AS_OF = datetime(2025, 6, 15, 16, tzinfo=UTC)
DAY = timedelta(days=1)


def spine(*members: str, **more: list) -> pd.DataFrame:
    return pd.DataFrame({"member_id": list(members), "as_of": [AS_OF] * len(members), **more})


def attributes(rows: list[tuple[str, str, str | None]]) -> Engine:
    frame = pd.DataFrame(rows, columns=["member_id", "name", "value"])
    return Engine.from_tables(
        {"attributes": frame.assign(observed_at=[AS_OF - (n + 1) * DAY for n in range(len(rows))])}
    )


class TestCatalogue:
    def test_there_are_enough_and_each_is_described(self) -> None:
        assert len(CATALOGUE) >= 60
        for feature in CATALOGUE.values():
            assert feature.name.isidentifier()
            assert feature.text_zh
            assert feature.text_en
            assert feature.text_zh != feature.text_en
            if feature.window_days in (7, 30, 90, 180, 365):
                assert feature.name.endswith(f"_{feature.window_days}d") or "trend" in feature.name, feature.name
        assert set(feature_columns().values()) == {"number", "text", "flag"}

    def test_descriptions_do_not_repeat(self) -> None:
        for texts in ([f.text_zh for f in CATALOGUE.values()], [f.text_en for f in CATALOGUE.values()]):
            assert len(set(texts)) == len(texts)

    def test_one_statement_a_source(self) -> None:
        composed = statements(CATALOGUE.values())
        assert set(composed) == {feature.source for feature in CATALOGUE.values()}

    @pytest.mark.parametrize("source", sorted({feature.source for feature in CATALOGUE.values()}))
    def test_only_what_spark_has_too(self, source: str) -> None:
        sql = statements(CATALOGUE.values())[source]
        tree = sqlglot.parse_one(sql, read="duckdb")
        assert not list(tree.find_all(exp.Lambda, exp.ApproxDistinct, exp.Struct, exp.Unnest))
        assert "ASOF" not in sql.upper()
        spark = sqlglot.transpile(sql, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE)[0]
        unknown = {call.name.lower() for call in sqlglot.parse_one(spark, read="spark").find_all(exp.Anonymous)}
        assert unknown <= {"epoch_us", "make_date"}, (
            "Spark has make_date, and unix_micros for epoch_us; nothing else is new"
        )


class TestBuild:
    def test_rows_stay_in_order_with_what_they_carry(self) -> None:
        orders = pd.DataFrame(
            {"order_id": ["1", "2"], "member_id": ["b", "a"], "ordered_at": [AS_OF - DAY] * 2, "amount": [100, 200]}
        )
        with Engine.from_tables({"orders": orders}) as engine:
            table = build(engine, spine("b", "nobody", "a", "b", arm=["x", "y", "z", "x"]), ["spend_total"])
        assert table.to_pydict() == {
            "member_id": ["b", "nobody", "a", "b"], "as_of": [AS_OF] * 4, "arm": ["x", "y", "z", "x"],
            "spend_total": [1.0, 0.0, 2.0, 1.0],
        }  # fmt: skip

    def test_an_empty_spine_gives_an_empty_table_with_all_columns(self) -> None:
        with Engine.from_tables({}) as engine:
            table = build(engine, spine().astype({"member_id": "str", "as_of": "datetime64[us, UTC]"}))
        assert table.num_rows == 0
        assert set(CATALOGUE) < set(table.column_names)

    def test_categorical_ids_and_other_zones_are_read(self) -> None:
        local = spine("a").assign(as_of=lambda frame: frame["as_of"].dt.tz_convert("Asia/Shanghai"))
        local["member_id"] = local["member_id"].astype("category")
        with Engine.from_tables({}) as engine:
            assert build(engine, local, ["orders_total"]).column("as_of").to_pylist() == [AS_OF]

    @pytest.mark.parametrize(
        ("frame", "part"),
        [
            (pd.DataFrame({"member": ["a"]}), "no column 'member_id'; the spine has no column 'as_of'"),
            (spine("a").assign(as_of=[datetime(2025, 1, 1)]), "time with a zone"),
            (spine("a", "b").assign(member_id=["a", None]), "1 rows of the spine have no member_id"),
            (spine("a").assign(member_id=[5]), "must be text"),
            (spine("a").assign(orders_total=[5]), "rename them"),
        ],
    )
    def test_a_wrong_spine_is_refused(self, frame: pd.DataFrame, part: str) -> None:
        with Engine.from_tables({}) as engine, pytest.raises(InputError) as caught:
            build(engine, frame, ["orders_total"])
        assert part in str(caught.value)

    def test_wrong_names_are_all_listed(self) -> None:
        with Engine.from_tables({}) as engine, pytest.raises(InputError) as caught:
            build(engine, spine("a"), ["orders_totl", "orders_total", "orders_total", "zzz"])
        assert "did you mean 'orders_total'" in str(caught.value)
        assert "'orders_total' is given twice" in str(caught.value)
        assert "'zzz'" in str(caught.value)

    def test_members_of_a_date(self) -> None:
        members = pd.DataFrame(
            {
                "member_id": ["c", "a", "b", "d"],
                "registered_at": [AS_OF - DAY, AS_OF - 2 * DAY, AS_OF, AS_OF - DAY],
                "known_at": [None, None, None, AS_OF + DAY],
            }
        )
        with Engine.from_tables({"members": members}) as engine:
            found = spine_of_members(engine, "2025-06-16")
        assert found.to_pydict() == {"member_id": ["a", "c"], "as_of": [AS_OF, AS_OF]}


class TestAttributes:
    def test_numbers_dates_and_texts_become_features(self) -> None:
        rows = [
            ("a", "Skin Type", "敏感"), ("a", "score", "7"), ("b", "score", "7.5"), ("a", "child birth", "2024-06-16"),
            ("a", "size", "4+"), ("b", "size", "2"), ("a", "empty", None), ("b", "肤质", "干性"),
        ]  # fmt: skip
        with attributes(rows) as engine:
            names = list(discover_attributes(engine).features)
            assert names == [
                "attr_skin_type", "attr_child_birth_days", "attr_score_num", "attr_size", "attr_size_num", "attr_肤质",
            ]  # fmt: skip
            table = build(engine, spine("a", "b", "c"), names).to_pydict()
        assert table["attr_skin_type"] == ["敏感", None, None]
        assert table["attr_child_birth_days"] == [365.0, None, None]
        assert table["attr_score_num"] == [7.0, 7.5, None]
        assert (table["attr_size"], table["attr_size_num"]) == (["4+", "2", None], [None, 2.0, None])
        assert table["attr_肤质"] == [None, "干性", None]

    def test_the_latest_value_before_the_date_counts(self) -> None:
        rows = [("a", "skin", "new"), ("a", "skin", "old")]  # observed one and two days before
        with attributes(rows) as engine:
            assert build(engine, spine("a"), ["attr_skin"]).column("attr_skin").to_pylist() == ["new"]
            earlier = spine("a").assign(as_of=[AS_OF - 1.5 * DAY])
            assert build(engine, earlier, ["attr_skin"]).column("attr_skin").to_pylist() == ["old"]

    def test_hostile_names_do_no_harm(self) -> None:
        name = "x'); DROP TABLE members; --"
        with attributes([("a", name, "v"), ("a", "X drop table members", "w")]) as engine:
            names = list(discover_attributes(engine).features)
            assert names == ["attr_x_drop_table_members", "attr_x_drop_table_members_2"]
            row = build(engine, spine("a"), names).to_pylist()[0]
        assert sorted([row[names[0]], row[names[1]]]) == ["v", "w"]

    def test_the_commonest_are_kept_and_the_rest_named(self) -> None:
        rows = [(f"m{i}", f"n{j:03}", "v") for j in range(MAX_ATTRIBUTES + 2) for i in range(2 if j else 1)]
        with attributes(rows) as engine:
            found = discover_attributes(engine)
            assert len(found.features) == MAX_ATTRIBUTES
            assert found.left_out == ("n051", "n000")
            assert set(catalogue_for(engine)) == set(CATALOGUE) | set(found.features)

    def test_not_finite_is_unknown(self) -> None:
        with attributes([("a", "score", "inf"), ("b", "score", "nan"), ("c", "score", "3")]) as engine:
            assert build(engine, spine("a", "b", "c"), ["attr_score_num"])["attr_score_num"].to_pylist() == [
                None,
                None,
                3.0,
            ]

    def test_slugs_are_identifiers(self) -> None:
        assert [attribute_slug(text) for text in (" Skin-Type ", "肤质", "!!", "Ａｂ１")] == [
            "skin_type",
            "肤质",
            "unnamed",
            "ab1",
        ]


class TestFrame:
    def test_model_ready(self) -> None:
        table = pa.table(
            {
                "member_id": ["a", "b"], "as_of": pa.array([0, 0], pa.timestamp("us", "UTC")), "n": [1.5, None],
                "whole": [1, 2], "flag": [True, None], "text": ["y", None], "nothing": pa.nulls(2),
            }
        )  # fmt: skip
        frame = to_frame(table)
        assert list(frame.columns) == ["n", "whole", "flag", "text", "nothing"]
        assert [str(kind) for kind in frame.dtypes] == ["float64", "float64", "float64", "category", "category"]
        np.testing.assert_array_equal(frame["flag"], [1.0, np.nan])
        assert frame["text"].cat.categories.tolist() == ["y"]
        assert to_frame(table, ["whole", "n"]).columns.tolist() == ["whole", "n"]

    def test_what_no_model_takes_is_refused(self) -> None:
        table = pa.table({"t": pa.array([0], pa.timestamp("us", "UTC"))})
        with pytest.raises(InputError, match="no model takes"):
            to_frame(table)
        with pytest.raises(InputError, match="not columns of the table"):
            to_frame(table, ["x"])


class TestOutcomes:
    @staticmethod
    def engine() -> Engine:
        after = {
            name: AS_OF + days * DAY
            for name, days in (("now", 0), ("one", 1), ("edge", 14), ("late", 15), ("past", -1))
        }
        orders = pd.DataFrame(
            [
                ("1", "a", after["one"], 1_000, 600, "paid"), ("2", "a", after["edge"], 2_000, None, None),
                ("3", "a", after["late"], 9_000, None, None), ("4", "a", after["now"], 9_000, None, None),
                ("5", "a", after["past"], 9_000, None, None), ("6", "b", after["one"], 4_000, None, "cancelled"),
                ("7", "b", after["one"], -700, None, "refunded"),
            ],
            columns=["order_id", "member_id", "ordered_at", "amount", "cost", "status"],
        )  # fmt: skip
        events = pd.DataFrame(
            [("1", "b", after["one"], "check_in"), ("2", "c", after["one"], "open"), ("3", "c", after["now"], "click")],
            columns=["event_id", "member_id", "event_at", "event"],
        )
        touches = pd.DataFrame(
            [
                ("1", "b", after["past"], after["one"], after["one"], after["edge"]),
                ("2", "c", after["now"], None, None, after["late"]),
            ],
            columns=["touch_id", "member_id", "sent_at", "opened_at", "clicked_at", "redeemed_at"],
        )
        members = pd.DataFrame(
            [("a", after["past"], None), ("x", after["one"], "c")],
            columns=["member_id", "registered_at", "referrer_id"],
        )
        contracts = pd.DataFrame(
            [("1", "a", after["past"]), ("2", "a", after["one"]), ("3", "b", after["one"])],
            columns=["contract_id", "member_id", "starts_at"],
        )
        balances = pd.DataFrame(
            [
                ("a", "stored_value", after["one"], 5_000),
                ("a", "points", after["one"], -30),
                ("b", "stored_value", after["one"], -5),
            ],
            columns=["member_id", "account", "at", "change"],
        )
        return Engine.from_tables(
            {
                "orders": orders,
                "events": events,
                "touches": touches,
                "members": members,
                "contracts": contracts,
                "balances": balances,
            }
        )

    def test_strictly_after_and_up_to_the_end_of_the_window(self) -> None:
        names = (
            "ordered", "orders", "spend", "net_spend", "margin", "visited", "opened", "clicked", "redeemed", "refunded",
            "topped_up", "top_up", "points_spent", "referred", "renewed", "churned",
        )  # fmt: skip
        with self.engine() as engine:
            table = outcomes(engine, spine("a", "b", "c"), {name: (name, 14) for name in names}, margin=0.4)
        found = {name: table.column(name).to_pylist() for name in names}
        assert found == {
            "ordered": [1.0, 0.0, 0.0], "orders": [2.0, 0.0, 0.0], "spend": [3_000.0, 0.0, 0.0],
            "net_spend": [3_000.0, -700.0, 0.0], "margin": [1_200.0, 0.0, 0.0], "visited": [1.0, 1.0, 0.0],
            "opened": [0.0, 1.0, 1.0], "clicked": [0.0, 1.0, 0.0], "redeemed": [0.0, 1.0, 0.0],
            "refunded": [0.0, 1.0, 0.0], "topped_up": [1.0, 0.0, 0.0], "top_up": [5_000.0, 0.0, 0.0],
            "points_spent": [30.0, 0.0, 0.0], "referred": [0.0, 0.0, 1.0], "renewed": [1.0, 0.0, 0.0],
            "churned": [0.0, 1.0, 1.0],
        }  # fmt: skip

    def test_windows_differ_and_names_are_free(self) -> None:
        with self.engine() as engine:
            table = outcomes(
                engine, spine("a"), {"week": ("orders", 7), "month": ("orders", 30), "half a day": ("orders", 0.5)}
            )
        assert table.to_pylist()[0] | {"as_of": None} == {
            "member_id": "a", "as_of": None, "week": 1.0, "month": 3.0, "half a day": 0.0,
        }  # fmt: skip

    def test_an_unfinished_window_is_unknown_when_the_end_is_given(self) -> None:
        with self.engine() as engine:
            until = observed_until(engine)
            assert until == AS_OF + 15 * DAY
            table = outcomes(engine, spine("a"), {"two": ("orders", 14), "four": ("orders", 28)}, until=until)
        assert (table["two"].to_pylist(), table["four"].to_pylist()) == ([2.0], [None])

    def test_every_outcome_is_measured_and_has_the_kind_it_says(self) -> None:
        with self.engine() as engine:
            table = outcomes(engine, spine("a", "b", "c"), {name: (name, 30) for name in OUTCOMES})
        for name, outcome in OUTCOMES.items():
            values = table.column(name).to_pylist()
            assert None not in values
            if outcome.kind == "rate":
                assert set(values) <= {0.0, 1.0}

    def test_mistakes_are_listed(self) -> None:
        with Engine.from_tables({}) as engine, pytest.raises(InputError) as caught:
            outcomes(engine, spine("a"), {"x": ("orderd", 14), "y": ("spend", 0)}, margin=2)
        for part in ("did you mean 'ordered'", "between 0 and", "margin"):
            assert part in str(caught.value)

    def test_no_events_no_end(self) -> None:
        with Engine.from_tables({}) as engine:
            assert observed_until(engine) is None
            refuse_beyond_data(engine, AS_OF)

    def test_a_date_long_after_the_data_is_refused(self) -> None:
        with self.engine() as engine:
            refuse_beyond_data(engine, AS_OF + 300 * DAY)
            with pytest.raises(InputError, match="every member would look gone"):
                refuse_beyond_data(engine, AS_OF + 500 * DAY)


class TestDates:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2025-06-16", AS_OF),
            (" 2025-06-16 ", AS_OF),
            (date(2025, 6, 16), AS_OF),
            ("2025-06-16T08:30", AS_OF + timedelta(hours=8.5)),
            ("2025-06-15T16:00:00Z", AS_OF),
            (datetime(2025, 6, 15, 12, tzinfo=UTC), AS_OF - timedelta(hours=4)),
        ],
    )
    def test_read_in_the_zone(self, text: object, expected: datetime) -> None:
        assert parse_as_of(text, "Asia/Shanghai") == expected  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "text", ["yesterday", "2025-13-01", "", "16/06/2025", "2201-01-01", "1969-01-01", "99999-01-01"]
    )
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(InputError, match="as-of"):
            parse_as_of(text, "Asia/Shanghai")

    def test_a_zone_must_exist(self) -> None:
        with pytest.raises(InputError, match="IANA"):
            parse_as_of("2025-06-16", "Mars/Olympus")
