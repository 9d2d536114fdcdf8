"""Simulation proofs of the evaluation: intervals that cover, no winner's curse, verdicts that do not cry wolf.

Quick versions run with the tests; those marked ``proof`` repeat 2,000 times (100 searches for the verdicts).
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

from uplift.data.simulator.worlds import make_world
from uplift.evaluation import UpliftSearchCV, aipw_scores, group_effects, policy_gain

LONG = 2000
ARMS = ("control", "a", "b")


def lengths(quick: int, long: int = LONG):
    """The quick number of repeats, and the long one for ``make proofs``."""
    return pytest.mark.parametrize("repeats", [quick, pytest.param(long, marks=pytest.mark.proof)])


def near(share: float, expected: float, repeats: int, tolerance: float) -> bool:
    """Within the tolerance at 2,000 repeats, widened to three Monte-Carlo errors for fewer."""
    noise = 3 * math.sqrt(expected * (1 - expected) / repeats) if repeats < LONG else 0.0
    return abs(share - expected) <= max(tolerance, noise)


# -- effects by segment: two arms, probabilities by row, several rows a member -------------------------------------

ROWS_OF_MEMBERS = "two arms, probabilities by row, 500 members with one to three rows"
SEGMENTS = ("new", "active", "asleep")
EFFECTS = {"new": (0.8, 0.2), "active": (0.0, 0.5), "asleep": (-0.3, 1.0)}


def campaign(seed: int, members: int = 500) -> SimpleNamespace:
    """Members with 1 to 3 rows in the same arm; their own level, and an outcome that the assignment depends on."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=members)
    segment = np.array(SEGMENTS)[rng.integers(0, 3, members)]
    raw = np.exp(np.outer(0.9 * x, [-1, 0, 1]))
    chance = 0.08 + 0.76 * raw / raw.sum(axis=1, keepdims=True)
    arm = (rng.random(members)[:, None] >= np.cumsum(chance, axis=1)[:, :2]).sum(axis=1)
    own = x + rng.normal(size=members)
    row = np.repeat(np.arange(members), rng.integers(1, 4, members))
    effect = np.array([(0.0, *EFFECTS[s]) for s in segment])[row]
    y = 2 * own[row] + effect[np.arange(len(row)), arm[row]] + rng.normal(size=len(row))
    # what is measured is the mean over rows, and every segment's effect is the same in all of its rows
    return SimpleNamespace(
        X=pd.DataFrame({"x": x[row], **{s: (segment[row] == s) * 1.0 for s in SEGMENTS[1:]}}),
        y=y, treatment=np.array(ARMS)[arm][row], propensity=chance[row], segment=segment[row], member=row,
    )  # fmt: skip


def segment_coverage(repeats: int, *, clustered: bool = True, designed: bool = True) -> tuple[float, float, float]:
    """Coverage and the two tails over segments × arms; the planted defects: no clusters, or wrong propensities."""
    below = above = count = 0
    for seed in range(repeats):
        c = campaign(seed)
        if designed:
            scores = aipw_scores(
                c.X, c.y, c.treatment, c.propensity, folds=2, groups=c.member, outcome_model=LinearRegression()
            )
        else:  # equal shares and nothing that would model the outcome
            equal = dict.fromkeys(ARMS, 1 / 3)
            blind = pd.DataFrame({"one": np.ones(len(c.y))})
            scores = aipw_scores(
                blind, c.y, c.treatment, equal, folds=2, groups=c.member, outcome_model=LinearRegression()
            )
        clusters = c.member if clustered else np.arange(len(c.y))
        for row in group_effects(scores, c.segment, clusters=clusters).rows:
            if row.group is None or row.effect is None:
                continue
            true = EFFECTS[row.group][row.arm == "b"]
            below += true < row.low
            above += true > row.high
            count += 1
    return 1 - (below + above) / count, below / count, above / count


@lengths(150)
def test_segment_intervals_cover_the_truth(repeats, proof):
    covered, below, above = segment_coverage(repeats)
    independent = repeats * 3  # arms share a control, so not every interval is news
    fine = near(covered, 0.95, independent, 0.015)
    fine &= near(below, 0.025, independent, 0.0105) and near(above, 0.025, independent, 0.0105)
    assert proof(
        "evaluation/segments", ROWS_OF_MEMBERS, method="cross-fitted doubly robust, clustered by member",
        target="95 ± 1.5 %, each tail 2.5 ± 1.05", holds=fine,
        figure=f"{100 * covered:.1f} % covered; truth below {100 * below:.1f} %, above {100 * above:.1f} %",
    )  # fmt: skip


def test_segment_intervals_without_clusters_are_caught(proof):
    covered, _, _ = segment_coverage(60, clustered=False)
    assert proof(
        "evaluation/segments", ROWS_OF_MEMBERS, method="rows counted as members", target="below 88 %",
        figure=f"{100 * covered:.1f} % covered", holds=covered < 0.88, planted=True,
    )  # fmt: skip


