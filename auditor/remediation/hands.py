"""Reading and changing one user's keys in AWS: the only place of remediation that calls it.

The secret of a new key exists in `create`, for the call that stores it, and in `verify`, which reads it back to prove
that what is stored works. Nowhere else.
"""

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from auditor.aws.age_files import AgeFiles
from auditor.aws.calls import Caller
from auditor.aws.credentials_file import CredentialsFile, credentials_path
from auditor.aws.failures import AwsFailure, Kind, raise_if_over
from auditor.aws.identity import caller_identity
from auditor.aws.key_writes import (
    KeyCredentials,
    NewKey,
    create_access_key,
    created_by,
    delete_access_key,
    set_key_status,
    was_switched_by,
)
from auditor.aws.keys import look_up_user
from auditor.aws.loop import run
from auditor.aws.parameter_store import ParameterStore
from auditor.aws.permissions import QUARANTINE_POLICY
from auditor.aws.secret_stores import SecretsManager, SecretStore, key_in
from auditor.aws.ses import smtp_password
from auditor.model import KeyStatus, LiveKey
from auditor.remediation.decision import Live
from auditor.remediation.lifecycle import sentinel_of, version_of
from auditor.remediation.plan import Delivery, Item
from auditor.remediation.protection import CadenceError, Person, Protection, cadence_of, exposed
from auditor.secret import Secret

PATIENCE = 60.0
"""Seconds that a new key may take until AWS knows it everywhere."""

APART = 10.0
"""Seconds between the two times that a new key must work."""


class Callers(Protocol):
    """Callers in an item's account, each with the rights of one task only. Not to be asked inside the loop."""

    def reading(self, item: Item) -> Caller:
        """Reads the user and its keys."""
        ...

    def rotating(self, item: Item) -> Caller:
        """Makes keys, and keeps their secrets."""
        ...

    def retiring(self, item: Item) -> Caller:
        """Switches keys off and on, and deletes them."""
        ...


async def see(  # noqa: PLR0913 - whom, and what of it
    caller: Caller, account_id: str, user: str, *, with_groups: bool, rotates: bool = False, own: bool = False
) -> tuple[Person, tuple[LiveKey, ...]] | None:
    """A user as it is now, and its keys; None where it is gone.

    Args:
        caller: in the account.
        account_id: the account's.
        user: the user's name.
        with_groups: whether the user's groups are read.
        rotates: whether it is read if AWS put the user in quarantine; never of a caller's own, whom that policy itself
            forbids to make keys.
        own: the caller is that user, who may do no more than AWS's policy for one's own keys says: that has no
            iam:ListUserTags, and GetUser tells the tags as well (IAM API reference, User).

    Raises:
        AwsFailure: the user or its keys cannot be read. What else cannot is None in what is returned.
    """
    try:
        told = (await caller.call("iam", "get_user", UserName=user))["User"]
    except AwsFailure as failure:
        if failure.kind is Kind.NOT_FOUND:
            return None
        raise
    if str(told["Arn"]).split(":")[4] != account_id:  # whose credentials these are is not what was meant
        what = f"the credentials are not of account {account_id}: it answers for {told['Arn']}"
        raise AwsFailure(Kind.OTHER, "iam:GetUser", "WrongAccount", what)
    found = await look_up_user(caller, user)
    if found.failed is not None:
        raise AwsFailure(Kind.OTHER, "iam:ListAccessKeys", "LookUpFailed", found.failed)
    groups = await _names(caller, "list_groups_for_user", "Groups", "GroupName", user) if with_groups else ()
    policies: Sequence[str] | None = ()
    if rotates and not own:
        policies = await _names(caller, "list_attached_user_policies", "AttachedPolicies", "PolicyName", user)
    held = None if policies is None else [name for name in policies if name.startswith(QUARANTINE_POLICY)]
    tags = None if found.tags_failed else found.tags
    if own and tags is None:
        tags = {str(tag["Key"]): str(tag["Value"]) for tag in told.get("Tags", ())}
    name = str(told["UserName"])  # as it is written, in whatever case it was asked for
    return Person(account_id, name, str(told["UserId"]), str(told["Arn"]), tags, groups, held), found.keys


