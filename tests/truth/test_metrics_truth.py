"""Simulation proofs of the metrics: intervals that cover the truth, and defects that these tests must catch.

Quick versions run with the tests; those marked ``proof`` repeat 2,000 times, where a 95 % coverage has a Monte-Carlo
error of 0.49 points, and hold to 95 ± 1.5. Each tail holds to 2.5 ± 1.5, since these are first-order intervals of
skewed statistics; on money, which is very skewed (most spend nothing, a few a great deal), to 2.5 ± 2.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from uplift import metrics
from uplift.data.simulator.worlds import World, make_world

LONG = 2000
DRAWS = 100


def lengths(quick: int):
    """The quick number of repeats, and the long one for ``make proofs``."""
    return pytest.mark.parametrize("repeats", [quick, pytest.param(LONG, marks=pytest.mark.proof)])


def population(repeats: int) -> int:
    """Rows of the world from which the truth is taken."""
    return 300_000 if repeats < LONG else 2_000_000


def near(share: float, expected: float, repeats: int, tolerance: float) -> bool:
    """Within the tolerance at 2,000 repeats, widened to three Monte-Carlo errors for fewer."""
    noise = 3 * math.sqrt(expected * (1 - expected) / repeats) if repeats < LONG else 0.0
    return abs(share - expected) <= max(tolerance, noise)


def tails(
    estimate: Callable[[int], Mapping[str, metrics.Metric]], truth: Mapping[str, float], repeats: int
) -> dict[str, tuple[float, float]]:
    """For every number, how often the truth lies below and above its interval."""
    missed = {name: [0, 0] for name in truth}
    for repeat in range(repeats):
        for name, value in estimate(repeat).items():
            missed[name][0] += truth[name] < value.low
            missed[name][1] += truth[name] > value.high
    return {name: (below / repeats, above / repeats) for name, (below, above) in missed.items()}


ROW_OF = {
    "gain at a budget": "metrics/budget", "gain where an arm saves money": "metrics/budget",
    "difference of two models at a budget": "metrics/paired",
    "difference of two scores": "metrics/paired", "slope": "metrics/calibration",
    "intercept": "metrics/calibration", "roc_auc": "metrics/risks", "average_precision": "metrics/risks",
    "lift_at_k": "metrics/risks", "brier_score": "metrics/risks", "ipw": "policy/value", "snips": "policy/value",
    "dr": "policy/value", "snips gain over a": "policy/value",
}  # fmt: skip


def assert_covered(
    proof: Callable[..., bool],
    where: str,
    shares: Mapping[str, tuple[float, float]],
    repeats: int,
    tolerance: float = 0.015,
    *,
    tail: float = 0.015,
) -> None:
    fine = {}
    for name, (below, above) in shares.items():
        holds = near(1 - below - above, 0.95, repeats, tolerance)
        holds &= near(below, 0.025, repeats, tail) and near(above, 0.025, repeats, tail)
        fine[name] = proof(
            ROW_OF.get(name, "metrics/intervals"), f"{name}: {where}", method=METHOD_OF.get(name, "half-samples"),
            target=f"95 ± {100 * tolerance:g} %, each tail 2.5 ± {100 * tail:g}", figure=missed(below, above),
            holds=holds,
        )  # fmt: skip
    assert all(fine.values()), (fine, shares)


METHOD_OF = dict.fromkeys(("slope", "intercept"), "HC2") | dict.fromkeys(
    ("ipw", "snips", "dr", "snips gain over a"), "linearised"
)


def missed(below: float, above: float) -> str:
    return f"{100 * (1 - below - above):.1f} % covered; truth below {100 * below:.1f} %, above {100 * above:.1f} %"


def gain_curve(score: np.ndarray, effect: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The true gain curve of a large population."""
    order = np.argsort(-score, kind="stable")
    q = np.arange(len(score) + 1) / len(score)
    return q, np.append(0.0, np.cumsum(effect[order])) / len(score)


def true_numbers(score: np.ndarray, effect: np.ndarray) -> dict[str, float]:
    q, gain = gain_curve(score, effect)
    whole = np.trapezoid(gain, q)
    toc = gain[1:] / q[1:] - gain[-1]
    return {
        "auuc": 1000 * whole,
        "qini": 1000 * (whole - gain[-1] / 2),
        "qini_rate": whole - gain[-1] / 2,
        "autoc": float(toc.mean()),
        "uplift_at_k": float(np.interp(0.2, q, gain) / 0.2),
        "total": 1000 * gain[-1],
    }


def ranking_numbers(effect: np.ndarray, world: World, **options) -> dict[str, metrics.Metric]:
    given = (effect, world.y, world.treatment)
    options = {"propensity": world.propensity, "n_bootstrap": DRAWS, **options}
    curve = metrics.qini_curve(*given, **options)
    return {
        "qini": curve.area,
        "total": curve.total,
        "auuc": metrics.auuc(*given, **options),
        "autoc": metrics.autoc(*given, **options),
        "uplift_at_k": metrics.uplift_at_k(*given, k=0.2, **options),
    }


