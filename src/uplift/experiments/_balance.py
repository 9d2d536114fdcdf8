"""The balance check from sums alone: the same test, and the same rows, as over the members themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import chdtrc

from uplift.experiments._encoding import EncodedColumn
from uplift.experiments.checks import ALARM, Balance, differences
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
    variances = np.array([np.diagonal(product)[x] for product in moments.product]) / moments.count[:, None]
    rows: list[Mapping[str, Any]] = []
    gaps: list[float] = []
    for place in range(1, len(arms)):
        pair = [0, place]
        found, sizes = differences(
            columns, moments.count[pair], moments.mean[np.ix_(pair, x)], variances[pair], arms[place], min_cell
        )
        rows += found
        gaps += sizes
    total = moments.pooled()
    count = float(total.count[0])
    spread = np.sqrt(np.maximum(np.diagonal(total.product[0])[x], 0.0) / max(count, 1.0))
    largest = np.maximum(np.abs(total.mean[0, x]), spread)
    moving = spread > 1e-9 * np.maximum(largest, 1e-300)
    if not moving.any():
        return Balance(tuple(rows), None, None, None, None, ALARM, tuple(gaps))
    kept, spread = np.array(x)[moving], spread[moving]
    covariance = total.product[0][np.ix_(kept, kept)] / np.outer(spread, spread) / (count - 1)
    values, vectors = np.linalg.eigh(covariance)
    solid = values > 1e-8 * values.max()
    whiten = vectors[:, solid] / np.sqrt(values[solid])
    filled = np.flatnonzero(moments.count > 0)
    away = (moments.mean[np.ix_(filled, kept)] - total.mean[0, kept]) / spread
    statistic = float((moments.count[filled] * ((away @ whiten) ** 2).sum(axis=1)).sum())
    df = int(solid.sum()) * (len(filled) - 1)
    p_value = float(chdtrc(df, statistic)) if df > 0 else 1.0
    return Balance(tuple(rows), statistic, df, p_value, p_value >= ALARM, ALARM, tuple(gaps))
