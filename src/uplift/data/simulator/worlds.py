"""Synthetic experiments whose true effects are known, for proving learners, metrics and experiments.

A world composes four steps, each of which may be replaced: covariates → what happens without treatment → what each arm
adds → who receives which arm; then the outcome is drawn from exactly these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError, unknown_name
from uplift.results import Rendered

__all__ = ["EFFECTS", "EffectShape", "OutcomeKind", "World", "make_world"]

Floats = npt.NDArray[np.float64]
EffectShape = Callable[[Floats, int, int], Floats]
OutcomeKind = Literal["binary", "spend", "continuous"]

DEFAULT_SCALE: Mapping[str, float] = {"binary": 0.1, "spend": 0.1, "continuous": 1.0}


@dataclass(frozen=True, repr=False)
class World(Rendered):
    """A randomised experiment with its truth.

    Attributes
    ----------
    X
        Covariates, ``(n, n_features)``: ``x0``, ``x1``, … (numbers), then ``c0``, … (pandas ``category``).
    y
        Outcomes, ``(n,)``: 0 or 1; money; or a real number.
    treatment
        Name of the arm each row received, ``(n,)``.
    propensity
        Probability of each arm in the order ``[control, *arms]``, ``(n, k + 1)``.
    effects
        True effect of each arm against the control on the mean outcome, ``(n, k)``, in the unit of ``y``. It is the
        effect given the complete covariates: values made missing afterwards do not change it.
    baseline
        True mean outcome under the control, ``(n,)``.
    arms, control
        Names.
    outcome
        ``binary``, ``spend`` or ``continuous``.
    """

    X: pd.DataFrame
    y: Floats
    treatment: npt.NDArray[np.str_]
    propensity: Floats
    effects: Floats
    baseline: Floats
    arms: tuple[str, ...]
    control: str
    outcome: str

    def value(self, choice: npt.ArrayLike) -> float:
        """True mean outcome per row of a policy.

        Parameters
        ----------
        choice
            For each row the index of an arm in ``arms``, or −1 for the control; a single number is for everyone.
        """
        index = np.broadcast_to(np.asarray(choice, dtype=np.intp), self.baseline.shape)
        gains = np.where(index < 0, 0.0, self.effects[np.arange(len(index)), np.maximum(index, 0)])
        return float(np.mean(self.baseline + gains))

    @property
    def oracle(self) -> npt.NDArray[np.intp]:
        """The best choice for each row: the index of an arm, or −1 where none helps."""
        best = np.argmax(self.effects, axis=1)
        return np.where(np.max(self.effects, axis=1) > 0, best, -1)

    def to_dicts(self) -> list[dict[str, object]]:
        """One row an arm: size, mean outcome, true mean effect."""
        rows: list[dict[str, object]] = []
        for index, arm in enumerate((self.control, *self.arms)):
            given = self.treatment == arm
            rows.append(
                {
                    "arm": arm,
                    "n": int(given.sum()),
                    "mean": float(self.y[given].mean()) if given.any() else None,
                    "true_effect": float(self.effects[:, index - 1].mean()) if index else 0.0,
                }
            )
        return rows


def _none(x: Floats, arm: int, arms: int) -> Floats:
    del arm, arms
    return np.zeros(len(x))


def _constant(x: Floats, arm: int, arms: int) -> Floats:
    return np.full(len(x), 1.0 - 0.5 * arm / max(arms - 1, 1))


def _linear(x: Floats, arm: int, arms: int) -> Floats:
    del arms
    return 0.3 + x[:, arm % x.shape[1]]


def _step(x: Floats, arm: int, arms: int) -> Floats:
    del arms
    return np.where(x[:, arm % x.shape[1]] > 0, 1.0, -0.5)


def _sparse(x: Floats, arm: int, arms: int) -> Floats:
    del arms
    return np.where(x[:, arm % x.shape[1]] > 1.2816, 2.0, 0.0)  # the top tenth of a standard normal


EFFECTS: Mapping[str, EffectShape] = {
    "none": _none,
    "constant": _constant,
    "linear": _linear,
    "step": _step,
    "sparse": _sparse,
}


def make_world(
    n: int,
    *,
    n_features: int = 8,
    arms: Sequence[str] = ("a", "b"),
    control: str = "control",
    effect: str | EffectShape = "linear",
    outcome: OutcomeKind = "binary",
    propensity: Mapping[str, float] | Literal["equal", "confounded"] | npt.ArrayLike = "equal",
    scale: float | None = None,
    noise: float = 1.0,
    categorical: int = 0,
    missing: float = 0.0,
    random_state: int | None = 0,
) -> World:
    """Draw a randomised experiment with known effects.

    Parameters
    ----------
    n
        Rows.
    n_features
        Standard normal covariates; arm ``j``'s effect depends on ``x_j``, the baseline on ``x0``, ``x1`` and the last.
    arms
        Names of the arms beside the control.
    effect
        ``none``; ``constant`` (1 for the first arm down to ½ for the last); ``linear`` (0.3 + x); ``step`` (1 where
        x > 0, else −½); ``sparse`` (2 for a tenth of the rows, else 0); or a function of (x, arm index, number of
        arms). All are multiplied by ``scale``.
    outcome
        ``binary``: the effect is on the probability, which is kept within [0.01, 0.99], and ``effects`` is what is
        left after that. ``spend``: zero, or lognormal money with mean ``m(x)``; the effect is on the probability of
        spending. ``continuous``: the effect is added to the mean.
    propensity
        ``equal``; ``confounded`` (depends on ``x0``, within [0.05, 0.95]); arm → share; or ``(n, k + 1)``
        probabilities in the order ``[control, *arms]``.
    scale
        Size of the effect; None is 0.1 for ``binary`` and ``spend`` (a probability), 1 for ``continuous``.
    noise
        Standard deviation of a ``continuous`` outcome; of the logarithm of money for ``spend``; of no meaning for
        ``binary``, whose noise is its own.
    categorical
        Extra columns of pandas ``category`` with levels ``red``, ``green``, ``blue``; ``c0`` shifts the baseline.
    missing
        Share of the values of the covariates made missing after everything else is drawn.
    random_state
        Seed.

    Raises
    ------
    InputError
        If a name is unknown or a number is out of range.

    Examples
    --------
    >>> world = make_world(1000, effect="constant", random_state=1)
    >>> world.effects.shape, world.propensity.shape
    ((1000, 2), (1000, 3))
    >>> bool(world.value(world.oracle) >= world.value(0))
    True
    """
    _check_arguments(n, n_features, arms, control, outcome, missing, noise)
    rng = np.random.default_rng(random_state)
    names = tuple(str(arm) for arm in arms)
    x = rng.standard_normal((n, n_features))
    codes = rng.integers(0, 3, size=(n, categorical))
    shape = effect if callable(effect) else _shape_named(effect)
    size = DEFAULT_SCALE[outcome] if scale is None else scale
    shifts = size * np.stack([shape(x, j, len(names)) for j in range(len(names))], axis=1)

    index = 0.6 * x[:, 0] - 0.4 * x[:, 1 % n_features] + 0.3 * np.maximum(x[:, n_features - 1], 0)
    if categorical:
        index = index + 0.4 * (codes[:, 0] - 1)
    shares = _propensity(propensity, x, (control, *names))
    given = _draw_arms(shares, rng.random(n))
    means, y = _draw_outcome(outcome, index, shifts, given, noise, rng)

    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(n_features)])
    for j in range(categorical):
        frame[f"c{j}"] = pd.Categorical.from_codes(codes[:, j], categories=["red", "green", "blue"])
    if missing:
        frame = frame.mask(rng.random(frame.shape) < missing)
    return World(
        X=frame,
        y=y,
        treatment=np.asarray((control, *names))[given],
        propensity=shares,
        effects=means[:, 1:] - means[:, :1],
        baseline=means[:, 0].copy(),
        arms=names,
        control=control,
        outcome=outcome,
    )


def _check_arguments(
    n: int, n_features: int, arms: Sequence[str], control: str, outcome: str, missing: float, noise: float
) -> None:
    if n < 1 or n_features < 1:
        raise InputError(f"a world needs at least one row and one feature, found n={n}, n_features={n_features}")
    if isinstance(arms, str) or not arms or len({*arms, control}) < len(arms) + 1:
        raise InputError(f"arms must be a sequence of names that differ from each other and from {control!r}")
    if outcome not in DEFAULT_SCALE:
        raise unknown_name("outcome", str(outcome), DEFAULT_SCALE)
    if not 0 <= missing < 1 or noise < 0:
        raise InputError(f"missing lies in [0, 1) and noise is not negative, found {missing} and {noise}")


def _shape_named(name: str) -> EffectShape:
    if name not in EFFECTS:
        raise unknown_name("effect", name, EFFECTS)
    return EFFECTS[name]


def _propensity(given: object, x: Floats, names: tuple[str, ...]) -> Floats:
    n, arms = len(x), len(names)
    if isinstance(given, str):
        if given not in ("equal", "confounded"):
            raise unknown_name("propensity", given, ("equal", "confounded"))
        logits = np.zeros((n, arms)) if given == "equal" else np.outer(0.8 * x[:, 0], np.linspace(-1, 1, arms))
        raw = np.exp(logits)
        shares = raw / raw.sum(axis=1, keepdims=True)
        low = 0.05
        return np.asarray(low + (1 - arms * low) * shares if given == "confounded" else shares)
    if isinstance(given, Mapping):
        unknown = [str(name) for name in given if name not in names]
        if unknown:
            raise unknown_name("arm", unknown[0], names)
        shares = np.tile([float(given.get(name, 0.0)) for name in names], (n, 1))
    else:
        shares = np.asarray(given, dtype=np.float64)
    if shares.shape != (n, arms) or (shares < 0).any() or not np.allclose(shares.sum(axis=1), 1, atol=1e-6):
        raise InputError(f"propensities must have shape ({n}, {arms}), be not negative and add up to 1 in every row")
    return shares


def _draw_arms(shares: Floats, uniform: Floats) -> npt.NDArray[np.intp]:
    edges = np.cumsum(shares, axis=1)
    edges[:, -1] = 1.0
    positive_last = shares.shape[1] - 1 - np.argmax(shares[:, ::-1] > 0, axis=1)  # rounding never draws a zero share
    return np.minimum((uniform[:, None] >= edges).sum(axis=1), positive_last)


def _draw_outcome(
    outcome: str, index: Floats, shifts: Floats, given: npt.NDArray[np.intp], noise: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Mean outcome under every arm, ``(n, k + 1)``, and the outcome drawn under the arm given."""
    n = len(index)
    rows = np.arange(n)
    if outcome == "continuous":
        means = index[:, None] + np.column_stack([np.zeros(n), shifts])
        return means, means[rows, given] + noise * rng.standard_normal(n)
    rest = 0.15 + 0.5 / (1 + np.exp(-index))
    chance = np.column_stack([rest, np.clip(rest[:, None] + shifts, 0.01, 0.99)])
    happened = rng.random(n) < chance[rows, given]
    if outcome == "binary":
        return chance, happened.astype(np.float64)
    mean_money = 50 * np.exp(0.4 * index)
    money = mean_money * np.exp(noise * rng.standard_normal(n) - noise**2 / 2)
    return chance * mean_money[:, None], np.where(happened, money, 0.0)
