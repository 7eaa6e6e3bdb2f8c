"""Durations against limits: the one place where an age or an idle time is compared."""

from datetime import datetime
from typing import overload

import pandas as pd

from auditor.model import Limit, Operator


@overload
def is_broken(limit: Limit, start: datetime, as_of: datetime) -> bool: ...
@overload
def is_broken(limit: Limit, start: "pd.Series[pd.Timestamp]", as_of: datetime) -> "pd.Series[bool]": ...
def is_broken(limit: Limit, start: "datetime | pd.Series[pd.Timestamp]", as_of: datetime) -> "bool | pd.Series[bool]":
    """Whether the time from `start` (one instant, or a column of them) to `as_of` breaks the limit.

    Compared as a duration in UTC, never as truncated days: 90 days and one second are more than 90 days. A missing
    start breaks nothing; what that means is for the caller to say.
    """
    elapsed = as_of - start
    if limit.operator is Operator.MORE_THAN:
        return elapsed > limit.maximum
    return elapsed >= limit.maximum
