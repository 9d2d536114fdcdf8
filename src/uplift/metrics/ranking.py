"""Does a predicted effect rank members by who gains from treatment? Qini, uplift, TOC and the numbers made of them.

One estimate underlies all: the gain curve, the extra outcome when the share ``q`` of members with the best predictions
is treated, by inverse-probability weights normalised per arm, centred on the mean outcome, or doubly robust when
``expected`` outcomes are given. It is exact at ties: members with equal predictions count as one group.

References: Radcliffe (2007), Qini; Gutierrez & Gérardy (2017), uplift curves; Yadlowsky, Fleming, Shah, Brunskill &
Wager (2025), rank-weighted average treatment effects (TOC, AUTOC, QINI) and half-sampling.
"""

from __future__ import annotations

from typing import Any, Literal, Unpack

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from uplift.errors import InputError
from uplift.metrics._compat import compat_points, read_pair
from uplift.metrics._functionals import (
    AUTOC,
    AUUC,
    QINI,
    QINI_RATE,
    Functional,
    Options,
    at_share,
    number,
    ranking_metric,
    read_ranked,
    total_in,
)
from uplift.metrics._functionals import PER_1000 as PER_1000
from uplift.metrics._functionals import PER_MEMBER as PER_MEMBER
from uplift.metrics._ranking import Ranked, gain_at
from uplift.metrics._results import Curve, Metric
from uplift.metrics.trial import Propensity

Floats = npt.NDArray[np.float64]
POINTS = 201
CLEARLY = 3.0


def auuc(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    **options: Unpack[Options],
) -> Metric:
    """Area under the uplift curve: mean gain over all shares targeted, extra outcome per 1,000 members.

    Parameters are those of :func:`qini_curve`. It holds the effect of treating anybody at all; :func:`qini` is what
    the ranking adds.
    """
    return ranking_metric("auuc", AUUC, (effect, y, treatment, propensity), options)


def qini(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    **options: Unpack[Options],
) -> Metric:
    """Area between the Qini curve and random targeting, extra outcome per 1,000 members.

    Parameters are those of :func:`qini_curve`. Zero for a constant score; never divided by the total effect.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> treatment = rng.integers(0, 2, 2000)
    >>> effect = rng.normal(size=2000)
    >>> y = effect * treatment + rng.normal(size=2000)
    >>> result = qini(effect, y, treatment, {0: 0.5, 1: 0.5})
    >>> result.unit, bool(result.low < 282 < result.high)
    ('extra outcome per 1,000 members', True)
    >>> float(qini(np.zeros(2000), y, treatment))
    0.0
    """
    return ranking_metric("qini", QINI, (effect, y, treatment, propensity), options)


def autoc(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    **options: Unpack[Options],
) -> Metric:
    """Area under the TOC, ∫ TOC(q) dq with weight 1, in outcomes per member.

    Parameters are those of :func:`qini_curve`. It looks hardest at the top of the ranking: best when few gain. With
    effects drawn from N(0, 1) and known, it is 0.903 (0.898 in a sample of several hundred).
    """
    return ranking_metric("autoc", AUTOC, (effect, y, treatment, propensity), options)


def qini_rate(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    **options: Unpack[Options],
) -> Metric:
    """∫ q · TOC(q) dq, the QINI of Yadlowsky et al., in outcomes per member (:func:`qini` over 1,000).

    Parameters are those of :func:`qini_curve`. With effects drawn from N(0, 1) and known, it is 0.282.
    """
    return ranking_metric("qini_rate", QINI_RATE, (effect, y, treatment, propensity), options)


def uplift_at_k(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    k: float = 0.1,
    strategy: Literal["overall", "by_group"] | None = None,
    **options: Unpack[Options],
) -> Metric:
    """Mean effect among the share ``k`` of members with the best predictions, in outcomes per member.

    Parameters
    ----------
    k
        Share of members.
    strategy
        With ``compat="scikit-uplift"`` only: its way of taking the top, from all rows together or by arm.
    effect, y, treatment, propensity, **options
        As in :func:`qini_curve`.
    """
    given = (effect, y, treatment, propensity)
    if options.get("compat") is None and strategy is not None:
        raise InputError("strategy belongs to compat='scikit-uplift'; here the top is the share k of all members")
    extra: dict[str, Any] = {} if options.get("compat") is None else {"k": k, "strategy": strategy or "overall"}
    return ranking_metric("uplift_at_k", at_share(k), given, options, **extra)


