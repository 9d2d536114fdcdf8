"""What an analysis concludes from, whatever read the table: estimates in every cell, and what the checks found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uplift.experiments._metric import Metric
from uplift.experiments._request import Request
from uplift.experiments._text import Text
from uplift.experiments.checks import Balance
from uplift.experiments.estimators import ArmMeans
from uplift.experiments.exposure import Exposure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ROWS_PER_COVARIATE = 10
"""An arm needs this many rows for every covariate it is adjusted for."""


class Place(NamedTuple):
    """A cell: the whole population (both None) or one value of one segment column, by their places."""

    column: int | None
    value: int | None


WHOLE = Place(None, None)


class Cut(NamedTuple):
    """A segment column and its values in order."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class CellEstimate:
    """One metric in one cell.

    Attributes
    ----------
    counts : ndarray of shape (n_arms,)
        Rows with a known outcome.
    raw, adjusted
        Means by arm without and with covariates.
    covariates
        Columns used.
    rows : ndarray of shape (n_cell_rows,), optional
        Row numbers, in the order of the contributions; None where rows were not read.
    """

    counts: Ints
    raw: ArmMeans
    adjusted: ArmMeans
    covariates: int
    rows: Ints | None = None


Estimates = Mapping[tuple[str, Place], CellEstimate]


@dataclass(frozen=True)
class Measured:
    """Estimates and checks of an experiment.

    Attributes
    ----------
    arms
        Names, the control first.
    sizes : ndarray of shape (n_arms,)
        Rows by arm.
    shares : ndarray of shape (n_arms,), optional
        Designed shares.
    units : ndarray of shape (n_arms,)
        What was randomised, by arm; ``unit`` says what.
    hidden
        (metric, arm) → True for the whole population and every segment that must not be shown, whole first and then the
        segments of all columns one after the other.
    empty
        Metric → rows without a value, before they were treated.
    unknown
        Metric → rows left without a value by arm, ``(n_arms,)``.
    together
        Covariance of the effects of several cells of a column, where clusters lie in more than one of them.
    exposure
        Who was reached, where that is known.
    digest
        Of what was read.
    variance
        How the variance of adjusted effects is made.
    """

    request: Request
    arms: tuple[str, ...]
    sizes: Ints
    shares: Floats | None
    units: Ints
    unit: str
    metrics: tuple[Metric, ...]
    segments: tuple[Cut, ...]
    estimates: Estimates
    hidden: Mapping[tuple[str, int], Bools]
    balance: Balance
    empty: Mapping[str, int]
    unknown: Mapping[str, Ints]
    duplicates: int
    notes: tuple[Text, ...]
    digest: str
    variance: str
    together: Callable[[Sequence[CellEstimate], int], Floats] | None = field(default=None, repr=False)
    exposure: Exposure | None = None

    @property
    def size(self) -> int:
        """Rows in all."""
        return int(self.sizes.sum())

    def places(self) -> list[Place]:
        """The whole population, then every value of every segment column."""
        return places(self.segments)


def places(segments: Sequence[Cut]) -> list[Place]:
    """The whole population, then every value of every segment column."""
    return [WHOLE, *(Place(c, v) for c, column in enumerate(segments) for v in range(len(column.values)))]
