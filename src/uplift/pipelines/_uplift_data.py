"""What the uplift model learns from: every randomised assignment whose outcome window is complete."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from uplift.config import ExperimentSpec, UpliftSpec, Workspace, read_spec
from uplift.data import Engine
from uplift.errors import InputError, unknown_name
from uplift.features import build, observed_until, outcomes, to_frame
from uplift.pipelines._training import Progress, choose_features, silent
from uplift.segments import segment_of

CONTROL = "control"
_HOLDOUT_SALT = "uplift-model-holdout"


@dataclass(frozen=True)
class UpliftData:
    """Assignments with features before them and outcomes after.

    Attributes
    ----------
    X
        (n_rows, n_features) as of each member's own assignment.
    outcomes
        Outcome → (n_rows,), in the tables' units (money in cents).
    treatment
        (n_rows,) arm received; the control of every experiment is ``"control"``, the others are offer ids.
    propensity
        (n_rows, n_arms + 1), control first; 0 where the member's experiment did not have that arm.
    arms
        The arms without the control, in the columns' order.
    member_id, segment
        (n_rows,); the segment at assignment.
    held_out
        (n_rows,) True for members that no model is trained on: the gate compares models on them.
    """

    X: pd.DataFrame
    outcomes: Mapping[str, np.ndarray]
    treatment: np.ndarray
    propensity: np.ndarray
    arms: tuple[str, ...]
    member_id: np.ndarray
    segment: np.ndarray
    held_out: np.ndarray
    experiments: tuple[str, ...]


def uplift_data(engine: Engine, workspace: Workspace, spec: UpliftSpec, progress: Progress = silent) -> UpliftData:
    """Gather training rows from the workspace.

    Raises
    ------
    InputError
        If there is no usable experiment, or assignments name arms that their definition does not have.
    """
    definitions = experiment_definitions(workspace, spec.experiments)
    spine = _assignments(engine, definitions, spec)
    arms = tuple(sorted(set(spine.column("arm").to_pylist()) - {CONTROL}))
    if not arms:
        raise InputError("every assignment with a complete window is to the control: there is no effect to learn")
    propensity = _propensities(spine, definitions, arms)
    progress(f"features of {spine.num_rows:,} assignments in {len(definitions)} experiments, {len(arms)} offers")
    table = build(engine, spine)
    names = choose_features(
        [name for name in table.column_names if name not in spine.column_names],
        spec.features,
        spec.exclude,
        "uplift specification",
    )
    measured = outcomes(
        engine,
        spine.select(["member_id", "as_of"]),
        {outcome.name: (outcome.outcome, outcome.window_days) for outcome in spec.outcomes},
    )
    members = spine.column("member_id").to_numpy(zero_copy_only=False)
    segment = (
        segment_of(table, engine=engine) if spec.segment == "segment" else to_frame(table, [spec.segment])[spec.segment]
    )
    return UpliftData(
        X=to_frame(table, names),
        outcomes={o.name: measured.column(o.name).to_numpy(zero_copy_only=False).astype(float) for o in spec.outcomes},
        treatment=spine.column("arm").to_numpy(zero_copy_only=False),
        propensity=propensity,
        arms=arms,
        member_id=members,
        segment=np.asarray(segment).astype(str),
        held_out=held_out(members, spec.holdout_share),
        experiments=tuple(definitions),
    )


def experiment_definitions(workspace: Workspace, wanted: tuple[str, ...] = ()) -> dict[str, ExperimentSpec]:
    """Definitions in the workspace's ``experiments/`` by id; all of them, or the wanted ones."""
    read = (read_spec(path, ExperimentSpec) for path in sorted(workspace.experiments.glob("*.yaml")))
    found = {spec.id: spec for spec in read}
    for name in wanted:
        if name not in found:
            raise unknown_name("experiment", name, found)
    chosen = {name: spec for name, spec in found.items() if not wanted or name in wanted}
    if not chosen:
        raise InputError(
            f"{workspace.experiments}: no experiment is defined here, so no effect can be learned; "
            "`uplift experiment new` writes a definition"
        )
    return chosen


def held_out(member_id: np.ndarray, share: float) -> np.ndarray:
    """(n,) True for a fixed share of members; the same members whatever the data, so that models can be compared."""
    limit = int(share * 2**64)
    unique, inverse = np.unique(member_id.astype(str), return_inverse=True)
    chosen = [
        int.from_bytes(hashlib.blake2b(f"{_HOLDOUT_SALT}:{m}".encode(), digest_size=8).digest()) < limit for m in unique
    ]
    return np.asarray(chosen, dtype=bool)[inverse]


