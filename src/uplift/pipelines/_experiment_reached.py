"""Whom an experiment reached and who took part: funnel by stage, participation by segment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uplift.config import ExperimentSpec
from uplift.data import Engine
from uplift.pipelines._experiment_members import Members

OTHER = "(other)"
STAGES = ("sent", "delivered", "opened", "clicked", "redeemed")


def funnel(engine: Engine, spec: ExperimentSpec, members: Members) -> list[dict[str, Any]]:
    """Members at each stage by arm, channel and content form, with Wilson's interval of those sent to."""
    counted = ", ".join(
        f"count(DISTINCT t.member_id) FILTER (WHERE t.{stage}_at IS NOT NULL) AS {stage}" for stage in STAGES
    )
    engine.register("_spine", members.spine.select(["member_id", "arm"]))
    found = engine.query(
        f"""
        SELECT s.arm, t.channel, o.form, {counted} FROM touches t JOIN _spine s USING (member_id)
        LEFT JOIN offers o USING (offer_id) WHERE t.experiment_id = $id
        GROUP BY GROUPING SETS ((s.arm), (s.arm, t.channel, o.form)) ORDER BY ALL NULLS FIRST
        """,
        {"id": spec.id},
    ).to_pylist()
    engine.unregister("_spine")
    rows: list[dict[str, Any]] = []
    for arm in dict.fromkeys(row["arm"] for row in found):
        own = [row for row in found if row["arm"] == arm]
        whole, parts = own[0], own[1:] if len(own) > 2 else []
        if any(row["sent"] < members.min_cell for row in parts):
            parts = []  # all but one would give the small one back
        for group in ([whole], parts):
            hidden = {stage for stage in STAGES for row in group if _small(row[stage], row["sent"], members.min_cell)}
            rows += [_stages(row, hidden) for row in group if row["sent"] >= members.min_cell]
    return rows


def _small(count: int, total: int, min_cell: int) -> bool:
    return 0 < count < min_cell or 0 < total - count < min_cell


def _stages(row: Mapping[str, Any], hidden: set[str]) -> dict[str, Any]:
    stages: list[dict[str, Any]] = []
    for stage in STAGES:
        shown: dict[str, Any] = {"stage": stage, "members": None, "share": None, "low": None, "high": None}
        if stage not in hidden:
            low, high = wilson(row[stage], row["sent"])
            shown.update(members=row[stage], share=row[stage] / row["sent"], low=low, high=high)
        stages.append(shown)
    return {"arm": row["arm"], "channel": row["channel"], "form": row["form"], "stages": stages}


def participation(engine: Engine, spec: ExperimentSpec, members: Members) -> list[dict[str, Any]]:
    """Who took part (redeemed, or clicked where nothing can be redeemed) by segment, against all who were sent to."""
    engine.register("_spine", members.spine.select(["member_id"]))
    took = engine.query(
        """
        SELECT t.member_id, max(t.redeemed_at) IS NOT NULL AS redeemed, max(t.clicked_at) IS NOT NULL AS clicked
        FROM touches t JOIN _spine USING (member_id) WHERE t.experiment_id = $id GROUP BY 1
        """,
        {"id": spec.id},
    ).to_pandas()
    engine.unregister("_spine")
    if took.empty:
        return []
    how = "redeemed" if took["redeemed"].any() else "clicked"
    ids = members.spine["member_id"].to_pandas()
    sent = ids.isin(took["member_id"]).to_numpy()
    part = ids.isin(took.loc[took[how], "member_id"]).to_numpy()
    rows = []
    for column in spec.segments:
        values = members.frame[column]
        if not isinstance(values.dtype, pd.CategoricalDtype) and pd.api.types.is_numeric_dtype(values.dtype):
            continue
        text = segment_text(values)
        cells = []
        for value in sorted(set(text)):
            cells.append((value, int((sent & (text == value)).sum()), int((part & (text == value)).sum())))
        cells = pooled(cells, members.min_cell)
        for value, reached, joined in cells:
            low, high = wilson(joined, reached)
            rows.append(
                {
                    "segment_column": column, "segment": value, "participation": how, "sent": reached,
                    "participants": joined, "rate": joined / reached if reached else None, "low": low, "high": high,
                    "share_of_participants": joined / max(int(part.sum()), 1),
                    "share_of_sent": reached / max(int(sent.sum()), 1),
                }
            )  # fmt: skip
    return rows


def segment_text(values: pd.Series[Any]) -> NDArray[Any]:
    """Values of a segment column as participation names them."""
    return values.astype(object).where(values.notna(), "(missing)").astype(str).to_numpy()


