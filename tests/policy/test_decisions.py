from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from uplift.policy import DECISION_COLUMNS, decide, decision_schema, eligibility, read_offers, reason, send_times
from uplift.policy.wording import Case, Outcome, Speaker

ZONE = ZoneInfo("Asia/Shanghai")
AS_OF = datetime(2026, 3, 3, tzinfo=ZONE)  # a Tuesday, midnight


def local(times) -> list[str]:
    return [pd.Timestamp(t, tz="UTC").tz_convert(ZONE).strftime("%a %d %H") for t in times]


def test_schema_has_the_columns_in_order_with_effects_after_the_value() -> None:
    names = decision_schema(["conversion", "spend"]).names
    assert [name for name in names if not name.startswith("effect_")] == list(DECISION_COLUMNS)
    assert names[5:9] == ["effect_conversion", "effect_low_conversion", "effect_spend", "effect_low_spend"]


def test_send_time_follows_the_habit() -> None:
    found = send_times(
        AS_OF,
        ZONE,
        ["fri", "fri", "wed", None, "tue", "nonsense"],
        ["evening", None, "night", None, "morning", "noon"],
        [None] * 6,
    )
    # Thursday for a Friday shopper; the day before Wednesday is today; Monday for Tuesday is six days away
    assert local(found) == ["Thu 05 19", "Thu 05 10", "Tue 03 20", "Tue 03 10", "Mon 09 08", "Tue 03 12"]


def test_send_time_is_never_in_the_past_nor_after_the_offers_end() -> None:
    late = AS_OF + timedelta(hours=15)
    ends = AS_OF + timedelta(days=1, hours=12)
    gone = late + timedelta(minutes=30)
    found = send_times(late, ZONE, [None, "fri", None], [None, None, None], [None, ends, gone])
    assert local(found) == ["Wed 04 10", "Wed 04 10", "Tue 03 15"]
    everything = send_times(late, ZONE, ["wed"] * 2, ["morning"] * 2, [None, ends])
    assert all(np.datetime64(late.astimezone(UTC).replace(tzinfo=None)) <= t for t in everything)
    assert local(everything)[0] == "Tue 10 08"  # next week: this Tuesday's morning is over


def decided_world():
    offers = read_offers(
        pd.DataFrame(
            {"offer_id": ["a", "b", "c"], "eligible": [None, "orders_total >= 1", None], "quota": [None, None, 1]}
        ),
        {"orders_total": "number"},
    )
    n = 200
    rng = np.random.default_rng(0)
    features = pd.DataFrame({"orders_total": rng.integers(0, 2, n).astype(float)})
    judged = eligibility(offers, features, as_of=AS_OF)
    value = rng.normal(0.5, 1, (n, 3))
    quotas = [None, None, 1]
    decided = decide(
        [f"m{i}" for i in range(n)],
        value,
        [1.0, 1.0, 1.0],
        eligible=judged.mask,
        seed="s",
        budget=60,
        quotas=quotas,
        holdout_share=0.1,
        explore_share=0.2,
    )
    return judged, value, quotas, decided


def test_every_offer_not_given_has_a_code_that_is_true() -> None:
    judged, value, quotas, decided = decided_world()
    found = reason(decided, judged, value, quotas)
    labels = np.array(found.labels, dtype=object)[found.code]
    given = decided.offer
    for i in range(len(given)):
        for j in range(3):
            label = labels[i, j]
            if given[i] == j:
                assert label == ""
                continue
            assert label != ""
            if decided.source[i] == "holdout":
                assert label == "holdout"
            elif not judged.mask[i, j]:
                assert label == "not_eligible"
            elif decided.source[i] == "explore":
                assert label == "exploration"
            else:
                got = value[i, given[i]] if given[i] >= 0 else 0.0
                expected = "no_gain" if value[i, j] <= 0 else "lower_value" if value[i, j] <= got else "limited"
                assert ("limited" if label in ("budget", "quota") else label) == expected
    codes = set(found.member)
    assert {"holdout", "exploration", "best_value", "budget"} <= codes
    assert (found.member[decided.source == "holdout"] == "holdout").all()
    assert set(found.member[decided.source == "none"]) <= {"no_gain", "budget", "quota", "no_feasible_offer"}
    assert set(found.member[decided.source == "policy"]) <= {"best_value", "best_within_limits"}


SPEAKER = Speaker(
    [Outcome("有购买", "Bought", "share", 14), Outcome("消费金额", "Money spent", "money", 14)], currency="CNY"
)
CASES = [
    Case("best_value", ("沉睡", "Dormant"), 0.72, ("回归券", "Come-back voucher"), (0.0314, 12.5), 4.349, 2.1),
    Case("best_within_limits", ("新客", "New"), None, ("试用", "Trial"), (-0.01, -3.0), 0.5, 0.0),
    Case("exploration", ("活跃", "Active"), 0.05, ("双倍积分", "Double points"), (0.02, 1.0), 1, 1, 0.0125),
    Case("exploration", ("活跃", "Active"), None, None, (), 0, 0, 0.0125),
    Case("holdout", ("活跃", "Active")),
    Case("no_gain", ("活跃", "Active"), options=3),
    Case("budget", ("活跃", "Active"), options=3),
    Case("quota", ("活跃", "Active"), options=3),
    Case("no_feasible_offer", ("活跃", "Active"), obstacles=["cooldown", "unknown:a", "unknown:b", "forbidden"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_both_languages_say_the_same_numbers(case: Case) -> None:
    zh, en = SPEAKER.why(case)
    number = re.compile(r"[-+]?[¥]?\d[\d,.]*\d%?|\d%?")
    assert sorted(number.findall(zh)) == sorted(number.findall(en))
    assert zh.endswith("。")
    assert en.endswith(".")
    assert re.search(r"[\u4e00-\u9fff]", en) is None


def test_sentences_read_as_written() -> None:
    zh, en = SPEAKER.why(CASES[0])
    assert zh == (
        "沉睡会员，流失风险72%。发放「回归券」(预期净值最高)：14天内有购买的比例+3.1个百分点，14天内消费金额+¥12.50；"
        "扣除成本¥2.10后，预期净值¥4.35。"
    )
    assert en == (
        "Segment: dormant, churn risk 72%. Give “Come-back voucher” (the highest expected value): bought within 14 "
        "days +3.1 points, money spent within 14 days +¥12.50; expected to be worth ¥4.35 after ¥2.10 of cost."
    )


def test_money_has_its_sign_before_the_currency_and_no_negative_zero() -> None:
    assert SPEAKER.money(-1234.5) == "-¥1,234.50"
    assert SPEAKER.money(-0.001) == "¥0.00"
    assert Speaker([], "CHF").money(2) == "2.00 CHF"  # as in reports