def _assignments(engine: Engine, definitions: Mapping[str, ExperimentSpec], spec: UpliftSpec) -> pa.Table:
    """Spine of assignments with complete windows: member_id, as_of, experiment_id, arm as offer id, propensity."""
    longest = max(outcome.window_days for outcome in spec.outcomes)
    seen = observed_until(engine)
    if seen is None:
        raise InputError("there is not one event in the data, so there is nothing to learn from")
    complete = seen - timedelta(days=longest)
    designed = [
        (definition.id, arm, offer, definition.shares[arm])
        for definition in definitions.values()
        for arm, offer in _offers(definition).items()
    ]
    ids, arms, offers, shares = zip(*designed, strict=True)
    engine.register("_designed", pa.table({"experiment_id": ids, "arm": arms, "offer": offers, "share": shares}))
    engine.register("_experiments", pa.table({"experiment_id": list(definitions)}))
    table = engine.query(
        """
        SELECT a.member_id, a.assigned_at AS as_of, a.experiment_id, a.arm AS name, d.offer AS arm, a.propensity,
               d.share AS designed
        FROM assignments AS a
        JOIN _experiments AS e ON e.experiment_id = a.experiment_id
        LEFT JOIN _designed AS d ON d.experiment_id = a.experiment_id AND d.arm = a.arm
        WHERE a.assigned_at <= $complete
        ORDER BY a.experiment_id, a.assigned_at, a.member_id
        """,
        {"complete": complete},
    )
    engine.unregister("_designed")
    engine.unregister("_experiments")
    if table.num_rows == 0:
        raise InputError(
            f"no assignment of {', '.join(definitions)} has {longest} days of data after it yet: "
            "wait until the window is complete, or shorten window_days"
        )
    strangers = table.filter(pc.is_null(table.column("arm")))
    if strangers.num_rows:
        names = strangers.select(["experiment_id", "name"]).group_by(["experiment_id", "name"]).aggregate([])
        shown = ", ".join(f"{row['experiment_id']}: {row['name']!r}" for row in names.to_pylist()[:5])
        raise InputError(
            f"{strangers.num_rows:,} assignments are to arms that the definition does not have ({shown}): "
            "add the arms to the definition, or leave the experiment out"
        )
    return table.drop_columns(["name"])


def _offers(definition: ExperimentSpec) -> dict[str, str]:
    """Arm → what it gives: the offer's id, else the arm's own name; the control arm is ``control``."""
    offers = {arm.name: arm.offer_id or arm.name for arm in definition.arms if arm.name != definition.control}
    taken = [arm for arm, offer in offers.items() if offer == CONTROL]
    if taken:
        raise InputError(
            f"experiment {definition.id}: the arm {taken[0]!r} would be taken for the control {definition.control!r}: "
            f"give it an offer_id other than {CONTROL!r}, or leave the experiment out"
        )
    return {definition.control: CONTROL, **offers}


def _propensities(spine: pa.Table, definitions: Mapping[str, ExperimentSpec], arms: tuple[str, ...]) -> np.ndarray:
    """Designed shares by experiment, of the arms that somebody received, adding up to 1.

    Where a row logged another probability for its arm, the design is not what ran.
    """
    columns = (CONTROL, *arms)
    position = {arm: i for i, arm in enumerate(columns)}
    shares = np.zeros((len(definitions), len(columns)))
    for row, definition in enumerate(definitions.values()):
        offers = _offers(definition)
        for arm in definition.arms:
            if offers[arm.name] in position:
                shares[row, position[offers[arm.name]]] += arm.share
    whole = shares.sum(axis=1, keepdims=True)
    shares /= np.where(whole > 0, whole, 1.0)  # an experiment without rows may have no share left
    experiment = pd.Categorical(spine.column("experiment_id").to_pandas(), categories=list(definitions)).codes
    logged = spine.column("propensity").to_numpy(zero_copy_only=False).astype(float)
    designed = spine.column("designed").to_numpy(zero_copy_only=False).astype(float)
    differs = ~np.isnan(logged) & (np.abs(logged - designed) > 1e-3)
    if differs.any():
        names = sorted({spine.column("experiment_id")[int(i)].as_py() for i in np.flatnonzero(differs)[:1000]})
        example = int(np.flatnonzero(differs)[0])
        raise InputError(
            f"{int(differs.sum()):,} assignments of {', '.join(names)} logged a probability other than the designed "
            f"share, e.g. {logged[example]:.4f} where the definition says {designed[example]:.4f}: "
            "correct the shares in the definition, or leave the experiment out"
        )
    return np.asarray(shares[experiment])
