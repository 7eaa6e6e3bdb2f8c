"""Tables on disk, as Parquet that Athena, Spark and pandas read as it is. DuckDB does the work."""

import filecmp
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from auditor.tables import ACCOUNTS, COUNT, FINDINGS, FLAG, KEYS, TEXT, TIME, USERS, conform

INTERRUPTED = "Query interrupted"
"""What DuckDB makes of Ctrl-C."""

ROW_GROUP = 40_960
"""Rows that are held in memory while a table is merged; DuckDB's own 122,880 take three times as much."""


_TYPES = {TEXT: "VARCHAR", TIME: "TIMESTAMPTZ", COUNT: "BIGINT", FLAG: "BOOLEAN"}

_FIRST = {
    *(
        "account_id",
        "account_name",
        "partition",
        "state",
        "audited",
        "source",
        "generated_at",
        "report_sha256",
        "users",
    ),
    *("keys", "root_keys_active", "root_keys_present", "not_audited_code", "not_audited_reason", "next_step", "notes"),
    *("user", "user_arn", "is_root", "created_at", "mfa_active", "active_certificates", "active_keys", "known_keys"),
    *("password_last_used_at", "listing", "listing_failed", "additional_column", "additional_credentials", "owner"),
    *("slot", "access_key_id", "key_status", "last_used_state", "last_used_at", "last_used_service", "outcome"),
    *("last_used_region", "last_used_problem", "identity", "identity_problem", "description", "age_days", "control"),
    *("severity", "reason", "due_at"),
}
"""The columns that the tables have had from the first version on, `password_enabled` of the users apart."""

_LATER = {
    name: dtype for table in (ACCOUNTS, USERS, KEYS, FINDINGS) for name, dtype in table.items() if name not in _FIRST
}
"""Those that came later; what a table has no use for is read as missing, and asked for by nobody."""


DIFFERENT = """
    SELECT count(*) FROM (SELECT one AS this FROM one) POSITIONAL JOIN (SELECT other AS that FROM other)
    WHERE this IS DISTINCT FROM that
"""
"""Rows are compared as they stand, one by one: nothing of it is held in memory, however many there are."""

SPILL = "2GB"
"""What may be written beside the memory, in a folder of this process's own."""


def write_parquet(tables: Mapping[Path, pd.DataFrame]) -> None:
    """Write tables, each to its path; raises OSError where the disk refuses."""
    with _connection(rows=sum(map(len, tables.values()))) as connection:
        try:
            for path, frame in tables.items():
                connection.from_df(frame).write_parquet(str(path))
        except duckdb.IOException as error:
            raise _disk_error(error) from error


def merge_parquet(parts: Sequence[Path], path: Path) -> None:
    """Write the rows of several files, in their order, as one; memory does not grow with them.

    Raises:
        OSError: the disk refuses.
    """
    with _connection(*parts) as connection:
        try:
            rows = connection.read_parquet([str(part) for part in parts])
            rows.write_parquet(str(path), row_group_size=ROW_GROUP)
        except duckdb.IOException as error:
            raise _disk_error(error) from error


def read_parquet(path: Path, columns: Mapping[str, str], query: str = "SELECT * FROM rows") -> pd.DataFrame:
    """Read a table back, or what a query makes of its `rows`, with the declared columns and dtypes.

    What a file of an older version lacks is missing in every row.

    Raises:
        ValueError: the file is not there, is not Parquet, or lacks a column that every version has.
    """
    with _connection(path) as connection:
        try:
            stored = connection.read_parquet(str(path))
            later = [f'CAST(NULL AS {_TYPES[dtype]}) AS "{name}"' for name, dtype in _LATER.items()]
            lacking = [column for name, column in zip(_LATER, later, strict=True) if name not in stored.columns]
            stored.project(", ".join(["*", *lacking])).create_view("rows")
            return conform(connection.sql(query).df(), columns)
        except (duckdb.Error, KeyError) as error:
            raise ValueError(str(error)) from error


