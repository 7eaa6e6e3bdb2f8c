"""The embedded AWS organisation: a planted seed behind a real HTTP server on loopback."""

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from types import TracebackType
from typing import Self

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from auditor.demo.cloud import Clock, Cloud
from auditor.demo.faithful import Call, FaithfulAws, Fault
from auditor.demo.plant import caller_credentials, clear_backends, plant_organisation
from auditor.demo.seed import OrganisationSeed
from auditor.demo.server import LoopbackServer
from auditor.errors import UsageError
from auditor.model import UsedAt

_ONE_AT_A_TIME = Lock()
"""Moto's backends are global to the process: two organisations at once would be one."""


class EmbeddedOrganisation:
    """An AWS organisation on 127.0.0.1, from `start` to `stop`, or as a context manager.

    Signatures are not checked and IAM policies not evaluated; apart from that, whoever talks to `endpoint_url` talks
    to AWS: access keys must exist and be active, sessions expire, roles refuse.

    Args:
        seed: what is in it.
        as_of: the moment at which the seed's timeline stands.
        clock: the organisation's time, which stamps reports and expires sessions; without one, `as_of` for ever.
        fault: asked about every call, from many threads; None, or what to do instead of answering.
        report_seconds: how long making a credential report takes at least, in real time. An account's
            `ReportSeed.polls` comes on top and costs no time.
        page_size: makes lists answer in shorter pages than AWS's.
    """

    def __init__(  # noqa: PLR0913 - all but two are settings with a default
        self,
        seed: OrganisationSeed,
        *,
        as_of: datetime,
        clock: Clock | None = None,
        fault: Callable[[Call], Fault | None] | None = None,
        report_seconds: float = 0.0,
        page_size: int | None = None,
    ) -> None:
        """Nothing is started yet."""
        self._seed = seed
        self._as_of = as_of
        self._given_clock = clock
        self._clock: Clock = clock or (lambda: as_of)
        self._fault = fault
        self._report_seconds = report_seconds
        self._page_size = page_size
        self._cloud: Cloud | None = None
        self._aws: FaithfulAws | None = None
        self._server: LoopbackServer | None = None
        self.access_key_id, self.secret_access_key = caller_credentials(seed, as_of)

    def start(self) -> None:
        """Empty moto's backends, plant the seed and serve it.

        Raises:
            RuntimeError: another embedded organisation runs in this process.
            UsageError: MOTO_ACCOUNT_ID is set, which would make all accounts one.
        """
        if "MOTO_ACCOUNT_ID" in os.environ:
            raise UsageError(
                "The embedded organisation cannot run while MOTO_ACCOUNT_ID is set.",
                next_step="Unset MOTO_ACCOUNT_ID and try again.",
            )
        if not _ONE_AT_A_TIME.acquire(blocking=False):
            raise RuntimeError("another embedded organisation runs in this process")
        try:
            clear_backends()
            self._cloud = plant_organisation(self._seed, self._as_of)
            self._aws = FaithfulAws(
                self._cloud,
                DomainDispatcherApplication(create_backend_app),
                self._clock,
                self._fault,
                page_size=self._page_size,
                report_seconds=self._report_seconds,
            )
            self._server = LoopbackServer(self._aws, self._given_clock)
        except BaseException:
            clear_backends()
            _ONE_AT_A_TIME.release()
            raise

    def stop(self) -> None:
        """Stop serving and empty moto's backends; what was called stays readable. Stopping twice does nothing."""
        if self._server is None or self._aws is None:
            return
        server, self._server = self._server, None
        try:
            self._aws.stop()
            server.stop()
        finally:
            clear_backends()
            _ONE_AT_A_TIME.release()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def endpoint_url(self) -> str:
        """Where all services listen; raises RuntimeError while the organisation is not running."""
        if self._server is None:
            raise RuntimeError("the embedded organisation is not running")
        return self._server.url

    @property
    def management_account_id(self) -> str:
        """The account that `access_key_id` belongs to."""
        return self._seed.management.id

    @property
    def role_name(self) -> str:
        """The role that audits each account."""
        return self._seed.role_name

    @property
    def external_id(self) -> str:
        """What that role's trust policy asks for."""
        return self._seed.external_id

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """A copy of how often each (account id, action) was called so far; see `Call` for what counts where."""
        return self._aws.calls if self._aws is not None else Counter()

    @property
    def call_log(self) -> tuple[Call, ...]:
        """Every call so far, in the order of arrival."""
        return self._aws.call_log if self._aws is not None else ()

    def record_use(self, access_key_id: str, used: UsedAt) -> None:
        """Let somebody have used an access key, which no call of an audit does; raises KeyError for an unknown key."""
        found = self._cloud.key(access_key_id) if self._cloud is not None else None
        if self._cloud is None or found is None:
            raise KeyError(access_key_id)
        self._cloud.extras_of(found[0]).uses[access_key_id] = used
