"""The table of proofs: complete, holding, and the page what its source says."""

from __future__ import annotations

import ast

import proof_table
import pytest
from proof_rows import NOT_YET, PARTS, ROWS
from proof_table import ROOT, load, ordered, render

OPEN = pytest.mark.xfail(strict=True, reason="not yet proved: listed in NOT_YET of tests/support/proof_rows.py")


@pytest.mark.parametrize("row", [pytest.param(row, marks=OPEN if row in NOT_YET else ()) for row in ROWS])
def test_every_claim_has_a_proof(row):
    """A new claim needs a test that records it and a run of ``make proofs``."""
    assert row in {found["row"] for found in load()}


def test_everything_recorded_holds():
    assert [found for found in load() if not found["holds"]] == []


def test_the_page_is_what_its_source_says():
    assert proof_table.PAGE.read_text(encoding="utf-8") == render(load())
    assert load() == ordered(load())


def test_every_recorded_test_still_exists():
    names = {}
    for found in load():
        path, _, test = found["test"].partition("::")
        if path not in names:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            names[path] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test.partition("[")[0] in names[path], f"{found['test']} is gone: run make proofs"


def test_ids_are_in_the_order_of_their_parts():
    parts = [row.partition("/")[0] for row in ROWS]
    assert list(dict.fromkeys(parts)) == list(PARTS)
    assert parts == sorted(parts, key=list(PARTS).index)
    assert set(ROWS) >= NOT_YET


def test_a_failed_test_proves_nothing_and_others_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(proof_table, "SOURCE", tmp_path / "proofs.json")
    monkeypatch.setattr(proof_table, "PAGE", tmp_path / "proofs.md")
    row = {"row": "metrics/ties", "quantity": "q", "method": "m", "target": "t", "figure": "f"}
    row |= {"holds": True, "planted": False}

    def run(keep, *tests, outcome="passed"):
        table = proof_table.ProofTable(keep=keep)
        for test in tests:
            table.pytest_runtest_logreport(
                pytest.TestReport(test, ("", 0, ""), {}, outcome, None, "call", user_properties=[("proof", row)])
            )
        table.pytest_sessionfinish(pytest.ExitCode.OK)
        return {found["test"]: found["holds"] for found in load()}

    assert run(False, "a", "b") == {"a": True, "b": True}
    assert run(True, "b", outcome="failed") == {"a": True, "b": False}
    assert run(True, "c") == {"a": True, "b": False, "c": True}
    assert run(False, "c") == {"c": True}
    assert "DOES NOT HOLD" in render([{**row, "holds": False, "test": "a"}])
