"""Spines: for whom and as of when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from uplift.data import Engine, as_arrow
from uplift.errors import InputError

Table: TypeAlias = "pa.Table | pd.DataFrame"

INSTANT = pa.timestamp("us", tz="UTC")
_LAST_YEAR = 2200


def parse_as_of(text: str | date | datetime, zone: str | ZoneInfo) -> datetime:
    """An as-of time in UTC from an ISO date or date-time.

    A date is the midnight at which that day begins in ``zone``; a time without a zone is read in ``zone``.

    Raises
    ------
    InputError
        If it is neither, or lies before 1970 or after the year 2200.

    Examples
    --------
    >>> parse_as_of("2026-03-01", "Asia/Shanghai").isoformat()
    '2026-02-28T16:00:00+00:00'
    """
    try:
        local = ZoneInfo(zone) if isinstance(zone, str) else zone
    except (ZoneInfoNotFoundError, ValueError):
        raise InputError(f"timezone {zone!r}: not an IANA name such as Asia/Shanghai") from None
    if isinstance(text, datetime):
        moment = text
    elif isinstance(text, date):
        moment = datetime.combine(text, time())
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            raise InputError(f"as-of {text!r} is not a date; write it as 2026-01-31 or 2026-01-31T08:00") from None
    if not 1970 <= moment.year <= _LAST_YEAR:
        raise InputError(f"as-of {text!s} lies outside the years 1970 to {_LAST_YEAR}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=local)
    return moment.astimezone(UTC)


def spine_of_members(engine: Engine, as_of: str | date | datetime) -> pa.Table:
    """Every member registered, and known to be, before ``as_of``, ordered by id.

    Returns
    -------
    pyarrow.Table
        ``member_id``, ``as_of``.
    """
    moment = parse_as_of(as_of, engine.timezone)
    members = engine.query(
        "SELECT member_id FROM members "
        "WHERE registered_at < CAST(? AS TIMESTAMPTZ) AND known_at < CAST(? AS TIMESTAMPTZ) ORDER BY member_id",
        [moment.isoformat(), moment.isoformat()],
    )
    return members.append_column(
        "as_of", pa.array([moment], INSTANT).take(pa.array([0] * members.num_rows, pa.int64()))
    )


def checked_spine(spine: Table, reserved: Iterable[str] = ()) -> pa.Table:
    """The spine as an Arrow table, its times in UTC microseconds.

    Raises
    ------
    InputError
        Listing what is wrong: no ``member_id`` or ``as_of``, missing values, times without a zone, a further column
        named like one that will be computed.
    """
    if not isinstance(spine, pa.Table | pd.DataFrame):
        raise InputError(f"a spine is an Arrow table or a pandas frame, found {type(spine).__name__}")
    table = as_arrow(spine)
    problems = [
        f"the spine has no column {name!r}" for name in ("member_id", "as_of") if name not in table.column_names
    ]
    clash = [name for name in reserved if name in table.column_names]
    if clash:
        problems.append(f"the spine's columns {clash} are named like what is to be computed; rename them")
    columns: dict[str, Any] = {}
    if not problems:
        member, as_of = table.column("member_id"), table.column("as_of")
        columns = {"member_id": member, "as_of": as_of}
        for name, column in columns.items():
            if column.null_count:
                problems.append(f"{column.null_count} rows of the spine have no {name}")
        if pa.types.is_dictionary(member.type):
            columns["member_id"] = member.cast(member.type.value_type)
        if not (pa.types.is_string(columns["member_id"].type) or pa.types.is_large_string(columns["member_id"].type)):
            problems.append(f"member_id must be text, found {member.type}")
        if not pa.types.is_timestamp(as_of.type) or as_of.type.tz is None:
            problems.append(f"as_of must be a time with a zone, found {as_of.type}; localise it first")
    if problems:
        raise InputError("; ".join(problems))
    for name, kind in (("member_id", pa.string()), ("as_of", INSTANT)):
        column = columns[name]
        column = pc.cast(column, kind, safe=False) if name == "as_of" else column.cast(kind)
        table = table.set_column(table.column_names.index(name), name, column)
    return table.replace_schema_metadata(None)
