"""Seconds and memory of uplift learners as ratios with targets: ``python -m benchmarks speed``.

Every measurement is a fresh process; ours, the bare fits and the peers take turns, and the best of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import _publish, bench_metrics
from benchmarks._jobs import ROOT
from benchmarks._process import MIB, Measured
from benchmarks.quality import PEERS_PYTHON
from uplift.data.simulator.worlds import make_world

NAMES = ("S", "T", "X", "R", "DR")
FEATURES, ARMS = 20, ("a", "b")
FEW = 250_000
"""Rows from which a T-learner needs all that is compiled once for an installation: about 70 MiB, and some seconds."""
Key = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """One ratio and its target; a target of None is for information."""

    what: str
    ours: str
    other: str
    ratio: float
    target: float | None = None
    at_most: bool = True
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the ratio is on the right side of its target."""
        if self.target is None:
            return True
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def line(self) -> str:
        """A row of the table."""
        limit = "" if self.target is None else f"{'≤' if self.at_most else '≥'} {self.target:g}"
        word = "" if self.target is None else "pass" if self.passed else "MISS"
        return f"| {self.what} | {self.ours} | {self.other} | {self.ratio:.2f} | {limit} | {word} | {self.note} |"


def write_data(folder: Path, n: int) -> None:
    """Rows, outcomes, arms and true effects as arrays."""
    world = make_world(n, n_features=FEATURES, arms=ARMS, effect="linear", outcome="continuous", random_state=0)
    arm = np.array([("control", *ARMS).index(given) for given in world.treatment], dtype=np.int64)
    arrays = {"X": world.X.to_numpy(dtype=np.float64), "y": world.y, "arm": arm, "effects": world.effects}
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(values))


def command(key: Key) -> list[str]:
    """The process that measures one thing."""
    what, name = key
    if what in ("causalml", "econml"):
        return [str(ROOT / PEERS_PYTHON), "-W", "ignore", "-m", "benchmarks.peers.speed", what, name]
    return [sys.executable, "-W", "ignore", "-m", "benchmarks._speed_ours", what, name]


def run(key: Key, folder: Path, threads: int) -> Measured | str:
    """One measurement, or why there is none."""
    fixed = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [*command(key), str(folder), str(threads)],
        cwd=ROOT,
        env={**os.environ, **fixed},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1][:200]
    return Measured(**json.loads(done.stdout.strip().splitlines()[-1]))


def best(kept: dict[Key, Measured], key: Key, new: Measured) -> Measured:
    """The shorter times of two rounds; memory is the larger one."""
    old = kept.get(key)
    if old is None:
        return new
    return Measured(
        min(old.fit, new.fit), min(old.predict, new.predict), new.rmse, max(old.growth, new.growth), new.fits
    )


def plan(only: Sequence[str]) -> list[Key]:
    """What is measured in a round, those that are compared with each other side by side."""
    keys: list[Key] = []
    for name in NAMES:
        keys += [("one", name), ("bare", name), ("causalml", name)]
    keys += [("together", "all"), ("econml", "DR")]
    return [key for key in keys if not only or any(word in " ".join(key) for word in only)]


def measure_all(n: int, threads: int, rounds: int, only: Sequence[str]) -> tuple[dict[Key, Measured], dict[Key, str]]:
    """All measurements; EconML's once."""
    kept: dict[Key, Measured] = {}
    failed: dict[Key, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, n)
        few = folder / "few"
        few.mkdir()
        write_data(few, min(n, FEW))
        run(("one", "T"), few, threads)  # compiled before anything counts
        for number in range(rounds):
            for key in plan(only):
                if number and key[0] == "econml":
                    continue
                found = run(key, folder, threads)
                if isinstance(found, str):
                    failed[key] = found
                    print(f"· {key}: failed: {found}", file=sys.stderr)
                    continue
                kept[key] = best(kept, key, found)
                print(f"· {' '.join(key)}: fit {found.fit:.1f} s, predict {found.predict:.1f} s", file=sys.stderr)
    return kept, failed


