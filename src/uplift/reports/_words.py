"""Every word of a report, in Chinese and in English, and how numbers are written: the same number in both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

WORDS: Mapping[str, tuple[str, str]] = {
    "report": ("实验报告", "Experiment report"),
    "other_language": ("English", "中文"),
    "effective": ("有效", "Effective"),
    "harmful": ("有害", "Harmful"),
    "no_evidence": ("没有证据", "No evidence"),
    "too_early": ("为时过早", "Too early"),
    "invalid": ("无效", "Invalid"),
    "members": ("会员", "members"),
    "control": ("对照组", "control"),
    "arm": ("方案", "Arm"),
    "metric": ("指标", "Metric"),
    "effect": ("增量效果", "Effect"),
    "interval": ("95% 区间", "95 % interval"),
    "raw": ("直接差值", "Raw difference"),
    "relative": ("相对提升", "Relative"),
    "p_value": ("p 值", "p-value"),
    "p_adjusted": ("校正后 p 值", "Adjusted p"),
    "control_mean": ("对照组均值", "Control mean"),
    "arm_mean": ("方案组均值", "Arm mean"),
    "segment": ("人群", "Segment"),
    "n_arm": ("方案人数", "In the arm"),
    "n_control": ("对照人数", "In control"),
    "what_happened": ("这次活动带来了什么", "What the campaign caused"),
    "by_segment": ("哪些人群反应不同", "Which segments respond differently"),
    "checks": ("数据可信吗", "Can the data be trusted"),
    "numbers": ("全部数字", "All the numbers"),
    "how_to_read": ("怎么读这份报告", "How to read this report"),
    "provenance": ("来源", "Provenance"),
    "what_next": ("下一步", "What next"),
    "action_note": (
        "金额为期望值，已扣除优惠成本；概率来自收缩后的估计，不是最好看的那个数字。",
        "Amounts are expected values net of the offers' costs; probabilities come from shrunk estimates, not from the "
        "number that looks best.",
    ),
    "also": ("还应知道", "Also worth knowing"),
    "curves": ("之后三个月的累计消费", "Spend over the three months after"),
    "days_after": ("分组后天数", "Days after assignment"),
    "long_term": ("长期效果", "What lasts"),
    "long_term_note": (
        "所有分到该组的会员都计入，不管是否收到或使用；与未触达的会员相比。",
        "All who were assigned count, whether or not they received or used anything; against members held out.",
    ),
    "long_term_waiting": (
        "{days} 天的窗口要到 {ready} 才完整。",
        "The windows of {days} days are complete on {ready}.",
    ),
    "against": ("对比", "Against"),
    "holdout": ("全局对照组", "global holdout"),
    "outcome": ("指标", "Outcome"),
    "days": ("天数", "Days"),
    "outcome_orders": ("购买次数", "Purchases"),
    "outcome_spend": ("消费金额", "Spend"),
    "outcome_margin": ("毛利", "Gross margin"),
    "outcome_top_up": ("充值金额", "Topped up"),
    "outcome_renewed": ("续约", "Renewed"),
    "outcome_referrals": ("推荐新会员", "New members brought"),
    "projections": ("推算", "Projections"),
    "projection": ("推算", "projection"),
    "projection_note": (
        "这是推算，不是实测：只有当优惠完全通过第一个月的表现影响长期时才成立。",
        "Projected, not measured: it holds only if the offer works through the first month alone.",
    ),
    "label": ("性质", "Kind"),
    "compared": ("与实测对照", "Against what was measured"),
    "not_compared": ("尚无实测", "not measured yet"),
    "projection_wrong": ("与对照组实测不符，以实测为准", "contradicted by the members held out: use what was measured"),
    "projection_agrees": ("与对照组实测一致", "agrees with the members held out"),
    "novelty": ("新鲜感会不会消退", "Does it wear off"),
    "novelty_note": (
        "每周购买次数的增量随时间的变化，每周多少。",
        "How the effect on weekly purchases changes from week to week.",
    ),
    "trend": ("每周变化", "Change a week"),
    "reading": ("解读", "Reading"),
    "trend_none": ("没有证据表明在变", "no evidence of a change"),
    "trend_fades": ("在消退", "fades"),
    "trend_grows": ("在增强", "grows"),
    "tags": ("标签效果", "Tags"),
    "tags_note": (
        "事先声明的标签：有标签的会员与其他会员的增量之差，已对所有标签一并校正。",
        "Tags declared before the start: effect among their members less that among all others, adjusted together.",
    ),
    "tag": ("标签", "Tag"),
    "tagged": ("有标签", "Tagged"),
    "others": ("其他会员", "Others"),
    "gap": ("相差", "Difference"),
    "times": ("倍数", "Times"),
    "funnel": ("漏斗", "Funnel"),
    "funnel_note": (
        "占已发送会员的比例，为原始比例，不是增量。",
        "Shares of members sent to; raw, not incremental.",
    ),
    "channel": ("渠道与形式", "Channel and form"),
    "all": ("全部", "all"),
    "sent": ("发送", "Sent"),
    "opened": ("打开", "Opened"),
    "clicked": ("点击", "Clicked"),
    "redeemed": ("核销", "Redeemed"),
    "participation": ("谁参与了", "Who took part"),
    "participants": ("参与人数", "Took part"),
    "participation_rate": ("参与率", "Rate"),
    "share_of_participants": ("参与者占比", "Share of those who took part"),
    "share_of_sent": ("发送占比", "Share of those sent to"),
    "overlap": ("同时进行的实验", "Other experiments at the same time"),
    "overlap_note": (
        "同一批会员还在别的实验里：分组是否相互独立，效果是否受影响。",
        "Members who were in another experiment too: are assignments independent, do effects depend on it.",
    ),
    "experiment": ("实验", "Experiment"),
    "members_shared": ("共同会员", "Shared members"),
    "p_independent": ("分组独立 p", "Independent, p"),
    "p_interaction": ("互相影响 p", "Interaction, p"),
    "overlap_fine": ("没有证据表明互相影响", "no evidence that they disturb each other"),
    "overlap_disturbed": ("效果因另一实验而异", "effects depend on the other experiment"),
    "overlap_tied": ("分组不独立，请查原因", "assignments are not independent: find the cause"),
    "power_title": ("实验需要多少人", "How many members the experiment needs"),
    "power_axis": ("总人数", "Members in all"),
    "smallest_effect": ("能看到的最小效果", "Smallest effect seen"),
    "power_basis": ("依据", "Learnt from"),
    "power_note": (
        "曲线以上的效果有 {power} 的机会被看到（误判率 {alpha}）。",
        "Effects above the curve are seen with a chance of {power} (error {alpha}).",
    ),
    "simulated_power": ("模拟的机会", "Chance by simulation"),
    "power_segments": ("各人群能看到的最小效果", "Smallest effect in each segment"),
    "look_sequence": (
        "实验进行中（已有计划的 {share}）。区间已放宽，每天看也不会误判。",
        "The experiment is running ({share} of the plan). Intervals are wider, so that it may be read every day.",
    ),
    "look_fixed": (
        "这是设计规定的一次中期查看（计划的 {share}）。区间已放宽，各次查看合起来不超过规定的误判率。",
        "This is one of the looks that the design fixed ({share} of the plan). Intervals are wider, so that all looks "
        "together keep to the stated error.",
    ),
    "look_between": (
        "现在不是设计规定的查看时间（计划的 {share}），不下结论；下一次在 {next} 人时。",
        "This is not one of the looks that the design fixed ({share} of the plan), so nothing is concluded; the next "
        "one is at {next} members.",
    ),
    "srm_passed": (
        "各组人数与设计比例一致（{p}），分组可信。",
        "Arm sizes agree with the designed shares ({p}): the split can be trusted.",
    ),
    "srm_failed": (
        "各组人数与设计比例不符（{p}）。分组或数据有问题，下面的效果不可采信，请先查原因。",
        "Arm sizes do not agree with the designed shares ({p}). Something is wrong with the split or the data: "
        "do not act on the effects below before the cause is found.",
    ),
    "srm_unchecked": (
        "没有给出设计比例，因此没有检查各组人数。",
        "No designed shares were given, so arm sizes were not checked.",
    ),
    "balance_good": (
        "分组前各组会员相似：{n} 项特征中最大的标准化差异是 {worst}。",
        "Before the campaign the arms were alike: of {n} characteristics the largest standardised difference is "
        "{worst}.",
    ),
    "interaction_yes": (
        "“{column}”之间的效果不同（{arm}，{metric}；校正后 {p}）。",
        "The effect differs by {column} ({arm}, {metric}; adjusted {p}).",
    ),
    "interaction_no": (
        "没有证据表明“{column}”之间的效果不同（{arm}，{metric}；校正后 {p}）：请按整体效果决定。",
        "No evidence that the effect differs by {column} ({arm}, {metric}; adjusted {p}): decide by the overall "
        "effect.",
    ),
    "shrunk_note": (
        "图中为收缩后的估计：小人群的数字会向整体靠拢，避免把运气当成规律。",
        "The pictures show shrunk estimates: small segments are drawn towards the whole, so that luck is not taken "
        "for a pattern.",
    ),
    "suppressed": ("人数太少，不显示", "too few, not shown"),
    "not_given": ("无法给出", "cannot be given"),
    "read_effect": (
        "“增量效果”是方案组比对照组多出来的部分，也就是活动真正带来的，而不是会员本来就会做的。",
        "The effect is what the arm has more than control: what the campaign caused, not what members would have done "
        "anyway.",
    ),
    "read_interval": (
        "区间表示真实效果可能的范围。区间包含 0，就不能说活动有效。",
        "The interval says where the true effect may lie. If it contains 0, nobody can say that the campaign worked.",
    ),
    "read_points": (
        "百分点：例如从 10.0% 到 12.0% 是 +2.0 个百分点。",
        "Points: from 10.0 % to 12.0 % is +2.0 points.",
    ),
    "read_adjusted": (
        "一次比较多个方案时，p 值已经校正，避免碰运气；绿色和红色只给校正后仍然成立的效果。",
        "Where several arms are compared, p-values are adjusted, so that one of many does not win by luck; green and "
        "red are for effects that stand after that.",
    ),
    "points": ("个百分点", "points"),
    "data_hash": ("数据指纹", "Data fingerprint"),
    "version": ("版本", "Version"),
    "seed": ("随机种子", "Seed"),
    "overview": ("会员营销总览", "Members and campaigns"),
    "experiments": ("实验", "Experiments"),
    "decisions": ("本期推荐", "Current decisions"),
    "segments": ("会员分层", "Segments"),
    "models": ("模型", "Models"),
    "as_of": ("截至", "As of"),
    "receive": ("将收到优惠的会员", "Members who get an offer"),
    "count": ("人数", "Members"),
    "share": ("占比", "Share"),
    "spend_share": ("消费占比", "Share of spend"),
    "source": ("来源", "How decided"),
    "source_policy": ("按模型推荐", "by the policy"),
    "source_explore": ("随机探索", "drawn at random, to learn"),
    "source_holdout": ("对照组，不触达", "held out, not contacted"),
    "source_none": ("没有合适的优惠", "no offer pays"),
    "promised": ("预计增量毛利", "Expected incremental margin"),
    "promised_note": (
        "这是模型的预计，不是结果；真实价值要用对照组在下一期衡量。",
        "This is what the models promise, not a result: the holdout will show what it was worth.",
    ),
    "certificate": (
        "与理论最优的差距不超过 {gap}。",
        "At most {gap} below the best possible.",
    ),
    "cost": ("成本", "Cost"),
    "budget": ("预算", "Budget"),
    "next_yuan": (
        "预算再多 {one}，约可多得 {gain}。",
        "The next {one} of budget returns about {gain}.",
    ),
    "no_experiments": ("还没有分析过的实验。", "No experiment has been analysed yet."),
    "no_decisions": ("还没有推荐结果。", "There are no decisions yet."),
    "no_segments": ("还没有分层结果。", "Segments have not been computed yet."),
    "no_models": ("还没有训练好的模型。", "No model has been trained yet."),
    "moved": ("一个月前 → 现在", "A month ago → now"),
    "from_to": ("从（行）到（列）", "From (row) to (column)"),
    "model_churn": ("流失预警", "Churn warning"),
    "model_uplift": ("活动增量", "Campaign uplift"),
    "gate_passed": ("通过上线门槛", "passed its gate"),
    "gate_failed": ("未通过上线门槛", "did not pass its gate"),
    "champion": ("正在使用", "in use"),
    "challenger": ("候选", "challenger"),
    "open": ("打开报告", "Open the report"),
    "privacy": (
        "少于 {n} 人的格子不显示。本页不含任何会员身份信息。",
        "Cells of fewer than {n} members are not shown. This page holds no member's identity.",
    ),
    "note": ("说明", "Notes"),
}

_SYMBOLS = {"CNY": "¥", "USD": "$", "GBP": "£", "EUR": "€", "JPY": "¥"}
_MINUS = "−"
NOTHING = "—"


def word(key: str, language: Language, **values: object) -> str:
    """The text of that key, with its blanks filled."""
    return WORDS[key][LANGUAGES.index(language)].format(**values)


def integer(value: float | None) -> str:
    """``64,000``, or a dash where there is nothing."""
    return NOTHING if value is None else f"{value:,.0f}".replace("-", _MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """A share as ``10.6 %``."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}%".replace("-", _MINUS)


