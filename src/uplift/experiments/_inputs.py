"""What the caller gave, checked and turned into arrays; every mistake is listed at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.config import MetricSpec
from uplift.errors import DesignError, did_you_mean
from uplift.experiments._encoding import MISSING, Encoded, encode, is_number, labels
from uplift.experiments._text import Text

Missing = Literal["refuse", "zero", "drop"]
MAX_SEGMENTS = 50
BAND_ABOVE = 20  # a number with more different values than this is cut into quarters
FEWEST_CELL = 5


@dataclass(frozen=True)
class Metric:
    """A metric as it is analysed.

    Attributes
    ----------
    kind
        ``rate`` (0 or 1 a row) or ``mean``.
    unit
        ``share``, ``money``, ``count``, ``days``, or None when not known.
    currency
        Of money; amounts are in its units, not cents.
    increase
        Whether more is better.
    guardrail
        Whether it must only not be harmed.
    window_days
        None in a flat table without a declared window.
    """

    name: str
    kind: Literal["rate", "mean"]
    unit: str | None = None
    currency: str | None = None
    increase: bool = True
    guardrail: bool = False
    window_days: int | None = None
    outcome: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "unit": self.unit,
            "currency": self.currency,
            "goal": "increase" if self.increase else "decrease",
            "guardrail": self.guardrail,
            "window_days": self.window_days,
            "outcome": self.outcome,
        }


def roles(metrics: Sequence[Metric]) -> dict[str, Literal["primary", "secondary", "guardrail"]]:
    """What each metric is for: the first that is not a guardrail decides, the other goals stand beside it."""
    found: dict[str, Literal["primary", "secondary", "guardrail"]] = {}
    for metric in metrics:
        if metric.guardrail:
            found[metric.name] = "guardrail"
        else:
            found[metric.name] = "secondary" if "primary" in found.values() else "primary"
    return found


@dataclass(frozen=True)
class SegmentColumn:
    """A cut of the members: codes ``(n_rows,)`` into its values."""

    name: str
    values: tuple[str, ...]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """Everything an analysis needs, as arrays of the same rows.

    Attributes
    ----------
    arms
        Names, the control first.
    arm : ndarray of shape (n_rows,)
        Place in ``arms``.
    shares : ndarray of shape (n_arms,), optional
        Designed shares.
    outcomes
        Metric name → numbers ``(n_rows,)``; NaN only where rows without an outcome are dropped.
    clusters, strata : ndarray of shape (n_rows,), optional
    duplicates
        Members with more than one row.
    """

    arms: tuple[str, ...]
    arm: NDArray[np.int64]
    shares: NDArray[np.float64] | None
    metrics: tuple[Metric, ...]
    outcomes: dict[str, NDArray[np.float64]]
    covariates: Encoded
    segments: tuple[SegmentColumn, ...]
    clusters: NDArray[np.int64] | None
    strata: NDArray[np.int64] | None
    duplicates: int
    missing: dict[str, int]
    notes: tuple[Text, ...]


def prepare(
    df: pd.DataFrame,
    *,
    arm: str,
    control: Any,
    metrics: Sequence[str],
    covariates: Sequence[str],
    segments: Sequence[str],
    weights: Mapping[Any, float] | None,
    cluster: str | None,
    strata: Sequence[str],
    unit: str | None,
    metric_specs: Mapping[str, MetricSpec | Metric],
    missing: Missing,
    min_cell: int,
    currency: str | None,
) -> Prepared:
    """Check the request against the table and return arrays.

    Raises
    ------
    DesignError
        Listing everything that is wrong.
    """
    _check_request(df, arm, metrics, covariates, segments, cluster, strata, unit, missing, min_cell)
    problems: list[str] = []
    notes: list[Text] = []
    arms, codes, shares = _arms(df[arm], arm, control, weights, problems)
    declared, outcomes, missing_counts = _outcomes(df, metrics, metric_specs, missing, currency, codes, arms, problems)
    for name in dict.fromkeys([*covariates, *segments, *strata]):
        if pd.api.types.is_datetime64_any_dtype(df[name].dtype):
            problems.append(f"column {name!r} holds times → give a number, such as days before assignment, or a band")
    cuts = tuple(segment_column(df[name], name, problems, notes) for name in segments)
    clusters, duplicates = _units(df, unit, cluster, codes, problems)
    if problems:
        raise DesignError(_listed(problems))
    strata_codes = _strata(df, strata) if strata else None
    encoded = encode(df, list(dict.fromkeys([*strata, *covariates])), min_cell)
    for name, count in missing_counts.items():
        if count:
            zh, en = ("按 0 计", "count as 0") if missing == "zero" else ("不计入该指标", "are left out of it")
            notes.append(
                Text(f"指标 {name}：{count:,} 行没有值，{zh}", f"metric {name}: {count:,} rows without a value {en}")
            )
    return Prepared(
        arms, codes, shares, declared, outcomes, encoded, cuts, clusters, strata_codes, duplicates, missing_counts,
        (*notes, *encoded.notes),
    )  # fmt: skip


def _listed(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems)


def _check_request(
    df: pd.DataFrame,
    arm: str,
    metrics: Sequence[str],
    covariates: Sequence[str],
    segments: Sequence[str],
    cluster: str | None,
    strata: Sequence[str],
    unit: str | None,
    missing: str,
    min_cell: int,
) -> None:
    problems: list[str] = []
    if not metrics:
        problems.append("no metric is named → name at least one outcome column")
    if missing not in ("refuse", "zero", "drop"):
        problems.append(f"missing={missing!r} → use 'refuse', 'zero' (nothing happened) or 'drop' (was not observed)")
    if min_cell < FEWEST_CELL:
        problems.append(
            f"min_cell={min_cell} would show groups in which members can be recognised → at least {FEWEST_CELL}"
        )
    roles: dict[str, list[str]] = {}
    named = [("arm", [arm]), ("metric", metrics), ("covariate", covariates), ("segment", segments), ("stratum", strata)]
    for role, names in named:
        for name in names:
            roles.setdefault(name, []).append(role)
        for name in {name for name in names if list(names).count(name) > 1}:
            problems.append(f"{role} {name!r} is named twice")
    for role, single in (("cluster", cluster), ("unit", unit)):
        if single is not None:
            roles.setdefault(single, []).append(role)
    repeated = df.columns[df.columns.duplicated()].unique()
    for name in repeated:
        if name in roles:
            problems.append(f"the table has more than one column {name!r} → rename one")
    known = [str(column) for column in df.columns]
    for name in roles:
        if name not in df.columns:
            problems.append(f"no column {name!r} for the {roles[name][0]}: {did_you_mean(name, known)}")
    for name, given in roles.items():
        clash = set(given)
        if "metric" in clash and clash & {"covariate", "segment", "stratum"}:
            other = next(role for role in given if role != "metric")
            problems.append(
                f"{name!r} is both metric and {other} → an outcome happens after assignment, so it can be neither "
                "covariate nor segment; give its value from before assignment instead"
            )
        if "arm" in clash and len(clash) > 1:
            problems.append(f"{name!r} holds the arms, so it cannot also be {' and '.join(sorted(clash - {'arm'}))}")
    if not problems and not len(df):
        problems.append("the table has no rows, so there is nothing to analyse")
    if problems:
        raise DesignError(_listed(problems))


def _arms(
    values: pd.Series, column: str, control: Any, weights: Mapping[Any, float] | None, problems: list[str]
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float64] | None]:
    text = labels(values)
    empty = int(values.isna().sum())
    if empty:
        problems.append(
            f"{empty:,} of {len(values):,} rows have no arm in {column!r} → leave out rows that were never assigned"
        )
    present = sorted(set(text[~values.isna()]))
    name = _name(control)
    if name not in present:
        problems.append(f"the control {name!r} is not among the arms in {column!r}: {did_you_mean(name, present)}")
    if len(present) == 1 and not empty:
        problems.append(f"one arm only in {column!r} ({present[0]!r}) → an effect needs a control to compare with")
    if len(present) > MAX_SEGMENTS:
        problems.append(f"{column!r} has {len(present):,} different values → is it the column that holds the arms?")
        return (name,), np.zeros(len(values), dtype=np.int64), None
    given = None if weights is None else {_name(key): float(value) for key, value in weights.items()}
    order = [*(given or {}), *present]
    arms = tuple(dict.fromkeys([name, *(arm for arm in order if arm in present)]))
    shares = None
    if given is not None:
        shares = _shares(given, present, column, arms, problems)
    place = {arm: i for i, arm in enumerate(arms)}
    codes = text.map(place).fillna(-1).to_numpy(dtype=np.int64)
    return arms, codes, shares


def _name(value: Any) -> str:
    return str(labels(pd.Series([value])).iloc[0])


def _shares(
    given: Mapping[str, float], present: Sequence[str], column: str, arms: Sequence[str], problems: list[str]
) -> NDArray[np.float64]:
    before = len(problems)
    for arm, share in given.items():
        if not (math.isfinite(share) and 0 <= share <= 1):
            problems.append(f"the share of arm {arm!r} is {share} → a share lies between 0 and 1")
    total = math.fsum(given.values())
    if len(problems) == before and abs(total - 1) > 1e-6:
        problems.append(
            f"the designed shares add up to {total:.6g}, not to 1 → give every arm its share, as fractions where "
            "decimals would round (1/3)"
        )
    for arm in present:
        if arm not in given:
            problems.append(f"arm {arm!r} is in {column!r} but has no designed share: {did_you_mean(arm, given)}")
    for arm, share in given.items():
        if arm not in present and share > 0:
            problems.append(
                f"arm {arm!r} was designed with share {share:.4g} but no row has it in {column!r}: "
                f"{did_you_mean(arm, present)}"
            )
    return np.array([given.get(arm, 0.0) for arm in arms])


def _outcomes(
    df: pd.DataFrame,
    names: Sequence[str],
    specs: Mapping[str, MetricSpec | Metric],
    missing: Missing,
    currency: str | None,
    codes: NDArray[np.int64],
    arms: Sequence[str],
    problems: list[str],
) -> tuple[tuple[Metric, ...], dict[str, NDArray[np.float64]], dict[str, int]]:
    for name in specs:
        if name not in names:
            problems.append(
                f"a specification is given for {name!r}, which is not a metric: {did_you_mean(name, names)}"
            )
    declared: list[Metric] = []
    outcomes: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, int] = {}
    for name in names:
        numbers = _numbers(df[name], name, problems)
        if numbers is None:
            continue
        empty = np.isnan(numbers)
        counts[name] = int(empty.sum())
        if empty.all():
            problems.append(f"metric {name!r} has no value in any row → was the outcome read before it was recorded?")
            continue
        if empty.any() and missing == "refuse":
            by_arm = ", ".join(f"{arm} {int(empty[codes == i].sum()):,}" for i, arm in enumerate(arms))
            problems.append(
                f"metric {name!r} has no value in {int(empty.sum()):,} of {len(df):,} rows ({by_arm}) → say what an "
                "empty value means: missing='zero' (nothing happened) or missing='drop' (was not observed)"
            )
            continue
        if missing == "zero":
            numbers = np.where(empty, 0.0, numbers)
        seen = numbers[~np.isnan(numbers)]
        declared.append(_metric(name, seen, specs.get(name), currency, problems))
        outcomes[name] = numbers
    return tuple(declared), outcomes, counts


def _numbers(values: pd.Series, name: str, problems: list[str]) -> NDArray[np.float64] | None:
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


def _metric(
    name: str, seen: NDArray[np.float64], spec: MetricSpec | Metric | None, currency: str | None, problems: list[str]
) -> Metric:
    binary = bool(np.isin(seen, (0.0, 1.0)).all())
    if spec is None:
        return Metric(name, "rate" if binary else "mean", "share" if binary else None)
    if isinstance(spec, MetricSpec):
        unit = None if spec.kind == "mean" and spec.unit == "share" else spec.unit
        metric = Metric(
            name, spec.kind, unit, currency if unit == "money" else None,
            spec.goal == "increase", spec.guardrail, spec.window_days, spec.outcome,
        )  # fmt: skip
    else:
        metric = spec
    if metric.kind == "rate" and not binary:
        examples = ", ".join(f"{x:g}" for x in seen[~np.isin(seen, (0.0, 1.0))][:5])
        problems.append(f"metric {name!r} is declared a rate but holds other values than 0 and 1, e.g. {examples}")
    return metric


def segment_column(values: pd.Series, name: str, problems: list[str], notes: list[Text]) -> SegmentColumn:
    """Codes by value; a number with many values is cut into quarters, which neither arms nor outcomes can bend."""
    if is_number(values) and not pd.api.types.is_bool_dtype(values.dtype) and values.nunique() > BAND_ABOVE:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        edges = np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75]))
        band = np.searchsorted(edges, numbers, side="left")
        names = [f"≤ {edges[0]:.6g}"] + [f"{a:.6g} – {b:.6g}" for a, b in itertools.pairwise(edges)]
        names.append(f"> {edges[-1]:.6g}")
        missing = np.isnan(numbers)
        count = values.nunique()
        notes.append(
            Text(
                f"分组 {name} 有 {count:,} 个不同的值，按四分位数切分",
                f"segment {name} has {count:,} different values and is cut at its quartiles",
            )
        )
        used = sorted(set(band[~missing].tolist()))
        kept = [names[i] for i in used] + ([MISSING] if missing.any() else [])
        place = {old: new for new, old in enumerate(used)}
        codes = np.array([len(used) if gone else place[b] for b, gone in zip(band.tolist(), missing, strict=True)])
        return SegmentColumn(name, tuple(kept), codes.astype(np.int64))
    text = labels(values)
    levels = _ordered_levels(values, text)
    if len(levels) > MAX_SEGMENTS:
        problems.append(
            f"segment {name!r} has {len(levels):,} different values → group them into at most {MAX_SEGMENTS}"
        )
        levels = levels[:1]
    place_of = {level: i for i, level in enumerate(levels)}
    return SegmentColumn(name, tuple(levels), text.map(place_of).fillna(0).to_numpy(dtype=np.int64))


def _ordered_levels(values: pd.Series, text: pd.Series) -> list[str]:
    """Numbers in numeric order, declared categories in theirs, text in alphabetical order, missing last."""
    present = pd.DataFrame({"value": values, "text": text}).drop_duplicates("text")
    missing = [MISSING] if (present["text"] == MISSING).any() else []
    present = present[present["text"] != MISSING]
    if isinstance(values.dtype, pd.CategoricalDtype) or is_number(values):
        return [str(level) for level in present.sort_values("value")["text"]] + missing
    return sorted(str(level) for level in present["text"]) + missing


def _units(
    df: pd.DataFrame, unit: str | None, cluster: str | None, codes: NDArray[np.int64], problems: list[str]
) -> tuple[NDArray[np.int64] | None, int]:
    duplicates = 0
    if unit is not None:
        ids = pd.factorize(df[unit])[0]
        if (ids < 0).any():
            problems.append(f"{int((ids < 0).sum()):,} rows have no member in {unit!r} → give every row its member")
        rows = np.bincount(ids[ids >= 0])
        duplicates = int((rows > 1).sum())
        arms_of = pd.DataFrame({"id": ids, "arm": codes}).drop_duplicates().loc[lambda t: t["id"] >= 0, "id"]
        several = int((arms_of.value_counts() > 1).sum())
        apart = cluster is not None and int(df.groupby(unit, observed=True)[cluster].nunique().max()) > 1
        if several and (cluster is None or apart):
            problems.append(
                f"{several:,} members are in more than one arm → an effect needs one arm a member; if they were "
                f"assigned anew each time, name {unit!r} as cluster"
            )
        elif duplicates and (cluster is None or apart):
            problems.append(
                f"{duplicates:,} members have more than one row → one row a member, or name {unit!r} as cluster"
            )
    if cluster is None:
        return None, duplicates
    clusters = pd.factorize(df[cluster])[0].astype(np.int64)
    if (clusters < 0).any():
        problems.append(
            f"{int((clusters < 0).sum()):,} rows have no cluster in {cluster!r} → give every row its cluster"
        )
    return clusters, duplicates


def _strata(df: pd.DataFrame, strata: Sequence[str]) -> NDArray[np.int64]:
    return df.groupby(list(strata), sort=True, dropna=False).ngroup().to_numpy(dtype=np.int64)
