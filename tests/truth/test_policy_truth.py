"""Simulation proofs: logged probabilities are the realised ones, off-policy values cover the truth, targeting pays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from uplift.policy import allocate, decide, explore, holdout, off_policy_value

LOGGED = "logged against realised frequencies of every arm and member, χ² by decile"
IDS = [f"member-{i}" for i in range(2_000)]


def world(seed: int) -> tuple[NDArray, NDArray, NDArray]:
    """Value, cost and eligibility of four offers for members of five kinds."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 5, len(IDS))
    eligible = (rng.random((5, 4)) < 0.7)[kind]
    eligible[rng.random(len(IDS)) < 0.1] = False
    return rng.gamma(1, 2, (len(IDS), 4)) - 1, np.array([1.0, 2.0, 0.5, 3.0]), eligible


def frequencies(repeats: int, *, shift: float = 0.0) -> list[tuple[float, float, float]]:
    """(expected, realised, variance) over deciles of the logged probability, summed over members, arms and seeds.

    Every arm of every member is counted, given or not, so that probabilities of what was not drawn are tested too.
    ``shift`` plants a defect: probabilities logged as if the rate were different.
    """
    value, cost, eligible = world(0)
    held = holdout(IDS, 0.05)
    rows = np.flatnonzero(~held)
    d = decide(
        IDS, value, cost, eligible=eligible, seed="base", budget=900, quotas=[150, None, 25, 200], explore_share=0.1
    )
    plan, choice = d.exploration, d.choice[rows]
    names = [IDS[i] for i in rows]
    given = np.zeros((len(rows), 5))
    for repeat in range(repeats):
        given[np.arange(len(rows)), explore(choice, plan, names, f"seed-{repeat}").offer + 1] += 1
    logged = np.column_stack([plan.probability(np.full(len(rows), j), choice) for j in range(-1, 4)])
    logged = logged + shift * (logged > 0) * np.where(logged < 0.5, 1, -1)
    assert (given[logged == 0] == 0).all()
    p, k = logged[logged > 0], given[logged > 0]
    uncertain = p < 1
    assert (k[~uncertain] == repeats).all()
    p, k = p[uncertain], k[uncertain]
    order = np.argsort(p, kind="stable")
    bins = np.array_split(order, 10)
    return [(repeats * p[b].sum(), k[b].sum(), repeats * (p[b] * (1 - p[b])).sum()) for b in bins]


def chi_square_p(cells: list[tuple[float, float, float]]) -> float:
    return float(chi2.sf(sum((k - e) ** 2 / v for e, k, v in cells), len(cells)))


def test_logged_probabilities_are_the_realised_frequencies_by_decile(proof) -> None:
    p = chi_square_p(frequencies(300))
    assert proof(
        "policy/exploration", LOGGED, method="probability logged after all constraints", target="p above .001",
        figure=f"p = {p:.3f}", holds=p > 0.001,
    )  # fmt: skip


def test_a_wrong_probability_is_caught_by_the_same_test(proof) -> None:
    p = chi_square_p(frequencies(300, shift=0.004))
    assert proof(
        "policy/exploration", LOGGED, method="probabilities off by .004", target="p below 1e-6", figure=f"p = {p:.0e}",
        holds=p < 1e-6, planted=True,
    )  # fmt: skip


def test_the_smallest_probability_is_at_the_floor(proof) -> None:
    value, cost, eligible = world(1)
    d = decide(IDS, value, cost, eligible=eligible, seed="s", explore_share=0.06, holdout_share=0.0)
    least, floor = d.propensity.min(), d.exploration.rate / (eligible.sum(axis=1).max() + 1)
    assert proof(
        "policy/exploration", "least propensity at a rate of .06", method="ε over a member's feasible offers and none",
        target=f"at least {floor:.4f}", figure=f"{least:.4f}", holds=least >= floor - 1e-12,
    )  # fmt: skip
    assert d.exploration.rate == 0.06


