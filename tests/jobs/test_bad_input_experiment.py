"""A wrong flat table ends in a message and exit status 2, without a traceback and without a result."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from uplift.cli import main

GIVEN = (
    "--arm", "arm", "--control", "none", "--metric", "bought", "--metric", "spend",
    "--share", "none=1/2", "--share", "mail=1/2", "--covariate", "age", "--segment", "city",
)  # fmt: skip


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    n = 1200
    bought = (rng.random(n) < 0.3).astype(int)
    return pd.DataFrame(
        {
            "member": [f"secret-{i}" for i in range(n)],
            "arm": rng.choice(["none", "mail"], n),
            "bought": bought,
            "spend": bought * rng.lognormal(3, 1, n).round(2),
            "age": rng.integers(18, 80, n),
            "city": rng.choice(["北京", "上海"], n),
        }
    )


@pytest.fixture
def analyze(tmp_path):
    def go(content, *more, given=GIVEN, name="t.csv"):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            content.to_csv(path, index=False)
        out = tmp_path / "out"
        arguments = ["experiment", "analyze", "--data", str(path), *given, *more, "--out", str(out)]
        return CliRunner().invoke(main, arguments), out

    return go


def test_sound_table_works(analyze, table):
    done, out = analyze(table, "--unit", "member")
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert result["checks"]["srm"]["passed"] is True
    assert {path.name for path in out.iterdir()} == {"result.json", "report.zh.html", "report.en.html"}
    assert "secret" not in (out / "result.json").read_text() + done.output
    assert b"NaN" not in (out / "result.json").read_bytes()


def refused(done, out, *parts):
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert "internal failure" not in done.output
    assert "secret" not in done.output
    for part in parts:
        assert part in done.output, done.output
    assert not out.exists()


def test_absent_file(analyze):
    refused(*analyze(None), "no such file")


def test_empty_file(analyze):
    refused(*analyze(b""), "empty")


def test_header_only(analyze, table):
    refused(*analyze(table.head(0)), "no rows")


def test_not_a_table(analyze):
    refused(*analyze(b"\x00\x01\x02" * 100, name="t.parquet"))


def test_missing_columns_are_listed_together(analyze, table):
    refused(*analyze(table.drop(columns=["spend", "age"])), "'spend'", "'age'")


def test_text_in_a_number(analyze, table):
    text = table.astype({"spend": object})
    text.loc[3, "spend"] = "about 20"
    refused(*analyze(text), "metric 'spend' is not a number in 1 of 1,200 rows", "'about 20'")


def test_duplicate_column(analyze, table):
    refused(*analyze(table.rename(columns={"age": "bought"})), "bought")


def test_duplicate_key(analyze, table):
    refused(*analyze(pd.concat([table, table.head(3)]), "--unit", "member"), "3 members have more than one row")


def test_a_member_in_two_arms(analyze, table):
    moved = table.head(2).assign(arm=["mail" if arm == "none" else "none" for arm in table["arm"].head(2)])
    refused(*analyze(pd.concat([table, moved]), "--unit", "member"), "2 members are in more than one arm")


def test_unknown_arm(analyze, table):
    strange = table.assign(arm=table["arm"].where(table.index > 5, "nail"))
    refused(*analyze(strange), "'nail'", "did you mean 'mail'?")


def test_designed_arm_that_nobody_has(analyze, table):
    given = [*GIVEN[:8], "--share", "none=1/2", "--share", "mail=1/4", "--share", "sms=1/4"]
    refused(*analyze(table, given=given), "arm 'sms' was designed with share 0.25 but no row has it")


def test_one_arm_only(analyze, table):
    refused(*analyze(table[table["arm"] == "none"], given=GIVEN[:8]), "one arm only")


def test_control_not_found(analyze, table):
    refused(*analyze(table, "--control", "nnoe"), "did you mean 'none'?")


def test_all_null_outcome(analyze, table):
    refused(*analyze(table.assign(bought=np.nan)), "metric 'bought' has no value in any row")


def test_some_null_outcomes(analyze, table):
    holes = table.assign(bought=table["bought"].where(table.index >= 100))
    refused(*analyze(holes), "100 of 1,200 rows", "missing='zero'")


def test_null_outcomes_with_a_decision(analyze, table):
    holes = table.assign(bought=table["bought"].where(table.index >= 100))
    done, out = analyze(holes, "--missing", "zero")
    assert done.exit_code == 0, done.output
    assert json.loads((out / "result.json").read_text())["checks"]["missing"][0]["n"] == 100


def test_shares_that_do_not_add_up(analyze, table):
    refused(*analyze(table, given=[*GIVEN[:8], "--share", "none=1/2", "--share", "mail=1/3"]), "add up to 0.83")


@pytest.mark.parametrize("share", ["none", "none=half", "none=2", "=1/2"])
def test_shares_that_are_none(analyze, table, share):
    refused(*analyze(table, given=[*GIVEN[:8], "--share", share]), "share")


def test_an_outcome_as_covariate(analyze, table):
    refused(*analyze(table, "--covariate", "spend"), "'spend' is both metric and covariate")


def test_a_date_of_2099_where_a_number_is_asked(analyze, table):
    refused(*analyze(table.assign(spend="2099-01-01")), "not a number", "2099-01-01")


def test_options_that_are_absent_are_named(analyze, table):
    refused(*analyze(table, given=("--arm", "arm")), "--control, --metric")


def test_neither_or_both_forms(analyze, table):
    assert CliRunner().invoke(main, ["experiment", "analyze"]).exit_code == 2
    refused(*analyze(table, "spring"), "not both")


def test_out_that_is_a_file(analyze, table, tmp_path):
    (tmp_path / "out").write_text("mine")
    done, out = analyze(table)
    assert done.exit_code == 2
    assert out.read_text() == "mine"


def test_arms_unlike_the_design_are_written_and_end_in_3(analyze, table):
    done, out = analyze(table, given=[*GIVEN[:8], "--share", "none=0.2", "--share", "mail=0.8"])
    assert done.exit_code == 3
    assert json.loads((out / "result.json").read_text())["verdict"]["status"] == "invalid"
    assert "FAILED" in done.output


def test_errors_for_machines(analyze, table):
    done, _ = analyze(table.drop(columns="spend"), "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"] == "DesignError"


def test_encodings_of_chinese_shops(analyze, table):
    for encoding in ("utf-8-sig", "gb18030"):
        done, out = analyze(table.to_csv(index=False).encode(encoding))
        assert done.exit_code == 0, done.output
        result = json.loads((out / "result.json").read_text(encoding="utf-8"))
        assert {row["segment"] for row in result["effects"]} == {None, "北京", "上海"}


def test_outcome_before_assignment(analyze, table):
    timed = table.assign(start="2026-05-02", at=["2026-05-01" if i < 3 else "2026-05-09" for i in range(len(table))])
    refused(
        *analyze(timed, "--assigned-at", "start", "--happened", "bought=at"),
        "for 3 rows metric 'bought' happened", "cannot be an outcome",
    )  # fmt: skip


def test_unequal_windows(analyze, table):
    days = table.assign(days=[7 if arm == "mail" else 14 for arm in table["arm"]])
    refused(*analyze(days, "--followed", "days"), "unequal windows, 7 to 14 days")
    refused(
        *analyze(days, "--followed", "days", "--window", "bought=14", "--window", "spend=14"),
        "followed for less than the 14 days of metric 'bought'",
    )


def test_a_covariate_measured_after_assignment(analyze, table):
    opened = table.assign(opened=[int(arm == "mail" and i % 3 > 0) for i, arm in enumerate(table["arm"])])
    refused(*analyze(opened, "--covariate", "opened"), "'opened'", "it is an outcome, not a covariate")


def test_shares_that_differ_give_the_reason_and_no_effect(analyze, table):
    done, out = analyze(table, given=[*GIVEN[:8], "--share", "none=0.2", "--share", "mail=0.8"])
    assert done.exit_code == 3
    assert "differ from the designed shares" in done.output
    assert "95% from" not in done.output
    result = json.loads((out / "result.json").read_text())
    assert all(row[name] is None for row in result["effects"] for name in ("raw", "effect", "low", "high", "p_value"))


def test_metrics_by_option(analyze, table):
    more = table.assign(visits=table["bought"] + 1, sent=(table["arm"] == "mail") * 1, gone=table["bought"], days=9.0)
    done, out = analyze(
        more, "--ratio", "per visit=spend/visits", "--winsorize", "spend=0.99", "--guardrail", "gone", "--margin",
        "gone=0.2", "--decrease", "gone", "--exposed", "sent", "--time", "first=days:bought@8",
        "--correction", "dunnett",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    kinds = {metric["name"]: metric["kind"] for metric in result["metrics"]}
    assert kinds == {"bought": "rate", "spend": "mean", "per visit": "ratio", "first": "time", "gone": "rate"}
    gone = next(row for row in result["effects"] if row["metric"] == "gone")
    assert gone["noninferior"] is True
    assert result["families"]["primary"]["method"] == "dunnett"
    assert {row["metric"] for row in result["exposed"]} == set(kinds)


def test_options_that_cannot_be_read(analyze, table):
    for option, value, match in (
        ("--ratio", "basket=spend", "expected NAME=NUMERATOR/DENOMINATOR"),
        ("--time", "first=days", "expected NAME=DAYS:EVENT@HORIZON"),
        ("--margin", "boughtt=1", "did you mean 'bought'"),
        ("--winsorize", "spend=much", "not a number"),
        ("--window", "spend=1.5", "expected whole days"),
        ("--happened", "spend", "expected METRIC=VALUE"),
    ):
        refused(*analyze(table, option, value), match)


def test_parts_are_summed_by_the_engine(analyze, table, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    table.head(700).to_parquet(folder / "a.parquet")
    table.tail(500).to_parquet(folder / "b.parquet")
    rows, out = analyze(table)
    read = json.loads((out / "result.json").read_text())
    done = CliRunner().invoke(
        main, ["experiment", "analyze", "--data", str(folder), *GIVEN, "--out", str(tmp_path / "sums"), "--json"]
    )
    assert (rows.exit_code, done.exit_code) == (0, 0), done.output
    summed = json.loads((tmp_path / "sums" / "result.json").read_text())
    json.loads(done.stdout)
    assert summed.keys() == read.keys()
    assert [row.keys() for row in summed["effects"]] == [row.keys() for row in read["effects"]]
    for name in ("raw", "effect", "low", "high"):
        assert [row[name] for row in summed["effects"]] == pytest.approx(
            [row[name] for row in read["effects"]], rel=1e-8
        )
    assert summed["provenance"]["methods"] == read["provenance"]["methods"]


def test_large_parts_get_messages_too(tmp_path, table):
    folder = tmp_path / "parts"
    folder.mkdir()
    table.astype({"spend": str}).to_parquet(folder / "a.parquet")
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["experiment", "analyze", "--data", str(folder), *GIVEN, "--out", str(out)])
    refused(done, out, "metric 'spend' holds VARCHAR in the file")
