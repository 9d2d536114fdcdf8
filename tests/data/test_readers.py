"""Sources and flat tables: encodings, delimiters, malformed rows, and clear words for what cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uplift.config import Workspace
from uplift.data import Engine, check, read_flat
from uplift.data._csv import CsvText, UnreadableError, detect_encoding
from uplift.errors import InputError

Make = Callable[..., Workspace]
CITIES = ["北京", "乌鲁木齐", "呼和浩特", "𠮷林", "Zürich"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_what_shops_export(tmp_path: Path, encoding: str, delimiter: str) -> None:
    lines = [
        delimiter.join(["会员", "city", "n"]),
        *(delimiter.join([f"M{i}", c, str(i)]) for i, c in enumerate(CITIES)),
    ]
    (tmp_path / "t.csv").write_bytes("\r\n".join(lines).encode(encoding))
    frame = read_flat(tmp_path / "t.csv")
    assert list(frame.columns) == ["会员", "city", "n"]
    assert frame["city"].to_list() == CITIES
    assert frame["n"].to_list() == [0, 1, 2, 3, 4]


def test_the_encoding_is_decided_over_the_whole_file(tmp_path: Path) -> None:
    """The only byte that tells stands far behind the first blocks."""
    path = tmp_path / "t.csv"
    head = "city\n" + "abc\n" * 1_000_000
    path.write_bytes((head + "北京\n").encode("gb18030"))
    assert detect_encoding(path) == "gb18030"
    assert CsvText.open(path).encoding == "gb18030"
    path.write_bytes((head + "北京\n").encode())
    assert detect_encoding(path) == "utf-8"


def test_a_character_cut_by_a_block_border_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for shift in range(4):
        text = "city\n" + "x" * ((1 << 20) - 6 - shift) + "\n" + "𠮷\n" * 10
        for encoding in ("utf-8", "gb18030"):
            path.write_bytes(text.encode(encoding))
            assert detect_encoding(path) == encoding


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "no header"),
        (b"PAR1....", "Parquet"),
        (b"PK\x03\x04....", "Excel"),
        (b"a,b\n\x00\x01,2\n", "zero bytes"),
        (b"a,b\n\xff\xff,2\n", "neither UTF-8 nor GB18030"),
    ],
)
def test_what_is_not_text_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises((UnreadableError, InputError), match=said):
        read_flat(tmp_path / "t.csv")


def test_quoted_cells_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b,c\n"x,1","two\nlines","say ""hi"""\n,,\n')
    frame = read_flat(tmp_path / "t.csv")
    assert frame.iloc[0].to_list() == ["x,1", "two\nlines", 'say "hi"']
    assert frame.iloc[1].isna().all()


def test_a_quote_that_is_not_closed_does_not_swallow_rows_silently(make_workspace: Make) -> None:
    rows = "".join(f"M{i},2024-01-01,city{i}\n" for i in range(2, 9))
    workspace = make_workspace({"members.csv": "member_id,registered_at,city\nM1,2024-01-01,\"Xi'an\n" + rows})
    report = check(workspace)
    assert "malformed_row" in {problem.code for problem in report.problems}
    assert report.refused, "nothing but the swallowing row is left"


def test_flat_types_are_only_what_every_cell_is(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "id,n,x,flag,arm,when,mixed,gap\n"
        "0012,1,1.5,true,None,2024-01-01,1,\n"
        "0013,+2,NA,FALSE,No E-Mail,2024-01-02,x,\n"
        "0014,-3,2e3,true,NA,2024-01-03,2,\n"
    )
    frame = read_flat(tmp_path / "t.csv")
    assert frame["id"].to_list() == ["0012", "0013", "0014"], "identifiers keep their zeros"
    assert frame["n"].to_list() == [1, 2, -3]
    assert frame["n"].dtype == np.int64
    assert frame["x"].dtype == np.float64
    assert frame["x"].isna().to_list() == [False, True, False]
    assert frame["flag"].to_list() == [True, False, True]
    assert frame["arm"].to_list() == ["None", "No E-Mail", "NA"], "words stay words: an arm may have such a name"
    assert frame["mixed"].to_list() == ["1", "x", "2"]
    assert frame["gap"].isna().all()


def test_flat_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_flat(tmp_path / "t.parquet"), frame)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"a,a\n1,2\n", "given twice: 'a'"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n4\n", r"2 row\(s\) do not fit the header of 2 columns \(row 2, 3\)"),
        ("t.parquet", b"not parquet", "not a Parquet file"),
        ("t.parquet", b"", r"empty \(0 bytes\)"),
    ],
)
def test_flat_tables_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_flat(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        read_flat(tmp_path / "absent.csv")


def test_gb18030_reaches_the_engine(make_workspace: Make) -> None:
    text = "member_id,registered_at,city\n" + "".join(f"M{i},2024-01-01,{c}\n" for i, c in enumerate(CITIES))
    with Engine.open(make_workspace({"members.csv": text.encode("gb18030")})) as engine:
        assert engine.query("SELECT city FROM members ORDER BY member_id")["city"].to_pylist() == CITIES
