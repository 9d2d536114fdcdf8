"""How numbers are written: the same number in both languages, with a true minus."""

from __future__ import annotations

from dataclasses import dataclass

from uplift.config import SYMBOLS, with_currency
from uplift.reports._words import Language, word

_MINUS = "−"
NOTHING = "—"


def integer(value: float | None) -> str:
    """``64,000``, or a dash where there is nothing."""
    return NOTHING if value is None else f"{value:,.0f}".replace("-", _MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """A share as ``10.6%``."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}%".replace("-", _MINUS)


def p_value(value: float | None) -> str:
    """A p-value to three digits, never zero."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_phrase(value: float | None) -> str:
    """A p-value within a sentence: ``p = 0.042``, ``p < 0.001``."""
    return f"p {p_value(value)}" if value is not None and value < 0.001 else f"p = {p_value(value)}"


def money(value: float | None, currency: str, *, signed: bool = False) -> str:
    """An amount in units of the currency, to the cent below 1,000."""
    if value is None:
        return NOTHING
    digits = 2 if abs(value) < 1000 else 0
    sign = _MINUS if value < 0 else "+" if signed else ""
    return with_currency(f"{sign}{abs(value):,.{digits}f}", currency)


def joined(low: str, high: str, language: Language) -> str:
    """From one number to another."""
    return f"{low} 至 {high}" if language == "zh" else f"{low} to {high}"


@dataclass(frozen=True)
class Scale:
    """How a metric's values are written.

    Attributes
    ----------
    unit
        ``share`` (levels in percent, differences in points), ``money``, ``days``, or anything else: plain numbers.
    currency
        Of money.

    Examples
    --------
    >>> points = Scale("share", "", "en")
    >>> points.level(0.1062), points.change(-0.0041), points.span(-0.01, 0.002)
    ('10.62%', '−0.41 points', '−1.00 to +0.20')
    >>> Scale("money", "CNY", "zh").change(1.5)
    '+¥1.50'
    """

    unit: str
    currency: str
    language: Language

    @property
    def factor(self) -> float:
        """What values are multiplied with before they are drawn."""
        return 100.0 if self.unit == "share" else 1.0

    @property
    def name(self) -> str:
        """Of the unit of a difference, for an axis; empty for plain numbers."""
        if self.unit == "money":
            return SYMBOLS.get(self.currency, self.currency)
        return word({"share": "points", "days": "day_unit"}[self.unit], self.language) if self._words else ""

    @property
    def _words(self) -> bool:
        return self.unit in ("share", "days")

    def level(self, value: float | None) -> str:
        """A value."""
        if value is None:
            return NOTHING
        if self.unit == "share":
            return percent(value, 2)
        if self.unit == "money":
            return money(value, self.currency)
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return f"{text} {self.name}".rstrip().replace("-", _MINUS)

    def bare(self, value: float | None) -> str:
        """A difference without the words of its unit."""
        if value is None:
            return NOTHING
        if self.unit == "money":
            return money(value, self.currency, signed=True)
        return _signed(self.factor * value)

    def change(self, value: float | None) -> str:
        """A difference."""
        return f"{self.bare(value)} {self.name}" if self._words and value is not None else self.bare(value)

    def size(self, value: float | None) -> str:
        """A difference without its sign, such as a margin."""
        return self.change(value).lstrip(f"+{_MINUS}")

    def span(self, low: float | None, high: float | None) -> str:
        """The interval of a difference."""
        if low is None or high is None:
            return NOTHING
        return joined(self.bare(low), self.bare(high), self.language)


def _signed(value: float) -> str:
    size = abs(value)
    digits = 0 if size >= 100 else 2 if size >= 0.0995 or value == 0 else 3
    return f"{value:+,.{digits}f}".replace("-", _MINUS)
