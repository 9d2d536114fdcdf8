"""Uplift from one flat table: ``uplift train uplift --data`` and ``uplift score``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from uplift.errors import InputError
from uplift.learners.bundle import load_bundle
from uplift.pipelines.score import score
from uplift.pipelines.train_flat import parse_shares

ROWS = 900


def people(n: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """``mail`` makes those in Shanghai visit and keeps the others away; ``gift`` does nothing."""
    rng = np.random.default_rng(seed)
    arm = rng.choice(["no mail", "mail", "gift"], n, p=[0.5, 0.25, 0.25])
    city = rng.choice(["上海", "杭州"], n)
    mailed, near = arm == "mail", city == "上海"
    visit = (rng.random(n) < np.where(near, 0.2 + 0.5 * mailed, 0.5 - 0.4 * mailed)).astype(int)
    return pd.DataFrame(
        {
            "person": [f"secret-{i}" for i in range(n)],
            "arm": arm,
            "city": city,
            "age": rng.integers(18, 80, n).astype(float),
            "visit": visit,
            "spend": visit * rng.integers(10, 90, n),
        }
    )


OPTIONS = (
    "--arm", "arm", "--control", "no mail", "--outcome", "visit", "--outcome", "spend",
    "--feature", "city", "--feature", "age", "--learner", "constant", "--learner", "T",
    "--share", "no mail=1/2", "--share", "mail=0.25", "--share", "gift=25%",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, call: Callable[..., Any]) -> tuple[Path, dict[str, Any]]:
    """Folder of the outputs, and what the command said."""
    folder = tmp_path_factory.mktemp("flat")
    people().to_csv(folder / "t.csv", index=False)
    done = call("--json", "train", "uplift", "--data", folder / "t.csv", *OPTIONS, "--out", folder / "out")
    return folder / "out", done.json


def test_what_is_written(trained: tuple[Path, dict[str, Any]]) -> None:
    out, said = trained
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert set(result["outcomes"]) == {"visit", "spend"}
    visit = result["outcomes"]["visit"]
    assert visit["chosen"] == "T", "the mail helps one city only"
    assert visit["verdict"]["status"] == "targeting"
    assert {row["candidate"]: row["chosen"] for row in visit["leaderboard"]} == {"T": True, "constant": False}
    assert result["provenance"]["seed"] == 0
    assert len(result["provenance"]["data_hash"]) == 64
    assert said["rows"] == ROWS
    meta = json.loads((out / "model" / "meta.json").read_text(encoding="utf-8"))
    assert (meta["kind"], meta["control"], meta["arms"]) == ("uplift", "no mail", ["gift", "mail"])
    for path in out.rglob("*"):
        if path.is_file():
            assert path.suffix in (".json", ".txt")
            assert b"secret-" not in path.read_bytes()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_one_row_of_effects_a_row_in_order(
    trained: tuple[Path, dict[str, Any]], call: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    new = people(200, seed=1).drop(columns=["arm", "visit", "spend"]).iloc[::-1]
    new.loc[new.index[3], "age"] = np.nan
    new.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / f"effects.{kind}"
    done = call("--json", "score", "--model", trained[0] / "model", "--data", tmp_path / "new.csv", "--out", out,
                "--keep", "person").json  # fmt: skip
    assert done["rows"] == 200
    found = pd.read_csv(out) if kind == "csv" else pd.read_parquet(out)
    assert found["person"].tolist() == new["person"].tolist()
    effects = ["effect_visit_gift", "effect_visit_mail", "effect_spend_gift", "effect_spend_mail"]
    assert list(found.columns) == ["person", *effects]
    expected = load_bundle(trained[0] / "model").predict_frame(new.reset_index(drop=True))
    assert found[effects].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)
    shanghai = (new["city"] == "上海").to_numpy()
    assert found.loc[shanghai, "effect_visit_mail"].mean() > found.loc[~shanghai, "effect_visit_mail"].mean() + 0.2


def test_a_column_of_numbers_may_hold_the_arms(call: Callable[..., Any], tmp_path: Path) -> None:
    """Arms written 0 and 1 are named as they are typed at the prompt."""
    table = people(300)
    table["arm"] = (table["arm"] == "mail").astype(int)
    table.to_csv(tmp_path / "t.csv", index=False)
    done = call("--json", "train", "uplift", "--data", tmp_path / "t.csv", "--arm", "arm", "--control", "0",
                "--outcome", "visit", "--feature", "city", "--learner", "constant", "--share", "0=3/4",
                "--share", "1=1/4", "--out", tmp_path / "out")  # fmt: skip
    assert done.json["outcomes"]["visit"]["chosen"] == "constant"
    assert load_bundle(tmp_path / "out" / "model").meta["arms"] == ["1"]


def test_shares_are_read_in_every_notation() -> None:
    found = parse_shares(["b=1/4", "a=50%", "c=0.25"], ["a", "b", "c"], "a")
    assert list(found) == ["a", "b", "c"]
    assert found == {"a": 0.5, "b": 0.25, "c": 0.25}
    assert parse_shares(["a=b=1/2", "c=1/2"], ["a=b", "c"], "c") == {"c": 0.5, "a=b": 0.5}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (["a"], "write ARM=SHARE"),
        (["a=much", "b=1/2"], "a=much"),
        (["a=1/2", "bb=1/2"], "no row has the arm 'bb'"),
        (["a=1/2"], "no --share for b"),
        (["a=1/2", "b=1/3"], r"add up to 0\.833333"),
    ],
)
def test_wrong_shares_are_said(shares: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_shares(shares, ["a", "b"], "a")


def test_scoring_refuses_what_it_cannot_read(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    model = trained[0] / "model"
    new = tmp_path / "new.csv"
    people(20).drop(columns="visit").to_csv(new, index=False)
    out = tmp_path / "e.parquet"
    with pytest.raises(InputError, match=r"not a model: there is no meta\.json"):
        score(tmp_path / "nowhere", new, out)
    with pytest.raises(InputError, match="no such file"):
        score(model, tmp_path / "absent.csv", out)
    with pytest.raises(InputError, match=r"end the name in \.parquet or \.csv"):
        score(model, new, tmp_path / "e.xlsx")
    with pytest.raises(InputError, match=r"persn.*person"):
        score(model, new, out, keep=["persn"])
    people(20).drop(columns="age").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(InputError, match="age"):
        score(model, tmp_path / "less.csv", out)
    people(20).assign(age="old").to_csv(tmp_path / "text.csv", index=False)
    with pytest.raises(InputError, match="age"):
        score(model, tmp_path / "text.csv", out)
    assert not out.exists()


def test_a_changed_booster_is_refused(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shutil.copytree(trained[0] / "model", tmp_path / "model")
    booster = next((tmp_path / "model").rglob("*.txt"))
    booster.write_text(booster.read_text().replace("leaf_value=", "leaf_value=1", 1))
    people(20).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(InputError, match=f"{booster.name}: altered"):
        score(tmp_path / "model", tmp_path / "new.csv", tmp_path / "e.csv")
