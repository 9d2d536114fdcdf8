"""The recommendation job: what it writes, that it is idempotent, survives ``kill -9``, and refuses what is wrong.

Run as a script, this file is the victim of the kill test: it decides, and kills itself at a chosen progress message.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from uplift.config import Workspace
from uplift.data import read_manifest
from uplift.errors import ConfigError, InputError, RuleError
from uplift.learners.bundle import Bundle
from uplift.pipelines.recommend import Recommended, recommend
from uplift.policy import DECISION_COLUMNS, decision_schema, holdout
from uplift.tracking import PinnedModel

AS_OF = "2026-03-01"
MEMBERS = 700
ARMS = ("coupon", "gift", "peel")


class Effect:
    """Stands in for a learner: effects are plain functions of two features."""

    arms_ = ARMS

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        orders = X["orders_total"].to_numpy()
        gone = X["days_since_last_order"].fillna(200).to_numpy()
        return self.scale * np.column_stack([0.5 * orders - 0.6, gone / 60 - 0.5, 1.0 - 0.2 * orders])


class Risk:
    """Stands in for the churn model."""

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        p = np.clip(X["days_since_last_order"].to_numpy() / 100, 0, 1)
        return np.column_stack([1 - p, p])


META = {
    "kind": "uplift",
    "features": ["orders_total", "days_since_last_order"],
    "outcomes": ["conversion", "spend"],
    "value_outcome": "spend",
    "windows": {"conversion": 14, "spend": 14},
    "sources": {"conversion": "ordered", "spend": "spend"},
    "arms": list(ARMS),
    "effect_se": {
        "spend": {arm: {"*": {"effect": 300.0, "se": 100.0}, "dormant": {"effect": 900.0, "se": 50.0}} for arm in ARMS}
    },
}
CHURN_META = {
    "kind": "churn",
    "features": ["days_since_last_order"],
    "population": "orders_total >= 1 AND days_since_last_order <= 90",
}
BUNDLES = {
    "uplift": Bundle("uplift", {"conversion": Effect(0.02), "spend": Effect(900.0)}, META),
    "churn": Bundle("churn", {"churn": Risk()}, CHURN_META),
}


class Registry:
    """Champions that are there from the start."""

    def __init__(self, *, digest: str = "d0", names: tuple[str, ...] = ("uplift", "churn")) -> None:
        self.digest, self.names, self.asked = digest, names, []

    def champion(self, name: str) -> PinnedModel | None:
        self.asked.append(name)
        if name not in self.names:
            return None
        return PinnedModel(name, 1, self.digest, "key", Path(name), {}, {})


def load(folder: Path) -> Bundle:
    return BUNDLES[folder.name]


def write_world(folder: Path, config: Mapping[str, object] = {}, offers: Mapping[str, list] = {}) -> Workspace:
    """A small shop: members who bought more or less lately, three offers with rules, a budget."""
    rng = np.random.default_rng(0)
    data = folder / "data"
    data.mkdir(parents=True)
    ids = [f"m{i:04d}" for i in range(MEMBERS)]
    now = pd.Timestamp(AS_OF, tz="Asia/Shanghai")
    pd.DataFrame(
        {
            "member_id": ids,
            "registered_at": now - pd.to_timedelta(rng.integers(1, 700, MEMBERS), unit="D"),
            "consent_marketing": rng.choice([True, True, True, False, None], MEMBERS),
        }
    ).to_parquet(data / "members.parquet")
    n = 2_000
    amount = rng.integers(2_000, 20_000, n)
    orders = pd.DataFrame(
        {
            "order_id": [f"o{i}" for i in range(n)],
            "member_id": rng.choice(ids, n),
            "ordered_at": now - pd.to_timedelta(rng.exponential(80, n) * 24, unit="h").round("s"),
            "amount": amount,
            "cost": (amount * 0.6).astype(int),
            "status": "paid",
        }
    )
    pd.concat([orders, orders.assign(order_id=orders.order_id + "x", ordered_at=now + pd.Timedelta("3D"))]).to_parquet(
        data / "orders.parquet"
    )
    touched = now - pd.Timedelta("3D")
    pd.DataFrame(
        {
            "touch_id": [f"t{i}" for i in range(300)],
            "member_id": ids[:300],
            "offer_id": ["coupon"] * 100 + ["gift"] * 200,
            "sent_at": touched,
            "redeemed_at": [touched + pd.Timedelta("1D")] * 60 + [pd.NaT] * 240,
        }
    ).to_parquet(data / "touches.parquet")
    pd.DataFrame(
        {
            "offer_id": ["coupon", "gift", "peel", "untried"],
            "name_zh": ["满减券", "回归礼", "去角质", "没试过"],
            "name_en": ["Voucher", "Come-back gift", "Peeling", "Untried"],
            "eligible": ["orders_total >= 1", None, None, None],
            "forbidden": [None, None, "days_since_last_order < 10", None],
            "cost_contact": [50, 100, 20, 0],
            "cost_redeem": [200, 500, 0, 0],
            "quota": [None, 60, None, None],
            "channel": ["app", "sms", "app", "app"],
            "form": ["article", None, "video", None],
            "cooldown_days": [5.0, None, None, None],
            **offers,
        }
    ).to_parquet(data / "offers.parquet")
    lines = {"data": "data/", "holdout": 0.1, "explore": 0.1, "budget": 150, **config}
    (folder / "uplift.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items()), encoding="utf-8")
    return Workspace.open(folder)


def run(workspace: Workspace, as_of: str | None = AS_OF, **arguments) -> Recommended:
    arguments.setdefault("registry", Registry())
    return recommend(workspace, as_of, load=load, chunk=100, **arguments)


def rows_of(done: Recommended) -> pd.DataFrame:
    return pd.concat([pq.read_table(done.folder / p["file"]).to_pandas() for p in done.manifest["parts"]])


def tree(folder: Path) -> dict[str, str]:
    """Every file under a folder with its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_world(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def done(workspace: Workspace) -> Recommended:
    return run(workspace)


@pytest.fixture(scope="module")
def rows(done: Recommended) -> pd.DataFrame:
    return rows_of(done)


def test_one_row_for_every_member_registered_before(rows: pd.DataFrame, done: Recommended) -> None:
    assert len(rows) == MEMBERS == done.manifest["rows"] == done.manifest["totals"]["members"]
    assert rows["member_id"].is_unique
    schema = pq.read_schema(done.folder / done.manifest["parts"][0]["file"])
    assert schema.equals(decision_schema(["conversion", "spend"]))
    assert set(DECISION_COLUMNS) < set(rows.columns)


def test_sources_offers_and_constraints(rows: pd.DataFrame, done: Recommended) -> None:
    assert set(rows["source"]) == {"policy", "explore", "holdout", "none"}
    held = holdout(rows["member_id"], 0.1)
    assert (rows.loc[held, "source"] == "holdout").all()
    assert (rows["source"] == "holdout").sum() == held.sum()
    assert rows.loc[rows["source"].isin(["holdout", "none"]), "offer_id"].isna().all()
    assert rows.loc[rows["source"] == "policy", "offer_id"].notna().all()
    assert rows["cost"].sum() <= 150
    assert (rows["offer_id"] == "gift").sum() <= 60
    assert (rows["offer_id"] == "untried").sum() == 0
    manifest = done.manifest
    assert manifest["bound"] >= manifest["value"] > 0
    assert manifest["gap"] == pytest.approx((manifest["bound"] - manifest["value"]) / manifest["bound"])
    assert manifest["prices"]["budget"] > 0
    assert sum(manifest["totals"]["by_source"].values()) == MEMBERS
    assert manifest["totals"]["cost"] == pytest.approx(rows["cost"].sum())
    assert manifest["totals"]["expected_value"] == pytest.approx(rows["expected_value"].sum())


def test_propensity_is_on_every_row_and_as_documented(rows: pd.DataFrame, done: Recommended) -> None:
    assert rows["propensity"].between(0, 1, inclusive="right").all()
    assert (rows.loc[rows["source"] == "holdout", "propensity"] == 0.1).all()
    rate = done.manifest["constraints"]["explore"]
    assert 0 < rate <= 0.1
    explored = rows[rows["source"] == "explore"]
    floor = rate / 4  # three offers and none
    assert len(explored) > 10
    assert (explored["propensity"] >= floor - 1e-12).all()
    decided = rows[rows["source"].isin(["policy", "none"])]
    assert (decided["propensity"] >= 1 - rate).all()


def test_value_is_uplift_times_margin_less_cost(rows: pd.DataFrame, done: Recommended) -> None:
    margin = done.manifest["margin"]["rate"]
    assert margin == pytest.approx(0.4, abs=1e-3)  # from the orders' own cost, not uplift.yaml
    cost = {offer["offer_id"]: offer["expected_cost"] for offer in done.manifest["offers"]}
    assert cost["gift"] == pytest.approx(1.0 + 5.0 * (0 + 50 * 60 / 300) / (200 + 50))
    assert cost["coupon"] == pytest.approx(0.5 + 2.0 * (60 + 50 * 60 / 300) / (100 + 50))
    given = rows[rows["offer_id"].notna()]
    expected = given["effect_spend"] * margin - given["offer_id"].map(cost)
    assert given["expected_value"].to_numpy() == pytest.approx(expected.to_numpy())
    assert given["cost"].to_numpy() == pytest.approx(given["offer_id"].map(cost).to_numpy())
    assert (given.loc[given["source"] == "policy", "expected_value"] > 0).all()
    rest = rows[rows["offer_id"].isna()]
    assert (rest[["expected_value", "cost"]] == 0).all(axis=None)
    assert rest[["effect_spend", "effect_conversion", "channel", "send_at"]].isna().all(axis=None)


def test_the_low_effect_is_the_segments_and_never_above_the_members_own(rows: pd.DataFrame) -> None:
    given = rows[rows["offer_id"].notna()]
    low = np.where(given["segment"] == "dormant", 9.0 - 1.96 * 0.5, 3.0 - 1.96 * 1.0)
    assert given["effect_low_spend"].to_numpy() == pytest.approx(np.minimum(low, given["effect_spend"]), abs=1e-4)
    assert rows["effect_low_conversion"].isna().all()  # no standard errors were given: no number


def test_rules_consent_and_cooldown_hold_in_every_row(rows: pd.DataFrame, workspace: Workspace) -> None:
    members = pd.read_parquet(workspace.data / "members.parquet").set_index("member_id")
    orders = pd.read_parquet(workspace.data / "orders.parquet")
    now = pd.Timestamp(AS_OF, tz="Asia/Shanghai")
    past = orders[orders["ordered_at"] < now]
    days = (now - past.groupby("member_id")["ordered_at"].max()).dt.total_seconds() / 86_400
    table = rows.set_index("member_id").assign(
        consent=members["consent_marketing"], days=days, orders=past.groupby("member_id").size()
    )
    given = table[table["offer_id"].notna()]
    assert (given["consent"] == True).all()  # noqa: E712 - None is not consent
    coupons = given[given["offer_id"] == "coupon"]
    assert (coupons["orders"] >= 1).all()
    assert (coupons["days"] >= 5).all()
    assert not coupons.index.isin([f"m{i:04d}" for i in range(100)]).any()  # touched with it three days ago
    assert (given.loc[given["offer_id"] == "peel", "days"] >= 10).all()  # unknown forbids too
    codes = {member: dict(pairs) for member, pairs in table["not_chosen"].items()}
    someone = table.index[(table["consent"] == False) & (table["source"] != "holdout")]  # noqa: E712
    assert {code for m in someone for code in codes[m].values()} == {"no_consent"}
    nobody_knows = table.index[table["consent"].isna() & (table["source"] != "holdout")]
    found = {code for m in nobody_knows for code in codes[m].values()}
    assert found == {"unknown:consent_marketing", "forbidden", "not_eligible"}  # a definite no comes first
    never = table.index[(table["consent"] == True) & table["orders"].isna() & (table["source"] != "holdout")]  # noqa: E712
    assert {codes[m]["peel"] for m in never} == {"unknown:days_since_last_order"}


def test_every_offer_that_was_not_chosen_has_a_code(rows: pd.DataFrame) -> None:
    for offer, pairs in zip(rows["offer_id"], rows["not_chosen"], strict=True):
        named = [name for name, _ in pairs]
        assert sorted([*named, *([offer] if isinstance(offer, str) else [])]) == sorted(ARMS)
        assert all(code for _, code in pairs)


def test_churn_risk_only_where_the_model_may_speak(rows: pd.DataFrame) -> None:
    assert rows["churn_risk"].isna().any()
    assert rows["churn_risk"].dropna().between(0, 0.9 + 1e-9).all()


def test_reasons_are_given_in_both_languages(rows: pd.DataFrame) -> None:
    assert rows["why_zh"].str.endswith("。").all()
    assert rows["why_en"].str.endswith(".").all()
    gift = rows[(rows["offer_id"] == "gift") & (rows["source"] == "policy")].iloc[0]
    assert "回归礼" in gift["why_zh"]
    assert "Come-back gift" in gift["why_en"]
    shown = f"{abs(gift['expected_value']):,.2f}"
    assert shown in gift["why_zh"]
    assert shown in gift["why_en"]
    assert rows["reasons"].map(len).min() == 1


def test_send_time_follows_within_eight_days(rows: pd.DataFrame) -> None:
    at = rows.loc[rows["offer_id"].notna(), "send_at"]
    now = pd.Timestamp(AS_OF, tz="Asia/Shanghai")
    assert (at >= now).all()
    assert (at <= now + pd.Timedelta("8D")).all()


def test_manifest_pins_models_and_parts_and_comes_with_a_pointer(done: Recommended, workspace: Workspace) -> None:
    assert read_manifest(done.folder, verify=True) == done.manifest
    assert [m["digest"] for m in done.manifest["models"]] == ["d0", "d0"]
    assert (workspace.decisions / "CURRENT").read_text().strip() == "run=2026-03-01"
    assert any("untried" in note for note in done.manifest["notes"])
    assert "returns ¥" in done.text()
    assert str(done.folder) in done.text()
    assert not (workspace.decisions / ".staging" / done.folder.name).exists()


def test_champions_are_resolved_once(tmp_path: Path) -> None:
    registry = Registry()
    run(write_world(tmp_path / "w"), registry=registry)
    assert sorted(registry.asked) == ["churn", "uplift"]


def test_the_same_inputs_give_the_same_bytes(done: Recommended, workspace: Workspace, tmp_path: Path) -> None:
    again = run(workspace)
    assert again.repeated
    assert again.manifest == done.manifest
    elsewhere = run(write_world(tmp_path / "copy"))
    assert not elsewhere.repeated
    assert tree(elsewhere.folder) == tree(done.folder)


def test_other_inputs_never_overwrite_a_finished_run(tmp_path: Path) -> None:
    workspace = write_world(tmp_path / "w")
    first = run(workspace)
    before = tree(first.folder)
    second = run(workspace, registry=Registry(digest="d1"))
    assert second.run == "2026-03-01-2"
    assert tree(first.folder) == before
    with pytest.raises(InputError, match="choose another name"):
        run(workspace, run="2026-03-01", budget=1.0)
    named = run(workspace, run="spring", budget=50.0)
    assert named.manifest["constraints"]["budget"] == 50.0
    assert named.manifest["totals"]["cost"] <= 50
    assert (workspace.decisions / "CURRENT").read_text().strip() == "run=spring"


def killed_at(message: str, folder: Path) -> Workspace:
    """A workspace whose run was killed at its first progress message that begins like this."""
    workspace = write_world(folder)
    victim = subprocess.run(
        [sys.executable, __file__, str(folder), message], capture_output=True, text=True, check=False
    )
    assert victim.returncode == -signal.SIGKILL, victim.stderr
    assert not (workspace.decisions / "run=2026-03-01" / "manifest.json").exists()
    assert not (workspace.decisions / "CURRENT").exists()
    return workspace


@pytest.fixture(scope="module")
def killed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return killed_at("scored 500", tmp_path_factory.mktemp("killed") / "w").root


@pytest.fixture
def killed(killed_folder: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(killed_folder, tmp_path / "w"))


def resume(workspace: Workspace, **arguments) -> tuple[Recommended, int]:
    """The finished run, and how many staged parts it kept."""
    messages: list[str] = []
    done = run(workspace, None, resume="2026-03-01", progress=messages.append, **arguments)
    return done, len([m for m in messages if m.startswith("kept")])


def test_a_run_killed_while_scoring_goes_on_and_ends_in_the_same_bytes(done: Recommended, killed: Workspace) -> None:
    resumed, kept = resume(killed)
    assert kept == 5
    assert tree(resumed.folder) == tree(done.folder)


def test_a_run_killed_while_writing_goes_on_and_ends_in_the_same_bytes(done: Recommended, tmp_path: Path) -> None:
    workspace = killed_at("writing", tmp_path / "w")
    resumed, kept = resume(workspace)
    assert kept == 7
    assert tree(resumed.folder) == tree(done.folder)


def test_a_staged_part_that_was_changed_is_scored_again(done: Recommended, killed: Workspace) -> None:
    part = killed.decisions / ".staging" / "run=2026-03-01" / "scores-00002.parquet"
    part.write_bytes(part.read_bytes()[:-50] + b"0" * 50)
    resumed, kept = resume(killed)
    assert kept == 4
    assert tree(resumed.folder) == tree(done.folder)


def test_what_changed_since_cannot_be_resumed(killed: Workspace) -> None:
    with pytest.raises(InputError, match="changed since it began"):
        resume(killed, registry=Registry(digest="d1"))
    with pytest.raises(ConfigError, match="leave --budget out"):
        resume(killed, budget=3.0)
    with pytest.raises(ConfigError, match="leave --as-of out"):
        run(killed, "2026-02-01", resume="2026-03-01")
    fresh = run(killed, registry=Registry(digest="d1"))  # a new run of that name starts over
    assert fresh.manifest["models"][0]["digest"] == "d1"


def test_no_budget_no_holdout_no_churn_model(tmp_path: Path) -> None:
    workspace = write_world(tmp_path / "w", {"budget": None, "holdout": 0, "explore": 0})
    done = run(workspace, registry=Registry(names=("uplift",)))
    rows = rows_of(done)
    assert set(rows["source"]) == {"policy", "none"}
    assert (rows["propensity"] == 1).all()
    assert rows["churn_risk"].isna().all()
    assert "no budget was set" in done.text()
    assert done.manifest["status"] == "optimal"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"registry": Registry(names=())}, InputError, "uplift train uplift"),
        ({"as_of": None}, ConfigError, "--as-of"),
        ({"as_of": "01/02/2026"}, InputError, "is not a date"),
        ({"as_of": "2001-01-01"}, InputError, "no member was registered before"),
        ({"run": "../x"}, ConfigError, "expected letters"),
        ({"run": "a", "resume": "b"}, ConfigError, "one of them"),
        ({"as_of": None, "resume": "never"}, InputError, "no run 'never'"),
        ({"budget": -1.0}, ConfigError, "at least 0"),
        ({"budget": float("nan")}, ConfigError, "at least 0"),
    ],
)
def test_what_is_wrong_is_said_in_words(arguments, error, words: str, workspace: Workspace) -> None:
    with pytest.raises(error, match=words):
        run(workspace, arguments.pop("as_of", AS_OF), **arguments)