def rows_of(kept: dict[Key, Measured], n: int) -> list[Row]:
    """Every ratio that the measurements allow."""
    matrix = n * FEATURES * 8
    have = [name for name in NAMES if ("one", name) in kept]
    rows = []
    for name in have:
        mine, floor = kept["one", name], kept.get(("bare", name))
        if floor is not None:
            note = f"the {floor.fits} LightGBM fits it needs"
            rows.append(_fit(f"{name}, fit, against bare LightGBM", mine, floor, 1.3, note))
    both, alone = kept.get(("together", "all")), kept.get(("one", "DR"))
    if both is not None and alone is not None:
        rows.append(_fit("S, T, X, R, DR together, against DR alone", both, alone, 2.5, "fit"))
    for name in have:
        peer = kept.get(("causalml", name))
        if peer is not None:
            rows += _against(name, kept["one", name], peer)
    peers = [kept[key] for key in (("causalml", name) for name in NAMES) if key in kept]
    if both is not None and len(peers) == len(NAMES):
        total = Measured(sum(p.fit for p in peers), sum(p.predict for p in peers))
        rows += _against("all five", both, total)
    for name in have:
        grown = kept["one", name].growth
        rows.append(
            Row(f"{name}, peak memory of fit", f"{grown / MIB:.0f} MiB", f"{matrix / MIB:.0f} MiB", grown / matrix, 3.0,
                note="features in float64; data included")
        )  # fmt: skip
    econml = kept.get(("econml", "DR"))
    if econml is not None and alone is not None:
        rows.append(_times("DR, fit and predict, EconML over ours", alone, econml, None, _errors(alone, econml)))
    return rows


def _fit(what: str, mine: Measured, floor: Measured, target: float, note: str) -> Row:
    return Row(what, f"{mine.fit:.2f} s", f"{floor.fit:.2f} s", mine.fit / floor.fit, target, note=note)


def _against(name: str, mine: Measured, peer: Measured) -> list[Row]:
    """Peer over ours, so that 3 is three times faster."""
    note = _errors(mine, peer)
    fit = Row(f"{name}, fit, causalml over ours", f"{mine.fit:.2f} s", f"{peer.fit:.2f} s", peer.fit / mine.fit, 3.0,
              at_most=False, note=note)  # fmt: skip
    return [fit, _times(f"{name}, fit and predict, causalml over ours", mine, peer, 3.0, note)]


def _times(what: str, mine: Measured, peer: Measured, target: float | None, note: str) -> Row:
    ours, theirs = mine.fit + mine.predict, peer.fit + peer.predict
    return Row(what, f"{ours:.2f} s", f"{theirs:.2f} s", theirs / ours, target, at_most=False, note=note)


def _errors(mine: Measured, peer: Measured) -> str:
    if not np.isfinite(peer.rmse):
        return ""
    return f"effect RMSE {mine.rmse:.4f}, theirs {peer.rmse:.4f}"


def render(rows: Sequence[Row], failed: dict[Key, str], n: int, threads: int, rounds: int) -> str:
    """The table in Markdown."""
    head = (
        f"{n:,} rows × {FEATURES} features × {1 + len(ARMS)} arms, known propensities, {threads} threads, "
        f"best of {rounds} rounds in turn, every measurement a process of its own."
    )
    lines = ["| what | ours | other | ratio | target | | |", "|---|---|---|---|---|---|---|"]
    lines += [row.line() for row in rows]
    lines += [f"| {' '.join(key)} | | | | | failed | {why} |" for key, why in failed.items()]
    lines += [
        f"| {r.name} | {r.ours:.3f} s | {r.floor:.3f} s | {r.ratio:.2f} | | | {r.note} |" for r in bench_metrics.run()
    ]
    return head + "\n\n" + "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and keep the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks speed", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], help="e.g. one, bare, causalml, 'one DR'")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args(arguments)
    if not (ROOT / PEERS_PYTHON).exists():
        raise SystemExit("no .venv-peers: `make bench-peers` makes it")
    kept, failed = measure_all(given.rows, given.threads, given.rounds, given.only)
    text = render(rows_of(kept, given.rows), failed, given.rows, given.threads, given.rounds)
    out = ROOT / "benchmarks" / "out"
    out.mkdir(exist_ok=True)
    (out / "speed.md").write_text(text, encoding="utf-8")
    print(text)
    if given.publish:
        _publish.publish("speed", text)