def test_segment_intervals_with_wrong_propensities_are_caught(proof):
    covered, _, _ = segment_coverage(60, designed=False)
    assert proof(
        "evaluation/segments", ROWS_OF_MEMBERS, method="equal propensities, no model of the outcome",
        target="below 80 %", figure=f"{100 * covered:.1f} % covered", holds=covered < 0.8, planted=True,
    )  # fmt: skip


# -- policies ---------------------------------------------------------------------------------------------------------


@lengths(150)
def test_the_gain_of_a_fixed_policy_is_unbiased_and_covered(repeats, proof):
    options = {"n_features": 3, "propensity": "confounded"}
    big = make_world(1_000_000, random_state=10_001, **options)

    def policy(world):
        return np.where(world.X["x0"] > 0.2, 1, np.where(world.X["x1"] > 0, 2, 0))

    nobody, single = big.baseline.mean(), big.value(0) - big.baseline.mean()
    gain = big.value(policy(big) - 1) - nobody
    truth = {"gain": gain, "single_gain": single, "over_single": gain - single}
    errors = {name: [] for name in truth}
    missed = dict.fromkeys(truth, 0)
    for seed in range(repeats):
        w = make_world(1500, random_state=seed, **options)
        scores = aipw_scores(w.X, w.y, w.treatment, w.propensity, folds=2, outcome_model=LinearRegression())
        result = policy_gain(scores, policy=policy(w), single="a")
        for name, true in truth.items():
            number = getattr(result, name)
            errors[name].append(number.value - true)
            missed[name] += not number.low <= true <= number.high
    fine = []
    for name in truth:
        bias, covered = np.mean(errors[name]) / np.std(errors[name]) * math.sqrt(repeats), 1 - missed[name] / repeats
        fine += [
            proof(
                "evaluation/policy-gain", f"{name} of a fixed policy, confounded, {repeats:,} repeats",
                method="cross-fitted doubly robust", target="bias within 3.5 of its errors; 95 ± 1.5 %",
                figure=f"{bias:+.1f}; {100 * covered:.1f} % covered",
                holds=abs(bias) < 3.5 and near(covered, 0.95, repeats, 0.015),
            )
        ]  # fmt: skip
    assert all(fine)


def test_promises_are_inflated_and_scores_are_not(proof):
    """Winner's curse: where nothing works, the mean predicted effect of what is chosen is well above zero."""
    promised, gained, errors = [], [], []
    for seed in range(60):
        w = make_world(1200, effect="none", outcome="continuous", n_features=4, random_state=seed)
        half = np.arange(1200) < 600
        models = {
            arm: LinearRegression().fit(w.X[half & (w.treatment == arm)], w.y[half & (w.treatment == arm)])
            for arm in ARMS
        }
        new = w.X[~half]
        effects = np.column_stack([models[arm].predict(new) - models["control"].predict(new) for arm in ARMS[1:]])
        scores = aipw_scores(
            new, w.y[~half], w.treatment[~half], w.propensity[~half], folds=2, outcome_model=LinearRegression()
        )
        result = policy_gain(scores, effects)
        promised.append(result.promised)
        gained.append(result.gain.value)
        errors.append(result.gain.value**2 - result.gain.se**2)
    limit = 3.5 * np.std(gained) / math.sqrt(60)
    quantity = "gain of the best predicted arm where nothing works, 60 worlds"
    right = proof(
        "policy/promise", quantity, method="doubly robust on held-out rows", target=f"within {limit:.3f} of 0",
        figure=f"{np.mean(gained):+.3f}", holds=abs(np.mean(gained)) < limit,
    )  # fmt: skip
    caught = proof(
        "policy/promise", quantity, method="mean of its own predicted effects", target="above .1, each above 0",
        figure=f"{np.mean(promised):+.3f}, least {min(promised):+.3f}", planted=True,
        holds=np.mean(promised) > 0.1 and min(promised) > 0,
    )  # fmt: skip
    assert right
    assert caught
    assert abs(np.mean(errors)) < 3.5 * np.std(errors) / math.sqrt(60)  # and its standard error is the right size


# -- the search -------------------------------------------------------------------------------------------------------


