"""The commands features, segments, audience and packs: what they write, print and refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from uplift.cli import main

START = datetime(2025, 1, 1, tzinfo=UTC)
MEMBERS = 120


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small chain with a pack and saved audiences."""
    root = tmp_path_factory.mktemp("chain")
    (root / "data").mkdir()
    rng = np.random.default_rng(4)
    ids = [f"m{i:03}" for i in range(MEMBERS)]
    pd.DataFrame(
        {"member_id": ids, "registered_at": [START - timedelta(days=int(rng.integers(0, 300))) for _ in ids]}
    ).to_csv(root / "data" / "members.csv", index=False)
    n = 900
    pd.DataFrame(
        {
            "order_id": [f"o{i}" for i in range(n)],
            "member_id": rng.choice(ids[: MEMBERS // 2], n),
            "ordered_at": [START + timedelta(hours=float(rng.random() * 160 * 24)) for _ in range(n)],
            "amount": rng.integers(500, 30_000, n),
        }
    ).to_csv(root / "data" / "orders.csv", index=False)
    (root / "uplift.yaml").write_text("data: data/\npack: grocery\nlanguage: en\n", encoding="utf-8")
    (root / "audiences.yaml").write_text("buyers: orders_total >= 1\n", encoding="utf-8")
    return root


def run(workspace: Path | None, *arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(main, [*(["-C", str(workspace)] if workspace else []), *arguments])
    assert "Traceback" not in found.output
    return found.exit_code, found.stdout, found.stderr


def as_json(workspace: Path | None, *arguments: str) -> dict[str, Any]:
    status, out, error = run(workspace, "--json", *arguments)
    assert status == 0, error
    return json.loads(out)


def test_features_are_written(workspace: Path) -> None:
    done = as_json(workspace, "features", "--as-of", "2025-06-01")
    table = pq.read_table(workspace / "features" / "as_of=2025-06-01.parquet")
    assert (done["members"], done["features"]) == (table.num_rows, table.num_columns - 2)
    assert table.num_rows == MEMBERS
    status, out, _ = run(
        workspace, "features", "--as-of", "2025-06-01T08:00", "--feature", "orders_total", "--feature", "city"
    )
    assert status == 0
    assert "as_of=2025-06-01T080000.parquet" in out
    small = pq.read_table(workspace / "features" / "as_of=2025-06-01T080000.parquet")
    assert small.column_names == ["member_id", "as_of", "orders_total", "city"]


def test_segments_are_written_and_printed(workspace: Path) -> None:
    done = as_json(workspace, "segments", "--as-of", "2025-06-01")
    table = pq.read_table(workspace / "segments" / "as_of=2025-06-01.parquet").to_pandas()
    assert len(table) == done["members"] == MEMBERS
    counts = table["segment"].value_counts()
    for row in done["segments"]:
        assert row["members"] in (None, counts.get(row["segment"], 0))
    assert any(column.startswith("tag_") for column in table.columns)
    assert table["rfm_group"].notna().sum() == (table["segment"] != "never_bought").sum()
    assert done["rfm"]["edges"]["recency"] == sorted(done["rfm"]["edges"]["recency"])
    status, out, _ = run(workspace, "segments", "--as-of", "2025-06-01")
    assert status == 0
    for part in ("沉睡", "Dormant", "重要价值客户", "2025-05-01 → 2025-06-01", "周末到店"):
        assert part in out


def test_without_a_date_it_is_the_day_after_the_latest_event(workspace: Path, tmp_path: Path) -> None:
    orders = pd.read_csv(workspace / "data" / "orders.csv")
    last = pd.to_datetime(orders["ordered_at"], utc=True).max().tz_convert("Asia/Shanghai")
    label = str((last + timedelta(days=1)).date())
    for command in ("features", "segments"):
        out = str(tmp_path / f"{command}.parquet")
        assert as_json(workspace, command, "--out", out) == as_json(workspace, command, "--as-of", label, "--out", out)
    assert label in run(workspace, "segments")[1]
    (tmp_path / "data").mkdir()
    (tmp_path / "uplift.yaml").write_text("data: data/\n")
    pd.DataFrame({"member_id": ["m"], "registered_at": [START]}).to_csv(tmp_path / "data" / "members.csv", index=False)
    for command in ("features", "segments"):
        status, _, error = run(tmp_path, command)
        assert (status, "say --as-of DATE" in error) == (2, True)


def test_no_small_count_is_printed(workspace: Path) -> None:
    _, out, _ = run(workspace, "segments", "--as-of", "2025-06-01")
    tables = out.split("RFM, edges")[0] + out.split("spend share")[1]
    numbers = [cell for line in tables.splitlines() for cell in line.split() if cell.isdigit()]
    assert numbers
    assert all(number == "0" or int(number) >= 11 for number in numbers)
    text = json.dumps(as_json(workspace, "segments", "--as-of", "2025-06-01"))
    assert all(f'"members": {n},' not in text for n in range(1, 11))


def test_an_audience_is_previewed_and_its_ids_go_to_a_file(workspace: Path, tmp_path: Path) -> None:
    done = as_json(
        workspace, "audience", "orders_total >= 1", "--as-of", "2025-06-01", "--out", str(tmp_path / "a.csv")
    )
    ids = pd.read_csv(tmp_path / "a.csv")["member_id"]
    assert done["size"] == len(ids) == MEMBERS // 2
    assert done["share"] == 0.5
    assert as_json(workspace, "audience", "buyers", "--as-of", "2025-06-01")["size"] == done["size"]
    status, out, _ = run(workspace, "audience", "buyers")
    assert status == 0
    assert "60 (50.0%) of 120 members as of 2025-06-1" in out
    assert "m0" not in out, "ids are never printed"


def test_a_small_audience_is_not_counted_aloud(workspace: Path) -> None:
    done = as_json(workspace, "audience", "spend_total > 3500", "--as-of", "2025-06-01")
    everyone_else = as_json(workspace, "audience", "NOT spend_total > 3500", "--as-of", "2025-06-01")
    assert (done["size"], done["share"]) == (None, None)
    assert (everyone_else["size"], everyone_else["share"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("features", "--as-of", "soon"), "not a date"),
        (("features", "--as-of", "2020-01-01"), "no member is registered"),
        (("features", "--as-of", "2099-01-01"), "look gone"),
        (("features", "--as-of", "2025-06-01", "--feature", "ordrs_total"), "did you mean 'orders_total'"),
        (("features", "--as-of", "2025-06-01", "--out", "x.csv"), "Parquet"),
        (("segments", "--as-of", "2300-01-01"), "1970 to 2200"),
        (("segments", "--as-of", "2025-06-01", "--since", "2025-06-01"), "earlier time"),
        (("audience", "orders_total >"), "not a SQL expression"),
        (("audience", "read_csv('/etc/passwd') IS NULL"), "not allowed"),
        (("audience", "orders_total >= 1", "--out", "ids.xlsx"), ".parquet or .csv"),
        (("packs", "show", "grocry"), "did you mean 'grocery'"),
    ],
)
def test_wrong_input_is_a_message_and_status_2(workspace: Path, arguments: tuple[str, ...], part: str) -> None:
    status, _, error = run(workspace, *arguments)
    assert status == 2
    assert part in error


def test_packs_are_listed_shown_and_checked(tmp_path: Path) -> None:
    assert len(as_json(None, "packs", "list")["packs"]) == 10
    assert as_json(None, "packs", "show", "pets")["name"] == "pets"
    assert run(None, "packs", "show", "pets")[1].startswith("name: pets")
    assert as_json(None, "packs", "check", "pets") == {"name": "pets", "problems": []}
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\ntags:\n  - {key: x, rule: nope > 1}\n", encoding="utf-8")
    status, _, error = run(None, "packs", "check", str(bad))
    assert status == 2
    for part in ("title_zh", "offers", "unknown column 'nope'"):
        assert part in error
