"""The registry's behaviour, on the store in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from uplift.config import Workspace
from uplift.errors import GateError, InputError
from uplift.tracking import MemoryBackend, Registry, Run, TrackingUnavailableError

MakeRun = Callable[..., Run]
Saver = Callable[..., Callable[[Path], None]]


def test_the_first_model_that_passes_its_gate_becomes_champion(
    workspace: Workspace, make_run: MakeRun, saver: Saver
) -> None:
    registry = Registry(workspace, MemoryBackend())
    registered = registry.record(make_run(), saver())
    assert (registered.version, registered.alias, registered.repeated) == (1, "champion", False)
    champion = registry.champion("churn")
    assert champion is not None
    assert champion.version == 1
    assert (champion.folder / "booster.txt").read_text() == "a model"


def test_the_first_model_that_fails_its_gate_serves_nobody(
    workspace: Workspace, make_run: MakeRun, saver: Saver
) -> None:
    registry = Registry(workspace, MemoryBackend())
    assert registry.record(make_run(passed=False), saver()).alias == "challenger"
    assert registry.champion("churn") is None
    with pytest.raises(GateError, match="AUC below the recency rule"):
        registry.promote("churn")


def test_a_rerun_is_found_and_not_repeated(workspace: Workspace, make_run: MakeRun, saver: Saver) -> None:
    backend = MemoryBackend()
    registry = Registry(workspace, backend)
    registry.record(make_run(), saver())
    again = registry.record(make_run(), saver("never written"))
    assert again.repeated
    assert len(backend.versions()) == 1


def test_promote_and_roll_back_are_logged(workspace: Workspace, make_run: MakeRun, saver: Saver) -> None:
    registry = Registry(workspace, MemoryBackend())
    registry.record(make_run("churn-1"), saver("one"))
    assert registry.record(make_run("churn-2"), saver("two")).alias == "challenger"
    assert registry.promote("churn").version == 2
    assert registry.rollback("churn").version == 1
    moves = [(e["alias"], e["version"]) for e in registry.audit()]
    assert moves == [("challenger", 1), ("champion", 1), ("challenger", 2), ("champion", 2), ("champion", 1)]


def test_rolling_back_without_history_says_so(workspace: Workspace, make_run: MakeRun, saver: Saver) -> None:
    registry = Registry(workspace, MemoryBackend())
    registry.record(make_run(), saver())
    with pytest.raises(InputError, match="no earlier champion"):
        registry.rollback("churn")


def test_a_silent_store_loses_nothing_and_sync_delivers_once(
    workspace: Workspace, make_run: MakeRun, saver: Saver
) -> None:
    backend = MemoryBackend(available=False)
    registry = Registry(workspace, backend)
    registered = registry.record(make_run(), saver())
    assert registered.version is None
    assert "models sync" in registered.note
    backend.available = True
    assert [r.version for r in registry.sync()] == [1]
    assert registry.sync() == []
    assert len(backend.versions()) == 1


def test_a_job_runs_on_with_the_last_champion_while_the_store_is_silent(
    workspace: Workspace, make_run: MakeRun, saver: Saver
) -> None:
    backend = MemoryBackend()
    registry = Registry(workspace, backend)
    registry.record(make_run(), saver())
    backend.available = False
    champion = registry.champion("churn")
    assert champion is not None
    assert champion.version == 1
    with pytest.raises(TrackingUnavailableError):
        registry.champion("uplift")


def test_a_changed_local_model_is_fetched_anew(workspace: Workspace, make_run: MakeRun, saver: Saver) -> None:
    class Copying(MemoryBackend):
        def fetch(self, version: object, into: Path) -> Path:
            saver()(into / "model")
            return into / "model"

    registry = Registry(workspace, Copying())
    registry.record(make_run(), saver())
    pinned = registry.champion("churn")
    assert pinned is not None
    (pinned.folder / "booster.txt").write_text("tampered")
    again = registry.champion("churn")
    assert again is not None
    assert again.folder != pinned.folder
    assert (again.folder / "booster.txt").read_text() == "a model"


@pytest.mark.parametrize(("name", "message"), [("chrun", "did you mean 'churn'"), ("uplift", "no version")])
def test_unknown_models_are_named(workspace: Workspace, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Registry(workspace, MemoryBackend()).promote(name)
