"""Candidates side by side: gain, ranking and shrinkage, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.evaluation._selection import ranks_within, row_gains
from uplift.evaluation.gain import mean_metric
from uplift.evaluation.scores import Scores
from uplift.learners import Shrunk, pooled
from uplift.metrics import Metric
from uplift.metrics._draws import Draws, make_draws
from uplift.metrics._ranking import area_above_random, area_of_toc, rank
from uplift.metrics._results import metric
from uplift.metrics.ranking import PER_1000, PER_MEMBER
from uplift.metrics.trial import Trial, compare_with_control

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """One candidate: out-of-fold effects and gains; gains within each outer set; effects on the outer folds.

    ``alike``: it treats everybody alike; ``averaged``: it is an average of others, weighted by held-out scores.
    """

    name: str
    shrunk: Shrunk
    gains: Floats
    inner: Mapping[int, Floats]
    outer: Floats
    seconds: float
    alike: bool = False
    averaged: bool = False

    @classmethod
    def over(cls, repeated: Sequence[Self]) -> Self:
        """The same candidate on several partitions into folds; effects, and what is nested, are the first one's."""
        first = repeated[0]
        return replace(
            first,
            shrunk=pooled([one.shrunk for one in repeated]),
            gains=np.mean([one.gains for one in repeated], axis=0),
            seconds=sum(one.seconds for one in repeated),
            alike=all(one.alike for one in repeated),
        )


def leaderboard(
    judged: Sequence[Judged],
    chosen: int,
    one_for_all: Floats,
    scores: Scores,
    n_bootstrap: int,
    random_state: int | None,
) -> pd.DataFrame:
    """A row per candidate, in the order given.

    Parameters
    ----------
    judged, chosen
        Candidates, and the position of the one chosen.
    one_for_all
        Gain per row of the single arm that each fold is compared with, ``(n,)``.
    """
    trial = Trial(scores.y, scores.assigned, scores.control, scores.arms, scores.propensity, scores.weight)
    draws = make_draws(len(scores), n_bootstrap, random_state, scores.clusters)
    rows = []
    for position, one in enumerate(judged):
        gain = mean_metric("gain", one.gains, scores.weight, scores.clusters)
        over = mean_metric("gain over single", one.gains - one_for_all, scores.weight, scores.clusters)
        qini, autoc = _ranking(one.shrunk.effects, trial, scores, draws)
        choice = row_gains(one.shrunk.effects, one.shrunk.effects, scores.offered)[0]
        row: dict[str, Any] = {"candidate": one.name, "chosen": position == chosen}
        for name, number in (("value", gain), ("over_single", over), ("qini", qini), ("autoc", autoc)):
            row |= {
                name: number.value,
                f"{name}_se": number.se,
                f"{name}_low": number.low,
                f"{name}_high": number.high,
                f"{name}_p": number.p_value,
            }
        row["promised"] = float(np.average(np.nan_to_num(choice), weights=scores.weight))
        row["kept_level"], row["kept_between_arms"] = one.shrunk.shrinkage.factors
        row["seconds"] = round(one.seconds, 2)
        rows.append(row)
    return pd.DataFrame(rows)


def _ranking(effects: Floats, trial: Trial, scores: Scores, draws: Draws | None) -> tuple[Metric, Metric]:
    """Qini and AUTOC of the best predicted effect, ranked within folds."""
    comparison = compare_with_control(effects, trial, expected=scores.expected)
    fold = scores.fold if comparison.row is None else scores.fold[comparison.row]
    ranked = rank(replace(comparison, score=ranks_within(comparison.score, fold)), draws)
    numbers = []
    for name, unit, scale, of in (
        ("qini", PER_1000, 1000.0, area_above_random),
        ("autoc", PER_MEMBER, 1.0, area_of_toc),
    ):
        se = None
        if draws is not None and ranked.draw_q is not None and ranked.draw_gain is not None:
            se = float(draws.standard_error(scale * of(ranked.draw_q, ranked.draw_gain)))
        value = scale * float(of(ranked.q, ranked.gain))
        count = None if draws is None else len(draws.chosen)
        numbers.append(metric(name, value, se, n=ranked.n, unit=unit, draws=count))
    return numbers[0], numbers[1]
