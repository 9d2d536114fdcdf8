"""``uplift import``: a workspace that opens, that can be made again, and that nothing else is written over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from uplift.cli import main
from uplift.config import ExperimentSpec, Workspace, read_spec
from uplift.data.contract import TABLES
from uplift.data.writers import file_digest
from uplift.errors import InputError
from uplift.pipelines import importing
from uplift.pipelines.importing import import_data

Made = Callable[[str], Path]
NAMES = ("hillstrom", "starbucks", "online-retail", "gym", "cdnow", "open-bandit")


def digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def uplift(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", NAMES)
def test_the_workspace_opens_and_its_record_says_where_it_came_from(name: str, made: Made, tmp_path: Path) -> None:
    source, out = made(name), tmp_path / "deep" / "out"
    result = import_data(name, source, out)
    workspace = Workspace.open(out)
    assert result.status == "imported"
    for table, rows in result.tables.items():
        found = pq.read_table(workspace.data / f"{table}.parquet")
        assert found.num_rows == rows
        assert found.schema.equals(TABLES[table].arrow_schema)
    assert {path.stem for path in workspace.data.iterdir()} == set(result.tables)
    for experiment in result.experiments:
        assert read_spec(workspace.experiments / f"{experiment}.yaml", ExperimentSpec).id == experiment
    record = json.loads((out / "import.json").read_text(encoding="utf-8"))
    assert record["status"] == "complete"
    assert record["tables"] == result.tables
    assert record["notes"] == list(result.notes)
    by_name = {path.name: path for path in source.rglob("*") if path.is_file()}
    if name != "open-bandit":
        assert {k: v["sha256"] for k, v in record["sources"].items()} == {k: file_digest(p) for k, p in by_name.items()}
    assert {k: v["sha256"] for k, v in record["files"].items()} == {
        k: v for k, v in digests(out).items() if k != "import.json"
    }
    assert str(tmp_path) not in (out / "import.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_second_import_changes_nothing_and_another_folder_gets_the_same_bytes(
    name: str, made: Made, tmp_path: Path
) -> None:
    source = made(name)
    import_data(name, source, tmp_path / "one")
    before = digests(tmp_path / "one")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    assert import_data(name, source, tmp_path / "one").status == "unchanged"
    assert digests(tmp_path / "one") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")} == times
    import_data(name, source, tmp_path / "two")
    assert digests(tmp_path / "two") == before


def test_missing_and_damaged_files_are_written_again_and_edited_settings_kept(made: Made, tmp_path: Path) -> None:
    source, out = made("hillstrom"), tmp_path / "out"
    import_data("hillstrom", source, out)
    before = digests(out)
    (out / "data" / "members.parquet").write_bytes(b"damaged")
    (out / "data" / "events.parquet").unlink()
    settings = (out / "uplift.yaml").read_text(encoding="utf-8").replace("budget: null", "budget: 500")
    (out / "uplift.yaml").write_text(settings, encoding="utf-8")
    (out / "segments").mkdir()
    (out / "segments" / "note.txt").write_text("work of the workspace itself")
    result = import_data("hillstrom", source, out)
    assert result.status == "imported"
    assert result.kept == ("uplift.yaml",)
    assert "uplift.yaml was changed since" in result.to_text()
    after = digests(out)
    assert {k for k in before if before[k] != after[k]} == {"uplift.yaml"}
    assert Workspace.open(out).config.budget == 500
    assert import_data("hillstrom", source, out).kept == ("uplift.yaml",)
    assert (out / "segments" / "note.txt").exists()


def test_a_table_that_is_no_longer_made_is_removed(made: Made, tmp_path: Path) -> None:
    source, out = made("cdnow"), tmp_path / "out"
    import_data("cdnow", source, out)
    old = out / "data" / "events.parquet"
    old.write_bytes((out / "data" / "orders.parquet").read_bytes())
    record = json.loads((out / "import.json").read_text())
    record["files"]["data/events.parquet"] = {"sha256": file_digest(old)}
    (out / "import.json").write_text(json.dumps(record))
    import_data("cdnow", source, out)
    assert not old.exists()


@pytest.mark.parametrize("stop_at", range(1, 7))
def test_an_import_that_is_cut_off_leaves_no_workspace_and_can_be_repeated(
    stop_at: int, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out, whole = made("hillstrom"), tmp_path / "out", tmp_path / "whole"
    import_data("hillstrom", source, whole)
    calls = 0

    def cut(path: Path, *rest: object) -> int:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt
        return real(path, *rest)

    real = importing.write_parquet_atomic
    with monkeypatch.context() as patch:
        patch.setattr(importing, "write_parquet_atomic", cut)
        with pytest.raises(KeyboardInterrupt):
            import_data("hillstrom", source, out)
    assert not (out / "uplift.yaml").exists()
    assert import_data("hillstrom", source, out).status == "imported"
    assert digests(out) == digests(whole)


def test_nothing_foreign_is_written_over(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    import_data("gym", made("gym"), out)  # an empty folder is welcome
    kept = digests(out)
    with pytest.raises(InputError, match="holds an import of 'gym', not of 'cdnow'"):
        import_data("cdnow", made("cdnow"), out)
    path = made("gym") / "gym_churn_us.csv"
    path.write_text(path.read_text().replace(",31,", ",32,"))
    with pytest.raises(InputError, match=r"other content of gym_churn_us\.csv"):
        import_data("gym", path, out)
    assert digests(out) == kept

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"already holds other files \(thesis.txt\)"):
        import_data("cdnow", made("cdnow"), foreign)
    with pytest.raises(InputError, match="is a file"):
        import_data("cdnow", made("cdnow"), foreign / "thesis.txt")
    (foreign / "import.json").write_text("{not json")
    with pytest.raises(InputError, match="cannot be read as the record"):
        import_data("cdnow", made("cdnow"), foreign)
    (foreign / "import.json").write_text("[]")
    with pytest.raises(InputError, match="holds an import of None"):
        import_data("cdnow", made("cdnow"), foreign)
    assert (foreign / "thesis.txt").read_text() == "mine"


def test_a_refused_source_leaves_no_folder(made: Made, tmp_path: Path) -> None:
    path = made("gym") / "gym_churn_us.csv"
    path.write_text(path.read_text().replace(",31,", ",old,"))
    with pytest.raises(InputError, match="is not a number"):
        import_data("gym", path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_it_did(made: Made, tmp_path: Path) -> None:
    done = uplift("import", "starbucks", made("starbucks"), "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "wave-1, wave-2" in done.stdout
    assert "Propensities are inferred" in done.stdout
    assert f"uplift check -C {tmp_path / 'out'}" in done.stdout
    again = uplift("import", "--json", "starbucks", made("starbucks"), "--out", tmp_path / "out")
    assert again.exit_code == 0
    value = json.loads(again.stdout)
    assert (value["status"], value["tables"]["touches"]) == ("unchanged", 60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hillstorm", "."), "did you mean 'hillstrom'?"),
        (("gym", "nowhere"), "nowhere: no such file or folder; gym expects gym_churn_us.csv"),
        (("starbucks", "."), "holds none of portfolio.json"),
    ],
)
def test_wrong_input_is_a_message_with_status_2(
    arguments: tuple[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = uplift("import", *arguments, "--out", "out")
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()
