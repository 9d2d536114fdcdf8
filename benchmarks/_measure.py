"""Two ways of doing one thing, timed in turn, as a ratio."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How many times the floor's median our median is; ``note`` says what the floor is."""

    name: str
    ours: float
    floor: float
    note: str

    @property
    def ratio(self) -> float:
        """Ours over the floor."""
        return self.ours / self.floor

    def row(self) -> str:
        """A row of the printed table."""
        return f"| {self.name} | {self.ours:.3f} s | {self.floor:.3f} s | {self.ratio:.2f} | {self.note} |"


def in_turn(name: str, ours: Callable[[], object], floor: Callable[[], object], note: str, repeats: int = 5) -> Ratio:
    """Run both once to warm up, then A B A B …, and compare the medians."""
    ours(), floor()
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for job, times in zip((ours, floor), taken, strict=True):
            start = time.perf_counter()
            job()
            times.append(time.perf_counter() - start)
    return Ratio(name, statistics.median(taken[0]), statistics.median(taken[1]), note)


def peak_bytes(job: Callable[[], object]) -> int:
    """Peak of what Python and numpy allocated while the job ran."""
    tracemalloc.start()
    try:
        job()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
