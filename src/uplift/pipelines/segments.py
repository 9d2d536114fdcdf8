"""The job behind ``uplift segments``: who is where, who moved, RFM groups and tags, with small cells hidden."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uplift.config import Workspace
from uplift.data import Engine, write_parquet_atomic
from uplift.errors import InputError
from uplift.features import parse_as_of, spine_of_members
from uplift.pipelines.features import as_of_time, date_label
from uplift.segments import (
    RFM,
    Suppressed,
    Transitions,
    assign_segments,
    assign_tags,
    load_pack,
    rfm,
    suppress_list,
    suppress_table,
    transitions,
    workspace_thresholds,
)


@dataclass(frozen=True)
class SegmentsDone:
    """Segments as of a date, their moves since a month before, RFM groups, tags of the workspace's pack.

    Attributes
    ----------
    out
        The Parquet file: member_id, as_of, segment, value, RFM scores and group, one boolean column a tag.
    moves
        Segments a month before and now.
    rfm
        Scores, edges and groups.
    tags
        Tag key → (Chinese name, English name, members); empty without a pack.
    labels
        The two dates as they are read in the workspace's zone.
    min_cell
        Counts below this are hidden in what is printed.
    language
        Of the names that are printed first.
    """

    out: Path
    moves: Transitions
    rfm: RFM
    tags: Mapping[str, tuple[str, str, int]]
    labels: tuple[str, str]
    min_cell: int
    language: str

    def hides(self, members: int) -> bool:
        """Whether a tag's count must not be shown: too few have it, or too few have not."""
        others = self.moves.after.table.num_rows - members
        return 0 < members < self.min_cell or 0 < others < self.min_cell

    def to_dict(self) -> dict[str, Any]:
        """For machines: counts that may not be shown are null."""
        matrix = suppress_table(self.moves.counts, self.min_cell)
        groups = suppress_list([group["members"] for group in self.rfm.groups], self.min_cell)
        after = self.moves.after
        return {
            "as_of": after.as_of.isoformat(),
            "as_of_before": self.moves.before.as_of.isoformat(),
            "out": str(self.out),
            "members": matrix.value(-1, -1),
            "value_cut": after.value_cut if np.isfinite(after.value_cut) else None,
            "segments": [
                {"segment": key, "name_zh": after.names[key][0], "name_en": after.names[key][1]}
                | _shares(matrix, -1, j, matrix.counts[-1, -1])
                for j, key in enumerate(self.moves.columns)
            ],
            "transitions": [
                {"from": origin, "to": target}
                | _shares(matrix, i, j, matrix.counts[i, -1], unknown=bool(matrix.hidden[i, -1]))
                for i, origin in enumerate(self.moves.rows)
                for j, target in enumerate(self.moves.columns)
            ],
            "rfm": {
                "edges": {name: list(edges) for name, edges in self.rfm.edges.items()},
                "groups": [
                    {key: group[key] for key in ("group", "name_zh", "name_en")}
                    | _shares(groups, 0, n, groups.counts[0, -1])
                    | {"spend_share": None if groups.hidden[0, n] else group["spend_share"]}
                    for n, group in enumerate(self.rfm.groups)
                ],
            },
            "tags": [
                {"tag": key, "name_zh": zh, "name_en": en, "members": None if self.hides(n) else n}
                for key, (zh, en, n) in self.tags.items()
            ],
            "min_cell": self.min_cell,
        }


def _shares(table: Suppressed, row: int, column: int, total: int, unknown: bool = False) -> dict[str, Any]:
    count = table.value(row, column)
    return {"members": count, "share": None if count is None or unknown or not total else count / int(total)}


