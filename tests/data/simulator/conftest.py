"""Simulated chains that several tests read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from uplift.data.contract import TABLES
from uplift.data.simulator import INDUSTRIES, Simulated, simulate

MEMBERS, MONTHS = 1500, 8


@pytest.fixture(scope="session", params=INDUSTRIES)
def chain(request, tmp_path_factory) -> Simulated:
    """A small chain of every industry."""
    folder = tmp_path_factory.mktemp("chains") / request.param
    return simulate(folder, members=MEMBERS, months=MONTHS, seed=11, industry=request.param)


@pytest.fixture(scope="session")
def read(chain) -> Callable[[str], pd.DataFrame]:
    """A table of the chain by its path without the ending, read once."""
    held: dict[str, pd.DataFrame] = {}

    def table(name: str) -> pd.DataFrame:
        if name not in held:
            path = Path(chain.folder) / f"{name}.parquet"
            absent = name == "data/contracts" and not path.exists()  # no rows, no file
            held[name] = TABLES["contracts"].arrow_schema.empty_table().to_pandas() if absent else pd.read_parquet(path)
        return held[name]

    return table
