"""Small workspaces made of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uplift.config import Workspace

MEMBERS = "member_id,registered_at,city\nM1,2024-01-01,北京\nM2,2024-01-02 09:05:00,上海\nM3,2024-01-03,广州\n"
ORDERS = "order_id,member_id,ordered_at,amount\nO1,M1,2024-02-01 10:00:00,1000\nO2,M2,2024-02-02 11:00:00,2500\n"

Files = Mapping[str, str | bytes | pa.Table]


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[..., Workspace]:
    """A workspace whose data folder holds the given files; text is written in UTF-8, tables as Parquet."""

    def make(files: Files, *, name: str = "ws", timezone: str = "Asia/Shanghai") -> Workspace:
        root = tmp_path / name
        (root / "data").mkdir(parents=True)
        (root / "uplift.yaml").write_text(f"data: data/\ntimezone: {timezone}\n", encoding="utf-8")
        for file, content in files.items():
            path = root / "data" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pa.Table):
                pq.write_table(content, path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Workspace.open(root)

    return make
