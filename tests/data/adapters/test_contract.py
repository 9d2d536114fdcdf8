"""What holds for every adapter: the contract to the letter, determinism, and clear refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from uplift.config import ExperimentSpec, WorkspaceConfig, dump_yaml, parse_spec, parse_yaml, read_spec
from uplift.data.adapters import ADAPTERS, Imported, hillstrom, starbucks
from uplift.data.contract import TABLES
from uplift.data.fingerprint import fingerprint
from uplift.errors import ContractError, InputError

NAMES = ("hillstrom", "starbucks", "online-retail", "gym", "cdnow", "open-bandit")
Made = Callable[[str], Path]


def violations(tables: dict[str, pa.Table]) -> list[str]:
    """Everything in which the tables break the contract."""
    found = []
    for name, table in tables.items():
        schema = TABLES[name]
        if not table.schema.equals(schema.arrow_schema, check_metadata=True):
            found.append(f"{name}: schema")
        if table.num_rows == 0:
            found.append(f"{name}: no rows")
        if table.select(schema.key).group_by(list(schema.key)).aggregate([]).num_rows < table.num_rows:
            found.append(f"{name}: key")
        for column in schema.columns:
            values = table[column.name]
            if column.required and values.null_count:
                found.append(f"{name}.{column.name}: missing")
            if column.low is not None and (pc.min(values).as_py() or 0) < column.low:
                found.append(f"{name}.{column.name}: low")
            if column.high is not None and (pc.max(values).as_py() or 0) > column.high:
                found.append(f"{name}.{column.name}: high")
            if column.values and set(pc.unique(values).to_pylist()) - {None, *column.values}:
                found.append(f"{name}.{column.name}: values")
            if column.references:
                keys = tables.get(column.references, TABLES[column.references].arrow_schema.empty_table())
                known = keys[TABLES[column.references].key[0]]
                if set(pc.unique(values).to_pylist()) - {None} - set(known.to_pylist()):
                    found.append(f"{name}.{column.name}: reference")
    return found


def test_every_adapter_is_tried_here() -> None:
    assert set(ADAPTERS) == set(NAMES)
    assert all(ADAPTERS[name].name == name and ADAPTERS[name].title and ADAPTERS[name].source_help for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_tables_keep_the_contract_to_the_letter(name: str, made: Made) -> None:
    imported = ADAPTERS[name].convert(made(name))
    assert isinstance(imported, Imported)
    assert violations(dict(imported.tables)) == []
    assert imported.notes
    assert all(note.strip() == note and note for note in imported.notes)
    assert all(path.is_file() for path in imported.sources.values())


def test_the_check_above_sees_broken_tables(made: Made) -> None:
    tables = dict(ADAPTERS["hillstrom"].convert(made("hillstrom")).tables)
    members = tables["members"]
    tables["members"] = pa.concat_tables([members, members.slice(0, 1)])
    tables["offers"] = tables["offers"].slice(0, 1)
    assert violations(tables) == ["members: key", "touches.offer_id: reference"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_known_after_the_start_lies_before_it(name: str, made: Made) -> None:
    tables = ADAPTERS[name].convert(made(name)).tables
    if "assignments" not in tables:
        assert name in ("online-retail", "gym", "cdnow")
        return
    assigned = tables["assignments"].to_pandas().groupby("member_id").assigned_at.min()
    registered = tables["members"].to_pandas().set_index("member_id").registered_at
    assert (registered < assigned.reindex(registered.index)).all()
    facts = tables["attributes"].to_pandas()
    assert (facts.observed_at < facts.member_id.map(assigned)).all()
    touches = tables["touches"].to_pandas()
    assert (touches.sent_at >= touches.member_id.map(assigned)).all()


@pytest.mark.parametrize("name", NAMES)
def test_arms_shares_and_propensities_agree_with_the_definitions(name: str, made: Made) -> None:
    imported = ADAPTERS[name].convert(made(name))
    for spec in imported.experiments:
        table = imported.tables["assignments"].to_pandas()
        rows = table[table.experiment_id == spec.id]
        assert len(rows)
        assert np.allclose(rows.propensity, rows.arm.map(spec.shares))
        offers = set(imported.tables["offers"]["offer_id"].to_pylist())
        assert {arm.offer_id for arm in spec.arms} - {None} <= offers
        assert spec.starts_at is not None
        assert spec.ends_at is not None
        assert spec.starts_at <= rows.assigned_at.min().to_pydatetime() <= spec.ends_at


@pytest.mark.parametrize("name", NAMES)
def test_the_same_source_gives_the_same_tables_and_definitions_survive_yaml(name: str, made: Made) -> None:
    source = made(name)
    one, two = ADAPTERS[name].convert(source), ADAPTERS[name].convert(source)
    assert {k: fingerprint(v) for k, v in one.tables.items()} == {k: fingerprint(v) for k, v in two.tables.items()}
    assert (one.notes, one.config, one.experiments) == (two.notes, two.config, two.experiments)
    for spec in one.experiments:
        assert parse_spec(parse_yaml(dump_yaml(spec), "spec"), ExperimentSpec, "spec") == spec
    assert parse_spec(parse_yaml(dump_yaml(one.config), "config"), WorkspaceConfig, "config") == one.config


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_source_says_what_was_expected(name: str, tmp_path: Path) -> None:
    for source in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match=f"{name} expects") as caught:
            ADAPTERS[name].convert(source)
        assert str(source) in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\x00\xff\xfe garbage \xd8", b"a,b\n1,2,3\n4,5,6,7\n"])
def test_an_empty_or_broken_file_is_refused_with_a_message(name: str, content: bytes, made: Made) -> None:
    for path in files_of(made(name)):
        before = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            ADAPTERS[name].convert(path.parent if name in ("starbucks", "open-bandit") else path)
        assert path.name in str(caught.value)
        path.write_bytes(before)


@pytest.mark.parametrize("name", ["hillstrom", "gym", "cdnow", "open-bandit"])
def test_a_missing_column_is_named_and_so_are_the_expected_ones(name: str, made: Made) -> None:
    for path in files_of(made(name)):
        separator = r"\s+" if name == "cdnow" else ","
        frame = pd.read_csv(path, sep=separator, dtype=str)
        before = path.read_bytes()
        gone = str(frame.columns[-1])
        frame.drop(columns=gone).to_csv(path, index=False, sep=" " if name == "cdnow" else ",")
        folder = path.parent
        with pytest.raises(InputError, match=f"missing columns {gone}; expected") as caught:
            ADAPTERS[name].convert(folder if name == "open-bandit" else path)
        assert path.name in str(caught.value)
        path.write_bytes(before)


@pytest.mark.parametrize("name", ["hillstrom", "gym", "cdnow"])
def test_a_header_without_rows_is_refused(name: str, made: Made) -> None:
    (path,) = files_of(made(name))
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="a header and no rows"):
        ADAPTERS[name].convert(path)


@pytest.mark.parametrize(
    ("name", "other"),
    [("gym", "hillstrom"), ("online-retail", "hillstrom"), ("hillstrom", "gym"), ("cdnow", "gym")],
)
def test_another_data_set_is_recognised(name: str, other: str, made: Made) -> None:
    (path,) = files_of(made(other))
    target = path.with_name("renamed.csv")
    path.rename(target)
    with pytest.raises(InputError, match=f"this file looks like {other}: `uplift import {other} …`"):
        ADAPTERS[name].convert(target)


def test_everything_wrong_is_listed_at_once_and_nothing_is_imported(made: Made) -> None:
    (path,) = files_of(made("hillstrom"))
    text = path.read_text()
    text = text.replace("1,1) $0 - $100,30.10", "one,1) $0 - $100,30.10").replace("No E-Mail,1", "No Mail,1")
    path.write_text(text.replace(",150.00,", ",,").replace(",400.01,", ",-4,").replace("1,1,0.29", "1,0,0.29"))
    with pytest.raises(ContractError) as caught:
        ADAPTERS["hillstrom"].convert(path)
    found = {(p.column, p.code, p.count, p.examples) for p in caught.value.problems}
    assert found == {
        ("recency", "not_a_number", 1, ("one",)),
        ("history", "missing_value", 1, ()),
        ("history", "out_of_range", 1, ("-4",)),
        ("segment", "unknown_value", 1, ("No Mail",)),
        ("spend", "contradiction", 1, ("0.29",)),
    }


def test_extra_fields_and_double_names_are_not_read_silently(made: Made) -> None:
    (path,) = files_of(made("gym"))
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *(f"9,{row}" for row in rows)]))
    with pytest.raises(InputError, match="more fields than the header"):
        ADAPTERS["gym"].convert(path)
    path.write_text("\n".join([f"{header},Age", *(f"{row},99" for row in rows)]))
    with pytest.raises(InputError, match="names Age twice"):
        ADAPTERS["gym"].convert(path)


def test_the_definitions_in_the_repository_are_what_the_adapters_write(root: Path) -> None:
    """With the real data, ``tests/real`` compares the files that an import writes as well."""
    folder = root / "experiments"
    assert (folder / "hillstrom.yaml").read_text(encoding="utf-8") == dump_yaml(hillstrom.experiment())
    wave = read_spec(folder / "starbucks-wave-1.yaml", ExperimentSpec)
    offers = [arm.name for arm in wave.arms if arm.name != wave.control]
    assert len(offers) == 10
    written = dump_yaml(starbucks.experiment(1, 0, 7, offers))
    assert (folder / "starbucks-wave-1.yaml").read_text(encoding="utf-8") == written
