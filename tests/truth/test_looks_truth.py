"""Looking again and again at experiments in which nothing happens: every alarm is a false one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import chdtrc
from scipy.stats import norm

from uplift.config import LooksSpec
from uplift.experiments import analyze, anytime_half_width, look, sample_ratio_evidence

LONG = 2000
DAYS, DAILY = 28, 100
SHARES = {"control": 0.5, "gift": 0.5}


def allowed(repeats):
    """5 %, and three Monte-Carlo errors of fewer than 2,000 repeats."""
    return 0.05 + (3 * math.sqrt(0.05 * 0.95 / repeats) if repeats < LONG else 0.0)


def daily_reports(repeats, seed, **plan):
    """The verdicts of the tool on 28 mornings, ``(repeats, 28)``, and whether one look's p-value was below 5 %."""
    rng = np.random.default_rng(seed)
    verdicts = np.empty((repeats, DAYS), dtype=object)
    naive = np.zeros((repeats, DAYS), dtype=bool)
    for repeat in range(repeats):
        size = DAYS * DAILY
        table = pd.DataFrame({"arm": rng.choice(list(SHARES), size), "bought": (rng.random(size) < 0.3).astype(int)})
        for day in range(DAYS):
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


@pytest.mark.parametrize("repeats", [4, pytest.param(LONG, marks=pytest.mark.proof)])
@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_four_fixed_looks_among_twenty_eight_reports_rarely_alarm(repeats, spending, proof):
    looks = LooksSpec(at=(0.25, 0.5, 0.75, 1.0), spending=spending)
    verdicts, _ = daily_reports(repeats, 2, planned_size=DAYS * DAILY, looks=looks)
    alarms = np.isin(verdicts, ALARMS).any(axis=1).mean()
    noise = 0.005 if repeats == LONG else 0.0  # the Monte-Carlo error of 2,000: the whole 5 % are spent
    assert proof(
        "experiments/peeking", f"28 daily reports, looks fixed at ¼, ½, ¾ and 1, {repeats:,} repeats",
        method=f"verdicts: Lan–DeMets, {spending}", target="alarms 5 % (± 1 at 2,000)",
        figure=f"{100 * alarms:.1f} %", holds=alarms <= allowed(repeats) + 2 * noise,
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


def test_a_broken_split_is_found_while_it_runs():
    rng = np.random.default_rng(6)
    counts = rng.multinomial(1000, (0.52, 0.48), size=(500, DAYS)).cumsum(axis=1)
    assert ((sample_ratio_evidence(counts, (0.5, 0.5)) >= math.log(1000)).any(axis=1)).mean() > 0.85
