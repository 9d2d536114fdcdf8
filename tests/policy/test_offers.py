from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from uplift.errors import InputError, RuleError
from uplift.policy import Offer, eligibility, read_offers

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
COLUMNS = {"orders_total": "number", "attr_skin_type": "text", "attr_age_months": "number"}
MEMBERS = pd.DataFrame(
    {
        "orders_total": [0.0, 3.0, 3.0, np.nan],
        "attr_skin_type": ["oily", "sensitive", None, "oily"],
        "attr_age_months": [1.0, 2.0, 3.0, 4.0],
    }
)


def offers(**columns) -> tuple[Offer, ...]:
    return read_offers(pd.DataFrame({"offer_id": ["peel"], **columns}), COLUMNS)


def reasons(found: tuple[Offer, ...], **arguments) -> list[str]:
    return eligibility(found, MEMBERS, as_of=AS_OF, **arguments).reasons()[:, 0].tolist()


def test_unknown_is_not_eligible_and_the_reason_names_the_field() -> None:
    assert reasons(offers(eligible="orders_total >= 1")) == ["not_eligible", "", "", "unknown:orders_total"]


def test_a_contraindication_that_cannot_be_ruled_out_forbids() -> None:
    found = offers(forbidden="attr_skin_type = 'sensitive'")
    assert reasons(found) == ["", "forbidden", "unknown:attr_skin_type", ""]


def test_a_definite_no_comes_before_an_unknown() -> None:
    found = offers(eligible="orders_total >= 5", forbidden="attr_skin_type = 'sensitive'")
    assert reasons(found) == ["not_eligible", "forbidden", "not_eligible", "unknown:orders_total"]


def test_several_unknown_fields_are_all_named() -> None:
    both = pd.DataFrame({"orders_total": [np.nan], "attr_skin_type": [None], "attr_age_months": [1.0]})
    found = offers(eligible="orders_total >= 1 AND attr_skin_type = 'oily'")
    assert eligibility(found, both, as_of=AS_OF).reasons().tolist() == [["unknown:attr_skin_type,orders_total"]]


@pytest.mark.parametrize(
    ("window", "valid"),
    [
        ({"valid_from": [AS_OF], "valid_to": [AS_OF]}, True),  # both ends included
        ({"valid_from": [AS_OF + timedelta(seconds=1)]}, False),
        ({"valid_to": [AS_OF - timedelta(seconds=1)]}, False),
        ({"valid_from": [None], "valid_to": [None]}, True),
    ],
)
def test_validity_window(window, valid: bool) -> None:
    assert set(reasons(offers(**window))) == ({""} if valid else {"not_valid_now"})


def test_consent_is_asked_for_only_where_it_is_recorded() -> None:
    assert reasons(offers()) == [""] * 4
    assert reasons(offers(), consent=[1, 0, np.nan, 1]) == ["", "no_consent", "unknown:consent_marketing", ""]


def test_cooldown_after_a_purchase_and_after_a_touch_with_the_same_offer() -> None:
    found = offers(cooldown_days=[7.0])
    assert reasons(found, days_since_purchase=[6.9, 7.0, np.nan, 100]) == ["cooldown", "", "", ""]
    touched = np.array([[np.nan], [3.0], [8.0], [6.0]])
    assert reasons(found, days_since_touch=touched) == ["", "cooldown", "", "cooldown"]
    assert reasons(offers(cooldown_days=[None]), days_since_purchase=[0.1] * 4) == [""] * 4


def test_a_quota_of_zero_gives_nothing() -> None:
    assert reasons(offers(quota=[0])) == ["quota"] * 4


def test_money_is_in_units_and_names_fall_back() -> None:
    (offer,) = offers(name_zh=["去角质"], name_en=[None], cost_contact=[250], cost_redeem=[None], quota=[5])
    assert (offer.cost_contact, offer.cost_redeem, offer.quota, offer.name_en) == (2.5, 0.0, 5, "去角质")


def test_every_broken_rule_is_listed_at_once() -> None:
    table = pd.DataFrame(
        {"offer_id": ["a", "b"], "eligible": ["order_total > 1", "orders_total >"], "forbidden": [None, "1 + 1"]}
    )
    with pytest.raises(RuleError) as caught:
        read_offers(table, COLUMNS)
    message = str(caught.value)
    assert "3 rule(s)" in message
    assert "offers.eligible of 'a'" in message
    assert "did you mean 'orders_total'" in message
    assert "offers.forbidden of 'b'" in message
    assert len(read_offers(table, COLUMNS, wanted=[])) == 0


def test_counts_and_shapes() -> None:
    found = eligibility(offers(eligible="orders_total >= 1"), MEMBERS, as_of=AS_OF)
    assert found.mask[:, 0].tolist() == [False, True, True, False]
    assert {row["reason"]: row["members"] for row in found.to_dicts()} == {
        "eligible": 2,
        "not_eligible": 1,
        "unknown:orders_total": 1,
    }
    assert found.to_pandas()["members"].sum() == 4
    empty = eligibility((), MEMBERS, as_of=AS_OF)
    assert empty.mask.shape == (4, 0)
    with pytest.raises(InputError, match="consent"):
        reasons(offers(), consent=[1.0])
    with pytest.raises(InputError, match="days_since_touch"):
        reasons(offers(), days_since_touch=np.zeros((1, 1)))
