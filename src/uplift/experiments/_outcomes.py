"""Outcomes of a flat table as arrays: numbers checked, empty values treated as said, winsorised, linearised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.errors import InputError, did_you_mean
from uplift.experiments._encoding import is_number
from uplift.experiments._metric import SHARES, Metric
from uplift.experiments._text import Text
from uplift.experiments.survival import survival

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Missing = Literal["refuse", "zero", "drop"]


@dataclass(frozen=True)
class Outcome:
    """Values of one metric.

    Attributes
    ----------
    values : ndarray of shape (n_rows,)
        NaN where not known. The numerator of a ratio.
    denominator : ndarray of shape (n_rows,), optional
        Of a ratio; NaN where ``values`` is.
    active : ndarray of shape (n_rows,)
        Rows that count as buyers where small cells are looked for.
    empty
        Rows that had no value, before they were treated.
    """

    values: Floats
    denominator: Floats | None
    active: NDArray[np.bool_]
    empty: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows with a value."""
        return ~np.isnan(self.values)

    def linear(self, rows: Ints, arm: Ints, n_arms: int) -> Floats:
        """Values of some rows whose mean by arm is the metric; a ratio is linearised around its arm's own.

        ``R + (N − R·D) / D̄`` with ``R = N̄ / D̄``: its mean is the ratio, its variance the delta method's.
        """
        top = self.values[rows]
        if self.denominator is None:
            return top
        bottom = self.denominator[rows]
        sums = [np.bincount(arm, weights=part, minlength=n_arms) for part in (top, bottom)]
        counts = np.bincount(arm, minlength=n_arms)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(sums[1] > 0, sums[0] / sums[1], np.nan)
            centre = sums[1] / counts
            return np.asarray(ratio[arm] + (top - ratio[arm] * bottom) / centre[arm])


def read_outcomes(
    df: pd.DataFrame,
    names: Sequence[str],
    specs: Mapping[str, Metric],
    missing: Missing,
    codes: Ints,
    arms: Sequence[str],
    problems: list[str],
    notes: list[Text],
) -> tuple[tuple[Metric, ...], dict[str, Outcome]]:
    """Every metric, with kind and unit, and its values; what is wrong is added to ``problems``."""
    for name in specs:
        if name not in names:
            problems.append(
                f"a specification is given for {name!r}, which is not a metric: {did_you_mean(name, names)}"
            )
    metrics: list[Metric] = []
    outcomes: dict[str, Outcome] = {}
    for name in names:
        metric = specs.get(name, Metric(name))
        parts = _parts(df, metric, missing, codes, arms, problems)
        if parts is None:
            continue
        metric = _with_kind(metric, parts[0], problems)
        before = len(problems)
        outcome = _outcome(metric, parts, missing, codes, arms, problems, notes)
        if outcome is not None and len(problems) == before:
            metrics.append(metric)
            outcomes[name] = outcome
    return tuple(metrics), outcomes


def _parts(
    df: pd.DataFrame, metric: Metric, missing: Missing, codes: Ints, arms: Sequence[str], problems: list[str]
) -> list[Floats] | None:
    """The metric's columns as numbers, empty values treated; None where something is wrong."""
    parts: list[Floats] = []
    for column in metric.needs:
        numbers = read_numbers(df[column], column, problems)
        if numbers is None:
            return None
        empty = np.isnan(numbers)
        if empty.all():
            problems.append(f"metric {column!r} has no value in any row → was the outcome read before it was recorded?")
            return None
        if empty.any() and missing == "refuse":
            by_arm = ", ".join(f"{arm} {int(empty[codes == i].sum()):,}" for i, arm in enumerate(arms))
            problems.append(
                f"metric {column!r} has no value in {int(empty.sum()):,} of {len(df):,} rows ({by_arm}) → say what an "
                "empty value means: missing='zero' (nothing happened) or missing='drop' (was not observed)"
            )
            return None
        parts.append(numbers)
    return parts


