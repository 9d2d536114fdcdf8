"""``uplift experiment new``: by options, by questions, and what it refuses."""

import pytest
import yaml
from click.testing import CliRunner

from uplift.cli import main
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
    answers += "segment\n2026-04-01\n2000\n"
    done = run("experiment", "new", "asked", "-C", chain, "--ask", answers=answers)
    assert done.exit_code == 0, done.output
    spec = written(chain, "asked")
    assert [(arm["name"], arm["share"]) for arm in spec["arms"]] == [("none", 0.4), ("card", 0.6)]
    assert (spec["control"], spec["planned_size"], spec["hypothesis"]) == ("none", 2000, "they like cards")
    assert [(m["name"], m["window_days"], m["guardrail"]) for m in spec["metrics"]] == [
        ("ordered", 7, False), ("spend", 14, False), ("refunded", 14, True)
    ]  # fmt: skip
    assert spec["stratify"] == []


def test_empty_answers_take_what_is_proposed(chain):
    done = run("experiment", "new", "empty", "-C", chain, "--ask", answers="\n" * 12)
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