@dataclass(frozen=True)
class Touched:
    """Which members got how far, for what must not be told of few.

    Attributes
    ----------
    place : ndarray of shape (n_touches,)
        Row of the member in the spine; one entry a member, channel and content form.
    channel, form : ndarray of shape (n_touches,)
    stage
        Stage → whether it was reached, ``(n_touches,)``.
    n
        Members in all.
    """

    place: NDArray[np.int64]
    channel: NDArray[Any]
    form: NDArray[Any]
    stage: Mapping[str, NDArray[np.bool_]]
    n: int

    def ever(self, stage: str, of: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Members who reached a stage, in some of the entries."""
        hit = self.stage[stage] if of is None else self.stage[stage] & of
        return self._members(hit)

    @property
    def anyhow(self) -> NDArray[np.bool_]:
        """Members with any touch."""
        return self._members(np.ones(len(self.place), dtype=bool))

    @property
    def reached(self) -> NDArray[np.bool_]:
        """Members to whom something was sent, as exposure counts them."""
        return self.ever("sent") | self.ever("delivered") | self.ever("opened")

    def _members(self, hit: NDArray[np.bool_]) -> NDArray[np.bool_]:
        found = np.zeros(self.n, dtype=bool)
        found[self.place[hit]] = True
        return found

    def cells(self, members: Members) -> dict[tuple[str, Any, Any, str], NDArray[np.bool_]]:
        """Arm, channel, content form and stage → members; channel and form None for all of the arm."""
        kinds = [(None, None, np.ones(len(self.place), dtype=bool))]
        for channel, form in sorted(set(zip(self.channel, self.form, strict=True)) - {(None, None)}, key=str):
            kinds.append((channel, form, (self.channel == channel) & (self.form == form)))
        return {
            (arm, channel, form, stage): self.ever(stage, of) & (members.arm == a)
            for channel, form, of in kinds for stage in STAGES for a, arm in enumerate(members.arms)
        }  # fmt: skip


def touches_of(engine: Engine, spec: ExperimentSpec, members: Members) -> Touched:
    """Every member's stages, by channel and content form."""
    engine.register("_spine", members.spine.select(["member_id"]))
    stages = ", ".join(f"count(t.{stage}_at) > 0 AS {stage}" for stage in STAGES)
    rows = engine.query(
        f"SELECT t.member_id, t.channel, o.form, {stages} FROM touches t JOIN _spine USING (member_id) "
        "LEFT JOIN offers o USING (offer_id) WHERE t.experiment_id = $id GROUP BY 1, 2, 3",
        {"id": spec.id},
    ).to_pandas()
    engine.unregister("_spine")
    place = pd.Index(members.spine["member_id"].to_pandas()).get_indexer(rows["member_id"])
    channel, form = (
        rows[name].astype(object).where(rows[name].notna(), None).to_numpy() for name in ("channel", "form")
    )
    stage = {name: rows[name].to_numpy(dtype=bool) for name in STAGES}
    return Touched(place.astype(np.int64), channel, form, stage, members.spine.num_rows)


Cell = tuple[str, int, int]


def pooled(cells: Sequence[Cell], min_cell: int) -> list[Cell]:
    """Small cells joined into one, with the smallest others for as long as that one is small; empty if nothing is left.

    Parameters
    ----------
    cells
        Name, members sent to, and those of them who took part. Neither of them, nor those who did not, may be fewer
        than ``min_cell`` without being none.

    Examples
    --------
    >>> pooled([("a", 90, 30), ("b", 80, 20), ("c", 20, 3), ("d", 70, 40)], 11)
    [('a', 90, 30), ('b', 80, 20), ('(other)', 90, 43)]
    """

    hidden = [cell for cell in cells if _small(cell[2], cell[1], min_cell) or 0 < cell[1] < min_cell]
    if not hidden:
        return list(cells)
    kept = sorted((cell for cell in cells if cell not in hidden), key=lambda cell: cell[1])
    sent, joined = sum(cell[1] for cell in hidden), sum(cell[2] for cell in hidden)
    while kept and (_small(joined, sent, min_cell) or 0 < sent < min_cell):
        _, more_sent, more_joined = kept.pop(0)
        sent, joined = sent + more_sent, joined + more_joined
    return [*(cell for cell in cells if cell in kept), (OTHER, sent, joined)] if kept else []


def wilson(count: int, total: int, z: float = 1.959964) -> tuple[float | None, float | None]:
    """Wilson's (1927) interval of a share; None without anybody.

    Examples
    --------
    >>> [round(edge, 3) for edge in wilson(20, 100)]
    [0.133, 0.289]
    """
    if not total:
        return None, None
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return 0.0 if count == 0 else middle - half, 1.0 if count == total else middle + half