def p_value(value: float | None) -> str:
    """A p-value to three digits, never zero."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_phrase(value: float | None) -> str:
    """A p-value within a sentence: ``p = 0.042``, ``p < 0.001``."""
    return f"p {p_value(value)}" if value is not None and value < 0.001 else f"p = {p_value(value)}"


def money(value: float | None, currency: str, *, signed: bool = False) -> str:
    """An amount in units of the currency, to the cent below 1,000."""
    if value is None:
        return NOTHING
    digits = 2 if abs(value) < 1000 else 0
    sign = _MINUS if value < 0 else "+" if signed else ""
    symbol = _SYMBOLS.get(currency, f"{currency} ")
    return f"{sign}{symbol}{abs(value):,.{digits}f}"


def amount(value: float | None, unit: str, currency: str, language: Language, *, difference: bool = False) -> str:
    """A metric's value, or a difference of two, in its unit.

    Parameters
    ----------
    unit
        ``share`` (differences in points), ``money`` or anything else (a plain number).
    """
    if value is None:
        return NOTHING
    if unit == "share":
        if not difference:
            return percent(value, 2)
        return f"{_signed(100 * value)} {word('points', language)}"
    if unit == "money":
        return money(value, currency, signed=difference)
    return _signed(value) if difference else f"{value:,.3g}".replace("-", _MINUS)


def span(
    low: float | None, high: float | None, unit: str, currency: str, language: Language, *, difference: bool = True
) -> str:
    """An interval, in the same unit as its estimate."""
    if low is None or high is None:
        return NOTHING
    joint = " 至 " if language == "zh" else " to "
    if unit == "share" and difference:
        return f"{_signed(100 * low)}{joint}{_signed(100 * high)}"
    return joint.join(amount(v, unit, currency, language, difference=difference) for v in (low, high))


def _signed(value: float) -> str:
    digits = 2 if abs(value) < 100 else 0
    return f"{value:+,.{digits}f}".replace("-", _MINUS)
