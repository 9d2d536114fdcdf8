"""What to do next, in money: roll out, stop, run on, or give a segment another offer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from uplift.experiments._measured import WHOLE, Measured, Place
from uplift.experiments._metric import Metric, roles
from uplift.experiments._result import Effect, Interaction
from uplift.experiments.estimators import ArmMeans
from uplift.experiments.sequential import Look
from uplift.experiments.shrinkage import Shrunk, shrink
from uplift.experiments.verdict import Finding, Names, Speaker, Verdict, amount, percent_text
from uplift.results import Rendered

Kind = Literal["roll_out", "stop", "run_on", "switch"]
SURE = 0.95
"""A switch is recommended when it is better with at least this probability."""
FARTHEST = 4.0
"""Running on is recommended up to this many times the members so far."""
LEAST = 1.5
"""And at least to this many times as many."""
POWER = 0.8
Z95 = 1.959964
FLAT = "flat prior on the whole population"
ARMS = "normal prior over the arms, centre and spread estimated (as for segments)"
SEGMENTS = "normal prior over the segments of the column, centre and spread estimated (as for shrunk effects)"


@dataclass(frozen=True)
class Action(Rendered):
    """One recommended action.

    Attributes
    ----------
    kind
        ``roll_out``: give the arm to everybody · ``stop``: give it to nobody · ``run_on``: go on until ``until``
        members · ``switch``: give a segment another arm than everybody else.
    arm, instead_of
        What members would get, and what it replaces; the control's name where they would get nothing.
    segment_column, segment
        Whom it concerns; None: everybody.
    metric, currency
        In which the gain is counted: money where there is a metric in money, best of all gross margin.
    gain, gain_low, gain_high
        Expected gain a member concerned, **net of what the offers cost**, and its 95 % interval.
    cost
        Extra cost a member, already taken off; None where costs and gain have no common unit.
    probability
        Posterior probability that the action is better than what it replaces.
    members
        Members of the experiment whom it concerns, all arms.
    total
        ``gain`` times ``members``.
    until
        Members with a known outcome at which to look again; of a stop, how many it would take to see the effect.
    basis
        The prior behind the posterior.
    zh, en
        The sentence.
    """

    kind: Kind
    arm: str
    instead_of: str
    segment_column: str | None
    segment: str | None
    metric: str
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
    zh: str
    en: str


@dataclass(frozen=True)
class SegmentCut:
    """A segment column: its values, members of each (None: too few to show), and whether effects differ for certain."""

    name: str
    values: tuple[str, ...]
    members: tuple[int | None, ...]
    differs: bool


@dataclass(frozen=True)
class Situation:
    """What an analysis found, as far as actions need it.

    Attributes
    ----------
    arms
        The control first.
    metric
        In which gains are counted, from :func:`value_metric`.
    means
        Place of a segment column and of its value (both None: everybody) → adjusted means by arm, None where hidden.
    better, worse
        Arms that the verdict calls effective, and harmful.
    costs
        Arm → expected cost a member in units of the metric's currency; absent: nothing.
    look
        What may be concluded now.
    """

    arms: tuple[str, ...]
    metric: Metric
    means: Callable[[int | None, int | None], ArmMeans | None]
    verdict: Verdict
    better: tuple[str, ...]
    worse: tuple[str, ...]
    members: int
    look: Look
    cuts: Sequence[SegmentCut] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    names: Names = field(default_factory=dict)


def value_metric(metrics: Sequence[Metric], primary: str) -> Metric:
    """The metric in which gains are counted: gross margin, else the primary one in money, else any, else the primary.

    Guardrails do not count.
    """
    goals = [metric for metric in metrics if not metric.guardrail] or list(metrics)
    money = [metric for metric in goals if metric.unit == "money" and metric.kind == "mean"]
    margin = [metric for metric in money if "margin" in (metric.outcome, metric.name)]
    chosen = [metric for metric in goals if metric.name == primary] or goals
    return next(iter([*margin, *(m for m in money if m.name == primary), *money, *chosen]))


@dataclass(frozen=True)
class Posterior:
    """Normal posterior of a gain a member, net of costs, in the direction in which more is better.

    Attributes
    ----------
    mean, sd
        Of the posterior.
    half
        Half-width of the 95 % interval: the posterior's under a flat prior, else the robust empirical-Bayes interval's,
        which does not trust the estimated prior.
    """

    mean: float
    sd: float
    half: float

    @property
    def probability(self) -> float:
        """That the gain is above zero."""
        return float(ndtr(self.mean / self.sd))


def situation(
    measured: Measured,
    found: Sequence[Effect],
    tests: Sequence[Interaction],
    findings: Sequence[Finding],
    verdict: Verdict,
    now: Mapping[str, Look],
    *,
    costs: Mapping[str, float],
    names: Names,
    alpha: float,
) -> Situation:
    """What actions need of an analysis; cells that are not shown are not used."""
    role = roles(measured.metrics)
    primary = next((name for name, what in role.items() if what == "primary"), measured.metrics[0].name)
    metric = value_metric(measured.metrics, primary)
    shown = {(e.segment_column, e.segment, e.arm) for e in found if e.metric == metric.name and e.se is not None}
    worse = tuple(dict.fromkeys(f.arm for f in findings if f.worse and f.role != "secondary"))
    better = tuple(f.arm for f in findings if f.better and f.role == "primary" and f.arm not in worse)

    def means(column: int | None, value: int | None) -> ArmMeans | None:
        where: tuple[str | None, str | None] = (None, None)
        if column is not None and value is not None:
            where = (measured.segments[column].name, measured.segments[column].values[value])
        seen = [place for place, arm in enumerate(measured.arms) if place == 0 or (*where, arm) in shown]
        if len(seen) < 2:
            return None
        cell = measured.estimates[metric.name, Place(column, value)].adjusted
        return replace(cell, mean=np.where(np.isin(np.arange(len(measured.arms)), seen), cell.mean, np.nan))

    def members(column: int, value: int) -> int | None:
        cut = measured.segments[column]
        if not all((cut.name, cut.values[value], arm) in shown for arm in measured.arms[1:]):
            return None
        return int(measured.estimates[metric.name, Place(column, value)].counts.sum())

    differing = {
        test.segment_column
        for test in tests
        if test.metric in (metric.name, primary) and test.p_adjusted is not None and test.p_adjusted < alpha
    }
    cuts = tuple(
        SegmentCut(c.name, c.values, tuple(members(i, v) for v in range(len(c.values))), c.name in differing)
        for i, c in enumerate(measured.segments)
    )
    total = int(measured.estimates[metric.name, WHOLE].counts.sum())
    return Situation(
        measured.arms, metric, means, verdict, better, worse, total, now[primary], cuts, dict(costs), dict(names)
    )


def recommend(situation: Situation) -> tuple[Action, ...]:
    """The recommended actions, the one for everybody first; none when the numbers cannot be trusted.

    Expected gains and probabilities come from posteriors, not from the winning estimates: the arms' means are shrunk
    towards each other where at least three arms are compared with the control (flat prior otherwise), and contrasts of
    arms within the segments of a column towards their mean, with the prior of :func:`uplift.experiments.shrink`. A
    switch needs a column whose effects differ for certain (interaction test) and a probability of at least 95 %.
    """
    if situation.verdict.status == "invalid":
        return ()
    gains = _gains(situation)
    main = _main(situation, gains)
    base = main.arm if main is not None and main.kind == "roll_out" else situation.arms[0]
    switches = [] if situation.verdict.status == "too_early" else _switches(situation, base)
    return (*([main] if main is not None else []), *switches)


def _gains(situation: Situation) -> dict[str, tuple[Posterior, str]]:
    """Arm → posterior of its net gain over the control on everybody, and the prior."""
    means = situation.means(None, None)
    if means is None:
        return {}
    variance = np.diag(means.covariance)
    usable = [i for i in range(1, len(situation.arms)) if math.isfinite(means.mean[i]) and variance[i] > 0]
    if not usable or not (math.isfinite(means.mean[0]) and variance[0] > 0):
        return {}
    crossed = any(means.covariance[i, 0] != 0 for i in usable)  # clusters that span arms: leave them as they are
    mean, spread, basis = means.mean, variance, FLAT
    half = Z95 * np.sqrt(variance)
    if len(usable) >= 3 and not crossed:
        shrunk = shrink(mean[usable], np.sqrt(variance[usable]))
        mean, spread, basis = mean.copy(), spread.copy(), ARMS
        mean[usable], spread[usable] = shrunk.value, _posterior_variance(shrunk, variance[usable])
        half[usable] = (shrunk.high - shrunk.low) / 2
    found = {}
    for i in usable:
        arm = situation.arms[i]
        gap = (mean[i] - mean[0]) * _sign(situation) - _cost(situation, arm)
        together = variance[0] - 2 * means.covariance[i, 0]
        sd, width = math.sqrt(spread[i] + together), math.sqrt(half[i] ** 2 + Z95**2 * together)
        found[arm] = (Posterior(float(gap), sd, width), basis)
    return found


def _posterior_variance(shrunk: Shrunk, variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of what was shrunk: what is left of its own noise, and the share of the centre's that it takes over."""
    centre = 1 / (1 / variance).sum()
    return np.asarray(shrunk.weight * variance + (1 - shrunk.weight) ** 2 * centre)


