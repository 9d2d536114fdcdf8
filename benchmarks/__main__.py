"""Run every benchmark and print the table."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import bench_allocation, bench_features, bench_metrics

OUT = Path(__file__).parent / "out"


def main() -> None:
    """Print and keep the table of ratios."""
    wanted = set(sys.argv[1:])
    lines = ["| what | ours | floor | ratio | floor is |", "|---|---|---|---|---|"]
    for module in (bench_allocation, bench_features, bench_metrics):
        name = module.__name__.rpartition("bench_")[2]
        if wanted and name not in wanted:
            continue
        lines += [ratio.row() for ratio in module.run()]
    table = "\n".join(lines)
    print(table)
    OUT.mkdir(exist_ok=True)
    (OUT / "ratios.md").write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
