"""What a rule may consist of: the white list of syntax nodes, each with the types it takes and gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, TypeAlias, cast

from sqlglot import exp

from uplift.errors import did_you_mean

Family: TypeAlias = Literal["number", "text", "flag", "time", "date"]
Type: TypeAlias = Literal["number", "text", "flag", "time", "date", "null", "wrong"]

FAMILIES: tuple[Family, ...] = ("number", "text", "flag", "time", "date")
MAX_DEPTH = 150

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)
_SYMBOLS: Mapping[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.And: "AND", exp.Or: "OR",
    exp.Like: "LIKE", exp.ILike: "ILIKE",
}  # fmt: skip
_ARGUMENTS: Mapping[type[exp.Expr], tuple[str, ...]] = {
    exp.Round: ("this", "decimals"),
    exp.Coalesce: ("this", "expressions"),
    exp.Least: ("this", "expressions", "ignore_nulls"),
    exp.Greatest: ("this", "expressions", "ignore_nulls"),
    exp.In: ("this", "expressions"),
    exp.Between: ("this", "low", "high"),
    exp.Column: ("this",),
    exp.Case: ("this", "ifs", "default"),
    exp.If: ("this", "true", "false"),
    exp.Like: ("this", "expression", "negate"),
    exp.ILike: ("this", "expression", "negate"),
    exp.Cast: ("this", "to"),
}
FUNCTIONS = ("abs", "ceil", "coalesce", "floor", "greatest", "least", "length", "lower", "nullif", "round", "upper")


@dataclass
class Checker:
    """Walks a parsed expression once: types it, rewrites it into the form that is rendered, notes every mistake.

    Attributes
    ----------
    columns
        Known column → type family.
    problems
        Everything that is wrong, in the order in which it was met.
    used
        Columns that the expression reads.
    """

    columns: Mapping[str, str]
    problems: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    _depth: int = 0

    def check(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        """The node, rewritten, and its type; ``"wrong"`` once its mistake is noted, so that it is said once."""
        handler = _HANDLERS.get(type(node))
        if handler is None:
            return node, self._wrong(f"{_quote(node)} is not allowed in a rule ({_what(node)})")
        strange = [key for key, value in node.args.items() if value and key not in _allowed_arguments(node)]
        if strange:
            return node, self._wrong(f"{_quote(node)} is not allowed in a rule ({', '.join(strange)})")
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                return node, self._wrong(f"the rule is nested deeper than {MAX_DEPTH} levels; split it")
            return handler(self, node)
        finally:
            self._depth -= 1

    def _wrong(self, message: str) -> Type:
        if message not in self.problems:
            self.problems.append(message)
        return "wrong"

    def _operand(self, node: exp.Expr, wanted: Sequence[Type], where: str) -> exp.Expr:
        new, found = self.check(node)
        if found not in (*wanted, "null", "wrong"):
            self._wrong(
                f"{where} needs {' or '.join(_article(w) for w in wanted)}, but {_quote(node)} is {_article(found)}"
            )
        return new

    def _common(self, nodes: Iterable[exp.Expr], where: str) -> tuple[list[exp.Expr], Type]:
        """Operands that must be of one type; text beside a date or a time must be an ISO literal."""
        checked = [self.check(node) for node in nodes]
        types = {kind for _, kind in checked} - {"null"}
        if "wrong" in types:
            return [node for node, _ in checked], "wrong"
        moment = next((kind for kind in ("time", "date") if kind in types), None)
        if moment is not None and types == {moment, "text"}:
            nodes = [self._moment(node, moment) if kind == "text" else node for node, kind in checked]
            return nodes, cast(Type, moment)
        if len(types) > 1:
            shown = ", ".join(f"{_quote(node)} is {_article(kind)}" for node, kind in checked)
            return [node for node, _ in checked], self._wrong(f"{where} mixes types: {shown}")
        return [node for node, _ in checked], types.pop() if types else "null"

    def _moment(self, node: exp.Expr, kind: str) -> exp.Expr:
        if not (isinstance(node, exp.Literal) and node.is_string):
            self._wrong(f"{_quote(node)} is text; a {kind} is compared with a literal such as '2026-01-31'")
            return node
        try:
            (date if kind == "date" else datetime).fromisoformat(node.name)
        except ValueError:
            self._wrong(f"{_quote(node)} is not a {kind}; write it as '2026-01-31'")
        return exp.cast(node, "DATE" if kind == "date" else "TIMESTAMPTZ", dialect="duckdb")

    # one handler a node type ---------------------------------------------------------------------------------

    def _column(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        if not isinstance(node.this, exp.Identifier):
            return node, self._wrong(f"{_quote(node)} is not allowed in a rule ({_what(node.this)})")
        name = node.name
        if name not in self.columns:
            folded = [known for known in self.columns if known.lower() == name.lower()]
            if len(folded) != 1:
                return node, self._wrong(f"unknown column {name!r}: {did_you_mean(name, self.columns)}")
            name = folded[0]
        self.used.add(name)
        return exp.column(exp.to_identifier(name, quoted=True)), cast(Type, self.columns[name])

    def _literal(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        if node.args.get("is_string"):
            if "\x00" in node.name:
                return node, self._wrong("a text holds a NUL character")
            return exp.Literal.string(node.name), "text"
        try:
            number = float(node.name)
        except ValueError:
            return node, self._wrong(f"{_quote(node)} is not a number")
        if not math.isfinite(number):
            return node, self._wrong(f"{node.name} is beyond what a number can hold")
        text = repr(
            number
        )  # with an exponent every engine reads a double, never a decimal or an integer that overflows
        return exp.Literal(this=text if "e" in text else f"{text}e0", is_string=False), "number"

    def _boolean(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        return node.copy(), "flag"

    def _null(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        return exp.Null(), "null"

    def _paren(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        inner, kind = self.check(node.this)
        return exp.Paren(this=inner), kind

    def _logic(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        left, right = (self._operand(side, ("flag",), _SYMBOLS[type(node)]) for side in (node.this, node.expression))
        return type(node)(this=left, expression=right), "flag"

    def _not(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        return exp.Not(this=self._operand(node.this, ("flag",), "NOT")), "flag"

    def _comparison(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        symbol = _SYMBOLS[type(node)]
        if isinstance(node.this, exp.Null) or isinstance(node.expression, exp.Null):
            return node, self._wrong(f"{_quote(node)} is never true or false; write IS NULL or IS NOT NULL")
        (left, right), kind = self._common((node.this, node.expression), f"{_quote(node)}")
        if kind == "flag" and symbol in ("<", "<=", ">", ">="):
            return node, self._wrong(f"{_quote(node)} orders true and false; compare flags with = or IS")
        return type(node)(this=left, expression=right), "flag"

    def _arithmetic(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        where = _SYMBOLS[type(node)]
        left, right = (self._operand(side, ("number",), where) for side in (node.this, node.expression))
        if isinstance(node, exp.Div | exp.Mod) and not _never_zero(right):
            right = exp.Nullif(this=right, expression=_ZERO.copy())  # dividing by zero gives unknown
        return type(node)(this=left, expression=right), "number"

    def _negative(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        return exp.Neg(this=self._operand(node.this, ("number",), "-")), "number"

    def _in(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        options = node.expressions
        if not options:
            return node, self._wrong(f"{_quote(node)}: IN needs a list of values, e.g. IN ('a', 'b')")
        if any(isinstance(option, exp.Null) for option in options):
            return node, self._wrong(f"{_quote(node)}: NULL in a list makes the rule unknown; test it with IS NULL")
        nodes, _ = self._common((node.this, *options), "IN")
        return exp.In(this=nodes[0], expressions=nodes[1:]), "flag"

    def _between(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        nodes, _ = self._common((node.this, node.args["low"], node.args["high"]), "BETWEEN")
        return exp.Between(this=nodes[0], low=nodes[1], high=nodes[2]), "flag"

    def _like(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        where = _SYMBOLS[type(node)]
        left, right = (self._operand(side, ("text",), where) for side in (node.this, node.expression))
        like = type(node)(this=left, expression=right)
        return (exp.Not(this=like) if node.args.get("negate") else like), "flag"

    def _is(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        if isinstance(node.expression, exp.Null):
            inner, _ = self.check(node.this)
            return exp.Is(this=inner, expression=exp.Null()), "flag"
        if isinstance(node.expression, exp.Boolean):
            return exp.Is(this=self._operand(node.this, ("flag",), "IS"), expression=node.expression.copy()), "flag"
        return node, self._wrong(f"{_quote(node)}: IS takes NULL, TRUE or FALSE")

    def _case(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        branches = node.args["ifs"]
        default = node.args.get("default")
        if node.this is None:
            tests = [self._operand(branch.this, ("flag",), "CASE WHEN") for branch in branches]
            subject = None
        else:
            (subject, *tests), _ = self._common((node.this, *(branch.this for branch in branches)), "CASE")
        results = [branch.args["true"] for branch in branches] + ([default] if default is not None else [])
        nodes, kind = self._common(results, "CASE")
        ifs = [exp.If(this=test, true=result) for test, result in zip(tests, nodes, strict=False)]
        return exp.Case(this=subject, ifs=ifs, default=nodes[-1] if default is not None else None), kind

    def _if(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        case = exp.Case(ifs=[exp.If(this=node.this, true=node.args["true"])], default=node.args.get("false"))
        return self._case(case)

    def _number_function(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        return type(node)(this=self._operand(node.this, ("number",), type(node).__name__.lower())), "number"

    def _text_function(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        inner = self._operand(node.this, ("text",), type(node).__name__.lower())
        return type(node)(this=inner), "number" if isinstance(node, exp.Length) else "text"

    def _round(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        decimals = node.args.get("decimals")
        if decimals is not None and not (isinstance(decimals, exp.Literal) and decimals.name in "0123456789"):
            return node, self._wrong("round takes a number and, at most, a count of decimals from 0 to 9")
        inner = self._operand(node.this, ("number",), "round")
        return exp.Round(this=inner, decimals=decimals.copy() if decimals is not None else None), "number"

    def _alternatives(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        nodes, kind = self._common((node.this, *node.expressions), type(node).__name__.lower())
        if not isinstance(node, exp.Coalesce) and kind == "flag":
            return node, self._wrong(f"{_quote(node)} orders true and false")
        extra = {"ignore_nulls": True} if isinstance(node, exp.Least | exp.Greatest) else {}
        return type(node)(this=nodes[0], expressions=nodes[1:], **extra), kind

    def _nullif(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        (left, right), kind = self._common((node.this, node.expression), "nullif")
        return exp.Nullif(this=left, expression=right), kind

    def _cast(self, node: exp.Expr) -> tuple[exp.Expr, Type]:
        target = node.args["to"]
        kinds = {exp.DType.DATE: "date", exp.DType.TIMESTAMPTZ: "time"}
        kind = kinds.get(target.this) if isinstance(target, exp.DataType) and not target.expressions else None
        if kind is None or not (isinstance(node.this, exp.Literal) and node.this.is_string):
            return node, self._wrong(f"{_quote(node)} is not allowed in a rule (only DATE '2026-01-31' is)")
        return self._moment(exp.Literal.string(node.this.name), kind), cast(Type, kind)


_ZERO = exp.Literal(this="0.0e0", is_string=False)

_Handler = Callable[[Checker, exp.Expr], tuple[exp.Expr, Type]]
_HANDLERS: Mapping[type[exp.Expr], _Handler] = {
    exp.Column: Checker._column,
    exp.Literal: Checker._literal,
    exp.Boolean: Checker._boolean,
    exp.Null: Checker._null,
    exp.Paren: Checker._paren,
    exp.And: Checker._logic,
    exp.Or: Checker._logic,
    exp.Not: Checker._not,
    **dict.fromkeys(_COMPARISONS, Checker._comparison),
    **dict.fromkeys(_ARITHMETIC, Checker._arithmetic),
    exp.Neg: Checker._negative,
    exp.In: Checker._in,
    exp.Between: Checker._between,
    exp.Like: Checker._like,
    exp.ILike: Checker._like,
    exp.Is: Checker._is,
    exp.Case: Checker._case,
    exp.If: Checker._if,
    exp.Abs: Checker._number_function,
    exp.Ceil: Checker._number_function,
    exp.Floor: Checker._number_function,
    exp.Round: Checker._round,
    exp.Lower: Checker._text_function,
    exp.Upper: Checker._text_function,
    exp.Length: Checker._text_function,
    exp.Coalesce: Checker._alternatives,
    exp.Least: Checker._alternatives,
    exp.Greatest: Checker._alternatives,
    exp.Nullif: Checker._nullif,
    exp.Cast: Checker._cast,
}


def _never_zero(node: exp.Expr) -> bool:
    return isinstance(node, exp.Nullif) or (isinstance(node, exp.Literal) and float(node.name) != 0)


def _allowed_arguments(node: exp.Expr) -> tuple[str, ...]:
    return _ARGUMENTS.get(type(node), ("this", "expression", "is_string"))


def _quote(node: exp.Expr) -> str:
    text = node.sql(dialect="duckdb", comments=False)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def _what(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous | exp.Func):
        return f"the functions are {', '.join(FUNCTIONS)}"
    return f"{type(node).__name__.lower()}; a rule compares features, e.g. orders_90d >= 2 AND city = 'Shanghai'"


def _article(kind: str) -> str:
    return {"number": "a number", "text": "text", "flag": "true or false", "time": "a time", "date": "a date"}.get(
        kind, kind
    )
