"""Score members chunk by chunk into a staging folder, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from uplift.data import Engine, file_digest, write_json_atomic, write_parquet_atomic
from uplift.errors import InputError
from uplift.features import build, to_frame
from uplift.pipelines._recommend_inputs import SEGMENT, Inputs
from uplift.pipelines._training import Progress
from uplift.policy import Eligibility, eligibility

_TOUCHED = "_recommend_members"


def effect_column(outcome: str, offer: int) -> str:
    """Name of a score column: effect of the offer at that position on an outcome, in the outcome's own unit."""
    return f"effect/{outcome}/{offer}"


def reason_column(offer: int) -> str:
    """Name of a score column: why the offer at that position may not be given; ``""`` where it may."""
    return f"why_not/{offer}"


def score_members(
    engine: Engine,
    inputs: Inputs,
    spine: pa.Table,
    segments: pa.Array,
    folder: Path,
    fingerprint: str,
    chunk: int,
    progress: Progress,
) -> pa.Table:
    """Scores of every member of the spine, in its order; parts already staged for the same inputs are reused."""
    parts = []
    chunks = list(_slices(spine.num_rows, chunk))
    for number, (first, size) in enumerate(chunks):
        path = folder / f"scores-{number:05d}.parquet"
        record = {"fingerprint": fingerprint, "first": first, "rows": size}
        staged = _staged(path, record)
        if staged is None:
            staged = score_chunk(engine, inputs, spine.slice(first, size), segments.slice(first, size))
            write_parquet_atomic(path, staged)
            write_json_atomic(path.with_suffix(".json"), {**record, "sha256": file_digest(path)})
            progress(f"scored {first + size:,} of {spine.num_rows:,} members")
        else:
            progress(f"kept {first + size:,} of {spine.num_rows:,} members from before")
        parts.append(staged)
    return pa.concat_tables(parts)


def score_chunk(engine: Engine, inputs: Inputs, spine: pa.Table, segments: pa.Array) -> pa.Table:
    """Churn risk, effects, reasons and habits of some members."""
    table = build(engine, spine.select(["member_id", "as_of"]), inputs.features, catalogue=inputs.catalogue)
    table = table.append_column(SEGMENT, segments)
    effects = inputs.uplift.predict_frame(to_frame(table, inputs.uplift.features))
    judged = _judge(engine, inputs, table)
    columns: dict[str, pa.Array] = {
        "member_id": table.column("member_id").combine_chunks(),
        "segment": segments,
        "churn_risk": _churn_risk(inputs, table),
        "weekday": table.column("favourite_weekday").combine_chunks(),
        "daypart": table.column("favourite_daypart").combine_chunks(),
    }
    for outcome in inputs.outcomes:
        for j, offer in enumerate(inputs.offers):
            values = effects[f"effect_{outcome}_{offer.offer_id}"].to_numpy(dtype=np.float64)
            if not np.isfinite(values).all():
                raise InputError(
                    f"the uplift model gives no finite effect of {offer.offer_id!r} on {outcome} for "
                    f"{int((~np.isfinite(values)).sum()):,} member(s): train it again"
                )
            columns[effect_column(outcome, j)] = pa.array(values)
    reasons = pa.array(judged.labels)
    for j in range(len(inputs.offers)):
        indices = pa.array(judged.code[:, j].astype(np.int32))
        columns[reason_column(j)] = pa.DictionaryArray.from_arrays(indices, reasons).cast(pa.string())
    return pa.table(columns)


def read_reasons(scores: pa.Table, n_offers: int) -> Eligibility:
    """The reasons of a score table as codes with labels in a fixed order."""
    texts = [scores.column(reason_column(j)).to_numpy(zero_copy_only=False) for j in range(n_offers)]
    found = sorted({str(text) for column in texts for text in np.unique(column.astype(str))} - {""})
    labels = ("", *found)
    code = np.zeros((scores.num_rows, n_offers), dtype=np.int16)
    for j, column in enumerate(texts):
        code[:, j] = np.searchsorted(np.array(labels), column.astype(str))
    return Eligibility(code == 0, code, labels)


def _judge(engine: Engine, inputs: Inputs, table: pa.Table) -> Eligibility:
    frame = to_frame(table, ["days_since_last_order", "consent_marketing"])
    return eligibility(
        inputs.offers,
        table,
        as_of=inputs.as_of,
        consent=frame["consent_marketing"].to_numpy() if inputs.consent_recorded else None,
        days_since_purchase=frame["days_since_last_order"].to_numpy(),
        days_since_touch=_days_since_touch(engine, inputs, table.column("member_id")),
    )


def _days_since_touch(engine: Engine, inputs: Inputs, members: pa.ChunkedArray) -> np.ndarray:
    """(n_members, n_offers) days since the last touch with the same offer, NaN where there was none."""
    days = np.full((len(members), len(inputs.offers)), np.nan)
    if not any(offer.cooldown_days for offer in inputs.offers):
        return days
    number = pa.array(np.arange(len(members), dtype=np.int64))
    ids = [offer.offer_id for offer in inputs.offers]
    engine.register(_TOUCHED, pa.table({"member_id": members, "number": number}))
    try:
        found = engine.query(
            f"""
            SELECT m.number, t.offer_id, max(t.sent_at) AS at
            FROM touches AS t JOIN {_TOUCHED} AS m ON m.member_id = t.member_id
            WHERE t.sent_at < $as_of AND t.known_at < $as_of AND list_contains($ids, t.offer_id)
            GROUP BY m.number, t.offer_id
            """,
            {"as_of": inputs.as_of, "ids": ids},
        )
    finally:
        engine.unregister(_TOUCHED)
    if found.num_rows:
        at = found.column("at").cast(pa.int64()).to_numpy()
        now = int(inputs.as_of.timestamp() * 1_000_000)
        where = [ids.index(offer) for offer in found.column("offer_id").to_pylist()]
        days[found.column("number").to_numpy(), where] = (now - at) / 86_400e6
    return days


def _churn_risk(inputs: Inputs, table: pa.Table) -> pa.Array:
    """Null where no model serves, or for members outside the model's population."""
    if inputs.churn is None:
        return pa.nulls(table.num_rows, pa.float64())
    active = np.ones(table.num_rows, dtype=bool)
    if inputs.population is not None:
        active = inputs.population.evaluate(table).fillna(False).to_numpy(dtype=bool)
    risk = np.full(table.num_rows, np.nan)
    if active.any():
        X = to_frame(table.filter(pa.array(active)), inputs.churn.features)
        risk[active] = inputs.churn.predict_frame(X)["churn_risk"].to_numpy()
    return pa.array(risk, from_pandas=True)


def _slices(rows: int, chunk: int) -> Iterator[tuple[int, int]]:
    for first in range(0, rows, chunk):
        yield first, min(chunk, rows - first)


def _staged(path: Path, wanted: Mapping[str, Any]) -> pa.Table | None:
    """A part scored before from the same inputs, whole and unchanged; else None."""
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    digest = record.pop("sha256", None)
    if record != dict(wanted) or not path.is_file() or file_digest(path) != digest:
        return None
    return pq.read_table(path)
