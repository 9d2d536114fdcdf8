"""Writers: whole or not at all, spreadsheet-safe, digests that tell."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uplift.data import (
    RunWriter,
    atomic_file,
    file_digest,
    read_manifest,
    read_pointer,
    write_csv_atomic,
    write_json_atomic,
    write_parquet_atomic,
    write_pointer,
    write_run,
    write_text_atomic,
)
from uplift.errors import InputError

SCHEMA = pa.schema([("member_id", pa.string()), ("value", pa.float64())])


def batch(start: int, stop: int) -> pa.RecordBatch:
    numbers = range(start, stop)
    return pa.record_batch([[f"M{i}" for i in numbers], [float(i) for i in numbers]], schema=SCHEMA)


def test_text_replaces_the_whole_file_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text_atomic(path, "first\n")
    write_text_atomic(path, "二\n")
    assert path.read_text(encoding="utf-8") == "二\n"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_file(path) as handle:
            handle.write(b"half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_json_takes_numpy_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json_atomic(path, {"n": np.int64(3), "x": np.float64(0.5), "at": pd.Timestamp("2024-01-01", tz="UTC")})
    assert json.loads(path.read_text()) == {"n": 3, "x": 0.5, "at": "2024-01-01T00:00:00+00:00"}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_atomic(path, {"x": float("nan")})
    assert json.loads(path.read_text())["n"] == 3


@pytest.mark.parametrize("form", ["table", "frame", "batches", "reader"])
def test_parquet_from_every_form(tmp_path: Path, form: str) -> None:
    table = pa.Table.from_batches([batch(0, 5), batch(5, 12)])
    data = {
        "table": table,
        "frame": table.to_pandas(),
        "batches": iter(table.to_batches()),
        "reader": table.to_reader(),
    }[form]
    assert write_parquet_atomic(tmp_path / "t.parquet", data) == 12
    assert pq.read_table(tmp_path / "t.parquet").to_pydict() == table.to_pydict()


def test_parquet_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    assert write_parquet_atomic(tmp_path / "t.parquet", iter(()), SCHEMA) == 0
    assert pq.read_schema(tmp_path / "t.parquet").names == ["member_id", "value"]


def test_csv_cells_cannot_become_formulas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"=name": ["=1+1", "+86", "-x", "@cmd", "\tx", "\rx", "plain", None], "n": [-1.5] * 8})
    write_csv_atomic(tmp_path / "t.csv", frame)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["'=name", "n"]
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'+86", "'-x", "'@cmd", "'\tx", "'\rx", "plain", ""]
    assert {row[1] for row in rows[1:]} == {"-1.5"}, "numbers stay numbers"


def test_csv_for_spreadsheets_has_a_byte_order_mark(tmp_path: Path) -> None:
    write_csv_atomic(tmp_path / "t.csv", pd.DataFrame({"城市": ["北京"]}), encoding="utf-8-sig")
    assert (tmp_path / "t.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_digest_is_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(data)
    assert file_digest(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_a_run_is_parts_then_manifest_then_pointer(tmp_path: Path) -> None:
    seen: list[int] = []

    def batches() -> object:
        for start in range(0, 1000, 130):
            seen.append(start)
            yield batch(start, min(start + 130, 1000))

    folder = tmp_path / "run=A"
    manifest = write_run(
        folder, batches(), SCHEMA, lambda: {"batches": len(seen)}, rows_per_part=300, pointer=tmp_path / "CURRENT"
    )
    assert manifest["rows"] == 1000
    assert [part["rows"] for part in manifest["parts"]] == [300, 300, 300, 100]
    assert manifest["batches"] == 8, "a manifest given as a function is made after the last batch"
    assert pa.concat_tables(pq.read_table(p) for p in sorted(folder.glob("part-*")))["value"].to_pylist() == [
        float(i) for i in range(1000)
    ]
    assert read_manifest(folder, verify=True) == manifest
    assert read_pointer(tmp_path / "CURRENT") == "run=A"


def test_a_run_without_rows_has_one_empty_part(tmp_path: Path) -> None:
    manifest = write_run(tmp_path / "run=A", [], SCHEMA, {})
    assert (manifest["rows"], len(manifest["parts"])) == (0, 1)


def test_a_finished_run_is_not_written_over(tmp_path: Path) -> None:
    write_run(tmp_path / "run=A", [batch(0, 3)], SCHEMA, {})
    with pytest.raises(InputError, match="finished run"):
        RunWriter(tmp_path / "run=A", SCHEMA)


def test_an_unfinished_run_is_nobodys_and_starts_over(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run=A", SCHEMA, rows_per_part=2)
    writer.write(batch(0, 7))
    with pytest.raises(InputError, match="no finished run"):
        read_manifest(tmp_path / "run=A")
    manifest = write_run(tmp_path / "run=A", [batch(0, 2)], SCHEMA, {}, rows_per_part=2)
    assert len(manifest["parts"]) == len(list((tmp_path / "run=A").glob("part-*.parquet"))) == 1


@pytest.mark.parametrize("damage", ["absent", "changed"])
def test_a_damaged_part_is_told(tmp_path: Path, damage: str) -> None:
    write_run(tmp_path / "r", [batch(0, 9)], SCHEMA, {})
    part = tmp_path / "r" / "part-00000.parquet"
    if damage == "absent":
        part.unlink()
    else:
        data = bytearray(part.read_bytes())
        data[50] ^= 1
        part.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"part-00000\.parquet"):
        read_manifest(tmp_path / "r", verify=True)


def test_no_pointer_yet(tmp_path: Path) -> None:
    assert read_pointer(tmp_path / "CURRENT") is None
    write_pointer(tmp_path / "CURRENT", "run=B")
    assert read_pointer(tmp_path / "CURRENT") == "run=B"


KILLED = """
import sys, itertools
from pathlib import Path
import pyarrow as pa
from uplift.data import write_run, write_text_atomic
root = Path(sys.argv[1])
schema = pa.schema([("value", pa.int64())])
sys.stdout.write("ready\\n"); sys.stdout.flush()
for i in itertools.count():
    write_text_atomic(root / "text", f"{i} " * 20_000)
    batches = (pa.record_batch([[i] * 1000], schema=schema) for _ in range(8))
    write_run(root / f"run={i}", batches, schema, {}, rows_per_part=1000, pointer=root / "CURRENT")
"""


def test_kill_9_never_leaves_a_half(tmp_path: Path) -> None:
    """Whatever the moment, files are whole, and the pointer names a run that is finished and intact."""
    moments = np.random.default_rng(7).uniform(0.02, 0.25, 3)
    unfinished = 0
    for number, moment in enumerate(moments):
        root = tmp_path / str(number)
        root.mkdir()
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(moment)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if (root / "text").exists():
            words = (root / "text").read_text().split()
            assert len(words) == 20_000
            assert len(set(words)) == 1
        current = read_pointer(root / "CURRENT")
        for folder in root.glob("run=*"):
            if not (folder / "manifest.json").exists():
                unfinished += 1
                assert folder.name != current
                continue
            assert read_manifest(folder, verify=True)["rows"] == 8000
        if current is not None:
            assert read_manifest(root / current, verify=True)["rows"] == 8000
    assert unfinished <= len(moments), "only the run that was being written may be unfinished"
