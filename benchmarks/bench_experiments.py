"""An experiment of many members in one pass of the engine, against the same sums written by hand for DuckDB.

``python -m benchmarks experiments`` takes 2 million rows; ``python -m benchmarks.bench_experiments 100000000`` any
number. Rows are made part by part in a temporary folder, which is deleted at the end. Time and peak memory are those of
a process of its own; on a machine with other work the ratio of processor time says more than that of the clock.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._measure import Ratio

ROWS = 2_000_000
PART = 1_000_000
BYTES_A_ROW = 40
RATES, CENTS, AMOUNTS = ([f"{kind}{j}" for j in range(n)] for kind, n in (("rate", 10), ("cents", 5), ("amount", 5)))
SEGMENTS = [f"segment{j}" for j in range(10)]

OURS = """
import json, resource, sys, time
from uplift.experiments import analyze_table
folder, metrics, segments = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
start = time.perf_counter()
result = analyze_table(folder, arm="arm", control="control", metrics=metrics, segments=segments,
                       weights={"control": 1 / 3, "gift": 1 / 3, "voucher": 1 / 3}, memory_limit="3GB")
taken = time.perf_counter() - start
print(json.dumps({"seconds": taken, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  "raw": [e.raw for e in result.effects if e.segment is None and e.arm == "gift"],
                  "se": [e.se for e in result.effects if e.segment is None and e.arm == "gift"],
                  "cells": len(result.effects), "cpu": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before}))
"""

FLOOR = """
import duckdb, json, resource, sys, time
folder, sql = sys.argv[1], sys.argv[2]
start = time.perf_counter()
connection = duckdb.connect(config={"memory_limit": "3GB"})
connection.execute("SET enable_progress_bar = false")
connection.execute("SET preserve_insertion_order = false")
rows = connection.execute(sql.replace("$source", "read_parquet('" + folder + "/*.parquet')")).fetchall()
taken = time.perf_counter() - start
print(json.dumps({"seconds": taken, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  "cpu": sum(resource.getrusage(resource.RUSAGE_SELF)[:2])}))
"""


def by_hand() -> str:
    """The same sums as a person would write them: rows, sums, squares, buyers, by arm and by every segment column."""
    sums = [f"sum({name})" for name in RATES]
    sums += [f"sum({c}), sum({c} * {c}), count(*) FILTER (WHERE {c} <> 0)" for c in (*CENTS, *AMOUNTS)]
    sets = ", ".join(["(arm)", *(f"(arm, {name})" for name in SEGMENTS)])
    keys = ", ".join(SEGMENTS)
    head = ", ".join([f"grouping({keys})", "arm", keys, "count(*)", *sums])
    return f"SELECT {head} FROM $source GROUP BY GROUPING SETS ({sets})"


def write(folder: Path, rows: int, seed: int = 0) -> None:
    """Simulated members in Parquet parts."""
    rng = np.random.default_rng(seed)
    for part in range(-(-rows // PART)):
        n = min(PART, rows - part * PART)
        columns = {"arm": _words(rng, n, ["control", "gift", "voucher"])}
        columns |= {name: _words(rng, n, [f"v{i}" for i in range(2 + j % 5)]) for j, name in enumerate(SEGMENTS)}
        ready = rng.random(n, dtype=np.float32)
        for j, name in enumerate(RATES):
            chance = 0.5 * ready + 0.5 * rng.random(n, dtype=np.float32)
            columns[name] = pa.array((chance < 0.1 + 0.03 * j).astype(np.int8))
        for name in CENTS:
            columns[name] = pa.array(
                (rng.standard_exponential(n, dtype=np.float32) * 3000 * (ready < 0.3)).astype(np.int64)
            )
        for name in AMOUNTS:
            columns[name] = pa.array(rng.standard_exponential(n) * 20 * (ready < 0.4))
        pq.write_table(pa.table(columns), folder / f"part-{part:05d}.parquet", compression="zstd")


def _words(rng: np.random.Generator, n: int, words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, len(words), n, dtype=np.int8)), pa.array(words))


def measure(rows: int, repeats: int = 3) -> tuple[Ratio, dict[str, float]]:
    """Both in turn, each in a process of its own, and our peak memory in MB."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < 3 * rows * BYTES_A_ROW:
        raise SystemExit(f"{rows:,} rows want about {rows * BYTES_A_ROW / 1e9:.0f} GB, {free / 1e9:.0f} GB are free")
    with tempfile.TemporaryDirectory(prefix="uplift-bench-") as folder:
        write(Path(folder), rows)
        metrics = json.dumps([*RATES, *CENTS, *AMOUNTS])
        for part in sorted(Path(folder).iterdir()):  # whoever comes first would otherwise wait for the disk
            part.read_bytes()
        ours, floor = [], []
        for _ in range(repeats):
            ours.append(_child(OURS, folder, metrics, json.dumps(SEGMENTS)))
            floor.append(_child(FLOOR, folder, by_hand()))
    seconds = [statistics.median(run["seconds"] for run in runs) for runs in (ours, floor)]
    peak = max(run["peak"] for run in ours)
    work = statistics.median(run["cpu"] for run in ours) / statistics.median(run["cpu"] for run in floor)
    note = f"DuckDB by hand; {rows:,} rows, 20 metrics, 10 segment columns; processor time {work:.2f}, "
    note += f"ours peaks at {peak / 1024:.2f} GB"
    return Ratio("experiment in one pass", seconds[0], seconds[1], note), {"peak_mb": peak, "cells": ours[0]["cells"]}


def _child(code: str, *arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def run() -> list[Ratio]:
    """At most 1.5 × the sums by hand, and under 4 GB."""
    ratio, more = measure(ROWS)
    if more["peak_mb"] > 4096:
        raise SystemExit(f"one pass took {more['peak_mb'] / 1024:.1f} GB, more than 4")
    return [ratio]


if __name__ == "__main__":
    asked = int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else ROWS
    print(measure(asked, repeats=1 if asked > 20_000_000 else 3)[0].row())
