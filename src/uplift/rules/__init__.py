"""Safe boolean expressions over named columns: parsed, checked against a white list, typed, rendered anew."""

from uplift.rules._evaluate import evaluate_rules
from uplift.rules._rule import Rule, compile_expression, compile_rule

__all__ = ["Rule", "compile_expression", "compile_rule", "evaluate_rules"]
