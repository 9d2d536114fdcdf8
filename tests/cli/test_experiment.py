"""``uplift experiment`` at the prompt: help, a flat table with money and costs, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from uplift.cli import main


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    found = pd.DataFrame({"arm": rng.choice(["none", "mail"], 3000)})
    mailed = (found["arm"] == "mail").to_numpy()
    found["bought"] = rng.binomial(1, np.where(mailed, 0.35, 0.25))
    found["spend"] = found["bought"] * rng.gamma(2, 20, 3000)
    path = tmp_path_factory.mktemp("flat") / "spring.csv"
    found.to_csv(path, index=False)
    return path


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["experiment", *map(str, arguments)])


def flat(table: Path, out: Path, *more: str) -> Result:
    given = ("--data", table, "--arm", "arm", "--control", "none", "--metric", "bought", "--metric", "spend")
    return run("analyze", *given, "--out", out, *more)


def test_help_fits_its_lines() -> None:
    text = run("--help").output
    assert "..." not in text.split("Commands:")[1], "a command's line must not be cut"


def test_without_money_gains_are_counted_in_members(table: Path, tmp_path: Path) -> None:
    done = flat(table, tmp_path, "--json")
    action = json.loads(done.stdout)["actions"][0]
    assert (action["kind"], action["metric"], action["unit"]) == ("roll_out", "bought", "members")


def test_with_money_gains_are_in_money_and_costs_are_taken_off(table: Path, tmp_path: Path) -> None:
    free = json.loads(flat(table, tmp_path / "a", "--json", "--money", "spend=CNY").stdout)
    paid = flat(table, tmp_path / "b", "--json", "--money", "spend=CNY", "--cost", "mail=1.5")
    action = json.loads(paid.stdout)["actions"][0]
    assert (action["metric"], action["unit"], action["currency"], action["cost"]) == ("spend", "money", "CNY", 1.5)
    assert action["gain"] == pytest.approx(free["actions"][0]["gain"] - 1.5)
    page = (tmp_path / "b" / "report.zh.html").read_text(encoding="utf-8")
    assert "金额为期望值" in page
    assert "<h1>spring</h1>" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cost", "mail=1.5"), "--money METRIC=CURRENCY"),
        (("--money", "spend=CNY", "--cost", "mial=1.5"), "did you mean 'mail'"),
        (("--money", "spnd=CNY"), "did you mean 'spend'"),
        (("--covariate", "befor"), "no column 'befor'"),
    ],
)
def test_mistakes_in_a_flat_table_get_a_message(table: Path, tmp_path: Path, options: Any, message: str) -> None:
    done = flat(table, tmp_path / "out", *options)
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "out" / "result.json").exists()


def test_options_of_a_flat_table_are_refused_with_an_id(tmp_path: Path) -> None:
    done = run("analyze", "spring", "-C", tmp_path, "--cost", "a=1", "--min-cell", 20)
    assert done.exit_code == 2
    assert "--min-cell, --cost: for a flat table only" in done.output


def test_an_invalid_result_is_written_and_ends_with_status_3(table: Path, tmp_path: Path) -> None:
    done = flat(table, tmp_path, "--share", "none=0.7", "--share", "mail=0.3")
    assert done.exit_code == 3
    assert "Invalid: the sizes of the arms differ" in done.output
    assert "先查清原因" in (tmp_path / "report.zh.html").read_text(encoding="utf-8")
