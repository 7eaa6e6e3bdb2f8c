"""Bundles in Amazon S3: locked until they may go, never written over, and read back.

One object of any size that a single PutObject takes. botocore's own client is used here and nowhere else: it knows how
buckets are addressed, and sends a file without having it in memory.
"""

import base64
import hashlib
import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import IO, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from auditor.aws.clients import Connection, shared_clients
from auditor.aws.failures import AwsFailure, Kind, failure_of, refusal_of
from auditor.aws.loop import run
from auditor.errors import OutputError, UsageError

SCHEME = "s3://"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
NOT_IN_BUCKET = re.compile(r"[^a-z0-9.-]", re.ASCII)
NOT_IN_PREFIX = re.compile(r"[^A-Za-z0-9!_.*'()=/-]", re.ASCII)
"""What S3 calls safe is taken, and `=` of partitions such as `year=2026` (S3 user guide, Naming objects)."""

LARGEST = 5 << 30
"""Bytes that one PutObject takes (S3 API reference, PutObject)."""

CHUNK = 1 << 20

CONFLICT = "ConditionalRequestConflict"

LOCK = "COMPLIANCE"
"""The mode in which nobody can shorten the retention, not even the root user (S3 user guide, Object Lock)."""


def place_of(to: str) -> tuple[str, str]:
    """Bucket and prefix of s3://bucket/prefix; UsageError where it is none."""
    bucket, _, prefix = to.removeprefix(SCHEME).partition("/")
    prefix = prefix.removesuffix("/")
    stranger = NOT_IN_BUCKET.search(bucket) or NOT_IN_PREFIX.search(prefix)
    wrong = ""
    if not to.startswith(SCHEME):
        wrong = f"it does not begin with {SCHEME}"
    elif stranger is not None:
        wrong = f"{stranger[0]!r} is not allowed in {'a bucket' if stranger.string is bucket else 'a prefix'}"
    elif not BUCKET.fullmatch(bucket) or ".." in bucket:
        wrong = f"no bucket is called {bucket!r}"
    elif prefix and not {"", ".", ".."}.isdisjoint(prefix.split("/")):
        wrong = "no part of a prefix is empty, `.` or `..`"
    if wrong:
        step = "Write it like s3://bucket/prefix."
        raise UsageError(f"{to!r} is no place in S3: {wrong}.", where="--to", next_step=step)
    return bucket, prefix


def put_bundle(connection: Connection, bundle: Path, to: str, retained_until: date | None) -> str:
    """Store a bundle's file below a place in S3, and read it back.

    Args:
        connection: how AWS is reached.
        bundle: the file.
        to: s3://bucket/prefix.
        retained_until: the day from which it may be deleted; None for a bucket without Object Lock.

    Returns:
        Where it is, with its version: s3://bucket/key?versionId=….

    Raises:
        UsageError: the bucket has no Object Lock, or holds another object of that name; or the day is over.
        OutputError: what is read back is not what was sent, or somebody else stores it at the same time.
        AwsFailure: AWS refused or did not answer.
    """
    bucket, prefix = place_of(to)
    if bundle.stat().st_size > LARGEST:
        step = "Store the folder's files with `aws s3 cp`, or copy the archive with a multipart upload."
        raise OutputError("A bundle of more than 5 GiB is not stored in one piece.", where=str(bundle), next_step=step)
    lock = locked_until(retained_until, str(bundle)) if retained_until else None
    store = _Store(_client(connection, bucket), bucket, f"{prefix}/{bundle.name}".lstrip("/"))
    if lock is not None:
        store.confirm_lock()
    with bundle.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    version = store.put(bundle, digest, lock)
    store.confirm(bundle, digest, version, lock)
    where = f"s3://{bucket}/{store.key}"
    return f"{where}?versionId={version}" if version else where


def locked_until(day: date, where: str) -> datetime:
    """The end of that day; UsageError where it is over, of what is to be locked until then."""
    until = datetime.combine(day + timedelta(days=1), time(), UTC)
    if until <= datetime.now(UTC):
        step = "Raise `evidence.retention_days`, or accept a copy that is not locked with --without-lock."
        what = f"The day until which the bundle is to be kept is over ({day}): nothing can be locked so."
        raise UsageError(what, where=where, next_step=step)
    return until


