"""What quality is measured on: a public e-mail test, and simulated experiments whose true effects are known."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.data.simulator.worlds import EffectShape, OutcomeKind, World, make_world
from uplift.evaluation import Scores, aipw_scores, best_arm, policy_gain
from uplift.metrics import Metric, multi_arm_qini

Floats = npt.NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, eq=False)
class Half:
    """Rows that a method fits on, or is judged on; ``arm`` counts 0 for the control, 1 … k for the arms."""

    X: pd.DataFrame
    y: Floats
    arm: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Judgement:
    """Of predicted effects on the test half, per 1,000 members in the outcome's unit.

    ``gain``: of giving everyone the arm with the best predicted effect where that is positive, against giving nothing.
    ``qini``: area between the several-arm Qini curve at equal unit costs and the best untargeted mix.
    """

    gain: float
    qini: float


@dataclass(frozen=True)
class Split:
    """A training half, a test half, the arms' shares (control first), and how effects are judged on the test half."""

    train: Half
    test: Half
    shares: Floats
    binary: bool
    judge: Callable[[Floats], Judgement]


def _judgement(gain: float, area: Metric) -> Judgement:
    return Judgement(round(gain, 9), round(area.value, 9))  # equal predictions are exact ties whatever the summation


class Task(ABC):
    """Data that can be split in halves many times."""

    name: str
    title: str
    overlap: float
    """Test rows per training row where splits share their rows (Nadeau & Bengio 2003); 0 where each has its own."""

    @abstractmethod
    def split(self, number: int) -> Split:
        """The halves of one split."""


@dataclass(frozen=True)
class Hillstrom(Task):
    """The MineThatData e-mail test: 64,000 customers, two e-mails against none, in thirds.

    Splits 2 i and 2 i + 1 are the two halves of one random halving, each trained on once.
    """

    name: str
    title: str
    outcome: str
    overlap: float = 1.0

    def split(self, number: int) -> Split:
        frame = _hillstrom()
        halves = np.random.default_rng([2008, number // 2]).permutation(len(frame)) % 2 == number % 2
        y = frame[self.outcome].to_numpy(dtype=np.float64)
        arm = frame["segment"].map({"No E-Mail": 0, "Mens E-Mail": 1, "Womens E-Mail": 2}).to_numpy(dtype=np.intp)
        X = frame.drop(columns=["segment", "visit", "conversion", "spend"])
        train, test = (Half(X[rows].reset_index(drop=True), y[rows], arm[rows]) for rows in (halves, ~halves))
        shares = np.full(3, 1 / 3)
        table = np.tile(shares, (len(test.y), 1))

        @cache
        def scored() -> Scores:
            return aipw_scores(test.X, test.y, test.arm, table, control=0, random_state=number)

        def judge(effects: Floats) -> Judgement:
            scores = scored()
            gain = policy_gain(scores, effects).gain.value
            curve = multi_arm_qini(
                effects, [1.0, 1.0], test.y, test.arm, table, control=0, expected=scores.expected, n_bootstrap=0
            )
            return _judgement(1000 * gain, curve.area)

        return Split(train, test, shares, self.outcome != "spend", judge)


@dataclass(frozen=True)
class Simulated(Task):
    """A world with known effects, drawn anew for every split; judged by its true means, so without noise."""

    name: str
    title: str
    effect: str | EffectShape
    outcome: OutcomeKind
    arms: int
    scale: float
    n: int = 20_000
    overlap: float = 0.0

    def split(self, number: int) -> Split:
        names = tuple("abcdef"[: self.arms])
        world = make_world(
            self.n,
            arms=names,
            effect=self.effect,
            outcome=self.outcome,
            scale=self.scale,
            categorical=1,
            random_state=1_000 + number,
        )
        arm = np.array([("control", *names).index(given) for given in world.treatment], dtype=np.intp)
        first = np.arange(self.n) < self.n // 2
        train, test = (Half(world.X[rows].reset_index(drop=True), world.y[rows], arm[rows]) for rows in (first, ~first))
        shares = world.propensity[0]
        return Split(train, test, shares, self.outcome == "binary", _by_truth(world, ~first, arm))


def _by_truth(world: World, rows: npt.NDArray[np.bool_], arm: npt.NDArray[np.intp]) -> Callable[[Floats], Judgement]:
    effects, means = world.effects[rows], world.baseline[rows]
    table = np.column_stack([means, means[:, None] + effects])
    here = np.arange(len(effects))
    given = arm[rows]

    def judge(predicted: Floats) -> Judgement:
        choice = best_arm(predicted)
        gain = np.column_stack([np.zeros(len(effects)), effects])[here, choice].mean()
        # outcomes equal to their true means: the doubly robust curve has no residual left, it is the true one
        curve = multi_arm_qini(
            predicted, np.ones(effects.shape[1]), table[here, given], given, world.propensity[rows], control=0,
            expected=table, n_bootstrap=0,
        )  # fmt: skip
        return _judgement(1000 * float(gain), curve.area)

    return judge


@cache
def _hillstrom() -> pd.DataFrame:
    folder = Path(os.environ.get("UPLIFT_DATA", ROOT / ".." / "shared" / "data"))
    path = folder / "hillstrom" / "hillstrom.csv"
    if not path.is_file():
        raise SystemExit(f"no {path.name} in {folder}: set UPLIFT_DATA to the folder that holds hillstrom/")
    frame = pd.read_csv(path)
    texts = ["history_segment", "zip_code", "channel"]
    return frame.astype(dict.fromkeys(texts, "category"))


def one_hot(train: pd.DataFrame, test: pd.DataFrame) -> tuple[Floats, Floats]:
    """The features as numbers, one column per level of a category, for peers that take no categories."""
    both = pd.get_dummies(pd.concat([train, test], ignore_index=True), dtype=np.float64).to_numpy(dtype=np.float64)
    return both[: len(train)], both[len(train) :]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Hillstrom("hillstrom-visit", "Hillstrom, visits", "visit"),
        Hillstrom("hillstrom-spend", "Hillstrom, spend", "spend"),
        Simulated("none", "no effect, rate, 2 arms", "none", "binary", 2, 0.05),
        Simulated("constant", "one effect for all, rate, 2 arms", "constant", "binary", 2, 0.05),
        Simulated("linear", "linear effects, rate, 3 arms", "linear", "binary", 3, 0.05),
        Simulated("step", "steps of both signs, rate, 2 arms", "step", "binary", 2, 0.05),
        Simulated("step-spend", "steps of both signs, money, 2 arms", "step", "spend", 2, 0.1),
        Simulated("sparse-spend", "a tenth gains, money, 3 arms", "sparse", "spend", 3, 0.1),
    )
}
