"""The engine: complete views, the workspace's zone, nothing reachable that is not its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from uplift.config import Workspace
from uplift.data import ARROW_TYPES, TABLES, Engine
from uplift.data.engine import connect
from uplift.errors import ConfigError, ContractError, InputError

MEMBERS = "member_id,registered_at,city\nM1,2024-01-01,北京\nM2,2024-01-02 09:05:00,上海\nM3,2024-01-03,广州\n"
ORDERS = "order_id,member_id,ordered_at,amount\nO1,M1,2024-02-01 00:30:00,1000\nO2,M2,2024-02-01T00:30:00Z,2500\n"
Make = Callable[..., Workspace]


@pytest.fixture
def members() -> pd.DataFrame:
    return pd.DataFrame({"member_id": ["M1", "M2"], "registered_at": pd.to_datetime(["2024-01-01", "2024-02-01"])})


@pytest.fixture(params=["memory", "workspace"])
def engine(request: pytest.FixtureRequest, make_workspace: Make, members: pd.DataFrame) -> object:
    if request.param == "memory":
        made = Engine.from_tables({"members": members})
    else:
        made = Engine.open(make_workspace({"members.csv": MEMBERS}))
    with made:
        yield made


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_a_complete_relation(engine: Engine, name: str) -> None:
    table = engine.query(f"SELECT * FROM {name}")
    assert table.schema.names == list(TABLES[name].names)
    assert table.schema.types == [ARROW_TYPES[column.kind] for column in TABLES[name].columns]
    assert engine.rows(name) == table.num_rows
    assert (table.num_rows > 0) == (name == "members")


def test_zoneless_times_are_the_workspaces_and_zoned_ones_are_converted(make_workspace: Make) -> None:
    with Engine.open(make_workspace({"members.csv": MEMBERS, "orders.csv": ORDERS})) as engine:
        rows = engine.query("SELECT ordered_at, hour(ordered_at) AS h FROM orders ORDER BY order_id").to_pylist()
    assert rows == [
        {"ordered_at": datetime(2024, 1, 31, 16, 30, tzinfo=UTC), "h": 0},
        {"ordered_at": datetime(2024, 2, 1, 0, 30, tzinfo=UTC), "h": 8},
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_parquet_times_of_every_unit(make_workspace: Make, unit: str, zone: str | None) -> None:
    at = pa.array([datetime(2024, 6, 1, 12, 0)]).cast(pa.timestamp(unit))
    if zone:
        at = pa.compute.assume_timezone(at, zone)
    table = pa.table({"member_id": ["M1"], "registered_at": at})
    with Engine.open(make_workspace({"members.parquet": table}, timezone="America/New_York")) as engine:
        found = engine.query("SELECT registered_at FROM members")["registered_at"][0].as_py()
    offset = {None: 16, "UTC": 12, "Asia/Tokyo": 3}[zone]
    assert found == datetime(2024, 6, 1, offset, 0, tzinfo=UTC)


def test_known_at_is_the_event_time_where_it_was_not_given(members: pd.DataFrame) -> None:
    at = datetime(2024, 3, 1, tzinfo=UTC)
    later = datetime(2024, 3, 5, tzinfo=UTC)
    orders = pa.table(
        {
            "order_id": ["1", "2"],
            "member_id": ["M1", "M1"],
            "ordered_at": [at, at],
            "amount": [1, 1],
            "known_at": [None, later],
        }
    )
    with Engine.from_tables({"orders": orders}) as engine:
        assert engine.query("SELECT known_at FROM orders ORDER BY order_id")["known_at"].to_pylist() == [at, later]
    with Engine.from_tables({"members": members}) as engine:
        assert engine.query("SELECT count(*) AS n FROM members WHERE known_at = registered_at")["n"].to_pylist() == [2]


def test_sums_of_money_are_int64(members: pd.DataFrame) -> None:
    orders = pd.DataFrame(
        {"order_id": ["1", "2"], "member_id": "M1", "ordered_at": pd.Timestamp("2024-03-01", tz="UTC"), "amount": 2**40}
    )
    with Engine.from_tables({"members": members, "orders": orders}) as engine:
        total = engine.query("SELECT sum(amount) AS s FROM orders")
    assert total.schema.types == [pa.int64()]
    assert total["s"].to_pylist() == [2**41]


def test_tables_in_memory_are_told_all_that_is_wrong_at_once(members: pd.DataFrame) -> None:
    orders = pa.table(
        {"order_id": [1, 2], "member_id": ["M1", "M1"], "orderd_at": ["2024-01-01", "x"], "amount": [1.0, 2.5]}
    )
    with pytest.raises(ContractError) as caught:
        Engine.from_tables({"member": members, "orders": orders})
    message = str(caught.value)
    for part in ("did you mean 'members'", "did you mean 'ordered_at'", "required and absent"):
        assert part in message
    with pytest.raises(ContractError, match=r"orders\.amount.*\(1 rows\)"):
        Engine.from_tables({"orders": orders.rename_columns(["order_id", "member_id", "ordered_at", "amount"])})


def test_parameters_registered_tables_and_streams(engine: Engine) -> None:
    spine = pd.DataFrame({"member_id": ["M1", "M2", "M1"], "as_of": pd.Timestamp("2025-01-01", tz="UTC")})
    engine.register("spine", spine)
    sql = "SELECT s.member_id, s.as_of FROM spine s JOIN members USING (member_id), range(?) ORDER BY ALL"
    whole = engine.query(sql, [5])
    pieces = []
    for batch in engine.batches(sql, rows=4, parameters=[5]):
        assert batch.num_rows <= 4
        engine.query("SELECT 1")  # other statements may run meanwhile
        pieces.append(batch)
    assert pa.Table.from_batches(pieces) == whole
    assert whole.num_rows == 15
    assert engine.query("SELECT $a + $b AS c", {"a": 1, "b": 2})["c"].to_pylist() == [3]
    engine.unregister("spine")
    with pytest.raises(duckdb.CatalogException):
        engine.query("SELECT * FROM spine")
    with pytest.raises(InputError, match="unknown registered table 'spine'"):
        engine.unregister("spine")
    with pytest.raises(InputError, match="table of the contract"):
        engine.register("orders", spine)


def test_nothing_outside_can_be_reached_and_settings_are_locked(engine: Engine, tmp_path: Path) -> None:
    outside = tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    for sql in (
        f"SELECT * FROM read_csv('{outside}')",
        f"SELECT * FROM '{outside}'",
        f"COPY (SELECT 1) TO '{tmp_path}/written.csv'",
        f"ATTACH '{tmp_path}/other.duckdb'",
        "INSTALL httpfs",
    ):
        with pytest.raises(duckdb.Error):
            engine.query(sql)
    if engine.workspace is not None:
        with pytest.raises(duckdb.PermissionException):
            engine.query(f"SELECT * FROM read_csv('{engine.workspace.root}/../secret.csv')")
    assert not (tmp_path / "written.csv").exists()
    with pytest.raises(duckdb.InvalidInputException, match="locked"):
        engine.query("SET enable_external_access = true")
    secret = pa.table({"a": [1]})
    assert secret.num_rows
    with pytest.raises(duckdb.CatalogException):
        engine.query("SELECT * FROM secret")  # Python variables are not tables


def test_options(make_workspace: Make) -> None:
    with Engine.open(make_workspace({"members.csv": MEMBERS}), threads=1, memory_limit="300MB") as engine:
        found = engine.query("SELECT current_setting('threads') AS t, current_setting('memory_limit') AS m")
    assert found.to_pylist() == [{"t": 1, "m": "286.1 MiB"}]
    with pytest.raises(ConfigError, match="Mars"):
        connect("Mars/Olympus")
    with pytest.raises(ConfigError, match="lots"):
        connect("UTC", memory_limit="lots")


def test_quarantined_rows_are_left_out_and_broken_tables_refused(make_workspace: Make) -> None:
    one_bad = make_workspace({"members.csv": MEMBERS + "M4,nonsense,\n"})
    with Engine.open(one_bad) as engine:
        assert engine.rows("members") == 3
    with pytest.raises(ContractError, match=r"orders\.member_id: this column is required"):
        Engine.open(make_workspace({"members.csv": MEMBERS, "orders.csv": "order_id\nO1\n"}, name="broken"))


def test_a_part_that_was_cut_off_is_the_one_that_is_named(make_workspace: Make) -> None:
    with Engine.open(make_workspace({"members.csv": MEMBERS, "orders.csv": ORDERS})) as engine:
        orders = engine.query("SELECT * FROM orders ORDER BY ALL")
    broken = make_workspace({"members.csv": MEMBERS, "orders/part-0.parquet": orders, "orders/part-1.parquet": orders},
                            name="broken")  # fmt: skip
    part = broken.root / "data" / "orders" / "part-1.parquet"
    part.write_bytes(part.read_bytes()[:400])
    with pytest.raises(ContractError, match=r"part-1\.parquet cannot be read.*\(400 bytes.*copy it again"):
        Engine.open(broken)


def test_the_same_tables_from_csv_parquet_parts_and_duckdb(make_workspace: Make, tmp_path: Path) -> None:
    with Engine.open(make_workspace({"members.csv": MEMBERS, "orders.csv": ORDERS})) as engine:
        wanted = {name: engine.query(f"SELECT * FROM {name} ORDER BY ALL") for name in ("members", "orders")}
    text = {name: table.to_pylist() for name, table in wanted.items()}
    parts = {
        "members.parquet": wanted["members"],
        "orders/part-0.parquet": wanted["orders"].slice(0, 1).drop_columns(["store_id"]),
        "orders/part-1.parquet": wanted["orders"].slice(1),
    }
    with Engine.open(make_workspace(parts, name="parts")) as engine:
        for name in text:
            assert engine.query(f"SELECT * FROM {name} ORDER BY ALL").to_pylist() == text[name]
    root = tmp_path / "database"
    root.mkdir()
    (root / "uplift.yaml").write_text("data: shop.duckdb\n")
    with duckdb.connect(str(root / "shop.duckdb")) as connection:
        for name, table in wanted.items():
            connection.register("t", table)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM t")
            connection.unregister("t")
    with Engine.open(root) as engine:
        for name in text:
            assert engine.query(f"SELECT * FROM {name} ORDER BY ALL").to_pylist() == text[name]
    with duckdb.connect(str(root / "shop.duckdb")) as connection:  # the file is free again
        connection.execute("SELECT 1")


def test_exact_parquet_is_viewed_in_place(make_workspace: Make) -> None:
    table = pa.table(
        {"member_id": ["M1"], "registered_at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))}
    )
    workspace = make_workspace({"members.parquet": table})
    with Engine.open(workspace) as engine:
        assert engine.rows("members") == 1
    assert not list(workspace.checked.glob("*.parquet")), "no copy is needed"
