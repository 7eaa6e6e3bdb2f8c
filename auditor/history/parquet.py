"""Tables on disk, as Parquet that Athena, Spark and pandas read as it is. DuckDB does the work."""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pandas as pd

from auditor.tables import conform


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a table; raises OSError where the disk refuses."""
    with _connection() as connection:
        try:
            connection.from_df(frame).write_parquet(str(path))
        except duckdb.IOException as error:
            raise OSError(None, str(error)) from error


def read_parquet(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a table back with its declared columns and dtypes.

    Raises:
        ValueError: the file is not there, is not Parquet, or lacks a column.
    """
    with _connection() as connection:
        try:
            return conform(connection.read_parquet(str(path)).df(), columns)
        except (duckdb.Error, KeyError) as error:
            raise ValueError(str(error)) from error


def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false", "threads": "2"})
    connection.execute("SET TimeZone='UTC'")
    return connection