def _sign(situation: Situation) -> float:
    return 1.0 if situation.metric.increase else -1.0


def _cost(situation: Situation, arm: str, other: str | None = None) -> float:
    """Extra cost of an arm over another (the control's is what it is given), where gains are in money."""
    if situation.metric.unit != "money":
        return 0.0
    return situation.costs.get(arm, 0.0) - situation.costs.get(other or situation.arms[0], 0.0)


def _main(situation: Situation, gains: Mapping[str, tuple[Posterior, str]]) -> Action | None:
    status = situation.verdict.status
    if not gains:
        return _run_on(situation, None, None, situation.look.planned) if status == "too_early" else None
    best = max(gains, key=lambda arm: gains[arm][0].mean)
    if status == "effective":
        effective = {arm: gains[arm] for arm in situation.better if arm in gains}
        best = max(effective, key=lambda arm: effective[arm][0].mean, default=best)
        pays = gains[best][0].mean > 0
        return _action(situation, "roll_out" if pays else "stop", best, *gains[best])
    if status == "harmful":
        harmful = {arm: gains[arm] for arm in situation.worse if arm in gains}
        worst = min(harmful, key=lambda arm: harmful[arm][0].mean, default=best)
        return _action(situation, "stop", worst, *gains[worst])
    if status == "too_early":
        return _run_on(situation, best, gains[best], situation.look.next_size or situation.look.planned)
    until = _needed(situation, gains[best][0])
    if until is not None and until <= FARTHEST * situation.look.size:
        return _run_on(situation, best, gains[best], until)
    return _action(situation, "stop", best, *gains[best], until=until)


