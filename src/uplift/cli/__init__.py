"""The command line: parse, call a pipeline, print; no logic."""

from __future__ import annotations

import os
import sys
import warnings

import click

from uplift.cli._base import LazyGroup, fail
from uplift.errors import UpliftError

COMMANDS = {
    "demo": ("uplift.cli.demo", "demo", "The main job on a simulated chain, end to end."),
    "simulate": ("uplift.cli.simulate", "simulate", "Make a chain with members, campaigns and known true effects."),
    "import": ("uplift.cli.importing", "import_", "Bring public data into a workspace."),
    "check": ("uplift.cli.check", "check", "Hold the tables to the contract; report and quarantine."),
    "features": ("uplift.cli.features", "features", "Compute the features of every member as of a date."),
    "segments": ("uplift.cli.segments", "segments", "Value × lifecycle segments, RFM and month-over-month moves."),
    "audience": ("uplift.cli.audience", "audience", "How many members a rule selects, and who."),
    "train": ("uplift.cli.train", "train", "Train churn or uplift; evaluate, log and register as challenger."),
    "score": ("uplift.cli.score", "score", "Effects for a flat table, from a saved model."),
    "models": ("uplift.cli.models", "models", "List, show, promote, roll back and sync registered models."),
    "recommend": ("uplift.cli.recommend", "recommend", "Decide which offer each member receives."),
    "packs": ("uplift.cli.packs", "packs", "List, show and check industry packs."),
    "experiment": ("uplift.cli.experiment", "experiment", "Design, size, assign and analyze experiments."),
    "report": ("uplift.cli.report", "report", "Build or serve the site that marketing reads."),
}


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="uplift")
@click.option("-C", "workspace_dir", metavar="DIR", help="The workspace (default: the current folder).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
def main(workspace_dir: str | None, as_json: bool) -> None:
    """Which offer should each member receive, and what was it worth?

    Commands work on a workspace: a folder with uplift.yaml.
    Exit status: 0 done, 1 internal failure, 2 wrong input, 3 a gate or check failed.
    """
    del workspace_dir, as_json  # every command reads them from the context
    if not sys.warnoptions and not os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter("ignore")  # what libraries tell their developers is not for the person at the prompt


__all__ = ["COMMANDS", "UpliftError", "fail", "main"]