async def _names(caller: Caller, method: str, listed: str, name: str, user: str) -> Sequence[str] | None:
    """What a list about a user names; None where it cannot be read."""
    try:
        return [str(one[name]) async for one in caller.pages(method, listed, UserName=user)]
    except AwsFailure as failure:
        raise_if_over(failure)
        return None


STORES: Mapping[str, type[SecretsManager] | type[ParameterStore]] = {
    "secretsmanager": SecretsManager,
    "ssm": ParameterStore,
}


def store_of(caller: Caller, delivery: Delivery) -> SecretStore | AgeFiles:
    """Where the secret of a key goes, as this caller reaches it."""
    if delivery.store == "age":
        return AgeFiles(Path(delivery.file or ".") / delivery.secret, delivery.readers)
    if delivery.store == "profile":
        return CredentialsFile(Path(delivery.file or credentials_path()), delivery.secret)
    return STORES[delivery.store](replace(caller, region=delivery.region), delivery.secret, delivery.kms_key)


Answer = TypeVar("Answer")


def run_sealed(work: Coroutine[Any, Any, Answer]) -> Answer:
    """As `run`; what it raises comes without the frames below, and without what it came from: secrets are in them.

    Whoever shows errors with the variables of their frames would show those.
    """
    try:
        return run(work)
    except BaseException as error:  # noqa: BLE001 - a defect, and the end of the process, have frames as well
        error.__cause__ = error.__context__ = None
        raise error.with_traceback(None) from None


def _value(item: Item, key: NewKey) -> Secret:
    """What applications read."""
    value: dict[str, object] = {
        "Version": 1,
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret.reveal(),
        "UserName": item.user,
        "AccountId": item.account_id,
        "CreatedAt": key.created_at.isoformat(),
        "RotationId": item.id,
    }
    if item.delivery and item.delivery.smtp_regions:
        regions = item.delivery.smtp_regions
        value["SmtpPasswords"] = {region: smtp_password(key.secret, region).reveal() for region in regions}
    return Secret(json.dumps(value))


