"""The check: everything wrong at once, rows parted with their reasons, none lost, nothing stale."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uplift.config import Workspace
from uplift.data import TABLES, CheckReport, Engine, check
from uplift.data._checker import Checker
from uplift.errors import ContractError, InputError, UpliftError

Make = Callable[..., Workspace]
MEMBERS = "member_id,registered_at,city\nM1,2024-01-01,北京\nM2,2024-01-02 09:05:00,上海\nM3,2024-01-03,广州\n"
ORDERS_HEAD = "order_id,member_id,ordered_at,amount,status,discount\n"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def quarantine(workspace: Workspace, table: str) -> list[dict[str, Any]]:
    path = workspace.quarantine / f"{table}.parquet"
    return pq.read_table(path).to_pylist() if path.exists() else []


def reasons(workspace: Workspace, table: str) -> dict[str, list[str]]:
    """Reasons as ``code`` or ``code:column`` by the table's key."""
    key = TABLES[table].key[0]
    return {
        row[key]: [
            c if col is None else f"{c}:{col}" for c, col in zip(row["reasons"], row["reason_columns"], strict=True)
        ]
        for row in quarantine(workspace, table)
    }


def test_a_clean_workspace(make_workspace: Make) -> None:
    report = check(make_workspace({"members.csv": MEMBERS}), now=NOW)
    assert report.passed
    assert not report.problems
    assert report.tables["members"].kept == report.tables["members"].rows == 3


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ("O,M1,2024-02-01,12.5,paid,", ["bad_cell:amount"]),
        ("O,M1,2024-02-01,abc,paid,", ["bad_cell:amount"]),
        ("O,M1,2024-02-01,,paid,", ["missing_value:amount"]),
        ("O,M1,yesterday,1,paid,", ["bad_cell:ordered_at"]),
        ("O,M1,2099-01-01,1,paid,", ["time_in_future:ordered_at"]),
        ("O,M1,1899-12-30,1,paid,", ["time_too_early:ordered_at"]),
        ("O,M1,2024-02-01,1,unpaid,", ["value_not_allowed:status"]),
        ("O,M1,2024-02-01,1,paid,-5", ["out_of_range:discount"]),
        ("O,M9,2024-02-01,1,paid,", ["reference_not_found:member_id"]),
        ("O,,2024-02-01,1,paid,", ["missing_value:member_id"]),
        (
            "O,M9,2099-01-01,x,unpaid,-5",
            ["reference_not_found:member_id", "time_in_future:ordered_at", "bad_cell:amount"],
        ),
    ],
)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_that_break_the_contract(make_workspace: Make, row: str, wanted: list[str], form: str) -> None:
    text = ORDERS_HEAD + row + "\nGOOD,M1,2024-02-01,1,paid,0\n"
    if form == "csv":
        files: dict[str, Any] = {"orders.csv": text}
    else:
        lines = [[cell or None for cell in line.split(",")] for line in text.splitlines()]
        files = {"orders.parquet": pa.table(dict(zip(lines[0], map(list, zip(*lines[1:], strict=True)), strict=True)))}
    workspace = make_workspace({"members.csv": MEMBERS, **files})
    report = check(workspace, now=NOW)
    found = reasons(workspace, "orders")
    assert set(wanted) <= set(found["O"])
    if len(wanted) == 1:
        assert found == {"O": wanted}
    assert not report.refused
    assert (report.tables["orders"].rows, report.tables["orders"].kept) == (2, 1)
    with Engine.open(workspace) as engine:
        assert engine.query("SELECT order_id FROM orders")["order_id"].to_pylist() == ["GOOD"]


def test_quarantine_holds_the_row_as_it_was_given_and_where(make_workspace: Make) -> None:
    text = ORDERS_HEAD.replace("\n", ",note\n") + "O1,M1,2024-02-01, 7 ,paid,,x\nO2,M1,2024-02-01,1.5,paid,,'note'\n"
    workspace = make_workspace({"members.csv": MEMBERS, "orders.csv": text})
    report = check(workspace, now=NOW)
    assert quarantine(workspace, "orders") == [
        {
            "order_id": "O2",
            "member_id": "M1",
            "ordered_at": "2024-02-01",
            "amount": "1.5",
            "status": "paid",
            "discount": None,
            "note": "'note'",
            "reasons": ["bad_cell"],
            "reason_columns": ["amount"],
            "source_file": "orders.csv",
            "source_row": 2,
            "source_text": None,
        }
    ]
    assert [p.code for p in report.problems] == ["many_quarantined", "unknown_column", "bad_cell"]
    assert report.problems[2].examples == ("'1.5'",)


