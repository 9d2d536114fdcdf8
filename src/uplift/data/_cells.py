"""Cells of any source type as the contract's types, in SQL: exactly, or NULL. Nothing is rounded or guessed."""

from __future__ import annotations

from typing import Literal

from uplift.data.contract import SQL_TYPES, Kind

Family = Literal["text", "integer", "float", "decimal", "flag", "date", "local_time", "time", "empty", "other"]

_FAMILIES: dict[str, Family] = {
    "VARCHAR": "text",
    "UUID": "text",
    "TINYINT": "integer",
    "SMALLINT": "integer",
    "INTEGER": "integer",
    "BIGINT": "integer",
    "HUGEINT": "integer",
    "UTINYINT": "integer",
    "USMALLINT": "integer",
    "UINTEGER": "integer",
    "UBIGINT": "integer",
    "UHUGEINT": "integer",
    "FLOAT": "float",
    "DOUBLE": "float",
    "BOOLEAN": "flag",
    "DATE": "date",
    "TIMESTAMP": "local_time",
    "TIMESTAMP_S": "local_time",
    "TIMESTAMP_MS": "local_time",
    "TIMESTAMP_NS": "local_time",
    "TIMESTAMP WITH TIME ZONE": "time",
    "TIMESTAMPTZ": "time",
    "TIMESTAMPTZ_NS": "time",
    '"NULL"': "empty",
    "NULL": "empty",
}
_ACCEPTED: dict[Kind, frozenset[Family]] = {
    "id": frozenset({"text", "integer", "float", "decimal"}),
    "text": frozenset({"text", "integer", "float", "decimal", "flag", "date", "local_time", "time"}),
    "rule": frozenset({"text"}),
    "time": frozenset({"text", "date", "local_time", "time"}),
    "date": frozenset({"text", "date", "local_time", "time"}),
    "money": frozenset({"text", "integer", "float", "decimal"}),
    "integer": frozenset({"text", "integer", "float", "decimal"}),
    "number": frozenset({"text", "integer", "float", "decimal"}),
    "share": frozenset({"text", "integer", "float", "decimal"}),
    "flag": frozenset({"text", "integer", "float", "flag"}),
}
_EXACT: dict[Kind, str] = {kind: {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}.get(t, t) for kind, t in SQL_TYPES.items()}
EXPECTED: dict[Kind, str] = {
    "id": "text",
    "text": "text",
    "rule": "text",
    "time": "a time such as 2024-07-01 18:30:00 or 2024-07-01T10:30:00Z",
    "date": "a date such as 2024-07-01",
    "money": "a whole number of cents, digits only",
    "integer": "a whole number, digits only",
    "number": "a number with a decimal point and no thousands separators",
    "share": "a number between 0 and 1",
    "flag": "true or false",
}
_OTHER_TIMES = "['%Y年%m月%d日', '%Y年%m月%d日 %H:%M', '%Y年%m月%d日 %H:%M:%S']"


def family(sql_type: str) -> Family:
    """The family of a DuckDB type."""
    if sql_type.startswith("DECIMAL"):
        return "decimal"
    if sql_type.startswith("ENUM"):
        return "text"
    return _FAMILIES.get(sql_type, "other")


def accepts(kind: Kind, sql_type: str) -> bool:
    """Whether cells of that DuckDB type can be read as ``kind`` at all."""
    found = family(sql_type)
    return found == "empty" or found in _ACCEPTED[kind]


def is_exact(kind: Kind, sql_type: str) -> bool:
    """Whether the DuckDB type is already the contract's."""
    return sql_type == _EXACT[kind]


def is_cheap(kind: Kind, sql_type: str) -> bool:
    """Whether reading costs so little that a view may do it again in every query."""
    narrower = sql_type in ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER")
    return is_exact(kind, sql_type) or family(sql_type) == "empty" or (kind in ("money", "integer") and narrower)


def can_fail(kind: Kind, sql_type: str) -> bool:
    """Whether a cell of that DuckDB type may hold something that cannot be read as ``kind``."""
    found = family(sql_type)
    if kind in ("id", "text", "rule"):
        return found == "float"
    return found == "float" or not is_cheap(kind, sql_type)


