"""A tiny workspace and a tiny run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from uplift.config import Workspace
from uplift.tracking import Run

MODEL_TEXT = "a model"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "uplift.yaml").write_text("data: data/\n")
    return Workspace.open(tmp_path)


@pytest.fixture
def make_run() -> Callable[..., Run]:
    return _run


@pytest.fixture
def saver() -> Callable[..., Callable[[Path], None]]:
    return _saver


def _run(key: str = "churn-1", name: str = "churn", *, passed: bool = True) -> Run:
    return Run(
        name=name,
        key=key,
        params={"seed": 0},
        metrics={"auc": 0.8},
        curves={"reliability": [0.1, 0.2, 0.3]},
        artifacts={"importance.csv": "feature,gain\nx,1\n"},
        inputs=[("x", "double"), ("city", "string")],
        outputs=[("churn_risk", "double")],
        spec={"name": name},
        gate={"passed": passed, "reasons_en": [] if passed else ["AUC below the recency rule"], "reasons_zh": []},
    )


def _saver(text: str = MODEL_TEXT) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        folder.mkdir()
        (folder / "meta.json").write_text('{"kind": "churn", "features": ["x"], "models": []}')
        (folder / "booster.txt").write_text(text)

    return save
