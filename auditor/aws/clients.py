"""One shared client per service and partition; whose credentials sign a call is a context variable's business.

A boto3 session and its clients for every account cost 170 to 320 ms of CPU; a shared client costs none, and keeps one
connection pool and one TLS context. botocore's `credential_provider` session component is the public seam for it.
A shared client also shares botocore's retry quota, so its own retries are off and `auditor.aws.calls` does them per
account.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import boto3
import botocore
import botocore.session
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ConfigParseError, NoCredentialsError, ProfileNotFound

from auditor import __version__
from auditor.aws.failures import AwsFailure, Kind, failure_of
from auditor.aws.spending import Ledger, Pace
from auditor.errors import UsageError

REGIONS: Mapping[str, str] = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
"""A Region of each partition where IAM can be called (AWS: IAM endpoints)."""


class CredentialSource(Protocol):
    """Gives the credentials that sign the next call."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """A consistent set, refreshed where it had to be."""
        ...


@runtime_checkable
class RenewableSource(CredentialSource, Protocol):
    """Credentials that can be had anew when AWS calls them expired before their time."""

    def renew(self, failed_at: float) -> None:
        """Forget the credentials unless they are newer than the call that failed with them.

        Args:
            failed_at: when that call began, in the monotonic seconds of `Timing`.
        """
        ...


class FirstHop(Protocol):
    """What stands between the environment's credentials and everything else, such as a role assumed first."""

    def credentials(self, clients: "Clients", ambient: CredentialSource) -> CredentialSource:
        """What is used instead of the ambient credentials; nothing is called yet."""
        ...


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """Long-term credentials handed in by the program itself: only the embedded organisation has such."""

    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"StaticCredentials({self.access_key_id})"


@dataclass(frozen=True, slots=True)
class Entrance:
    """Credentials of their own for one partition: a role of another cannot be assumed with any other."""

    partition: str
    profile: str
    via: FirstHop | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """How AWS is reached. Seconds for the timeouts.

    With `isolated` credentials nothing of the environment counts: no profile, no configured endpoint, no proxy, and
    a call to anything but loopback is refused before it is sent.
    """

    endpoint_url: str | None = None
    profile: str | None = None
    region: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    max_connections: int = 64
    sts_per_second: float = 400.0
    """AWS allows 600 a second to all who assume roles from one account and Region (AWS: IAM and STS quotas)."""
    isolated: StaticCredentials | None = None
    via: FirstHop | None = None
    """What the ambient credentials lead to first; everything is called from there."""
    entrances: tuple[Entrance, ...] = ()

    def to(self, partition: str) -> "Connection":
        """The connection to accounts of a partition: with the credentials, and the Region, that it has of its own."""
        for entrance in self.entrances:
            if entrance.partition == partition:
                return replace(self, profile=entrance.profile, via=entrance.via, region=None, entrances=())
        return self


_acting: ContextVar[CredentialSource] = ContextVar("acting")


@contextmanager
def acting_as(source: CredentialSource) -> Iterator[None]:
    """Calls made in this block, in this thread, are signed with the source's credentials."""
    token = _acting.set(source)
    try:
        yield
    finally:
        _acting.reset(token)


class _ContextCredentials(Credentials):  # type: ignore[misc, unused-ignore]
    """Credentials that are whoever the context says; a call outside `acting_as` fails instead of using a wrong one."""

    def __init__(self) -> None:
        super().__init__("context", "context", method="auditor-context")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        source = _acting.get(None)
        if source is None:
            raise NoCredentialsError
        return source.get_frozen_credentials()


class _ContextResolver:
    def load_credentials(self) -> Credentials:
        return _ContextCredentials()


