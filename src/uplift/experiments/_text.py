"""What people read, in both languages."""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """The same statement, with the same numbers, in Chinese and in English."""

    zh: str
    en: str
