"""How AWS is reached: one wire per service and partition for all accounts, and the credentials that there are first.

A boto3 session and its clients for every account cost 170 to 400 ms of CPU; what is shared here costs none, and keeps
one pool of connections and one TLS context. Whose credentials sign a call is said with the call.
"""

import asyncio
import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import botocore
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, ConfigParseError, NoCredentialsError, ProfileNotFound
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from auditor import __version__
from auditor.aws.failures import AwsFailure, Kind, failure_of, refusal_of
from auditor.aws.spending import Ledger, Pace
from auditor.aws.wire import Reach, Wire
from auditor.errors import UsageError

REGIONS: Mapping[str, str] = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
"""A Region of each partition where IAM can be called (AWS: IAM endpoints)."""

CREDENTIALS = "credentials"
"""What fails, in the place of an operation, where the caller's own credentials cannot be had."""


class CredentialSource(Protocol):
    """Gives the credentials that sign the next call."""

    async def frozen(self) -> ReadOnlyCredentials:
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
    sts_per_second: float = 500.0
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


@dataclass(frozen=True, slots=True)
class AmbientCredentials:
    """What botocore found in the environment; refreshed, where it can be, beside the loop and not in it."""

    found: Credentials

    async def frozen(self) -> ReadOnlyCredentials:
        """See `CredentialSource`."""
        try:
            if isinstance(self.found, RefreshableCredentials) and self.found.refresh_needed():
                return await asyncio.to_thread(self.found.get_frozen_credentials)
            return self.found.get_frozen_credentials()
        except ClientError as error:  # of the role, the login or the token that they come from
            raise refusal_of(error.response, CREDENTIALS) from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise AwsFailure(Kind.NO_CREDENTIALS, CREDENTIALS, type(error).__name__, str(error)) from error


