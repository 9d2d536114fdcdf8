"""``uplift experiment new``: by options, by questions, and what it refuses."""

import pytest
import yaml
from click.testing import CliRunner

from uplift.cli import main
from uplift.config import ExperimentSpec, dump_yaml, parse_spec, parse_yaml, read_spec
from uplift.data.simulator import simulate


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "shop"
    simulate(folder, members=300, months=3, seed=1)
    return folder


def run(*arguments, answers=None):
    return CliRunner().invoke(main, [str(a) for a in arguments], input=answers)


def written(chain, name):
    return yaml.safe_load((chain / "experiments" / f"{name}.yaml").read_text(encoding="utf-8"))


HALVES = ("--arm", "control=1/2", "--arm", "gift=1/2", "--metric", "ordered:14")


def test_every_part_of_a_design_by_options(chain):
    done = run(
        "experiment", "new", "full", "-C", chain, *HALVES, "--cluster", "favourite_store", "--layer", "store",
        "--slice", "0-0.5", "--planned-size", 4000, "--look", "1/2", "--look", 1, "--spending", "pocock",
        "--tag", "weekend=weekend_share_365d > 0.6",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    spec = written(chain, "full")
    assert spec["looks"] == {"at": [0.5, 1.0], "spending": "pocock"}
    assert (spec["cluster"], spec["layer"], spec["layer_slice"]) == ("favourite_store", "store", [0.0, 0.5])
    assert spec["tags"][0]["rule"] == "weekend_share_365d > 0.6"


def test_questions_ask_for_what_is_missing(chain):
    answers = "none=0.4, card=0.6\nnone\nordered:7, spend\nrefunded\nthey like cards\norders_total >= 1\n\nspend_90d\n"
    answers += "segment\n2026-04-01\n2000\n会员卡\nMember card\n"
    done = run("experiment", "new", "asked", "-C", chain, "--ask", answers=answers)
    assert done.exit_code == 0, done.output
    spec = written(chain, "asked")
    assert [(arm["name"], arm["share"]) for arm in spec["arms"]] == [("none", 0.4), ("card", 0.6)]
    assert (spec["control"], spec["planned_size"], spec["hypothesis"]) == ("none", 2000, "they like cards")
    assert [(m["name"], m["window_days"], m.get("guardrail", False)) for m in spec["metrics"]] == [
        ("ordered", 7, False), ("spend", 14, False), ("refunded", 14, True)
    ]  # fmt: skip
    assert (spec["name_zh"], spec["name_en"]) == ("会员卡", "Member card")
    assert "stratify" not in spec
    assert "points_spent" in done.output
    assert "until-OUTCOME" in done.output


def test_empty_answers_take_what_is_proposed(chain):
    done = run("experiment", "new", "empty", "-C", chain, "--ask", answers="\n" * 14)
    assert done.exit_code == 0, done.output
    assert [arm["name"] for arm in written(chain, "empty")["arms"]] == ["control", "offer"]


def test_without_a_terminal_nothing_is_asked(chain):
    done = run("experiment", "new", "silent", "-C", chain)
    assert done.exit_code == 2
    assert "--ask asks for them" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cluster", "favorite_store"), "did you mean 'favourite_store'"),
        (("--tag", "weekend"), "expected NAME=RULE"),
        (("--tag", "weekend=weekend_shar > 1"), "tag 'weekend'"),
        (("--look", "1/2", "--look", "1"), "planned_size"),
        (("--layer", "store", "--slice", "0.5-0.2"), "rising shares"),
        (("--slice", "0-0.5"), "without a layer"),
    ],
)
def test_designs_that_cannot_be(chain, options, message):
    done = run("experiment", "new", "wrong", "-C", chain, *HALVES, *options)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not (chain / "experiments" / "wrong.yaml").exists()


def test_a_slice_that_is_taken_is_refused_before_anything_is_written(chain):
    first = run("experiment", "new", "one", "-C", chain, *HALVES, "--layer", "app", "--slice", "0-0.6")
    assert first.exit_code == 0, first.output
    second = run("experiment", "new", "two", "-C", chain, *HALVES, "--layer", "app", "--slice", "0.5-1")
    assert second.exit_code == 2
    assert "overlaps [0, 0.6] of 'one'" in second.output


