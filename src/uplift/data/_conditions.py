"""What makes a row break the contract, as SQL over its parsed columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from uplift.data._cells import EXPECTED, literal, quote
from uplift.data.contract import Column, TableSchema

BAD, AMBIGUOUS = "_uplift_bad", "_uplift_ambiguous"
PLANNED = frozenset({"starts_at", "valid_from"})  # may lie some years ahead
OPEN_ENDED = frozenset({"ends_at", "valid_to"})  # may lie far ahead
_EARLIEST, _LATEST = "TIMESTAMPTZ '1970-01-01 00:00:00+00'", "TIMESTAMPTZ '2200-01-01 00:00:00+00'"


@dataclass(frozen=True)
class Condition:
    """One way to break the contract: a row breaks it where ``sql`` is true.

    Attributes
    ----------
    column
        None when the row as a whole is meant.
    """

    code: str
    column: str | None
    sql: str
    message: str
    remedy: str = ""


def cell_conditions(schema: TableSchema, present: Mapping[str, str], now: str) -> Iterator[Condition]:
    """What can be wrong with single cells.

    Parameters
    ----------
    present
        DuckDB types of the columns that the source has.
    now
        SQL literal of the present instant.
    """
    for index, column in enumerate(schema.columns):
        if column.name not in present:
            continue
        cell, name = quote(column.name), column.name
        bad = f"(({BAD} >> {index}) & 1 = 1)"
        expected = EXPECTED[column.kind]
        yield Condition(
            "bad_cell", name, bad, f"expected {expected}", "correct the cells; nothing is guessed or rounded"
        )
        if column.required:
            yield Condition("missing_value", name, f"({cell} IS NULL AND NOT {bad})", "a value is required")
        yield from _ranges(column, cell)
        yield from _times(column, cell, now)
        if name == "propensity":
            message = "the arm that was given had probability 0, which is impossible"
            yield Condition(
                "impossible_propensity", name, f"({cell} = 0)", message, "log the probability of the arm given"
            )


def _ranges(column: Column, cell: str) -> Iterator[Condition]:
    if column.values:
        allowed = ", ".join(literal(value) for value in column.values)
        message = f"allowed are {', '.join(column.values)}"
        yield Condition(
            "value_not_allowed", column.name, f"({cell} NOT IN ({allowed}))", message, "translate the values"
        )
    tests = []
    if column.low is not None:
        tests.append(f"{cell} < {column.low}")
    if column.high is not None:
        tests.append(f"{cell} > {column.high}")
    if tests:
        bounds = f"at least {column.low:g}" if column.high is None else f"between {column.low:g} and {column.high:g}"
        yield Condition("out_of_range", column.name, f"({' OR '.join(tests)})", f"expected {bounds}")


def _times(column: Column, cell: str, now: str) -> Iterator[Condition]:
    if column.kind == "date":
        tomorrow = f"CAST({now} + INTERVAL 1 DAY AS DATE)"
        message = "a date between 1900 and today is expected"
        sql = f"({cell} < DATE '1900-01-01' OR {cell} > {tomorrow})"
        yield Condition("date_out_of_range", column.name, sql, message, "leave unknown dates empty")
    if column.kind != "time":
        return
    yield Condition("time_too_early", column.name, f"({cell} < {_EARLIEST})", "the time is before 1970")
    if column.name in OPEN_ENDED:
        yield Condition(
            "time_too_late",
            column.name,
            f"({cell} > {_LATEST})",
            "the time is after 2200",
            "leave the end empty if there is none",
        )
    elif column.name in PLANNED:
        sql = f"({cell} > {now} + INTERVAL 5 YEAR)"
        yield Condition("time_too_late", column.name, sql, "the time is more than five years ahead")
    else:
        sql = f"({cell} > {now} + INTERVAL 1 DAY)"
        yield Condition(
            "time_in_future", column.name, sql, "the time is in the future", "correct the clock or the typing error"
        )


def reference_conditions(
    schema: TableSchema, present: Mapping[str, str], keys: Mapping[str, str]
) -> Iterator[Condition]:
    """Values that name a row of another table that is not there, or is there but in quarantine.

    Parameters
    ----------
    keys
        Relation with the one key column of each table that can be referred to.
    """
    for column in schema.columns:
        referred = column.references
        if referred is None or referred == schema.name or referred not in keys or column.name not in present:
            continue
        cell, relation = quote(column.name), keys[referred]
        ambiguous = ""
        if column.name == "member_id" and AMBIGUOUS in present:
            ambiguous = f" AND NOT {AMBIGUOUS}"
            message = "this id stands for two or more members in identities"
            yield Condition("ambiguous_identity", column.name, AMBIGUOUS, message, "let one source id name one member")
        sql = f"({cell} IS NOT NULL{ambiguous} AND {cell} NOT IN (SELECT key FROM {relation}))"
        message = f"not found among the good rows of {referred}"
        yield Condition(
            "reference_not_found", column.name, sql, message, f"add the rows to {referred}, or correct the ids"
        )