@dataclass(frozen=True)
class Hands:
    """One item's user and secret."""

    item: Item
    callers: Callers
    protection: Protection

    def look(self) -> Live:
        """What AWS says now.

        Raises:
            AwsFailure: something that a decision rests on cannot be read.
        """
        store = self._store() if self.item.delivery else None
        return run_sealed(self._look(self.callers.reading(self.item), store))

    async def _look(self, reading: Caller, store: SecretStore | AgeFiles | None) -> Live:
        item = self.item
        groups = bool(self.protection.groups)
        seen = await see(reading, item.account_id, item.user, with_groups=groups, rotates=item.makes_key, own=item.own)
        if seen is None:
            return Live(None)
        person, keys = seen
        controls = {basis.control for basis in item.basis}
        stopped = self.protection.stops(person, item.key.id, controls, reading.timing.now())
        stored = await store.look() if store else None
        try:
            cadence: int | str | None = cadence_of(person.tags)
        except CadenceError as error:
            cadence = str(error)
        is_taken = isinstance(store, AgeFiles) and store.is_taken()
        return Live(person.id, keys, stored, stopped, exposed(person), cadence, is_taken, reading.timing.now())

    def _store(self) -> SecretStore | AgeFiles:
        delivery = self.item.delivery
        assert delivery is not None
        return store_of(self.callers.rotating(self.item), delivery)

    def prepare(self, intent: str) -> None:
        """Prove that a secret can be stored, before there is one; raises AwsFailure where it cannot."""
        run_sealed(self._store().prove(sentinel_of(self.item), version_of(self.item, intent)))

    def create(self, intent: str, made: Callable[[str], None]) -> str:
        """Make a key and store its secret as the pending version `version_of(item, intent)`.

        Args:
            intent: the id that CloudTrail will know the call by.
            made: told the new key's id before anything else is done with it.

        Returns:
            The new key's id.

        Raises:
            AwsFailure: there is no key, or nobody knows; or there is one, of which `made` was told, that is not stored.
        """
        item, caller, store = self.item, self.callers.rotating(self.item), self._store()
        key = run_sealed(create_access_key(caller, item.user, intent))
        made(key.id)
        if isinstance(store, AgeFiles):  # once it is there, nobody here can read it any more
            why = run_sealed(self._works(caller, KeyCredentials(key.id, key.secret)))
            if why is not None:
                raise AwsFailure(Kind.OTHER, "sts:GetCallerIdentity", "NotVerified", why)
        run_sealed(self._keep(store, key, version_of(item, intent)))
        return key.id

    async def _keep(self, store: SecretStore | AgeFiles, key: NewKey, version: str) -> None:
        await store.put_pending(_value(self.item, key), version)

    def stored_key(self, version: str) -> str | None:
        """The id of the key that a version of the secret holds; None where it holds none.

        Raises:
            AwsFailure: it cannot be read.
        """
        store = self._store()
        if isinstance(store, AgeFiles):
            return store.key_of(version)
        held = key_in(run_sealed(store.read(version)))
        return held.id if held else None

    def verify(self, key_id: str, version: str) -> str | None:
        """Call as the new key, with the secret that is stored, twice; AWS may take a while to know it everywhere.

        Of what nobody here can read, which was called with before it was stored, that it is still there.

        Returns:
            None where it works, else why it does not, or not yet.

        Raises:
            AwsFailure: the secret cannot be read, or STS does not answer.
        """
        store, caller = self._store(), self.callers.rotating(self.item)
        if self.stored_key(version) != key_id:
            return f"the stored version does not hold {key_id}"
        held = None if isinstance(store, AgeFiles) else key_in(run_sealed(store.read(version)))
        return run_sealed(self._works(caller, held)) if held else None

    async def _works(self, caller: Caller, held: KeyCredentials) -> str | None:
        new = replace(caller, credentials=held)
        timing, until = caller.timing, caller.timing.monotonic() + PATIENCE
        worked, attempt = 0, 0
        while True:
            try:
                identity = await caller_identity(new)
            except AwsFailure as failure:
                if failure.kind is not Kind.CREDENTIALS_INVALID:
                    raise
                if timing.monotonic() >= until:
                    return "AWS does not know the new key yet"
                worked = 0
                await timing.sleep(timing.poll_delay(attempt, base=1.0, cap=APART))
                attempt += 1
                continue
            if identity.account_id != self.item.account_id or not identity.arn.endswith(f"/{self.item.user}"):
                raise AwsFailure(Kind.OTHER, "sts:GetCallerIdentity", "WrongIdentity", f"the key is {identity.arn}'s")
            worked += 1
            if worked > 1:
                return None
            await timing.sleep(APART)

    def publish(self, version: str, instead_of: str | None) -> None:
        """Make the new version the one that applications read; raises AwsFailure."""
        run_sealed(self._store().publish(version, instead_of))

    def set_status(self, key_id: str, status: KeyStatus, intent: str = "") -> None:
        """Switch a key on or off, which CloudTrail knows by the intent; raises AwsFailure."""
        caller = replace(self.callers.retiring(self.item), intent=intent)
        run(set_key_status(caller, self.item.user, key_id, status))

    def delete(self, key_id: str, intent: str = "") -> None:
        """Delete a key, as `set_status`: the old one, or a new one that nobody ever had; raises AwsFailure."""
        run(delete_access_key(replace(self.callers.retiring(self.item), intent=intent), self.item.user, key_id))

    def made_by(self, intent: str, since: datetime) -> list[str]:
        """Keys that CloudTrail says were made with this intent; raises AwsFailure."""
        return list(run(created_by(self.callers.reading(self.item), self.item.user, intent, since)))

    def was_switched(self, status: KeyStatus, intent: str, since: datetime) -> bool:
        """Whether CloudTrail says that the old key was switched on or off with this intent; raises AwsFailure."""
        return run(was_switched_by(self.callers.reading(self.item), self.item.key.id, status, intent, since))

    def now(self) -> datetime:
        """The instant."""
        return self.callers.reading(self.item).timing.now()
