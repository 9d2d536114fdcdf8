"""What a policy would have been worth, from decisions that were logged with their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from uplift.errors import InputError, did_you_mean, unknown_name
from uplift.metrics.value import standard_error
from uplift.policy._problem import FloatArray, IntArray
from uplift.results import Rendered

Method = Literal["ipw", "snips", "dr"]
METHODS: tuple[Method, ...] = ("ipw", "snips", "dr")
NO_OFFER = "none"
MIN_EFFECTIVE_SHARE = 0.10


@dataclass(frozen=True, repr=False)
class OffPolicyValue(Rendered):
    """Estimated mean reward of a row under a policy.

    Attributes
    ----------
    value, se, low, high
        In the reward's unit; None when the estimate is refused. One cluster alone has no standard error.
    refused
        Why no number is given; None when one is.
    method
        ``ipw``, ``snips`` or ``dr``.
    n, clusters
        Logged rows, and members among them.
    effective
        Effective sample size of the weights as a share of the rows.
    mean_weight, mean_weight_se
        The weights' mean, which is 1 in expectation where the logged probabilities are right and cover the policy.
    """

    value: float | None
    se: float | None
    low: float | None
    high: float | None
    refused: str | None
    method: Method
    n: int
    clusters: int
    effective: float
    mean_weight: float
    mean_weight_se: float | None

    def __repr__(self) -> str:
        if self.value is None:
            return f"OffPolicyValue(refused: {self.refused})"
        se = "" if self.se is None else f" ± {self.se:.3g}"
        return f"OffPolicyValue({self.value:.6g}{se}, {self.method}, effective {self.effective:.0%})"


def off_policy_value(
    policy: ArrayLike | pd.DataFrame,
    logged: pd.DataFrame,
    *,
    method: Method = "snips",
    arm: str = "offer_id",
    propensity: str = "propensity",
    reward: str = "reward",
    cluster: str | None = "member_id",
    features: Sequence[str] = (),
    expected: pd.DataFrame | None = None,
    alpha: float = 0.05,
    min_effective: float = MIN_EFFECTIVE_SHARE,
    random_state: int = 0,
) -> OffPolicyValue:
    """Value of a policy by importance weights, clustered by member.

    Parameters
    ----------
    policy
        One of: (n,) the arm that the policy gives in each row (missing: no offer); an (n, n_arms) frame of
        probabilities with one column an arm (``"none"`` for no offer); or (n,) floats, the policy's probability of
        the arm that was logged.
    logged
        One row a decision: the arm given (missing: no offer), the probability with which it was given, the reward.
        Rows of members held out do not belong here: their probability is that of being held out.
    method
        ``ipw``; ``snips``, which divides by the sum of the weights; or ``dr``, doubly robust with ``expected``
        rewards or with a model fitted across members' folds on ``features``.
    cluster
        Column whose rows belong together (a member decided on several times); None: every row by itself, and the
        default is taken only where the column exists.
    expected
        (n, n_arms) frame of expected rewards, one column an arm, not fitted on the same rows.
    min_effective
        Below this effective share of the rows the estimate is refused.

    Returns
    -------
    OffPolicyValue
        With ``value`` None and ``refused`` saying why, where the weights carry too little information or their mean
        is not 1 within 4 standard errors: then the policy wants what was not logged, or the probabilities are wrong.

    Raises
    ------
    InputError
        If columns are missing, a probability does not lie in (0, 1], or a reward is not finite.

    References
    ----------
    Horvitz & Thompson (1952); Swaminathan & Joachims (2015), *The self-normalized estimator for counterfactual
    learning*; Dudík, Langford & Li (2011), *Doubly robust policy evaluation and learning*.

    Examples
    --------
    >>> log = pd.DataFrame({"offer_id": ["a", None] * 50, "propensity": 0.5, "reward": [3.0, 1.0] * 50})
    >>> off_policy_value(["a"] * 100, log, cluster=None).value
    3.0
    """
    if method not in METHODS:
        raise unknown_name("method", str(method), METHODS)
    frame = _read(logged, arm, propensity, reward, [*features])
    groups, n_groups = _clusters(frame, cluster)
    logged_arm = frame[arm].astype(object).where(frame[arm].notna(), NO_OFFER).astype(str).to_numpy()
    p = frame[propensity].to_numpy(dtype=np.float64)
    y = frame[reward].to_numpy(dtype=np.float64)
    wants = _wants(policy, logged_arm)
    weight = wants.of_logged / p
    mean_weight = float(weight.mean())
    weight_se = _se(weight - mean_weight, groups)
    effective = float(weight.sum() ** 2 / (weight @ weight) / len(weight)) if weight.any() else 0.0
    refused = _refusal(effective, min_effective, mean_weight, weight_se)
    value, influence = 0.0, np.zeros(len(y))
    if refused is None and method == "ipw":
        value, influence = _mean(weight * y)
    elif refused is None and method == "snips":
        value = float(weight @ y / weight.sum())
        influence = weight * (y - value) / mean_weight
    elif refused is None:
        table = _expected(expected, frame, features, logged_arm, y, groups, wants, random_state)
        rows = np.arange(len(y))
        seen = table.to_numpy()[rows, table.columns.get_indexer(logged_arm)]
        value, influence = _mean(wants.over(table) + weight * (y - seen))
    if refused is not None:
        return OffPolicyValue(
            None, None, None, None, refused, method, len(y), n_groups, effective, mean_weight, weight_se
        )
    se = _se(influence, groups)
    half = None if se is None else float(norm.ppf(1 - alpha / 2)) * se
    low, high = (None, None) if half is None else (value - half, value + half)
    return OffPolicyValue(value, se, low, high, None, method, len(y), n_groups, effective, mean_weight, weight_se)


@dataclass(frozen=True)
class _Wants:
    """What the policy would do: the probability of the logged arm, and of every arm where it was given in full."""

    of_logged: FloatArray
    table: pd.DataFrame | None

    @property
    def arms(self) -> list[str]:
        return [] if self.table is None else [str(name) for name in self.table.columns]

    def over(self, expected: pd.DataFrame) -> FloatArray:
        """Expected reward under the policy's own arms."""
        if self.table is None:
            raise InputError(
                "method 'dr' needs the policy's arm, or its probability of every arm, not of the logged one"
            )
        return np.asarray((self.table.to_numpy() * expected[self.arms].to_numpy()).sum(axis=1))


