"""Does a predicted effect rank members by who gains from treatment? Qini, uplift, TOC and the numbers made of them.

One estimate underlies all: the gain curve, the extra outcome when the share ``q`` of members with the best predictions
is treated, by inverse-probability weights normalised per arm, centred on the mean outcome, or doubly robust when
``expected`` outcomes are given. It is exact at ties: members with equal predictions count as one group.

References: Radcliffe (2007), Qini; Gutierrez & Gérardy (2017), uplift curves; Yadlowsky, Fleming, Shah, Brunskill &
Wager (2025), rank-weighted average treatment effects (TOC, AUTOC, QINI) and half-sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError, unknown_name
from uplift.metrics._draws import Draws, make_draws
from uplift.metrics._ranking import Ranked, area, area_above_random, area_of_toc, gain_at, rank
from uplift.metrics._results import Curve, Metric, critical, metric
from uplift.metrics.trial import Propensity, compare_with_control, read_trial

Floats = npt.NDArray[np.float64]
PER_1000 = "extra outcome per 1,000 members"
PER_MEMBER = "outcome per member"
POINTS = 201
CLEARLY = 3.0


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
    """

    control: Hashable
    arm: Hashable
    sample_weight: npt.ArrayLike | None
    expected: npt.ArrayLike | None
    clusters: npt.ArrayLike | None
    n_bootstrap: int
    random_state: int | None
    alpha: float


@dataclass(frozen=True)
class _Functional:
    """A number made of the gain curve."""

    name: str
    unit: str
    scale: float
    of: Callable[[Floats, Floats], Floats]


_AUUC = _Functional("auuc", PER_1000, 1000.0, area)
_QINI = _Functional("qini", PER_1000, 1000.0, area_above_random)
_AUTOC = _Functional("autoc", PER_MEMBER, 1.0, area_of_toc)
_QINI_RATE = _Functional("qini_rate", PER_MEMBER, 1.0, area_above_random)
_TOTAL = _Functional("total", PER_1000, 1000.0, lambda q, gain: gain[..., -1])


def _at_k(k: float) -> _Functional:
    if isinstance(k, bool) or not 0 < k <= 1:
        raise InputError(f"k is the share of members targeted and lies within (0, 1], found {k}")
    return _Functional(f"uplift_at_{k:g}", PER_MEMBER, 1.0, lambda q, gain: gain_at(q, gain, k)[..., 0] / k)


