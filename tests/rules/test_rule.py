"""What a rule may say, what it must not, and what is said about it."""

from __future__ import annotations

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from uplift.errors import RuleError
from uplift.features import feature_columns
from uplift.rules import compile_expression, compile_rule, evaluate_rules

COLUMNS = {
    "orders_total": "number", "spend": "number", "city": "text", "consent": "flag", "seen_at": "time", "born": "date",
    "肤质": "text",
}  # fmt: skip

ALLOWED = [
    ("orders_total >= 1 AND spend > 30", '"orders_total" >= 1.0e0 AND "spend" > 30.0e0'),
    ("Orders_Total >= 1", '"orders_total" >= 1.0e0'),
    ("NOT city IN ('上海', '杭州')", "NOT \"city\" IN ('上海', '杭州')"),
    ("city NOT IN ('上海')", "NOT \"city\" IN ('上海')"),
    ("city LIKE '上%' OR city ILIKE 'hang%'", "\"city\" LIKE '上%' OR \"city\" ILIKE 'hang%'"),
    ("city NOT LIKE '上%'", "NOT \"city\" LIKE '上%'"),
    ("spend / orders_total > 5", '"spend" / NULLIF("orders_total", 0.0e0) > 5.0e0'),
    ("spend % 2 = 0", '"spend" % 2.0e0 = 0.0e0'),
    ("spend BETWEEN 1 AND 1e3", '"spend" BETWEEN 1.0e0 AND 1000.0e0'),
    ("consent AND city IS NOT NULL", '"consent" AND NOT "city" IS NULL'),
    ("consent IS TRUE", '"consent" IS TRUE'),
    ("肤质 = '敏感'", "\"肤质\" = '敏感'"),
    ("city = 'it''s; -- not a comment'", "\"city\" = 'it''s; -- not a comment'"),
    ("born >= '2000-01-31'", "\"born\" >= CAST('2000-01-31' AS DATE)"),
    ("born >= DATE '2000-01-31'", "\"born\" >= CAST('2000-01-31' AS DATE)"),
    ("seen_at < '2026-01-31'", "\"seen_at\" < CAST('2026-01-31' AS TIMESTAMPTZ)"),
    ("CASE WHEN consent THEN spend ELSE 0 END > 5", 'CASE WHEN "consent" THEN "spend" ELSE 0.0e0 END > 5.0e0'),
    (
        "coalesce(spend, 0) > 5 AND round(spend, 1) < 9",
        'COALESCE("spend", 0.0e0) > 5.0e0 AND ROUND("spend", 1) < 9.0e0',
    ),
    ("least(spend, orders_total) > abs(-2)", 'LEAST("spend", "orders_total") > ABS(-2.0e0)'),
    ("length(lower(city)) > 2", 'LENGTH(LOWER("city")) > 2.0e0'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sql"), ALLOWED, ids=[text for text, _ in ALLOWED])
def test_rendered_anew(text: str, sql: str) -> None:
    rule = compile_rule(text, COLUMNS)
    assert rule.sql() == sql
    assert compile_rule(sql, COLUMNS) == rule, "what is rendered compiles to the same rule"


REFUSED = [
    "spend IN (SELECT 1)",
    "EXISTS (SELECT 1)",
    "(SELECT true)",
    "SELECT true",
    "DROP TABLE members",
    "read_csv('/etc/passwd') IS NULL",
    "getenv('HOME') = 'x'",
    "read_text('x') = 'x'",
    "query('SELECT 1') IS NULL",
    "sin(spend) > 0",
    "random() > 0.5",
    "now() > seen_at",
    "regexp_matches(city, 'x')",
    "city ~ 'x'",
    "city SIMILAR TO 'x'",
    "spend::INTEGER = 1",
    "CAST(spend AS VARCHAR) = '1'",
    "TRY_CAST(city AS DOUBLE) > 1",
    "CAST(city AS DATE) > born",
    "spend > 1 -- and more",
    "spend > 1 /* more */",
    "/* */ spend > 1",
    "spend > 1;",
    "spend > 1; DROP TABLE members",
    ";",
    "spend > ?",
    "spend > $1",
    "spend > :x",
    "members.spend > 1",
    "main.members.spend > 1",
    "city.x = 'y'",
    "city -> 'x' = 'y'",
    "city[1] = 'y'",
    "{'a': 1}.a = 1",
    "[1, 2][1] = 1",
    "(1, 2) = (1, 2)",
    "*",
    "count(*) > 1",
    "sum(spend) > 1",
    "COLUMNS('x') > 1",
    "row_number() OVER () = 1",
    "sum(spend) OVER () > 1",
    "spend > ALL (SELECT 1)",
    "spend = ANY ([1])",
    "city COLLATE nocase = 'x'",
    "spend > INTERVAL 1 DAY",
    "x := 1",
    "spend AS y",
    "spend > 1 AS y",
    "city = E'\\n'",
    "city = $$x$$",
    "spend BETWEEN SYMMETRIC 2 AND 1",
    "city LIKE 'x' ESCAPE '!'",
    "spend IN orders_total",
    "spend IN ()",
    "#1 = 1",
    "list_filter([1], x -> x > 1) IS NULL",
    "spend > 1 LIMIT 1",
    "spend ORDER BY 1",
    "getvariable('x') = 1",
    "@spend = 1 AND sqrt(spend) = 1",
    "UNNEST([true])",
]


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_a_message(text: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(text, COLUMNS)
    assert len(str(caught.value)) > 20
    assert "\x1b" not in str(caught.value)


WRONG = [
    ("", "empty"),
    ("   ", "empty"),
    ("spend", "gives number"),
    ("city", "gives text"),
    ("spend = '5'", "mixes types"),
    ("city > 5", "mixes types"),
    ("spend + city > 5", "+ needs a number"),
    ("consent > 1", "mixes types"),
    ("consent = 1", "mixes types"),
    ("consent < consent", "orders true and false"),
    ("spend AND consent", "AND needs true or false"),
    ("NOT spend", "NOT needs true or false"),
    ("spend = NULL", "IS NULL"),
    ("spend IN (1, NULL)", "IS NULL"),
    ("spend IN (1, 'a')", "mixes types"),
    ("born > 'yesterday'", "not a date"),
    ("born > city", "compared with a literal"),
    ("lower(spend) = 'x'", "lower needs text"),
    ("CASE WHEN spend THEN 1 END = 1", "CASE WHEN needs true or false"),
    ("CASE WHEN consent THEN 1 ELSE 'x' END = 1", "CASE mixes types"),
    ("round(spend, city) > 1", "count of decimals"),
    ("spend > 1e999", "beyond what a number can hold"),
    ("spend >", "not a SQL expression"),
    ("(spend > 1", "not a SQL expression"),
    ("city = 'x", "not a SQL expression"),
    ("ordrs_total > 1", "did you mean 'orders_total'"),
]


@pytest.mark.parametrize(("text", "part"), WRONG)
def test_the_message_says_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(text, COLUMNS)
    assert part in str(caught.value)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule("ordrs_total > 1 AND city > 5 AND sin(spend) > 0 AND citty = 'x'", COLUMNS)
    message = str(caught.value)
    for part in ("ordrs_total", "mixes types", "SIN", "citty"):
        assert part in message


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900 + "consent" + ")" * 900,
        "NOT " * 900 + "consent",
        "-" * 400 + "1 > 0",
        "spend > 1 AND " * 2_000 + "consent",
        "coalesce(" * 300 + "spend" + ", 1)" * 300 + " > 1",
        "consent" + " AND consent" * 400,
    ],
    ids=["parentheses", "not", "minus", "long", "calls", "and"],
)
def test_hostile_sizes_are_refused(text: str) -> None:
    with pytest.raises(RuleError):
        compile_rule(text, COLUMNS)


def test_a_long_list_of_conditions_is_fine() -> None:
    rule = compile_rule(" AND ".join(["spend > 1"] * 100), COLUMNS)
    assert rule.evaluate(pd.DataFrame({"spend": [2.0]})).tolist() == [True]


def test_every_feature_of_the_catalogue_can_be_asked_about() -> None:
    columns = feature_columns()
    for name in columns:
        assert compile_rule(f"{name} IS NOT NULL", columns).columns == {name}


def test_spark_renders_its_own_quotes() -> None:
    rule = compile_rule("spend / orders_total > 0.5 AND city = 'x'", COLUMNS)
    assert rule.sql("spark") == "`spend` / NULLIF(`orders_total`, 0.0e0) > 0.5e0 AND `city` = 'x'"


def test_unknown_is_unknown() -> None:
    frame = pd.DataFrame({"spend": [10.0, 1.0, None], "city": ["上海", None, "上海"]}, index=[7, 8, 9])
    values = compile_rule("spend > 5 AND city = '上海'", COLUMNS).evaluate(frame)
    assert values.index.tolist() == [7, 8, 9]
    assert values.fillna(True).tolist() == [True, False, True]
    assert values.isna().tolist() == [False, False, True]


def test_nan_counts_as_unknown_in_frames_and_tables() -> None:
    rule = compile_rule("spend > 5", COLUMNS)
    values = [float("nan"), 9.0]
    for frame in (pd.DataFrame({"spend": values}), pa.table({"spend": values})):
        assert rule.evaluate(frame).isna().tolist() == [True, False]


def test_what_was_missing_is_named_only_where_the_answer_is_unknown() -> None:
    rule = compile_rule("spend > 5 AND (city = '上海' OR consent)", COLUMNS)
    frame = pd.DataFrame(
        {
            "spend": [10.0, None, 1.0, 10.0],
            "city": [None, None, None, "上海"],
            "consent": pd.array([None, True, None, None], dtype="boolean"),
        }
    )
    assert rule.missing(frame).tolist() == ["city,consent", "city,spend", "", ""]


def test_columns_that_do_not_fit_are_refused() -> None:
    rule = compile_rule("spend > 5 AND city = 'x'", COLUMNS)
    with pytest.raises(RuleError, match="column 'city' is not there"):
        rule.evaluate(pd.DataFrame({"spend": [1.0]}))
    with pytest.raises(RuleError, match=r"column .spend. holds (large_)?string, but the rule reads it as number"):
        rule.evaluate(pd.DataFrame({"spend": ["a"], "city": ["x"]}))


def test_categories_and_flags_as_numbers_are_read() -> None:
    frame = pd.DataFrame({"city": pd.Categorical(["a", "b", None]), "consent": [1.0, 0.0, float("nan")]})
    rules = {name: compile_rule(text, COLUMNS) for name, text in {"a": "city = 'a'", "yes": "consent"}.items()}
    values = evaluate_rules(rules, frame)
    assert values["a"].tolist()[:2] == [True, False]
    assert values["yes"].tolist()[:2] == [True, False]
    assert values.isna().sum().tolist() == [1, 1]


def test_expressions_give_numbers_and_text() -> None:
    frame = pd.DataFrame({"spend": [10.0, None], "orders_total": [4.0, 2.0], "city": ["a", "b"]})
    value = compile_expression("spend + 0.5 * orders_total", COLUMNS)
    assert (value.kind, value.evaluate(frame).tolist()[0]) == ("number", 12.0)
    assert compile_expression("upper(city)", COLUMNS).evaluate(frame).tolist() == ["A", "B"]


def test_no_rule_reads_a_file(tmp_path: object) -> None:
    """Even a rule object that was tampered with cannot reach the file system."""
    from uplift.rules import _evaluate

    with pytest.raises(RuleError, match="could not be evaluated"):
        _evaluate._query("(SELECT count(*) FROM read_csv('/etc/passwd'))", pa.table({"x": [1]}))
    assert isinstance(_evaluate._connection(), duckdb.DuckDBPyConnection)


def test_rows_and_rules_may_be_none() -> None:
    rule = compile_rule("spend > 5", COLUMNS)
    assert rule.evaluate(pd.DataFrame({"spend": pd.Series([], dtype=float)})).tolist() == []
    assert evaluate_rules({}, pd.DataFrame({"spend": [1.0]})).shape == (1, 0)
    assert compile_rule("1 = 1", COLUMNS).evaluate(pd.DataFrame({"spend": [1.0, 2.0]})).tolist() == [True, True]