class Clients:
    """The shared clients of one process and the ambient credentials. Safe to use from many threads."""

    def __init__(self, connection: Connection) -> None:
        """Nothing is loaded or called yet."""
        self.connection = connection
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._ambient: CredentialSource | None = None
        self.sts_pace = Pace(connection.sts_per_second)
        self.ledger = Ledger()
        """What the first roles take, which is nobody's until somebody takes it over."""
        core = _isolated_session() if connection.isolated else botocore.session.Session(profile=connection.profile)
        core.register_component("credential_provider", _ContextResolver())
        self._core = core

    def get(self, service: str, partition: str) -> Any:
        """The client of a service in a partition; made once.

        Raises:
            UsageError: the profile, Region or endpoint is not usable.
        """
        with self._lock:
            known = self._clients.get((service, partition))
            if known is None:
                known = self._clients[service, partition] = self._make(service, partition)
            return known

    def ambient(self) -> CredentialSource:
        """The credentials that the environment gives: variables, profile, SSO, container or instance role; or `via` it.

        Raises:
            AwsFailure: there are none, or they could not be loaded.
            UsageError: the profile does not exist, or the AWS configuration files cannot be read.
        """
        with self._lock:
            if self._ambient is None:
                found, via = self._load_ambient(), self.connection.via
                self._ambient = via.credentials(self, found) if via else found
            return self._ambient

    def _load_ambient(self) -> CredentialSource:
        fixed = self.connection.isolated
        if fixed:
            return Credentials(fixed.access_key_id, fixed.secret_access_key)
        try:
            found = botocore.session.Session(profile=self.connection.profile).get_credentials()
            if found is None:
                raise NoCredentialsError
            found.get_frozen_credentials()
        except (ProfileNotFound, ConfigParseError) as error:
            raise UsageError(str(error), next_step="Check --profile and the files under ~/.aws.") from error
        except BotoCoreError as error:
            raise failure_of(error, "credentials") from error
        except (OSError, ValueError, KeyError) as error:  # of a credential process or a token file
            raise AwsFailure(Kind.NO_CREDENTIALS, "credentials", type(error).__name__, str(error)) from error
        return found

    def configured_region(self) -> str | None:
        """The Region of the configuration, the environment or the profile."""
        return self.connection.region or self._core.get_config_variable("region")

    def _make(self, service: str, partition: str) -> Any:
        connection = self.connection
        options: dict[str, Any] = {
            "connect_timeout": connection.connect_timeout,
            "read_timeout": connection.read_timeout,
            "max_pool_connections": connection.max_connections,
            "retries": {"mode": "standard", "total_max_attempts": 1},
            "user_agent": f"auditor/{__version__} botocore/{botocore.__version__}",  # made anew, it costs 0.4 ms a call
        }
        if connection.isolated:
            options |= {"proxies": {}, "ignore_configured_endpoint_urls": True}
            options |= {"use_fips_endpoint": False, "use_dualstack_endpoint": False}
        try:
            session = boto3.Session(botocore_session=self._core)
            client = session.client(
                service,  # type: ignore[call-overload]
                region_name=self._region(partition),
                endpoint_url=connection.endpoint_url,
                config=Config(**options),
            )
        except (BotoCoreError, ValueError) as error:
            raise UsageError(str(error), next_step="Correct the profile, the Region or the endpoint URL.") from error
        if connection.isolated:
            client.meta.events.register("before-send", _refuse_beyond_loopback)
        return client

    def _region(self, partition: str) -> str:
        wanted = self.configured_region()
        if wanted and (not partition or self._core.get_partition_for_region(wanted) == partition):
            return wanted
        return REGIONS.get(partition, REGIONS["aws"])


@lru_cache(maxsize=8)
def shared_clients(connection: Connection) -> Clients:
    """This process's clients for a connection."""
    return Clients(connection)


def _isolated_session() -> botocore.session.Session:
    """A session that looks at no profile, no configuration file and no credentials of the environment."""
    nothing = (None, None, None, None)
    return botocore.session.Session(
        session_vars={
            "profile": nothing,
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
            "ca_bundle": nothing,
            "region": (None, None, REGIONS["aws"], None),
        }
    )


def _refuse_beyond_loopback(request: AWSPreparedRequest, **_: object) -> None:
    host = urlsplit(request.url).hostname or ""
    try:
        is_local = ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise UsageError(f"A demonstration never leaves this machine; a call to {host or 'nowhere'} was refused.")
