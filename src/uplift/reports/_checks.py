"""What a page says of the data: whether the split, the members' likeness and what is missing can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from uplift.reports._numbers import integer, p_phrase
from uplift.reports._reading import Reading

Check = dict[str, str]


def checks(reading: Reading) -> list[Check]:
    """One line a check, with its colour."""
    return [*_ratio(reading), *_balance(reading), *_missing(reading), *_overlap(reading)]


def _said(css: str, reading: Reading, key: str, **values: object) -> Check:
    return {"class": css, "text": reading.word(key, **values)}


def _ratio(reading: Reading) -> Iterator[Check]:
    """The sample ratio; where it breaks, at which stage and in which version of the design."""
    found = reading.result["checks"]
    srm = found["srm"]
    if srm["passed"] is None:
        yield _said("flat", reading, "srm_unchecked")
    elif srm["passed"]:
        yield _said("good", reading, "srm_passed", p=p_phrase(srm["p_value"]))
    else:
        yield _said("bad", reading, "srm_failed", p=p_phrase(srm["p_value"]))
    broken = found.get("srm_stages", {}).get("broken")
    if broken:
        yield _said("bad", reading, "srm_stage", stage=reading.word(f"stage_{broken}"))
    for row in found.get("srm_versions", ()):
        if row["passed"] is False:
            yield _said("bad", reading, "srm_version", version=row["version"], p=p_phrase(row["p_value"]))


def _balance(reading: Reading) -> Iterator[Check]:
    """Whether arms were alike before: by the joint test, with the largest difference for orientation."""
    rows = [b for b in reading.result["checks"].get("balance", ()) if b.get("smd") is not None]
    if not rows:
        return
    worst: dict[str, Any] = max(rows, key=lambda b: abs(b["smd"]))
    columns = {b["covariate"] for b in rows}
    test = reading.result["checks"].get("balance_test", {})
    values = {
        "n": len(columns), "worst": f"{abs(worst['smd']):.3f}", "name": reading.column(str(worst["covariate"])),
        "p": p_phrase(test.get("p_value")),
    }  # fmt: skip
    if test.get("passed") is None:
        yield _said("flat", reading, "balance_untested", **values)
    else:
        passed = bool(test["passed"])
        yield _said("good" if passed else "bad", reading, "balance_good" if passed else "balance_bad", **values)


def _missing(reading: Reading) -> Iterator[Check]:
    for row in reading.result["checks"].get("missing", ()):
        if row["passed"] is False:
            yield _said(
                "bad", reading, "missing_bad", metric=reading.name(row["metric"]), n=integer(row["n"]),
                p=p_phrase(row["p_value"]),
            )  # fmt: skip
        elif row["n"]:
            key = "missing_zero" if row["treated_as"] == "zero" else "missing_good"
            yield _said("flat", reading, key, metric=reading.name(row["metric"]), n=integer(row["n"]))


def _overlap(reading: Reading) -> Iterator[Check]:
    """Other experiments on the same members, in one line; the table is further down."""
    rows = reading.result.get("overlap", ())
    for row in rows:
        tied = row["p_independent"] is not None and row["p_independent"] < 0.001
        disturbed = row["p_adjusted"] is not None and row["p_adjusted"] < reading.alpha
        if tied or disturbed:
            yield _said("bad", reading, "overlap_bad", experiment=row["experiment"], members=integer(row["members"]))
    if rows and not any(
        (row["p_independent"] is not None and row["p_independent"] < 0.001)
        or (row["p_adjusted"] is not None and row["p_adjusted"] < reading.alpha)
        for row in rows
    ):
        yield _said("good", reading, "overlap_good", n=len(rows))
