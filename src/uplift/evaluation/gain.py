"""What a policy would bring, by doubly robust scores: never by its own predictions.

Reference: Dudík, Langford & Li (2011); Athey & Wager (2021), policy learning with doubly robust scores.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from uplift.errors import InputError
from uplift.evaluation.scores import Scores, weighted_mean
from uplift.metrics import Metric
from uplift.metrics._results import metric
from uplift.metrics.ranking import PER_MEMBER
from uplift.metrics.trial import Trial
from uplift.metrics.value import read_policy
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PolicyGain(Rendered):
    """The value of a policy, beside what it is to be compared with.

    Attributes
    ----------
    gain
        Against treating nobody, per member.
    single
        The best single arm for all; in rows where it was not offered, nothing.
    single_gain
        Its gain against treating nobody. Where ``single`` was chosen by these same scores, it looks better than it is,
        which favours the single arm.
    over_single
        The policy less the single arm, paired.
    promised
        Mean predicted effect of what the policy chooses. Beside ``gain`` it shows the winner's curse; None when no
        predictions were given. Never a value.
    shares
        Arm → share of rows that the policy gives it to.
    n
        Rows that informed it.
    """

    gain: Metric
    single: Hashable
    single_gain: Metric
    over_single: Metric
    promised: float | None
    shares: Mapping[str, float]
    n: int
    row_gain: Floats = field(repr=False)
    weight: Floats = field(repr=False)
    clusters: npt.NDArray[Any] | None = field(repr=False, default=None)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a number."""
        return [row for number in (self.gain, self.single_gain, self.over_single) for row in number.to_dicts()]

    def less(self, other: PolicyGain, name: str = "difference of gains", alpha: float = 0.05) -> Metric:
        """This policy less another one on the same rows, paired.

        Raises
        ------
        InputError
            If the two were not measured on the same rows.
        """
        if len(self.row_gain) != len(other.row_gain) or not np.array_equal(self.weight, other.weight):
            raise InputError("two policies can only be compared on the same rows: measure both on the same scores")
        return mean_metric(name, self.row_gain - other.row_gain, self.weight, self.clusters, alpha)


