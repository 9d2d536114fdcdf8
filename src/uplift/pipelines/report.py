"""The site that marketing reads: gathered from the workspace's decisions, segments, experiments and models."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from uplift.config import Workspace
from uplift.data import Engine, read_manifest, read_pointer
from uplift.errors import InputError
from uplift.pipelines._training import Progress, last_day, silent
from uplift.pipelines.segments import segment_members
from uplift.reports import write_site
from uplift.results import Rendered
from uplift.tracking import TrackingUnavailableError, open_registry

RESULT = "result.json"


@dataclass(frozen=True)
class Built(Rendered):
    """The site's first page, and how much is in it."""

    index: str
    experiments: int
    decisions: str | None
    models: int


def build_site(workspace: Workspace, *, progress: Progress = silent) -> Built:
    """Build the site anew from what the workspace holds; what is missing is said on the page, not an error."""
    config = workspace.config
    results = _results(workspace)
    decisions = _decisions(workspace)
    facts: dict[str, Any] = {
        "currency": config.currency,
        "min_cell": config.min_cell,
        "language": config.language,
        "title": None,
        "decisions": decisions,
        "segments": _segments(workspace, decisions, progress),
        "experiments": [_experiment(name, result) for name, result in results.items()],
        "models": _models(workspace),
    }
    progress("drawing")
    index = write_site(facts, results, workspace.reports)
    run = decisions["run"] if decisions else None
    return Built(str(index), len(results), run, len(facts["models"]))


def serve_site(workspace: Workspace, host: str, port: int) -> ThreadingHTTPServer:
    """A server of the built site, bound but not yet started; it serves files below ``reports/`` only.

    Raises
    ------
    InputError
        If the site has not been built, or the port cannot be had.
    """
    if not (workspace.reports / "index.html").is_file():
        raise InputError(f"{workspace.reports}: there is no site yet; `uplift report build` makes it")
    handler = functools.partial(_Quiet, directory=str(workspace.reports))
    try:
        return ThreadingHTTPServer((host, port), handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {host}:{port}: {error}; choose another with --port") from None


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files, lists no folders, and does not log who read what."""

    def list_directory(self, path: Any) -> None:
        """No listing."""
        del path
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


def _results(workspace: Workspace) -> dict[str, Mapping[str, Any]]:
    """Analysed experiments, the latest start first."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted((workspace.reports / "experiments").glob(f"*/{RESULT}"), reverse=True):
        try:
            found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: not JSON ({error}); analyze the experiment again") from None
    return found


def _experiment(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    verdict, design = result["verdict"], result["design"]
    names = {f"name_{language}": design.get(f"name_{language}") or name for language in ("zh", "en")}
    return {"id": name, **names, "status": verdict["status"], "zh": verdict["zh"], "en": verdict["en"]}


def _decisions(workspace: Workspace) -> dict[str, Any] | None:
    run = read_pointer(workspace.decisions / "CURRENT") if (workspace.decisions / "CURRENT").is_file() else None
    if run is None:
        return None
    manifest = read_manifest(workspace.decisions / run)
    totals = manifest["totals"]
    return {
        "run": manifest["run"],
        "as_of": str(manifest["as_of"])[:10],
        "by_source": totals["by_source"],
        "by_offer": [
            {**offer, "n": totals["by_offer"].get(offer["offer_id"], 0)}
            for offer in manifest["offers"]
            if totals["by_offer"].get(offer["offer_id"], 0)
        ],
        "value": totals["expected_value"],
        "cost": totals["cost"],
        "budget": manifest["constraints"]["budget"],
        "gap": manifest["gap"],
        "optimal": manifest["status"] == "optimal",
        "price": manifest["prices"]["budget"],
    }


def _segments(workspace: Workspace, decisions: Mapping[str, Any] | None, progress: Progress) -> dict[str, Any] | None:
    if decisions is not None:
        as_of = str(decisions["as_of"])
    else:
        with Engine.open(workspace) as engine:
            try:
                as_of = last_day(engine).date().isoformat()
            except InputError:  # nobody has bought anything: there are no segments to show
                return None
    done = segment_members(workspace, as_of, progress=progress).to_dict()
    order = {key: row for row, key in enumerate(dict.fromkeys(move["from"] for move in done["transitions"]))}
    columns = [segment["segment"] for segment in done["segments"]]
    matrix: list[list[int | None]] = [[0] * len(columns) for _ in order]
    for move in done["transitions"]:
        matrix[order[move["from"]]][columns.index(move["to"])] = move["members"]
    names = {segment["segment"]: segment for segment in done["segments"]}
    joined = {"name_zh": "期间加入", "name_en": "Joined since"}
    return {
        "as_of": as_of,
        "counts": done["segments"],
        "rfm": [group for group in done["rfm"]["groups"] if group["members"] != 0],
        "moves": {
            "rows": [names.get(key, joined) for key in order],
            "columns": [names[key] for key in columns],
            "matrix": matrix,
        },
    }


def _models(workspace: Workspace) -> list[dict[str, Any]]:
    """Every model that holds an alias; none where the tracking store does not answer."""
    if not any(workspace.runs.glob("*/run.json")):
        return []
    registry = open_registry(workspace)
    try:
        versions = [version for version in registry.versions() if version.aliases]
    except TrackingUnavailableError:
        return []
    rows = []
    for version in versions:
        local = registry.find(version.key)
        gate = local.run.gate if local is not None else {}
        rows.append(
            {
                "name": version.name,
                "version": version.version,
                "alias": version.aliases[0],
                "passed": bool(gate.get("passed")),
                "reasons_zh": gate.get("reasons_zh", ()),
                "reasons_en": gate.get("reasons_en", ()),
            }
        )
    return rows
