import pytest

from uplift.reports import render_experiment

ACTION = {"zh": "建议推广 gift：预计每人 +1.20 CNY。", "en": "Roll out gift: +1.20 CNY a member expected."}


def looked(rule, **more):
    given = {"rule": rule, "size": 400, "planned": 1000, "critical": 3.6, "next_size": 500}
    return {"visit": given | more}


@pytest.mark.parametrize(("language", "heading"), [("zh", "下一步"), ("en", "What next")])
def test_what_to_do_next_stands_under_the_verdict(result, language, heading):
    page = render_experiment({**result, "actions": [ACTION]}, language)
    assert ACTION[language] in page
    assert page.index(heading) < page.index(ACTION[language])


@pytest.mark.parametrize(
    ("status", "zh", "en"),
    [("invalid", "先查清原因", "Find the cause first"), ("too_early", "再等一等", "Wait: analyse again")],
)
def test_where_nothing_can_be_recommended_it_says_what_to_do(result, status, zh, en):
    bare = {**result, "verdict": {**result["verdict"], "status": status}, "actions": []}
    assert zh in render_experiment(bare, "zh")
    assert en in render_experiment(bare, "en")


@pytest.mark.parametrize(
    ("unit", "zh", "en"),
    [
        ("money", "金额为期望值，已扣除优惠成本", "Amounts are expected values, net of"),
        ("members", "增益按会员人数计，没有扣除优惠成本", "gains are counted in members, and costs are not taken off"),
        ("orders", "增益按订单数计", "counted in orders"),
        ("visits", "增益按到店次数计", "counted in visits"),
    ],
)
def test_the_line_under_an_action_speaks_of_its_unit(result, unit, zh, en):
    given = {**result, "actions": [{**ACTION, "unit": unit, "gain": 1.2}]}
    assert zh in render_experiment(given, "zh")
    assert en in render_experiment(given, "en")
    if unit != "money":
        assert "金额为期望值" not in render_experiment(given, "zh")
        assert "Amounts" not in render_experiment(given, "en")


@pytest.mark.parametrize(
    ("rule", "words"),
    [("sequence", "may be read every day"), ("look", "one of the looks"), ("between", "nothing is concluded")],
)
def test_a_running_experiment_says_how_to_take_its_intervals(result, rule, words):
    metrics = [{"name": "visit", "role": "primary", "kind": "rate"}]
    running = {**result, "metrics": metrics, "design": {**result["design"], "looks": looked(rule)}}
    page = render_experiment(running, "en")
    assert words in page
    assert "40%" in page
    done = {**result, "metrics": metrics, "design": {**result["design"], "looks": looked("final")}}
    assert words not in render_experiment(done, "en")
