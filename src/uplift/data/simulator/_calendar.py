"""Time in the chain: windows of 14 days, local midnights, seasons and festivals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

import numpy as np
import numpy.typing as npt

from uplift.data.simulator._industry import Industry

WINDOW_DAYS = 14
TIMEZONE = "Asia/Shanghai"
OFFSET = timezone(timedelta(hours=8))  # Shanghai has kept UTC+8 without summer time since 1991
DAYS_A_MONTH = 365.25 / 12
FIRST_HOUR, LAST_HOUR = 8.0, 22.0

_FIXED: Mapping[str, tuple[int, int]] = {
    "new_year": (1, 1),
    "valentines": (2, 14),
    "womens_day": (3, 8),
    "labour_day": (5, 1),
    "midyear_618": (6, 18),
    "national_day": (10, 1),
    "double_eleven": (11, 11),
}
_LUNAR: Mapping[str, tuple[date, ...]] = {
    "spring_festival": (
        date(2020, 1, 25), date(2021, 2, 12), date(2022, 2, 1), date(2023, 1, 22), date(2024, 2, 10), date(2025, 1, 29),
        date(2026, 2, 17), date(2027, 2, 6), date(2028, 1, 26), date(2029, 2, 13), date(2030, 2, 3),
    ),
    "mid_autumn": (
        date(2020, 10, 1), date(2021, 9, 21), date(2022, 9, 10), date(2023, 9, 29), date(2024, 9, 17),
        date(2025, 10, 6), date(2026, 9, 25), date(2027, 9, 15), date(2028, 10, 3), date(2029, 9, 22),
        date(2030, 9, 12),
    ),
    "dragon_boat": (
        date(2020, 6, 25), date(2021, 6, 14), date(2022, 6, 3), date(2023, 6, 22), date(2024, 6, 10),
        date(2025, 5, 31), date(2026, 6, 19), date(2027, 6, 9), date(2028, 5, 28), date(2029, 6, 16), date(2030, 6, 5),
    ),
}  # fmt: skip


def festival_days(name: str, first: date, last: date) -> list[date]:
    """The days of a festival from a year before ``first`` to a year after ``last``."""
    if name in _LUNAR:
        return [day for day in _LUNAR[name] if first.year - 1 <= day.year <= last.year + 1]
    month, day_of_month = _FIXED[name]
    return [date(year, month, day_of_month) for year in range(first.year - 1, last.year + 2)]


@dataclass(frozen=True)
class Calendar:
    """Windows of 14 days that end at local midnight of ``end``; one more follows it, for the truth as of the end.

    Attributes
    ----------
    start, end
        Local days; the data lies in [start, end).
    windows
        How many windows the data spans. Times inside are days (float) since ``start``.
    factor
        Mean demand factor of each window, ``(windows + 1,)``.
    day_weights
        Cumulative weights of the days of a window, for weekdays and for weekend days: ``(windows + 1, 2, 14)``.
    """

    start: date
    end: date
    windows: int
    factor: npt.NDArray[np.float64]
    day_weights: npt.NDArray[np.float64]

    @property
    def days(self) -> int:
        """Length of the data in days."""
        return self.windows * WINDOW_DAYS

    @property
    def start_us(self) -> int:
        """``start`` at local midnight, microseconds since 1970 in UTC."""
        return int(self.instant(0).timestamp()) * 1_000_000

    def instant(self, window: int) -> datetime:
        """When a window begins."""
        return datetime.combine(self.start + timedelta(days=window * WINDOW_DAYS), time(), OFFSET)

    def to_us(self, days: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Days since ``start`` as microseconds since 1970 in UTC."""
        return self.start_us + np.rint(days * 86_400e6).astype(np.int64)


def make_calendar(industry: Industry, months: int, end: date) -> Calendar:
    """The calendar of a chain of that industry."""
    windows = max(round(months * DAYS_A_MONTH / WINDOW_DAYS), 1)
    start = end - timedelta(days=windows * WINDOW_DAYS)
    days = [start + timedelta(days=n) for n in range((windows + 1) * WINDOW_DAYS)]
    demand = np.asarray([industry.months[day.month - 1] for day in days])
    ordinals = np.asarray([day.toordinal() for day in days])
    for name, festival in industry.festivals.items():
        for day in festival_days(name, days[0], days[-1]):
            near = (ordinals >= day.toordinal() - festival.before) & (ordinals <= day.toordinal() + festival.after)
            demand[near] *= festival.factor
    weekend = np.asarray([day.weekday() >= 5 for day in days])
    weights = np.stack([np.where(weekend, 0.0, demand), np.where(weekend, demand, 0.0)])
    by_window = weights.reshape(2, windows + 1, WINDOW_DAYS).transpose(1, 0, 2)
    cumulative = np.cumsum(by_window, axis=2)
    return Calendar(
        start=start,
        end=end,
        windows=windows,
        factor=demand.reshape(windows + 1, WINDOW_DAYS).mean(axis=1),
        day_weights=cumulative / cumulative[:, :, -1:],
    )
