"""One verdict on an experiment, as a sentence in Chinese and in English with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from uplift.config import with_currency
from uplift.experiments._metric import SHARES, Metric
from uplift.experiments._text import Text
from uplift.results import Rendered

Status = Literal["effective", "harmful", "no_evidence", "too_early", "invalid"]
TOO_FEW = Text("人数或转化太少，无法给出数字", "too few members or conversions to show numbers")


@dataclass(frozen=True)
class Verdict(Rendered):
    """The verdict.

    Attributes
    ----------
    status
        ``effective``: at least one arm improves the primary metric and harms nothing · ``harmful``: none does, and an
        arm harms the primary metric or a guardrail, or pays for the primary metric with another goal ·
        ``no_evidence`` · ``too_early``: fewer members, days or buyers than it takes to say · ``invalid``: the numbers
        cannot be trusted, and the sentence says why.
    zh, en
        The sentences.
    """

    status: Status
    zh: str
    en: str


@dataclass(frozen=True)
class Finding:
    """One arm's effect on one metric, as far as the verdict needs it; numbers are None where they are not given."""

    arm: str
    metric: Metric
    role: Literal["primary", "secondary", "guardrail"]
    effect: float | None
    low: float | None
    high: float | None
    p_adjusted: float | None
    relative: float | None
    certain: bool
    """Whether it counts now: significant in its family and, before the planned size, by the confidence sequence."""

    @property
    def better(self) -> bool:
        """Significant in the wanted direction."""
        return self.certain and self.effect is not None and (self.effect > 0) == self.metric.increase

    @property
    def worse(self) -> bool:
        """Significant against the wanted direction."""
        return self.certain and self.effect is not None and (self.effect > 0) != self.metric.increase


@dataclass(frozen=True)
class Winner:
    """The best arm against the next one; ``clear`` when it beats every other arm for certain."""

    arm: str
    runner_up: str
    lead: float
    clear: bool


Names = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Speaker:
    """What people call things; the name itself where there is no other."""

    names: Names

    def zh(self, name: str) -> str:
        """In Chinese."""
        return str(self.names.get(name, {}).get("zh") or name)

    def en(self, name: str) -> str:
        """In English."""
        return str(self.names.get(name, {}).get("en") or name)

    def metric(self, name: str) -> tuple[str, str]:
        """A metric within a Chinese and an English sentence: in quotation marks where it is words, not a column."""
        if name not in self.names:
            return f" {name} ", name
        return f"“{self.zh(name)}”", f"“{self.en(name)}”"

    def segment(self, column: str, value: str) -> tuple[str, str]:
        """A value of a segment column, with the column's name where the value does not speak for itself."""
        called = self.names.get(column, {}).get("values", {}).get(value)
        if called:
            return str(called.get("zh") or value), str(called.get("en") or value)
        return f"{self.zh(column)} = {value}", f"{self.en(column)} = {value}"


def decide(
    findings: Sequence[Finding],
    *,
    control: str,
    alpha: float,
    invalid: Sequence[Text] = (),
    early: Sequence[Text] = (),
    winner: Winner | None = None,
    differing: Sequence[tuple[str, str, str]] = (),
    names: Names | None = None,
) -> Verdict:
    """The verdict from the findings on the whole population.

    Parameters
    ----------
    findings
        Every arm and metric, in the order in which metrics were given.
    control, alpha
        For the sentence.
    invalid, early
        Reasons for which nothing can be said at all, or not yet.
    winner
        Best arm on the primary metric, where there are several.
    differing
        (arm, metric, segment column) whose effect differs between segments for certain.
    names
        What people call an arm, a metric or a segment column: name → ``{"zh": …, "en": …}``; the name itself where
        there is none.
    """
    say = Speaker(names or {})
    if invalid:
        return Verdict(
            "invalid",
            "结果无效：" + "；".join(reason.zh for reason in invalid) + "。",
            "Invalid: " + "; ".join(reason.en for reason in invalid) + ".",
        )
    level = f"{100 * (1 - alpha):g}%"
    worse = [f for f in findings if f.worse]
    harmed = {f.arm for f in worse}
    improved = [f for f in findings if f.better and f.role == "primary"]
    better = [f for f in improved if f.arm not in harmed]
    if better:
        return _effective(better, worse, control, level, winner, differing, say)
    # a secondary goal alone proves no harm: it counts where the primary metric has moved
    harm = [f for f in worse if f.role != "secondary" or f.arm in {g.arm for g in improved}]
    if harm:
        zh, en = _sentences(harm[:3], control, level, say)
        return Verdict("harmful", f"有害：{zh}", f"Harmful: {en}")
    shown = [f for f in findings if f.effect is not None and f.low is not None and f.role == "primary"]
    aside = [f for f in findings if (f.better or f.worse) and f.role == "secondary"]
    aside_zh, aside_en = _sentences(aside[:3], control, level, say)
    if aside:
        aside_zh, aside_en = f"次要指标：{aside_zh}", f" Secondary: {aside_en}"
    if early or not shown:
        reasons = list(early) or [
            Text("人数或转化太少，无法给出数字", "too few members or conversions to show numbers")
        ]
        zh, en = _sentences(shown[:1], control, level, say)
        return Verdict(
            "too_early",
            "为时过早：" + "；".join(r.zh for r in reasons) + "。" + (f"目前：{zh}" if shown else "") + aside_zh,
            "Too early: " + "; ".join(r.en for r in reasons) + "." + (f" So far: {en}" if shown else "") + aside_en,
        )
    strongest = min(shown, key=lambda f: f.p_adjusted if f.p_adjusted is not None else 2.0)
    zh, en = _sentences([strongest], control, level, say)
    return Verdict(
        "no_evidence",
        f"没有证据表明有效。最接近的：{zh}{aside_zh}",
        f"No evidence of an effect. The nearest: {en}{aside_en}",
    )


