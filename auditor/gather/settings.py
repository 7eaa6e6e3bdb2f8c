"""What gathering is told, and whom it tells: settings, the store of raw answers, the progress."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from auditor.aws.clients import Connection
from auditor.aws.timing import Timing
from auditor.model import Policy


class RawStore(Protocol):
    """Keeps what AWS sent, byte for byte, before anything reads it. Called from many threads at once."""

    def save(self, account_id: str, name: str, content: bytes) -> None:
        """Write one file of one account; raises OutputError."""
        ...

    def forget(self, account_id: str, name: str) -> None:
        """Have one file of one account no more, where it is there; raises OutputError."""
        ...


class Progress(Protocol):
    """Told what is going on; called from the main thread only."""

    def phase(self, name: str, total: int | None = None) -> None:
        """A phase begins; `total` is its number of steps, None where that is not known."""
        ...

    def advance(self, step: str = "") -> None:
        """One step of the phase is done; `step` names it."""
        ...

    def status(self, text: str) -> None:
        """How the phase stands, in a few words that the next ones replace."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should read now."""
        ...


@dataclass(frozen=True)
class GatherSettings:
    """Everything that `audit_account` needs beside the account. Times in seconds where the name says so."""

    connection: Connection
    policy: Policy
    as_of: datetime
    store: RawStore
    session_name: str = "auditor"
    session_seconds: int = 3600
    report_wait_seconds: float = 600.0
    attempts: int = 6
    scheduler: str = ""
    """Address of a Dask scheduler that shares the work out instead; empty for none."""
    processes: int = 0
    """How many share the work; 0 is as many as the accounts are worth on this machine."""
    calls_in_flight: int = 64
    account_calls_in_flight: int = 4
    account_calls_per_second: float = 20.0
    """IAM throttles by account, and publishes no rates; parallel across accounts is safe, inside one it is not."""
    every_key: bool = False
    also: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Users to look up whatever their reports say, by account id: those whose inactive keys are to be deleted soon."""
    root_sessions: bool = False
    """Whether the root users' keys are looked up by sts:AssumeRoot."""
    without_root_sessions: frozenset[str] = frozenset()
    """Ids of accounts where that is not tried: the callers' own, and those outside the organisation."""
    timing: Timing = field(default_factory=Timing)
