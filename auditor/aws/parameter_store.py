"""AWS Systems Manager Parameter Store as the place where a new key's secret is kept: a SecureString with a label.

It knows no pending version and no token: the newest version is what anybody reads who asks for none, so applications
ask for the label `current`, which is moved when a key was verified. Which version holds what stands in its description
(Systems Manager API reference: PutParameter, LabelParameterVersion, GetParameterHistory).
"""

import json
from dataclasses import dataclass
from typing import Any

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.secret_stores import CURRENT, NOT_READY
from auditor.model import StoredSecret
from auditor.secret import Secret

LABEL = "current"

_OURS = "auditor "
"""How the description of a version of ours begins; its token follows."""


@dataclass(frozen=True, slots=True)
class ParameterStore:
    """One parameter, in the account and Region of the caller; a store as `auditor.aws.secret_stores.SecretStore`."""

    caller: Caller
    name: str
    kms_key: str | None = None

    async def look(self) -> StoredSecret | None:
        """See `SecretStore`."""
        history = await self._history()
        if not history:
            return None
        versions: dict[str, frozenset[str]] = {}
        for one in history:
            stages = frozenset({CURRENT} if LABEL in one.get("Labels", ()) else set())
            versions[_token(one)] = versions.get(_token(one), frozenset()) | stages
        is_foreign = not any(versions.values()) and not any(map(_is_ours, history))
        return StoredSecret(versions, is_foreign=is_foreign)

    async def _history(self) -> list[dict[str, Any]]:
        """Every version, the oldest first; none where there is no parameter."""
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            try:
                page = await self.caller.call("ssm", "get_parameter_history", Name=self.name, **token)
            except AwsFailure as failure:
                if failure.kind is Kind.NOT_FOUND:
                    return []
                raise
            found += page.get("Parameters", ())
            if not page.get("NextToken"):
                return sorted(found, key=lambda one: int(one["Version"]))
            token = {"NextToken": str(page["NextToken"])}

    async def _number(self, version: str) -> int:
        """The newest version with this token."""
        numbers = [int(one["Version"]) for one in await self._history() if _token(one) == version]
        if not numbers:
            what = f"the parameter has no version {version}"
            raise AwsFailure(Kind.NOT_FOUND, "ssm:GetParameterHistory", "ParameterVersionNotFound", what)
        return numbers[-1]

    async def prove(self, sentinel: str, marker: str) -> None:
        """See `SecretStore`."""
        found = await self.look()
        value = json.dumps({"Version": 1, "Status": NOT_READY})
        if found is not None and found.current:
            await self._put(value, marker)
            return
        if found is None or sentinel not in found.versions:
            await self._put(value, sentinel)
        await self._label(await self._number(sentinel))

    async def put_pending(self, value: Secret, token: str) -> None:
        """See `SecretStore`; the same one again is another version with the same token, which does no harm."""
        await self._put(value.reveal(), token)

    async def _put(self, value: str, token: str) -> None:
        options = {"KeyId": self.kms_key} if self.kms_key else {}
        await self.caller.call(
            "ssm",
            "put_parameter",
            Name=self.name,
            Value=value,
            Type="SecureString",
            Overwrite=True,
            Description=f"{_OURS}{token}",
            **options,
        )

    async def _label(self, number: int) -> None:
        told = await self.caller.call(
            "ssm", "label_parameter_version", Name=self.name, ParameterVersion=number, Labels=[LABEL]
        )
        if told.get("InvalidLabels"):
            what = f"the label {LABEL} was not taken"
            raise AwsFailure(Kind.OTHER, "ssm:LabelParameterVersion", "InvalidLabels", what)

    async def read(self, version: str | None = None) -> Secret:
        """See `SecretStore`."""
        which = await self._number(version) if version else LABEL
        told = await self.caller.call("ssm", "get_parameter", Name=f"{self.name}:{which}", WithDecryption=True)
        return Secret(str(told["Parameter"]["Value"]))

    async def publish(self, version: str, instead_of: str | None) -> None:
        """See `SecretStore`. AWS moves a label whoever has it, so that is looked at right before."""
        found = await self.look()
        if found is None or found.current != instead_of:
            what = "another version has the label by now"
            raise AwsFailure(Kind.OTHER, "ssm:LabelParameterVersion", "LabelMoved", what)
        await self._label(await self._number(version))


def _is_ours(version: dict[str, Any]) -> bool:
    return str(version.get("Description", "")).startswith(_OURS)


def _token(version: dict[str, Any]) -> str:
    """What the version was put as, or its number where somebody else put it."""
    return str(version["Description"]).removeprefix(_OURS) if _is_ours(version) else f"version {version['Version']}"