def _needed(situation: Situation, gain: Posterior) -> int | None:
    """Members for a chance of 80 % to see a net gain as large as now expected; None when none is expected."""
    if gain.mean <= 0:
        return None
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
        best: dict[int, tuple[Posterior, int]] = {}
        for other in range(len(situation.arms)):
            if other == start or situation.arms[other] in situation.worse:
                continue
            for v, posterior in _contrasts(situation, cells, other, start).items():
                if v not in best or posterior.mean > best[v][0].mean:
                    best[v] = (posterior, other)
        for v, (posterior, other) in sorted(best.items()):
            if posterior.mean > 0 and posterior.probability >= SURE:
                arm = situation.arms[other]
                found.append(_action(situation, "switch", arm, posterior, SEGMENTS, base, (column, v)))
    return found


def _contrasts(situation: Situation, cells: Mapping[int, ArmMeans], arm: int, other: int) -> dict[int, Posterior]:
    """Segment → posterior of what the arm gains over another one there, net of costs."""
    gaps = {v: means.difference(arm, other) for v, means in cells.items()}
    gaps = {v: gap for v, gap in gaps.items() if math.isfinite(gap.value) and gap.se > 0}
    if len(gaps) < 2:
        return {}
    shrunk = shrink([gap.value for gap in gaps.values()], [gap.se for gap in gaps.values()])
    extra = _cost(situation, situation.arms[arm], situation.arms[other])
    sd = np.sqrt(_posterior_variance(shrunk, np.array([gap.se**2 for gap in gaps.values()])))
    gain, half = shrunk.value * _sign(situation) - extra, (shrunk.high - shrunk.low) / 2
    return {v: Posterior(float(gain[i]), float(sd[i]), float(half[i])) for i, v in enumerate(gaps)}


def _run_on(situation: Situation, arm: str | None, gain: tuple[Posterior, str] | None, until: int | None) -> Action:
    if gain is None or arm is None:
        arm, posterior, basis = situation.arms[min(1, len(situation.arms) - 1)], None, FLAT
    else:
        posterior, basis = gain
    return _action(situation, "run_on", arm, posterior, basis, until=until)


