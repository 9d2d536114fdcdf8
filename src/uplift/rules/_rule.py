"""Compile a boolean expression over named columns into a rule that nothing but its meaning can get out of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token

from uplift.errors import RuleError
from uplift.rules._grammar import FAMILIES, Checker

MAX_LENGTH = 10_000
MAX_TOKENS = 1_000


@dataclass(frozen=True)
class Rule:
    """A checked expression.

    Attributes
    ----------
    text
        As it was written.
    columns
        The columns that it reads.
    families
        Type family of each of those columns: ``number``, ``text``, ``flag``, ``time`` or ``date``.
    kind
        Type of the result; ``flag`` for what :func:`compile_rule` gives.

    Examples
    --------
    >>> rule = compile_rule("orders_total >= 1 and city = 'Shanghai'", {"orders_total": "number", "city": "text"})
    >>> rule.sql()
    '"orders_total" >= 1.0e0 AND "city" = \\'Shanghai\\''
    >>> sorted(rule.columns)
    ['city', 'orders_total']
    """

    text: str
    columns: frozenset[str]
    families: Mapping[str, str]
    kind: str
    tree: exp.Expr

    def __hash__(self) -> int:
        return hash((self.sql(), self.kind))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and (self.sql(), self.kind) == (other.sql(), other.kind)

    def sql(self, dialect: str = "duckdb") -> str:
        """The expression, rendered anew from its checked tree with every column quoted."""
        return self.tree.sql(dialect=dialect, identify=True, comments=False)

    def missing_sql(self, dialect: str = "duckdb") -> str:
        """SQL text expression: names of this rule's columns that are null in a row, joined by commas."""
        cases = []
        for name in sorted(self.columns):
            column = exp.column(exp.to_identifier(name, quoted=True))
            test = exp.Is(this=column, expression=exp.Null())
            case = exp.Case(ifs=[exp.If(this=test, true=exp.Literal.string(name))])
            cases.append(case.sql(dialect=dialect, identify=True))
        return f"CONCAT_WS(',', {', '.join(cases)})" if cases else "''"

    def evaluate(self, frame: Any) -> Any:
        """Its value in every row of a pandas frame or an Arrow table, as a pandas series with NA for unknown.

        Raises
        ------
        RuleError
            If a column is absent or does not hold what the rule was compiled for.
        """
        from uplift.rules._evaluate import evaluate_rules

        return evaluate_rules({"value": self}, frame)["value"].rename(None)

    def missing(self, frame: Any) -> Any:
        """For every row, the columns that are null where the rule's value is unknown; ``""`` where it is known."""
        from uplift.rules._evaluate import missing_columns

        return missing_columns(self, frame)


def compile_rule(text: str, columns: Mapping[str, str]) -> Rule:
    """A rule from a SQL boolean expression.

    Parameters
    ----------
    text
        E.g. ``orders_total >= 1 AND days_since_last_order > 30``.
    columns
        Known columns and their type families (``number``, ``text``, ``flag``, ``time``, ``date``).

    Raises
    ------
    RuleError
        Listing everything that is not in the white list, unknown or of the wrong type.
    """
    rule = compile_expression(text, columns)
    if rule.kind != "flag":
        raise RuleError(
            f"rule {_short(text)}: gives {rule.kind}, but a rule must be true or false; compare it with something"
        )
    return rule


def compile_expression(text: str, columns: Mapping[str, str]) -> Rule:
    """Like :func:`compile_rule`, for an expression of any type (``kind`` says which), e.g. a value in money."""
    wrong = {name: kind for name, kind in columns.items() if kind not in FAMILIES}
    if wrong:
        raise ValueError(f"column families must be among {FAMILIES}, found {wrong}")
    checker = Checker(columns)
    try:
        tree, kind = checker.check(_parse(text))
        problems = checker.problems
    except RecursionError:
        problems = ["it is nested too deeply; split it"]
    if problems:
        body = problems[0] if len(problems) == 1 else "\n" + "\n".join(f"  {problem}" for problem in problems)
        raise RuleError(f"rule {_short(text)}: {body}")
    used = frozenset(checker.used)
    return Rule(text, used, {name: columns[name] for name in sorted(used)}, kind, tree)


def _parse(text: str) -> exp.Expr:
    if not isinstance(text, str) or not text.strip():
        raise RuleError("a rule is empty; write an expression such as orders_total >= 1")
    if len(text) > MAX_LENGTH:
        raise RuleError(f"rule {_short(text)}: {len(text):,} characters, more than {MAX_LENGTH:,}")
    try:
        tokens = sqlglot.tokenize(text, read="duckdb")
        _refuse_tokens(text, tokens)
        parsed = sqlglot.parse(text, read="duckdb")
    except SqlglotError as error:
        details = getattr(error, "errors", None)
        where = f" near character {details[0]['col']}" if details and details[0].get("col") else ""
        reason = details[0]["description"].rstrip(". ") if details else "it cannot be read"
        raise RuleError(f"rule {_short(text)}: not a SQL expression{where}: {reason}") from None
    except RecursionError:
        raise RuleError(f"rule {_short(text)}: it is nested too deeply; split it") from None
    if len(parsed) != 1 or parsed[0] is None:
        raise RuleError(f"rule {_short(text)}: expected one expression, found {len(parsed)}")
    return parsed[0]


def _refuse_tokens(text: str, tokens: list[Token]) -> None:
    if len(tokens) > MAX_TOKENS:
        raise RuleError(f"rule {_short(text)}: {len(tokens):,} words and signs, more than {MAX_TOKENS:,}; split it")
    bare = _outside_quotes(text, tokens)
    for sign, what in ((";", "a semicolon"), ("--", "a comment"), ("/*", "a comment")):
        if sign in bare:
            raise RuleError(f"rule {_short(text)}: holds {what}; a rule is one expression and nothing else")


def _outside_quotes(text: str, tokens: list[Token]) -> str:
    """The text with quoted strings and identifiers blanked out."""
    characters = list(text)
    for token in tokens:
        first, last = token.start, token.end
        if text[first : first + 1] in ("'", '"') or "'" in text[first : last + 1]:
            characters[first : last + 1] = " " * (last + 1 - first)
    return "".join(characters)


def _short(text: object) -> str:
    shown = " ".join(str(text).split())
    return repr(shown if len(shown) <= 80 else shown[:77] + "...")
