"""What a policy is worth: the mean outcome had everybody been treated as it says.

References: Horvitz & Thompson (1952), IPW; Hájek (1971), SNIPS; Dudík, Langford & Li (2011), doubly robust.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError, unknown_name
from uplift.metrics._functionals import PER_MEMBER
from uplift.metrics._results import Metric, metric
from uplift.metrics.trial import Propensity, Trial, read_expected, read_trial

Floats = npt.NDArray[np.float64]
METHODS = ("ipw", "snips", "dr")


def policy_value(
    policy: npt.ArrayLike,
    y: npt.ArrayLike,
    treatment: npt.ArrayLike,
    propensity: Propensity = None,
    *,
    method: Literal["ipw", "snips", "dr"] = "snips",
    against: npt.ArrayLike | None = None,
    control: Hashable = None,
    sample_weight: npt.ArrayLike | None = None,
    expected: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Metric:
    """Mean outcome per member under a policy, from data where arms were drawn with known probabilities.

    Parameters
    ----------
    policy
        The arm chosen for each row, ``(n,)``, by name, or by position in ``[control, *arms]`` where those are no
        names; or probabilities ``(n, n_arms + 1)`` in that order. A single name stands for everybody.
    method
        ``ipw``, ``snips`` (inverse-probability weights normalised by their sum) or ``dr`` (doubly robust: needs
        ``expected``).
    against
        Another policy: the result is then the difference, with its paired standard error and one-sided p-value.
        Without it ``p_value`` is None, since a value is not a test.
    expected
        Outcomes expected with each arm, ``(n, n_arms + 1)``, predicted by models that did not see the row.
    y, treatment, propensity, control, sample_weight, clusters, alpha
        As in :func:`uplift.metrics.qini_curve`.

    Raises
    ------
    InputError
        Also when the policy chooses an arm that is never given to a row: its value cannot be known.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> treatment = rng.choice(["none", "mail"], 4000)
    >>> y = rng.normal(size=4000) + (treatment == "mail")
    >>> gain = policy_value("mail", y, treatment, {"none": 0.5, "mail": 0.5}, against="none")
    >>> bool(gain.low < 1 < gain.high)
    True
    """
    if method not in METHODS:
        raise unknown_name("method", str(method), METHODS)
    trial = read_trial(y, treatment, propensity, control=control, sample_weight=sample_weight)
    if method == "dr" and expected is None:
        raise InputError(
            "method='dr' needs expected=, the outcomes expected with each arm, (n, n_arms + 1); "
            "uplift.evaluation.aipw_scores(...).expected has them"
        )
    table = None if expected is None or method != "dr" else read_expected(expected, trial)
    value, influence = _value(policy, trial, method, table)
    name = f"policy value ({method})"
    null = None
    if against is not None:
        other, other_influence = _value(against, trial, method, table)
        value, influence = value - other, influence - other_influence
        name, null = f"policy gain ({method})", 0.0
    se = standard_error(influence, trial.weight, clusters)
    return metric(name, value, se, n=len(trial), unit=PER_MEMBER, null=null, alpha=alpha)


def _value(policy: npt.ArrayLike, trial: Trial, method: str, expected: Floats | None) -> tuple[float, Floats]:
    """The value, and each row's influence on it (mean zero under the weights)."""
    chosen = read_policy(policy, trial)
    impossible = int(((chosen > 0) & (trial.propensity <= 0)).any(axis=1).sum())
    if impossible:
        raise InputError(
            f"the policy chooses an arm whose propensity is 0 in {impossible:,} rows: nothing is known about it there; "
            "let the policy choose among the arms that were offered"
        )
    rows = np.arange(len(trial))
    ratio = chosen[rows, trial.assigned] / trial.propensity[rows, trial.assigned]
    if method == "snips":
        total = np.average(ratio, weights=trial.weight)
        if total == 0:
            raise InputError("no row received the arm that the policy chooses for it: its value cannot be estimated")
        value = float(np.average(ratio * trial.y, weights=trial.weight) / total)
        return value, ratio * (trial.y - value) / total
    scores = ratio * trial.y
    if expected is not None:
        scores = (chosen * expected).sum(axis=1) + ratio * (trial.y - expected[rows, trial.assigned])
    value = float(np.average(scores, weights=trial.weight))
    return value, scores - value


def read_policy(policy: npt.ArrayLike, trial: Trial) -> Floats:
    """Probabilities ``(n, n_arms + 1)`` of a policy in any of its forms."""
    n, k = len(trial), len(trial.names)
    if isinstance(policy, str) or np.ndim(policy) == 0:
        chosen = np.zeros((n, k))
        chosen[:, _position_of(policy, trial)] = 1.0
        return chosen
    values = np.asarray(policy)
    if values.ndim == 2:
        return _probabilities(values, n, k)
    if values.shape != (n,):
        raise InputError(f"policy has shape {values.shape}; expected ({n},) or ({n}, {k})")
    codes, labels = pd.factorize(values)
    if (codes < 0).any():
        raise InputError(f"policy is missing in {int((codes < 0).sum()):,} rows; choose the control for no treatment")
    plain = [label.item() if isinstance(label, np.generic) else label for label in labels]
    if all(label in trial.names for label in plain):
        positions = [trial.position(label) for label in plain]
    elif all(_is_position(label, k) for label in plain):
        positions = [int(label) for label in plain]
    else:
        unknown = [label for label in plain if label not in trial.names]
        strange = next((label for label in unknown if not _is_position(label, k)), unknown[0])
        raise unknown_name("arm in the policy", str(strange), [str(name) for name in trial.names])
    chosen = np.zeros((n, k))
    chosen[np.arange(n), np.asarray(positions, dtype=np.intp)[codes]] = 1.0
    return chosen


def _is_position(label: object, k: int) -> bool:
    return isinstance(label, int) and not isinstance(label, bool) and 0 <= label < k


def _position_of(policy: npt.ArrayLike, trial: Trial) -> int:
    name = policy.item() if isinstance(policy, np.generic | np.ndarray) else policy
    return trial.position(name)  # type: ignore[arg-type]  # a scalar is hashable


def _probabilities(values: npt.NDArray, n: int, k: int) -> Floats:
    try:
        chosen = values.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError("a policy with two dimensions must hold probabilities") from None
    if chosen.shape != (n, k):
        raise InputError(f"policy has shape {chosen.shape}, not ({n}, {k}): a column for each of [control, *arms]")
    if not np.isfinite(chosen).all() or (chosen < 0).any() or (np.abs(chosen.sum(axis=1) - 1) > 1e-6).any():
        raise InputError("the policy's probabilities must not be negative and must add up to 1 in every row")
    return chosen


def standard_error(influence: Floats, weight: Floats, clusters: npt.ArrayLike | None) -> float | None:
    """Standard error of a weighted mean from each row's influence, by cluster where given."""
    weighted = weight * influence
    if clusters is not None:
        unit, _ = pd.factorize(np.asarray(clusters))
        if len(unit) != len(weighted):
            raise InputError(f"clusters has {len(unit):,} rows, y has {len(weighted):,}")
        weighted = np.bincount(unit, weights=weighted).astype(np.float64)
    n = len(weighted)
    if n < 2:
        return None
    return float(np.sqrt(n / (n - 1) * np.dot(weighted, weighted)) / weight.sum())