def _outcome(
    metric: Metric,
    parts: list[Floats],
    missing: Missing,
    codes: Ints,
    arms: Sequence[str],
    problems: list[str],
    notes: list[Text],
) -> Outcome | None:
    empty = np.isnan(np.stack(parts)).any(axis=0)
    count = int(empty.sum())
    if missing == "zero":
        parts, empty = [np.nan_to_num(part) for part in parts], np.zeros(empty.shape, dtype=np.bool_)
    values = np.where(empty, np.nan, parts[0])
    if metric.winsorize is not None:
        values = _winsorised(metric, values, problems, notes)
    if metric.kind == "time":
        happened = parts[1] if metric.event is not None else np.ones(len(values))
        return _time(metric, values, happened, count, codes, arms, problems)
    if metric.kind == "ratio":
        bottom = np.where(empty, np.nan, parts[1])
        if (bottom[~empty] < 0).any():
            problems.append(f"metric {metric.name!r}: the denominator {metric.denominator!r} is negative in some rows")
        elif not (bottom[~empty] > 0).any():
            problems.append(f"metric {metric.name!r}: the denominator {metric.denominator!r} is zero in every row")
        return Outcome(values, bottom, np.nan_to_num(bottom) != 0, count)
    return Outcome(values, None, np.nan_to_num(values) != 0, count)


def _winsorised(metric: Metric, values: Floats, problems: list[str], notes: list[Text]) -> Floats:
    cap = float(np.nanquantile(values, metric.winsorize or 1.0))
    above = int((values > cap).sum())
    if cap <= 0 and above:
        problems.append(
            f"metric {metric.name!r}: {metric.winsorize:.4g} of all values lie at or below {cap:g}, so winsorising "
            "would cut every buyer to nothing → a higher quantile"
        )
        return values
    notes.append(cut_note(metric, cap, above))
    return np.minimum(values, cap)


def cut_note(metric: Metric, cap: float, above: int) -> Text:
    """What winsorising did."""
    return Text(
        f"指标 {metric.name}：各组合并的 {metric.winsorize:.4g} 分位数为 {cap:.6g}，{above:,} 个更大的值按它计",
        f"metric {metric.name}: {above:,} values above {cap:.6g}, the {metric.winsorize:.4g} quantile of all arms "
        "together, count as that",
    )


def _time(
    metric: Metric,
    days: Floats,
    happened: Floats,
    empty: int,
    codes: Ints,
    arms: Sequence[str],
    problems: list[str],
) -> Outcome | None:
    known = ~np.isnan(days)
    if (days[known] < 0).any():
        problems.append(
            f"metric {metric.name!r}: {int((days[known] < 0).sum()):,} times are negative: what came before the "
            "assignment cannot be an outcome"
        )
        return None
    if not np.isin(happened[known], (0.0, 1.0)).all():
        problems.append(f"metric {metric.name!r}: the event {metric.event!r} is 1 where it happened and 0 where not")
        return None
    horizon = float(metric.window_days or 0)
    values = np.full(len(days), np.nan)
    for place, arm in enumerate(arms):
        own = known & (codes == place)
        if own.any():
            try:
                values[own] = survival(days[own], happened[own] == 1, horizon).contribution
            except InputError as error:
                problems.append(f"metric {metric.name!r}, arm {arm!r}: {error}")
                return None
    return Outcome(values, None, known & (happened == 1) & (np.nan_to_num(days) <= horizon), empty)


def read_numbers(values: pd.Series, name: str, problems: list[str]) -> Floats | None:
    """A column as float64, NaN where empty; None, and a problem, where it holds anything else."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype):
        problems.append(f"metric {name!r} holds times → give a number, such as days until it happened")
        return None
    if is_number(values):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        read = pd.to_numeric(values, errors="coerce")
        wrong = read.isna() & values.notna()
        if wrong.any():
            examples = ", ".join(repr(str(value)[:40]) for value in values[wrong].drop_duplicates().head(5))
            problems.append(
                f"metric {name!r} is not a number in {int(wrong.sum()):,} of {len(values):,} rows, e.g. {examples} → "
                "correct these values or choose another column"
            )
            return None
        numbers = read.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        problems.append(f"metric {name!r} is infinite in {int(np.isinf(numbers).sum()):,} rows → correct these values")
        return None
    return numbers


def of_values(metric: Metric, *, binary: bool) -> Metric:
    """The kind of an undeclared metric, as its values say."""
    return replace(metric, kind="rate", unit="share") if binary else replace(metric, kind="mean")


def _with_kind(metric: Metric, values: Floats, problems: list[str]) -> Metric:
    seen = values[~np.isnan(values)]
    other = ~np.isin(seen, (0.0, 1.0))
    if metric.kind == "auto":
        return of_values(metric, binary=not other.any())
    if metric.kind in SHARES and other.any():
        examples = ", ".join(f"{x:g}" for x in seen[other][:5])
        problems.append(
            f"metric {metric.name!r} is declared a {metric.kind} but holds other values than 0 and 1, e.g. {examples}"
        )
    return metric
