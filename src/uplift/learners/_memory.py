"""Memory that is free for us but not yet for others."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

MANY_ROWS = 100_000
"""Below that nothing worth the call is left behind."""


def give_back(rows: int) -> None:
    """Hand memory that temporary arrays of so many rows have left behind back to the system, where it can be asked.

    The C library keeps what lies between things that are still in use; between the stages of a fit that is as much as
    a quarter of the features.
    """
    trim = _trim()
    if trim is not None and rows >= MANY_ROWS:
        trim(0)


@cache
def _trim() -> Any:
    """GNU's ``malloc_trim``; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
