"""Effects for a flat table, from a saved model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from uplift.data import read_flat, write_csv_atomic, write_parquet_atomic
from uplift.errors import InputError, unknown_name
from uplift.learners.bundle import load_bundle
from uplift.results import Rendered


@dataclass(frozen=True)
class Scored(Rendered):
    """What was written: rows in, rows out, and the columns of effects."""

    out: str
    rows: int
    columns: tuple[str, ...]


def score(model: Path, data: Path, out: Path, *, keep: Sequence[str] = ()) -> Scored:
    """Write one row of effects for every row of ``data``, in its order.

    Parameters
    ----------
    model
        Folder of a saved model.
    data
        CSV or Parquet with at least the model's features.
    out
        ``.parquet`` or ``.csv``.
    keep
        Columns of ``data`` to carry over.

    Raises
    ------
    InputError
        If the folder is not a model, a feature is missing, or a column to keep is unknown.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"{out}: end the name in .parquet or .csv")
    bundle = load_bundle(model)
    frame = read_flat(data)
    for name in keep:
        if name not in frame.columns:
            raise unknown_name("column", name, frame.columns)
    effects = bundle.predict_frame(frame)
    result = pd.concat([frame[list(keep)], effects], axis=1)
    if out.suffix == ".csv":
        write_csv_atomic(out, result)
    else:
        write_parquet_atomic(out, pa.Table.from_pandas(result, preserve_index=False))
    return Scored(str(out), len(result), tuple(effects.columns))
