"""A service in a partition, as it is spoken to: botocore's models, signatures and parsers, without its clients.

A call through a botocore client costs 1.8 ms of CPU, most of it on the way between these parts, and holds a thread;
here it costs about a third and holds none. Where the service is and how it wants to be signed is asked of botocore
itself, once, so that every setting that it knows counts: configured endpoints, FIPS, dual stack, Regions, partitions.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import ResponseParserError, ResponseParserFactory
from botocore.serialize import create_serializer
from botocore.utils import parse_timestamp

from auditor.aws.failures import AwsFailure, Kind, refusal_of
from auditor.aws.loop import connections
from auditor.errors import UsageError

NEEDS_NOTHING = {
    "cloudtrail": "describe_trails",
    "dynamodb": "list_tables",
    "iam": "get_account_summary",
    "kms": "list_keys",
    "organizations": "describe_organization",
    "secretsmanager": "list_secrets",
    "ses": "get_send_quota",
    "sns": "list_topics",
    "ssm": "describe_parameters",
    "sts": "get_caller_identity",
}
"""A method of each service that takes no parameters: what is asked to find out where the service is."""

UNPARSABLE = (ResponseParserError, KeyError, ValueError, TypeError, AttributeError)
"""What botocore's parsers raise on an answer that AWS would not send, such as a proxy's page."""

FIRST_REFUSAL = 300

REQUEST_ID = "x-amzn-RequestId"
"""The header that has the request's id, of answers whose body cannot be read."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How the network is crossed: seconds for the timeouts, the TLS context, the proxy, who is said to call."""

    connect_timeout: float
    read_timeout: float
    user_agent: str
    tls: ssl.SSLContext | None = None
    proxy: str | None = field(default=None, repr=False)


class _LearntError(Exception):
    """Where a request would have gone."""


