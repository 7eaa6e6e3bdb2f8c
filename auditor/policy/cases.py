"""Columns of tables as the rules read them, and the distinct rows of such columns: each is judged once."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.policy.limits import Positions
from auditor.policy.verdicts import UNKNOWN_NUMBER, Cases
from auditor.report_columns import Flags, Instants

DAY = timedelta(days=1)

Distinct = tuple[Cases, Positions]
"""Distinct cases, and which of them each row is."""


def plain(frame: pd.DataFrame, *names: str) -> Cases:
    """Columns of a table as the rules read them."""
    missing: Mapping[str, tuple[type[np.generic], Any]] = {
        "Int64": (np.int64, UNKNOWN_NUMBER),
        "boolean": (np.bool_, False),
        "string": (np.object_, None),
    }

    def read(column: "pd.Series[Any]") -> npt.NDArray[Any]:
        dtype, value = missing[str(column.dtype)]
        return column.to_numpy(dtype, na_value=value)

    return {name: read(frame[name]) for name in names}


def flags(frame: pd.DataFrame, name: str) -> Flags:
    """A column of flags; what is not known is false."""
    found: Flags = plain(frame, name)[name]
    return found


def answers(frame: pd.DataFrame, name: str) -> npt.NDArray[np.int64]:
    """A column of flags as 1, 0, and -1 for what is not known."""
    return frame[name].astype("Int64").to_numpy(np.int64, na_value=UNKNOWN_NUMBER).astype(np.int64)


def rows_of(columns: Cases, rows: Positions) -> Cases:
    """Some rows of columns, one after the other."""
    return {name: column[rows] for name, column in columns.items()}


def of_rows(all_rows: Distinct, rows: Positions) -> Distinct:
    """Which cases some of the rows are."""
    return all_rows[0], all_rows[1][rows]


def distinct(columns: Cases, further: Distinct | None = None) -> Distinct:
    """The distinct rows of these columns, and which of them each row is; `further` are such cases to be told apart."""
    case = further[1] if further else np.zeros(len(next(iter(columns.values()))), np.intp)
    for column in columns.values():
        codes, values = pd.factorize(column)
        case = pd.factorize(case * (len(values) + 1) + codes + 1)[0]
    example = np.empty(case.max(initial=-1) + 1, np.intp)
    example[case[::-1]] = np.arange(len(case))[::-1]
    cases = {name: column[example] for name, column in columns.items()}
    if further:
        cases |= {name: column[further[1][example]] for name, column in further[0].items()}
    return cases, case


def instants(column: "pd.Series[pd.Timestamp]") -> Instants:
    """A column of times, in UTC."""
    return column.to_numpy("datetime64[us]")


def whole_days(elapsed: npt.NDArray[np.timedelta64]) -> npt.NDArray[np.int64]:
    """Rounded down; what is missing gives any number."""
    return elapsed.view(np.int64) // (DAY // timedelta(microseconds=1))


def is_within(since: Instants, window: timedelta, now: np.datetime64) -> Flags:
    """Whether less than the window has passed; not where nothing began."""
    began: Flags = now - since < np.timedelta64(window, "us")
    return began
