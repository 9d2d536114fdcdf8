"""The first wave of the coffee shop's app: ten offers against none."""

import json

import pytest
from click.testing import CliRunner

from uplift.cli import main

# bought within the wave's week against .536 without an offer; standard errors about .015
KNOWN = {
    "discount-2-10-10": 0.266, "discount-3-7-7": 0.238, "bogo-5-5-5": 0.223, "bogo-10-10-7": 0.218,
    "bogo-10-10-5": 0.212, "informational-3": 0.158, "discount-2-10-7": 0.128, "bogo-5-5-7": 0.127,
    "informational-4": 0.077, "discount-5-20-10": 0.056,
}  # fmt: skip


@pytest.fixture(scope="module")
def result(real_data, tmp_path_factory):
    source = real_data / "starbucks_offers"
    if not source.is_dir():
        pytest.skip(f"{source} is absent")
    folder = tmp_path_factory.mktemp("starbucks") / "w"
    imported = CliRunner().invoke(main, ["import", "starbucks", str(source), "--out", str(folder)])
    assert imported.exit_code == 0, imported.output
    done = CliRunner().invoke(main, ["experiment", "analyze", "wave-1", "-C", str(folder)])
    assert done.exit_code == 0, done.output
    return json.loads((folder / "reports" / "experiments" / "wave-1" / "result.json").read_text(encoding="utf-8"))


def test_ten_offers_against_none(result):
    whole = {e["arm"]: e for e in result["effects"] if e["segment"] is None and e["metric"] == "conversion"}
    assert set(whole) == set(KNOWN)
    for arm, expected in KNOWN.items():
        assert whole[arm]["raw"] == pytest.approx(expected, abs=0.002)
        assert whole[arm]["effect"] == pytest.approx(expected, abs=0.012)  # covariates move it within its error
        assert whole[arm]["low"] < expected < whole[arm]["high"]
        assert whole[arm]["p_adjusted"] < 0.05
        assert whole[arm]["control_mean"] == pytest.approx(0.536, abs=0.001)
    order = sorted(whole, key=lambda arm: -whole[arm]["raw"])
    assert order[0] == "discount-2-10-10"
    assert order[-1] == "discount-5-20-10"


def test_checks_and_family(result):
    assert result["checks"]["srm"]["passed"] is True
    assert result["checks"]["srm"]["df"] == 10
    assert result["checks"]["balance_test"]["passed"] is True
    assert result["families"]["primary"] == {
        "method": "holm", "size": 10,
        "of": "every arm against the control on the primary metric (the first goal), whole population",
    }  # fmt: skip


def test_the_family_of_the_winner_is_stated(result):
    assert result["families"]["winner"] == {
        "method": "Gutmann and Maymin (1987)", "size": 9,
        "of": "the best arm on the primary metric against every other arm, each at the full level",
    }  # fmt: skip


def test_winner_is_named_only_if_it_is_one(result):
    assert result["verdict"]["status"] == "effective"
    assert "In all, 10 arms are effective" in result["verdict"]["en"]
    assert "No single best arm: Discount: $2 on $10, 10 days and Discount: $3 on $7, 7 days" in result["verdict"]["en"]
    assert "尚不能确定" in result["verdict"]["zh"]
