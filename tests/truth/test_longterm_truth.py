"""Long-term effects and projections, novelty, meeting experiments and tags: each against a truth that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from uplift.experiments.contrasts import meeting, novelty, tag_effects
from uplift.experiments.estimators import ArmRegression
from uplift.experiments.longterm import horizon, project

LONG = 2000


def lengths(quick, long=LONG):
    return pytest.mark.parametrize("repeats", [quick, pytest.param(long, marks=pytest.mark.proof)])


def near(share, expected, repeats, tolerance):
    noise = 3 * math.sqrt(expected * (1 - expected) / repeats) if repeats < LONG else 0.0
    return abs(share - expected) <= max(tolerance, noise)


def world(rng, n, direct=0.0):
    """Two early outcomes that an offer moves, and a long-term outcome that follows from them (and from ``direct``)."""
    arm = (rng.random(n) < 0.8).astype(np.int64)
    trait = rng.normal(size=n)
    early = np.column_stack(
        [rng.poisson(np.exp(0.2 + 0.4 * trait + 0.3 * arm)), trait + 0.4 * arm + rng.normal(size=n)]
    ).astype(float)
    late = 2 + early @ np.array([1.5, 0.8]) + direct * arm + 2 * rng.standard_t(5, size=n)
    return arm, early, late


EFFECT = 1.5 * (math.exp(0.2 + 0.08) * (math.exp(0.3) - 1)) + 0.8 * 0.4


@lengths(300)
def test_a_projection_covers_under_surrogacy_and_is_exposed_without(repeats, proof):
    rng = np.random.default_rng(1)
    hits = {"projection": 0, "history taken as known": 0, "direct": 0}
    exposed = {"surrogacy": 0, "direct": 0}
    for _ in range(repeats):
        _, history, outcome = world(rng, 60)
        arm, early, late = world(rng, 1500)
        found = project(early, arm, history, outcome, measured=late)
        hits["projection"] += found.effect.low <= EFFECT <= found.effect.high
        exposed["surrogacy"] += bool(found.exposed)
        slope = np.linalg.lstsq(np.column_stack([np.ones(60), history]), outcome, rcond=None)[0]
        naive = ArmRegression(None, arm, 2).estimate(early @ slope[1:]).difference(1, 0)
        hits["history taken as known"] += naive.low <= EFFECT <= naive.high
        arm, early, late = world(rng, 1500, direct=-1.0)
        biased = project(early, arm, history, outcome, measured=late)
        assert found.label == biased.label == "projection"
        hits["direct"] += biased.effect.low <= EFFECT - 1 <= biased.effect.high
        exposed["direct"] += bool(biased.exposed)
    shares = {name: count / repeats for name, count in hits.items()}
    setting = f"95 % interval of a projected effect, {repeats:,} repeats"
    assert proof(
        "experiments/long-term", setting, method="surrogate index under surrogacy", target="95 ± 1.5 %",
        figure=f"{100 * shares['projection']:.1f} %", holds=near(shares["projection"], 0.95, repeats, 0.015),
    )  # fmt: skip
    assert proof(
        "experiments/long-term", setting, method="history taken as known", target="95 ± 1.5 %",
        figure=f"{100 * shares['history taken as known']:.1f} %",
        holds=shares["history taken as known"] < 0.935, planted=True,
    )  # fmt: skip
    assert proof(
        "experiments/long-term", setting, method="a direct effect past the surrogates (still labelled projection)",
        target="95 ± 1.5 %", figure=f"{100 * shares['direct']:.1f} %", holds=shares["direct"] < 0.5, planted=True,
    )  # fmt: skip
    setting = f"projections that the holdout comparison exposes, {repeats:,} repeats"
    assert proof(
        "experiments/long-term", setting, method="under surrogacy", target="5 ± 1.5 %",
        figure=f"{100 * exposed['surrogacy'] / repeats:.1f} %",
        holds=near(exposed["surrogacy"] / repeats, 0.05, repeats, 0.015),
    )  # fmt: skip
    assert proof(
        "experiments/long-term", setting, method="a direct effect past the surrogates", target="above 90 %",
        figure=f"{100 * exposed['direct'] / repeats:.1f} %", holds=exposed["direct"] / repeats > 0.9, planted=True,
    )  # fmt: skip


@lengths(300)
def test_intention_to_treat_against_the_holdout_covers(repeats, proof):
    """A tenth of the members never open what they are sent: those who did are another kind of member."""
    rng = np.random.default_rng(2)
    opening = 0.7602499  # P(loyal + noise > −1)
    lifts = {30: 1.0, 60: 1.5, 90: 1.2}  # of those who open, so far: it grows, then some is taken back
    hits, opened_only = dict.fromkeys(lifts, 0), dict.fromkeys(lifts, 0)
    for _ in range(repeats):
        arm = (rng.random(2000) < 0.9).astype(np.int64)
        loyal = rng.normal(size=2000)
        opened = (arm == 1) & (loyal + rng.normal(size=2000) > -1)
        keep = (arm == 0) | opened
        spend = np.zeros(2000)
        for days, lift in lifts.items():
            spend += np.exp(0.5 * loyal + 0.5 * rng.normal(size=2000))
            seen = spend + lift * opened
            found = horizon(seen, arm, 2, days)[0].effect
            hits[days] += found.low <= lift * opening <= found.high
            naive = horizon(seen[keep], arm[keep], 2, days)[0].effect
            opened_only[days] += naive.low <= lift <= naive.high
    for days in lifts:
        setting = f"95 % interval of the effect over {days} days, {repeats:,} repeats"
        assert proof(
            "experiments/long-term", setting, method="intention to treat against the holdout", target="95 ± 1.5 %",
            figure=f"{100 * hits[days] / repeats:.1f} %", holds=near(hits[days] / repeats, 0.95, repeats, 0.015),
        )  # fmt: skip
        assert proof(
            "experiments/long-term", setting, method="those who opened against the holdout", target="95 ± 1.5 %",
            figure=f"{100 * opened_only[days] / repeats:.1f} %", holds=opened_only[days] / repeats < 0.9, planted=True,
        )  # fmt: skip


@lengths(400)
def test_a_trend_is_found_when_there_is_one_and_rarely_otherwise(repeats, proof):
    rng = np.random.default_rng(3)
    alarms, power, naive = 0, 0, 0
    for _ in range(repeats):
        arm = (rng.random(800) < 0.5).astype(np.int64)
        drift = rng.normal(size=(800, 1)) * np.arange(6)  # members drift by themselves
        still = drift + rng.normal(size=(800, 6)) + 0.5 * arm[:, None]
        fading = still - 0.3 * arm[:, None] * np.arange(6)
        alarms += novelty(still, arm, 2)[0].trend.p_value < 0.05
        power += novelty(fading, arm, 2)[0].trend.p_value < 0.05
        effects = novelty(still, arm, 2)[0].effects
        time = np.arange(6) - 2.5
        slope = sum(t * e.value for t, e in zip(time, effects, strict=True)) / (time @ time)
        se = math.sqrt(sum((t * e.se) ** 2 for t, e in zip(time, effects, strict=True))) / (time @ time)
        naive += abs(slope / se) > 1.96  # weeks taken as independent: the planted defect
    setting = f"a trend over six weeks is seen where there is none, {repeats:,} repeats"
    assert proof(
        "experiments/over-time", setting, method="effect on members' own slopes", target="5 ± 1.5 %",
        figure=f"{100 * alarms / repeats:.1f} %", holds=near(alarms / repeats, 0.05, repeats, 0.015),
    )  # fmt: skip
    assert proof(
        "experiments/over-time", setting, method="weeks taken as independent", target="5 ± 1.5 %",
        figure=f"{100 * naive / repeats:.1f} %", holds=naive / repeats > 0.08, planted=True,
    )  # fmt: skip
    assert proof(
        "experiments/over-time", "an effect of half a standard deviation that falls by .3 a week is seen to fade",
        method="effect on members' own slopes", target="above 60 %", figure=f"{100 * power / repeats:.1f} %",
        holds=power / repeats > 0.6,
    )  # fmt: skip


@lengths(300)
def test_experiments_that_meet_alarm_when_they_disturb_each_other(repeats, proof):
    rng = np.random.default_rng(4)
    found = {"nothing": 0, "disturbed": 0, "broken": 0, "side by side": 0}
    for _ in range(repeats):
        a, b = rng.integers(0, 3, 1800), rng.integers(0, 2, 1800)
        y = rng.exponential(size=1800) + 0.3 * (a == 1) + 0.2 * b
        found["nothing"] += meeting(y, a, b, 3, 2).p_interaction < 0.05
        parts = [ArmRegression(None, a[b == j], 3).estimate(y[b == j]) for j in (0, 1)]
        verdicts = np.array([[part.difference(i, 0).p_value < 0.05 for i in (1, 2)] for part in parts])
        found["side by side"] += bool((verdicts[0] != verdicts[1]).any())
        found["disturbed"] += meeting(y + 0.5 * (a == 1) * b, a, b, 3, 2).p_interaction < 0.05
        tied = np.where(rng.random(1800) < 0.15, np.minimum(a, 1), b)
        found["broken"] += meeting(y, a, tied, 3, 2).p_independent < 0.001
    share = {name: count / repeats for name, count in found.items()}
    setting = (
        f"experiments of 3 and 2 arms in the same members: they are said to disturb each other, {repeats:,} repeats"
    )
    assert proof(
        "experiments/over-time", setting, method="all interactions, Wald's F, where there is none",
        target="5 ± 1.5 %", figure=f"{100 * share['nothing']:.1f} %",
        holds=near(share["nothing"], 0.05, repeats, 0.015),
    )  # fmt: skip
    assert proof(
        "experiments/over-time", setting, method="significant in one arm of the other and not in the next",
        target="5 ± 1.5 %", figure=f"{100 * share['side by side']:.1f} %", holds=share["side by side"] > 0.1,
        planted=True,
    )  # fmt: skip
    assert proof(
        "experiments/over-time", setting, method="all interactions, Wald's F, where they do", target="above 90 %",
        figure=f"{100 * share['disturbed']:.1f} %", holds=share["disturbed"] > 0.9,
    )  # fmt: skip
    assert share["broken"] > 0.5


@lengths(300)
def test_effects_that_differ_by_store_are_no_disturbance_by_an_experiment_of_stores(repeats, proof):
    """Members one by one here, whole stores there; what an arm does differs by store, whatever the store's own arm."""
    rng = np.random.default_rng(14)
    store = np.repeat(np.arange(30), 50)
    counted, blind, disturbed = 0, 0, 0
    for _ in range(repeats):
        a, b = rng.integers(0, 2, 1500), (rng.permutation(30) < 15)[store].astype(int)
        y = rng.normal(size=1500) + 0.3 * rng.normal(size=30)[store] + a * (0.2 + 0.4 * rng.normal(size=30)[store])
        counted += meeting(y, a, b, 2, 2, other_clusters=store).p_interaction < 0.05
        blind += meeting(y, a, b, 2, 2).p_interaction < 0.05
        disturbed += meeting(y + 0.7 * a * b, a, b, 2, 2, other_clusters=store).p_interaction < 0.05
    setting = f"an experiment of 30 stores in the same members, effects differ by store, {repeats:,} repeats"
    assert proof(
        "experiments/over-time", f"{setting}: said to disturb", method="clusters of either experiment",
        target="5 ± 1.5 %", figure=f"{100 * counted / repeats:.1f} %",
        holds=near(counted / repeats, 0.05, repeats, 0.015),
    )  # fmt: skip
    assert proof(
        "experiments/over-time", f"{setting}: said to disturb", method="this experiment's clusters only",
        target="5 ± 1.5 %", figure=f"{100 * blind / repeats:.1f} %", holds=blind / repeats > 0.1, planted=True,
    )  # fmt: skip
    assert disturbed / repeats > 0.6


