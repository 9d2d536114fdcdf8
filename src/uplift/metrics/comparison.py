"""Is one model better than another? Differences of a metric on the same rows and the same draws.

Pairing matters: two models that make the same mistakes differ far less than their separate intervals suggest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError, unknown_name
from uplift.metrics._draws import make_draws
from uplift.metrics._functionals import (
    AUTOC,
    AUUC,
    PER_1000,
    QINI,
    QINI_RATE,
    Functional,
    Options,
    at_share,
    read_ranked,
    with_interval,
)
from uplift.metrics._results import Metric
from uplift.metrics.budget import Spending, mean_over
from uplift.metrics.ranking import POINTS
from uplift.metrics.trial import Propensity, read_trial

COMPARABLE: dict[str, Callable[[float], Functional]] = {
    "auuc": lambda k: AUUC,
    "qini": lambda k: QINI,
    "autoc": lambda k: AUTOC,
    "qini_rate": lambda k: QINI_RATE,
    "uplift_at_k": at_share,
}


def compare(
    effect: npt.ArrayLike,
    other: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    metric_name: str = "qini",
    k: float = 0.1,
    **options: Unpack[Options],
) -> Metric:
    """How much better ``effect`` ranks than ``other``: the difference of a ranking metric, on the same draws.

    Parameters
    ----------
    effect, other
        Predicted effects of two models for the same rows, as in :func:`qini_curve`.
    metric_name
        ``auuc``, ``qini``, ``autoc``, ``qini_rate`` or ``uplift_at_k`` (with ``k``).
    y, treatment, propensity, **options
        As in :func:`qini_curve`; there is no ``compat`` here, since other libraries do not compare in pairs.

    Returns
    -------
    Metric
        Value of ``effect`` minus value of ``other``; ``p_value`` is one-sided for ``effect`` being better.
    """
    if metric_name not in COMPARABLE:
        raise unknown_name("metric", metric_name, COMPARABLE)
    functional = COMPARABLE[metric_name](k)
    rest: dict[str, Any] = dict(options)
    if rest.pop("compat", None) is not None:
        raise InputError("compare has no counterpart in another library: leave out compat")
    n_rows, seed = len(np.asarray(y)), rest.get("random_state", 0)
    draws = make_draws(n_rows, rest.get("n_bootstrap", 200), seed, rest.get("clusters"))
    if draws is None:
        rest["n_bootstrap"] = 0
    first, alpha = read_ranked(effect, y, treatment, propensity, **rest, draws=draws)
    second, _ = read_ranked(other, y, treatment, propensity, **rest, draws=draws)
    value = functional.scale * float(functional.of(first.q, first.gain) - functional.of(second.q, second.gain))
    drawn, left = (
        None if a is None or b is None else a - b
        for a, b in (
            (functional.on(first.draw_q, first.draw_gain), functional.on(second.draw_q, second.draw_gain)),
            (functional.on(first.left_q, first.left_gain), functional.on(second.left_q, second.left_gain)),
        )
    )
    name, n = f"{functional.name} difference", max(first.n, second.n)
    return with_interval(name, functional.unit, value, drawn, left, draws, n=n, alpha=alpha)


def compare_budgets(
    effect: npt.ArrayLike,
    other: npt.ArrayLike,
    cost: Mapping[Any, float] | npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    budget: float | None = None,
    control: Hashable = None,
    sample_weight: npt.ArrayLike | None = None,
    expected: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    n_bootstrap: int = 200,
    random_state: int | None = 0,
    alpha: float = 0.05,
) -> Metric:
    """How much more ``effect`` buys than ``other`` with the same money: the difference of two multi-arm Qini curves.

    Parameters
    ----------
    effect, other
        Predicted effects of two models for the same rows, ``(n, n_arms)``.
    budget
        Cost per member at which to compare. None: the mean over all budgets, up to where neither would spend more.
    cost, y, treatment, propensity, control, sample_weight, expected, clusters, n_bootstrap, random_state, alpha
        As in :func:`multi_arm_qini`.

    Returns
    -------
    Metric
        Extra outcome per 1,000 members, ``effect`` minus ``other``; ``p_value`` is one-sided for ``effect`` being
        better.
    """
    trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
    draws = make_draws(len(trial), n_bootstrap, random_state, clusters)
    both = [Spending.read(one, cost, trial, expected, draws) for one in (effect, other)]
    least = both[0].spend[0]  # of the cheapest choice, whatever is predicted
    if budget is None:
        budgets = np.linspace(least, max(one.spend[-1] for one in both), POINTS)
    elif budget < least:
        raise InputError(f"the least that can be spent is {least:.6g} per member, asked for {budget:.6g}")
    else:
        budgets = np.array([float(budget)])
    first, second = both
    value = float(mean_over(budgets, first.at(budgets) - second.at(budgets)))
    drawn = left = None
    ours, theirs = first.resampled_at(budgets), second.resampled_at(budgets)
    if draws is not None and ours is not None and theirs is not None:
        drawn, left = draws.split(mean_over(budgets, ours - theirs))
    name = "multi_arm_qini difference" if budget is None else f"gain at {budget:g} difference"
    return with_interval(name, PER_1000, value, drawn, left, draws, n=len(trial), alpha=alpha)
