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
    assert heading not in render_experiment({**result, "actions": []}, language)


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
