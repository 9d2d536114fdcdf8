"""In what gains are counted, and how they are written in both languages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from uplift.config import with_currency
from uplift.metrics import Metric


class Text(NamedTuple):
    """The same in both languages."""

    zh: str
    en: str


@dataclass(frozen=True)
class GainUnit:
    """In what a gain per member is counted, and how it is written.

    Attributes
    ----------
    kind
        ``money``: values are cents and are written in units of the currency · ``share``: values are shares and are
        written in percentage points · ``count`` · ``number``: as it is, of no known unit.
    currency
        Code of the currency, of money.

    Examples
    --------
    >>> GainUnit("money", "CNY").text(137.2, 182.0).zh, GainUnit("share").text(0.0123, 0.004).en
    ('+¥1.37 ± ¥1.82', '+1.23 points ± 0.40 points')
    >>> GainUnit("money", "CNY").per_1000(Metric("gain", 171.9, low=102.9, high=241.0)).en
    '+¥1,719 extra (¥1,029 to ¥2,410)'
    """

    kind: Literal["money", "share", "count", "number"] = "number"
    currency: str | None = None

    def text(self, value: float, se: float | None = None) -> Text:
        """A gain to three figures (of money two), or with its standard error and the digits of its first two."""
        if se is None:
            return Text(*self._one(value, self._digits(value, 2 if self.kind == "money" else 3), "+"))
        digits = self._digits(se, 2)
        zh, en = self._one(value, digits, "+")
        zh_se, en_se = self._one(se, digits)
        return Text(f"{zh} ± {zh_se}", f"{en} ± {en_se}")

    def per_1000(self, gain: Metric) -> Text:
        """What a gain per member comes to among a thousand of them, with its interval.

        A share of a thousand members is a number of them, so nothing is said in points.
        """
        factor = 1000 * self._factor if self.kind == "money" else 1000.0
        ends = () if gain.low is None or gain.high is None else (gain.low, gain.high)
        width = factor * (ends[1] - ends[0] if ends else abs(gain.value))
        digits = _after_point(width, 3) if width > 0 else 0
        if self.kind == "money" and digits == 1:
            digits = 2
        numbers = [f"{factor * gain.value:+,.{digits}f}", *(f"{factor * end:,.{digits}f}" for end in ends)]
        if self.kind == "money":
            numbers = [with_currency(number, self.currency) for number in numbers]
        if not ends:
            return Text(numbers[0], f"{numbers[0]} extra")
        value, low, high = numbers
        return Text(f"{value}（{low} 至 {high}）", f"{value} extra ({low} to {high})")

    def error(self, se: float) -> Text:
        """A standard error by itself, as :meth:`text` writes it."""
        return Text(*self._one(se, self._digits(se, 2)))

    def _digits(self, value: float, figures: int) -> int:
        """After the point: so many figures, and of money at least two digits."""
        if not value:
            return 2
        return max(_after_point(abs(value) * self._factor, figures), 2 if self.kind == "money" else 0)

    @property
    def _factor(self) -> float:
        return {"money": 0.01, "share": 100.0}.get(self.kind, 1.0)

    def _one(self, value: float, digits: int, sign: str = "") -> tuple[str, str]:
        number = f"{value * self._factor:{sign},.{digits}f}"
        if self.kind == "money":
            return (with_currency(number, self.currency),) * 2
        zh, en = {"share": (" 个百分点", " points"), "count": (" 次", " times")}.get(self.kind, ("", ""))
        return number + zh, number + en


PLAIN = GainUnit()


def _after_point(size: float, figures: int) -> int:
    """Digits after the point that show so many figures of a size above 0."""
    return min(max(figures - 1 - math.floor(math.log10(size)), 0), 6)
