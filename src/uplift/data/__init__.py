"""Tables: the contract, the check that holds them to it, readers, atomic writers and the engine.

``uplift.data.adapters`` (public data) and ``uplift.data.simulator`` are imported as submodules.
"""

from uplift.data._frames import as_arrow
from uplift.data.check import CheckReport, TableCheck, check
from uplift.data.contract import ARROW_TYPES, SQL_TYPES, TABLES, Column, TableSchema
from uplift.data.engine import Engine
from uplift.data.fingerprint import fingerprint
from uplift.data.readers import read_flat
from uplift.data.writers import (
    RunWriter,
    atomic_file,
    atomic_path,
    file_digest,
    read_manifest,
    read_pointer,
    write_bytes_atomic,
    write_csv_atomic,
    write_json_atomic,
    write_parquet_atomic,
    write_pointer,
    write_run,
    write_text_atomic,
)

__all__ = [
    "ARROW_TYPES",
    "SQL_TYPES",
    "TABLES",
    "CheckReport",
    "Column",
    "Engine",
    "RunWriter",
    "TableCheck",
    "TableSchema",
    "as_arrow",
    "atomic_file",
    "atomic_path",
    "check",
    "file_digest",
    "fingerprint",
    "read_flat",
    "read_manifest",
    "read_pointer",
    "write_bytes_atomic",
    "write_csv_atomic",
    "write_json_atomic",
    "write_parquet_atomic",
    "write_pointer",
    "write_run",
    "write_text_atomic",
]
