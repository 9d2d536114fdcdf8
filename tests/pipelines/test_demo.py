"""The main job end to end, twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from uplift.config import Workspace
from uplift.errors import InputError
from uplift.pipelines.demo import demo
from uplift.tracking import open_registry

# MLflow and SQLAlchemy warn their own developers on import and when a connection is collected
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def tree(folder: Path) -> dict[str, str]:
    """Every file with its digest."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_leads_from_tables_to_decisions_and_pages(demonstrated: Any) -> None:
    folder = demonstrated.folder
    said = demonstrated.demo
    assert Path(said.report) == folder / "reports" / "index.html"
    assert Path(said.report).is_file()
    assert (Path(said.decisions) / "manifest.json").is_file(), "the path that is printed is there"
    manifest = json.loads((Path(said.decisions) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["rows"] == 1500
    assert {model["name"] for model in manifest["models"]} == {"churn", "uplift"}
    members = pq.read_table(folder / "data" / "members.parquet").num_rows
    assert members == 1500
    experiments = sorted(path.stem for path in (folder / "experiments").glob("*.yaml"))
    assert len(experiments) >= 2
    for name in experiments:
        assert (folder / "reports" / "experiments" / name / "result.json").is_file()
    text = said.text()
    for part in ("AUC", "learned from", "decisions", said.report, said.decisions, "mlflow/serve.sh"):
        assert part in text
    assert (folder / "models" / "uplift.yaml").read_bytes() == (demonstrated.specs / "uplift.yaml").read_bytes()


def test_a_second_run_finds_everything_done(demonstrated: Any) -> None:
    folder = demonstrated.folder
    kept = ("data", "decisions", "experiments", "runs", "truth", "models")
    before = {name: tree(folder / name) for name in kept}
    pages = tree(folder / "reports")
    current = (folder / "decisions" / "CURRENT").read_text()
    registry = open_registry(Workspace.open(folder))
    versions = [(v.name, v.version, v.aliases) for v in registry.versions()]
    again = demonstrated.again()
    assert {name: tree(folder / name) for name in kept} == before
    assert tree(folder / "reports") == pages, "the same pages to the byte"
    assert (folder / "decisions" / "CURRENT").read_text() == current
    assert [(v.name, v.version, v.aliases) for v in registry.versions()] == versions
    assert [v[:2] for v in versions] == [("churn", 1), ("uplift", 1)]
    assert again.decisions == demonstrated.demo.decisions
    assert again.text().count("trained before") == 2


def test_another_simulation_or_foreign_content_is_refused(demonstrated: Any, tmp_path: Path) -> None:
    before = tree(demonstrated.folder / "data")
    with pytest.raises(InputError, match=r"another simulation \(1500 members, 3 months, seed 0\): remove it"):
        demo(demonstrated.folder, members=1600)
    with pytest.raises(InputError, match="another simulation"):
        demo(demonstrated.folder, members=1500, seed=7)
    assert tree(demonstrated.folder / "data") == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and holds no simulation"):
        demo(tmp_path, members=1000)
    assert tree(tmp_path).keys() == {"thesis.txt"}


def test_refusals_at_the_prompt(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert call("demo", "--out", tmp_path).status == 2
    few = call("demo", "--out", tmp_path / "new", "--members", "10")
    assert few.status == 2
    assert "1000" in few.error
    assert not (tmp_path / "new").exists()
