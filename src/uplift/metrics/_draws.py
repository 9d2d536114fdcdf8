"""Half-sample draws whose cost does not grow with the number of rows.

Rows (or whole clusters of rows) are put once at random into at most :data:`GROUPS` groups; a draw is half of these.
Whatever is a function of sums over rows can then be recomputed for every draw from the sums per group, by one product
of matrices, so 200 draws cost one more pass over the rows. Half-sampling follows Yadlowsky, Fleming, Shah, Brunskill &
Wager (2025, JASA 120:549), random groups Wolter (2007, Introduction to Variance Estimation, ch. 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError

Floats = npt.NDArray[np.float64]
GROUPS = 512
_BALANCED_UP_TO = 1_000_000
BLOCK = 1 << 20


@dataclass(frozen=True)
class Draws:
    """Half-samples of random groups.

    Attributes
    ----------
    group
        Random group of each row, ``(n,)``.
    chosen
        1 where the draw holds the group, ``(n_draws, n_groups)``.
    scale
        Factor from the draws' standard deviation to the standard error of the full sample.
    """

    group: npt.NDArray[np.int32]
    chosen: Floats
    scale: float

    @property
    def n_groups(self) -> int:
        """How many groups."""
        return self.chosen.shape[1]

    def standard_error(self, values: Floats) -> Floats:
        """Standard error over draws, along the first axis; NaN where fewer than two draws have a value."""
        finite = np.isfinite(values)
        count = finite.sum(axis=0)
        filled = np.where(finite, values, 0.0)
        mean = filled.sum(axis=0) / np.maximum(count, 1)
        spread = np.where(finite, values - mean, 0.0)
        variance = (spread**2).sum(axis=0) / np.maximum(count - 1, 1)
        return np.where(count >= 2, self.scale * np.sqrt(variance), np.nan)

    def degrees_of_freedom(self, left_out: Floats) -> Floats:
        """Degrees of freedom of the standard error, from the values with one group left out, along the first axis.

        By Satterthwaite (1946): a standard error that a few groups make up (the few members who bought, or spent much)
        varies as much as one from as few observations would. What the number of draws leaves uncertain comes on top.
        """
        influence = (left_out - left_out.mean(axis=0)) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            concentration = (influence**2).sum(axis=0) / influence.sum(axis=0) ** 2 - 1 / self.n_groups
        uncertain = np.where(np.isfinite(concentration), np.maximum(concentration, 0) / 2, 0.0)
        return np.asarray(1 / (uncertain + 1 / max(len(self.chosen) - 1, 1)))

    def sums(self, cells: npt.NDArray[Any], n_cells: int, values: Floats, rows: npt.NDArray[Any]) -> Floats:
        """Sum of ``values`` in each cell for every draw, ``(n_draws, n_cells)``.

        Parameters
        ----------
        cells, values, rows
            Each value's cell, the value, and its row in the sample that was grouped, all ``(m,)``.
        """
        return self._filled(cells, n_cells, values, rows).drawn()

    def resampled(self, cells: npt.NDArray[Any], n_cells: int, values: Floats, rows: npt.NDArray[Any]) -> Floats:
        """:meth:`sums`, and below them the sums with each group left out, ``(n_draws + n_groups, n_cells)``."""
        table = self._filled(cells, n_cells, values, rows)
        return np.concatenate([table.drawn(), table.left_out()])

    def split(self, values: Floats) -> tuple[Floats, Floats]:
        """What was computed from :meth:`resampled` sums: over draws, and with each group left out."""
        return values[: len(self.chosen)], values[len(self.chosen) :]

    def _filled(self, cells: npt.NDArray[Any], n_cells: int, values: Floats, rows: npt.NDArray[Any]) -> CellSums:
        table = CellSums(self, n_cells)
        for start in range(0, len(values), BLOCK):
            part = slice(start, start + BLOCK)
            table.add(table.where(cells[part], rows[part]), values[part])
        return table


class CellSums:
    """Sums per random group and cell, filled block by block."""

    def __init__(self, draws: Draws, n_cells: int) -> None:
        self._draws = draws
        self._n_cells = n_cells
        self._total = np.zeros(draws.n_groups * n_cells)

    def where(self, cells: npt.NDArray[Any], rows: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Where the sums of rows in these cells are kept."""
        place = self._draws.group[rows].astype(np.intp)
        place *= self._n_cells
        place += cells
        return place

    def add(self, where: npt.NDArray[np.intp], values: Floats) -> None:
        """Add values."""
        self._total += np.bincount(where, weights=values, minlength=len(self._total))

    def drawn(self) -> Floats:
        """Sum in each cell for every draw, ``(n_draws, n_cells)``."""
        return self._draws.chosen @ self._table

    def left_out(self) -> Floats:
        """Sum in each cell with one group left out, ``(n_groups, n_cells)``."""
        return self._table.sum(axis=0) - self._table

    @property
    def _table(self) -> Floats:
        return self._total.reshape(self._draws.n_groups, self._n_cells)


def make_draws(
    n: int, n_bootstrap: int, random_state: int | None, clusters: npt.ArrayLike | None = None
) -> Draws | None:
    """Draws over ``n`` rows; None when none are asked for.

    Parameters
    ----------
    clusters
        Rows with the same value are kept or left out together (e.g. a member who appears several times), ``(n,)``.
    """
    if n_bootstrap < 0:
        raise InputError(f"n_bootstrap must not be negative, found {n_bootstrap}")
    if n_bootstrap == 0:
        return None
    rng = np.random.default_rng(random_state)
    unit: npt.NDArray[np.intp] | None = None
    n_units = n
    if clusters is not None:
        unit, names = pd.factorize(np.asarray(clusters))
        if len(unit) != n:
            raise InputError(f"clusters has {len(unit):,} rows, y has {n:,}")
        if (unit < 0).any():
            raise InputError(f"clusters is missing in {int((unit < 0).sum()):,} rows")
        n_units = len(names)
    n_groups = min(GROUPS, n_units)
    if n_units <= _BALANCED_UP_TO:
        group = (rng.permutation(n_units) % n_groups).astype(np.int32)
    else:
        group = rng.integers(0, n_groups, size=n_units, dtype=np.int32)
    if unit is not None:
        group = group[unit]
    half = n_groups // 2
    if half == 0:
        return None
    ranks = np.argsort(rng.random((n_bootstrap, n_groups)), axis=1)
    chosen = np.zeros((n_bootstrap, n_groups))
    np.put_along_axis(chosen, ranks[:, :half], 1.0, axis=1)
    return Draws(group, chosen, float(np.sqrt(half / (n_groups - half))))
