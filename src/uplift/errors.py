"""What can go wrong, as messages to a person.

::

    UpliftError                     exit 1: something failed inside
    ├── InputError                  exit 2: wrong input, nothing was done with it
    │   ├── ConfigError             a YAML file or an option
    │   ├── ContractError           a table, with everything that is wrong with it
    │   ├── RuleError               a boolean expression
    │   ├── DesignError             an experiment that cannot be analysed as asked
    │   └── MissingExtraError       an optional library that is not installed
    └── GateError                   exit 3: finished, but a gate or a check failed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


class UpliftError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 1


class InputError(UpliftError, ValueError):
    """The caller's input cannot be used; the message says what, where, which value and what to do."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration file or an option is wrong."""


class RuleError(InputError):
    """A boolean expression is not in the white list, or names something unknown."""


class DesignError(InputError):
    """An experiment cannot be analysed as asked without giving a wrong number."""


class MissingExtraError(InputError):
    """An optional library is not installed."""


class GateError(UpliftError):
    """The work is done and kept, but a gate or a check did not pass."""

    exit_code = 3


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a table.

    Attributes
    ----------
    table, column
        Where. ``column`` is None when the whole table is meant.
    code
        A stable short name, e.g. ``"missing_column"``; also the reason written beside quarantined rows.
    message
        What is wrong, in a sentence.
    count
        How many rows (0 when the table as a whole is meant).
    examples
        Up to five offending values. Never member ids.
    remedy
        What to do.
    fatal
        True when the table is refused; False when only the rows go to quarantine.
    """

    table: str
    column: str | None
    code: str
    message: str
    count: int = 0
    examples: tuple[str, ...] = ()
    remedy: str = ""
    fatal: bool = True

    def __str__(self) -> str:
        where = self.table if self.column is None else f"{self.table}.{self.column}"
        rows = f" ({self.count:,} rows)" if self.count else ""
        examples = f", e.g. {', '.join(self.examples)}" if self.examples else ""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"{where}: {self.message}{rows}{examples}{remedy}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


class ContractError(InputError):
    """One or more tables break the contract; ``problems`` holds everything that is wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {p}" for p in self.problems)
        super().__init__(f"{len(self.problems)} problem(s) in the data:\n{lines}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the nearest known name, else the known names."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"known: {shown}" if names else "none are known"


def unknown_name(kind: str, name: str, known: Iterable[str], error: type[InputError] = InputError) -> InputError:
    """An error for a name that is not among the known ones.

    Examples
    --------
    >>> str(unknown_name("offer", "vuocher", ["voucher", "gift"]))
    "unknown offer 'vuocher': did you mean 'voucher'?"
    """
    return error(f"unknown {kind} {name!r}: {did_you_mean(name, known)}")


def missing_extra(library: str, extra: str, purpose: str) -> MissingExtraError:
    """An error for an optional library, with the command that installs it."""
    return MissingExtraError(f"{purpose} needs {library}, which is not installed: pip install 'uplift[{extra}]'")
