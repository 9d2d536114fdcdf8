"""One table against the contract, set-based: parse, map identities, find what is wrong, part the good from the bad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb

from uplift.data._cells import EXPECTED, accepts, can_fail, given_sql, is_cheap, literal, quote, value_sql
from uplift.data._conditions import AMBIGUOUS, BAD, Condition, cell_conditions, reference_conditions
from uplift.data._csv import UnreadableError
from uplift.data._quarantine import write_quarantine
from uplift.data.contract import TABLES, TableSchema
from uplift.data.engine import complete_sql
from uplift.data.readers import FILE, ROW, Raw, Source, load
from uplift.data.writers import atomic_path
from uplift.errors import Problem, did_you_mean

ORDER = ("members", "offers", "identities", "orders")  # those that others refer to come first
REFERRED = frozenset(column.references for schema in TABLES.values() for column in schema.columns)
COERCED = "_uplift_coerced"
_IDS = "_uplift_identities"
_OUR_FAULT = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.InternalException,
    duckdb.InterruptException,
    duckdb.NotImplementedException,
    duckdb.OutOfMemoryException,
    duckdb.ParserException,
    duckdb.PermissionException,
)
_EXAMPLES, _LONGEST = 5, 40
_NO_EXAMPLES = frozenset({"member_id", "referrer_id", "source_id"})


@dataclass
class Outcome:
    """What was found in one table.

    Attributes
    ----------
    rows, kept, quarantined
        Records in the source, and how they were parted.
    mapped
        Rows whose member was found through ``identities``.
    given
        DuckDB types of the contract's columns that the source has.
    reasons
        Rows by reason code; a row may have several.
    in_place
        True when the source can be viewed as it is.
    """

    source: Source
    rows: int = 0
    kept: int = 0
    quarantined: int = 0
    mapped: int = 0
    given: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    in_place: bool = False
    problems: list[Problem] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        """Whether the table as a whole is of no use."""
        return any(problem.fatal for problem in self.problems)


class Checker:
    """Checks tables one after the other, in :data:`ORDER` and then any; later ones are held against earlier ones.

    Parameters
    ----------
    connection
        In the workspace's time zone.
    quarantine
        Folder for ``<table>.parquet`` of the rows that break the contract.
    now
        An instant with a zone; event times after the next day are in the future.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, quarantine: Path, now: datetime) -> None:
        self._db = connection
        self._quarantine = quarantine
        self._now = f"TIMESTAMPTZ '{now.isoformat()}'"
        self._keys: dict[str, str] = {}
        self._mapping = False

    def check(self, source: Source, clean: Path) -> Outcome:
        """Hold a source to the contract; write its quarantine and, unless it can be viewed in place, a clean copy."""
        outcome = Outcome(source)
        schema = TABLES[source.table]
        try:
            raw = load(self._db, source)
            outcome.rows = raw.rows
            outcome.given = self._columns(schema, raw, outcome.problems)
            if not outcome.refused:
                self._rows(schema, raw, outcome, clean)
        except UnreadableError as error:
            outcome.problems.append(Problem(schema.name, None, "unreadable", str(error)))
        except duckdb.Error as error:
            if isinstance(error, _OUR_FAULT):
                raise
            what = str(error).splitlines()[0].split(": value ")[0]  # values may be members' ids
            for path in source.files:
                what = what.replace(str(path), path.name)
            outcome.problems.append(
                Problem(schema.name, None, "unreadable", f"the file is damaged: {what}", remedy="export it again")
            )
        finally:
            self._drop(f"parsed_{schema.name}", f"mapped_{schema.name}", f"raw_{schema.name}")
        return outcome

    def _columns(self, schema: TableSchema, raw: Raw, problems: list[Problem]) -> dict[str, str]:
        name, given = schema.name, {}
        if not set(raw.types) & set(schema.names):  # what stands there instead may be members' ids: not shown
            what = "no column of this table is named; the first line of the file must name the columns"
            problems.append(Problem(name, None, "no_header", what, remedy=f"name them: {', '.join(schema.names)}"))
            return {}
        for column in schema.columns:
            if column.name not in raw.types:
                if column.required:
                    problems.append(Problem(name, column.name, "missing_column", "this column is required and absent"))
            elif accepts(column.kind, raw.types[column.name]):
                given[column.name] = raw.types[column.name]
            else:
                what = f"expected {EXPECTED[column.kind]}, found a column of type {raw.types[column.name]}"
                problems.append(Problem(name, column.name, "wrong_type", what, remedy="convert the column"))
        for unknown in raw.types:
            if unknown not in schema.names:
                absent = [known for known in schema.names if known not in raw.types]
                hint = did_you_mean(unknown.lower(), absent or schema.names)
                what = "not a column of the contract, and not read"
                problems.append(Problem(name, unknown, "unknown_column", what, remedy=hint, fatal=False))
        if raw.rows == 0:
            what = "the table has a header but no rows"
            problems.append(Problem(name, None, "no_rows", what, fatal=name == "members"))
        return given

    def _rows(self, schema: TableSchema, raw: Raw, outcome: Outcome, clean: Path) -> None:
        name = schema.name
        relation, viewed = self._parse(schema, raw, outcome.given, outcome.source)
        relation, present = self._map_identities(schema, relation, outcome)
        conditions = [
            *cell_conditions(schema, outcome.given, self._now),
            *reference_conditions(schema, present, self._keys),
        ]
        failing, coerced = self._count(relation, conditions)
        duplicates = self._duplicates(schema, relation)
        bad = f"bad_{name}"
        self._part(relation, bad, list(failing), duplicates)
        outcome.quarantined = self._number(f"SELECT count(*) FROM {bad}") + len(raw.malformed)
        outcome.kept = outcome.rows - outcome.quarantined
        outcome.problems += self._problems(schema, raw, relation, failing, duplicates)
        outcome.reasons = self._reasons(bad, raw)
        outcome.in_place = viewed and not coerced and not outcome.quarantined and not outcome.mapped
        if name in REFERRED:
            self._remember_keys(name, relation, bad)
        if name == "identities" and "members" in self._keys:
            self._remember_identities(relation, bad)
        self._loose_references(schema, relation, bad, outcome)
        if outcome.rows and not outcome.kept:
            outcome.problems.append(Problem(name, None, "no_good_rows", "every row breaks the contract", outcome.rows))
            self._keys.pop(name, None)  # else every row of every other table would be an orphan
        aside = self._quarantine / f"{name}.parquet"
        write_quarantine(self._db, aside, raw, bad, outcome.quarantined, outcome.source.files[0].name)
        if not outcome.in_place and not outcome.refused:
            self._write_clean(schema, relation, bad, outcome, clean)
        self._drop(bad, f"duplicates_{name}")

    def _parse(self, schema: TableSchema, raw: Raw, given: Mapping[str, str], source: Source) -> tuple[str, bool]:
        """The contract's columns as its types; a view where that costs nothing."""
        values, flags, coerced = [], ["0"], ["false"]
        for index, column in enumerate(schema.columns):
            if column.name not in given:
                continue
            kind, sql_type, cell = column.kind, given[column.name], quote(column.name)
            value, is_given = value_sql(cell, kind, sql_type), given_sql(cell, kind, sql_type)
            values.append(f"{value} AS {cell}")
            coerced.append(f"({cell} IS NOT NULL AND NOT {is_given})")
            if can_fail(kind, sql_type):
                flags.append(f"(CASE WHEN {is_given} AND ({value}) IS NULL THEN {1 << index} ELSE 0 END)")
        viewed = source.kind == "parquet" and all(is_cheap(schema.column(n).kind, t) for n, t in given.items())
        select = (
            f"SELECT {FILE}, {ROW}, {', '.join(values)}, {' + '.join(flags)} AS {BAD}, "
            f"({' OR '.join(coerced)}) AS {COERCED} FROM {raw.relation}"
        )
        relation = f"parsed_{schema.name}"
        self._db.execute(f"CREATE {'VIEW' if viewed else 'TABLE'} {relation} AS {select}")
        return relation, viewed

    def _map_identities(self, schema: TableSchema, relation: str, outcome: Outcome) -> tuple[str, dict[str, str]]:
        """Members found through ``identities``: their own id takes the place of the source's."""
        present = dict(outcome.given)
        if not self._mapping or schema.name in ("members", "identities") or "member_id" not in present:
            return relation, present
        joined = f"FROM {relation} t JOIN {_IDS} i ON t.member_id = i.source_id"
        if not self._number(f"SELECT count(*) {joined}"):
            return relation, present
        outcome.mapped = self._number(f"SELECT count(*) {joined} WHERE i.n = 1")
        mapped = f"mapped_{schema.name}"
        self._db.execute(
            f"CREATE TABLE {mapped} AS SELECT t.* REPLACE (CASE WHEN i.n = 1 THEN i.member_id ELSE t.member_id END "
            f"AS member_id), coalesce(i.n > 1, false) AS {AMBIGUOUS} "
            f"FROM {relation} t LEFT JOIN {_IDS} i ON t.member_id = i.source_id"
        )
        present[AMBIGUOUS] = "BOOLEAN"
        return mapped, present

    def _count(self, relation: str, conditions: Sequence[Condition]) -> tuple[dict[Condition, int], int]:
        """Rows that each condition holds for, in one pass."""
        counts = [f"count(*) FILTER ({COERCED})", *(f"count(*) FILTER ({c.sql})" for c in conditions)]
        numbers = self._db.sql(f"SELECT {', '.join(f'{c} AS c{i}' for i, c in enumerate(counts))} FROM {relation}")
        row = list(numbers.to_arrow_table().to_pylist()[0].values())
        return {c: int(n) for c, n in zip(conditions, row[1:], strict=True) if n}, int(row[0])

    def _duplicates(self, schema: TableSchema, relation: str) -> dict[str, int]:
        """Rows that repeat a key: the same row again, or another row under the same key."""
        name, keys = schema.name, ", ".join(quote(key) for key in schema.key)
        whole = " AND ".join(f"{quote(key)} IS NOT NULL" for key in schema.key)
        table = f"duplicates_{name}"
        self._db.execute(
            f"CREATE TABLE {table}_keys AS SELECT {keys} FROM {relation} WHERE {whole} GROUP BY ALL HAVING count(*) > 1"
        )
        self._db.execute(
            f"CREATE TABLE {table} AS WITH d AS (SELECT * FROM {relation} SEMI JOIN {table}_keys USING ({keys})), "
            f"contents AS (SELECT {keys}, count(*) AS n "
            f"FROM (SELECT DISTINCT * EXCLUDE ({FILE}, {ROW}) FROM d) GROUP BY ALL) "
            f"SELECT {FILE}, {ROW}, CASE WHEN n > 1 THEN 'duplicate_key' ELSE 'duplicate_row' END AS code "
            f"FROM d JOIN contents USING ({keys}) "
            f"QUALIFY n > 1 OR row_number() OVER (PARTITION BY {keys} ORDER BY {FILE}, {ROW}) > 1"
        )
        self._drop(f"{table}_keys")
        found = self._db.sql(f"SELECT code, count(*) AS n FROM {table} GROUP BY ALL ORDER BY ALL").to_arrow_table()
        return {str(row["code"]): int(row["n"]) for row in found.to_pylist()}

    def _part(self, relation: str, bad: str, failing: Sequence[Condition], duplicates: Mapping[str, int]) -> None:
        """Make the relation of bad rows, with all their reasons."""
        selects = [
            f"SELECT {FILE}, {ROW}, {i} AS i, {literal(c.code)} AS code, {literal(c.column or '')} AS col "
            f"FROM {relation} WHERE {c.sql}"
            for i, c in enumerate(failing)
        ]
        if duplicates:
            table = relation.replace("parsed_", "duplicates_").replace("mapped_", "duplicates_")
            selects.append(f"SELECT {FILE}, {ROW}, {len(failing)}, code, '' FROM {table}")
        none = f"SELECT NULL::VARCHAR AS {FILE}, 0::BIGINT AS {ROW}, 0 AS i, '' AS code, '' AS col WHERE false"
        self._db.execute(
            f"CREATE TABLE {bad} AS SELECT {FILE}, {ROW}, list(code ORDER BY i) AS reasons, "
            f"list(nullif(col, '') ORDER BY i) AS reason_columns FROM ({' UNION ALL '.join([none, *selects])}) "
            f"GROUP BY {FILE}, {ROW}"
        )

    def _problems(
        self,
        schema: TableSchema,
        raw: Raw,
        relation: str,
        failing: Mapping[Condition, int],
        duplicates: Mapping[str, int],
    ) -> list[Problem]:
        found = []
        for c, count in failing.items():
            examples = self._examples(raw, relation, c, schema)
            found.append(Problem(schema.name, c.column, c.code, c.message, count, examples, c.remedy, fatal=False))
        key = ", ".join(schema.key)
        if count := duplicates.get("duplicate_key", 0):
            what = f"rows with the same key ({key}) say different things; none of them is kept"
            found.append(
                Problem(schema.name, None, "duplicate_key", what, count, remedy="keep the right one", fatal=False)
            )
        if count := duplicates.get("duplicate_row", 0):
            what = f"the same row is given again (key {key}); the first is kept"
            found.append(Problem(schema.name, None, "duplicate_row", what, count, fatal=False))
        if raw.malformed:
            numbers = ", ".join(str(row.number) for row in raw.malformed[:_EXAMPLES])
            what = f"the cells do not fit the header of {len(raw.types)} columns (row {numbers})"
            remedy = "put cells that hold the delimiter, a quote or a line break in quotes"
            found.append(
                Problem(schema.name, None, "malformed_row", what, len(raw.malformed), remedy=remedy, fatal=False)
            )
        return found

    def _examples(self, raw: Raw, relation: str, c: Condition, schema: TableSchema) -> tuple[str, ...]:
        """Up to five offending values as they were given; never one that is a member's id."""
        if c.column is None or c.column in _NO_EXAMPLES or c.code == "missing_value":
            return ()
        members = "true"
        if "members" in self._keys:
            members = f"v NOT IN (SELECT key FROM {self._keys['members']})"
        elif schema.name == "members":
            members = f"v NOT IN (SELECT member_id FROM {relation} WHERE member_id IS NOT NULL)"
        rows = f"SELECT {FILE}, {ROW} FROM {relation} WHERE {c.sql} LIMIT 1000"
        found = self._db.sql(
            f"SELECT v FROM (SELECT {quote(c.column)}::VARCHAR AS v, min({ROW}) AS r FROM {raw.relation} "
            f"SEMI JOIN ({rows}) USING ({FILE}, {ROW}) GROUP BY 1) WHERE {members} ORDER BY r LIMIT {_EXAMPLES}"
        )
        values = [str(value) for value in found.to_arrow_table()["v"].to_pylist()]
        return tuple(repr(v if len(v) <= _LONGEST else v[: _LONGEST - 1] + "…") for v in values)

    def _reasons(self, bad: str, raw: Raw) -> dict[str, int]:
        codes = self._db.sql(
            f"SELECT code, count(*) AS n FROM (SELECT unnest(list_distinct(reasons)) AS code FROM {bad}) GROUP BY ALL "
            "ORDER BY ALL"
        )
        counted = Counter({str(row["code"]): int(row["n"]) for row in codes.to_arrow_table().to_pylist()})
        counted["malformed_row"] += len(raw.malformed)
        return {code: n for code, n in sorted(counted.items()) if n}

    def _remember_keys(self, name: str, relation: str, bad: str) -> None:
        keys = f"keys_{name}"
        good = f"{relation} ANTI JOIN {bad} USING ({FILE}, {ROW})"
        self._db.execute(f"CREATE TABLE {keys} AS SELECT {quote(TABLES[name].key[0])} AS key FROM {good}")
        self._keys[name] = keys

    def _remember_identities(self, relation: str, bad: str) -> None:
        """Source ids that are not members themselves, and for whom they stand."""
        good = f"{relation} ANTI JOIN {bad} USING ({FILE}, {ROW})"
        self._db.execute(
            f"CREATE TABLE {_IDS} AS SELECT source_id, min(member_id) AS member_id, count(DISTINCT member_id) AS n "
            f"FROM ({good}) WHERE source_id NOT IN (SELECT key FROM {self._keys['members']}) GROUP BY source_id"
        )
        self._mapping = self._number(f"SELECT count(*) FROM {_IDS}") > 0

    def _loose_references(self, schema: TableSchema, relation: str, bad: str, outcome: Outcome) -> None:
        """What is told and costs no row: a referrer who is not there, references into a table that is not there."""
        good = f"{relation} ANTI JOIN {bad} USING ({FILE}, {ROW})"
        for column in schema.columns:
            if column.references is None or column.name not in outcome.given:
                continue
            cell, there = quote(column.name), column.references in self._keys
            if there and column.references != schema.name:
                continue
            unknown = f" AND {cell} NOT IN (SELECT key FROM {self._keys[column.references]})" if there else ""
            count = self._number(f"SELECT count(*) FROM {good} WHERE {cell} IS NOT NULL{unknown}")
            code = "unknown_referrer" if there else "reference_not_checked"
            what = "not found among the good rows of" if there else "cannot be looked up, for there is no good table"
            message = f"{what} {column.references}; the rows are kept"
            if count:
                outcome.problems.append(Problem(schema.name, column.name, code, message, count, fatal=False))

    def _write_clean(self, schema: TableSchema, relation: str, bad: str, outcome: Outcome, clean: Path) -> None:
        select = complete_sql(schema, outcome.given, f"{relation} ANTI JOIN {bad} USING ({FILE}, {ROW})")
        with atomic_path(clean) as temporary:
            self._db.execute(f"COPY ({select}) TO {literal(str(temporary))} (FORMAT parquet)")

    def _number(self, sql: str) -> int:
        return int(self._db.sql(sql).to_arrow_table().column(0)[0].as_py())

    def _drop(self, *relations: str) -> None:
        for relation in relations:
            kinds = (
                self._db.sql(
                    f"SELECT table_type AS t FROM information_schema.tables WHERE table_name = {literal(relation)}"
                )
                .to_arrow_table()["t"]
                .to_pylist()
            )
            for kind in kinds:
                self._db.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {relation}")
