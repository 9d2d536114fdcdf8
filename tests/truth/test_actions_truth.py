"""Promised gains against true ones: no winner's curse, honest probabilities, no switch without cause."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import chdtrc, ndtr

from uplift.experiments import ArmMeans, Metric, analyze, look
from uplift.experiments._posterior import expect
from uplift.experiments._situation import SegmentCut, Situation
from uplift.experiments.actions import recommend

LONG = 2000
SPEND = Metric("spend", "mean", unit="money", currency="CNY")


def lengths(quick, long=LONG):
    return pytest.mark.parametrize("repeats", [quick, pytest.param(long, marks=pytest.mark.proof)])


def means(value, se):
    value = np.asarray(value, dtype=float)
    return ArmMeans(value, np.diag(np.broadcast_to(se, value.shape) ** 2.0), np.full(len(value), 1e6), np.empty(0))


def situation(cells, status, arms, **more):
    return Situation(
        arms, SPEND, lambda column, value: cells[column, value], SimpleNamespace(status=status), more.pop("better", ()),
        (), 1000, look(1000, None), **more,
    )  # fmt: skip


def promised(action):
    """The arm that an action is about, what it promises of it (of a stop, minus its gain) and how sure that is."""
    if action.kind == "stop":
        return action.instead_of, -action.gain, -action.gain_high, -action.gain_low, 1 - action.probability
    return action.arm, action.gain, action.gain_low, action.gain_high, action.probability


@lengths(300)
def test_the_best_of_six_arms_gives_what_is_promised(repeats, proof):
    """What is said of the arm that looks best, before anything is proved of it; its true effect against the promise."""
    rng = np.random.default_rng(1)
    arms = ("control", *"abcdef")
    promise, taken, naive, covered, said, right = [], [], [], [], [], []
    for tau in (0.25, 0.5, 1.0, 2.0, 4.0):
        excess, chosen, unshrunk = [], [], []
        for _ in range(repeats):
            truth = np.append(0.0, 0.5 + tau * rng.normal(size=6))
            seen = truth + np.append(0.3, np.ones(6)) * rng.normal(size=7)
            cells = {(None, None): means(seen, np.append(0.3, np.ones(6)))}
            arm, gain, low, high, chance = promised(recommend(situation(cells, "no_evidence", arms))[0])
            true = truth[arms.index(arm)]
            excess.append(gain - true)
            chosen.append(abs(gain) - true * np.sign(gain))
            unshrunk.append(seen[1:].max() - seen[0] - truth[1 + seen[1:].argmax()])
            covered.append(low <= true <= high)
            said.append(max(chance, 1 - chance))
            right.append((true > 0) == (chance > 0.5))
        promise.append(np.mean(excess))
        taken.append(np.mean(chosen))
        naive.append(np.mean(unshrunk))
    slack = 0.0 if repeats == LONG else 0.1
    world = f"6 arms, in standard errors, spreads ¼, ½, 1, 2, 4, {repeats:,} repeats"
    setting = f"excess of the promise for the best of {world}"
    assert proof(
        "experiments/actions", setting, method="expected gain", target="± .2 at every spread",
        figure=", ".join(f"{x:+.2f}" for x in promise), holds=max(map(abs, promise)) <= 0.2 + slack,
    )  # fmt: skip
    assert proof(
        "experiments/actions", setting, method="the winning estimate", target="± .2 at every spread",
        figure=", ".join(f"{x:+.2f}" for x in naive), holds=min(naive) > 0.2, planted=True,
    )  # fmt: skip
    assert proof(
        "experiments/actions", f"excess of giving it or not, whichever looks better, {world}",
        method="expected gain", target="± .2 on average",
        figure=", ".join(f"{x:+.2f}" for x in taken), holds=abs(np.mean(taken)) <= 0.2 + slack,
    )  # fmt: skip
    assert proof(
        "experiments/actions", f"95 % interval of the promised gain, {repeats:,} repeats a spread",
        method="robust empirical Bayes", target="≥ 93.5 %", figure=f"{100 * np.mean(covered):.1f} %",
        holds=np.mean(covered) >= 0.935 - slack / 5,
    )  # fmt: skip
    gap = np.mean(said) - np.mean(right)
    assert proof(
        "experiments/actions", f"probability that it is better, {repeats:,} repeats a spread",
        method="posterior, the spread integrated over", target="true as often as said, ± 4 points",
        figure=f"said {100 * np.mean(said):.1f} %, true {100 * np.mean(right):.1f} %",
        holds=abs(gap) <= 0.04 + slack / 5,
    )  # fmt: skip


@pytest.mark.parametrize("k", [2, 3, 6, 12])
@lengths(1500, long=10_000)
def test_the_expectation_of_the_best_is_kept_at_every_spread(repeats, k, proof):
    """Unequal errors, no control: the expectation of whichever value looks best against its truth."""
    rng = np.random.default_rng(4)
    se = np.geomspace(0.8, 1.25, k)
    bias, plugged, said, right = [], [], [], []
    for tau in (0.25, 0.5, 1.0, 2.0, 4.0):
        excess, usual = [], []
        for _ in range(repeats):
            truth = tau * rng.normal(size=k)
            seen = truth + se * rng.normal(size=k)
            found = expect(seen, se)
            best = found.mean.argmax()
            excess.append(found.promise[best] - truth[best])
            keep = moments(seen, se)
            weights = 1 / se**2
            centre = weights @ seen / weights.sum()
            value = centre + keep * (seen - centre)
            usual.append(value.max() - truth[value.argmax()])
            said.append(
                float(ndtr((found.mean[best] - found.mean[best - 1]) / math.hypot(*found.sd[[best, best - 1]])))
            )
            right.append(truth[best] > truth[best - 1])
        bias.append(np.mean(excess))
        plugged.append(np.mean(usual))
    slack = 0.02 if repeats == 10_000 else 0.08
    setting = (
        f"excess of the expectation for the best of {k}, unequal errors, spreads ¼, ½, 1, 2, 4, {repeats:,} repeats"
    )
    assert proof(
        "experiments/actions", setting, method="spread for which the best is kept", target="± .2 at every spread",
        figure=", ".join(f"{x:+.2f}" for x in bias), holds=max(map(abs, bias)) <= 0.2 + slack,
    )  # fmt: skip
    if k > 2:
        assert proof(
            "experiments/actions", setting, method="spread by moments, never below its resolution",
            target="± .2 at every spread", figure=", ".join(f"{x:+.2f}" for x in plugged), holds=max(plugged) > 0.24,
            planted=True,
        )  # fmt: skip
    assert abs(np.mean(right) - np.mean(said)) <= 0.04


def moments(seen, se):
    """Share of its deviation that each value keeps by the moment estimate, kept above its own resolution."""
    weights = 1 / se**2 / (1 / se**2).sum()
    spread = weights @ (seen - weights @ seen) ** 2
    noise = weights @ se**2
    between = max(spread - noise * (len(se) - 1) / len(se), 2 * (weights**2 @ se**4) / noise)
    return between / (between + se**2)


@lengths(300)
def test_what_a_switch_promises_it_gives(repeats, proof):
    """Six segments, two arms whose difference varies by segment: promised and true gain of all switches made."""
    rng = np.random.default_rng(2)
    arms = ("control", "a", "b")
    cut = SegmentCut("s", tuple("123456"), (100,) * 6, True)
    promised, true, said, naive = [], [], [], []
    for _ in range(repeats):
        truth = np.column_stack([np.zeros(6), 2 + rng.normal(size=6), 2 + 2 * rng.normal(size=6)])
        seen = truth + rng.normal(size=truth.shape)
        cells = {(0, v): means(seen[v], 1.0) for v in range(6)}
        cells[None, None] = means([0.0, 5.0, 2.0], 0.3)  # arm a is the one for everybody
        for action in recommend(situation(cells, "effective", arms, better=("a",), cuts=(cut,))):
            if action.kind == "switch":
                place, v = arms.index(action.arm), "123456".index(action.segment)
                promised.append(action.gain)
                true.append(truth[v, place] - truth[v, 1])
                said.append(action.probability)
                naive.append(seen[v, place] - seen[v, 1])
    error = np.std(np.array(promised) - true) / math.sqrt(len(true))
    setting = f"gain of a switch promised and true, 6 segments, {repeats:,} repeats"
    assert proof(
        "experiments/actions", setting, method="shrunk contrast", target="promise within 15 % of the truth",
        figure=f"{np.mean(promised):.2f} promised, {np.mean(true):.2f} true",
        holds=abs(np.mean(promised) - np.mean(true)) <= 0.15 * np.mean(true) + 2 * error,
    )  # fmt: skip
    assert proof(
        "experiments/actions", setting, method="unshrunk contrast", target="promise within 15 % of the truth",
        figure=f"{np.mean(naive):.2f} promised, {np.mean(true):.2f} true",
        holds=np.mean(naive) > 1.15 * np.mean(true), planted=True,
    )  # fmt: skip
    assert np.mean(np.array(true) > 0) >= 0.95 - 3 * math.sqrt(0.05 / len(true)) - 0.02


@lengths(400)
def test_switches_promise_no_more_than_they_give_at_any_spread(repeats, proof):
    """Six segments of unequal errors; a switch is looked for where a test finds that effects differ, as in an analysis.

    All that is promised in such an experiment, less all that comes true, in standard errors.
    """
    se = np.geomspace(0.8, 1.25, 6)
    told, blind, each, made = [], [], [], []
    for tau in (0.25, 0.5, 1.0, 2.0, 4.0):
        rng = np.random.default_rng(31)
        excess, usual, switches, tested = 0.0, 0.0, 0, 0
        while tested < repeats:
            truth = tau * rng.normal(size=6)
            seen = truth + se * rng.normal(size=6)
            weights = 1 / se**2
            if chdtrc(5, weights @ (seen - weights @ seen / weights.sum()) ** 2) >= 0.05:
                continue
            tested += 1
            cells = {(0, v): means([0.0, seen[v]], se[v] / math.sqrt(2)) for v in range(6)}
            cells[None, None] = means([0.0, seen.mean()], 0.3)
            cut = SegmentCut("s", tuple("123456"), (100,) * 6, True)
            for action in recommend(situation(cells, "no_evidence", ("control", "a"), cuts=(cut,))):
                if action.kind == "switch":
                    excess += action.gain - truth["123456".index(action.segment)]
                    switches += 1
            found = expect(seen, se)  # as if no test had been passed
            sure = (found.mean > 0) & (ndtr(found.mean / found.sd) >= 0.95)
            usual += float((found.mean - truth)[sure].sum())
        told.append(excess / tested)
        blind.append(usual / tested)
        each.append(excess / max(switches, 1))
        made.append(switches / tested)
    slack = 0.0 if repeats == LONG else 0.12
    setting = (
        f"promised less true gain of all switches, 6 segments whose effects differ by a test, spreads ¼, ½, 1, 2, 4, "
        f"{repeats:,} experiments each"
    )
    assert proof(
        "experiments/actions", setting, method="spread's likelihood given that the test was passed",
        target="± .2 standard errors at every spread",
        figure=", ".join(f"{x:+.2f}" for x in told) + "; each switch "
        + ", ".join(f"{x:+.2f} ({n:.2f} made)" for x, n in zip(each, made, strict=True)),
        holds=max(map(abs, told)) <= 0.2 + slack,
    )  # fmt: skip
    assert proof(
        "experiments/actions", setting, method="as if no test had been passed",
        target="± .2 standard errors at every spread", figure=", ".join(f"{x:+.2f}" for x in blind),
        holds=max(blind) > 0.3, planted=True,
    )  # fmt: skip


@lengths(40, long=400)
def test_without_different_responses_no_segment_is_switched(repeats, proof):
    rng = np.random.default_rng(3)
    switched, tempted = 0, 0
    for _ in range(repeats):
        n = 3000
        table = pd.DataFrame({"arm": rng.choice(["none", "a", "b"], n), "s": rng.choice(list("123456"), n)})
        table["spend"] = rng.gamma(2, 10, n) + np.where(table["arm"] == "none", 0.0, 3.0)
        result = analyze(
            table, arm="arm", control="none", metrics=["spend"], segments=["s"], metric_specs={"spend": SPEND}
        )
        switched += any(action.kind == "switch" for action in result.actions)
        effect = {(e.arm, e.segment): e.effect for e in result.effects if e.segment is not None}
        best = result.actions[0].arm
        tempted += any(effect[arm, s] > effect[best, s] + 1 for arm, s in effect if best in ("a", "b"))
    setting = f"a switch is recommended where all segments respond alike, {repeats:,} repeats"
    allowed = 0.05 + (3 * math.sqrt(0.05 * 0.95 / repeats) if repeats < LONG else 0.0)
    assert proof(
        "experiments/actions", setting, method="interaction test, then the posterior", target="≤ 5 % (± 3 at 400)",
        figure=f"{100 * switched / repeats:.1f} %", holds=switched / repeats <= allowed,
    )  # fmt: skip
    assert proof(
        "experiments/actions", setting, method="the arm that looks better there", target="≤ 5 %",
        figure=f"{100 * tempted / repeats:.0f} %", holds=tempted / repeats > 0.3, planted=True,
    )  # fmt: skip
