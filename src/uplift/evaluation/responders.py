"""Who responds, in sentences: a few rules found on one half of the members and measured on the other."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift.errors import InputError, unknown_name
from uplift.evaluation._conditions import Condition, is_whole, quoted_rule, short_cut
from uplift.evaluation.groups import GroupEffect, group_effects
from uplift.evaluation.scores import Scores
from uplift.learners._encoder import FrameEncoder, as_frame
from uplift.learners._trees import TreeDesign
from uplift.results import Rendered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

Titles = Mapping[str, str | tuple[str, str]]


@dataclass(frozen=True)
class ResponderRule:
    """Members who fulfil all conditions, and what the offer changes among them.

    Attributes
    ----------
    rule
        As :func:`uplift.rules.compile_rule` reads it; ``""`` for everybody.
    conditions
        The same, one by one.
    share
        Of all members who could have received the arm. None when suppressed.
    n, n_arm, n_control
        Rows that the effect was measured on (none of which the rules were found on). None when suppressed.
    effect, low, high
        Mean effect with its interval, in the unit of the outcome. None when suppressed.
    p_value
        Two-sided, of no effect, adjusted for the number of rules (Holm).
    suppressed
        None, ``small`` or ``secondary``, as in :func:`uplift.evaluation.group_effects`.
    text_en, text_zh
        In words.
    """

    rule: str
    conditions: tuple[Condition, ...]
    share: float | None
    n: int | None
    n_arm: int | None
    n_control: int | None
    effect: float | None
    low: float | None
    high: float | None
    p_value: float | None
    suppressed: str | None
    text_en: str
    text_zh: str


@dataclass(frozen=True, repr=False)
class ResponderRules(Rendered):
    """Rules that together describe everybody, the largest effect first, suppressed ones last.

    Attributes
    ----------
    arm
        Against the control.
    rules
        Each member fulfils exactly one.
    alpha, min_cell
        As asked for.
    """

    arm: Hashable
    rules: tuple[ResponderRule, ...]
    alpha: float
    min_cell: int

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a rule."""
        names = ("rule", "share", "n", "n_arm", "n_control", "effect", "low", "high", "p_value", "suppressed")
        texts = ("text_en", "text_zh")
        return [{name: getattr(rule, name) for name in (*names, *texts)} for rule in self.rules]


def responder_rules(
    X: Any,
    scores: Scores,
    *,
    arm: Hashable,
    effects: npt.ArrayLike | None = None,
    features: Sequence[str] | None = None,
    max_rules: int = 5,
    max_conditions: int = 3,
    min_share: float = 0.05,
    min_cell: int = 11,
    alpha: float = 0.05,
    unit: str = "",
    titles: Titles | None = None,
    families: Mapping[str, str] | None = None,
    random_state: int | None = 0,
) -> ResponderRules:
    """Describe who responds to an arm by a few rules, each with an interval that finding it did not flatter.

    Half of the members (whole clusters) find the rules: a small regression tree on the doubly robust scores, or on
    predicted effects. On the other half the mean score of each rule's members is its effect.

    Parameters
    ----------
    X
        Features, ``(n, n_features)``, of the rows of ``scores``.
    scores
        From :func:`aipw_scores`, or ``UpliftSearchCV.scores_``.
    arm
        Which one.
    effects
        Predicted effects of this arm to find rules on, ``(n,)``, or of all arms, ``(n, n_arms)``, from a model that
        saw none of these rows; None: the scores. Out-of-fold predictions are not such: models of the other folds have
        seen the half that measures.
    features
        The features that rules may use; None: all.
    max_rules, max_conditions, min_share
        At most so many rules, with so many splits above each other; each for at least this share of the members.
    min_cell
        Rules with fewer rows of the arm or the control (among those that measure) are not shown, and no total gives
        them back.
    alpha
        1 − level of each interval.
    unit
        Written behind amounts, e.g. ``" yuan"``; effects on a rate are in percentage points.
    titles
        Feature → title, or (Chinese, English).
    families
        Feature → type family as for :func:`uplift.rules.compile_rule`, to know which numbers are flags; None: columns
        of booleans are.
    random_state
        Of the halves.

    Raises
    ------
    InputError
        If the arm is unknown, shapes differ, or there are too few rows.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from uplift.evaluation import aipw_scores
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"orders": rng.integers(0, 6, 4000)})
    >>> arm = rng.choice(["control", "mail"], 4000)
    >>> y = (rng.random(4000) < 0.2 + 0.2 * ((arm == "mail") & (X["orders"] > 2))).astype(int)
    >>> scores = aipw_scores(X, y, arm, {"control": 0.5, "mail": 0.5})
    >>> responder_rules(X, scores, arm="mail", max_rules=2).rules[0].rule
    'orders >= 3'
    """
    if arm not in scores.arms:
        raise unknown_name("arm", str(arm), [str(name) for name in scores.arms])
    k = scores.arms.index(arm)
    frame, _ = as_frame(X)
    target = _target(scores, effects, k)
    if len(frame) != len(scores):
        raise InputError(f"X has {len(frame):,} rows, the scores have {len(scores):,}")
    if max_rules < 1 or max_conditions < 1 or not 0 < min_share <= 0.5:
        raise InputError(
            f"max_rules and max_conditions must be at least 1 and min_share in (0, .5]; found {max_rules}, "
            f"{max_conditions}, {min_share}"
        )
    if features is not None:
        for feature in features:
            if feature not in frame.columns:
                raise unknown_name("feature", str(feature), [str(name) for name in frame.columns])
        frame = frame[list(features)]
    known = np.isfinite(scores.effects[:, k]) & (scores.weight > 0)
    finding = _half(scores, np.random.default_rng(random_state)) & known
    measuring = known & ~finding
    if min(finding.sum(), measuring.sum()) < 2 * max(min_cell, 1):
        raise InputError(f"arm {arm!r} could be given to {int(known.sum()):,} rows only: too few to find rules")
    rules = _grow(
        frame,
        target,
        scores.weight,
        finding & np.isfinite(target),
        families or {},
        max_rules,
        max_conditions,
        min_share,
    )
    place = _places(rules, frame)
    rows = np.flatnonzero(measuring)
    found = group_effects(scores.take(rows), place[rows], alpha=alpha, min_cell=min_cell)
    rate = bool(np.isin(scores.y, (0.0, 1.0)).all())
    share = np.bincount(place[known], scores.weight[known], minlength=len(rules)) / scores.weight[known].sum()
    cells = [_cell(found.rows, number, arm) for number in range(len(rules))]
    chances = _holm([cell.p_value for cell in cells])
    words = _Words({} if titles is None else titles, rate, unit)
    described = [
        _described(rule, cell, chance, float(part), words)
        for rule, cell, chance, part in zip(rules, cells, chances, share, strict=True)
    ]
    described.sort(key=lambda rule: -np.inf if rule.effect is None else rule.effect, reverse=True)
    return ResponderRules(arm, tuple(described), alpha, min_cell)