def _wants(policy: ArrayLike | pd.DataFrame, logged_arm: np.ndarray) -> _Wants:
    n = len(logged_arm)
    if isinstance(policy, pd.DataFrame):
        table = policy.rename(columns=str)
        if len(table) != n:
            raise InputError(f"policy: {len(table):,} rows for {n:,} logged")
        values = table.to_numpy(dtype=np.float64)
        if not np.isfinite(values).all() or (values < 0).any() or (np.abs(values.sum(axis=1) - 1) > 1e-6).any():
            raise InputError("policy: the probabilities of a row must not be negative and must add up to 1")
        where = table.columns.get_indexer(logged_arm)
        found = np.where(where >= 0, values[np.arange(n), np.maximum(where, 0)], 0.0)
        return _Wants(found, table)
    array = pd.Series(np.asarray(policy))
    if array.shape != (n,):
        raise InputError(f"policy: expected one entry a logged row ({n:,}), found {array.shape}")
    if array.dtype.kind == "f" and not array.isna().all():
        probability = array.to_numpy()
        if not ((probability >= 0) & (probability <= 1)).all():
            raise InputError("policy: floats are probabilities of the logged arm and lie between 0 and 1")
        return _Wants(probability, None)
    chosen = array.astype(object).where(array.notna(), NO_OFFER).astype(str)
    table = pd.get_dummies(chosen, dtype=np.float64)
    return _Wants((chosen.to_numpy() == logged_arm).astype(np.float64), table)


