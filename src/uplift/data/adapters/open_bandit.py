"""Open Bandit (ZOZO), women's campaign: rounds logged under a uniform and under a Thompson-sampling policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from uplift.config import ArmSpec, ExperimentSpec, MetricSpec, WorkspaceConfig
from uplift.data.adapters._base import (
    SECOND,
    Adapter,
    Imported,
    Source,
    attributes,
    contract_table,
    plain_number,
    read_text,
)
from uplift.errors import ContractError, InputError, Problem

USER = tuple(f"user_feature_{i}" for i in range(4))
LOG = ("timestamp", "item_id", "position", "click", "propensity_score", *USER)
AFFINITY = "user-item_affinity_"
ITEMS = ("item_id", "item_feature_0", "item_feature_1", "item_feature_2", "item_feature_3")
POLICIES = ("random", "bts")
ZONE = "Asia/Tokyo"

_EXPECTED = (
    "the folder with random/women/women.csv and bts/women/women.csv (each beside its item_context.csv), "
    "or one policy's folder"
)


def experiment(items: list[str], control: str, starts_at: pd.Timestamp, ends_at: pd.Timestamp) -> ExperimentSpec:
    """The definition of the uniform policy: every item with the same chance, ``control`` as the reference."""
    return ExperimentSpec(
        id="random",
        name_zh="随机推荐（均匀）",
        name_en="Uniform recommendations",
        hypothesis=f"Some items are clicked more often than others. There is no empty arm: {control} is the reference.",
        control=control,
        arms=tuple(ArmSpec(name=item, share=1 / len(items), offer_id=item) for item in items),
        starts_at=starts_at.to_pydatetime(),
        ends_at=ends_at.to_pydatetime(),
        metrics=(MetricSpec(name="click", outcome="clicked", window_days=1),),
        segments=("attr_position_num",),
    )


def convert(source: Path) -> Imported:
    """Rounds as anonymous members, items as offers, shown items as assignments with logged propensities, clicks."""
    folders = _folders(source)
    sources: dict[str, Path] = {}
    contexts, logs, counts = {}, {}, []
    for policy, folder in folders.items():
        log, context = folder / "women.csv", folder / "item_context.csv"
        sources |= {f"{policy}/women/{path.name}": path for path in (log, context)}
        contexts[policy] = _items(context)
        logs[policy], clicks, affinities = _rounds(policy, log, contexts[policy])
        counts.append(
            f"{policy}: {logs[policy]['members'].num_rows:,} rounds, {clicks:,} clicks, {affinities:,} affinities "
            "other "
            "than 0."
        )
    items = sorted({item for context in contexts.values() for item in context.item_id})
    tables = {
        name: pa.concat_tables([parts[name] for parts in logs.values()]).combine_chunks()
        for name in ("members", "attributes", "assignments", "touches", "events")
    }
    tables["offers"] = contract_table("offers", {"offer_id": items, "name_en": items, "kind": "item"}, len(items))
    experiments: tuple[ExperimentSpec, ...] = ()
    if "random" in logs:
        times = logs["random"]["assignments"]["assigned_at"].to_pandas()
        experiments = (experiment(items, items[0], times.min() - SECOND, times.max() + SECOND),)
    notes = (
        *counts,
        "A round is one recommendation to somebody unknown: each is a member of its own (policy-row), registered and "
        "described one second before it. Effects are therefore per round, not per person.",
        "propensity is the probability of that item at that position, given what the policy knew, as the log has it; "
        "`position` (1 to 3) is an attribute.",
        "`random` shows every item with the same chance and has a definition, with the first item as reference, "
        "since no "
        "round went without one. `bts` chose by Thompson sampling: its shares were not designed, so it has assignments "
        "with propensities, for off-policy evaluation, and no definition.",
        "A click has no time in the log: it is put one second after the round.",
        "User-item affinities other than 0 are attributes (affinity-item-…). Item features are in items.parquet, "
        "hashed "
        "differently in each policy's log.",
    )
    context = pd.concat(frame.assign(policy=policy) for policy, frame in contexts.items())
    extras = {"items.parquet": pa.Table.from_pandas(context, preserve_index=False).replace_schema_metadata(None)}
    config = WorkspaceConfig(data="data/", timezone=ZONE, currency="JPY", language="en")
    return Imported(tables, config, experiments, notes, sources, extras)


def _folders(source: Path) -> dict[str, Path]:
    """Policy → folder of its log."""
    if source.is_file():
        raise InputError(f"{source}: is a file; open-bandit expects {_EXPECTED}")
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; open-bandit expects {_EXPECTED}")
    root = source.resolve()
    candidates = [(p, base / p / "women") for base in (root, root / "open_bandit") for p in POLICIES]
    candidates += [(p, folder) for p in POLICIES for folder in (root / "women", root) if p in folder.parts[-2:]]
    found: dict[str, Path] = {}
    for policy, folder in candidates:
        if (folder / "women.csv").is_file():
            found.setdefault(policy, folder)
    if not found:
        raise InputError(
            f"{source}: holds no women.csv of the policies random and bts; open-bandit expects {_EXPECTED}"
        )
    missing = [str(p / "item_context.csv") for p in found.values() if not (p / "item_context.csv").is_file()]
    if missing:
        raise InputError(f"no such file: {', '.join(missing)}; open-bandit expects {_EXPECTED}")
    return found


def _name(item: np.ndarray) -> list[str]:
    return [f"item-{i:02d}" for i in item.tolist()]


def _items(path: Path) -> pd.DataFrame:
    given = read_text(path, "open-bandit", ITEMS)
    number = given.integer("item_id", 0)
    first = given.number("item_feature_0")
    given.reject("item_id", "duplicate_key", "is given twice", pd.Series(number).duplicated())
    given.refuse()
    hashes = {name: given.text(name) for name in ITEMS[2:]}
    return pd.DataFrame({"item_id": _name(number), "item_feature_0": first, **hashes})


def _rounds(policy: str, path: Path, items: pd.DataFrame) -> tuple[dict[str, pa.Table], int, int]:
    """One policy's tables, its clicks and its affinities other than zero."""
    affinity = [f"{AFFINITY}{int(name.removeprefix('item-'))}" for name in items.item_id]
    given = read_text(path, "open-bandit", (*LOG, *affinity))
    at = pd.to_datetime(given.time("timestamp"), utc=True).dt.as_unit("us")
    item = pd.Series(_name(given.integer("item_id", 0)))
    position = given.integer("position", 1, 3)
    click = given.integer("click", 0, 1) == 1
    propensity = given.number("propensity_score", 0, 1)
    given.reject("item_id", "unknown_item", "is not in item_context.csv", ~item.isin(items.item_id))
    given.reject("propensity_score", "out_of_range", "is zero, for an item that was shown", propensity == 0)
    users = {name: given.text(name) for name in USER}
    liking = {name: given.number(name, 0) for name in affinity}
    given.refuse()
    if policy == "random":
        _hold_to_uniform(given, propensity, len(items))

    n = len(given)
    member = pd.Series([f"{policy}-{i:05d}" for i in range(n)])
    before, after = at - SECOND, at + SECOND
    liked = {
        f"affinity-{name}": plain_number(np.where(liking[column] == 0, np.nan, liking[column]))
        for name, column in zip(items.item_id, affinity, strict=True)
    }
    facts = {"position": plain_number(position), **users, **liked}
    columns = {
        "members": {"member_id": member, "registered_at": before},
        "assignments": {
            "experiment_id": policy,
            "member_id": member,
            "arm": item,
            "propensity": propensity,
            "assigned_at": at,
        },
        "touches": {
            "touch_id": "shown-" + member,
            "member_id": member,
            "experiment_id": policy,
            "offer_id": item,
            "sent_at": at,
            "clicked_at": after.where(click),
        },
    }
    tables = {name: contract_table(name, values, n) for name, values in columns.items()}
    clicked = {
        "event_id": "click-" + member[click],
        "member_id": member[click],
        "event_at": after[click],
        "event": "click",
        "offer_id": item[click],
    }
    tables["events"] = contract_table("events", clicked, int(click.sum()))
    tables["attributes"] = attributes(member, facts, before, "log")
    nonzero = sum(int(np.count_nonzero(values)) for values in liking.values())
    return tables, int(click.sum()), nonzero


def _hold_to_uniform(given: Source, propensity: np.ndarray, items: int) -> None:
    """Refuse a log of the uniform policy whose propensities are not uniform."""
    wrong = np.abs(propensity * items - 1) > 1e-6
    if wrong.any():
        text = f"is not 1/{items}, as it is under the uniform policy"
        values = tuple(f"{v:g}" for v in np.unique(propensity[wrong])[:5])
        remedy = "the folders random and bts may have been swapped; nothing was imported"
        raise ContractError(
            [Problem(given.path.name, "propensity_score", "design", text, int(wrong.sum()), values, remedy)]
        )


ADAPTER = Adapter(
    "open-bandit", "Open Bandit, women: 46 items under a uniform and a Thompson policy", _EXPECTED, convert
)