def test_every_kind_of_metric_by_short_texts(chain):
    done = run(
        "experiment", "new", "kinds", "-C", chain, *HALVES, "--metric", "spend/orders:30", "--metric", "ordered:15-60",
        "--metric", "until-ordered:30", "--metric", "ordered:30", "--guardrail", "margin", "--guardrail", "refunded",
        "--margin", "margin=2", "--winsorize", "spend_per_orders=0.99",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = {m["name"]: m for m in written(chain, "kinds")["metrics"]}
    assert list(found) == [
        "ordered", "spend_per_orders", "ordered_15_to_60", "until_ordered", "ordered_30", "margin", "refunded"
    ]  # fmt: skip
    assert found["spend_per_orders"]["denominator"] == "orders"
    assert found["spend_per_orders"]["winsorize"] == 0.99
    assert (found["ordered_15_to_60"]["kind"], found["ordered_15_to_60"]["from_days"]) == ("retention", 14)
    assert (found["until_ordered"]["kind"], found["until_ordered"]["goal"]) == ("time", "decrease")
    assert (found["margin"]["margin"], found["refunded"]["goal"]) == (2.0, "decrease")


def test_what_is_written_holds_nothing_empty_and_reads_back_to_the_same(chain):
    done = run("experiment", "new", "short", "-C", chain, *HALVES)
    text = (chain / "experiments" / "short.yaml").read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if line.endswith(("null", "''", "[]", "false"))]
    spec = read_spec(chain / "experiments" / "short.yaml", ExperimentSpec)
    assert spec.shares == {"control": 0.5, "gift": 0.5}
    assert parse_spec(parse_yaml(dump_yaml(spec), "again"), ExperimentSpec, "again") == spec
    assert "arm 'gift' gives no offer of the table offers" in done.output


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("--metric", "orderd", "--metric", "spend/ordrs", "--metric", "x y", "--margin", "ordered=2x"),
         ("did you mean 'ordered'", "did you mean 'orders'", "expected OUTCOME[:DAYS]", "'2x' is not a number")),
        (("--margin", "spnd=2"), ("expected METRIC=NUMBER",)),
        (("--margin", "ordered=2"), ("a margin is for a guardrail",)),
        (("--arm", "third=1/2"), ("add up to 1.5, not to 1",)),
        (("--control", "none"), ("the control 'none' is not among the arms",)),
        (("--starts", "2026-05-01", "--ends", "2026-04-01"), ("would end (2026-04-01) before it starts",)),
    ],
)  # fmt: skip
def test_mistakes_get_short_messages(chain, arguments, messages):
    done = run("experiment", "new", "wrong", "-C", chain, *HALVES, *arguments)
    assert done.exit_code == 2
    assert [text for text in messages if text not in done.output] == []
    assert "Value error" not in done.output
    assert len(done.output) < 600
    assert not (chain / "experiments" / "wrong.yaml").exists()


def test_a_file_that_cannot_be_read_does_not_hide_the_others(chain):
    assert run("experiment", "new", "kept", "-C", chain, *HALVES).exit_code == 0
    path = chain / "experiments" / "torn.yaml"
    path.write_text("id: torn\ncontrol: none\n", encoding="utf-8")
    done = run("experiment", "list", "-C", chain)
    path.unlink()
    assert done.exit_code == 0, done.output
    assert "kept" in done.output
    assert "cannot be read" in done.output
    assert "arms: is required" in done.output


def test_shares_are_written_as_people_write_them(chain):
    arms = ["--arm", "control=1/3", "--arm", "gift=0.3333333333333333", "--arm", "card=1/3"]
    run("experiment", "new", "thirds", "-C", chain, *arms, "--metric", "ordered", "--no-ask")
    text = (chain / "experiments" / "thirds.yaml").read_text(encoding="utf-8")
    assert text.count("share: 1/3") == 3
    assert set(read_spec(chain / "experiments" / "thirds.yaml", ExperimentSpec).shares.values()) == {1 / 3}
    arms = ["--arm", "control=0.123456789", "--arm", "gift=0.876543211"]
    run("experiment", "new", "odd", "-C", chain, *arms, "--metric", "ordered", "--no-ask")
    assert "share: 0.123456789" in (chain / "experiments" / "odd.yaml").read_text(encoding="utf-8")