def outcomes(offer: NDArray, rng: np.random.Generator, value: NDArray) -> NDArray:
    mean = np.where(offer >= 0, value[np.arange(len(offer)), np.maximum(offer, 0)], 0.0)
    return mean + rng.normal(0, 1, len(offer))


def uniform_probability(offer: NDArray, options: NDArray) -> NDArray:
    """Of the policy that draws evenly from feasible offers and none."""
    allowed = (offer < 0) | options[np.arange(len(offer)), np.maximum(offer, 0)]
    return allowed / (options.sum(axis=1) + 1)


def test_value_of_the_uniform_policy_equals_the_slices_mean(proof) -> None:
    """From all rows by weights, against the plain mean of the explorers: within 3 standard errors of the difference."""
    value, cost, eligible = world(2)
    logs, explored = [], []
    rng = np.random.default_rng(0)
    for week in range(20):
        d = decide(
            IDS, value, cost, eligible=eligible, seed=f"week {week}", budget=2_000, explore_share=0.3, holdout_share=0.0
        )
        y = outcomes(d.offer, rng, value)
        some = d.exploration.options.any(axis=1)
        frame = pd.DataFrame(
            {"member_id": IDS, "offer_id": d.offer.astype(str), "propensity": d.propensity, "reward": y}
        )
        frame["want"] = uniform_probability(d.offer, d.exploration.options)
        logs.append(frame[some])
        explored.append(y[d.source == "explore"])
    log, slice_rewards = pd.concat(logs), np.concatenate(explored)
    found = off_policy_value(log["want"].to_numpy(), log, method="ipw")
    slice_se = slice_rewards.std(ddof=1) / np.sqrt(len(slice_rewards))
    assert found.value is not None
    off = (found.value - slice_rewards.mean()) / np.hypot(found.se, slice_se)
    weight = (found.mean_weight - 1) / found.mean_weight_se
    assert proof(
        "policy/exploration", "off-policy value of the uniform policy against the slice's mean", method="IPW",
        target="within 3 standard errors", figure=f"{off:+.2f}", holds=abs(off) < 3,
    )  # fmt: skip
    assert proof(
        "policy/value", "mean weight against 1", method="logged propensities", target="within 4 standard errors",
        figure=f"{weight:+.2f}", holds=abs(weight) < 4,
    )  # fmt: skip
    wrong = off_policy_value(log["want"].to_numpy(), log.assign(propensity=log["propensity"] ** 0.8), method="ipw")
    assert proof(
        "policy/value", "mean weight against 1", method="propensities that are not those of the draw",
        target="refused, no value given", figure="refused" if wrong.value is None else "valued",
        holds=wrong.value is None, planted=True,
    )  # fmt: skip


def coverage(repeats: int, method: str) -> tuple[float, float]:
    """Share of 95 % intervals that hold the truth, and share of estimates that the gate let through."""
    grid = np.linspace(-9, 9, 20_001)
    truth = np.trapezoid(np.maximum.reduce([0 * grid, grid, 0.5 - grid]) * norm.pdf(grid), grid)  # x ~ N(0, 1)
    rng = np.random.default_rng(7)
    hits, kept = 0, 0
    for _ in range(repeats):
        n = 400
        x = rng.normal(size=n)
        p = np.column_stack([np.full(n, 0.6), 0.1 + 0.2 * (x > 0), 0.3 - 0.2 * (x > 0)])
        arm = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1)
        means = np.column_stack([np.zeros(n), x, 0.5 - x])
        y = means[np.arange(n), arm] + rng.exponential(1, n) - 1
        log = pd.DataFrame({"offer_id": arm.astype(str), "propensity": p[np.arange(n), arm], "reward": y})
        wants = means.argmax(axis=1)
        found = off_policy_value(
            wants.astype(str), log, method=method, expected=pd.DataFrame(means * 0.7, columns=["0", "1", "2"])
        )
        if found.value is None:
            continue
        kept += 1
        hits += found.low <= truth <= found.high
    return hits / kept, kept / repeats


