"""What to do next, in money where there is a metric in money: roll out, stop, run on, or switch a segment's offer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from scipy.special import ndtri

from uplift.experiments._action_text import Unit, sentences, unit_of
from uplift.experiments._gains import FLAT, Gain, contrasts, gains
from uplift.experiments._situation import SegmentCut, Situation
from uplift.results import Rendered

Kind = Literal["roll_out", "stop", "run_on", "switch"]
Reason = Literal["effective", "harmful", "costs_more", "none_pays", "too_small", "too_early", "hint", "differs"]
SURE = 0.95
"""A switch is recommended when it is better with at least this probability."""
FARTHEST = 4.0
"""Running on is recommended up to this many times the members so far."""
LEAST = 1.5
"""And at least to this many times as many."""
POWER = 0.8


@dataclass(frozen=True)
class Action(Rendered):
    """One recommended action.

    Attributes
    ----------
    kind
        ``roll_out``: give the arm to everybody · ``stop``: give it to nobody · ``run_on``: go on until ``until``
        members · ``switch``: give a segment another arm than everybody else.
    reason
        Of a roll-out ``effective`` · of a stop ``harmful``, ``costs_more`` (than it brings), ``none_pays`` (no arm is
        expected to) or ``too_small`` (to be seen with four times the members) · of running on ``too_early`` or
        ``hint`` · of a switch ``differs``.
    arm, instead_of
        What members would get, and what it replaces; the control's name where they would get nothing.
    segment_column, segment
        Whom it concerns; None: everybody.
    metric, unit, currency
        In which the gain is counted: money where there is a metric in money, best of all gross margin. The unit is
        that of ``total``: ``money``, ``members`` (of whom more do it), ``orders``, ``visits``, ``points``,
        ``new_members``, ``count``, ``days``, ``ratio`` or ``number``; of a rate, ``gain`` is a share.
    gain, gain_low, gain_high
        Expected gain a member concerned (of a ratio: a unit of its denominator), **net of what the offers cost**, and
        its 95 % interval. More is better, also of a metric that should fall.
    cost
        Extra cost a member, already taken off; None where costs and gain have no common unit.
    probability
        Posterior probability that the action is better than what it replaces.
    members
        Members of the experiment whom it concerns, all arms.
    total
        ``gain`` times ``members``; None where that would promise what is not proved, or makes no sense.
    until
        Members with a known outcome at which to look again; of a stop, how many it would take to see the effect.
    basis
        The prior behind the posterior.
    zh, en
        The sentence.
    """

    kind: Kind
    reason: Reason
    arm: str
    instead_of: str
    segment_column: str | None
    segment: str | None
    metric: str
    unit: str
    currency: str | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    cost: float | None
    probability: float | None
    members: int | None
    total: float | None
    until: int | None
    basis: str
    zh: str = ""
    en: str = ""


def recommend(situation: Situation) -> tuple[Action, ...]:
    """The recommended actions, the one for everybody first; none when the numbers cannot be trusted.

    Expected gains and probabilities come from posteriors, not from the winning estimates: the arms' means are drawn
    towards each other where at least three arms are compared with the control (flat prior otherwise), and contrasts of
    arms within the segments of a column towards their mean. A switch needs a column whose effects differ for certain
    (interaction test) and a probability of at least 95 %.
    """
    if situation.verdict.status == "invalid":
        return ()
    main = _main(situation, gains(situation))
    base = main.arm if main is not None and main.kind == "roll_out" else situation.arms[0]
    switches = [] if situation.verdict.status == "too_early" else _switches(situation, base)
    return (*([main] if main is not None else []), *switches)


def _main(situation: Situation, gain: Mapping[str, Gain]) -> Action | None:
    status = situation.verdict.status
    if not gain:
        return _run_on(situation, None, None, situation.look.planned) if status == "too_early" else None
    best = max(gain, key=lambda arm: gain[arm].expected)
    if status == "effective":
        effective = [arm for arm in situation.better if arm in gain]
        best = max(effective, key=lambda arm: gain[arm].expected, default=best)
        told = gain[best]
        if told.mean <= 0 < told.expected and situation.cost(best) <= 0:
            told = replace(told, mean=told.expected)  # it beat the control: the other arms do not take that away
        pays = told.mean > 0
        return _action(situation, "roll_out" if pays else "stop", "effective" if pays else "costs_more", best, told)
    if status == "harmful":
        worst = min((arm for arm in situation.worse if arm in gain), key=lambda arm: gain[arm].expected, default=best)
        return _action(situation, "stop", "harmful", worst, gain[worst])
    if status == "too_early":
        until = situation.look.next_size or situation.look.planned
        if until is None and gain[best].mean > 0:
            until = _needed(situation, gain[best])
        return _run_on(situation, best, gain[best], until)
    if gain[best].mean <= 0:
        return _action(situation, "stop", "none_pays", best, gain[best])
    until = _needed(situation, gain[best])
    if until is not None and until <= FARTHEST * situation.look.size:
        return _run_on(situation, best, gain[best], until)
    return _action(situation, "stop", "too_small", best, gain[best], until=until)


def _needed(situation: Situation, gain: Gain) -> int | None:
    """Members for a chance of 80 % to see a net gain as large as now expected; None when far too many."""
    factor = (float(ndtri(1 - situation.look.alpha / 2) + ndtri(POWER)) * gain.sd / gain.mean) ** 2
    if factor > 1000 * FARTHEST:
        return None
    size = situation.look.size * max(factor, LEAST)
    step = 10 ** max(math.floor(math.log10(size)) - 1, 0)
    return math.ceil(size / step) * step


def _switches(situation: Situation, base: str) -> list[Action]:
    """For each segment of a column whose effects differ: the arm that is better than the base, if one surely is."""
    found: list[Action] = []
    start = situation.arms.index(base)
    for c, column in enumerate(situation.cuts):
        if not column.differs:
            continue
        cells = {v: means for v in range(len(column.values)) if (means := situation.means(c, v)) is not None}
        best: dict[int, tuple[Gain, int]] = {}
        for other in range(len(situation.arms)):
            if other == start or situation.arms[other] in situation.worse:
                continue
            for v, gain in contrasts(situation, cells, other, start).items():
                if v not in best or gain.mean > best[v][0].mean:
                    best[v] = (gain, other)
        for v, (gain, other) in sorted(best.items()):
            if gain.mean > 0 and gain.probability >= SURE:
                arm = situation.arms[other]
                found.append(_action(situation, "switch", "differs", arm, gain, base=base, where=(column, v)))
    return found


def _run_on(situation: Situation, arm: str | None, gain: Gain | None, until: int | None) -> Action:
    reason: Reason = "too_early" if situation.verdict.status == "too_early" else "hint"
    return _action(situation, "run_on", reason, arm or situation.arms[min(1, len(situation.arms) - 1)], gain, until)


def _action(
    situation: Situation,
    kind: Kind,
    reason: Reason,
    arm: str,
    gain: Gain | None,
    until: int | None = None,
    *,
    base: str | None = None,
    where: tuple[SegmentCut, int] | None = None,
) -> Action:
    base = situation.arms[0] if base is None else base
    metric, unit = situation.metric, unit_of(situation.metric)
    members = situation.members if where is None else where[0].members[where[1]]
    chosen, replaced = (base, arm) if kind == "stop" else (arm, base)
    draft = Action(
        kind, reason, chosen, replaced,
        None if where is None else where[0].name, None if where is None else where[0].values[where[1]],
        metric.name, unit.code, metric.currency, None, None, None,
        situation.cost(arm, base) if situation.in_money else None, None, members, None, until,
        FLAT if gain is None else gain.basis,
    )  # fmt: skip
    if gain is not None:
        draft = _counted(draft, gain, unit)
    zh, en = sentences(situation, draft)
    return replace(draft, zh=zh, en=en)


def _counted(draft: Action, gain: Gain, unit: Unit) -> Action:
    """With what it gains: of a stop, what is gained by not giving the arm."""
    if draft.kind == "stop":
        told = draft.reason in ("harmful", "costs_more")
        mean, low, high, chance = -gain.mean, -gain.high, -gain.low, 1 - gain.probability
    else:
        told = draft.kind in ("roll_out", "switch")
        mean, low, high, chance = gain.mean, gain.low, gain.high, gain.probability
    told = told and mean > 0 and unit.adds_up
    total = mean * draft.members if told and draft.members is not None else None
    return replace(draft, gain=mean, gain_low=low, gain_high=high, probability=chance, total=total)
