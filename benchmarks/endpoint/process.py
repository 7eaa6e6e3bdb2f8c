"""The front: an endpoint in a process of its own for as long as a `with` block lasts, and its own paths as methods."""

import json
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from benchmarks.endpoint.cloud import CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY
from benchmarks.endpoint.settings import Rule, Settings

__all__ = ["CALLER_ACCESS_KEY_ID", "CALLER_SECRET_ACCESS_KEY", "Endpoint"]

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0


class Endpoint:
    """An endpoint on a free port of loopback.

    Attributes:
        settings: what it was told.
        url: where it listens, inside the `with` block.
        environment: variables with which any AWS client uses it as its caller.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Not started yet; without settings a small company."""
        self.settings = settings or Settings()
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What AWS clients read: the endpoint, the caller's dummy credentials, a Region."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": CALLER_ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": CALLER_SECRET_ACCESS_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def __enter__(self) -> Self:
        """Start it; raises RuntimeError where it does not listen in time."""
        command = [sys.executable, "-m", "benchmarks.endpoint", "--port", "0", "--settings", self.settings.to_json()]
        # Whoever inherits the write end of stdin keeps the endpoint alive: nobody but this process may hold it.
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=True
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        self.url = self._process.stdout.readline().strip() if ready else ""
        if not self.url:
            self._stop()
            raise RuntimeError(f"The endpoint did not start: exit code {self._process.returncode}.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, whatever happened."""
        self._stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def counts(self, *, by_account: bool = False) -> dict[str, Any]:
        """What was called since the start or the last reset; see `benchmarks.endpoint.counts.Tally.report`.

        `cpu_seconds` is the CPU time of the endpoint's process since its start.
        """
        return self._ask("GET", "/_/counts?accounts" if by_account else "/_/counts")

    def reset(self) -> None:
        """Forget counts and reports, fill buckets, begin the rules anew; sessions live on."""
        self._ask("POST", "/_/reset")

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """These rules hold from now on, in place of all others."""
        self._ask("POST", "/_/rules", json.dumps([asdict(rule) for rule in rules]))

    def _ask(self, method: str, path: str, body: str = "") -> dict[str, Any]:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=_START_SECONDS)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            found: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if "__type" in found:
            raise ValueError(f"{path}: {found['message']}")
        return found

    def _stop(self) -> None:
        """Close its stdin and wait; kill it where it does not end."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
