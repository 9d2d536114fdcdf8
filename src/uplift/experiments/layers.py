"""Several experiments at once: exclusive within a layer, independent between layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.config import ExperimentSpec
from uplift.experiments._hashing import hash_uniform


def in_slice(units: Iterable[Any], spec: ExperimentSpec) -> NDArray[np.bool_]:
    """Which units fall into the experiment's slice of its layer; all of them without a layer.

    A unit's place in a layer depends on the unit and the layer's name only, so experiments whose slices do not overlap
    never share a unit, and a layer tells nothing about another one.

    Parameters
    ----------
    units
        Member ids, or values of the experiment's cluster.
    spec
        The experiment.

    Returns
    -------
    ndarray of shape (n_units,)

    References
    ----------
    D. Tang, A. Agarwal, D. O'Brien, M. Meyer (2010), "Overlapping experiment infrastructure", *KDD*.

    Examples
    --------
    >>> from uplift.config import ArmSpec, MetricSpec
    >>> arms = (ArmSpec(name="control", share=0.5), ArmSpec(name="gift", share=0.5))
    >>> first, second = (
    ...     ExperimentSpec(id=name, control="control", arms=arms, layer="app", layer_slice=part,
    ...                    metrics=(MetricSpec(name="bought", outcome="ordered"),))
    ...     for name, part in (("a", (0, 0.5)), ("b", (0.5, 1))))
    >>> members = [f"m{i}" for i in range(1000)]
    >>> int((in_slice(members, first) & in_slice(members, second)).sum())
    0
    """
    listed = list(units)
    if spec.layer is None:
        return np.ones(len(listed), dtype=bool)
    place = hash_uniform(listed, f"layer\0{spec.layer}")
    low, high = spec.layer_slice
    return np.asarray((place >= low) & (place < high))


def layer_conflicts(spec: ExperimentSpec, others: Sequence[ExperimentSpec]) -> list[str]:
    """What keeps an experiment from sharing its layer with others, in words; empty when nothing does.

    Slices may overlap only where one experiment ends before the other starts, and all experiments of a layer assign
    the same kind of unit.
    """
    problems = []
    for other in others:
        if spec.layer is None or other.layer != spec.layer or other.id == spec.id:
            continue
        if other.cluster != spec.cluster:
            units = " and ".join(repr(unit or "member") for unit in (spec.cluster, other.cluster))
            problems.append(f"{other.id!r} of layer {spec.layer!r} assigns another unit ({units}) → another layer")
        elif _overlap(spec, other) and not (_before(spec, other) or _before(other, spec)):
            (a, b), (c, d) = spec.layer_slice, other.layer_slice
            problems.append(
                f"its slice [{a:g}, {b:g}] of layer {spec.layer!r} overlaps [{c:g}, {d:g}] of {other.id!r} → another "
                "slice or layer, or let one end (ends_at) before the other starts (starts_at)"
            )
    return problems


def _overlap(one: ExperimentSpec, other: ExperimentSpec) -> bool:
    return max(one.layer_slice[0], other.layer_slice[0]) < min(one.layer_slice[1], other.layer_slice[1])


def _before(one: ExperimentSpec, other: ExperimentSpec) -> bool:
    if one.ends_at is None or other.starts_at is None:
        return False
    if (one.ends_at.tzinfo is None) != (other.starts_at.tzinfo is None):
        return one.ends_at.date() < other.starts_at.date()
    return one.ends_at <= other.starts_at
