"""Wrong input to training and scoring ends in a message and exit status 2, without a traceback and without a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from uplift.cli import main

GIVEN = {
    "--arm": "arm",
    "--control": "none",
    "--outcome": "bought",
    "--feature": "age",
    "--learner": "constant",
}
Train = Callable[..., tuple[Result, Path]]


def sound() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 300
    return pd.DataFrame(
        {
            "member": [f"secret-{i}" for i in range(n)],
            "arm": rng.choice(["none", "mail"], n),
            "bought": (rng.random(n) < 0.3).astype(int),
            "age": rng.integers(18, 80, n),
        }
    )


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def go(content: pd.DataFrame | bytes | None, *more: str, **changed: str) -> tuple[Result, Path]:
        path = tmp_path / "t.csv"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            content.to_csv(path, index=False)
        given = {**GIVEN, **{f"--{name}": value for name, value in changed.items()}}
        out = tmp_path / "out"
        options = [part for pair in given.items() for part in pair]
        return CliRunner().invoke(
            main, ["train", "uplift", "--data", str(path), *options, *more, "--out", str(out)]
        ), out

    return go


def refused(done: Result, out: Path | None, *parts: str) -> None:
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert "internal failure" not in done.output
    assert "secret" not in done.output
    for part in parts:
        assert part in done.output, done.output
    assert out is None or not out.exists()


def test_a_sound_table_works(train: Train) -> None:
    done, out = train(sound())
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == {"model", "result.json"}


def test_a_text_among_numbers(train: Train) -> None:
    table = sound().astype({"bought": object})
    table.loc[[4, 7], "bought"] = "yes"
    refused(*train(table), "bought", "text", "2 rows", "'yes'")


@pytest.mark.parametrize("option", ["arm", "outcome", "feature"])
def test_a_column_that_is_not_there(train: Train, option: str) -> None:
    refused(*train(sound(), **{option: "aeg"}), "no column 'aeg'")


def test_every_absent_column_is_named_at_once(train: Train) -> None:
    refused(*train(sound(), feature="aeg", outcome="bougth"), "'aeg'", "'bougth'", "bought")


def test_a_control_that_nobody_has(train: Train) -> None:
    refused(*train(sound(), control="nnone"), "no row has the control 'nnone'", "none")


def test_one_arm_only(train: Train) -> None:
    refused(*train(sound().assign(arm="none")), "one arm only")


def test_an_arm_that_is_missing_in_some_rows(train: Train) -> None:
    table = sound()
    table.loc[:4, "arm"] = None
    refused(*train(table), "arm is missing in 5 rows")


def test_an_outcome_that_is_empty_or_partly_missing(train: Train) -> None:
    refused(*train(sound().assign(bought=np.nan)), "bought is empty in every row")
    table = sound()
    table.loc[:2, "bought"] = np.nan
    refused(*train(table), "bought is missing in 3 rows")


def test_an_outcome_that_is_always_the_same(train: Train) -> None:
    refused(*train(sound().assign(bought=1)), "300 rows")


def test_the_outcome_or_the_arm_as_a_feature(train: Train) -> None:
    refused(*train(sound(), feature="bought"), "bought cannot be a feature")


@pytest.mark.parametrize(
    ("content", "part"), [(b"", "empty (0 bytes)"), (b"arm,bought,age\n", "no rows"), (None, "no such file")]
)
def test_a_file_without_rows(train: Train, content: bytes | None, part: str) -> None:
    refused(*train(content), part)


@pytest.mark.parametrize(
    ("shares", "part"),
    [
        (("none=1/2", "mail=1/3"), "add up to"),
        (("none=1/2", "male=1/2"), "'male'"),
        (("none=1/2",), "no --share for mail"),
        (("none", "mail=1/2"), "ARM=SHARE"),
    ],
)
def test_wrong_shares(train: Train, shares: tuple[str, ...], part: str) -> None:
    refused(*train(sound(), *[word for share in shares for word in ("--share", share)]), part)


def test_unknown_learner_and_too_few_rows(train: Train) -> None:
    refused(*train(sound(), learner="TT"), "TT")
    refused(*train(sound().iloc[:8]), "rows")


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["-C", str(tmp_path), "train", "uplift", "--arm", "arm"])
    refused(done, None, "--arm", "--data")
    done = CliRunner().invoke(main, ["train", "uplift", "--data", "t.csv", "--arm", "arm"])
    refused(done, None, "--control", "--outcome", "--feature", "--out")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Members without orders, events or experiments."""
    (tmp_path / "data").mkdir()
    (tmp_path / "uplift.yaml").write_text("data: data/\n")
    table = pd.DataFrame({"member_id": ["secret-1", "secret-2"], "registered_at": "2026-01-01T00:00:00Z"})
    table.to_csv(tmp_path / "data" / "members.csv", index=False)
    return tmp_path


@pytest.mark.parametrize(
    ("model", "parts"), [("churn", ("not one order",)), ("uplift", ("no experiment is defined", "experiment new"))]
)
def test_a_workspace_with_nothing_to_learn_from(workspace: Path, model: str, parts: tuple[str, ...]) -> None:
    refused(CliRunner().invoke(main, ["-C", str(workspace), "train", model]), workspace / "runs", *parts)


def test_an_experiment_before_any_event(workspace: Path) -> None:
    (workspace / "experiments").mkdir()
    (workspace / "experiments" / "e.yaml").write_text(
        "id: e\ncontrol: a\narms: [{name: a, share: 1/2}, {name: b, share: 1/2}]\n"
        "metrics: [{name: conversion, outcome: ordered}]\n"
    )
    refused(CliRunner().invoke(main, ["-C", str(workspace), "train", "uplift"]), workspace / "runs", "not one event")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("horizon_day: 30\n", ("horizon_day", "horizon_days")),
        ("horizon_days: 0\nfolds: one\n", ("horizon_days", "folds")),
        ("calibration: isotonicc\n", ("calibration",)),
        ("booster: {n_estimators: -1}\n", ("n_estimators",)),
        ("[1, 2]\n", ("churn.yaml",)),
        ("a: [\n", ("churn.yaml",)),
    ],
)
def test_a_wrong_specification(workspace: Path, text: str, parts: tuple[str, ...]) -> None:
    (workspace / "models").mkdir()
    (workspace / "models" / "churn.yaml").write_text(text)
    refused(CliRunner().invoke(main, ["-C", str(workspace), "train", "churn"]), workspace / "runs", *parts)


def test_a_specification_that_is_not_there(workspace: Path) -> None:
    done = CliRunner().invoke(main, ["-C", str(workspace), "train", "uplift", "--spec", "absent.yaml"])
    refused(done, workspace / "runs", "absent.yaml")


def test_a_folder_that_is_no_workspace(tmp_path: Path) -> None:
    for model in ("churn", "uplift"):
        refused(CliRunner().invoke(main, ["-C", str(tmp_path), "train", model]), None, "uplift.yaml")


def test_scoring_with_a_folder_that_is_no_model(tmp_path: Path) -> None:
    sound().to_csv(tmp_path / "t.csv", index=False)
    options: dict[str, Any] = {"--model": tmp_path, "--data": tmp_path / "t.csv", "--out": tmp_path / "o.csv"}
    words = [str(part) for pair in options.items() for part in pair]
    refused(CliRunner().invoke(main, ["score", *words]), tmp_path / "o.csv", "not a model", "meta.json")