def counted_rows(path: Path, where: str = "TRUE") -> int:
    """How many rows of a stored table meet a condition of SQL; ValueError where it is no such table."""
    return _number(path, f"SELECT count(*) FROM rows WHERE {where}")  # noqa: S608 - of our own


def summed(path: Path, column: str) -> int:
    """What a column of a stored table adds up to; ValueError where it is no such table."""
    return _number(path, f"SELECT coalesce(sum({column}), 0) FROM rows")  # noqa: S608 - of our own


def _number(path: Path, query: str) -> int:
    with _connection(path) as connection:
        try:
            connection.read_parquet(str(path)).create_view("rows")
            found = connection.execute(query).fetchone()
            assert found is not None
            return int(found[0])
        except duckdb.Error as error:
            raise ValueError(str(error)) from error


def differing_rows(one: Path, other: Path) -> int:
    """How many rows two stored tables do not share, place by place.

    Raises:
        ValueError: their columns, the types of these, or what is written beside them differ; or one is no table.
    """
    if filecmp.cmp(one, other, shallow=False):
        return 0
    with _connection(one, other) as connection:
        try:
            for name, path in (("one", one), ("other", other)):
                connection.read_parquet(str(path)).create_view(name)
            kinds = [connection.execute(f"DESCRIBE {name}").fetchall() for name in ("one", "other")]
            beside = [
                connection.execute("SELECT count(*) FROM parquet_kv_metadata(?)", [str(path)]).fetchone()
                for path in (one, other)
            ]
            if kinds[0] != kinds[1] or beside[0] != beside[1]:
                raise ValueError("it has other columns, or something beside them")
            found = connection.execute(DIFFERENT).fetchone()
            assert found is not None
            return int(found[0])
        except duckdb.Error as error:
            raise ValueError(str(error)) from error


def times_of(column: "pd.Series[Any]") -> list[datetime | None]:
    """A column of times as plain ones, None for what is missing."""
    return [None if pd.isna(at) else at.to_pydatetime() for at in column]


def _disk_error(error: duckdb.IOException) -> OSError:
    """What the system said, which DuckDB tells as text."""
    number = re.search(r'"errno":"(\d+)"', str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(None, str(error))


@contextmanager
def _connection(*paths: Path, rows: int = 0) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for these files, or so many rows.

    A database costs as much as writing a small table, and keeps the memory of a large one: small ones share this
    thread's, and a large one has its own.
    """
    is_small = rows <= FEW_ROWS and sum(path.stat().st_size for path in paths if path.exists()) <= SMALL
    try:
        with _shared() if is_small else _database() as connection:
            connection.execute("SET TimeZone='UTC'; SET enable_progress_bar=false")  # which draws where results belong
            yield connection
    except BaseException as error:
        _here.process = 0  # whatever state it is in
        if isinstance(error, RuntimeError) and INTERRUPTED in str(error):
            raise KeyboardInterrupt from error
        raise


FEW_ROWS = 20_000

SMALL = 1 << 20
"""Bytes of tables that are small."""


class _Here(threading.local):
    database: duckdb.DuckDBPyConnection
    process: int = 0
    """The process that it was made in: a forked one has to make its own."""


_here = _Here()


def _shared() -> duckdb.DuckDBPyConnection:
    if _here.process != os.getpid():
        _here.database, _here.process = _opened(""), os.getpid()
    return _here.database.cursor()


@contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory(prefix="auditor-tables-") as spill, _opened(spill) as connection:
        yield connection


def _opened(spill: str) -> duckdb.DuckDBPyConnection:
    """A database in memory, which writes beside it into this folder; without one, nothing."""
    return duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "threads": "1",
            "temp_directory": spill,
            "max_temp_directory_size": SPILL,
            "memory_limit": "512MB",
            "preserve_insertion_order": "true",
            "enable_external_file_cache": "false",  # what was read is not read again
        },
    )
