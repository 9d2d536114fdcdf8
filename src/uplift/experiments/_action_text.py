"""A recommended action as a sentence in Chinese and in English, with the words that its unit calls for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uplift.config import with_currency
from uplift.experiments._metric import Metric
from uplift.experiments._situation import Situation
from uplift.experiments.verdict import Speaker, amounts, percent_text

if TYPE_CHECKING:
    from uplift.experiments.actions import Action


@dataclass(frozen=True)
class Unit:
    """What a gain is counted in once it is added up over members.

    Attributes
    ----------
    code
        As in ``result.json``.
    zh, en
        The words after the number.
    adds_up
        Whether a gain a member times members is something; a ratio's is not.
    """

    code: str
    zh: str
    en: str
    adds_up: bool = True


COUNTS = {
    "orders": Unit("orders", "单", "orders"),
    "visits": Unit("visits", "次到店", "visits"),
    "points_spent": Unit("points", "积分", "points"),
    "referrals": Unit("new_members", "位新会员", "new members"),
}
"""By outcome of the catalogue."""


def unit_of(metric: Metric) -> Unit:
    """The unit of a metric's gain.

    Examples
    --------
    >>> unit_of(Metric("visit", "rate")).en, unit_of(Metric("m", "mean", unit="money", currency="CNY")).zh
    ('members', 'CNY')
    """
    if metric.is_share:
        return Unit("members", "人", "members")
    if metric.kind == "ratio":
        return Unit("ratio", "", "", adds_up=False)
    if metric.kind == "time":
        return Unit("days", "天", "days", adds_up=False)
    if metric.unit == "money":
        return Unit("money", metric.currency or "", metric.currency or "")
    if metric.unit == "count":
        return COUNTS.get(metric.outcome or metric.name, Unit("count", "次", "times"))
    if metric.unit == "days":
        return Unit("days", "天", "days")
    return COUNTS.get(metric.name, Unit("number", "", ""))


def sentences(situation: Situation, action: Action) -> tuple[str, str]:
    """What to do, what it is expected to gain, how sure that is, and what it comes to."""
    zh, en = _advice(situation, action)
    told = _expected(situation, action)
    if told is None:
        return f"{zh}。", f"{en}."
    joint_zh, joint_en = ("：", ": ") if action.kind in ("roll_out", "switch") else ("。", ". ")
    total_zh, total_en = _total(situation, action)
    return f"{zh}{joint_zh}{told[0].lstrip()}{total_zh}。", f"{en}{joint_en}{told[1]}{total_en}."


def _advice(situation: Situation, action: Action) -> tuple[str, str]:
    say = Speaker(situation.names)
    tried = action.instead_of if action.kind == "stop" else action.arm
    zh, en = say.zh(tried), say.en(tried)
    until = "" if action.until is None else f"{action.until:,}"
    if action.kind == "switch" and action.segment_column is not None and action.segment is not None:
        zh_where, en_where = say.segment(action.segment_column, action.segment)
        zh_old, en_old = say.zh(action.instead_of), say.en(action.instead_of)
        if action.arm == situation.arms[0]:
            return f"对“{zh_where}”不发 {zh_old}，与 {zh} 一样", f"For {en_where} drop {en_old}, as for {en}"
        return (
            f"对“{zh_where}”改用 {zh}，代替 {zh_old}",
            f"For {en_where} give {en} instead of {en_old}",
        )
    if action.kind == "run_on":
        if until:
            return f"建议继续实验，直到有 {until} 人的结果", f"Run on until {until} members have results"
        return "建议继续实验", "Run on"
    if action.kind == "roll_out":
        return f"建议推广 {zh}", f"Roll out {en}"
    if action.reason == "harmful":
        return f"建议停用 {zh}：它有害", f"Stop {en}: it does harm"
    if action.reason == "costs_more":
        return f"建议停用 {zh}：带来的抵不上成本", f"Stop {en}: it costs more than it brings"
    several = len(situation.arms) > 2
    zh, en = ("建议停用各方案", "Stop all arms") if several else (f"建议停用 {zh}", f"Stop {en}")
    if action.reason == "none_pays":
        zh_why, en_why = ("划算", "pay") if situation.in_money else ("有好处", "help")
        return f"{zh}：预计没有一个{zh_why}" if several else f"{zh}：预计不会{zh_why}", (
            f"{en}: none is expected to {en_why}" if several else f"{en}: it is not expected to {en_why}"
        )
    seen_zh, seen_en = (f"（约需 {until} 人）", f" (that takes about {until} members)") if until else ("", "")
    return (
        f"{zh}：即使有效，四倍的人也看不清{seen_zh}",
        f"{en}: even four times the members would not show an effect{seen_en}",
    )


def _expected(situation: Situation, action: Action) -> tuple[str, str] | None:
    """The gain with its interval and probability; where nothing is proved, the best arm's, not that of stopping it."""
    gain, low, high, chance = action.gain, action.gain_low, action.gain_high, action.probability
    if gain is None or low is None or high is None or chance is None:
        return None
    say = Speaker(situation.names)
    unproved = action.kind == "run_on" or action.reason in ("none_pays", "too_small")
    in_spite = action.reason == "harmful" and gain < 0
    stopping = action.kind == "stop" and not (unproved or in_spite)
    arm, base = action.arm, action.instead_of
    if action.kind == "stop" and not stopping:
        gain, low, high, chance = -gain, -high, -low, 1 - chance
        arm, base = base, arm
    zh, en = _amounts(situation, gain, low, high, _net(situation, action.cost, saving=stopping))
    percent = percent_text(chance)
    if in_spite:
        return f"尽管{zh}", f"This although {en}"
    if stopping:
        return f"不发的话，{zh.lstrip()}，更好的概率 {percent}", f"Without it {en}, better with probability {percent}"
    zh += f"，优于 {say.zh(base)} 的概率 {percent}"
    en += f", better than {say.en(base)} with probability {percent}"
    if unproved and len(situation.arms) > 2:
        return f"目前最好的是 {say.zh(arm)}：{zh.lstrip()}", f"The best so far is {say.en(arm)}: {en}"
    return (f"目前{zh}", f"So far {en}") if unproved else (zh, en)