def test_duplicates(make_workspace: Make) -> None:
    rows = [
        "A,M1,2024-02-01,1,paid,",  # given twice, the second time with other spelling of the same values
        "A,M1,2024/2/1 00:00,1.0,paid,",
        "B,M1,2024-02-01,1,paid,",  # two stories
        "B,M1,2024-02-01,2,paid,",
        "C,M1,2024-02-01,1,paid,",
    ]
    workspace = make_workspace({"members.csv": MEMBERS, "orders.csv": ORDERS_HEAD + "\n".join(rows)})
    report = check(workspace, now=NOW)
    assert report.tables["orders"].reasons == {"duplicate_key": 2, "duplicate_row": 1}
    assert [(row["order_id"], row["source_row"]) for row in quarantine(workspace, "orders")] == [
        ("A", 2),
        ("B", 3),
        ("B", 4),
    ]
    with Engine.open(workspace) as engine:
        assert engine.query("SELECT order_id FROM orders ORDER BY 1")["order_id"].to_pylist() == ["A", "C"]


def test_orphans_cascade(make_workspace: Make) -> None:
    workspace = make_workspace(
        {
            "members.csv": MEMBERS + "M4,not a time,\n",
            "orders.csv": ORDERS_HEAD + "O1,M1,2024-02-01,1,paid,\nO4,M4,2024-02-01,1,paid,\n",
            "order_lines.csv": "order_id,line\nO1,1\nO4,1\nO4,2\n",
        }
    )
    report = check(workspace, now=NOW)
    kept = {name: (table.kept, table.quarantined) for name, table in report.tables.items()}
    assert kept == {"members": (3, 1), "orders": (1, 1), "order_lines": (1, 2)}
    assert reasons(workspace, "order_lines") == {"O4": ["reference_not_found:order_id"]}


def test_a_table_that_is_not_there_costs_no_rows(make_workspace: Make) -> None:
    files = {
        "members.csv": MEMBERS,
        "events.csv": "event_id,member_id,event_at,event,offer_id\n1,M1,2024-02-01,view,X\n",
    }
    report = check(make_workspace(files), now=NOW)
    assert report.passed
    assert [(p.code, p.column, p.count) for p in report.problems] == [("reference_not_checked", "offer_id", 1)]


def test_a_referrer_who_is_not_there_costs_no_member(make_workspace: Make) -> None:
    report = check(make_workspace({"members.csv": "member_id,registered_at,referrer_id\nM1,2024-01-01,M0\n"}), now=NOW)
    assert report.passed
    assert [p.code for p in report.problems] == ["unknown_referrer"]


def test_one_member_across_channels(make_workspace: Make) -> None:
    """Identities are merged before anything is counted; ids that stand for two members are kept aside."""
    workspace = make_workspace(
        {
            "members.csv": MEMBERS,
            "identities.csv": "source,source_id,member_id\n"
            + "wx,W1,M1\npos,P1,M1\nwx,W2,M2\nwx,X,M1\npos,X,M2\nwx,M3,M1\n",
            "orders.csv": ORDERS_HEAD
            + "".join(
                f"O{i},{m},2024-02-01,{10**i},paid,\n" for i, m in enumerate(["M1", "W1", "P1", "W2", "X", "?", "M3"])
            ),
            "assignments.csv": "experiment_id,member_id,arm,assigned_at\n"
            + "E,W1,a,2024-01-05\nE,P1,b,2024-01-05\nE,W2,a,2024-01-05\n",
        }
    )
    report = check(workspace, now=NOW)
    assert reasons(workspace, "orders") == {
        "O4": ["ambiguous_identity:member_id"],
        "O5": ["reference_not_found:member_id"],
    }
    assert report.tables["orders"].mapped == 3
    assert report.tables["assignments"].reasons == {"duplicate_key": 2}, "one member in two arms"
    with Engine.open(workspace) as engine:
        spent = engine.query("SELECT member_id, sum(amount) AS s FROM orders GROUP BY 1 ORDER BY 1").to_pylist()
    assert spent == [
        {"member_id": "M1", "s": 111},
        {"member_id": "M2", "s": 1000},
        {"member_id": "M3", "s": 10**6},  # a member's own id is never mapped away
    ]