def _target(scores: Scores, effects: npt.ArrayLike | None, k: int) -> Floats:
    if effects is None:
        return scores.effects[:, k]
    given = np.asarray(effects, dtype=np.float64)
    if given.ndim == 2 and given.shape == scores.effects.shape:
        given = given[:, k]
    if given.shape != (len(scores),):
        raise InputError(f"effects has shape {given.shape}, expected ({len(scores)},) or {scores.effects.shape}")
    return given


def _half(scores: Scores, rng: np.random.Generator) -> Mask:
    """Half of the members, clusters whole; without clusters half of those who received each arm."""
    if scores.clusters is not None:
        codes, names = pd.factorize(scores.clusters)
        chosen = np.zeros(len(names), dtype=bool)
        chosen[rng.permutation(len(names))[: len(names) // 2]] = True
        return np.asarray(chosen[codes])
    result = np.zeros(len(scores), dtype=bool)
    for position in np.unique(scores.assigned):
        rows = np.flatnonzero(scores.assigned == position)
        result[rng.permutation(rows)[: len(rows) // 2]] = True
    return result


Rule = tuple[Condition, ...]


def _grow(
    frame: pd.DataFrame,
    target: Floats,
    weight: Floats,
    rows: Mask,
    families: Mapping[str, str],
    max_rules: int,
    depth: int,
    min_share: float,
) -> list[Rule]:
    """Leaves of a small tree as conditions, thresholds rounded as far as they can be without moving many."""
    from sklearn.tree import DecisionTreeRegressor

    encoder = FrameEncoder.learn(frame)
    matrix = encoder.transform(frame)
    design = TreeDesign.learn(matrix, encoder.categorical)
    if max_rules == 1 or not design.features:
        return [()]
    least = max(2, int(np.ceil(min_share * rows.sum())))
    tree = DecisionTreeRegressor(max_depth=depth, max_leaf_nodes=max_rules, min_samples_leaf=least, random_state=0)
    grown = tree.fit(design.transform(matrix[rows]), target[rows], sample_weight=weight[rows]).tree_
    start = [_everybody(encoder, matrix, frame, families, j) for j in range(len(encoder.names))]
    rules: list[Rule] = []

    def walk(node: int, path: Mapping[int, Condition]) -> None:
        if grown.children_left[node] < 0:
            # where nobody is unknown, a rule need not speak of it
            rules.append(tuple(c if _unknown(frame, c) else replace(c, missing=False) for c in path.values()))
            return
        feature, level = (one[int(grown.feature[node])] for one in (design.features, design.levels))
        before = path.get(feature, start[feature])
        threshold, missing_left = float(grown.threshold[node]), bool(grown.missing_go_to_left[node])
        if level >= 0:
            text = encoder.columns[feature].levels[level]
            left = before if before.among else replace(before, outside=(*before.outside, text))
            right = replace(before, among=(text,), outside=(), missing=False)
        elif not np.isfinite(threshold):  # known from unknown
            left, right = replace(before, missing=False), start[feature]
        else:
            cut = short_cut(threshold, matrix[rows, feature])
            left, right = before.below(cut, missing=missing_left), before.above(cut, missing=not missing_left)
        walk(int(grown.children_left[node]), {**path, feature: left})
        walk(int(grown.children_right[node]), {**path, feature: right})

    walk(0, {})
    return rules


def _everybody(
    encoder: FrameEncoder, matrix: npt.NDArray[Any], frame: pd.DataFrame, families: Mapping[str, str], j: int
) -> Condition:
    """The condition of a feature that asks for nothing yet."""
    name = encoder.names[j]
    if j in encoder.categorical:
        kind = "text"
    elif families.get(name) == "flag" or pd.api.types.is_bool_dtype(frame[name].dtype):
        kind = "flag"
    else:
        kind = "whole" if is_whole(matrix[:, j]) else "number"
    return Condition(name, kind, missing=True)


def _unknown(frame: pd.DataFrame, condition: Condition) -> bool:
    return bool(frame[condition.feature].isna().any())


def _places(rules: Sequence[Rule], frame: pd.DataFrame) -> Ints:
    """The rule that each row fulfils, ``(n,)``."""
    place = np.full(len(frame), -1, dtype=np.intp)
    for number, rule in enumerate(rules):
        inside = np.ones(len(frame), dtype=bool)
        for condition in rule:
            inside &= condition.holds(frame[condition.feature])
        place[inside & (place < 0)] = number
    return place


def _cell(rows: Sequence[GroupEffect], number: int, arm: Hashable) -> GroupEffect:
    for row in rows:
        if row.group == number and row.arm == arm:
            return row
    return GroupEffect(number, arm, None, None, None, None, None, None, None, None, "small")


def _holm(chances: Sequence[float | None]) -> list[float | None]:
    order = sorted((chance, i) for i, chance in enumerate(chances) if chance is not None)
    result: list[float | None] = [None] * len(chances)
    highest = 0.0
    for rank, (chance, i) in enumerate(order):
        highest = max(highest, min(1.0, chance * (len(order) - rank)))
        result[i] = highest
    return result


@dataclass(frozen=True)
class _Words:
    """How features and numbers are called."""

    titles: Titles
    rate: bool
    unit: str

    def title(self, feature: str, chinese: bool) -> str:
        given = self.titles.get(feature, feature)
        return given if isinstance(given, str) else given[0 if chinese else 1]

    def amount(self, value: float, *, signed: bool = False) -> str:
        scaled, digits = (100 * value, 1) if self.rate else (value, 2)
        return f"{scaled:+.{digits}f}" if signed else f"{scaled:.{digits}f}"

    def unit_of(self, chinese: bool) -> str:
        if not self.rate:
            return self.unit
        return " 个百分点" if chinese else " points"

    def who(self, rule: Rule, chinese: bool) -> str:
        if not rule:
            return "全体会员" if chinese else "all members"
        parts = [condition.words(self.title(condition.feature, chinese), chinese=chinese) for condition in rule]
        return f"{' 且 '.join(parts)} 的会员" if chinese else f"members with {' and '.join(parts)}"

    def sentence(self, rule: Rule, cell: GroupEffect, share: float, chinese: bool) -> str:
        who = self.who(rule, chinese)
        if cell.suppressed or cell.effect is None:
            return f"{who}：人数太少，不予显示" if chinese else f"{who}: too few members to be shown"
        effect, unit = self.amount(cell.effect, signed=True), self.unit_of(chinese)
        between = ""
        if cell.low is not None and cell.high is not None:
            low, high = (self.amount(end) for end in (cell.low, cell.high))
            between = f"（{low} 到 {high}）" if chinese else f" ({low} to {high})"
        if chinese:
            return f"{who}：{effect}{unit}{between}，占会员的 {share:.0%}"
        return f"{who}: {effect}{unit}{between}, {share:.0%} of members"


def _described(rule: Rule, cell: GroupEffect, chance: float | None, share: float, words: _Words) -> ResponderRule:
    return ResponderRule(
        rule=quoted_rule(rule),
        conditions=rule,
        share=None if cell.suppressed else share,
        n=cell.n,
        n_arm=cell.n_arm,
        n_control=cell.n_control,
        effect=cell.effect,
        low=cell.low,
        high=cell.high,
        p_value=chance,
        suppressed=cell.suppressed,
        text_en=words.sentence(rule, cell, share, False),
        text_zh=words.sentence(rule, cell, share, True),
    )
