"""Looking again and again at experiments in which nothing happens: every alarm is a false one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import chdtrc
from scipy.stats import norm

from uplift.config import LooksSpec
from uplift.experiments import (
    analyze,
    anytime_half_width,
    crossing_probability,
    look,
    sample_ratio,
    sample_ratio_evidence,
)

LONG = 2000
DAYS, DAILY = 28, 100
SHARES = {"control": 0.5, "gift": 0.5}


def allowed(repeats):
    """5 %, and three Monte-Carlo errors of fewer than 2,000 repeats."""
    return 0.05 + (3 * math.sqrt(0.05 * 0.95 / repeats) if repeats < LONG else 0.0)


def daily_reports(repeats, seed, days=range(DAYS), **plan):
    """The verdicts of the tool on 28 mornings, ``(repeats, 28)``, and whether one look's p-value was below 5 %.

    On mornings that are not among ``days`` nobody looks.
    """
    rng = np.random.default_rng(seed)
    verdicts = np.full((repeats, DAYS), "not looked", dtype=object)
    naive = np.zeros((repeats, DAYS), dtype=bool)
    for repeat in range(repeats):
        size = DAYS * DAILY
        table = pd.DataFrame({"arm": rng.choice(list(SHARES), size), "bought": (rng.random(size) < 0.3).astype(int)})
        for day in days:
            seen = analyze(
                table.head((day + 1) * DAILY), arm="arm", control="control", metrics=["bought"], weights=SHARES, **plan
            )
            verdicts[repeat, day] = seen.verdict.status
            p = seen.effects[0].p_value
            naive[repeat, day] = p is not None and p < 0.05
    return verdicts, naive


ALARMS = ["effective", "harmful"]


@pytest.mark.parametrize("repeats", [10, pytest.param(LONG, marks=pytest.mark.proof)])
def test_twenty_eight_reports_on_nothing_rarely_alarm(repeats, proof):
    verdicts, naive = daily_reports(repeats, 1, planned_size=DAYS * DAILY)
    alarms = np.isin(verdicts, ALARMS).any(axis=1).mean()
    assert (verdicts[:, :-1] != "no_evidence").all()  # before the end the answer is "too early"
    wrong = (verdicts == "invalid").any(axis=1).mean()
    setting = f"28 daily reports on an A/A experiment, {repeats:,} repeats"
    assert proof(
        "experiments/peeking", setting, method="verdicts: confidence sequence, then the final test",
        target="alarms ≤ 5 %", figure=f"{100 * alarms:.1f} %", holds=alarms <= allowed(repeats),
    )  # fmt: skip
    assert wrong <= 0.004 + 3 * math.sqrt(0.004 / repeats)
    assert proof(
        "experiments/peeking", setting, method="the interval of one look, read 28 times", target="alarms ≤ 5 %",
        figure=f"{100 * naive.any(axis=1).mean():.1f} %", holds=naive.any(axis=1).mean() > 2 * 0.05, planted=True,
    )  # fmt: skip


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_nothing_is_concluded_between_the_looks_of_the_design(spending):
    looks = LooksSpec(at=(0.25, 0.5, 0.75, 1.0), spending=spending)
    verdicts, _ = daily_reports(8, 2, planned_size=DAYS * DAILY, looks=looks)
    between = np.delete(verdicts, FIXED, axis=1)
    assert (between == "too_early").all()


FIXED = [6, 13, 20, 27]
"""Mornings on which a quarter more of the planned size is there."""


@pytest.mark.parametrize("repeats", [30, pytest.param(10_000, marks=pytest.mark.proof)])
@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_four_fixed_looks_spend_the_error_and_no_more(repeats, spending, proof):
    """Between the looks nothing is concluded (above), so the reports of those mornings are left out."""
    looks = LooksSpec(at=(0.25, 0.5, 0.75, 1.0), spending=spending)
    verdicts, naive = daily_reports(repeats, 2, days=FIXED, planned_size=DAYS * DAILY, looks=looks)
    alarms = np.isin(verdicts, ALARMS).any(axis=1).mean()
    noise = math.sqrt(0.05 * 0.95 / repeats)
    setting = f"A/A reports, looks fixed at ¼, ½, ¾ and 1, {repeats:,} repeats"
    target = f"alarms 5 %, which are spent in full (± {300 * noise:.1f}, three Monte-Carlo errors)"
    assert proof(
        "experiments/peeking", setting, method=f"verdicts: Lan–DeMets, {spending}", target=target,
        figure=f"{100 * alarms:.1f} %", holds=abs(alarms - 0.05) <= 3 * noise,
    )  # fmt: skip
    assert proof(
        "experiments/peeking", setting, method="the interval of one look at each", target=target,
        figure=f"{100 * naive.any(axis=1).mean():.1f} %", holds=naive.any(axis=1).mean() > 0.05 + 3 * noise or
        repeats < LONG, planted=True,
    )  # fmt: skip


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_p_values_at_fixed_looks_spend_the_error_exactly(spending, proof):
    """Without any repeats: the probability that noise crosses where the reports' p-values fall below 5 %."""
    at = (0.25, 0.5, 0.75, 1.0)
    edge = edges([look(round(share * 2800), 2800, at=at, spending=spending) for share in at])
    found = {f"Lan–DeMets, {spending}": crossing_probability(at, edge)}
    found["the final boundary at each look"] = crossing_probability(at, np.full(4, edge[-1]))
    for method, chance in found.items():
        planted = method.startswith("the")
        right = abs(chance - 0.05) < 5e-6
        if planted and spending == "pocock":
            continue  # its boundaries are nearly equal
        assert proof(
            "experiments/peeking", "probability that noise crosses at ¼, ½, ¾ or 1, by quadrature", method=method,
            target="5.000 %", figure=f"{100 * chance:.3f} %", holds=right is not planted, planted=planted,
        )  # fmt: skip


