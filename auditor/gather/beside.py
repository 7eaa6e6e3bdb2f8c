"""What is asked of an account beside its report and its users' keys, while AWS makes the report."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from auditor.aws.account_wide import quarantined_users, service_credentials
from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure
from auditor.aws.identity import assume_root
from auditor.aws.keys import look_up_root
from auditor.aws.loop import in_lanes
from auditor.gather.entering import ambient_caller
from auditor.gather.settings import GatherSettings
from auditor.model import Account, ControlId, KeyStatus, Quarantine, ServiceCredentials, UserLookup
from auditor.policy import asks


@dataclass
class Beside:
    """What came of it; None is what was not asked for, and of the root user also what could not be had."""

    quarantine: Quarantine | None = None
    service_credentials: ServiceCredentials | None = None
    root: UserLookup | None = None
    root_failed: str | None = None

    def users(self) -> Iterator[str]:
        """Those of whom more must be known: who is in quarantine, or has a service-specific credential that works."""
        if self.quarantine:
            yield from self.quarantine.users
        if self.service_credentials:
            yield from (
                credential.user
                for credential in self.service_credentials.found
                if credential.status is KeyStatus.ACTIVE
            )

    def notes(self) -> list[str]:
        """What a reader must know: what could not be read, and why."""
        notes = []
        if self.quarantine and self.quarantine.failed is not None:
            notes.append(f"Whether AWS put users in quarantine is not known: {self.quarantine.failed}.")
        if self.service_credentials and self.service_credentials.failed is not None:
            notes.append(f"Service-specific credentials are not known: {self.service_credentials.failed}.")
        if self.root_failed is not None:
            notes.append(
                f"Root keys could not be looked up by sts:AssumeRoot: {self.root_failed}; "
                "what the credential report says counts."
            )
        return notes


class Asking:
    """Asks it once: beside the report's calls where the account has a lane for that, else when the report is there."""

    def __init__(self, caller: Caller, account: Account, settings: GatherSettings) -> None:
        """Nothing is asked yet."""
        self._caller, self._account, self._settings = caller, account, settings
        self._task: asyncio.Task[Beside] | None = None

    def begin(self) -> None:
        """The report is under way: ask meanwhile, in the lanes that its own calls leave."""
        lanes = self._caller.ledger.lanes - 1
        if self._task is None and lanes > 0:
            self._task = asyncio.get_running_loop().create_task(self._ask(lanes))

    async def end(self) -> Beside:
        """What came of it; asks now where that has not begun.

        Raises:
            AwsFailure: the session is over.
        """
        if self._task is None:
            return await self._ask(self._caller.ledger.lanes)
        return await self._task

    async def leave(self) -> None:
        """Nobody waits for it any more."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.exception()

    async def _ask(self, lanes: int) -> Beside:
        caller, account, settings = self._caller, self._account, self._settings
        found = Beside()

        async def ask_quarantine() -> None:
            found.quarantine = await quarantined_users(caller)

        async def ask_service_credentials() -> None:
            found.service_credentials = await service_credentials(caller)

        async def ask_root() -> None:
            # Nothing of it ends the account: neither whose credentials are refused here nor the session is its own.
            try:
                ambient = ambient_caller(account, settings, caller.ledger)
                found.root = await look_up_root(await assume_root(ambient, account.id))
            except AwsFailure as failure:
                found.root_failed = str(failure)

        jobs: list[tuple[bool, Callable[[], Awaitable[None]]]] = [
            (asks(settings.policy, ControlId.QUARANTINED_KEY), ask_quarantine),
            (asks(settings.policy, ControlId.SERVICE_CREDENTIAL_AGE), ask_service_credentials),
            (settings.root_sessions and account.id not in settings.without_root_sessions, ask_root),
        ]
        await in_lanes([partial(job) for is_wanted, job in jobs if is_wanted], lanes)
        return found
