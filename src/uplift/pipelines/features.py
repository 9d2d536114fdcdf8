"""The job behind ``uplift features``: the features of every member as of a date, streamed to one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa

from uplift.config import Workspace
from uplift.data import Engine, write_parquet_atomic
from uplift.errors import InputError
from uplift.features import (
    Feature,
    build,
    catalogue_for,
    discover_attributes,
    observed_until,
    parse_as_of,
    refuse_beyond_data,
    spine_of_members,
)
from uplift.results import Rendered

ROWS_PER_PART = 100_000


@dataclass(frozen=True)
class FeaturesDone(Rendered):
    """What was written.

    Attributes
    ----------
    out
        The Parquet file: ``member_id``, ``as_of``, then the features.
    as_of
        The time (UTC).
    members, features
        Rows, and columns beyond ``member_id`` and ``as_of``.
    left_out
        Attributes that did not become features because there are too many.
    """

    out: Path
    as_of: datetime
    members: int
    features: int
    left_out: tuple[str, ...]


def compute_features(
    workspace: Workspace,
    as_of: str | None = None,
    *,
    out: Path | None = None,
    names: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> FeaturesDone:
    """Write the features of every member registered before ``as_of``.

    Parameters
    ----------
    as_of
        A date is its midnight in the workspace's zone; None: the day after the latest recorded event.
    out
        A ``.parquet`` file; None: ``features/as_of=DATE.parquet`` in the workspace.
    names
        Features; None: the whole catalogue and the workspace's attributes.
    """
    if out is not None and out.suffix != ".parquet":
        raise InputError(f"{out}: features are written as Parquet; name a .parquet file")
    with Engine.open(workspace) as engine:
        moment = as_of_time(engine, workspace, as_of)
        label = date_label(moment, workspace)
        discovered = discover_attributes(engine)
        catalogue = catalogue_for(engine)
        spine = spine_of_members(engine, moment)
        if not spine.num_rows:
            raise InputError(f"no member is registered before {label}; choose a later date")
        progress(f"features of {spine.num_rows:,} members as of {label}")
        path = (workspace.features / f"as_of={label}.parquet") if out is None else out
        first = build(engine, spine.slice(0, 0), names, catalogue=catalogue)
        rows = write_parquet_atomic(path, _parts(engine, spine, names, catalogue), first.schema)
    return FeaturesDone(path, moment, rows, first.num_columns - 2, discovered.left_out)


def as_of_time(engine: Engine, workspace: Workspace, as_of: str | None) -> datetime:
    """The time that a person means by a date, or by none: the start of the local day after the latest recorded event.

    Raises
    ------
    InputError
        If it is no date, lies long after the last event, or there is none to start from.
    """
    if as_of is not None:
        moment = parse_as_of(as_of, workspace.zone)
        refuse_beyond_data(engine, moment)
        return moment
    latest = observed_until(engine)
    if latest is None:
        raise InputError("the tables hold no events; say --as-of DATE")
    day = latest.astimezone(workspace.zone).date() + timedelta(days=1)
    return datetime.combine(day, time(), workspace.zone).astimezone(UTC)


def date_label(moment: datetime, workspace: Workspace) -> str:
    """The as-of time in the workspace's zone as part of a file's name: the date, with the time unless midnight."""
    local = moment.astimezone(workspace.zone)
    return local.strftime("%Y-%m-%d" if local.strftime("%H%M%S%f").strip("0") == "" else "%Y-%m-%dT%H%M%S")


def _parts(
    engine: Engine, spine: pa.Table, names: Sequence[str] | None, catalogue: Mapping[str, Feature]
) -> Iterator[pa.RecordBatch]:
    for first in range(0, spine.num_rows, ROWS_PER_PART):
        built = build(engine, spine.slice(first, ROWS_PER_PART), names, catalogue=catalogue)
        yield from built.combine_chunks().to_batches()