@pytest.mark.parametrize(
    ("column", "value", "good"),
    [
        ("starts_at", "2027-06-01", True),
        ("starts_at", "2099-01-01", False),
        ("ends_at", "2099-01-01", True),
        ("ends_at", "2999-12-31", False),
        ("known_at", "2023-01-01", True),
        ("known_at", "2099-01-01", False),
    ],
)
def test_what_may_lie_ahead(make_workspace: Make, column: str, value: str, good: bool) -> None:
    row = {"contract_id": "C", "member_id": "M1", "starts_at": "2024-02-01", "ends_at": "", "known_at": ""} | {
        column: value
    }
    files = {
        "members.csv": MEMBERS,
        "contracts.csv": ",".join(row) + "\n" + ",".join(row.values()) + "\nD,M1,2024-02-01,,\n",
    }
    assert check(make_workspace(files), now=NOW).passed is good


def test_a_probability_of_zero_is_impossible(make_workspace: Make) -> None:
    rows = "E,M1,a,0.5,2024-01-05\nE,M2,a,0,2024-01-05\nE,M3,a,1.5,2024-01-05\n"
    files = {"members.csv": MEMBERS, "assignments.csv": "experiment_id,member_id,arm,propensity,assigned_at\n" + rows}
    report = check(make_workspace(files), now=NOW)
    assert report.tables["assignments"].reasons == {"impossible_propensity": 1, "out_of_range": 1}


def test_everything_wrong_is_told_at_once(make_workspace: Make) -> None:
    workspace = make_workspace(
        {
            "orders.csv": "order_id,member,ordered_at,amount\nO1,M1,2024-02-01,1\n",
            "orders.parquet": pa.table({"order_id": ["O1"]}),
            "events.csv": "",
            "touches.parquet": b"PAR1 no",
            "contracts.csv": "contract_id,contract_id\n1,2\n",
            "balances.parquet": pa.table(
                {"member_id": ["M"], "account": ["points"], "at": [1700000000], "change": [1]}
            ),
            "attributes.csv": "member_id,name,observd_at\nM1,skin,2024-01-01\n",
            "identities.csv": "source,source_id,member_id\n,,\n",
            "order.csv": "a\n",
            "prices.xlsx": b"x",
        }
    )
    (workspace.data / "touches").mkdir()
    report = check(workspace, now=NOW)
    assert report.refused
    fatal = {(p.table, p.code) for p in report.problems if p.fatal}
    assert fatal == {
        ("members", "missing_table"),
        ("orders", "given_twice"),
        ("events", "unreadable"),
        ("touches", "no_files"),
        ("contracts", "unreadable"),
        ("balances", "wrong_type"),
        ("attributes", "missing_column"),
        ("identities", "no_good_rows"),
    }
    text = report.to_text()
    for part in (
        "orders.csv and orders.parquet",
        "0 bytes",
        "did you mean 'observed_at'",
        "did you mean 'orders'",
        "BIGINT",
    ):
        assert part in text
    assert "export its sheets" in text
    with pytest.raises(InputError, match="8 problem"):
        Engine.open(workspace)


def test_no_messages_name_a_member(make_workspace: Make) -> None:
    """A shifted row puts a member's id into another column: it is not shown as an example."""
    rows = "O1,M1,2024-02-01,M2,paid,\nO2,M1,2024-02-01,x,paid,\nO3,SECRET,2024-02-01,1,paid,\nM3,M3,M3,M3,M3,M3\n"
    report = check(make_workspace({"members.csv": MEMBERS, "orders.csv": ORDERS_HEAD + rows}), now=NOW)
    text = report.to_text()
    assert "'x'" in text
    for member in ("M1", "M2", "M3", "SECRET"):
        assert member not in text


def test_the_report_reads_back_and_shows_itself(make_workspace: Make) -> None:
    report = check(make_workspace({"members.csv": MEMBERS + "M4,x,\n"}), now=NOW)
    assert CheckReport.from_dict(report.to_dict()) == report
    assert report.to_pandas()["quarantined"].to_list() == [1]
    assert "| members |" in report.to_markdown()


def test_many_bad_rows_are_told_loudly(make_workspace: Make) -> None:
    good = "".join(f"N{i},2024-01-01,\n" for i in range(97))
    few = check(make_workspace({"members.csv": MEMBERS + good + "B,x,\n" * 1}), now=NOW)
    many = check(
        make_workspace({"members.csv": MEMBERS + good + "".join(f"B{i},x,\n" for i in range(9))}, name="m"), now=NOW
    )
    assert "many_quarantined" not in {p.code for p in few.problems}
    assert many.problems[0].code == "many_quarantined"
    assert not many.refused


