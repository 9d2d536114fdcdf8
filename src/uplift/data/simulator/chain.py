"""A whole chain with members, campaigns and known true effects, streamed into a workspace."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from uplift.config import WorkspaceConfig, dump_yaml
from uplift.config.workspace import FILE_NAME
from uplift.data.simulator._calendar import TIMEZONE, make_calendar
from uplift.data.simulator._chunk import CHUNK_MEMBERS, Plan, live
from uplift.data.simulator._design import experiment_spec, plan_campaigns
from uplift.data.simulator._emit import offers_table, tables_of
from uplift.data.simulator._industry import load_industry
from uplift.data.simulator._response import Offers
from uplift.data.simulator._tables import Streams
from uplift.errors import InputError
from uplift.results import Rendered

DEFAULT_END = date(2026, 7, 1)
RECORD = "truth/simulation.json"
COVARIATES = ("days_since_last_order", "orders_90d")
MOST_MEMBERS, MOST_MONTHS = 100_000_000, 120
_PARTIAL = ".simulating"


@dataclass(frozen=True)
class Simulated(Rendered):
    """What was simulated.

    Attributes
    ----------
    folder
        The workspace.
    members, orders, assignments
        Rows.
    as_of
        The instant at which the data ends, and as of which the last truth holds: nothing lies at or after it.
    experiments
        Ids of the campaigns, in time.
    rows
        Rows by file, as paths without the ending.
    seconds
        How long it took.
    """

    folder: Path
    industry: str
    members: int
    months: int
    seed: int
    orders: int
    assignments: int
    as_of: datetime
    experiments: tuple[str, ...]
    rows: dict[str, int]
    seconds: float


def simulate(
    folder: str | Path,
    *,
    members: int,
    months: int,
    seed: int = 0,
    industry: str = "grocery",
    end: date | None = None,
    progress: Callable[[str], None] | None = None,
) -> Simulated:
    """Simulate a chain into a new workspace.

    The same arguments give the same bytes. Memory does not grow with the number of members.

    Parameters
    ----------
    folder
        New, empty, or holding an earlier simulation, whose tables, definitions and truth are then replaced.
    months
        Length of the history, rounded to windows of 14 days; at least 2.
    industry
        ``grocery``, ``beauty`` or ``fitness``.
    end
        The day at whose local midnight (Asia/Shanghai) the data ends; None is 1 July 2026.
    progress
        Called with a line about long work; None for silence.

    Raises
    ------
    InputError
        If an argument is out of range or the folder holds something else.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = simulate(f"{folder}/chain", members=200, months=3)
    ...     made.as_of.isoformat(), len(made.experiments)
    ('2026-07-01T00:00:00+08:00', 2)
    """
    began = time.perf_counter()
    tell = progress or (lambda _: None)
    root = Path(folder)
    plan = _plan(members, months, seed, industry, end)
    _refuse_other_content(root)
    root.mkdir(parents=True, exist_ok=True)
    partial = root / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    try:
        rows = _stream(plan, partial, tell)
        _write_texts(plan, partial, months)
        _move_into_place(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Simulated(
        folder=root,
        industry=industry,
        members=members,
        months=months,
        seed=seed,
        orders=rows["data/orders"],
        assignments=rows["data/assignments"],
        as_of=plan.calendar.instant(plan.calendar.windows),
        experiments=tuple(campaign.id for campaign in plan.campaigns),
        rows=rows,
        seconds=time.perf_counter() - began,
    )


def _plan(members: int, months: int, seed: int, industry: str, end: date | None) -> Plan:
    wrong = []
    if not 1 <= members <= MOST_MEMBERS:
        wrong.append(f"members must lie between 1 and {MOST_MEMBERS:,}, found {members}")
    if not 2 <= months <= MOST_MONTHS:
        wrong.append(f"months must lie between 2 and {MOST_MONTHS}, found {months}")
    if seed < 0:
        wrong.append(f"seed must not be negative, found {seed}")
    if wrong:
        raise InputError("; ".join(wrong))
    parameters = load_industry(industry)
    calendar = make_calendar(parameters, months, end or DEFAULT_END)
    return Plan(parameters, calendar, Offers(parameters), plan_campaigns(parameters, calendar, seed), seed, members)


def _refuse_other_content(root: Path) -> None:
    if root.is_file():
        raise InputError(f"{root}: is a file; give a new folder")
    if not root.is_dir() or (root / RECORD).is_file():
        return
    others = sorted(path.name for path in root.iterdir() if path.name != _PARTIAL)
    if others:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        raise InputError(f"{root}: already holds other files ({shown}); give a new or an empty folder")


def _stream(plan: Plan, folder: Path, tell: Callable[[str], None]) -> dict[str, int]:
    """Draw chunk after chunk; while one is written, the next is drawn."""
    chunks = -(-plan.members // CHUNK_MEMBERS)
    every = max(chunks // 10, 1)
    with Streams(folder) as streams, ThreadPoolExecutor(1) as pool:
        streams.write({"data/offers": offers_table(plan)})
        writing: Future[None] | None = None
        for number in range(chunks):
            tables = tables_of(plan, live(plan, number))
            if writing is not None:
                writing.result()
            writing = pool.submit(streams.write, tables)
            if (number + 1) % every == 0 or number + 1 == chunks:
                done = min((number + 1) * CHUNK_MEMBERS, plan.members)
                tell(f"{done:,} of {plan.members:,} members")
        if writing is not None:
            writing.result()
    return dict(streams.rows)


def _write_texts(plan: Plan, folder: Path, months: int) -> None:
    config = WorkspaceConfig(
        data="data/", timezone=TIMEZONE, currency="CNY", pack=plan.industry.name, margin=plan.industry.margin
    )
    (folder / "experiments").mkdir()
    for campaign in plan.campaigns:
        spec = experiment_spec(plan.industry, plan.calendar, campaign, plan.seed, COVARIATES)
        (folder / "experiments" / f"{spec.id}.yaml").write_text(dump_yaml(spec), encoding="utf-8")
    record: dict[str, Any] = {
        "industry": plan.industry.name,
        "members": plan.members,
        "months": months,
        "seed": plan.seed,
        "as_of": plan.calendar.instant(plan.calendar.windows).isoformat(),
        "experiments": [campaign.id for campaign in plan.campaigns],
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / FILE_NAME).write_text(dump_yaml(config), encoding="utf-8")


def _move_into_place(partial: Path, root: Path) -> None:
    """Folders first, ``uplift.yaml`` last: a simulation that was cut off leaves no workspace that opens."""
    (root / FILE_NAME).unlink(missing_ok=True)
    for name in ("truth", "data", "experiments"):
        shutil.rmtree(root / name, ignore_errors=True)
        (partial / name).replace(root / name)
    (partial / FILE_NAME).replace(root / FILE_NAME)
