"""What a rule asks of one feature: to be tested, to be written as SQL, and to be said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.learners._encoder import _key as category_text

Mask = npt.NDArray[np.bool_]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Condition:
    """What a rule asks of one feature.

    Attributes
    ----------
    feature
        Its name.
    kind
        ``number``; ``whole``: a number without fractions; ``flag``: 0 or 1; ``text``.
    low, high
        A number above the one (``whole``: at least that) and up to the other; None: no bound.
    among, outside
        One of these texts; none of those.
    missing
        Whether members of whom it is unknown fulfil the condition too. Where nothing else is asked: True is "unknown",
        False is "known".
    """

    feature: str
    kind: str = "number"
    low: float | None = None
    high: float | None = None
    among: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    missing: bool = False

    @property
    def open(self) -> bool:
        """Whether nothing is asked of known values."""
        return self.low is None and self.high is None and not self.among and not self.outside

    def holds(self, values: pd.Series) -> Mask:
        """Which values fulfil it, ``(n,)``."""
        unknown = values.isna().to_numpy()
        known = np.full(len(values), not (self.open and self.missing))
        if self.kind == "text":
            texts = values.astype(object).map(category_text, na_action="ignore")
            if self.among:
                known &= texts.isin(self.among).to_numpy()
            known &= ~texts.isin(self.outside).to_numpy()
        elif not self.open:
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
            if self.low is not None:
                known &= numbers >= self.low if self.kind == "whole" else numbers > self.low
            if self.high is not None:
                known &= numbers <= self.high
        return np.where(unknown, self.missing, known).astype(bool)

    def below(self, cut: float, *, missing: bool) -> Condition:
        """This and: up to ``cut``."""
        high = cut if self.high is None else min(self.high, cut)
        return replace(self, high=high, missing=self.missing and missing)

    def above(self, cut: float, *, missing: bool) -> Condition:
        """This and: above ``cut``."""
        cut = cut + 1 if self.kind == "whole" else cut
        low = cut if self.low is None else max(self.low, cut)
        return replace(self, low=low, missing=self.missing and missing)

    @property
    def sql(self) -> str:
        """As :func:`uplift.rules.compile_rule` reads it."""
        name = self.feature if _PLAIN.fullmatch(self.feature) else '"' + self.feature.replace('"', '""') + '"'
        if self.open:
            return f"{name} IS {'' if self.missing else 'NOT '}NULL"
        if self.kind == "flag":
            parts = [name if self.low is not None else f"NOT {name}"]
        elif self.kind == "text":
            parts = [
                f"{name} {one} {quoted[0]}" if len(quoted) == 1 else f"{name} {many} ({', '.join(quoted)})"
                for texts, one, many in ((self.among, "=", "IN"), (self.outside, "<>", "NOT IN"))
                if (quoted := ["'" + text.replace("'", "''") + "'" for text in texts])
            ]
        else:
            above = ">=" if self.kind == "whole" else ">"
            parts = [f"{name} {above} {_written(self.low)}"] if self.low is not None else []
            parts += [f"{name} <= {_written(self.high)}"] if self.high is not None else []
            if self.kind == "whole" and self.low == self.high:
                parts = [f"{name} = {_written(self.low)}"]
        known = " AND ".join(parts)
        return f"({known} OR {name} IS NULL)" if self.missing else known

    def words(self, title: str, *, chinese: bool) -> str:
        """For people."""
        unknown = "未知" if chinese else "unknown"
        if self.open:
            told = unknown if self.missing else ("已知" if chinese else "known")
            return f"{title}{told}" if chinese else f"{title} {told}"
        if self.kind == "flag":
            yes, no = ("是", "否") if chinese else ("yes", "no")
            parts = [f"{title} = {yes if self.low is not None else no}"]
        elif self.kind == "text":
            comma = "、" if chinese else ", "
            parts = [
                f"{title} {sign} {comma.join(texts)}"
                for texts, sign in ((self.among, "="), (self.outside, "≠"))
                if texts
            ]
        elif self.low is not None and self.high is not None:
            low, high = _written(self.low), _written(self.high)
            between = f"{low} {'≤' if self.kind == 'whole' else '<'} {title} ≤ {high}"
            parts = [f"{title} = {low}" if self.kind == "whole" and self.low == self.high else between]
        elif self.low is not None:
            parts = [f"{title} {'≥' if self.kind == 'whole' else '>'} {_written(self.low)}"]
        else:
            parts = [f"{title} ≤ {_written(self.high)}"]
        known = (" 且 " if chinese else " and ").join(parts)
        if not self.missing:
            return known
        return f"（{known} 或{unknown}）" if chinese else f"({known} or {unknown})"


def short_cut(threshold: float, values: npt.NDArray[Any]) -> float:
    """The shortest number that parts the values as the threshold does, or nearly so; of whole numbers a whole one."""
    present = values[~np.isnan(values)].astype(np.float64)
    below, above = present[present <= threshold], present[present > threshold]
    low = float(below.max()) if len(below) else threshold
    high = float(above.min()) if len(above) else threshold
    if is_whole(present):
        return low
    for digits in range(2, 8):
        short = float(f"{threshold:.{digits}g}")
        if low <= short < high:
            return short
        # among numbers without gaps, three digits are as good as the tree's own choice
        if digits == 3 and abs(np.mean(present <= short) - np.mean(present <= threshold)) < 0.005:
            return short
    return threshold


def is_whole(values: npt.NDArray[Any]) -> bool:
    """Whether there are no fractions among the known values."""
    present = values[~np.isnan(values)]
    return bool((present == np.round(present)).all())


def quoted_rule(conditions: Sequence[Condition]) -> str:
    """All of them, as one expression."""
    return " AND ".join(condition.sql for condition in conditions)


def _written(value: float | None) -> str:
    number = 0.0 if value is None else float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