def segment_members(
    workspace: Workspace,
    as_of: str | None = None,
    *,
    since: str | None = None,
    out: Path | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> SegmentsDone:
    """Assign segments, RFM scores and tags as of a date, compare with a month before, and write them.

    Parameters
    ----------
    as_of
        A date is its midnight in the workspace's zone; None: the day after the latest recorded event.
    since
        The earlier date of the transition matrix; None: one month before ``as_of``.
    out
        A ``.parquet`` file; None: ``segments/as_of=DATE.parquet`` in the workspace.
    """
    if out is not None and out.suffix != ".parquet":
        raise InputError(f"{out}: segments are written as Parquet; name a .parquet file")
    thresholds = workspace_thresholds(workspace)
    pack = load_pack(workspace.config.pack) if workspace.config.pack else None
    with Engine.open(workspace) as engine:
        moment = as_of_time(engine, workspace, as_of)
        earlier = month_before(moment, workspace) if since is None else parse_as_of(since, workspace.zone)
        labels = (date_label(earlier, workspace), date_label(moment, workspace))
        spine = spine_of_members(engine, moment)
        if not spine.num_rows:
            raise InputError(f"no member is registered before {labels[1]}; choose a later date")
        progress(f"segments of {spine.num_rows:,} members as of {labels[1]}")
        after = assign_segments(engine, moment, thresholds)
        moves = transitions(engine, earlier, after, thresholds)
        scores = rfm(engine, moment, thresholds)
        tags = None if pack is None else assign_tags(engine, spine, pack, thresholds=thresholds)
    table = _joined(after.table, spine, scores.table, tags)
    path = (workspace.segments / f"as_of={labels[1]}.parquet") if out is None else out
    write_parquet_atomic(path, table)
    counted = {}
    if pack is not None and tags is not None:
        for tag in pack.tags:
            members = int(pc.sum(tags.column(tag.key)).as_py() or 0)
            counted[tag.key] = (tag.name_zh, tag.name_en, members)
    config = workspace.config
    return SegmentsDone(path, moves, scores, counted, labels, config.min_cell, config.language)


def month_before(moment: datetime, workspace: Workspace) -> datetime:
    """The same local day and hour of the month before; its last day where the month is shorter."""
    local = moment.astimezone(workspace.zone)
    last = local.replace(day=1) - timedelta(days=1)
    return local.replace(year=last.year, month=last.month, day=min(local.day, last.day)).astimezone(UTC)


def _joined(segments: pa.Table, spine: pa.Table, scores: pa.Table, tags: pa.Table | None) -> pa.Table:
    """One row a member, in the order of ids; RFM is null for those who never bought."""
    rows = {member: row for row, member in enumerate(scores.column("member_id").to_pylist())}
    where = pa.array([rows.get(member) for member in segments.column("member_id").to_pylist()], pa.int64())
    table = segments.add_column(1, "as_of", spine.column("as_of"))
    for name in ("recency", "frequency", "monetary", "group"):
        table = table.append_column(f"rfm_{name}", scores.column(name).take(where))
    if tags is not None:
        for name in tags.column_names[2:]:
            table = table.append_column(f"tag_{name}", tags.column(name))
    return table


def summary_text(done: SegmentsDone) -> str:
    """The tables as text, names in both languages, small cells hidden."""
    matrix = suppress_table(done.moves.counts, done.min_cell)
    groups = suppress_list([group["members"] for group in done.rfm.groups], done.min_cell)
    names = done.moves.row_names

    def named(key: str) -> str:
        zh, en = names[key]
        return f"{zh} {en}" if done.language == "zh" else f"{en} {zh}"

    corner = int(matrix.counts[-1, -1])
    lines = [
        [named(key), matrix.text(-1, j), _percent(matrix.value(-1, j), corner)]
        for j, key in enumerate(done.moves.columns)
    ]
    parts = [
        f"{done.labels[1]} 分层 Segments",
        _table(["", "会员 members", "占比 share"], [*lines, ["合计 total", matrix.text(-1, -1), ""]]),
        f"\n{done.labels[0]} → {done.labels[1]} 迁移 Moves, 行 from → 列 to",
        _table(
            ["", *[names[key][0 if done.language == "zh" else 1] for key in done.moves.columns], "合计 total"],
            [
                [named(key), *[matrix.text(i, j) for j in range(len(done.moves.columns) + 1)]]
                for i, key in enumerate(done.moves.rows)
            ],
        ),
        "\nRFM, edges: "
        + "; ".join(f"{name} {', '.join(_edge(edge) for edge in edges)}" for name, edges in done.rfm.edges.items()),
        _table(
            ["", "R F M", "会员 members", "消费占比 spend share"],
            [
                [
                    f"{group['name_zh']} {group['name_en']}",
                    " ".join("高" if high == "1" else "低" for high in str(group["group"])),
                    groups.text(0, n),
                    "…" if groups.hidden[0, n] else _percent(group["spend_share"], 1),
                ]
                for n, group in enumerate(done.rfm.groups)
            ],
        ),
    ]
    if done.tags:
        small = f"<{done.min_cell}"
        rows = [[f"{zh} {en}", f"{n:,}" if n == 0 or n >= done.min_cell else small] for zh, en, n in done.tags.values()]
        parts += ["\n标签 Tags", _table(["", "会员 members"], rows)]
    if matrix.hidden.any() or groups.hidden.any():
        parts.append(
            f"\n<{done.min_cell}: 人数过少不显示 too few members to show; "
            "…: 隐去以免由合计推出 hidden so that totals do not give small counts back"
        )
    return "\n".join(parts)


def _tag_count(done: SegmentsDone, members: int) -> str:
    if members < done.min_cell and members:
        return f"<{done.min_cell}"
    return "…" if done.hides(members) else f"{members:,}"


def _edge(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:,.4g}"


def _percent(part: float | None, whole: float) -> str:
    return "…" if part is None or not whole else f"{100 * part / whole:.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned by what a terminal shows: a Chinese character is two wide."""
    from unicodedata import east_asian_width

    def width(text: str) -> int:
        return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)

    widths = [max(width(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [
            text + " " * (widths[n] - width(text)) if n == 0 else " " * (widths[n] - width(text)) + text
            for n, text in enumerate(row)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
