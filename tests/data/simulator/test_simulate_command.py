"""``uplift simulate`` parses, calls, prints; and refuses what it cannot do with a message and exit status 2."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from uplift.cli import main
from uplift.data.simulator import DEFAULT_END


def run(*arguments: str):
    return CliRunner().invoke(main, ["simulate", *arguments])


def test_makes_a_workspace_and_says_where_to_go_on(tmp_path):
    result = run(str(tmp_path / "chain"), "--members", "60", "--months", "3", "--industry", "beauty", "--seed", "2")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "chain" / "uplift.yaml").is_file()
    assert f"--as-of {DEFAULT_END}" in result.stdout
    assert "uplift check -C" in result.stdout
    assert "60 of 60 members" in result.stderr


def test_for_machines(tmp_path):
    result = run(str(tmp_path / "chain"), "--members", "40", "--months", "3", "--json")
    made = json.loads(result.stdout)
    assert made["members"] == made["rows"]["data/members"] == 40
    assert made["as_of"] == f"{DEFAULT_END}T00:00:00+08:00"
    assert made["experiments"][-1].startswith("campaign-2026-")
    assert made["orders"] == made["rows"]["data/orders"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--members", "0", "--months", "3"], "members must lie between"),
        (["--members", "ten", "--months", "3"], "not a valid integer"),
        (["--members", "10"], "Missing option '--months'"),
        (["--members", "10", "--months", "3", "--industry", "grocer"], "did you mean 'grocery'"),
        (["--members", "-5", "--months", "1"], "months must lie between"),
    ],
)
def test_wrong_input_is_a_message(tmp_path, arguments, message):
    result = run(str(tmp_path / "chain"), *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "chain").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "report.docx").write_text("x")
    result = run(str(tmp_path), "--members", "10", "--months", "3")
    assert result.exit_code == 2
    assert "report.docx" in result.stderr
