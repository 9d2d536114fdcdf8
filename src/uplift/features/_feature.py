"""What a feature is: one entry of the catalogue, and the source of rows that it aggregates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["number", "text", "flag"]
Unit = Literal[
    "count", "money", "days", "years", "share", "ratio", "minutes", "seconds", "score", "name", "flag", "value"
]

WINDOWS = (7, 30, 90, 180, 365)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Feature:
    """One number, text or flag about a member as of a time.

    Attributes
    ----------
    name
        Column name; a plain identifier.
    source
        Name of the :class:`Source` that it aggregates.
    aggregate
        SQL over the rows of that source which were known before the as-of time. ``age_days`` is how long before the
        as-of time a row happened.
    window_days
        How far back it looks; None is the whole history.
    kind
        ``number`` (DOUBLE), ``text`` or ``flag`` (BOOLEAN).
    unit
        ``money`` is units of the workspace's currency (cents divided by 100), times are days unless named otherwise.
    text_zh, text_en
        What it says, for people.
    empty
        Its value for a member without rows: 0 for counts and sums, None (unknown) for the rest.
    by
        Grouping of the source (see :class:`Group`) over whose groups it aggregates; None: over the rows.
    as_stored
        True when the source keeps only the latest state (a tier, a count of sessions used), so that the value at a
        past as-of time may reflect later updates.
    """

    name: str
    source: str
    aggregate: str
    window_days: int | None
    kind: Kind
    unit: Unit
    text_zh: str
    text_en: str
    empty: float | bool | None = None
    by: str | None = None
    as_stored: bool = False


@dataclass(frozen=True)
class Group:
    """A grouping of a source's rows: by what (``choice``), what is measured, and how groups rank (1: favourite)."""

    choice: str
    measures: Mapping[str, str]
    order: str
    where: str = "true"


@dataclass(frozen=True)
class Source:
    """Rows about members, each with a time: a relation over the contract's tables.

    Attributes
    ----------
    relation
        SELECT giving ``member_id``, ``at`` (event time), ``known_at`` and ``columns``.
    columns
        Further columns that it gives.
    derived
        Columns computed for every pair of a spine row and a source row (aliases ``s`` and ``r``).
    stepped
        Window expressions over the pairs, partitioned by ``spine_row``; they may use ``columns`` and ``derived``.
    groups
        Groupings that features may ask for.
    """

    name: str
    table: str
    relation: str
    columns: tuple[str, ...] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    stepped: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)


def words(expressions: Iterable[str]) -> set[str]:
    """Every identifier in the expressions."""
    return {word for expression in expressions for word in _WORD.findall(expression)}


def within(days: int | None) -> str:
    """SQL: the row lies in the window."""
    return "true" if days is None else f"age_days <= {days}e0"


def span(days: int | None) -> tuple[str, str, str]:
    """Suffix of a name, and the window in words, Chinese and English."""
    if days is None:
        return "total", "累计", "ever"
    return f"{days}d", f"近{days}天", f"in the last {days} days"


def double(number: float) -> str:
    """SQL literal that every engine reads as a double."""
    text = repr(float(number))
    return text if "e" in text else f"{text}e0"
