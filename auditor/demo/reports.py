"""The life of an account's credential report, as GenerateCredentialReport and GetCredentialReport show it."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import NamedTuple

from auditor.demo.cloud import Clock
from auditor.demo.wire import RefusedError

SHELF_LIFE = timedelta(hours=4)
"""AWS makes no second report this soon after the first: it gives the same bytes again."""


class Report(NamedTuple):
    """A credential report and its GeneratedTime, in whole seconds."""

    content: bytes
    generated_at: datetime


class _Pending(NamedTuple):
    report: Report
    polls_left: int
    ready_at: float


class ReportDesk:
    """One account's report: not there, being made, there for four hours, expired.

    Args:
        render: gives the report's bytes as of now.
        clock: the organisation's time, which stamps and expires reports.
        polls: how many calls find a new report in progress.
        seconds: how long making one takes at least, in real time, as the clock may stand still.
        existing: a report that was made before.
    """

    def __init__(
        self, render: Callable[[], bytes], clock: Clock, *, polls: int, seconds: float, existing: Report | None = None
    ) -> None:
        """See the class."""
        self._render = render
        self._clock = clock
        self._polls = polls
        self._seconds = seconds
        self._report = existing
        self._pending: _Pending | None = None
        self._lock = Lock()

    def generate(self) -> dict[str, object]:
        """GenerateCredentialReport's members: STARTED with a description, INPROGRESS or COMPLETE."""
        with self._lock:
            if self._is_busy():
                return {"State": "INPROGRESS"}
            if self._report is not None and not self._is_expired(self._report):
                return {"State": "COMPLETE"}
            # The content is that of the moment when the report was asked for, so that nothing depends on how often
            # a client asks whether it is ready.
            report = Report(self._render(), self._clock().replace(microsecond=0))
            self._pending = _Pending(report, self._polls, time.monotonic() + self._seconds)
            return {"State": "STARTED", "Description": "No report exists. Starting a new report generation task"}

    def get(self) -> Report:
        """GetCredentialReport's report.

        Raises RefusedError with ReportInProgress (404), ReportNotPresent (410) or ReportExpired (410).
        """
        with self._lock:
            if self._is_busy():
                raise RefusedError(404, "ReportInProgress", "Credential report is still being generated.")
            if self._report is None:
                raise RefusedError(410, "ReportNotPresent", "Unknown")
            if self._is_expired(self._report):
                raise RefusedError(410, "ReportExpired", "The most recent credential report has expired.")
            return self._report

    def _is_busy(self) -> bool:
        """Whether a report is being made; being asked counts as a poll."""
        if self._pending is None:
            return False
        report, polls_left, ready_at = self._pending
        if polls_left <= 0 and time.monotonic() >= ready_at:
            self._report, self._pending = report, None
            return False
        self._pending = _Pending(report, polls_left - 1, ready_at)
        return True

    def _is_expired(self, report: Report) -> bool:
        return self._clock() - report.generated_at > SHELF_LIFE