@pytest.mark.parametrize("method", ["snips", "dr"])
def test_intervals_above_the_gate_cover_the_truth(method: str) -> None:
    covered, kept = coverage(400, method)
    assert kept > 0.9
    assert covered > 0.935 - 3 * np.sqrt(0.95 * 0.05 / 400)


@pytest.mark.proof
@pytest.mark.parametrize("method", ["ipw", "snips", "dr"])
def test_intervals_above_the_gate_cover_the_truth_long(method: str, proof) -> None:
    covered, kept = coverage(10_000, method)
    assert proof(
        "policy/value", "coverage above the gate, three arms, skewed rewards, 10,000 repeats", method=method,
        target="at least 93.5 %", figure=f"{100 * covered:.1f} % covered, {100 * kept:.1f} % let through",
        holds=covered >= 0.935,
    )  # fmt: skip


def campaign(seed: int, n: int) -> tuple[NDArray, NDArray]:
    """Features, and the true value of three offers: one helps the lapsing, one the loyal, one hurts most people."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    true = np.column_stack([1.5 * x[:, 0], 1.0 - x[:, 0] + 0.5 * x[:, 1], 0.3 - np.abs(x[:, 2])])
    return x, true


def test_the_recommended_policy_beats_one_offer_for_all_and_random_in_true_value(proof) -> None:
    """Effects are learnt from a randomised experiment; the allocation is judged by truth that no model saw."""
    from sklearn.linear_model import LinearRegression

    x, true = campaign(0, 6_000)
    rng = np.random.default_rng(1)
    arm = rng.integers(0, 4, len(x))
    y = x[:, 3] + np.where(arm > 0, true[np.arange(len(x)), np.maximum(arm - 1, 0)], 0) + rng.normal(0, 3, len(x))
    fits = [LinearRegression().fit(np.column_stack([x, np.abs(x)])[arm == a], y[arm == a]) for a in range(4)]
    x_new, true_new = campaign(2, 5_000)
    base, *treated = (fit.predict(np.column_stack([x_new, np.abs(x_new)])) for fit in fits)
    predicted = np.column_stack(treated) - base[:, None]
    cost = np.array([0.3, 0.5, 0.1])
    budget = 1_000.0
    a = allocate(predicted - cost, cost, budget=budget)

    def worth(offer: NDArray) -> float:
        given = np.flatnonzero(offer >= 0)
        return float((true_new[given, offer[given]] - cost[offer[given]]).sum())

    def one_for_all(j: int) -> NDArray:
        offer = np.full(len(x_new), -1)
        offer[: int(budget / cost[j])] = j  # as many as the budget reaches, in random order
        return offer

    at_random = np.where(np.arange(len(x_new)) < budget / cost.mean(), rng.integers(0, 3, len(x_new)), -1)
    best_single = max(worth(one_for_all(j)) for j in range(3))
    ideal = worth(allocate(true_new - cost, cost, budget=budget).offer)
    assert worth(a.offer) > 1.5 * max(best_single, worth(at_random), 0.0)
    share, quantity = worth(a.offer) / ideal, "true value of the allocation over that of an oracle"
    assert proof(
        "policy/allocation", quantity, method="effects learnt from an experiment, one budget",
        target="above 80 %, and 1.5 times the best single offer", figure=f"{100 * share:.0f} %", holds=share > 0.8,
    )  # fmt: skip
    # the planted defect: effects shuffled between members lose what targeting gains
    shuffled = allocate(rng.permutation(predicted) - cost, cost, budget=budget)
    assert proof(
        "policy/allocation", quantity, method="effects shuffled between members", target="below half of that",
        figure=f"{100 * worth(shuffled.offer) / ideal:.0f} %", holds=worth(shuffled.offer) < 0.5 * worth(a.offer),
        planted=True,
    )  # fmt: skip
    assert a.value > 0  # what is promised is not what is judged above
