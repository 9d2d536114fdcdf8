"""Every word of a report, in Chinese and in English, from ``words.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

from uplift.config import parse_yaml

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")


def _read() -> Mapping[str, Mapping[str, str]]:
    text = files("uplift.reports").joinpath("words.yaml").read_text(encoding="utf-8")
    return parse_yaml(text, "words.yaml")


WORDS = _read()
"""Key → language → text with ``{blanks}``."""


def word(key: str, language: Language, **values: object) -> str:
    """The text of that key, with its blanks filled."""
    return WORDS[key][language].format(**values)


def called(prefix: str, code: str, language: Language) -> str:
    """What people call a code of the data, such as a channel; the code itself where there is no other."""
    key = f"{prefix}_{code}"
    return word(key, language) if key in WORDS else code