SETTINGS = {
    "spend, 70/30": {"outcome": "spend", "propensity": {"control": 0.7, "a": 0.3}},
    "binary, probabilities by row": {"outcome": "binary", "propensity": "confounded"},
}


def score_of(world: World) -> np.ndarray:
    """A score that ranks a little, with ties."""
    return np.round(world.X["x0"].to_numpy() - 0.7 * world.X["x1"].to_numpy(), 1)


@pytest.mark.parametrize("setting", sorted(SETTINGS))
@lengths(150)
def test_ranking_intervals_cover_the_truth(setting, repeats, proof):
    options = {"arms": ("a",), "n_features": 3, **SETTINGS[setting]}
    big = make_world(population(repeats), random_state=10_001, **options)
    truth = true_numbers(score_of(big), big.effects[:, 0])
    n = 2500 if repeats < LONG else 4000

    def estimate(seed: int) -> dict[str, metrics.Metric]:
        world = make_world(n, random_state=seed, **options)
        return ranking_numbers(score_of(world), world, random_state=seed)

    shares = tails(estimate, {name: truth[name] for name in ("qini", "total", "auuc", "autoc", "uplift_at_k")}, repeats)
    money = options["outcome"] == "spend"
    assert_covered(proof, f"{setting}, {n:,} members", shares, repeats, tail=0.025 if money else 0.015)