def test_malformed_rows_keep_their_text_and_numbers(make_workspace: Make) -> None:
    rows = "M4,2024-01-01\nM5,2024-01-01,a,b\nM6,zzz,x\n"
    workspace = make_workspace({"members.csv": MEMBERS + rows})
    report = check(workspace, now=NOW)
    assert report.tables["members"].rows == 6
    found = {row["source_row"]: (row["reasons"], row["source_text"]) for row in quarantine(workspace, "members")}
    assert found == {
        4: (["malformed_row"], "M4,2024-01-01"),
        5: (["malformed_row"], "M5,2024-01-01,a,b"),
        6: (["bad_cell"], None),
    }


def test_a_lost_row_is_noticed(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: a clean copy with a row less."""
    write = Checker._write_clean

    def lossy(self: Checker, schema: Any, relation: str, bad: str, outcome: Any, clean: Path) -> None:
        write(self, schema, relation, bad, outcome, clean)
        pq.write_table(pq.read_table(clean).slice(1), clean)

    monkeypatch.setattr(Checker, "_write_clean", lossy)
    with pytest.raises(UpliftError, match=r"members: 3 rows went in, 2 \+ 0 came out"):
        check(make_workspace({"members.csv": MEMBERS}), now=NOW)


def test_the_record_is_used_until_something_changes(make_workspace: Make) -> None:
    workspace = make_workspace({"members.csv": MEMBERS})
    record = workspace.checked / "check.json"

    def opened() -> tuple[int, int]:
        with Engine.open(workspace) as engine:
            return record.stat().st_mtime_ns, engine.rows("members")

    first = opened()
    assert opened() == first, "nothing changed, nothing is checked"
    path = workspace.data / "members.csv"
    path.write_text(MEMBERS + "M4,2024-01-04,\n", encoding="utf-8")
    second = opened()
    assert second[0] != first[0]
    assert second[1] == 4
    os.utime(path, ns=(0, 0))  # as a copy that keeps times would
    assert opened()[0] != second[0]
    (workspace.data / "orders.csv").write_text(ORDERS_HEAD + "O1,M1,2024-02-01,1,paid,\n")
    third = opened()
    (workspace.root / "uplift.yaml").write_text("data: data/\ntimezone: America/New_York\n")
    moved = Workspace.open(workspace.root)
    with Engine.open(moved) as engine:
        assert record.stat().st_mtime_ns != third[0]
        assert engine.query("SELECT hour(ordered_at) AS h FROM orders")["h"].to_pylist() == [0]
    for copy in workspace.checked.glob("*.parquet"):
        copy.unlink()
    with Engine.open(moved) as engine:
        assert engine.rows("members") == 4, "clean copies that were lost are made again"


def test_a_refusal_is_looked_at_again(make_workspace: Make) -> None:
    """What was in the way may be gone without a file having changed, as another version of the program."""
    workspace = make_workspace({"members.csv": MEMBERS, "orders.csv": "order_id\nO1\n"})
    said = []
    for _ in range(2):
        with pytest.raises(ContractError) as refused:
            Engine.open(workspace)
        said.append(str(refused.value))
        record = workspace.checked / "check.json"
        record.write_text(record.read_text(encoding="utf-8").replace("required", "wanted"), encoding="utf-8")
    assert said[0] == said[1]
    assert "required" in said[0]


def test_old_copies_and_old_quarantine_go(make_workspace: Make) -> None:
    workspace = make_workspace(
        {"members.csv": MEMBERS, "orders.csv": ORDERS_HEAD + "O1,M1,x,1,paid,\nO2,M1,2024-02-01,1,paid,\n"}
    )
    check(workspace, now=NOW)
    assert quarantine(workspace, "orders")
    for number in range(4):
        (workspace.data / "members.csv").write_text(MEMBERS + f"N{number},2024-01-01,\n", encoding="utf-8")
        check(workspace, now=NOW)
    assert len(list(workspace.checked.glob("members-*.parquet"))) == 2, "this check's and the one before it"
    (workspace.data / "orders.csv").unlink()
    check(workspace, now=NOW)
    assert not (workspace.quarantine / "orders.parquet").exists()


def test_what_was_the_future_is_looked_at_again(make_workspace: Make) -> None:
    workspace = make_workspace({"members.csv": MEMBERS + "M4,2025-06-01,\n"})
    early = datetime(2025, 5, 1, tzinfo=UTC)
    assert check(workspace, now=early).tables["members"].reasons == {"time_in_future": 1}
    assert datetime.now(UTC) - early > timedelta(days=40)
    with Engine.open(workspace) as engine:
        assert engine.rows("members") == 4


def test_concurrent_runs_agree(make_workspace: Make) -> None:
    workspace = make_workspace({"members.csv": MEMBERS + "".join(f"N{i},2024-01-01,\n" for i in range(2000))})
    code = "import sys; from uplift.data import Engine; print(Engine.open(sys.argv[1], threads=1).rows('members'))"
    command = [sys.executable, "-W", "error", "-c", code, str(workspace.root)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [child.communicate(timeout=60)[0].strip() for child in children] == ["2003"] * 2
    assert [child.returncode for child in children] == [0] * 2
    assert not [path for path in workspace.checked.iterdir() if path.name.endswith(".tmp")]


def test_a_file_that_changes_while_it_is_read(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace({"members.csv": MEMBERS})
    part = Checker._part

    def slow(self: Checker, *args: Any) -> None:
        part(self, *args)
        time.sleep(0.01)
        (workspace.data / "members.csv").write_text(MEMBERS, encoding="utf-8")

    monkeypatch.setattr(Checker, "_part", slow)
    with pytest.raises(InputError, match="changed while"):
        check(workspace, now=NOW)
    assert not (workspace.checked / "check.json").exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("nowhere/", "no such folder"),
        ("postgresql://host/db", "only folders"),
        ("uplift.yaml", "not a DuckDB database"),
    ],
)
def test_data_that_is_not_there(tmp_path: Path, data: str, said: str) -> None:
    (tmp_path / "uplift.yaml").write_text(f"data: {data}\n")
    with pytest.raises(InputError, match=said):
        check(Workspace.open(tmp_path))


def test_data_outside_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "ws").mkdir()
    (tmp_path / "shared" / "members.csv").write_text(MEMBERS, encoding="utf-8")
    (tmp_path / "ws" / "uplift.yaml").write_text("data: ../shared\n")
    with Engine.open(tmp_path / "ws") as engine:
        assert engine.rows("members") == 3
    assert str(tmp_path) not in (tmp_path / "ws" / ".uplift" / "checked" / "check.json").read_text()


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_a_damaged_file_is_refused(make_workspace: Make, compression: str) -> None:
    """Bytes are overwritten in the middle of the pages, the footer stays whole."""
    table = pa.table({"member_id": [f"M{i * 7919}" for i in range(5000)], "registered_at": ["2024-01-01"] * 5000})
    workspace = make_workspace({"members.parquet": b""})
    path = workspace.data / "members.parquet"
    pq.write_table(table, path, compression=compression, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[200:6000] = bytes([0xFF]) * 5800
    path.write_bytes(bytes(data))
    report = check(workspace, now=NOW)
    assert [(p.code, p.fatal) for p in report.problems] == [("unreadable", True)]
    assert "M7919" not in report.to_text()


def test_a_file_without_a_header_shows_no_members(make_workspace: Make) -> None:
    report = check(make_workspace({"members.csv": "M1,2024-01-01,x\nM2,2024-01-01,y\n"}), now=NOW)
    assert [p.code for p in report.problems] == ["no_header"]
    assert "M1" not in report.to_text()


def test_a_table_refused_for_its_columns_leaves_no_old_quarantine(make_workspace: Make) -> None:
    workspace = make_workspace({"members.csv": MEMBERS + "M4,x,\n"})
    check(workspace, now=NOW)
    assert quarantine(workspace, "members")
    (workspace.data / "members.csv").write_text("member_id\nM1\n")
    assert check(workspace, now=NOW).refused
    assert not quarantine(workspace, "members")


def test_one_refused_table_does_not_make_orphans_of_all_others(make_workspace: Make) -> None:
    files = {"members.csv": "member_id,registered_at\nM1,x\n", "orders.csv": ORDERS_HEAD + "O1,M1,2024-02-01,1,paid,\n"}
    report = check(make_workspace(files), now=NOW)
    assert [p.table for p in report.problems if p.fatal] == ["members"]
    assert "reference_not_checked" in {p.code for p in report.problems if p.table == "orders"}