def quote(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def given_sql(cell: str, kind: Kind, sql_type: str) -> str:
    """Whether a cell holds anything: NULL, NaN and blank text are missing (blank text is text for ``text``)."""
    found = family(sql_type)
    if found == "empty":
        return "false"
    if found == "text":
        blank = f" AND {cell}::VARCHAR <> ''" if kind in ("text", "rule") else f" AND trim({cell}::VARCHAR) <> ''"
        return f"({cell} IS NOT NULL{blank if kind != 'text' else ''})"
    if found == "float":
        return f"({cell} IS NOT NULL AND NOT isnan({cell}))"
    return f"({cell} IS NOT NULL)"


def value_sql(cell: str, kind: Kind, sql_type: str) -> str:
    """A cell as the contract's type; NULL where it is missing or cannot be read exactly.

    Parameters
    ----------
    cell
        SQL of the cell, a quoted identifier.
    kind
        What the contract asks for.
    sql_type
        DuckDB type of the cell, one that :func:`accepts` says yes to.
    """
    target = SQL_TYPES[kind]
    found = family(sql_type)
    if found == "empty":
        return f"NULL::{target}"
    if kind in ("id", "text", "rule"):
        return _text(cell, kind, found, sql_type)
    if is_exact(kind, sql_type) and found != "float":
        return cell
    if found == "text":
        return _from_text(f"trim({cell}::VARCHAR)", kind)
    if kind in ("money", "integer"):
        whole = f"CASE WHEN isfinite({cell}) AND {cell} = trunc({cell}) THEN try_cast({cell} AS BIGINT) END"
        exact = f"CASE WHEN {cell} = trunc({cell}) THEN try_cast({cell} AS BIGINT) END"
        return {"float": whole, "decimal": exact}.get(found, f"try_cast({cell} AS BIGINT)")
    if kind in ("number", "share"):
        return f"CASE WHEN isfinite({cell}) THEN {cell}::DOUBLE END" if found == "float" else f"{cell}::DOUBLE"
    if kind == "flag":
        return f"CASE {cell} WHEN 1 THEN true WHEN 0 THEN false END"
    return f"try_cast({cell} AS {target})"


def _text(cell: str, kind: Kind, found: Family, sql_type: str) -> str:
    if found == "text":
        text = cell if sql_type == "VARCHAR" else f"{cell}::VARCHAR"
        return text if kind == "text" else f"CASE WHEN trim({text}) <> '' THEN {text} END"
    if found == "float":
        whole = f"CASE WHEN isfinite({cell}) AND {cell} = trunc({cell}) THEN try_cast({cell} AS HUGEINT)::VARCHAR END"
        other = f"CASE WHEN isfinite({cell}) THEN {cell}::VARCHAR END"
        return whole if kind == "id" else f"coalesce({whole}, {other})"
    return f"{cell}::VARCHAR"


def _from_text(text: str, kind: Kind) -> str:
    if kind in ("money", "integer"):
        whole, digits = f"try_cast({text} AS BIGINT)", f"regexp_full_match({text}, '[+-]?[0-9]+(\\.0*)?')"
        return (  # the first branch is the usual one, without a regular expression
            f"CASE WHEN {whole}::VARCHAR = {text} THEN {whole} "
            f"WHEN {digits} THEN try_cast(split_part({text}, '.', 1) AS BIGINT) END"
        )
    if kind in ("number", "share"):
        number = f"regexp_full_match({text}, '[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?')"
        value = f"try_cast({text} AS DOUBLE)"
        return f"CASE WHEN {number} AND isfinite({value}) THEN {value} END"
    if kind == "flag":
        return (
            f"CASE WHEN lower({text}) IN ('true', 't', 'yes', 'y', '1', '1.0', '是') THEN true "
            f"WHEN lower({text}) IN ('false', 'f', 'no', 'n', '0', '0.0', '否') THEN false END"
        )
    if kind == "date":
        plain = f"regexp_full_match({text}, '[0-9]{{4}}[-/][0-9]{{1,2}}[-/][0-9]{{1,2}}([ T]0?0:00(:00(\\.0+)?)?)?')"
        usual = f"CASE WHEN {plain} THEN try_cast({text} AS DATE) END"
        return f"coalesce({usual}, {_compact(text, 'DATE')})"
    usual = f"CASE WHEN substr({text}, 5, 1) IN ('-', '/') THEN try_cast({text} AS TIMESTAMPTZ) END"
    return f"coalesce({usual}, {_compact(text, 'TIMESTAMPTZ')})"


def _compact(text: str, target: str) -> str:
    """20240701, 20240701183000, 2024年7月1日 18:30."""
    day = f"WHEN regexp_full_match({text}, '[0-9]{{8}}') THEN try_strptime({text}, '%Y%m%d')"
    if target == "DATE":
        chinese = f"WHEN contains({text}, '日') THEN try_strptime({text}, '%Y年%m月%d日')"
        return f"(CASE {day} {chinese} END)::DATE"
    second = f"WHEN regexp_full_match({text}, '[0-9]{{14}}') THEN try_strptime({text}, '%Y%m%d%H%M%S')"
    return (
        f"(CASE {day} {second} WHEN contains({text}, '日') THEN try_strptime({text}, {_OTHER_TIMES}) END)::TIMESTAMPTZ"
    )
