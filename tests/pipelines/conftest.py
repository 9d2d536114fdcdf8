"""Workspaces small enough to train on in seconds: a simulated chain, and a shop whose truth is planted."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from uplift.cli import main
from uplift.config import Workspace
from uplift.data.simulator import simulate
from uplift.pipelines._training import Trained
from uplift.pipelines.demo import Demo, demo
from uplift.pipelines.train_churn import train_churn
from uplift.pipelines.train_uplift import train_uplift
from uplift.tracking import MemoryBackend, Registry

FEATURES = ["days_since_last_order", "orders_total", "orders_90d"]
CHURN_SPEC: dict[str, Any] = {
    "horizon_days": 30,
    "population": "orders_total >= 1 AND days_since_last_order <= 60",
    "cutoffs": 3,
    "features": FEATURES,
    "folds": 3,
    "booster": {"n_estimators": 30, "num_leaves": 7},
    "gate_calibration_error": 0.15,  # nine hundred members measure it to a few points only
}
UPLIFT_SPEC: dict[str, Any] = {
    "learners": ["T", "DR"],
    "features": FEATURES,
    "folds": 2,
    "booster": {"n_estimators": 15, "num_leaves": 4, "min_child_samples": 30},
    "outcomes": [{"name": "conversion", "outcome": "ordered"}, {"name": "margin", "outcome": "margin"}],
}
START = pd.Timestamp("2026-01-05T10:00", tz="Asia/Shanghai")
LATE = pd.Timestamp("2026-02-20T10:00", tz="Asia/Shanghai")
END = pd.Timestamp("2026-03-01", tz="Asia/Shanghai")


@dataclass(frozen=True)
class Called:
    """What a command answered."""

    status: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.error
        return json.loads(self.out)


@dataclass
class Shop:
    """A shop with two experiments; ``coupon`` makes 40 % more of the even members buy, 30 % fewer of the odd.

    ``first``: control ``nothing`` and ``A`` (coupon), half each. ``second``: ``control``, ``A`` (gift) and ``B``
    (coupon), with shares .5, .3 and .2. ``late``: a copy of ``first`` whose windows are not complete.
    """

    folder: Path
    members: pd.DataFrame = field(default_factory=pd.DataFrame)
    assignments: pd.DataFrame = field(default_factory=pd.DataFrame)
    orders: pd.DataFrame = field(default_factory=pd.DataFrame)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, spec: Mapping[str, Any] | None = None) -> Workspace:
        """Everything as files, as it now is."""
        for name in ("data", "experiments", "models"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("members", "assignments", "orders"):
            getattr(self, name).to_parquet(self.folder / "data" / f"{name}.parquet")
        for name, definition in self.experiments.items():
            (self.folder / "experiments" / f"{name}.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
        (self.folder / "uplift.yaml").write_text("data: data/\n", encoding="utf-8")
        write_spec(self.folder, "uplift", {**UPLIFT_SPEC, **(spec or {})})
        return Workspace.open(self.folder)


def write_spec(folder: Path, name: str, spec: Mapping[str, Any]) -> Path:
    (folder / "models").mkdir(parents=True, exist_ok=True)
    path = folder / "models" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(dict(spec)), encoding="utf-8")
    return path


def build_shop(folder: Path, members: int = 1200, seed: int = 0) -> Shop:
    rng = np.random.default_rng(seed)
    ids = np.array([f"member-{i:05d}" for i in range(members)])
    number = np.arange(members)

    def definition(name: str, arms: list[tuple[str, float, str | None]], control: str) -> dict[str, Any]:
        return {
            "id": name,
            "control": control,
            "arms": [{"name": arm, "share": share, "offer_id": offer} for arm, share, offer in arms],
            "metrics": [{"name": "conversion", "outcome": "ordered"}],
        }

    first = [("nothing", 0.5, None), ("A", 0.5, "coupon")]
    second = [("control", 0.5, None), ("A", 0.3, "gift"), ("B", 0.2, "coupon")]
    designs = {
        "first": definition("first", first, "nothing"),
        "second": definition("second", second, "control"),
        "late": definition("late", first, "nothing"),
    }
    rows, orders = [], []
    half = {"first": number[: members // 2], "second": number[members // 2 :], "late": number[:100]}
    for name, chosen in half.items():
        arms = designs[name]["arms"]
        shares = [arm["share"] for arm in arms]
        drawn = rng.choice(len(arms), len(chosen), p=shares)
        at = LATE if name == "late" else START
        rows.append(
            pd.DataFrame(
                {
                    "experiment_id": name,
                    "member_id": ids[chosen],
                    "arm": [arms[k]["name"] for k in drawn],
                    "propensity": [shares[k] for k in drawn],
                    "assigned_at": at,
                }
            )
        )
        offers = np.array([arms[k]["offer_id"] or "" for k in drawn])
        given, even = offers == "coupon", chosen % 2 == 0
        bought = chosen[rng.random(len(chosen)) < np.where(even, 0.2 + 0.4 * given, 0.4 - 0.3 * given)]
        orders.append(
            pd.DataFrame({"member_id": ids[bought], "ordered_at": at + pd.Timedelta("3D"), "amount": 10_000.0})
        )
    # even members bought before, odd ones did not: the feature that tells who is helped
    even = number[number % 2 == 0]
    orders.append(pd.DataFrame({"member_id": ids[even], "ordered_at": START - pd.Timedelta("20D"), "amount": 5_000.0}))
    orders.append(pd.DataFrame({"member_id": ids[:1], "ordered_at": END - pd.Timedelta("1h"), "amount": 100.0}))
    bought_all = pd.concat(orders, ignore_index=True)
    bought_all["order_id"] = [f"o{i}" for i in range(len(bought_all))]
    bought_all["amount"] = bought_all["amount"].astype("int64")
    bought_all["cost"] = bought_all["amount"] // 2
    bought_all["status"] = "paid"
    people = pd.DataFrame({"member_id": ids, "registered_at": START - pd.Timedelta("200D")})
    return Shop(folder, people, pd.concat(rows, ignore_index=True), bought_all, designs)


@pytest.fixture(autouse=True, scope="session")
def _one_process() -> Iterator[None]:
    """Candidates are judged one after the other: starting processes costs more than these models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="session")