def edges(looks):
    """Critical values of a single look at each size, through the p-values that the report uses."""
    found = []
    for now in looks:
        low, high = 0.0, 12.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if now.p_value(2 * norm.sf(middle)) < now.alpha else (middle, high)
        found.append(high)
    return np.array(found)


def walks(repeats, seed, times=DAYS):
    """Standardised sums of noise after each day, ``(repeats, days)``."""
    steps = np.random.default_rng(seed).normal(size=(repeats, times))
    return np.abs(steps.cumsum(axis=1)) / np.sqrt(np.arange(1, times + 1))


@pytest.mark.parametrize("planned", [7, 14, 20, 24, 27, 28, 60])
def test_alarms_are_rare_wherever_the_planned_size_lies(planned):
    repeats = 20_000
    edge = edges([look((day + 1) * DAILY, planned * DAILY) for day in range(DAYS)])
    alarms = (walks(repeats, 3) > edge).any(axis=1).mean()
    assert alarms <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
    assert (walks(repeats, 3) > 1.96).any(axis=1).mean() > 0.25


def test_the_final_test_after_a_sequence_at_full_error_would_alarm_too_often():
    """The planted defect of joining the two without sharing the error."""
    repeats, planned = 20_000, 20
    edge = np.array([anytime_half_width(1.0, day, planned) for day in range(1, DAYS + 1)])
    edge[planned - 1 : planned + 1] = 1.96
    assert (walks(repeats, 4) > edge).any(axis=1).mean() > 0.055


def test_power_is_not_given_away_at_the_end():
    """At the planned size the test costs a tenth of an effect's power at most."""
    edge = edges([look(2800, 2800)])[0]
    effect = 1.96 + 0.84
    assert norm.sf(edge - effect) > 0.75  # of 80 %


@pytest.mark.parametrize(("shares", "daily"), [((0.5, 0.5), 300), ((0.95, 0.05), 1000), ((0.4, 0.2, 0.2, 0.2), 500)])
def test_the_sample_ratio_may_be_read_every_day(shares, daily, proof):
    repeats = 20_000
    rng = np.random.default_rng(5)
    counts = rng.multinomial(daily, shares, size=(repeats, DAYS)).cumsum(axis=1)
    evidence = sample_ratio_evidence(counts, shares).max(axis=1)
    expected = np.array(shares) * counts.sum(axis=2, keepdims=True)
    statistic = ((counts - expected) ** 2 / expected).sum(axis=2)
    naive = (chdtrc(len(shares) - 1, statistic) < 0.05).any(axis=1).mean()
    alarms = {alpha: (evidence >= math.log(1 / alpha)).mean() for alpha in (0.05, 0.01, 0.001)}
    setting = f"28 daily checks of a sound {'/'.join(f'{100 * s:g}' for s in shares)} split, {repeats:,} repeats"
    assert proof(
        "experiments/sample-ratio", setting, method="Dirichlet-multinomial e-process", target="alarms ≤ α",
        figure=f"{100 * alarms[0.05]:.1f} % at 5 %, {100 * alarms[0.001]:.2f} % at 0.1 %",
        holds=all(share <= alpha for alpha, share in alarms.items()),
    )  # fmt: skip
    assert proof(
        "experiments/sample-ratio", setting, method="χ² at 5 % every day", target="alarms ≤ 5 %",
        figure=f"{100 * naive:.0f} %", holds=naive > 0.1, planted=True,
    )  # fmt: skip


def test_a_broken_split_is_found_while_it_runs(proof):
    """52 instead of 50 in a hundred, every day; the alarm is at E ≥ 1/α, and an arm of weight zero is no part of it."""
    rng = np.random.default_rng(6)
    counts = rng.multinomial(1000, (0.52, 0.48), size=(500, DAYS)).cumsum(axis=1)
    evidence = sample_ratio_evidence(counts, (0.5, 0.5))
    padded = sample_ratio_evidence(np.concatenate([counts, 0 * counts[..., :1]], axis=2), (0.5, 0.5, 0.0))
    np.testing.assert_array_equal(padded, evidence)
    checks = [
        sample_ratio({"a": int(a), "b": int(b)}, {"a": 0.5, "b": 0.5, "paused": 0.0}, running=True)
        for a, b in counts[:, 13]
    ]
    assert [check.passed for check in checks] == [check.e_value < 1000 for check in checks]
    assert len({check.passed for check in checks}) == 2
    found = (evidence >= math.log(1000)).any(axis=1).mean()
    setting = "500 experiments split 52/48 instead of 50/50, 1,000 members a day, 28 days: alarms at α = .001"
    assert proof(
        "experiments/sample-ratio", setting, method="e-process at E ≥ 1/α, with or without an arm of weight zero",
        target="above 85 %", figure=f"{100 * found:.1f} %", holds=found > 0.85,
    )  # fmt: skip
    sizes = counts.sum(axis=2, keepdims=True)
    equal = sample_ratio_evidence(np.concatenate([counts, 0 * sizes], axis=2), (0.5, 0.5 - 1e-9, 1e-9))
    assert np.abs(equal - evidence).max() < 1e-3  # a share of almost zero is almost none
    blind = (sample_ratio_evidence(counts, counts[:, -1:].mean(axis=(0, 1)) / sizes[0, -1, 0]) >= math.log(1000)).any(1)
    assert proof(
        "experiments/sample-ratio", setting, method="held to the shares that were seen, not to the design",
        target="above 85 %", figure=f"{100 * blind.mean():.1f} %", holds=blind.mean() < 0.05, planted=True,
    )  # fmt: skip
