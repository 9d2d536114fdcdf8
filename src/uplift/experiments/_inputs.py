"""What the caller gave, checked and turned into arrays; every mistake is listed at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.experiments._encoding import MISSING, Encoded, encode, is_number, labels
from uplift.experiments._metric import Metric, roles
from uplift.experiments._outcomes import Missing, Outcome, read_numbers, read_outcomes
from uplift.experiments._request import MAX_SEGMENTS, Request, named_arms, refuse
from uplift.experiments._text import Text
from uplift.experiments._timing import timing_problems

__all__ = ["Metric", "Missing", "Prepared", "SegmentColumn", "missing_note", "prepare", "roles", "segment_column"]

QUARTILES = (0.25, 0.5, 0.75)
BAND_ABOVE = 20  # a number with more different values than this is cut into quarters


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
        By metric; values are NaN only where rows without an outcome are dropped.
    clusters, strata : ndarray of shape (n_rows,), optional
    exposed : ndarray of shape (n_rows,), optional
        1 where the row was reached.
    duplicates
        Members with more than one row.
    """

    arms: tuple[str, ...]
    arm: NDArray[np.int64]
    shares: NDArray[np.float64] | None
    metrics: tuple[Metric, ...]
    outcomes: dict[str, Outcome]
    covariates: Encoded
    segments: tuple[SegmentColumn, ...]
    clusters: NDArray[np.int64] | None
    strata: NDArray[np.int64] | None
    exposed: NDArray[np.float64] | None
    duplicates: int
    notes: tuple[Text, ...]


def prepare(df: pd.DataFrame, request: Request) -> Prepared:
    """Check the request against the table and return arrays.

    Raises
    ------
    DesignError
        Listing everything that is wrong.
    """
    request.check([str(name) for name in df.columns], len(df))
    problems: list[str] = []
    notes: list[Text] = []
    arms, codes, shares = _arms(df[request.arm], request, problems)
    metrics, outcomes = read_outcomes(
        df, request.metrics, request.specs, request.missing, codes, arms, problems, notes
    )  # fmt: skip
    for name in dict.fromkeys([*request.covariates, *request.segments, *request.strata]):
        if pd.api.types.is_datetime64_any_dtype(df[name].dtype):
            problems.append(times_in_column(name))
    cuts = tuple(segment_column(df[name], name, problems, notes) for name in request.segments)
    clusters, duplicates = _units(df, request.unit, request.cluster, codes, problems)
    exposed = None if request.exposed is None else _exposed(df[request.exposed], request.exposed, problems)
    problems += timing_problems(df, request)
    refuse(problems)
    strata_codes = _strata(df, request.strata) if request.strata else None
    encoded = encode(df, request.known_before, request.min_cell)
    for name, outcome in outcomes.items():
        if outcome.empty:
            notes.append(missing_note(name, outcome.empty, request.missing))
    return Prepared(
        arms, codes, shares, metrics, outcomes, encoded, cuts, clusters, strata_codes, exposed, duplicates,
        (*notes, *encoded.notes),
    )  # fmt: skip


def times_in_column(name: str) -> str:
    """A covariate or segment that is a moment."""
    return f"column {name!r} holds times → give a number, such as days before assignment, or a band"


def missing_note(name: str, count: int, missing: Missing) -> Text:
    """How rows without an outcome were treated."""
    zh, en = ("按 0 计", "count as 0") if missing == "zero" else ("不计入该指标", "are left out of it")
    return Text(f"指标 {name}：{count:,} 行没有值，{zh}", f"metric {name}: {count:,} rows without a value {en}")


def _arms(
    values: pd.Series, request: Request, problems: list[str]
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float64] | None]:
    text = labels(values)
    empty = values.isna()
    arms, shares = named_arms(set(text[~empty]), int(empty.sum()), len(values), request, problems)
    place = {arm: i for i, arm in enumerate(arms)}
    return arms, text.map(place).fillna(-1).to_numpy(dtype=np.int64), shares


def _exposed(values: pd.Series, name: str, problems: list[str]) -> NDArray[np.float64] | None:
    numbers = read_numbers(values, name, problems)
    if numbers is None:
        return None
    if not np.isin(numbers, (0.0, 1.0)).all():
        problems.append(f"exposure {name!r} is 1 for members who were reached and 0 for all others, in every row")
    return numbers


def segment_column(values: pd.Series, name: str, problems: list[str], notes: list[Text]) -> SegmentColumn:
    """Codes by value; a number with many values is cut into quarters, which neither arms nor outcomes can bend."""
    if is_number(values) and not pd.api.types.is_bool_dtype(values.dtype) and values.nunique() > BAND_ABOVE:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        edges = np.unique(np.nanquantile(numbers, QUARTILES))
        band = np.searchsorted(edges, numbers, side="left")
        names = band_names(edges.tolist())
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
    levels = ordered_levels(values, text)
    if len(levels) > MAX_SEGMENTS:
        problems.append(too_many_values(name, f"{len(levels):,}"))
        levels = levels[:1]
    place_of = {level: i for i, level in enumerate(levels)}
    return SegmentColumn(name, tuple(levels), text.map(place_of).fillna(0).to_numpy(dtype=np.int64))


def too_many_values(name: str, count: str) -> str:
    """A segment column that is none."""
    return f"segment {name!r} has {count} different values → group them into at most {MAX_SEGMENTS}"


def band_names(edges: Sequence[float]) -> list[str]:
    """Bands between edges, each with its upper edge."""
    between = [f"{a:.6g} – {b:.6g}" for a, b in itertools.pairwise(edges)]
    return [f"≤ {edges[0]:.6g}", *between, f"> {edges[-1]:.6g}"]


def ordered_levels(values: pd.Series, text: pd.Series) -> list[str]:
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
            problems.append(no_member(int((ids < 0).sum()), unit))
        rows = np.bincount(ids[ids >= 0])
        duplicates = int((rows > 1).sum())
        arms_of = pd.DataFrame({"id": ids, "arm": codes}).drop_duplicates().loc[lambda t: t["id"] >= 0, "id"]
        several = int((arms_of.value_counts() > 1).sum())
        apart = cluster is not None and int(df.groupby(unit, observed=True)[cluster].nunique().max()) > 1
        if cluster is None or apart:
            problems += repeated_members(several, duplicates, unit)
    if cluster is None:
        return None, duplicates
    clusters = pd.factorize(df[cluster])[0].astype(np.int64)
    if (clusters < 0).any():
        problems.append(
            f"{int((clusters < 0).sum()):,} rows have no cluster in {cluster!r} → give every row its cluster"
        )
    return clusters, duplicates


def no_member(count: int, unit: str) -> str:
    """Rows of nobody."""
    return f"{count:,} rows have no member in {unit!r} → give every row its member"


def repeated_members(several: int, duplicates: int, unit: str) -> list[str]:
    """Members in several arms, or with several rows."""
    if several:
        return [
            f"{several:,} members are in more than one arm → an effect needs one arm a member; if they were assigned "
            f"anew each time, name {unit!r} as cluster"
        ]
    if duplicates:
        return [f"{duplicates:,} members have more than one row → one row a member, or name {unit!r} as cluster"]
    return []


def _strata(df: pd.DataFrame, strata: Sequence[str]) -> NDArray[np.int64]:
    return df.groupby(list(strata), sort=True, dropna=False).ngroup().to_numpy(dtype=np.int64)
