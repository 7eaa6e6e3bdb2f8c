"""The shared credentials file of AWS's tools as the place where a user's own new key is kept: one profile of it.

The new key waits in a profile of its own until it was verified; then it takes the old one's place in one rename, so
that whoever reads the file finds either key, and never a part of one (AWS SDKs and Tools reference guide, shared config
and credentials files).
"""

import fcntl
import json
import os
from collections.abc import Iterator
from configparser import Error
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from configupdater import ConfigUpdater

from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.private_files import put_beside
from auditor.model import StoredSecret
from auditor.secret import Secret

PENDING = "auditor-pending "
"""How the profile's name begins in which a new key waits."""

KEY_ID, SECRET, VERSION = "aws_access_key_id", "aws_secret_access_key", "auditor_version"


def credentials_path() -> Path:
    """The file, where the environment or AWS's default says that it is."""
    return Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()


@dataclass(frozen=True, slots=True)
class CredentialsFile:
    """One profile of one file; see `auditor.aws.secret_stores.SecretStore`. What is not ours in it stays as it is."""

    path: Path
    profile: str

    async def look(self) -> StoredSecret | None:
        """See `SecretStore`; a key that somebody else put there is a version by its id."""
        found = self._read()
        versions = {}
        if self.profile in found:
            versions[_version(found, self.profile)] = frozenset({"AWSCURRENT"})
        if self._pending in found:
            versions[_version(found, self._pending)] = frozenset({"AWSPENDING"})
        return StoredSecret(versions) if versions else None

    async def prove(self, sentinel: str, marker: str) -> None:  # noqa: ARG002 - nothing but the file has to be shown
        """See `SecretStore`: writes the file as it is."""
        with self._changing():
            pass

    async def put_pending(self, value: Secret, token: str) -> None:
        """See `SecretStore`."""
        told = json.loads(value.reveal())
        with self._changing() as found:
            if self._pending in found:
                found.remove_section(self._pending)
            found.add_section(self._pending)
            key = told["AccessKeyId"]
            version = f"{token} of {key}"
            _fill(found, self._pending, {KEY_ID: key, SECRET: told["SecretAccessKey"], VERSION: version})

    async def read(self, version: str | None = None) -> Secret:
        """See `SecretStore`."""
        found = self._read()
        sections = [name for name in (self.profile, self._pending) if name in found]
        section = next((name for name in sections if version in {None, _version(found, name)}), None)
        if section is None:
            raise self._failure("NoSuchVersion", f"the profile {self.profile} has no key of version {version}")
        held = {"AccessKeyId": _value(found, section, KEY_ID), "SecretAccessKey": _value(found, section, SECRET)}
        return Secret(json.dumps(held))

    async def publish(self, version: str, instead_of: str | None) -> None:
        """See `SecretStore`."""
        with self._changing() as found:
            if self.profile not in found or _version(found, self.profile) != instead_of:
                raise self._failure("ProfileChanged", f"the profile {self.profile} has another key by now")
            if self._pending not in found or _version(found, self._pending) != version:
                raise self._failure("NoSuchVersion", f"no key of version {version} waits for the profile")
            moved = {name: _value(found, self._pending, name) or "" for name in (KEY_ID, SECRET, VERSION)}
            _fill(found, self.profile, moved)
            found.remove_section(self._pending)

    @property
    def _pending(self) -> str:
        return PENDING + self.profile

    def _read(self) -> ConfigUpdater:
        found = ConfigUpdater()
        try:
            found.read_string(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ConfigUpdater()
        except (OSError, ValueError, Error) as error:
            # what a parser says quotes lines, which have secrets in them
            why = error.strerror if isinstance(error, OSError) else "it is not of the form of a credentials file"
            raise self._failure("Unreadable", f"it cannot be read: {why}") from None
        return found

    @contextmanager
    def _changing(self) -> Iterator[ConfigUpdater]:
        """The file's content, which takes the place of the old one at the end, if nothing failed."""
        target = self.path.resolve()  # a link stays one
        partial: Path | None = None
        try:
            with self._alone(target):
                before = target.read_bytes()
                found = self._read()
                yield found
                content = str(found).encode()
                if b"\n" in before and before.count(b"\r\n") == before.count(b"\n"):  # as its owner's editor ends lines
                    content = content.replace(b"\n", b"\r\n")
                partial = put_beside(target, content, alone=True)
                there = target.stat()
                with suppress(PermissionError):
                    os.chown(partial, there.st_uid, there.st_gid)  # whose it is, whoever writes it
                if target.read_bytes() != before:
                    raise self._failure("Changed", "another program changed it at the same time")
                partial.replace(target)
        except OSError as error:
            raise self._failure("NotWritable", f"it cannot be written: {error.strerror}") from None
        finally:
            if partial is not None:
                with suppress(OSError):
                    partial.unlink()

    @contextmanager
    def _alone(self, target: Path) -> Iterator[None]:
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
            os.fsync(folder)
        finally:
            os.close(folder)

    def _failure(self, code: str, what: str) -> AwsFailure:
        return AwsFailure(Kind.OTHER, str(self.path), code, what)


def _version(found: ConfigUpdater, section: str) -> str:
    """What the key was put as, or its id where somebody else put it: a version says which key it is of."""
    key, version = _value(found, section, KEY_ID), _value(found, section, VERSION)
    told, _, of = (version or "").partition(" of ")
    return told if told and of == key else f"key {key}"


def _value(found: ConfigUpdater, section: str, name: str) -> str | None:
    return found[section][name].value if found.has_option(section, name) else None


def _fill(found: ConfigUpdater, section: str, values: dict[str, str]) -> None:
    for name, value in values.items():
        options = found[section].option_blocks()
        if options and not found.has_option(section, name):  # comments below them may be of the next profile
            options[-1].add_after.option(name, value)
        else:
            found.set(section, name, value)