def call() -> Callable[..., Called]:
    def run(*arguments: str | Path) -> Called:
        found = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert "Traceback" not in found.output
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return Called(found.exit_code, found.stdout, found.stderr)

    return run


@pytest.fixture
def memory() -> Callable[[Workspace], Registry]:
    """A registry on a store in memory."""
    return lambda workspace: Registry(workspace, MemoryBackend())


@pytest.fixture
def make_shop() -> Callable[..., Shop]:
    return build_shop


@pytest.fixture
def put_spec() -> Callable[..., Path]:
    return write_spec


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Not to be changed."""
    return build_shop(tmp_path_factory.mktemp("shop")).write()


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Registry, Trained]:
    """The shop after uplift training, on a store in memory; not to be changed."""
    workspace = build_shop(tmp_path_factory.mktemp("learned")).write()
    registry = Registry(workspace, MemoryBackend())
    return workspace, registry, train_uplift(workspace, registry=registry)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A simulated chain with tiny specifications; not to be changed."""
    folder = tmp_path_factory.mktemp("chains") / "chain"
    simulate(folder, members=1500, months=9)
    write_spec(folder, "churn", CHURN_SPEC)
    write_spec(folder, "uplift", UPLIFT_SPEC)
    return Workspace.open(folder)


@pytest.fixture(scope="session")
def trained(chain: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The chain after both trainings, on a real MLflow store; not to be changed."""
    folder = tmp_path_factory.mktemp("chains") / "trained"
    shutil.copytree(chain.root, folder)
    workspace = Workspace.open(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on import
        train_churn(workspace)
        train_uplift(workspace)
    return workspace


@dataclass(frozen=True)
class Demonstrated:
    """The demonstration after its first run: two experiments, tiny models."""

    folder: Path
    specs: Path
    demo: Demo
    again: Callable[[], Demo]


@pytest.fixture(scope="session")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstrated]:
    """Not to be changed, but by running it again."""
    root = tmp_path_factory.mktemp("demonstration")
    write_spec(root, "churn", {**CHURN_SPEC, "horizon_days": 20, "cutoffs": 1})
    write_spec(root, "uplift", UPLIFT_SPEC)

    def run() -> Demo:
        return demo(root / "demo", members=1500, models=root / "models")

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on import
        patch.setattr("uplift.pipelines.demo.MONTHS", 3)
        yield Demonstrated(root / "demo", root / "models", run(), run)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Workspace], Workspace]:
    """A copy of a workspace, for tests that change it."""

    def copied(workspace: Workspace) -> Workspace:
        folder = tmp_path / "copy"
        shutil.copytree(workspace.root, folder)
        return Workspace.open(folder)

    return copied
