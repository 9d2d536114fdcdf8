"""The members of an experiment as the further sections of its result need them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from uplift.config import ExperimentSpec
from uplift.experiments import Difference, encode

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Members:
    """The experiment's members as the sections need them.

    Attributes
    ----------
    spine
        ``member_id``, ``as_of``, ``arm``.
    arm : ndarray of shape (n_members,)
        Place in ``arms``, the control first.
    covariates : ndarray of shape (n_members, n_covariates), optional
    clusters : ndarray of shape (n_members,), optional
        Where whole clusters were assigned: that of each member.
    frame
        Features as of the assignment.
    """

    spine: pa.Table
    arms: tuple[str, ...]
    arm: NDArray[np.int64]
    covariates: Floats | None
    frame: pd.DataFrame
    min_cell: int
    alpha: float
    clusters: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, spine: pa.Table, spec: ExperimentSpec, frame: pd.DataFrame, min_cell: int) -> Members:
        """From the spine and the features built for it."""
        arms = (spec.control, *(arm.name for arm in spec.arms if arm.name != spec.control))
        arm = spine["arm"].to_pandas().map({name: place for place, name in enumerate(arms)}).to_numpy(dtype=np.int64)
        names = list(dict.fromkeys((*spec.stratify, *spec.covariates)))
        matrix = encode(frame, names, min_cell).matrix if names else np.empty((len(arm), 0))
        clusters = None if spec.cluster is None else codes(frame[spec.cluster])
        units = arm if clusters is None else arm[np.unique(clusters, return_index=True)[1]]
        sizes = np.bincount(units, minlength=len(arms))
        room = int(sizes[sizes > 0].min(initial=len(arm))) // 10
        matrix = matrix[:, :room]
        covariates = matrix if matrix.shape[1] else None
        return cls(spine, arms, arm, covariates, frame, min_cell, spec.alpha, clusters)

    def clusters_of(self, own: NDArray[Any]) -> NDArray[np.int64] | None:
        """Clusters of some of the members, by mask or places, numbered without gaps."""
        return None if self.clusters is None else np.unique(self.clusters[own], return_inverse=True)[1].astype(np.int64)

    def enough(self, y: Floats, place: int) -> bool:
        """Whether an arm and the control have members and cases enough to be shown."""
        return all(min((self.arm == a).sum(), ((self.arm == a) & (y != 0)).sum()) >= self.min_cell for a in (0, place))


def codes(values: pd.Series[Any]) -> NDArray[np.int64]:
    """Numbers of clusters; a member without one stands alone."""
    found = pd.factorize(values.astype(object))[0].astype(np.int64)
    alone = found < 0
    found[alone] = found.max(initial=-1) + 1 + np.arange(alone.sum())
    return found


def plain(gap: Difference) -> dict[str, float | None]:
    """A difference as ``result.json`` holds it; what is not finite is None."""
    values = {"effect": gap.value, "low": gap.low, "high": gap.high, "p_value": gap.p_value}
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}


def number(value: float) -> float | None:
    """A number, or None where it is not finite."""
    return float(value) if math.isfinite(value) else None
