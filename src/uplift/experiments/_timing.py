"""When things happened: no outcome before its assignment, every row followed for the same window."""

from __future__ import annotations

import numpy as np
import pandas as pd

from uplift.experiments._outcomes import read_numbers
from uplift.experiments._request import Request

DAY = 86_400.0


def timing_problems(df: pd.DataFrame, request: Request) -> list[str]:
    """What is wrong with the times of a table, so far as its columns tell them."""
    problems: list[str] = []
    if request.followed is not None:
        days = read_numbers(df[request.followed], request.followed, problems)
        if days is not None:
            low, high, empty = float(np.nanmin(days)), float(np.nanmax(days)), int(np.isnan(days).sum())
            short = {n: int((days < window).sum()) for n, window in windows(request).items()}
            problems += follow_up_problems(request, low, high, empty, short)
    if request.assigned_at is not None:
        start = _seconds(df[request.assigned_at], request.assigned_at, problems)
        for name, column in request.happened_at.items():
            end = _seconds(df[column], column, problems)
            if start is None or end is None:
                continue
            window = request.metric(name).window_days
            after = (end - start) / DAY
            late = 0 if window is None else int((after > window).sum())
            problems += happened_problems(name, column, int((after < 0).sum()), late, window)
    return problems


def windows(request: Request) -> dict[str, int]:
    """Metric → declared window in days, for those that need every row to be followed so long."""
    declared = {name: request.metric(name) for name in request.metrics}
    return {name: m.window_days for name, m in declared.items() if m.window_days is not None and m.kind != "time"}


def follow_up_problems(request: Request, low: float, high: float, empty: int, short: dict[str, int]) -> list[str]:
    """Unequal windows, from the shortest and longest follow-up and the rows that fall short of each metric's window."""
    column = request.followed
    problems = []
    if empty:
        problems.append(f"{empty:,} rows do not say in {column!r} for how long they were followed")
    for name, count in short.items():
        if count:
            problems.append(
                f"{count:,} rows were followed for less than the {windows(request)[name]} days of metric {name!r} (the "
                f"shortest {low:g}, in {column!r}) → wait, shorten the window for all, or declare a time with its event"
            )
    undeclared = [n for n in request.metrics if n not in short and request.metric(n).kind != "time"]
    if undeclared and low < high:
        problems.append(
            f"rows were followed for unequal windows, {low:g} to {high:g} days in {column!r}, so that outcomes do not "
            f"compare ({', '.join(map(repr, undeclared))}) → count outcomes within one window for all, and declare it"
        )
    return problems


def happened_problems(name: str, column: str, early: int, late: int, window: int | None) -> list[str]:
    """Outcomes before their assignment, or after their window."""
    problems = []
    if early:
        problems.append(
            f"for {early:,} rows metric {name!r} happened (in {column!r}) before the assignment → correct the times, "
            "or leave these outcomes out: what came before the assignment cannot be an outcome of it"
        )
    if late:
        problems.append(
            f"for {late:,} rows metric {name!r} happened (in {column!r}) after its window of {window} days → count "
            "only what lies within it"
        )
    return problems


def _seconds(values: pd.Series, name: str, problems: list[str]) -> np.ndarray | None:
    """Times as seconds, NaN where empty."""
    times = values
    if not pd.api.types.is_datetime64_any_dtype(values.dtype):
        times = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
        wrong = times.isna() & values.notna()
        if wrong.any() or pd.api.types.is_numeric_dtype(values.dtype):
            examples = ", ".join(repr(str(v)[:40]) for v in values[values.notna()].head(3))
            problems.append(
                f"column {name!r} does not hold times such as 2026-05-01 or 2026-05-01T09:30, e.g. {examples}"
            )
            return None
    times = pd.to_datetime(times, utc=True)
    seconds = times.astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6
    return np.where(times.isna().to_numpy(), np.nan, seconds)
