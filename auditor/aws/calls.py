"""Calls on behalf of one account: its credentials, its retries, its count. What one account spends, no other misses."""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

from auditor.aws.clients import Clients, CredentialSource, RenewableSource
from auditor.aws.failures import AwsFailure, Kind, failure_of
from auditor.aws.spending import Ledger
from auditor.aws.timing import Timing
from auditor.aws.wire import Reach, Wire
from auditor.model import ANSWERED, Request

log = logging.getLogger(__name__)

SELDOM_CURED = frozenset({Kind.UNREACHABLE, Kind.TIMED_OUT, Kind.UNREADABLE})
"""Failures after which another try is worth less than after a throttle; some cost a time-out each."""

REGIONAL = frozenset({"cloudtrail", "dynamodb", "kms", "secretsmanager", "ses", "sns", "ssm"})
"""Services that have a Region of their own; the others are called where the partition's identities are."""

INTENT = "auditor-intent/"

READING = ("get_", "list_", "describe_", "generate_", "lookup_", "query", "assume_", "batch_get_")
"""How the names of operations begin that change nothing, as AWS names them."""

KEPT = ("list_", "get_account_", "get_access_key_")
"""How the names of IAM's operations begin whose answers are evidence, and have no secrets; the report is kept apart."""


def is_look_up(service: str, method: str) -> bool:
    """Whether the answer to this call is kept, where a ledger keeps answers."""
    return service == "iam" and method.startswith(KEPT)


FEW_ATTEMPTS = 2
BACKOFF_BASE = 0.25
BACKOFF_CAP = 10.0


class Asker(ABC):
    """Asks AWS, or who has its answers."""

    lanes: int = 1
    """Calls that may be in flight at once."""

    @abstractmethod
    async def call(self, service: str, method: str, **params: Any) -> Mapping[str, Any]:
        """The parsed answer to one call, with its `ResponseMetadata`.

        Args:
            service: botocore's service name, such as "iam".
            method: botocore's name of the operation, such as "list_access_keys".
            params: the operation's parameters.

        Raises:
            AwsFailure: AWS refused, or there is no answer.
        """

    @abstractmethod
    def operation(self, service: str, method: str) -> str:
        """The operation as failures and counts name it, such as "iam:ListUsers"."""

    async def pages(self, method: str, key: str, **params: Any) -> AsyncIterator[Mapping[str, Any]]:
        """The items under `key` of every page of an IAM list operation (Marker and IsTruncated).

        Raises:
            AwsFailure: as `call`; or a page says that there is more without saying where.
        """
        marker: dict[str, str] = {}
        while True:
            page = await self.call("iam", method, **params, **marker)
            if key not in page:
                what = f"the answer has no {key}"
                raise AwsFailure(Kind.UNREADABLE, self.operation("iam", method), "UnreadableAnswer", what)
            for item in page[key]:
                yield item
            if not page.get("IsTruncated"):
                return
            if not page.get("Marker") or marker.get("Marker") == page["Marker"]:
                what = "a cut-off page has no new marker"
                raise AwsFailure(Kind.UNREADABLE, self.operation("iam", method), "BadPagination", what)
            marker = {"Marker": page["Marker"]}


