"""Fixtures that every room may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public data; tests that need it skip, saying why, where it is absent."""
    folder = Path(os.environ.get("UPLIFT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"public data not found at {folder}: set UPLIFT_DATA to the folder that holds it")
    return folder