class Quick(BaseEstimator):
    """Least squares per arm on the first columns; ``columns=0`` is the constant effect, ``none`` no effect."""

    def __init__(self, control=None, columns=None, curved=False, none=False):
        self.control = control
        self.columns = columns
        self.curved = curved
        self.none = none

    def _design(self, X):
        X = np.column_stack([np.ones(len(X)), np.asarray(X, dtype=float)[:, : self.columns]])
        return np.column_stack([X, X[:, 1:] ** 2, np.sign(X[:, 1:])]) if self.curved else X

    def fit(self, X, y, treatment, **_):
        design = self._design(X)
        self.coefficients_ = {
            arm: np.linalg.lstsq(design[treatment == arm], y[treatment == arm], rcond=None)[0] for arm in ARMS
        }
        return self

    def predict(self, X):
        design = self._design(X)
        both = [design @ (self.coefficients_[arm] - self.coefficients_["control"]) for arm in ARMS[1:]]
        return np.column_stack(both) * (0.0 if self.none else 1.0)


CANDIDATES = {
    "none": Quick(none=True),
    "constant": Quick(columns=0),
    "one": Quick(columns=1),
    "linear": Quick(),
    "curved": Quick(curved=True),
}


def searched(world, **options) -> UpliftSearchCV:
    search = UpliftSearchCV(CANDIDATES, outcome_model=LinearRegression(), n_bootstrap=0, **options)
    return search.fit(world.X, world.y, world.treatment, propensity=world.propensity)


@pytest.mark.parametrize(("seeds", "least"), [(25, 22), pytest.param(100, 93, marks=pytest.mark.proof)])
def test_an_experiment_without_any_effect_says_no_evidence(seeds, least, proof):
    said = [
        searched(make_world(1500, effect="none", n_features=5, random_state=seed)).verdict_status_
        for seed in range(seeds)
    ]
    assert proof(
        "evaluation/verdict", "verdict where nothing works", method="UpliftSearchCV over five simple candidates",
        target=f"no evidence in at least {least} of {seeds}", figure=f"{said.count('no_evidence')} of {seeds}",
        holds=said.count("no_evidence") >= least,
    )  # fmt: skip


@pytest.mark.parametrize(("seeds", "most"), [(25, 3), pytest.param(100, 7, marks=pytest.mark.proof)])
def test_one_effect_for_all_is_not_called_targeting(seeds, most, proof):
    said = [
        searched(make_world(1500, effect="constant", scale=0.2, n_features=5, random_state=seed)).verdict_status_
        for seed in range(seeds)
    ]
    assert proof(
        "evaluation/verdict", "verdict where one effect holds for all", method="UpliftSearchCV",
        target=f"targeting in at most {most} of {seeds}", figure=f"{said.count('targeting')} of {seeds}",
        holds=said.count("targeting") <= most,
    )  # fmt: skip
    assert said.count("one_for_all") >= seeds // 2


def test_real_differences_are_called_targeting_and_the_gain_is_the_true_one(proof):
    errors, said = [], []
    new = make_world(50_000, outcome="continuous", scale=0.5, n_features=5, random_state=10_001)
    for seed in range(12):
        found = searched(make_world(2500, outcome="continuous", scale=0.5, n_features=5, random_state=seed))
        effects = found.predict(new.X)
        choice = np.where(effects.max(axis=1) > 0, effects.argmax(axis=1), -1)
        true = new.value(choice) - new.baseline.mean()
        errors.append((found.selected_.gain.value - true) / found.selected_.gain.se)
        said.append(found.verdict_status_)
    # with folds' smaller training sets the reported gain may lie slightly below
    fine = said.count("targeting") == 12 and abs(np.mean(errors)) < 3.5 / math.sqrt(12) and np.std(errors) < 1.8
    assert proof(
        "evaluation/selection", "reported gain where arms differ by member, in errors from the truth, 12 worlds",
        method="UpliftSearchCV, nested", target="targeting in 12 of 12, mean within 1.01, spread below 1.8",
        figure=f"{said.count('targeting')} of 12, {np.mean(errors):+.2f}, {np.std(errors):.2f}", holds=fine,
    )  # fmt: skip


def test_choosing_on_the_rows_of_the_report_is_caught(proof):
    """The planted defect: the best candidate's own out-of-fold gain, which chose it, is above the truth of zero."""
    optimistic, nested = [], []
    for seed in range(60):
        world = make_world(400, effect="none", outcome="continuous", n_features=5, random_state=seed)
        found = searched(world, folds=3, tolerance=0.0)
        optimistic.append(found.leaderboard_["value"].max())
        nested.append(found.selected_.gain.value)
    seen, held = (np.mean(gain) / np.std(gain) * math.sqrt(60) for gain in (optimistic, nested))
    quantity = "reported gain of the best candidate where nothing works, in its errors over 60 worlds"
    right = proof(
        "evaluation/selection", quantity, method="rows that did not choose", target="below 2.5", figure=f"{held:+.1f}",
        holds=held < 2.5,
    )  # fmt: skip
    caught = proof(
        "evaluation/selection", quantity, method="the rows that chose", target="above 3.5", figure=f"{seen:+.1f}",
        holds=seen > 3.5, planted=True,
    )  # fmt: skip
    assert right
    assert caught
