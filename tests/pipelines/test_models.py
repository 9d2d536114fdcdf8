"""The registry's commands, on a real MLflow store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from uplift.config import UpliftSpec, Workspace
from uplift.pipelines import train_uplift
from uplift.pipelines.models import ModelView
from uplift.pipelines.train_churn import train_churn
from uplift.tracking import Run, open_registry

# MLflow and SQLAlchemy warn their own developers on import and when a connection is collected
pytestmark = pytest.mark.filterwarnings("ignore")

Call = Callable[..., Any]
PARAMS = {
    "rows_train": 900,
    "rows_held_out": 300,
    "arms": 2,
    "learner": "DR",
    "candidates": "S, DR",
    "value_outcome": "margin",
}


@pytest.fixture(scope="module")
def versions(chain: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Churn in three versions: the first serves, the second may, the third failed its gate."""
    folder = tmp_path_factory.mktemp("versions") / "chain"
    shutil.copytree(chain.root, folder)
    workspace = Workspace.open(folder)
    path = workspace.models / "churn.yaml"
    spec = yaml.safe_load(path.read_text())
    for change in ({"seed": 0}, {"seed": 1}, {"seed": 2, "gate_auc_over_recency": 0.9}):
        path.write_text(yaml.safe_dump({**spec, **change}))
        train_churn(workspace)
    path.write_text(yaml.safe_dump(spec))
    return workspace


def rows(call: Call, workspace: Workspace, *more: str) -> dict[tuple[str, int], str]:
    found = call("--json", "-C", workspace.root, "models", "list", *more).json["models"]
    return {(row["name"], row["version"]): row["aliases"] for row in found}


def test_list(versions: Workspace, call: Call) -> None:
    assert rows(call, versions) == {
        ("churn", 1): "champion",
        ("churn", 2): "",
        ("churn", 3): "challenger",
    }
    assert set(rows(call, versions, "churn")) == {("churn", 1), ("churn", 2), ("churn", 3)}
    gates = {row["version"]: row["gate_passed"] for row in
             call("--json", "-C", versions.root, "models", "list", "churn").json["models"]}  # fmt: skip
    assert gates == {1: True, 2: True, 3: False}
    assert "gate_passed" in call("-C", versions.root, "models", "list").out


def test_show(versions: Workspace, call: Call) -> None:
    shown = call("--json", "-C", versions.root, "models", "show", "churn").json
    assert (shown["version"], shown["spec"]["horizon_days"]) == (1, 30), "the champion unless a version is named"
    assert shown["metrics"]["auc"] > shown["metrics"]["recency_rule.auc"]
    text = call("-C", versions.root, "models", "show", "churn", "--version", "3").out
    assert "version 3" in text
    assert "gate: not passed" in text
    assert "AUC over the baseline" in text
    missing = call("-C", versions.root, "models", "show", "churn", "--version", "9")
    assert (missing.status, "no version 9" in missing.error) == (2, True)
    unknown = call("-C", versions.root, "models", "show", "chrun")
    assert unknown.status == 2
    assert "chrun" in unknown.error


def test_a_failed_gate_keeps_the_champion_and_exits_3(versions: Workspace, call: Call) -> None:
    before = rows(call, versions)
    for named in ((), ("--version", "3")):
        done = call("-C", versions.root, "models", "promote", "churn", *named)
        assert done.status == 3
        assert "AUC over the baseline" in done.error
    assert rows(call, versions) == before


def test_promote_then_roll_back(versions: Workspace, call: Call) -> None:
    none = call("-C", versions.root, "models", "rollback", "churn")
    assert (none.status, "no earlier champion" in none.error) == (2, True)
    done = call("--json", "-C", versions.root, "models", "promote", "churn", "--version", "2")
    assert done.json == {"name": "churn", "version": 2}
    registry = open_registry(versions)
    champion = registry.champion("churn")
    assert champion is not None
    assert champion.version == 2
    assert registry.audit()[-1]["from"] == 1
    back = call("-C", versions.root, "models", "rollback", "churn")
    assert "version 1 serves again" in back.out
    assert "champion" in rows(call, versions)[("churn", 1)]


