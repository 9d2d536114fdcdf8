import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import _jobs
from benchmarks._jobs import Job, Outcome, Predicted, load_outcome, run_jobs, save_outcome, work
from benchmarks._settings import NotApplicableError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_jobs, "ROOT", tmp_path)
    return tmp_path


def job(method: str) -> Job:
    return Job("task", 0, method, "data.npz", f"out/{method}.npz")


def explode(data: object) -> Predicted:
    raise RuntimeError("of no use\nhere")


def refuse(data: object) -> Predicted:
    raise NotApplicableError("money is not for me")


METHODS = {
    "good": lambda data: Predicted(np.ones((3, 2)), "as it is"),
    "explodes": explode,
    "refuses": refuse,
    "missing": lambda data: Predicted(np.full((3, 2), np.nan)),
}


def test_a_failing_method_is_a_result_and_the_others_go_on(root: Path) -> None:
    listed = root / "jobs.json"
    names = ["explodes", "unknown", "refuses", "missing", "good"]
    listed.write_text(json.dumps([vars(job(name)) for name in names]), encoding="utf-8")
    work(listed, METHODS, lambda job: None)
    left = {name: load_outcome(root / "out" / f"{name}.npz") for name in names}
    assert left["explodes"].failed == "RuntimeError: of no use here"
    assert left["unknown"].failed.startswith("KeyError")
    assert left["refuses"].not_applicable == "money is not for me"
    assert "missing or infinite" in left["missing"].failed
    assert left["good"].effects is not None
    assert left["good"].effects.shape == (3, 2)
    assert left["good"].note == "as it is"


def test_a_process_that_dies_is_a_result_for_each_job_it_left(root: Path) -> None:
    python = root / "python"
    python.write_text("#!/bin/sh\necho out of memory >&2\nexit 3\n", encoding="utf-8")
    python.chmod(0o755)
    save_outcome(root / job("good").out, Outcome(np.zeros((1, 1)), 1.0))
    run_jobs(python, "nothing", [job("good"), job("explodes"), job("refuses")])
    for name in ("explodes", "refuses"):
        assert load_outcome(root / job(name).out).failed == "its process ended with code 3: out of memory"
    assert load_outcome(root / job("good").out).failed == "", "what is there is not done again"