@dataclass
class Caller(Asker):
    """Makes calls as one set of credentials in one partition, tries again what may pass, and keeps book of requests."""

    clients: Clients
    credentials: CredentialSource
    partition: str
    timing: Timing
    attempts: int = 6
    ledger: Ledger = field(default_factory=Ledger)
    region: str | None = None
    """Where regional services are called; None is the connection's own Region."""
    intent: str = ""
    """Goes with every call as part of the User-Agent, which CloudTrail keeps: so a call is known again."""
    reads_only: bool = False
    """Calls that may change something are refused here, and never sent."""

    @property
    def lanes(self) -> int:  # type: ignore[override] # it is the ledger's, which callers share
        """See `Asker`."""
        return self.ledger.lanes

    @property
    def counts(self) -> Mapping[str, int]:
        """Requests by operation, so far; of every caller that shares the ledger."""
        return self.ledger.counts

    async def call(self, service: str, method: str, **params: Any) -> Mapping[str, Any]:
        """One call, retried with exponential backoff and full jitter where AWS throttles, fails or does not answer.

        Credentials that AWS calls expired are renewed once, where they can be.

        Args:
            service: botocore's service name, such as "iam".
            method: botocore's name of the operation, such as "list_access_keys".
            params: the operation's parameters.

        Returns:
            The parsed answer with its `ResponseMetadata`.

        Raises:
            AwsFailure: AWS refused, or kept failing until the attempts were used up; or it is not to be sent.
        """
        if self.reads_only and not method.startswith(READING):
            what = "nothing is changed while it is simulated"
            raise AwsFailure(Kind.OTHER, self.operation(service, method), "ReadsOnly", what)
        attempt, tried, renewed, may_be_done = 0, 0, False, False
        while True:
            self.timing.go_on()
            began, tried = self.timing.monotonic(), tried + 1
            try:
                answer = await self._once(service, method, params, tried)
            except AwsFailure as failure:
                may_be_done = failure.may_be_done = failure.may_be_done or may_be_done
                if not renewed and self._renew(failure, began):
                    renewed = True
                    continue
                attempt += 1
                allowed = min(self.attempts, FEW_ATTEMPTS) if failure.kind in SELDOM_CURED else self.attempts
                log.debug("attempt %d of %d: %s", attempt, allowed, failure)
                if failure.kind is Kind.THROTTLED:
                    self.ledger.throttles += 1
                if not failure.may_pass or attempt >= allowed or not self.ledger.may_retry():
                    raise
            else:
                self.ledger.answered()
                return answer
            await self.timing.sleep(self.timing.backoff(attempt, base=BACKOFF_BASE, cap=BACKOFF_CAP))

    def _renew(self, failure: AwsFailure, began: float) -> bool:
        """Whether the call is worth another try because its credentials had run out and can be had anew."""
        if failure.kind is not Kind.CREDENTIALS_EXPIRED or not isinstance(self.credentials, RenewableSource):
            return False
        self.credentials.renew(began)
        return self.ledger.may_retry()

    def operation(self, service: str, method: str) -> str:
        """See `Asker`."""
        wire, _ = self._reached(service)
        return wire.operation(method)

    def _reached(self, service: str) -> tuple[Wire, Reach]:
        wire, reach = self.clients.get(service, self.partition, self.region if service in REGIONAL else None)
        if self.intent:
            reach = replace(reach, user_agent=f"{reach.user_agent} {INTENT}{self.intent}")
        return wire, reach

    async def _once(self, service: str, method: str, params: Mapping[str, Any], tried: int) -> Mapping[str, Any]:
        wire, reach = self._reached(service)
        operation = wire.operation(method)
        pace = self.clients.sts_pace if service == "sts" else self.ledger.pace
        gate = self.ledger.gate
        is_kept = self.ledger.keeps_answers and is_look_up(service, method)
        try:
            credentials = await self._credentials(operation, params if is_kept else None, tried)
            if pace:
                await pace.wait(self.timing)
            if gate:
                await gate.enter(self.ledger.urgency)
            try:
                self.timing.go_on()  # what waited while the run was stopped is not sent any more
                request = self.ledger.sends(operation, self.timing.now(), params if is_kept else None, tried)
                try:
                    answer, body = await wire.exchange(method, params, credentials, reach)
                except AwsFailure as failure:
                    request.outcome, request.request_id, request.why = failure.code, failure.request_id, failure.message
                    raise
                request.outcome, request.request_id = ANSWERED, request_id(answer)
                request.answer = body if is_kept else None
                return answer
            finally:
                if gate:
                    gate.leave()
        except BotoCoreError as error:
            raise failure_of(error, operation) from error

    async def _credentials(self, operation: str, params: Mapping[str, Any] | None, tried: int) -> ReadOnlyCredentials:
        """What signs a call; where there are none, the ledger has that the call was not sent."""
        try:
            return await self.credentials.frozen()
        except (AwsFailure, BotoCoreError) as error:
            failure = error if isinstance(error, AwsFailure) else failure_of(error, operation)
            request = Request(self.timing.now(), operation, failure.request_id, failure.code, failure.message)
            request.params, request.attempt, request.failed_in = params, tried, failure.operation
            self.ledger.lacks(request)
            raise


def request_id(answer: Mapping[str, Any]) -> str | None:
    """The request id that AWS gave the call, for the evidence."""
    found = answer.get("ResponseMetadata", {}).get("RequestId")
    return str(found) if found else None
