"""A table in the engine, checked before its sums are made: the same mistakes, the same messages as for rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from uplift.errors import DesignError
from uplift.experiments._encoding import labels
from uplift.experiments._inputs import (
    BAND_ABOVE,
    missing_note,
    no_member,
    repeated_members,
    times_in_column,
    too_many_values,
)
from uplift.experiments._metric import Metric
from uplift.experiments._relation import Bounds, Relation, given_sql, numbers_only, quote
from uplift.experiments._request import MAX_SEGMENTS, Request, refuse
from uplift.experiments._text import Text
from uplift.experiments._timing import DAY, follow_up_problems, happened_problems, windows


def refuse_by_row(request: Request) -> None:
    """Refuse what sums cannot give."""
    if request.cluster is not None:
        raise DesignError("clusters are analysed row by row, not from sums → read the table into memory")
    timed = [name for name in request.metrics if request.metric(name).kind == "time"]
    if timed:
        raise DesignError(
            f"times until an event are analysed row by row, not from sums ({', '.join(map(repr, timed))}) → read the "
            "table into memory"
        )


def refuse_types(relation: Relation, request: Request) -> None:
    """Refuse text where numbers are summed, and times where values are wanted."""
    roles = {column: "metric" for name in request.metrics for column in request.metric(name).needs}
    for name, role in ((request.exposed, "exposure"), (request.followed, "days followed")):
        if name is not None:
            roles[name] = role
    numbers_only(relation, roles)
    times = [n for n in dict.fromkeys((*request.known_before, *request.segments)) if relation.family(n) == "time"]
    refuse([times_in_column(name) for name in times])


class TableChecks:
    """What is wrong with a table, and what people should know of it.

    Attributes
    ----------
    problems, notes
        Found so far.
    many
        Numeric segment columns that have too many values to be shown each.
    seen
        How many values the columns of the arm and the segments have in the first rows.
    """

    def __init__(self, relation: Relation, request: Request, bounds: Mapping[str, Bounds]) -> None:
        self.relation, self.request, self.bounds = relation, request, bounds
        self.problems: list[str] = []
        self.notes: list[Text] = []
        self.many: set[str] = set()
        self.seen: dict[str, int] = {}

    def run(self) -> int:
        """All checks; returns the members with several rows."""
        self._sizes_of_segments()
        self._metrics_sound()
        self._times_sound()
        return self._members()

    def _sizes_of_segments(self) -> None:
        """Refuse identifiers in the place of arms or segments before they are grouped by."""
        columns = [self.request.arm, *self.request.segments]
        sample = self.relation.sample(list(dict.fromkeys(columns)))
        for name in columns:
            self.seen[name] = count = len(sample[name].unique())
            if name == self.request.arm and count > MAX_SEGMENTS:
                self.problems.append(
                    f"{name!r} has more than {MAX_SEGMENTS} different values → is it the column that holds the arms?"
                )
            elif name != self.request.arm and count > MAX_SEGMENTS and not self.relation.is_number(name):
                self.problems.append(too_many_values(name, f"more than {MAX_SEGMENTS}"))
        self.many = {
            name
            for name in self.request.segments
            if self.relation.family(name) in ("integer", "decimal", "float")
            and len(sample[name].drop_null().unique()) > BAND_ABOVE
        }

    def empty_rows(self, metric: Metric) -> int:
        """Rows without a value."""
        parts = [name for name in metric.needs if self.bounds[name].empty]
        if len(parts) < 2:
            return sum(self.bounds[name].empty for name in parts)
        given = " AND ".join(given_sql(quote(name), self.relation.family(name)) for name in parts)
        return int(self.relation.one(f"SELECT count(*) FILTER (WHERE NOT ({given})) FROM {self.relation.sql}"))

    def _metrics_sound(self) -> None:
        for name in self.request.metrics:
            metric = self.request.metric(name)
            for column in metric.needs:
                bounds = self.bounds[column]
                if math.isnan(bounds.low):
                    self.problems.append(
                        f"metric {column!r} has no value in any row → was the outcome read before it was recorded?"
                    )
                elif math.isinf(bounds.low) or math.isinf(bounds.high):
                    self.problems.append(f"metric {column!r} is infinite in some rows → correct these values")
                elif bounds.empty and self.request.missing == "refuse":
                    self.problems.append(self._who_is_empty(column))
            bottom = None if metric.denominator is None else self.bounds[metric.denominator]
            if bottom is not None and bottom.low < 0:
                self.problems.append(
                    f"metric {name!r}: the denominator {metric.denominator!r} is negative in some rows"
                )
            elif bottom is not None and bottom.high <= 0:
                self.problems.append(f"metric {name!r}: the denominator {metric.denominator!r} is zero in every row")
        if self.request.exposed is not None:
            bounds = self.bounds[self.request.exposed]
            if not (bounds.low >= 0 and bounds.high <= 1 and not bounds.empty):
                self.not_exposure()
        for name in self.request.metrics:
            if not self.problems:
                count = self.empty_rows(self.request.metric(name))
                if count:
                    self.notes.append(missing_note(name, count, self.request.missing))

    def not_exposure(self) -> None:
        """The exposure column holds something else than 0 and 1."""
        self.problems.append(
            f"exposure {self.request.exposed!r} is 1 for members who were reached and 0 for all others, in every row"
        )

    def _who_is_empty(self, column: str) -> str:
        given = given_sql(quote(column), self.relation.family(column))
        rows = self.relation.records(
            f"SELECT {quote(self.request.arm)} AS a, count(*) FILTER (WHERE NOT {given}) AS n FROM {self.relation.sql} "
            "GROUP BY 1 ORDER BY 1"
        )
        text = labels(pd.Series([row["a"] for row in rows]))
        by_arm = ", ".join(f"{arm} {row['n']:,}" for arm, row in zip(text, rows, strict=True))
        return (
            f"metric {column!r} has no value in {sum(row['n'] for row in rows):,} of {self.relation.rows:,} rows "
            f"({by_arm}) → say what an empty value means: missing='zero' (nothing happened) or missing='drop' (was not "
            "observed)"
        )

    def _times_sound(self) -> None:
        request, sql = self.request, self.relation.sql
        if request.followed is not None:
            days = quote(request.followed)
            short = {name: f"count(*) FILTER (WHERE {days} < {window})" for name, window in windows(request).items()}
            counts = "".join(f", {count} AS c{i}" for i, count in enumerate(short.values()))
            row = self.relation.records(
                f"SELECT min({days})::DOUBLE AS low, max({days})::DOUBLE AS high, "
                f"count(*) - count({days}) AS empty{counts} FROM {sql}"
            )[0]
            found = {name: int(row[f"c{i}"]) for i, name in enumerate(short)}
            low, high = (math.nan if row[end] is None else float(row[end]) for end in ("low", "high"))
            self.problems += follow_up_problems(request, low, high, int(row["empty"]), found)
        if request.assigned_at is not None:
            for name, column in request.happened_at.items():
                window = request.metric(name).window_days
                after = f"epoch({quote(column)}::TIMESTAMPTZ) - epoch({quote(request.assigned_at)}::TIMESTAMPTZ)"
                late = "false" if window is None else f"after > {window * DAY}"
                row = self.relation.records(
                    f"SELECT count(*) FILTER (WHERE after < 0) AS early, count(*) FILTER (WHERE {late}) AS late "
                    f"FROM (SELECT {after} AS after FROM {sql})"
                )[0]
                self.problems += happened_problems(name, column, int(row["early"]), int(row["late"]), window)

    def _members(self) -> int:
        """Members with several rows; in several arms is a problem."""
        unit = self.request.unit
        if unit is None:
            return 0
        arm = quote(self.request.arm)
        row = self.relation.records(
            "SELECT count(*) FILTER (WHERE m IS NOT NULL AND n > 1) AS repeated, "
            "count(*) FILTER (WHERE m IS NOT NULL AND lowest <> highest) AS several, "
            "coalesce(sum(n) FILTER (WHERE m IS NULL), 0) AS nobody FROM ("
            f"SELECT {quote(unit)} AS m, count(*) AS n, min({arm}) AS lowest, max({arm}) AS highest "
            f"FROM {self.relation.sql} GROUP BY 1)"
        )[0]
        if row["nobody"]:
            self.problems.append(no_member(int(row["nobody"]), unit))
        self.problems += repeated_members(int(row["several"]), int(row["repeated"]), unit)
        return int(row["repeated"])
