"""AWS Secrets Manager as the place where a new key's secret is kept for its application.

The first version that is ever put into a secret becomes AWSCURRENT whatever stages are asked for, so a new secret
begins with a sentinel that every reader takes for "no credential yet". Only then is a key put, as AWSPENDING, and it
becomes AWSCURRENT when it was verified (Secrets Manager API reference, PutSecretValue, UpdateSecretVersionStage).
"""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.key_writes import KeyCredentials
from auditor.model import StoredSecret
from auditor.secret import Secret

CURRENT, PENDING, PREFLIGHT = "AWSCURRENT", "AWSPENDING", "AUDITOR-PREFLIGHT"

NOT_READY = "NOT_READY"
"""The `Status` of what is no credential yet."""


class SecretStore(Protocol):
    """Where the secret of a key is kept, version by version, for the application that uses it."""

    async def look(self) -> StoredSecret | None:
        """The secret as it is; None where there is none.

        Raises:
            AwsFailure: it cannot be asked for.
        """
        ...

    async def prove(self, sentinel: str, marker: str) -> None:
        """Show that a value can be put: makes the secret with its sentinel where there is none, else puts a marker.

        Args:
            sentinel: the version's id, a UUID, where it is the first; the same one again does nothing.
            marker: the version's id of a marker: the same one again proves nothing.

        Raises:
            AwsFailure: it cannot.
        """
        ...

    async def put_pending(self, value: Secret, token: str) -> None:
        """Keep a value as the version `token`, which is not the current one yet; the same one again does nothing.

        Raises:
            AwsFailure: it is not kept, or nobody knows.
        """
        ...

    async def read(self, version: str | None = None) -> Secret:
        """The value of a version, or of the one that applications read.

        Raises:
            AwsFailure: it cannot be read.
        """
        ...

    async def publish(self, version: str, instead_of: str | None) -> None:
        """Make a version the current one in place of another; raises AwsFailure, also where another is current now."""
        ...


@dataclass(frozen=True, slots=True)
class SecretsManager:
    """One secret, in the account and Region of the caller; see `SecretStore`."""

    caller: Caller
    name: str
    kms_key: str | None = None

    async def look(self) -> StoredSecret | None:
        """See `SecretStore`."""
        try:
            told = await self.caller.call("secretsmanager", "describe_secret", SecretId=self.name)
        except AwsFailure as failure:
            if failure.kind is Kind.NOT_FOUND:
                return None
            raise
        versions = {name: frozenset(stages) for name, stages in told.get("VersionIdsToStages", {}).items()}
        return StoredSecret(versions, bool(told.get("RotationEnabled")), told.get("DeletedDate") is not None)

    async def prove(self, sentinel: str, marker: str) -> None:
        """See `SecretStore`."""
        found = await self.look()
        value = json.dumps({"Version": 1, "Status": NOT_READY})
        if found is None:
            options: dict[str, Any] = {"KmsKeyId": self.kms_key} if self.kms_key else {}
            description = "Access key of an IAM user, kept here by auditor when it was rotated"
            await self.caller.call(
                "secretsmanager",
                "create_secret",
                Name=self.name,
                Description=description,
                SecretString=value,
                ClientRequestToken=sentinel,
                **options,
            )
            return
        if found.current:
            await self._put(value, marker, [PREFLIGHT])
        else:
            await self._put(value, sentinel, [CURRENT])

    async def put_pending(self, value: Secret, token: str) -> None:
        """See `SecretStore`."""
        await self._put(value.reveal(), token, [PENDING])

    async def _put(self, value: str, token: str, stages: list[str]) -> None:
        await self.caller.call(
            "secretsmanager",
            "put_secret_value",
            SecretId=self.name,
            SecretString=value,
            ClientRequestToken=token,
            VersionStages=stages,
        )

    async def read(self, version: str | None = None) -> Secret:
        """See `SecretStore`."""
        which = {"VersionId": version} if version else {"VersionStage": CURRENT}
        told = await self.caller.call("secretsmanager", "get_secret_value", SecretId=self.name, **which)
        if not isinstance(told.get("SecretString"), str):
            what = "the answer holds no SecretString"
            raise AwsFailure(Kind.UNREADABLE, "secretsmanager:GetSecretValue", "UnreadableAnswer", what)
        return Secret(told["SecretString"])

    async def publish(self, version: str, instead_of: str | None) -> None:
        """See `SecretStore`."""
        moved = {"RemoveFromVersionId": instead_of} if instead_of else {}
        await self.caller.call(
            "secretsmanager",
            "update_secret_version_stage",
            SecretId=self.name,
            VersionStage=CURRENT,
            MoveToVersionId=version,
            **moved,
        )


def key_in(value: Secret) -> KeyCredentials | None:
    """The access key that a stored value holds; None where it is the sentinel, or no value of ours."""
    try:
        told = json.loads(value.reveal())
    except ValueError:
        return None
    if not isinstance(told, dict) or told.get("Status") == NOT_READY:
        return None
    key_id, secret = told.get("AccessKeyId"), told.get("SecretAccessKey")
    return KeyCredentials(key_id, Secret(secret)) if isinstance(key_id, str) and isinstance(secret, str) else None
