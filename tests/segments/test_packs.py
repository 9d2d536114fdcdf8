"""Industry packs: each compiles, does what it says, and says what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from uplift.data import Engine
from uplift.errors import ConfigError
from uplift.features import spine_of_members
from uplift.segments import assign_tags, check_pack, list_packs, load_pack
from uplift.segments.packs import Pack

AS_OF = datetime(2025, 6, 15, 16, tzinfo=UTC)
DAY = timedelta(days=1)

MINIMAL = """
name: toys
title_zh: 玩具
title_en: Toys
attributes:
  - {name: child_birth_date, kind: date, text_zh: 孩子生日, text_en: Birth date}
tags:
  - {key: toddler, family: profile, name_zh: 幼儿, name_en: Toddler, rule: attr_child_birth_date_days < 1095}
offers:
  - {offer_id: blocks, name_zh: 积木, name_en: Blocks, kind: coupon, eligible: "segment = 'dormant'"}
"""
SECOND = "{offer_id: blocks, name_zh: 二, name_en: Two, kind: x, eligible: orders_total > 1}"
STRAY = "{key: t, name_zh: 某, name_en: T, rule: orders_total > 1, offer_id: nope}"


def test_the_trades_of_the_business_are_there() -> None:
    assert set(list_packs()) == {
        "grocery", "beauty", "fitness", "home_services", "early_education", "jewellery", "tcm_wellness", "pets",
        "postpartum_care", "bakery",
    }  # fmt: skip


@pytest.mark.parametrize("name", list_packs())
def test_every_pack_is_right_and_bilingual(name: str) -> None:
    pack = load_pack(name)
    assert check_pack(name) == []
    assert pack.name == name
    assert len(pack.tags) >= 20
    assert len(pack.offers) >= 4
    assert any(offer.forbidden for offer in pack.offers) or name in ("home_services",)
    assert {tag.family for tag in pack.tags} >= {"preference", "scene", "lifecycle"}
    for entry in (*pack.tags, *pack.offers, *pack.timing):
        assert entry.name_zh != entry.name_en
        assert any("一" <= character <= "鿿" for character in entry.name_zh)


@pytest.mark.parametrize("name", list_packs())
def test_every_tag_can_be_given_even_without_the_packs_attributes(name: str) -> None:
    members = pd.DataFrame({"member_id": ["a"], "registered_at": [AS_OF - 5 * DAY]})
    with Engine.from_tables({"members": members}) as engine:
        table = assign_tags(engine, spine_of_members(engine, AS_OF), load_pack(name))
    row = table.to_pylist()[0]
    assert set(row) == {"member_id", "as_of", *(tag.key for tag in load_pack(name).tags)}
    assert row["settling_in"] is True
    assert row["mother"] is None, "unknown without an answer"


def test_contraindications_hold_unknown_as_not_eligible() -> None:
    pack = load_pack("beauty")
    exfoliation = next(offer for offer in pack.offers if offer.offer_id == "exfoliation")
    assert exfoliation.forbidden == "attr_skin_type = '敏感肌'"
    assert exfoliation.eligible == "attr_skin_type IS NOT NULL"


def test_tags_follow_what_members_do() -> None:
    saturday = datetime(2025, 6, 14, 4, tzinfo=UTC)
    orders = pd.DataFrame(
        {
            "order_id": [f"o{n}" for n in range(8)],
            "member_id": ["weekend"] * 4 + ["weekday"] * 4,
            "ordered_at": [saturday - 7 * n * DAY for n in range(4)] + [saturday - (7 * n + 3) * DAY for n in range(4)],
            "amount": [5_000] * 8,
        }
    )
    members = pd.DataFrame({"member_id": ["weekend", "weekday"], "registered_at": [AS_OF - 400 * DAY] * 2})
    answers = pd.DataFrame(
        {"member_id": ["weekday"], "name": ["role"], "observed_at": [AS_OF - DAY], "value": ["宝妈"]}
    )
    with Engine.from_tables({"members": members, "orders": orders, "attributes": answers}) as engine:
        table = assign_tags(engine, spine_of_members(engine, AS_OF), load_pack("grocery")).to_pandas()
    tags = table.set_index("member_id")
    assert tags["weekend_visitor"].to_dict() == {"weekday": False, "weekend": True}
    assert bool(tags.loc["weekday", "mother"])
    assert pd.isna(tags.loc["weekend", "mother"])


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(MINIMAL, encoding="utf-8")
    assert check_pack(path) == []
    pack = load_pack(str(path))
    assert {"toddler", "weekend_visitor"} <= {tag.key for tag in pack.tags}
    assert set(pack.catalogue) == {"attr_child_birth_date_days", "attr_role", "attr_age_band"}


def test_its_own_tag_replaces_the_common_one(tmp_path: Path) -> None:
    own = "  - {key: steady, family: lifecycle, name_zh: 老客, name_en: Old, rule: orders_total > 9}\n"
    path = tmp_path / "toys.yaml"
    path.write_text(MINIMAL.replace("offers:", own + "offers:"), encoding="utf-8")
    assert [tag.rule for tag in load_pack(path).tags if tag.key == "steady"] == ["orders_total > 9"]


def test_everything_wrong_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "toys.yaml"
    wrong = MINIMAL.replace("attr_child_birth_date_days", "attr_child_birthdate").replace("'dormant'", "'asleep'")
    path.write_text(wrong + "timing:\n  - {key: x, name_zh: 某, name_en: X, rule: orders_total}\n", encoding="utf-8")
    problems = check_pack(path)
    assert len(problems) == 3
    for part in ("tags.toddler", "unknown segment 'asleep'", "timing.x"):
        assert any(part in problem for problem in problems), part
    with pytest.raises(ConfigError, match=r"3 problem\(s\)"):
        load_pack(path)


def test_a_wrong_shape_and_wrong_rules_are_both_said(tmp_path: Path) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(MINIMAL.replace("kind: coupon, ", "").replace("< 1095", "< 'x'"), encoding="utf-8")
    problems = check_pack(path)
    assert any("kind" in problem and "required" in problem for problem in problems)
    assert any("mixes types" in problem for problem in problems)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("offer_id: blocks", "offer_id: Blocks", "pattern"),
        ("offers:", f"offers:\n  - {SECOND}", "twice"),
        ("family: profile", "family: profiles", "profile"),
        ("title_en: Toys", "title: Toys", "title_en"),
        ("name: toys", f"name: toys\ntiming:\n  - {STRAY}", "does not have"),
    ],
)  # fmt: skip
def test_mistakes_of_shape(tmp_path: Path, old: str, new: str, part: str) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(MINIMAL.replace(old, new, 1), encoding="utf-8")
    assert any(part in problem for problem in check_pack(path))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'grocery'"):
        load_pack("grocry")
    with pytest.raises(ConfigError, match="no such file"):
        check_pack(tmp_path / "no.yaml")


def test_packs_are_plain_values() -> None:
    pack = load_pack("pets")
    assert Pack.model_validate(pack.model_dump(mode="json")) == pack