def test_broken_rules_of_offers_are_listed(tmp_path: Path) -> None:
    workspace = write_world(tmp_path / "w", offers={"eligible": ["orders_totl > 1", "nonsense(1)", None, "also wrong"]})
    with pytest.raises((RuleError, InputError)) as caught:
        run(workspace)
    assert "orders_totl" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_model_whose_value_is_not_money_is_refused(workspace: Workspace) -> None:
    meta = {**META, "value_outcome": "conversion"}
    with pytest.raises(InputError, match="is not money"):
        recommend(
            workspace, AS_OF, registry=Registry(), load=lambda folder: Bundle("uplift", BUNDLES["uplift"].models, meta)
        )


def test_arms_without_offers_are_noted_and_none_at_all_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    def strange(folder: Path) -> Bundle:
        if folder.name != "uplift":
            return load(folder)
        return Bundle("uplift", BUNDLES["uplift"].models, {**META, "arms": ["discount-1", "discount-2"]})

    with pytest.raises(InputError, match="none of the uplift model's arms"):
        recommend(workspace, AS_OF, registry=Registry(), load=strange)


def test_at_the_prompt(workspace: Workspace, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from uplift.cli import main

    help_text = CliRunner().invoke(main, ["recommend", "--help"])
    assert help_text.exit_code == 0
    for option in ("--as-of", "--run", "--resume", "--budget"):
        assert option in help_text.output
    nothing = CliRunner().invoke(main, ["recommend", "-C", str(tmp_path), "--as-of", AS_OF])
    assert nothing.exit_code == 2
    assert "Traceback" not in nothing.output


if __name__ == "__main__":

    def die(message: str) -> None:
        if message.startswith(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    run(Workspace.open(sys.argv[1]), progress=die)