class Answers:
    """How the answers of a service are read."""

    def __init__(self, model: ServiceModel) -> None:
        """By botocore's model of the service."""
        self.service = str(model.service_name)
        self.operations: Mapping[str, OperationModel] = {
            xform_name(name): model.operation_model(name) for name in model.operation_names
        }
        parsers = ResponseParserFactory()
        parsers.set_parser_defaults(timestamp_parser=_instant)
        self._parser = parsers.create_parser(model.resolved_protocol)

    def operation(self, method: str) -> str:
        """Such as `iam:ListUsers` for "list_users"."""
        return f"{self.service}:{self.operations[method].name}"

    def read(self, method: str, status: int, headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
        """The answer, with its `ResponseMetadata`.

        Raises:
            AwsFailure: it is a refusal, or no answer of AWS's.
        """
        shape = self.operations[method].output_shape
        try:
            answer: Mapping[str, Any] | None = self._parser.parse(
                {"status_code": status, "headers": headers, "body": body},
                shape,  # type: ignore[arg-type] # None where an operation gives nothing back
            )
        except UNPARSABLE as error:
            raise _unreadable(self.operation(method), headers.get(REQUEST_ID)) from error
        if not isinstance(answer, Mapping):
            raise _unreadable(self.operation(method), headers.get(REQUEST_ID))
        if status >= FIRST_REFUSAL:
            raise refusal_of(answer, self.operation(method))
        return answer


class Wire:
    """One service in one partition, shared by all accounts. It knows no credentials: each call brings its own."""

    def __init__(self, client: Any, *, loopback_only: bool) -> None:
        """Ask a botocore client where it would send its calls, and how it would sign them; nothing is sent.

        Raises:
            BotoCoreError: no endpoint can be made of the settings.
            UsageError: the endpoint is not on loopback, and nothing else is allowed.
        """
        model = client.meta.service_model
        self.answers = Answers(model)
        self.service = self.answers.service
        self.url, self._region, self._signing_name = _learn(client, NEEDS_NOTHING[self.service])
        self._host = urlsplit(self.url).netloc.rpartition("@")[2]
        if loopback_only and not _is_loopback(self.url):
            host = urlsplit(self.url).hostname or "nowhere"
            raise UsageError(f"A demonstration never leaves this machine; a call to {host} was refused.")
        self._serializer = create_serializer(model.resolved_protocol)

    def operation(self, method: str) -> str:
        """See `Answers`."""
        return self.answers.operation(method)

    async def exchange(
        self, method: str, params: Mapping[str, Any], credentials: ReadOnlyCredentials, reach: Reach
    ) -> tuple[Mapping[str, Any], bytes]:
        """One request and its answer, parsed, with its `ResponseMetadata`; and the answer's bytes.

        Raises:
            AwsFailure: AWS refused, did not answer, or what came is not an answer of AWS's.
            BotoCoreError: the parameters are not what the operation takes.
        """
        request = self._signed(self.answers.operations[method], params, credentials, reach.user_agent)
        status, headers, body = await self._sent(request, reach, self.operation(method))
        return self.answers.read(method, status, headers, body), body

    def _signed(
        self, operation: OperationModel, params: Mapping[str, Any], credentials: ReadOnlyCredentials, user_agent: str
    ) -> AWSRequest:
        made = self._serializer.serialize_to_request(dict(params), operation)
        assert (made["method"], made["url_path"]) == ("POST", "/"), (
            "a protocol in which calls have no path of their own"
        )
        body = made["body"]
        data = urlencode(body) if isinstance(body, Mapping) else body
        headers = {**made["headers"], "Host": self._host, "User-Agent": user_agent}
        request = AWSRequest("POST", self.url, headers=headers, data=data)
        SigV4Auth(credentials, self._signing_name, self._region).add_auth(request)
        return request

    async def _sent(self, request: AWSRequest, reach: Reach, operation: str) -> tuple[int, Mapping[str, str], bytes]:
        timeout = aiohttp.ClientTimeout(
            None,
            connect=reach.connect_timeout + reach.read_timeout,  # a proxy may take the connection and say nothing
            sock_connect=reach.connect_timeout,
            sock_read=reach.read_timeout,
        )
        try:
            async with (await connections()).request(
                "POST",
                self.url,
                data=request.data,
                headers=dict(request.headers.items()),
                allow_redirects=False,
                proxy=reach.proxy,
                ssl=reach.tls or True,
                timeout=timeout,
            ) as answer:
                return answer.status, answer.headers, await answer.read()
        except aiohttp.SocketTimeoutError as error:
            what = f"{self.url} did not answer within {reach.read_timeout:g} seconds"
            raise AwsFailure(Kind.TIMED_OUT, operation, "ReadTimeout", what) from error
        except TimeoutError as error:
            what = f"no connection to {self.url} in time"
            raise AwsFailure(Kind.UNREACHABLE, operation, "ConnectTimeout", what) from error
        except aiohttp.ClientHttpProxyError as error:
            what = f"the proxy refused: {error.status} {error.message}"
            raise AwsFailure(Kind.UNREACHABLE, operation, "ProxyError", what) from error
        except aiohttp.InvalidURL:  # its text is the URL, which may be a proxy's with its password
            what = "the endpoint's or the proxy's URL cannot be used"
            raise AwsFailure(Kind.UNREACHABLE, operation, "InvalidURL", what) from None
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError) as error:
            raise _unreadable(operation) from error
        except aiohttp.ServerDisconnectedError as error:
            what = f"{self.url} hung up before it had answered"
            raise AwsFailure(Kind.UNREACHABLE, operation, "ConnectionClosed", what) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            what = f"no connection to {self.url}: {error}"
            raise AwsFailure(Kind.UNREACHABLE, operation, "ConnectionError", what) from error


def _instant(value: Any) -> datetime:
    """Botocore's own parser takes anything, and ten times as long."""
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _unreadable(operation: str, request_id: str | None = None) -> AwsFailure:
    what = "the answer is cut off, or not what AWS sends; is this an AWS endpoint?"
    return AwsFailure(Kind.UNREADABLE, operation, "UnreadableAnswer", what, request_id)


def _learn(client: Any, method: str) -> tuple[str, str, str]:
    """The URL, the Region to sign for, and the name to sign with: told by the event before botocore signs."""

    def tell(request: AWSRequest, region_name: str, signing_name: str, **_: object) -> None:
        raise _LearntError(request.url, region_name, signing_name)

    client.meta.events.register_first("before-sign", tell)
    try:
        getattr(client, method)()
    except _LearntError as learnt:
        url, region, name = learnt.args
        return url, region, name
    finally:
        client.meta.events.unregister("before-sign", tell)
    raise AssertionError("botocore signs every call")


def _is_loopback(url: str) -> bool:
    try:
        return ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False
