"""Bad tables at the prompt: a message, the exit status, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from uplift.cli import main

MEMBERS = "member_id,registered_at,city\nM1,2024-01-01,北京\nM2,2024-01-02,上海\nM3,2024-01-03,广州\n"
HEAD = "order_id,member_id,ordered_at,amount\n"
ORDERS = HEAD + "O1,M1,2024-02-01 10:00:00,1000\nO2,M2,2024-02-02 11:00:00,2500\n"


def run(folder: Path, files: dict[str, bytes | str], *options: str) -> Result:
    (folder / "data").mkdir()
    (folder / "uplift.yaml").write_text("data: data/\n")
    for name, content in files.items():
        (folder / "data" / name).write_bytes(content.encode() if isinstance(content, str) else content)
    result = CliRunner().invoke(main, ["-C", str(folder), *options, "check"])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def test_all_is_well(tmp_path: Path) -> None:
    result = run(tmp_path, {"members.csv": MEMBERS, "orders.csv": ORDERS})
    assert result.exit_code == 0
    assert "Every row keeps the contract" in result.output


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"members.csv": b""}, "members.csv is empty (0 bytes)"),
        ({"members.csv": MEMBERS, "orders.parquet": b""}, "orders.parquet is empty (0 bytes)"),
        ({"members.csv": MEMBERS, "orders.parquet": b"PAR1 broken PAR1"}, "orders.parquet cannot be read"),
        ({"members.csv": MEMBERS, "orders.csv": ORDERS.replace("amount", "amuont")}, "did you mean 'amount'?"),
        (
            {"members.csv": MEMBERS, "orders.csv": ORDERS.replace("member_id", "x")},
            "orders.member_id: this column is req",
        ),
        ({"members.csv": MEMBERS, "orders.csv": HEAD + "O1,M1,2024-02-01,abc\n"}, "every row breaks the contract"),
        ({"members.csv": "member_id,registered_at\n"}, "the table has a header but no rows"),
        ({"orders.csv": ORDERS}, "members: this table is required"),
        ({"members.csv": b"a,b\n\xff\xff\n"}, "neither UTF-8 nor GB18030"),
        ({}, "members: this table is required"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, files: dict[str, bytes | str], said: str) -> None:
    result = run(tmp_path, files)
    assert result.exit_code == 2
    assert said in result.output
    assert "Refused" in result.output


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("O3,M1,2024-02-03,12.5", "orders.amount: expected a whole number of cents, digits only (1 rows), e.g. '12.5'"),
        ("O3,M1,2024-02-03,abc", "e.g. 'abc'"),
        ("O1,M1,2024-02-01,7", "rows with the same key (order_id) say different things"),
        ("O1,M1,2024-02-01 10:00:00,1000", "the same row is given again"),
        ("O3,M1,2099-01-01,7", "orders.ordered_at: the time is in the future (1 rows), e.g. '2099-01-01'"),
        ("O3,M9,2024-02-01,7", "not found among the good rows of members"),
        ("O3,M1,2024-02-01", "the cells do not fit the header"),
    ],
)
def test_bad_rows_are_kept_aside(tmp_path: Path, row: str, said: str) -> None:
    result = run(tmp_path, {"members.csv": MEMBERS, "orders.csv": ORDERS + row + "\n"})
    assert result.exit_code == 2
    assert said in result.output
    assert "quarantine/" in result.output
    assert (tmp_path / "quarantine" / "orders.parquet").exists()


def test_json_for_machines(tmp_path: Path) -> None:
    result = run(tmp_path, {"members.csv": MEMBERS, "orders.csv": ORDERS + "O3,M9,x,1.5\n"}, "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["quarantined"] == 1
    assert found["tables"]["orders"]["reasons"] == {"bad_cell": 1, "reference_not_found": 1}
    assert {p["code"] for p in found["problems"] if p["count"]} >= {"bad_cell", "reference_not_found"}


def test_no_workspace_and_no_data(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", "-C", str(tmp_path)])
    assert result.exit_code == 2
    assert "not a workspace" in result.output
    (tmp_path / "uplift.yaml").write_text("data: nowhere/\n")
    result = CliRunner().invoke(main, ["check", "-C", str(tmp_path)])
    assert result.exit_code == 2
    assert "no such folder" in result.output
    assert "Traceback" not in result.output
