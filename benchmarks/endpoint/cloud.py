"""What the answers to single actions share: the company, who may call, whose report is there since when."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.endpoint.company import MANAGEMENT, Company, written
from benchmarks.endpoint.settings import Settings

CALLER_ACCESS_KEY_ID = "AKIAAAAAAAAAAAAAAAAA"
CALLER_SECRET_ACCESS_KEY = "no-secret-the-endpoint-checks-no-signature"  # noqa: S105 - as it says
"""The caller's credentials, a user of the management account; dummies, the same for every endpoint."""

CALLER_ARN_NAME = "user/benchmark"


class RefusedError(Exception):
    """An error that AWS answers."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """HTTP status, code on the wire and AWS's words."""
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in."""

    action: str
    params: Mapping[str, Any]
    access_key_id: str
    number: int
    """Of the account whose credentials signed it; 0 where they are not known."""
    about: int
    """Of the account it is for: where a role is assumed, the one that is entered; 0 where there is none such."""


class Cloud:
    """The company and what calls change: sessions and requested reports. Times in seconds since the epoch."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Nobody has a session and no report is there."""
        self.settings = settings
        self.company = Company(settings)
        self.now = clock
        self._sessions: dict[str, tuple[int, float]] = {}
        self._reports_ready_at: dict[int, float] = {}

    def account_of(self, access_key_id: str) -> int:
        """The number of the account that an access key id belongs to; 0 where nobody knows it."""
        if access_key_id == CALLER_ACCESS_KEY_ID:
            return MANAGEMENT
        return self._sessions.get(access_key_id, (0, 0.0))[0]

    def check_credentials(self, access_key_id: str) -> None:
        """Raises RefusedError where they are not known or no longer good."""
        if access_key_id == CALLER_ACCESS_KEY_ID:
            return
        session = self._sessions.get(access_key_id)
        if session is None:
            raise RefusedError(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        if self.now() >= session[1]:
            raise RefusedError(403, "ExpiredToken", "The security token included in the request is expired")

    def open_session(self, number: int, seconds: float) -> tuple[str, str]:
        """The access key id of a new session in an account, and its end as it is told."""
        access_key_id = self.company.session_id(number, len(self._sessions))
        life = seconds if self.settings.session_seconds is None else self.settings.session_seconds
        self._sessions[access_key_id] = (number, self.now() + life)
        return access_key_id, written(datetime.fromtimestamp(self.now() + seconds, UTC))

    def request_report(self, number: int) -> str:
        """The state that GenerateCredentialReport answers: STARTED, INPROGRESS or COMPLETE."""
        now = self.now()
        ready_at = self._reports_ready_at.get(number)
        if ready_at is None or now >= ready_at + self.settings.report_life_seconds:
            self._reports_ready_at[number] = now + self.settings.report_seconds
            return "STARTED"
        return "INPROGRESS" if now < ready_at else "COMPLETE"

    def report_time(self, number: int) -> str:
        """When the account's report was made.

        Raises:
            RefusedError: it was never requested, is still being made, or is too old.
        """
        now = self.now()
        ready_at = self._reports_ready_at.get(number)
        if ready_at is None:
            raise RefusedError(410, "ReportNotPresent", "Unknown")
        if now < ready_at:
            raise RefusedError(404, "ReportInProgress", "Report is not available yet, generation in progress")
        if now >= ready_at + self.settings.report_life_seconds:
            raise RefusedError(410, "ReportExpired", "The most recent credential report has expired")
        return written(datetime.fromtimestamp(ready_at, UTC))

    def forget_reports(self) -> None:
        """As if no report had ever been requested."""
        self._reports_ready_at.clear()
