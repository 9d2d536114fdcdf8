"""What every table of a chunk needs: ids, instants, numbers, and columns joined from many windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from uplift.data.simulator._chunk import CHUNK_MEMBERS, Chunk, Plan
from uplift.data.simulator._members import Floats, Ints
from uplift.data.simulator._tables import instants, numbered

STRIDE = 100_000_000
ID_WIDTH = 12


@dataclass(frozen=True)
class Context:
    """A chunk on its way to tables.

    Attributes
    ----------
    ids
        Ids of the chunk's members.
    rng
        For what has no bearing on the truth: missing values, order lines, ids of other systems.
    """

    plan: Plan
    chunk: Chunk
    ids: pa.Array
    rng: np.random.Generator

    @classmethod
    def of(cls, plan: Plan, chunk: Chunk) -> Context:
        """The context of a chunk, with a stream of random numbers of its own."""
        numbers = np.arange(chunk.first, chunk.first + len(chunk.members))
        ids = numbered("M", numbers, max(7, len(str(plan.members))))
        return cls(
            plan, chunk, ids, np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(2, chunk.first)))
        )

    @property
    def size(self) -> int:
        """Members of the chunk."""
        return len(self.chunk.members)

    def member(self, rows: Ints) -> pa.Array:
        """Ids of the members in these rows."""
        return self.ids.take(pa.array(rows))

    def at(self, days: Floats) -> pa.Array:
        """Days since the calendar's start as instants; NaN is null."""
        missing = np.isnan(days)
        return instants(self.plan.calendar.to_us(np.where(missing, 0.0, days)), missing if missing.any() else None)

    def number(self, prefix: str, rows: int) -> pa.Array:
        """Ids that no other chunk gives."""
        first = self.chunk.first // CHUNK_MEMBERS * STRIDE
        return numbered(prefix, first + np.arange(rows), ID_WIDTH)


def stacked(kind: type, parts: Iterable[Any]) -> dict[str, npt.NDArray[Any]]:
    """The fields of many parts of a dataclass, each as one array."""
    held = list(parts)
    names = [f.name for f in fields(kind)]
    if not held:
        return {name: np.empty(0, dtype=np.int64) for name in names}
    return {name: np.concatenate([getattr(part, name) for part in held]) for name in names}


def repeated(sizes: Sequence[int]) -> Ints:
    """0 as often as the first size says, then 1, and so on."""
    return np.repeat(np.arange(len(sizes)), sizes)