def qini_curve(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    **options: Unpack[Options],
) -> Curve:
    """Extra outcome per 1,000 members when the share q with the best predictions is treated.

    Parameters
    ----------
    effect
        Predicted effects, ``(n,)`` for one arm or ``(n, n_arms)`` in the order of the sorted arms (learners'
        ``arms_``); a data frame with one column named as each arm is put into order.
    y
        Outcomes, binary or numbers, ``(n,)``.
    treatment
        Arm of each row, ``(n,)``.
    propensity
        Designed shares as a mapping arm → share; probabilities per row, ``(n, n_arms + 1)`` in the order
        ``[control, *arms]``; for a single arm also its probability as a number or ``(n,)``; or None: the observed
        shares, which is right only where every row had the same. A row where an arm has probability zero says nothing
        about that arm.
    **options
        See :class:`Options`: ``control``, ``arm``, ``sample_weight``, ``expected``, ``clusters``, ``n_bootstrap``,
        ``random_state``, ``alpha``.

    Returns
    -------
    Curve
        With ``.area``, the :func:`qini`; ``.total``, the effect of treating everybody; ``.q`` and ``.value`` (at most
        201 points, all of them exact), ``.low``, ``.high``, ``.random``.

    Raises
    ------
    InputError
        Listing everything that is wrong with the input.
    """
    return _curve("qini_curve", "qini", QINI, (effect, y, treatment, propensity), options)


def uplift_curve(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    **options: Unpack[Options],
) -> Curve:
    """The points of :func:`qini_curve` with the whole area under them (:func:`auuc`) as ``.area``.

    With known propensities and weights per member both curves of the literature are the same curve; what differs is
    the line that the area is measured from. Parameters are those of :func:`qini_curve`.
    """
    return _curve("uplift_curve", "auuc", AUUC, (effect, y, treatment, propensity), options)


def toc(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    **options: Unpack[Options],
) -> Curve:
    """Targeting operator characteristic: mean effect among the best-ranked share q, less the mean effect of all.

    Parameters are those of :func:`qini_curve`; ``.area`` is the :func:`autoc`, in outcomes per member.
    """
    given = (effect, y, treatment, propensity)
    if options.get("compat") is not None:
        return _printed("toc", "autoc", AUTOC, given, options)
    rest: dict[str, Any] = dict(options)
    ranked, alpha = read_ranked(*given, **rest)
    points = _points(ranked.q)[1:]
    q = ranked.q[points]

    def height(at: Floats, gain: Floats) -> Floats:
        return gain_at(at, gain, q) / q - gain[..., -1:]

    value = ranked.gain[points] / q - ranked.gain[-1]
    return _finish("toc", AUTOC, q, value, np.zeros(len(q)), height, ranked, alpha)


def _curve(name: str, metric_name: str, functional: Functional, given: Any, options: Options) -> Curve:
    if options.get("compat") is not None:
        return _printed(name, metric_name, functional, given, options)
    rest: dict[str, Any] = dict(options)
    ranked, alpha = read_ranked(*given, **rest)
    points = _points(ranked.q)
    q, value = ranked.q[points], 1000.0 * ranked.gain[points]

    def height(at: Floats, gain: Floats) -> Floats:
        return 1000.0 * gain_at(at, gain, q)

    return _finish(name, functional, q, value, q * value[-1], height, ranked, alpha)


def _printed(name: str, metric_name: str, functional: Functional, given: Any, options: Options) -> Curve:
    """A curve as another library draws it, with the number that it prints for it."""
    rest: dict[str, Any] = dict(options)
    compat = rest.pop("compat")
    pair = read_pair(compat, *given, **rest)
    q, value = compat_points(name, compat, pair)
    score = ranking_metric(metric_name, functional, given, options)
    total = Metric(f"total of {compat}", float(value[-1]), n=len(pair), unit=score.unit)
    random = np.zeros(len(q)) if name == "toc" else q * value[-1]
    return Curve(f"{name} of {compat}", q, value, None, None, None, random, score, total, None, len(pair), score.unit)


def _points(q: Floats) -> npt.NDArray[np.intp]:
    """Positions of at most :data:`POINTS` points, even over q, both ends among them."""
    if len(q) <= POINTS:
        return np.arange(len(q))
    wanted = np.searchsorted(q, np.linspace(0, 1, POINTS))
    return np.unique(np.clip(wanted, 0, len(q) - 1))


def _finish(
    name: str,
    functional: Functional,
    q: Floats,
    value: Floats,
    random: Floats,
    height: Any,
    ranked: Ranked,
    alpha: float,
) -> Curve:
    se = low = high = None
    draws = ranked.draws
    if draws is not None:
        se = draws.standard_error(height(ranked.draw_q, ranked.draw_gain))
        half = se * student.ppf(1 - alpha / 2, draws.degrees_of_freedom(height(ranked.left_q, ranked.left_gain)))
        low, high = value - half, value + half
    area = number(functional, ranked, alpha)
    total = number(total_in(functional.unit, functional.scale), ranked, alpha)
    clear = total.se is not None and abs(total.value) > CLEARLY * total.se
    normalised = area.value / total.value if clear else None
    return Curve(name, q, value, se, low, high, random, area, total, normalised, ranked.n, functional.unit)
