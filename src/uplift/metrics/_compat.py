"""What scikit-uplift 0.5.1, causalml 0.18 and grf 2 print for the same input, defects included, for comparison only.

None of these numbers is used anywhere else. They have no interval; scikit-uplift and causalml ignore propensities, and
depend on the order of rows: scikit-uplift where it cuts within equal scores, causalml wherever scores are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError, unknown_name
from uplift.metrics.trial import Propensity, read_effects, read_expected, read_trial

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
GRF_GRID = np.linspace(0.1, 1, 10)


@dataclass(frozen=True)
class Pair:
    """Rows of control and of one arm, in the order given.

    Attributes
    ----------
    score, y, treated, weight, chance
        Prediction, outcome, 1 for the arm and 0 for control, weight, and the chance of the arm among the two, ``(n,)``.
    expected
        Outcomes expected without and with the arm, ``(n, 2)``; None where none were given.
    """

    score: Floats
    y: Floats
    treated: Floats
    weight: Floats
    chance: Floats
    expected: Floats | None

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True)
class _Counts:
    """Numbers and summed outcomes of both arms down to each place of an order, ``(n,)``."""

    treated: Floats
    control: Floats
    y_treated: Floats
    y_control: Floats

    def at(self, places: Ints) -> _Counts:
        return _Counts(*(values[places] for values in vars(self).values()))


def _counts(pair: Pair, order: Ints) -> _Counts:
    treated, y = pair.treated[order], pair.y[order]
    return _Counts(*(np.cumsum(v) for v in (treated, 1 - treated, treated * y, (1 - treated) * y)))


def _over(numerator: Floats, denominator: Floats, otherwise: float) -> Floats:
    return np.divide(numerator, denominator, out=np.full(len(numerator), otherwise), where=denominator != 0)


# -- scikit-uplift ----------------------------------------------------------------------------------------------------


def _sklift_points(pair: Pair, score: Floats, kind: str) -> tuple[Floats, Floats]:
    """Members targeted and height, from the origin, at the ends of runs of equal scores."""
    order = np.argsort(score, kind="stable")[::-1]
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    c = _counts(pair, order).at(ends)
    if kind == "qini":
        height = c.y_treated - c.y_control * _over(c.treated, c.control, 0.0)
    else:
        height = (_over(c.y_treated, c.treated, 0.0) - _over(c.y_control, c.control, 0.0)) * (ends + 1)
    return np.append(0.0, ends + 1.0), np.append(0.0, height)


def _sklift_normalised(kind: str) -> Callable[[Pair], float]:
    """Area above the diagonal over that of its "perfect" ranking by what was observed."""

    def score(pair: Pair) -> float:
        y, t = pair.y, pair.treated
        if kind == "qini":
            best = y * t - y * (1 - t)
        else:
            responders, silent = np.sum((y == 1) & (t == 0)), np.sum((y == 0) & (t == 1))
            best = 2 * (y == t) + (y if responders > silent else t)
        curve, perfect = _sklift_points(pair, pair.score, kind), _sklift_points(pair, best, kind)
        diagonal = perfect[0][-1] * perfect[1][-1] / 2
        ours, theirs = (float(np.trapezoid(height, x)) - diagonal for x, height in (curve, perfect))
        return ours / theirs

    return score


def _sklift_at_k(pair: Pair, k: float, strategy: str) -> float:
    order = np.argsort(pair.score, kind="stable")[::-1]
    arms = [order[pair.treated[order] == arm] for arm in (0, 1)]
    if strategy == "by_group":
        tops = [rows[: int(len(rows) * k)] for rows in arms]
    else:
        top = order[: int(len(pair) * k)]
        tops = [top[pair.treated[top] == arm] for arm in (0, 1)]
    if not all(len(rows) for rows in tops):
        raise InputError(f"the top {k:g} holds no row of one arm: scikit-uplift gives no number there")
    return float(pair.y[tops[1]].mean() - pair.y[tops[0]].mean())


# -- causalml ---------------------------------------------------------------------------------------------------------


def _causalml_counts(pair: Pair) -> _Counts:
    order = pd.DataFrame({"score": pair.score}).sort_values("score", ascending=False).index.to_numpy()
    return _counts(pair, order)


def _from_origin(height: Floats) -> Floats:
    """With the origin in front; what is undefined, for want of an arm at the top, is filled in along a line."""
    whole = np.append(0.0, height)
    known = np.flatnonzero(np.isfinite(whole))
    return np.interp(np.arange(len(whole)), known, whole[known])


def _causalml_points(pair: Pair, kind: str) -> tuple[Floats, Floats]:
    c, n = _causalml_counts(pair), len(pair)
    if kind == "qini":
        height = _from_origin(c.y_treated - c.y_control * _over(c.treated, c.control, np.nan))
    else:
        lift = _over(c.y_treated, c.treated, np.nan) - _over(c.y_control, c.control, np.nan)
        height = _from_origin(lift) * np.arange(n + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arange(n + 1.0), height / abs(height[-1])


def _causalml_auuc(pair: Pair) -> float:
    return float(_causalml_points(pair, "gain")[1].mean())


def _causalml_qini(pair: Pair) -> float:
    height = _causalml_points(pair, "qini")[1]
    return float((height - np.linspace(height[0], height[-1], len(height))).mean())


def _causalml_toc(pair: Pair) -> tuple[Floats, Floats]:
    c, n = _causalml_counts(pair), len(pair)
    everybody = c.y_treated[-1] / c.treated[-1] - c.y_control[-1] / c.control[-1]
    lift = _over(c.y_treated, c.treated, np.nan) - _over(c.y_control, c.control, np.nan)
    return np.linspace(0, 1, n + 1), np.append(0.0, np.where(np.isnan(lift), everybody, lift) - everybody)


def _causalml_rate(weighting: str) -> Callable[[Pair], float]:
    """Weighted mean of the TOC; the weights 1/q of its "autoc" are those of another number (right: equal ones)."""

    def score(pair: Pair) -> float:
        q, toc = _causalml_toc(pair)
        middle, height = (q[1:] + q[:-1]) / 2, (toc[1:] + toc[:-1]) / 2
        return float(np.average(height, weights=1 / middle if weighting == "autoc" else middle))

    return score


# -- grf --------------------------------------------------------------------------------------------------------------


def _grf_scores(pair: Pair) -> Floats:
    """Doubly robust scores; from inverse propensities alone where no expectations are given."""
    e, w = pair.chance, pair.treated
    expected = np.zeros((len(pair), 2)) if pair.expected is None else pair.expected
    rest = pair.y - np.where(w == 1, expected[:, 1], expected[:, 0])
    return expected[:, 1] - expected[:, 0] + (w - e) / (e * (1 - e)) * rest


def _grf_sorted(pair: Pair) -> tuple[Floats, Floats]:
    """Weights and scores from the highest prediction down; equal predictions share their mean score."""
    _, group = np.unique(-pair.score, return_inverse=True)
    weight = np.bincount(group, weights=pair.weight)
    mean = np.bincount(group, weights=pair.weight * _grf_scores(pair)) / weight
    order = np.argsort(group, kind="stable")
    return pair.weight[order], mean[group[order]]


def _grf_rate(target: str) -> Callable[[Pair], float]:
    """Mean of the TOC at 1/n, 2/n, … 1; for QINI each weighted by its share."""

    def score(pair: Pair) -> float:
        weight, scores = _grf_sorted(pair)
        q, gain = np.cumsum(weight) / weight.sum(), np.cumsum(weight * scores) / weight.sum()
        toc = gain / q - gain[-1]
        return float(np.average(toc * (q if target == "QINI" else 1.0), weights=weight))

    return score


def _grf_toc(pair: Pair) -> tuple[Floats, Floats]:
    weight, scores = _grf_sorted(pair)
    q, gain = np.cumsum(weight) / weight.sum(), np.cumsum(weight * scores) / weight.sum()
    return GRF_GRID, np.interp(GRF_GRID, np.append(0.0, q), np.append(0.0, gain)) / GRF_GRID - gain[-1]


# -- by name ----------------------------------------------------------------------------------------------------------

NUMBERS: Mapping[str, Mapping[str, Callable[..., float]]] = {
    "qini": {
        "scikit-uplift": _sklift_normalised("qini"),
        "causalml": _causalml_qini,
        "grf": _grf_rate("QINI"),
    },
    "auuc": {"scikit-uplift": _sklift_normalised("uplift"), "causalml": _causalml_auuc},
    "autoc": {"causalml": _causalml_rate("autoc"), "grf": _grf_rate("AUTOC")},
    "qini_rate": {"causalml": _causalml_rate("qini"), "grf": _grf_rate("QINI")},
    "uplift_at_k": {"scikit-uplift": _sklift_at_k},
}
CURVES: Mapping[str, Mapping[str, Callable[[Pair], tuple[Floats, Floats]]]] = {
    "qini_curve": {
        "scikit-uplift": lambda pair: _sklift_points(pair, pair.score, "qini"),
        "causalml": lambda pair: _causalml_points(pair, "qini"),
    },
    "uplift_curve": {
        "scikit-uplift": lambda pair: _sklift_points(pair, pair.score, "uplift"),
        "causalml": lambda pair: _causalml_points(pair, "gain"),
    },
    "toc": {"causalml": _causalml_toc, "grf": _grf_toc},
}


def refuse_compat(name: str, compat: str) -> InputError:
    """For a metric that has no counterpart there."""
    known = NUMBERS.get(name) or CURVES.get(name) or {}
    if not known:
        return InputError(f"{name} has no counterpart in another library: leave out compat={compat!r}")
    return unknown_name(f"compat of {name}", compat, list(known))


def compat_number(name: str, compat: str, pair: Pair, **extra: float | str) -> float:
    """The number of a metric as the other library prints it."""
    if compat not in NUMBERS.get(name, {}):
        raise refuse_compat(name, compat)
    return NUMBERS[name][compat](pair, **extra)


def compat_points(name: str, compat: str, pair: Pair) -> tuple[Floats, Floats]:
    """(share targeted, height) as the other library draws them."""
    if compat not in CURVES.get(name, {}):
        raise refuse_compat(name, compat)
    x, height = CURVES[name][compat](pair)
    return x / x[-1], height


def read_pair(
    compat: str,
    effect: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity,
    *,
    control: Hashable = None,
    arm: Hashable = None,
    sample_weight: npt.ArrayLike | None = None,
    expected: npt.ArrayLike | None = None,
    **ignored: object,
) -> Pair:
    """Check what is given, and keep the two arms that other libraries compare.

    Raises
    ------
    InputError
        When several arms are given without ``arm``, weights or expectations to a library that takes none, or outcomes
        other than 0 and 1 to scikit-uplift.
    """
    del ignored  # draws and intervals
    trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
    effects = read_effects(effect, trial, arm)
    wrong = []
    if len(trial.arms) > 1 and arm is None:
        wrong.append(f"{compat} compares one arm with control: pass arm=")
    if compat != "grf":
        given = {"sample_weight": sample_weight, "expected": expected}
        wrong += [f"{compat} takes no {name}" for name, value in given.items() if value is not None]
    if compat == "scikit-uplift" and not np.isin(trial.y, (0.0, 1.0)).all():
        wrong.append("scikit-uplift takes outcomes of 0 and 1 only")
    if wrong:
        raise InputError("; ".join(wrong))
    position = 1 if arm is None else trial.position(arm)
    rows = np.flatnonzero(((trial.assigned == 0) | (trial.assigned == position)) & (trial.weight > 0))
    chance = trial.propensity[rows, position] / (trial.propensity[rows, position] + trial.propensity[rows, 0])
    table = None if expected is None else read_expected(expected, trial)[rows][:, [0, position]]
    treated = (trial.assigned[rows] == position).astype(np.float64)
    return Pair(effects[rows, 0], trial.y[rows], treated, trial.weight[rows], chance, table)
