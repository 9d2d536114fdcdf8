"""The main job end to end, on a simulated chain."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uplift.config import Workspace
from uplift.data import Engine
from uplift.data.simulator import simulate
from uplift.errors import InputError
from uplift.pipelines._training import Progress, last_day, silent
from uplift.pipelines._uplift_data import experiment_definitions
from uplift.pipelines.check import check_workspace
from uplift.pipelines.experiment import analyze_workspace
from uplift.pipelines.recommend import recommend
from uplift.pipelines.report import RESULT, build_site
from uplift.pipelines.train_churn import train_churn
from uplift.pipelines.train_uplift import train_uplift
from uplift.results import Rendered

MONTHS = 12
SIMULATION = "simulation.json"


@dataclass(frozen=True)
class Demo(Rendered):
    """Where to look."""

    workspace: str
    report: str
    decisions: str
    mlflow: str
    lines: tuple[str, ...]

    def text(self) -> str:
        """For a person."""
        return "\n".join(
            [
                "",
                *self.lines,
                "",
                f"report     {self.report}",
                f"decisions  {self.decisions}",
                f"MLflow     {self.mlflow}",
            ]
        )


def demo(out: Path, *, members: int, seed: int = 0, models: Path | None = None, progress: Progress = silent) -> Demo:
    """Simulate, check, train, measure, decide and report; what was done before with the same input is kept.

    Parameters
    ----------
    out
        The workspace to make.
    models
        Folder of model specifications to copy into it; None: the embedded defaults.

    Raises
    ------
    InputError
        If ``out`` holds something else than this demonstration.
    """
    _simulate(out, members, seed, progress)
    if models is not None and models.is_dir():
        (out / "models").mkdir(exist_ok=True)
        for path in sorted(models.glob("*.yaml")):
            shutil.copyfile(path, out / "models" / path.name)
    workspace = Workspace.open(out)
    progress("checking the tables")
    check_workspace(out)
    with Engine.open(workspace) as engine:
        as_of = last_day(engine).date().isoformat()
    progress("training churn")
    churn = train_churn(workspace, progress=progress)
    progress("training uplift")
    uplift = train_uplift(workspace, progress=progress)
    for name in experiment_definitions(workspace):
        progress(f"measuring {name}")
        if not (workspace.reports / "experiments" / name / RESULT).is_file():
            analyze_workspace(workspace, name)
    progress(f"deciding as of {as_of}")
    decided = recommend(workspace, as_of, progress=progress)
    progress("building the site")
    built = build_site(workspace, progress=progress)
    return Demo(
        workspace=str(out),
        report=str(built.index),
        decisions=str(decided.folder),
        mlflow=f"bash mlflow/serve.sh -C {out}",
        lines=("churn", churn.text(), "", "uplift", uplift.text(), "", "decisions", decided.text()),
    )


def _simulate(out: Path, members: int, seed: int, progress: Progress) -> None:
    """Simulate unless exactly this simulation is there already."""
    wanted: dict[str, Any] = {"members": members, "months": MONTHS, "seed": seed}
    record = out / "truth" / SIMULATION
    if record.is_file():
        made = json.loads(record.read_text(encoding="utf-8"))
        if all(made.get(key) == value for key, value in wanted.items()):
            progress(f"{out} holds this simulation already")
            return
        raise InputError(
            f"{out} holds another simulation ({made.get('members')} members, {made.get('months')} months, seed "
            f"{made.get('seed')}): remove it, or name another folder with --out"
        )
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and holds no simulation: name another folder with --out")
    progress(f"simulating {members:,} members over {MONTHS} months")
    simulate(out, members=members, months=MONTHS, seed=seed)
