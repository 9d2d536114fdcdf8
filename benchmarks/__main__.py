"""``python -m benchmarks [allocation experiments features metrics]``, ``… quality`` and ``… speed``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

OUT = Path(__file__).parent / "out"
LIGHT = ("allocation", "experiments", "features", "metrics")
HEAVY = ("quality", "speed")


def light(wanted: list[str]) -> None:
    """Print and keep the table of ratios."""
    unknown = sorted(set(wanted) - set(LIGHT))
    if unknown:
        raise SystemExit(f"no benchmark named {', '.join(unknown)}: choose from {', '.join(LIGHT + HEAVY)}")
    lines = ["| what | ours | floor | ratio | floor is |", "|---|---|---|---|---|"]
    for name in LIGHT:
        if not wanted or name in wanted:
            lines += [ratio.row() for ratio in import_module(f"benchmarks.bench_{name}").run()]
    table = "\n".join(lines)
    print(table)
    OUT.mkdir(exist_ok=True)
    (OUT / "ratios.md").write_text(table + "\n", encoding="utf-8")


def main() -> None:
    """The light ones together, or one of the others with its own options."""
    given = sys.argv[1:]
    if given and given[0] in HEAVY:
        import_module(f"benchmarks.{given[0]}").main(given[1:])
    else:
        light(given)


if __name__ == "__main__":
    main()