class _Store:
    """One object in a bucket."""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self._client, self._bucket, self.key = client, bucket, key

    def _call(self, operation: str, method: str, **options: Any) -> Any:
        """A call on the bucket; raises AwsFailure."""
        try:
            return getattr(self._client, method)(Bucket=self._bucket, **options)
        except ClientError as error:
            raise refusal_of(error.response, f"s3:{operation}") from error
        except BotoCoreError as error:
            raise failure_of(error, f"s3:{operation}") from error

    def confirm_lock(self) -> None:
        """Whether objects in the bucket can be locked; UsageError where not."""
        try:
            told = self._call("GetObjectLockConfiguration", "get_object_lock_configuration")
            is_on = told.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
        except AwsFailure as failure:
            if failure.code != "ObjectLockConfigurationNotFoundError":
                raise
            is_on = False
        if not is_on:
            what = "Objects in this bucket cannot be locked: who owns it can delete the evidence."
            step = "Switch on Object Lock for the bucket, or accept that with --without-lock."
            raise UsageError(what, where=f"s3://{self._bucket}", next_step=step)

    def put(self, bundle: Path, digest: bytes, lock: datetime | None) -> str | None:
        """Send the file, unless there is an object of that name; its version.

        Raises:
            UsageError: there is an object of that name already, which is another.
            OutputError: another is being stored or deleted, still after one more attempt.
        """
        try:
            try:
                told = self._send(bundle, digest, lock)
            except AwsFailure as failure:
                if failure.code != CONFLICT:
                    raise
                told = self._send(bundle, digest, lock)
        except AwsFailure as failure:
            if failure.code == CONFLICT:
                where = f"s3://{self._bucket}/{self.key}"
                step = "Wait until that is done, and run the same command again."
                what = "Somebody else stores or deletes an object of this name at the same time."
                raise OutputError(what, where=where, next_step=step) from failure
            if failure.code != "PreconditionFailed":
                raise
            return self._same(digest)
        version = told.get("VersionId")
        return str(version) if version else None

    def _send(self, bundle: Path, digest: bytes, lock: datetime | None) -> Any:
        locked = {"ObjectLockMode": LOCK, "ObjectLockRetainUntilDate": lock} if lock else {}
        with bundle.open("rb") as body:
            return self._call(
                "PutObject",
                "put_object",
                Key=self.key,
                Body=body,
                ContentLength=bundle.stat().st_size,
                ContentType="application/zip",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=base64.b64encode(digest).decode(),
                IfNoneMatch="*",
                **locked,
            )

    def _same(self, digest: bytes) -> str | None:
        """The version of the object that is there already, where it is this very one."""
        told = self._call("HeadObject", "head_object", Key=self.key)
        if self._read(told.get("VersionId")) != digest:
            step = "Name another prefix: evidence that is stored is not replaced."
            where = f"s3://{self._bucket}/{self.key}"
            raise UsageError("There is another object of this name already.", where=where, next_step=step)
        version = told.get("VersionId")
        return str(version) if version else None

    def confirm(self, bundle: Path, digest: bytes, version: str | None, lock: datetime | None) -> None:
        """Read the object back, and how it is locked; OutputError where it is not what was sent."""
        where = f"s3://{self._bucket}/{self.key}"
        step = f"Keep {bundle}, and store it again under another prefix."
        if self._read(version) != digest:
            raise OutputError("What was read back is not what was sent.", where=where, next_step=step)
        if lock is None:
            return
        named = {"VersionId": version} if version else {}
        told = self._call("HeadObject", "head_object", Key=self.key, **named)
        until = told.get("ObjectLockRetainUntilDate")
        if told.get("ObjectLockMode") is None and until is None:
            step = (
                "It was stored without a lock (then name another prefix), or may not be told of: allow "
                "s3:GetObjectRetention, and run the same command again."
            )
            raise OutputError("S3 tells of no lock on the object.", where=where, next_step=step)
        if told.get("ObjectLockMode") != LOCK or until is None or until < lock:
            raise OutputError("The object is not locked as it was asked to be.", where=where, next_step=step)

    def _read(self, version: str | None) -> bytes:
        """The SHA-256 of the object as it is read."""
        named = {"VersionId": version} if version else {}
        body: IO[bytes] = self._call("GetObject", "get_object", Key=self.key, **named)["Body"]
        found = hashlib.sha256()
        try:
            while chunk := body.read(CHUNK):
                found.update(chunk)
        except (BotoCoreError, OSError) as error:
            raise AwsFailure(Kind.UNREACHABLE, "s3:GetObject", type(error).__name__, str(error)) from error
        return found.digest()


def _client(connection: Connection, bucket: str) -> Any:
    """Botocore's client of S3, with the credentials that everything else is called with."""
    clients = shared_clients(connection)
    frozen = run(clients.ambient().frozen())
    is_addressed_by_path = bool(connection.endpoint_url) or "." in bucket
    settings = Config(
        connect_timeout=connection.connect_timeout,
        read_timeout=max(connection.read_timeout, 60.0),
        retries={"mode": "standard", "total_max_attempts": 4},
        s3={"addressing_style": "path" if is_addressed_by_path else "auto"},
    )
    return clients.session.create_client(
        "s3",
        region_name=clients.configured_region() or "us-east-1",
        endpoint_url=connection.endpoint_url,
        config=settings,
        aws_access_key_id=frozen.access_key,
        aws_secret_access_key=frozen.secret_key,
        aws_session_token=frozen.token,
    )