def _effective(
    better: Sequence[Finding],
    worse: Sequence[Finding],
    control: str,
    level: str,
    winner: Winner | None,
    differing: Sequence[tuple[str, str, str]],
    say: Speaker,
) -> Verdict:
    first = better[0].metric
    leading = sorted(better, key=lambda f: -abs(f.effect if f.effect is not None else 0.0))
    zh, en = _sentences(leading[:3], control, level, say)
    if len(leading) > 3:
        zh += f"共有 {len(leading)} 个方案有效。"
        en += f" In all, {len(leading)} arms are effective."
    if winner is not None:
        lead = amount(winner.lead, first)
        if winner.clear:
            zh += f"最好的是 {say.zh(winner.arm)}，比其次的 {say.zh(winner.runner_up)} 多 {lead.zh}。"
            en += f" The best is {say.en(winner.arm)}, ahead of {say.en(winner.runner_up)} by {lead.en}."
        else:
            zh += (
                f"最好的方案尚不能确定：{say.zh(winner.arm)} 与 {say.zh(winner.runner_up)} 相差 {lead.zh}，"
                "可能只是偶然。"
            )
            en += (
                f" No single best arm: {say.en(winner.arm)} and {say.en(winner.runner_up)} differ by {lead.en}, "
                "which may be chance."
            )
    if worse:
        bad_zh, bad_en = _sentences(worse[:3], control, level, say)
        zh += f"有害的：{bad_zh}"
        en += f" Harmful: {bad_en}"
    if differing:
        cuts = dict.fromkeys(column for _, _, column in differing)
        zh += f"效果因 {'、'.join(map(say.zh, cuts))} 而异，请看分组结果。"
        en += f" The effect differs by {', '.join(map(say.en, cuts))}: see the segments."
    return Verdict("effective", f"有效：{zh}", f"Effective: {en}")


def _sentences(findings: Sequence[Finding], control: str, level: str, say: Speaker) -> tuple[str, str]:
    zh, en = [], []
    for f in findings:
        if f.effect is None or f.low is None or f.high is None:
            continue
        effect, low, high = amounts(f.metric, f.effect, f.low, f.high)
        p = "" if f.p_adjusted is None else p_text(f.p_adjusted)
        relative = "" if f.relative is None else f"{100 * f.relative:+.1f}%"
        aside_zh = f"，相对 {relative}" if relative else ""
        aside_en = f", {relative} in relative terms" if relative else ""
        tail_zh = f"，校正后 {p}" if p else ""
        tail_en = f", adjusted {p}" if p else ""
        metric_zh, metric_en = say.metric(f.metric.name)
        zh.append(
            f"{say.zh(f.arm)} 与 {say.zh(control)} 相比，{metric_zh.lstrip()}变化 {effect.zh}"
            f"（{level} 区间 {low.number} 至 {high.number}{aside_zh}{tail_zh}）。"
        )
        en.append(
            f"{say.en(f.arm)} against {say.en(control)} changes {metric_en} by {effect.en} "
            f"({level} interval {low.number} to {high.number}{aside_en}{tail_en})."
        )
    return "".join(zh), " ".join(en)


@dataclass(frozen=True)
class Amount:
    """A signed number with its unit in both languages."""

    number: str
    zh: str
    en: str


def amount(value: float, metric: Metric, *, total: bool = False) -> Amount:
    """An effect as people read it: rates in percentage points, money in units, the rest as it is.

    ``total``: a sum over members rather than a difference of means; to the whole, and for a rate a number of members.
    """
    if not total:
        return amounts(metric, value)[0]
    number = f"{value:+,.0f}"
    if metric.unit == "money":
        return Amount(number, *(with_currency(number, metric.currency),) * 2)
    zh, en = ("人", "members") if metric.kind in SHARES else ("", "")
    return Amount(number, f"{number} {zh}".strip(), f"{number} {en}".strip())


def amounts(metric: Metric, *values: float) -> list[Amount]:
    """Effects that are read together, such as an estimate and its interval, with the digits that the largest wants."""
    if metric.kind in SHARES:
        return [Amount(n, f"{n} 个百分点", f"{n} points") for n in _signed([100 * v for v in values], 0.0995)]
    if metric.unit == "money":
        return [Amount(n, *(with_currency(n, metric.currency),) * 2) for n in _signed(values, 0.00995)]
    zh, en = {"count": ("次", "per member"), "days": ("天", "days")}.get(metric.unit or "", ("", ""))
    return [Amount(n, f"{n} {zh}".strip(), f"{n} {en}".strip()) for n in _signed(values)]


def _signed(values: Sequence[float], least: float = 0.995) -> list[str]:
    """With two digits after the point; with more where all are smaller than ``least``."""
    size = max(map(abs, values))
    digits = 2 if size >= least or size == 0 else 3 if size >= 0.0995 else 4
    return [f"{round(value, digits) + 0.0:+,.{digits}f}" for value in values]


def percent_text(share: float) -> str:
    """A probability as people read it, never as certainty."""
    return ">99.9%" if share > 0.999 else "<0.1%" if share < 0.001 else f"{100 * share:.1f}%"


def p_text(p: float) -> str:
    """A p-value as people read it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