def _action(
    situation: Situation,
    kind: Kind,
    arm: str,
    posterior: Posterior | None,
    basis: str,
    base: str | None = None,
    where: tuple[SegmentCut, int] | None = None,
    until: int | None = None,
) -> Action:
    base = situation.arms[0] if base is None else base
    metric = situation.metric
    stopping = kind == "stop"
    gain = low = high = probability = total = None
    members = situation.members if where is None else where[0].members[where[1]]
    if posterior is not None:
        sign = -1.0 if stopping else 1.0  # what is gained by not giving it
        gain = sign * posterior.mean
        low, high = gain - posterior.half, gain + posterior.half
        probability = 1 - posterior.probability if stopping else posterior.probability
        told = kind != "run_on" and not (stopping and gain < 0)
        total = gain * members if told and members is not None else None
    cost = _cost(situation, arm, base) if metric.unit == "money" else None
    chosen, replaced = (base, arm) if stopping else (arm, base)
    draft = Action(
        kind, chosen, replaced,
        None if where is None else where[0].name, None if where is None else where[0].values[where[1]],
        metric.name, metric.currency, gain, low, high, cost, probability, members, total, until, basis, "", "",
    )  # fmt: skip
    zh, en = _sentence(situation, draft)
    return replace(draft, zh=zh, en=en)


def _sentence(situation: Situation, action: Action) -> tuple[str, str]:
    say = Speaker(situation.names)
    tried = action.instead_of if action.kind == "stop" else action.arm
    zh_arm, en_arm = say.zh(tried), say.en(tried)
    zh_base, en_base = say.zh(action.instead_of), say.en(action.instead_of)
    zh, en = {
        "roll_out": (f"建议推广 {zh_arm}", f"Roll out {en_arm}"),
        "stop": (f"建议停用 {zh_arm}", f"Stop {en_arm}"),
        "run_on": ("建议继续实验", "Run on"),
        "switch": ("", ""),
    }[action.kind]
    if action.kind == "run_on" and action.until is not None:
        zh, en = (
            f"建议继续实验，直到有 {action.until:,} 人的结果",
            f"Run on until {action.until:,} members have results",
        )
    if action.kind == "switch" and action.segment_column is not None and action.segment is not None:
        zh_where, en_where = say.segment(action.segment_column, action.segment)
        zh = f"对“{zh_where}”改用 {zh_arm}，代替 {zh_base}"
        en = f"For {en_where} give {en_arm} instead of {en_base}"
    if action.gain is None or action.gain_low is None or action.gain_high is None or action.probability is None:
        return zh + "。", en + "."
    metric = situation.metric
    gain, low, high = (amount(x, metric) for x in (action.gain, action.gain_low, action.gain_high))
    chance = percent_text(action.probability)
    zh_net = en_net = ""
    if action.cost:
        cost = amount(abs(action.cost), metric)
        number = cost.number.lstrip("+")
        zh_net = f"，已计入每人成本 {number}"
        en_net = f", with {number} of cost a member counted"
    zh_what, en_what = say.metric(metric.name)
    zh_what = zh_what.lstrip()
    if action.kind == "run_on":
        zh_base, en_base = say.zh(situation.arms[0]), say.en(situation.arms[0])
        zh += f"：目前最有希望的是 {zh_arm}，{zh_what}预计每人 {gain.zh}{zh_net}，优于 {zh_base} 的概率 {chance}"
        en += f": most promising so far is {en_arm}, {gain.en} of {en_what} a member expected{en_net}, better than "
        en += f"{en_base} with probability {chance}"
        return zh + "。", en + "."
    if action.kind == "stop":
        stop_zh, stop_en = zh, en
        zh, en = f"{zh}，不发更好", f"{en}: members are better without it"
        if action.gain < 0:  # not harmful, but too small to be worth finding out
            several = len(situation.arms) > 2
            zh = f"建议停用各方案，效果太小；最好的是 {zh_arm}" if several else f"{stop_zh}，效果太小"
            en = (
                f"Stop all arms, too small an effect; the best is {en_arm}"
                if several
                else f"{stop_en}, too small an effect"
            )
            if action.until is not None:
                zh += f"，约需 {action.until:,} 人才能看清"
                en += f", and it takes about {action.until:,} members to see it"
            zh, en = zh + "。停用后", en + ". Without it"
    zh += f"：{zh_what}预计每人 {gain.zh}（95% 区间 {low.number} 至 {high.number}{zh_net}），更好的概率 {chance}"
    en += f": {gain.en} of {en_what} a member expected (95% interval {low.number} to {high.number}{en_net}), better "
    en += f"with probability {chance}"
    if action.total is not None and action.members is not None:
        total = amount(action.total, metric, total=True)
        zh += f"；{action.members:,} 人合计约 {total.zh}"
        en += f"; about {total.en} for {action.members:,} members"
    return zh + "。", en + "."