def _read(logged: pd.DataFrame, arm: str, propensity: str, reward: str, features: list[str]) -> pd.DataFrame:
    missing = [name for name in (arm, propensity, reward, *features) if name not in logged.columns]
    if missing:
        hints = "; ".join(f"{name!r}: {did_you_mean(name, logged.columns)}" for name in missing)
        raise InputError(f"logged: missing column(s) {hints}")
    if not len(logged):
        raise InputError("logged: there are no rows")
    p = pd.to_numeric(logged[propensity], errors="coerce").to_numpy(dtype=np.float64)
    bad = ~((p > 0) & (p <= 1))
    if bad.any():
        raise InputError(
            f"logged.{propensity}: {int(bad.sum()):,} row(s) without a probability in (0, 1]; every decision must "
            "carry the probability with which it was made"
        )
    y = pd.to_numeric(logged[reward], errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(y).all():
        raise InputError(
            f"logged.{reward}: {int((~np.isfinite(y)).sum()):,} row(s) without a number; a member who did nothing has "
            "a reward of 0, one whose window is not over does not belong here"
        )
    return logged


def _clusters(frame: pd.DataFrame, cluster: str | None) -> tuple[IntArray, int]:
    if cluster is None or (cluster == "member_id" and cluster not in frame.columns):
        return np.arange(len(frame)), len(frame)
    if cluster not in frame.columns:
        raise InputError(f"logged: no column {cluster!r} to cluster by; {did_you_mean(cluster, frame.columns)}")
    codes, names = pd.factorize(frame[cluster])
    if (codes < 0).any():
        raise InputError(f"logged.{cluster}: {int((codes < 0).sum()):,} row(s) have none")
    return codes.astype(np.int64), len(names)


def _mean(scores: FloatArray) -> tuple[float, FloatArray]:
    value = float(scores.mean())
    return value, scores - value


def _se(influence: FloatArray, groups: IntArray) -> float | None:
    """Of a mean over rows, with rows of a cluster added up first; None for a single cluster."""
    return standard_error(influence, np.ones(len(influence)), groups)


def _refusal(effective: float, needed: float, mean_weight: float, weight_se: float | None) -> str | None:
    if effective < needed:
        return (
            f"the policy agrees too rarely with what was logged: the effective sample size is {effective:.1%} of the "
            f"rows, {needed:.0%} is needed; log more exploration, or evaluate a policy nearer to the logged one"
        )
    if weight_se is not None and abs(mean_weight - 1) > 4 * weight_se + 1e-9:
        return (
            f"the weights' mean is {mean_weight:.3f} ± {weight_se:.3f} where 1 is expected: the policy wants arms that "
            "were not on offer, held-out rows are among the logged, or the logged probabilities are wrong"
        )
    return None


def _expected(
    expected: pd.DataFrame | None,
    frame: pd.DataFrame,
    features: Sequence[str],
    logged_arm: np.ndarray,
    y: FloatArray,
    groups: IntArray,
    wants: _Wants,
    random_state: int,
) -> pd.DataFrame:
    arms = sorted({*wants.arms, *np.unique(logged_arm)})
    if expected is not None:
        table = expected.rename(columns=str)
        absent = [name for name in arms if name not in table.columns]
        if absent or len(table) != len(frame) or not np.isfinite(table.to_numpy(dtype=np.float64)).all():
            raise InputError(f"expected: one finite number a row and arm is needed, arms {', '.join(arms)}")
        return table[arms]
    if not features:
        raise InputError("method 'dr' needs expected= (a frame of expected rewards by arm) or features= to fit them on")
    return _fitted(frame[list(features)], logged_arm, y, groups, arms, random_state)


def _fitted(
    X: pd.DataFrame, logged_arm: np.ndarray, y: FloatArray, groups: IntArray, arms: list[str], random_state: int
) -> pd.DataFrame:
    """Expected rewards by arm from boosted trees over features and arm, each member predicted by a fit without them."""
    from lightgbm import LGBMRegressor

    fold = np.random.default_rng(random_state).permutation(int(groups.max()) + 1)[groups] % 2
    data = X.copy()
    for name in data.columns[[not pd.api.types.is_numeric_dtype(data[name]) for name in data.columns]]:
        data[name] = data[name].astype("category")
    arm_name = "__arm"
    data[arm_name] = pd.Categorical(logged_arm, categories=arms)
    table = np.zeros((len(y), len(arms)))
    for k in range(2):
        fit, use = fold != k, fold == k
        model = LGBMRegressor(
            n_estimators=100, num_leaves=8, learning_rate=0.05, n_jobs=1, random_state=random_state, verbose=-1
        ).fit(data[fit], y[fit])
        for column, name in enumerate(arms):
            as_if = data[use].assign(**{arm_name: pd.Categorical([name] * int(use.sum()), categories=arms)})
            table[use, column] = model.predict(as_if)
    return pd.DataFrame(table, columns=arms)