def few_buyers(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """About one member in a hundred buys: score, outcome, treatment (30 %), true effect."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    treatment = (rng.random(n) < 0.3).astype(int)
    effect = 0.004 * np.exp(0.8 * x - 0.32)
    base = 0.008 * np.exp(0.5 * rng.normal(size=n))
    y = (rng.random(n) < base + treatment * effect).astype(float)
    return np.round(x, 1), y, treatment, effect


@lengths(200)
def test_few_buyers_widen_the_intervals(repeats, proof):
    """Satterthwaite's degrees of freedom against the normal interval, where the variance hangs on a few members."""
    score, _, _, effect = few_buyers(1_000_000, 10_004)
    names = ("qini", "auuc", "autoc", "uplift_at_k")
    truth = {name: true_numbers(score, effect)[name] for name in names}

    def estimate(n: int, seed: int, normal: bool = False) -> dict[str, metrics.Metric]:
        score, y, treatment, _ = few_buyers(n, seed)
        found = {}
        for name in names:
            more = {"k": 0.2} if name == "uplift_at_k" else {}
            value = metrics.METRICS[name].function(score, y, treatment, {0: 0.7, 1: 0.3}, n_bootstrap=DRAWS, **more)
            half = 1.96 * value.se
            found[name] = replace(value, low=value - half, high=value + half) if normal else value
        return found

    slack = 3 * math.sqrt(0.05 * 0.95 / repeats) if repeats < LONG else 0.0
    fine = []
    for name, shares in tails(lambda seed: estimate(5000, seed), truth, repeats).items():
        fine += [
            proof(
                "metrics/intervals", f"{name}: 5,000 members of whom about 50 buy", method="half-samples",
                target="at least 93.5 %", figure=missed(*shares), holds=1 - sum(shares) >= 0.935 - slack,
            )
        ]  # fmt: skip
    shares = tails(lambda seed: estimate(2500, seed, normal=True), truth, repeats)["autoc"]
    fine += [
        proof(
            "metrics/intervals", "autoc: 2,500 members of whom about 25 buy", method="normal quantiles",
            target="below 91.5 %", figure=missed(*shares), holds=1 - sum(shares) < 0.915 + slack, planted=True,
        )
    ]  # fmt: skip
    assert all(fine)


def test_ignoring_unequal_propensities_is_caught(proof):
    """The planted defect: shares as observed where probabilities differ by row."""
    options = {"arms": ("a",), "n_features": 3, **SETTINGS["binary, probabilities by row"]}
    big = make_world(300_000, random_state=10_001, **options)
    truth = true_numbers(score_of(big), big.effects[:, 0])

    def estimate(seed: int) -> dict[str, metrics.Metric]:
        world = make_world(2500, random_state=seed, **options)
        return {"auuc": metrics.auuc(score_of(world), world.y, world.treatment, n_bootstrap=DRAWS)}

    below, above = tails(estimate, {"auuc": truth["auuc"]}, 60)["auuc"]
    assert proof(
        "metrics/intervals", "auuc: binary, probabilities by row, 2,500 members", method="shares as observed",
        target="below 70 %", figure=missed(below, above), holds=below + above > 0.3, planted=True,
    )  # fmt: skip


def test_rows_of_one_member_counted_as_members_are_caught(proof):
    """The planted defect: three rows a member without clusters. With clusters the same fixture is covered."""
    options = {"arms": ("a",), "n_features": 3, **SETTINGS["spend, 70/30"]}
    big = make_world(300_000, random_state=10_001, **options)
    truth = {"qini": true_numbers(score_of(big), big.effects[:, 0])["qini"]}
    rows = np.repeat(np.arange(1200), 3)

    def estimate(clusters: np.ndarray | None) -> Callable[[int], dict[str, metrics.Metric]]:
        def one(seed: int) -> dict[str, metrics.Metric]:
            w = make_world(1200, random_state=seed, **options)
            given = (score_of(w)[rows], w.y[rows], w.treatment[rows], w.propensity[rows])
            return {"qini": metrics.qini(*given, clusters=clusters, n_bootstrap=DRAWS)}

        return one

    naive, honest = (tails(estimate(clusters), truth, 150)["qini"] for clusters in (None, rows))
    quantity = "qini: spend, 70/30, 1,200 members with three rows each"
    caught = proof(
        "metrics/intervals", quantity, method="rows counted as members", target="below 85 %", figure=missed(*naive),
        holds=sum(naive) > 0.15, planted=True,
    )  # fmt: skip
    right = proof(
        "metrics/intervals", quantity, method="half-samples of members", target="95 ± 5.3 % (150 repeats)",
        figure=missed(*honest), holds=near(1 - sum(honest), 0.95, 150, 0.015),
    )  # fmt: skip
    assert right
    assert caught


# -- several arms ---------------------------------------------------------------------------------------------------

THREE = {"outcome": "binary", "n_features": 3, "propensity": {"control": 0.45, "a": 0.35, "b": 0.2}}
COSTS = np.array([1.0, 1.5])


def predictions(world: World) -> np.ndarray:
    x = world.X.to_numpy()
    return 0.1 * np.column_stack([0.3 + x[:, 0] + x[:, 2], 0.3 + x[:, 1] - x[:, 2]])


SAVING = np.array([-0.5, 1.0])  # giving arm a saves money


def gain_at_budget(predicted: np.ndarray, effects: np.ndarray, budget: float, costs: np.ndarray = COSTS) -> float:
    """True gain of the best predicted gain per cost at a mean spend, by bisection over the price."""
    rows = np.arange(len(predicted))
    low, high = 0.0, 10.0
    for _ in range(60):
        price = (low + high) / 2
        net = predicted - price * costs
        choice, any_arm = net.argmax(axis=1), net.max(axis=1) > 0
        spend = np.where(any_arm, costs[choice], 0.0).mean()
        low, high = (price, high) if spend > budget else (low, price)
    return 1000 * float(np.where(any_arm, effects[rows, choice], 0.0).mean())


@lengths(150)
def test_several_arm_intervals_cover_the_truth(repeats, proof):
    big = make_world(population(repeats), random_state=10_002, **THREE)
    predicted, rows = predictions(big), np.arange(population(repeats))
    best = true_numbers(predicted.max(axis=1), big.effects[rows, predicted.argmax(axis=1)])
    truth = {
        "qini of the best arm": best["qini"],
        "autoc of the best arm": best["autoc"],
        "arm b alone": true_numbers(predicted[:, 1], big.effects[:, 1])["qini"],
        "gain at a budget": gain_at_budget(predicted, big.effects, 0.4),
        "gain where an arm saves money": gain_at_budget(predicted, big.effects, -0.1, SAVING),
        "difference of two models at a budget": gain_at_budget(predicted, big.effects, 0.4)
        - gain_at_budget(predicted[:, ::-1], big.effects, 0.4),
    }
    n = 2500 if repeats < LONG else 4000
    shares = dict(THREE["propensity"])

    def estimate(seed: int) -> dict[str, metrics.Metric]:
        world = make_world(n, random_state=seed, **THREE)
        given, options = (world.y, world.treatment, shares), {"n_bootstrap": DRAWS, "random_state": seed}
        effect = predictions(world)
        return {
            "qini of the best arm": metrics.qini(effect, *given, **options),
            "autoc of the best arm": metrics.autoc(effect, *given, **options),
            "arm b alone": metrics.qini(effect, *given, arm="b", **options),
            "gain at a budget": metrics.multi_arm_qini(effect, COSTS, *given, **options).at(0.4),
            "gain where an arm saves money": metrics.multi_arm_qini(effect, SAVING, *given, **options).at(-0.1),
            "difference of two models at a budget": metrics.compare_budgets(
                effect, effect[:, ::-1], COSTS, *given, budget=0.4, **options
            ),
        }

    assert_covered(proof, f"binary, arms 45/35/20, {n:,} members", tails(estimate, truth, repeats), repeats)


@lengths(150)
def test_values_comparisons_and_calibration_cover_the_truth(repeats, proof):
    big = make_world(population(repeats), random_state=10_003, **THREE)
    predicted = predictions(big)
    choice = np.where(predicted.max(axis=1) > 0.05, predicted.argmax(axis=1), -1)
    score, other = (np.round(big.X[c].to_numpy(), 1) for c in ("x0", "x2"))
    qini = {c: true_numbers(s, big.effects[:, 0])["qini"] for c, s in (("x0", score), ("x2", other))}
    slope = np.polyfit(predicted[:, 0], big.effects[:, 0], 1)
    truth = {
        "ipw": big.value(choice),
        "snips": big.value(choice),
        "dr": big.value(choice),
        "snips gain over a": big.value(choice) - big.value(0),
        "difference of two scores": qini["x0"] - qini["x2"],
        "slope": slope[0],
        "intercept": slope[1],
    }
    n = 2500 if repeats < LONG else 4000
    shares = dict(THREE["propensity"])

    def estimate(seed: int) -> dict[str, metrics.Metric]:
        w = make_world(n, random_state=seed, **THREE)
        p = predictions(w)
        policy = np.where(p.max(axis=1) > 0.05, p.argmax(axis=1), -1) + 1
        poor = np.tile([0.3, 0.35, 0.35], (n, 1))  # a poor outcome model is enough, given the propensities
        calibration = metrics.effect_calibration(p, w.y, w.treatment, shares, arm="a")
        options = {"n_bootstrap": DRAWS, "random_state": seed, "arm": "a"}
        return {
            "ipw": metrics.policy_value(policy, w.y, w.treatment, shares, method="ipw"),
            "snips": metrics.policy_value(policy, w.y, w.treatment, shares),
            "dr": metrics.policy_value(policy, w.y, w.treatment, shares, method="dr", expected=poor),
            "snips gain over a": metrics.policy_value(policy, w.y, w.treatment, shares, against="a"),
            "difference of two scores": metrics.compare(
                w.X[["x0"]].round(1), w.X[["x2"]].round(1), w.y, w.treatment, shares, **options
            ),
            "slope": calibration.slope,
            "intercept": calibration.intercept,
        }

    assert_covered(proof, f"binary, arms 45/35/20, {n:,} members", tails(estimate, truth, repeats), repeats)


# -- classification ---------------------------------------------------------------------------------------------------


@lengths(150)
def test_classification_intervals_cover_the_truth(repeats, proof):
    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        p = rng.beta(1, 4, n)
        return (rng.random(n) < p).astype(float), p

    y, p = draw(np.random.default_rng(1), 1_000_000 if repeats < LONG else 10_000_000)
    truth = {name: float(getattr(metrics, name)(y, p, n_bootstrap=0)) for name in NAMES}
    truth["roc_auc"] = 7 / 9  # P(Beta(2, 4) > Beta(1, 5))

    def estimate(seed: int) -> dict[str, metrics.Metric]:
        y, p = draw(np.random.default_rng(seed + 2), 2500)
        options = {"n_bootstrap": DRAWS, "random_state": seed}
        return {name: getattr(metrics, name)(y, p, **options) for name in NAMES}

    # average precision is biased upwards by order 1/n, which moves its tails
    assert_covered(proof, "risks of 2,500 members", tails(estimate, truth, repeats), repeats, tail=0.02)


NAMES = ("roc_auc", "average_precision", "lift_at_k", "brier_score")


def test_one_sided_p_values_are_uniform_where_there_is_nothing_to_rank(proof):
    """At 5 % a useless score is called good in 5 % of the worlds, and an anti-ranked one in none."""
    called, anti = 0, 0
    for seed in range(200):
        world = make_world(1500, arms=("a",), effect="constant", random_state=seed, n_features=2)
        given = (world.y, world.treatment, {"control": 0.5, "a": 0.5})
        called += metrics.qini(world.X[["x1"]], *given, n_bootstrap=DRAWS, random_state=seed).p_value < 0.05
        if seed < 40:
            ranked = make_world(1500, arms=("a",), effect="linear", random_state=seed, n_features=2)
            given = (ranked.y, ranked.treatment, {"control": 0.5, "a": 0.5})
            anti += metrics.autoc(-ranked.effects, *given, n_bootstrap=DRAWS).p_value < 0.05
    useless = proof(
        "metrics/one-sided", "useless scores called good at 5 %, 200 worlds", method="qini", target="5 ± 4.6 %",
        figure=f"{called / 2:.1f} %", holds=near(called / 200, 0.05, 200, 0.015),
    )  # fmt: skip
    worse = proof(
        "metrics/one-sided", "anti-ranked scores called good at 5 %, 40 worlds", method="autoc", target="none",
        figure=f"{anti}", holds=anti == 0,
    )  # fmt: skip
    assert useless
    assert worse