class Clients:
    """What one process shares of a connection: its wires, and the ambient credentials."""

    def __init__(self, connection: Connection) -> None:
        """Nothing is loaded or called yet."""
        self.connection = connection
        self._lock = threading.RLock()
        self._wires: dict[tuple[str, str, str | None], tuple[Wire, Reach]] = {}
        self._ambient: CredentialSource | None = None
        self._first: CredentialSource | None = None
        self.sts_pace = Pace(connection.sts_per_second)
        self.ledger = Ledger()
        """What the first roles take, which is nobody's until somebody takes it over."""
        self._core = (
            _isolated_session() if connection.isolated else botocore.session.Session(profile=connection.profile)
        )

    def get(self, service: str, partition: str, region: str | None = None) -> tuple[Wire, Reach]:
        """A service in a partition, or in one of its Regions, and how it is reached; made once.

        Raises:
            UsageError: the profile, Region, endpoint, proxy or CA bundle is not usable.
        """
        with self._lock:
            known = self._wires.get((service, partition, region))
            if known is None:
                try:
                    known = self._make(service, partition, region)
                except (BotoCoreError, ValueError, OSError) as error:
                    step = "Correct the profile, the Region, the endpoint URL or the CA bundle."
                    raise UsageError(str(error), next_step=step) from error
                self._wires[service, partition, region] = known
            return known

    def ambient(self) -> CredentialSource:
        """The credentials that the environment gives: variables, profile, SSO, container or instance role; or `via` it.

        Raises:
            AwsFailure: there are none, or they could not be loaded.
            UsageError: the profile does not exist, or the AWS configuration files cannot be read.
        """
        with self._lock:
            if self._ambient is None:
                first, via = self._load_ambient(), self.connection.via
                self._first = first
                self._ambient = via.credentials(self, first) if via else first
            return self._ambient

    async def key_ids(self) -> frozenset[str]:
        """Ids of the keys that sign the calls, and of those that they come from, as far as this machine tells.

        A profile may take its credentials from another (`source_profile`), or from the environment (AWS CLI:
        configuration and credential file settings); those of partitions with credentials of their own count as well.

        Raises:
            AwsFailure: there are no credentials, or they could not be loaded.
        """
        source = self.ambient()
        found = {str((await one.frozen()).access_key) for one in (self._first, source) if one is not None}
        if self.connection.isolated:
            return frozenset(found)
        profiles: Mapping[str, Mapping[str, str]] = self._core.full_config.get("profiles", {})
        to_read = [self._core.profile or "default", *(entrance.profile for entrance in self.connection.entrances)]
        seen: set[str] = set()
        while to_read:
            name = to_read.pop()
            profile = profiles.get(name, {})
            if name in seen:
                continue
            seen.add(name)
            found.add(profile.get("aws_access_key_id", ""))
            to_read += [profile["source_profile"]] if "source_profile" in profile else []
        found.add(os.environ.get("AWS_ACCESS_KEY_ID", ""))
        return frozenset(found - {""})

    def _load_ambient(self) -> CredentialSource:
        fixed = self.connection.isolated
        if fixed:
            return AmbientCredentials(Credentials(fixed.access_key_id, fixed.secret_access_key))
        try:
            found = botocore.session.Session(profile=self.connection.profile).get_credentials()
            if found is None:
                raise NoCredentialsError
            found.get_frozen_credentials()
        except (ProfileNotFound, ConfigParseError) as error:
            raise UsageError(str(error), next_step="Check --profile and the files under ~/.aws.") from error
        except BotoCoreError as error:
            raise failure_of(error, CREDENTIALS) from error
        except ClientError as error:
            raise refusal_of(error.response, CREDENTIALS) from error
        except (OSError, ValueError, KeyError) as error:  # of a credential process or a token file
            raise AwsFailure(Kind.NO_CREDENTIALS, CREDENTIALS, type(error).__name__, str(error)) from error
        return AmbientCredentials(found)

    @property
    def session(self) -> botocore.session.Session:
        """Botocore's session, for what a wire does not do."""
        return self._core

    def configured_region(self) -> str | None:
        """The Region of the configuration, the environment or the profile."""
        return self.connection.region or self._core.get_config_variable("region")

    def _make(self, service: str, partition: str, region: str | None) -> tuple[Wire, Reach]:
        connection = self.connection
        options: dict[str, Any] = {}
        if connection.isolated:
            options = {"ignore_configured_endpoint_urls": True}
            options |= {"use_fips_endpoint": False, "use_dualstack_endpoint": False}
        client = self._core.create_client(
            service,
            region_name=region or self.region_of(partition),
            endpoint_url=connection.endpoint_url,
            config=Config(**options),
            aws_access_key_id="none",  # it is only asked where it would send, and never sends
            aws_secret_access_key="none",  # noqa: S106
        )
        wire = Wire(client, loopback_only=connection.isolated is not None)
        reach = Reach(
            connect_timeout=connection.connect_timeout,
            read_timeout=connection.read_timeout,
            user_agent=f"auditor/{__version__} botocore/{botocore.__version__}",
            tls=self._tls() if wire.url.startswith("https:") else None,
            proxy=None if connection.isolated else _proxy_to(wire.url),
        )
        return wire, reach

    def _tls(self) -> ssl.SSLContext:
        """One context for all: to load the authorities takes 30 ms."""
        for _, reach in self._wires.values():
            if reach.tls:
                return reach.tls
        configured = self._core.get_config_variable("ca_bundle")
        if not (configured or self.connection.isolated):
            configured = os.environ.get("REQUESTS_CA_BUNDLE")  # as botocore does
        trusted = str(configured or get_cert_path(verify=True))
        if Path(trusted).is_dir():
            return ssl.create_default_context(capath=trusted)
        return ssl.create_default_context(cafile=trusted)

    def region_of(self, partition: str) -> str:
        """Where services with a Region are called in a partition, if nobody says otherwise."""
        wanted = self.configured_region()
        if wanted and (not partition or self._core.get_partition_for_region(wanted) == partition):
            return wanted
        return REGIONS.get(partition, REGIONS["aws"])


@lru_cache(maxsize=8)
def shared_clients(connection: Connection) -> Clients:
    """This process's clients for a connection."""
    return Clients(connection)


def _proxy_to(url: str) -> str | None:
    """The proxy that the environment names for a URL; UsageError, which does not repeat it, where it is not usable."""
    scheme = urlsplit(url).scheme
    found = get_environ_proxies(url).get(scheme)
    if not found:
        return None
    proxy = f"http:{found}" if found.startswith("//") else found if "://" in found else f"http://{found}"
    try:
        parts = urlsplit(proxy)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        what = f"The environment's proxy for {scheme} is no http:// or https:// URL with host and port."
        raise UsageError(what, next_step=f"Correct {scheme.upper()}_PROXY; percent-encode its password.")
    return proxy


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
