"""Durations against limits: the one place where an age or an idle time is compared."""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from auditor.model import Limit, Operator


def instant(at: datetime) -> np.datetime64:
    """The instant in UTC, as columns of instants are compared with it."""
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")


def is_broken(limit: Limit, start: npt.NDArray[np.datetime64], as_of: np.datetime64) -> npt.NDArray[np.bool_]:
    """Where the time from `start` (a column of instants) to `as_of` breaks the limit.

    Compared as a duration in UTC, never as truncated days: 90 days and one second are more than 90 days. A missing
    start breaks nothing; what that means is for the caller to say.
    """
    elapsed, maximum = as_of - start, np.timedelta64(limit.maximum, "us")
    return elapsed > maximum if limit.operator is Operator.MORE_THAN else elapsed >= maximum