def _amounts(situation: Situation, gain: float, low: float, high: float, net: tuple[str, str]) -> tuple[str, str]:
    """``spend +3.15 CNY a member expected (95% interval …)``; a metric that should fall falls by what is gained."""
    metric, unit = situation.metric, unit_of(situation.metric)
    zh_what, en_what = Speaker(situation.names).metric(metric.name)
    number, from_, to = amounts(metric, gain, low, high)
    zh_gain, en_gain = number.zh, number.en.removesuffix(" per member")
    if unit.code in ("orders", "visits", "points", "new_members"):
        zh_gain = f"{number.number} {unit.zh}"
    texts = [zh_gain, en_gain, from_.number, to.number]
    if not metric.increase:
        texts = [text.removeprefix("+") for text in texts]
    zh_gain, en_gain, begin, end = texts
    a_member = not (metric.is_share or metric.kind in ("ratio", "time"))
    zh_each, en_each = ("每人", " a member") if a_member else ("", "")
    zh_by, en_of = ("", "of") if metric.increase else ("下降", "less of")
    zh_net, en_net = net
    return (
        f"{zh_what}预计{zh_each}{zh_by} {zh_gain}（95% 区间 {begin} 至 {end}{zh_net}）",
        f"{en_gain} {en_of} {en_what}{en_each} expected (95% interval {begin} to {end}{en_net})",
    )


def _net(situation: Situation, cost: float | None, *, saving: bool) -> tuple[str, str]:
    """That costs are taken off: which, or that none are known."""
    if not situation.in_money:
        return "", ""
    if not situation.costs:
        return "，未计成本", ", costs not known"
    if not cost:
        return "", ""
    size = abs(cost)
    money = f"{size:,.2f}" if size >= 0.01 else f"{size:.4f}"
    money = with_currency(money, situation.metric.currency)
    if (cost > 0) == saving:
        return f"，含每人省下的成本 {money}", f", with {money} of cost a member saved"
    return f"，已扣除每人成本 {money}", f", net of {money} of cost a member"


def _total(situation: Situation, action: Action) -> tuple[str, str]:
    """What it comes to over the members concerned."""
    if action.total is None or action.members is None:
        return "", ""
    metric, unit = situation.metric, unit_of(situation.metric)
    size, members = abs(action.total), f"{action.members:,}"
    number = f"{size:,.0f}" if size >= 10 else f"{size:.1f}"
    if unit.code == "members":
        zh_more, en_more = ("多", "more") if (action.total > 0) == metric.increase else ("少", "fewer")
        return f"；{members} 人中约{zh_more} {number} 人", f"; about {number} {en_more} members among {members}"
    number = f"{'+' if action.total > 0 else '-'}{number}"
    if not metric.increase:
        number = number.removeprefix("+")
    zh_by, en_by = ("", "") if metric.increase else ("下降", "a fall of ")
    zh, en = f"{number} {unit.zh}".rstrip(), f"{number} {unit.en}".rstrip()
    if unit.code == "money":
        zh = en = with_currency(number, metric.currency)
    return f"；{members} 人合计约{zh_by} {zh}", f"; about {en_by}{en} for {members} members"
