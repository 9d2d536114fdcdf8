"""Numbers made of the gain curve: what they are, how they are read from input, and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError
from uplift.metrics._compat import compat_number, read_pair
from uplift.metrics._draws import Draws, make_draws
from uplift.metrics._ranking import Ranked, area, area_above_random, area_of_toc, gain_at, rank
from uplift.metrics._results import Metric, metric
from uplift.metrics.trial import Propensity, compare_with_control, read_trial

Floats = npt.NDArray[np.float64]
PER_1000 = "extra outcome per 1,000 members"
PER_MEMBER = "outcome per member"


class Options(TypedDict, total=False):
    """Keyword arguments that every ranking metric takes.

    Attributes
    ----------
    control
        The control's name. Not needed where ``treatment`` is 0/1 or boolean (0 and False are control), where an arm
        is named ``control``, or where ``propensity`` is a mapping (its first key is control); otherwise required.
    arm
        With several arms: measure this one against control, by its column of ``effect``. Without it, each member's
        best predicted arm is what they would be given, and its predicted effect ranks them.
    sample_weight
        Weight of each row, ``(n,)``.
    expected
        Outcomes expected with each arm, ``(n, n_arms + 1)`` in the order ``[control, *arms]``, predicted by models
        that did not see the row. Narrows intervals; never needed for a true number.
    clusters
        Rows with the same value (e.g. one member at several times) are resampled together, ``(n,)``.
    n_bootstrap
        Half-sample draws for the standard error (default 200); 0 for none.
    random_state
        Seed of the draws (default 0, so that the same input gives the same output).
    alpha
        1 − level of the interval (default .05).
    compat
        ``"scikit-uplift"``, ``"causalml"`` or ``"grf"``: the number that this library prints for the same input, in its
        units, without an interval: ``n_bootstrap``, ``clusters`` and ``alpha`` then do nothing (``docs/metrics.md``).
    """

    control: Hashable
    arm: Hashable
    sample_weight: npt.ArrayLike | None
    expected: npt.ArrayLike | None
    clusters: npt.ArrayLike | None
    n_bootstrap: int
    random_state: int | None
    alpha: float
    compat: str | None


@dataclass(frozen=True)
class Functional:
    """A number made of the gain curve: ``scale`` times ``of(q, gain)``, both along the last axis."""

    name: str
    unit: str
    scale: float
    of: Callable[[Floats, Floats], Floats]

    def on(self, q: Floats | None, gain: Floats | None) -> Floats | None:
        """The number of every curve; None where there are none."""
        return None if q is None or gain is None else self.scale * self.of(q, gain)


AUUC = Functional("auuc", PER_1000, 1000.0, area)
QINI = Functional("qini", PER_1000, 1000.0, area_above_random)
AUTOC = Functional("autoc", PER_MEMBER, 1.0, area_of_toc)
QINI_RATE = Functional("qini_rate", PER_MEMBER, 1.0, area_above_random)


def total_in(unit: str, scale: float) -> Functional:
    """The effect of treating everybody."""
    return Functional("total", unit, scale, lambda q, gain: gain[..., -1])


def at_share(k: float) -> Functional:
    """The mean effect among the best share ``k``."""
    if isinstance(k, bool) or not 0 < k <= 1:
        raise InputError(f"k is the share of members targeted and lies within (0, 1], found {k}")
    return Functional(f"uplift_at_{k:g}", PER_MEMBER, 1.0, lambda q, gain: gain_at(q, gain, k)[..., 0] / k)


def read_ranked(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity,
    *,
    control: Hashable = None,
    arm: Hashable = None,
    sample_weight: npt.ArrayLike | None = None,
    expected: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    n_bootstrap: int = 200,
    random_state: int | None = 0,
    alpha: float = 0.05,
    draws: Draws | None = None,
) -> tuple[Ranked, float]:
    """The gain curve of what is given, and alpha."""
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie between 0 and 1, found {alpha}")
    trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
    if draws is None:
        draws = make_draws(len(trial), n_bootstrap, random_state, clusters)
    comparison = compare_with_control(effect, trial, arm=arm, expected=expected)
    return rank(comparison, draws), alpha


def with_interval(
    name: str,
    unit: str,
    value: float,
    drawn: Floats | None,
    left: Floats | None,
    draws: Draws | None,
    *,
    n: int,
    alpha: float,
) -> Metric:
    """A metric with the interval that its values over draws, and without each group, give."""
    if draws is None or drawn is None or left is None:
        return metric(name, value, None, n=n, unit=unit, alpha=alpha)
    se, df = float(draws.standard_error(drawn)), float(draws.degrees_of_freedom(left))
    return metric(name, value, se, n=n, unit=unit, alpha=alpha, df=df)


def number(functional: Functional, ranked: Ranked, alpha: float) -> Metric:
    """The number of one gain curve."""
    value = functional.scale * float(functional.of(ranked.q, ranked.gain))
    drawn = functional.on(ranked.draw_q, ranked.draw_gain)
    left = functional.on(ranked.left_q, ranked.left_gain)
    return with_interval(functional.name, functional.unit, value, drawn, left, ranked.draws, n=ranked.n, alpha=alpha)


def ranking_metric(
    name: str,
    functional: Functional,
    given: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, Propensity],
    options: Options,
    **extra: Any,
) -> Metric:
    """A metric of (effect, y, treatment, propensity); with ``compat`` what the other library prints."""
    rest: dict[str, Any] = dict(options)
    compat = rest.pop("compat", None)
    if compat is None:
        return number(functional, *read_ranked(*given, **rest))
    pair = read_pair(compat, *given, **rest)
    return Metric(
        f"{functional.name} of {compat}",
        compat_number(name, compat, pair, **extra),
        n=len(pair),
        unit="as printed there",
    )
