"""Files encrypted with age to their owner as the place where a new key's secret is kept: for vendors and laptops.

Nobody here can read them back, so a key has to be proved before it is put. What is in which file, and which of them
counts, stands in an index beside them, without secrets (age file encryption format v1, with SSH recipients).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]

from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.private_files import replace_whole
from auditor.aws.secret_stores import CURRENT, NOT_READY, PENDING, PREFLIGHT
from auditor.model import StoredSecret
from auditor.secret import Secret

INDEX = "versions.json"


@dataclass(frozen=True, slots=True)
class AgeFiles:
    """One user's folder of files; see `auditor.aws.secret_stores.SecretStore`, of which it can do all but read."""

    folder: Path
    recipients: tuple[str, ...]
    """Public keys, of age or SSH; whoever has the private key of any of them can read the files."""

    async def look(self) -> StoredSecret | None:
        """See `SecretStore`. A version that nobody was told of counts only where its file is as it was put."""
        found = self._versions()
        if found is None:
            return None
        versions = {
            version: frozenset({of["stage"]} if of["stage"] else ())
            for version, of in found.items()
            if of["stage"] != PENDING or self._is_whole(of)
        }
        return StoredSecret(versions)

    async def prove(self, sentinel: str, marker: str) -> None:
        """See `SecretStore`: encrypts what is no secret, and writes the index."""
        self._sealed(json.dumps({"Version": 1, "Status": NOT_READY}).encode())
        found = self._versions() or {}
        is_first = not any(of["stage"] == CURRENT for of in found.values())
        stage = CURRENT if is_first else PREFLIGHT
        others = {version: of for version, of in found.items() if of["stage"] != PREFLIGHT}
        self._keep({**others, (sentinel if is_first else marker): {"stage": stage, "key": None}})

    async def put_pending(self, value: Secret, token: str) -> None:
        """See `SecretStore`. The file is on the disk before the index tells of it."""
        told = json.loads(value.reveal())
        sealed = self._sealed(value.reveal().encode())
        name = f"{told['AccessKeyId']}.age"
        self._write(name, sealed)
        sha256 = hashlib.sha256(sealed).hexdigest()
        entry = {"stage": PENDING, "key": told["AccessKeyId"], "file": name, "sha256": sha256}
        others = {name: of for name, of in (self._versions() or {}).items() if of["stage"] != PENDING}
        self._keep({**others, token: entry})

    def key_of(self, version: str) -> str | None:
        """The id of the key that a version holds; None where it holds none, or its file was changed.

        Raises:
            AwsFailure: the index cannot be read.
        """
        entry = (self._versions() or {}).get(version)
        is_good = entry is not None and (entry["stage"] != PENDING or self._is_whole(entry))
        return entry.get("key") if entry is not None and is_good else None

    def is_taken(self) -> bool:
        """Whether the file of the current version is not there as it was put: its owner took it, or it is lost.

        Raises:
            AwsFailure: the index cannot be read.
        """
        current = [of for of in (self._versions() or {}).values() if of["stage"] == CURRENT and of.get("key")]
        return any(not self._is_whole(of) for of in current)

    async def publish(self, version: str, instead_of: str | None) -> None:
        """See `SecretStore`: from now on this is the file that its owner is told of."""
        found = self._versions() or {}
        current = next((name for name, of in found.items() if of["stage"] == CURRENT), None)
        if current != instead_of:
            raise self._failure("Changed", "another version is current by now")
        if version not in found:
            raise self._failure("NoSuchVersion", f"there is no version {version}")
        stages = {**({current: ""} if current else {}), version: CURRENT}
        self._keep({name: {**of, "stage": stages.get(name, of["stage"])} for name, of in found.items()})

    def _versions(self) -> dict[str, dict[str, Any]] | None:
        try:
            found = json.loads((self.folder / INDEX).read_bytes())["versions"]
            return {str(version): {**of, "stage": str(of["stage"])} for version, of in found.items()}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise self._failure("Unreadable", f"{INDEX} cannot be read, or is not what was written") from None

    def _is_whole(self, entry: dict[str, Any]) -> bool:
        try:
            content = (self.folder / str(entry["file"])).read_bytes()
        except (OSError, KeyError):
            return False
        return hashlib.sha256(content).hexdigest() == entry.get("sha256")

    def _keep(self, versions: dict[str, dict[str, Any]]) -> None:
        self._write(INDEX, json.dumps({"schema": "auditor.secrets/1", "versions": versions}, indent=2).encode())

    def _write(self, name: str, content: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_whole(self.folder / name, content)
        except OSError as error:
            raise self._failure("NotWritable", f"it cannot be written: {error.strerror}") from None

    def _sealed(self, content: bytes) -> bytes:
        try:
            return bytes(pyrage.encrypt(content, [_recipient(text) for text in self.recipients], armored=True))
        except (pyrage.RecipientError, pyrage.EncryptError) as error:
            raise self._failure("NoRecipient", f"nothing can be encrypted to its readers: {error}") from None

    def _failure(self, code: str, what: str) -> AwsFailure:
        return AwsFailure(Kind.OTHER, str(self.folder), code, what)


def _recipient(text: str) -> object:
    """A public key as age takes it; raises `pyrage.RecipientError`."""
    kind = pyrage.x25519 if text.startswith("age1") else pyrage.ssh
    return kind.Recipient.from_str(text)


def wrong_recipients(texts: Sequence[str]) -> list[str]:
    """Those that age cannot encrypt to."""
    wrong = []
    for text in texts:
        try:
            _recipient(text)
        except pyrage.RecipientError:
            wrong.append(text)
    return wrong
