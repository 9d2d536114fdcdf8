"""The balance check from sums alone: the same test, and the same rows, as over the members themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import chdtrc

from uplift.experiments._encoding import EncodedColumn
from uplift.experiments.checks import ALARM, Balance
from uplift.experiments.moments import Moments


def balance_of_moments(
    moments: Moments, names: Sequence[str], columns: Sequence[EncodedColumn], arms: tuple[str, ...], *, min_cell: int
) -> Balance:
    """As :func:`uplift.experiments.balance`, without clusters or strata.

    Parameters
    ----------
    names, columns
        The covariates' columns in the moments, and where each comes from.
    """
    x = [moments.place(name) for name in names]
    rows = tuple(_differences(moments, x, columns, arms, min_cell))
    total = moments.pooled()
    count = float(total.count[0])
    spread = np.sqrt(np.maximum(np.diagonal(total.product[0])[x], 0.0) / max(count, 1.0))
    largest = np.maximum(np.abs(total.mean[0, x]), spread)
    moving = spread > 1e-9 * np.maximum(largest, 1e-300)
    if not moving.any():
        return Balance(rows, None, None, None, None, ALARM)
    kept, spread = np.array(x)[moving], spread[moving]
    covariance = total.product[0][np.ix_(kept, kept)] / np.outer(spread, spread) / (count - 1)
    values, vectors = np.linalg.eigh(covariance)
    solid = values > 1e-8 * values.max()
    whiten = vectors[:, solid] / np.sqrt(values[solid])
    filled = np.flatnonzero(moments.count > 0)
    gaps = (moments.mean[np.ix_(filled, kept)] - total.mean[0, kept]) / spread
    statistic = float((moments.count[filled] * ((gaps @ whiten) ** 2).sum(axis=1)).sum())
    df = int(solid.sum()) * (len(filled) - 1)
    p_value = float(chdtrc(df, statistic)) if df > 0 else 1.0
    return Balance(rows, statistic, df, p_value, p_value >= ALARM, ALARM)


def _differences(
    moments: Moments, x: Sequence[int], columns: Sequence[EncodedColumn], arms: tuple[str, ...], min_cell: int
) -> list[dict[str, Any]]:
    count = moments.count
    rows: list[dict[str, Any]] = []
    for place in range(1, len(arms)):
        for j, column in zip(x, columns, strict=True):
            row: dict[str, Any] = {"covariate": column.covariate, "level": column.level, "arm": arms[place]}
            row.update(mean_control=None, mean_arm=None, smd=None)
            rows.append(row)
            pair = [0, place]
            if count[pair].min() < min_cell:
                continue
            base, own = moments.mean[pair, j]
            if column.level is not None and (count[pair] * [base, own]).min() < min_cell - 1e-6:
                continue  # a category's mean is a count in disguise
            pooled = math.sqrt(float((moments.product[pair, j, j] / count[pair]).mean()))
            row.update(mean_control=float(base), mean_arm=float(own))
            row["smd"] = float((own - base) / pooled) if pooled > 0 else None
    return rows
