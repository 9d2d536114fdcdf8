"""What every command shares."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from uplift.cli import COMMANDS, main
from uplift.cli._base import common_options
from uplift.errors import ConfigError, ContractError, GateError, Problem, UpliftError, unknown_name


def test_help_fits_one_screen_and_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) <= 40
    for name in COMMANDS:
        assert f"\n  {name} " in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_its_line_of_help_is_true(name: str) -> None:
    module, attribute, _ = COMMANDS[name]
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output


def test_help_answers_without_loading_the_library() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from uplift.cli import main; "
        "CliRunner().invoke(main, ['--help']); "
        "print([m for m in ('pandas', 'mlflow', 'lightgbm', 'duckdb', 'causalml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("demo", "simulate", "import", "score")])
def test_outside_a_workspace_a_person_is_told_what_to_do(name: str, tmp_path: Path) -> None:
    arguments = {
        "features": ["features", "--as-of", "2026-01-01"],
        "segments": ["segments", "--as-of", "2026-01-01"],
        "audience": ["audience", "orders_total > 1"],
        "train": ["train", "churn"],
        "models": ["models", "list"],
        "recommend": ["recommend", "--as-of", "2026-01-01"],
        "packs": ["packs", "show", "nothing-like-this"],
        "experiment": ["experiment", "list"],
        "report": ["report", "build"],
    }.get(name, [name])
    result = CliRunner().invoke(main, [*arguments, "-C", str(tmp_path)])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "uplift:" in result.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConfigError("wrong"), 2), (GateError("not passed"), 3), (UpliftError("inside"), 1), (RuntimeError("bug"), 1)],
)
def test_errors_are_messages_with_a_status(error: Exception, status: int) -> None:
    @click.command()
    @common_options
    def command(workspace_dir: str, as_json: bool) -> None:
        raise error

    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == status
    assert "Traceback" not in result.output
    assert str(error) in json.loads(result.stdout)["message"]


def test_common_options_may_stand_before_the_command() -> None:
    seen: dict[str, object] = {}

    @click.group()
    @click.option("-C", "workspace_dir")
    @click.option("--json", "as_json", is_flag=True)
    def group(workspace_dir: str, as_json: bool) -> None:
        pass

    @group.command()
    @common_options
    def inner(workspace_dir: str, as_json: bool) -> None:
        seen.update(workspace_dir=workspace_dir, as_json=as_json)

    CliRunner().invoke(group, ["-C", "there", "--json", "inner"], catch_exceptions=False)
    assert seen == {"workspace_dir": "there", "as_json": True}
    CliRunner().invoke(group, ["inner", "-C", "here"], catch_exceptions=False)
    assert seen == {"workspace_dir": "here", "as_json": False}


def test_a_contract_error_lists_every_problem() -> None:
    problems = [
        Problem("orders", "amount", "not_a_number", "text in a number", 3, ("abc",), "give cents"),
        Problem("members", None, "missing_table", "is not there"),
    ]
    message = str(ContractError(problems))
    assert "orders.amount: text in a number (3 rows), e.g. abc → give cents" in message
    assert "members: is not there" in message


def test_a_misspelt_name_gets_a_suggestion_and_a_strange_one_the_list() -> None:
    assert "did you mean 'voucher'?" in str(unknown_name("offer", "vuocher", ["voucher", "gift"]))
    assert "known: voucher, gift" in str(unknown_name("offer", "zzz", ["voucher", "gift"]))