def test_sync_delivers_each_run_once(versions: Workspace, call: Call) -> None:
    assert "nothing was waiting" in call("-C", versions.root, "models", "sync").out
    before = rows(call, versions)
    registry = open_registry(versions)
    key = next(v.key for v in registry.versions("churn") if v.version == 2)
    (versions.runs / key / "delivered.json").unlink()  # as after a crash between delivery and its record
    done = call("--json", "-C", versions.root, "models", "sync").json["delivered"]
    assert [(row["key"], row["version"]) for row in done] == [(key, 2)]
    assert set(rows(call, versions)) == set(before), "no version was made anew"


def test_a_store_that_does_not_answer(chain: Workspace, copy_of: Callable[[Workspace], Workspace], call: Call) -> None:
    """Training ends well; ``sync`` says what waits with exit status 3, and delivers when the store is back."""
    workspace = copy_of(chain)
    config = workspace.root / "uplift.yaml"
    kept = config.read_text()
    config.write_text(yaml.safe_dump({**yaml.safe_load(kept), "tracking": "http://127.0.0.1:9"}))
    done = call("--json", "-C", workspace.root, "train", "churn").json
    assert done["version"] is None
    assert "uplift models sync" in done["note"]
    late = call("-C", workspace.root, "models", "sync")
    assert (late.status, "1 run(s) still wait" in late.error) == (3, True)
    config.write_text(kept)
    assert [row["version"] for row in call("--json", "-C", workspace.root, "models", "sync").json["delivered"]] == [1]
    assert "nothing was waiting" in call("-C", workspace.root, "models", "sync").out


def test_before_anything_was_trained(chain: Workspace, copy_of: Callable[[Workspace], Workspace], call: Call) -> None:
    workspace = copy_of(chain)
    assert call("--json", "-C", workspace.root, "models", "list").json == {"models": []}
    for command in ("show", "promote"):
        done = call("-C", workspace.root, "models", command, "churn")
        assert done.status == 2
        assert "`uplift train churn` makes one" in done.error
    assert call("-C", workspace.root, "models", "rollback", "churn").status == 2


def test_the_audit_log_names_no_one(versions: Workspace) -> None:
    lines = (versions.runs / "aliases.jsonl").read_text().splitlines()
    assert len(lines) >= 4
    for line in lines:
        assert set(json.loads(line)) == {"at", "name", "alias", "version", "from", "key", "reason"}
    assert not list(Path(versions.runs).glob(".writing-*"))


def test_gains_of_a_model_are_shown_in_money() -> None:
    """They are logged in cents."""
    spec = UpliftSpec().model_dump(mode="json")
    metrics = {"policy.gain": 137.2, "policy.gain_se": 182.0, "outcome.mean": 0.25}
    run = SimpleNamespace(metrics=metrics, gate={"passed": True, "reasons_en": ["fine"]}, spec=spec, params=PARAMS)
    version: Any = SimpleNamespace(name="uplift", version=1, aliases=("champion",), digest="0" * 64)
    local: Any = SimpleNamespace(run=run)
    text = ModelView(version, local, "CNY").text()
    assert "policy.gain = +¥1.37 ± ¥1.82\n" in text
    assert "policy.gain_se" not in text
    assert "outcome.mean = 0.25\n" in text
    run.tags = {"verdict": "no evidence"}
    metrics |= {"policy.best_single_gain": 20.0, "policy.over_single": 117.2, "policy.over_single_se": 90.0}
    told = train_uplift._lines(cast(Run, run), "CNY")[-1]
    assert told == (
        "margin per member against nobody: +¥1.37 ± ¥1.82; best single offer for all: +¥0.20; difference +¥1.17 ± ¥0.90"
    )
