"""When to send: the next time that fits the member's own habit, inside the week after the decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYPART_HOURS = {"morning": 8, "noon": 12, "afternoon": 15, "evening": 19, "night": 20}
"""Local hour of sending for each habitual time of buying; nobody is woken at night."""
DEFAULT_HOUR = 10


def send_times(
    as_of: datetime,
    zone: ZoneInfo,
    weekday: Sequence[str | None],
    daypart: Sequence[str | None],
    valid_to: Sequence[datetime | None],
) -> NDArray[np.datetime64]:
    """(n,) UTC times, none before ``as_of`` and none more than 8 days after it.

    Parameters
    ----------
    weekday
        On which the member mostly buys (``mon`` … ``sun``): the message goes out the day before, so that a Friday
        shopper reads it on Thursday. None or another word: the first day possible.
    daypart
        At which the member mostly buys (keys of :data:`DAYPART_HOURS`). None or another word: 10 o'clock.
    valid_to
        Until when the offer is good: a habit that comes later gives way to the first time possible, and where even
        that is too late the message goes out at once.
    """
    cache: dict[tuple[str | None, str | None, datetime | None], np.datetime64] = {}
    found = np.empty(len(weekday), dtype="datetime64[us]")
    for i, key in enumerate(zip(weekday, daypart, valid_to, strict=True)):
        if key not in cache:
            moment = _send_time(as_of, zone, *key).astimezone(UTC).replace(tzinfo=None)
            cache[key] = np.datetime64(moment, "us")
        found[i] = cache[key]
    return found


def _send_time(
    as_of: datetime, zone: ZoneInfo, weekday: str | None, daypart: str | None, valid_to: datetime | None
) -> datetime:
    hour = DAYPART_HOURS.get(daypart or "", DEFAULT_HOUR)
    days = range(8)
    candidates = [_at(as_of, zone, day, hour) for day in days]
    if weekday in WEEKDAYS:
        before = (WEEKDAYS.index(weekday) - 1) % 7
        habitual = [moment for moment in candidates if moment.weekday() == before]
    else:
        habitual = candidates
    for moment in (*habitual, *(_at(as_of, zone, day, DEFAULT_HOUR) for day in days)):
        if moment >= as_of and (valid_to is None or moment <= valid_to):
            return moment
    return as_of


def _at(as_of: datetime, zone: ZoneInfo, days: int, hour: int) -> datetime:
    local = as_of.astimezone(zone).date() + timedelta(days=days)
    return datetime.combine(local, time(hour), zone)
