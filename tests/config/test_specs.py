"""YAML into typed specs."""

from __future__ import annotations

from pathlib import Path

import pytest

from uplift.config import (
    ChurnSpec,
    ExperimentSpec,
    Spec,
    UpliftSpec,
    Workspace,
    WorkspaceConfig,
    dump_yaml,
    parse_spec,
    parse_yaml,
    read_spec,
)
from uplift.errors import ConfigError

EXPERIMENT = {
    "id": "spring",
    "control": "none",
    "arms": [{"name": "none", "share": "1/3"}, {"name": "coupon", "share": "2/3", "offer_id": "coupon"}],
    "metrics": [{"name": "conversion", "outcome": "ordered"}],
}


@pytest.mark.parametrize(("name", "spec"), [("churn", ChurnSpec()), ("uplift", UpliftSpec())])
def test_the_files_in_models_are_the_embedded_defaults(root: Path, name: str, spec: Spec) -> None:
    assert read_spec(root / "models" / f"{name}.yaml", type(spec)) == spec


@pytest.mark.parametrize(
    "spec", [ChurnSpec(), UpliftSpec(), WorkspaceConfig(data="data/"), ExperimentSpec.model_validate(EXPERIMENT)]
)
def test_a_spec_survives_being_written_and_read(spec: Spec) -> None:
    assert parse_spec(parse_yaml(dump_yaml(spec), "text"), type(spec), "text") == spec


def test_every_mistake_is_listed_at_once_with_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_spec({"tiemzone": "x", "holdout": "2", "min_cell": 3}, WorkspaceConfig, "uplift.yaml")
    message = str(caught.value)
    for part in ("data: is required", "did you mean 'timezone'?", "holdout", "min_cell", "4 problem(s)"):
        assert part in message


def test_a_nested_unknown_key_gets_its_own_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"booster.num_leafs: unknown key; did you mean 'num_leaves'"):
        parse_spec({"booster": {"num_leafs": 3}}, ChurnSpec, "churn.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: a\ndata: b\n", "line 2: the key 'data' is given twice"),
        ("- a\n- b\n", "expected keys and values"),
        ("data: [\n", "line"),
    ],
)
def test_broken_yaml_is_located(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "uplift.yaml")


def test_no_is_a_word() -> None:
    assert parse_yaml("control: no\nflag: true\n", "x") == {"control": "no", "flag": True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"control": "nothing"}, "not among the arms"),
        ({"arms": [{"name": "none", "share": 0.5}, {"name": "none", "share": 0.5}]}, "must differ"),
        ({"arms": [{"name": "none", "share": 0.5}, {"name": "a", "share": 0.4}]}, "add up to 0.9"),
        ({"arms": [{"name": "none", "share": "1/0"}, {"name": "a", "share": 0.4}]}, "expected a share"),
    ],
)
def test_an_inconsistent_experiment_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_spec({**EXPERIMENT, **change}, ExperimentSpec, "spring.yaml")


def test_a_folder_without_a_workspace_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="uplift simulate"):
        Workspace.open(tmp_path)


def test_a_relative_store_lies_in_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "uplift.yaml").write_text("data: data/\n")
    workspace = Workspace.open(tmp_path)
    assert workspace.tracking_uri == f"sqlite:///{tmp_path.resolve()}/mlflow/store/mlflow.db"


def test_what_is_wrong_with_a_definition_as_a_whole_is_said_without_repeating_it() -> None:
    arms = [{"name": "control", "share": 0.5}, {"name": "gift", "share": 0.6}]
    given = {"id": "x", "control": "control", "arms": arms, "metrics": [{"name": "m", "outcome": "ordered"}]}
    with pytest.raises(ConfigError) as found:
        parse_spec(given, ExperimentSpec, "here")
    assert str(found.value) == "here: 1 problem(s):\n  the shares of the arms add up to 1.1, not to 1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": [{"name": "m", "outcome": "ordered"}, {"name": "m", "outcome": "spend"}]}, "found 'm' twice"),
        ({"starts_at": "2026-05-01", "ends_at": "2026-04-01"}, r"end \(2026-04-01\) before it starts"),
        (
            {"metrics": [{"name": "m", "outcome": "ordered", "window_days": "x"}]},
            r"1 problem.*\n  metrics.0.window",
        ),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused(changes: dict[str, object], message: str) -> None:
    arms = [{"name": "control", "share": 0.5}, {"name": "gift", "share": 0.5}]
    given = {"id": "x", "control": "control", "arms": arms, "metrics": [{"name": "m", "outcome": "ordered"}]}
    with pytest.raises(ConfigError, match=message):
        parse_spec({**given, **changes}, ExperimentSpec, "here")
