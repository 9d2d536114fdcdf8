"""Every mistake gets a message that says what, where and what to do; never a number."""

import numpy as np
import pytest

from uplift.errors import DesignError, InputError
from uplift.experiments import analyze

GIVEN = {"arm": "arm", "control": "control", "metrics": ["bought"]}


def refused(df, match, **changes):
    with pytest.raises(DesignError, match=match) as caught:
        analyze(df, **(GIVEN | changes))
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_missing_columns_all_at_once(table):
    message = refused(table, "bougth", metrics=["bougth", "spent"], covariates=["pst"], segments=["town"])
    for part in ("did you mean 'bought'", "did you mean 'spend'", "did you mean 'past'", "'town'"):
        assert part in message


def test_empty_table(table):
    refused(table.head(0), "no rows")


def test_control_not_found(table):
    refused(table, "did you mean 'control'", control="contrl")


def test_one_arm_only(table):
    refused(table[table["arm"] == "control"], "one arm only")


def test_unknown_arm_in_the_data(table):
    refused(table, "'voucher' is in 'arm' but has no designed share", weights={"control": 0.5, "gift": 0.5})


def test_arm_missing_from_the_data(table):
    weights = {"control": 0.4, "gift": 0.2, "voucher": 0.2, "vouchers": 0.2}
    refused(table, "'vouchers' was designed with share 0.2 but no row has it", weights=weights)


def test_shares_that_do_not_add_up(table):
    refused(table, "add up to 0.9", weights={"control": 0.4, "gift": 0.25, "voucher": 0.25})
    refused(table, "between 0 and 1", weights={"control": 1.5, "gift": -0.25, "voucher": -0.25})


def test_rows_without_an_arm(table):
    refused(table.assign(arm=table["arm"].where(np.arange(len(table)) > 4)), "5 of 4,000 rows have no arm")


def test_all_null_outcome(table):
    refused(table.assign(bought=np.nan), "no value in any row")


def test_some_null_outcomes_need_a_decision(table):
    holes = table.assign(bought=table["bought"].where(np.arange(len(table)) > 9))
    message = refused(holes, r"no value in 10 of 4,000 rows \(control ")
    assert "missing='zero'" in message
    assert "missing='drop'" in message


def test_text_in_a_number(table):
    text = table["bought"].astype(object)
    text.iloc[7] = "yes"
    message = refused(table.assign(bought=text), "not a number in 1 of 4,000 rows")
    assert "'yes'" in message


def test_infinite_outcome(table):
    refused(table.assign(bought=np.where(table["bought"] == 1, np.inf, 0)), "infinite")


def test_times_are_not_numbers(table):
    refused(table.assign(bought=np.datetime64("2026-01-01")), "times", covariates=[])
    refused(table.assign(past=np.datetime64("2026-01-01")), "times", covariates=["past"])


def test_an_outcome_is_neither_covariate_nor_segment(table):
    refused(table, "both metric and covariate", covariates=["bought"])
    refused(table, "both metric and segment", segments=["bought"])


def test_the_arm_is_nothing_else(table):
    refused(table, "holds the arms", covariates=["arm"])


def test_the_same_twice(table):
    refused(table, "named twice", metrics=["bought", "bought"])


def test_a_member_in_two_arms(table):
    doubled = table.copy()
    control = doubled.index[doubled["arm"] == "control"][0]
    gift = doubled.index[doubled["arm"] == "gift"][0]
    doubled.loc[gift, "member"] = doubled.loc[control, "member"]
    message = refused(doubled, "1 members are in more than one arm", unit="member")
    assert doubled.loc[control, "member"] not in message


def test_a_member_twice_in_one_arm(table):
    doubled = table.copy()
    places = doubled.index[doubled["arm"] == "control"][:2]
    doubled.loc[places[1], "member"] = doubled.loc[places[0], "member"]
    refused(doubled, "more than one row", unit="member")


def test_a_rate_is_zero_or_one(table):
    from uplift.experiments import Metric

    refused(table, "declared a rate", metrics=["spend"], metric_specs={"spend": Metric("spend", "rate")})


def test_too_many_segments(table):
    refused(table, "4,000 different values", segments=["member"])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"metrics": []}, "no metric"),
        ({"alpha": 0.7}, "alpha"),
        ({"min_cell": 3}, "recognised"),
        ({"missing": "ignore"}, "missing='ignore'"),
        ({"planned_size": 1}, "planned_size"),
    ],
)
def test_requests_out_of_range(table, changes, match):
    refused(table, match, **changes)


def test_duplicate_column_names(table):
    doubled = table.rename(columns={"past": "bought"})
    refused(doubled, "more than one column 'bought'")


def test_several_mistakes_make_one_message(table):
    message = refused(table.assign(bought=np.nan), "problems", control="x", weights={"control": 0.5, "gift": 0.2})
    assert message.count("\n") >= 4