def _read(
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
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie between 0 and 1, found {alpha}")
    trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
    if draws is None:
        draws = make_draws(len(trial), n_bootstrap, random_state, clusters)
    comparison = compare_with_control(effect, trial, arm=arm, expected=expected)
    return rank(comparison, draws), alpha


def _number(functional: _Functional, ranked: Ranked, alpha: float) -> Metric:
    value = functional.scale * float(functional.of(ranked.q, ranked.gain))
    drawn = _draw_values(functional, ranked)
    se = None if drawn is None or ranked.draws is None else float(ranked.draws.standard_error(drawn))
    count = None if ranked.draws is None else len(ranked.draws.chosen)
    return metric(functional.name, value, se, n=ranked.n, unit=functional.unit, alpha=alpha, draws=count)


def _draw_values(functional: _Functional, ranked: Ranked) -> Floats | None:
    if ranked.draw_q is None or ranked.draw_gain is None:
        return None
    return functional.scale * functional.of(ranked.draw_q, ranked.draw_gain)


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
    return _number(_AUUC, *_read(effect, y, treatment, propensity, **options))


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
    return _number(_QINI, *_read(effect, y, treatment, propensity, **options))


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
    return _number(_AUTOC, *_read(effect, y, treatment, propensity, **options))


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
    return _number(_QINI_RATE, *_read(effect, y, treatment, propensity, **options))


def uplift_at_k(
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    k: float = 0.1,
    **options: Unpack[Options],
) -> Metric:
    """Mean effect among the share ``k`` of members with the best predictions, in outcomes per member.

    Other parameters are those of :func:`qini_curve`.
    """
    return _number(_at_k(k), *_read(effect, y, treatment, propensity, **options))


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
    return _curve("qini_curve", _QINI, *_read(effect, y, treatment, propensity, **options))


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
    return _curve("uplift_curve", _AUUC, *_read(effect, y, treatment, propensity, **options))


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
    ranked, alpha = _read(effect, y, treatment, propensity, **options)
    points = _points(ranked.q)[1:]
    q, everybody = ranked.q[points], ranked.gain[-1]
    value = ranked.gain[points] / q - everybody
    se = None
    if ranked.draws is not None and ranked.draw_q is not None and ranked.draw_gain is not None:
        drawn = gain_at(ranked.draw_q, ranked.draw_gain, q) / q - ranked.draw_gain[:, -1:]
        se = ranked.draws.standard_error(drawn)
    return _finish("toc", PER_MEMBER, q, value, se, np.zeros(len(q)), _AUTOC, 1.0, ranked, alpha)


def _curve(name: str, functional: _Functional, ranked: Ranked, alpha: float) -> Curve:
    points = _points(ranked.q)
    q, value = ranked.q[points], 1000.0 * ranked.gain[points]
    se = None
    if ranked.draws is not None and ranked.draw_q is not None and ranked.draw_gain is not None:
        se = ranked.draws.standard_error(1000.0 * gain_at(ranked.draw_q, ranked.draw_gain, q))
    return _finish(name, PER_1000, q, value, se, q * value[-1], functional, 1000.0, ranked, alpha)


def _points(q: Floats) -> npt.NDArray[np.intp]:
    """Positions of at most :data:`POINTS` points, even over q, both ends among them."""
    if len(q) <= POINTS:
        return np.arange(len(q))
    wanted = np.searchsorted(q, np.linspace(0, 1, POINTS))
    return np.unique(np.clip(wanted, 0, len(q) - 1))


def _finish(
    name: str,
    unit: str,
    q: Floats,
    value: Floats,
    se: Floats | None,
    random: Floats,
    functional: _Functional,
    scale: float,
    ranked: Ranked,
    alpha: float,
) -> Curve:
    half = critical(alpha, None if ranked.draws is None else len(ranked.draws.chosen))
    area_metric = _number(functional, ranked, alpha)
    total = _number(_Functional("total", unit, scale, _TOTAL.of), ranked, alpha)
    clear = total.se is not None and abs(total.value) > CLEARLY * total.se
    return Curve(
        name=name,
        q=q,
        value=value,
        se=se,
        low=None if se is None else value - half * se,
        high=None if se is None else value + half * se,
        random=random,
        area=area_metric,
        total=total,
        normalised=area_metric.value / total.value if clear else None,
        n=ranked.n,
        unit=unit,
    )


COMPARABLE: dict[str, Callable[..., _Functional]] = {
    "auuc": lambda: _AUUC,
    "qini": lambda: _QINI,
    "autoc": lambda: _AUTOC,
    "qini_rate": lambda: _QINI_RATE,
    "uplift_at_k": lambda k=0.1: _at_k(k),
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
    """How much better ``effect`` ranks than ``other``: the difference of a metric, on the same draws.

    Pairing matters: two models that make the same mistakes differ far less than their separate intervals suggest.

    Parameters
    ----------
    effect, other
        Predicted effects of two models for the same rows, as in :func:`qini_curve`.
    metric_name
        ``auuc``, ``qini``, ``autoc``, ``qini_rate`` or ``uplift_at_k`` (with ``k``).

    Returns
    -------
    Metric
        Value of ``effect`` minus value of ``other``; ``p_value`` is one-sided for ``effect`` being better.
    """
    if metric_name not in COMPARABLE:
        raise unknown_name("metric", metric_name, COMPARABLE)
    functional = _at_k(k) if metric_name == "uplift_at_k" else COMPARABLE[metric_name]()
    shared: dict[str, Any] = dict(options)
    draws = make_draws(
        len(np.asarray(y)), options.get("n_bootstrap", 200), options.get("random_state", 0), options.get("clusters")
    )
    if draws is None:
        shared["n_bootstrap"] = 0
    first, alpha = _read(effect, y, treatment, propensity, **shared, draws=draws)
    second, _ = _read(other, y, treatment, propensity, **shared, draws=draws)
    value = functional.scale * float(functional.of(first.q, first.gain) - functional.of(second.q, second.gain))
    se = None
    drawn_first, drawn_second = _draw_values(functional, first), _draw_values(functional, second)
    if draws is not None and drawn_first is not None and drawn_second is not None:
        se = float(draws.standard_error(drawn_first - drawn_second))
    n = max(first.n, second.n)
    count = None if draws is None else len(draws.chosen)
    return metric(f"{functional.name} difference", value, se, n=n, unit=functional.unit, alpha=alpha, draws=count)
