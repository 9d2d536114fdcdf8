"""How amounts of money are written, wherever people read them."""

from __future__ import annotations

SYMBOLS = {"CNY": "¥", "USD": "$", "GBP": "£", "EUR": "€", "JPY": "¥", "HKD": "HK$"}


def with_currency(number: str, currency: str | None) -> str:
    """A written number with its currency: the symbol between sign and digits, or the code behind.

    Examples
    --------
    >>> with_currency("+1.88", "CNY"), with_currency("12", "SGD"), with_currency("-3", None)
    ('+¥1.88', '12 SGD', '-3')
    """
    if not currency:
        return number
    symbol = SYMBOLS.get(currency)
    if symbol is None:
        return f"{number} {currency}"
    sign = number[:1] if number[:1] in ("+", "-", "−") else ""
    return f"{sign}{symbol}{number.removeprefix(sign)}"