@lengths(300)
def test_tags_keep_to_their_family_and_find_what_is_there(repeats, proof):
    rng = np.random.default_rng(5)
    family, naive, covered, raw = 0, 0, 0, 0
    for _ in range(repeats):
        n = 1500
        arm = rng.integers(0, 2, n)
        tags = {f"t{i}": (rng.random(n) < 0.3, ["gift"]) for i in range(6)}
        y = rng.gamma(2, size=n) + 0.4 * arm
        blank = tag_effects(y, arm, ["control", "gift"], tags)
        family += min(one.p_adjusted for one in blank) < 0.05
        naive += min(one.gap.p_value for one in blank) < 0.05
        tagged = tags["t0"][0]
        keen = y + 0.6 * arm * tagged + 0.3 * tagged  # who has the tag buys more anyway
        gap = tag_effects(keen, arm, ["control", "gift"], tags)[0].gap
        covered += gap.low <= 0.6 <= gap.high
        here, there = keen[(arm == 1) & tagged], keen[(arm == 1) & ~tagged]
        half = 1.96 * math.sqrt(here.var() / len(here) + there.var() / len(there))
        raw += abs(here.mean() - there.mean() - 0.6) <= half
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
    setting = f"six tags that change nothing: one is called an effect, {repeats:,} repeats"
    for method, count, planted in (("Holm over tags and arms", family, False), ("each tag by itself", naive, True)):
        assert proof(
            "experiments/segments", setting, method=method, target=f"at most {100 * allowed:.1f} %",
            figure=f"{100 * count / repeats:.1f} %", planted=planted,
            holds=count / repeats > 0.15 if planted else count / repeats <= allowed,
        )  # fmt: skip
    setting = f"95 % interval of how much more members with a tag respond, {repeats:,} repeats"
    assert proof(
        "experiments/segments", setting, method="difference of the effects", target="95 ± 1.5 %",
        figure=f"{100 * covered / repeats:.1f} %", holds=near(covered / repeats, 0.95, repeats, 0.015),
    )  # fmt: skip
    assert proof(
        "experiments/segments", setting, method="treated members with the tag against treated members without",
        target="95 ± 1.5 %", figure=f"{100 * raw / repeats:.1f} %", holds=raw / repeats < 0.8, planted=True,
    )  # fmt: skip