def gain_curve(gain: PolicyGain, effects: npt.ArrayLike, points: int = 20) -> list[float]:
    """Gain per member if only the most promising 1/points, 2/points, … of all are treated.

    Parameters
    ----------
    gain
        Of the policy that these effects make.
    effects
        ``(n, n_arms)``; members come in the order of their largest.
    """
    order = np.argsort(-np.asarray(effects, dtype=np.float64).max(axis=1), kind="stable")
    weight = gain.weight[order]
    reached = np.cumsum(weight * np.nan_to_num(gain.row_gain[order])) / weight.sum()
    return [float(reached[len(order) * step // points - 1]) for step in range(1, points + 1)]


def best_arm(effects: npt.ArrayLike, offered: npt.ArrayLike | None = None, cost: npt.ArrayLike = 0.0) -> Ints:
    """Position in ``[control, *arms]`` of the arm with the best predicted net effect where that is positive, else 0.

    Parameters
    ----------
    effects, offered, cost
        ``(n, n_arms)``; cost also ``(n_arms,)``, in the outcome's unit. Arms that are not offered are never chosen.

    Examples
    --------
    >>> best_arm([[0.1, 0.3], [-0.1, -0.2], [0.2, 0.1]]).tolist()
    [2, 0, 1]
    """
    net = np.asarray(effects, dtype=np.float64)
    net = (net[:, None] if net.ndim == 1 else net) - np.asarray(cost, dtype=np.float64)
    if offered is not None:
        net = np.where(np.asarray(offered, dtype=bool), net, -np.inf)
    return np.where(net.max(axis=1) > 0, 1 + np.argmax(net, axis=1), 0)


def policy_gain(
    scores: Scores,
    effects: npt.ArrayLike | None = None,
    *,
    policy: npt.ArrayLike | None = None,
    cost: npt.ArrayLike = 0.0,
    single: Hashable = None,
    clusters: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> PolicyGain:
    """Value of "the best arm where it is predicted to help", or of any policy.

    Parameters
    ----------
    scores
        From :func:`aipw_scores`, of rows that neither fitted nor chose the policy.
    effects
        Predicted effects, ``(n, n_arms)``: the policy gives the best offered arm where its effect less cost is
        positive.
    policy
        Instead of effects: arm of each row by name or position in ``[control, *arms]``, or probabilities
        ``(n, n_arms + 1)``.
    cost
        Of giving each arm, ``(n_arms,)`` or ``(n, n_arms)``, in the outcome's unit; gains are net of it.
    single
        Arm to compare with; default: the best by these scores.
    clusters
        As in :func:`group_effects`.
    """
    arms = len(scores.arms)
    price = np.broadcast_to(np.asarray(cost, dtype=np.float64), (len(scores), arms))
    if (effects is None) == (policy is None):
        raise InputError("policy_gain needs either effects= or policy=")
    promised = None
    if effects is not None:
        predicted = np.asarray(effects, dtype=np.float64).reshape(len(scores), -1)
        if predicted.shape != (len(scores), arms):
            raise InputError(f"effects has shape {np.shape(effects)}, expected ({len(scores)}, {arms})")
        if not np.isfinite(predicted).all():
            raise InputError("effects are missing or infinite in some rows")
        position = best_arm(predicted, scores.offered, price)
        net = np.column_stack([np.zeros(len(scores)), predicted - price])[np.arange(len(scores)), position]
        promised = float(np.average(net, weights=scores.weight))
        chosen = np.zeros((len(scores), arms + 1))
        chosen[np.arange(len(scores)), position] = 1.0
    else:
        chosen = _chosen(policy, scores)
    units = scores.clusters if clusters is None else np.asarray(clusters)
    net_effects = scores.effects - price
    row_gain = gain_of(chosen, net_effects)
    singles = np.where(scores.offered, net_effects, np.where(np.isfinite(scores.values[:, :1]), 0.0, np.nan))
    if single is None:
        means = [weighted_mean(singles[:, j], scores.weight, None)[0] for j in range(arms)]
        single = scores.arms[int(np.nanargmax(means))]
    elif single not in scores.arms:
        raise InputError(f"single={single!r} is not an arm: choose one of {', '.join(map(str, scores.arms))}")
    one = singles[:, scores.arms.index(single)]
    return summarise(scores, row_gain, one, single, chosen, promised, units, alpha)


def gain_of(chosen: Floats, net_effects: Floats) -> Floats:
    """Gain per row of probabilities over ``[control, *arms]``; NaN where a chosen arm's effect is unknown."""
    parts = np.where(chosen[:, 1:] > 0, chosen[:, 1:] * net_effects, 0.0)
    control_known = np.isfinite(net_effects).any(axis=1)
    return np.where(control_known, parts.sum(axis=1), np.nan)


def summarise(
    scores: Scores,
    row_gain: Floats,
    single_gain: Floats,
    single: Hashable,
    chosen: Floats,
    promised: float | None,
    clusters: npt.NDArray[Any] | None,
    alpha: float,
) -> PolicyGain:
    """Means, standard errors and the pairing of a policy's gains."""
    known = np.isfinite(row_gain) & np.isfinite(single_gain)
    weight = np.where(known, scores.weight, 0.0)
    shares = {
        str(name): float(np.average(chosen[:, j], weights=scores.weight))
        for j, name in enumerate((scores.control, *scores.arms))
    }
    return PolicyGain(
        gain=mean_metric("gain over nobody", row_gain, weight, clusters, alpha),
        single=single,
        single_gain=mean_metric(f"gain of {single} for all", single_gain, weight, clusters, alpha),
        over_single=mean_metric(f"gain over {single} for all", row_gain - single_gain, weight, clusters, alpha),
        promised=promised,
        shares=shares,
        n=int((weight > 0).sum()),
        row_gain=row_gain,
        weight=weight,
        clusters=clusters,
    )


def mean_metric(
    name: str, values: Floats, weight: Floats, clusters: npt.NDArray[Any] | None, alpha: float = 0.05
) -> Metric:
    """Mean of the known values as a metric with one-sided p-value against zero."""
    mean, se = weighted_mean(values, weight, clusters)
    n = int((np.isfinite(values) & (weight > 0)).sum())
    return metric(name, mean, se, n=n, unit=PER_MEMBER, alpha=alpha)


def _chosen(policy: npt.ArrayLike | None, scores: Scores) -> Floats:
    trial = Trial(scores.y, scores.assigned, scores.control, scores.arms, scores.propensity, scores.weight)
    chosen = read_policy(policy, trial)  # type: ignore[arg-type]  # None was refused before
    impossible = int(((chosen > 0) & (scores.propensity <= 0)).any(axis=1).sum())
    if impossible:
        raise InputError(
            f"the policy chooses an arm that was not offered in {impossible:,} rows: nothing is known about it there"
        )
    return chosen
