"""Random rules: evaluation agrees with a small three-valued interpreter, and rendering with parsing."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift.rules import compile_rule

COLUMNS = {"a": "number", "b": "number", "c": "text", "d": "text", "f": "flag", "g": "flag"}
Row = dict[str, Any]

NUMBERS = st.one_of(st.sampled_from(["a", "b"]), st.integers(-3, 3).map(str), st.sampled_from(["0.5", "2.5", "1e2"]))
TEXTS = st.one_of(st.sampled_from(["c", "d"]), st.sampled_from(["'x'", "'y'", "'it''s'", "'上海'"]))


def _numbers(depth: int) -> st.SearchStrategy[Any]:
    if depth == 0:
        return NUMBERS.map(lambda text: ("value", text))
    deeper = _numbers(depth - 1)
    return st.one_of(
        NUMBERS.map(lambda text: ("value", text)),
        st.tuples(st.sampled_from(["+", "-", "*", "/"]), deeper, deeper),
        st.tuples(st.sampled_from(["least", "greatest", "coalesce"]), deeper, deeper),
        st.tuples(st.just("abs"), deeper),
        st.tuples(st.just("neg"), deeper),
    )


def _rules(depth: int) -> st.SearchStrategy[Any]:
    number, text = _numbers(1), TEXTS.map(lambda value: ("value", value))
    leaves = st.one_of(
        st.sampled_from(["f", "g", "TRUE", "FALSE"]).map(lambda value: ("value", value)),
        st.tuples(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), number, number),
        st.tuples(st.sampled_from(["=", "<>", "<"]), text, text),
        st.tuples(st.just("in"), st.just(("value", "c")), text, text),
        st.tuples(st.just("between"), number, number, number),
        st.tuples(st.just("is null"), st.one_of(number, text)),
    )
    if depth == 0:
        return leaves
    deeper = _rules(depth - 1)
    return st.one_of(
        leaves,
        st.tuples(st.sampled_from(["and", "or"]), deeper, deeper),
        st.tuples(st.just("not"), deeper),
        st.tuples(st.just("case"), deeper, deeper, deeper),
    )


def _text(node: Any) -> str:
    kind, *parts = node
    if kind == "value":
        return str(parts[0])
    shown = [_text(part) for part in parts]
    if kind in ("and", "or"):
        return f"({shown[0]} {kind} {shown[1]})"
    if kind == "not":
        return f"(not {shown[0]})"
    if kind == "neg":
        return f"(- {shown[0]})"
    if kind == "in":
        return f"({shown[0]} in ({', '.join(shown[1:])}))"
    if kind == "between":
        return f"({shown[0]} between {shown[1]} and {shown[2]})"
    if kind == "is null":
        return f"({shown[0]} is null)"
    if kind == "case":
        return f"(case when {shown[0]} then {shown[1]} else {shown[2]} end)"
    if kind in ("least", "greatest", "coalesce", "abs"):
        return f"{kind}({', '.join(shown)})"
    return f"({shown[0]} {kind} {shown[1]})"


def _and(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _compare(kind: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    if isinstance(left, str):  # by code point, as the engine orders text
        left, right = left.encode(), right.encode()
    return {
        "=": left == right, "<>": left != right, "<": left < right, "<=": left <= right, ">": left > right,
        ">=": left >= right,
    }[kind]  # fmt: skip


def _number(kind: str, left: float | None, right: float | None) -> float | None:
    if kind in ("least", "greatest"):
        known = [value for value in (left, right) if value is not None]
        return (min if kind == "least" else max)(known) if known else None
    if kind == "coalesce":
        return right if left is None else left
    if left is None or right is None or (kind == "/" and right == 0):
        return None
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else math.nan}[kind]


def _value(node: Any, row: Row) -> Any:
    kind, *parts = node
    if kind == "value":
        text = parts[0]
        if text in COLUMNS:
            return row[text]
        if text in ("TRUE", "FALSE"):
            return text == "TRUE"
        return text[1:-1].replace("''", "'") if text.startswith("'") else float(text)
    values = [_value(part, row) for part in parts]
    if kind == "and":
        return _and(*values)
    if kind == "or":
        return _not(_and(_not(values[0]), _not(values[1])))
    if kind == "not":
        return _not(values[0])
    if kind == "case":
        return values[1] if values[0] is True else values[2]
    if kind == "in":
        hits = [_compare("=", values[0], option) for option in values[1:]]
        return True if True in hits else (None if None in hits else False)
    if kind == "between":
        return _and(_compare(">=", values[0], values[1]), _compare("<=", values[0], values[2]))
    if kind == "is null":
        return values[0] is None
    if kind == "abs":
        return None if values[0] is None else abs(values[0])
    if kind == "neg":
        return None if values[0] is None else -values[0]
    if kind in ("+", "-", "*", "/", "least", "greatest", "coalesce"):
        return _number(kind, *values)
    return _compare(kind, *values)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.one_of(st.none(), st.integers(-3, 3).map(float)),
            "b": st.one_of(st.none(), st.sampled_from([0.0, 0.5, 2.5, 100.0])),
            "c": st.one_of(st.none(), st.sampled_from(["x", "y", "it's", "上海"])),
            "d": st.one_of(st.none(), st.sampled_from(["x", "z"])),
            "f": st.one_of(st.none(), st.booleans()),
            "g": st.one_of(st.none(), st.booleans()),
        }
    ),
    min_size=1,
    max_size=6,
)


def _frame(rows: list[Row]) -> pd.DataFrame:
    kinds = {"number": "Float64", "text": "str", "flag": "boolean"}
    return pd.DataFrame(
        {name: pd.array([row[name] for row in rows], dtype=kinds[kind]) for name, kind in COLUMNS.items()}
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(tree=_rules(2), rows=ROWS)
def test_evaluation_agrees_with_the_interpreter(tree: Any, rows: list[Row]) -> None:
    rule = compile_rule(_text(tree), COLUMNS)
    values = rule.evaluate(_frame(rows))
    found = [None if pd.isna(value) else bool(value) for value in values]
    assert found == [_value(tree, row) for row in rows]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(tree=_rules(3))
def test_what_is_rendered_parses_to_the_same_tree(tree: Any) -> None:
    rule = compile_rule(_text(tree), COLUMNS)
    again = compile_rule(rule.sql(), COLUMNS)
    assert again.tree == rule.tree
    assert again.sql() == rule.sql()
    assert again.columns == rule.columns


def test_the_interpreter_would_notice_two_valued_logic() -> None:
    """The planted defect: an engine that takes unknown for false."""
    rule = compile_rule("NOT (a > 1)", COLUMNS)
    row = dict.fromkeys(COLUMNS)
    assert _value(("not", (">", ("value", "a"), ("value", "1"))), row) is None
    assert rule.evaluate(_frame([row])).isna().tolist() == [True]
    assert rule.evaluate(_frame([row])).fillna(False).tolist() != [True]
